//! One wanted value, told the slow and obvious way: what `explain` shows, and what the compiled matcher is checked against.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use regex::Regex;
use serde_json::Number;

use crate::domain::alert::Severity;
use crate::rules::fields::FieldKind;
use crate::rules::found::{Actual, Found};
use crate::rules::modifiers::{Order, RegexFlags, TimePart};
use crate::rules::pattern::{Anchor, Pattern, fold};

/// How a wanted value is told.
#[derive(Debug, Clone)]
pub enum Test {
    /// By its text.
    Text(Pattern),
    /// By its number.
    Number(Number),
    /// True or false.
    Flag(bool),
    /// Nothing there, or null.
    Null,
    /// The field is there, or is not.
    Exists(bool),
    /// By a regular expression.
    Regex(Regex, RegexFlags),
    /// By the network that holds it.
    Network(IpNet),
    /// By number, rank or time.
    Above(Order, Bound),
    /// By a part of its time; without an order it must be equal.
    Part(TimePart, Option<Order>, i64),
    /// By a text that another field has.
    Other(Reference),
}

/// Another field whose text is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Its number.
    pub field: usize,
    /// Where its text must stand.
    pub anchor: Anchor,
    /// Case counts.
    pub cased: bool,
}

/// Most texts of the other field that are looked for within texts: each costs a look at all of them.
pub const OTHER_TEXTS_MAX: usize = 64;

impl Reference {
    fn hits(&self, actual: &Prepared, other: &Prepared) -> bool {
        let side = |(text, folded)| if self.cased { text } else { folded };
        let mut wholes = actual.texts().map(side);
        if self.anchor == Anchor::Whole {
            let parts: HashSet<&str> = other.texts().map(side).collect();
            return wholes.any(|whole| parts.contains(whole));
        }
        let parts: Vec<&str> = other.texts().map(side).take(OTHER_TEXTS_MAX).collect();
        wholes.any(|whole| parts.iter().any(|part| self.anchor.holds(whole, part)))
    }
}

/// What is compared with.
#[derive(Debug, Clone)]
pub enum Bound {
    /// A number.
    Number(Number),
    /// A severity, by rank.
    Severity(Severity),
    /// An instant.
    Time(Timestamp),
}

/// What an alert or an event has at a field, folded once for all tests.
#[derive(Debug)]
pub struct Prepared<'a> {
    found: Found<'a>,
    texts: Vec<Option<(Cow<'a, str>, Cow<'a, str>)>>,
}

impl<'a> Prepared<'a> {
    /// Folds the values.
    pub fn new(found: Found<'a>) -> Self {
        let texts = found.values.iter().map(texts).collect();
        Self { found, texts }
    }

    /// The values as they were found.
    pub fn found(&self) -> &Found<'a> {
        &self.found
    }

    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().flatten().map(|(text, folded)| (&**text, &**folded))
    }
}

/// The value's text, and that text folded; a map has none.
fn texts<'a>(value: &Actual<'a>) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let text = match value {
        Actual::Text(Cow::Borrowed(text)) => Cow::Borrowed(*text),
        Actual::Whole(_) => return None,
        other => Cow::Owned(other.text()?.into_owned()),
    };
    let folded = match &text {
        Cow::Borrowed(text) => fold(text),
        Cow::Owned(text) => Cow::Owned(fold(text).into_owned()),
    };
    Some((text, folded))
}

impl Test {
    /// Whether one of the values is such a value; `other` gives what another field has.
    pub fn hits<'p, 'a: 'p>(&self, actual: &Prepared, other: &dyn Fn(usize) -> &'p Prepared<'a>) -> bool {
        let values = &actual.found.values;
        let mut texts = actual.texts();
        match self {
            Self::Exists(wanted) => actual.found.present == *wanted,
            Self::Null => values.is_empty() || values.contains(&Actual::Null),
            Self::Text(pattern) => texts.any(|(text, folded)| pattern.matches(text, folded)),
            Self::Regex(regex, _) => texts.any(|(text, _)| regex.is_match(text)),
            Self::Number(number) => values.iter().any(|value| same_number(value, number)),
            Self::Flag(flag) => values.iter().any(|value| same_flag(value, *flag)),
            Self::Network(network) => texts.any(|(text, _)| address(text).is_some_and(|ip| network.contains(&ip))),
            Self::Above(order, bound) => {
                values.iter().any(|value| compare(value, bound).is_some_and(|o| order.holds(o)))
            }
            Self::Part(part, order, wanted) => texts.any(|(text, _)| {
                let number = instant(text).map(|at| part.of(at));
                number.is_some_and(|number| match order {
                    None => number == *wanted,
                    Some(order) => order.holds(number.cmp(wanted)),
                })
            }),
            Self::Other(reference) => reference.hits(actual, other(reference.field)),
        }
    }

    /// The other field that it asks.
    pub fn other_field(&self) -> Option<u32> {
        match self {
            Self::Other(reference) => u32::try_from(reference.field).ok(),
            _ => None,
        }
    }

    /// The outcome for a field of this kind, when it is the same for every alert.
    pub fn constant(&self, kind: FieldKind) -> Option<bool> {
        match self {
            Self::Text(pattern) if pattern.is_anything() && kind.always_present() => Some(true),
            Self::Exists(wanted) if kind.always_present() => Some(*wanted),
            Self::Null if kind.always_present() => Some(false),
            Self::Above(order, Bound::Severity(bound)) => {
                let held = Severity::ALL.iter().filter(|severity| order.holds((*severity).cmp(bound))).count();
                match held {
                    0 => Some(false),
                    n if n == Severity::ALL.len() => Some(true),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// An IPv4 address that is written as IPv6 counts as IPv4.
pub fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// An instant: RFC 3339, or a civil time, which counts as UTC.
fn instant(text: &str) -> Option<Timestamp> {
    let civil = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    text.parse().ok().or_else(|| civil().map(|zoned| zoned.timestamp()))
}

/// An unquoted `1.10` in a rule is a number, and must match the text `1.10` all the same.
fn same_number(value: &Actual, number: &Number) -> bool {
    as_number(value).is_some_and(|actual| equal_numbers(&actual, number))
}

/// The number that a value is or that its text writes.
pub fn as_number(value: &Actual) -> Option<Number> {
    match value {
        Actual::Number(actual) => Some(actual.clone()),
        Actual::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Whether two numbers are equal, however they are written.
pub fn equal_numbers(a: &Number, b: &Number) -> bool {
    compare_numbers(a, b).is_some_and(std::cmp::Ordering::is_eq)
}

fn same_flag(value: &Actual, flag: bool) -> bool {
    match value {
        Actual::Flag(actual) => *actual == flag,
        Actual::Text(text) => text.eq_ignore_ascii_case(if flag { "true" } else { "false" }),
        _ => false,
    }
}

fn compare(value: &Actual, bound: &Bound) -> Option<std::cmp::Ordering> {
    match (value, bound) {
        (Actual::Number(actual), Bound::Number(bound)) => compare_numbers(actual, bound),
        (Actual::Text(text), Bound::Number(bound)) => compare_numbers(&text.trim().parse().ok()?, bound),
        (Actual::Text(text), Bound::Severity(bound)) => Some(text.parse::<Severity>().ok()?.cmp(bound)),
        (Actual::Text(text), Bound::Time(bound)) => Some(text.parse::<Timestamp>().ok()?.cmp(bound)),
        _ => None,
    }
}

fn compare_numbers(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}
