//! What retention is kept from, and that it says so, tested on the real daemon.

mod support;

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use soard::journal::{self, Draft, Settings};
use support::{Daemon, wait_for};

const PUSH: &str = "sources: { push: { http: { token: { env: SOARD_TEST_TOKEN } } } }\n";
const ROUTES: (&str, &str) = ("rules/route/main.yaml", "default_route: none\n");

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join("state/journal")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    files
}

fn resolved(daemon: &Daemon, batches: usize) {
    for batch in 0..batches {
        let alert = |n: usize| json!({ "external_id": format!("{batch}-{n}"), "title": "t", "severity": "low", "status": "resolved" });
        assert_eq!(daemon.post(&Value::Array((0..100).map(alert).collect()).to_string()).unwrap().0, 200);
    }
}

#[test]
fn what_keeps_segments_is_told_and_a_record_that_is_given_up_keeps_them_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let journal = "journal: { segment: 64KiB, size: 128KiB, compress_after: never }\n";
    let mut daemon = Daemon::new(folder.path(), &format!("{PUSH}{journal}"), &[ROUTES]);
    daemon.start();
    assert_eq!(daemon.post(r#"{"nonsense":1}"#).unwrap().0, 200);
    assert_eq!(daemon.post(r#"{"nonsense":2}"#).unwrap().0, 200);
    resolved(&daemon, 10);
    daemon.stop();
    let (all, first) = (segments(folder.path()).len(), segments(folder.path())[0].clone());
    assert!(all > 5, "{all}");

    daemon.start();
    let kept_by = || daemon.json(&["status"])["journal"]["kept_by"].clone();
    let known = wait_for("status to say why", || Some(kept_by()).filter(|known| !known.is_null()));
    assert_eq!((&known["kind"], &known["id"]), (&json!("quarantined_record"), &json!("1")), "{known}");
    let record = daemon.json(&["quarantine", "show", "1"]);
    assert_eq!((&known["entry"], &known["since"]), (&record["seq"], &record["row"]["at"]));
    assert!(known["segments"].as_u64() > Some(2), "{known}");
    let shown = String::from_utf8(daemon.soard(&["status"]).stdout).unwrap();
    assert!(shown.contains("not dropped: quarantined record 1 needs entry"), "{shown}");
    let log = |words: &str| daemon.log().matches(words).count();
    assert_eq!(log("segments of the journal are not dropped"), 1, "{}", daemon.log());

    let discard = |arguments: &[&str]| daemon.soard(&[&["quarantine", "discard"], arguments].concat());
    assert_ne!(discard(&["1"]).status.code(), Some(0), "who gives up says why");
    assert_eq!(discard(&["1", "9", "-c", "noise"]).status.code(), Some(1), "all or none");
    assert_eq!(daemon.json(&["status"])["quarantined"], 2);
    let done = String::from_utf8(discard(&["1", "-c", "noise"]).stdout).unwrap();
    assert!(done.starts_with("discarded quarantined record 1 (entry "), "{done}");
    let row = daemon.json(&["quarantine", "show", "1"])["row"].clone();
    assert_eq!(row["discarded"]["comment"], "noise");
    assert_eq!(daemon.soard(&["quarantine", "retry", "1"]).status.code(), Some(1));
    assert!(discard(&["--all", "-c", "more noise"]).status.success());
    assert_eq!(daemon.soard(&["quarantine", "list"]).status.code(), Some(1));
    let why = daemon.journal().into_iter().rev().find(|entry| entry["k"] == "operator").unwrap();
    assert_eq!(
        (&why["d"]["comment"], &why["d"]["order"]),
        (&json!("more noise"), &json!({ "quarantine_discard": { "records": [2] } }))
    );
    daemon.stop();

    daemon.start();
    wait_for("segments to be dropped", || (!first.exists()).then_some(()));
    assert!(daemon.json(&["status"])["journal"]["kept_by"].is_null());
}

/// Segments of long ago, as a daemon wrote them whose clock was right.
fn years_ago(dir: &Path) {
    let settings = Settings { segment_bytes_max: 2_000, ..Settings::default() };
    let journal = journal::open(dir, settings, &mut |_| Ok(())).unwrap().0;
    let begin: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    for n in 0..60 {
        let facts = match n {
            0 => json!({ "opened": { "journal": "00112233445566778899aabbccddeeff", "version": "0.1.0" } }),
            _ => json!("closed"),
        };
        let (sender, fate) = channel();
        let draft = Draft { at: begin + SignedDuration::from_secs(n), kind: "log", data: facts.to_string() };
        journal.append(draft, Box::new(move |outcome| sender.send(outcome).unwrap()));
        fate.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    }
    journal.close().unwrap();
}

#[test]
fn a_clock_that_leapt_makes_nothing_old_before_it_has_proved_itself() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |journal: &str| format!("{PUSH}journal: {{ segment: 64KiB, compress_after: never, {journal} }}\n");
    let mut daemon = Daemon::new(folder.path(), &settings("keep: 365d"), &[ROUTES]);
    std::fs::create_dir_all(folder.path().join("state/journal")).unwrap();
    years_ago(&folder.path().join("state/journal"));
    let (all, first) = (segments(folder.path()).len(), segments(folder.path())[0].clone());
    assert!(all > 3, "{all}");
    for life in 1..=2 {
        daemon.start();
        let told = wait_for("the log to tell", || {
            Some(daemon.log().matches("the clock leapt").count()).filter(|n| *n >= life)
        });
        assert_eq!(told, life);
        let leap = daemon.json(&["status"])["journal"]["leap"].clone();
        assert_eq!(leap["from"], "2020-01-01T00:00:59Z", "also once entries have the new time: {leap}");
        let shown = String::from_utf8(daemon.soard(&["status"]).stdout).unwrap();
        assert!(shown.contains("the clock leapt from 2020-01-01T00:00:59Z"), "{shown}");
        assert_eq!(daemon.stop(), Some(0));
        assert!(segments(folder.path()).len() >= all && first.exists(), "nothing is dropped in life {life}");
    }
    // The control: these segments go by size, which no clock has to do with.
    let text = std::fs::read_to_string(folder.path().join("soard.yaml")).unwrap();
    support::write(folder.path(), "soard.yaml", &text.replace("keep: 365d", "size: 1KiB"));
    daemon.start();
    wait_for("segments to be dropped", || (!first.exists()).then_some(()));
}
