//! Retention keeps what a failed run and a dead letter need, for as long as `hold` says, and tells what it gave up.

use std::path::Path;

use serde_json::{Value, json};

use crate::peers::{Receiver, Way};
use crate::support::{Daemon, SmtpSink, free_port, wait_for, write};

const PLAYBOOK: &str = r#"
fn on_alert(alert) { if alert.kind == "fails" { webhook("hook", #{ title: alert.title }); } }
fn on_group(alerts) { email("mail", #{ template: "group", subject: "group of " + alerts.len() }); }
"#;

const ROUTE: &str = r"route:
  - { id: single, title: Single, owner: soc@example.com, match: { kind: fails }, playbooks: [send] }
  - { id: group, title: Group, owner: soc@example.com, match: { kind: gathers }, group_by: [kind], group_wait: 1s, playbooks: [send] }
default_route: none
";

fn settings(port: u16, hook: &Receiver, smtp: u16, journal: &str) -> String {
    format!(
        "state: state\nserver: {{ listen: \"127.0.0.1:{port}\" }}\n\
         sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n\
         recipients: {{ \"*\": {{ caps: none }} }}\n\
         destinations:\n  hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once, retries: [] }} }}\n  \
         mail: {{ email: {{ smtp: {{ host: 127.0.0.1, port: {smtp}, tls: none }}, from: s@example.com, to: [t@example.com], retries: [] }} }}\n\
         journal: {{ segment: 64KiB, {journal} }}\n",
        hook.address
    )
}

fn resolved(daemon: &Daemon, id: &str, kind: &str) {
    let over = json!({ "external_id": id, "kind": kind, "title": id, "severity": "high", "status": "resolved" });
    assert_eq!(daemon.post(&over.to_string()).unwrap().0, 200);
}

/// Alerts that are over at once, in numbers that fill segments.
fn fill(daemon: &Daemon, from: u64) {
    let alerts: Vec<Value> = (from..from + 400)
        .map(|n| json!({ "external_id": format!("x{n}"), "title": "over", "severity": "low", "status": "resolved", "description": "y".repeat(600) }))
        .collect();
    assert_eq!(daemon.post(&Value::Array(alerts).to_string()).unwrap().0, 200);
}

fn first_entry(daemon: &Daemon) -> u64 {
    daemon.journal()[0]["seq"].as_u64().unwrap()
}

const FILES: [(&str, &str); 2] = [("playbooks/send.rhai", PLAYBOOK), ("rules/route/all.yaml", ROUTE)];
const ALERTS: [(&str, &str); 3] = [("f", "fails"), ("g1", "gathers"), ("g2", "gathers")];

/// The folder of a daemon that has stopped, with a run that failed for an alert and one that failed for a group, whose alerts are over
/// since, and much behind them; the key of the group's mail, and the id of the bundle.
fn failed(folder: &Path, hook: &Receiver, smtp: u16) -> (String, Value) {
    let mut daemon = Daemon::new(folder, "", &FILES);
    write(folder, "soard.yaml", &settings(daemon.port, hook, smtp, "compress_after: never"));
    daemon.start();
    for (id, kind) in ALERTS {
        let alert = json!({ "external_id": id, "kind": kind, "title": id, "severity": "high" });
        assert_eq!(daemon.post(&alert.to_string()).unwrap().0, 200);
    }
    wait_for("both runs to fail", || {
        (daemon.journal().iter().filter(|line| line["k"] == "run").count() == 2).then_some(())
    });
    ALERTS.iter().for_each(|(id, kind)| resolved(&daemon, id, kind));
    (0..3).for_each(|n| fill(&daemon, n * 400));
    let letters = daemon.json(&["deliveries", "list"]);
    assert_eq!(letters["matching"], 2, "{letters}");
    let mail = letters["deliveries"].as_array().unwrap().iter().find(|row| row["kind"] == "email").unwrap();
    let bundle = daemon.json(&["status"])["bundle"]["id"].clone();
    assert_eq!(daemon.json(&["why", "a-1.0"])["alert"]["seen"][0]["bundle"]["id"], bundle);
    assert_eq!(daemon.stop(), Some(0));
    (mail["key"].as_str().unwrap().to_owned(), bundle)
}

#[test]
fn what_failed_can_be_retried_within_the_hold_however_small_the_journal_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let (hook, server) = (Receiver::start(Way::Answer("400 Not so")), SmtpSink::start());
    // Nobody listens there: the mail is given up at once.
    let (mail, _) = failed(folder.path(), &hook, free_port());
    let mut daemon = Daemon::new(folder.path(), "", &FILES);
    let small = "compress_after: never, size: 128KiB";
    write(folder.path(), "soard.yaml", &settings(daemon.port, &hook, server.address.port(), small));
    for _ in 0..2 {
        // It looks at each start.
        daemon.start();
        fill(&daemon, 2000);
        assert_eq!(first_entry(&daemon), 1);
        assert_eq!(daemon.stop(), Some(0));
    }
    hook.set(Way::Answer("200 OK"));
    daemon.start();
    let retried = daemon.json(&["runs", "retry", "a-1.0/send", "--comment", "mended"]);
    assert!(retried["seq"].is_u64(), "{retried}");
    wait_for("the run to end well", || {
        (daemon.json(&["runs", "show", "a-1.0/send"])["row"]["state"] == "finished").then_some(())
    });
    let again = daemon.json(&["deliveries", "retry", &mail, "--comment", "mended"]);
    assert_eq!(again["again"], json!([mail]), "{again}");
    wait_for("the mail", || server.got().first().cloned());
    assert_eq!(first_entry(&daemon), 1, "the run that failed for the group holds on");
    // What nobody needs any more goes at the next look.
    assert_eq!(daemon.soard(&["runs", "cancel", "g-1/send", "--comment", "no need"]).status.code(), Some(0));
    assert_eq!(daemon.stop(), Some(0));
    daemon.start();
    wait_for("segments to go", || (first_entry(&daemon) > 1).then_some(()));
    assert!(!daemon.log().contains("is given up"), "{}", daemon.log());
}

#[test]
fn what_failed_is_given_up_after_the_hold_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (hook, smtp) = (Receiver::start(Way::Answer("400 Not so")), free_port());
    let (mail, bundle) = failed(folder.path(), &hook, smtp);
    let mut daemon = Daemon::new(folder.path(), "", &FILES);
    let small = "compress_after: never, size: 128KiB, hold: 0s";
    write(folder.path(), "soard.yaml", &settings(daemon.port, &hook, smtp, small));
    daemon.start();
    wait_for("segments to go", || (first_entry(&daemon) > 1).then_some(()));
    wait_for("the word", || daemon.log().contains("is given up").then_some(()));
    let retry = daemon.soard(&["runs", "retry", "a-1.0/send", "--comment", "too late"]);
    assert!(
        !retry.status.success() && String::from_utf8_lossy(&retry.stderr).contains("retention dropped"),
        "{retry:?}"
    );
    let retry = daemon.soard(&["deliveries", "retry", &mail, "--comment", "too late"]);
    assert!(retry.status.code() == Some(1) && String::from_utf8_lossy(&retry.stdout).contains("given up"), "{retry:?}");
    let dropped = daemon.journal().into_iter().find(|line| line["d"].get("dropped").is_some()).unwrap();
    assert_eq!(dropped["d"]["dropped"]["runs"], json!(["a-1.0/send", "g-1/send"]), "{dropped}");
    assert_eq!(dropped["d"]["dropped"]["letters"].as_array().unwrap().len(), 2, "{dropped}");
    let left = daemon.json(&["log", "query", "--run", "a-1.0/send"]);
    assert_eq!(left["kind"], "log", "{left}");
    assert_eq!(daemon.json(&["status"])["dead_letters"], 0);
    // The entry that introduced the bundle is gone; its name is not.
    assert!(!daemon.journal().iter().any(|line| line["k"] == "bundle"), "the daemon found the same bundle in charge");
    let (_, answer) = daemon.post(r#"{"external_id":"new","title":"new","severity":"low"}"#).unwrap();
    let newest = answer["receipts"][0]["alerts"][0].as_str().unwrap().to_owned();
    assert_eq!(daemon.json(&["why", &newest])["alert"]["seen"][0]["bundle"]["id"], bundle);
}
