//! Retained alerts, as far as later decisions need them: in chunks that a snapshot shares with the state that goes on.

use std::num::NonZeroU64;
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::Timestamp;

use crate::domain::alert::{Severity, Status};
use crate::domain::id::AlertId;

/// Alerts of a chunk: what is copied when one of them changes while a snapshot is being written.
const CHUNK: usize = 1024;

/// Bytes of one packed alert.
pub const PACKED_BYTES: usize = 40;

const SUPPRESSED: u8 = 1;
const HELD: u8 = 2;
/// Another alert has taken over its identity.
const NAMELESS: u8 = 4;
const SILENCED: u8 = 8;

/// Retained alerts: 48 bytes each, and five to find one by what identifies it.
#[derive(Debug, Default)]
pub struct Alerts {
    /// In order of id, since ids only grow. All chunks but the last are full.
    chunks: Vec<Arc<Vec<Kept>>>,
    len: usize,
    /// Where the alert of an identity lies; the identity itself is its hash.
    by_identity: HashTable<u32>,
}

/// What later decisions need of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its id.
    pub id: AlertId,
    /// Sequence number of the entry with its latest body.
    pub seq: u64,
    /// When its fingerprint is forgotten, in seconds since 1970, rounded up; `u32::MAX`: never.
    pub(crate) identity_until: u32,
    /// How often it was seen.
    pub count: u32,
    /// Severity as last reported.
    pub severity: Severity,
    /// The highest severity decided upon: only a higher one is decided anew.
    pub peak: Severity,
    /// Where it stands.
    pub status: Status,
    /// A suppression dismissed it.
    pub suppressed: bool,
    /// A silence held it when it was decided last.
    pub silenced: bool,
    /// A playbook or an operator set the status: it outranks the source's until severity rises.
    pub held: bool,
}

/// An alert with what identifies it. The one identity in 2⁶⁴ that is zero counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// `None`: another alert has taken it over.
    identity: Option<NonZeroU64>,
    slot: Slot,
}

impl Alerts {
    /// How many are retained.
    pub fn len(&self) -> usize {
        self.len
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|kept| &kept.slot))
    }

    /// The alert with this id.
    pub fn get(&self, id: AlertId) -> Option<&Slot> {
        self.find(id).ok().map(|at| &self.kept(at).slot)
    }

    /// The first alert with this id or a higher one.
    pub fn at_or_behind(&self, id: AlertId) -> Option<AlertId> {
        let place = self.find(id).unwrap_or_else(|behind| behind);
        (place < self.len).then(|| self.kept(place).slot.id)
    }

    /// The alert whose id is nearest to this one.
    pub fn nearest(&self, id: AlertId) -> Option<AlertId> {
        let behind = self.find(id).unwrap_or_else(|behind| behind);
        let around = [behind.checked_sub(1), Some(behind)].into_iter().flatten().filter(|at| *at < self.len);
        let far = |slot: &&Slot| (slot.id.record.abs_diff(id.record), slot.id.index.abs_diff(id.index));
        around.map(|at| &self.kept(at).slot).min_by_key(far).map(|slot| slot.id)
    }

    /// The alert with this identity, unless it is forgotten by now.
    pub(crate) fn known(&self, identity: u64, at: Timestamp) -> Option<&Slot> {
        let place = *self.by_identity.find(identity, |place| self.is_of(*place, identity))?;
        let slot = &self.kept(place as usize).slot;
        (i64::from(slot.identity_until) > at.as_second() || slot.identity_until == u32::MAX).then_some(slot)
    }

    pub(crate) fn get_mut(&mut self, id: AlertId) -> Option<&mut Slot> {
        let at = self.find(id).ok()?;
        Some(&mut self.kept_mut(at).slot)
    }

    /// Forgets closed alerts whose body stands at or before this entry.
    pub(crate) fn forget(&mut self, last: u64) {
        let before = std::mem::take(self);
        // Each chunk goes as soon as it is copied, so that little is there twice.
        for chunk in before.chunks {
            let stays = chunk.iter().filter(|kept| kept.slot.seq > last || kept.slot.status.is_open());
            stays.for_each(|kept| self.push(*kept));
        }
    }

    pub(crate) fn insert(&mut self, identity: u64, slot: Slot) {
        self.push(Kept { identity: NonZeroU64::new(identity), slot });
    }

    fn push(&mut self, kept: Kept) {
        debug_assert!(self.len == 0 || self.kept(self.len - 1).slot.id < kept.slot.id, "ids only grow");
        let place = u32::try_from(self.len).expect("fewer than four thousand million alerts are retained");
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        let chunk = Arc::make_mut(self.chunks.last_mut().expect("there is room in it"));
        chunk.reserve_exact(CHUNK - chunk.len());
        chunk.push(kept);
        self.len += 1;
        if let Some(identity) = kept.identity {
            self.name(identity, place);
        }
    }

    /// From now on this alert has the identity.
    fn name(&mut self, identity: NonZeroU64, place: u32) {
        let chunks = &self.chunks;
        let identity_of = |place: &u32| chunks[*place as usize / CHUNK][*place as usize % CHUNK].identity;
        let hash = |place: &u32| identity_of(place).map_or(0, NonZeroU64::get);
        let before = self.by_identity.find_mut(identity.get(), |known| identity_of(known) == Some(identity));
        match before {
            Some(known) => {
                let before = std::mem::replace(known, place);
                self.kept_mut(before as usize).identity = None;
            }
            None => drop(self.by_identity.insert_unique(identity.get(), place, hash)),
        }
    }

    fn is_of(&self, place: u32, identity: u64) -> bool {
        self.kept(place as usize).identity.map(NonZeroU64::get) == Some(identity)
    }

    /// Where the alert lies, or where it would.
    fn find(&self, id: AlertId) -> Result<usize, usize> {
        let chunk = self.chunks.partition_point(|chunk| chunk[0].slot.id <= id).saturating_sub(1);
        let Some(kept) = self.chunks.get(chunk) else { return Err(0) };
        let within = kept.binary_search_by_key(&id, |kept| kept.slot.id);
        within.map(|at| chunk * CHUNK + at).map_err(|at| chunk * CHUNK + at)
    }

    fn kept(&self, at: usize) -> &Kept {
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    fn kept_mut(&mut self, at: usize) -> &mut Kept {
        &mut Arc::make_mut(&mut self.chunks[at / CHUNK])[at % CHUNK]
    }
}

/// Alerts as they stood at one moment. Cheap to take: it shares their memory until they change.
#[derive(Debug, Clone)]
pub struct Frozen {
    chunks: Vec<Arc<Vec<Kept>>>,
    len: usize,
}

impl Alerts {
    /// All, as they stand now.
    pub fn freeze(&self) -> Frozen {
        Frozen { chunks: self.chunks.clone(), len: self.len }
    }

    /// Reads packed alerts back; `None` when nothing gave these bytes.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let (records, []) = packed.as_chunks::<PACKED_BYTES>() else { return None };
        let mut alerts = Self::default();
        alerts.by_identity.reserve(records.len(), |_| 0);
        for record in records {
            let kept = Kept::unpack(record)?;
            if alerts.len > 0 && alerts.kept(alerts.len - 1).slot.id >= kept.slot.id {
                return None;
            }
            alerts.push(kept);
        }
        Some(alerts)
    }
}

impl Frozen {
    /// Bytes when packed.
    pub fn bytes(&self) -> u64 {
        (self.len * PACKED_BYTES) as u64
    }

    /// The alerts packed, oldest first, some at a time.
    pub fn packed(&self) -> impl Iterator<Item = Vec<u8>> {
        self.chunks.iter().map(|chunk| chunk.iter().flat_map(Kept::pack).collect())
    }
}

impl Kept {
    fn pack(&self) -> [u8; PACKED_BYTES] {
        let Self { identity, slot } = self;
        let flag = |is: bool, flag| if is { flag } else { 0 };
        let by = flag(slot.suppressed, SUPPRESSED) | flag(slot.silenced, SILENCED) | flag(slot.held, HELD);
        let mut packed = [0; PACKED_BYTES];
        packed[..8].copy_from_slice(&slot.id.record.to_le_bytes());
        packed[8..12].copy_from_slice(&slot.id.index.to_le_bytes());
        packed[12..20].copy_from_slice(&slot.seq.to_le_bytes());
        packed[20..28].copy_from_slice(&identity.map_or(0, NonZeroU64::get).to_le_bytes());
        packed[28..32].copy_from_slice(&slot.identity_until.to_le_bytes());
        packed[32..36].copy_from_slice(&slot.count.to_le_bytes());
        let flags = by | flag(identity.is_none(), NAMELESS);
        packed[36..].copy_from_slice(&[slot.severity as u8, slot.peak as u8, slot.status as u8, flags]);
        packed
    }

    fn unpack(packed: &[u8; PACKED_BYTES]) -> Option<Self> {
        let wide = |at: usize| u64::from_le_bytes(packed[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_le_bytes(packed[at..at + 4].try_into().expect("four bytes"));
        let severity = |at: usize| Severity::ALL.get(usize::from(packed[at])).copied();
        let flags = packed[39];
        let slot = Slot {
            id: AlertId { record: wide(0), index: short(8) },
            seq: wide(12),
            identity_until: short(28),
            count: short(32),
            severity: severity(36)?,
            peak: severity(37)?,
            status: Status::ALL.get(usize::from(packed[38])).copied()?,
            suppressed: flags & SUPPRESSED != 0,
            silenced: flags & SILENCED != 0,
            held: flags & HELD != 0,
        };
        Some(Self { identity: NonZeroU64::new(wide(20)).filter(|_| flags & NAMELESS == 0), slot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(record: u64) -> Slot {
        Slot {
            id: AlertId { record, index: 0 },
            seq: record * 10,
            identity_until: u32::MAX,
            count: 1,
            severity: Severity::Low,
            peak: Severity::High,
            status: if record.is_multiple_of(3) { Status::Dismissed } else { Status::Active },
            suppressed: record.is_multiple_of(5),
            silenced: record.is_multiple_of(7),
            held: false,
        }
    }

    fn alerts(count: u64) -> Alerts {
        let mut alerts = Alerts::default();
        (1..=count).for_each(|n| alerts.insert(n * 7919, slot(n)));
        alerts
    }

    fn id(record: u64) -> AlertId {
        AlertId { record, index: 0 }
    }

    #[test]
    fn an_alert_on_record_costs_at_most_64_bytes() {
        // The table is at worst a little more than half full.
        let table = 2 * (std::mem::size_of::<u32>() + 1);
        assert!(std::mem::size_of::<Kept>() + table <= 64, "{} + {table}", std::mem::size_of::<Kept>());
    }

    #[test]
    fn alerts_are_found_by_id_and_by_identity_across_chunks() {
        let mut alerts = alerts(3 * CHUNK as u64 + 17);
        let now = Timestamp::UNIX_EPOCH;
        for record in [1, 2, CHUNK as u64, CHUNK as u64 + 1, 3 * CHUNK as u64 + 17] {
            assert_eq!(alerts.get(id(record)), Some(&slot(record)));
            assert_eq!(alerts.known(record * 7919, now), Some(&slot(record)));
        }
        assert_eq!((alerts.get(id(0)), alerts.get(id(9999)), alerts.known(5, now)), (None, None, None));
        assert_eq!((alerts.nearest(id(0)), alerts.nearest(id(9999))), (Some(id(1)), Some(id(3 * CHUNK as u64 + 17))));
        // Who takes an identity over has it.
        alerts.insert(7919, slot(9999));
        assert_eq!(alerts.known(7919, now), Some(&slot(9999)));
        assert_eq!(alerts.get(id(1)), Some(&slot(1)), "the other is still there");
        assert_eq!(Alerts::default().nearest(id(1)), None);
    }

    #[test]
    fn what_is_forgotten_is_not_found_and_the_rest_is() {
        let mut alerts = alerts(2_500);
        alerts.forget(20_000);
        let stays = |n: u64| n > 2_000 || !n.is_multiple_of(3);
        assert_eq!(alerts.len(), (1..=2_500).filter(|n| stays(*n)).count());
        for n in 1..=2_500 {
            let known = alerts.known(n * 7919, Timestamp::UNIX_EPOCH);
            assert_eq!((known, alerts.get(id(n))), (stays(n).then_some(&slot(n)), stays(n).then_some(&slot(n))), "{n}");
        }
    }

    #[test]
    fn what_was_frozen_stays_as_it_was() {
        let mut alerts = alerts(1_500);
        let packed = |frozen: &Frozen| frozen.packed().flatten().collect::<Vec<u8>>();
        let (frozen, before) = (alerts.freeze(), packed(&alerts.freeze()));
        alerts.get_mut(id(3)).unwrap().count = 9;
        alerts.insert(1, slot(1_501));
        alerts.insert(7919, slot(1_502));
        assert_eq!(packed(&frozen), before);
        assert_eq!(before.len() as u64, frozen.bytes());
        let after = packed(&alerts.freeze());
        assert_ne!(after, before);
        let again = Alerts::unpack(&after).unwrap();
        assert_eq!(packed(&again.freeze()), after);
        assert_eq!(again.known(7919, Timestamp::UNIX_EPOCH), Some(&slot(1_502)));
        assert!(Alerts::unpack(&after[1..]).is_none());
    }
}
