//! The playbooks that ship: they compile without a word, and ask for what their users expect.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::domain::effect::{Class, Effect, Reply};
use crate::playbooks::tests::{alert, bundle, drive, failed, ok};

/// The scripts in `playbooks/`, by path.
pub fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    for folder in ["playbooks", "playbooks/lib"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".rhai") {
                let path = format!("{folder}/{name}");
                files.insert(path.clone(), std::fs::read_to_string(root.join(path)).unwrap());
            }
        }
    }
    files
}

/// A second alert, poor and hostile.
pub fn second() -> Value {
    json!({
        "id": "a-8.1", "source": "falco", "title": "<!channel> *shell* in container [x](http://evil.example)",
        "severity": "low", "status": "active", "received": "2026-11-03T02:58:59Z",
    })
}

fn long() -> Value {
    let mut alert = alert();
    alert["title"] = "A very long title & more. ".repeat(100).into();
    alert["description"] = "word ".repeat(4_000).into();
    alert
}

fn replies(effect: &Effect) -> Reply {
    match effect {
        Effect::Webhook(request) if request.destination == "enrich" => {
            ok(json!({"status": 200, "headers": {}, "body": {"score": 85, "names": ["botnet"]}}))
        }
        Effect::Webhook(request) if request.destination == "edr" => {
            ok(json!({"status": 200, "headers": {}, "body": {"isolated": true}}))
        }
        Effect::Webhook(_) => ok(json!({"status": 201, "headers": {}, "body": {"key": "SOC-17"}})),
        Effect::Email(_) => ok(json!({"accepted": ["soc@example.com"], "refused": []})),
        _ => ok(Value::Null),
    }
}

fn show(name: &str, input: &Value, answer: impl FnMut(&Effect) -> Reply) -> String {
    drive(&bundle(&files()), name, input, answer).show()
}

#[test]
fn notify_email() {
    insta::assert_snapshot!("notify-email-alert", show("notify-email", &alert(), replies));
    insta::assert_snapshot!("notify-email-group", show("notify-email", &json!([second(), alert()]), replies));
}

#[test]
fn ticket() {
    insta::assert_snapshot!("ticket-alert", show("ticket", &alert(), replies));
    insta::assert_snapshot!("ticket-group", show("ticket", &json!([second(), alert()]), replies));
    insta::assert_snapshot!("ticket-refused", show("ticket", &alert(), |_| failed(Class::Rejected, 422)));
}

#[test]
fn chat() {
    insta::assert_snapshot!("chat-slack-alert", show("chat", &alert(), replies));
    insta::assert_snapshot!("chat-slack-group", show("chat", &json!([second(), alert()]), replies));
    insta::assert_snapshot!("chat-refused", show("chat", &second(), |_| failed(Class::Rejected, 404)));
    let mut files = files();
    let text = files.get_mut("playbooks/chat.rhai").unwrap();
    *text = text.replace("const SHAPE = \"slack\"", "const SHAPE = \"teams\"");
    let teams = bundle(&files);
    insta::assert_snapshot!("chat-teams-alert", drive(&teams, "chat", &alert(), replies).show());
    insta::assert_snapshot!("chat-teams-group", drive(&teams, "chat", &json!([second(), alert()]), replies).show());
}

#[test]
fn page() {
    insta::assert_snapshot!("page-alert", show("page", &alert(), replies));
    insta::assert_snapshot!("page-group", show("page", &json!([second(), alert()]), replies));
}

#[test]
fn enrich() {
    let score = |score: i64| {
        move |effect: &Effect| match effect {
            Effect::Webhook(_) => ok(json!({"status": 200, "headers": {}, "body": {"score": score}})),
            other => replies(other),
        }
    };
    let mut medium = alert();
    medium["severity"] = "medium".into();
    let mut scanner = alert();
    scanner["entities"]["ip"][0]["address"] = "10.20.0.9".into();
    insta::assert_snapshot!("enrich-bad", show("enrich", &alert(), score(85)));
    insta::assert_snapshot!("enrich-clean", show("enrich", &medium, score(3)));
    insta::assert_snapshot!("enrich-clean-but-high", show("enrich", &alert(), score(3)));
    insta::assert_snapshot!("enrich-known-scanner", show("enrich", &scanner, score(3)));
    insta::assert_snapshot!("enrich-no-address", show("enrich", &second(), score(3)));
    let down = |effect: &Effect| match effect {
        Effect::Webhook(_) => failed(Class::Dead, 503),
        other => replies(other),
    };
    insta::assert_snapshot!("enrich-service-down", show("enrich", &alert(), down));
}

#[test]
fn quarantine_host() {
    insta::assert_snapshot!("quarantine-confirmed", show("quarantine-host", &alert(), replies));
    let mut spared = alert();
    spared["entities"]["host"][0]["name"] = "dc1".into();
    insta::assert_snapshot!("quarantine-never-touch", show("quarantine-host", &spared, replies));
    insta::assert_snapshot!("quarantine-no-host", show("quarantine-host", &second(), replies));
    let unknown = |effect: &Effect| match effect {
        Effect::Webhook(_) => failed(Class::Unknown, 0),
        other => replies(other),
    };
    insta::assert_snapshot!("quarantine-unknown", show("quarantine-host", &alert(), unknown));
    let never = |effect: &Effect| match effect {
        Effect::Webhook(_) => ok(json!({"status": 200, "headers": {}, "body": {"isolated": false}})),
        other => replies(other),
    };
    let trace = drive(&bundle(&files()), "quarantine-host", &alert(), never);
    assert_eq!(trace.steps.iter().filter(|step| step.effect.kind() == "sleep").count(), 5);
    assert_eq!(trace.value(), "web3 was told to isolate itself and has not confirmed it");
}

#[test]
fn payloads_keep_to_the_limits_of_their_services() {
    let chars = |value: &Value| value.as_str().unwrap().chars().count();
    let body = |name: &str, input: &Value| {
        let trace = drive(&bundle(&files()), name, input, replies);
        serde_json::to_value(&trace.steps[0].effect).unwrap()["webhook"]["body"].clone()
    };
    let many: Value = (0..300)
        .map(|n| {
            let mut alert = long();
            alert["id"] = json!(format!("a-{n}.0"));
            alert["description"] = "d".into();
            alert
        })
        .collect();
    for input in [long(), many.clone(), second()] {
        let slack = body("chat", &input);
        assert_eq!(slack["blocks"][0]["type"], "header");
        assert!(chars(&slack["blocks"][0]["text"]["text"]) <= 150);
        for block in slack["blocks"].as_array().unwrap() {
            assert!(block.get("text").is_none_or(|text| chars(&text["text"]) <= 3_000));
            let fields = block.get("fields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            assert!(fields.len() <= 10 && fields.iter().all(|field| chars(&field["text"]) <= 2_000));
        }
        let page = body("page", &input);
        assert!(chars(&page["payload"]["summary"]) <= 1_024);
        assert!(["critical", "error", "warning", "info"].contains(&page["payload"]["severity"].as_str().unwrap()));
        assert!(page.to_string().len() < 512 * 1024);
        let ticket = body("ticket", &input);
        assert!(chars(&ticket["title"]) <= 255 && chars(&ticket["description"]) <= 30_000);
    }
    assert!(body("chat", &many)["text"].as_str().unwrap().starts_with("300 alerts"));
}

#[test]
fn a_hostile_title_stays_a_title_in_chat() {
    let trace = drive(&bundle(&files()), "chat", &second(), replies);
    let body = serde_json::to_string(&trace.steps[0].effect).unwrap();
    let header = serde_json::to_value(&trace.steps[0].effect).unwrap()["webhook"]["body"]["blocks"][0].clone();
    assert_eq!(header["text"]["type"], "plain_text");
    assert!(!body.replace(&header.to_string(), "").contains("<!channel>"), "{body}");
}

#[test]
fn the_destinations_of_the_shipped_playbooks_are_known_to_check() {
    let playbooks = bundle(&files());
    let mut uses: Vec<String> = playbooks.destinations().iter().map(|u| format!("{} {:?}", u.name, u.kind)).collect();
    uses.sort();
    uses.dedup();
    assert_eq!(
        uses,
        [
            "chat Webhook",
            "digest Email",
            "edr Webhook",
            "enrich Webhook",
            "oncall Email",
            "pager Webhook",
            "ticket Webhook"
        ]
    );
}

#[test]
fn every_shipped_playbook_says_what_it_needs() {
    for (path, text) in files().iter().filter(|(path, _)| !path.contains("/lib/")) {
        for word in ["// Destinations:", "// Lists:", "// When:"] {
            assert!(text.contains(word), "{path} lacks {word}");
        }
        let name = path.trim_start_matches("playbooks/").trim_end_matches(".rhai");
        for used in bundle(&files()).destinations().iter().filter(|used| used.place.file.contains(name)) {
            assert!(
                text.split("import").next().unwrap().contains(&format!("`{}`", used.name)),
                "{path}: {}",
                used.name
            );
        }
    }
}
