//! Records that senders named by an idempotency key: known for a week, and no more than a fixed number of them.
//!
//! A snapshot shares their chunks with the state that goes on, as with alerts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// How long an `Idempotency-Key` is known.
pub const KEPT_SECS: i64 = 7 * 24 * 3600;

/// How many are known; the oldest make room.
pub const DELIVERIES_MAX: usize = 1_000_000;

/// Deliveries of a chunk: what is copied when one comes while a snapshot is being written.
const CHUNK: usize = 1024;

/// Bytes of one packed delivery.
const PACKED_BYTES: usize = 24;

/// What is known of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Of key, index and content.
    hash: u64,
    record_no: u64,
    /// In microseconds since 1970.
    until: i64,
}

/// The deliveries, in the order in which they came and are forgotten: 24 bytes each, and about eight to find one.
#[derive(Default)]
pub struct Deliveries {
    /// All chunks but the last are full.
    chunks: VecDeque<Arc<Vec<Known>>>,
    /// Ordinal of the first in the first chunk.
    base: u64,
    /// Ordinal of the first that is still known.
    first: u64,
    /// Ordinal of the next.
    next: u64,
    /// Low half of the ordinal of what has a hash.
    by_hash: HashTable<u32>,
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((self.first..self.next).map(|ordinal| self.at(low(ordinal)))).finish()
    }
}

impl Deliveries {
    /// How many are known.
    pub fn len(&self) -> usize {
        usize::try_from(self.next - self.first).unwrap_or(usize::MAX)
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.next == self.first
    }

    /// The record that was delivered with this hash, if it is known still.
    pub(crate) fn get(&self, hash: u64, at: Timestamp) -> Option<u64> {
        let ordinal = self.by_hash.find(hash, |low| self.at(*low).hash == hash)?;
        let known = self.at(*ordinal);
        (known.until > at.as_microsecond()).then_some(known.record_no)
    }

    /// A record was delivered; where there are too many, the oldest is forgotten.
    pub(crate) fn insert(&mut self, hash: u64, record_no: u64, at: Timestamp) {
        let until = at.saturating_add(SignedDuration::from_secs(KEPT_SECS)).unwrap_or(Timestamp::MAX);
        self.push(Known { hash, record_no, until: until.as_microsecond() });
        while self.len() > DELIVERIES_MAX {
            self.pop();
        }
    }

    /// Forgets what is over by now.
    pub(crate) fn forget(&mut self, at: Timestamp) {
        while !self.is_empty() && self.at(low(self.first)).until <= at.as_microsecond() {
            self.pop();
        }
    }

    fn push(&mut self, known: Known) {
        if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push_back(Arc::new(Vec::with_capacity(CHUNK)));
        }
        let chunk = Arc::make_mut(self.chunks.back_mut().expect("there is room in it"));
        chunk.reserve_exact(CHUNK - chunk.len());
        chunk.push(known);
        let ordinal = low(self.next);
        self.next += 1;
        let Self { chunks, base, by_hash, .. } = self;
        let hash_of = |place: &u32| within(chunks, *base, *place).hash;
        match by_hash.find_mut(known.hash, |place| hash_of(place) == known.hash) {
            Some(before) => *before = ordinal,
            None => drop(by_hash.insert_unique(known.hash, ordinal, hash_of)),
        }
    }

    fn pop(&mut self) {
        let ordinal = low(self.first);
        let hash = self.at(ordinal).hash;
        // One that came again later is known by that.
        if let Ok(found) = self.by_hash.find_entry(hash, |place| *place == ordinal) {
            found.remove();
        }
        self.first += 1;
        if self.first - self.base == CHUNK as u64 {
            self.chunks.pop_front();
            self.base = self.first;
        }
    }

    fn at(&self, ordinal: u32) -> &Known {
        within(&self.chunks, self.base, ordinal)
    }

    /// All, as they stand now.
    pub fn freeze(&self) -> Frozen {
        let skipped = usize::try_from(self.first - self.base).expect("less than a chunk");
        Frozen { chunks: self.chunks.iter().cloned().collect(), skipped, len: self.len() }
    }

    /// Reads packed deliveries back; `None` when nothing gave these bytes.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let (records, []) = packed.as_chunks::<PACKED_BYTES>() else { return None };
        let mut deliveries = Self::default();
        deliveries.by_hash.reserve(records.len(), |_| 0);
        records.iter().for_each(|record| deliveries.push(Known::unpack(record)));
        Some(deliveries)
    }

    /// Takes them out of a state's JSON, where earlier versions kept them; `None` when they are not as those wrote them.
    pub(crate) fn of_json(state: &mut Map<String, Value>) -> Option<Self> {
        state.remove("delivery_ends");
        let Some(Value::Object(known)) = state.remove("deliveries") else { return Some(Self::default()) };
        let read = |(hash, known): (String, Value)| {
            let until: Timestamp = known["until"].as_str()?.parse().ok()?;
            let (hash, record_no) = (hash.parse().ok()?, known["record_no"].as_u64()?);
            Some(Known { hash, record_no, until: until.as_microsecond() })
        };
        let mut known: Vec<Known> = known.into_iter().map(read).collect::<Option<_>>()?;
        known.sort_unstable_by_key(|known| (known.until, known.record_no));
        let mut deliveries = Self::default();
        known.into_iter().for_each(|known| deliveries.push(known));
        while deliveries.len() > DELIVERIES_MAX {
            deliveries.pop();
        }
        Some(deliveries)
    }
}

/// The low half; no two that are known at once have the same.
fn low(ordinal: u64) -> u32 {
    ordinal as u32
}

fn within(chunks: &VecDeque<Arc<Vec<Known>>>, base: u64, ordinal: u32) -> &Known {
    let place = ordinal.wrapping_sub(low(base)) as usize;
    &chunks[place / CHUNK][place % CHUNK]
}

/// Deliveries as they stood at one moment. Cheap to take.
#[derive(Debug, Clone)]
pub struct Frozen {
    chunks: Vec<Arc<Vec<Known>>>,
    skipped: usize,
    len: usize,
}

impl Frozen {
    /// Bytes when packed.
    pub fn bytes(&self) -> u64 {
        (self.len * PACKED_BYTES) as u64
    }

    /// The deliveries packed, oldest first, some at a time.
    pub fn packed(&self) -> impl Iterator<Item = Vec<u8>> {
        let skips = std::iter::once(self.skipped).chain(std::iter::repeat(0));
        self.chunks.iter().zip(skips).map(|(chunk, skip)| chunk.iter().skip(skip).flat_map(Known::pack).collect())
    }
}

impl Known {
    fn pack(&self) -> [u8; PACKED_BYTES] {
        let mut packed = [0; PACKED_BYTES];
        packed[..8].copy_from_slice(&self.hash.to_le_bytes());
        packed[8..16].copy_from_slice(&self.record_no.to_le_bytes());
        packed[16..].copy_from_slice(&self.until.to_le_bytes());
        packed
    }

    fn unpack(packed: &[u8; PACKED_BYTES]) -> Self {
        let wide = |at: usize| packed[at..at + 8].try_into().expect("eight bytes");
        let (hash, record_no) = (u64::from_le_bytes(wide(0)), u64::from_le_bytes(wide(8)));
        Self { hash, record_no, until: i64::from_le_bytes(wide(16)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn packed(frozen: &Frozen) -> Vec<u8> {
        frozen.packed().flatten().collect()
    }

    #[test]
    fn no_more_than_the_limit_are_known_and_the_oldest_go_first() {
        let mut deliveries = Deliveries::default();
        let all = DELIVERIES_MAX as u64 + 3_000;
        (0..all).for_each(|n| deliveries.insert(hash(n), n, at(0)));
        assert_eq!((deliveries.len(), deliveries.by_hash.len()), (DELIVERIES_MAX, DELIVERIES_MAX));
        let known = |n| deliveries.get(hash(n), at(1));
        assert_eq!([known(0), known(2_999), known(3_000), known(all - 1)], [None, None, Some(3_000), Some(all - 1)]);
        assert!(deliveries.chunks.len() <= DELIVERIES_MAX / CHUNK + 2);
    }

    #[test]
    fn each_is_known_for_a_week_and_one_that_came_again_by_its_latest_time() {
        let mut deliveries = Deliveries::default();
        deliveries.insert(7, 1, at(0));
        deliveries.insert(8, 2, at(0));
        deliveries.insert(7, 3, at(10));
        let week = KEPT_SECS;
        assert_eq!((deliveries.get(8, at(week - 1)), deliveries.get(8, at(week))), (Some(2), None));
        deliveries.forget(at(week));
        assert_eq!((deliveries.get(8, at(0)), deliveries.get(7, at(week))), (None, Some(3)));
        deliveries.forget(at(week + 10));
        assert!(deliveries.is_empty() && deliveries.by_hash.is_empty());
    }

    #[test]
    fn what_was_frozen_stays_as_it_was_and_is_read_back() {
        let mut deliveries = Deliveries::default();
        (0..2_500).for_each(|n| deliveries.insert(hash(n), n, at(n as i64)));
        deliveries.forget(at(KEPT_SECS + 1_099));
        let (frozen, before) = (deliveries.freeze(), packed(&deliveries.freeze()));
        assert_eq!((before.len() as u64, deliveries.len()), (frozen.bytes(), 1_400));
        deliveries.insert(1, 1, at(5_000));
        deliveries.forget(at(KEPT_SECS + 2_000));
        assert_eq!(packed(&frozen), before);
        let again = Deliveries::unpack(&before).unwrap();
        assert_eq!(packed(&again.freeze()), before);
        assert_eq!((again.get(hash(1_099), at(0)), again.get(hash(1_100), at(0))), (None, Some(1_100)));
        assert!(Deliveries::unpack(&before[1..]).is_none());
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let text = r#"{"seq":1,"deliveries":{"9":{"record_no":4,"until":"1970-01-08T00:00:09Z"},
            "8":{"record_no":3,"until":"1970-01-08T00:00:08Z"}},"delivery_ends":[["1970-01-08T00:00:08Z",8]]}"#;
        let mut json: Map<String, Value> = serde_json::from_str(text).unwrap();
        let mut deliveries = Deliveries::of_json(&mut json).unwrap();
        assert_eq!(json.keys().collect::<Vec<_>>(), ["seq"]);
        deliveries.forget(at(KEPT_SECS + 8));
        assert_eq!((deliveries.get(8, at(0)), deliveries.get(9, at(0))), (None, Some(4)));
    }
}
