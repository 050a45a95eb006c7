//! The state as bytes and back: what a snapshot holds. Alerts are packed, 40 bytes each; the rest is JSON.

use std::collections::HashSet;

use crate::engine::alerts::{Alerts, Frozen};
use crate::engine::state::State;

/// Version of this form and of what `apply` makes of entries: raised with each change to either.
pub const VERSION: u32 = 6;

/// The oldest version whose states can still be restored: a base takes the place of entries that are gone.
pub const RESTORED_MIN: u32 = 1;

/// A state as bytes.
#[derive(Debug, Clone)]
pub struct Saved {
    /// All but what follows.
    pub json: Vec<u8>,
    /// The alerts, which are packed when they are written.
    pub alerts: Frozen,
    /// Hashes of the runs that were ever started, sorted.
    pub ran: Vec<u8>,
}

/// A saved state as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// All but what follows.
    pub json: Vec<u8>,
    /// The alerts, packed, oldest first.
    pub alerts: Vec<u8>,
    /// Hashes of the runs that were ever started.
    pub ran: Vec<u8>,
}

impl Saved {
    /// All of it in memory.
    pub fn parts(&self) -> Parts {
        Parts { json: self.json.clone(), alerts: self.alerts.packed().flatten().collect(), ran: self.ran.clone() }
    }
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
        Saved { json, alerts: self.alerts.freeze(), ran: ran.iter().flat_map(|hash| hash.to_le_bytes()).collect() }
    }

    /// The state that gave these bytes.
    ///
    /// # Errors
    /// [`BadSave`] when there is none.
    pub fn restore(saved: &Parts) -> Result<Self, BadSave> {
        let mut state: Self = serde_json::from_slice(&saved.json)?;
        state.alerts = Alerts::unpack(&saved.alerts).ok_or(BadSave::Packed)?;
        let (hashes, []) = saved.ran.as_chunks::<8>() else { return Err(BadSave::Packed) };
        state.ran = hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect::<HashSet<u64>>();
        Ok(state)
    }
}
