//! The one place that reads the wall clock.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp, Unit};

use crate::engine::leap::{Leap, believed};

/// How far the time of entries may be ahead of the wall clock before people are told: less is put right by itself.
pub const AHEAD_TOLD: SignedDuration = SignedDuration::from_secs(60);

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
    /// The last time that the wall clock went ahead much further than time had passed.
    leap: Option<Leap>,
    /// The wall clock was so far behind at the last stamp that the log was told.
    ahead: bool,
}

impl Steady {
    /// Not earlier than the last stamp.
    pub fn new(last: Timestamp) -> Self {
        Self { at: last.max(now()), seen: Instant::now(), leap: None, ahead: false }
    }

    /// The time of an input.
    pub fn stamp(&mut self) -> Timestamp {
        self.step(now(), Instant::now())
    }

    /// The last stamp.
    pub const fn now(&self) -> Timestamp {
        self.at
    }

    /// The time by which to judge how old something is, and the leap that is doubted.
    pub fn believed(&self, state: Option<Leap>) -> (Timestamp, Option<Leap>) {
        let doubted = [state, self.leap].into_iter().flatten().filter(|leap| self.at < leap.until());
        let believed = [state, self.leap].map(|leap| believed(leap, self.at)).into_iter().fold(now(), Timestamp::min);
        (believed, doubted.max_by_key(|leap| leap.to))
    }

    /// How far it is ahead of the wall clock, when that is worth telling.
    pub fn ahead(&self) -> Option<SignedDuration> {
        Some(self.at.duration_since(now())).filter(|ahead| *ahead > AHEAD_TOLD)
    }

    fn step(&mut self, wall: Timestamp, tick: Instant) -> Timestamp {
        let passed = SignedDuration::try_from(tick.duration_since(self.seen)).unwrap_or_default();
        let steady = self.at.saturating_add(passed).unwrap_or(Timestamp::MAX);
        self.leap = Leap::after(self.leap, steady, wall);
        self.say(self.at.duration_since(wall));
        if wall < self.at {
            self.at = steady.round(Unit::Microsecond).unwrap_or(steady);
        } else {
            self.at = wall;
        }
        self.seen = tick;
        self.at
    }

    /// Tells the log when the wall clock falls far behind, and when it has caught up.
    fn say(&mut self, ahead: SignedDuration) {
        if self.ahead != (ahead > AHEAD_TOLD) {
            self.ahead = !self.ahead;
            let ahead = ahead.as_secs();
            if self.ahead {
                tracing::warn!(
                    ahead,
                    "the journal's time is ahead of the system's clock: it goes on by itself until that has caught up"
                );
            } else {
                tracing::info!("the system's clock has caught up with the journal's time");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_passes_while_the_wall_clock_is_behind() {
        let (begin, tick) = ("2030-01-02T00:00:00Z".parse::<Timestamp>().unwrap(), Instant::now());
        let mut clock = Steady { at: begin, seen: tick, leap: None, ahead: false };
        let behind = "2030-01-01T00:00:00Z".parse().unwrap();
        let after = |seconds| tick + Duration::from_secs(seconds);
        assert_eq!(clock.step(behind, after(5)).to_string(), "2030-01-02T00:00:05Z");
        assert_eq!(clock.step(behind, after(6)).to_string(), "2030-01-02T00:00:06Z");
        let ahead = "2030-01-02T00:01:00Z".parse().unwrap();
        assert_eq!(clock.step(ahead, after(7)), ahead);
    }

    #[test]
    fn a_wall_clock_that_leaps_is_doubted_and_one_that_was_long_not_asked_is_not() {
        let (begin, tick) = ("2030-01-02T00:00:00Z".parse::<Timestamp>().unwrap(), Instant::now());
        let mut clock = Steady { at: begin, seen: tick, leap: None, ahead: false };
        let week = Duration::from_secs(7 * 24 * 3600);
        clock.step(begin.saturating_add(week).unwrap(), tick + week);
        assert_eq!(clock.leap, None, "nothing was stamped for a week");
        let leapt = "2033-01-01T00:00:00Z".parse().unwrap();
        clock.step(leapt, tick + week);
        assert_eq!(clock.leap, Some(Leap { from: begin.saturating_add(week).unwrap(), to: leapt }));
    }
}
