//! Silences: what operators keep quiet for a while, by `field=value`.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::id::SilenceId;
use crate::domain::time::Span;

/// Silences that hold at a time.
pub const SILENCES_MAX: usize = 1_000;

/// Longest silence, in days, counted from when it is made or changed.
pub const LASTS_DAYS_MAX: u64 = 90;

/// Longest silence.
pub const LASTS_MAX: Span = Span::from_secs(LASTS_DAYS_MAX * 24 * 3600);

/// Shortest silence.
pub const LASTS_MIN: Span = Span::from_secs(60);

/// Terms of one silence.
pub const TERMS_MAX: usize = 20;

/// Bytes of one term.
pub const TERM_BYTES_MAX: usize = 1_000;

/// One thing that an alert must have for a silence to hold: `kind=PortScan`, `host!=web-*`, `title=~^Scan`, `title!~x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The field's path, with the rules' modifiers behind a bar where there are any: `ip|cidr`.
    pub field: String,
    /// How it compares.
    pub compare: Compare,
    /// With what.
    pub value: String,
}

/// How a term compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `=`: as rules compare values, so `*` and `?` are wildcards and case does not count.
    Is,
    /// `!=`: no value of the field is like that.
    IsNot,
    /// `=~`: a regular expression fits somewhere in the value.
    Fits,
    /// `!~`: it fits nowhere.
    FitsNot,
}

impl Compare {
    /// The sign.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::IsNot => "!=",
            Self::Fits => "=~",
            Self::FitsNot => "!~",
        }
    }
}

/// A text that is no term.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not field=value, field!=value, field=~regex or field!~regex")]
pub struct BadTerm {
    text: String,
}

impl FromStr for Term {
    type Err = BadTerm;
    fn from_str(text: &str) -> Result<Self, BadTerm> {
        let bad = || BadTerm { text: text.chars().take(100).collect() };
        let at = text.find(['=', '!']).filter(|at| *at > 0 && text.len() <= TERM_BYTES_MAX).ok_or_else(bad)?;
        let (field, rest) = text.split_at(at);
        let signs = [Compare::Fits, Compare::FitsNot, Compare::IsNot, Compare::Is];
        let sign = signs.into_iter().find(|sign| rest.starts_with(sign.as_str())).ok_or_else(bad)?;
        let value = &rest[sign.as_str().len()..];
        if field.trim() != field || value.is_empty() {
            return Err(bad());
        }
        Ok(Self { field: field.into(), compare: sign, value: value.into() })
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.field, self.compare.as_str(), self.value)
    }
}

impl JsonSchema for Term {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Term".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[^=!\s]+(=|!=|=~|!~).+$",
            "description": "`key=value`, `key!=value`, `key=~regex` or `key!~regex`.",
        })
    }
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A silence, with what it has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// What an alert must have, all of it.
    #[serde(rename = "match")]
    pub terms: Vec<Term>,
    /// Who made it.
    pub by: String,
    /// Why.
    pub comment: String,
    /// When it was made.
    pub made: Timestamp,
    /// Until when it holds, not included.
    pub until: Timestamp,
    /// How many alerts it held, repeats aside.
    pub held: u64,
    /// When it held one last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

/// What an operator orders about silences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SilenceOrder {
    /// A new one holds from now on.
    Add {
        /// Its id.
        id: SilenceId,
        /// What an alert must have, all of it.
        #[serde(rename = "match")]
        terms: Vec<Term>,
        /// Until when it holds, not included.
        until: Timestamp,
    },
    /// One ends at another time.
    Update {
        /// Which.
        id: SilenceId,
        /// Until when it holds, not included.
        until: Timestamp,
    },
    /// One ends now.
    Expire {
        /// Which.
        id: SilenceId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_at_their_first_sign_and_written_as_they_were() {
        for (text, field, compare, value) in [
            ("kind=PortScan", "kind", Compare::Is, "PortScan"),
            ("title=~a=b", "title", Compare::Fits, "a=b"),
            ("entities.ip.address|cidr!=10.0.0.0/8", "entities.ip.address|cidr", Compare::IsNot, "10.0.0.0/8"),
            ("title!~^x!=y", "title", Compare::FitsNot, "^x!=y"),
        ] {
            let term: Term = text.parse().unwrap();
            assert_eq!(
                (&*term.field, term.compare, &*term.value, term.to_string()),
                (field, compare, value, text.into())
            );
        }
        for text in
            ["", "kind", "=x", "kind=", "kind=~", "kind!x", " kind=x", "kind =x", &format!("a={}", "x".repeat(999))]
        {
            assert!(text.parse::<Term>().is_err(), "{text:?}");
        }
    }
}
