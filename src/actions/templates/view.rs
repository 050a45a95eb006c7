//! What a template sees of alerts: cleaned text, and the few values that it would be clumsy to work out there.

use jiff::Timestamp;
use minijinja::value::Value as JinjaValue;
use serde_json::{Map, Value, json};

use crate::actions::scrub;
use crate::actions::templates::{Background, Page, Subject, why};
use crate::domain::alert::Severity;
use crate::domain::attack;
use crate::domain::mail::DIGEST_ALERTS_MAX;

/// Fields that alerts have in templates only.
pub(super) const ADDED_FIELDS: &[&str] = &["attack", "facts", "page", "where", "why"];

/// Longest text value that a mail shows, in characters.
const TEXT_CHARS_MAX: usize = 4_000;
/// Most alerts that a template sees of one group; `count` has their number.
const ALERTS_MAX: usize = 200;
/// Most entities and items of a list that a template sees.
const ITEMS_MAX: usize = 100;
/// Levels of nesting that a template sees.
const DEPTH_MAX: usize = 16;
/// A subject tells severity, what and where within this many characters: what a phone's list shows.
const SUBJECT_CHARS: usize = 60;

/// The values for a template, all text cleaned and bounded.
pub(super) fn context(subject: &Subject<'_>) -> Value {
    let single = !subject.input.is_array();
    let mut alerts: Vec<&Value> = match subject.input {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    alerts.sort_by_key(|alert| std::cmp::Reverse(severity(alert)));
    let count = alerts.len();
    let tally: Vec<Value> = Severity::ALL
        .iter()
        .rev()
        .map(|severity| (severity, alerts.iter().filter(|alert| self::severity(alert) == *severity).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| json!({"severity": severity, "count": count}))
        .collect();
    let worst = alerts.first().map_or(Severity::Informational, |alert| severity(alert));
    let shown: Vec<Value> = alerts.iter().take(ALERTS_MAX).map(|alert| alert_view(alert)).collect();
    let headline = if single { alert_headline(&shown[0]) } else { group_headline(&shown, count, worst) };
    let listed: Vec<Severity> = alerts.iter().take(DIGEST_ALERTS_MAX).map(|alert| severity(alert)).collect();
    let digest = digest(subject.data.get("digest").unwrap_or(&Value::Null), &alerts, &listed);
    json!({
        "alert": if single { shown[0].clone() } else { Value::Null },
        "alerts": shown,
        "count": count,
        "worst": worst,
        "tally": tally,
        "headline": headline,
        "run": {
            "id": subject.run.to_string(),
            "playbook": subject.run.playbook,
            "trigger": subject.run.trigger.to_string(),
        },
        "key": subject.key.as_str(),
        "at": subject.at.to_string(),
        "data": clean(&Value::Object(subject.data.clone()), 0),
        "digest": digest,
        "did": lines(&subject.background.did),
        "advice": advice(subject.background),
        "change": clean(&subject.background.change, 0),
        "links": { "acknowledge": subject.links.acknowledge, "unsubscribe": subject.links.unsubscribe },
    })
}

fn lines(texts: &[String]) -> Value {
    texts.iter().take(ITEMS_MAX).map(|text| scrub::line(text, 500)).collect()
}

fn advice(background: &Background) -> Value {
    let blocks = |texts: &[String]| -> Value {
        texts.iter().take(ITEMS_MAX).map(|text| scrub::block(text, TEXT_CHARS_MAX)).collect()
    };
    let page = |page: &Page| {
        let host = web_host(&page.url)?;
        Some(json!({"label": scrub::line(&page.label, 80), "url": page.url, "host": host}))
    };
    json!({
        "mitigate": blocks(&background.mitigate),
        "prevent": blocks(&background.prevent),
        "inspect": background.inspect.iter().filter_map(page).take(ITEMS_MAX).collect::<Vec<_>>(),
    })
}

/// What a digest tells in numbers: `data.digest.more` has those that its group did not keep, by severity.
fn digest(given: &Value, alerts: &[&Value], listed: &[Severity]) -> Value {
    let of =
        |wanted: Severity, among: &mut dyn Iterator<Item = Severity>| among.filter(|it| *it == wanted).count() as u64;
    let (mut tally, mut unlisted, mut total) = (Vec::new(), Vec::new(), 0);
    for wanted in Severity::ALL.into_iter().rev() {
        let more = given["more"][wanted.as_str()].as_u64().unwrap_or_default();
        let count = more.saturating_add(of(wanted, &mut alerts.iter().map(|alert| severity(alert))));
        let rest = count.saturating_sub(of(wanted, &mut listed.iter().copied()));
        total += count;
        if count > 0 {
            tally.push(json!({"severity": wanted, "count": count}));
        }
        if rest > 0 {
            unlisted.push(format!("{rest} {wanted}"));
        }
    }
    let noun = if total == 1 { "alert" } else { "alerts" };
    let mut headline = format!("[DIGEST] {total} {noun}");
    for (part, before) in tally.iter().zip([":", ",", ",", ","]) {
        let words = format!("{before} {} {}", part["count"], part["severity"].as_str().unwrap_or_default());
        // The worst are named first; what does not fit is in the mail.
        if headline.len() + words.len() > SUBJECT_CHARS {
            break;
        }
        headline.push_str(&words);
    }
    json!({
        "total": total,
        "tally": tally,
        "listed": listed.len(),
        "unlisted": !unlisted.is_empty(),
        "unlisted_words": unlisted.join(", "),
        "headline": headline,
    })
}

/// An instant for people, with its zone; anything else stays as it is.
pub(super) fn when(value: JinjaValue) -> JinjaValue {
    let at = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    at.map_or(value, |at| JinjaValue::from(at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()))
}

fn severity(alert: &Value) -> Severity {
    alert["severity"].as_str().and_then(|word| word.parse().ok()).unwrap_or(Severity::Informational)
}

fn alert_view(alert: &Value) -> Value {
    let Value::Object(mut fields) = clean(alert, 0) else { return json!({}) };
    // A title with line ends in it would break the subject and every list.
    for field in ["title", "kind", "product", "vendor", "source", "host", "account", "ip"] {
        if let Some(Value::String(text)) = fields.get_mut(field) {
            *text = scrub::line(text, 500);
        }
    }
    if let Some(Value::Array(links)) = fields.get_mut("links") {
        links.retain(|link| link["url"].as_str().is_some_and(is_web));
    }
    fields.insert("severity".into(), json!(severity(alert)));
    fields.insert("where".into(), place(&fields).into());
    fields.insert("attack".into(), attack(&fields));
    fields.insert("why".into(), why::reasons(&fields).into());
    fields.insert("facts".into(), facts(&fields));
    fields.insert("page".into(), page(&fields));
    Value::Object(fields)
}

/// The most telling name of what is affected.
fn place(alert: &Map<String, Value>) -> String {
    let named = [
        ("host", "host", "name"),
        ("account", "account", "name"),
        ("ip", "ip", "address"),
        ("mailbox", "mailbox", "address"),
        ("container", "container", "name"),
        ("cloud_resource", "cloud_resource", "name"),
    ];
    let found = named.iter().find_map(|(field, entity, property)| {
        let short = alert.get(*field).and_then(Value::as_str);
        let full = || alert.get("entities")?.get(*entity)?.get(0)?.get(*property)?.as_str();
        short.or_else(full).filter(|name| !name.is_empty())
    });
    let resource = || {
        let id = alert.get("resources")?.get(0)?.as_str()?;
        id.rsplit('/').find(|part| !part.is_empty())
    };
    scrub::line(found.or_else(resource).unwrap_or_default(), 200)
}

/// ATT&CK tactics, and techniques with their names.
fn attack(alert: &Map<String, Value>) -> Value {
    let texts =
        |field: &str| alert.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let techniques = texts("techniques").map(|id| attack::titled(id).into_owned());
    texts("tactics").map(str::to_owned).chain(techniques).map(|text| scrub::line(&text, 200)).collect()
}

/// One line for each entity: its type, its name and what else is known of it.
fn facts(alert: &Map<String, Value>) -> Value {
    let Some(Value::Object(entities)) = alert.get("entities") else { return json!([]) };
    let mut facts = Vec::new();
    for (kind, items) in entities {
        for item in items.as_array().into_iter().flatten().take(ITEMS_MAX) {
            let Value::Object(properties) = item else { continue };
            let main = MAIN_PROPERTIES.iter().find(|name| properties.get(**name).is_some_and(Value::is_string));
            let name = main.map_or_else(String::new, |main| text_of(&properties[*main]).unwrap_or_default());
            let others = properties.iter().filter(|(key, _)| main.is_none_or(|main| main != key));
            let details =
                others.filter_map(|(key, value)| Some(format!("{}: {}", key.replace('_', " "), text_of(value)?)));
            let details: Vec<String> = details.take(8).collect();
            facts.push(
                json!({"type": kind.replace('_', " "), "name": name, "details": scrub::cut(details.join(", "), 600)}),
            );
        }
    }
    facts.truncate(ITEMS_MAX);
    Value::Array(facts)
}

/// Properties that name an entity, the most telling first.
const MAIN_PROPERTIES: &[&str] =
    &["name", "address", "command_line", "path", "url", "value", "key", "upn", "image", "id", "resource_id"];

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(scrub::line(text, 500)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The first page about the alert that a browser can open, with the host it leads to.
fn page(alert: &Map<String, Value>) -> Value {
    let links = alert.get("links").and_then(Value::as_array);
    let first = links.into_iter().flatten().find_map(|link| {
        let url = link["url"].as_str()?;
        let host = web_host(url)?;
        let label = link["label"].as_str().map_or_else(|| "Open the alert".into(), |label| scrub::line(label, 80));
        Some(json!({"url": url, "label": label, "host": host}))
    });
    first.unwrap_or(Value::Null)
}

fn is_web(url: &str) -> bool {
    web_host(url).is_some()
}

/// The host of a page that a browser can open. A user name before it can only be there to be taken for the host.
fn web_host(url: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.host_str().filter(|_| url.username().is_empty() && url.password().is_none()).map(str::to_owned)
}

/// `[HIGH] Suspicious PowerShell on web-01`, within [`SUBJECT_CHARS`].
fn alert_headline(alert: &Value) -> String {
    let mark = format!("[{}]", severity(alert).as_str().to_uppercase());
    let title = alert["title"].as_str().filter(|title| !title.is_empty()).unwrap_or("Alert");
    let place = scrub::cut(alert["where"].as_str().unwrap_or_default().into(), 24);
    // Only an abridged title needs the place again when it names it.
    if place.is_empty() || title.to_lowercase().contains(&place.to_lowercase()) && fits(&mark, title, "") {
        return format!("{mark} {}", scrub::cut(title.into(), SUBJECT_CHARS - mark.len() - 1));
    }
    let tail = format!(" on {place}");
    let room = SUBJECT_CHARS - mark.len() - 1 - tail.chars().count();
    format!("{mark} {}{tail}", scrub::cut(title.into(), room))
}

fn fits(mark: &str, title: &str, tail: &str) -> bool {
    mark.len() + 1 + title.chars().count() + tail.chars().count() <= SUBJECT_CHARS
}

/// `[HIGH] 12 alerts on web-01: Suspicious PowerShell`, within [`SUBJECT_CHARS`].
fn group_headline(alerts: &[Value], count: usize, worst: Severity) -> String {
    let mut places: Vec<&str> = Vec::new();
    for place in alerts.iter().filter_map(|alert| alert["where"].as_str()) {
        if !place.is_empty() && !places.contains(&place) {
            places.push(place);
        }
    }
    // The worst alert comes first, and with it the place to name.
    let place = match places.as_slice() {
        [] => String::new(),
        [one] => format!(" on {}", scrub::cut((*one).into(), 24)),
        many => format!(" on {} and {} more", scrub::cut(many[0].into(), 20), many.len() - 1),
    };
    let mark = format!("[{}]", worst.as_str().to_uppercase());
    let noun = if count == 1 { "alert" } else { "alerts" };
    let title = alerts.first().and_then(|alert| alert["title"].as_str()).unwrap_or_default();
    let head = format!("{mark} {count} {noun}{place}");
    let room = SUBJECT_CHARS.saturating_sub(head.chars().count() + 2);
    if title.is_empty() || room < 8 { head } else { format!("{head}: {}", scrub::cut(title.into(), room)) }
}

/// JSON with clean, bounded text; deeper and longer parts are left out.
fn clean(value: &Value, depth: usize) -> Value {
    match value {
        Value::String(text) => Value::String(scrub::block(text, TEXT_CHARS_MAX)),
        Value::Array(items) if depth < DEPTH_MAX => {
            items.iter().take(ITEMS_MAX).map(|item| clean(item, depth + 1)).collect()
        }
        Value::Object(items) if depth < DEPTH_MAX => {
            items.iter().map(|(key, item)| (scrub::line(key, 200), clean(item, depth + 1))).collect()
        }
        Value::Array(_) | Value::Object(_) => Value::Null,
        other => other.clone(),
    }
}

/// An alert with every field that templates use, to try a template with.
pub(super) fn sample() -> Value {
    json!({
        "id": "a-1.0", "source": "sample", "external_id": "1", "vendor": "Example", "product": "Sensor",
        "kind": "SampleKind", "title": "Sample alert", "description": "What happened.", "severity": "high",
        "source_severity": "High", "status": "active", "confidence": "high", "tactics": ["Execution"],
        "techniques": ["T1059.001"], "start": "2026-11-22T01:02:03Z", "end": "2026-11-22T01:02:03Z",
        "generated": "2026-11-22T01:02:03Z", "received": "2026-11-22T01:02:03Z", "resources": ["/subscriptions/s/vm/web-01"],
        "entities": {"host": [{"name": "web-01"}], "ip": [{"address": "192.0.2.1"}], "account": [{"name": "alice"}]},
        "host": "web-01", "account": "alice", "ip": "192.0.2.1", "remediation": ["Isolate the host."],
        "links": [{"label": "Open", "url": "https://example.com/a"}], "tags": ["sample"], "correlation_key": "k",
        "is_incident": false, "extended": {}, "raw": {},
    })
}
