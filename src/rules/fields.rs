//! Fields by dotted path: which there are, and what an alert or an event has at one.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::domain::alert::{ALERT_FIELDS, Alert, ENTITY_TYPES};
use crate::rules::found::{self, Actual, Found};
use crate::yaml::diagnostic::nearest;

/// A path to a field, checked against what an alert can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    text: String,
    root: Root,
    kind: FieldKind,
}

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// At this field of an alert.
    Alert(&'static str),
    /// At the top of an event, whose fields nobody has told soard.
    Event,
    /// Everywhere: the pseudo-field of keyword searches.
    Everywhere,
}

/// What rules are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Alerts, whose fields soard knows.
    Alert,
    /// Raw events, which have any fields.
    Event,
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

impl Field {
    /// Checks a path: its first part is a field of an alert, and it leads to a value that can be compared.
    ///
    /// # Errors
    /// A message with a cure for unknown fields, and for paths that stop early or go too far.
    pub fn parse(text: &str) -> Result<Self, BadField> {
        parts(text)?;
        let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let root = ALERT_FIELDS.iter().find(|field| **field == first).ok_or_else(|| unknown(first))?;
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
        Ok(Self { text: text.into(), root: Root::Alert(root), kind })
    }

    /// A path of an event.
    ///
    /// # Errors
    /// When a part of it is empty, or when it has too many.
    pub fn of_event(text: &str) -> Result<Self, BadField> {
        parts(text)?;
        Ok(Self { text: text.into(), root: Root::Event, kind: FieldKind::Free })
    }

    /// The pseudo-field of keyword searches: every value that there is.
    pub fn everywhere() -> Self {
        Self { text: String::new(), root: Root::Everywhere, kind: FieldKind::Free }
    }

    /// It stands for every value.
    pub fn is_everywhere(&self) -> bool {
        self.root == Root::Everywhere
    }

    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it holds.
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// An alert has one value here at most.
    pub fn is_single(&self) -> bool {
        let list = ["tactics", "techniques", "resources", "remediation", "links", "tags"];
        matches!(self.root, Root::Alert(name) if self.kind != FieldKind::Free && !list.contains(&name))
    }

    /// An entity type that none of the shipped formats gives, with the nearest that one does.
    pub fn unknown_entity_type(&self) -> Option<(&str, Option<&'static str>)> {
        let kind = match self.root {
            Root::Alert(_) => self.text.strip_prefix("entities.")?.split('.').next()?,
            Root::Event | Root::Everywhere => return None,
        };
        (!ENTITY_TYPES.contains(&kind)).then(|| (kind, nearest(kind, ENTITY_TYPES)))
    }

    /// Tells each value that the alert has here, and returns whether the field is there at all.
    pub fn visit<'a>(&self, alert: &'a Alert, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
        let rest = self.text.split_once('.').map_or("", |(_, rest)| rest);
        match self.root {
            Root::Alert("entities") => {
                let (kind, property) = rest.split_once('.').expect("checked by parse: a type and a property");
                let entities = alert.entities.get(kind).into_iter().flatten();
                entities.filter(|entity| found::below(entity, property, tell)).count() > 0
            }
            Root::Alert("extended") => found::below(&alert.extended, rest, tell),
            Root::Alert("raw") => found::descend(&alert.raw, rest, tell),
            Root::Alert("links") => found::link(alert, rest, tell),
            Root::Alert(name) => found::own(alert, name, tell),
            Root::Event => found::descend(&alert.raw, &self.text, tell),
            Root::Everywhere => found::everything(alert, tell),
        }
    }

    /// Tells each value that an event has here, and returns whether the field is there at all.
    pub fn visit_event<'a>(&self, event: &'a Value, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
        match self.root {
            Root::Everywhere => {
                found::leaves(event, tell);
                true
            }
            _ => found::descend(event, &self.text, tell),
        }
    }

    /// What the alert has here.
    pub fn find<'a>(&self, alert: &'a Alert) -> Found<'a> {
        Found::gather(|tell| self.visit(alert, tell))
    }

    /// What an event has here.
    pub fn find_in_event<'a>(&self, event: &'a Value) -> Found<'a> {
        Found::gather(|tell| self.visit_event(event, tell))
    }
}

/// Most parts of a path.
pub const PATH_PARTS_MAX: usize = 32;

fn parts(text: &str) -> Result<(), BadField> {
    if text.split('.').any(str::is_empty) {
        return Err(BadField { message: format!("`{text}` is not a field path"), help: None });
    }
    if text.split('.').count() > PATH_PARTS_MAX {
        let message = format!("the path has more than {PATH_PARTS_MAX} parts");
        return Err(BadField { message, help: None });
    }
    Ok(())
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
