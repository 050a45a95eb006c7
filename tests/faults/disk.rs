//! A disk that fails under the whole daemon, and a machine that loses its power: what was answered 2xx is on record
//! afterwards, and nothing is answered 2xx that is not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::peers::{Receiver, Way};
use crate::support::{Daemon, long, post, wait_for};

const SETTINGS: &str = "sources:\n  push: { format: soard, http: { token: { env: SOARD_TEST_TOKEN } } }\n";
const ROUTE: &str = "route:\n  - id: all\n    title: Everything\n    owner: soc@example.com\n    playbooks: [send]\n";
pub const PLAYBOOK: &str = "fn on_alert(alert) { webhook(\"hook\", alert.external_id); }\n";

const EIO: u32 = 5;
const ENOSPC: u32 = 28;
const EDQUOT: u32 = 122;

/// The library that makes calls fail, compiled.
fn library(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c");
    let library = folder.join("disk.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status();
    assert!(status.unwrap().success());
    library
}

pub fn alert(id: &str) -> String {
    json!({ "external_id": id, "title": format!("Alert {id}"), "severity": "high" }).to_string()
}

/// The external ids of all alerts on record.
fn on_record(daemon: &Daemon) -> BTreeSet<String> {
    let intakes = daemon.journal().into_iter().filter(|line| line["k"] == "intake");
    let taken = intakes.flat_map(|line| line["d"]["alerts"].as_array().unwrap().clone());
    taken.map(|taken| taken["alert"]["external_id"].as_str().unwrap().to_owned()).collect()
}

/// How a life on a failing disk went.
struct Life {
    /// What the daemon ended with by itself.
    ended: Option<ExitStatus>,
    /// Answered 2xx, yet not on record after a restart.
    lost: BTreeSet<String>,
    acknowledged: usize,
    refused: usize,
    log: String,
}

/// Starts a daemon on a disk that fails as `disk` says, posts ten alerts, and looks what a healthy start finds.
fn live(library: &Path, disk: &str, fault: Option<&str>) -> Life {
    let folder = tempfile::tempdir().unwrap();
    let hook = Receiver::start(Way::Answer("200 OK"));
    let settings = format!(
        "{SETTINGS}destinations:\n  hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        hook.address
    );
    let files = [("playbooks/send.rhai", PLAYBOOK), ("rules/route/all.yaml", ROUTE)];
    let mut daemon = Daemon::new(folder.path(), &settings, &files);
    // A journal that was not closed in good order: the next start rewrites its last segment.
    daemon.start();
    assert_eq!(daemon.post(&alert("first")).unwrap().0, 200);
    daemon.kill();
    let healthy = daemon.env.clone();
    daemon.env.push(("LD_PRELOAD".into(), library.display().to_string()));
    daemon.env.push(("SOARD_DISK".into(), disk.into()));
    daemon.env.extend(fault.map(|fault| ("SOARD_FAULT".into(), fault.into())));
    let mut acknowledged = BTreeSet::from(["first".to_owned()]);
    let mut refused = 0;
    let is_full = [ENOSPC, EDQUOT].iter().any(|error| disk.ends_with(&format!(":{error}")));
    let mut ended = daemon.start_or_end();
    for n in 0..10 {
        if ended.is_some() {
            break;
        }
        let id = format!("n-{n}");
        let mut answer = daemon.post(&alert(&id));
        // A full disk is told as 503 with a time to come back, and whoever comes back is taken.
        if is_full && matches!(answer, Some((503, _))) {
            answer = Some(wait_for("room", || daemon.post(&alert(&id)).filter(|(status, _)| *status != 503)));
        }
        match answer {
            Some((200, _)) => drop(acknowledged.insert(id)),
            Some((status, answer)) => {
                assert_eq!(status, 503, "{disk}: {answer}");
                refused += 1;
            }
            // The daemon ends rather than limps.
            None => {
                ended = Some(wait_for(&format!("the daemon to end on {disk}, after {n} alerts"), || daemon.has_ended()))
            }
        }
    }
    if ended.is_none() {
        daemon.kill();
    }
    let log = daemon.log();
    daemon.env = healthy;
    daemon.start();
    let found = on_record(&daemon);
    let lost = acknowledged.difference(&found).cloned().collect();
    Life { ended, lost, acknowledged: acknowledged.len(), refused, log }
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost_and_the_daemon_ends_refuses_or_waits() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let most = if long() { 24 } else { 3 };
    let mut failed = 0;
    for n in 1..=most {
        for call in ["write", "sync"] {
            let disk = format!("{call}:{n}:{EIO}");
            let life = live(&library, &disk, None);
            assert_eq!(life.lost, BTreeSet::new(), "{disk}");
            let seen = life.ended.is_some_and(|status| status.code() == Some(2)) || life.refused > 0;
            assert!(seen || n > 6, "{disk}: the call was made and its failure was seen");
            failed += usize::from(seen);
        }
        for error in if long() { vec![ENOSPC, EDQUOT] } else { vec![ENOSPC] } {
            let disk = format!("write:{n}:{error}");
            let life = live(&library, &disk, None);
            assert_eq!((life.ended, life.lost, life.acknowledged), (None, BTreeSet::new(), 11), "{disk}: waited for");
            let seen = life.log.contains("the disk is full: entries wait until there is room");
            assert!(seen || n > 6, "{disk}: the call was made and its failure was seen");
            failed += usize::from(seen);
        }
    }
    let life = live(&library, &format!("rename:1:{EIO}"), None);
    assert_eq!((life.ended.and_then(|status| status.code()), life.lost), (Some(2), BTreeSet::new()), "rename");
    println!("{failed} failing calls, 0 acknowledged alerts lost");
}

#[test]
fn control_a_daemon_that_acknowledges_first_loses_what_a_failing_write_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let lost = (2..=8).any(|n| {
        let life = live(&library, &format!("write:{n}:{EIO}"), Some("acknowledge-before-write"));
        !life.lost.is_empty()
    });
    assert!(lost, "the oracle does not notice that a record was acknowledged and never written");
}

/// An ext4 file system in a file.
pub struct Disk {
    image: PathBuf,
    pub mount: PathBuf,
}

impl Disk {
    fn make(folder: &Path) -> std::io::Result<Self> {
        let (image, mount) = (folder.join("0.img"), folder.join("mount"));
        std::fs::create_dir(&mount)?;
        // Above the journal's reserve of free space; the file has holes where nothing was written.
        std::fs::File::create(&image)?.set_len(512 << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        let disk = Self { image, mount };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> std::io::Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))
    }

    fn unmount(&self) {
        run(Command::new("umount").arg(&self.mount)).unwrap();
    }

    /// The disk as it is on the platters, in another file: what the file system has not written is not in it.
    fn copy(&self, n: usize) -> PathBuf {
        let copy = self.image.with_file_name(format!("{}.img", n + 1));
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&copy)).unwrap();
        copy
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.mount));
    }
}

fn run(command: &mut Command) -> std::io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(std::io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// A disk, where file systems can be mounted; it has to be possible in the gate.
pub fn disk(folder: &Path) -> Option<Disk> {
    match Disk::make(folder) {
        Ok(disk) => Some(disk),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no file system can be mounted here: {why}");
            println!("not run: a file system of its own needs root and a loop device: {why}");
            None
        }
    }
}

fn signal(daemon: &Daemon, name: &str) {
    run(Command::new("kill").arg(format!("-{name}")).arg(daemon.pid().to_string())).unwrap();
}

/// Posts alerts one after the other until told to stop.
fn poster(
    port: u16,
    of: usize,
    stop: &Arc<AtomicBool>,
    acknowledged: &Arc<Mutex<BTreeSet<String>>>,
) -> thread::JoinHandle<()> {
    let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
    thread::spawn(move || {
        let mut n = 0;
        while !stop.load(Ordering::SeqCst) {
            let id = format!("p{of}-{n}");
            match post(port, &alert(&id)) {
                Some((200, _)) => {
                    acknowledged.lock().unwrap().insert(id);
                    n += 1;
                }
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    })
}

/// Cuts the power so often. Returns how much had been acknowledged, and what of it each cut lost.
fn cut(cuts: usize, preload: Option<&Path>) -> Option<(usize, Vec<BTreeSet<String>>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = disk(folder.path())?;
    let content = folder.path().join("content");
    let mut daemon = Daemon::new(&content, SETTINGS, &[("rules/route/none.yaml", "default_route: none\n")]);
    std::os::unix::fs::symlink(&disk.mount, content.join("state")).unwrap();
    if let Some(library) = preload {
        daemon.env.push(("LD_PRELOAD".into(), library.display().to_string()));
        daemon.env.push(("SOARD_DISK".into(), "no-sync".into()));
    }
    daemon.start();
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
    let posters: Vec<_> = (0..4).map(|of| poster(daemon.port, of, &stop, &acknowledged)).collect();
    let (mut losses, mut random) = (Vec::new(), 0x5eed_u64);
    for n in 0..cuts {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let before = acknowledged.lock().unwrap().len();
        wait_for("some alerts", || (acknowledged.lock().unwrap().len() > before + 5).then_some(()));
        thread::sleep(Duration::from_millis((random >> 33) % 300));
        // Nothing is acknowledged while the copy is made, so that it is the disk of one moment.
        signal(&daemon, "STOP");
        let promised = acknowledged.lock().unwrap().clone();
        let copy = disk.copy(n);
        daemon.kill();
        disk.unmount();
        std::fs::remove_file(&disk.image).unwrap();
        disk.image = copy;
        disk.mount().unwrap();
        if preload.is_none() {
            daemon.start();
        }
        losses.push(promised.difference(&on_record(&daemon)).cloned().collect());
        if preload.is_some() {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    posters.into_iter().for_each(|poster| poster.join().unwrap());
    if preload.is_none() {
        daemon.kill();
    }
    let total = acknowledged.lock().unwrap().len();
    Some((total, losses))
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let cuts = if long() { 50 } else { 5 };
    let Some((acknowledged, losses)) = cut(cuts, None) else { return };
    println!(
        "{cuts} power cuts, {acknowledged} alerts acknowledged, {} lost",
        losses.iter().map(BTreeSet::len).sum::<usize>()
    );
    assert!(acknowledged >= 5 * cuts);
    assert_eq!(losses, vec![BTreeSet::new(); cuts]);
}

#[test]
fn control_without_fdatasync_a_power_cut_loses_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let Some((_, losses)) = cut(1, Some(&library)) else { return };
    assert!(losses.iter().any(|lost| !lost.is_empty()), "the oracle does not notice that nothing was synced");
}
