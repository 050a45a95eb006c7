//! Repair by an operator's word: what stands behind the first damage is given up, kept aside and put on record.
//!
//! The entry that records it is written into the very file that takes the damaged segment's place: there is no moment at
//! which the journal is good again and does not say why.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use jiff::Timestamp;

use crate::domain::entry::{Facts, Log};
use crate::journal::archive;
use crate::journal::checkpoint::{self, Checkpoints};
use crate::journal::disk::Disk;
use crate::journal::head::{Head, HeadFile};
use crate::journal::line::{self, Slot, sha256};
use crate::journal::lock::Lock;
use crate::journal::recover::{Begin, walk_all};
use crate::journal::segment::{self, Form};
use crate::journal::start::write_whole;
use crate::journal::{Draft, JournalError, Place, Receipt};

/// What a repair would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the journal is damaged, and how.
    pub place: Place,
    /// The last entry that stays.
    pub kept: Receipt,
    /// Its time.
    pub kept_at: Timestamp,
    /// Bytes of segments that are given up; of an archive, also those that do not unpack.
    pub lost_bytes: u64,
    /// Whole lines among them.
    pub lost_lines: u64,
    /// The last entry that is known to have been there, by lines or by HEAD.
    pub lost_to: u64,
    batch: u64,
    /// The segment in which the kept part ends, and where.
    segment: u64,
    bytes: u64,
    /// Segments behind it.
    later: Vec<u64>,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The entry that says so.
    pub receipt: Receipt,
    /// Files in the journal's folder that hold what was given up.
    pub files: Vec<String>,
}

/// Looks for the damage that keeps the journal from being opened; `None`: there is none.
///
/// # Errors
/// When the files cannot be read.
pub fn plan(dir: &Path) -> Result<Option<Plan>, JournalError> {
    let head = Head::read(dir)?;
    let (mut kept, mut kept_at, mut batch) = (Receipt::empty(), Timestamp::UNIX_EPOCH, 0);
    let (mut segment, mut bytes) = (1, 0);
    let walked = walk_all(dir, Begin::First, head.as_ref(), &mut |first, span, line| {
        if line.left == 0 {
            kept = Receipt { seq: line.seq, hash: line.hash };
            (kept_at, batch, segment, bytes) = (line.at, line.batch, first, span.end);
        }
        Ok(())
    });
    let place = match walked {
        Ok(_) => return Ok(None),
        Err(JournalError::Corrupt(place)) => place,
        Err(other) => return Err(other),
    };
    let lost_to = head.map_or(0, |head| head.receipt.seq);
    let later = segment::list(dir)?.into_iter().filter(|first| *first > segment).collect();
    let (lost_bytes, lost_lines) = (0, 0);
    let mut plan = Plan { place, kept, kept_at, lost_bytes, lost_lines, lost_to, batch, segment, bytes, later };
    plan.count(dir)?;
    Ok(Some(plan))
}

impl Plan {
    fn count(&mut self, dir: &Path) -> Result<(), JournalError> {
        for first in [self.segment].iter().chain(&self.later.clone()) {
            let from = if *first == self.segment { self.bytes } else { 0 };
            let Some(Rest { text, packed }) = behind(dir, *first, from)? else { continue };
            self.lost_bytes += text.len() as u64 + packed;
            for line in text.split(|byte| *byte == b'\n') {
                if let Ok(parts) = line::check(line) {
                    self.lost_lines += 1;
                    self.lost_to = self.lost_to.max(parts.seq);
                }
            }
        }
        Ok(())
    }

    /// Gives up what the plan names. `at` is the time of the entry that records it.
    ///
    /// # Errors
    /// When another process has the journal, the damage is not what it was when the plan was made, or a file cannot be
    /// written. Whatever was done by then was to move things aside; the same call goes on from there.
    pub fn carry_out(&self, dir: &Path, at: Timestamp) -> Result<Repaired, JournalError> {
        let _lock = Lock::take(dir)?;
        if plan(dir)?.as_ref() != Some(self) {
            let changed = io::Error::other("the damage is not what it was");
            return Err(JournalError::io("repair", dir)(changed));
        }
        let begin = format!("{:020}", self.kept.seq + 1);
        let mut files = Vec::new();
        let archive = segment::archive_path(dir, self.segment);
        let is_archive = archive.exists() && !segment::path(dir, self.segment).exists();
        if is_archive {
            // It stays until what is kept of it lies there as lines.
            let name = format!("{}.damaged", segment::name_of(&archive));
            write_whole(dir, &dir.join(&name), |to| io::copy(&mut fs::File::open(&archive)?, to).map(drop))?;
            files.push(name);
        } else if let Some(rest) = behind(dir, self.segment, self.bytes)?.filter(|rest| !rest.text.is_empty()) {
            files.push(aside(dir, &begin, "damaged", &rest.text)?);
        }
        for first in self.later.iter().rev() {
            for path in [segment::path(dir, *first), segment::archive_path(dir, *first)] {
                if path.exists() {
                    files.push(archive::aside(dir, &path)?);
                }
            }
        }
        files.extend(self.notes_aside(dir, &begin)?);
        files.sort();
        let receipt = self.write(dir, at.max(self.kept_at), &files)?;
        if is_archive {
            fs::remove_file(&archive).map_err(JournalError::io("remove", &archive))?;
        }
        let head = HeadFile::open(dir, Disk::default())?;
        head.write(&Head { receipt: receipt.clone(), closed: false })?;
        head.sync()?;
        segment::sync_dir(dir)?;
        Ok(Repaired { receipt, files })
    }

    /// Checkpoints over what is given up would speak against all that follows.
    fn notes_aside(&self, dir: &Path, begin: &str) -> Result<Option<String>, JournalError> {
        let path = dir.join(checkpoint::FILE);
        let beyond = |seq: u64| seq > self.kept.seq;
        let notes = Checkpoints::read(dir)?;
        let first =
            notes.signed.iter().find(|signed| beyond(signed.checkpoint.receipt.seq)).map(|signed| signed.offset);
        let Some(from) = first else { return Ok(None) };
        let bytes = fs::read(&path).map_err(JournalError::io("read", &path))?;
        let (kept, lost) = bytes.split_at(usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len()));
        let name = aside(dir, begin, "checkpoints.damaged", lost)?;
        write_whole(dir, &path, |to| to.write_all(kept))?;
        Ok(Some(name))
    }

    /// The kept part and the entry about the rest take the damaged segment's place at once.
    fn write(&self, dir: &Path, at: Timestamp, files: &[String]) -> Result<Receipt, JournalError> {
        let seq = self.kept.seq + 1;
        let facts = Facts::Log(Log::Repaired {
            damage: self.place.to_string(),
            from: seq,
            to: self.lost_to.max(self.kept.seq),
            bytes: self.lost_bytes,
            files: files.to_vec(),
        });
        let draft = Draft { at, kind: facts.kind(), data: facts.data() };
        let mut entry = Vec::new();
        let slot = Slot { seq, batch: self.batch + 1, left: 0, prev: &self.kept.hash };
        let hash = line::write(&mut entry, &slot, &draft);
        let path = segment::path(dir, self.segment);
        write_whole(dir, &path, |to| {
            if self.bytes > 0 {
                let kept = segment::open(dir, self.segment).map_err(io::Error::other)?;
                let from: &mut dyn Read = &mut kept.text().take(self.bytes);
                io::copy(from, to)?;
            }
            to.write_all(&entry)
        })?;
        Ok(Receipt { seq, hash })
    }
}

/// The end of a segment.
struct Rest {
    /// What can be read.
    text: Vec<u8>,
    /// How much of an archive does not unpack.
    packed: u64,
}

/// What stands in a segment behind this byte of its lines; `None`: there is no such segment.
fn behind(dir: &Path, first: u64, from: u64) -> Result<Option<Rest>, JournalError> {
    let opened = match segment::open(dir, first) {
        Err(absent) if absent.is_absent() => return Ok(None),
        opened => opened?,
    };
    let path = opened.path.clone();
    let read = match opened.form {
        Form::Archive => archive::rest(opened.file, from).map(|(text, packed)| Rest { text, packed }),
        Form::Plain => {
            let (mut text, mut lines) = (Vec::new(), opened.text_from(from)?);
            lines.read_to_end(&mut text).map(|_| Rest { text, packed: 0 })
        }
    };
    read.map(Some).map_err(JournalError::io("read", &path))
}

/// Keeps bytes in a side file, named by the entry that would have begun there and by what they are.
fn aside(dir: &Path, begin: &str, ending: &str, bytes: &[u8]) -> Result<String, JournalError> {
    let name = format!("{begin}-{}.{ending}", &sha256(bytes)[..16]);
    write_whole(dir, &dir.join(&name), |to| to.write_all(bytes))?;
    Ok(name)
}
