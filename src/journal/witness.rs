//! Compares a journal with what names its entries by number and hash: checkpoints and anchors from outside.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::entry::{Facts, Log, Seal};
use crate::journal::checkpoint::{self, Checkpoints, Signed};
use crate::journal::line::Line;
use crate::journal::note::Verifier;
use crate::journal::recover::Found;
use crate::journal::verify::{Known, Signatures};
use crate::journal::{Damage, JournalError, Place};

/// Goes beside a walk over the journal.
pub(super) struct Witness {
    checkpoints: Checkpoints,
    /// What the checkpoints say, by entry.
    noted: BTreeMap<u64, BTreeSet<String>>,
    anchors: BTreeMap<u64, BTreeSet<String>>,
    key: Option<Verifier>,
    /// The journal's random id.
    journal: Option<String>,
    keys: Vec<(u64, String)>,
    given_up: Vec<(u64, u64, u64)>,
    /// Keys that a repair put in charge, by the entries that say so.
    taken: Vec<(u64, String)>,
    dropped: Vec<(String, Vec<Seal>, String)>,
    /// Hash of the entry before the first one.
    before: String,
    first: u64,
    met: u64,
}

impl Witness {
    pub fn new(checkpoints: Checkpoints, known: &Known) -> Self {
        let mut noted: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for Signed { checkpoint, .. } in &checkpoints.signed {
            noted.entry(checkpoint.receipt.seq).or_default().insert(checkpoint.receipt.hash.clone());
        }
        let mut anchors: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for anchor in known.anchors.iter().filter(|anchor| anchor.seq > 0) {
            anchors.entry(anchor.seq).or_default().insert(anchor.hash.clone());
        }
        let (journal, keys, key) = (None, Vec::new(), known.key.clone());
        Self {
            checkpoints,
            noted,
            anchors,
            key,
            journal,
            keys,
            given_up: Vec::new(),
            taken: Vec::new(),
            dropped: Vec::new(),
            before: String::new(),
            first: 0,
            met: 0,
        }
    }

    /// Takes the next line of the chain.
    pub fn meet(&mut self, line: &Line) -> Result<(), Damage> {
        if self.first == 0 {
            (self.first, self.before) = (line.seq, line.prev.clone());
        }
        let names_another = |by: &BTreeMap<u64, BTreeSet<String>>| {
            by.get(&line.seq).is_some_and(|hashes| hashes.iter().any(|hash| *hash != line.hash))
        };
        if names_another(&self.anchors) {
            return Err(Damage::Anchor);
        }
        if names_another(&self.noted) {
            return Err(Damage::Checkpoint);
        }
        self.met = line.seq;
        if line.kind == "log" {
            match Facts::parse(&line.kind, line.data.get()) {
                Ok(Facts::Log(Log::Opened { journal, .. })) => self.journal = Some(journal),
                Ok(Facts::Log(Log::Key { verifier, .. })) => self.keys.push((line.seq, verifier)),
                Ok(Facts::Log(Log::Dropped { policy, segments, journal, signed_by, .. })) => {
                    self.journal.get_or_insert(journal);
                    self.dropped.push((policy, segments, signed_by));
                }
                Ok(Facts::Log(Log::Repaired { from, to, key, .. })) => {
                    self.given_up.push((line.seq, from, to));
                    self.keys.extend(key.iter().map(|key| (line.seq, key.clone())));
                    self.taken.extend(key.map(|key| (line.seq, key)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// How many anchors name entries that were met, and the newest of those.
    pub fn anchored(&self) -> (u64, Option<u64>) {
        // What stands before the first entry, or behind the last one met, was not compared.
        let met = self.anchors.keys().copied().filter(|seq| (self.first..=self.met).contains(seq));
        met.fold((0, None), |(count, _), seq| (count + 1, Some(seq)))
    }

    /// After the last line: is an entry missing that something names, and did the right keys sign?
    pub fn check(&mut self, found: &Found) -> Result<Signatures, JournalError> {
        self.explain(found)?;
        let end = found.tip.receipt.seq;
        let missing = |damage| {
            let (file, offset) = found.end();
            JournalError::Corrupt(Place { seq: end + 1, file, offset, damage })
        };
        if let Some((&anchor, _)) = self.anchors.last_key_value().filter(|(seq, _)| **seq > end) {
            return Err(missing(Damage::BeforeAnchor { anchor }));
        }
        if let Some((&seq, _)) = self.noted.last_key_value().filter(|(seq, _)| **seq > end) {
            return Err(missing(Damage::BeforeCheckpoint { seq }));
        }
        self.signatures(end)
    }

    /// Is what lies before the first entry gone by policy?
    fn explain(&mut self, found: &Found) -> Result<(), JournalError> {
        let first = found.segments.first().copied().unwrap_or(1);
        if first == 1 {
            return Ok(());
        }
        let fits = |seal: &Seal| seal.last + 1 == first && seal.hash == self.before;
        let Some((_, _, key)) = self.dropped.iter().find(|(_, seals, _)| seals.iter().any(fits)) else {
            let (file, damage) = (found.name_of(first), Damage::Segment { found: first });
            return Err(JournalError::Corrupt(Place { seq: 1, file, offset: 0, damage }));
        };
        if !key.is_empty() {
            self.keys.insert(0, (0, key.clone()));
        }
        Ok(())
    }

    fn dropped(&self) -> Vec<(String, u64, u64, u64)> {
        let range = |(policy, seals, _): &(String, Vec<Seal>, String)| {
            let bytes = seals.iter().map(|seal| seal.bytes).sum();
            Some((policy.clone(), seals.first()?.first, seals.last()?.last, bytes))
        };
        self.dropped.iter().filter_map(range).collect()
    }

    fn signatures(&self, end: u64) -> Result<Signatures, JournalError> {
        let bad =
            |seq, offset, damage| JournalError::Corrupt(Place { seq, file: checkpoint::FILE.into(), offset, damage });
        let mut before = 0;
        // The key in charge at the checkpoint before: the one that has to vouch for the next.
        let mut trusted: Option<Verifier> = None;
        let (mut taken, mut met) = (None, 0);
        let mut by_given = self.key.is_none();
        for signed in &self.checkpoints.signed {
            let (seq, at) = (signed.checkpoint.receipt.seq, signed.offset);
            let own = self.journal.as_deref().is_some_and(|id| checkpoint::origin(id) == signed.checkpoint.origin);
            if seq < before || !own {
                return Err(bad(seq, at, Damage::BadCheckpoint));
            }
            before = seq;
            // What retention has dropped cannot be compared any more, nor is it known who signed then.
            if seq < self.first {
                continue;
            }
            let key = self.key_at(seq).ok_or_else(|| bad(seq, at, Damage::Signature))?;
            if !signed.by(&key) {
                return Err(bad(seq, at, Damage::Signature));
            }
            if trusted.as_ref().is_some_and(|old| *old != key && !signed.by(old)) {
                // Nobody vouches for a key that a repair put in charge: only who knows it can say that it is the right one.
                taken = self.taken.iter().map(|(taken, _)| *taken).rfind(|taken| (met..=seq).contains(taken));
                taken.ok_or_else(|| bad(seq, at, Damage::Succession))?;
                by_given = self.key.is_none();
            }
            met = seq;
            by_given |= self.key.as_ref().is_some_and(|given| signed.by(given));
            trusted = Some(key);
        }
        if let Some(at) = self.checkpoints.bad.filter(|_| !self.checkpoints.torn) {
            return Err(bad(before, at, Damage::BadCheckpoint));
        }
        if !by_given {
            return Err(bad(end, 0, taken.map_or(Damage::Key, |seq| Damage::Taken { seq })));
        }
        let last = self.checkpoints.signed.last().map(|signed| signed.checkpoint.receipt.seq);
        let checkpoints = self.checkpoints.signed.len() as u64;
        Ok(Signatures {
            keys: self.keys.clone(),
            given_up: self.given_up.clone(),
            taken: self.taken.clone(),
            dropped: self.dropped(),
            checkpoints,
            last,
            torn: self.checkpoints.torn,
        })
    }

    /// The key in charge at an entry.
    fn key_at(&self, seq: u64) -> Option<Verifier> {
        let at = self.keys.partition_point(|(since, _)| *since <= seq).checked_sub(1)?;
        self.keys[at].1.parse().ok()
    }
}
