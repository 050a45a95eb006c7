//! What tells that the journal once went further than it does now: its checkpoints, and what lies beside it.
//!
//! HEAD alone does not suffice: whoever restores an old copy, or starts on a folder whose volume is not mounted, has none or
//! an older one. An index proves nothing, since it can be built of any journal.

use std::path::Path;

use crate::domain::entry::{Facts, Log, Seal};
use crate::journal::checkpoint::{self, Signed};
use crate::journal::line::Line;
use crate::journal::note::Verifier;
use crate::journal::recover::Found;
use crate::journal::{Damage, JournalError, Place, Receipt};

/// What is wrong with a base that somebody changed.
pub const OTHER_BASE: &str = "is not the file whose SHA-256 the journal names";

/// A file beside the journal that names one of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name in the state folder.
    pub file: String,
    /// The entry.
    pub seq: u64,
}

/// A base that a state was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The file, and the last entry that it stands for.
    pub named: Named,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// What lies beside a journal.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The public keys at hand, the one in charge first: a checkpoint signed by one of them is no stranger's.
    pub keys: Vec<Verifier>,
    /// A snapshot and bases.
    pub files: Vec<Named>,
    /// Name of soard's own key file, where there is one.
    pub key_file: Option<String>,
    /// The base that the state was read from.
    pub base: Option<Begun>,
}

/// What the journal itself says of keys and bases.
#[derive(Debug, Default)]
pub(super) struct OnRecord {
    /// The keys in charge, in order.
    pub keys: Vec<String>,
    /// Bases: the first entry that was dropped when each was made, the last that it stands for, and its SHA-256.
    bases: Vec<(u64, Receipt, String)>,
    /// What says that segments were dropped: the entry, and the first and last one that it names.
    drops: Vec<(u64, u64, u64)>,
    /// The last entry by which an operator took the journal as it is.
    repaired: u64,
}

impl OnRecord {
    /// Takes the next line.
    pub fn meet(&mut self, line: &Line) {
        if line.kind != "log" {
            return;
        }
        let facts = Facts::parse(&line.kind, line.data.get());
        if let Ok(Facts::Log(Log::Repaired { .. })) = &facts {
            self.repaired = line.seq;
        }
        match facts {
            Ok(Facts::Log(Log::Key { verifier, .. } | Log::Repaired { key: Some(verifier), .. })) => {
                self.keys.push(verifier);
            }
            Ok(Facts::Log(Log::Dropped { segments, signed_by, base, .. })) => {
                if self.keys.is_empty() && !signed_by.is_empty() {
                    self.keys.push(signed_by);
                }
                if let (Some(first), Some(Seal { last, hash, .. })) = (segments.first(), segments.last()) {
                    self.drops.push((line.seq, first.first, *last));
                    self.bases.push((first.first, Receipt { seq: *last, hash: hash.clone() }, base));
                }
            }
            _ => {}
        }
    }

    /// SHA-256 of the base that goes up to an entry; `None`: none is on record.
    pub fn base(&self, last: u64) -> Option<&str> {
        let found = self.bases.iter().rev().find(|(_, to, sha256)| to.seq == last && !sha256.is_empty());
        found.map(|(_, _, sha256)| sha256.as_str())
    }

    /// The last entry of the base that a journal rests on which begins behind this entry, and its SHA-256: where not all that
    /// was dropped is removed yet, the base goes further.
    pub fn rests_on(&self, behind: u64) -> Option<(Receipt, String)> {
        let found = self.bases.iter().rev().find(|(first, to, _)| (*first..=to.seq).contains(&behind));
        found.map(|(_, to, sha256)| (to.clone(), sha256.clone()))
    }
}

impl Evidence {
    /// Refuses a journal that is not all that it was.
    pub(super) fn judge(
        &self,
        dir: &Path,
        found: &Found,
        is_absent: bool,
        on_record: &OnRecord,
    ) -> Result<(), JournalError> {
        if let Some(place) = self.other_base(found, on_record) {
            return Err(JournalError::Corrupt(place));
        }
        let Some(damage) = self.lacks(dir, found, is_absent, on_record)? else { return Ok(()) };
        let (file, offset) = found.end();
        Err(JournalError::Corrupt(Place { seq: found.tip.receipt.seq + 1, file, offset, damage }))
    }

    /// What is missing at the end or, without a signed word about it, at the beginning.
    pub(super) fn lacks(
        &self,
        dir: &Path,
        found: &Found,
        is_absent: bool,
        on_record: &OnRecord,
    ) -> Result<Option<Damage>, JournalError> {
        let beyond = self.beyond(dir, found.tip.receipt.seq, is_absent, &on_record.keys)?;
        if beyond.is_some() {
            return Ok(beyond);
        }
        self.unsigned_drop(dir, found, on_record)
    }

    /// Nothing is removed before a checkpoint covers the entry that says so: one behind the last checkpoint explains nothing,
    /// unless an operator has taken the journal as it is since.
    fn unsigned_drop(&self, dir: &Path, found: &Found, on_record: &OnRecord) -> Result<Option<Damage>, JournalError> {
        let first = found.segments.first().copied().unwrap_or(1);
        let names_it =
            |(seq, from, to): &&(u64, u64, u64)| *seq > on_record.repaired && (*from..=*to).contains(&(first - 1));
        let Some((seq, ..)) = on_record.drops.iter().find(names_it) else { return Ok(None) };
        let keys = self.trusted(&on_record.keys);
        // Earlier versions did not wait for one, and their checkpoints do not say how far entries may go beyond them.
        let is_ours = |note: &&Signed| note.checkpoint.reach.is_some() && keys.iter().any(|key| note.by(key));
        let notes = checkpoint::last_notes(dir)?;
        let noted = notes.iter().filter(is_ours).map(|note| note.checkpoint.receipt.seq).max();
        Ok(noted.filter(|noted| noted < seq).map(|_| Damage::Dropped { found: first, seq: *seq }))
    }

    fn trusted(&self, on_record: &[String]) -> Vec<Verifier> {
        on_record.iter().filter_map(|key| key.parse().ok()).chain(self.keys.iter().cloned()).collect()
    }

    /// What names the last entry behind this end. `is_absent`: there is neither a segment nor HEAD.
    pub(super) fn beyond(
        &self,
        dir: &Path,
        end: u64,
        is_absent: bool,
        on_record: &[String],
    ) -> Result<Option<Damage>, JournalError> {
        let keys = self.trusted(on_record);
        let is_ours = |note: &&Signed| note.checkpoint.receipt.seq > end && keys.iter().any(|key| note.by(key));
        let notes = checkpoint::last_notes(dir)?;
        let noted = notes.iter().filter(is_ours).map(|note| note.checkpoint.receipt.seq).max();
        let noted = noted.map(|seq| (seq, Damage::BeforeCheckpoint { seq }));
        let files = self.files.iter().filter(|named| named.seq > end);
        let files = files.map(|Named { file, seq }| (*seq, Damage::Beyond { file: file.clone(), seq: *seq }));
        let newest = files.chain(noted).max_by_key(|(seq, _)| *seq).map(|(_, damage)| damage);
        // A first start makes the journal before the key.
        let emptied = self.key_file.clone().filter(|_| is_absent).map(|file| Damage::Emptied { file });
        Ok(newest.or(emptied))
    }

    fn other_base(&self, found: &Found, on_record: &OnRecord) -> Option<Place> {
        let Begun { named, sha256 } = self.base.as_ref()?;
        let is_other = on_record.base(named.seq).is_some_and(|on_record| on_record != sha256);
        let (seq, file) = (named.seq + 1, found.name_of(named.seq + 1));
        let damage = Damage::Base { file: named.file.clone(), why: OTHER_BASE.into() };
        is_other.then_some(Place { seq, file, offset: 0, damage })
    }
}
