//! The one place that reads the wall clock.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp, Unit};

/// The time, to the microsecond: the journal keeps no more, and live state must equal recovered state.
#[expect(clippy::disallowed_methods, reason = "everything else is told the time")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Microsecond).unwrap_or(now)
}

/// A clock that never goes back: while the wall clock is behind what was stamped already, time passes as the monotonic
/// clock says.
#[derive(Debug)]
pub struct Steady {
    at: Timestamp,
    seen: Instant,
}

impl Steady {
    /// Not earlier than the last stamp.
    pub fn new(last: Timestamp) -> Self {
        Self { at: last.max(now()), seen: Instant::now() }
    }

    /// The time of an input.
    pub fn stamp(&mut self) -> Timestamp {
        self.step(now(), Instant::now())
    }

    /// The last stamp.
    pub const fn now(&self) -> Timestamp {
        self.at
    }

    fn step(&mut self, wall: Timestamp, tick: Instant) -> Timestamp {
        if wall < self.at {
            let passed = SignedDuration::try_from(tick.duration_since(self.seen)).unwrap_or_default();
            let steady = self.at.saturating_add(passed).unwrap_or(Timestamp::MAX);
            self.at = steady.round(Unit::Microsecond).unwrap_or(steady);
        } else {
            self.at = wall;
        }
        self.seen = tick;
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_passes_while_the_wall_clock_is_behind() {
        let (begin, tick) = ("2030-01-02T00:00:00Z".parse::<Timestamp>().unwrap(), Instant::now());
        let mut clock = Steady { at: begin, seen: tick };
        let behind = "2030-01-01T00:00:00Z".parse().unwrap();
        let after = |seconds| tick + Duration::from_secs(seconds);
        assert_eq!(clock.step(behind, after(5)).to_string(), "2030-01-02T00:00:05Z");
        assert_eq!(clock.step(behind, after(6)).to_string(), "2030-01-02T00:00:06Z");
        let ahead = "2030-01-02T00:01:00Z".parse().unwrap();
        assert_eq!(clock.step(ahead, after(7)), ahead);
    }
}
