//! How far an export is, on disk: the last entry of the journal whose notices its peer has taken.
//!
//! The file is written beside, synced, renamed, and its folder synced, and only after the peer has taken what it stands for. It names entries
//! with their hashes, so that a journal that was put back or replaced is noticed; then the export goes on behind the last entry that
//! both know.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::reader::Reader;
use crate::journal::{JournalError, Receipt};

/// Name of the folder in the state folder.
pub const FOLDER: &str = "exports";

/// Version of the file's form.
const VERSION: u32 = 1;

/// Earlier marks that are kept; every other of the older ones goes when there are more.
const TRAIL_MAX: usize = 32;

/// An entry by number and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its number; 0 stands for the beginning.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

/// A snapshot that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spooled {
    /// The entry as of which it was taken.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// How many alerts it has.
    pub alerts: u64,
    /// How many of its notices the peer has taken.
    pub done: u64,
}

/// How far an export is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    version: u32,
    /// Its name.
    pub export: String,
    /// Everything up to this entry was taken.
    #[serde(flatten)]
    pub mark: Mark,
    /// When the last snapshot was begun; where there was none yet, when the export was.
    pub snapshot_at: Timestamp,
    /// A calendar for snapshots is set, and time is counted for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_calendar: bool,
    /// The snapshot that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Spooled>,
    /// Earlier marks, the oldest first.
    #[serde(default)]
    trail: Vec<Mark>,
}

impl From<Receipt> for Mark {
    fn from(receipt: Receipt) -> Self {
        Self { seq: receipt.seq, hash: receipt.hash }
    }
}

/// How a cursor was found.
#[derive(Debug)]
pub enum Found {
    /// As it was left.
    Whole(Cursor),
    /// There is none.
    None,
    /// It cannot be understood, for this reason.
    Unusable(String),
}

impl Cursor {
    /// Behind this entry.
    pub fn new(export: &str, mark: Mark, now: Timestamp) -> Self {
        let (export, snapshot, trail) = (export.into(), None, Vec::new());
        Self { version: VERSION, export, mark, snapshot_at: now, has_calendar: false, snapshot, trail }
    }

    /// Notes whether a calendar for snapshots is set; where there was none before, time counts from now. Whether that is anything new.
    pub fn note_calendar(&mut self, is_set: bool, now: Timestamp) -> bool {
        let is_new = is_set != self.has_calendar;
        if is_new && is_set {
            self.snapshot_at = now;
        }
        self.has_calendar = is_set;
        is_new
    }

    /// Reads the one of an export.
    ///
    /// # Errors
    /// When it is there and the system does not give it.
    pub fn read(state: &Path, export: &str) -> io::Result<Found> {
        let text = match fs::read(path(state, export)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::None),
            Err(error) => return Err(error),
        };
        Ok(match serde_json::from_slice::<Self>(&text) {
            Ok(cursor) if cursor.version == VERSION => Found::Whole(cursor),
            Ok(cursor) => Found::Unusable(format!("it has version {}", cursor.version)),
            Err(error) => Found::Unusable(error.to_string()),
        })
    }

    /// Keeps one that cannot be understood as `NAME.json.bad`, for whoever can.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn keep_bad(state: &Path, export: &str) -> io::Result<()> {
        let whole = path(state, export);
        fs::rename(&whole, whole.with_extension("json.bad"))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn write(&self, state: &Path) -> io::Result<()> {
        let folder = state.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let whole = path(state, &self.export);
        let beside = whole.with_extension("json.part");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&beside, &whole)?;
        File::open(&folder)?.sync_all()
    }

    /// Moves on to an entry.
    pub fn advance(&mut self, to: Mark) {
        let before = std::mem::replace(&mut self.mark, to);
        if before.seq > 0 {
            self.trail.push(before);
        }
        if self.trail.len() > TRAIL_MAX {
            let mut n = 0;
            self.trail.retain(|_| {
                n += 1;
                n > TRAIL_MAX / 2 || n % 2 == 1
            });
        }
    }

    /// Goes back to the last mark that the journal knows, where it does not know the newest; `false`: it does, or retention has
    /// dropped it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn align(&mut self, journal: &Reader) -> Result<bool, JournalError> {
        let mut moved = false;
        while !knows(journal, &self.mark)? {
            moved = true;
            self.mark = self.trail.pop().unwrap_or_else(|| Receipt::empty().into());
        }
        Ok(moved)
    }
}

/// Whether an entry is in the journal as it was, as far as that can be told: dropped ones are taken to be.
fn knows(journal: &Reader, mark: &Mark) -> Result<bool, JournalError> {
    if mark.seq == 0 {
        return Ok(true);
    }
    if mark.seq > journal.head().seq {
        return Ok(false);
    }
    match journal.lines(mark.seq).next() {
        // The next entry names the hash of the one before it.
        Some(Ok(line)) if line.seq == mark.seq + 1 => Ok(line.prev == mark.hash),
        Some(Ok(line)) if line.seq > mark.seq => Ok(true),
        Some(Ok(line)) => Ok(line.hash == mark.hash),
        Some(Err(error)) => Err(error),
        None => Ok(false),
    }
}

fn path(state: &Path, export: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{export}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: u64) -> Mark {
        Mark { seq, hash: format!("{seq:064x}") }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_the_written_form_stays() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Cursor::read(folder.path(), "siem").unwrap(), Found::None));
        let mut cursor = Cursor::new("siem", mark(7), Timestamp::UNIX_EPOCH);
        cursor.advance(mark(9));
        cursor.snapshot = Some(Spooled { seq: 9, at: Timestamp::UNIX_EPOCH, alerts: 3, done: 1 });
        cursor.write(folder.path()).unwrap();
        let Found::Whole(read) = Cursor::read(folder.path(), "siem").unwrap() else { panic!("not read") };
        assert_eq!(read, cursor);
        let text = fs::read_to_string(path(folder.path(), "siem")).unwrap();
        let (seven, nine) = (mark(7).hash, mark(9).hash);
        assert_eq!(
            text,
            format!(
                r#"{{"version":1,"export":"siem","seq":9,"hash":"{nine}","snapshot_at":"1970-01-01T00:00:00Z","snapshot":{{"seq":9,"at":"1970-01-01T00:00:00Z","alerts":3,"done":1}},"trail":[{{"seq":7,"hash":"{seven}"}}]}}"#
            )
        );
        fs::write(path(folder.path(), "siem"), text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(
            matches!(Cursor::read(folder.path(), "siem").unwrap(), Found::Unusable(why) if why == "it has version 2")
        );
        fs::write(path(folder.path(), "siem"), "{").unwrap();
        assert!(matches!(Cursor::read(folder.path(), "siem").unwrap(), Found::Unusable(_)));
    }

    #[test]
    fn the_first_snapshot_is_counted_from_when_its_calendar_is_set() {
        let (then, now) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1_000_000).unwrap());
        let mut cursor = Cursor::new("siem", mark(7), then);
        assert!(!cursor.note_calendar(false, now) && cursor.snapshot_at == then);
        assert!(cursor.note_calendar(true, now) && cursor.snapshot_at == now);
        let later = Timestamp::from_second(2_000_000).unwrap();
        assert!(!cursor.note_calendar(true, later) && cursor.snapshot_at == now, "one that was missed is taken");
        assert!(cursor.note_calendar(false, later) && cursor.note_calendar(true, later));
        assert_eq!(cursor.snapshot_at, later);
    }

    #[test]
    fn the_trail_stays_short_and_reaches_far_back() {
        let mut cursor = Cursor::new("siem", mark(1), Timestamp::UNIX_EPOCH);
        (2..100_000).for_each(|seq| cursor.advance(mark(seq)));
        assert!(cursor.trail.len() <= TRAIL_MAX && cursor.trail[0] == mark(1));
        assert_eq!(cursor.trail.last(), Some(&mark(99_998)));
        assert!(cursor.trail.is_sorted_by_key(|mark| mark.seq));
    }

    #[test]
    fn in_another_journal_it_goes_back_to_what_both_know() {
        let folder = tempfile::tempdir().unwrap();
        let journal = crate::daemon::query::story::journal(folder.path());
        let reader = journal.reader();
        let known = |seq: u64| Mark { seq, hash: reader.line(seq).unwrap().unwrap().hash };
        let mut cursor = Cursor::new("siem", known(2), Timestamp::UNIX_EPOCH);
        cursor.advance(known(4));
        assert!(!cursor.align(&reader).unwrap());
        cursor.advance(Mark { seq: 5, hash: "ff".repeat(32) });
        cursor.advance(Mark { seq: 9_999, hash: "ff".repeat(32) });
        assert!(cursor.align(&reader).unwrap());
        assert_eq!(cursor.mark, known(4));
        let mut lost = Cursor::new("siem", Mark { seq: 5, hash: "ff".repeat(32) }, Timestamp::UNIX_EPOCH);
        assert!(lost.align(&reader).unwrap() && lost.mark == Receipt::empty().into());
    }
}
