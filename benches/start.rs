//! How long a start takes with one million alerts on record and 10,000 open runs: without a snapshot, and with one.
//!
//! `cargo bench --bench start [ALERTS]` makes a journal, starts the real binary on it and waits until it says `ready`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use soard::journal::writer::Journal;
use soard::journal::{self, Draft, Settings};

const ALERTS: u64 = 1_000_000;
const RUNS: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let alerts = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ALERTS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let yaml = format!(
        "state: state\nserver: {{ listen: \"127.0.0.1:{port}\" }}\nsources: {{ stdin: {{ folder: {{ path: in }} }} }}\n"
    );
    std::fs::create_dir_all(folder.path().join("in")).expect("a folder");
    std::fs::write(folder.path().join("soard.yaml"), yaml).expect("settings");
    std::fs::create_dir_all(folder.path().join("rules/route")).expect("a folder");
    std::fs::write(folder.path().join("rules/route/none.yaml"), "default_route: none\n").expect("a rule");
    let journal = folder.path().join("state/journal");
    write(&journal, alerts);
    let bytes: u64 = std::fs::read_dir(&journal)
        .expect("the journal")
        .map(|file| file.and_then(|file| file.metadata()).map_or(0, |data| data.len()))
        .sum();
    println!("{alerts} alerts, {} open runs, {} MiB of journal", RUNS.min(alerts), bytes >> 20);
    for what in ["without a snapshot", "with a snapshot", "with a snapshot, again"] {
        let began = Instant::now();
        let mut daemon = start(folder.path());
        println!("ready {what}: {:.2} s, {} MiB resident", began.elapsed().as_secs_f64(), resident(&daemon));
        Command::new("kill").arg(daemon.id().to_string()).status().expect("kill");
        daemon.wait().expect("it ends");
    }
    let snapshot = std::fs::metadata(folder.path().join("state/snapshot")).map_or(0, |data| data.len());
    println!("the snapshot has {:.1} bytes for each alert", snapshot as f64 / alerts as f64);
}

/// Entries as a daemon writes them: an intake of one alert of about 1 KB each, and for the first ones a run that sleeps.
fn write(dir: &Path, alerts: u64) {
    let (journal, _) = journal::open(dir, Settings::default(), &mut |_| Ok(())).expect("an empty journal opens");
    let (to, done) = sync_channel(1);
    put(&journal, "log", r#"{"opened":{"journal":"00112233445566778899aabbccddeeff","version":"0.1.0"}}"#.into());
    let text = "A process on this host connected to an address that is known for command and control. ".repeat(3);
    for n in 1..=alerts {
        let run = n <= RUNS;
        let verdict = if run { format!(r#"{{"run":{{"runs":["a-{n}.0/wait"]}}}}"#) } else { r#""record""#.to_owned() };
        let record = format!(
            r#"{{"external_id":"alert-{n}","title":"Command and control","severity":"high","description":"{text}"}}"#
        );
        let data = format!(
            r#"{{"record_no":{n},"source":"edr","position":{{"http":{{"index":0,"peer":"127.0.0.1"}}}},"record":{{"json":{record}}},"format":"generic","bundle":"{bundle}","alerts":[{{"id":"a-{n}.0","part":"","alert":{{"source":"edr","external_id":"alert-{n}","title":"Command and control","description":"{text}","severity":"high","status":"active","received":"2026-11-22T01:02:03Z","entities":{{"host":[{{"name":"web-{n}"}}],"ip":[{{"address":"192.0.2.7"}}]}}}},"identity":"{n:016x}","decision":{{"status":"active","reasons":[{{"stage":"route","rule":{{"id":"all","place":"rules/route/all.yaml:3"}},"verdict":{verdict}}}]}}}}]}}"#,
            bundle = "ab".repeat(32),
        );
        put(&journal, "intake", data);
        if run {
            let data = format!(
                r#"{{"run":"a-{n}.0/wait","steps":[{{"n":0,"effect":{{"sleep":{{"until":"2126-11-22T01:02:03Z"}}}},"args_sha256":"{}"}}]}}"#,
                "cd".repeat(32)
            );
            put(&journal, "intent", data);
        }
    }
    let draft = Draft { at: Timestamp::UNIX_EPOCH, kind: "log", data: r#""closed""#.into() };
    journal.append(draft, Box::new(move |fate| to.send(fate.is_ok()).expect("somebody waits")));
    assert!(done.recv_timeout(PATIENCE).expect("an answer"), "the journal takes everything");
    journal.close().expect("a good end");
}

fn put(journal: &Journal, kind: &'static str, data: String) {
    journal.append(Draft { at: Timestamp::UNIX_EPOCH, kind, data }, Box::new(|fate| assert!(fate.is_ok(), "{fate:?}")));
}

fn start(folder: &Path) -> Child {
    let log = folder.join("log.txt");
    let stderr = std::fs::File::create(&log).expect("a log file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
    command.arg("run").arg(folder).env("SOARD_LOG", "info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut daemon = command.spawn().expect("the binary runs");
    let until = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&log).unwrap_or_default().contains(" ready ") {
        assert!(Instant::now() < until && daemon.try_wait().expect("its state").is_none(), "the daemon does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    daemon
}

fn resident(daemon: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}
