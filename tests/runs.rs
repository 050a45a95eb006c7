//! What operators do about runs: cancel, retry and restart them, with who and why on record.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, HttpSink, wait_for, write};

const ROUTES: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [p] }\n";

fn settings(address: &str) -> String {
    format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{address}/\", mode: at_least_once, retries: [100ms] }} }}\n"
    )
}

fn daemon(dir: &Path, address: &str, playbook: &str) -> Daemon {
    let files = [("rules/route/main.yaml", ROUTES), ("playbooks/p.rhai", playbook)];
    let mut daemon = Daemon::new(dir, &settings(address), &files);
    daemon.start();
    daemon
}

fn post(daemon: &Daemon, id: &str) {
    let alert = json!({ "external_id": id, "kind": "k", "title": "t", "severity": "high" });
    assert_eq!(daemon.post(&alert.to_string()).unwrap().0, 200);
}

fn state(daemon: &Daemon, run: &str) -> Value {
    daemon.json(&["runs", "show", run])["row"]["state"].clone()
}

fn wait_state(daemon: &Daemon, run: &str, wanted: &str) {
    wait_for(&format!("{run} to be {wanted}"), || (state(daemon, run) == wanted).then_some(()));
}

/// Steps that sleep, on record.
fn sleeps(daemon: &Daemon) -> usize {
    daemon.journal().iter().filter(|entry| entry.to_string().contains(r#""sleep""#)).count()
}

/// Exit code, and what was printed.
fn soard(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = daemon.soard(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_run_that_failed_with_its_destination_goes_on_when_that_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let broken = HttpSink::answering_with_status("503 Service Unavailable");
    let broken = broken.address.to_string();
    let playbook = r#"fn on_alert(alert) { log("begins"); webhook("hook", 1); webhook("hook", 2); "done" }"#;
    let mut daemon = daemon(folder.path(), &broken, playbook);
    post(&daemon, "one");
    wait_state(&daemon, "a-1.0/p", "failed");

    let sink = HttpSink::start(Duration::ZERO);
    let text = fs::read_to_string(folder.path().join("soard.yaml")).unwrap();
    write(folder.path(), "soard.yaml", &text.replace(&broken, &sink.address.to_string()));
    assert_eq!(soard(&daemon, &["reload"]).0, Some(0));
    let (code, said) = soard(&daemon, &["runs", "retry", "a-1.0/p", "-c", "the receiver is back"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a-1.0/p goes on; step 1 is sent again"), "{said}");
    wait_state(&daemon, "a-1.0/p", "finished");

    let bodies: Vec<String> = sink.got().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies, ["1", "2"]);
    let journal = daemon.journal();
    let intent = journal.iter().find(|entry| entry["k"] == "intent").unwrap();
    let key = intent["d"]["steps"][1]["key"].as_str().unwrap();
    assert!(sink.got()[0].headers["idempotency-key"].contains(key), "another key than the first attempts had");
    let orders: Vec<_> = journal.iter().filter(|entry| entry["k"] == "operator").map(|entry| &entry["d"]).collect();
    assert_eq!(orders[0]["order"]["upkeep"], "reload", "{orders:?}");
    let order = orders[1];
    assert_eq!(order["comment"], "the receiver is back");
    assert!(order["actor"].as_str().unwrap().contains("uid "), "{order}");
    let logged = journal.iter().filter(|entry| entry.to_string().contains("begins")).count();
    assert_eq!(logged, 1, "a recorded step is not repeated");
    let (_, shown) = soard(&daemon, &["runs", "show", "a-1.0/p"]);
    assert!(shown.contains("retried a-1.0/p, sending step 1 again: the receiver is back"), "{shown}");

    let (code, said) = soard(&daemon, &["runs", "retry", "a-1.0/p", "-c", "once more"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("neither failed nor stalled"), "{said}");
    let (code, said) = soard(&daemon, &["runs", "retry", "a-9.0/p", "-c", "who?"]);
    assert_eq!((code, said.contains("was never started")), (Some(1), true), "{said}");
    let (code, said) = soard(&daemon, &["runs", "cancel", "a-1.0/p"]);
    assert_eq!((code, said.contains("--comment")), (Some(2), true), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_run_is_cancelled_for_good_and_restarted_on_todays_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let address = sink.address.to_string();
    let playbook = r#"fn on_alert(alert) { webhook("hook", "old"); sleep("1d"); webhook("hook", "never"); }"#;
    let mut daemon = daemon(folder.path(), &address, playbook);
    post(&daemon, "one");
    wait_for("the first webhook", || (!sink.got().is_empty()).then_some(()));
    wait_for("the sleep", || (sleeps(&daemon) == 1).then_some(()));
    let (code, said) = soard(&daemon, &["runs", "restart", "a-1.0/p", "-c", "too early"]);
    assert_eq!((code, said.contains("is open; cancel it first")), (Some(1), true), "{said}");
    assert_eq!(soard(&daemon, &["runs", "cancel", "a-1.0/p", "-c", "no need"]).0, Some(0));
    assert_eq!(state(&daemon, "a-1.0/p"), "cancelled");
    assert_eq!(daemon.json(&["status"])["runs_open"], 0);
    assert_eq!(soard(&daemon, &["runs", "cancel", "a-1.0/p", "-c", "again"]).0, Some(1));

    write(folder.path(), "playbooks/p.rhai", r#"fn on_alert(alert) { webhook("hook", "new"); sleep("1d"); }"#);
    assert_eq!(soard(&daemon, &["reload"]).0, Some(0));
    let (code, said) = soard(&daemon, &["runs", "restart", "a-1.0/p", "-c", "with the corrected playbook"]);
    assert_eq!((code, said.contains("a-1.0/p~2")), (Some(0), true), "{said}");
    wait_for("the second webhook", || (sink.got().len() == 2).then_some(()));
    let got = sink.got();
    assert_eq!((got[0].body.as_str(), got[1].body.as_str()), ("\"old\"", "\"new\""));
    assert_ne!(got[0].headers["idempotency-key"], got[1].headers["idempotency-key"]);

    wait_for("the second sleep", || (sleeps(&daemon) == 2).then_some(()));
    // All of this is on record: a restart of the daemon finds it as it was.
    daemon.kill();
    daemon.start();
    assert_eq!((state(&daemon, "a-1.0/p"), state(&daemon, "a-1.0/p~2")), (json!("cancelled"), json!("waiting")));
    let open = daemon.json(&["runs", "list", "--state", "waiting"]);
    assert_eq!((&open["matching"], &open["runs"][0]["id"]), (&json!(1), &json!("a-1.0/p~2")));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sink.got().len(), 2);
}

#[test]
fn a_run_whose_replay_differs_stalls_says_so_and_goes_on_with_the_version_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let playbook = r#"fn on_alert(alert) { webhook("hook", 1); sleep("2s"); webhook("hook", 2); }"#;
    let mut daemon = daemon(folder.path(), &sink.address.to_string(), playbook);
    post(&daemon, "one");
    wait_for("the sleep", || (sleeps(&daemon) == 1).then_some(()));
    daemon.kill();

    daemon.env.push(("SOARD_FAULT".into(), "replay-otherwise".into()));
    daemon.start();
    wait_state(&daemon, "a-1.0/p", "stalled");
    let end = daemon.json(&["runs", "show", "a-1.0/p"])["end"]["stalled"].clone();
    assert_eq!(end["step"], 0);
    assert!(end["expected"].as_str().unwrap().starts_with("webhook (000000"), "{end}");
    assert!(end["got"].as_str().unwrap().starts_with("webhook[\"hook\",1"), "{end}");
    assert_eq!(daemon.json(&["status"])["runs_stalled"], 1);
    assert!(soard(&daemon, &["status"]).1.contains("1 stalled run wait for you"), "the status does not alarm");
    let log = daemon.log();
    assert!(log.lines().any(|line| line.contains("ERROR") && line.contains("run stalled")), "{log}");
    assert_eq!(daemon.stop(), Some(0));

    // The version that the run began with is put back.
    daemon.env.pop();
    daemon.start();
    assert_eq!(soard(&daemon, &["runs", "retry", "a-1.0/p", "-c", "rolled back"]).0, Some(0));
    wait_state(&daemon, "a-1.0/p", "finished");
    assert_eq!(daemon.json(&["status"])["runs_stalled"], 0);
    let bodies: Vec<String> = sink.got().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies, ["1", "2"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_run_has_at_most_four_mebibytes_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::answering(json!({ "text": "y".repeat(200_000) }).to_string());
    let playbook = r#"fn on_alert(alert) { let all = []; all.pad(25, #{ webhook: "hook" }); all(all); }"#;
    let mut daemon = daemon(folder.path(), &sink.address.to_string(), playbook);
    post(&daemon, "one");
    wait_state(&daemon, "a-1.0/p", "failed");
    let error = daemon.json(&["runs", "show", "a-1.0/p"])["row"]["error"].clone();
    assert!(error.as_str().unwrap().contains("more than 4 MiB on record"), "{error}");
    assert_eq!(sink.got().len(), 25);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_script_that_compiling_brings_down_is_refused_and_the_daemon_stays() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let good = r#"fn on_alert(alert) { webhook("hook", 1); }"#;
    let mut daemon = daemon(folder.path(), &sink.address.to_string(), good);
    let bomb = "const BOMB = fill();\nfn fill() {\n let base = \"x\";\n for i in 0..18 { base += base; }\n \
                let f = || 0;\n loop { let text = base + 1; let g = f; f = || [text, g]; }\n}\nfn on_alert(alert) { }\n";
    write(folder.path(), "playbooks/bomb.rhai", bomb);
    let (code, said) = soard(&daemon, &["reload"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("deadly-playbooks") && said.contains("used up its memory"), "{said}");
    post(&daemon, "one");
    wait_for("the webhook", || (!sink.got().is_empty()).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn above_a_number_of_open_runs_no_new_alerts_are_taken_and_work_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("rules/route/main.yaml", ROUTES), ("playbooks/p.rhai", r#"fn on_alert(alert) { sleep("9h"); }"#)];
    let source = "sources:\n  events: { format: soard, file: { path: events.jsonl } }\n  push:";
    let settings = settings("127.0.0.1:9").replace("sources:\n  push:", source);
    let mut daemon = Daemon::new(folder.path(), &settings, &files);
    // Ten instead of a hundred thousand.
    daemon.env.push(("SOARD_FAULT".into(), "few-runs".into()));
    daemon.start();
    (1..=10).for_each(|n| post(&daemon, &n.to_string()));
    let alert = |id: &str| json!({ "external_id": id, "kind": "k", "title": "t", "severity": "high" }).to_string();
    let (status, answer) = daemon.post(&alert("refused")).unwrap();
    assert_eq!((status, answer["error"]["code"].as_str()), (429, Some("too-many-runs")), "{answer}");
    let status = daemon.json(&["status"]);
    assert_eq!((&status["runs_full"], &status["runs_open"]), (&json!(true), &json!(10)));
    assert!(soard(&daemon, &["status"]).1.contains("too many runs are open: new alerts are refused"));

    // What cannot be refused waits.
    write(folder.path(), "events.jsonl", &format!("{}\n", alert("from a file")));
    let cancel = |run: usize| {
        let (code, said) = soard(&daemon, &["runs", "cancel", &format!("a-{run}.0/p"), "-c", "a drill"]);
        assert_eq!(code, Some(0), "{said}");
    };
    cancel(1);
    assert_eq!(daemon.post(&alert("refused")).unwrap().0, 429, "one that ended is not enough");
    assert!(!daemon.journal().iter().any(|entry| entry.to_string().contains("from a file")));
    cancel(2);
    let taken = || daemon.journal().iter().any(|entry| entry.to_string().contains("from a file"));
    wait_for("the file's alert", || taken().then_some(()));
    wait_for("room for one more", || daemon.post(&alert("again")).filter(|(status, _)| *status == 200));
    // Said once a change, not for each alert; the one that was let in last may be the tenth.
    let log = daemon.log();
    let (many, fewer) = (log.matches("too many runs are open").count(), log.matches("fewer runs are open").count());
    assert!((1..=2).contains(&many) && fewer == 1, "{log}");
    assert_eq!(daemon.stop(), Some(0));
}
