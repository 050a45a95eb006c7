//! Checkpoints: signed notes over number and hash of an entry, in a file beside the segments.
//!
//! They stand in a file of their own and not in entries: so a note can name the very last entry, tools for notes read
//! the file as it is, and it can be copied to where nobody who holds the journal can reach it. A note is written only
//! once the entry is durable, so none ever names an entry that a crash takes; a torn note is cut off at the next start.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::journal::disk::{Disk, is_full};
use crate::journal::note::{self, Note, Signer, Verifier};
use crate::journal::reach::Reach;
use crate::journal::segment::open_to_write;
use crate::journal::{JournalError, Receipt};

/// Name of the file.
pub const FILE: &str = "checkpoints";

/// How much of the file's end is looked through for its last whole note.
const TAIL_BYTES: u64 = 64 << 10;

/// What a note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which journal: `soard/` and its random id.
    pub origin: String,
    /// The entry, and so all before it.
    pub receipt: Receipt,
    /// How far entries go beyond it at most; earlier versions did not say.
    pub reach: Option<Reach>,
}

impl Checkpoint {
    fn text(&self) -> String {
        let reach = self.reach.map(|reach| format!("{reach}\n")).unwrap_or_default();
        format!("{}\n{}\n{}\n{reach}", self.origin, self.receipt.seq, self.receipt.hash)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, seq, hash) = (lines.next()?, lines.next()?.parse().ok()?, lines.next()?);
        let is_hash = hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let reach = lines.next().and_then(Reach::parse);
        let checkpoint = Self { origin: origin.into(), receipt: Receipt { seq, hash: hash.into() }, reach };
        (is_hash && checkpoint.text() == text).then_some(checkpoint)
    }

    /// The note: text, empty line, signatures.
    pub fn sign(&self, signers: &[Signer]) -> String {
        note::sign(&self.text(), signers)
    }
}

/// Name of the origin of a journal with this random id.
pub fn origin(journal: &str) -> String {
    format!("soard/{journal}")
}

/// A checkpoint as it stands in the file.
#[derive(Debug, Clone)]
pub struct Signed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Where its note begins in the file.
    pub offset: u64,
    note: String,
}

impl Signed {
    /// Whether this key signed it.
    pub fn by(&self, verifier: &Verifier) -> bool {
        Note::first_of(&self.note).is_some_and(|(note, _)| verifier.signed(&note))
    }
}

/// All checkpoints of a text: notes, each followed by an empty line.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// In the order of the file.
    pub signed: Vec<Signed>,
    /// Where the first thing stands that is no whole checkpoint.
    pub bad: Option<u64>,
    /// It is the last one: a note that was being written.
    pub torn: bool,
}

impl Checkpoints {
    /// Reads the file in the journal's folder; an absent one holds none.
    ///
    /// # Errors
    /// [`JournalError::Io`] when it cannot be read.
    pub fn read(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(JournalError::io("read", &path)(error)),
        }
    }

    /// Reads notes, each followed by an empty line, up to the first thing that is none.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(bad) => std::str::from_utf8(&bytes[..bad.valid_up_to()]).unwrap_or_default(),
        };
        let mut found = Self::default();
        let mut at = 0;
        while at < bytes.len() {
            let Some((signed, length)) = one(&text[at..], at) else {
                found.bad = Some(at as u64);
                // A whole note has two empty lines: one before its signatures, one behind them.
                found.torn = bytes[at..].windows(2).filter(|two| two == b"\n\n").count() < 2;
                break;
            };
            found.signed.push(signed);
            at += length;
        }
        found
    }
}

fn one(text: &str, at: usize) -> Option<(Signed, usize)> {
    let (parts, length) = Note::first_of(text)?;
    let checkpoint = Checkpoint::parse(parts.text)?;
    text[length..]
        .starts_with('\n')
        .then(|| (Signed { checkpoint, offset: at as u64, note: text[..length].to_owned() }, length + 1))
}

/// The notes near the end of the file, whatever stands between them; an absent file holds none. The offsets are not those
/// of the file.
pub(super) fn last_notes(dir: &Path) -> Result<Vec<Signed>, JournalError> {
    let path = dir.join(FILE);
    let mut tail = Vec::new();
    let read = File::open(&path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        file.read_to_end(&mut tail)
    });
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(JournalError::io("read", &path))?,
    };
    let text = String::from_utf8_lossy(&tail);
    let begins = std::iter::once(0).chain(text.match_indices("\n\n").map(|(at, _)| at + 2));
    Ok(begins.filter_map(|at| one(text.get(at..)?, at)).map(|(signed, _)| signed).collect())
}

/// The file, open for appending.
pub(super) struct CheckpointFile {
    file: File,
    path: PathBuf,
    disk: Disk,
    bytes: u64,
}

impl CheckpointFile {
    /// Opens the file, makes it when absent, and cuts off a torn note.
    pub fn open(dir: &Path, disk: Disk) -> Result<Self, JournalError> {
        let path = dir.join(FILE);
        let open = || {
            let mut file = open_to_write(&path)?;
            let length = file.metadata()?.len();
            let bytes = whole_bytes(&mut file, length)?;
            if bytes < length {
                file.set_len(bytes)?;
                file.sync_data()?;
            }
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(JournalError::io("open", &path))?;
        Ok(Self { file, path, disk, bytes })
    }

    /// Adds a note and makes it durable, so that only the last one can ever be torn. What a full disk leaves of it is cut
    /// off again.
    pub fn append(&mut self, note: &str) -> Result<(), JournalError> {
        let bytes = format!("{note}\n");
        let written =
            self.disk.write_at(&self.file, bytes.as_bytes(), self.bytes).and_then(|()| self.disk.sync(&self.file));
        match written {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                if is_full(&error) {
                    self.disk.cut(&self.file, self.bytes).map_err(JournalError::io("cut back", &self.path))?;
                }
                Err(JournalError::io("write", &self.path)(error))
            }
        }
    }
}

/// Where the last whole note ends. Damage further up is left as it is, for `log verify` to find.
fn whole_bytes(file: &mut File, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut tail)?;
    // A note ends with the line end of a signature and an empty line.
    let ends = |window: &[u8]| window == b"\n\n";
    let mut end = tail.windows(2).rposition(ends).map(|at| at + 2);
    while let Some(at) = end {
        let before = &tail[..at - 2];
        let line = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if before[line..].starts_with("— ".as_bytes()) {
            break;
        }
        end = tail[..at - 1].windows(2).rposition(ends).map(|at| at + 2);
    }
    Ok(end.map_or(if from == 0 { 0 } else { length }, |at| from + at as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::reach::REACH;

    fn checkpoint(seq: u64) -> Checkpoint {
        // Notes of earlier versions lie among the others.
        let reach = (seq > 1).then_some(REACH);
        Checkpoint { origin: origin("00ff"), receipt: Receipt { seq, hash: "a".repeat(64) }, reach }
    }

    #[test]
    fn notes_read_back_and_a_torn_one_is_cut_off_at_any_byte() {
        let signer = Signer::new("soard/00ff", [7; 32]).unwrap();
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join(FILE);
        let notes: Vec<String> =
            (1..=3).map(|seq| checkpoint(seq).sign(std::slice::from_ref(&signer)) + "\n").collect();
        let whole = notes.concat();
        let two = notes[0].len() + notes[1].len();
        for cut in two..whole.len() {
            std::fs::write(&path, &whole.as_bytes()[..cut]).unwrap();
            let read = Checkpoints::read(dir.path()).unwrap();
            assert_eq!((read.signed.len(), read.bad), (2, (cut > two).then_some(two as u64)), "cut at {cut}");
            assert!(read.bad.is_none() || read.torn, "cut at {cut}");
            CheckpointFile::open(dir.path(), Disk::default()).unwrap().append(&notes[2][..notes[2].len() - 1]).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "cut at {cut}");
        }
        let read = Checkpoints::read(dir.path()).unwrap();
        assert!(read.signed.iter().all(|signed| signed.by(signer.verifier())));
        assert_eq!(read.signed[2].checkpoint, checkpoint(3));
        std::fs::write(&path, whole.replacen("\n2\n", "\n 2\n", 1)).unwrap();
        let read = Checkpoints::read(dir.path()).unwrap();
        assert_eq!((read.signed.len(), read.bad, read.torn), (1, Some(notes[0].len() as u64), false));
    }
}
