//! kill -9 and power cuts within each stage of archiving and of retention. The stages are not listed here: they are the calls with
//! which the daemon changes its state folder (`stages.c`), so a new stage is a new kill. What has to come of it is told
//! by `rest.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rest::{Rest, faults, files, leftovers, lines, segments};
use crate::support::{Daemon, long, wait_for};

const SETTINGS: &str = "sources: { push: { format: soard, http: { token: { env: SOARD_TEST_TOKEN } } } }\n";
const ROUTE: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [wait] }\n";
const WAIT: &str = r#"fn on_alert(alert) { if alert.status == "active" { sleep("30d"); } }"#;

/// The journal as it is left alone.
const ALONE: &str = "segment: 64KiB, compress_after: never";

fn library(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/stages.c");
    let library = folder.join("stages.so");
    let flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"];
    assert!(Command::new("cc").args(flags).arg(&library).arg(&source).arg("-ldl").status().unwrap().success());
    library
}

/// A daemon on a folder, whose journal is kept as `policy` says.
fn daemon(dir: &Path, policy: &str) -> Daemon {
    let files = [("rules/route/all.yaml", ROUTE), ("playbooks/wait.rhai", WAIT)];
    Daemon::new(dir, &format!("{SETTINGS}journal: {{ {policy} }}\n"), &files)
}

/// Starts a daemon and waits until it can be told to stop.
fn start(daemon: &mut Daemon) {
    let _ = fs::remove_file(daemon.dir.join("log.txt"));
    daemon.start();
    wait_for("the daemon to be ready", || is_ready(daemon).then_some(()));
}

fn is_ready(daemon: &Daemon) -> bool {
    daemon.log().contains(" ready ")
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn alert(id: &str, status: &str) -> Value {
    json!({ "external_id": id, "title": "Title", "severity": "low", "status": status, "description": "y".repeat(600) })
}

/// A state folder with something to drop, something to archive, and traces of both from before.
struct Prepared {
    folder: TempDir,
    library: PathBuf,
    policy: String,
    rest: Rest,
}

impl Prepared {
    /// Of the segments, the first is dropped and the second archived at first; then the second and third are to go, the
    /// fourth is to be archived, and the fifth is written.
    fn make() -> Self {
        let folder = TempDir::new().unwrap();
        let library = library(folder.path());
        let dir = folder.path().join("content");
        let state = dir.join("state");
        let bytes = |at: usize| fs::metadata(state.join(&segments(&files(&state))[at].1)).unwrap().len();
        let begin = |policy: &str| {
            let mut daemon = daemon(&dir, policy);
            start(&mut daemon);
            daemon
        };
        let mut alone = begin(ALONE);
        fill(&alone, &state, 3, 0);
        assert_eq!(alone.stop(), Some(0));
        let mut whole = lines(&state);
        let mut first = begin(&policy(bytes(1) + bytes(2) + (32 << 10)));
        let is_done = || segments(&files(&state)).iter().map(|(_, name)| name.ends_with(".zst")).eq([true, false]);
        wait_for("the first segment to go and the second to be archived", || is_done().then_some(()));
        assert_eq!(first.stop(), Some(0));
        let mut alone = begin(ALONE);
        fill(&alone, &state, 4, 1000);
        assert_eq!(alone.post(&alert("open", "active").to_string()).unwrap().0, 200);
        wait_for("the run to wait", || (alone.json(&["status"])["runs_open"] == 1).then_some(()));
        assert_eq!(alone.stop(), Some(0));
        whole.extend(lines(&state));
        let policy = policy(bytes(2) + bytes(3) + (32 << 10));
        let (rest, old) = (segments(&files(&state)), files(&state));
        let dropped = rest[2].0 - 1;
        let is_kept = |name: &String| !name.starts_with("base-") && !rest[..3].iter().any(|(_, gone)| gone == name);
        let mut files: BTreeSet<String> = old.into_iter().filter(is_kept).collect();
        files.extend([format!("base-{dropped:020}"), format!("{}.zst", rest[2].1)]);
        Self { library, policy, rest: Rest { whole, dropped, files }, folder }
    }

    fn copy(&self, to: &Path) {
        copy(&self.folder.path().join("content"), to);
    }
}

fn policy(size: u64) -> String {
    format!("segment: 64KiB, compress_after: 1ms, size: {}KiB", size >> 10)
}

/// Posts alerts until the journal has so many segments.
fn fill(daemon: &Daemon, state: &Path, count: usize, from: usize) {
    for n in from..from + 400 {
        if segments(&files(state)).len() == count {
            return;
        }
        assert_eq!(daemon.post(&alert(&format!("n-{n}"), "resolved").to_string()).unwrap().0, 200);
    }
    panic!("400 alerts fill no {count} segments");
}

/// How a life under observation came to its end.
enum Came {
    /// It was killed in this call, which a thread was about to make.
    Stage { call: String, thread: String },
    /// It had nothing left to do. It goes on.
    Rest,
    /// It ended by itself.
    Ended(String),
}

/// What a daemon is watched for.
struct Watch<'a> {
    prepared: &'a Prepared,
    /// Stop at this call; 0: at none.
    stage: usize,
    /// What is never synced.
    unsynced: &'a str,
}

impl Watch<'_> {
    fn of(prepared: &Prepared, stage: usize) -> Watch<'_> {
        Watch { prepared, stage, unsynced: "" }
    }

    /// Lets a daemon live until it stands still at its stage, but for the rest of it, which takes an alert, and kills it; or
    /// until it has come to rest.
    fn live(&self, daemon: &mut Daemon, acknowledged: &mut BTreeSet<String>) -> Came {
        let (notes, state) = (notes(&daemon.dir), daemon.dir.join("state"));
        let _ = fs::remove_dir_all(&notes);
        fs::create_dir_all(notes.join("gone")).unwrap();
        let _ = fs::remove_file(daemon.dir.join("log.txt"));
        let text = |path: &Path| path.display().to_string();
        daemon.env.extend(
            [
                ("LD_PRELOAD", text(&self.prepared.library)),
                ("SOARD_STATE", text(&state)),
                ("SOARD_STAGES", text(&notes)),
                ("SOARD_STAGE", self.stage.to_string()),
                ("SOARD_NO_SYNC", self.unsynced.to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        daemon.begin();
        let came = wait_for("a stage, or rest", || {
            if daemon.has_ended().is_some() {
                return Some(Came::Ended(daemon.log()));
            }
            let reached = fs::read_to_string(notes.join("reached")).unwrap_or_default();
            if let Some((call, thread)) =
                reached.trim_end_matches('\n').rsplit_once('\t').filter(|_| reached.ends_with('\n'))
            {
                return Some(Came::Stage { call: call.into(), thread: thread.into() });
            }
            (is_ready(daemon) && files(&state) == self.prepared.rest.files).then_some(Came::Rest)
        });
        if let Came::Stage { thread, .. } = &came {
            // Before the daemon serves, and while the journal's writer stands still, nobody takes anything.
            if !["soard", "journal"].contains(&thread.as_str()) {
                let id = format!("s-{}-{}", self.stage, acknowledged.len());
                let body = alert(&id, "resolved").to_string();
                wait_for("an alert to be taken meanwhile", || daemon.post(&body).filter(|(status, _)| *status == 200));
                acknowledged.insert(id);
            }
            daemon.kill();
        }
        came
    }
}

/// Where what a life did is noted.
fn notes(dir: &Path) -> PathBuf {
    dir.join("notes")
}

/// Takes from the disk what a power cut could take: half of what was written and not synced, new names in folders that were
/// not synced, and all but the last of the removals there. Says whether that makes a difference.
fn cut_power(dir: &Path, in_a_stage: bool) -> bool {
    let (state, trace) = (dir.join("state"), fs::read_to_string(notes(dir).join("trace")).unwrap_or_default());
    let mut sure: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut named, mut removed): (Vec<(&str, &str)>, Vec<&str>) = (Vec::new(), Vec::new());
    let calls = trace.lines().count();
    for (n, line) in trace.lines().enumerate() {
        let [call, path, more] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if in_a_stage && n + 1 == calls && call != "write" {
            break;
        }
        let elsewhere = |name: &str| name.rsplit_once('/').map_or("", |(folder, _)| folder) != path;
        match call {
            "make" | "empty" => drop(sure.insert(path, 0)),
            "write" => {
                let at = sure.entry(path).or_insert(u64::MAX);
                *at = (*at).min(more.parse().unwrap());
            }
            "sync" => {
                sure.remove(path);
                named.retain(|(_, new)| elsewhere(new));
                removed.retain(|gone| elsewhere(gone));
            }
            "rename" | "replace" => {
                let _ = sure.remove(more).map(|bytes| sure.insert(path, bytes));
                if call == "rename" {
                    named.push((more, path));
                }
            }
            "remove" => {
                sure.remove(path);
                removed.push(path);
            }
            "cut" => {}
            _ => panic!("{line}"),
        }
    }
    let mut differs = false;
    for (path, bytes) in sure {
        let Ok(file) = fs::File::options().write(true).open(state.join(path)) else { continue };
        let length = file.metadata().unwrap().len();
        file.set_len(bytes.min(length) + length.saturating_sub(bytes) / 2).unwrap();
        differs |= length > bytes && !path.ends_with(".tmp");
    }
    for (old, new) in named.iter().rev() {
        differs |= fs::rename(state.join(new), state.join(old)).is_ok();
    }
    for path in removed.iter().rev().skip(1) {
        let gone = notes(dir).join("gone").join(path.rsplit('/').next().unwrap());
        fs::rename(gone, state.join(path)).unwrap();
        differs = true;
    }
    differs
}

/// Lets a daemon come to rest on a folder, and says what is wrong with it.
fn settle(prepared: &Prepared, dir: &Path, acknowledged: &mut BTreeSet<String>) -> Vec<String> {
    let mut daemon = daemon(dir, &prepared.policy);
    match Watch::of(prepared, 0).live(&mut daemon, acknowledged) {
        Came::Rest => faults(&mut daemon, &prepared.rest, acknowledged),
        Came::Ended(log) => vec![format!("the daemon ended: {log}")],
        Came::Stage { .. } => unreachable!("no stage was asked for"),
    }
}

/// A daemon that is no longer to drop or archive anything cleans up all the same; what it leaves.
fn leave_alone(dir: &Path) -> Vec<String> {
    let mut alone = daemon(dir, ALONE);
    start(&mut alone);
    let until = Instant::now() + Duration::from_secs(10);
    let mut left = leftovers(&dir.join("state"));
    while !left.is_empty() && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
        left = leftovers(&dir.join("state"));
    }
    assert_eq!(alone.stop(), Some(0));
    left.into_iter().map(|name| format!("left for ever: {name}")).collect()
}

/// What a life in which a stage was the last told.
struct Told {
    call: String,
    faults: Vec<String>,
}

/// At which stages the next daemon is killed, too, while it recovers from that or later.
fn again(stage: usize) -> Vec<usize> {
    match long() {
        true => (1 + stage % 5..31).step_by(5).collect(),
        false => [stage / 2 + 1].into_iter().filter(|_| stage.is_multiple_of(4)).collect(),
    }
}

/// Kills a daemon at a stage, then others on what it left. `None`: there is no such stage.
fn kill_at(prepared: &Prepared, stage: usize) -> Option<Told> {
    let folder = TempDir::new().unwrap();
    let (dir, mut acknowledged) = (folder.path().join("killed"), BTreeSet::new());
    prepared.copy(&dir);
    let mut first = daemon(&dir, &prepared.policy);
    let call = match Watch::of(prepared, stage).live(&mut first, &mut acknowledged) {
        Came::Stage { call, .. } => call.replace('\t', " "),
        Came::Rest => return None,
        Came::Ended(log) => panic!("it ended before stage {stage}: {log}"),
    };
    let mut told = Told { faults: Vec::new(), call };
    let verified = first.soard(&["log", "verify"]).status.code();
    if verified != Some(0) {
        told.faults.push(format!("log verify says {verified:?} at once"));
    }
    let cut = folder.path().join("cut");
    copy(&dir, &cut);
    if cut_power(&cut, true) || long() {
        let faults = settle(prepared, &cut, &mut acknowledged.clone());
        told.faults.extend(faults.into_iter().map(|fault| format!("after a power cut: {fault}")));
    }
    for again in again(stage) {
        let (twice, mut acknowledged) = (folder.path().join(format!("twice-{again}")), acknowledged.clone());
        copy(&dir, &twice);
        let then = match Watch::of(prepared, again).live(&mut daemon(&twice, &prepared.policy), &mut acknowledged) {
            Came::Stage { call, .. } => call.replace('\t', " "),
            Came::Rest => "rest".into(),
            Came::Ended(log) => log,
        };
        let faults = settle(prepared, &twice, &mut acknowledged);
        told.faults.extend(faults.into_iter().map(|fault| format!("killed again at {then}: {fault}")));
    }
    if long() || again(stage).is_empty() {
        if long() || (stage % 2 == 1 && !leftovers(&dir.join("state")).is_empty()) {
            told.faults.extend(leave_alone(&dir));
        }
        told.faults.extend(settle(prepared, &dir, &mut acknowledged));
    }
    Some(told)
}

#[test]
fn a_daemon_killed_within_any_stage_of_archiving_and_retention_comes_to_the_same_rest() {
    let prepared = Prepared::make();
    let (next, told) = (AtomicUsize::new(1), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(of_stage) = kill_at(&prepared, next.fetch_add(1, Ordering::SeqCst)) {
                    of_stage.faults.iter().for_each(|fault| println!("killed at {}: {fault}", of_stage.call));
                    told.lock().unwrap().push(of_stage);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    let faults: Vec<String> =
        told.iter().flat_map(|of| of.faults.iter().map(|fault| format!("killed at {}: {fault}", of.call))).collect();
    assert_eq!(faults, Vec::<String>::new());
    let begins = |name: &str| told.iter().filter(|of| of.call.starts_with(name)).count();
    // What is known to be among them: making, filling, syncing and naming a base and an archive, two entries, four removals.
    for (name, count) in
        [("make ", 2), ("write base-", 2), ("write journal/", 3), ("sync ", 7), ("rename ", 2), ("remove ", 4)]
    {
        assert!(begins(name) >= count, "{name}: {} stages", begins(name));
    }
    println!("{} stages, 0 faults", told.len());
}

#[test]
fn control_what_is_not_synced_before_the_segments_go_is_missed_after_a_power_cut() {
    let prepared = Prepared::make();
    for unsynced in ["journal/*.zst.tmp", "base-*.tmp", "journal"] {
        let folder = TempDir::new().unwrap();
        let (dir, mut acknowledged) = (folder.path().join("cut"), BTreeSet::new());
        prepared.copy(&dir);
        let mut first = daemon(&dir, &prepared.policy);
        let watch = Watch { prepared: &prepared, stage: 0, unsynced };
        assert!(matches!(watch.live(&mut first, &mut acknowledged), Came::Rest));
        first.kill();
        assert!(cut_power(&dir, false));
        let faults = settle(&prepared, &dir, &mut acknowledged);
        assert_ne!(faults, Vec::<String>::new(), "the oracle does not notice that {unsynced} is not synced");
    }
}
