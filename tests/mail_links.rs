//! What the recipient of a mail can do with it: follow a thread, acknowledge, and get no more of them.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, Got, HttpSink, SmtpSink, wait_for};

const ROUTES: &str = "route:\n  - { id: one, title: One, owner: soc@example.com, match: { kind: one }, playbooks: [tell], on_status: [changed] }\n  \
                      - { id: many, title: Many, owner: soc@example.com, match: { kind: many }, group_by: [host], group_wait: 1s, playbooks: [gather] }\n\
                      default_route: none\n";
const ADVISE: &str = "advise:\n  - id: one\n    title: One\n    owner: soc@example.com\n    match: { kind: one }\n    mitigate: [Pull the plug.]\n";

fn daemon(dir: &Path, sink: &HttpSink, mails: &SmtpSink) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{}/hook\", mode: at_least_once }} }}\n  \
         oncall: {{ email: {{ smtp: {{ host: 127.0.0.1, port: {}, tls: none }}, from: soard@example.com, to: [ann@example.com, bo@example.com] }} }}\n",
        sink.address,
        mails.address.port()
    );
    let tell = r#"fn on_alert(alert) { webhook("hook", alert.id); email("oncall", #{ template: "alert" }); }"#;
    let files = [
        ("rules/route/main.yaml", ROUTES),
        ("rules/advise/main.yaml", ADVISE),
        ("playbooks/tell.rhai", tell),
        ("playbooks/changed.rhai", r#"fn on_status(alert, change) { email("oncall", #{ template: "alert" }); }"#),
        ("playbooks/gather.rhai", r#"fn on_group(alerts) { email("oncall", #{ template: "group" }); }"#),
    ];
    let mut daemon = Daemon::new(dir, &settings, &files);
    let text = std::fs::read_to_string(dir.join("soard.yaml")).unwrap();
    let listen = format!("listen: \"127.0.0.1:{}\"", daemon.port);
    let public = format!("{listen}, public_url: \"http://127.0.0.1:{}\"", daemon.port);
    support::write(dir, "soard.yaml", &text.replace(&listen, &public));
    daemon.start();
    daemon
}

fn post(daemon: &Daemon, id: &str, kind: &str) {
    let alert = json!({ "external_id": id, "kind": kind, "title": format!("Title of {id}"), "severity": "medium",
                        "tactics": ["Impact"], "entities": { "host": [{ "name": "web-1" }] } });
    assert_eq!(daemon.post(&alert.to_string()).unwrap().0, 200);
}

/// The mails so far to somebody, once there are so many.
fn mails_to(mails: &SmtpSink, who: &str, count: usize) -> Vec<Got> {
    wait_for(&format!("{count} mails to {who}"), || {
        let all: Vec<Got> = mails.got().into_iter().filter(|mail| mail.headers["to"].contains(who)).collect();
        (all.len() == count).then_some(all)
    })
}

fn text(mail: &Got) -> String {
    mail.body.replace("=\r\n", "").replace("=3D", "=").replace("=E2=80=9C", "“")
}

/// A link of a mail, as a path.
fn link(daemon: &Daemon, mail: &Got, what: &str) -> String {
    let base = format!("http://127.0.0.1:{}", daemon.port);
    let text = text(mail);
    let at = text.find(&format!("{base}/mail/{what}/")).unwrap_or_else(|| panic!("no link to {what}: {text}"));
    let url = text[at..].split(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>')).next().unwrap();
    url.strip_prefix(&base).unwrap().to_owned()
}

/// Status and body of a request to the server.
fn ask(daemon: &Daemon, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: soard\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[track_caller]
fn says(daemon: &Daemon, method: &str, path: &str, status: u16, words: &str) {
    let (got, body) = ask(daemon, method, path, "");
    assert_eq!((got, body.contains(words)), (status, true), "{method} {path}: {body}");
}

fn orders(daemon: &Daemon) -> Vec<Value> {
    let entries = daemon.journal().into_iter().filter(|entry| entry["k"] == "operator");
    entries.map(|entry| entry["d"].clone()).collect()
}

#[test]
fn who_gets_a_mail_acknowledges_by_its_link_once_and_nobody_by_opening_it() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, mails) = (HttpSink::answering(r#"{"key":"SEC-12"}"#.into()), SmtpSink::start());
    let mut daemon = daemon(folder.path(), &sink, &mails);
    post(&daemon, "one", "one");
    let (ann, bo) = (mails_to(&mails, "ann", 1).remove(0), mails_to(&mails, "bo", 1).remove(0));
    for said in ["Sent a request to hook: done (200), SEC-12", "1. Pull the plug.", "Impact: somebody destroys"] {
        assert!(text(&ann).contains(said), "{said}: {}", text(&ann));
    }
    assert!(!ann.body.contains("bo@example.com"));
    let (anns, bos) = (link(&daemon, &ann, "acknowledge"), link(&daemon, &bo, "acknowledge"));

    // A scanner opens whatever it finds, also after a crash.
    wait_for("the end of the run", || daemon.journal().iter().any(|entry| entry["k"] == "run").then_some(()));
    daemon.kill();
    daemon.start();
    for method in ["GET", "HEAD", "GET"] {
        says(&daemon, method, &anns, 200, if method == "GET" { "Do you look after a-1.0?" } else { "" });
    }
    says(&daemon, "GET", &anns, 200, "a-1.0 Title of one");
    let part = |link: &str, n: usize| link.split('/').nth(n).unwrap().to_owned();
    for forged in [
        anns.replace("a-1.0", "a-2.0"),
        anns.replace(&part(&anns, 4), &part(&bos, 4)),
        anns.replace("acknowledge", "unsubscribe"),
        anns.replace("acknowledge", "resolve"),
        format!("{anns}a"),
    ] {
        says(&daemon, "POST", &forged, 403, "This link is not valid");
    }
    assert_eq!(orders(&daemon), [] as [Value; 0], "nothing has changed so far");

    says(&daemon, "POST", &anns, 200, "Acknowledged: a-1.0");
    let told = orders(&daemon);
    assert_eq!(
        (&told[0]["actor"], &told[0]["address"]),
        (&json!("ann@example.com, by a link in a mail"), &json!("127.0.0.1"))
    );
    assert_eq!(told[0]["comment"], "acknowledged by mail");
    assert_eq!(
        (&told[0]["order"]["alert"]["was"], &told[0]["order"]["alert"]["change"]["status"]["to"]),
        (&json!("active"), &json!("in_progress"))
    );
    says(&daemon, "POST", &bos, 409, "a-1.0 is in_progress already");
    says(&daemon, "GET", &anns, 410, "a-1.0 is in_progress already");

    // The mail about the change goes on in the same thread.
    let news = mails_to(&mails, "bo", 2).remove(1);
    assert!(
        text(&news).contains(
            "Now in progress, before active; changed by ann@example.com, by a link in a mail: acknowledged by mail"
        ),
        "{}",
        text(&news)
    );
    let thread = |mail: &Got| (mail.headers["references"].clone(), mail.headers["in-reply-to"].clone());
    assert_eq!(thread(&news), thread(&bo));
    assert_ne!(news.headers["message-id"], bo.headers["message-id"]);
    assert_eq!(orders(&daemon).len(), 1, "{:?}", orders(&daemon));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_groups_link_acknowledges_what_is_still_active_and_its_thread_goes_on_with_the_next_group() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, mails) = (HttpSink::start(Duration::ZERO), SmtpSink::start());
    let mut daemon = daemon(folder.path(), &sink, &mails);
    for id in ["x", "y", "z"] {
        post(&daemon, id, "many");
    }
    let first = mails_to(&mails, "ann", 1).remove(0);
    let output =
        daemon.soard(&["alerts", "set-status", "a-2.0", "resolved", "--reason", "benign", "-c", "it was a test"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let acknowledge = link(&daemon, &first, "acknowledge");
    says(&daemon, "GET", &acknowledge, 200, "Do you look after 2 alerts?");
    says(&daemon, "POST", &acknowledge, 200, "Acknowledged: 2 alerts");
    let changed: Vec<Value> =
        orders(&daemon).iter().skip(1).map(|told| told["order"]["alert"]["alert"].clone()).collect();
    assert_eq!(changed, ["a-1.0", "a-3.0"], "what was resolved stays so");
    says(&daemon, "POST", &acknowledge, 409, "There is nothing left to acknowledge");

    post(&daemon, "w", "many");
    let second = mails_to(&mails, "ann", 2).remove(1);
    assert_eq!(second.headers["references"], first.headers["references"], "the same route and the same host");

    // A mail program ends the mails by itself (RFC 8058), and opening the link ends nothing.
    let unsubscribe = link(&daemon, &second, "unsubscribe");
    assert_eq!(second.headers["list-unsubscribe"], format!("<http://127.0.0.1:{}{unsubscribe}>", daemon.port));
    says(&daemon, "GET", &unsubscribe, 200, "No more mails of oncall?");
    says(&daemon, "GET", &unsubscribe, 200, "Questions that soard asks there stop too");
    let before = orders(&daemon).len();
    let (status, body) = ask(&daemon, "POST", &unsubscribe, "List-Unsubscribe=One-Click");
    assert_eq!((status, body.contains("ann@example.com gets no more mails of oncall")), (200, true), "{body}");
    let told = orders(&daemon).split_off(before);
    let wanted =
        json!({"recipient": {"unsubscribe": {"address": "ann@example.com", "destination": "oncall", "link": true}}});
    assert_eq!((told.len(), &told[0]["order"]), (1, &wanted));
    says(&daemon, "POST", &unsubscribe, 409, "You get no more of these mails");
    says(&daemon, "GET", &unsubscribe, 410, "You get no more of these mails");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn mails_to_a_shared_mailbox_offer_nobody_to_end_them_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, mails) = (HttpSink::start(Duration::ZERO), SmtpSink::start());
    let mut daemon = daemon(folder.path(), &sink, &mails);
    post(&daemon, "one", "one");
    let usual = mails_to(&mails, "ann", 1).remove(0);
    let text_before = std::fs::read_to_string(folder.path().join("soard.yaml")).unwrap();
    let shared = text_before.replace("bo@example.com]", "bo@example.com], unsubscribe: false");
    support::write(folder.path(), "soard.yaml", &shared);
    let output = daemon.soard(&["reload"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    post(&daemon, "two", "one");
    let shared = mails_to(&mails, "ann", 2).remove(1);
    let offers =
        |mail: &Got| (mail.headers.contains_key("list-unsubscribe"), text(mail).contains("/mail/unsubscribe/"));
    assert_eq!((offers(&usual), offers(&shared)), ((true, true), (false, false)));
    link(&daemon, &shared, "acknowledge");
    assert_eq!(daemon.stop(), Some(0));
}
