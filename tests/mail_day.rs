//! A day of mails: two hundred alerts, five recipients who want different things, a mail server, crashes, and the morning after.
//!
//! What each mailbox holds is held against the settings by an oracle that knows nothing of how soard decides.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::{Value, json};
use support::{Daemon, wait_for};

const ROUTES: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [tell] }\n";
const TELL: &str = r#"fn on_alert(alert) { email("oncall"); }"#;
const SEVERITIES: [&str; 4] = ["high", "medium", "low", "informational"];
/// How long a night is slept through.
const NIGHT: SignedDuration = SignedDuration::from_hours(28);

/// A mail as the server has it.
#[derive(Debug, Clone)]
struct Mail {
    to: String,
    /// What it is about: `a-7.0`, or a digest's group.
    trigger: String,
    text: String,
}

/// A mail server that parses what it gets; it ends with its standard input.
struct Server {
    child: Child,
    port: u16,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/smtp_sink.py");
        let mut python = Command::new("/usr/bin/python3");
        let mut child = python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let port = first.strip_prefix("port ").unwrap().parse().unwrap();
        let mails = Arc::<Mutex<Vec<Value>>>::default();
        let kept = mails.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, port, mails }
    }

    /// What each mailbox holds, in the order of arrival: a mail that was sent again is one, as its Message-ID stays the same.
    fn mails(&self) -> Vec<Mail> {
        let all = self.mails.lock().unwrap();
        let one = |mail: &Value| {
            let headers = mail["headers"].as_array().unwrap();
            let header = |name: &str| headers.iter().find(|header| header[0] == name).unwrap()[1].as_str().unwrap();
            let trigger = header("X-Soard-Run").split('/').next().unwrap().to_owned();
            let text = mail["parts"][0]["text"].as_str().unwrap().to_owned();
            let id = header("Message-ID").to_owned();
            let to = mail["to"].as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned());
            to.map(move |to| (id.clone(), Mail { to, trigger: trigger.clone(), text: text.clone() }))
                .collect::<Vec<_>>()
        };
        let mut known = BTreeSet::new();
        let news = all.iter().flat_map(one).filter(|(id, mail)| known.insert((id.clone(), mail.to.clone())));
        news.map(|(_, mail)| mail).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A recipient as the oracle has it.
struct Wants {
    address: &'static str,
    at_least: &'static str,
    /// High, medium and low ones a day; `None`: any number.
    caps: Option<[usize; 3]>,
    /// Only these are mailed at once.
    awake_for: &'static [&'static str],
    /// Leaves half-way.
    leaves: bool,
}

const USUAL: Wants = Wants {
    address: "usual@example.com",
    at_least: "low",
    caps: Some([4, 2, 1]),
    awake_for: &SEVERITIES,
    leaves: false,
};
const RECIPIENTS: [Wants; 5] = [
    USUAL,
    Wants { address: "any@example.com", caps: None, ..USUAL },
    Wants { address: "high@example.com", at_least: "high", ..USUAL },
    Wants { address: "sleeps@example.com", awake_for: &["high"], ..USUAL },
    Wants { address: "leaves@example.com", leaves: true, ..USUAL },
];

fn settings(port: u16, recipients: &str) -> String {
    format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n{recipients}destinations:\n  oncall:\n    \
         email:\n      smtp: {{ host: 127.0.0.1, port: {port}, tls: none }}\n      from: soard@example.com\n      \
         to: [usual@example.com, any@example.com, high@example.com, sleeps@example.com, {{ role: soc }}]\n"
    )
}

#[expect(clippy::disallowed_methods, reason = "the hours shall be those of the daemon")]
fn clock(hours: i64) -> String {
    (Timestamp::now() + SignedDuration::from_hours(hours)).strftime("%H:%M").to_string()
}

/// As the recipients want it: the hours in which one of them sleeps are on now, and digests are far off, whatever the time of day.
fn wanted() -> String {
    format!(
        "recipients:\n  \"*\": {{ digest: \"{}\" }}\n  any@example.com: {{ caps: none }}\n  high@example.com: {{ at_least: high }}\n  sleeps@example.com: \
         {{ quiet: {{ from: \"{}\", until: \"{}\" }} }}\n  Leaves@example.com: {{ name: Lee, roles: [soc] }}\n",
        clock(12),
        clock(-1),
        clock(2)
    )
}

/// Alerts of all severities, by lot.
fn alerts(count: usize) -> Vec<Value> {
    let mut seed = 7_u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % 10
    };
    let severity = |lot| SEVERITIES[[0, 0, 0, 1, 1, 1, 2, 2, 2, 3][usize::try_from(lot).unwrap()]];
    (0..count)
        .map(|n| {
            let severity = severity(draw());
            json!({ "external_id": format!("n-{n}"), "kind": "k", "title": format!("n-{n} {severity}"), "severity": severity })
        })
        .collect()
}

fn daemon(dir: &Path, server: &Server, recipients: &str) -> Daemon {
    let files = [("rules/route/main.yaml", ROUTES), ("playbooks/tell.rhai", TELL)];
    let mut daemon = Daemon::new(dir, &settings(server.port, recipients), &files);
    daemon.start();
    daemon
}

fn post(daemon: &Daemon, alerts: &[Value]) {
    for batch in alerts.chunks(25) {
        assert_eq!(daemon.post(&json!(batch).to_string()).unwrap().0, 200);
    }
}

fn settled(daemon: &Daemon) {
    wait_for("the end of the runs", || (daemon.json(&["status"])["runs_open"] == 0).then_some(()));
}

/// The severity of each alert, by its id.
fn severities(daemon: &Daemon) -> BTreeMap<String, String> {
    let intakes = daemon.journal().into_iter().filter(|entry| entry["k"] == "intake");
    let alerts = intakes.flat_map(|entry| entry["d"]["alerts"].as_array().unwrap().clone());
    let one = |taken: Value| {
        let title = taken["alert"]["title"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
        (taken["id"].as_str().unwrap().to_owned(), title)
    };
    alerts.map(one).collect()
}

/// What is wrong with what somebody's mailbox holds; `early` are the alerts before some left.
fn wrong(wants: &Wants, mails: &[Mail], all: &BTreeMap<String, String>, early: &BTreeSet<String>) -> Vec<String> {
    let rank = |severity: &str| SEVERITIES.iter().position(|known| *known == severity).unwrap();
    let own: Vec<&Mail> = mails.iter().filter(|mail| mail.to.eq_ignore_ascii_case(wants.address)).collect();
    let mut triggers = BTreeSet::new();
    let mut wrong: Vec<String> = own
        .iter()
        .filter(|mail| !triggers.insert(mail.trigger.as_str()))
        .map(|mail| format!("{}: two mails about {}", wants.address, mail.trigger))
        .collect();
    let (digests, alone): (Vec<&Mail>, Vec<&Mail>) = own.into_iter().partition(|mail| mail.trigger.starts_with('g'));
    let alone: BTreeSet<&str> = alone.into_iter().map(|mail| mail.trigger.as_str()).collect();
    let wanted: BTreeSet<&str> = all
        .iter()
        .filter(|(id, severity)| rank(severity) <= rank(wants.at_least) && (!wants.leaves || early.contains(*id)))
        .map(|(id, _)| id.as_str())
        .collect();
    for (n, severity) in SEVERITIES.iter().enumerate().take(3) {
        let of = |ids: &BTreeSet<&str>| ids.iter().filter(|id| all[**id] == *severity).count();
        let cap = wants.caps.map_or(usize::MAX, |caps| caps[n]);
        let most = if wants.awake_for.contains(severity) { cap } else { 0 };
        let (got, due) = (of(&alone), of(&wanted).min(most));
        if got != due {
            wrong.push(format!("{}: {got} mails about {severity} alerts instead of {due}", wants.address));
        }
    }
    if let Some(odd) = alone.difference(&wanted).next() {
        wrong.push(format!("{}: a mail about {odd}, which is not wanted", wants.address));
    }
    let waits: BTreeSet<&str> = wanted.difference(&alone).copied().filter(|_| !wants.leaves).collect();
    let id = Regex::new(r"\ba-\d+\.\d+\b").unwrap();
    let total = Regex::new(r"(\d+) alerts?\b[^\n]*not mailed alone").unwrap();
    let named: Vec<&str> =
        digests.iter().flat_map(|mail| id.find_iter(&mail.text)).map(|found| found.as_str()).collect();
    let told: usize = digests.iter().map(|mail| total.captures(&mail.text).unwrap()[1].parse::<usize>().unwrap()).sum();
    let distinct: BTreeSet<&str> = named.iter().copied().collect();
    if told != waits.len() || !distinct.is_subset(&waits) || distinct.len() < waits.len().min(100) {
        let (named, waits) = (distinct.len(), waits.len());
        wrong.push(format!("{}: digests account for {told} alerts and name {named}, but {waits} wait", wants.address));
    }
    wrong
}

/// What lets a program live at another time.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.exists());
    found.expect("Debian's package `faketime` is installed")
}

#[test]
fn each_mailbox_holds_what_its_owner_wants_and_the_digest_accounts_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let mut daemon = daemon(folder.path(), &server, &wanted());
    let alerts = alerts(200);
    post(&daemon, &alerts[..100]);
    settled(&daemon);
    let early = severities(&daemon).into_keys().collect();
    let left = daemon.soard(&["recipients", "unsubscribe", "leaves@example.com", "-c", "goes elsewhere"]);
    assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    post(&daemon, &alerts[100..150]);
    daemon.kill();
    daemon.start();
    post(&daemon, &alerts[100..]);
    settled(&daemon);

    let all = severities(&daemon);
    assert_eq!(all.len(), 200);
    let recipients = daemon.json(&["recipients", "list"]);
    let of = |address: &str| recipients.as_array().unwrap().iter().find(|it| it["address"] == address).unwrap();
    let usual = of("usual@example.com");
    let waits = all.values().filter(|severity| *severity != "informational").count() - 7;
    assert_eq!(usual["waiting"][0]["alerts"], json!(waits), "{usual}");
    assert_eq!((&usual["counted"][0]["count"], &usual["caps"]["high"]), (&json!(4), &json!(4)));
    assert_eq!(
        (&of("any@example.com")["caps"]["low"], &of("any@example.com")["waiting"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(of("leaves@example.com")["unsubscribed"][0]["comment"], "goes elsewhere");
    assert!(server.mails().iter().all(|mail| mail.trigger.starts_with('a')), "digests wait for their time");

    daemon.kill();
    let preload = faketime().display().to_string();
    let night = format!("+{}s", NIGHT.as_secs());
    for (name, value) in [("LD_PRELOAD", &*preload), ("FAKETIME", &night), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")] {
        daemon.env.push((name.into(), value.into()));
    }
    daemon.start();
    wait_for("the digests", || {
        let digests = server.mails().into_iter().filter(|mail| mail.trigger.starts_with('g')).count();
        (digests >= 3).then_some(())
    });
    settled(&daemon);
    let mails = server.mails();
    let wrong: Vec<String> = RECIPIENTS.iter().flat_map(|wants| wrong(wants, &mails, &all, &early)).collect();
    assert_eq!(wrong, Vec::<String>::new());
    let digest = mails.iter().find(|mail| mail.to == USUAL.address && mail.trigger.starts_with('g')).unwrap();
    let why = daemon.soard(&["why", &digest.trigger]);
    let why = String::from_utf8([why.stdout, why.stderr].concat()).unwrap();
    assert!(why.contains("digest") && why.contains("usual@example.com"), "{why}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn without_caps_the_oracle_complains() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let all_of_it = "recipients:\n  \"*\": { caps: none }\n  leaves@example.com: { roles: soc }\n";
    let mut daemon = daemon(folder.path(), &server, all_of_it);
    post(&daemon, &alerts(60));
    settled(&daemon);
    let (mails, all) = (server.mails(), severities(&daemon));
    let usual = wrong(&USUAL, &mails, &all, &BTreeSet::new());
    assert!(usual.iter().any(|wrong| wrong.contains("instead of 4")), "{usual:?}");
    assert!(usual.iter().any(|wrong| wrong.contains("digests account for 0 alerts")) || usual.len() == 3, "{usual:?}");
    assert_eq!(wrong(&RECIPIENTS[1], &mails, &all, &BTreeSet::new()), Vec::<String>::new(), "who wants any gets them");
    let doubled: Vec<Mail> =
        mails.iter().cloned().chain(mails.iter().find(|mail| mail.to == "any@example.com").cloned()).collect();
    let found = wrong(&RECIPIENTS[1], &doubled, &all, &BTreeSet::new());
    assert!(found.len() == 1 && found[0].contains("two mails about a-"), "{found:?}");
    assert_eq!(daemon.stop(), Some(0));
}
