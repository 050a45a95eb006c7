//! A person in the loop: playbooks ask, people decide, once; and what operators put on hold waits.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, HttpSink, SmtpSink, wait_for};

const ROUTES: &str = "route:\n  - { id: each, title: Each, owner: soc@example.com, match: { kind: ask }, playbooks: [ask] }\n  \
                      - { id: soon, title: Soon, owner: soc@example.com, match: { kind: soon }, playbooks: [soon] }\n  \
                      - { id: hook, title: Hook, owner: soc@example.com, match: { kind: hook }, playbooks: [tell, chat] }\n\
                      default_route: none\n";
const ASK: &str = r#"fn on_alert(alert) {
    let way = #{ by: ["approver", "bo"], within: "1h", otherwise: "deny", not_by: "starter" };
    webhook("hook", (if approve("Isolate " + alert.host + "?", way) { "isolate " } else { "leave " }) + alert.host);
}"#;
const SOON: &str = r#"fn on_alert(alert) {
    let both = all([
        #{ approve: "Lock?", by: "bo", within: "1s", otherwise: "approve" },
        #{ approve: "Wipe?", by: "bo", within: "1s", otherwise: "deny" },
    ]);
    webhook("hook", both);
}"#;

fn daemon(dir: &Path, sink: &HttpSink) -> Daemon {
    let to = sink.address;
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{to}/hook\", mode: at_least_once }} }}\n  \
         chat: {{ webhook: {{ url: \"http://{to}/chat\", mode: at_most_once }} }}\n"
    );
    let files = [
        ("rules/route/main.yaml", ROUTES),
        ("playbooks/ask.rhai", ASK),
        ("playbooks/soon.rhai", SOON),
        (
            "playbooks/tell.rhai",
            r#"fn on_alert(alert) { webhook("hook", alert.id); webhook("hook", "after " + alert.id); }"#,
        ),
        ("playbooks/chat.rhai", r#"fn on_alert(alert) { webhook("chat", alert.id); }"#),
    ];
    let mut daemon = Daemon::new(dir, &settings, &files);
    daemon.start();
    daemon
}

fn post(daemon: &Daemon, kind: &str, host: &str) {
    let alert = json!({ "external_id": host, "kind": kind, "title": "t", "severity": "high",
                        "entities": { "host": [{ "name": host }] } });
    assert_eq!(daemon.post(&alert.to_string()).unwrap().0, 200);
}

/// Exit code, and what was printed.
fn soard(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = daemon.soard(arguments);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Waits until this many approvals are open.
fn wait_open(daemon: &Daemon, count: usize) {
    wait_for("the approvals", || (approvals(daemon, &[]).len() == count).then_some(()));
}

fn approvals(daemon: &Daemon, more: &[&str]) -> Vec<Value> {
    let all = daemon.json(&[&["approvals", "list"], more].concat());
    all.as_array().unwrap().clone()
}

/// Waits until the receiver has got just these, those that were under way at a kill perhaps twice.
fn wait_got(sink: &HttpSink, bodies: &[&str]) {
    wait_for(&format!("{bodies:?}"), || {
        let mut got: Vec<String> = sink.got().into_iter().map(|got| got.body).collect();
        got.sort();
        got.dedup();
        (got == bodies).then_some(())
    });
}

#[test]
fn people_decide_once_and_a_run_goes_on_as_they_say_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    assert_eq!(soard(&daemon, &["approvals", "list"]), (Some(1), "nothing waits for approval\n".into()));
    for (host, asked) in [("web-1", 1), ("web-2", 2), ("web-3", 3)] {
        post(&daemon, "ask", host);
        wait_open(&daemon, asked);
    }
    let asked = approvals(&daemon, &[]);
    assert_eq!(asked[0]["request"]["question"], "Isolate web-1?");
    for command in
        [&["runs", "show", "a-1.0/ask"][..], &["why", "a-1.0"], &["why", "a-1.0/ask"], &["alerts", "show", "a-1.0"]]
    {
        let (_, said) = soard(&daemon, command);
        assert!(said.contains("ap-1 by approver or bo until"), "{command:?}: {said}");
    }
    assert!(soard(&daemon, &["status"]).1.contains("3 approvals open"), "status does not count them");
    let (code, said) = soard(&daemon, &["approvals", "show", "ap-1"]);
    let told = ["Isolate web-1?", "approver or bo", "a-1.0/ask", "soard deny ap-1 -c WHY"];
    assert!(code == Some(0) && told.iter().all(|told| said.contains(told)), "{said}");
    assert_eq!(soard(&daemon, &["approvals", "show", "ap-9"]).0, Some(1));

    let (code, said) = soard(&daemon, &["approve", "ap-1", "-c", "confirmed with the owner"]);
    assert_eq!((code, said.starts_with("ap-1 is approved, a-1.0/ask goes on")), (Some(0), true), "{said}");
    wait_got(&sink, &["\"isolate web-1\""]);
    for (arguments, code, expected) in [
        (&["deny", "ap-1", "-c", "no"][..], 1, "ap-1 was approved by"),
        (&["approve", "ap-1", "-c", "yes"], 1, "nothing was recorded"),
        (&["approve", "ap-17", "-c", "yes"], 1, "there is no approval ap-17; did you mean ap-3?"),
        (&["approve", "17", "-c", "yes"], 2, "is not an approval id such as ap-3"),
        (&["approve", "ap-2"], 2, "--comment"),
        (&["approve", "ap-2", "-c", " "], 2, "must say why"),
    ] {
        let (got, said) = soard(&daemon, arguments);
        assert_eq!((got, said.contains(expected)), (Some(code), true), "{arguments:?}: {said}");
    }

    // What is asked survives a crash, and so does what was decided.
    daemon.kill();
    daemon.start();
    assert_eq!(approvals(&daemon, &[]).len(), 2);
    assert_eq!(soard(&daemon, &["deny", "ap-2", "-c", "it is the domain controller"]).0, Some(0));
    wait_got(&sink, &["\"isolate web-1\"", "\"leave web-2\""]);
    daemon.kill();
    daemon.start();
    let (code, said) = soard(&daemon, &["approve", "ap-2", "-c", "yes"]);
    assert_eq!((code, said.contains("ap-2 was denied by")), (Some(1), true), "{said}");

    let orders: Vec<Value> = daemon.journal().into_iter().filter(|entry| entry["k"] == "operator").collect();
    assert_eq!(orders.len(), 2, "one entry for each decision: {orders:?}");
    assert_eq!(orders[1]["d"]["order"]["approval"]["choice"], "deny");
    assert!(orders[1]["d"]["actor"].as_str().unwrap().contains("uid "), "{orders:?}");
    let (_, said) = soard(&daemon, &["runs", "show", "a-2.0/ask"]);
    assert!(
        said.contains("denied at") && said.contains("denied ap-2 of a-2.0/ask: it is the domain controller"),
        "{said}"
    );
    let (_, said) = soard(&daemon, &["log", "tail"]);
    assert!(said.contains("denied ap-2"), "{said}");
    let (_, said) = soard(&daemon, &["approvals", "show", "ap-2"]);
    assert!(said.contains("denied") && said.contains(": it is the domain controller"), "{said}");

    // A run that is cancelled asks nobody any more.
    assert_eq!(soard(&daemon, &["runs", "cancel", "a-3.0/ask", "-c", "reinstalled"]).0, Some(0));
    let (code, said) = soard(&daemon, &["approve", "ap-3", "-c", "yes"]);
    assert_eq!((code, said.contains("ap-3 was withdrawn")), (Some(1), true), "{said}");
    let closed = approvals(&daemon, &["--all"]);
    let how: Vec<&Value> = closed.iter().map(|approval| &approval["outcome"]["how"]).collect();
    assert_eq!(how, ["withdrawn", "decided", "decided"], "the newest first");

    // Who starts a run by hand does not decide what it asks: here that is whoever runs this test.
    post(&daemon, "other", "web-4");
    assert_eq!(soard(&daemon, &["alerts", "run", "a-4.0", "ask", "-c", "by phone"]).0, Some(0));
    wait_open(&daemon, 1);
    let (code, said) = soard(&daemon, &["approve", "ap-4", "-c", "me"]);
    assert_eq!((code, said.contains("must not be decided by who started a-4.0/ask")), (Some(1), true), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn nobody_decides_and_the_deadline_does_also_when_it_passes_while_the_daemon_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    post(&daemon, "soon", "web-1");
    wait_for("the questions", || daemon.journal().iter().any(|entry| entry["k"] == "intent").then_some(()));
    daemon.kill();
    let intent = daemon.journal().into_iter().find(|entry| entry["k"] == "intent").unwrap();
    let until: jiff::Timestamp =
        intent["d"]["steps"][0]["effect"]["approve"]["until"].as_str().unwrap().parse().unwrap();
    wait_for("the deadline", || (soard::daemon::clock::now() > until).then_some(()));
    daemon.start();
    wait_got(&sink, &["[true,false]"]);
    let (code, said) = soard(&daemon, &["approve", "ap-2", "-c", "late"]);
    assert_eq!((code, said.contains("since nobody had decided in time")), (Some(1), true), "{said}");
    let (_, said) = soard(&daemon, &["runs", "show", "a-1.0/soon"]);
    assert!(said.contains("approved at") && said.contains("since nobody had decided in time"), "{said}");
    let timed_out = daemon.journal().iter().filter(|entry| entry["d"]["approval"].is_object()).count();
    assert_eq!(timed_out, 2, "one entry for each");
    let (_, said) = soard(&daemon, &["log", "query", "--run", "a-1.0/soon"]);
    assert!(said.contains("ap-1 of a-1.0/soon timed out: approved"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn whoever_is_not_named_does_not_decide() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    support::write(folder.path(), "playbooks/ask.rhai", &ASK.replace("[\"approver\", \"bo\"]", "\"somebody-else\""));
    assert_eq!(soard(&daemon, &["reload"]).0, Some(0));
    post(&daemon, "ask", "web-1");
    wait_open(&daemon, 1);
    let (code, said) = soard(&daemon, &["approve", "ap-1", "-c", "yes"]);
    assert_eq!((code, said.contains("ap-1 is to be decided by somebody-else, and you are")), (Some(1), true), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

/// How many requests wait because of a hold.
fn held(daemon: &Daemon) -> Value {
    daemon.json(&["hold", "list"])["waiting"].clone()
}

const ALERTS: usize = 100;

fn load(daemon: &Daemon) {
    for batch in 0..ALERTS / 20 {
        let alerts: Vec<Value> = (0..20)
            .map(|n| json!({ "external_id": format!("{batch}-{n}"), "kind": "hook", "title": "t", "severity": "high" }))
            .collect();
        assert_eq!(daemon.post(&json!(alerts).to_string()).unwrap().0, 200);
    }
}

#[test]
fn nothing_goes_out_while_on_hold_and_nothing_is_lost_over_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    let (code, said) = soard(&daemon, &["hold", "on", "-c", "a rule runs wild"]);
    assert_eq!((code, said.starts_with("everything is on hold")), (Some(0), true), "{said}");
    load(&daemon);
    wait_for("all of it to wait", || (held(&daemon) == 2 * ALERTS).then_some(()));
    daemon.kill();
    daemon.start();
    wait_for("all of it to wait again", || (held(&daemon) == 2 * ALERTS).then_some(()));
    let (_, said) = soard(&daemon, &["status"]);
    assert!(said.contains("everything since") && said.contains("a rule runs wild"), "{said}");
    assert!(said.contains("200 requests wait"), "{said}");
    // What is cancelled meanwhile never goes out.
    for run in ["a-1.0/tell", "a-2.0/chat"] {
        assert_eq!(soard(&daemon, &["runs", "cancel", run, "-c", "not this one"]).0, Some(0));
    }
    wait_for("what is cancelled to be dropped", || (held(&daemon) == 2 * ALERTS - 2).then_some(()));
    assert_eq!(sink.got().len(), 0, "something went out while on hold");
    let cancelled = daemon.json(&["deliveries", "list", "--outcome", "cancelled"]);
    assert_eq!(cancelled["matching"], 2, "{cancelled}");

    // The hold goes step by step: of one playbook, then of one destination.
    assert_eq!(soard(&daemon, &["hold", "on", "--playbook", "tell", "-c", "look at it first"]).0, Some(0));
    assert_eq!(soard(&daemon, &["hold", "off", "-c", "the rule is corrected"]).0, Some(0));
    wait_for("what is not on hold", || (sink.got().len() == ALERTS - 1).then_some(()));
    assert!(sink.got().iter().all(|got| got.path == "/chat"));
    assert_eq!(soard(&daemon, &["hold", "on", "--destination", "hook", "-c", "it is repaired"]).0, Some(0));
    assert_eq!(soard(&daemon, &["hold", "off", "--playbook", "tell", "-c", "looked at"]).0, Some(0));
    wait_for("the rest to wait", || (held(&daemon) == ALERTS - 1).then_some(()));
    assert_eq!(sink.got().len(), ALERTS - 1);
    assert_eq!(soard(&daemon, &["hold", "off", "--destination", "hook", "-c", "repaired"]).0, Some(0));
    let all = ALERTS - 1 + 2 * (ALERTS - 1);
    wait_for("all of it", || (sink.got().len() == all).then_some(()));
    wait_for("the end of the runs", || (daemon.json(&["status"])["runs_open"] == 0).then_some(()));
    let mut keys: Vec<String> = sink.got().iter().map(|got| got.headers["idempotency-key"].clone()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), sink.got().len()), (all, all), "each once");
    let bodies: Vec<(String, String)> = sink.got().into_iter().map(|got| (got.path, got.body)).collect();
    for (path, body) in [("/hook", "\"a-1.0\""), ("/hook", "\"after a-1.0\""), ("/chat", "\"a-2.0\"")] {
        assert!(!bodies.contains(&(path.into(), body.into())), "{path} {body} was cancelled");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_daemon_that_does_not_heed_holds_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    assert_eq!(soard(&daemon, &["hold", "on", "-c", "a rule runs wild"]).0, Some(0));
    daemon.kill();
    daemon.env.push(("SOARD_FAULT".into(), "send-on-hold".into()));
    daemon.start();
    post(&daemon, "hook", "web-1");
    wait_for("a webhook", || (!sink.got().is_empty()).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn holds_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    assert_eq!(soard(&daemon, &["hold", "list"]), (Some(1), "nothing is on hold\n".into()));
    for (arguments, code, expected) in [
        (&["off", "-c", "x"][..], 1, "everything is not on hold; nothing is"),
        (&["on", "--destination", "hoook", "-c", "x"], 1, "there is no destination `hoook`; did you mean `hook`?"),
        (&["on", "--playbook", "tel", "-c", "x"], 1, "there is no playbook `tel`; did you mean `tell`?"),
        (&["on"], 2, "--comment"),
        (&["on", "--playbook", "tell", "--destination", "hook", "-c", "x"], 2, "cannot be used with"),
        (&["on", "--destination", "hook", "-c", "x"], 0, "destination hook is on hold"),
        (&["on", "--destination", "hook", "-c", "x"], 1, "destination hook is on hold since"),
        (&["off", "-c", "x"], 1, "everything is not on hold; on hold: destination hook"),
        (&["list"], 0, "0 requests wait"),
        (&["off", "--destination", "hook", "-c", "x"], 0, "destination hook goes out again"),
    ] {
        let (got, said) = soard(&daemon, &[&["hold"], arguments].concat());
        assert_eq!((got, said.contains(expected)), (Some(code), true), "{arguments:?}: {said}");
    }
    assert_eq!(daemon.stop(), Some(0));
}

const MAILED: &str = r#"fn on_alert(alert) {
    let within = if alert.severity == "low" { "3s" } else { "1h" };
    let way = #{ by: "approver", within: within, otherwise: "deny", notify: "oncall", not_by: "starter" };
    webhook("hook", if approve("Isolate " + alert.host + "?", way) { "isolate" } else { "leave" });
}"#;

/// A daemon whose approvals are mailed to a sink, with links to its own port.
fn mailing(dir: &Path, sink: &HttpSink, mails: &SmtpSink) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{}/hook\", mode: at_least_once }} }}\n  \
         oncall: {{ email: {{ smtp: {{ host: 127.0.0.1, port: {}, tls: none }}, from: soard@example.com, to: [oncall@example.com] }} }}\n",
        sink.address,
        mails.address.port()
    );
    let route = "route:\n  - { id: all, title: All, owner: soc@example.com, match: { kind: ask }, playbooks: [ask] }\ndefault_route: none\n";
    let files = [("rules/route/main.yaml", route), ("playbooks/ask.rhai", MAILED)];
    let mut daemon = Daemon::new(dir, &settings, &files);
    let text = std::fs::read_to_string(dir.join("soard.yaml")).unwrap();
    let listen = format!("listen: \"127.0.0.1:{}\"", daemon.port);
    let public = format!("{listen}, public_url: \"http://127.0.0.1:{}/\"", daemon.port);
    support::write(dir, "soard.yaml", &text.replace(&listen, &public));
    daemon.start();
    daemon
}

/// The links of a mail: to approve and to deny.
fn links(daemon: &Daemon, mail: &str) -> (String, String) {
    let text = mail.replace("=\r\n", "").replace("=3D", "=");
    let begin = format!("http://127.0.0.1:{}/decide/", daemon.port);
    let mut found = text.match_indices(&begin).map(|(at, _)| {
        let link = text[at..].split(|c: char| c.is_whitespace() || matches!(c, '"' | '<')).next().unwrap();
        link.strip_prefix(&format!("http://127.0.0.1:{}", daemon.port)).unwrap().to_owned()
    });
    (found.next().expect("a link to approve"), found.next().expect("a link to deny"))
}

/// Status, head and body of a request to the server.
fn ask(daemon: &Daemon, method: &str, path: &str, more: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: soard\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

#[test]
fn mailed_links_decide_by_their_form_alone_once_and_only_those_that_soard_made() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, mails) = (HttpSink::start(Duration::ZERO), SmtpSink::start());
    let mut daemon = mailing(folder.path(), &sink, &mails);
    post(&daemon, "ask", "web-<i>1</i>");
    let mail = wait_for("the mail", || mails.got().pop());
    assert_eq!(mail.headers["subject"], "HIGH: approve? Isolate web-<i>1</i>?");
    let (approve, deny) = links(&daemon, &mail.body);

    // A scanner opens whatever it finds, also twice; the question stays open, over a crash as well.
    daemon.kill();
    daemon.start();
    for link in [&approve, &deny, &approve] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let (status, head, body) = ask(&daemon, method, link, "", "");
            assert_eq!(status, if method == "OPTIONS" { 405 } else { 200 }, "{method} {link}: {body}");
            assert!(method == "OPTIONS" || head.contains("content-security-policy: default-src 'none'"), "{head}");
            assert!(method != "GET" || body.contains("Isolate web-&lt;i&gt;1&lt;&#x2f;i&gt;?"), "{body}");
        }
    }
    assert_eq!(approvals(&daemon, &[]).len(), 1);

    // Links that were made up, and forms that say nothing, decide nothing.
    for forged in [
        approve.replace("ap-1", "ap-2"),
        deny.replace("deny", "approve"),
        format!("{}{}", &approve[..approve.len() - 1], if approve.ends_with('a') { "b" } else { "a" }),
    ] {
        let (status, _, body) = ask(&daemon, "POST", &forged, "", "name=Eve&why=x");
        assert_eq!((status, body.contains("This link is not valid")), (403, true), "{forged}: {body}");
    }
    assert_eq!(ask(&daemon, "POST", &deny, "", "why=x").0, 400);
    assert_eq!(approvals(&daemon, &[]).len(), 1);

    let (status, _, body) = ask(&daemon, "POST", &deny, "", "name=Ann&why=it+is+the+domain+controller");
    assert_eq!((status, body.contains("Denied: Isolate web-")), (200, true), "{body}");
    wait_got(&sink, &["\"leave\""]);
    for (method, link, status) in [("POST", &deny, 409), ("POST", &approve, 409), ("GET", &approve, 410)] {
        let (got, _, body) = ask(&daemon, method, link, "", "name=Bo&why=y");
        assert_eq!((got, body.contains("was denied by Ann, by a link mailed to oncall")), (status, true), "{body}");
    }
    let order = daemon.journal().into_iter().rfind(|entry| entry["k"] == "operator").unwrap()["d"].clone();
    assert_eq!((&order["address"], &order["comment"]), (&json!("127.0.0.1"), &json!("it is the domain controller")));
    assert_eq!(order["order"]["approval"]["link"], true);

    // After the deadline, nothing is decided by a link either.
    let low = json!({ "external_id": "low", "kind": "ask", "title": "t", "severity": "low", "entities": { "host": [{ "name": "web-2" }] } });
    assert_eq!(daemon.post(&low.to_string()).unwrap().0, 200);
    wait_for("the deadline", || {
        approvals(&daemon, &["--all"]).iter().any(|a| a["outcome"]["how"] == "timed_out").then_some(())
    });
    let late = wait_for("its mail", || mails.got().into_iter().find(|mail| mail.body.contains("web-2")));
    let (approve, _) = links(&daemon, &late.body);
    let (status, _, body) = ask(&daemon, "POST", &approve, "", "name=Ann&why=x");
    assert_eq!((status, body.contains("Too late: denied at the deadline")), (409, true), "{body}");
    assert_eq!(ask(&daemon, "GET", &approve, "", "").0, 410);

    // A link does not say who follows it, so it cannot tell them from who started the run.
    post(&daemon, "other", "web-3");
    assert_eq!(soard(&daemon, &["alerts", "run", "a-3.0", "ask", "-c", "by phone"]).0, Some(0));
    let mail = wait_for("its mail", || mails.got().into_iter().find(|mail| mail.body.contains("web-3")));
    let (approve, _) = links(&daemon, &mail.body);
    let (status, _, body) = ask(&daemon, "POST", &approve, "", "name=Ann&why=x");
    assert_eq!((status, body.contains("a link does not say who you are")), (403, true), "{body}");
    token_decides(&daemon, "ap-3");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_question_goes_to_whom_the_destination_names_and_not_to_whom_an_alert_does() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, mails) = (HttpSink::start(Duration::ZERO), SmtpSink::start());
    let mut daemon = mailing(folder.path(), &sink, &mails);
    let text = std::fs::read_to_string(folder.path().join("soard.yaml")).unwrap();
    let (to, to_owner) = ("to: [oncall@example.com]", "to: [oncall@example.com], to_owner: true");
    support::write(folder.path(), "soard.yaml", &text.replace(to, to_owner));
    support::write(folder.path(), "lists/owners.yaml", "\"web-*\": { name: Shop, email: shop@example.com }\n");
    let both = MAILED.replace("    let way", "    email(\"oncall\", #{ subject: \"for the owner\" });\n    let way");
    support::write(folder.path(), "playbooks/ask.rhai", &both);
    let (code, said) = soard(&daemon, &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    post(&daemon, "ask", "web-1");
    let of = |subject: &str| {
        let mail = wait_for(subject, || mails.got().into_iter().find(|mail| mail.headers["subject"].contains(subject)));
        let leaves = (mail.headers.contains_key("list-unsubscribe"), mail.body.contains("/mail/unsubscribe/"));
        (mail.headers["to"].clone(), leaves, mail.body)
    };
    let (to, leaves, _) = of("for the owner");
    assert_eq!((&*to, leaves), ("shop@example.com", (true, true)), "the control");
    let (to, leaves, body) = of("approve? Isolate web-1?");
    assert_eq!(to, "oncall@example.com", "{body}");
    assert_eq!(leaves, (false, false), "a question is no newsletter: {body}");
    links(&daemon, &body);
    assert_eq!(mails.got().len(), 2, "one of each");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_mail_that_waits_is_not_sent_once_its_question_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, mails) = (HttpSink::start(Duration::ZERO), SmtpSink::start());
    let mut daemon = mailing(folder.path(), &sink, &mails);
    assert_eq!(soard(&daemon, &["hold", "on", "--destination", "oncall", "-c", "the mail server moves"]).0, Some(0));
    post(&daemon, "ask", "web-1");
    wait_open(&daemon, 1);
    wait_for("its mail to wait", || (held(&daemon) == 1).then_some(()));
    assert_eq!(soard(&daemon, &["deny", "ap-1", "-c", "no"]).0, Some(0));
    wait_got(&sink, &["\"leave\""]);
    wait_for("the mail to be dropped", || (held(&daemon) == 0).then_some(()));
    let row = daemon.json(&["deliveries", "list", "--outcome", "cancelled"])["deliveries"][0].clone();
    assert_eq!((&row["kind"], &row["destination"]), (&json!("approve"), &json!("oncall")));
    let (_, said) = soard(&daemon, &["deliveries", "show", row["key"].as_str().unwrap()]);
    assert!(said.contains("cancelled"), "{said}");
    assert_eq!(soard(&daemon, &["hold", "off", "--destination", "oncall", "-c", "it has moved"]).0, Some(0));
    // What is asked next is mailed; nothing comes before it.
    post(&daemon, "ask", "web-2");
    let first = wait_for("the mail", || mails.got().into_iter().next());
    assert!(first.body.contains("web-2"), "{}", first.body);
    assert_eq!(daemon.stop(), Some(0));
}

/// Over the API the token's role and name count.
fn token_decides(daemon: &Daemon, approval: &str) {
    let path = format!("/api/v1/approvals/{approval}/decide");
    for (role, status) in [("operator", 403), ("approver", 200), ("admin", 409)] {
        let made = daemon.json(&["token", "add", &format!("the-{role}"), "--role", role, "--expires", "1h"]);
        let token = made["token"].as_str().unwrap();
        let head = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let (got, _, body) = ask(daemon, "POST", &path, &head, r#"{"choice":"approve","comment":"four eyes"}"#);
        assert_eq!(got, status, "{role}: {body}");
    }
    let closed = approvals(daemon, &["--all"]);
    let outcome = &closed.iter().find(|closed| closed["id"] == approval).unwrap()["outcome"];
    assert_eq!((&outcome["by"], &outcome["choice"]), (&json!("the-approver"), &json!("approve")));
}
