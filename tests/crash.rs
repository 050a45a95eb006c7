//! kill -9 at random points of runs with two webhooks and a mail each. The oracle stands outside the daemon: it
//! knows which alerts were acknowledged, what the receivers got and when, and reads the journal as plain JSON.
//!
//! Each protection has a control: a daemon that lacks it must fail the same oracle.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::{Daemon, Got, HttpSink, SmtpSink};

/// How long after its reply a request may still be without a result on record: the daemon has to read the reply and
/// sync it, on a machine that may be busy.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// What was sent before a kill may be read by the receiver after it.
const READ_LATE: Duration = Duration::from_millis(500);

const PLAYBOOK: &str = r#"
fn on_alert(alert) {
    let first = webhook("hook", #{ step: 1, alert: alert.id, number: alert.external_id });
    email("mail", #{ subject: "alert " + alert.external_id });
    webhook("hook", #{ step: 2, alert: alert.id, number: alert.external_id, saw: first.status });
}
"#;

const ROUTE: &str =
    "route:\n  - id: all\n    title: Everything\n    owner: soc@example.com\n    playbooks: [three-steps]\n";

fn settings(http: &HttpSink, smtp: &SmtpSink) -> String {
    format!(
        "sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n\
         destinations:\n  hook: {{ webhook: {{ url: \"http://{}/hook\", mode: at_least_once, retries: [200ms, 200ms, 1s, 1s, 1s] }} }}\n  \
         mail:\n    email:\n      smtp: {{ host: 127.0.0.1, port: {}, tls: none }}\n      from: soard@example.com\n      to: [oncall@example.com]\n      retries: [200ms, 200ms, 1s, 1s, 1s]\n",
        http.address,
        smtp.address.port()
    )
}

/// What a life with kills left behind.
struct Aftermath {
    acknowledged: BTreeSet<String>,
    kills: Vec<Kill>,
    /// Keys that a receiver had seen at a kill though the journal had no intent for them.
    without_intent: Vec<String>,
    got: Vec<Got>,
    journal: Vec<serde_json::Value>,
}

struct Kill {
    at: Instant,
    /// Keys whose results were on record.
    finished: BTreeSet<String>,
}

/// Posts `alerts` alerts while the daemon is killed at random, then lets it finish.
fn live(alerts: usize, kills: usize, seed: u64, fault: Option<&str>) -> Aftermath {
    let folder = tempfile::tempdir().unwrap();
    let (http, smtp) = (HttpSink::start(Duration::from_millis(5)), SmtpSink::start());
    let files = [("playbooks/three-steps.rhai", PLAYBOOK), ("rules/route/all.yaml", ROUTE)];
    let mut daemon = Daemon::new(folder.path(), &settings(&http, &smtp), &files);
    daemon.env.extend(fault.map(|fault| ("SOARD_FAULT".to_owned(), fault.to_owned())));
    daemon.start();
    let daemon = Arc::new(Mutex::new(daemon));
    let (posted, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(kills == 0)));
    let poster = post_all(&daemon, alerts, &posted, &done);
    let mut random = seed;
    let mut aftermath = Aftermath {
        acknowledged: BTreeSet::new(),
        kills: vec![],
        without_intent: vec![],
        got: vec![],
        journal: vec![],
    };
    for n in 0..kills {
        thread::sleep(Duration::from_millis(next(&mut random) % 250));
        let mut daemon = daemon.lock().unwrap();
        daemon.kill();
        let at = Instant::now();
        let journal = daemon.journal();
        let results = journal.iter().filter(|line| line["k"] == "result");
        let finished = results.map(|line| line["d"]["key"].as_str().unwrap().to_owned()).collect();
        aftermath.kills.push(Kill { at, finished });
        let known = intents(&journal);
        let seen = http.got().into_iter().chain(smtp.got());
        aftermath.without_intent.extend(seen.map(|got| key(&got)).filter(|key| !known.contains(key)));
        // The last lives get the time to finish what is left.
        daemon.start();
        if n + 1 == kills {
            done.store(true, Ordering::SeqCst);
        }
    }
    aftermath.acknowledged = poster.join().unwrap();
    let mut daemon = daemon.lock().unwrap();
    let ended = || daemon.journal().iter().filter(|line| line["k"] == "run").count() >= aftermath.acknowledged.len();
    let until = Instant::now() + Duration::from_secs(if fault.is_some() { 5 } else { 60 });
    while !ended() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    daemon.stop();
    aftermath.journal = daemon.journal();
    aftermath.got = http.got().into_iter().chain(smtp.got()).collect();
    aftermath
}

/// Posts alerts one by one; the ones that were answered 200. An alert without an answer is posted again, as a sender would.
fn post_all(
    daemon: &Arc<Mutex<Daemon>>,
    alerts: usize,
    posted: &Arc<AtomicUsize>,
    done: &Arc<AtomicBool>,
) -> thread::JoinHandle<BTreeSet<String>> {
    let (posted, done) = (posted.clone(), done.clone());
    let port = daemon.lock().unwrap().port;
    thread::spawn(move || {
        let mut acknowledged = BTreeSet::new();
        let mut number = 0;
        while number < alerts || !done.load(Ordering::SeqCst) {
            let id = format!("n-{number}");
            let alert = serde_json::json!({ "external_id": id, "title": format!("Alert {id}"), "severity": "high" });
            if let Some((200, _)) = support::post(port, &alert.to_string()) {
                acknowledged.insert(id);
                posted.fetch_add(1, Ordering::SeqCst);
                number += 1;
            }
            thread::sleep(Duration::from_millis(20));
        }
        acknowledged
    })
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

fn key(got: &Got) -> String {
    let id = got.headers.get("webhook-id").or_else(|| got.headers.get("message-id")).expect("every effect has a key");
    id.trim_start_matches("msg_").trim_start_matches('<').split('@').next().unwrap().to_owned()
}

fn intents(journal: &[serde_json::Value]) -> BTreeSet<String> {
    let steps =
        journal.iter().filter(|line| line["k"] == "intent").flat_map(|line| line["d"]["steps"].as_array().unwrap());
    steps.filter_map(|step| step["key"].as_str().map(String::from)).collect()
}

/// Everything that is wrong with what was left behind.
fn faults(after: &Aftermath) -> Vec<String> {
    let mut faults = Vec::new();
    let taken: BTreeSet<String> = after
        .journal
        .iter()
        .filter(|line| line["k"] == "intake")
        .flat_map(|line| line["d"]["alerts"].as_array().unwrap().clone())
        .map(|taken| taken["alert"]["external_id"].as_str().unwrap().to_owned())
        .collect();
    faults.extend(after.acknowledged.difference(&taken).map(|id| format!("acknowledged and lost: {id}")));
    faults.extend(after.without_intent.iter().map(|key| format!("sent without an intent on record: {key}")));

    let finished = after.journal.iter().filter(|line| line["k"] == "run" && line["d"]["end"].get("finished").is_some());
    let finished = finished.count();
    if finished != taken.len() {
        faults.push(format!("{} alerts, {finished} finished runs", taken.len()));
    }
    let mut by_key: BTreeMap<String, Vec<&Got>> = BTreeMap::new();
    for got in &after.got {
        by_key.entry(key(got)).or_default().push(got);
    }
    if by_key.len() != 3 * taken.len() {
        faults.push(format!("{} alerts, {} effects instead of three each", taken.len(), by_key.len()));
    }
    for (key, mut all) in by_key {
        all.sort_by_key(|got| got.at);
        for pair in all.windows(2) {
            let in_flight = after.kills.iter().any(|kill| {
                let between = pair[0].at <= kill.at + READ_LATE && kill.at <= pair[1].at;
                let just_replied = pair[0].replied.is_none_or(|replied| replied + IN_FLIGHT >= kill.at);
                between && just_replied && !kill.finished.contains(&key)
            });
            if !in_flight {
                faults.push(format!("repeated though finished: {key}"));
            }
            if pair[0].body != pair[1].body {
                faults.push(format!("repeated with another body: {key}"));
            }
        }
    }
    faults
}

#[test]
fn nothing_acknowledged_is_lost_and_no_finished_step_is_repeated() {
    let after = live(200, 60, 0x5eed, None);
    let doubles = after.got.len() - after.got.iter().map(key).collect::<BTreeSet<_>>().len();
    println!(
        "{} kills, {} alerts acknowledged, {} requests and mails, {doubles} doubles in flight",
        after.kills.len(),
        after.acknowledged.len(),
        after.got.len()
    );
    assert!(after.acknowledged.len() >= 200);
    assert_eq!(faults(&after), Vec::<String>::new());
}

/// A daemon without one protection; some life of it must fail the oracle with the fault that the protection prevents.
fn control(fault: &str, symptom: &str) {
    let found = (1..=5).find_map(|seed| {
        let faults = faults(&live(60, 15, seed, Some(fault)));
        faults.into_iter().find(|found| found.starts_with(symptom))
    });
    assert!(found.is_some(), "the oracle does not notice {fault}");
}

#[test]
fn control_acknowledging_before_the_write_loses_alerts() {
    control("acknowledge-before-write", "acknowledged and lost");
}

#[test]
fn control_sending_before_the_intent_sends_what_is_not_on_record() {
    control("send-before-intent", "sent without an intent on record");
}

#[test]
fn control_results_that_are_not_written_are_repeated() {
    control("forget-results", "repeated though finished");
}

#[test]
fn a_stop_in_good_order_leaves_nothing_in_flight() {
    let after = live(20, 0, 1, None);
    assert_eq!(faults(&after), Vec::<String>::new());
    assert_eq!(after.journal.last().unwrap()["d"], serde_json::json!("closed"));
}
