//! Keeps attempts away from a destination that fails: after some failures in a row it opens for a while, then lets one
//! attempt try it.
//!
//! It is a matter of the running daemon and stands nowhere on record: what it holds back has its intent in the journal
//! and no attempt, so that a restart finds it and, if the destination still fails, opens again after as many failures.

use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open before one attempt tries the destination.
    pub open: Duration,
}

/// What an attempt showed of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered, be it with a refusal of this request.
    Answers,
    /// It did not answer, or said that it cannot serve now.
    Fails,
    /// Nothing: the attempt was never made.
    Unseen,
}

/// The leave to make one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// It is the one attempt that tries a destination after its breaker was open.
    trial: bool,
}

/// One destination's breaker.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    stands: Stands,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stands {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// One attempt is under way; what comes of it decides.
    Trying,
}

impl Breaker {
    /// The leave to make an attempt now, if it may be made.
    pub fn leave(&mut self, now: Instant) -> Option<Leave> {
        match self.stands {
            Stands::Closed => Some(Leave { trial: false }),
            Stands::Open { until } if until <= now => {
                self.stands = Stands::Trying;
                Some(Leave { trial: true })
            }
            Stands::Open { .. } | Stands::Trying => None,
        }
    }

    /// Takes what came of an attempt; `true` when it opened or closed the breaker.
    pub fn ended(&mut self, leave: Leave, health: Health, now: Instant, limits: Limits) -> bool {
        let until = now + limits.open;
        match (health, self.stands) {
            (Health::Answers, before) => {
                *self = Self::default();
                before != Stands::Closed
            }
            (Health::Fails, Stands::Closed) => {
                self.failures += 1;
                if self.failures < limits.failures {
                    return false;
                }
                self.stands = Stands::Open { until };
                true
            }
            (Health::Fails, Stands::Trying) if leave.trial => {
                self.stands = Stands::Open { until };
                false
            }
            (Health::Unseen, Stands::Trying) if leave.trial => {
                self.stands = Stands::Open { until: now };
                false
            }
            // What was under way when it opened says nothing new.
            _ => false,
        }
    }

    /// Until when it lets nothing through; `None` when it does, or when an attempt is trying the destination.
    pub fn open_until(&self) -> Option<Instant> {
        match self.stands {
            Stands::Open { until } => Some(until),
            Stands::Closed | Stands::Trying => None,
        }
    }

    /// It holds attempts back.
    pub fn holds(&self) -> bool {
        self.stands != Stands::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { failures: 5, open: Duration::from_secs(30) };

    struct Time(Instant);

    impl Time {
        fn after(&self, secs: u64) -> Instant {
            self.0 + Duration::from_secs(secs)
        }
    }

    /// A breaker that five failures have opened at second 0.
    fn opened() -> (Breaker, Time) {
        let (mut breaker, time) = (Breaker::default(), Time(Instant::now()));
        for n in 1..=5 {
            let leave = breaker.leave(time.after(0)).expect("it is closed");
            assert_eq!(breaker.ended(leave, Health::Fails, time.after(0), LIMITS), n == 5);
        }
        (breaker, time)
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_thirty_seconds_and_then_one_attempt_tries() {
        let (mut breaker, time) = opened();
        assert_eq!((breaker.leave(time.after(29)), breaker.open_until()), (None, Some(time.after(30))));
        let trial = breaker.leave(time.after(30)).expect("the time is over");
        assert_eq!(breaker.leave(time.after(99)), None, "only one tries");
        breaker.ended(trial, Health::Fails, time.after(40), LIMITS);
        assert_eq!((breaker.leave(time.after(69)), breaker.open_until()), (None, Some(time.after(70))));
        let trial = breaker.leave(time.after(70)).expect("the time is over");
        assert!(breaker.ended(trial, Health::Answers, time.after(71), LIMITS) && !breaker.holds());
        assert!(breaker.leave(time.after(71)).is_some() && breaker.leave(time.after(71)).is_some());
    }

    #[test]
    fn an_answer_between_failures_keeps_it_closed() {
        let (mut breaker, time) = (Breaker::default(), Time(Instant::now()));
        for n in 0..40 {
            let leave = breaker.leave(time.after(n)).expect("it stays closed");
            let health = if n % 5 == 4 { Health::Answers } else { Health::Fails };
            assert!(!breaker.ended(leave, health, time.after(n), LIMITS));
        }
    }

    #[test]
    fn what_was_under_way_before_opens_nothing_for_longer_but_its_answer_closes() {
        let (mut breaker, time) = (Breaker::default(), Time(Instant::now()));
        let early: Vec<Leave> = (0..7).map(|_| breaker.leave(time.after(0)).expect("it is closed")).collect();
        for leave in &early[..6] {
            breaker.ended(*leave, Health::Fails, time.after(0), LIMITS);
        }
        let trial = breaker.leave(time.after(30)).expect("the sixth failure changed nothing");
        breaker.ended(early[0], Health::Fails, time.after(31), LIMITS);
        assert_eq!(breaker.open_until(), None, "the trial decides");
        assert!(breaker.ended(early[6], Health::Answers, time.after(32), LIMITS));
        assert!(!breaker.ended(trial, Health::Fails, time.after(33), LIMITS), "one failure of a closed breaker");
    }

    #[test]
    fn a_trial_that_was_never_made_leaves_the_next_one_to_try() {
        let (mut breaker, time) = opened();
        let trial = breaker.leave(time.after(30)).expect("the time is over");
        breaker.ended(trial, Health::Unseen, time.after(30), LIMITS);
        assert!(breaker.leave(time.after(30)).is_some());
    }
}
