//! A disk that fills up under the daemon and is freed again: what waits is written by itself, once, and in its order.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::disk::{PLAYBOOK, alert, disk};
use crate::peers::Gate;
use crate::support::{Daemon, exchange, post, wait_for};

const ROUTE: &str = "default_route: none\nroute:\n  - id: high\n    title: What matters\n    owner: soc@example.com\n    \
                     match: { severity: high }\n    playbooks: [send]\n";

/// Lines of the followed file, of alerts that no route takes.
const LINES: usize = 600;

/// A daemon with a route to a gate, and a file that it follows.
fn daemon(content: &Path, lines: &Path, gate: &Gate) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n  \
         lines: {{ format: soard, file: {{ path: {} }} }}\n\
         destinations:\n  hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        lines.display(),
        gate.address
    );
    File::create(lines).unwrap();
    Daemon::new(content, &settings, &[("playbooks/send.rhai", PLAYBOOK), ("rules/route/high.yaml", ROUTE)])
}

/// What makes the disk full, and what makes room again.
trait Fill {
    fn fill(&mut self, daemon: &Daemon);
    fn free(&mut self, daemon: &Daemon);
}

/// A limit on the size of files, a little above the journal's segment.
struct Limit;

impl Limit {
    fn set(daemon: &Daemon, bytes: Option<u64>) {
        let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }
}

impl Fill for Limit {
    fn fill(&mut self, daemon: &Daemon) {
        let segment = daemon.dir.join("state/journal/00000000000000000001.jsonl");
        Self::set(daemon, Some(segment.metadata().unwrap().len() + 100));
    }

    fn free(&mut self, daemon: &Daemon) {
        Self::set(daemon, None);
    }
}

/// A file that takes all space of a file system; what is left in the last block of the daemon's log is taken, too.
struct Filler(PathBuf);

impl Fill for Filler {
    fn fill(&mut self, daemon: &Daemon) {
        let file = File::create(&self.0).unwrap();
        let mut end = 0;
        for piece in [64 << 20, 1 << 20, 64 << 10, 4 << 10] {
            while fallocate(&file, FallocateFlags::empty(), end, piece).is_ok() {
                end += piece;
            }
        }
        assert!(end > 64 << 20, "the disk was full before");
        let mut log = OpenOptions::new().append(true).open(daemon.dir.join("log.txt")).unwrap();
        let dots = std::iter::repeat_with(|| log.write(&[b'.'; 64])).take_while(Result::is_ok).take(10_000).count();
        assert!(dots < 10_000, "the log has no room either");
    }

    fn free(&mut self, _: &Daemon) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Alerts of low severity, one a line.
fn text(lines: usize) -> String {
    let line = |n| json!({ "external_id": format!("line-{n:05}"), "title": "A line", "severity": "low" }).to_string();
    (0..lines).map(|n| line(n) + "\n").collect()
}

/// Entries that wait for the full disk; `None`: none do, or the daemon does not answer.
fn waiting(daemon: &Daemon) -> Option<u64> {
    let output = daemon.soard(&["--output", "json", "status"]);
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    status["journal"]["waiting"].as_u64().filter(|waiting| *waiting > 0)
}

/// Waits until every run has ended.
fn runs_end(daemon: &Daemon) {
    wait_for("the runs to end", || (daemon.json(&["status"])["runs_open"] == json!(0)).then_some(()));
}

/// Fills the disk while a request is on its way, whose result then finds no room, and while a file is read. What the
/// daemon ended with, if it does not wait.
fn fill(daemon: &mut Daemon, lines: &Path, gate: &Gate, disk: &mut dyn Fill) -> Option<ExitStatus> {
    daemon.start();
    assert_eq!(daemon.post(&alert("first")).unwrap().0, 200);
    wait_for("the first request", || (gate.got().len() == 1).then_some(()));
    runs_end(daemon);
    gate.set(false);
    assert_eq!(daemon.post(&alert("held")).unwrap().0, 200);
    wait_for("the held request", || (gate.got().len() == 2).then_some(()));
    std::fs::write(lines, text(LINES)).unwrap();
    disk.fill(daemon);
    gate.set(true);
    wait_for("an entry that waits", || match daemon.has_ended() {
        Some(status) => Some(Some(status)),
        None => waiting(daemon).map(|_| None),
    })
}

/// The external ids on record in their order, each as often as it was taken: of the file, and of all else.
fn on_record(daemon: &Daemon) -> (Vec<String>, Vec<String>) {
    let intakes = daemon.journal().into_iter().filter(|line| line["k"] == "intake");
    let taken = intakes.flat_map(|line| line["d"]["alerts"].as_array().unwrap().clone());
    let ids = taken.map(|taken| taken["alert"]["external_id"].as_str().unwrap().to_owned());
    ids.partition(|id| id.starts_with("line-"))
}

fn each_line_once(found: &[String], lines: usize) {
    let expected: Vec<String> = (0..lines).map(|n| format!("line-{n:05}")).collect();
    assert!(found == expected, "each line once and in its order: {found:?}");
}

/// Every request has one result, and the journal is good.
fn is_whole(daemon: &Daemon, requests: usize) {
    let results = daemon.journal().into_iter().filter(|line| line["k"] == "result").count();
    assert_eq!(results, requests);
    let verified = daemon.soard(&["log", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
}

fn goes_on_by_itself(root: &Path, content: &Path, disk: &mut dyn Fill) {
    let (gate, lines) = (Gate::start(), root.join("lines.jsonl"));
    let mut daemon = daemon(content, &lines, &gate);
    assert_eq!(fill(&mut daemon, &lines, &gate, disk), None, "{}", daemon.log());
    for n in 0..3 {
        let answer = exchange(daemon.port, &alert(&format!("refused-{n}"))).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nretry-after: 30\r\n"), "{answer}");
        assert!(answer.contains("disk-full"), "{answer}");
    }
    let status = String::from_utf8(daemon.soard(&["status"]).stdout).unwrap();
    assert!(status.contains("the disk is full: ") && status.contains(" for room, new alerts are refused"), "{status}");
    assert_eq!(gate.got().len(), 2);
    disk.free(&daemon);
    wait_for("the next alert to be taken", || {
        (post(daemon.port, &alert("after")).is_some_and(|(status, _)| status == 200)).then_some(())
    });
    wait_for("the next request", || (gate.got().len() == 3).then_some(()));
    wait_for("all lines", || (daemon.json(&["status"])["alerts"]["total"] == json!(LINES + 3)).then_some(()));
    runs_end(&daemon);
    assert_eq!(waiting(&daemon), None);
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    let (lines, others) = on_record(&daemon);
    assert_eq!(others, ["first", "held", "after"]);
    each_line_once(&lines, LINES);
    assert_eq!(gate.got().len(), 3, "no request was sent twice");
    is_whole(&daemon, 3);
    assert!(daemon.log().contains("there is room on the disk again: what waited is written"), "{}", daemon.log());
}

#[test]
fn a_limit_on_file_size_is_waited_for_and_lifted_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    goes_on_by_itself(folder.path(), &folder.path().join("content"), &mut Limit);
}

/// The daemon's log lies on the full disk, too.
#[test]
fn a_full_file_system_is_waited_for_and_freed_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = disk(folder.path()) else { return };
    goes_on_by_itself(folder.path(), &disk.mount.join("content"), &mut Filler(disk.mount.join("filler")));
}

#[test]
fn a_stop_on_a_full_disk_is_in_good_order_and_the_next_start_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, lines) = (Gate::start(), folder.path().join("lines.jsonl"));
    let mut daemon = daemon(&folder.path().join("content"), &lines, &gate);
    assert_eq!(fill(&mut daemon, &lines, &gate, &mut Limit), None, "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("what waited is not on record, nor was it acknowledged"), "{log}");
    let verified = daemon.soard(&["log", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    // The limit ended with the process.
    daemon.start();
    wait_for("the request without a result", || (gate.got().len() == 3).then_some(()));
    wait_for("all lines", || (daemon.json(&["status"])["alerts"]["total"] == json!(LINES + 2)).then_some(()));
    runs_end(&daemon);
    assert_eq!(daemon.stop(), Some(0));
    let keys: Vec<String> = gate.got().iter().map(|got| got.headers["webhook-id"].clone()).collect();
    assert!(keys[1] == keys[2] && keys[0] != keys[1], "{keys:?}");
    let (lines, others) = on_record(&daemon);
    assert_eq!((lines.len(), others), (LINES, vec!["first".into(), "held".into()]));
    is_whole(&daemon, 2);
}

/// A core that takes 50 ms for each record: others queue up before it, and it cannot refuse them.
#[test]
fn lines_that_the_core_has_already_wait_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, lines) = (Gate::start(), folder.path().join("lines.jsonl"));
    let mut daemon = daemon(&folder.path().join("content"), &lines, &gate);
    daemon.env.push(("SOARD_FAULT".into(), "acknowledge-before-write".into()));
    daemon.start();
    let long = json!({ "external_id": "first", "title": "A", "severity": "low", "description": "x".repeat(20_000) });
    assert_eq!(daemon.post(&long.to_string()).unwrap().0, 200);
    // The answer came before the entry was written.
    wait_for("the first entry", || (on_record(&daemon).1.len() == 1).then_some(()));
    Limit.fill(&daemon);
    std::fs::write(&lines, text(80)).unwrap();
    wait_for("an entry that waits", || waiting(&daemon));
    Limit.free(&daemon);
    wait_for("all lines", || (daemon.json(&["status"])["alerts"]["total"] == json!(81)).then_some(()));
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    each_line_once(&on_record(&daemon).0, 80);
}

#[test]
fn control_a_daemon_that_does_not_wait_ends_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, lines) = (Gate::start(), folder.path().join("lines.jsonl"));
    let mut daemon = daemon(&folder.path().join("content"), &lines, &gate);
    daemon.env.push(("SOARD_FAULT".into(), "give-up-on-full-disk".into()));
    let ended = fill(&mut daemon, &lines, &gate, &mut Limit);
    assert_eq!(ended.and_then(|status| status.code()), Some(2), "{}", daemon.log());
}
