//! Hostile values through every template and a real mail server, read by another implementation.

use serde_json::{Map, Value, json};
use soard::actions::message::OwnLinks;
use soard::actions::templates::{Background, Page};
use soard::domain::effect::{Class, Effect, EmailRequest};
use soard::domain::text::is_unseen;

use crate::done;
use crate::mail::{Sink, headers};
use crate::support::hostile_values;

const TO: &str = "    to: soc@example.com\n";

const HEADERS: [&str; 17] = [
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "auto-submitted",
    "x-soard-run",
    "x-soard-key",
    "x-soard-log-head",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "reply-to",
];
const TAGS: [&str; 23] = [
    "a", "body", "br", "code", "div", "h1", "h2", "head", "html", "li", "meta", "ol", "p", "span", "strong", "style",
    "table", "td", "title", "tr", "ul", "th", "tbody",
];
const ATTRIBUTES: [&str; 13] = [
    "align",
    "border",
    "cellpadding",
    "cellspacing",
    "charset",
    "class",
    "content",
    "href",
    "lang",
    "name",
    "role",
    "style",
    "width",
];

/// An alert that says the same everywhere.
fn alert(text: &str) -> Value {
    json!({
        "id": "a-1.0", "title": text, "description": text, "severity": "high", "source_severity": text, "status": text,
        "kind": text, "vendor": text, "product": text, "confidence": text, "host": text, "account": text, "ip": text,
        "entities": {"host": [{"name": text, text: text}], text: [{"value": text}]}, "tags": [text],
        "tactics": [text], "techniques": [text], "resources": [text], "remediation": [text],
        "received": text, "start": text, "links": [{"label": text, "url": text}, {"label": text, "url": format!("https://portal.example.com/{text}")}],
    })
}

fn effect(template: &str, subject: Option<&str>, text: &str) -> Effect {
    let data = json!({
        "note": text,
        "digest": {"recipient": text, "since": text, "reasons": [{"why": text, "count": 2}], "more": {"low": 3}},
        "approval": {"id": "ap-1", "question": text, "by": [text], "until": text, "otherwise": "deny",
                     "approve_url": "https://soard.example.com/decide/1", "deny_url": "https://soard.example.com/decide/2"},
    });
    let data: Map<String, Value> = serde_json::from_value(data).unwrap();
    Effect::Email(EmailRequest {
        destination: "mail".into(),
        template: template.into(),
        subject: subject.map(Into::into),
        data,
    })
}

fn background(text: &str) -> Background {
    Background {
        did: vec![text.into()],
        mitigate: vec![text.into()],
        prevent: vec![text.into()],
        inspect: vec![Page { label: text.into(), url: text.into() }],
        change: json!({"from": text, "to": text, "by": text, "reason": text, "comment": text}),
    }
}

/// What is left of a text when nothing but letters and digits counts.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric() && !is_unseen(*c)).collect()
}

fn all_of(found: &Value, known: &[&str], what: &str) {
    for name in found.as_array().unwrap() {
        assert!(known.contains(&name.as_str().unwrap()), "{what}: {name}");
    }
}

#[tokio::test]
async fn no_value_of_an_alert_adds_a_header_a_part_or_anything_active_and_its_text_arrives() {
    let sink = Sink::start(&[]);
    let mut world = sink.world("tls: none", TO);
    world.thread = Some("thread.x".into());
    let url = |what: &str| Some(format!("https://soard.example.com/mail/{what}"));
    let own = OwnLinks { acknowledge: url("acknowledge"), unsubscribe: url("unsubscribe") };
    world.links = [("soc@example.com".to_owned(), own)].into_iter().collect();
    for (name, text) in hostile_values() {
        world.input = alert(&text);
        world.background = background(&text);
        for (template, subject) in [("alert", None), ("approval", Some(&*text))] {
            assert_eq!(done(world.send(&effect(template, subject, &text)).await).class, Class::Ok, "{name}");
            check(&sink.mail(), template, &text, &format!("{name} in {template}"));
        }
    }
    // All of them side by side, each with a turn at being first.
    let mut alerts: Vec<Value> = hostile_values().iter().map(|(_, text)| alert(text)).collect();
    for (template, turn) in [("group", 20), ("digest", 20), ("group", 60)] {
        alerts.rotate_left(turn);
        world.input = json!(alerts);
        assert_eq!(done(world.send(&effect(template, None, "x")).await).class, Class::Ok, "{template}");
        check(&sink.mail(), template, "", template);
    }
}

fn check(mail: &Value, template: &str, text: &str, what: &str) {
    assert_eq!((&mail["to"], &mail["defects"]), (&json!(["soc@example.com"]), &json!([])), "{what}");
    let names = mail["headers"].as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap().to_lowercase());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names.len(), 15, "{what}: {names:?}");
    names.dedup();
    assert_eq!(names.len(), 15, "{what}: a header stands twice");
    assert!(names.iter().all(|name| HEADERS.contains(&&**name)), "{what}: {names:?}");
    let subject = headers(mail, "subject")[0];
    assert_eq!(mail["hidden"], json!([]), "{what}: {subject:?}");
    assert!(subject.chars().count() <= 200 && !subject.trim().is_empty(), "{what}: {subject:?}");

    let page = &mail["pages"][0];
    all_of(&page["tags"], &TAGS, what);
    all_of(&page["attributes"], &ATTRIBUTES, what);
    assert_eq!(page["odd"], json!([]), "{what}");
    for link in page["links"].as_array().unwrap() {
        let link = link.as_str().unwrap();
        let known =
            ["https://soard.example.com/", "https://portal.example.com/"].iter().any(|base| link.starts_with(base));
        assert!(known, "{what}: {link}");
    }
    let parts = mail["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 2, "{what}");
    assert!(
        !parts.iter().any(|part| part["text"].as_str().unwrap().contains("49")),
        "{what}: a template was evaluated"
    );
    let arrived = letters(parts[0]["text"].as_str().unwrap());
    if template == "alert" && text.chars().count() <= 4_000 {
        assert!(arrived.contains(&letters(text)), "{what}: {arrived}");
    }
}
