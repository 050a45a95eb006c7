//! One dead destination delays no other, an open breaker uses up no attempts, and a restart finds what it held back.

use serde_json::{Value, json};

use crate::peers::{Receiver, Way};
use crate::support::{Daemon, wait_for};

const BOTH: &str = r#"
fn on_alert(alert) {
    all([#{ webhook: "bad", body: alert.external_id }, #{ webhook: "good", body: alert.external_id }]);
}
"#;

const ONE: &str = r#"
fn on_alert(alert) { webhook("bad", alert.external_id); }
"#;

const ROUTE: &str = "route:\n  - id: all\n    title: Everything\n    owner: soc@example.com\n    playbooks: [send]\n";

fn daemon(folder: &std::path::Path, bad: &Receiver, more: &str, good: &Receiver, playbook: &str) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n\
         destinations:\n  bad: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once{more} }} }}\n  \
         good: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        bad.address, good.address
    );
    Daemon::new(folder, &settings, &[("playbooks/send.rhai", playbook), ("rules/route/all.yaml", ROUTE)])
}

fn post(daemon: &Daemon, alerts: usize) {
    let batch: Vec<Value> =
        (0..alerts).map(|n| json!({ "external_id": format!("n-{n}"), "title": "A", "severity": "high" })).collect();
    let (status, answer) = daemon.post(&Value::Array(batch).to_string()).unwrap();
    assert_eq!((status, &answer["accepted"]), (200, &json!(alerts)), "{answer}");
}

fn destination(daemon: &Daemon, name: &str) -> Value {
    let status = daemon.json(&["status"]);
    let all = status["destinations"].as_array().unwrap();
    all.iter().find(|to| to["name"] == name).unwrap().clone()
}

fn entries(daemon: &Daemon, kind: &str) -> Vec<Value> {
    daemon.journal().into_iter().filter(|line| line["k"] == kind).collect()
}

#[test]
fn a_destination_that_hangs_gets_its_few_attempts_and_delays_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (Receiver::start(Way::Silence), Receiver::start(Way::Answer("200 OK")));
    let mut daemon = daemon(folder.path(), &bad, ", timeout: 10m, concurrency: 3", &good, BOTH);
    daemon.start();
    post(&daemon, 200);
    wait_for("everything for the good one", || (good.got().len() >= 200).then_some(()));
    assert!(good.counts().values().all(|n| *n == 1));
    wait_for("three attempts at the bad one", || (bad.got().len() == 3).then_some(()));
    let report = destination(&daemon, "bad");
    assert_eq!((&report["in_flight"], &report["waiting"]), (&json!(3), &json!(197)), "{report}");
    assert_eq!(bad.got().len(), 3, "no more at a time than `concurrency` says");
}

#[test]
fn an_open_breaker_uses_up_no_attempts_and_a_restart_finds_what_it_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (Receiver::start(Way::Answer("503 Not now")), Receiver::start(Way::Answer("200 OK")));
    let more = ", concurrency: 1, retries: [100ms, 100ms, 100ms], breaker: { failures: 5, open: 1h }";
    let mut daemon = daemon(folder.path(), &bad, more, &good, ONE);
    daemon.start();
    post(&daemon, 30);
    let open = wait_for("the breaker to open, with all of them behind it", || {
        let report = destination(&daemon, "bad");
        (report["open_until"].is_string() && report["waiting"] == 30).then_some(report)
    });
    assert_eq!((&open["held"], &open["in_flight"], &open["waiting"]), (&json!(true), &json!(0), &json!(30)), "{open}");
    let status = String::from_utf8(daemon.soard(&["status"]).stdout).unwrap();
    assert!(status.contains("open, tries in 59m"), "{status}");
    // Retries come due while it is open, and wait as well.
    wait_for("the retries to come due", || {
        let due = entries(&daemon, "due").len();
        (due == entries(&daemon, "attempt").len()).then_some(())
    });
    assert_eq!((bad.got().len(), entries(&daemon, "attempt").len(), entries(&daemon, "result").len()), (5, 5, 0));

    bad.set(Way::Answer("200 OK"));
    assert_eq!(daemon.stop(), Some(0));
    daemon.start();
    wait_for("all of them after the restart", || (entries(&daemon, "run").len() == 30).then_some(()));
    let counts = bad.counts();
    assert_eq!((counts.len(), bad.got().len()), (30, 35), "each once, but for the five attempts that failed");
    assert_eq!(destination(&daemon, "bad")["held"], json!(false));
}

#[test]
fn one_attempt_tries_a_destination_that_was_left_alone_and_a_reload_does_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (Receiver::start(Way::Answer("503 Not now")), Receiver::start(Way::Answer("200 OK")));
    let more = ", concurrency: 8, retries: [100ms], give_up_after: 30d, breaker: { failures: 1, open: 200ms }";
    let mut first = daemon(folder.path(), &bad, more, &good, ONE);
    first.start();
    post(&first, 40);
    // Eight were under way when it opened; each later one is a trial.
    wait_for("some trials", || (bad.got().len() >= 8 + 4).then_some(()));
    bad.set(Way::Answer("200 OK"));
    wait_for("all of them", || (entries(&first, "run").len() == 40).then_some(()));
    drop(first);

    let folder = tempfile::tempdir().unwrap();
    bad.set(Way::Answer("503 Not now"));
    let more = ", concurrency: 1, retries: [100ms, 100ms], breaker: { failures: 1, open: 1h }";
    let mut second = daemon(folder.path(), &bad, more, &good, ONE);
    second.start();
    post(&second, 3);
    wait_for("the breaker to open", || destination(&second, "bad")["open_until"].is_string().then_some(()));
    bad.set(Way::Answer("200 OK"));
    assert!(second.soard(&["reload"]).status.success());
    wait_for("all of them after the reload", || (entries(&second, "run").len() == 3).then_some(()));
}
