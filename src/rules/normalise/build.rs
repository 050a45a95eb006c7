//! Makes one alert of one part of a record.

use std::fmt::Write;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::alert::{Alert, Link, Severity, Status};
use crate::domain::attack;
use crate::domain::record::RECORD_BYTES_MAX;
use crate::domain::time::Span;
use crate::rules::normalise::NoteKind;
use crate::rules::normalise::entity::Entities;
use crate::rules::normalise::expr::Expr;
use crate::rules::normalise::format::{AlertMap, Format, LinkRule};
use crate::rules::normalise::path::{Found, Scope, scalar_text};
use crate::rules::normalise::text::{self, DESCRIPTION_BYTES_MAX, VALUE_BYTES_MAX};
use crate::rules::normalise::time::{Instant, TimeForm};

/// Longest id or fingerprint kept as it is, in bytes; a longer one ends in the hash of the whole.
const FINGERPRINT_BYTES_MAX: usize = 256;
/// How long equal JSON folds when an alert has neither id nor fingerprint.
const SAME_JSON_WINDOW: Span = Span::from_secs(24 * 60 * 60);

/// The alert of `scope.alert`, and how long its fingerprint folds. `raw` is still empty.
pub fn build(format: &Format, scope: &Scope<'_>, source: &str, received: Timestamp) -> (Alert, Option<Span>) {
    let map = &format.alert;
    let (external_id, fingerprint, window) = identity(format, scope);
    let mut alert = Alert {
        source: source.into(),
        external_id,
        fingerprint,
        vendor: None,
        product: None,
        kind: None,
        title: String::new(),
        description: None,
        severity: severity(map, scope),
        source_severity: source_severity(map, scope),
        status: status(map, scope),
        confidence: None,
        tactics: Vec::new(),
        techniques: Vec::new(),
        start: None,
        end: None,
        generated: None,
        received,
        resources: Vec::new(),
        entities: Entities::new(),
        remediation: Vec::new(),
        links: links(&map.links, scope),
        tags: Vec::new(),
        correlation_key: None,
        is_incident: false,
        extended: extended(map, scope),
        raw: Arc::new(Value::Null),
    };
    for (field, expr) in &map.fields {
        set(&mut alert, field, expr, scope);
    }
    scope.reading.enter(&["title"]);
    alert.title = title(&map.title.eval(scope), &alert, format, scope);
    for rule in &map.entities {
        rule.fill(scope, &mut alert.entities);
    }
    alert.entities.retain(|_, list| !list.is_empty());
    (alert, window)
}

/// Sets a field that is one expression; the names are those of `format::PLAIN_FIELDS`.
fn set(alert: &mut Alert, field: &'static str, expr: &Expr, scope: &Scope<'_>) {
    let reading = scope.reading;
    reading.enter(&[field]);
    let found = expr.eval(scope);
    let line = |found: &Found<'_>| text::line(found, VALUE_BYTES_MAX, reading);
    match field {
        "vendor" => alert.vendor = line(&found),
        "product" => alert.product = line(&found),
        "kind" => alert.kind = line(&found),
        "description" => alert.description = text::paragraph(&found, DESCRIPTION_BYTES_MAX, reading),
        "confidence" => alert.confidence = line(&found),
        "tactics" => alert.tactics = known_words(text::lines(&found, reading), attack::tactic),
        "techniques" => alert.techniques = known_words(text::lines(&found, reading), technique_id),
        "start" => alert.start = time(&found, scope),
        "end" => alert.end = time(&found, scope),
        "generated" => alert.generated = time(&found, scope),
        "resources" => alert.resources = text::lines(&found, reading),
        "remediation" => alert.remediation = text::lines(&found, reading),
        "tags" => alert.tags = text::lines(&found, reading),
        "correlation_key" => alert.correlation_key = line(&found),
        "is_incident" => alert.is_incident = line(&found).is_some_and(|text| text.eq_ignore_ascii_case("true")),
        other => unreachable!("`{other}` is in PLAIN_FIELDS and has no place in the alert"),
    }
}

/// Each word as ATT&CK has it, once; a word that ATT&CK does not have stays as the product wrote it.
fn known_words(words: Vec<String>, known: impl Fn(&str) -> Option<&'static str>) -> Vec<String> {
    let mut told: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let word = known(&word).map_or(word, Into::into);
        if !told.contains(&word) {
            told.push(word);
        }
    }
    told
}

/// A technique's id, of its id or its name.
fn technique_id(word: &str) -> Option<&'static str> {
    attack::technique(word).map(|known| known.id).or_else(|| attack::technique_named(word))
}

/// The title that the format gives, else the kind, else the format's own title: never empty.
fn title(found: &Found<'_>, alert: &Alert, format: &Format, scope: &Scope<'_>) -> String {
    let given = text::title(found, scope.reading);
    given.or_else(|| alert.kind.clone()).unwrap_or_else(|| {
        scope.reading.note(NoteKind::NoTitle, "");
        format!("Alert from {}", format.title)
    })
}

fn severity(map: &AlertMap, scope: &Scope<'_>) -> Severity {
    scope.reading.enter(&["severity"]);
    let found = map.severity.eval(scope);
    let word = found.items().first().and_then(|item| item.as_str()?.parse().ok());
    word.unwrap_or_else(|| {
        let unmapped = map.severity.eval_unmapped(scope);
        let word = unmapped.items().first().map(|item| item.to_string()).unwrap_or_default();
        scope.reading.note(NoteKind::UnknownWord, &word);
        map.severity_fallback
    })
}

fn source_severity(map: &AlertMap, scope: &Scope<'_>) -> Option<String> {
    scope.reading.enter(&["source_severity"]);
    let found = match &map.source_severity {
        Some(expr) => expr.eval(scope),
        None => map.severity.eval_unmapped(scope),
    };
    text::line(&found, VALUE_BYTES_MAX, scope.reading)
}

fn status(map: &AlertMap, scope: &Scope<'_>) -> Status {
    scope.reading.enter(&["status"]);
    let Some(expr) = &map.status else { return Status::default() };
    let found = expr.eval(scope);
    match found.items().first().and_then(|item| item.as_str()?.parse().ok()) {
        Some(status) => status,
        None => {
            let unmapped = expr.eval_unmapped(scope);
            if let Some(item) = unmapped.items().first() {
                scope.reading.note(NoteKind::UnknownWord, &item.to_string());
            }
            expr.fallback().and_then(|word| word.as_str()?.parse().ok()).unwrap_or_default()
        }
    }
}

fn time(found: &Found<'_>, scope: &Scope<'_>) -> Option<Timestamp> {
    let item = found.items().first()?;
    match TimeForm::Auto.read(item) {
        Ok(Instant::At(at)) => Some(at),
        Ok(Instant::Unset) => None,
        Err(_) => {
            scope.reading.note(NoteKind::BadTime, &item.to_string());
            None
        }
    }
}

fn links(rules: &[LinkRule], scope: &Scope<'_>) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    scope.reading.enter(&["links"]);
    for rule in rules {
        if rule.each.is_empty() {
            link(rule, scope, &mut links);
            continue;
        }
        let found = rule.each.iter().map(|path| path.open(scope)).find(|found| !found.is_nothing());
        for item in found.unwrap_or(Found::Nothing).items() {
            link(rule, &Scope { here: item, ..*scope }, &mut links);
        }
    }
    links
}

fn link(rule: &LinkRule, scope: &Scope<'_>, to: &mut Vec<Link>) {
    if rule.when.as_ref().is_some_and(|when| !when.holds(scope)) {
        return;
    }
    let label = rule.label.as_ref().and_then(|label| text::line(&label.eval(scope), VALUE_BYTES_MAX, scope.reading));
    let urls = rule.url.eval(scope);
    for url in text::lines(&urls, scope.reading) {
        let is_page = ["http://", "https://"].iter().any(|scheme| {
            url.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)) && url.len() > scheme.len()
        });
        if !is_page || url.contains(char::is_whitespace) {
            scope.reading.note(NoteKind::NotALink, &url);
        } else if to.len() >= text::ITEMS_MAX {
            scope.reading.note(NoteKind::Truncated, &format!("more than {} links", text::ITEMS_MAX));
        } else if !to.iter().any(|link| link.url == url) {
            to.push(Link { label: label.clone(), url });
        }
    }
}

fn extended(map: &AlertMap, scope: &Scope<'_>) -> Map<String, Value> {
    scope.reading.enter(&["extended"]);
    let mut extended = Map::new();
    for (name, expr) in &map.extended {
        match (name.as_str(), expr.eval(scope).into_value()) {
            (_, None) => {}
            ("*", Some(Value::Object(all))) => {
                extended.extend(all.into_iter().filter(|(_, value)| !scope.reading.is_empty(value)))
            }
            ("*", Some(other)) => scope.reading.note(NoteKind::WrongType, &other.to_string()),
            (name, Some(value)) => _ = extended.insert(name.into(), value),
        }
    }
    text::limit_extended(extended, scope.reading)
}

/// External id, fingerprint and how long the fingerprint folds.
fn identity(format: &Format, scope: &Scope<'_>) -> (Option<String>, Option<String>, Option<Span>) {
    let identity = &format.identity;
    scope.reading.enter(&["external_id"]);
    let external = identity.external_id.as_ref().map(|expr| expr.eval(scope));
    if let Some(id) = external.and_then(|found| text::line(&found, RECORD_BYTES_MAX, scope.reading)) {
        return (Some(shortened(id)), None, None);
    }
    let values: Vec<Value> = identity.fingerprint.iter().map(|expr| fingerprint_part(&expr.eval(scope))).collect();
    if values.iter().any(|value| !value.is_null()) {
        let text = Value::Array(values).to_string();
        return (None, Some(shortened(text)), Some(identity.window));
    }
    scope.reading.note(NoteKind::NoIdentity, "");
    let same = format!("sha256:{}", hex(scope.alert.to_string().as_bytes()));
    (None, Some(same), Some(SAME_JSON_WINDOW))
}

fn fingerprint_part(found: &Found<'_>) -> Value {
    let text = |item: &Value| scalar_text(item).map_or_else(|| item.to_string(), Into::into);
    let mut texts: Vec<String> = found.items().iter().map(|item| text(item)).collect();
    texts.sort();
    texts.dedup();
    match texts.len() {
        0 => Value::Null,
        1 => texts.remove(0).into(),
        _ => texts.into(),
    }
}

fn shortened(text: String) -> String {
    if text.len() <= FINGERPRINT_BYTES_MAX {
        return text;
    }
    let hash = hex(text.as_bytes());
    let mut end = FINGERPRINT_BYTES_MAX - hash.len() - 1;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}#{hash}", &text[..end])
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string never fails");
        hex
    })
}
