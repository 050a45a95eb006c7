//! How far entries may go beyond a checkpoint before there is another one.
//!
//! The writer keeps to it before it begins a batch, and by nothing but what stands in the journal: numbers, stamps and
//! segments. So no crash, load, pause or jump of the clock leaves more behind than checking allows.

use std::fmt;

use jiff::Timestamp;

/// What a checkpoint promises of the entries behind it: no batch begins once so many of them, or so many seconds by their
/// stamps, have no checkpoint yet, and none begins a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// How many entries.
    pub entries: u64,
    /// How many seconds from the stamp of the first of them.
    pub seconds: u32,
}

/// What this version promises.
pub const REACH: Reach = Reach { entries: 10_000, seconds: 60 };

/// The first entry without a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beyond {
    pub seq: u64,
    pub at: Timestamp,
}

impl Reach {
    /// Whether a batch whose first entry is `next` has to wait for a checkpoint when `first` has none.
    pub(super) fn ends_before(self, first: Beyond, next: Beyond) -> bool {
        let passed = next.at.duration_since(first.at);
        next.seq.saturating_sub(first.seq) >= self.entries || passed.as_secs() >= i64::from(self.seconds)
    }

    /// Reads a line as it is written.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (entries, seconds) = line.strip_prefix("reach ")?.split_once(' ')?;
        let reach = Self { entries: entries.parse().ok()?, seconds: seconds.parse().ok()? };
        (reach.to_string() == line).then_some(reach)
    }
}

/// As it stands in checkpoints.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reach {} {}", self.entries, self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_at_so_many_entries_or_seconds_and_a_clock_that_goes_back_ends_nothing() {
        let entry = |seq, second| Beyond { seq, at: Timestamp::from_millisecond(second).unwrap() };
        let reach = Reach { entries: 10, seconds: 60 };
        let first = entry(5, 100_000);
        for (seq, at, waits) in [
            (6, 100_000, false),
            (14, 159_999, false),
            (15, 100_000, true),
            (6, 160_000, true),
            (6, 9_000_000_000, true),
            (6, 1_000, false),
        ] {
            assert_eq!(reach.ends_before(first, entry(seq, at)), waits, "entry {seq} at {at}");
        }
        assert_eq!(Reach::parse(&REACH.to_string()), Some(REACH));
        for line in ["", "reach", "reach 1", "reach 1 x", "reach 01 60", "reach 1 60 ", "reach 1 60 7", "reach -1 60"] {
            assert_eq!(Reach::parse(line), None, "{line}");
        }
    }
}
