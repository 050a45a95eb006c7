//! What can be done about an alert, and who hears of a change of its status: through a real daemon, and without one.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, HttpSink, wait_for};

const ROUTES: &str = "\
route:
  - id: edr
    title: The EDR hears of what people decide
    match: { source: push, kind|startswith: Port }
    on_status: [tell]
    continue: true
  - id: high
    match: { severity: high }
    group_by: [host]
    group_wait: 1h
    playbooks: [mail]
  - id: rest
    playbooks: [mail, ticket]
";

const TELL: &str = r#"
fn on_alert(alert) { webhook("hook", #{ by_hand: alert.id }); }

fn on_status(alert, change) {
    let answer = webhook("hook", #{ id: alert.external_id, now: alert.status, change: change });
    set_status(alert, "in_progress", "told");
    webhook("hook", #{ told: answer.status, host: alert.host });
}
"#;

const ADVICE: &str = "\
advise:
  - id: logs
    title: Logs
    owner: soc@example.com
    match: { severity|gte: informational }
    inspect:
      - { label: Logs, url: \"https://logs.example.com/?q={host}&id={id}&raw={raw.seat}\" }
      - { label: Nothing there, url: \"https://logs.example.com/{account}\" }
  - id: scans
    title: Scans
    owner: soc@example.com
    match: { kind: PortScan, status: active }
    mitigate: [Ask the owner]
    prevent: [Close what nobody needs]
";

fn daemon(dir: &Path, sink: &HttpSink) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n  \
         post: {{ email: {{ folder: mail, from: soard@example.com, to: [soc@example.com], to_owner: true }} }}\n",
        sink.address
    );
    let files = [
        ("rules/route/main.yaml", ROUTES),
        ("rules/advise/main.yaml", ADVICE),
        ("lists/owners.yaml", "\"web-*\": { name: Shop, email: shop@example.com }\n10.9.0.0/16: Lab\n"),
        ("playbooks/tell.rhai", TELL),
        ("playbooks/mail.rhai", "fn on_alert(alert) { email(\"post\"); }\nfn on_group(alerts) { email(\"post\"); }\n"),
        ("playbooks/ticket.rhai", "fn on_alert(alert) { tag(alert, \"ticket\"); }\n"),
        ("playbooks/notify-email.rhai", "fn on_group(alerts) { }\n"),
    ];
    let mut daemon = Daemon::new(dir, &settings, &files);
    daemon.start();
    daemon
}

/// Posts an alert and tells its id.
fn post(daemon: &Daemon, id: &str, more: &Value) -> String {
    let mut alert = json!({
        "external_id": id, "kind": "PortScan", "title": format!("Scan {id}"), "severity": "low", "seat": "7 a",
        "remediation": ["Look at it"],
    });
    for (field, value) in more.as_object().unwrap() {
        alert[field] = value.clone();
    }
    let (status, answer) = daemon.post(&alert.to_string()).unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["receipts"][0]["alerts"][0].as_str().unwrap().to_owned()
}

fn host(name: &str) -> Value {
    json!({ "entities": { "host": [{ "name": name }], "ip": [{ "address": "10.9.1.1" }] } })
}

/// Exit code, and what was printed.
fn soard(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = daemon.soard(arguments);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Waits until the alert's mail has gone to who owns it.
fn mailed_to_owner(daemon: &Daemon, alert: &str) {
    wait_for("the mail", || {
        let delivered = daemon.json(&["alerts", "history", alert]);
        (delivered["runs"][0]["deliveries"][0]["outcome"] == "ok").then_some(())
    });
    let mails: Vec<String> = std::fs::read_dir(daemon.dir.join("mail"))
        .unwrap()
        .flatten()
        .filter_map(|file| std::fs::read_to_string(file.path()).ok())
        .collect();
    let to_owner = mails.iter().filter(|mail| mail.contains("To: shop@example.com\r\n")).count();
    assert!(to_owner > 0, "the owner gets none of {} mails", mails.len());
}

#[test]
fn an_alert_is_shown_with_what_can_be_done_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    let first = post(&daemon, "1", &host("web-1"));
    let both = post(&daemon, "2", &host("web-1"));
    let one = post(&daemon, "3", &json!({ "entities": { "ip": [{ "address": "10.9.1.1" }] }, "severity": "high" }));
    post(&daemon, "4", &json!({ "entities": { "host": [{ "name": "db-1" }] } }));
    mailed_to_owner(&daemon, &first);

    let shown = daemon.json(&["alerts", "show", &first]);
    let found = shown["take_action"].clone();
    let texts = |part: &str| -> Vec<String> {
        found[part].as_array().unwrap().iter().map(|hint| hint["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("inspect"), ["Logs"], "a page without its value is left out");
    assert_eq!(found["inspect"][0]["url"], format!("https://logs.example.com/?q=web-1&id={first}&raw=7%20a"));
    assert_eq!(texts("mitigate"), ["Look at it", "Ask the owner"], "the source first");
    assert_eq!(texts("prevent"), ["Close what nobody needs"]);
    assert_eq!(
        found["owner"],
        json!({ "name": "Shop", "email": "shop@example.com", "of": "web-1", "entry": "web-*",
                "written": { "name": "Shop", "email": "shop@example.com" } })
    );
    let playbooks = found["playbooks"].as_array().unwrap();
    let ran = |name: &str| playbooks.iter().find(|offer| offer["playbook"] == name).map(|offer| offer["ran"].clone());
    let ticket = json!(format!("{first}/ticket"));
    assert_eq!((ran("ticket"), ran("tell"), ran("notify-email")), (Some(ticket), Some(Value::Null), None));
    let mail = json!([{ "route": { "id": "rest", "place": "rules/route/main.yaml:12" }, "playbook": "mail",
                        "destination": "post", "to": ["shop@example.com"] }]);
    assert_eq!(found["mails"], mail);
    let related: Vec<(&Value, usize)> = found["related"]["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| (&alert["id"], alert["shares"].as_array().unwrap().len()))
        .collect();
    assert_eq!(related, [(&json!(both), 2), (&json!(one), 1)], "what shares most comes first");

    let (code, page) = soard(&daemon, &["alerts", "show", &first]);
    assert_eq!(code, Some(0));
    for part in [
        "take action",
        "2. Ask the owner",
        "by advice scans",
        "Shop <shop@example.com> of web-1",
        &format!("soard alerts run {first} tell -c WHY"),
        &format!("soard runs restart {first}/ticket -c WHY"),
        &format!("soard alerts suppress {first}"),
        "post: shop@example.com; by route rest",
        "shares host web-1, ip 10.9.1.1",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(!page.contains("what to do"), "what the source says is said once\n{page}");

    soard(&daemon, &["alerts", "set-status", &one, "dismissed", "--reason", "benign"]);
    let grouped = daemon.json(&["alerts", "show", &one])["take_action"].clone();
    assert_eq!((&grouped["mails"][0]["grouped"], &grouped["owner"]["name"]), (&json!(true), &json!("Lab")));
    assert!(grouped["prevent"].as_array().unwrap().is_empty(), "advice sees where the alert stands: {grouped}");

    let (code, _) = soard(&daemon, &["alerts", "show", "a-99.0"]);
    assert_eq!(code, Some(1));
    let seen = daemon.json(&["alerts", "show", &first])["take_action"].clone();
    assert_eq!(daemon.stop(), Some(0));
    let without = daemon.json(&["alerts", "show", &first])["take_action"].clone();
    for part in ["inspect", "mitigate", "prevent", "owner", "playbooks", "related"] {
        assert_eq!(without[part], seen[part], "{part} without a daemon");
    }
}

#[test]
fn a_drafted_suppression_says_what_it_would_have_matched_and_then_does_so() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    let first = post(&daemon, "1", &host("web-1"));
    for (id, more) in [
        ("2", host("web-1")),
        ("3", json!({ "entities": { "host": [{ "name": "WEB-1" }] }, "severity": "high" })),
        ("4", host("web-2")),
        ("5", json!({ "kind": "Other", "entities": { "host": [{ "name": "web-1" }] } })),
    ] {
        post(&daemon, id, &more);
    }
    let drafted = daemon.json(&["alerts", "suppress", &first]);
    assert_eq!(drafted["by"], json!({ "kind": ["PortScan"], "host": ["web-1"] }));
    let past = &drafted["past"];
    assert_eq!((&past["matched"], &past["high"], &past["capped"]), (&json!(3), &json!(1), &json!(false)), "{past}");
    assert!(past["examples"].as_array().unwrap().contains(&json!(first)));
    let by_seat = daemon.json(&["alerts", "suppress", &first, "--by", "raw.seat", "--by", "severity"]);
    assert_eq!((&by_seat["past"]["matched"], &by_seat["past"]["looked_at"]), (&json!(4), &json!(5)), "{by_seat}");

    for (arguments, expected) in [
        (&["--by", "hots"][..], "did you mean `host`?"),
        (&["--by", "account"], "the alert has no `account`"),
        (&["--reason", "expectd"], "did you mean `expected`?"),
        (&["--days", "0"], "1 to 366 days"),
        (&["--reason", "other", "--owner", ""], "expected"),
    ] {
        let (code, said) = soard(&daemon, &[&["alerts", "suppress", &first][..], arguments].concat());
        assert!(code == Some(2) && said.contains(expected), "{arguments:?}: {code:?} {said}");
    }
    assert_eq!(soard(&daemon, &["alerts", "suppress", "a-99.0"]).0, Some(1));

    // Put into the folder as it was printed, it does what it said.
    let (_, file) =
        soard(&daemon, &["alerts", "suppress", &first, "--owner", "soc@example.com", "-c", "our own scanner"]);
    support::write(&daemon.dir, "rules/suppress/draft.yaml", &file);
    let (code, said) = soard(&daemon, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    daemon.json(&["reload"]);
    let held = |id: &str, more: &Value| {
        let id = post(&daemon, id, more);
        daemon.json(&["alerts", "show", &id])["row"]["status"].clone()
    };
    assert_eq!((held("6", &host("web-1")), held("7", &host("web-2"))), (json!("dismissed"), json!("active")));
    let would = daemon.json(&["alerts", "show", &first])["take_action"].clone();
    assert_eq!(would["suppressed_by"]["id"], format!("like-{first}"));
    let (_, page) = soard(&daemon, &["alerts", "show", &first]);
    assert!(page.contains("would dismiss it"), "{page}");

    assert_eq!(daemon.stop(), Some(0));
    let without = daemon.json(&["alerts", "suppress", &first, "--by", "kind"]);
    assert_eq!(without["past"]["matched"], 6, "{without}");
}

#[test]
fn whoever_wants_to_hear_of_a_change_of_status_does_also_through_kills() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    let alert = post(&daemon, "e-1", &host("web-1"));
    let other = post(&daemon, "e-2", &json!({ "kind": "Other" }));
    let set = |daemon: &Daemon, id: &str| {
        soard(daemon, &["alerts", "set-status", id, "dismissed", "--reason", "benign", "-c", "a drill"])
    };
    assert_eq!(set(&daemon, &other).0, Some(0));
    let (code, said) = set(&daemon, &alert);
    assert!(code == Some(0) && said.contains(&format!("starting {alert}@")), "{said}");
    daemon.kill();
    daemon.start();
    let told = wait_for("both requests", || {
        let got = sink.got();
        got.iter().any(|got| got.json()["told"] == 200).then_some(got)
    });
    assert_eq!(told[0].json()["id"], "e-1", "nobody wants to hear of the other");
    let change = told[0].json();
    assert_eq!(change["now"], "dismissed");
    let (from, to, why) = (&change["change"]["from"], &change["change"]["to"], &change["change"]["comment"]);
    assert_eq!((from, to, why), (&json!("active"), &json!("dismissed"), &json!("a drill")));
    assert_eq!(change["change"]["reason"], "benign");
    assert!(change["change"]["by"].as_str().unwrap().contains("uid"), "{change}");
    let keys: std::collections::BTreeSet<&String> = told.iter().map(|got| &got.headers["webhook-id"]).collect();
    assert_eq!(keys.len(), 2, "a request that is sent again has its key");

    // The playbook sets the status itself, and nobody is told of that: it ends.
    let run = wait_for("the run to end", || {
        let runs = daemon.json(&["runs", "list"]);
        let all = runs["runs"].as_array().unwrap().clone();
        let told: Vec<Value> = all.into_iter().filter(|run| run["playbook"] == "tell").collect();
        (told.len() == 1 && told[0]["state"] == "finished").then(|| told[0]["id"].as_str().unwrap().to_owned())
    });
    assert!(run.starts_with(&format!("{alert}@")), "{run}");
    assert_eq!(daemon.json(&["alerts", "show", &alert])["row"]["status"], "in_progress");

    let offered = daemon.json(&["alerts", "show", &alert])["take_action"]["playbooks"].clone();
    let tell = offered.as_array().unwrap().iter().find(|offer| offer["playbook"] == "tell").unwrap();
    assert_eq!(tell["ran"], Value::Null, "its `on_alert` has not run");

    let (_, why) = soard(&daemon, &["why", &run]);
    for part in [&*format!("the change of {alert}'s status"), "edr (rules/route/main.yaml:2)", "set_status"] {
        assert!(why.contains(part), "{part} is not in\n{why}");
    }
    let (_, history) = soard(&daemon, &["why", &alert]);
    assert!(history.contains(&format!("starting {run}")), "{history}");
    let view = daemon.json(&["alerts", "show", &alert]);
    assert!(view["runs"].as_array().unwrap().iter().any(|known| known["row"]["id"] == *run), "{view}");
    let indexed = daemon.json(&["alerts", "list", "--all", "playbook=tell"]);
    assert_eq!(indexed["alerts"][0]["id"], *alert);

    // Restarted, it tells the same change again, as another run.
    let (code, said) = soard(&daemon, &["runs", "restart", &run, "-c", "they lost it"]);
    assert_eq!(code, Some(0), "{said}");
    wait_for("the change once more", || {
        let changes = sink.got().iter().filter(|got| got.json()["change"]["comment"] == "a drill").count();
        (changes > told.iter().filter(|got| got.json()["id"] == "e-1").count()).then_some(())
    });
    // A source that closes it tells nobody.
    let before = sink.got().len();
    post(&daemon, "e-3", &json!({ "status": "resolved" }));
    let (code, _) = soard(&daemon, &["alerts", "run", &alert, "tell", "-c", "by hand"]);
    assert_eq!(code, Some(0));
    let last =
        wait_for("the run by hand", || sink.got_from(before).into_iter().find(|got| got.json()["by_hand"] == *alert));
    assert_eq!(last.json(), json!({ "by_hand": alert }));
}

#[test]
fn a_route_cannot_name_who_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let daemon = daemon(folder.path(), &sink);
    support::write(&daemon.dir, "rules/route/main.yaml", &ROUTES.replace("[tell]", "[ticket]"));
    let (code, said) = soard(&daemon, &["check"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("main.yaml:5:17") && said.contains("has no `on_status(alert, change)`"), "{said}");
    support::write(&daemon.dir, "rules/route/main.yaml", ROUTES);
    support::write(&daemon.dir, "rules/advise/main.yaml", &ADVICE.replace("{host}", "{hots}"));
    let (code, said) = soard(&daemon, &["check"]);
    assert!(code == Some(1) && said.contains("did you mean `host`?"), "{said}");
}
