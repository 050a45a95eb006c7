//! What is measured.

use std::thread;
use std::time::{Duration, Instant};

use crate::content::{self, alertmanager_alert, record};
use crate::load::{Sent, percentile, post_all, post_steadily};
use crate::peers::{Peer, dd};
use crate::sink::Sink;

/// Each part with its name.
pub const ALL: [(&str, fn()); 6] = [
    ("intake", intake),
    ("webhooks", webhooks),
    ("latency", latency),
    ("hostile", hostile),
    ("record", on_record),
    ("disk", disk),
];

/// Alerts in one request.
const BATCH: usize = 100;
const CONNECTIONS: usize = 8;
const INTAKE_ALERTS: usize = 200_000;
const WEBHOOK_ALERTS: usize = 20_000;
const LATENCY_ALERTS: usize = 30_000;
const LATENCY_PER_SECOND: u32 = 1000;
const HOSTILE_ALERTS: usize = 15_000;
const HOSTILE_PER_SECOND: u32 = 500;
/// One alert in so many starts a playbook that means harm.
const HOSTILE_EVERY: usize = 50;
/// Playbooks that mean harm, of those that the tests know, by where they lie in a content folder.
const HOSTILE: [&str; 5] = [
    "playbooks/endless-loop.rhai",
    "playbooks/endless-while-with-try.rhai",
    "playbooks/recursion.rhai",
    "playbooks/doubling-array.rhai",
    "playbooks/native-sort.rhai",
];
const ON_RECORD: usize = 1_000_000;

const ONE_WEBHOOK: &str =
    r#"fn on_alert(alert) { webhook("hook", #{ id: alert.external_id, title: alert.title, host: alert.host }); }"#;

fn rules(playbooks: &str) -> Vec<(&'static str, String)> {
    vec![("rules/suppress/bench.yaml", content::suppressions()), ("rules/route/bench.yaml", content::routes(playbooks))]
}

/// How long a daemon rests before it counts as idle.
const REST: Duration = Duration::from_secs(20);

fn hook(sink: &Sink) -> String {
    format!(
        "destinations: {{ hook: {{ webhook: {{ url: 'http://{}/hook', mode: at_least_once, concurrency: 32 }} }} }}\n",
        sink.address
    )
}

fn batches(from: usize, count: usize) -> Vec<String> {
    let batch = |first| (first..first + BATCH).map(record).collect::<Vec<_>>().join("\n");
    (from..from + count).step_by(BATCH).map(batch).collect()
}

fn alertmanager_batches(count: usize, size: usize) -> Vec<String> {
    let batch = |first| serde_json::Value::from((first..first + size).map(alertmanager_alert).collect::<Vec<_>>());
    (0..count).step_by(size).map(|first| batch(first).to_string()).collect()
}

/// Durable intake with all rules loaded and no playbook.
fn intake() {
    let bodies = batches(0, INTAKE_ALERTS);
    let bytes: usize = bodies.iter().map(String::len).sum();
    let mut soard = Peer::soard(&rules("[]"), None, "");
    let at_once = soard.resident_mib();
    // What compiling the rules left goes back to the system while the daemon rests.
    thread::sleep(REST);
    let idle = soard.resident_mib();
    println!(
        "soard: listens {:.2} s after its start with {at_once:.1} MiB; idle {idle:.1} MiB",
        soard.start.as_secs_f64()
    );
    let sent = post_all(soard.source(), &bodies, CONNECTIONS);
    let ours = rate("soard", &sent, INTAKE_ALERTS, &soard);
    soard.stop();
    println!(
        "soard: {:.0} bytes an alert, {:.2} journal bytes per record byte",
        bytes as f64 / INTAKE_ALERTS as f64,
        soard.journal_bytes() as f64 / bytes as f64
    );
    let config = content::alertmanager_config(content::RULES, "alertname", "1h", "");
    let Some(peer) = Peer::alertmanager(&config) else { return println!("prometheus-alertmanager is not installed") };
    let sent = post_all(peer.alerts(), &alertmanager_batches(INTAKE_ALERTS, BATCH), CONNECTIONS);
    let theirs = rate("alertmanager", &sent, INTAKE_ALERTS, &peer);
    println!("intake: soard takes {:.1} x as many alerts a second as Alertmanager", ours / theirs);
}

/// Alert → playbook → one webhook each.
fn webhooks() {
    let sink = Sink::start();
    let soard = Peer::soard(&rules("[one]"), Some(ONE_WEBHOOK), &hook(&sink));
    let began = Instant::now();
    let sent = post_all(soard.source(), &batches(0, WEBHOOK_ALERTS), CONNECTIONS);
    println!("soard: {WEBHOOK_ALERTS} alerts taken in {:.2} s", sent.took.as_secs_f64());
    let ours = came("soard", &sink, began);
    println!("soard: {:.1} s of processor time, {:.0} MiB", soard.cpu().as_secs_f64(), soard.resident_mib());
    drop(soard);
    let sink = Sink::start();
    let receiver = format!("    webhook_configs: [{{ url: 'http://{}/hook', send_resolved: false }}]\n", sink.address);
    let config = content::alertmanager_config(content::RULES, "'...'", "0s", &receiver);
    let Some(peer) = Peer::alertmanager(&config) else { return println!("prometheus-alertmanager is not installed") };
    let began = Instant::now();
    post_all(peer.alerts(), &alertmanager_batches(WEBHOOK_ALERTS, BATCH), CONNECTIONS);
    let theirs = came("alertmanager", &sink, began);
    println!("webhooks: soard sends {:.1} x as many a second as Alertmanager", ours / theirs);
}

fn came(name: &str, sink: &Sink, began: Instant) -> f64 {
    let came = sink.wait(WEBHOOK_ALERTS);
    let last = came.iter().map(|came| came.at).max().unwrap_or(began);
    let rate = came.len() as f64 / last.duration_since(began).as_secs_f64();
    println!("{name}: {} webhooks, {rate:.0} a second", came.len());
    rate
}

/// From the request to the webhook, at a steady rate of single alerts.
fn latency() {
    let bodies: Vec<String> = (0..LATENCY_ALERTS).map(record).collect();
    let sink = Sink::start();
    let soard = Peer::soard(&rules("[one]"), Some(ONE_WEBHOOK), &hook(&sink));
    steadily(&soard, &sink, &bodies, LATENCY_PER_SECOND, LATENCY_ALERTS);
}

/// The same for good alerts, while others start playbooks that spin, recurse and eat memory.
fn hostile() {
    let is_hostile = |number: usize| number % HOSTILE_EVERY == HOSTILE_EVERY - 1;
    let body = |number: usize| {
        let body = record(number);
        let kind = format!("\"kind\":\"Hostile{}\"", number / HOSTILE_EVERY % HOSTILE.len());
        let good = format!("\"kind\":\"Kind{}\"", number % 1500);
        if is_hostile(number) { body.replace(&good, &kind) } else { body }
    };
    let bodies: Vec<String> = (0..HOSTILE_ALERTS).map(body).collect();
    let mut rules = rules("[one]");
    let mut routes = String::from("route:\n");
    for (n, path) in HOSTILE.into_iter().enumerate() {
        let name = path.trim_start_matches("playbooks/").trim_end_matches(".rhai");
        let file = format!("{}/tests/hostile-playbooks/{name}.rhai", env!("CARGO_MANIFEST_DIR"));
        rules.push((path, std::fs::read_to_string(file).expect("a playbook of the tests")));
        routes += &format!(
            "  - {{ id: h-{n}, title: Hostile, owner: soc@example.com, playbooks: [{name}], match: {{ kind: Hostile{n} }} }}\n"
        );
    }
    // By name before the others, of which the last takes everything.
    rules.push(("rules/route/a.yaml", routes));
    let sink = Sink::start();
    let soard = Peer::soard(&rules, Some(ONE_WEBHOOK), &hook(&sink));
    let good = (0..HOSTILE_ALERTS).filter(|number| !is_hostile(*number)).count();
    println!("{} hostile runs a second of {} kinds", HOSTILE_PER_SECOND as usize / HOSTILE_EVERY, HOSTILE.len());
    steadily(&soard, &sink, &bodies, HOSTILE_PER_SECOND, good);
}

/// Posts alerts at a steady rate and says how long each took from when it was due to its webhook.
fn steadily(soard: &Peer, sink: &Sink, bodies: &[String], per_second: u32, webhooks: usize) {
    let pause = Duration::from_secs(1) / per_second;
    let began = Instant::now();
    let sent = post_steadily(soard.source(), bodies, per_second, 64);
    let came = sink.wait(webhooks);
    let mut waits: Vec<Duration> = came
        .iter()
        .filter_map(|came| Some(came.at.saturating_duration_since(began + pause * u32::try_from(came.number?).ok()?)))
        .collect();
    waits.sort_unstable();
    let share = |waits: &[Duration], share| percentile(waits, share).as_secs_f64() * 1e3;
    println!(
        "soard: {per_second} alerts a second; acknowledged p50 {:.1} ms, p99 {:.1} ms",
        share(&sent.waits, 0.5),
        share(&sent.waits, 0.99)
    );
    println!(
        "soard: due to webhook p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {} webhooks",
        share(&waits, 0.5),
        share(&waits, 0.99),
        share(&waits, 1.0),
        waits.len()
    );
}

/// Memory and start with a million alerts on record.
fn on_record() {
    let soard = Peer::soard(&rules("[]"), None, "");
    for from in (0..ON_RECORD).step_by(INTAKE_ALERTS) {
        post_all(soard.source(), &batches(from, INTAKE_ALERTS.min(ON_RECORD - from)), CONNECTIONS);
    }
    println!("soard: {ON_RECORD} alerts just put on record, {:.0} MiB", soard.resident_mib());
    let waited = soard.come_to_rest();
    println!(
        "soard: at rest {:.0} s later, with the index up to date, {:.0} MiB",
        waited.as_secs_f64(),
        soard.resident_mib()
    );
    let again = soard.restart();
    println!("soard: listens {:.2} s after a restart, {:.0} MiB", again.start.as_secs_f64(), again.resident_mib());
}

/// What the disk can do at best.
fn disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    match dd(folder.path()) {
        Some(rate) => println!("dd conv=fdatasync: {rate:.0} MiB/s"),
        None => println!("dd did not run"),
    }
}

fn rate(name: &str, sent: &Sent, alerts: usize, peer: &Peer) -> f64 {
    let rate = alerts as f64 / sent.took.as_secs_f64();
    println!(
        "{name}: {rate:.0} alerts/s in batches of {BATCH} over {CONNECTIONS} connections; batch p50 {:.1} ms, p99 {:.1} ms; {} busy; {:.1} µs of processor time an alert, {:.0} MiB",
        sent.percentile(0.5).as_secs_f64() * 1e3,
        sent.percentile(0.99).as_secs_f64() * 1e3,
        sent.busy,
        peer.cpu().as_secs_f64() * 1e6 / alerts as f64,
        peer.resident_mib()
    );
    rate
}
