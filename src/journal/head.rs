//! The HEAD file: the last acknowledged entry, and whether the journal was closed in good order.
//!
//! It is rewritten in place for each batch, before the batch is acknowledged, and synced each second. So after a
//! killed process it names every acknowledged entry, and after a power cut all but those of the last second.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::journal::disk::Disk;
use crate::journal::line::{hash_holds, seal};
use crate::journal::segment::open_to_write;
use crate::journal::{JournalError, Receipt};

/// The file's length: less than a sector, so that a disk writes all of it or nothing.
const BYTES: usize = 256;

/// How often a reader that may have met the writer in the middle of a write looks again.
const READS_MAX: u32 = 5;

/// What the HEAD file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub receipt: Receipt,
    pub closed: bool,
}

#[derive(Deserialize)]
struct Raw {
    v: u64,
    seq: u64,
    head: String,
    closed: bool,
}

impl Head {
    /// Reads HEAD; `None` when it is absent or not readable as what it should be: then it says nothing.
    pub fn read(dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = path(dir);
        for _ in 0..READS_MAX {
            match fs::read(&path) {
                Ok(bytes) => {
                    if let Some(head) = Self::parse(&bytes) {
                        return Ok(Some(head));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(JournalError::io("read", &path)(error)),
            }
        }
        Ok(None)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = bytes.trim_ascii_end();
        let raw: Raw = if hash_holds(text) { serde_json::from_slice(text).ok()? } else { return None };
        (raw.v == 1).then_some(Self { receipt: Receipt { seq: raw.seq, hash: raw.head }, closed: raw.closed })
    }

    fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(BYTES);
        let Receipt { seq, hash } = &self.receipt;
        write!(text, r#"{{"v":1,"seq":{seq},"head":"{hash}","closed":{}"#, self.closed)
            .expect("a buffer in memory takes everything");
        seal(&mut text, 0);
        text.resize(BYTES - 1, b' ');
        text.push(b'\n');
        text
    }
}

/// The HEAD file, open for writing.
pub(super) struct HeadFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl HeadFile {
    /// Opens HEAD, makes it when absent.
    pub fn open(dir: &Path, disk: Disk) -> Result<Self, JournalError> {
        let path = path(dir);
        let file = open_to_write(&path).map_err(JournalError::io("open", &path))?;
        Ok(Self { file, path, disk })
    }

    pub fn write(&self, head: &Head) -> Result<(), JournalError> {
        self.disk.write_at(&self.file, &head.render(), 0).map_err(JournalError::io("write", &self.path))
    }

    pub fn sync(&self) -> Result<(), JournalError> {
        self.disk.sync(&self.file).map_err(JournalError::io("sync", &self.path))
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("HEAD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_reads_back_and_any_damage_makes_it_say_nothing() {
        let head = Head { receipt: Receipt { seq: u64::MAX, hash: "a".repeat(64) }, closed: true };
        let text = head.render();
        assert_eq!((text.len(), text.last()), (BYTES, Some(&b'\n')));
        assert_eq!(Head::parse(&text), Some(head));
        let length = text.trim_ascii_end().len();
        for at in 0..length {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_eq!(Head::parse(&changed), None, "byte {at}");
            assert_eq!(Head::parse(&text[..at]), None, "cut at {at}");
        }
        assert_eq!(Head::parse(&[0; BYTES]), None);
    }
}
