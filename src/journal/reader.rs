//! Reading entries back, by number or in a stream, while the writer appends or without a daemon at all.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::head::Head;
use crate::journal::index::{Index, Segment, Spot};
use crate::journal::line::{self, Line};
use crate::journal::segment::{self, read_piece};
use crate::journal::{Damage, JournalError, Place, Receipt};

/// Reads the journal. Cheap to clone; it takes no lock.
#[derive(Debug, Clone)]
pub struct Reader {
    dir: Arc<Path>,
    index: Arc<Index>,
    /// Held while the files are looked through for new entries; `None` when the writer reports them.
    looking: Option<Arc<Mutex<()>>>,
}

impl Reader {
    /// A reader beside the writer: it sees each batch once it is durable.
    pub(super) fn live(dir: Arc<Path>, index: Arc<Index>) -> Self {
        Self { dir, index, looking: None }
    }

    /// Opens a journal for reading alone, beside a running daemon or without one. It sees whole batches as they
    /// stand in the files; [`Reader::refresh`] looks for more. What stands behind damage or a torn tail is not
    /// shown: [`crate::journal::verify::verify`] names such places.
    ///
    /// # Errors
    /// [`JournalError::Absent`] when there is no journal, [`JournalError::Io`] when it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let firsts = segment::list(dir)?;
        if firsts.is_empty() && Head::read(dir)?.is_none() {
            return Err(JournalError::Absent { dir: dir.into() });
        }
        // A segment that has just been begun may hold nothing yet: then the head is in the one before.
        for last in (0..firsts.len()).rev().take(2) {
            let reader = Self::open_with_tail(dir, &firsts[..=last])?;
            if reader.head().seq > 0 {
                reader.refresh()?;
                return Ok(reader);
            }
        }
        let reader = Self::open_with_tail(dir, &[1])?;
        reader.refresh()?;
        Ok(reader)
    }

    /// Looks through the last of these segments; the others are taken to be complete.
    fn open_with_tail(dir: &Path, firsts: &[u64]) -> Result<Self, JournalError> {
        let mut sealed = Vec::new();
        for pair in firsts.windows(2) {
            let path = segment::path(dir, pair[0]);
            let bytes = fs::metadata(&path).map_err(JournalError::io("look at", &path))?.len();
            sealed.push(Segment::unmarked(pair[0], pair[1] - 1, bytes));
        }
        let index = Arc::new(Index::new(sealed, Receipt::empty()));
        let reader = Self { dir: dir.into(), index, looking: Some(Arc::default()) };
        reader.look_through(&Segment::new(firsts.last().copied().unwrap_or(1)))?;
        Ok(reader)
    }

    /// Looks for entries that were added since, and returns the last one. Beside the writer there is nothing to
    /// look for: it reports them.
    ///
    /// # Errors
    /// [`JournalError::Io`] when the files cannot be read.
    pub fn refresh(&self) -> Result<Receipt, JournalError> {
        if let Some(looking) = &self.looking {
            let _looking = looking.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let (segment, head) = self.index.tail();
                self.look_through(&segment.unwrap_or_else(|| Segment::new(1)))?;
                let next = self.head().seq.saturating_add(1);
                if !segment::path(&self.dir, next).exists() {
                    break;
                }
                self.look_through(&Segment::new(next))?;
                if self.head() == head {
                    break;
                }
            }
        }
        Ok(self.head())
    }

    /// Adds the whole batches behind what is known of the segment to the index.
    fn look_through(&self, known: &Segment) -> Result<(), JournalError> {
        let found = Batches::in_segment(&self.dir, known)?;
        if let Some(head) = found.head {
            self.index.extend(known.first, &found.entries, head);
        }
        Ok(())
    }

    /// Entries up to this one are gone on purpose: streams begin behind them.
    pub fn forget(&self, last: u64) {
        self.index.forget(last);
    }

    /// The last entry.
    pub fn head(&self) -> Receipt {
        self.index.head()
    }

    /// Reads one entry; `None` when there is no such entry yet.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when another line stands in its place or its hash is wrong, [`JournalError::Io`]
    /// when the file cannot be read.
    pub fn line(&self, seq: u64) -> Result<Option<Line>, JournalError> {
        let Some(spot) = self.find(seq)? else { return Ok(None) };
        let path = segment::path(&self.dir, spot.segment);
        let mut bytes = vec![0; usize::try_from(spot.end.saturating_sub(spot.offset)).unwrap_or(usize::MAX)];
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, spot.offset));
        read.map_err(JournalError::io("read", &path))?;
        let (mut rest, mut offset) = (bytes.as_slice(), spot.offset);
        for _ in spot.seq..seq {
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            rest = &rest[line..];
            offset += line as u64;
        }
        let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        read_line(&rest[..line], seq, spot.segment, offset).map(Some)
    }

    /// Streams the entries from `from`, or from the first one that retention has left, to the head as it is now, with little memory. Each line's own hash and its
    /// place in the chain are checked; the stream ends after an error.
    pub fn lines(&self, from: u64) -> Lines {
        Lines {
            reader: self.clone(),
            next: from.max(self.index.first().unwrap_or(1)),
            until: self.head().seq,
            prev: None,
            open: None,
        }
    }

    fn find(&self, seq: u64) -> Result<Option<Spot>, JournalError> {
        if let Some(first) = self.index.unmarked(seq) {
            let mut walked = Segment::new(first);
            for (seq, offset, end) in Batches::in_segment(&self.dir, &Segment::new(first))?.entries {
                walked.add(seq, offset, end);
            }
            self.index.mark(walked);
        }
        Ok(self.index.find(seq))
    }
}

/// Reads a line that has to be this entry.
fn read_line(piece: &[u8], seq: u64, segment: u64, offset: u64) -> Result<Line, JournalError> {
    let read = || {
        let line = Line::parse(piece.strip_suffix(b"\n").ok_or(Damage::Cut)?)?;
        if line.seq == seq { Ok(line) } else { Err(Damage::Seq { found: line.seq }) }
    };
    read().map_err(|damage| JournalError::Corrupt(Place { seq, file: segment::name(segment), offset, damage }))
}

/// The entries of whole batches in a segment, behind those that are known. Hashes are checked when an entry is read.
#[derive(Default)]
struct Batches {
    entries: Vec<(u64, u64, u64)>,
    head: Option<Receipt>,
}

impl Batches {
    fn in_segment(dir: &Path, known: &Segment) -> Result<Self, JournalError> {
        let path = segment::path(dir, known.first);
        let mut found = Self::default();
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            file => file.map_err(JournalError::io("open", &path))?,
        };
        let mut bytes = BufReader::with_capacity(256 << 10, file);
        bytes.seek(SeekFrom::Start(known.bytes)).map_err(JournalError::io("read", &path))?;
        found.read(&mut bytes, known.last, known.bytes).map_err(JournalError::io("read", &path))?;
        Ok(found)
    }

    fn read(&mut self, bytes: &mut dyn BufRead, mut last: u64, mut offset: u64) -> std::io::Result<()> {
        let mut piece = Vec::new();
        let mut whole = 0;
        while read_piece(bytes, &mut piece)? {
            let Some(parts) = piece.strip_suffix(b"\n").and_then(line::split) else { break };
            if Some(parts.seq) != last.checked_add(1) {
                break;
            }
            last = parts.seq;
            let end = offset + piece.len() as u64;
            self.entries.push((last, offset, end));
            offset = end;
            if parts.left == 0 {
                whole = self.entries.len();
                self.head = Some(Receipt { seq: last, hash: parts.hash.into() });
            }
        }
        self.entries.truncate(whole);
        Ok(())
    }
}

/// A stream of entries.
#[derive(Debug)]
pub struct Lines {
    reader: Reader,
    next: u64,
    until: u64,
    prev: Option<String>,
    open: Option<Open>,
}

/// The segment that is being streamed.
#[derive(Debug)]
struct Open {
    bytes: BufReader<File>,
    path: PathBuf,
    segment: u64,
    last: u64,
    offset: u64,
    piece: Vec<u8>,
}

impl Iterator for Lines {
    type Item = Result<Line, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.until {
            return None;
        }
        let line = self.read();
        if line.is_err() {
            self.until = 0;
        }
        Some(line)
    }
}

impl Lines {
    fn read(&mut self) -> Result<Line, JournalError> {
        let mut open = match self.open.take() {
            Some(open) if self.next <= open.last => open,
            _ => self.open()?,
        };
        let offset = open.offset;
        open.read_piece()?;
        let line = read_line(&open.piece, self.next, open.segment, offset)?;
        if self.prev.as_ref().is_some_and(|prev| *prev != line.prev) {
            let file = segment::name(open.segment);
            return Err(JournalError::Corrupt(Place { seq: self.next, file, offset, damage: Damage::Prev }));
        }
        self.prev = Some(line.hash.clone());
        self.next += 1;
        self.open = Some(open);
        Ok(line)
    }

    /// The segment that should hold the next entry is gone.
    fn missing(&self) -> JournalError {
        let damage = Damage::Segment { found: self.reader.index.first().unwrap_or(0) };
        JournalError::Corrupt(Place { seq: self.next, file: segment::name(self.next), offset: 0, damage })
    }

    /// Opens the segment of the next entry at that entry.
    fn open(&self) -> Result<Open, JournalError> {
        let spot = self.reader.find(self.next)?.ok_or_else(|| self.missing())?;
        let path = segment::path(&self.reader.dir, spot.segment);
        let file = File::open(&path).map_err(JournalError::io("open", &path))?;
        let mut bytes = BufReader::with_capacity(64 << 10, file);
        bytes.seek(SeekFrom::Start(spot.offset)).map_err(JournalError::io("read", &path))?;
        let Spot { segment, last, offset, .. } = spot;
        let mut open = Open { bytes, path, segment, last, offset, piece: Vec::new() };
        for _ in spot.seq..self.next {
            open.read_piece()?;
        }
        Ok(open)
    }
}

impl Open {
    fn read_piece(&mut self) -> Result<(), JournalError> {
        read_piece(&mut self.bytes, &mut self.piece).map_err(JournalError::io("read", &self.path))?;
        self.offset += self.piece.len() as u64;
        Ok(())
    }
}
