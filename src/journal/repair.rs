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
use crate::journal::evidence::{Evidence, OnRecord};
use crate::journal::head::{Head, HeadFile};
use crate::journal::line::{self, Slot, sha256};
use crate::journal::lock::Lock;
use crate::journal::recover::{Begin, Found, walk_all};
use crate::journal::segment::{self, Form};
use crate::journal::start::write_whole;
use crate::journal::{Damage, Draft, JournalError, Place, Receipt};

/// A base that can be used: what entries that retention dropped add up to.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The last of these entries.
    pub receipt: Receipt,
    /// Its time.
    pub at: Timestamp,
    /// The key that signed it; empty where none did.
    pub signed_by: String,
    /// What says that they were dropped, should the entry that says so be lost.
    pub dropped: Log,
}

/// What a repair knows from beside the journal.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What tells how far the journal went, and the keys at hand.
    pub evidence: Evidence,
    /// The newest base that can be used.
    pub base: Option<Base>,
}

/// What a repair would do.
#[derive(Debug, Clone, PartialEq)]
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
    /// The last entry that is known to have been there, by lines, by HEAD or by what lies beside the journal.
    pub lost_to: u64,
    /// The key at hand, where it is not the one in charge at the last entry that stays.
    pub key: Option<String>,
    /// Files beside the journal that name what is given up.
    pub beyond: Vec<String>,
    batch: u64,
    /// The segment in which the kept part ends, and where.
    segment: u64,
    bytes: u64,
    /// Other segments that go.
    later: Vec<u64>,
    /// Nothing is kept but what a base stands for: this is put on record anew.
    dropped: Option<Log>,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The entry that says so.
    pub receipt: Receipt,
    /// Files in the journal's folder, or beside it, that hold what was given up.
    pub files: Vec<String>,
}

/// The whole part of the journal, and what it says of keys.
struct Whole {
    kept: Receipt,
    at: Timestamp,
    batch: u64,
    segment: u64,
    bytes: u64,
    dropped: Option<Log>,
    signed_by: String,
}

impl Whole {
    fn nothing() -> Self {
        let (kept, at, signed_by) = (Receipt::empty(), Timestamp::UNIX_EPOCH, String::new());
        Self { kept, at, batch: 0, segment: 1, bytes: 0, dropped: None, signed_by }
    }

    /// Reads up to the first damage; what the walk came to.
    fn read(dir: &Path, head: Option<&Head>) -> Result<(Self, Result<Found, Place>, OnRecord), JournalError> {
        let (mut whole, mut on_record) = (Self::nothing(), OnRecord::default());
        let walked = walk_all(dir, Begin::First, head, &mut |first, span, line| {
            on_record.meet(&line);
            if line.left == 0 {
                whole.kept = Receipt { seq: line.seq, hash: line.hash };
                (whole.at, whole.batch, whole.segment, whole.bytes) = (line.at, line.batch, first, span.end);
            }
            Ok(())
        });
        whole.signed_by = on_record.keys.last().cloned().unwrap_or_default();
        match walked {
            Ok(found) => Ok((whole, Ok(found), on_record)),
            Err(JournalError::Corrupt(place)) => Ok((whole, Err(place), on_record)),
            Err(other) => Err(other),
        }
    }

    /// What a base stands for is whole, too.
    fn or(self, base: Option<&Base>) -> Self {
        let Some(base) = base.filter(|base| base.receipt.seq > self.kept.seq) else { return self };
        let seq = base.receipt.seq;
        // Batches are counted anew behind a base; there were never more of them than entries.
        let (kept, at, batch) = (base.receipt.clone(), base.at, seq);
        let (dropped, signed_by) = (Some(base.dropped.clone()), base.signed_by.clone());
        Self { kept, at, batch, segment: seq + 1, bytes: 0, dropped, signed_by }
    }

    /// What keeping this would give up, as far as it is known without the segments.
    fn plan(self, place: Place, evidence: &Evidence) -> Plan {
        let beyond: Vec<_> = evidence.files.iter().filter(|named| named.seq > self.kept.seq).collect();
        let noted = match place.damage {
            Damage::BeforeCheckpoint { seq } => seq,
            _ => 0,
        };
        let at_hand: Vec<String> = evidence.keys.iter().map(ToString::to_string).collect();
        let is_lost = !self.signed_by.is_empty() && !at_hand.contains(&self.signed_by);
        Plan {
            place,
            kept: self.kept,
            kept_at: self.at,
            lost_bytes: 0,
            lost_lines: 0,
            lost_to: beyond.iter().map(|named| named.seq).max().unwrap_or(0).max(noted),
            key: at_hand.into_iter().next().filter(|_| is_lost),
            beyond: beyond.into_iter().map(|named| named.file.clone()).collect(),
            batch: self.batch,
            segment: self.segment,
            bytes: self.bytes,
            later: Vec::new(),
            dropped: self.dropped,
        }
    }
}

/// Looks for what keeps the journal from being opened; `None`: nothing does.
///
/// # Errors
/// When the files cannot be read.
pub fn plan(dir: &Path, beside: &Beside) -> Result<Option<Plan>, JournalError> {
    let Beside { evidence, base } = beside;
    let head = Head::read(dir)?;
    let no_folder = |error: &JournalError| error.is_absent() && !dir.exists();
    let (mut whole, place) = match Whole::read(dir, head.as_ref()) {
        Ok((mut whole, Ok(found), on_record)) => {
            let is_absent = head.is_none() && found.segments.is_empty();
            let end = found.tip.receipt.seq;
            let Some(damage) = evidence.lacks(dir, &found, is_absent, &on_record)? else { return Ok(None) };
            let last = found.segments.last().copied().filter(|_| !found.ends_in_archive);
            (whole.segment, whole.bytes) = last.map_or((end + 1, 0), |last| (last, found.whole_bytes));
            let (file, offset) = found.end();
            (whole, Place { seq: end + 1, file, offset, damage })
        }
        Ok((whole, Err(place), _)) => (whole, place),
        Err(absent) if no_folder(&absent) => {
            let Some(damage) = evidence.beyond(dir, 0, true, &[])? else { return Err(absent) };
            (Whole::nothing(), Place { seq: 1, file: segment::name(1), offset: 0, damage })
        }
        Err(other) => return Err(other),
    };
    whole = whole.or(base.as_ref());
    let mut plan = whole.plan(place, evidence);
    plan.lost_to = plan.lost_to.max(head.map_or(0, |head| head.receipt.seq));
    if dir.exists() {
        let is_other = |first: &u64| *first > plan.segment || (plan.dropped.is_some() && *first != plan.segment);
        plan.later = segment::list(dir)?.into_iter().filter(is_other).collect();
        plan.count(dir)?;
    }
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
    pub fn carry_out(&self, dir: &Path, beside: &Beside, at: Timestamp) -> Result<Repaired, JournalError> {
        segment::make_dir(dir)?;
        let _lock = Lock::take(dir)?;
        if plan(dir, beside)?.as_ref() != Some(self) {
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
        let notes = self.notes_aside(dir, &begin)?;
        files.extend(notes.iter().map(|(name, _)| name.clone()));
        files.extend(self.beyond.iter().map(|file| beside_name(file, &begin)));
        files.sort();
        let receipt = self.write(dir, at.max(self.kept_at), &files)?;
        if is_archive {
            fs::remove_file(&archive).map_err(JournalError::io("remove", &archive))?;
        }
        // Only now: as long as the journal does not say what was given up, what names it must stay.
        if let Some((_, kept)) = notes {
            write_whole(dir, &dir.join(checkpoint::FILE), |to| to.write_all(&kept))?;
        }
        self.move_beyond(dir, &begin)?;
        let head = HeadFile::open(dir, Disk::default())?;
        head.write(&Head { receipt: receipt.clone(), closed: false })?;
        head.sync()?;
        segment::sync_dir(dir)?;
        Ok(Repaired { receipt, files })
    }

    /// Checkpoints over what is given up would speak against all that follows: the name of the file that they are copied
    /// to, and what is left.
    fn notes_aside(&self, dir: &Path, begin: &str) -> Result<Option<(String, Vec<u8>)>, JournalError> {
        let path = dir.join(checkpoint::FILE);
        let beyond = |seq: u64| seq > self.kept.seq;
        let notes = Checkpoints::read(dir)?;
        let first =
            notes.signed.iter().find(|signed| beyond(signed.checkpoint.receipt.seq)).map(|signed| signed.offset);
        let Some(from) = first else { return Ok(None) };
        let bytes = fs::read(&path).map_err(JournalError::io("read", &path))?;
        let (kept, lost) = bytes.split_at(usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len()));
        let name = aside(dir, begin, "checkpoints.damaged", lost)?;
        Ok(Some((name, kept.to_vec())))
    }

    /// A snapshot or a base of what is given up does not fit what follows.
    fn move_beyond(&self, dir: &Path, begin: &str) -> Result<(), JournalError> {
        let Some(state) = dir.parent().filter(|_| !self.beyond.is_empty()) else { return Ok(()) };
        let state = if state.as_os_str().is_empty() { Path::new(".") } else { state };
        for file in &self.beyond {
            let path = state.join(file);
            fs::rename(&path, state.join(beside_name(file, begin))).map_err(JournalError::io("move aside", &path))?;
        }
        segment::sync_dir(state)
    }

    /// The kept part and the entry about the rest take the damaged segment's place at once.
    fn write(&self, dir: &Path, at: Timestamp, files: &[String]) -> Result<Receipt, JournalError> {
        let repaired = Log::Repaired {
            damage: self.place.to_string(),
            from: self.kept.seq + 1,
            to: self.lost_to.max(self.kept.seq),
            bytes: self.lost_bytes,
            files: files.to_vec(),
            key: self.key.clone(),
        };
        let mut receipt = self.kept.clone();
        let (mut entries, logs) = (Vec::new(), self.dropped.iter().cloned().chain([repaired]));
        for (left, log) in (0..=u32::from(self.dropped.is_some())).rev().zip(logs) {
            let facts = Facts::Log(log);
            let draft = Draft { at, kind: facts.kind(), data: facts.data() };
            let slot = Slot { seq: receipt.seq + 1, batch: self.batch + 1, left, prev: &receipt.hash };
            let hash = line::write(&mut entries, &slot, &draft);
            receipt = Receipt { seq: receipt.seq + 1, hash };
        }
        let path = segment::path(dir, self.segment);
        write_whole(dir, &path, |to| {
            if self.bytes > 0 {
                let kept = segment::open(dir, self.segment).map_err(io::Error::other)?;
                let from: &mut dyn Read = &mut kept.text().take(self.bytes);
                io::copy(from, to)?;
            }
            to.write_all(&entries)
        })?;
        Ok(receipt)
    }
}

/// Name of the side file of a file beside the journal.
fn beside_name(file: &str, begin: &str) -> String {
    format!("{file}-{begin}.damaged")
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
