//! A value that an item wants: how it is written and how it is told.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use regex::{Regex, RegexBuilder};
use serde_json::Number;

use crate::domain::alert::{Severity, Status};
use crate::rules::fields::{Actual, Field, FieldKind, Found};
use crate::rules::known::Reading;
use crate::rules::modifiers::{Modifiers, Operator, Order, RegexFlags};
use crate::rules::pattern::{Anchor, Pattern, fold};
use crate::yaml::diagnostic::nearest;
use crate::yaml::node::{Node, Value};

/// Largest compiled regular expression, in bytes.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// A wanted value and how to tell it.
#[derive(Debug, Clone)]
pub struct Wanted {
    test: Test,
    /// As the rule has it.
    pub written: serde_json::Value,
}

impl Wanted {
    /// Whether the alert has such a value.
    pub fn hits(&self, actual: &Prepared) -> bool {
        self.test.hits(actual)
    }

    /// The outcome for a field of this kind, when it is the same for every alert.
    pub fn constant(&self, kind: FieldKind) -> Option<bool> {
        match &self.test {
            Test::Text(pattern) if pattern.is_anything() && kind.always_present() => Some(true),
            Test::Exists(wanted) if kind.always_present() => Some(*wanted),
            Test::Null if kind.always_present() => Some(false),
            Test::Above(order, Bound::Severity(bound)) => {
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

    /// The one text that it wants, folded unless case counts; `None` with wildcards and for anything but a text.
    pub fn exact_text(&self) -> Option<&str> {
        match &self.test {
            Test::Text(pattern) => pattern.exact(),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
enum Test {
    Text(Pattern),
    Number(Number),
    Flag(bool),
    Null,
    Exists(bool),
    Regex(Regex),
    Network(IpNet),
    Above(Order, Bound),
}

#[derive(Debug, Clone)]
enum Bound {
    Number(Number),
    Severity(Severity),
    Time(Timestamp),
}

/// What an alert has at a field, folded once for all items.
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
    fn hits(&self, actual: &Prepared) -> bool {
        let values = &actual.found.values;
        let mut folded = actual.texts.iter().flatten();
        match self {
            Self::Exists(wanted) => actual.found.present == *wanted,
            Self::Null => values.is_empty() || values.contains(&Actual::Null),
            Self::Text(pattern) => folded.any(|(text, folded)| pattern.matches(text, folded)),
            Self::Regex(regex) => folded.any(|(text, _)| regex.is_match(text)),
            Self::Number(number) => values.iter().any(|value| same_number(value, number)),
            Self::Flag(flag) => values.iter().any(|value| same_flag(value, *flag)),
            Self::Network(network) => folded.any(|(text, _)| address(text).is_some_and(|ip| network.contains(&ip))),
            Self::Above(order, bound) => {
                values.iter().any(|value| compare(value, bound).is_some_and(|o| order.holds(o)))
            }
        }
    }
}

/// An IPv4 address that is written as IPv6 counts as IPv4.
fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// An unquoted `1.10` in a rule is a number, and must match the text `1.10` all the same.
fn same_number(value: &Actual, number: &Number) -> bool {
    let same = |actual: &Number| compare_numbers(actual, number).is_some_and(std::cmp::Ordering::is_eq);
    match value {
        Actual::Number(actual) => same(actual),
        Actual::Text(text) => text.parse().is_ok_and(|actual: Number| same(&actual)),
        _ => false,
    }
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

/// Reads one value of an item; notes every fault.
pub fn read(node: &Node, field: &Field, modifiers: Modifiers, reading: &mut Reading) -> Option<Wanted> {
    if let Value::Map(_) | Value::List(_) = node.value {
        reading.faults.expected(node, "a text, number, boolean or null");
        return None;
    }
    let test = match modifiers.operator {
        Operator::Equals => equals(node, field, modifiers, reading),
        Operator::Contains => part(node, Anchor::Inside, modifiers, reading),
        Operator::StartsWith => part(node, Anchor::Start, modifiers, reading),
        Operator::EndsWith => part(node, Anchor::End, modifiers, reading),
        Operator::Regex => regex(node, modifiers.flags, reading),
        Operator::Cidr => network(node, field, reading),
        Operator::Exists => exists(node, reading),
        Operator::Compare(order) => bound(node, field, reading).map(|bound| Test::Above(order, bound)),
    };
    Some(Wanted { test: test?, written: node.value.json() })
}

fn equals(node: &Node, field: &Field, modifiers: Modifiers, reading: &mut Reading) -> Option<Test> {
    let pattern = |text: &str| Pattern::new(text, Anchor::Whole, modifiers.cased);
    match (&node.value, field.kind()) {
        (Value::Str(text), FieldKind::Severity) => {
            let words: Vec<&str> = Severity::ALL.iter().map(|word| word.as_str()).collect();
            known_word(node, text, &words, reading).then(|| Test::Text(pattern(text)))
        }
        (Value::Str(text), FieldKind::Status) => {
            let words: Vec<&str> = Status::ALL.iter().map(|word| word.as_str()).collect();
            known_word(node, text, &words, reading).then(|| Test::Text(pattern(text)))
        }
        (Value::Bool(flag), _) => Some(Test::Flag(*flag)),
        (_, FieldKind::Flag) => {
            reading.faults.expected(node, "true or false");
            None
        }
        (Value::Str(text), _) => Some(Test::Text(pattern(text))),
        (Value::Null, _) => Some(Test::Null),
        (_, FieldKind::Severity) => {
            reading.faults.expected(node, "a severity: informational, low, medium or high");
            None
        }
        _ => number(node).map(Test::Number),
    }
}

/// A text with wildcards is taken as it is.
fn known_word(node: &Node, text: &str, words: &[&str], reading: &mut Reading) -> bool {
    if text.contains(['*', '?']) || words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return true;
    }
    let help = match nearest(text, words) {
        Some(near) => format!("did you mean `{near}`?"),
        None if words.contains(&"high") => {
            format!("soard's severities are {}; the product's own word is in `source_severity`", words.join(", "))
        }
        None => format!("known: {}", words.join(", ")),
    };
    let what = if words.contains(&"high") { "severity" } else { "status" };
    reading.bad_value(node, format!("no alert ever has the {what} `{text}`"), Some(help));
    false
}

fn part(node: &Node, anchor: Anchor, modifiers: Modifiers, reading: &mut Reading) -> Option<Test> {
    let text = match &node.value {
        Value::Str(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => {
            reading.faults.expected(node, "a text");
            return None;
        }
    };
    if text.is_empty() {
        reading.bad_value(node, "an empty text is a part of every value", Some("write `exists: true`".into()));
        return None;
    }
    Some(Test::Text(Pattern::new(&text, anchor, modifiers.cased)))
}

fn regex(node: &Node, flags: RegexFlags, reading: &mut Reading) -> Option<Test> {
    let Value::Str(text) = &node.value else {
        reading.faults.expected(node, "a regular expression in quotes");
        return None;
    };
    let regex = RegexBuilder::new(text)
        .size_limit(REGEX_BYTES_MAX)
        .case_insensitive(flags.ignore_case)
        .multi_line(flags.multi_line)
        .dot_matches_new_line(flags.dot_all)
        .build();
    match regex {
        Ok(regex) => Some(Test::Regex(regex)),
        Err(error) => {
            let (message, help) = regex_fault(&error);
            reading.bad_value(node, message, help);
            None
        }
    }
}

/// The regex crate draws the pattern with a caret over several lines; its last line says what is wrong.
fn regex_fault(error: &regex::Error) -> (String, Option<String>) {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            let message = format!("the regular expression is too large: compiled, it takes more than {limit} bytes");
            (message, Some("use smaller repetitions".into()))
        }
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            let help = match last {
                _ if last.starts_with("look-around") => Some("use a second item with `neq`, or a `not` search"),
                _ if last.starts_with("backreferences") => Some("expressions run in linear time, so there are none"),
                _ => None,
            };
            (format!("not a regular expression: {last}"), help.map(String::from))
        }
    }
}

fn network(node: &Node, field: &Field, reading: &mut Reading) -> Option<Test> {
    if !matches!(field.kind(), FieldKind::Text | FieldKind::AlwaysText | FieldKind::Free) {
        reading.bad_value(node, format!("`{}` never holds an address", field.as_str()), None);
        return None;
    }
    let Value::Str(text) = &node.value else {
        reading.faults.expected(node, "a network such as 10.20.0.0/16");
        return None;
    };
    match text.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Some(Test::Network(network)),
        Ok(network) => {
            let message = format!("`{text}` has bits set behind its prefix");
            let help = format!(
                "the network is `{}`; one address is `{}/{}`",
                network.trunc(),
                network.addr(),
                network.max_prefix_len()
            );
            reading.bad_value(node, message, Some(help));
            None
        }
        Err(_) => {
            let one = text.parse::<IpAddr>().ok();
            let help = one.map(|ip| format!("for one address write `{ip}/{}`", if ip.is_ipv4() { 32 } else { 128 }));
            reading.bad_value(node, format!("expected a network such as 10.20.0.0/16, found `{text}`"), help);
            None
        }
    }
}

fn exists(node: &Node, reading: &mut Reading) -> Option<Test> {
    match node.value {
        Value::Bool(wanted) => Some(Test::Exists(wanted)),
        _ => {
            reading.faults.expected(node, "true or false");
            None
        }
    }
}

fn bound(node: &Node, field: &Field, reading: &mut Reading) -> Option<Bound> {
    let text = match &node.value {
        Value::Str(text) => Some(text.as_str()),
        _ => None,
    };
    match field.kind() {
        FieldKind::Severity => match text.and_then(|text| text.parse().ok()) {
            Some(severity) => Some(Bound::Severity(severity)),
            None => {
                match text {
                    Some(text) => {
                        known_word(node, &text.replace(['*', '?'], "_"), &Severity::ALL.map(Severity::as_str), reading);
                    }
                    None => reading.faults.expected(node, "a severity: informational, low, medium or high"),
                }
                None
            }
        },
        FieldKind::Time => match text.and_then(|text| text.parse().ok()) {
            Some(at) => Some(Bound::Time(at)),
            None => {
                reading.faults.expected(node, "an instant such as 2026-03-31T12:00:00Z");
                None
            }
        },
        FieldKind::Status | FieldKind::Flag => {
            reading.bad_value(node, format!("`{}` has no order", field.as_str()), Some("list the values".into()));
            None
        }
        FieldKind::Text | FieldKind::AlwaysText | FieldKind::Free => match (number(node), text) {
            (Some(number), _) => Some(Bound::Number(number)),
            (None, Some(text)) if text.trim().parse::<Number>().is_ok() => {
                let help = Some("leave out the quotes".into());
                reading.bad_value(node, format!("expected a number, found the text {text:?}"), help);
                None
            }
            _ => {
                reading.faults.expected(node, "a number");
                None
            }
        },
    }
}

fn number(node: &Node) -> Option<Number> {
    match node.value {
        Value::Int(number) => Some(number.into()),
        Value::Float(number) => Number::from_f64(number),
        _ => None,
    }
}
