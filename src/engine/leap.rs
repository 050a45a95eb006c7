//! A clock that leaps ahead makes everything look old: what is deleted for its age waits until the new time has proved itself.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Stamps further apart than this may be a clock that leapt. They may as well be a daemon that was off, or heard nothing.
pub const LEAP_MIN: SignedDuration = SignedDuration::from_hours(24);

/// How long time has to pass behind a leap until it is believed.
pub const DOUBTED: SignedDuration = SignedDuration::from_hours(24);

/// A clock was at one instant, and next at a much later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leap {
    /// Where time stood before, as far as it was believed.
    pub from: Timestamp,
    /// Where the clock stood next.
    pub to: Timestamp,
}

impl Leap {
    /// The leap to doubt once the clock has gone from one instant to the next: a new one, or the one known before.
    pub fn after(known: Option<Self>, from: Timestamp, to: Timestamp) -> Option<Self> {
        // An empty journal's time is where time begins.
        let is_leap = from > Timestamp::UNIX_EPOCH && to.duration_since(from) > LEAP_MIN;
        if is_leap { Some(Self { from: believed(known, from), to }) } else { known }
    }

    /// Until when it is doubted.
    pub fn until(self) -> Timestamp {
        self.to.saturating_add(DOUBTED).unwrap_or(Timestamp::MAX)
    }
}

/// The time by which to judge how old something is: as if a leap that is doubted had not been.
pub fn believed(leap: Option<Leap>, at: Timestamp) -> Timestamp {
    match leap.filter(|leap| at < leap.until()) {
        None => at,
        Some(Leap { from, to }) => from.saturating_add(at.duration_since(to)).unwrap_or(from).min(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_is_believed_once_a_day_has_passed_behind_it_and_another_one_does_not_shorten_that() {
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
        assert_eq!(Leap::after(None, at(1), at(25)), None, "no more than a day");
        assert_eq!(Leap::after(None, at(0), at(9_001)), None, "the first entry");
        let leap = Leap::after(None, at(1), at(9_001));
        assert_eq!(believed(leap, at(9_001)), at(1));
        assert_eq!(believed(leap, at(9_024)), at(24), "it goes on from where it was");
        assert_eq!(believed(leap, at(9_025)), at(9_025));
        assert_eq!(Leap::after(leap, at(9_001), at(9_002)), leap);
        let again = Leap::after(leap, at(9_011), at(90_000));
        assert_eq!(again, Some(Leap { from: at(11), to: at(90_000) }));
        assert_eq!((believed(again, at(90_023)), believed(again, at(90_024))), (at(34), at(90_024)));
    }
}
