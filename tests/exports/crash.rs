//! kill -9 at random points, peers that fail, journals that are cut or put back: the oracle stands outside the daemon.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::oracle::{Key, expected, faults, keys};
use crate::peers::{Flaky, next};
use crate::support::{self, Daemon, wait_for};
use crate::{SOURCE, caught_up, daemon, post, report};

/// Posts alerts one batch after the other; a batch without an answer is posted again.
struct Poster {
    done: Arc<AtomicBool>,
    posted: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Poster {
    fn start(port: u16) -> Self {
        let (done, posted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, counts) = (done.clone(), posted.clone());
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                let n = counts.load(Ordering::SeqCst);
                let alert = |n: usize| json!({ "external_id": format!("n-{n}"), "title": format!("Alert {n}"), "severity": "high" });
                let batch = Value::Array((n..n + 5).map(alert).collect());
                if let Some((200, _)) = support::post(port, &batch.to_string()) {
                    counts.store(n + 5, Ordering::SeqCst);
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { done, posted, thread }
    }

    /// Waits until so many more were taken.
    fn wait_for(&self, more: usize) {
        let from = self.posted.load(Ordering::SeqCst);
        wait_for("alerts to be taken", || (self.posted.load(Ordering::SeqCst) >= from + more).then_some(()));
    }
}

/// Kills the daemon at random while alerts come in, then lets the exports catch up; the journal, read as JSON.
pub fn live(daemon: &mut Daemon, names: &[&str], kills: usize, seed: u64) -> Vec<Value> {
    daemon.start();
    let poster = Poster::start(daemon.port);
    let mut random = seed;
    for _ in 0..kills {
        poster.wait_for(20);
        thread::sleep(Duration::from_millis(next(&mut random) % 300));
        daemon.kill();
        daemon.start();
    }
    poster.wait_for(20);
    poster.done.store(true, Ordering::SeqCst);
    poster.thread.join().unwrap();
    for name in names {
        caught_up(daemon, name);
    }
    daemon.stop();
    daemon.journal()
}

fn kills() -> usize {
    if support::long() { 150 } else { 6 }
}

fn http(peer: &Flaky, more: &str) -> String {
    let address = peer.address;
    format!("  lake: {{ http: {{ url: \"http://{address}/\", timeout: 500ms{more} }}, retries: [100ms, 200ms] }}\n")
}

/// An HTTP peer that fails half of the time, and a file beside it.
fn life(seed: u64, fault: Option<&str>) -> Vec<String> {
    let (folder, peer) = (tempfile::tempdir().unwrap(), Flaky::start(seed));
    let exports = http(&peer, "") + "  file: { file: { path: out.jsonl, size: 64KiB, keep: 1000 } }\n";
    let mut daemon = daemon(folder.path(), &exports);
    daemon.env.extend(fault.map(|fault| ("SOARD_FAULT".to_owned(), fault.to_owned())));
    let journal = live(&mut daemon, &["lake", "file"], kills(), seed);
    let expected = expected(&journal);
    let got = keys(&peer.lines());
    println!("{} notices, {} arrived over HTTP", expected.len(), got.len());
    let mut found = faults(&expected, &got);
    found.extend(faults(&expected, &keys(&files(folder.path()))).into_iter().map(|fault| format!("file: {fault}")));
    found
}

/// What was set aside, the oldest first, and what is written now.
fn files(folder: &Path) -> String {
    let mut aside: Vec<u32> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|file| file.unwrap().file_name().to_str()?.strip_prefix("out.jsonl.")?.parse().ok())
        .collect();
    aside.sort_unstable_by(|a, b| b.cmp(a));
    let read = |name: String| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let aside = aside.into_iter().map(|n| read(format!("out.jsonl.{n}")));
    aside.chain([read("out.jsonl".into())]).collect()
}

#[test]
fn each_notice_arrives_at_least_once_and_in_order_whatever_dies() {
    assert_eq!(life(0x5eed, None), Vec::<String>::new());
}

#[test]
fn control_a_cursor_that_moves_before_the_peer_has_taken_the_notices_loses_some() {
    let found = (1..=5).find_map(|seed| {
        life(seed, Some("move-cursor-early")).into_iter().find(|fault| fault.contains("never arrived"))
    });
    assert!(found.is_some(), "the oracle does not notice it");
}

/// The notices of the last snapshot in these lines, if it is whole: its entry and its alerts' ids.
fn last_snapshot(lines: &str) -> Option<(u64, Vec<String>)> {
    let notices: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends = notices.iter().rposition(|notice| notice["notice"] == "snapshot_end")?;
    let seq = notices[ends]["seq"].as_u64()?;
    let of: Vec<&Value> =
        notices[..ends].iter().filter(|notice| notice["is_snapshot"] == true && notice["seq"] == seq).collect();
    assert!(of.iter().any(|notice| notice["notice"] == "snapshot_begin"), "it begins");
    let numbers: BTreeSet<u64> = of.iter().map(|notice| notice["n"].as_u64().unwrap()).collect();
    let alerts = notices[ends]["alerts"].as_u64()?;
    let missing: Vec<u64> = (0..=alerts).filter(|n| !numbers.contains(n)).collect();
    assert_eq!(missing, Vec::<u64>::new(), "each notice of it at least once");
    let ids: BTreeSet<String> = of.iter().filter_map(|notice| notice["id"].as_str().map(str::to_owned)).collect();
    Some((seq, ids.into_iter().collect()))
}

#[test]
fn a_snapshot_has_all_open_alerts_as_of_one_entry_and_survives_kills() {
    let (folder, peer) = (tempfile::tempdir().unwrap(), Flaky::start(0xabc));
    let exports = http(&peer, "")
        .replace("retries", "snapshot: { every: week, on: sunday, at: \"03:00\" }, at_least: low, retries");
    let mut daemon = daemon(folder.path(), &exports);
    daemon.start();
    (0..3).for_each(|batch| post(&daemon, batch * 300, (batch + 1) * 300));
    let close = ["alerts", "set-status", "a-3.0", "resolved", "--reason", "benign"];
    assert!(daemon.soard(&close).status.success());
    caught_up(&daemon, "lake");
    daemon.kill();
    assert_eq!(last_snapshot(&peer.lines()), None, "it is not time yet");
    // As if the last one had been long ago.
    let path = folder.path().join("state/exports/lake.json");
    let mut cursor: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    cursor["snapshot_at"] = json!("2020-01-01T00:00:00Z");
    fs::write(&path, cursor.to_string()).unwrap();
    let mut random = 0x77;
    for _ in 0..3 {
        daemon.start();
        thread::sleep(Duration::from_millis(100 + next(&mut random) % 300));
        daemon.kill();
    }
    daemon.start();
    post(&daemon, 900, 901);
    let (seq, ids) = wait_for("the snapshot", || last_snapshot(&peer.lines()));
    caught_up(&daemon, "lake");
    // Of 900 alerts a fourth is informational, and one is closed; the last one may have come before it began.
    let has = |id: &str| ids.contains(&id.to_owned());
    assert_eq!((ids.len() - usize::from(has("a-901.0")), has("a-3.0")), (674, false));
    assert!(daemon.journal().iter().any(|entry| entry["seq"] == seq));
    let cursor: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(cursor["snapshot"].is_null() && !folder.path().join("state/exports/lake.snapshot.zst").exists());
    daemon.stop();
    daemon.start();
    let before = peer.lines().matches("snapshot_end").count();
    post(&daemon, 901, 902);
    caught_up(&daemon, "lake");
    assert_eq!(peer.lines().matches("snapshot_end").count(), before, "the next one is next week's");
}

#[test]
fn retention_waits_for_an_export_that_is_behind_and_after_that_tells_the_gap() {
    let (folder, peer) = (tempfile::tempdir().unwrap(), Flaky::start(0));
    let settings = |journal: &str, keep_for: &str, address: &str| {
        let url = format!("http://{address}/");
        format!(
            "{SOURCE}journal: {{ segment: 64KiB, {journal} }}\nexports:\n  lake: {{ http: {{ url: \"{url}\" }}, retries: [100ms], keep_for: {keep_for} }}\n"
        )
    };
    let (nobody, somebody) = ("127.0.0.1:9", peer.address.to_string());
    let first = settings("compress_after: never", "7d", nobody);
    let mut daemon = Daemon::new(folder.path(), &first, &[crate::ROUTES]);
    let head = fs::read_to_string(folder.path().join("soard.yaml")).unwrap().replace(&first, "");
    let segments = || {
        let files = fs::read_dir(folder.path().join("state/journal")).unwrap();
        let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains(".jsonl"));
        names.sort();
        names
    };
    daemon.start();
    for batch in 0..10 {
        let alert = |n: usize| json!({ "external_id": format!("{batch}-{n}"), "title": "t", "severity": "low", "status": "resolved" });
        assert_eq!(daemon.post(&Value::Array((0..100).map(alert).collect()).to_string()).unwrap().0, 200);
    }
    let all = segments();
    daemon.stop();
    // What may be dropped is dropped first, and what stays is compressed.
    support::write(
        folder.path(),
        "soard.yaml",
        &(head.clone() + &settings("keep: 1ms, compress_after: 0s", "7d", nobody)),
    );
    daemon.start();
    wait_for("a segment to be compressed", || segments().iter().any(|name| name.ends_with(".zst")).then_some(()));
    assert!(segments()[0].starts_with(&all[0]), "nothing was dropped that an export has not read: {:?}", segments());
    assert!(report(&daemon, "lake")["behind"].as_u64() > Some(1000));
    daemon.stop();
    support::write(
        folder.path(),
        "soard.yaml",
        &(head.clone() + &settings("keep: 1ms, compress_after: never", "0s", nobody)),
    );
    daemon.start();
    wait_for("segments to be dropped", || (!segments()[0].starts_with(&all[0])).then_some(()));
    daemon.stop();
    support::write(folder.path(), "soard.yaml", &(head + &settings("compress_after: never", "7d", &somebody)));
    daemon.start();
    let report = caught_up(&daemon, "lake");
    assert!(report["missed"].as_u64() > Some(100), "{report}");
    assert_eq!(daemon.soard(&["exports", "list"]).status.code(), Some(1));
    assert!(daemon.log().contains("were dropped before they were exported"));
    let lines = peer.lines();
    let notices = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let gap = notices.into_iter().find(|notice| notice["notice"] == "gap").expect("the gap is told");
    let to = gap["missing"][1].as_u64().unwrap();
    let journal = daemon.journal();
    assert_eq!(Some(to + 1), journal[0]["seq"].as_u64(), "up to the oldest entry that is left");
    assert_eq!(faults(&expected(&journal), &keys(&lines)), Vec::<String>::new(), "and from there on all");
}

#[test]
fn in_a_journal_that_was_put_back_an_export_goes_on_where_both_agree() {
    let (folder, peer) = (tempfile::tempdir().unwrap(), Flaky::start(0));
    let mut daemon = daemon(folder.path(), &http(&peer, ""));
    daemon.start();
    post(&daemon, 0, 10);
    caught_up(&daemon, "lake");
    daemon.stop();
    let state = folder.path().join("state");
    let backup = folder.path().join("backup");
    fs::create_dir(&backup).unwrap();
    let copy = |from: &Path, to: &Path| {
        for file in fs::read_dir(from).unwrap().flatten() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    copy(&state.join("journal"), &backup);
    daemon.start();
    post(&daemon, 10, 20);
    caught_up(&daemon, "lake");
    daemon.stop();
    fs::remove_dir_all(state.join("journal")).unwrap();
    fs::create_dir(state.join("journal")).unwrap();
    copy(&backup, &state.join("journal"));
    ["snapshot", "index"].iter().for_each(|name| {
        let _ = fs::remove_file(state.join(name));
        let _ = fs::remove_dir_all(state.join(name));
    });
    let before = keys(&peer.lines()).len();
    daemon.start();
    post(&daemon, 20, 30);
    caught_up(&daemon, "lake");
    let journal = daemon.journal();
    let lines = peer.lines();
    let got = keys(&lines);
    let want = expected(&journal);
    let missing: Vec<&Key> = want.iter().filter(|key| !got.contains(key)).collect();
    assert_eq!(missing, Vec::<&Key>::new());
    assert!(lines.contains("\"n-29\"") && got.len() >= before + 10);
    assert!(report(&daemon, "lake")["set_back"].as_u64() > Some(0));
    assert!(daemon.log().contains("the journal is another one"), "{}", daemon.log());
}
