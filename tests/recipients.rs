//! Who gets mails: operators stop and resume them, on record, and settings decide the rest.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Daemon, SmtpSink};

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
    let leaves = ["recipients", "unsubscribe", "ANN@example.com", "-c", "on leave"];
    let (code, said) = soard(&daemon, &leaves);
    assert!(code == Some(0) && said.contains("unsubscribed ann@example.com from all mails (entry"), "{said}");
    let (code, said) = soard(&daemon, &leaves);
    assert!(code == Some(1) && said.contains("is unsubscribed from all mails since"), "{said}");
    daemon.kill();
    daemon.start();
    let (code, said) = soard(&daemon, &["recipients", "subscribe", "ann@example.com", "-c", "is back"]);
    assert!(code == Some(0) && said.contains("subscribed ann@example.com again"), "{said}");
    let orders: Vec<Value> = daemon.journal().into_iter().filter(|entry| entry["k"] == "operator").collect();
    let told: Vec<&Value> = orders.iter().map(|entry| &entry["d"]["order"]["recipient"]).collect();
    let ann = json!({ "address": "ann@example.com" });
    assert_eq!(told, [&json!({ "unsubscribe": ann }), &json!({ "subscribe": ann })]);
    assert_eq!(orders[0]["d"]["comment"], "on leave");
    assert_eq!(daemon.stop(), Some(0));
}
