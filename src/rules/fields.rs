//! Fields of an alert by dotted path: which there are, and what an alert has at one.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Number, Value};

use crate::domain::alert::{ALERT_FIELDS, Alert, ENTITY_TYPES};
use crate::yaml::diagnostic::nearest;

/// A path to a field, checked against what an alert can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    text: String,
    root: usize,
    kind: FieldKind,
}

/// What a field holds, as far as soard itself decides that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text that only some alerts have, or a list of texts.
    Text,
    /// Text that every alert has.
    AlwaysText,
    /// A severity; compares by rank.
    Severity,
    /// A status.
    Status,
    /// `is_incident`.
    Flag,
    /// An instant.
    Time,
    /// Whatever the record held: below `entities`, `extended` and `raw`.
    Free,
}

impl FieldKind {
    /// Every alert has it.
    pub const fn always_present(self) -> bool {
        matches!(self, Self::AlwaysText | Self::Severity | Self::Status | Self::Flag)
    }
}

/// Why a path names no field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadField {
    /// What is wrong.
    pub message: String,
    /// How to cure it.
    pub help: Option<String>,
}

impl BadField {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }
}

/// What an alert has at a field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found<'a> {
    /// The field is there, if only as null or as an empty list.
    pub present: bool,
    /// Its values; a path through lists gives those of every element.
    pub values: Vec<Actual<'a>>,
}

/// One value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Actual<'a> {
    /// JSON's null.
    Null,
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(&'a Number),
    /// Text.
    Text(Cow<'a, str>),
    /// A map: there, but no value that a rule could compare.
    Whole(&'a Map<String, Value>),
}

impl Actual<'_> {
    /// As text: numbers and booleans as JSON writes them; nothing for null.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Flag(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Whole(map) => serde_json::to_string(map).ok().map(Cow::Owned),
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Number(number) => Value::Number((*number).clone()),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::Whole(map) => Value::Object((*map).clone()),
        }
    }
}

impl Field {
    /// Checks a path: its first part is a field of an alert, and it leads to a value that can be compared.
    ///
    /// # Errors
    /// A message with a cure for unknown fields, and for paths that stop early or go too far.
    pub fn parse(text: &str) -> Result<Self, BadField> {
        if text.split('.').any(str::is_empty) {
            return Err(BadField { message: format!("`{text}` is not a field path"), help: None });
        }
        let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let root = ALERT_FIELDS.iter().position(|field| *field == first).ok_or_else(|| unknown(first))?;
        let kind = kind(first);
        match (first, rest) {
            ("id", _) => {
                let help = "use `external_id`, the product's own id";
                return Err(BadField::new("`id` is given only after matching; rules cannot refer to it", help));
            }
            ("links", Some("url" | "label")) => {}
            ("links", _) => return Err(BadField::new("`links` is a list of maps", "use `links.url` or `links.label`")),
            ("entities", None) => {
                return Err(BadField::new("`entities` needs a type and a property", "such as `entities.host.name`"));
            }
            ("entities", Some(rest)) if !rest.contains('.') => {
                let help = format!("name a property, such as `{text}.{}`", usual_property(rest));
                return Err(BadField::new(format!("`{text}` is a list of entities"), help));
            }
            ("extended" | "raw", None) => {
                let help = format!("name a property of it: `{first}.…`");
                return Err(BadField::new(format!("`{first}` is a whole map"), help));
            }
            ("host" | "account" | "ip", Some(rest)) => {
                let help = format!("write `entities.{first}.{rest}`");
                return Err(BadField::new(format!("`{first}` is short for one text and has no parts"), help));
            }
            (_, Some(_)) if kind != FieldKind::Free => {
                return Err(BadField {
                    message: format!("`{first}` has no parts"),
                    help: Some(format!("write `{first}`")),
                });
            }
            _ => {}
        }
        Ok(Self { text: text.into(), root, kind })
    }

    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it holds.
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// An entity type that none of the shipped formats gives, with the nearest that one does.
    pub fn unknown_entity_type(&self) -> Option<(&str, Option<&'static str>)> {
        let kind = self.text.strip_prefix("entities.")?.split('.').next()?;
        (!ENTITY_TYPES.contains(&kind)).then(|| (kind, nearest(kind, ENTITY_TYPES)))
    }

    /// What the alert has here.
    pub fn find<'a>(&self, alert: &'a Alert) -> Found<'a> {
        let rest = self.text.split_once('.').map_or("", |(_, rest)| rest);
        match ALERT_FIELDS[self.root] {
            "entities" => entity(alert, rest),
            "extended" => {
                let mut found = Found::default();
                below(&alert.extended, rest, &mut found);
                found
            }
            "raw" => {
                let mut found = Found::default();
                descend(&alert.raw, rest, &mut found);
                found
            }
            "links" => link(alert, rest),
            name => own(alert, name),
        }
    }
}

fn kind(name: &str) -> FieldKind {
    match name {
        "source" | "title" => FieldKind::AlwaysText,
        "severity" => FieldKind::Severity,
        "status" => FieldKind::Status,
        "is_incident" => FieldKind::Flag,
        "start" | "end" | "generated" | "received" => FieldKind::Time,
        "entities" | "extended" | "raw" => FieldKind::Free,
        _ => FieldKind::Text,
    }
}

fn unknown(first: &str) -> BadField {
    let message = format!("an alert has no field `{first}`");
    if let Some(near) = nearest(first, ALERT_FIELDS) {
        return BadField::new(message, format!("did you mean `{near}`?"));
    }
    match nearest(first, ENTITY_TYPES) {
        Some(near) => BadField::new(message, format!("did you mean `entities.{near}.{}`?", usual_property(near))),
        None => BadField::new(message, "what a product adds lies below `extended`, `entities` and `raw`"),
    }
}

fn usual_property(entity: &str) -> &'static str {
    match entity {
        "ip" => "address",
        "url" => "url",
        "hash" => "value",
        _ => "name",
    }
}

/// The fields that are texts, flags and instants of the alert itself.
fn own<'a>(alert: &'a Alert, name: &str) -> Found<'a> {
    let time = |at: Option<jiff::Timestamp>| at.map(|at| Cow::Owned(at.to_string()));
    let one = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
    let text: Option<Cow<'a, str>> = match name {
        "source" => Some(Cow::Borrowed(&alert.source)),
        "title" => Some(Cow::Borrowed(&alert.title)),
        "severity" => Some(Cow::Borrowed(alert.severity.as_str())),
        "status" => Some(Cow::Borrowed(alert.status.as_str())),
        "external_id" => one(&alert.external_id),
        "fingerprint" => one(&alert.fingerprint),
        "vendor" => one(&alert.vendor),
        "product" => one(&alert.product),
        "kind" => one(&alert.kind),
        "description" => one(&alert.description),
        "source_severity" => one(&alert.source_severity),
        "confidence" => one(&alert.confidence),
        "correlation_key" => one(&alert.correlation_key),
        "host" => alert.host().map(Cow::Borrowed),
        "account" => alert.account().map(Cow::Borrowed),
        "ip" => alert.ip().map(Cow::Borrowed),
        "start" => time(alert.start),
        "end" => time(alert.end),
        "generated" => time(alert.generated),
        "received" => time(Some(alert.received)),
        "is_incident" => return Found { present: true, values: vec![Actual::Flag(alert.is_incident)] },
        "tactics" => return texts(&alert.tactics),
        "techniques" => return texts(&alert.techniques),
        "resources" => return texts(&alert.resources),
        "remediation" => return texts(&alert.remediation),
        "tags" => return texts(&alert.tags),
        _ => None,
    };
    Found { present: text.is_some(), values: text.map(Actual::Text).into_iter().collect() }
}

fn texts(list: &[String]) -> Found<'_> {
    let values = list.iter().map(|text| Actual::Text(Cow::Borrowed(text.as_str())));
    Found { present: !list.is_empty(), values: values.collect() }
}

fn link<'a>(alert: &'a Alert, part: &str) -> Found<'a> {
    let values: Vec<Actual<'a>> = match part {
        "url" => alert.links.iter().map(|link| Actual::Text(Cow::Borrowed(link.url.as_str()))).collect(),
        _ => alert.links.iter().filter_map(|link| Some(Actual::Text(Cow::Borrowed(link.label.as_deref()?)))).collect(),
    };
    Found { present: !values.is_empty(), values }
}

fn entity<'a>(alert: &'a Alert, rest: &str) -> Found<'a> {
    let mut found = Found::default();
    let (kind, property) = rest.split_once('.').expect("checked by parse: a type and a property");
    for entity in alert.entities.get(kind).into_iter().flatten() {
        below(entity, property, &mut found);
    }
    found
}

/// Takes the longest literal key first, so that `"proc.name": …` is found before `"proc": {"name": …}`.
fn below<'a>(map: &'a Map<String, Value>, rest: &str, found: &mut Found<'a>) {
    if let Some(value) = map.get(rest) {
        return take(value, found);
    }
    for (dot, _) in rest.rmatch_indices('.') {
        if let Some(value) = map.get(&rest[..dot]) {
            return descend(value, &rest[dot + 1..], found);
        }
    }
}

fn descend<'a>(value: &'a Value, rest: &str, found: &mut Found<'a>) {
    match value {
        Value::Object(map) => below(map, rest, found),
        Value::Array(items) => items.iter().for_each(|item| descend(item, rest, found)),
        _ => {}
    }
}

fn take<'a>(value: &'a Value, found: &mut Found<'a>) {
    found.present = true;
    match value {
        Value::Null => found.values.push(Actual::Null),
        Value::Bool(flag) => found.values.push(Actual::Flag(*flag)),
        Value::Number(number) => found.values.push(Actual::Number(number)),
        Value::String(text) => found.values.push(Actual::Text(Cow::Borrowed(text))),
        Value::Array(items) => items.iter().for_each(|item| take(item, found)),
        Value::Object(map) => found.values.push(Actual::Whole(map)),
    }
}

/// The distinct fields of all rules, so that an alert is searched once for each.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    all: Vec<Field>,
    by_text: HashMap<String, usize>,
}

impl Fields {
    /// The number of this field.
    pub fn number(&mut self, field: Field) -> usize {
        if let Some(number) = self.by_text.get(&field.text) {
            return *number;
        }
        self.by_text.insert(field.text.clone(), self.all.len());
        self.all.push(field);
        self.all.len() - 1
    }

    /// All fields, by number.
    pub fn all(&self) -> &[Field] {
        &self.all
    }
}

/// A field whose values make a key: of a group or of a throttle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyField(pub(super) Field);

impl KeyField {
    /// The path as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The sorted set of the alert's values; `None` when it has none, since a missing value equals nothing.
    pub fn values(&self, alert: &Alert) -> Option<Vec<String>> {
        let found = self.0.find(alert);
        let set: BTreeSet<String> = found.values.iter().filter_map(|value| value.text().map(Cow::into_owned)).collect();
        (!set.is_empty()).then(|| set.into_iter().collect())
    }
}
