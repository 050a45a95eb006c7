//! The state as bytes and back: what a snapshot holds. Alerts are packed, 40 bytes each; the rest is JSON.

use std::collections::{HashMap, HashSet};

use crate::domain::alert::{Severity, Status};
use crate::domain::id::AlertId;
use crate::engine::state::{Alerts, Slot, State};

/// Version of this form and of what `apply` makes of entries: raised with each change to either.
pub const VERSION: u32 = 5;

/// The oldest version whose states can still be restored: a base takes the place of entries that are gone.
pub const RESTORED_MIN: u32 = 1;

/// Bytes of one packed alert.
const SLOT_BYTES: usize = 40;

const SUPPRESSED: u8 = 1;
const HELD: u8 = 2;
/// Another alert has taken over its identity.
const NAMELESS: u8 = 4;
const SILENCED: u8 = 8;

/// A state as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// All but what follows.
    pub json: Vec<u8>,
    /// The alerts, packed, oldest first.
    pub alerts: Vec<u8>,
    /// Hashes of the runs that were ever started, sorted.
    pub ran: Vec<u8>,
}

/// Bytes that no state gave.
#[derive(Debug, thiserror::Error)]
pub enum BadSave {
    /// The JSON does not have the shape of this version.
    #[error("its JSON is not that of this version")]
    Json(#[from] serde_json::Error),
    /// The packed part is not what it should be.
    #[error("its packed part is damaged")]
    Packed,
}

impl State {
    /// The state as bytes: equal states give equal bytes, but for the order of JSON maps.
    pub fn save(&self) -> Saved {
        let json = serde_json::to_vec(self).expect("a state is plain data with keys that are text");
        let mut ran: Vec<u64> = self.ran.iter().copied().collect();
        ran.sort_unstable();
        Saved { json, alerts: self.alerts.pack(), ran: ran.iter().flat_map(|hash| hash.to_le_bytes()).collect() }
    }

    /// The state that gave these bytes.
    ///
    /// # Errors
    /// [`BadSave`] when there is none.
    pub fn restore(saved: &Saved) -> Result<Self, BadSave> {
        let mut state: Self = serde_json::from_slice(&saved.json)?;
        state.alerts = Alerts::unpack(&saved.alerts).ok_or(BadSave::Packed)?;
        let (hashes, []) = saved.ran.as_chunks::<8>() else { return Err(BadSave::Packed) };
        state.ran = hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect::<HashSet<u64>>();
        Ok(state)
    }
}

impl Alerts {
    fn pack(&self) -> Vec<u8> {
        let mut identities = vec![None; self.slots.len()];
        for (identity, at) in &self.by_identity {
            identities[*at as usize] = Some(*identity);
        }
        let mut packed = Vec::with_capacity(self.slots.len() * SLOT_BYTES);
        for (slot, identity) in self.slots.iter().zip(identities) {
            let flag = |is: bool, flag| if is { flag } else { 0 };
            let by = flag(slot.suppressed, SUPPRESSED) | flag(slot.silenced, SILENCED) | flag(slot.held, HELD);
            let flags = by | flag(identity.is_none(), NAMELESS);
            packed.extend(slot.id.record.to_le_bytes());
            packed.extend(slot.id.index.to_le_bytes());
            packed.extend(slot.seq.to_le_bytes());
            packed.extend(identity.unwrap_or_default().to_le_bytes());
            packed.extend(slot.identity_until.to_le_bytes());
            packed.extend(slot.count.to_le_bytes());
            packed.extend([slot.severity as u8, slot.peak as u8, slot.status as u8, flags]);
        }
        packed
    }

    fn unpack(packed: &[u8]) -> Option<Self> {
        let (records, []) = packed.as_chunks::<SLOT_BYTES>() else { return None };
        let mut alerts =
            Self { slots: Vec::with_capacity(records.len()), by_identity: HashMap::with_capacity(records.len()) };
        for record in records {
            let wide = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"));
            let short = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
            let severity = |at: usize| Severity::ALL.get(usize::from(record[at])).copied();
            let flags = record[39];
            let slot = Slot {
                id: AlertId { record: wide(0), index: short(8) },
                seq: wide(12),
                identity_until: short(28),
                count: short(32),
                severity: severity(36)?,
                peak: severity(37)?,
                status: Status::ALL.get(usize::from(record[38])).copied()?,
                suppressed: flags & SUPPRESSED != 0,
                silenced: flags & SILENCED != 0,
                held: flags & HELD != 0,
            };
            if alerts.slots.last().is_some_and(|last| last.id >= slot.id) {
                return None;
            }
            if flags & NAMELESS == 0 {
                alerts.by_identity.insert(wide(20), u32::try_from(alerts.slots.len()).ok()?);
            }
            alerts.slots.push(slot);
        }
        Some(alerts)
    }
}
