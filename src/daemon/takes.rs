//! Whether new alerts are taken now, and why not: the core knows, and all who hand records over ask.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::daemon::fault::Fault;
use crate::sources::intake::Answer;

/// Open runs above which no new alerts are taken: each costs some kilobytes, and what they wait for is not coming.
pub const RUNS_OPEN_MAX: usize = 100_000;

/// Why new alerts are not taken; results, timers and operators are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// There is too little room on the disk.
    Disk = 1,
    /// Too many runs are open.
    Runs = 2,
}

impl Lack {
    /// What a sender is told that can try again.
    pub const fn answer(self) -> Answer {
        match self {
            Self::Disk => Answer::Full,
            Self::Runs => Answer::Busy,
        }
    }
}

/// What is lacking, as of the core's last message.
#[derive(Debug, Default)]
pub struct Takes(AtomicU8);

impl Takes {
    /// Why new alerts are not taken; `None`: they are.
    pub fn lack(&self) -> Option<Lack> {
        let known = self.0.load(Ordering::Relaxed);
        [Lack::Disk, Lack::Runs].into_iter().find(|lack| *lack as u8 == known)
    }

    /// What it was before.
    pub fn set(&self, lack: Option<Lack>) -> Option<Lack> {
        let before = self.lack();
        self.0.store(lack.map_or(0, |lack| lack as u8), Ordering::Relaxed);
        before
    }

    /// Whether so many open runs are too many. Once they are, a tenth of them has to end first, so that it is not said anew
    /// for each alert.
    pub fn are_too_many(&self, runs: usize, fault: Option<Fault>) -> bool {
        let most = if fault == Some(Fault::FewRuns) { 10 } else { RUNS_OPEN_MAX };
        let was = self.lack() == Some(Lack::Runs);
        runs >= if was { most - most / 10 } else { most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_too_many_runs_are_open_a_tenth_of_them_has_to_end() {
        let takes = Takes::default();
        let too_many = |runs| {
            let lack = takes.are_too_many(runs, None).then_some(Lack::Runs);
            takes.set(lack);
            takes.lack().is_some()
        };
        let runs = [0, 99_999, 100_000, 100_100, 99_999, 90_000, 89_999, 99_999];
        assert_eq!(runs.map(too_many), [false, false, true, true, true, true, false, false]);
    }
}
