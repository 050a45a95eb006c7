//! When a failed effect is tried again. Pure: the same effect and attempt give the same instant.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::domain::effect::EffectKey;
use crate::domain::time::Span;

/// Longest wait that a receiver can ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Span = Span::from_secs(3600);

/// How often and how long a destination's effects are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Waits before attempts 2, 3 …
    retries: Vec<Span>,
    /// When given, the last wait repeats until the waits add up to this; jitter and `Retry-After` do not count.
    give_up_after: Option<Span>,
}

impl Default for Schedule {
    /// 1 s, 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, then hourly until a day is over.
    fn default() -> Self {
        let retries = [1, 5, 30, 120, 600, 1800, 3600].map(Span::from_secs).to_vec();
        Self { retries, give_up_after: Some(Span::from_secs(24 * 3600)) }
    }
}

impl Schedule {
    /// A destination's own waits; what it leaves out comes from the default. Waits without an end are just these.
    pub fn new(retries: Option<Vec<Span>>, give_up_after: Option<Span>) -> Self {
        let default = Self::default();
        match (retries, give_up_after) {
            (None, None) => default,
            (None, after) => Self { retries: default.retries, give_up_after: after },
            (Some(retries), give_up_after) => Self { retries, give_up_after },
        }
    }

    /// The wait after a failed attempt, counted from 1; `None` when all are used up.
    fn wait(&self, failed_attempt: u32) -> Option<Span> {
        let last = *self.retries.last()?;
        let n = failed_attempt.max(1) as usize;
        let wait = match self.retries.get(n - 1) {
            Some(wait) => *wait,
            None => self.give_up_after.map(|_| last)?,
        };
        let listed: u128 = self.retries.iter().take(n).map(|wait| wait.duration().as_millis()).sum();
        let repeated = n.saturating_sub(self.retries.len()) as u128 * last.duration().as_millis();
        let within = self.give_up_after.is_none_or(|after| listed + repeated <= after.duration().as_millis());
        within.then_some(wait)
    }
}

/// When the next attempt is due, or `None` when all are used up.
///
/// The wait varies by ±50 %, derived from the effect's key and the attempt, so that effects that failed
/// together do not come back together. A receiver's `Retry-After` can only lengthen it, to at most an hour.
pub fn next_attempt(
    schedule: &Schedule,
    key: &EffectKey,
    failed_attempt: u32,
    now: Timestamp,
    retry_after: Option<Span>,
) -> Option<Timestamp> {
    let wait = schedule.wait(failed_attempt)?;
    let wait = jittered(wait, key, failed_attempt).max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
    Some(wait.after(now))
}

fn jittered(wait: Span, key: &EffectKey, attempt: u32) -> Span {
    let digest = Sha256::digest(format!("jitter\n{key}\n{attempt}"));
    let per_mille = 500 + u64::from(u16::from_be_bytes([digest[0], digest[1]])) % 1001;
    let millis = u64::try_from(wait.duration().as_millis()).unwrap_or(u64::MAX);
    Span::from_millis(millis.saturating_mul(per_mille) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(step: u32) -> EffectKey {
        EffectKey::new("journal", &"a-1.0/notify".parse().unwrap(), step)
    }

    fn waits(schedule: &Schedule, key: &EffectKey) -> Vec<f64> {
        let next = |n| next_attempt(schedule, key, n, Timestamp::UNIX_EPOCH, None);
        (1..100).map_while(next).map(|at| at.as_millisecond() as f64 / 1000.0).collect()
    }

    #[test]
    fn the_default_goes_on_for_a_day_within_half_of_each_wait() {
        let nominal: Vec<f64> = [1.0, 5.0, 30.0, 120.0, 600.0, 1800.0].into_iter().chain([3600.0; 23]).collect();
        for step in 0..50 {
            let waits = waits(&Schedule::default(), &key(step));
            assert_eq!(waits.len(), nominal.len());
            for (wait, nominal) in waits.iter().zip(&nominal) {
                assert!((nominal * 0.5..=nominal * 1.5).contains(wait), "{wait} for {nominal}");
            }
        }
    }

    #[test]
    fn the_same_effect_waits_the_same_and_another_waits_otherwise() {
        let schedule = Schedule::default();
        assert_eq!(waits(&schedule, &key(1)), waits(&schedule, &key(1)));
        assert_ne!(waits(&schedule, &key(1)), waits(&schedule, &key(2)));
    }

    #[test]
    fn own_waits_end_where_they_end_unless_told_how_long() {
        let spans = |secs: &[u64]| Some(secs.iter().map(|s| Span::from_secs(*s)).collect());
        assert_eq!(waits(&Schedule::new(spans(&[1, 5]), None), &key(1)).len(), 2);
        assert_eq!(waits(&Schedule::new(spans(&[1, 5]), Some(Span::from_secs(21))), &key(1)).len(), 5);
        assert_eq!(waits(&Schedule::new(spans(&[]), None), &key(1)).len(), 0);
        assert_eq!(waits(&Schedule::new(None, Some(Span::from_secs(36))), &key(1)).len(), 3);
    }

    #[test]
    fn retry_after_lengthens_the_wait_to_at_most_an_hour() {
        let at = |secs| {
            let after = Some(Span::from_secs(secs));
            next_attempt(&Schedule::default(), &key(1), 1, Timestamp::UNIX_EPOCH, after).unwrap().as_second()
        };
        assert_eq!(at(90), 90);
        assert_eq!(at(u64::MAX / 1000), 3600);
        assert!(at(0) <= 1);
    }
}
