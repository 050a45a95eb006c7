//! A destination's limit and guard: what exceeds them waits for people, and nothing is lost or doubled over crashes.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, HttpSink, wait_for};

const ROUTES: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [isolate] }\n";
const ISOLATE: &str = r#"fn on_alert(alert) {
    try {
        webhook("edr", #{ action: "isolate", host: alert.host });
    } catch (error) {
        webhook("chat", `${alert.host} ${error.kind}: ${error.message}`);
    }
}"#;
const BRAKES: &str = ", limit: { at_most: 2, within: 1h }, guard: true, release: { by: approver, deadline: 1h }";

fn daemon(dir: &Path, sink: &HttpSink, brakes: &str) -> Daemon {
    let to = sink.address;
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         edr: {{ webhook: {{ url: \"http://{to}/edr\", mode: at_least_once{brakes} }} }}\n  \
         chat: {{ webhook: {{ url: \"http://{to}/chat\", mode: at_least_once }} }}\n"
    );
    let files = [
        ("rules/route/main.yaml", ROUTES),
        ("playbooks/isolate.rhai", ISOLATE),
        ("lists/never_touch.yaml", "dc-*: the directory\n10.1.0.0/16: the plant\n"),
    ];
    let mut daemon = Daemon::new(dir, &settings, &files);
    daemon.start();
    daemon
}

fn post(daemon: &Daemon, hosts: &[&str]) {
    let alert = |host: &&str| json!({ "external_id": host, "kind": "k", "title": "t", "severity": "high", "entities": { "host": [{ "name": host }] } });
    let alerts: Vec<Value> = hosts.iter().map(alert).collect();
    assert_eq!(daemon.post(&json!(alerts).to_string()).unwrap().0, 200);
}

/// What went to a path so far: sorted bodies, each key once.
fn got(sink: &HttpSink, path: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut bodies = Vec::new();
    for got in sink.got().into_iter().filter(|got| got.path == path) {
        if !keys.contains(&got.headers["idempotency-key"]) {
            keys.push(got.headers["idempotency-key"].clone());
            bodies.push(got.body);
        }
    }
    bodies.sort();
    bodies
}

fn wait_open(daemon: &Daemon, count: usize) -> Vec<Value> {
    wait_for("the approvals", || {
        let open = daemon.json(&["approvals", "list"]).as_array().unwrap().clone();
        (open.len() == count).then_some(open)
    })
}

/// The open approval whose question is about this host.
fn about(daemon: &Daemon, host: &str) -> Value {
    let open = daemon.json(&["approvals", "list"]).as_array().unwrap().clone();
    let asks = |approval: &Value| approval["request"]["question"].as_str().unwrap().contains(&format!("\"{host}\""));
    open.into_iter().find(asks).unwrap_or_else(|| panic!("nobody is asked about {host}"))
}

fn decide(daemon: &Daemon, verb: &str, host: &str) {
    let id = about(daemon, host)["id"].as_str().unwrap().to_owned();
    let output = daemon.soard(&[verb, &id, "-c", "looked at it"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn said(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.soard(arguments);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn what_exceeds_a_limit_or_names_what_is_never_to_be_touched_waits_for_people_over_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink, BRAKES);
    post(&daemon, &["DC-01", "web-1"]);
    post(&daemon, &["web-2"]);
    wait_for("the first two", || (got(&sink, "/edr").len() == 2).then_some(()));
    post(&daemon, &["web-3", "web-4"]);
    wait_open(&daemon, 3);
    let guarded = about(&daemon, "DC-01");
    assert!(guarded["request"]["question"].as_str().unwrap().contains("dc-* is never to be touched"), "{guarded}");
    let run = about(&daemon, "web-3")["run"].as_str().unwrap().to_owned();
    for command in [&["runs", "show", &*run][..], &["runs", "list"], &["why", &run]] {
        let said = said(&daemon, command);
        assert!(said.contains("by approver until"), "{command:?}: {said}");
    }

    daemon.kill();
    daemon.start();
    assert_eq!(wait_open(&daemon, 3).len(), 3);
    post(&daemon, &["web-5"]);
    wait_open(&daemon, 4);
    decide(&daemon, "approve", "web-3");
    wait_for("what was let go", || (got(&sink, "/edr").len() == 3).then_some(()));
    daemon.kill();
    daemon.start();
    for host in ["DC-01", "web-4"] {
        decide(&daemon, "deny", host);
    }
    let told = wait_for("what the script says of it", || Some(got(&sink, "/chat")).filter(|told| told.len() == 2));
    for (host, told) in ["DC-01", "web-4"].into_iter().zip(told) {
        assert!(told.contains(&format!("{host} rejected: ")) && told.contains("was denied by"), "{told}");
        assert!(told.contains("looked at it"), "{told}");
    }
    // Who wants the run gone wants its question gone.
    let run = about(&daemon, "web-5")["run"].as_str().unwrap().to_owned();
    assert!(daemon.soard(&["runs", "cancel", &run, "-c", "reinstalled"]).status.success());
    wait_for("the end of the runs", || (daemon.json(&["status"])["runs_open"] == 0).then_some(()));
    let hosts: Vec<String> = got(&sink, "/edr").iter().map(|body| body.split('"').nth(7).unwrap().to_owned()).collect();
    assert_eq!(hosts, ["web-1", "web-2", "web-3"], "each once, and nothing else");
    let outcomes = |outcome: &str| daemon.json(&["deliveries", "list", "--outcome", outcome])["matching"].clone();
    assert_eq!((outcomes("rejected"), outcomes("cancelled")), (json!(2), json!(1)));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn without_brakes_all_of_it_goes_out() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink, "");
    post(&daemon, &["DC-01", "web-1", "web-2", "web-3"]);
    wait_for("all of it", || (got(&sink, "/edr").len() == 4).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_playbook_has_a_limit_of_its_own_that_counts_over_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink, "");
    let settings = std::fs::read_to_string(folder.path().join("soard.yaml")).unwrap();
    let limit = "playbooks: { isolat: { limit: { at_most: 2, within: 1h }, release: { by: admin } } }\n";
    support::write(folder.path(), "soard.yaml", &format!("{settings}{limit}"));
    let refused = said(&daemon, &["reload"]);
    assert!(refused.contains("no playbook `isolat`") && refused.contains("did you mean `isolate`?"), "{refused}");
    support::write(folder.path(), "soard.yaml", &format!("{settings}{}", limit.replace("isolat", "isolate")));
    assert!(daemon.soard(&["reload"]).status.success());
    post(&daemon, &["web-1", "web-2"]);
    wait_for("both", || (got(&sink, "/edr").len() == 2).then_some(()));
    daemon.kill();
    daemon.start();
    post(&daemon, &["web-3"]);
    let asked = wait_open(&daemon, 1);
    let question = asked[0]["request"]["question"].as_str().unwrap();
    assert!(question.contains("2 went out within 1h, which is the limit of playbook isolate"), "{question}");
    assert_eq!(asked[0]["request"]["by"], json!(["admin"]));
    decide(&daemon, "approve", "web-3");
    wait_for("all of it", || (got(&sink, "/edr").len() == 3).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_guard_that_guards_nothing_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink, BRAKES);
    std::fs::remove_file(folder.path().join("lists/never_touch.yaml")).unwrap();
    let said = said(&daemon, &["reload"]);
    assert!(said.contains("the list `never_touch` is empty") && said.contains("soard.yaml"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}
