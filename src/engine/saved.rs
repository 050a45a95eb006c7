//! The state as bytes and back: what a snapshot holds. Alerts are packed, 40 bytes each; the rest is JSON.

use serde_json::Value;

use crate::engine::alerts::{Alerts, Frozen};
use crate::engine::deliveries::{self, Deliveries};
use crate::engine::ran::Ran;
use crate::engine::state::State;

/// Version of this form and of what `apply` makes of entries: raised with each change to either.
pub const VERSION: u32 = 7;

/// The oldest version whose states can still be restored: a base takes the place of entries that are gone.
pub const RESTORED_MIN: u32 = 1;

/// The first version that keeps deliveries beside the JSON, and with each run what it was started for.
const PACKED_SINCE: u32 = 7;

/// A state as bytes, as far as that is work for the thread that owns it: the rest is done when it is written.
#[derive(Debug, Clone)]
pub struct Saved {
    /// All but what follows.
    pub json: Vec<u8>,
    /// The alerts, which are packed when they are written.
    pub alerts: Frozen,
    /// The runs that were started, in no order.
    pub ran: Vec<(u64, u64)>,
    /// What came with an idempotency key, packed when it is written.
    pub deliveries: deliveries::Frozen,
}

/// A saved state as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The version that wrote it.
    pub version: u32,
    /// All but what follows.
    pub json: Vec<u8>,
    /// The alerts, packed, oldest first.
    pub alerts: Vec<u8>,
    /// The runs that were started, packed.
    pub ran: Vec<u8>,
    /// What came with an idempotency key, packed, oldest first.
    pub deliveries: Vec<u8>,
}

impl Saved {
    /// All of it in memory.
    pub fn parts(&self) -> Parts {
        Parts {
            version: VERSION,
            json: self.json.clone(),
            alerts: self.alerts.packed().flatten().collect(),
            ran: Ran::pack(self.ran.clone()),
            deliveries: self.deliveries.packed().flatten().collect(),
        }
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
        Saved { json, alerts: self.alerts.freeze(), ran: self.ran.all(), deliveries: self.deliveries.freeze() }
    }

    /// The state that gave these bytes.
    ///
    /// # Errors
    /// [`BadSave`] when there is none.
    pub fn restore(saved: &Parts) -> Result<Self, BadSave> {
        let (mut state, ran, deliveries) = if saved.version < PACKED_SINCE {
            let mut json = serde_json::from_slice(&saved.json)?;
            let deliveries = Deliveries::of_json(&mut json);
            (serde_json::from_value::<Self>(Value::Object(json))?, Ran::of_hashes(&saved.ran), deliveries)
        } else {
            let state = serde_json::from_slice::<Self>(&saved.json)?;
            (state, Ran::unpack(&saved.ran), Deliveries::unpack(&saved.deliveries))
        };
        state.alerts = Alerts::unpack(&saved.alerts).ok_or(BadSave::Packed)?;
        state.ran = ran.ok_or(BadSave::Packed)?;
        state.deliveries = deliveries.ok_or(BadSave::Packed)?;
        Ok(state)
    }
}
