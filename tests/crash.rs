//! kill -9 at random points of runs with two webhooks and a mail each. The oracle stands outside the daemon: it
//! knows which alerts were acknowledged, what the receivers got and when, and reads the journal as plain JSON.
//!
//! Each protection has a control: a daemon that lacks it must fail the same oracle.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
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

const ROUTE: &str = "default_route: none\nroute:\n  - id: high\n    title: What is high\n    owner: soc@example.com\n    match: { severity: high }\n    playbooks: [three-steps]\n";

fn settings(http: &HttpSink, smtp: &SmtpSink) -> String {
    format!(
        "sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n\
         recipients: {{ \"*\": {{ caps: none }} }}\n\
         destinations:\n  hook: {{ webhook: {{ url: \"http://{}/hook\", mode: at_least_once, retries: [200ms, 200ms, 1s, 1s, 1s] }} }}\n  \
         mail:\n    email:\n      smtp: {{ host: 127.0.0.1, port: {}, tls: none }}\n      from: soard@example.com\n      to: [oncall@example.com]\n      retries: [200ms, 200ms, 1s, 1s, 1s]\n",
        http.address,
        smtp.address.port()
    )
}

/// How much a life has to do.
#[derive(Clone, Copy)]
struct Size {
    /// Alerts to post at least; posting goes on until the last kill.
    alerts: usize,
    /// Alerts in a request.
    batch: usize,
    /// Every so many alerts one is `high` and starts a run.
    run_every: usize,
    kills: usize,
}

impl Size {
    const fn short(alerts: usize, kills: usize) -> Self {
        Self { alerts, batch: 1, run_every: 1, kills }
    }

    fn starts_run(self, number: usize) -> bool {
        number.is_multiple_of(self.run_every)
    }
}

/// What a life with kills left behind.
struct Aftermath {
    size: Size,
    acknowledged: BTreeSet<usize>,
    kills: Vec<Instant>,
    /// Keys that a receiver had seen at a kill though the journal had no intent for them.
    without_intent: Vec<String>,
    got: Vec<Got>,
    record: Record,
}

/// What the journal says, read as it grows.
#[derive(Default)]
struct Record {
    read: BTreeMap<PathBuf, usize>,
    /// Numbers of the alerts, in the order in which they were first taken.
    taken: Vec<usize>,
    known: BTreeSet<usize>,
    /// After how many kills each key's intent was on record.
    intents: BTreeMap<String, usize>,
    /// After how many kills each key's result was on record.
    results: BTreeMap<String, usize>,
    finished: usize,
    last: Value,
}

impl Record {
    /// Reads what is new. Batches that are not whole may still be cut off, so they are left for the next time.
    fn read(&mut self, state: &Path, kills: usize) {
        let files = fs::read_dir(state.join("journal")).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
        files.sort();
        for path in files {
            let from = self.read.get(&path).copied().unwrap_or(0);
            let mut file = fs::File::open(&path).unwrap();
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(from as u64)).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            let (mut whole, mut at, mut batch) = (0, 0, Vec::new());
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                at += line.len();
                let Ok(line) = serde_json::from_slice::<Value>(line) else { break };
                let ends = line["r"] == 0 || line.get("r").is_none();
                batch.push(line);
                if ends {
                    batch.drain(..).for_each(|line| self.take(line, kills));
                    whole = at;
                }
            }
            self.read.insert(path, from + whole);
        }
    }

    fn take(&mut self, line: Value, kills: usize) {
        match line["k"].as_str().unwrap_or_default() {
            "intake" => {
                for taken in line["d"]["alerts"].as_array().unwrap() {
                    let number = number(taken["alert"]["external_id"].as_str().unwrap());
                    if self.known.insert(number) {
                        self.taken.push(number);
                    }
                }
            }
            "intent" => {
                let steps = line["d"]["steps"].as_array().unwrap();
                for key in steps.iter().filter_map(|step| step["key"].as_str()) {
                    self.intents.entry(key.to_owned()).or_insert(kills);
                }
            }
            "result" => {
                let key = line["d"]["key"].as_str().unwrap().to_owned();
                self.results.entry(key).or_insert(kills);
            }
            "run" if line["d"]["end"].get("finished").is_some() => self.finished += 1,
            _ => {}
        }
        self.last = line;
    }
}

/// Of `n-17`.
fn number(external_id: &str) -> usize {
    external_id.trim_start_matches("n-").parse().unwrap()
}

/// Posts alerts while the daemon is killed at random, then lets it finish.
fn live(size: Size, seed: u64, fault: Option<&str>) -> Aftermath {
    let folder = tempfile::tempdir().unwrap();
    let (http, smtp) = (HttpSink::start(Duration::from_millis(5)), SmtpSink::start());
    let files = [("playbooks/three-steps.rhai", PLAYBOOK), ("rules/route/all.yaml", ROUTE)];
    let mut daemon = Daemon::new(folder.path(), &settings(&http, &smtp), &files);
    daemon.env.extend(fault.map(|fault| ("SOARD_FAULT".to_owned(), fault.to_owned())));
    daemon.start();
    let port = daemon.port;
    let state = folder.path().join("state");
    let done = Arc::new(AtomicBool::new(size.kills == 0));
    let poster = post_all(port, size, &done);
    let mut random = seed;
    let mut after = Aftermath {
        size,
        acknowledged: BTreeSet::new(),
        kills: vec![],
        without_intent: vec![],
        got: vec![],
        record: Record::default(),
    };
    let (mut seen_http, mut seen_smtp) = (0, 0);
    for n in 0..size.kills {
        thread::sleep(Duration::from_millis(next(&mut random) % 250));
        daemon.kill();
        after.kills.push(Instant::now());
        after.record.read(&state, n);
        let (new_http, new_smtp) = (http.got_from(seen_http), smtp.got_from(seen_smtp));
        (seen_http, seen_smtp) = (seen_http + new_http.len(), seen_smtp + new_smtp.len());
        let unknown = new_http.iter().chain(&new_smtp).map(key).filter(|key| !after.record.intents.contains_key(key));
        after.without_intent.extend(unknown);
        // The last lives get the time to finish what is left.
        daemon.start();
        if n + 1 == size.kills {
            done.store(true, Ordering::SeqCst);
        }
    }
    after.acknowledged = poster.join().unwrap();
    let runs = after.acknowledged.iter().filter(|number| size.starts_run(**number)).count();
    let patience = if fault.is_some() { 5 } else { 60 + runs as u64 / 20 };
    let until = Instant::now() + Duration::from_secs(patience);
    let kills = after.kills.len();
    while after.record.finished < runs && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
        after.record.read(&state, kills);
    }
    daemon.stop();
    after.record.read(&state, kills);
    after.got = http.got().into_iter().chain(smtp.got()).collect();
    after
}

/// Posts alerts in order, one request after the other; the ones that were answered 200. A request without an answer is
/// posted again, as a sender would.
fn post_all(port: u16, size: Size, done: &Arc<AtomicBool>) -> thread::JoinHandle<BTreeSet<usize>> {
    let done = done.clone();
    thread::spawn(move || {
        let mut acknowledged = BTreeSet::new();
        let mut next = 0;
        while next < size.alerts || !done.load(Ordering::SeqCst) {
            let numbers = next..next + size.batch;
            let alerts = numbers.clone().map(|number| {
                let severity = if size.starts_run(number) { "high" } else { "low" };
                json!({ "external_id": format!("n-{number}"), "title": format!("Alert n-{number}"), "severity": severity })
            });
            if let Some((200, _)) = support::post(port, &Value::Array(alerts.collect()).to_string()) {
                acknowledged.extend(numbers);
                next += size.batch;
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
    id.trim_start_matches("msg_").trim_start_matches('<').split(['@', '.']).next().unwrap().to_owned()
}

/// Everything that is wrong with what was left behind.
fn faults(after: &Aftermath) -> Vec<String> {
    let Aftermath { size, record, .. } = after;
    let mut faults = Vec::new();
    faults.extend(after.acknowledged.difference(&record.known).map(|n| format!("acknowledged and lost: n-{n}")));
    faults.extend(after.without_intent.iter().map(|key| format!("sent without an intent on record: {key}")));
    if !record.taken.is_sorted() {
        faults.push("alerts of one sender stand in another order than it sent them".into());
    }
    let runs = record.taken.iter().filter(|number| size.starts_run(**number)).count();
    if record.finished != runs {
        faults.push(format!("{runs} runs were to start, {} finished", record.finished));
    }
    let mut by_key: BTreeMap<String, Vec<&Got>> = BTreeMap::new();
    for got in &after.got {
        by_key.entry(key(got)).or_default().push(got);
    }
    if by_key.len() != 3 * runs {
        faults.push(format!("{runs} runs, {} effects instead of three each", by_key.len()));
    }
    for (key, mut all) in by_key {
        all.sort_by_key(|got| got.at);
        for pair in all.windows(2) {
            let in_flight = after.kills.iter().enumerate().any(|(n, kill)| {
                let between = pair[0].at <= *kill + READ_LATE && *kill <= pair[1].at;
                let just_replied = pair[0].replied.is_none_or(|replied| replied + IN_FLIGHT >= *kill);
                let known = |keys: &BTreeMap<String, usize>| keys.get(&key).is_some_and(|known_at| *known_at <= n);
                between && just_replied && known(&record.intents) && !known(&record.results)
            });
            if !in_flight {
                faults.push(format!("repeated though finished: {key}"));
            }
            if pair[0].body != pair[1].body {
                faults.push(format!("repeated with another body: {key}"));
            }
        }
    }
    faults.extend(out_of_order(&after.got));
    faults
}

/// Runs whose steps arrived for the first time in another order than the script asks for them.
fn out_of_order(got: &[Got]) -> Vec<String> {
    let mut first: BTreeMap<(usize, u8), Instant> = BTreeMap::new();
    for got in got {
        let place = match got.headers.get("subject") {
            Some(subject) => (number(subject.trim_start_matches("alert ")), 1),
            None => {
                let body = got.json();
                (number(body["number"].as_str().unwrap()), if body["step"] == 1 { 0 } else { 2 })
            }
        };
        let at = first.entry(place).or_insert(got.at);
        *at = (*at).min(got.at);
    }
    let later = |((alert, step), at): (&(usize, u8), &Instant)| {
        let before = step.checked_sub(1).and_then(|step| first.get(&(*alert, step)));
        before
            .is_some_and(|before| before > at)
            .then(|| format!("step {step} of n-{alert} arrived before the one before"))
    };
    first.iter().filter_map(later).collect()
}

#[test]
fn nothing_acknowledged_is_lost_and_no_finished_step_is_repeated() {
    let size = if support::long() {
        Size { alerts: 100_000, batch: 100, run_every: 10, kills: 500 }
    } else {
        Size::short(200, 60)
    };
    let after = live(size, 0x5eed, None);
    let doubles = after.got.len() - after.got.iter().map(key).collect::<BTreeSet<_>>().len();
    println!(
        "{} kills, {} alerts acknowledged, {} requests and mails, {doubles} doubles in flight",
        after.kills.len(),
        after.acknowledged.len(),
        after.got.len()
    );
    assert!(after.acknowledged.len() >= size.alerts);
    assert_eq!(faults(&after), Vec::<String>::new());
}

/// A daemon without one protection; some life of it must fail the oracle with the fault that the protection prevents.
fn control(fault: &str, symptom: &str) {
    let found = (1..=5).find_map(|seed| {
        let faults = faults(&live(Size::short(60, 15), seed, Some(fault)));
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
    let after = live(Size::short(20, 0), 1, None);
    assert_eq!(faults(&after), Vec::<String>::new());
    assert_eq!(after.record.last["d"], json!("closed"));
}
