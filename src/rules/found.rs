//! The values that an alert or an event has at a field, and how they are found.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use crate::domain::alert::Alert;

/// What an alert or an event has at a field.
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
    Number(Number),
    /// Text.
    Text(Cow<'a, str>),
    /// A map: there, but no value that a rule could compare. `None` when nobody will ask what is in it.
    Whole(Option<&'a Map<String, Value>>),
}

impl Actual<'_> {
    /// As text: numbers and booleans as JSON writes them; nothing for null.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Flag(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Whole(map) => serde_json::to_string((*map)?).ok().map(Cow::Owned),
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::Whole(map) => Value::Object(map.cloned().unwrap_or_default()),
        }
    }
}

impl<'a> Found<'a> {
    /// What a visit tells.
    pub fn gather(visit: impl FnOnce(&mut dyn FnMut(Actual<'a>)) -> bool) -> Self {
        let mut values = Vec::new();
        let present = visit(&mut |value| values.push(value));
        Self { present, values }
    }
}

/// The fields that are texts, flags and instants of the alert itself.
pub fn own<'a>(alert: &'a Alert, name: &str, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
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
        "is_incident" => {
            tell(Actual::Flag(alert.is_incident));
            return true;
        }
        "tactics" => return texts(&alert.tactics, tell),
        "techniques" => return texts(&alert.techniques, tell),
        "resources" => return texts(&alert.resources, tell),
        "remediation" => return texts(&alert.remediation, tell),
        "tags" => return texts(&alert.tags, tell),
        _ => None,
    };
    let present = text.is_some();
    text.map(Actual::Text).into_iter().for_each(tell);
    present
}

fn texts<'a>(list: &'a [String], tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
    list.iter().map(|text| Actual::Text(Cow::Borrowed(text.as_str()))).for_each(tell);
    !list.is_empty()
}

/// The addresses or the labels of the alert's links.
pub fn link<'a>(alert: &'a Alert, part: &str, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
    let text = |text: &'a str| Actual::Text(Cow::Borrowed(text));
    let mut present = false;
    for link in &alert.links {
        let found = if part == "url" { Some(link.url.as_str()) } else { link.label.as_deref() };
        present |= found.is_some();
        found.map(text).into_iter().for_each(&mut *tell);
    }
    present
}

/// Every value of the alert, for keyword searches: its own texts, its entities, and the record.
pub fn everything<'a>(alert: &'a Alert, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
    const OWN: [&str; 19] = [
        "source",
        "external_id",
        "vendor",
        "product",
        "kind",
        "title",
        "description",
        "severity",
        "source_severity",
        "status",
        "confidence",
        "tactics",
        "techniques",
        "resources",
        "remediation",
        "tags",
        "correlation_key",
        "is_incident",
        "fingerprint",
    ];
    for name in OWN {
        own(alert, name, tell);
    }
    link(alert, "url", tell);
    link(alert, "label", tell);
    let maps = alert.entities.values().flatten().chain([&alert.extended]);
    maps.flat_map(Map::values).for_each(|value| leaves(value, tell));
    leaves(&alert.raw, tell);
    true
}

/// Every text, number and boolean inside a value.
pub fn leaves<'a>(value: &'a Value, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, tell)),
        Value::Object(map) => map.values().for_each(|item| leaves(item, tell)),
        Value::Null => {}
        scalar => take(scalar, tell),
    }
}

/// Takes the longest literal key that leads to a value, so that `"proc.name": …` is found before `"proc": {"name": …}`.
pub fn below<'a>(map: &'a Map<String, Value>, rest: &str, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
    if let Some(value) = map.get(rest) {
        take(value, tell);
        return true;
    }
    for (dot, _) in rest.rmatch_indices('.') {
        if map.get(&rest[..dot]).is_some_and(|value| descend(value, &rest[dot + 1..], tell)) {
            return true;
        }
    }
    false
}

/// Goes through lists by every element.
pub fn descend<'a>(value: &'a Value, rest: &str, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) -> bool {
    match value {
        Value::Object(map) => below(map, rest, tell),
        Value::Array(items) => items.iter().filter(|item| descend(item, rest, tell)).count() > 0,
        _ => false,
    }
}

fn take<'a>(value: &'a Value, tell: &mut (impl FnMut(Actual<'a>) + ?Sized)) {
    match value {
        Value::Null => tell(Actual::Null),
        Value::Bool(flag) => tell(Actual::Flag(*flag)),
        Value::Number(number) => tell(Actual::Number(number.clone())),
        Value::String(text) => tell(Actual::Text(Cow::Borrowed(text))),
        Value::Array(items) => items.iter().for_each(|item| take(item, tell)),
        Value::Object(map) => tell(Actual::Whole(Some(map))),
    }
}
