//! Runs that were started: a playbook starts once for a trigger, as long as that is on record.

use std::collections::HashMap;

use crate::domain::id::{AlertId, Trigger};
use crate::engine::alerts::Alerts;

/// Bytes of one packed run.
const PACKED_BYTES: usize = 16;

/// Marks what is known of a run that no single alert started.
const BY_ENTRY: u64 = 1 << 63;

/// Of a version that did not say what it was started for: it stays for ever.
const UNKNOWN: u64 = u64::MAX;

/// The runs, by hash of their ids, each with what it was started for: an alert's record, or the entry that started it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran(HashMap<u64, u64>);

impl Ran {
    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, hash: u64) -> bool {
        self.0.contains_key(&hash)
    }

    /// A run was started, by the entry of this number.
    pub(crate) fn insert(&mut self, hash: u64, trigger: Trigger, seq: u64) {
        let of = match trigger {
            Trigger::Alert(alert) | Trigger::Status(alert, _) => alert.record & !BY_ENTRY,
            Trigger::Group(_) => seq | BY_ENTRY,
        };
        self.0.insert(hash, of);
    }

    /// Forgets the runs of alerts that are not on record any more, and of groups that closed before.
    pub(crate) fn forget(&mut self, alerts: &Alerts, dropped: u64) {
        self.0.retain(|_, of| match *of {
            UNKNOWN => true,
            entry if entry & BY_ENTRY != 0 => entry & !BY_ENTRY > dropped,
            record => {
                let nearest = alerts.at_or_behind(AlertId { record, index: 0 });
                nearest.is_some_and(|alert| alert.record == record)
            }
        });
        self.0.shrink_to_fit();
    }

    /// All, in no order. Cheap beside what writing them takes.
    pub fn all(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|(hash, of)| (*hash, *of)).collect()
    }

    /// Runs as bytes, sorted.
    pub fn pack(mut all: Vec<(u64, u64)>) -> Vec<u8> {
        all.sort_unstable();
        all.iter().flat_map(|(hash, of)| [hash.to_le_bytes(), of.to_le_bytes()]).flatten().collect()
    }

    /// Reads packed runs back; `None` when nothing gave these bytes.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let (runs, []) = packed.as_chunks::<PACKED_BYTES>() else { return None };
        let wide =
            |run: &[u8; PACKED_BYTES], at: usize| u64::from_le_bytes(run[at..at + 8].try_into().expect("eight bytes"));
        Some(Self(runs.iter().map(|run| (wide(run, 0), wide(run, 8))).collect()))
    }

    /// Reads what versions before 7 wrote: the hashes alone.
    pub(crate) fn of_hashes(packed: &[u8]) -> Option<Self> {
        let (hashes, []) = packed.as_chunks::<8>() else { return None };
        Some(Self(hashes.iter().map(|hash| (u64::from_le_bytes(*hash), UNKNOWN)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::{Severity, Status};
    use crate::domain::id::GroupId;
    use crate::engine::alerts::Slot;

    fn alerts(records: &[u64]) -> Alerts {
        let mut alerts = Alerts::default();
        for record in records {
            let slot = Slot {
                id: AlertId { record: *record, index: 2 },
                seq: 100 + record,
                identity_until: u32::MAX,
                count: 1,
                severity: Severity::Low,
                peak: Severity::Low,
                status: Status::Resolved,
                suppressed: false,
                silenced: false,
                held: false,
            };
            alerts.insert(*record, slot);
        }
        alerts
    }

    #[test]
    fn what_was_started_for_something_on_record_stays_and_the_rest_goes() {
        let of = |record| Trigger::Alert(AlertId { record, index: 2 });
        let mut ran = Ran::default();
        ran.insert(1, of(1), 101);
        ran.insert(2, of(2), 102);
        ran.insert(3, Trigger::Status(AlertId { record: 3, index: 2 }, 150), 150);
        ran.insert(4, Trigger::Group(GroupId(1)), 104);
        ran.insert(5, Trigger::Group(GroupId(2)), 105);
        let known = |ran: &Ran| [1, 2, 3, 4, 5].map(|hash| ran.contains(hash));
        assert_eq!(known(&Ran::unpack(&Ran::pack(ran.all())).unwrap()), [true; 5]);
        // Alert 2 was seen again, and so is still on record although its first entry is not.
        ran.forget(&alerts(&[2]), 104);
        assert_eq!(known(&ran), [false, true, false, false, true]);
        assert_eq!(known(&Ran::unpack(&Ran::pack(ran.all())).unwrap()), known(&ran));
        assert!(Ran::unpack(&[0; 15]).is_none());
        // What an earlier version wrote says nothing of that.
        let mut old = Ran::of_hashes(&[1_u64, 9].map(u64::to_le_bytes).concat()).unwrap();
        old.forget(&alerts(&[]), 1_000);
        assert_eq!((old.len(), old.contains(9)), (2, true));
    }
}
