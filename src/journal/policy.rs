//! `journal:` in `soard.yaml`: which keys sign checkpoints, how long entries are kept, and when they are compressed.

use std::str::FromStr;

use crate::domain::bytes::Bytes;
use crate::domain::secret::SecretRef;
use crate::domain::time::{BadSpan, Span};
use crate::yaml::node::Node;
use crate::yaml::reader::{Faults, MapReader};
use crate::yaml::secret::secret_ref;

/// What the user wants of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Keys for checkpoints, the one in charge first; empty: soard makes its own and keeps it in the state folder.
    pub keys: Vec<SecretRef>,
    /// Segments whose last entry is older are dropped; `None`: age drops none.
    pub keep: Option<Span>,
    /// The oldest segments are dropped while all together are larger; `None`: size drops none.
    pub size: Option<Bytes>,
    /// A segment that would grow beyond this is closed and the next one begun; 64 MiB when absent.
    pub segment: Option<Bytes>,
    /// Segments whose last entry is older are compressed; a week when absent.
    pub compress_after: After,
    /// How long segments stay for failed runs and dead letters that may be retried; 30 days when absent.
    pub hold: Span,
}

impl Default for Policy {
    fn default() -> Self {
        Self { keys: Vec::new(), keep: None, size: None, segment: None, compress_after: COMPRESS_AFTER, hold: HOLD }
    }
}

/// Long enough that what people `grep` lies there as lines.
const COMPRESS_AFTER: After = After::Age(Span::from_secs(7 * 24 * 3600));

/// Long enough for a holiday, and short enough that a letter that nobody cares for does not keep the journal for ever.
const HOLD: Span = Span::from_secs(30 * 24 * 3600);

/// When something is done with what grows old, written as `7d` or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Once it is older than this.
    Age(Span),
    /// Not at all.
    Never,
}

impl FromStr for After {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::Age) }
    }
}

impl Policy {
    /// Reads the map below `journal`.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map =
            MapReader::new(node, "a map with `key`, `keep`, `size`, `hold`, `segment` or `compress_after`", faults)?;
        let keys = map.list("key").unwrap_or_default();
        let keys = keys.iter().filter_map(|key| secret_ref(key, faults)).collect();
        let keep = map.parsed("keep", "a length of time such as 90d", faults);
        let size = map.parsed("size", "a number of bytes such as 20GiB", faults);
        let hold = map.parsed("hold", "a length of time such as 30d", faults).unwrap_or(HOLD);
        let segment = map.parsed("segment", "a number of bytes such as 64MiB", faults);
        let compress_after = map.parsed("compress_after", "a length of time such as 7d, or `never`", faults);
        map.finish(faults);
        Some(Self { keys, keep, size, segment, compress_after: compress_after.unwrap_or(COMPRESS_AFTER), hold })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_old_is_compressed_after_a_time_or_never() {
        assert_eq!("7d".parse(), Ok(COMPRESS_AFTER));
        assert_eq!("never".parse(), Ok(After::Never));
        assert!("soon".parse::<After>().is_err());
    }
}
