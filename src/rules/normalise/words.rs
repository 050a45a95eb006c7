//! Value maps: a product's words and numbers to ours.

use serde_json::Value as Json;

use crate::rules::normalise::path::scalar_text;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader};

/// From words (compared without regard to case), numbers and ranges of numbers to constants; the first that fits counts.
#[derive(Debug, Clone, PartialEq)]
pub struct WordMap {
    entries: Vec<(Pattern, Json)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Pattern {
    Word(String),
    Number(f64),
    /// From `low` on, below `end`.
    Range {
        low: f64,
        end: f64,
    },
}

impl WordMap {
    /// Reads `{critical: high, 1-3: low, 4-6.9: medium, 7+: high}`.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map = MapReader::new(node, "a map of the product's words to ours", faults)?;
        let mut entries: Vec<(Pattern, Json)> = Vec::new();
        for (key, node) in map.rest() {
            let value = match node.value {
                Value::Str(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) => node.value.json(),
                _ => {
                    faults.expected(node, "a text, a number or a boolean");
                    continue;
                }
            };
            let pattern = Pattern::parse(&key.text);
            if let Some((other, _)) = entries.iter().find(|(other, _)| other.overlaps(&pattern)) {
                let message = format!("`{}` overlaps `{}`; only the first would count", key.text, other.show());
                faults.error("overlapping-words", &key.place, message);
            }
            entries.push((pattern, value));
        }
        Some(Self { entries })
    }

    /// The constant for a value.
    pub fn get(&self, value: &Json) -> Option<&Json> {
        let text = scalar_text(value)?;
        let text = text.trim();
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let fits = |pattern: &Pattern| match pattern {
            Pattern::Word(word) => word.eq_ignore_ascii_case(text),
            Pattern::Number(wanted) => number.is_some_and(|n| n == *wanted),
            Pattern::Range { low, end } => number.is_some_and(|n| *low <= n && n < *end),
        };
        self.entries.iter().find(|(pattern, _)| fits(pattern)).map(|(_, value)| value)
    }

    /// All constants that it can give.
    pub fn values(&self) -> impl Iterator<Item = &Json> {
        self.entries.iter().map(|(_, value)| value)
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        if let Some(low) = text.strip_suffix('+').and_then(decimal) {
            return Self::Range { low, end: f64::INFINITY };
        }
        let range = text.char_indices().skip(1).find(|(_, c)| *c == '-').and_then(|(at, _)| {
            let (low, high) = (text[..at].trim(), text[at + 1..].trim());
            Some(Self::Range { low: decimal(low)?, end: decimal(high)? + unit(high) })
        });
        range.or_else(|| decimal(text).map(Self::Number)).unwrap_or_else(|| Self::Word(text.into()))
    }

    fn bounds(&self) -> Option<(f64, f64)> {
        match self {
            Self::Word(_) => None,
            Self::Number(n) => Some((*n, *n)),
            Self::Range { low, end } => Some((*low, *end)),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Word(a), Self::Word(b)) => a.eq_ignore_ascii_case(b),
            (Self::Number(a), Self::Number(b)) => a == b,
            _ => match (self.bounds(), other.bounds()) {
                (Some((low, end)), Some((from, until))) => low < until && from < end,
                _ => false,
            },
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Number(number) => number.to_string(),
            Self::Range { low, end } => format!("{low} to below {end}"),
        }
    }
}

fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    plain.then(|| text.parse().ok()).flatten()
}

/// The worth of a number's last digit: a range `0-3.9` ends just before 4.0, so that no value falls between two ranges.
fn unit(text: &str) -> f64 {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    0.1_f64.powi(i32::try_from(decimals).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml::node;

    fn read(text: &str) -> (Option<WordMap>, Vec<String>) {
        let mut faults = Faults::default();
        let map = WordMap::read(&node::parse(&"t.yaml".into(), text).unwrap(), &mut faults);
        (map, faults.found.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn words_numbers_and_ranges_are_found() {
        let (map, faults) =
            read("{Critical: high, 1-3.9: low, 4-6: medium, 7+: high, 0: informational, -1: none, yes: true}");
        assert_eq!(faults, Vec::<String>::new());
        let map = map.unwrap();
        for (value, expected) in [
            (json!("CRITICAL"), json!("high")),
            (json!(1), json!("low")),
            (json!(3.95), json!("low")),
            (json!("3.999"), json!("low")),
            (json!(4.0), json!("medium")),
            (json!(6.5), json!("medium")),
            (json!(7), json!("high")),
            (json!(1e300), json!("high")),
            (json!(" 0 "), json!("informational")),
            (json!(-1), json!("none")),
            (json!("yes"), json!(true)),
        ] {
            assert_eq!(map.get(&value), Some(&expected), "{value}");
        }
        for value in [json!(0.5), json!("x"), json!("NaN"), json!([1]), json!(null), json!("inf")] {
            assert_eq!(map.get(&value), None, "{value}");
        }
    }

    #[test]
    fn overlaps_are_faults() {
        for text in ["{1-3: a, 3-5: b}", "{high: a, HIGH: b}", "{1: a, 1.0: b}", "{5: a, 1+: b}"] {
            assert_eq!(read(text).1.len(), 1, "{text}");
        }
        assert_eq!(read("{1-3: a, 3.5-5: b}").1.len(), 1);
        assert_eq!(read("{1-3: a, 4-5: b, 6+: c}").1.len(), 0);
    }
}
