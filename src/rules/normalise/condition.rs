//! Conditions on a record: what recognises it, what makes it no alert, when a part of a mapping counts.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::rules::normalise::path::{Path, Scope, scalar_text};
use crate::yaml::diagnostic::Place;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader, one_or_many};

/// Checks that must all hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq)]
enum Check {
    Present(Path),
    Absent(Path),
    Equal(Path, Vec<String>),
    Starts(Path, Vec<String>),
    Is(Path, Kind),
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Condition),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    List,
    Map,
    Text,
    Number,
}

const KINDS: [(&str, Kind); 4] =
    [("list", Kind::List), ("map", Kind::Map), ("text", Kind::Text), ("number", Kind::Number)];

impl Condition {
    /// Reads a condition.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map =
            MapReader::new(node, "a condition: a map of present, absent, equal, starts, is, any, all, not", faults)?;
        let before = faults.found.len();
        let mut checks = Vec::new();
        for node in map.list("present").unwrap_or_default() {
            checks.extend(path(node, faults).map(Check::Present));
        }
        for node in map.list("absent").unwrap_or_default() {
            checks.extend(path(node, faults).map(Check::Absent));
        }
        for (path, node) in pairs(map.get("equal"), faults) {
            checks.push(Check::Equal(path, words(node, faults)));
        }
        for (path, node) in pairs(map.get("starts"), faults) {
            checks.push(Check::Starts(path, words(node, faults)));
        }
        for (path, node) in pairs(map.get("is"), faults) {
            checks.extend(kind(node, faults).map(|kind| Check::Is(path, kind)));
        }
        let inner = |nodes: &[Node], faults: &mut Faults| -> Vec<Self> {
            nodes.iter().filter_map(|node| Self::read(node, faults)).collect()
        };
        checks.extend(map.list("any").map(|nodes| Check::Any(inner(nodes, faults))));
        checks.extend(map.list("all").map(|nodes| Check::All(inner(nodes, faults))));
        checks.extend(map.get("not").and_then(|node| Self::read(node, faults)).map(Check::Not));
        if checks.is_empty() && faults.found.len() == before {
            faults.error("empty-condition", map.place(), "a condition checks nothing, so that it would always hold");
        }
        map.finish(faults);
        Some(Self { checks })
    }

    /// Whether all checks hold.
    pub fn holds(&self, scope: &Scope<'_>) -> bool {
        self.checks.iter().all(|check| check.holds(scope))
    }

    /// The first check that does not hold, in words.
    pub fn failing(&self, scope: &Scope<'_>) -> Option<String> {
        self.checks.iter().find(|check| !check.holds(scope)).map(|check| check.failure(scope))
    }

    /// What a record must have at least, check by check; what must not be there asks for nothing.
    pub fn asked(&self) -> Vec<Asked<'_>> {
        self.checks.iter().map(Check::asked).collect()
    }

    /// Adds the paths that are looked at.
    pub fn paths<'c>(&'c self, to: &mut BTreeSet<&'c str>) {
        for check in &self.checks {
            match check {
                Check::Present(path) | Check::Absent(path) => _ = to.insert(path.text()),
                Check::Equal(path, _) | Check::Starts(path, _) | Check::Is(path, _) => _ = to.insert(path.text()),
                Check::Any(inner) | Check::All(inner) => inner.iter().for_each(|condition| condition.paths(to)),
                Check::Not(inner) => inner.paths(to),
            }
        }
    }
}

/// What one check asks of a record.
#[derive(Debug, Default)]
pub struct Asked<'c> {
    /// Values that satisfy it.
    pub values: Vec<(&'c Path, Json)>,
    /// Conditions of which one must hold.
    pub choices: Vec<&'c Condition>,
}

impl Check {
    fn asked(&self) -> Asked<'_> {
        let value = |path, value: Json| Asked { values: vec![(path, value)], choices: Vec::new() };
        match self {
            Self::Present(path) => value(path, "x".into()),
            Self::Equal(path, words) | Self::Starts(path, words) => {
                value(path, words.first().cloned().unwrap_or_default().into())
            }
            Self::Is(path, Kind::Text) => value(path, "x".into()),
            Self::Is(path, Kind::Number) => value(path, 1.into()),
            Self::Is(path, Kind::Map) => value(path, json!({"x": "x"})),
            Self::Is(path, Kind::List) => value(path, json!(["x"])),
            Self::Any(choices) => Asked { values: Vec::new(), choices: choices.iter().collect() },
            Self::All(inner) => {
                let inner: Vec<Asked<'_>> = inner.iter().flat_map(Condition::asked).collect();
                let choices = inner.iter().flat_map(|asked| asked.choices.iter().copied()).collect();
                Asked { values: inner.into_iter().flat_map(|asked| asked.values).collect(), choices }
            }
            Self::Absent(_) | Self::Not(_) => Asked::default(),
        }
    }

    fn holds(&self, scope: &Scope<'_>) -> bool {
        match self {
            Self::Present(path) => !path.find(scope).is_nothing(),
            Self::Absent(path) => path.find(scope).is_nothing(),
            Self::Equal(path, words) => {
                any_text(path, scope, |text| words.iter().any(|w| w.eq_ignore_ascii_case(text)))
            }
            Self::Starts(path, words) => any_text(path, scope, |text| words.iter().any(|w| starts(text, w))),
            Self::Is(path, kind) => {
                let found = path.find(scope);
                match kind {
                    Kind::List => matches!(found, crate::rules::normalise::path::Found::Many(_)),
                    Kind::Map => found.items().iter().any(|item| item.is_object()),
                    Kind::Text => found.items().iter().any(|item| item.is_string()),
                    Kind::Number => found.items().iter().any(|item| item.is_number()),
                }
            }
            Self::Any(inner) => inner.iter().any(|condition| condition.holds(scope)),
            Self::All(inner) => inner.iter().all(|condition| condition.holds(scope)),
            Self::Not(inner) => !inner.holds(scope),
        }
    }

    fn failure(&self, scope: &Scope<'_>) -> String {
        let found = |path: &Path| match path.find(scope).items() {
            [] => "is absent".to_owned(),
            [item, ..] => format!("is {}", brief(item)),
        };
        match self {
            Self::Present(path) => format!("`{}` is absent", path.text()),
            Self::Absent(path) => format!("`{}` is present", path.text()),
            Self::Equal(path, words) => format!("`{}` {}, not {}", path.text(), found(path), words.join(" or ")),
            Self::Starts(path, words) => {
                format!("`{}` {} and does not start with {}", path.text(), found(path), words.join(" or "))
            }
            Self::Is(path, kind) => {
                let name = KINDS.iter().find(|(_, k)| k == kind).map_or("", |(name, _)| name);
                format!("`{}` {}, not a {name}", path.text(), found(path))
            }
            Self::Any(inner) => {
                let each: Vec<String> = inner.iter().filter_map(|condition| condition.failing(scope)).collect();
                each.join("; ")
            }
            Self::All(inner) => inner.iter().find_map(|condition| condition.failing(scope)).unwrap_or_default(),
            Self::Not(inner) => {
                let mut paths = BTreeSet::new();
                inner.paths(&mut paths);
                let paths: Vec<String> = paths.into_iter().map(|path| format!("`{path}`")).collect();
                format!("{} should not be so", paths.join(", "))
            }
        }
    }
}

/// A value in a few words.
fn brief(value: &Json) -> String {
    match value {
        Json::Array(_) => "a list".into(),
        Json::Object(_) => "a map".into(),
        Json::String(text) => {
            format!("{:?}", text.chars().take(40).collect::<String>())
        }
        other => other.to_string(),
    }
}

fn any_text(path: &Path, scope: &Scope<'_>, test: impl Fn(&str) -> bool) -> bool {
    path.find(scope).items().iter().any(|item| scalar_text(item).is_some_and(|text| test(&text)))
}

fn starts(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// Reads a path; notes a fault otherwise.
pub fn path(node: &Node, faults: &mut Faults) -> Option<Path> {
    let Value::Str(text) = &node.value else {
        faults.expected(node, "a path such as `properties.severity`");
        return None;
    };
    path_text(text, &node.place, faults)
}

/// Reads a path that is written as `text`.
pub fn path_text(text: &str, place: &Place, faults: &mut Faults) -> Option<Path> {
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(why) => {
            faults.error("bad-path", place, format!("`{text}` is no path: {why}"));
            None
        }
    }
}

fn pairs<'n>(node: Option<&'n Node>, faults: &mut Faults) -> Vec<(Path, &'n Node)> {
    let Some(mut map) = node.and_then(|node| MapReader::new(node, "a map of paths", faults)) else { return Vec::new() };
    map.rest().into_iter().filter_map(|(key, node)| Some((path_text(&key.text, &key.place, faults)?, node))).collect()
}

/// One or more scalars as texts.
pub fn words(node: &Node, faults: &mut Faults) -> Vec<String> {
    let mut words = Vec::new();
    for node in one_or_many(node) {
        match scalar_text(&node.value.json()) {
            Some(text) => words.push(text.into_owned()),
            None => faults.expected(node, "a text, a number or a boolean"),
        }
    }
    words
}

fn kind(node: &Node, faults: &mut Faults) -> Option<Kind> {
    let found = match &node.value {
        Value::Str(text) => KINDS.iter().find(|(name, _)| name == text).map(|(_, kind)| *kind),
        _ => None,
    };
    if found.is_none() {
        faults.expected(node, "one of list, map, text, number");
    }
    found
}
