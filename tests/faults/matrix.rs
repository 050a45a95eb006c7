//! Every way to fail, in every delivery mode, crossed with kill -9 of the daemon while it delivers.
//!
//! What must hold: each intent ends in exactly one outcome (I2); a receiver takes an effect no more often than crashes
//! and unclear attempts explain, and each time the same (I3), and never twice where the mode forbids it; and nothing is
//! sent whose intent is not on record (I4). Each rule has a daemon that lacks its protection and must break it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Daemon, PATIENCE, TOKEN, long};
use crate::ways::{self, Http, LOGIN, Memory, Smtp, Took};

/// A destination and the receiver behind it.
struct Case {
    name: String,
    mode: &'static str,
    /// How an effect may end when nothing is killed.
    ends: &'static [&'static str],
    memory: Memory,
}

const MODES: [&str; 3] = ["at_least_once", "at_most_once", "probe"];
/// How often each receiver fails for each alert.
const FAILS: usize = 2;

fn http_ends(way: Http, mode: &str) -> &'static [&'static str] {
    match way {
        Http::Moved | Http::Gone => &["rejected"],
        Http::HalfBody | Http::Busy | Http::BusyUntil | Http::Unavailable => &["ok"],
        _ if mode == "at_most_once" => &["unknown", "ok"],
        _ => &["ok"],
    }
}

fn smtp_ends(way: Smtp, mode: &str) -> &'static [&'static str] {
    match way {
        Smtp::Mail554 | Smtp::Rcpt550 | Smtp::Dot554 => &["rejected"],
        // A small message is on its way whole before the server can drop the connection in its midst.
        Smtp::DotDrop | Smtp::DotSilence | Smtp::MessageDrop if mode == "at_most_once" => &["unknown", "ok"],
        _ => &["ok"],
    }
}

/// `soard.yaml`, the playbook, and what stands behind.
fn cases(alerts: usize) -> (String, String, Vec<Case>) {
    let (mut yaml, mut members, mut cases) = (String::new(), String::new(), Vec::new());
    let retries = "retries: [100ms, 100ms, 200ms, 200ms, 400ms, 400ms, 400ms, 400ms, 400ms, 400ms, 400ms, 400ms]";
    for mode in MODES {
        for way in Http::ALL {
            let (address, memory) = ways::http(way, FAILS * alerts);
            let name = format!("{way:?}-{mode}").to_lowercase();
            let probe = format!(", probe: {{ url: \"http://{address}/asked/{{key}}\" }}");
            let probe = if mode == "probe" { &probe } else { "" };
            writeln!(yaml, "  {name}: {{ webhook: {{ url: \"http://{address}/\", mode: {mode}, timeout: 1s, {retries}{probe}, breaker: {{ failures: 1000 }} }} }}").unwrap();
            writeln!(members, "        #{{ webhook: \"{name}\", body: #{{ number: alert.external_id }} }},").unwrap();
            cases.push(Case { name, mode, ends: http_ends(way, mode), memory });
        }
    }
    for mode in &MODES[..2] {
        for way in Smtp::ALL {
            let (address, memory) = ways::smtp(way, FAILS * alerts);
            let name = format!("{way:?}-{mode}").to_lowercase();
            let login = if way.has_login() { ", username: soard, password: { env: SOARD_TEST_TOKEN }" } else { "" };
            let smtp = format!(
                "smtp: {{ host: 127.0.0.1, port: {}, tls: none, timeout: 1s, accept_timeout: 1s{login} }}",
                address.port()
            );
            let to = if way == Smtp::OneRecipientLater { "[a@example.com, b@example.com]" } else { "a@example.com" };
            writeln!(yaml, "  {name}: {{ email: {{ {smtp}, from: soard@example.com, to: {to}, mode: {mode}, {retries}, breaker: {{ failures: 1000 }} }} }}").unwrap();
            writeln!(members, "        #{{ email: \"{name}\" }},").unwrap();
            cases.push(Case { name, mode, ends: smtp_ends(way, mode), memory });
        }
    }
    let playbook = format!("fn on_alert(alert) {{\n    all([\n{members}    ]);\n}}\n");
    (yaml, playbook, cases)
}

const ROUTE: &str =
    "route:\n  - id: all\n    title: Everything\n    owner: soc@example.com\n    playbooks: [every-way]\n";

/// What a life with kills left behind.
struct Aftermath {
    cases: Vec<Case>,
    alerts: usize,
    journal: Vec<Value>,
    log: String,
    /// For each kill, the keys that were asked for and had no outcome on record.
    open_at_kill: Vec<BTreeSet<String>>,
    /// Keys that a receiver had seen at a kill though the journal had no intent for them.
    without_intent: Vec<String>,
}

fn live(alerts: usize, kills: usize, seed: u64, fault: Option<&str>) -> Aftermath {
    let folder = tempfile::tempdir().unwrap();
    let (destinations, playbook, cases) = cases(alerts);
    let settings = format!(
        "sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\nrecipients: {{ \"*\": {{ caps: none }} }}\ndestinations:\n{destinations}"
    );
    let files = [("playbooks/every-way.rhai", &*playbook), ("rules/route/all.yaml", ROUTE)];
    let mut daemon = Daemon::new(folder.path(), &settings, &files);
    daemon.env.extend(fault.map(|fault| ("SOARD_FAULT".to_owned(), fault.to_owned())));
    daemon.start();
    for n in 0..alerts {
        let alert = json!({ "external_id": format!("n-{n}"), "title": "A", "severity": "high" });
        assert_eq!(daemon.post(&alert.to_string()).map(|(status, _)| status), Some(200));
    }
    let mut random = seed | 1;
    let (journal, log, open_at_kill, without_intent) = (vec![], String::new(), vec![], vec![]);
    let mut after = Aftermath { cases, alerts, journal, log, open_at_kill, without_intent };
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(next(&mut random) % 400));
        daemon.kill();
        let journal = daemon.journal();
        let (asked, done) = (asked(&journal), done(&journal));
        let seen = after.cases.iter().flat_map(|case| case.memory.seen());
        after.without_intent.extend(seen.filter(|key| !asked.contains_key(key)));
        after.open_at_kill.push(asked.into_keys().filter(|key| !done.contains_key(key)).collect());
        daemon.start();
    }
    let ended = |journal: &[Value]| journal.iter().filter(|line| line["k"] == "run").count() >= alerts;
    let patience = if fault.is_some() { Duration::from_secs(8) } else { PATIENCE };
    let until = Instant::now() + patience;
    while !ended(&daemon.journal()) && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    daemon.stop();
    after.journal = daemon.journal();
    after.log = daemon.log();
    after
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Every key that was asked for, with its destination.
fn asked(journal: &[Value]) -> BTreeMap<String, String> {
    let intents = journal.iter().filter(|line| line["k"] == "intent");
    let steps = intents.flat_map(|line| line["d"]["steps"].as_array().unwrap());
    let keyed = steps.filter_map(|step| {
        let effect = step["effect"].get("webhook").or_else(|| step["effect"].get("email"))?;
        Some((step["key"].as_str()?.to_owned(), effect["destination"].as_str()?.to_owned()))
    });
    keyed.collect()
}

/// The outcomes of every key.
fn done(journal: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut done: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in journal.iter().filter(|line| line["k"] == "result") {
        let class = line["d"]["reply"]["class"].as_str().unwrap().to_owned();
        done.entry(line["d"]["key"].as_str().unwrap().to_owned()).or_default().push(class);
    }
    done
}

/// Everything that is wrong with what was left behind.
fn faults(after: &Aftermath) -> Vec<String> {
    let mut faults: Vec<String> =
        after.without_intent.iter().map(|key| format!("sent without an intent on record: {key}")).collect();
    let (asked, done) = (asked(&after.journal), done(&after.journal));
    if asked.len() != after.cases.len() * after.alerts {
        faults.push(format!("{} effects on record of {} cases", asked.len(), after.cases.len()));
    }
    for case in &after.cases {
        let keys: Vec<&String> = asked.iter().filter(|(_, to)| **to == case.name).map(|(key, _)| key).collect();
        let took = case.memory.took();
        for key in &keys {
            let outcomes = done.get(*key).map_or(&[][..], Vec::as_slice);
            let killed = after.open_at_kill.iter().filter(|open| open.contains(*key)).count();
            let may_be_unknown = killed > 0 && case.mode == "at_most_once";
            match outcomes {
                [one] if case.ends.contains(&&**one) || may_be_unknown && one == "unknown" => {}
                other => faults.push(format!("{}: outcomes {other:?}", case.name)),
            }
            faults.extend(too_often(case, key, &took, killed, after));
            // A receiver that fails before it reads anything knows no key; what it took it must know.
            if outcomes.contains(&"ok".to_owned()) && !took.iter().any(|took| took.key == **key) {
                faults.push(format!("{}: ok, but the receiver never took it", case.name));
            }
        }
        let unasked = took.iter().filter(|took| !keys.contains(&&took.key));
        faults.extend(unasked.map(|took| format!("{}: delivered without an intent: {}", case.name, took.key)));
    }
    faults
}

fn too_often(case: &Case, key: &str, took: &[Took], killed: usize, after: &Aftermath) -> Vec<String> {
    let mut faults = Vec::new();
    let mut by_recipient: BTreeMap<&str, Vec<&Took>> = BTreeMap::new();
    for one in took.iter().filter(|took| took.key == key) {
        by_recipient.entry(&one.recipient).or_default().push(one);
    }
    let attempts = after.journal.iter().filter(|line| line["k"] == "attempt" && line["d"]["key"] == key);
    // Over HTTP a 500 is no promise that nothing happened either.
    let unclear = attempts.filter(|line| line["d"]["ambiguous"] == true || line["d"]["status"] == 500).count();
    let most = if case.mode == "at_least_once" { 1 + killed + unclear } else { 1 };
    for all in by_recipient.values() {
        if all.len() > most {
            faults.push(format!("{}: repeated, {} times instead of at most {most}", case.name, all.len()));
        }
        if all.iter().any(|one| one.body != all[0].body) {
            faults.push(format!("{}: repeated with another body", case.name));
        }
    }
    faults
}

#[test]
fn every_way_to_fail_ends_in_one_outcome_without_kills() {
    let after = live(1, 0, 1, None);
    assert_eq!(faults(&after), Vec::<String>::new());
    let outcome = |name: &str| {
        let asked = asked(&after.journal);
        let (key, _) = asked.iter().find(|(_, to)| *to == name).unwrap();
        done(&after.journal)[key][0].clone()
    };
    assert!(after.log.contains("AUTH: permanent error (535): no such login: AUTH PLAIN [secret]"), "{}", after.log);
    let journal: String = after.journal.iter().map(ToString::to_string).collect();
    for secret in [LOGIN, TOKEN] {
        assert!(!after.log.contains(secret) && !journal.contains(secret), "{secret} was told");
    }
    for way in ["closebeforereply", "resetbeforereply", "silence", "broken", "dotdrop", "dotsilence"] {
        assert_eq!(outcome(&format!("{way}-at_most_once")), "unknown", "{way}");
    }
}

#[test]
fn every_way_to_fail_crossed_with_kills_breaks_no_promise() {
    let (lives, kills) = if long() { (20, 25) } else { (1, 8) };
    let (mut effects, mut doubles) = (0, 0);
    for seed in 1..=lives {
        let after = live(2, kills, 0x9e37 * seed, None);
        assert_eq!(faults(&after), Vec::<String>::new(), "seed {seed}");
        effects += asked(&after.journal).len();
        for case in &after.cases {
            let took = case.memory.took();
            let distinct: BTreeSet<(&str, &str)> = took.iter().map(|t| (&*t.key, &*t.recipient)).collect();
            doubles += took.len() - distinct.len();
        }
    }
    println!("{lives} lives of {kills} kills: {effects} effects, {doubles} explained doubles");
}

/// A daemon without one protection; some life of it must break the rule that the protection keeps.
fn control(fault: &str, symptom: &str) {
    let found = (1..=5).find_map(|seed| {
        let faults = faults(&live(1, 6, 77 * seed, Some(fault)));
        faults.into_iter().find(|found| found.contains(symptom))
    });
    assert!(found.is_some(), "the oracle does not notice {fault}");
}

#[test]
fn control_a_daemon_that_forgets_results_repeats_what_was_done() {
    control("forget-results", "outcomes");
}

#[test]
fn control_a_daemon_that_begins_off_the_record_repeats_what_must_not_be() {
    control("send-without-begin", "at_most_once: repeated");
}

#[test]
fn control_a_daemon_that_never_asks_repeats_what_it_should_have_asked_about() {
    control("send-without-probe", "probe: repeated");
}
