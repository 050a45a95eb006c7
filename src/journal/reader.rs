//! Reading entries back, by number or in a stream, while the writer appends or without a daemon at all.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::archive;
use crate::journal::head::Head;
use crate::journal::index::{Index, Lies, Segment, Spot};
use crate::journal::line::{self, Line};
use crate::journal::segment::{self, Form, Opened, Text, read_piece};
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
            sealed.push(Segment::unmarked(pair[0], pair[1] - 1, segment::open(dir, pair[0])?.bytes()?));
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
        let opened = match segment::open(&self.dir, known.first) {
            Err(absent) if absent.is_absent() => return Ok(()),
            opened => opened?,
        };
        let found = Batches::behind(opened, known)?;
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
        let Some((spot, opened)) = self.open_at(seq)? else { return Ok(None) };
        match spot.lies {
            Lies::Until(end) => Self::line_within(&opened, &spot, end, seq).map(Some),
            Lies::InFrame(packed) => {
                let path = opened.path.clone();
                let text = opened.text_from_frame(packed)?;
                let mut open = Open { text, path, last: spot.last, offset: spot.offset, piece: Vec::new() };
                open.skip(spot.seq, seq)?;
                open.read(seq).map(Some)
            }
        }
    }

    /// One read, of little more than the entry.
    fn line_within(opened: &Opened, spot: &Spot, end: u64, seq: u64) -> Result<Line, JournalError> {
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(spot.offset)).unwrap_or(usize::MAX)];
        let read = opened.file.read_exact_at(&mut bytes, spot.offset);
        read.map_err(JournalError::io("read", &opened.path))?;
        let (mut rest, mut offset) = (bytes.as_slice(), spot.offset);
        for _ in spot.seq..seq {
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            rest = &rest[line..];
            offset += line as u64;
        }
        let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        read_line(&rest[..line], seq, &opened.path, offset)
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

    /// Where an entry is to be looked for, and that file. A segment that was archived since it was last looked at is looked at anew.
    fn open_at(&self, seq: u64) -> Result<Option<(Spot, Opened)>, JournalError> {
        if let Some(first) = self.index.unmarked(seq) {
            self.mark(first)?;
        }
        let Some(spot) = self.index.find(seq) else { return Ok(None) };
        match form(&spot).open(&self.dir, spot.segment) {
            Err(gone) if gone.is_absent() && form(&spot) == Form::Plain => self.mark(spot.segment)?,
            opened => return opened.map(|opened| Some((spot, opened))),
        }
        let Some(spot) = self.index.find(seq) else { return Ok(None) };
        form(&spot).open(&self.dir, spot.segment).map(|opened| Some((spot, opened)))
    }

    /// Looks where the entries of a segment lie.
    fn mark(&self, first: u64) -> Result<(), JournalError> {
        let opened = segment::open(&self.dir, first)?;
        let path = opened.path.clone();
        let walked = match opened.form {
            Form::Plain => {
                let mut walked = Segment::new(first);
                for (seq, offset, end) in Batches::behind(opened, &walked)?.entries {
                    walked.add(seq, offset, end);
                }
                walked
            }
            Form::Archive => {
                let frames = archive::frames(BufReader::new(opened.file), first);
                Segment::archived(first, frames.map_err(JournalError::io("read", &path))?)
            }
        };
        self.index.mark(walked);
        Ok(())
    }
}

fn form(spot: &Spot) -> Form {
    match spot.lies {
        Lies::Until(_) => Form::Plain,
        Lies::InFrame(_) => Form::Archive,
    }
}

/// Reads a line that has to be this entry.
fn read_line(piece: &[u8], seq: u64, path: &Path, offset: u64) -> Result<Line, JournalError> {
    let read = || {
        let line = Line::parse(piece.strip_suffix(b"\n").ok_or(Damage::Cut)?)?;
        if line.seq == seq { Ok(line) } else { Err(Damage::Seq { found: line.seq }) }
    };
    read().map_err(|damage| JournalError::Corrupt(Place { seq, file: segment::name_of(path), offset, damage }))
}

/// The entries of whole batches in a segment, behind those that are known. Hashes are checked when an entry is read.
#[derive(Default)]
struct Batches {
    entries: Vec<(u64, u64, u64)>,
    head: Option<Receipt>,
}

impl Batches {
    fn behind(opened: Opened, known: &Segment) -> Result<Self, JournalError> {
        let path = opened.path.clone();
        let mut found = Self::default();
        let mut text = match opened.text_from(known.bytes) {
            Err(damage) if damage.is_damage() => return Ok(found),
            text => text?,
        };
        match found.read(&mut text, known.last, known.bytes) {
            Err(error) if !archive::is_damage(&error) => Err(JournalError::io("read", &path)(error)),
            _ => Ok(found),
        }
    }

    fn read(&mut self, bytes: &mut dyn BufRead, last: u64, offset: u64) -> io::Result<()> {
        let mut whole = 0;
        let read = self.read_lines(bytes, last, offset, &mut whole);
        self.entries.truncate(whole);
        read
    }

    fn read_lines(
        &mut self,
        bytes: &mut dyn BufRead,
        mut last: u64,
        mut offset: u64,
        whole: &mut usize,
    ) -> io::Result<()> {
        let mut piece = Vec::new();
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
                *whole = self.entries.len();
                self.head = Some(Receipt { seq: last, hash: parts.hash.into() });
            }
        }
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
struct Open {
    text: Text,
    path: PathBuf,
    last: u64,
    offset: u64,
    piece: Vec<u8>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.path.display(), self.offset)
    }
}

impl Iterator for Lines {
    type Item = Result<Line, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next <= self.until {
            match self.read() {
                Err(error) => match self.pass_over_dropped() {
                    Ok(true) => {}
                    _ => {
                        self.until = 0;
                        return Some(Err(error));
                    }
                },
                line => return Some(line),
            }
        }
        None
    }
}

impl Lines {
    fn read(&mut self) -> Result<Line, JournalError> {
        let mut open = match self.open.take() {
            Some(open) if self.next <= open.last => open,
            _ => self.open()?,
        };
        let offset = open.offset;
        let line = open.read(self.next)?;
        if self.prev.as_ref().is_some_and(|prev| *prev != line.prev) {
            let file = segment::name_of(&open.path);
            return Err(JournalError::Corrupt(Place { seq: self.next, file, offset, damage: Damage::Prev }));
        }
        self.prev = Some(line.hash.clone());
        self.next += 1;
        self.open = Some(open);
        Ok(line)
    }

    /// Goes on behind what retention took while the stream was on its way; `false`: it took nothing.
    fn pass_over_dropped(&mut self) -> Result<bool, JournalError> {
        let listed = segment::list(&self.reader.dir)?.first().copied();
        let first = listed.max(self.reader.index.first()).unwrap_or(0);
        if first <= self.next {
            return Ok(false);
        }
        self.reader.forget(first - 1);
        (self.next, self.prev) = (first, None);
        Ok(true)
    }

    /// The segment that should hold the next entry is gone.
    fn missing(&self) -> JournalError {
        let damage = Damage::Segment { found: self.reader.index.first().unwrap_or(0) };
        JournalError::Corrupt(Place { seq: self.next, file: segment::name(self.next), offset: 0, damage })
    }

    /// Opens the segment of the next entry at that entry.
    fn open(&self) -> Result<Open, JournalError> {
        let (spot, opened) = self.reader.open_at(self.next)?.ok_or_else(|| self.missing())?;
        let path = opened.path.clone();
        let text = match spot.lies {
            Lies::Until(_) => opened.text_from(spot.offset)?,
            Lies::InFrame(packed) => opened.text_from_frame(packed)?,
        };
        let mut open = Open { text, path, last: spot.last, offset: spot.offset, piece: Vec::new() };
        open.skip(spot.seq, self.next)?;
        Ok(open)
    }
}

impl Open {
    /// Reads the line that has to be this entry.
    fn read(&mut self, seq: u64) -> Result<Line, JournalError> {
        let offset = self.offset;
        self.read_piece(seq)?;
        read_line(&self.piece, seq, &self.path, offset)
    }

    /// Passes over the lines from one entry to before another.
    fn skip(&mut self, from: u64, to: u64) -> Result<(), JournalError> {
        (from..to).try_for_each(|_| self.read_piece(to))
    }

    fn read_piece(&mut self, seq: u64) -> Result<(), JournalError> {
        let (offset, file) = (self.offset, || segment::name_of(&self.path));
        read_piece(&mut self.text, &mut self.piece).map_err(|error| match archive::is_damage(&error) {
            true => JournalError::Corrupt(Place { seq, file: file(), offset, damage: Damage::Archive }),
            false => JournalError::io("read", &self.path)(error),
        })?;
        self.offset += self.piece.len() as u64;
        Ok(())
    }
}
