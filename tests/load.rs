//! Five minutes of 2,000 alerts a second with bursts of 20,000, while one destination hangs. Every alert is acknowledged
//! or refused with 429, memory stays bounded, and the other destination gets all of its requests.
//!
//! The gate runs a few seconds of it, so that the test itself stays true.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Daemon, HttpSink, TOKEN, long, wait_for};

/// Alerts in a request.
const BATCH: usize = 100;
/// Senders with a connection each.
const SENDERS: usize = 16;
/// One alert in so many goes to the destination that hangs, and another one to the good one.
const ACTS_EVERY: usize = 20;
/// Most resident memory of the daemon, in MiB.
const MEMORY_MIB_MAX: u64 = 300;

const ROUTE: &str = "default_route: none
route:
  - { id: high, title: High, owner: soc@example.com, match: { severity: high }, playbooks: [hang] }
  - { id: medium, title: Medium, owner: soc@example.com, match: { severity: medium }, playbooks: [good] }
";
const HANG: &str = "fn on_alert(alert) { webhook(\"hang\", alert.external_id); }\n";
const GOOD: &str = "fn on_alert(alert) { webhook(\"good\", alert.external_id); }\n";

/// How many requests begin in each second.
struct Plan {
    seconds: usize,
    steady: usize,
    burst: usize,
    burst_every: usize,
}

impl Plan {
    fn new() -> Self {
        if long() {
            Self { seconds: 300, steady: 2_000 / BATCH, burst: 20_000 / BATCH, burst_every: 30 }
        } else {
            Self { seconds: 4, steady: 5, burst: 50, burst_every: 3 }
        }
    }

    /// When each request is due, after the begin.
    fn due(&self) -> Vec<Duration> {
        let second = |second: usize| {
            let requests = if second % self.burst_every == self.burst_every - 1 { self.burst } else { self.steady };
            (0..requests).map(move |n| Duration::from_secs_f64(second as f64 + n as f64 / requests as f64))
        };
        (0..self.seconds).flat_map(second).collect()
    }
}

fn severity(number: usize) -> &'static str {
    match number % ACTS_EVERY {
        0 => "high",
        1 => "medium",
        _ => "low",
    }
}

fn batch(request: usize) -> String {
    let alert = |number: usize| {
        let entities =
            json!({ "host": [{ "name": format!("host-{}", number % 977) }], "ip": [{ "address": "192.0.2.7" }] });
        let text = "A process of this host asked for a name that was registered yesterday. ".repeat(6);
        json!({ "external_id": format!("n-{number}"), "title": "Suspicious look-up", "kind": "Dns", "description": text,
                "severity": severity(number), "entities": entities })
        .to_string()
            + "\n"
    };
    (request * BATCH..(request + 1) * BATCH).map(alert).collect()
}

/// One request on a kept connection; the status, or `None` when no whole answer came.
fn send(connection: &mut Option<BufReader<TcpStream>>, port: u16, body: &str) -> Option<u16> {
    if connection.is_none() {
        *connection = Some(BufReader::new(TcpStream::connect(("127.0.0.1", port)).ok()?));
    }
    let stream = connection.as_mut()?;
    let head = format!(
        "POST /v1/sources/push HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: \
         application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes()).ok()?;
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some(status)
}

/// Highest resident memory of a process so far, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// What came of all requests.
#[derive(Default)]
struct Outcome {
    /// Requests that were answered 200, and how long that took.
    acknowledged: Vec<(usize, Duration)>,
    refused: usize,
    other: Vec<Option<u16>>,
}

fn post_all(port: u16, due: &[Duration]) -> Outcome {
    let (next, outcome, begin) = (AtomicUsize::new(0), Mutex::new(Outcome::default()), Instant::now());
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let mut connection = None;
                loop {
                    let request = next.fetch_add(1, Ordering::SeqCst);
                    let Some(due) = due.get(request) else { return };
                    let body = batch(request);
                    thread::sleep(due.saturating_sub(begin.elapsed()));
                    let sent = Instant::now();
                    let status = send(&mut connection, port, &body);
                    if status.is_none() {
                        connection = None;
                    }
                    let mut outcome = outcome.lock().unwrap();
                    match status {
                        Some(200) => outcome.acknowledged.push((request, sent.elapsed())),
                        Some(429) => outcome.refused += 1,
                        other => outcome.other.push(other),
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap()
}

#[test]
fn every_alert_is_acknowledged_or_refused_while_a_destination_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (good, hang) = (HttpSink::start(Duration::ZERO), HttpSink::start(Duration::from_secs(3600)));
    let settings = format!(
        "sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n\
         destinations:\n  good: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once, concurrency: 16 }} }}\n  \
         hang: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        good.address, hang.address
    );
    let files = [("playbooks/hang.rhai", HANG), ("playbooks/good.rhai", GOOD), ("rules/route/main.yaml", ROUTE)];
    let mut daemon = Daemon::new(folder.path(), &settings, &files);
    daemon.start();
    let plan = Plan::new();
    let due = plan.due();
    let begin = Instant::now();
    let mut outcome = post_all(daemon.port, &due);
    let took = begin.elapsed();
    assert_eq!(outcome.other, vec![], "every request is answered with 200 or 429");
    let acknowledged = outcome.acknowledged.len() * BATCH;
    let acts = outcome.acknowledged.len() * BATCH / ACTS_EVERY;
    wait_for("everything for the good destination", || (good.got().len() >= acts).then_some(()));
    let status = daemon.json(&["status"]);
    assert_eq!(status["totals"]["alerts"], json!(acknowledged), "what was acknowledged is on record, and nothing else");
    assert_eq!(good.got().len(), acts, "each once");
    let peak = peak_mib(daemon.pid());
    outcome.acknowledged.sort_by_key(|(_, took)| *took);
    let percentile = |of: usize| {
        outcome.acknowledged[(outcome.acknowledged.len() * of / 1000).min(outcome.acknowledged.len() - 1)].1
    };
    println!(
        "{:.0} s: {acknowledged} alerts acknowledged, {} refused with 429; a request of {BATCH} took p50 {:?}, p99 {:?}, \
         p99.9 {:?}; peak memory {peak} MiB; {acts} effects delivered beside {acts} for a destination that hangs",
        took.as_secs_f64(),
        outcome.refused * BATCH,
        percentile(500),
        percentile(990),
        percentile(999),
    );
    assert!(peak <= MEMORY_MIB_MAX, "{peak} MiB at the peak");
}
