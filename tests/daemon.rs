//! The daemon as its users meet it: alerts by HTTP, folder and file, rules that change while it runs, and what it
//! says about all of that.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Daemon, HttpSink, wait_for, write};

const SOURCE: &str = "sources:\n  push: { http: { token: { env: SOARD_TEST_TOKEN } } }\n";

const ROUTES: &str = r"
route:
  - id: grouped
    title: Failed logins, by host
    owner: soc@example.com
    match: { kind: FailedLogin }
    group_by: [entities.host.name]
    group_wait: 1s
    playbooks: [hook]
  - id: noisy
    title: Noisy probes
    owner: soc@example.com
    match: { kind: Probe }
    throttle: { per: [entities.ip.address], at_most: 2, within: 1h }
    playbooks: [hook]
  - id: rest
    title: Everything else
    owner: soc@example.com
    playbooks: [hook]
";

const SUPPRESS: &str = r"
suppress:
  - id: scanner
    title: Port scans of our own scanner
    owner: soc@example.com
    reason: expected
    expires: 2999-01-01
    match:
      kind|startswith: PortScan
      entities.ip.address|cidr: 192.0.2.0/28
";

const HOOK: &str = r#"
fn on_alert(alert) {
    webhook("hook", #{ id: alert.id, title: alert.title, host: alert.host });
}
fn on_group(alerts) {
    webhook("hook", #{ group: alerts.len(), titles: alerts.map(|a| a.title) });
}
"#;

fn files() -> Vec<(&'static str, &'static str)> {
    vec![("rules/route/main.yaml", ROUTES), ("rules/suppress/main.yaml", SUPPRESS), ("playbooks/hook.rhai", HOOK)]
}

fn settings(http: &HttpSink) -> String {
    let url = format!("http://{}/hook", http.address);
    format!(
        "{SOURCE}destinations:\n  hook: {{ webhook: {{ url: \"{url}\", mode: at_least_once, retries: [200ms, 200ms] }} }}\n"
    )
}

fn alert(id: &str, kind: &str, more: Value) -> Value {
    let mut alert = json!({ "external_id": id, "kind": kind, "title": format!("{kind} {id}"), "severity": "medium" });
    alert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    alert
}

fn bodies(http: &HttpSink) -> Vec<Value> {
    http.got().iter().map(support::Got::json).collect()
}

#[test]
fn alerts_are_suppressed_folded_throttled_grouped_and_acted_upon_and_each_decision_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    daemon.start();
    let ip = |address: &str| json!({ "entities": { "ip": [{ "address": address }] } });
    let host = |name: &str| json!({ "entities": { "host": [{ "name": name }] } });
    let mut batch = vec![
        alert("s1", "PortScan.Tcp", ip("192.0.2.7")),
        alert("s2", "PortScan.Tcp", ip("192.0.2.99")),
        alert("r1", "Malware", host("web-01")),
        alert("r1", "Malware", host("web-01")),
    ];
    batch.extend((0..5).map(|n| alert(&format!("p{n}"), "Probe", ip("198.51.100.9"))));
    batch.extend((0..3).map(|n| alert(&format!("f{n}"), "FailedLogin", host("db-01"))));
    batch.push(alert("f9", "FailedLogin", host("db-02")));
    let (status, answer) = daemon.post(&Value::Array(batch).to_string()).unwrap();
    assert_eq!((status, &answer["accepted"]), (200, &json!(13)), "{answer}");

    // One scan, one piece of malware, two probes of five, two groups.
    wait_for("the webhooks", || (http.got().len() >= 6).then_some(()));
    let bodies = bodies(&http);
    assert_eq!(bodies.len(), 6, "{bodies:#?}");
    let count = |test: &dyn Fn(&Value) -> bool| bodies.iter().filter(|body| test(body)).count();
    assert_eq!(count(&|b| b["group"] == 3), 1);
    assert_eq!(count(&|b| b["group"] == 1), 1);
    assert_eq!(count(&|b| b["title"].as_str().is_some_and(|t| t.starts_with("Probe"))), 2);
    assert_eq!(count(&|b| b["title"] == "PortScan.Tcp s1"), 0);

    let why = String::from_utf8(daemon.soard(&["why", "a-1.0"]).stdout).unwrap();
    assert!(
        why.contains("scanner") && why.contains("rules/suppress/main.yaml:3") && why.contains("dismissed"),
        "{why}"
    );
    let why = String::from_utf8(daemon.soard(&["why", "a-3.0"]).stdout).unwrap();
    assert!(why.contains("rest") && why.contains("hook") && why.contains("seen 2 times"), "{why}");
    let totals = daemon.json(&["status"])["totals"].clone();
    assert_eq!((&totals["suppressed"], &totals["duplicates"], &totals["throttled"]), (&json!(1), &json!(1), &json!(3)));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(daemon.journal().last().unwrap()["d"], json!("closed"));
}

#[test]
fn rules_change_while_it_runs_and_a_faulty_bundle_leaves_the_old_one_in_charge() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    daemon.start();
    let first = daemon.json(&["status"])["bundle"]["id"].clone();

    write(folder.path(), "rules/suppress/main.yaml", &SUPPRESS.replace("reason: expected", "reasson: expected"));
    let refused = wait_for("the faulty bundle to be refused", || {
        let status = daemon.json(&["status"]);
        status["refused_bundle"].is_object().then_some(status)
    });
    assert_eq!(refused["bundle"]["id"], first);
    let fault = refused["refused_bundle"]["faults"].to_string();
    assert!(fault.contains("rules/suppress/main.yaml:6") && fault.contains("did you mean `reason`"), "{fault}");
    let scan =
        |id: &str| alert(id, "PortScan.Tcp", json!({ "entities": { "ip": [{ "address": "192.0.2.7" }] } })).to_string();
    daemon.post(&scan("one")).unwrap();

    write(folder.path(), "rules/suppress/main.yaml", &SUPPRESS.replace("192.0.2.0/28", "203.0.113.0/24"));
    let output = daemon.soard(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    let status = daemon.json(&["status"]);
    assert_ne!(status["bundle"]["id"], first);
    assert!(status["refused_bundle"].is_null());
    daemon.post(&scan("two")).unwrap();
    wait_for("the webhook", || (http.got().len() == 1).then_some(()));
    assert_eq!(bodies(&http)[0]["title"], "PortScan.Tcp two");

    // HUP does the same as `reload`.
    write(folder.path(), "rules/suppress/main.yaml", SUPPRESS);
    Command::new("kill").args(["-HUP", &daemon.pid().to_string()]).status().unwrap();
    wait_for("the first bundle again", || (daemon.json(&["status"])["bundle"]["id"] == first).then_some(()));
}

#[test]
fn a_folder_that_is_made_or_replaced_while_it_runs_is_seen_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    daemon.start();
    let bundle = |daemon: &Daemon| daemon.json(&["status"])["bundle"]["id"].clone();
    let mut known = bundle(&daemon);
    let mut expect_another = |daemon: &Daemon, what: &str| {
        known = wait_for(what, || Some(bundle(daemon)).filter(|id| *id != known));
    };
    write(folder.path(), "lists/owners.yaml", "a: first\n");
    expect_another(&daemon, "the new folder");
    write(folder.path(), "lists/owners.yaml", "a: second\n");
    expect_another(&daemon, "a change in the new folder");
    std::fs::rename(folder.path().join("lists"), folder.path().join("old")).unwrap();
    write(folder.path(), "lists/owners.yaml", "a: third\n");
    expect_another(&daemon, "the folder in the place of the old one");
    write(folder.path(), "lists/owners.yaml", "a: fourth\n");
    expect_another(&daemon, "a change in that folder");
}

#[test]
fn files_that_go_back_to_what_they_were_before_the_watch_has_looked_are_loaded_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    // The watch does not look while git works; an operator's reload does not wait for that.
    let lock = ".git/index.lock";
    write(folder.path(), lock, "");
    daemon.start();
    let bundle = |daemon: &Daemon| daemon.json(&["status"])["bundle"]["id"].clone();
    let first = bundle(&daemon);
    write(folder.path(), "rules/suppress/main.yaml", &SUPPRESS.replace("192.0.2.0/28", "203.0.113.0/24"));
    assert!(daemon.soard(&["reload"]).status.success());
    assert_ne!(bundle(&daemon), first);
    write(folder.path(), "rules/suppress/main.yaml", SUPPRESS);
    fs::remove_file(folder.path().join(lock)).unwrap();
    wait_for("the first bundle again", || (bundle(&daemon) == first).then_some(()));

    // The same with a bundle that was refused: nothing is wrong any more.
    write(folder.path(), lock, "");
    write(folder.path(), "rules/suppress/main.yaml", &SUPPRESS.replace("reason: expected", "reasson: expected"));
    assert!(!daemon.soard(&["reload"]).status.success());
    assert!(daemon.json(&["status"])["refused_bundle"].is_object());
    write(folder.path(), "rules/suppress/main.yaml", SUPPRESS);
    fs::remove_file(folder.path().join(lock)).unwrap();
    wait_for("no bundle to be refused", || daemon.json(&["status"])["refused_bundle"].is_null().then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_run_ends_on_the_bundle_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let playbook = |word: &str| {
        format!(
            "fn on_alert(alert) {{\n webhook(\"hook\", #{{ say: \"{word} 1\" }});\n sleep(\"4s\");\n webhook(\"hook\", #{{ say: \"{word} 2\" }});\n}}\n fn on_group(alerts) {{}}"
        )
    };
    let old = playbook("old");
    let mut files = files();
    files[2].1 = &old;
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files);
    daemon.start();
    daemon.post(&alert("a", "Malware", json!({})).to_string()).unwrap();
    wait_for("the first step", || (http.got().len() == 1).then_some(()));
    write(folder.path(), "playbooks/hook.rhai", &playbook("new"));
    assert!(daemon.soard(&["reload"]).status.success());
    daemon.kill();
    daemon.start();
    daemon.post(&alert("b", "Malware", json!({})).to_string()).unwrap();
    wait_for("all steps", || (http.got().len() == 4).then_some(()));
    // On a busy machine the old run may be over before the new one begins; which text each is on is the point.
    let mut said: Vec<String> = bodies(&http).iter().map(|body| body["say"].as_str().unwrap().to_owned()).collect();
    said.sort();
    assert_eq!(said, ["new 1", "new 2", "old 1", "old 2"]);
}

#[test]
fn a_record_that_no_format_takes_is_kept_and_can_be_sent_through_again() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    daemon.start();
    let record = r#"{"acme_event":"Breach","acme_name":"Door 7 forced","acme_level":9,"acme_id":"e-7"}"#;
    let (status, answer) = daemon.post(record).unwrap();
    assert_eq!((status, &answer["quarantined"]), (200, &json!(1)), "{answer}");
    let (status, _) = daemon.post("{\"never\": ").unwrap();
    assert_eq!(status, 400);

    let list = daemon.json(&["quarantine", "list"]);
    assert_eq!(list["records"].as_array().unwrap().len(), 1, "{list}");
    let show = String::from_utf8(daemon.soard(&["quarantine", "show", "1"]).stdout).unwrap();
    assert!(show.contains("Door 7 forced"), "{show}");
    let output = daemon.soard(&["quarantine", "retry", "1"]);
    assert_eq!(output.status.code(), Some(1), "still no format takes it: {output:?}");

    let format = "format: acme\ntitle: Acme doors\ndocumentation: https://docs.example.com/acme\nrecognise:\n  present: [acme_event]\nidentity: { external_id: acme_id }\n\
                  alert:\n  title: acme_name\n  kind: acme_event\n  severity: { from: acme_level, map: { 0-3: low, 4-7: medium, 8-10: high }, else: medium }\n";
    write(folder.path(), "rules/normalise/acme.yaml", format);
    let output = daemon.soard(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    let output = daemon.soard(&["quarantine", "retry", "1"]);
    assert!(output.status.success(), "{output:?}");
    wait_for("the webhook", || (http.got().len() == 1).then_some(()));
    assert_eq!(bodies(&http)[0]["title"], "Door 7 forced");
    assert_eq!(daemon.json(&["quarantine", "list"])["records"], json!([]));
}

#[test]
fn each_line_of_a_followed_file_is_taken_once_through_kills_and_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let sources = "sources:\n  push: { http: { token: { env: SOARD_TEST_TOKEN } } }\n  events: { format: soard, file: { path: events.jsonl } }\n";
    let settings = settings(&http).replace(SOURCE, sources);
    let mut daemon = Daemon::new(folder.path(), &settings, &files());
    daemon.start();
    let path = folder.path().join("events.jsonl");
    for n in 0..300 {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        writeln!(
            file,
            "{}",
            json!({ "external_id": format!("l-{n}"), "title": "line", "severity": "low", "kind": "Line" })
        )
        .unwrap();
        if n == 0 {
            // What was rotated away before the file was ever seen is not followed.
            wait_for("the first line", || daemon.journal().iter().any(|line| line["k"] == "intake").then_some(()));
        }
        if n % 100 == 60 {
            fs::rename(&path, folder.path().join(format!("events.jsonl.{n}"))).unwrap();
        }
        if n % 37 == 36 {
            daemon.kill();
            daemon.start();
        }
    }
    let taken = || -> Vec<String> {
        let journal = daemon.journal();
        let intakes = journal.iter().filter(|line| line["k"] == "intake");
        intakes.map(|line| line["d"]["alerts"][0]["alert"]["external_id"].as_str().unwrap().to_owned()).collect()
    };
    let until = Instant::now() + Duration::from_secs(30);
    while taken().len() < 300 && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    let mut taken = taken();
    let mut expected: Vec<String> = (0..300).map(|n| format!("l-{n}")).collect();
    taken.sort();
    expected.sort();
    assert_eq!(taken, expected, "{}", daemon.log());
}

#[test]
fn a_secret_appears_nowhere_but_where_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let canary = "canary-5f3a9c1e-secret";
    write(folder.path(), "bearer.txt", canary);
    let settings =
        settings(&http).replace("mode: at_least_once,", "mode: at_least_once, bearer: { file: bearer.txt },");
    let mut daemon = Daemon::new(folder.path(), &settings, &files());
    daemon.env.push(("SOARD_LOG".into(), "trace".into()));
    daemon.start();
    daemon.post(&alert("a", "Malware", json!({})).to_string()).unwrap();
    let got = wait_for("the webhook", || http.got().into_iter().next());
    assert_eq!(got.headers["authorization"], format!("Bearer {canary}"));
    let said: String = [&["status"][..], &["why", "a-1.0"], &["runs", "list"], &["log", "query"]]
        .iter()
        .map(|arguments| String::from_utf8_lossy(&daemon.soard(arguments).stdout).into_owned())
        .collect();
    daemon.stop();
    let journal = format!("{:?}", daemon.journal());
    for (name, text) in [("output", said), ("journal", journal), ("log", daemon.log())] {
        for secret in [canary, support::TOKEN] {
            assert!(!text.contains(secret), "{secret} in {name}");
        }
    }
}

#[test]
fn check_says_everything_at_once_and_its_exit_code_tells_content_from_failure() {
    let folder = tempfile::tempdir().unwrap();
    let check =
        |dir: &std::path::Path| Command::new(env!("CARGO_BIN_EXE_soard")).arg("check").arg(dir).output().unwrap();
    assert_eq!(check(folder.path()).status.code(), Some(2));
    let http = HttpSink::start(Duration::ZERO);
    let daemon = Daemon::new(folder.path(), &settings(&http), &files());
    let good = check(&daemon.dir);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    write(folder.path(), "rules/route/bad.yaml", "route:\n  - id: x\n    playbooks: [hok]\n    colour: red\n");
    write(folder.path(), "playbooks/bad.rhai", "fn on_alert(alert) {\n  webhok(\"hook\", #{});\n}\n");
    let bad = check(&daemon.dir);
    assert_eq!(bad.status.code(), Some(1));
    let said = String::from_utf8_lossy(&bad.stdout).into_owned() + &String::from_utf8_lossy(&bad.stderr);
    for expected in
        ["rules/route/bad.yaml:4:5", "did you mean `hook`", "playbooks/bad.rhai:2", "did you mean `webhook`"]
    {
        assert!(said.contains(expected), "{expected} is missing in\n{said}");
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    let socket = folder.path().join("notify.sock");
    let told = UnixDatagram::bind(&socket).unwrap();
    told.set_read_timeout(Some(support::PATIENCE)).unwrap();
    daemon.env.push(("NOTIFY_SOCKET".into(), socket.display().to_string()));
    daemon.env.push(("WATCHDOG_USEC".into(), "400000".into()));
    daemon.start();
    let wait_to_hear = |word: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = told.recv(&mut buffer).unwrap_or_else(|error| panic!("waiting for {word}: {error}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line == word) {
                return text;
            }
        }
    };
    assert!(wait_to_hear("READY=1").contains("STATUS=ready; bundle "));
    wait_to_hear("WATCHDOG=1");
    wait_to_hear("WATCHDOG=1");
    assert_eq!(daemon.stop(), Some(0));
    wait_to_hear("STOPPING=1");
}

#[test]
fn a_daemon_that_only_reads_standard_input_ends_when_that_ends_and_all_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let settings = settings(&http).replace(SOURCE, "sources: { pipe: { stdin: {} } }\n");
    let mut daemon = Daemon::new(folder.path(), &settings, &files());
    write(folder.path(), "soard.yaml", &format!("state: state\n{settings}"));
    let lines: String = (0..50).map(|n| alert(&format!("p{n}"), "Malware", json!({})).to_string() + "\n").collect();
    let (status, log) = daemon.pipe(&(lines + "not json\n"));
    assert!(status.success(), "{log}");
    assert_eq!(http.got().len(), 50);
    let journal = daemon.journal();
    assert_eq!(journal.iter().filter(|line| line["k"] == "quarantine").count(), 1);
    assert_eq!(journal.last().unwrap()["d"], json!("closed"));
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    daemon.start();
    let second =
        Command::new(env!("CARGO_BIN_EXE_soard")).arg("run").arg(folder.path()).envs(daemon.env.clone()).output();
    let second = second.unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is in use by another soard"), "{said}");
    daemon.post(&alert("a", "Malware", json!({})).to_string()).unwrap();
    wait_for("the webhook", || (http.got().len() == 1).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_source_pins_its_format_and_what_is_odd_or_no_alert_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "sources:\n  push: { format: suricata-eve, http: { token: { env: SOARD_TEST_TOKEN } } }\n";
    let routes = [("rules/route/main.yaml", "default_route: none\n")];
    let mut daemon = Daemon::new(folder.path(), settings, &routes);
    daemon.start();
    let event = |severity: Value| {
        json!({ "timestamp": "2026-03-10T08:15:30.1+0100", "event_type": "alert", "src_ip": "192.0.2.9",
            "alert": { "signature_id": 9, "signature": "Scan", "severity": severity } })
    };
    let batch = json!([
        event(json!(1)),
        event(json!("urgent")),
        { "timestamp": "2026-03-10T08:15:30.1+0100", "event_type": "flow", "flow": {} },
        alert("1", "Malware", json!({})),
    ]);
    let (status, answer) = daemon.post(&batch.to_string()).unwrap();
    assert_eq!(
        (status, &answer["accepted"], &answer["quarantined"], &answer["ignored"]),
        (200, &json!(2), &json!(1), &json!(1)),
        "{answer}"
    );
    let source = daemon.json(&["status"])["sources"][0].clone();
    assert_eq!((&source["ignored"], &source["oddities"]["unknown_word"]), (&json!(1), &json!(1)), "{source}");
    assert_eq!(source["last_oddity"], "unknown_word in severity: urgent");
    let shown = String::from_utf8(daemon.soard(&["status"]).stdout).unwrap();
    assert!(shown.contains("unknown word 1"), "{shown}");
    let kept = daemon.json(&["quarantine", "list"]).to_string();
    assert!(
        kept.contains("no format takes it: suricata-eve (`event_type` is absent)"),
        "only the pinned one was tried: {kept}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn random_numbers_replay_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let playbook = "fn on_alert(alert) { let r = random(); webhook(\"hook\", #{ r: r }); webhook(\"hook\", #{ again: r }); }\nfn on_group(alerts) {}";
    let mut files = files();
    files[2].1 = playbook;
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files);
    daemon.start();
    let batch: Vec<Value> = (0..200).map(|n| alert(&format!("r{n}"), "Malware", json!({}))).collect();
    daemon.post(&Value::Array(batch).to_string()).unwrap();
    let totals = wait_for("all runs", || {
        let totals = daemon.json(&["status"])["totals"].clone();
        let ended: u64 =
            ["runs_finished", "runs_stalled", "runs_failed"].iter().map(|t| totals[t].as_u64().unwrap()).sum();
        (ended == 200).then_some(totals)
    });
    assert_eq!(totals["runs_finished"], 200, "{totals}");
}

#[test]
fn a_receiver_that_answers_absurdly_deep_json_cannot_stop_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::answering(format!("{}{}", "[".repeat(125), "]".repeat(125)));
    let mut daemon = Daemon::new(folder.path(), &settings(&http), &files());
    daemon.start();
    daemon.post(&alert("a", "Malware", json!({})).to_string()).unwrap();
    wait_for("the run", || (daemon.json(&["status"])["totals"]["runs_finished"] == 1).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    daemon.start();
    assert_eq!(daemon.json(&["status"])["alerts"]["total"], 1);
}

#[test]
fn a_daemon_that_cannot_listen_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::answering_with_status("500 Oops");
    let mut daemon = Daemon::new(folder.path(), &settings(&http).replace("[200ms, 200ms]", "[1h]"), &files());
    daemon.start();
    daemon.post(&alert("a", "Malware", json!({})).to_string()).unwrap();
    wait_for("the first attempt", || (http.got().len() == 1).then_some(()));
    daemon.kill();
    let sent = http.got().len();
    let taken = std::net::TcpListener::bind(("127.0.0.1", daemon.port)).unwrap();
    for _ in 0..2 {
        let mut run = Command::new(env!("CARGO_BIN_EXE_soard"));
        let output = run.arg("run").arg(folder.path()).envs(daemon.env.clone()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    drop(taken);
    assert_eq!(http.got().len(), sent);
}

#[test]
fn what_must_not_be_repeated_and_was_not_begun_is_sent_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::from_millis(150));
    let settings = settings(&http).replace("mode: at_least_once,", "mode: at_most_once, concurrency: 1,");
    let mut daemon = Daemon::new(folder.path(), &settings, &files());
    daemon.start();
    let batch: Vec<Value> = (0..30).map(|n| alert(&format!("o{n}"), "Malware", json!({}))).collect();
    daemon.post(&Value::Array(batch).to_string()).unwrap();
    wait_for("the first requests", || (http.got().len() >= 3).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    daemon.start();
    wait_for("the first requests after the restart", || (http.got().len() >= 10).then_some(()));
    daemon.kill();
    daemon.start();
    let totals = wait_for("all runs", || {
        let totals = daemon.json(&["status"])["totals"].clone();
        let ended: u64 = ["runs_finished", "runs_failed"].iter().map(|t| totals[t].as_u64().unwrap()).sum();
        (ended == 30).then_some(totals)
    });
    let mut keys: Vec<String> = http.got().iter().map(|got| got.headers["webhook-id"].clone()).collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "none is sent twice");
    assert!(
        totals["effects_failed"].as_u64().unwrap() <= 1,
        "only what was under way at the kill is unknown: {totals}"
    );
}

#[test]
fn a_long_pipe_is_read_to_its_end_and_a_waiting_run_does_not_hold_up_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let settings = settings(&http).replace(SOURCE, "sources: { pipe: { format: soard, stdin: {} } }\n");
    let mut daemon = Daemon::new(folder.path(), &settings, &[("rules/route/none.yaml", "default_route: none\n")]);
    write(folder.path(), "soard.yaml", &format!("state: state\n{settings}"));
    let lines: String = (0..3000).map(|n| alert(&format!("p{n}"), "Malware", json!({})).to_string() + "\n").collect();
    let (status, log) = daemon.pipe(&lines);
    assert!(status.success(), "{log}");
    assert_eq!(daemon.journal().iter().filter(|line| line["k"] == "intake").count(), 3000);

    write(folder.path(), "rules/route/none.yaml", ROUTES);
    write(folder.path(), "playbooks/hook.rhai", "fn on_alert(alert) { sleep(\"1h\"); }\nfn on_group(alerts) {}");
    let mut child = daemon.start_on_pipe(&(alert("late", "Malware", json!({})).to_string() + "\n"));
    wait_for("the sleep", || daemon.journal().iter().any(|line| line["k"] == "intent").then_some(()));
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(wait_for("the stop", || child.try_wait().unwrap()).success());
}
