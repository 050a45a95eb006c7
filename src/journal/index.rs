//! Where entries lie: per segment one mark each 16 KiB, or one a frame of an archive, so that reading an entry back costs one
//! short read.

use std::sync::{PoisonError, RwLock};

use crate::journal::Receipt;
use crate::journal::archive::Frame;

/// A mark is set at the first entry that begins this far behind the last mark.
const MARK_BYTES: u64 = 16 << 10;

/// What readers know of the journal. The writer adds each batch once it is durable.
#[derive(Debug)]
pub(super) struct Index {
    inner: RwLock<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    segments: Vec<Segment>,
    head: Receipt,
}

impl Inner {
    /// Index of the segment that would hold the entry.
    fn at(&self, seq: u64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.first <= seq).checked_sub(1)
    }
}

/// The whole batches of one segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    pub first: u64,
    /// The last entry that can be read; `first - 1` while there is none.
    pub last: u64,
    /// Where that entry ends.
    pub bytes: u64,
    marks: Marks,
}

/// Where some of a segment's entries begin; no marks at all: not known yet.
#[derive(Debug, Clone)]
enum Marks {
    /// Number and offset.
    Lines(Vec<(u64, u64)>),
    /// It was archived.
    Frames(Vec<Frame>),
}

impl Default for Marks {
    fn default() -> Self {
        Self::Lines(Vec::new())
    }
}

impl Marks {
    fn is_empty(&self) -> bool {
        match self {
            Self::Lines(marks) => marks.is_empty(),
            Self::Frames(frames) => frames.is_empty(),
        }
    }
}

impl Segment {
    pub fn new(first: u64) -> Self {
        Self { first, last: first.saturating_sub(1), ..Self::default() }
    }

    /// Adds the entry that begins at `offset`, the first one behind `last`.
    pub fn add(&mut self, seq: u64, offset: u64, end: u64) {
        if let Marks::Lines(marks) = &mut self.marks
            && marks.last().is_none_or(|(_, mark)| offset - mark >= MARK_BYTES)
        {
            marks.push((seq, offset));
        }
        (self.last, self.bytes) = (seq, end);
    }

    /// A segment that ends with entry `last`, of which only the length is known yet.
    pub fn unmarked(first: u64, last: u64, bytes: u64) -> Self {
        Self { first, last, bytes, marks: Marks::default() }
    }

    /// An archived segment with its frames, to set the marks of the one that is known.
    pub fn archived(first: u64, frames: Vec<Frame>) -> Self {
        Self { marks: Marks::Frames(frames), ..Self::new(first) }
    }
}

/// Where to look for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    /// First entry of its segment.
    pub segment: u64,
    /// Last entry of the segment.
    pub last: u64,
    /// The entry that begins at `offset`: the one looked for, or one before it.
    pub seq: u64,
    pub offset: u64,
    pub lies: Lies,
}

/// How it lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lies {
    /// In lines; by here the entry surely has ended.
    Until(u64),
    /// In the frame that begins at this byte of the archive.
    InFrame(u64),
}

impl Index {
    pub fn new(segments: Vec<Segment>, head: Receipt) -> Self {
        Self { inner: RwLock::new(Inner { segments, head }) }
    }

    pub fn head(&self) -> Receipt {
        self.read(|inner| inner.head.clone())
    }

    /// The last segment and the head, to go on from.
    pub fn tail(&self) -> (Option<Segment>, Receipt) {
        self.read(|inner| (inner.segments.last().cloned(), inner.head.clone()))
    }

    /// Adds entries to the last segment, or to a new one that begins with `first`. All of them become visible at
    /// once, with the new head. Each entry is its number, offset and end.
    pub fn extend(&self, first: u64, entries: &[(u64, u64, u64)], head: Receipt) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.segments.last().is_none_or(|segment| segment.first != first) {
            inner.segments.push(Segment::new(first));
        }
        let segment = inner.segments.last_mut().expect("one was pushed if there was none");
        for &(seq, offset, end) in entries {
            segment.add(seq, offset, end);
        }
        inner.head = head;
    }

    /// Forgets the segments that end at or before this entry; the last one stays.
    pub fn forget(&self, last: u64) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let gone = inner.segments.windows(2).take_while(|pair| pair[1].first <= last.saturating_add(1)).count();
        inner.segments.drain(..gone);
    }

    /// The segment that holds the entry, if its marks are yet to be set.
    pub fn unmarked(&self, seq: u64) -> Option<u64> {
        self.read(|inner| {
            let segment = inner.segments.get(inner.at(seq)?)?;
            (seq <= segment.last && segment.marks.is_empty()).then_some(segment.first)
        })
    }

    /// First entry of the first segment.
    pub fn first(&self) -> Option<u64> {
        self.read(|inner| inner.segments.first().map(|segment| segment.first))
    }

    /// Sets the marks of a segment to those of a walk through it.
    pub fn mark(&self, walked: Segment) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let segment = inner.at(walked.first).and_then(|at| inner.segments.get_mut(at));
        if let Some(segment) = segment.filter(|segment| segment.first == walked.first) {
            // A segment that is bad from its first line on is read from its begin, to tell of that line.
            let none = walked.marks.is_empty();
            segment.marks = if none { Marks::Lines(vec![(walked.first, 0)]) } else { walked.marks };
        }
    }

    /// Where to look for an entry; `None` when there is no such entry yet.
    pub fn find(&self, seq: u64) -> Option<Spot> {
        self.read(|inner| {
            let segment = inner.segments.get(inner.at(seq)?).filter(|segment| seq <= segment.last)?;
            let (mark, offset, lies) = match &segment.marks {
                Marks::Lines(marks) => {
                    let next = marks.partition_point(|(mark, _)| *mark <= seq);
                    let (mark, offset) = *marks.get(next.checked_sub(1)?)?;
                    let end = marks.get(next).map_or(segment.bytes, |(_, offset)| *offset);
                    (mark, offset, Lies::Until(end))
                }
                Marks::Frames(frames) => {
                    let next = frames.partition_point(|frame| frame.seq <= seq);
                    let Frame { seq, offset, packed } = *frames.get(next.checked_sub(1)?)?;
                    (seq, offset, Lies::InFrame(packed))
                }
            };
            Some(Spot { segment: segment.first, last: segment.last, seq: mark, offset, lies })
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}
