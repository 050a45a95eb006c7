//! What operators do about alerts: status, comments, tags, feedback, playbooks by hand, silences, tokens, samples; all on record.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, HttpSink, wait_for};
use tempfile::TempDir;

const ROUTES: &str = "route:\n  - { id: samples, title: Samples, owner: soc@example.com, match: { tags: sample }, \
                      playbooks: [q] }\n  - { id: high, title: High, owner: soc@example.com, match: { severity: high }, \
                      playbooks: [p] }\ndefault_route: none\n";
const PLAYBOOK: &str = r#"fn on_alert(alert) { webhook("hook", alert.id); }"#;

/// A running daemon, with its folder and the receiver of its webhooks.
fn world() -> (TempDir, HttpSink, Daemon) {
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(Duration::ZERO));
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        sink.address
    );
    let files = [
        ("rules/route/main.yaml", ROUTES),
        ("playbooks/p.rhai", PLAYBOOK),
        ("playbooks/q.rhai", PLAYBOOK),
        ("playbooks/grouped.rhai", "fn on_group(alerts) { }"),
    ];
    let mut daemon = Daemon::new(folder.path(), &settings, &files);
    daemon.start();
    (folder, sink, daemon)
}

fn post(daemon: &Daemon, id: &str, severity: &str) {
    let alert = json!({ "external_id": id, "kind": "k", "title": format!("Alert {id}"), "severity": severity });
    assert_eq!(daemon.post(&alert.to_string()).unwrap().0, 200);
}

/// Exit code, and what was printed.
fn soard(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = daemon.soard(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// With ids on standard input.
fn soard_with(daemon: &Daemon, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
    command.arg("--dir").arg(&daemon.dir).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn orders(daemon: &Daemon) -> Vec<Value> {
    let operators = daemon.journal().into_iter().filter(|entry| entry["k"] == "operator");
    operators.map(|entry| entry["d"].clone()).collect()
}

fn status(daemon: &Daemon, id: &str) -> Value {
    daemon.json(&["alerts", "show", id])["row"]["status"].clone()
}

#[test]
fn changes_of_alerts_are_on_record_each_with_who_what_and_why() {
    let (_folder, _sink, mut daemon) = world();
    ["1", "2", "3"].iter().for_each(|id| post(&daemon, id, "low"));

    let dismiss =
        ["alerts", "set-status", "a-1.0", "a-9.0", "a-2.0", "dismissed", "--reason", "benign", "-c", "a drill"];
    let (code, said) = soard(&daemon, &[&dismiss[..], &["--dry-run"]].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("would have set a-1.0 from active to dismissed (benign)"), "{said}");
    assert_eq!((status(&daemon, "a-1.0"), orders(&daemon).len()), (json!("active"), 0), "a dry run changed something");

    let (code, said) = soard(&daemon, &dismiss);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not done: there is no alert a-9.0; did you mean a-3.0?"), "{said}");
    assert!(said.contains("2 alerts done, 1 not"), "{said}");
    assert_eq!(status(&daemon, "a-2.0"), "dismissed", "one that is refused keeps no other from being done");
    let given = orders(&daemon);
    assert_eq!(given.len(), 2);
    assert!(given[0]["actor"].as_str().unwrap().contains("uid "), "{given:?}");
    assert_eq!((&given[0]["comment"], &given[0]["order"]["alert"]["alert"]), (&json!("a drill"), &json!("a-1.0")));

    let (code, said) = soard(&daemon, &["alerts", "set-status", "a-1.0", "dismissed", "--reason", "benign"]);
    assert_eq!((code, said.contains("a-1.0 is dismissed already; nothing was recorded")), (Some(1), true), "{said}");
    for (arguments, expected) in [
        (&["set-status", "a-1.0", "resolved"][..], "resolved needs a reason: true_positive, benign"),
        (&["set-status", "a-1.0", "resolved", "--reason", "wrong"], "invalid value 'wrong'"),
        (&["set-status", "a-1.0", "resolved", "--reason", "other"], "needs a comment"),
        (&["set-status", "a-1.0", "closed"], "invalid value 'closed'"),
        (&["set-status", "1042", "active"], "is not an alert id"),
        (&["feedback", "a-1.0", "useful", "--reason", "too_many"], "led_to_action, gave_context, other are"),
        (&["tag", "a-1.0", "--add", "x", "--remove", "x"], "both added and removed"),
        (&["comment", "a-1.0", "-c", " "], "the comment is empty"),
    ] {
        let (code, said) = soard(&daemon, &[&["alerts"], arguments].concat());
        assert_eq!((code, said.contains(expected)), (Some(2), true), "{arguments:?}: {said}");
    }
    assert_eq!(orders(&daemon).len(), 2, "what is refused is not recorded");

    for arguments in [
        &["comment", "a-1.0", "-c", "asked the owner"][..],
        &["tag", "a-1.0", "--add", "vip", "--add", "drill"],
        &["tag", "a-1.0", "--remove", "vip", "-c", "not a vip"],
        &["assign", "a-1.0", "--to", "bo"],
        &["feedback", "a-1.0", "not-useful", "--reason", "expected", "-c", "every month"],
    ] {
        assert_eq!(soard(&daemon, &[&["alerts"], arguments].concat()).0, Some(0), "{arguments:?}");
    }
    // All of it survives a crash, and is told by show and by why.
    daemon.kill();
    daemon.start();
    let view = daemon.json(&["alerts", "show", "a-1.0"]);
    assert_eq!((&view["assigned_to"], &view["tags"]), (&json!("bo"), &json!(["drill"])));
    for command in [&["alerts", "show", "a-1.0"][..], &["why", "a-1.0"]] {
        let (_, said) = soard(&daemon, command);
        for expected in [
            "set a-1.0 from active to dismissed (benign): a drill",
            "commented on a-1.0: asked the owner",
            "tagged a-1.0 +vip +drill",
            "tagged a-1.0 -vip: not a vip",
            "assigned a-1.0 to bo",
            "called a-1.0 not useful (expected): every month",
        ] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
    let (_, log) = soard(&daemon, &["log", "tail"]);
    assert!(log.contains("assigned a-1.0 to bo"), "{log}");

    // The operator's word counts more than the source's, until it gets worse.
    post(&daemon, "1", "low");
    assert_eq!(status(&daemon, "a-1.0"), "dismissed");
    post(&daemon, "1", "high");
    assert_eq!(status(&daemon, "a-1.0"), "active");
    let (_, said) = soard(&daemon, &["why", "a-1.0"]);
    assert!(said.contains("severity rose from low to high; it was dismissed and is open again"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn many_alerts_need_a_yes() {
    let (_folder, _sink, mut daemon) = world();
    post_many(&daemon, 0..21);
    let ids: Vec<String> = (1..=21).map(|n| format!("a-{n}.0")).collect();
    let resolve = ["alerts", "set-status", "-", "resolved", "--reason", "true_positive"];
    let (code, said) = soard_with(&daemon, &resolve, &ids.join("\n"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("21 alerts; nothing was changed yet") && said.contains("--yes changes them"), "{said}");
    assert_eq!(orders(&daemon).len(), 0);
    let (code, said) = soard_with(&daemon, &[&resolve[..], &["--yes", "-q"]].concat(), &ids.join(" "));
    assert_eq!((code, said.lines().collect::<Vec<_>>()), (Some(0), ids.iter().map(String::as_str).collect()), "{said}");
    assert_eq!(orders(&daemon).len(), 21, "one entry for each alert");
    let (code, said) = soard_with(&daemon, &resolve, "a-1.0 what");
    assert_eq!((code, said.contains("\"what\" is not an alert id")), (Some(2), true), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

/// Low ones of the kind `k`; every third is of the kind `other`.
fn post_many(daemon: &Daemon, numbers: std::ops::Range<u32>) {
    let alert = |n: u32| {
        let kind = if n.is_multiple_of(3) { "other" } else { "k" };
        json!({ "external_id": n.to_string(), "title": "t", "kind": kind, "severity": "low" })
    };
    let alerts: Vec<Value> = numbers.map(alert).collect();
    for alerts in alerts.chunks(500) {
        assert_eq!(daemon.post(&json!(alerts).to_string()).unwrap().0, 200);
    }
    wait_for("the index", || (daemon.json(&["alerts", "list"])["behind"] == 0).then_some(()));
}

/// Exit code and output of a command at a terminal, where somebody types.
fn at_terminal(daemon: &Daemon, command: &str, typed: &str) -> (Option<i32>, String) {
    let line = format!("'{}' --dir '{}' {command}", env!("CARGO_BIN_EXE_soard"), daemon.dir.display());
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn alerts_that_fit_terms_are_shown_and_then_changed_as_they_were_shown() {
    let (_folder, _sink, mut daemon) = world();
    post_many(&daemon, 0..1800);
    let dismiss = ["alerts", "set-status", "--where", "kind=k", "--where", "severity<=low"];
    let dismiss = [&dismiss[..], &["dismissed", "--reason", "benign", "-c", "a drill"]].concat();

    let (code, said) = soard(&daemon, &[&dismiss[..], &["--dry-run"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1200 alerts: 1200 low; 1200 active"), "{said}");
    assert!(said.contains("… and 1190 more") && said.matches("a-").count() == 10, "the first ten: {said}");
    let (_, ids) = soard(&daemon, &[&dismiss[..], &["--dry-run", "-q"]].concat());
    assert_eq!(ids.lines().count(), 1200);
    let preview = daemon.json(&[&dismiss[..], &["--dry-run"]].concat());
    assert_eq!((&preview["by_severity"], &preview["by_status"]), (&json!([["low", 1200]]), &json!([["active", 1200]])));

    let (code, said) = soard(&daemon, &dismiss);
    assert_eq!((code, said.contains("nothing was changed yet")), (Some(2), true), "no terminal, no --yes: {said}");
    let line = "alerts set-status --where kind=k dismissed --reason benign";
    let (code, said) = at_terminal(&daemon, line, "n\n");
    assert_eq!((code, said.contains("Change 1200 alerts? [y/N]")), (Some(1), true), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(orders(&daemon).len(), 0, "none of these changed anything");

    for (arguments, code, expected) in [
        (&["set-status", "--where", "kind=k", "dismissed"][..], 2, "needs a reason"),
        (&["comment", "--where", "knd=k", "-c", "x"], 2, "did you mean `kind`?"),
        (&["comment", "--where", "kind=none", "-c", "x"], 1, "no alert fits"),
        (&["comment", "a-1.0", "--where", "kind=k", "-c", "x"], 2, "cannot be used with"),
        (&["comment", "--all", "-c", "x"], 2, "--where"),
        (&["comment", "-c", "x"], 2, "required"),
    ] {
        let (got, said) = soard(&daemon, &[&["alerts"], arguments].concat());
        assert_eq!((got, said.contains(expected)), (Some(code), true), "{arguments:?}: {said}");
    }

    // Two requests' worth, by one who says yes; one of them is closed by somebody else meanwhile.
    assert_eq!(soard(&daemon, &["alerts", "tag", "--where", "kind=other", "--add", "odd", "--yes", "-q"]).0, Some(0));
    let (code, said) = at_terminal(&daemon, line, "y\n");
    assert_eq!((code, said.contains("1200 alerts done")), (Some(0), true), "{said}");
    assert!(said.contains("… and 1180 more"), "people do not read 1,200 lines: {said}");
    let given = orders(&daemon);
    assert_eq!(given.len(), 600 + 1200, "one entry for each alert");
    assert!(given[600..].iter().all(|order| order["order"]["alert"]["change"]["status"]["to"] == "dismissed"));
    let (code, said) = soard(&daemon, &[&dismiss[..], &["--yes"]].concat());
    assert_eq!((code, said.contains("--all")), (Some(1), true), "closed ones do not fit any more: {said}");
    let all = [&dismiss[..6], &["--all", "--yes"], &dismiss[6..]].concat();
    post_many(&daemon, 1800..1802);
    let (code, said) = soard(&daemon, &all);
    assert_eq!((code, said.contains("1 alert done, 1200 not")), (Some(1), true), "partial failure is told: {said}");
    let run = ["alerts", "run", "--where", "tag=odd", "--where", "received>=1h", "q", "-c", "try", "--dry-run"];
    assert!(soard(&daemon, &run).1.contains("600 alerts"), "every command takes terms");
    let feedback = ["alerts", "feedback", "--where", "tag=odd", "not-useful", "--yes"];
    assert!(soard(&daemon, &feedback).1.contains("600 alerts done"));
    let assign = ["alerts", "assign", "--where", "feedback=not_useful", "--to", "bo", "--yes", "-q"];
    assert_eq!(soard(&daemon, &assign).1.lines().count(), 600);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_playbook_is_started_by_hand() {
    let (_folder, sink, mut daemon) = world();
    post(&daemon, "1", "low");
    for (playbook, expected) in [("qq", "did you mean `q`?"), ("grouped", "no playbook `grouped` with on_alert")] {
        let (code, said) = soard(&daemon, &["alerts", "run", "a-1.0", playbook, "-c", "try"]);
        assert_eq!((code, said.contains(expected)), (Some(1), true), "{said}");
    }
    let (code, said) = soard(&daemon, &["alerts", "run", "a-1.0", "q", "-c", "confirmed by phone"]);
    assert_eq!((code, said.contains("started a-1.0/q")), (Some(0), true), "{said}");
    let got = wait_for("the webhook", || sink.got().pop());
    assert_eq!(got.body, "\"a-1.0\"");
    wait_for("the end of the run", || {
        (daemon.json(&["runs", "show", "a-1.0/q"])["row"]["state"] == "finished").then_some(())
    });
    let (code, said) = soard(&daemon, &["alerts", "run", "a-1.0", "q", "-c", "again"]);
    assert_eq!((code, said.contains("soard runs restart")), (Some(1), true), "{said}");
    let (code, said) = soard(&daemon, &["runs", "restart", "a-1.0/q", "-c", "again"]);
    assert_eq!((code, said.contains("a-1.0/q~2")), (Some(0), true), "{said}");
    wait_for("the second webhook", || (sink.got().len() == 2).then_some(()));
    let (_, said) = soard(&daemon, &["why", "a-1.0/q"]);
    assert!(said.contains("by hand") && said.contains("confirmed by phone"), "{said}");
    let (_, said) = soard(&daemon, &["why", "a-1.0"]);
    assert!(said.contains("started a-1.0/q by hand: confirmed by phone"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn silences_keep_alerts_quiet_for_a_while_and_everything_names_them() {
    let (folder, sink, mut daemon) = world();
    for (arguments, code, expected) in [
        (&["kind=k", "-d", "4h"][..], 2, "--comment"),
        (&["-d", "4h", "-c", "x"], 2, "FIELD=VALUE"),
        (&["kind", "-d", "4h", "-c", "x"], 2, "is not field=value"),
        (&["knd=k", "-d", "4h", "-c", "x"], 2, "did you mean `kind`?"),
        (&["title=~(", "-d", "4h", "-c", "x"], 2, "regular expression"),
        (&["kind=k", "-d", "91d", "-c", "x"], 1, "belongs into rules/suppress"),
        (&["kind=k", "-d", "soon", "-c", "x"], 2, "is not a length of time"),
    ] {
        let (got, said) = soard(&daemon, &[&["silence", "add"], arguments].concat());
        assert_eq!((got, said.contains(expected)), (Some(code), true), "{arguments:?}: {said}");
    }
    assert_eq!(orders(&daemon).len(), 0, "what is refused is not recorded");
    assert_eq!(soard(&daemon, &["silence", "list"]), (Some(1), "no silences\n".into()));

    let add = ["silence", "add", "kind=k", "title=~^Alert [12]$", "-d", "4h", "-c", "penetration test"];
    let (code, said) = soard(&daemon, &add);
    assert_eq!((code, said.starts_with("s-1 holds until ")), (Some(0), true), "{said}");
    post(&daemon, "1", "high");
    post(&daemon, "3", "high");
    wait_for("the webhook of the alert that is not silenced", || (!sink.got().is_empty()).then_some(()));
    assert_eq!(status(&daemon, "a-1.0"), "active");
    let (_, said) = soard(&daemon, &["why", "a-1.0"]);
    assert!(
        said.contains("s-1 by") && said.contains("kept quiet") && said.contains("the silence stopped it"),
        "{said}"
    );
    let (_, said) = soard(&daemon, &["alerts", "show", "a-1.0"]);
    assert!(said.contains("held by silence s-1 of"), "{said}");
    assert!(soard(&daemon, &["status"]).1.contains("1 silence; see"), "status does not count it");

    let record = json!({ "kind": "k", "title": "Alert 2", "severity": "high" }).to_string();
    support::write(folder.path(), "alert.json", &record);
    let file = folder.path().join("alert.json").display().to_string();
    let explain = ["explain", "-f", &file, &daemon.dir.display().to_string()].map(str::to_owned);
    let explain: Vec<&str> = explain.iter().map(String::as_str).collect();
    let (_, said) = soard(&daemon, &explain);
    assert!(said.contains("started p"), "{said}");
    let (_, said) = soard(&daemon, &[&explain[..], &["--silences"]].concat());
    assert!(said.contains("s-1 by") && !said.contains("started p"), "{said}");

    // It survives a crash, with what it did.
    daemon.kill();
    daemon.start();
    let all = daemon.json(&["silence", "list"]);
    assert_eq!(
        (&all[0]["held"], &all[0]["comment"], &all[0]["match"][0]),
        (&json!(1), &json!("penetration test"), &json!("kind=k"))
    );
    let (code, said) = soard(&daemon, &["silence", "update", "s-1", "-d", "2h", "-c", "shorter"]);
    assert_eq!((code, said.starts_with("s-1 holds until ")), (Some(0), true), "{said}");
    assert_eq!(soard(&daemon, &["silence", "expire", "s-2"]).0, Some(1));
    assert_eq!(soard(&daemon, &["silence", "expire", "s-1"]).0, Some(0));
    let (code, said) = soard(&daemon, &["silence", "expire", "s-1"]);
    assert_eq!((code, said.contains("s-1 ended at")), (Some(1), true), "{said}");
    let (code, said) = soard(&daemon, &["silence", "list", "--expired", "-q"]);
    assert_eq!((code, &*said), (Some(0), "s-1\n"));

    // What it held is acted upon when it is reported again.
    post(&daemon, "1", "high");
    wait_for("the webhook of the alert that was silenced", || (sink.got().len() == 2).then_some(()));
    assert_eq!(sink.got()[1].body, "\"a-1.0\"");
    let (_, said) = soard(&daemon, &["why", "a-1.0"]);
    assert!(said.contains("its silence has ended"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}

/// Status and body of a POST to the `push` source with this token.
fn post_as(daemon: &Daemon, token: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    let body = json!({ "title": "t", "severity": "low" }).to_string();
    let head = format!(
        "POST /v1/sources/push HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    (reply.split(' ').nth(1).unwrap().parse().unwrap(), reply)
}

#[test]
fn a_token_of_the_role_source_may_send_alerts_until_it_is_revoked() {
    let (_folder, _sink, mut daemon) = world();
    let make = |daemon: &Daemon, arguments: &[&str]| {
        let output = daemon.soard(&[&["token", "add"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let source = make(&daemon, &["edr", "--role", "source", "--expires", "12h", "-c", "the new sensor"]);
    let viewer = make(&daemon, &["ann", "--role", "viewer"]);
    assert!(
        source.starts_with("soard_") && source.len() > 40 && source != viewer,
        "standard output is the token alone"
    );
    assert_eq!(post_as(&daemon, &source).0, 200);
    assert_eq!(post_as(&daemon, support::TOKEN).0, 200, "the source's own token is valid beside it");
    let (code, said) = post_as(&daemon, &viewer);
    assert_eq!((code, said.contains("`ann` has the role viewer; this takes source")), (403, true), "{said}");
    let (code, said) = post_as(&daemon, "soard_nobody");
    assert_eq!((code, said.contains("no valid token for this source")), (401, true), "{said}");

    daemon.kill();
    daemon.start();
    assert_eq!(post_as(&daemon, &source).0, 200, "a restart keeps it");
    for (arguments, code, expected) in [
        (&["add", "edr", "--role", "viewer"][..], 1, "there is a token `edr` already"),
        (&["add", "Edr", "--role", "viewer"], 1, "is no name for a token"),
        (&["add", "x", "--role", "boss"], 2, "invalid value 'boss'"),
        (&["add", "x", "--role", "viewer", "--expires", "3651d"], 1, "at most 3650d"),
        (&["revoke", "edrr"], 1, "did you mean `edr`?"),
        (&["revoke", "edr"], 0, "is revoked"),
        (&["list"], 0, "ann"),
    ] {
        let (got, said) = soard(&daemon, &[&["token"], arguments].concat());
        assert_eq!((got, said.contains(expected)), (Some(code), true), "{arguments:?}: {said}");
    }
    let (code, said) = post_as(&daemon, &source);
    assert_eq!((code, said.contains("`edr` was revoked at")), (401, true), "{said}");
    assert!(said.to_ascii_lowercase().contains("www-authenticate: bearer"), "{said}");
    let names = |list: Value| list.as_array().unwrap().iter().map(|token| token["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(daemon.json(&["token", "list"])), [json!("ann")]);
    assert_eq!(names(daemon.json(&["token", "list", "--all"])), [json!("edr"), json!("ann")]);
    assert!(soard(&daemon, &["log", "tail"]).1.contains("revoked token edr"));

    let kept = format!("{:?}{}", daemon.journal(), daemon.log());
    assert!(!kept.contains(&source) && !kept.contains(&viewer), "a token is on record or in the log");
    assert!(kept.contains("the new sensor"), "the order is on record");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn samples_go_the_whole_way_and_are_marked() {
    let (_folder, sink, mut daemon) = world();
    let (code, said) = soard(&daemon, &["samples", "send", "--list"]);
    assert_eq!((code, said.lines().count()), (Some(0), 15), "{said}");
    let (code, said) = soard(&daemon, &["samples", "send", "--format", "falcoo"]);
    assert_eq!((code, said.contains("a similar value exists: 'falco'")), (Some(2), true), "{said}");
    let one = daemon.json(&["samples", "send", "--format", "falco"]);
    assert_eq!(one["sent"][0]["alerts"], json!(["a-1.0"]), "{one}");
    let again = daemon.json(&["samples", "send", "--format", "falco"]);
    assert_eq!(again["sent"][0]["alerts"], json!(["a-2.0"]), "each sending gives new alerts");
    let bodies = wait_for("the webhooks", || {
        let mut bodies: Vec<String> = sink.got().into_iter().map(|got| got.body).collect();
        bodies.sort();
        (bodies.len() == 2).then_some(bodies)
    });
    assert_eq!(bodies, ["\"a-1.0\"", "\"a-2.0\""]);
    let view = daemon.json(&["alerts", "show", "a-1.0"]);
    assert!(view["alert"]["title"].as_str().unwrap().starts_with("[sample] "), "{view}");
    assert_eq!(
        (&view["alert"]["source"], &view["tags"].as_array().unwrap().contains(&json!("sample"))),
        (&json!("samples"), &true)
    );
    let (_, said) = soard(&daemon, &["why", "a-1.0"]);
    assert!(said.contains("a sample that") && said.contains("uid "), "{said}");
    let all = daemon.json(&["samples", "send"]);
    assert_eq!((all["sent"].as_array().unwrap().len(), &all["failed"]), (15, &json!([])), "{all}");
    assert_eq!(daemon.json(&["status"])["quarantined"], 0);
    assert_eq!(daemon.stop(), Some(0));
}
