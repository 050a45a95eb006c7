//! One format file, checked.

use serde_json::Value as Json;

use crate::domain::alert::{Severity, Status};
use crate::domain::time::Span;
use crate::rules::normalise::condition::Condition;
use crate::rules::normalise::entity::EntityRule;
use crate::rules::normalise::expr::{Expr, read_paths};
use crate::rules::normalise::path::{Path, scalar_text};
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader, one_or_many, text};

/// How one product's records become alerts.
#[derive(Debug, Clone)]
pub struct Format {
    /// Its id.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// The product and the shape, for people.
    pub title: String,
    /// The product's page about the shape.
    pub documentation: String,
    /// Which records it takes.
    pub recognise: Condition,
    /// Formats that recognise some of them too, and are tried after it.
    pub before: Vec<(String, Place)>,
    /// Which of them are no alerts, and what they are.
    pub ignore: Vec<Ignore>,
    /// Lists whose items are alerts; the first that has items counts.
    pub each: Vec<Path>,
    /// Texts in the record that hold JSON.
    pub unpack: Vec<Path>,
    /// `$id` and `$ref` link values of the record.
    pub refs: bool,
    /// A key may contain the dots of a path.
    pub dotted_keys: bool,
    /// Keys compare without regard to case.
    pub any_case_keys: bool,
    /// Texts that stand for nothing.
    pub empty: Vec<String>,
    /// How repeats are known.
    pub identity: Identity,
    /// How the fields are made.
    pub alert: AlertMap,
}

/// A record that the product sends and that is no alert.
#[derive(Debug, Clone)]
pub struct Ignore {
    /// When.
    pub when: Condition,
    /// What it is, in words.
    pub why: Expr,
}

/// How repeats of an alert are known.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The product's own id.
    pub external_id: Option<Expr>,
    /// Otherwise these values,
    pub fingerprint: Vec<Expr>,
    /// for this long from first sight.
    pub window: Span,
}

/// The alert's fields.
#[derive(Debug, Clone)]
pub struct AlertMap {
    /// Field `title`.
    pub title: Expr,
    /// Field `severity`.
    pub severity: Expr,
    /// The severity of a record that has none.
    pub severity_fallback: Severity,
    /// Field `source_severity`, when it is not what `severity` looks at.
    pub source_severity: Option<Expr>,
    /// Field `status`; otherwise active.
    pub status: Option<Expr>,
    /// The other fields, by name.
    pub fields: Vec<(&'static str, Expr)>,
    /// Field `links`.
    pub links: Vec<LinkRule>,
    /// Field `entities`.
    pub entities: Vec<EntityRule>,
    /// Field `extended`: names and values; the name `*` takes all of an object.
    pub extended: Vec<(String, Expr)>,
}

/// One item of `links`.
#[derive(Debug, Clone)]
pub struct LinkRule {
    /// Lists whose items are links.
    pub each: Vec<Path>,
    /// Only then.
    pub when: Option<Condition>,
    /// Field `label`.
    pub label: Option<Expr>,
    /// Field `url`.
    pub url: Expr,
}

/// How long a fingerprint folds when the format does not say.
const WINDOW_DEFAULT: Span = Span::from_secs(24 * 60 * 60);

/// The alert's fields that are one expression and need no check of their own.
const PLAIN_FIELDS: &[&str] = &[
    "vendor",
    "product",
    "kind",
    "description",
    "confidence",
    "tactics",
    "techniques",
    "start",
    "end",
    "generated",
    "resources",
    "remediation",
    "tags",
    "correlation_key",
    "is_incident",
];

impl Format {
    /// Reads a file; every fault is noted.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map = MapReader::new(node, "a format: a map with `format`, `title`, `recognise`, `alert` …", faults)?;
        let name = map.need("format", faults).and_then(|node| read_name(node, faults));
        let title = map.need_text("title", faults);
        let documentation = map.need("documentation", faults).and_then(|node| read_page(node, faults));
        let recognise = map.need("recognise", faults).and_then(|node| Condition::read(node, faults));
        let before = map.list("before").unwrap_or_default().iter();
        let before = before.filter_map(|node| Some((text(node, faults)?.to_owned(), node.place.clone()))).collect();
        let ignore = map.list("ignore").unwrap_or_default();
        let ignore: Vec<_> = ignore.iter().filter_map(|node| Ignore::read(node, faults)).collect();
        let each = map.get("each").map(|node| read_paths(node, faults)).unwrap_or_default();
        let unpack = map.get("unpack").map(|node| read_paths(node, faults)).unwrap_or_default();
        let refs = map.flag("refs", faults).unwrap_or(false);
        let dotted_keys = map.flag("dotted_keys", faults).unwrap_or(false);
        let any_case_keys = map.flag("any_case_keys", faults).unwrap_or(false);
        let empty = map.texts("empty", faults).unwrap_or_default();
        let identity = map.need("identity", faults).and_then(|node| Identity::read(node, faults));
        let alert = map.need("alert", faults).and_then(|node| AlertMap::read(node, faults));
        map.finish(faults);
        Some(Self {
            name: name?,
            place: node.place.clone(),
            title: title?,
            documentation: documentation?,
            recognise: recognise?,
            before,
            ignore,
            each,
            unpack,
            refs,
            dotted_keys,
            any_case_keys,
            empty,
            identity: identity?,
            alert: alert?,
        })
    }
}

impl Ignore {
    fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map = MapReader::new(node, "a map with `when` and `why`", faults)?;
        let when = map.need("when", faults).and_then(|node| Condition::read(node, faults));
        let why = map.need("why", faults).and_then(|node| Expr::read(node, faults));
        map.finish(faults);
        Some(Self { when: when?, why: why? })
    }
}

impl Identity {
    fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map = MapReader::new(node, "a map with `external_id`, or `fingerprint` and `window`", faults)?;
        let external_id = map.get("external_id").and_then(|node| Expr::read(node, faults));
        let fingerprint = map.list("fingerprint").unwrap_or_default();
        let fingerprint: Vec<_> = fingerprint.iter().filter_map(|node| Expr::read(node, faults)).collect();
        let window = map.parsed("window", "a length of time such as 1h or 7d", faults);
        if external_id.is_none() && fingerprint.is_empty() {
            faults.error("no-identity", map.place(), "an identity needs `external_id` or `fingerprint`");
        }
        map.finish(faults);
        Some(Self { external_id, fingerprint, window: window.unwrap_or(WINDOW_DEFAULT) })
    }
}

impl AlertMap {
    fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map = MapReader::new(node, "a map of the alert's fields", faults)?;
        let title = map.need("title", faults).and_then(|node| Expr::read(node, faults));
        let severity = map.need("severity", faults).and_then(|node| read_severity(node, faults));
        let source_severity = map.get("source_severity").and_then(|node| Expr::read(node, faults));
        let status = map.get("status").and_then(|node| read_status(node, faults));
        let mut fields = Vec::new();
        for field in PLAIN_FIELDS {
            fields.extend(map.get(field).and_then(|node| Expr::read(node, faults)).map(|expr| (*field, expr)));
        }
        let links = map.list("links").unwrap_or_default();
        let links = links.iter().filter_map(|node| LinkRule::read(node, faults)).collect();
        let entities = map.list("entities").unwrap_or_default();
        let entities = entities.iter().filter_map(|node| EntityRule::read(node, faults)).collect();
        let extended = map.get("extended").map(|node| read_extended(node, faults)).unwrap_or_default();
        map.finish(faults);
        let (severity, severity_fallback) = severity?;
        let title = title?;
        Some(Self { title, severity, severity_fallback, source_severity, status, fields, links, entities, extended })
    }
}

impl LinkRule {
    /// A link is an expression for its URL, or a map with `url`.
    fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Map(_) = node.value else {
            return Some(Self { each: Vec::new(), when: None, label: None, url: Expr::read(node, faults)? });
        };
        let mut map = MapReader::new(node, "a link", faults)?;
        let each = map.get("each").map(|node| read_paths(node, faults)).unwrap_or_default();
        let when = map.get("when").and_then(|node| Condition::read(node, faults));
        let label = map.get("label").and_then(|node| Expr::read(node, faults));
        let url = map.need("url", faults).and_then(|node| Expr::read(node, faults));
        map.finish(faults);
        Some(Self { each, when, label, url: url? })
    }
}

fn read_name(node: &Node, faults: &mut Faults) -> Option<String> {
    let fits = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    match &node.value {
        Value::Str(text) if fits(text) && text.len() <= 64 => Some(text.clone()),
        _ => {
            faults.expected(node, "a name of small letters, digits and `-`");
            None
        }
    }
}

fn read_page(node: &Node, faults: &mut Faults) -> Option<String> {
    match &node.value {
        Value::Str(text) if ["https://", "http://", "docs/"].iter().any(|start| text.starts_with(start)) => {
            Some(text.clone())
        }
        _ => {
            faults.expected(node, "the address of the page that describes the shape");
            None
        }
    }
}

/// Only our severities come out, and one of them for every record.
fn read_severity(node: &Node, faults: &mut Faults) -> Option<(Expr, Severity)> {
    let before = faults.found.len();
    let expr = Expr::read(node, faults)?;
    check_words(&expr, node, "severity", &Severity::ALL.map(Severity::as_str), faults);
    let fallback = expr.fallback().and_then(Json::as_str).and_then(|word| word.parse().ok());
    if fallback.is_none() && faults.found.len() == before {
        let message = "a record without a known severity needs one: add `else`";
        faults.push(
            Diagnostic::error("severity-fallback", node.place.clone(), message)
                .help("for example `severity: {from: level, map: {warn: medium, error: high}, else: medium}`"),
        );
    }
    Some((expr, fallback?))
}

fn read_status(node: &Node, faults: &mut Faults) -> Option<Expr> {
    let expr = Expr::read(node, faults)?;
    check_words(&expr, node, "status", &Status::ALL.map(Status::as_str), faults);
    Some(expr)
}

fn check_words(expr: &Expr, node: &Node, field: &str, words: &[&str], faults: &mut Faults) {
    let Some(outcomes) = expr.outcomes() else {
        let message = format!("`{field}` must be one of soard's words, so the product's words need a `map`");
        return faults.push(
            Diagnostic::error("open-words", node.place.clone(), message)
                .help(format!("soard's words: {}", words.join(", "))),
        );
    };
    for outcome in outcomes {
        let word = scalar_text(outcome).unwrap_or_default();
        if !words.contains(&&*word) {
            let fault = Diagnostic::error("unknown-word", place_of(node, outcome), format!("`{word}` is no {field}"));
            faults.push(fault.suggest(&word, words.iter().copied()));
        }
    }
}

/// Where a constant stands below a node.
fn place_of(node: &Node, constant: &Json) -> Place {
    fn find<'n>(node: &'n Node, constant: &Json) -> Option<&'n Place> {
        match &node.value {
            Value::List(items) => items.iter().find_map(|item| find(item, constant)),
            Value::Map(items) => items.iter().find_map(|(_, item)| find(item, constant)),
            value => (value.json() == *constant).then_some(&node.place),
        }
    }
    find(node, constant).unwrap_or(&node.place).clone()
}

fn read_extended(node: &Node, faults: &mut Faults) -> Vec<(String, Expr)> {
    if !matches!(node.value, Value::Map(_)) {
        return one_or_many(node).iter().filter_map(|node| Some(("*".into(), Expr::read(node, faults)?))).collect();
    }
    let Some(mut map) = MapReader::new(node, "a map of names and values", faults) else { return Vec::new() };
    let rest = map.rest();
    rest.into_iter().filter_map(|(key, node)| Some((key.text.clone(), Expr::read(node, faults)?))).collect()
}
