//! Compares a journal with what names its entries by number and hash: checkpoints and anchors from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::domain::entry::{Facts, Log, Seal};
use crate::journal::checkpoint::{self, Checkpoints, Signed};
use crate::journal::line::Line;
use crate::journal::note::Verifier;
use crate::journal::reach::{Beyond, Reach};
use crate::journal::recover::Found;
use crate::journal::verify::{Known, Signatures};
use crate::journal::{Damage, JournalError, Place, segment};

/// Hashes by the entries that they are said to be of.
type Hashes = BTreeMap<u64, BTreeSet<String>>;

/// Goes beside a walk over the journal.
pub(super) struct Witness {
    dir: PathBuf,
    checkpoints: Checkpoints,
    /// What the checkpoints say, by entry.
    noted: Hashes,
    /// How far entries may go beyond them, for those that say so.
    reaches: BTreeMap<u64, Reach>,
    /// The last entry that one named before the walk began.
    noted_to: u64,
    anchors: Hashes,
    key: Option<Verifier>,
    /// The journal's random id.
    journal: Option<String>,
    keys: Vec<(u64, String)>,
    given_up: Vec<(u64, u64, u64)>,
    /// Keys that a repair put in charge, by the entries that say so.
    taken: Vec<(u64, String)>,
    dropped: Vec<Dropped>,
    /// Hash of the entry before the first one.
    before: String,
    first: u64,
    met: u64,
    /// `None`: it is no fault that entries go far beyond the last checkpoint.
    tail: Option<Tail>,
}

/// An entry that says that segments were dropped.
struct Dropped {
    seq: u64,
    policy: String,
    segments: Vec<Seal>,
    signed_by: String,
}

/// What lies behind the last checkpoint that was met.
#[derive(Default)]
struct Tail {
    /// That checkpoint, where it says how far entries may go.
    noted: Option<(u64, Reach)>,
    /// The entries behind it, no more than that and a batch.
    behind: Vec<Met>,
    batch: u64,
}

/// An entry without a checkpoint.
struct Met {
    entry: Beyond,
    segment: u64,
    hash: String,
}

impl Tail {
    /// The checkpoint that a daemon would have followed by another one before it began a batch here.
    fn ends_before(&self, segment: u64, next: Beyond) -> Option<u64> {
        let ((noted, reach), first) = (self.noted?, self.behind.first()?);
        (first.segment != segment || reach.ends_before(first.entry, next)).then_some(noted)
    }
}

impl Witness {
    pub fn new(dir: &Path, known: &Known) -> Result<Self, JournalError> {
        let mut anchors = Hashes::new();
        for anchor in known.anchors.iter().filter(|anchor| anchor.seq > 0) {
            anchors.entry(anchor.seq).or_default().insert(anchor.hash.clone());
        }
        let mut witness = Self {
            dir: dir.into(),
            checkpoints: Checkpoints::default(),
            noted: Hashes::new(),
            reaches: BTreeMap::new(),
            noted_to: 0,
            anchors,
            key: known.key.clone(),
            journal: None,
            keys: Vec::new(),
            given_up: Vec::new(),
            taken: Vec::new(),
            dropped: Vec::new(),
            before: String::new(),
            first: 0,
            met: 0,
            tail: (!known.is_live_copy).then(Tail::default),
        };
        witness.read_checkpoints()?;
        witness.noted_to = witness.noted.last_key_value().map_or(0, |(seq, _)| *seq);
        Ok(witness)
    }

    fn read_checkpoints(&mut self) -> Result<(), JournalError> {
        self.checkpoints = Checkpoints::read(&self.dir)?;
        for Signed { checkpoint, .. } in &self.checkpoints.signed {
            let seq = checkpoint.receipt.seq;
            self.noted.entry(seq).or_default().insert(checkpoint.receipt.hash.clone());
            match checkpoint.reach {
                Some(reach) => self.reaches.insert(seq, reach),
                None => self.reaches.remove(&seq),
            };
        }
        Ok(())
    }

    /// Whether there are checkpoints, or what is left of some: they speak of entries even where there are none.
    pub fn has_notes(&self) -> bool {
        !self.checkpoints.signed.is_empty() || self.checkpoints.bad.is_some()
    }

    /// Takes the next line of the chain: one of the segment that begins with entry `segment`, at this byte of it.
    pub fn meet(&mut self, segment: u64, offset: u64, line: &Line) -> Result<(), JournalError> {
        if self.first == 0 {
            (self.first, self.before) = (line.seq, line.prev.clone());
        }
        let corrupt = |damage| {
            let file = segment::name_in(&self.dir, segment);
            Err(JournalError::Corrupt(Place { seq: line.seq, file, offset, damage }))
        };
        let names_another =
            |by: &Hashes| by.get(&line.seq).is_some_and(|hashes| hashes.iter().any(|hash| *hash != line.hash));
        if names_another(&self.anchors) {
            return corrupt(Damage::Anchor);
        }
        if names_another(&self.noted) {
            return corrupt(Damage::Checkpoint);
        }
        self.met = line.seq;
        let is_repair = self.read(line);
        if let Some(noted) = self.follow(segment, line, is_repair)? {
            let file = segment::name_in(&self.dir, segment);
            let damage = Damage::Unvouched { noted };
            return Err(JournalError::Corrupt(Place { seq: line.seq, file, offset, damage }));
        }
        Ok(())
    }

    /// What the journal says about itself; whether an operator repaired it here.
    fn read(&mut self, line: &Line) -> bool {
        if line.kind != "log" {
            return false;
        }
        match Facts::parse(&line.kind, line.data.get()) {
            Ok(Facts::Log(Log::Opened { journal, .. })) => self.journal = Some(journal),
            Ok(Facts::Log(Log::Key { verifier, .. })) => self.keys.push((line.seq, verifier)),
            Ok(Facts::Log(Log::Dropped { policy, segments, journal, signed_by, .. })) => {
                self.journal.get_or_insert(journal);
                self.dropped.push(Dropped { seq: line.seq, policy, segments, signed_by });
            }
            Ok(Facts::Log(Log::Repaired { from, to, key, .. })) => {
                self.given_up.push((line.seq, from, to));
                self.keys.extend(key.iter().map(|key| (line.seq, key.clone())));
                self.taken.extend(key.map(|key| (line.seq, key)));
                return true;
            }
            _ => {}
        }
        false
    }

    /// The checkpoint behind which the daemon would have made another one before it wrote this line. A repair has no key and
    /// so is let pass; between two checkpoints that were there from the beginning the later one vouches for all.
    fn follow(&mut self, segment: u64, line: &Line, is_repair: bool) -> Result<Option<u64>, JournalError> {
        let Some(mut tail) = self.tail.take() else { return Ok(None) };
        let entry = Beyond { seq: line.seq, at: line.at };
        let begins = std::mem::replace(&mut tail.batch, line.batch) != line.batch;
        if begins && !is_repair && tail.ends_before(segment, entry).is_some() {
            // A daemon that writes on may have made some since the walk began.
            self.read_checkpoints()?;
            self.catch_up(&mut tail);
            if let Some(noted) = tail.ends_before(segment, entry) {
                return Ok(Some(noted));
            }
        }
        if self.noted.contains_key(&line.seq) {
            tail.noted = self.reach_of(line.seq);
            tail.behind.clear();
        } else if line.seq > self.noted_to && tail.noted.is_some() {
            tail.behind.push(Met { entry, segment, hash: line.hash.clone() });
        }
        self.tail = Some(tail);
        Ok(None)
    }

    fn reach_of(&self, seq: u64) -> Option<(u64, Reach)> {
        self.reaches.get(&seq).map(|reach| (seq, *reach))
    }

    /// Lets those checkpoints count that name an entry behind the last one. One that names another hash does not.
    fn catch_up(&self, tail: &mut Tail) {
        let names = |met: &Met| self.noted.get(&met.entry.seq).is_some_and(|hashes| hashes.iter().eq([&met.hash]));
        if let Some(at) = tail.behind.iter().rposition(names) {
            tail.noted = self.reach_of(tail.behind[at].entry.seq);
            tail.behind.drain(..=at);
        }
    }

    /// How many anchors name entries that were met, and the newest of those.
    pub fn anchored(&self) -> (u64, Option<u64>) {
        // What stands before the first entry, or behind the last one met, was not compared.
        let met = self.anchors.keys().copied().filter(|seq| (self.first..=self.met).contains(seq));
        met.fold((0, None), |(count, _), seq| (count + 1, Some(seq)))
    }

    /// The entries that anchors name and that stood before the first one.
    pub fn uncompared(&self) -> Vec<u64> {
        self.anchors.range(..self.first).map(|(seq, _)| *seq).collect()
    }

    /// After the last line: is an entry missing that something names, and did the right keys sign?
    pub fn check(&mut self, found: &Found) -> Result<Signatures, JournalError> {
        let begins_behind = self.explain(found)?;
        let end = found.tip.receipt.seq;
        let missing = |damage| {
            let (file, offset) = found.end();
            JournalError::Corrupt(Place { seq: end + 1, file, offset, damage })
        };
        if let Some((&anchor, _)) = self.anchors.last_key_value().filter(|(seq, _)| **seq > end) {
            return Err(missing(Damage::BeforeAnchor { anchor }));
        }
        if self.noted_to > end {
            return Err(missing(Damage::BeforeCheckpoint { seq: self.noted_to }));
        }
        let signed = self.signatures(end)?;
        // Nothing is removed before a checkpoint covers the entry that says so.
        if let Some(seq) = begins_behind.filter(|seq| signed.last.is_none_or(|last| last < *seq)) {
            return Err(Self::begins_late(found, Damage::Dropped { found: self.first, seq }));
        }
        Ok(signed)
    }

    fn begins_late(found: &Found, damage: Damage) -> JournalError {
        let file = found.name_of(found.segments.first().copied().unwrap_or(1));
        JournalError::Corrupt(Place { seq: 1, file, offset: 0, damage })
    }

    /// The entry that says what lies before the first one was dropped by policy; `None`: nothing is missing there.
    fn explain(&mut self, found: &Found) -> Result<Option<u64>, JournalError> {
        let first = found.segments.first().copied().unwrap_or(1);
        if first == 1 {
            return Ok(None);
        }
        let fits = |seal: &Seal| seal.last + 1 == first && seal.hash == self.before;
        let Some(dropped) = self.dropped.iter().find(|dropped| dropped.segments.iter().any(fits)) else {
            return Err(Self::begins_late(found, Damage::Segment { found: first }));
        };
        if !dropped.signed_by.is_empty() {
            self.keys.insert(0, (0, dropped.signed_by.clone()));
        }
        Ok(Some(dropped.seq))
    }

    fn dropped(&self) -> Vec<(String, u64, u64, u64)> {
        let range = |Dropped { policy, segments, .. }: &Dropped| {
            let bytes = segments.iter().map(|seal| seal.bytes).sum();
            Some((policy.clone(), segments.first()?.first, segments.last()?.last, bytes))
        };
        self.dropped.iter().filter_map(range).collect()
    }

    fn signatures(&self, end: u64) -> Result<Signatures, JournalError> {
        let bad =
            |seq, offset, damage| JournalError::Corrupt(Place { seq, file: checkpoint::FILE.into(), offset, damage });
        let (mut before, mut checkpoints, mut last) = (0, 0, None);
        // The key in charge at the checkpoint before: the one that has to vouch for the next.
        let mut trusted: Option<Verifier> = None;
        // A checkpoint by the old key alone behind the entry that names the new one.
        let mut belated = None;
        // The repair that put a key in charge for which nobody vouches, and the last checkpoint that counted.
        let (mut taken, mut met) = (None, 0);
        let mut by_given = self.key.is_none();
        for signed in &self.checkpoints.signed {
            let (seq, at) = (signed.checkpoint.receipt.seq, signed.offset);
            let own = self.journal.as_deref().is_some_and(|id| checkpoint::origin(id) == signed.checkpoint.origin);
            if seq < before || !own {
                return Err(bad(seq, at, Damage::BadCheckpoint));
            }
            before = seq;
            // What retention has dropped cannot be compared any more, nor is it known who signed then. What was made since the
            // walk ended was not compared either.
            if seq < self.first || seq > end {
                continue;
            }
            let key = self.key_at(seq).ok_or_else(|| bad(seq, at, Damage::Signature))?;
            let by_old = trusted.as_ref().is_none_or(|old| signed.by(old));
            if !signed.by(&key) {
                // Daemons of before made such ones when a checkpoint fell due at the change of keys. They count for
                // nothing, and one by both keys has to follow.
                belated = Some((seq, at)).filter(|_| by_old && trusted.is_some());
                belated.ok_or_else(|| bad(seq, at, Damage::Signature))?;
                continue;
            }
            if !by_old {
                // Nobody vouches for a key that a repair put in charge: only who knows it can say that it is the right one.
                taken = self.taken.iter().map(|(taken, _)| *taken).rfind(|taken| (met..=seq).contains(taken));
                taken.ok_or_else(|| bad(seq, at, Damage::Succession))?;
                by_given = self.key.is_none();
            }
            met = seq;
            by_given |= self.key.as_ref().is_some_and(|given| signed.by(given));
            (trusted, belated, last, checkpoints) = (Some(key), None, Some(seq), checkpoints + 1);
        }
        if let Some((seq, at)) = belated {
            return Err(bad(seq, at, Damage::Signature));
        }
        if let Some(at) = self.checkpoints.bad.filter(|_| !self.checkpoints.torn) {
            return Err(bad(before, at, Damage::BadCheckpoint));
        }
        if !by_given {
            return Err(bad(end, 0, taken.map_or(Damage::Key, |seq| Damage::Taken { seq })));
        }
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
