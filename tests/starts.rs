//! Starts that must not come about, since the journal is not all that it was, and the repairs that lead out of it.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use soard::daemon::snapshot;
use soard::journal::Receipt;
use soard::journal::checkpoint::{Checkpoint, origin};
use soard::journal::note::Signer;
use support::{Daemon, wait_for};
use tempfile::TempDir;

const PUSH: &str = "sources: { push: { format: soard, http: { token: { env: SOARD_TEST_TOKEN } } } }\n";
const KEEPS: &str = "journal: { segment: 64KiB }\n";
const DROPS: &str = "journal: { segment: 64KiB, size: 128KiB }\n";
const NO_ROUTE: (&str, &str) = ("rules/route/all.yaml", "default_route: none\n");

fn daemon(folder: &Path, journal: &str) -> Daemon {
    Daemon::new(folder, &format!("{PUSH}{journal}"), &[NO_ROUTE])
}

/// Alerts that are resolved at once, so that nothing needs them.
fn post(daemon: &Daemon, from: u64, count: u64) -> Value {
    let alert = |n| json!({ "external_id": format!("x{n}"), "title": "x", "severity": "low", "status": "resolved", "description": "y".repeat(600) });
    let (status, answer) = daemon.post(&Value::Array((from..from + count).map(alert).collect()).to_string()).unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The same content and state in another folder.
fn copy(from: &Daemon, to: &Path, journal: &str) -> Daemon {
    copy_all(&from.dir.join("state"), &to.join("state"));
    daemon(to, journal)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_all(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn state(daemon: &Daemon) -> PathBuf {
    daemon.dir.join("state")
}

fn segments(daemon: &Daemon) -> Vec<PathBuf> {
    let files = fs::read_dir(state(daemon).join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    segments.sort();
    segments
}

/// All files of the journal's folder but the lock.
fn contents(daemon: &Daemon) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(state(daemon).join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| !path.ends_with("LOCK")).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Removes the last segments and lets HEAD name the new end; its number.
fn cut(daemon: &Daemon, from: usize) -> u64 {
    for path in &segments(daemon)[from..] {
        fs::remove_file(path).unwrap();
    }
    let text = fs::read_to_string(segments(daemon).pop().unwrap()).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let start = format!(r#"{{"v":1,"seq":{},"head":"{}","closed":true"#, last["seq"], last["h"].as_str().unwrap());
    let hash = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&start));
    fs::write(state(daemon).join("journal/HEAD"), format!("{:<255}\n", format!(r#"{start},"h":"{hash}"}}"#))).unwrap();
    last["seq"].as_u64().unwrap()
}

/// The daemon does not start, and says these words.
fn refuses(daemon: &mut Daemon, words: &[&str]) {
    let _ = fs::remove_file(daemon.dir.join("log.txt"));
    assert_eq!(daemon.start_or_end().and_then(|status| status.code()), Some(2), "{}", daemon.log());
    for word in words {
        assert!(daemon.log().contains(word), "{word}: {}", daemon.log());
    }
}

/// Starts the daemon and waits until it also listens for signals.
fn start(daemon: &mut Daemon) {
    let before = daemon.log().len();
    daemon.start();
    wait_for("the daemon to be ready", || daemon.log()[before..].contains("ready").then_some(()));
}

/// The daemon starts, takes an alert and stops in good order.
fn lives(daemon: &mut Daemon) {
    start(daemon);
    post(daemon, 5000, 1);
    assert_eq!(daemon.stop(), Some(0));
}

/// A command's exit code, and what it says as JSON.
fn json_of(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = daemon.soard(&[&["-o", "json"], arguments].concat());
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|_| String::from_utf8_lossy(&output.stderr).into()))
}

fn verify(daemon: &Daemon, more: &[&str]) -> (Option<i32>, Value) {
    json_of(daemon, &[&["log", "verify"], more].concat())
}

const WAYS_OUT: [&str; 2] = ["Mount the volume", "soard log repair --accept-loss"];

#[test]
fn a_start_refuses_a_journal_that_has_lost_its_end_until_an_operator_gives_it_up() {
    let folder = TempDir::new().unwrap();
    let mut whole = daemon(&folder.path().join("whole"), KEEPS);
    start(&mut whole);
    (0..6).for_each(|n| drop(post(&whole, n * 50, 50)));
    assert_eq!(whole.stop(), Some(0));
    let last = whole.json(&["log", "verify"])["last"]["seq"].as_u64().unwrap();
    let _ = fs::remove_file(state(&whole).join("snapshot"));

    let mut short = copy(&whole, &folder.path().join("short"), KEEPS);
    let end = cut(&short, 3);
    let before = contents(&short);
    refuses(&mut short, &[&format!("a signed checkpoint names entry {last}"), WAYS_OUT[0], WAYS_OUT[1]]);
    assert_eq!(contents(&short), before, "nothing was changed");
    // The controls: where nothing tells of more, the index alone does not stop a start, nor does a stranger's checkpoint.
    let mut untold = copy(&short, &folder.path().join("untold"), KEEPS);
    let stranger = Signer::new(&origin("00ff"), [9; 32]).unwrap();
    let receipt = Receipt { seq: last + 9, hash: "a".repeat(64) };
    let note = Checkpoint { origin: origin("00ff"), receipt, reach: None }.sign(&[stranger]) + "\n";
    fs::write(state(&untold).join("journal/checkpoints"), note).unwrap();
    start(&mut untold);
    untold.kill();

    let (code, report) = json_of(&short, &["log", "repair"]);
    let loss = &report["loss"];
    assert_eq!(
        (code, loss["kept_to"].as_u64(), loss["lost_to"].as_u64()),
        (Some(1), Some(end), Some(last)),
        "{report}"
    );
    assert_eq!(contents(&short), before, "without a word nothing is changed");
    let (code, report) = json_of(&short, &["log", "repair", "--accept-loss"]);
    assert_eq!((code, report["repaired"].as_u64()), (Some(0), Some(end + 1)), "{report}");
    start(&mut short);
    post(&short, 500, 1);
    assert_eq!(short.stop(), Some(0));
    let (code, report) = verify(&short, &[]);
    assert_eq!((code, &report["given_up"][0]["to"]), (Some(0), &json!(last)), "{report}");
    assert_eq!(json_of(&short, &["log", "repair"]).0, Some(0), "it is repaired");

    // A snapshot tells as much, without any checkpoint.
    let mut by_snapshot = copy(&whole, &folder.path().join("snapshot"), KEEPS);
    start(&mut by_snapshot);
    (0..15).for_each(|n| drop(post(&by_snapshot, 1000 + n * 70, 70)));
    assert_eq!(by_snapshot.stop(), Some(0));
    assert!(state(&by_snapshot).join("snapshot").exists());
    cut(&by_snapshot, 4);
    fs::remove_file(state(&by_snapshot).join("journal/checkpoints")).unwrap();
    refuses(&mut by_snapshot, &["snapshot names entry", WAYS_OUT[0], WAYS_OUT[1]]);
    assert_eq!(json_of(&by_snapshot, &["log", "repair", "--accept-loss"]).0, Some(0));
    let _ = fs::remove_file(by_snapshot.dir.join("log.txt"));
    lives(&mut by_snapshot);
    assert!(!by_snapshot.log().contains("does not fit the journal"), "{}", by_snapshot.log());
    assert_eq!(verify(&by_snapshot, &[]).0, Some(0));
}

#[test]
fn a_start_refuses_an_empty_journal_beside_what_tells_that_there_was_one() {
    let folder = TempDir::new().unwrap();
    let mut whole = daemon(&folder.path().join("whole"), KEEPS);
    start(&mut whole);
    post(&whole, 0, 20);
    assert_eq!(whole.stop(), Some(0));
    let journal = state(&whole).join("journal");
    fs::rename(&journal, folder.path().join("unmounted")).unwrap();
    for _ in 0..2 {
        refuses(&mut whole, &["journal.key is there", WAYS_OUT[0], WAYS_OUT[1]]);
    }
    let mut given_up = copy(&whole, &folder.path().join("given up"), KEEPS);
    // Mounted again, it goes on.
    fs::remove_dir_all(&journal).unwrap();
    fs::rename(folder.path().join("unmounted"), &journal).unwrap();
    start(&mut whole);
    assert_eq!(post(&whole, 0, 1)["receipts"][0]["alerts"][0], "a-1.0");
    assert_eq!(whole.stop(), Some(0));

    fs::remove_dir_all(state(&given_up).join("journal")).unwrap();
    assert_eq!(json_of(&given_up, &["log", "repair"]).0, Some(1));
    let (code, report) = json_of(&given_up, &["log", "repair", "--accept-loss"]);
    assert_eq!((code, report["repaired"].as_u64()), (Some(0), Some(1)), "{report}");
    lives(&mut given_up);
    assert_eq!(verify(&given_up, &[]).0, Some(0));

    // The control: a first start, also one that died before its first entry, and one with a key from elsewhere.
    let mut first = daemon(&folder.path().join("first"), KEEPS);
    let journal = state(&first).join("journal");
    fs::create_dir_all(&journal).unwrap();
    soard::journal::open(&journal, soard::journal::Settings::default(), &mut |_| Ok(())).unwrap();
    fs::copy(state(&whole).join("journal.key"), state(&first).join("journal.key")).unwrap();
    lives(&mut first);
    let mut keyed = daemon(&folder.path().join("keyed"), "journal: { key: { env: SOARD_TEST_KEY } }\n");
    let key = fs::read_to_string(state(&whole).join("journal.key")).unwrap();
    keyed.env.push(("SOARD_TEST_KEY".into(), key.trim().into()));
    lives(&mut keyed);
}

/// A daemon whose retention has dropped segments, stopped, without a snapshot; the last entry that is gone.
fn dropped(folder: &Path) -> (Daemon, u64) {
    let mut daemon = daemon(folder, DROPS);
    start(&mut daemon);
    (0..12).for_each(|n| drop(post(&daemon, n * 50, 50)));
    assert_eq!(daemon.stop(), Some(0));
    copy_all(&state(&daemon).join("journal"), &folder.join("before"));
    start(&mut daemon);
    let first = |daemon: &Daemon| segments(daemon)[0].file_stem()?.to_str()?.parse::<u64>().ok();
    let last = wait_for("segments to go", || {
        let last = first(&daemon)? - 1;
        base(&daemon, last).exists().then_some(last)
    });
    post(&daemon, 900, 5);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(first(&daemon), Some(last + 1));
    let _ = fs::remove_file(state(&daemon).join("snapshot"));
    (daemon, last)
}

fn base(daemon: &Daemon, last: u64) -> PathBuf {
    state(daemon).join(format!("base-{last:020}"))
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_journal_that_rests_on_a_base_is_no_better_than_that_and_a_repair_begins_with_it() {
    let folder = TempDir::new().unwrap();
    let (good, last) = dropped(&folder.path().join("good"));
    let (code, report) = verify(&good, &[]);
    assert_eq!((code, &report["base"]), (Some(0), &json!({ "seq": last, "verdict": "good" })), "{report}");
    let name = format!("base-{last:020}");

    // Damaged, absent, another: a start names it, verify does not call the journal good, repair does not say that all is well.
    type Harm = fn(&Path);
    let other: Harm = |path| {
        let (mut state, receipt) = snapshot::read_base(path).unwrap().unwrap();
        state.totals.alerts = 7777;
        snapshot::write(path, &state.save(), &receipt).unwrap();
    };
    let harms: [(&str, Harm); 3] = [
        ("cannot be used: it is damaged", |path| flip(path, fs::read(path).unwrap().len() - 3)),
        ("is absent", |path| fs::remove_file(path).unwrap()),
        ("is not the file whose SHA-256 the journal names", other),
    ];
    for (at, (words, harm)) in harms.into_iter().enumerate() {
        let mut bad = copy(&good, &folder.path().join(format!("base{at}")), DROPS);
        harm(&base(&bad, last));
        refuses(&mut bad, &[&name, words, "restore"]);
        let (code, report) = verify(&bad, &[]);
        assert_eq!((code, report["verdict"].as_str()), (Some(1), Some("tampered")), "{report}");
        assert!(report["place"].as_str().unwrap().contains(words), "{report}");
        for arguments in [&["log", "repair"][..], &["log", "repair", "--accept-loss"]] {
            let (code, report) = json_of(&bad, arguments);
            assert_eq!(
                (code, report["base"].as_str().is_some_and(|text| text.contains(words))),
                (Some(1), true),
                "{report}"
            );
        }
        // Put back, all is well.
        fs::copy(base(&good, last), base(&bad, last)).unwrap();
        assert_eq!((verify(&bad, &[]).0, json_of(&bad, &["log", "repair"]).0), (Some(0), Some(0)));
    }
    // A crash can leave some of what was dropped: it rests on the same base.
    let partly = copy(&good, &folder.path().join("partly"), DROPS);
    let mut old: Vec<PathBuf> =
        fs::read_dir(good.dir.join("before")).unwrap().map(|file| file.unwrap().path()).collect();
    let is_dropped = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "jsonl") && path.file_name() < segments(&good)[0].file_name()
    };
    old.retain(is_dropped);
    old.sort();
    let newest = old.pop().filter(|_| !old.is_empty()).unwrap();
    fs::copy(&newest, state(&partly).join("journal").join(newest.file_name().unwrap())).unwrap();
    let (code, report) = verify(&partly, &[]);
    assert_eq!((code, &report["base"]), (Some(0), &json!({ "seq": last, "verdict": "good" })), "{report}");
    // A copy of the journal's folder alone says that it was not looked at.
    let alone = folder.path().join("alone/journal");
    copy_all(&state(&good).join("journal"), &alone);
    let (code, report) = verify(&good, &["--journal", alone.to_str().unwrap()]);
    assert_eq!((code, report["base"]["verdict"].as_str()), (Some(0), Some("unchecked")), "{report}");

    // The first line that is left is damaged: what the base stands for stays.
    let mut bad = copy(&good, &folder.path().join("first line"), DROPS);
    flip(&segments(&bad)[0], 60);
    refuses(&mut bad, &[&format!("entry {}", last + 1), "its hash does not fit"]);
    let (code, report) = json_of(&bad, &["log", "repair"]);
    assert_eq!((code, report["loss"]["kept_to"].as_u64()), (Some(1), Some(last)), "{report}");
    let (code, report) = json_of(&bad, &["log", "repair", "--accept-loss"]);
    assert_eq!((code, report["repaired"].as_u64()), (Some(0), Some(last + 2)), "{report}");
    start(&mut bad);
    assert_eq!(bad.json(&["status"])["totals"]["alerts"], {
        let (state, _) = snapshot::read_base(&base(&good, last)).unwrap().unwrap();
        json!(state.totals.alerts)
    });
    let number = post(&bad, 2000, 1)["receipts"][0]["alerts"][0].as_str().unwrap().to_owned();
    let number: u64 = number.trim_start_matches("a-").split('.').next().unwrap().parse().unwrap();
    assert!(number > 100, "numbers go on: {number}");
    assert_eq!(bad.stop(), Some(0));
    let (code, report) = verify(&bad, &[]);
    assert_eq!((code, report["base"]["verdict"].as_str()), (Some(0), Some("good")), "{report}");
    assert_eq!(report["given_up"][0]["from"], json!(last + 1), "{report}");
}

/// The script of the document.
fn by_hand(folder: &Path, journal: &Path, key: &str) -> (Option<i32>, String) {
    let doc = include_str!("../docs/journal-format.md");
    let section = doc.split("## A check that needs no soard").nth(1).expect("the section is there");
    fs::write(folder.join("check.sh"), section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap()).unwrap();
    let output = Command::new("bash").arg(folder.join("check.sh")).arg(key).current_dir(journal).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_repair_that_gives_up_a_change_of_keys_names_the_key_at_hand_and_verify_says_so() {
    let folder = TempDir::new().unwrap();
    let mut daemon = daemon(&folder.path().join("daemon"), KEEPS);
    start(&mut daemon);
    post(&daemon, 0, 20);
    let rotated = daemon.json(&["log", "key", "rotate"]);
    let (old, new) = (rotated["replaces"].as_str().unwrap(), rotated["verifier"].as_str().unwrap());
    post(&daemon, 20, 20);
    assert_eq!(daemon.stop(), Some(0));
    let path = segments(&daemon).remove(0);
    let lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(String::from).collect();
    let damaged = lines.iter().position(|line| line.contains(r#""external_id":"x9""#)).unwrap();
    let text: String = lines
        .iter()
        .enumerate()
        .map(|(n, line)| if n == damaged { line.replacen("x9", "X9", 1) } else { line.clone() } + "\n")
        .collect();
    fs::write(&path, text).unwrap();

    let (code, report) = json_of(&daemon, &["log", "repair", "--accept-loss"]);
    assert_eq!((code, report["loss"]["key"].as_str()), (Some(0), Some(new)), "{report}");
    start(&mut daemon);
    post(&daemon, 40, 1);
    assert_eq!(daemon.stop(), Some(0));
    let journal = state(&daemon).join("journal");
    let (code, report) = verify(&daemon, &[]);
    assert_eq!((code, report["taken"][0]["key"].as_str()), (Some(0), Some(new)), "{report}");
    for (key, expected) in [(new, 0), (old, 1)] {
        let (code, report) = verify(&daemon, &["--key", key]);
        assert_eq!(code, Some(expected), "{report}");
        let (code, text) = by_hand(folder.path(), &journal, key);
        assert_eq!(code, Some(expected), "{text}");
    }
    let (_, report) = verify(&daemon, &["--key", old]);
    assert!(report["place"].as_str().unwrap().contains("a repair, put another key in charge"), "{report}");
    let keys: Vec<Value> = daemon.json(&["log", "key"]).as_array().unwrap().clone();
    assert_eq!(keys.iter().map(|key| key["verifier"].as_str().unwrap()).collect::<Vec<_>>(), [old, new]);
}
