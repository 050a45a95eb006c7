//! The one place that reads the wall clock.

use jiff::{Timestamp, Unit};

/// The time, to the microsecond: the journal keeps no more, and live state must equal recovered state.
#[expect(clippy::disallowed_methods, reason = "everything else is told the time")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Microsecond).unwrap_or(now)
}
