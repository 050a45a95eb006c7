//! Durations as people write them. Instants are [`jiff::Timestamp`] throughout, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time written as `500ms`, `30s`, `5m`, `2h`, `7d`, `4w` or a sum such as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(Duration);

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a length of time; write 500ms, 30s, 5m, 2h, 7d, 4w or a sum such as 1h30m")]
pub struct BadSpan {
    text: String,
}

const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

impl Span {
    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// The instant this long before `end`, or the first one there is.
    pub fn before(self, end: jiff::Timestamp) -> jiff::Timestamp {
        let long = jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX);
        end.saturating_sub(long).unwrap_or(jiff::Timestamp::MIN)
    }

    /// The instant this long after `start`, or the last one there is.
    pub fn after(self, start: jiff::Timestamp) -> jiff::Timestamp {
        let span = jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX);
        start.checked_add(span).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl FromStr for Span {
    type Err = BadSpan;
    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let bad = || BadSpan { text: text.into() };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut millis = 0_u64;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let (unit, tail) = tail.split_at(letters);
            let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).ok_or_else(bad)?;
            millis = millis.checked_add(part).ok_or_else(bad)?;
            rest = tail.trim_start();
        }
        Ok(Self::from_millis(millis))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in [UNITS[0], UNITS[1], UNITS[2], UNITS[4], UNITS[5], UNITS[3]] {
            if millis >= scale {
                write!(f, "{}{unit}", millis / scale)?;
                millis %= scale;
            }
        }
        Ok(())
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^ *([0-9]+(w|d|h|ms|m|s) *)+$", "description": "A length of time: `90s`, `4h`, `1d12h`." })
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_as_people_write_them() {
        for (text, millis) in [("90s", 90_000), ("1h30m", 5_400_000), ("2w", 1_209_600_000), ("250ms", 250)] {
            assert_eq!(text.parse::<Span>().unwrap(), Span::from_millis(millis), "{text}");
        }
        assert_eq!(Span::from_secs(90).to_string(), "1m30s");
        for text in ["", "5", "m", "-5m", "5 parsecs", "99999999999999999999s", "5M"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
