//! A value that an item wants, read and checked.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::RegexBuilder;
use serde_json::Number;

use crate::domain::alert::{Severity, Status};
use crate::rules::encode::encoded;
use crate::rules::expand;
use crate::rules::fields::{Field, FieldKind};
use crate::rules::known::Reading;
use crate::rules::modifiers::{Modifiers, Operator, RegexFlags};
use crate::rules::pattern::{self, Anchor, Pattern, Token};
use crate::rules::test::{Bound, Reference, Test};
use crate::yaml::diagnostic::nearest;
use crate::yaml::node::{Node, Value};

/// Largest compiled regular expression, in bytes.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// A wanted value and how to tell it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Any of these tells it; more than one for an encoding that can begin anywhere, and for a list's values.
    pub tests: Vec<Test>,
    /// As the rule has it.
    pub written: serde_json::Value,
}

impl Wanted {
    /// The outcome for a field of this kind, when it is the same for every alert.
    pub fn constant(&self, kind: FieldKind) -> Option<bool> {
        match self.tests.as_slice() {
            [] => Some(false),
            [test] => test.constant(kind),
            _ => None,
        }
    }

    /// The one text that it wants, folded unless case counts; `None` with wildcards and for anything but a text.
    pub fn exact_text(&self) -> Option<&str> {
        match self.tests.as_slice() {
            [Test::Text(pattern)] => pattern.exact(),
            _ => None,
        }
    }
}

/// Reads one value of an item; notes every fault.
pub fn read(node: &Node, field: &Field, modifiers: &Modifiers, reading: &mut Reading) -> Option<Wanted> {
    if let Value::Map(_) | Value::List(_) = node.value {
        reading.faults.expected(node, "a text, number, boolean or null");
        return None;
    }
    let tests = if modifiers.fieldref {
        vec![reference(node, modifiers, reading)?]
    } else if modifiers.part.is_some() {
        vec![part_of_time(node, field, modifiers, reading)?]
    } else if modifiers.expand {
        expand::read(node, field, modifiers, reading)?
    } else if modifiers.encodings.is_empty() {
        vec![plain(node, field, modifiers, reading)?]
    } else {
        encodings(node, modifiers, reading)?
    };
    Some(Wanted { tests, written: node.value.json() })
}

fn plain(node: &Node, field: &Field, modifiers: &Modifiers, reading: &mut Reading) -> Option<Test> {
    match modifiers.operator {
        Operator::Equals if field.is_everywhere() => part(node, Anchor::Inside, modifiers, reading),
        Operator::Equals if modifiers.windash => part(node, Anchor::Whole, modifiers, reading),
        Operator::Equals => equals(node, field, modifiers, reading),
        Operator::Contains => part(node, Anchor::Inside, modifiers, reading),
        Operator::StartsWith => part(node, Anchor::Start, modifiers, reading),
        Operator::EndsWith => part(node, Anchor::End, modifiers, reading),
        Operator::Regex => regex(node, modifiers.flags, reading),
        Operator::Cidr => network(node, field, reading),
        Operator::Exists => exists(node, reading),
        Operator::Compare(order) => bound(node, field, reading).map(|bound| Test::Above(order, bound)),
    }
}

/// Where the operator looks for a text.
pub fn anchor(modifiers: &Modifiers, field: &Field) -> Anchor {
    match modifiers.operator {
        Operator::Contains => Anchor::Inside,
        Operator::StartsWith => Anchor::Start,
        Operator::EndsWith => Anchor::End,
        _ if field.is_everywhere() => Anchor::Inside,
        _ => Anchor::Whole,
    }
}

fn reference(node: &Node, modifiers: &Modifiers, reading: &mut Reading) -> Option<Test> {
    let Value::Str(text) = &node.value else {
        reading.faults.expected(node, "the name of another field");
        return None;
    };
    let other = reading.field(text, &node.place)?;
    let field = reading.fields.number(other);
    let anchor = match modifiers.operator {
        Operator::Contains => Anchor::Inside,
        Operator::StartsWith => Anchor::Start,
        Operator::EndsWith => Anchor::End,
        _ => Anchor::Whole,
    };
    Some(Test::Other(Reference { field, anchor, cased: modifiers.cased }))
}

fn part_of_time(node: &Node, field: &Field, modifiers: &Modifiers, reading: &mut Reading) -> Option<Test> {
    let part = modifiers.part?;
    if !matches!(field.kind(), FieldKind::Time | FieldKind::Free | FieldKind::Text) {
        reading.bad_value(node, format!("`{}` never holds a time", field.as_str()), None);
        return None;
    }
    let Value::Int(number) = node.value else {
        reading.faults.expected(node, "a whole number");
        return None;
    };
    let range = part.range();
    if !range.contains(&number) {
        let message = format!("expected {} to {}, found {number}", range.start(), range.end());
        reading.bad_value(node, message, None);
        return None;
    }
    let order = match modifiers.operator {
        Operator::Compare(order) => Some(order),
        _ => None,
    };
    Some(Test::Part(part, order, number))
}

fn encodings(node: &Node, modifiers: &Modifiers, reading: &mut Reading) -> Option<Vec<Test>> {
    let text = text(node, reading)?;
    let mut plain = String::new();
    for token in pattern::tokens(&text) {
        let Token::Char(c) = token else {
            let help = Some("escape it with a backslash if it is meant as a character".into());
            reading.bad_value(node, "a text with wildcards cannot be encoded", help);
            return None;
        };
        plain.push(c);
    }
    let anchor = match modifiers.operator {
        Operator::Contains => Anchor::Inside,
        Operator::StartsWith => Anchor::Start,
        Operator::EndsWith => Anchor::End,
        _ => Anchor::Whole,
    };
    let literal = |text: String| Pattern::of(text.chars().map(Token::Char).collect(), anchor, modifiers.cased);
    let texts = encoded(&plain, &modifiers.encodings);
    if texts.iter().any(String::is_empty) {
        reading.bad_value(node, "the text is too short: some of its encodings are empty", None);
        return None;
    }
    Some(texts.into_iter().map(|text| Test::Text(literal(text))).collect())
}

fn equals(node: &Node, field: &Field, modifiers: &Modifiers, reading: &mut Reading) -> Option<Test> {
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

fn part(node: &Node, anchor: Anchor, modifiers: &Modifiers, reading: &mut Reading) -> Option<Test> {
    let text = text(node, reading)?;
    if !modifiers.windash {
        return Some(Test::Text(Pattern::new(&text, anchor, modifiers.cased)));
    }
    let mut tokens = pattern::tokens(&text);
    pattern::any_dash(&mut tokens);
    Some(Test::Text(Pattern::of(tokens, anchor, modifiers.cased)))
}

/// A text that is not empty, or a number as it is written.
pub fn text<'n>(node: &'n Node, reading: &mut Reading) -> Option<Cow<'n, str>> {
    let text = match &node.value {
        Value::Str(text) => Cow::Borrowed(text.as_str()),
        Value::Int(number) => Cow::Owned(number.to_string()),
        Value::Float(number) => Cow::Owned(number.to_string()),
        _ => {
            reading.faults.expected(node, "a text");
            return None;
        }
    };
    if text.is_empty() {
        reading.bad_value(node, "an empty text is a part of every value", Some("write `exists: true`".into()));
        return None;
    }
    Some(text)
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
        Ok(regex) => Some(Test::Regex(regex, flags)),
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
