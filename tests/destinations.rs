//! `soard destinations`: how they are set up and stand, and what a peer says to one marked message, stage by stage.

mod support;

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, HttpSink, SmtpSink};

const ROUTES: (&str, &str) = ("rules/route/none.yaml", "default_route: none\n");

fn stages(report: &Value) -> Vec<(String, bool)> {
    let stages = report["stages"].as_array().unwrap().iter();
    stages.map(|stage| (stage["stage"].as_str().unwrap().to_owned(), stage["good"].as_bool().unwrap())).collect()
}

fn said<'a>(report: &'a Value, name: &str) -> &'a str {
    let stages = report["stages"].as_array().unwrap();
    let stage = stages.iter().find(|stage| stage["stage"] == name).unwrap_or_else(|| panic!("no {name} in {report}"));
    stage["said"].as_str().unwrap()
}

/// The stages of a mail to two.
const GOOD: [&str; 10] = [
    "resolve",
    "connect",
    "greeting",
    "MAIL FROM",
    "RCPT TO a@example.com",
    "DATA",
    "MAIL FROM",
    "RCPT TO b@example.com",
    "DATA",
    "message",
];

#[test]
fn one_marked_message_is_sent_and_each_stage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (http, smtp) = (HttpSink::start(Duration::ZERO), SmtpSink::start());
    let broken = HttpSink::answering_with_status("500 Internal Server Error");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mail = |port| {
        format!(
            "email: {{ smtp: {{ host: 127.0.0.1, port: {port}, tls: none, timeout: 5s }}, from: \"soard <soard@example.com>\", \
             to: [a@example.com, b@example.com] }}"
        )
    };
    let hook =
        |address, rest| format!("webhook: {{ url: \"http://{address}/hidden-key\", mode: at_least_once{rest} }}");
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  oncall: {{ {} }}\n  nobody: {{ {} }}\n  \
         ticket: {{ {} }}\n  broken: {{ {} }}\n  gone: {{ {} }}\n  box: {{ email: {{ folder: mail, from: s@example.com, to: \
         [a@example.com] }} }}\n",
        mail(smtp.address.port()),
        mail(closed.port()),
        hook(http.address, ", bearer: { env: SOARD_TEST_TOKEN }"),
        hook(broken.address, ""),
        hook(closed, ""),
    );
    let mut daemon = Daemon::new(folder.path(), &settings, &[ROUTES]);
    daemon.start();
    let test = |name: &str| {
        let output = daemon.soard(&["destinations", "test", name, "-c", "after a change", "-o", "json"]);
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };

    let (code, report) = test("oncall");
    let good = GOOD.map(|name| (name.to_owned(), true)).to_vec();
    assert_eq!((code, stages(&report)), (Some(0), good), "{report}");
    assert_eq!(said(&report, "message"), "250 taken");
    let got = smtp.got();
    let to: Vec<&str> = got.iter().map(|mail| &*mail.headers["to"]).collect();
    assert_eq!(to, ["a@example.com", "b@example.com"], "one for each");
    for mail in got {
        assert_eq!(mail.headers["subject"], "[soard test] destination oncall");
        assert!(mail.headers["message-id"].contains(report["key"].as_str().unwrap()), "{:?}", mail.headers);
    }

    let (code, report) = test("ticket");
    assert_eq!((code, &report["good"], said(&report, "request")), (Some(0), &json!(true), "200 OK: {\"ok\":true}"));
    let got = http.got();
    assert_eq!((got.len(), &got[0].json()["soard_test"], &*got[0].path), (1, &json!(true), "/hidden-key"));

    for (name, stage, words) in
        [("nobody", "connect", "refused"), ("gone", "connect", "refused"), ("broken", "request", "500 Internal")]
    {
        let (code, report) = test(name);
        assert_eq!((code, &report["good"]), (Some(1), &json!(false)), "{name}");
        assert_eq!(stages(&report).last(), Some(&(stage.to_owned(), false)), "{name}: what comes after is not tried");
        assert!(said(&report, stage).contains(words), "{report}");
    }
    assert_eq!((broken.got().len(), test("box").0), (1, Some(0)), "once, whatever comes of it");
    assert_eq!(test("nothing").0, Some(1));
    let ordered = daemon.journal().into_iter().filter(|entry| !entry["d"]["order"]["destination_test"].is_null());
    let ordered: Vec<Value> = ordered.map(|entry| entry["d"].clone()).collect();
    assert_eq!(
        (ordered.len(), &ordered[0]["comment"]),
        (6, &json!("after a change")),
        "each on record, and none for nothing"
    );
    assert!(daemon.soard(&["runs", "list", "-q"]).stdout.is_empty(), "a test is no run");
}

#[test]
fn a_destination_is_shown_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "sources:\n  push: { http: { token: { env: SOARD_TEST_TOKEN } } }\ndestinations:\n  chat: { webhook: { url: \
                    \"https://hooks.example.com/T0/very-hidden\", mode: at_least_once, bearer: { env: SOARD_TEST_TOKEN } } }\n";
    let mut daemon = Daemon::new(folder.path(), settings, &[ROUTES]);
    daemon.start();
    let output = daemon.soard(&["destinations", "show", "chat"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("https://hooks.example.com/…"), "{text}");
    assert!(text.contains("SOARD_TEST_TOKEN") && text.contains("no dead letters"), "{text}");
    assert!(!text.contains("very-hidden") && !text.contains(support::TOKEN), "{text}");
    let list = daemon.json(&["destinations", "list"]);
    assert_eq!((&list[0]["name"], &list[0]["held"]), (&json!("chat"), &json!(false)));
    assert_eq!(daemon.soard(&["destinations", "show", "chta"]).status.code(), Some(1));
}
