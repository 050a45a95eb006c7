//! How many notices go into a batch: fewer after a peer found one too large or could not take it in time, and more again once it takes them.

use crate::actions::peer::Refusal;

/// Notices of one batch.
const NOTICES_MAX: usize = 500;

/// Batches in a row after which larger ones are tried again.
const TAKEN_BEFORE_MORE: u32 = 4;

/// Failures in a row after which a batch is taken to be too large for the time that there is.
const FAILED_BEFORE_FEWER: u32 = 3;

/// How large batches are for now.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    taken: u32,
    /// Failures in a row that are no clear refusals.
    failed: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { most: NOTICES_MAX, taken: 0, failed: 0 }
    }
}

impl Pace {
    /// Most notices of the next batch.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// A batch was taken.
    pub(super) fn taken(&mut self) {
        self.failed = 0;
        self.taken += 1;
        if self.taken >= TAKEN_BEFORE_MORE {
            (self.most, self.taken) = ((self.most * 2).min(NOTICES_MAX), 0);
        }
    }

    /// A batch of so many notices was not taken; whether the next one is to be smaller.
    pub(super) fn refused(&mut self, refusal: &Refusal, notices: usize) -> bool {
        self.taken = 0;
        self.failed = if refusal.is_clear { 0 } else { self.failed + 1 };
        let is_smaller = notices > 1 && (refusal.too_large || self.failed >= FAILED_BEFORE_FEWER);
        if is_smaller {
            (self.most, self.failed) = (notices / 2, 0);
        }
        is_smaller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_large() -> Refusal {
        Refusal { too_large: true, is_clear: true, ..Refusal::from("413".to_owned()) }
    }

    #[test]
    fn batches_shrink_to_one_notice_and_grow_back() {
        let mut pace = Pace::default();
        let mut sizes = vec![pace.most()];
        while pace.refused(&too_large(), pace.most()) {
            sizes.push(pace.most());
        }
        assert_eq!(sizes, [500, 250, 125, 62, 31, 15, 7, 3, 1]);
        for _ in 0..TAKEN_BEFORE_MORE {
            assert_eq!(pace.most(), 1);
            pace.taken();
        }
        assert_eq!(pace.most(), 2);
        (0..100).for_each(|_| pace.taken());
        assert_eq!(pace.most(), NOTICES_MAX);
    }

    #[test]
    fn a_batch_that_is_too_slow_three_times_becomes_smaller_and_a_clear_refusal_does_not_count() {
        let mut pace = Pace::default();
        let slow = Refusal::from("not confirmed within 30.0 s".to_owned());
        let clear = Refusal { is_clear: true, ..slow.clone() };
        for refusal in [&slow, &slow, &clear, &slow, &slow] {
            assert!(!pace.refused(refusal, 100));
        }
        assert!(pace.refused(&slow, 100));
        assert_eq!(pace.most(), 50);
        assert!((0..9).all(|_| !pace.refused(&slow, 1)), "one notice is no less");
    }
}
