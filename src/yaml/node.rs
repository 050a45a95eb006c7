//! A YAML document as a tree of values with places.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::yaml::diagnostic::{Diagnostic, Place};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
}

/// A YAML value. Mappings keep their order and their duplicate keys, which readers refuse.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`; YAML 1.1's `yes` and `no` are strings.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Where it begins.
    pub place: Place,
}

impl Value {
    /// What it is, with its article: `a string`, `a list`.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Str(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The value as JSON; of duplicate keys the last counts.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => serde_json::Number::from_f64(*value).map_or(serde_json::Value::Null, Into::into),
            Self::Str(value) => value.as_str().into(),
            Self::List(items) => items.iter().map(|item| item.value.json()).collect(),
            Self::Map(items) => items.iter().map(|(key, item)| (key.text.clone(), item.value.json())).collect(),
        }
    }
}

/// Reads one document. An empty file is `Null`.
///
/// # Errors
/// A diagnostic for text that is not YAML, for more than one document, and for documents past the budget
/// (20 MiB, 1,000,000 nodes, 32 levels, no merge of aliases beyond that).
pub fn parse(file: &Arc<str>, text: &str) -> Result<Node, Box<Diagnostic>> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        return Err(Box::new(Diagnostic::error("yaml-too-large", Place::start(file), message)));
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, max_nodes: 1_000_000, max_events: 3_000_000, max_reader_input_bytes: Some(FILE_BYTES_MAX) },
    };
    let tree: Result<Spanned<Raw>, _> = serde_saphyr::from_str_with_options(text, options);
    match tree {
        Ok(tree) => Ok(tree_node(file, tree)),
        Err(error) => Err(Box::new(syntax(file, &error))),
    }
}

/// Largest YAML file, in bytes.
pub const FILE_BYTES_MAX: usize = 20 * 1024 * 1024;

/// Deepest nesting. The parser recurses and takes up to 40 KB of stack a level; threads have 2 MiB.
pub const DEPTH_MAX: usize = 32;

fn syntax(file: &Arc<str>, error: &serde_saphyr::Error) -> Diagnostic {
    let error = error.without_snippet();
    let place = error.location().map_or_else(|| Place::start(file), |at| place(file, at));
    let mut message = error.to_string();
    if let Some(cut) = message.find(" at line ") {
        message.truncate(cut);
    }
    Diagnostic::error("yaml-syntax", place, message)
}

fn place(file: &Arc<str>, at: serde_saphyr::Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    Place { file: file.clone(), line: number(at.line()), column: number(at.column()) }
}

fn tree_node(file: &Arc<str>, raw: Spanned<Raw>) -> Node {
    let at = place(file, raw.referenced);
    let value = match raw.value {
        Raw::Leaf(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| tree_node(file, item)).collect()),
        Raw::Map(items) => Value::Map(
            items
                .into_iter()
                .map(|(key, item)| (Key { place: place(file, key.referenced), text: key.value }, tree_node(file, item)))
                .collect(),
        ),
    };
    Node { value, place: at }
}

enum Raw {
    Leaf(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond i64 a number is read as JSON readers do")]
        Ok(Raw::Leaf(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Str(value.into())))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Str(value)))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Raw, D::Error> {
        Raw::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_entry()? {
            items.push(item);
        }
        Ok(Raw::Map(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        let at = format!("@{}:{}", node.place.line, node.place.column);
        match &node.value {
            Value::List(items) => format!("[{}]{at}", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Map(items) => {
                let item = |(key, node): &(Key, Node)| {
                    format!("{}@{}:{}={}", key.text, key.place.line, key.place.column, show(node))
                };
                format!("{{{}}}{at}", items.iter().map(item).collect::<Vec<_>>().join(" "))
            }
            other => format!("{other:?}{at}"),
        }
    }

    #[test]
    fn every_value_and_key_knows_its_place_and_duplicates_stay() {
        let text = "a: 1\nb:\n  - x: no\n    y: [012, 1.5, ~]\n  - \"q\"\na: 2\nflag: true\n'no': \"1\"\n";
        let node = parse(&"t.yaml".into(), text).unwrap();
        assert_eq!(
            show(&node),
            "{a@1:1=Int(1)@1:4 b@2:1=[{x@3:5=Str(\"no\")@3:8 y@4:5=[Str(\"012\")@4:9 Float(1.5)@4:14 Null@4:19]@4:8}@3:5 \
             Str(\"q\")@5:5]@3:3 a@6:1=Int(2)@6:4 flag@7:1=Bool(true)@7:7 no@8:1=Str(\"1\")@8:7}@1:1"
        );
        assert_eq!(parse(&"t.yaml".into(), "").unwrap().value, Value::Null);
    }

    #[test]
    fn text_that_is_not_yaml_says_where() {
        for (text, line) in [("a: [1\nb: 2\n", 2), ("a: b: c\n", 1), ("a: 1\n---\nb: 2\n", 2)] {
            let fault = parse(&"t.yaml".into(), text).unwrap_err();
            assert!(fault.place.line >= line, "{text:?}: {fault:?}");
        }
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\n\
                    g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert!(parse(&"t.yaml".into(), bomb).is_err());
        assert!(parse(&"t.yaml".into(), &"[".repeat(1_000)).is_err());
        let nested = |levels: usize| format!("{}x{}", "[{a: ".repeat(levels / 2), "}]".repeat(levels / 2));
        assert!(parse(&"t.yaml".into(), &nested(DEPTH_MAX)).is_ok());
        assert!(parse(&"t.yaml".into(), &nested(DEPTH_MAX + 2)).is_err());
    }
}
