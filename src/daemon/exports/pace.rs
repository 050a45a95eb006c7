//! How many notices go into a batch: fewer after a peer found one too large or could not take it in time, and more again once it takes them.

use crate::actions::peer::Refusal;

/// Notices of one batch.
const NOTICES_MAX: usize = 500;

/// Batches in a row after which larger ones are tried again.
const TAKEN_BEFORE_MORE: u32 = 4;

/// How large batches are for now.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    taken: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { most: NOTICES_MAX, taken: 0 }
    }
}

impl Pace {
    /// Most notices of the next batch.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// A batch was taken.
    pub(super) fn taken(&mut self) {
        self.taken += 1;
        if self.taken >= TAKEN_BEFORE_MORE {
            (self.most, self.taken) = ((self.most * 2).min(NOTICES_MAX), 0);
        }
    }

    /// A batch of so many notices was not taken; whether the next one is to be smaller.
    pub(super) fn refused(&mut self, refusal: &Refusal, notices: usize) -> bool {
        self.taken = 0;
        let is_smaller = refusal.too_large && notices > 1;
        if is_smaller {
            self.most = notices / 2;
        }
        is_smaller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_large() -> Refusal {
        Refusal { too_large: true, ..Refusal::from("413".to_owned()) }
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
}
