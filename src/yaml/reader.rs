//! Reads checked values out of a tree and collects every fault on the way.
//!
//! A reader never stops at a fault: it notes it, returns `None`, and the caller goes on with the next key.

use std::str::FromStr;

use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Key, Node, Value};

/// All faults found so far.
#[derive(Debug, Default)]
pub struct Faults {
    /// In the order in which they were found.
    pub found: Vec<Diagnostic>,
}

impl Faults {
    /// Notes a fault that refuses the bundle.
    pub fn error(&mut self, code: &'static str, place: &Place, message: impl Into<String>) {
        self.found.push(Diagnostic::error(code, place.clone(), message));
    }

    /// Notes a fault.
    pub fn push(&mut self, fault: Diagnostic) {
        self.found.push(fault);
    }

    /// Notes that a mapping lacks a key; all that one mapping lacks is one fault.
    fn missing(&mut self, place: &Place, key: &str) {
        const CODE: &str = "missing-key";
        let earlier = self.found.iter_mut().find(|fault| fault.code == CODE && fault.place == *place);
        let Some(earlier) = earlier else {
            return self.error(CODE, place, format!("`{key}` is required"));
        };
        let keys = earlier.message.trim_end_matches(" is required").trim_end_matches(" are required");
        earlier.message = format!("{} and `{key}` are required", keys.replace(" and ", ", "));
    }

    /// Notes that a value is not what was expected.
    pub fn expected(&mut self, node: &Node, expected: &str) {
        let message = match &node.value {
            Value::Str(text) => format!("expected {expected}, found {text:?}"),
            Value::Int(number) => format!("expected {expected}, found {number}"),
            Value::Bool(value) => format!("expected {expected}, found {value}"),
            other => format!("expected {expected}, found {}", other.what()),
        };
        self.error("wrong-type", &node.place, message);
    }
}

/// A mapping being read; [`MapReader::finish`] refuses the keys that nobody asked for.
#[derive(Debug)]
pub struct MapReader<'a> {
    place: &'a Place,
    items: Vec<(&'a Key, &'a Node, bool)>,
    known: Vec<&'static str>,
}

impl<'a> MapReader<'a> {
    /// Begins to read a mapping; notes a fault and returns `None` when it is none. Duplicate keys are faults.
    pub fn new(node: &'a Node, what: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Map(items) = &node.value else {
            faults.expected(node, what);
            return None;
        };
        let mut seen: Vec<(&'a Key, &'a Node, bool)> = Vec::with_capacity(items.len());
        for (key, item) in items {
            match seen.iter().find(|(other, ..)| other.text == key.text) {
                Some((first, ..)) => {
                    let message = format!("`{}` is given twice; first on line {}", key.text, first.place.line);
                    faults.error("duplicate-key", &key.place, message);
                }
                None => seen.push((key, item, false)),
            }
        }
        Some(Self { place: &node.place, items: seen, known: Vec::new() })
    }

    /// Where the mapping begins.
    pub fn place(&self) -> &'a Place {
        self.place
    }

    /// The value of an optional key; `key:` with nothing after it counts as absent.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let item = self.items.iter_mut().find(|(k, ..)| k.text == key)?;
        item.2 = true;
        (item.1.value != Value::Null).then_some(item.1)
    }

    /// The value of a required key; notes a fault when it is absent.
    pub fn need(&mut self, key: &'static str, faults: &mut Faults) -> Option<&'a Node> {
        let found = self.get(key);
        if found.is_none() {
            faults.missing(self.place, key);
        }
        found
    }

    /// An optional non-empty string.
    pub fn text(&mut self, key: &'static str, faults: &mut Faults) -> Option<String> {
        text(self.get(key)?, faults).map(String::from)
    }

    /// A required non-empty string.
    pub fn need_text(&mut self, key: &'static str, faults: &mut Faults) -> Option<String> {
        text(self.need(key, faults)?, faults).map(String::from)
    }

    /// An optional boolean.
    pub fn flag(&mut self, key: &'static str, faults: &mut Faults) -> Option<bool> {
        let node = self.get(key)?;
        match node.value {
            Value::Bool(value) => Some(value),
            _ => {
                faults.expected(node, "true or false");
                None
            }
        }
    }

    /// An optional whole number within a range.
    pub fn whole(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
        faults: &mut Faults,
    ) -> Option<i64> {
        let node = self.get(key)?;
        whole(node, range, faults)
    }

    /// An optional value that is written as text and parsed: spans, severities, networks, instants.
    pub fn parsed<T: FromStr>(&mut self, key: &'static str, expected: &str, faults: &mut Faults) -> Option<T> {
        parsed(self.get(key)?, expected, faults)
    }

    /// An optional list; a single value counts as a list of one.
    pub fn list(&mut self, key: &'static str) -> Option<&'a [Node]> {
        Some(one_or_many(self.get(key)?))
    }

    /// An optional list of non-empty strings; a single string counts as a list of one.
    pub fn texts(&mut self, key: &'static str, faults: &mut Faults) -> Option<Vec<String>> {
        let items = self.list(key)?;
        Some(items.iter().filter_map(|item| text(item, faults).map(String::from)).collect())
    }

    /// The keys nobody asked for yet, for mappings whose keys are names; marks them as read.
    pub fn rest(&mut self) -> Vec<(&'a Key, &'a Node)> {
        let unread = self.items.iter_mut().filter(|(.., read)| !*read);
        unread
            .map(|item| {
                item.2 = true;
                (item.0, item.1)
            })
            .collect()
    }

    /// Refuses the keys that nobody asked for, with a suggestion.
    pub fn finish(self, faults: &mut Faults) {
        for (key, _, read) in &self.items {
            if !read {
                let fault = Diagnostic::error("unknown-key", key.place.clone(), format!("unknown key `{}`", key.text));
                faults.push(fault.suggest(&key.text, self.known.iter().copied()));
            }
        }
    }
}

/// A list as its items, any other value as a list of one.
pub fn one_or_many(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// A non-empty string; notes a fault otherwise.
pub fn text<'a>(node: &'a Node, faults: &mut Faults) -> Option<&'a str> {
    match &node.value {
        Value::Str(text) if !text.trim().is_empty() => Some(text),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
            faults.expected(node, "a string (put it in quotes)");
            None
        }
        _ => {
            faults.expected(node, "a string");
            None
        }
    }
}

/// A whole number within a range; notes a fault otherwise.
pub fn whole(node: &Node, range: std::ops::RangeInclusive<i64>, faults: &mut Faults) -> Option<i64> {
    match node.value {
        Value::Int(number) if range.contains(&number) => Some(number),
        Value::Int(number) => {
            let message = format!("expected {} to {}, found {number}", range.start(), range.end());
            faults.error("out-of-range", &node.place, message);
            None
        }
        _ => {
            faults.expected(node, "a whole number");
            None
        }
    }
}

/// A value that is written as text and parsed; notes a fault otherwise.
pub fn parsed<T: FromStr>(node: &Node, expected: &str, faults: &mut Faults) -> Option<T> {
    let value = match &node.value {
        Value::Str(text) => text.parse().ok(),
        _ => None,
    };
    if value.is_none() {
        faults.expected(node, expected);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::node::parse;

    #[test]
    fn what_one_mapping_lacks_is_one_fault() {
        let node = parse(&"t.yaml".into(), "a: 1\n").unwrap();
        for (keys, expected) in [
            (&["b"][..], "`b` is required"),
            (&["b", "c"], "`b` and `c` are required"),
            (&["b", "a", "c", "d"], "`b`, `c` and `d` are required"),
        ] {
            let mut faults = Faults::default();
            let mut map = MapReader::new(&node, "a map", &mut faults).unwrap();
            for key in keys {
                map.need(key, &mut faults);
            }
            assert_eq!(faults.found.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>(), [expected]);
        }
    }
}
