//! Who gets mails: operators stop and resume them, on record, and settings decide the rest.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Daemon, SmtpSink, wait_for};

const ROUTES: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [tell] }\n";
const TELL: &str = r#"fn on_alert(alert) { log("info", to_json(email("oncall"))); }"#;

fn daemon(dir: &Path, sink: &SmtpSink, to: &str, more: &str) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n{more}destinations:\n  \
         oncall: {{ email: {{ smtp: {{ host: 127.0.0.1, port: {}, tls: none }}, from: s@example.com, to: {to} }} }}\n  \
         soc: {{ email: {{ folder: mail, from: s@example.com, to: [soc@example.com] }} }}\n",
        sink.address.port()
    );
    let files = [("rules/route/main.yaml", ROUTES), ("playbooks/tell.rhai", TELL)];
    let mut daemon = Daemon::new(dir, &settings, &files);
    daemon.start();
    daemon
}

fn post(daemon: &Daemon, id: &str, severity: &str) {
    let alert = json!({ "external_id": id, "kind": "k", "title": id, "severity": severity });
    assert_eq!(daemon.post(&alert.to_string()).unwrap().0, 200);
    wait_for("the run", || (daemon.json(&["status"])["runs_open"] == 0).then_some(()));
}

/// To whom the mails went that came so far.
fn mailed(sink: &SmtpSink) -> Vec<String> {
    let mut all: Vec<String> = sink.got().iter().flat_map(|mail| addresses(&mail.headers["to"])).collect();
    all.sort();
    all
}

fn addresses(header: &str) -> Vec<String> {
    header.split(',').map(|to| to.trim().to_ascii_lowercase()).collect()
}

fn soard(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = daemon.soard(arguments);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn an_operator_stops_and_resumes_mails_to_an_address_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let sink = SmtpSink::start();
    let mut daemon = daemon(folder.path(), &sink, "[ann@example.com, Bo@example.com]", "");
    for (wrong, says) in [
        (&["unsubscribe", "an@example.com", "-c", "x"][..], "did you mean `ann@example.com`?"),
        (&["unsubscribe", "ann@example.com", "--destination", "oncal", "-c", "x"], "did you mean `oncall`?"),
        (&["subscribe", "ann@example.com", "-c", "x"], "ann@example.com is not unsubscribed from all mails"),
    ] {
        let (code, said) = soard(&daemon, &[&["recipients"], wrong].concat());
        assert!(code == Some(1) && said.contains(says), "{wrong:?}: {code:?} {said}");
    }
    post(&daemon, "1", "high");
    let leaves = ["recipients", "unsubscribe", "ANN@example.com", "-c", "on leave"];
    let (code, said) = soard(&daemon, &leaves);
    assert!(code == Some(0) && said.contains("unsubscribed ann@example.com from all mails (entry"), "{said}");
    let (code, said) = soard(&daemon, &leaves);
    assert!(code == Some(1) && said.contains("is unsubscribed from all mails since"), "{said}");
    daemon.kill();
    daemon.start();
    post(&daemon, "2", "high");
    assert_eq!(mailed(&sink), ["ann@example.com", "bo@example.com", "bo@example.com"]);
    let (code, said) = soard(&daemon, &["recipients", "show", "Ann@example.com"]);
    assert!(
        code == Some(0) && said.contains("unsubscribed from all mails since") && said.contains("on leave"),
        "{said}"
    );
    let (code, said) = soard(&daemon, &["recipients", "list"]);
    assert!(code == Some(0) && said.contains("3 recipients") && said.contains("2/4"), "{said}");
    let (code, said) = soard(&daemon, &["runs", "show", "a-2.0/tell"]);
    assert!(code == Some(0) && said.contains("ann@example.com is unsubscribed"), "{said}");
    let (code, said) = soard(&daemon, &["recipients", "subscribe", "ann@example.com", "-c", "is back"]);
    assert!(code == Some(0) && said.contains("subscribed ann@example.com again"), "{said}");
    post(&daemon, "3", "low");
    assert_eq!(mailed(&sink).len(), 5);
    let orders: Vec<Value> = daemon.journal().into_iter().filter(|entry| entry["k"] == "operator").collect();
    let told: Vec<&Value> = orders.iter().map(|entry| &entry["d"]["order"]["recipient"]).collect();
    let ann = json!({ "address": "ann@example.com" });
    assert_eq!(told, [&json!({ "unsubscribe": ann }), &json!({ "subscribe": ann })]);
    assert_eq!(orders[0]["d"]["comment"], "on leave");
    assert_eq!(daemon.stop(), Some(0));
}

const RECIPIENTS: &str = "recipients:
  \"*\": { caps: { high: 1 }, quiet: none }
  bo@example.com: { at_least: high }
";

#[test]
fn what_a_recipient_does_not_get_is_told_to_the_playbook_and_to_operators() {
    let folder = tempfile::tempdir().unwrap();
    let sink = SmtpSink::start();
    let mut daemon = daemon(folder.path(), &sink, "[ann@example.com, bo@example.com]", RECIPIENTS);
    for (id, severity) in [("1", "high"), ("2", "high"), ("3", "medium"), ("4", "informational")] {
        post(&daemon, id, severity);
    }
    assert_eq!(mailed(&sink), ["ann@example.com", "ann@example.com", "bo@example.com"]);
    let said = daemon.journal().into_iter().filter(|entry| matches!(entry["k"].as_str(), Some("run" | "intent")));
    let steps = said.flat_map(|entry| entry["d"]["steps"].as_array().cloned().unwrap_or_default());
    let logged = steps.filter_map(|step| step["effect"]["log"]["text"].as_str().map(str::to_owned));
    let told: Vec<Value> = logged.map(|text| serde_json::from_str(&text).unwrap()).collect();
    let (ann, bo) = ("ann@example.com", "bo@example.com");
    let of = |n: usize| (told[n]["accepted"].clone(), told[n]["later"].clone(), told[n]["left_out"].clone());
    assert_eq!(of(0), (json!([ann, bo]), json!({}), json!({})));
    assert_eq!(of(1), (json!([]), json!({ ann: "cap", bo: "cap" }), json!({})));
    assert_eq!(of(2), (json!([ann]), json!({}), json!({ bo: "below_minimum" })));
    assert_eq!(of(3), (json!([]), json!({}), json!({ ann: "below_minimum", bo: "below_minimum" })));
    let (_, said) = soard(&daemon, &["runs", "show", "a-2.0/tell"]);
    assert!(
        said.contains("nobody gets it now") && said.contains("ann@example.com has had enough mails of high"),
        "{said}"
    );
    let (_, said) = soard(&daemon, &["why", "g-1"]);
    assert!(said.contains("what waits for ann@example.com at oncall") && said.contains("a-2.0"), "{said}");
    let waiting = daemon.json(&["recipients", "show", bo])["waiting"].clone();
    assert_eq!((&waiting[0]["alerts"], &waiting[0]["group"]), (&json!(1), &json!("g-2")));
    let (_, said) = soard(&daemon, &["alerts", "show", "a-3.0"]);
    assert!(said.contains("not bo@example.com: it is not severe enough"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}
