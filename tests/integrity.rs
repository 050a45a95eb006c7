//! Who changes the journal is found out: by `soard log verify`, and by a short script that knows nothing of soard.

mod integrity {
    mod vouched;
}
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use soard::domain::entry::{Facts, Log, Seal};
use soard::journal::checkpoint::{Checkpoint, Checkpoints, origin};
use soard::journal::note::{Signer, Verifier};
use soard::journal::retention;
use soard::journal::verify::{Known, Outcome, Report, verify_against};
use soard::journal::writer::Journal;
use soard::journal::{self, Damage, Draft, Receipt, Settings};
use support::{Daemon, HttpSink, wait_for};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
const JOURNAL: &str = "00112233445566778899aabbccddeeff";

fn signer(seed: u8) -> Signer {
    Signer::new(&origin(JOURNAL), [seed; 32]).unwrap()
}

fn open(dir: &Path) -> Journal {
    let settings = Settings { segment_bytes_max: 1800, ..Settings::default() };
    journal::open(dir, settings, &mut |_| Ok(())).unwrap().0
}

fn append(journal: &Journal, kind: &'static str, data: String) -> Receipt {
    let (sender, fate) = channel();
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    journal.append(Draft { at, kind, data }, Box::new(move |outcome| sender.send(outcome).unwrap()));
    fate.recv_timeout(PATIENCE).unwrap().unwrap()
}

fn sign_with(journal: &Journal, signers: Vec<Signer>) {
    let (sender, signed) = channel();
    journal.notary().sign_with(origin(JOURNAL), signers, Box::new(move || sender.send(()).unwrap()));
    signed.recv_timeout(PATIENCE).unwrap();
}

/// A journal of some 20 entries as a daemon would write it, with a change of keys from `seed` to `seed + 1` where asked
/// for, and the receipts of all entries.
fn written(dir: &Path, seed: u8, text: &str, rotates: bool) -> Vec<Receipt> {
    let journal = open(dir);
    let key = signer(seed).verifier().to_string();
    let opened = format!(r#"{{"opened":{{"journal":"{JOURNAL}","version":"0.1.0"}}}}"#);
    let mut receipts = vec![append(&journal, "log", opened)];
    receipts.push(append(&journal, "log", format!(r#"{{"key":{{"verifier":"{key}"}}}}"#)));
    sign_with(&journal, vec![signer(seed)]);
    for n in 1..=8 {
        receipts.push(append(&journal, "intake", format!(r#"{{"n":{n},"text":"{text}"}}"#)));
    }
    if rotates {
        let new = signer(seed + 1).verifier().to_string();
        let data = format!(r#"{{"key":{{"verifier":"{new}","replaces":"{key}"}}}}"#);
        receipts.push(append(&journal, "log", data));
        sign_with(&journal, vec![signer(seed + 1), signer(seed)]);
    }
    for n in 9..=16 {
        receipts.push(append(&journal, "intake", format!(r#"{{"n":{n},"text":"{text}"}}"#)));
    }
    journal.close().unwrap();
    receipts
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths
}

fn lines(dir: &Path) -> Vec<String> {
    let text: String = segments(dir).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    text.lines().map(String::from).collect()
}

/// Puts the lines into one segment and lets HEAD name the last one, as whoever owns the folder can.
fn put(dir: &Path, lines: &[String]) {
    segments(dir).iter().for_each(|path| fs::remove_file(path).unwrap());
    fs::write(dir.join("00000000000000000001.jsonl"), lines.join("\n") + "\n").unwrap();
    head(dir, lines.len() as u64, &field(lines.last().unwrap(), "h"));
}

fn head(dir: &Path, seq: u64, hash: &str) {
    let start = format!(r#"{{"v":1,"seq":{seq},"head":"{hash}","closed":true"#);
    let text = format!(r#"{start},"h":"{}"}}"#, sha256(&start));
    fs::write(dir.join("HEAD"), format!("{text:<255}\n")).unwrap();
}

fn sha256(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}

fn field(line: &str, name: &str) -> String {
    serde_json::from_str::<serde_json::Value>(line).unwrap()[name].as_str().unwrap().to_owned()
}

/// Gives each line from `at` on the right number, batch and hashes: all that a forger can do without a key.
fn rechain(lines: &mut [String], at: usize) {
    for n in at..lines.len() {
        let prev = if n == 0 { "0".repeat(64) } else { field(&lines[n - 1], "h") };
        let rest = lines[n].split_once(r#","r":0,"#).unwrap().1;
        let rest = rest.rsplit_once(r#","prev":""#).unwrap().0;
        let start = format!(r#"{{"v":1,"seq":{},"b":{},"r":0,{rest},"prev":"{prev}""#, n + 1, n + 1);
        lines[n] = format!(r#"{start},"h":"{}"}}"#, sha256(&start));
    }
}

/// Signs anew whatever the checkpoints named, over the entries as they are now.
fn resign(dir: &Path, key: &Signer) {
    let lines = lines(dir);
    let old = Checkpoints::read(dir).unwrap();
    let notes = old.signed.iter().map(|signed| {
        let seq = signed.checkpoint.receipt.seq.min(lines.len() as u64);
        let receipt = Receipt { seq, hash: field(&lines[seq as usize - 1], "h") };
        Checkpoint { origin: origin(JOURNAL), receipt, reach: signed.checkpoint.reach }.sign(std::slice::from_ref(key))
            + "\n"
    });
    fs::write(dir.join("checkpoints"), notes.collect::<String>()).unwrap();
}

/// The script of the document, as a file.
fn script(folder: &Path) -> PathBuf {
    let doc = include_str!("../docs/journal-format.md");
    let section = doc.split("## A check that needs no soard").nth(1).expect("the section is there");
    let text = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let path = folder.join("check.sh");
    fs::write(&path, text).unwrap();
    path
}

/// Exit code and output of the script.
fn by_hand(script: &Path, dir: &Path, key: &Verifier, anchors: &[Receipt]) -> (Option<i32>, String) {
    let mut bash = Command::new("bash");
    bash.arg(script).arg(key.to_string()).args(anchors.iter().map(Receipt::to_string)).current_dir(dir);
    let output = bash.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

fn verdict(dir: &Path, known: &Known) -> Option<(u64, Damage)> {
    match verify_against(dir, known).outcome {
        Outcome::Good => None,
        Outcome::Tampered(place) => Some((place.seq, place.damage)),
        other => panic!("{other:?}"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn checkpoints_vouch_for_a_journal_and_nothing_is_said_against_a_good_one() {
    for rotates in [false, true] {
        let dir = TempDir::new().unwrap();
        let receipts = written(dir.path(), 1, "text", rotates);
        let last = receipts.last().unwrap().seq;
        let first_key = Some(signer(1).verifier().clone());
        let report =
            verify_against(dir.path(), &Known { anchors: receipts.clone(), key: first_key, ..Known::default() });
        assert!(matches!(report.outcome, Outcome::Good), "{report:?}");
        assert_eq!((report.signed.last, report.signed.keys.len()), (Some(last), 1 + usize::from(rotates)));
        assert_eq!(report.anchored, (last, Some(last)));
        assert!(report.signed.checkpoints >= segments(dir.path()).len() as u64, "one at each seal and one at the end");
        // Checkpoints that are gone are missed by those who know the key, and said to be missing to the others.
        fs::remove_file(dir.path().join("checkpoints")).unwrap();
        let Report { outcome: Outcome::Good, signed, .. } = verify_against(dir.path(), &Known::default()) else {
            panic!("without any knowledge from outside there is nothing to hold against it")
        };
        assert_eq!(signed.last, None);
    }
}

type Attack = (&'static str, fn(&Path), Damage);

fn edit(dir: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let mut all = lines(dir);
    change(&mut all);
    put(dir, &all);
}

/// What can be found without any knowledge from outside.
fn clumsy() -> Vec<Attack> {
    edits().into_iter().chain(forgeries()).collect()
}

/// Without any forged hash, or with a few.
fn edits() -> Vec<Attack> {
    vec![
        ("edit", |dir| edit(dir, |all| all[4] = all[4].replace("text", "teXt")), Damage::Hash),
        (
            "edit, own hash right",
            |dir| {
                edit(dir, |all| {
                    let start = all[4].rsplit_once(r#","h""#).unwrap().0.replace("text", "teXt");
                    all[4] = format!(r#"{start},"h":"{}"}}"#, sha256(&start));
                })
            },
            Damage::Prev,
        ),
        ("edit the first entry", |dir| edit(dir, |all| all[0] = all[0].replace("0.1.0", "0.1.1")), Damage::Hash),
        ("delete", |dir| edit(dir, |all| drop(all.remove(4))), Damage::Seq { found: 6 }),
        ("reorder", |dir| edit(dir, |all| all.swap(4, 5)), Damage::Seq { found: 6 }),
        ("double", |dir| edit(dir, |all| all.insert(4, all[3].clone())), Damage::Seq { found: 4 }),
        (
            "insert",
            |dir| {
                edit(dir, |all| {
                    let line = all[5].clone();
                    all.insert(4, line);
                    rechain(&mut all[..5], 4);
                })
            },
            Damage::Seq { found: 5 },
        ),
        ("truncate, HEAD put back", |dir| edit(dir, |all| all.truncate(9)), Damage::BeforeCheckpoint { seq: 18 }),
        (
            "truncate within a line",
            |dir| {
                let path = segments(dir).pop().unwrap();
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() - 40]).unwrap();
            },
            Damage::Missing { head: 18 },
        ),
    ]
}

/// With a chain that is right again, other segments or other checkpoints.
fn forgeries() -> Vec<Attack> {
    vec![
        (
            "edit, whole chain and HEAD made right",
            |dir| {
                edit(dir, |all| {
                    all[4] = all[4].replace("text", "teXt");
                    rechain(all, 4);
                })
            },
            Damage::Checkpoint,
        ),
        (
            "drop a segment in the middle",
            |dir| fs::remove_file(&segments(dir)[1]).unwrap(),
            Damage::Segment { found: 0 },
        ),
        ("drop the first segment", |dir| fs::remove_file(&segments(dir)[0]).unwrap(), Damage::Segment { found: 0 }),
        (
            "splice from another journal of the same key",
            |dir| {
                let other = TempDir::new().unwrap();
                written(other.path(), 1, "next", false);
                let (own, other) = (lines(dir), lines(other.path()));
                put(dir, &[&own[..9], &other[9..]].concat());
            },
            Damage::Prev,
        ),
        (
            "a note with another number",
            |dir| {
                let path = dir.join("checkpoints");
                let text = fs::read_to_string(&path).unwrap();
                let hash = field(&lines(dir)[3], "h");
                let own = field(&lines(dir)[1], "h");
                fs::write(&path, text.replacen(&format!("\n2\n{own}"), &format!("\n4\n{hash}"), 1)).unwrap();
            },
            Damage::Signature,
        ),
        (
            "own key put beside the old one",
            |dir| {
                let mut all = lines(dir);
                let key = signer(9).verifier().to_string();
                all.push(all[1].replace(&signer(1).verifier().to_string(), &key));
                let at = all.len() - 1;
                rechain(&mut all, at);
                put(dir, &all);
                let receipt = Receipt { seq: all.len() as u64, hash: field(&all[at], "h") };
                let note = Checkpoint { origin: origin(JOURNAL), receipt, reach: None }.sign(&[signer(9)]);
                let path = dir.join("checkpoints");
                fs::write(&path, fs::read_to_string(&path).unwrap() + &note + "\n").unwrap();
            },
            Damage::Succession,
        ),
        ("checkpoints signed with another key", |dir| resign(dir, &signer(9)), Damage::Signature),
        (
            "checkpoints in another order",
            |dir| {
                let path = dir.join("checkpoints");
                let text = fs::read_to_string(&path).unwrap();
                let notes: Vec<&str> = text.split_inclusive("=\n\n").collect();
                let turned: String = notes.iter().rev().copied().collect();
                fs::write(&path, turned).unwrap();
            },
            Damage::BadCheckpoint,
        ),
    ]
}

/// What only a key or a receipt that was kept elsewhere shows.
fn artful() -> Vec<Attack> {
    vec![
        (
            "everything written anew with an own key",
            |dir| {
                fs::remove_dir_all(dir).unwrap();
                written(dir, 9, "text", false);
            },
            Damage::Anchor,
        ),
        (
            "an entry changed, all signed anew with an own key",
            |dir| {
                let mut all = lines(dir);
                let (old, new) = (signer(1).verifier().to_string(), signer(9).verifier().to_string());
                all[1] = all[1].replace(&old, &new);
                rechain(&mut all, 1);
                put(dir, &all);
                resign(dir, &signer(9));
            },
            Damage::Anchor,
        ),
        (
            "an older head with its checkpoints",
            |dir| {
                let all = lines(dir);
                put(dir, &all[..9]);
                let path = dir.join("checkpoints");
                let text = fs::read_to_string(&path).unwrap();
                let first = text.split_inclusive("=\n\n").next().unwrap();
                fs::write(&path, first).unwrap();
            },
            Damage::BeforeAnchor { anchor: 18 },
        ),
        (
            "the end changed by whoever holds the key",
            |dir| {
                let mut all = lines(dir);
                all[16] = all[16].replace("text", "teXt");
                rechain(&mut all, 16);
                put(dir, &all);
                resign(dir, &signer(1));
            },
            Damage::Anchor,
        ),
    ]
}

#[test]
fn every_attack_is_found_by_verify_and_by_the_script_of_the_document() {
    let folder = TempDir::new().unwrap();
    let script = script(folder.path());
    let good = folder.path().join("good");
    let receipts = written(&good, 1, "text", false);
    let key = signer(1).verifier().clone();
    let known = Known {
        anchors: receipts.iter().skip(2).step_by(3).chain(receipts.last()).cloned().collect(),
        key: Some(key.clone()),
        ..Known::default()
    };
    assert_eq!(verdict(&good, &known), None);
    let (code, text) = by_hand(&script, &good, &key, &known.anchors);
    assert_eq!(code, Some(0), "{text}");
    let attacks =
        clumsy().into_iter().map(|attack| (true, attack)).chain(artful().into_iter().map(|attack| (false, attack)));
    for (alone, (name, attack, damage)) in attacks {
        let dir = folder.path().join(name.replace([' ', ','], "-"));
        copy(&good, &dir);
        attack(&dir);
        // The control: without knowledge from outside, the artful ones pass.
        let without = verdict(&dir, &Known::default());
        assert_eq!(without.is_some(), alone, "{name}: {without:?}");
        let with = verdict(&dir, &known).unwrap_or_else(|| panic!("{name} was not found"));
        let (_, found) = without.unwrap_or(with);
        let kind = |damage: &Damage| std::mem::discriminant(damage);
        assert_eq!(kind(&found), kind(&damage), "{name}: {found:?}");
        let (code, text) = by_hand(&script, &dir, &key, &known.anchors);
        assert_eq!(code, Some(1), "{name}: {text}");
        assert!(text.contains("tampered"), "{name}: {text}");
    }
    // The public key alone shows that somebody else signed.
    let dir = folder.path().join("everything-written-anew-with-an-own-key");
    let only_key = Known { key: Some(key.clone()), ..Known::default() };
    assert_eq!(verdict(&dir, &only_key).unwrap().1, Damage::Key);
    assert_eq!(by_hand(&script, &dir, &key, &[]).0, Some(1));
}

#[test]
fn a_change_of_keys_is_followed_by_the_script() {
    let folder = TempDir::new().unwrap();
    let script = script(folder.path());
    let dir = folder.path().join("journal");
    let receipts = written(&dir, 1, "text", true);
    for key in [signer(1), signer(2)] {
        let (code, text) = by_hand(&script, &dir, key.verifier(), &receipts[..2]);
        assert_eq!(code, Some(0), "{text}");
    }
    assert_eq!(by_hand(&script, &dir, signer(3).verifier(), &[]).0, Some(1));
}

const HOOK: &str =
    r#"fn on_alert(alert) { webhook("hook", #{ id: alert.id }); email("mail", #{ template: "alert" }); }"#;
const ROUTE: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [hook] }\n";

#[test]
fn a_daemon_signs_its_journal_and_hands_out_anchors() {
    let folder = TempDir::new().unwrap();
    let http = HttpSink::start(Duration::ZERO);
    let settings = format!(
        "sources: {{ push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }} }}\ndestinations:\n  hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n  mail: {{ email: {{ folder: mail, from: s@example.com, to: [t@example.com] }} }}\n",
        http.address
    );
    let mut daemon =
        Daemon::new(folder.path(), &settings, &[("rules/route/all.yaml", ROUTE), ("playbooks/hook.rhai", HOOK)]);
    daemon.start();
    let old = daemon.json(&["log", "key"])[0]["verifier"].as_str().unwrap().to_owned();
    let key_file = folder.path().join("state/journal.key");
    assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(daemon.log().contains(&old), "the public key is logged once");
    let (_, answer) = daemon.post(r#"[{"title":"one","severity":"high"}]"#).unwrap();
    let mail = wait_for("the mail", || {
        fs::read_dir(folder.path().join("mail"))
            .ok()?
            .flatten()
            .find(|file| file.path().extension().is_some_and(|ext| ext == "eml"))
    });
    let header = http.got()[0].headers["x-soard-log-head"].clone();
    fs::write(folder.path().join("answer.json"), answer.to_string()).unwrap();
    let verify = |more: &[&str]| {
        let output =
            daemon.soard(&[&["-o", "json", "log", "verify", "--key", &old, "--anchor", &header], more].concat());
        let json = serde_json::from_slice::<serde_json::Value>(&output.stdout);
        (output.status.code(), json.unwrap_or_else(|_| String::from_utf8_lossy(&output.stderr).into()))
    };
    let (mail, answer) = (mail.path(), folder.path().join("answer.json"));
    let (code, report) = verify(&["--anchor", mail.to_str().unwrap(), "--anchor", answer.to_str().unwrap()]);
    assert_eq!(
        (code, report["verdict"].as_str(), report["anchors"].as_u64()),
        (Some(0), Some("good"), Some(3)),
        "{report}"
    );

    let rotated = daemon.json(&["log", "key", "rotate"]);
    assert_eq!(rotated["replaces"], old.as_str());
    assert_eq!(fs::read_to_string(&key_file).unwrap().lines().count(), 1, "the old secret key is gone");
    daemon.post(r#"[{"title":"two","severity":"high"}]"#).unwrap();
    assert_eq!(daemon.stop(), Some(0));
    assert!(daemon.log().contains("checkpoint") && daemon.log().contains("log_head="), "{}", daemon.log());
    let output = daemon.soard(&["-o", "json", "log", "verify", "--key", &old]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["verdict"].as_str(), report["unanchored"].as_u64()),
        (Some("good"), Some(0)),
        "a stop in good order signs the end: {report}"
    );
    assert_eq!(report["keys"], serde_json::json!([old, rotated["verifier"]]));
    let (code, text) =
        by_hand(&script(folder.path()), &folder.path().join("state/journal"), &old.parse().unwrap(), &[]);
    assert_eq!(code, Some(0), "{text}");

    // A key that is gone is not replaced silently.
    let other = format!("0:{}", "0".repeat(64));
    assert_eq!(
        daemon.soard(&["log", "verify", "--anchor", &other]).status.code(),
        Some(0),
        "the empty journal's head fits all"
    );
    assert_eq!(
        daemon.soard(&["log", "verify", "--anchor", &format!("9999:{}", "1".repeat(64))]).status.code(),
        Some(1)
    );
    fs::remove_file(&key_file).unwrap();
    let output = daemon.soard(&["run", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not at hand"), "{output:?}");
}

#[test]
fn a_repair_shows_the_loss_first_needs_a_word_and_is_on_record() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("journal");
    let receipts = written(&dir, 1, "text", false);
    let soard = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
        let output = command.args(["-o", "json", "log"]).args(arguments).arg("--journal").arg(&dir).output().unwrap();
        (output.status.code(), serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default())
    };
    let files = |dir: &Path| -> Vec<(String, Vec<u8>)> {
        let read = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
        let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| read(entry.unwrap().path())).collect();
        all.sort();
        all
    };
    let before = files(&dir);
    assert_eq!(soard(&["repair", "--accept-loss"]).0, Some(0));
    assert_eq!(files(&dir), before, "nothing is wrong, so nothing is changed");

    let path = &segments(&dir)[1];
    let damaged = fs::read_to_string(path).unwrap().replacen("text", "teXt", 1);
    fs::write(path, &damaged).unwrap();
    let first = path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let before = files(&dir);
    let (code, report) = soard(&["repair"]);
    let loss = (report["loss"]["kept_to"].as_u64(), report["loss"]["lost_to"].as_u64());
    assert_eq!((code, loss), (Some(1), (Some(first - 1), Some(18))), "{report}");
    assert_eq!(files(&dir), before, "without a word nothing is changed");
    assert!(journal::open(&dir, Settings::default(), &mut |_| Ok(())).is_err(), "the control: it does not open");

    let (code, report) = soard(&["repair", "--accept-loss"]);
    assert_eq!((code, report["repaired"].as_u64()), (Some(0), Some(first)), "{report}");
    let aside: Vec<u8> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|name| fs::read(dir.join(name.as_str().unwrap())).unwrap())
        .collect();
    let lost: Vec<u8> = before
        .iter()
        .filter(|(name, _)| name.ends_with(".jsonl"))
        .skip(1)
        .flat_map(|(_, bytes)| bytes.clone())
        .collect();
    assert!(
        lost.split(|byte| *byte == b'\n')
            .all(|line| aside.windows(line.len().max(1)).any(|part| part == line) || line.is_empty()),
        "every lost line is kept aside"
    );
    let (code, report) = soard(&["verify"]);
    assert_eq!((code, report["verdict"].as_str()), (Some(0), Some("good")), "{report}");
    assert_eq!(report["given_up"], serde_json::json!([{ "seq": first, "from": first, "to": 18 }]));
    let receipt = receipts.last().unwrap();
    assert_eq!(
        soard(&["verify", "--anchor", &receipt.to_string()]).0,
        Some(1),
        "who holds a receipt of a lost entry sees it"
    );
    assert_eq!(soard(&["verify", "--anchor", &receipts[first as usize - 2].to_string()]).0, Some(0));
    let journal = open(&dir);
    assert_eq!(append(&journal, "log", "{}".into()).seq, first + 1);
    journal.close().unwrap();
}

/// Alerts that are resolved at once, so that nothing needs them, in numbers that fill segments.
fn over(daemon: &Daemon, from: u64, count: u64) {
    let alerts: Vec<_> = (from..from + count)
        .map(|n| serde_json::json!({ "external_id": format!("x{n}"), "title": "over", "severity": "low", "status": "resolved", "description": "y".repeat(600) }))
        .collect();
    assert_eq!(daemon.post(&serde_json::Value::Array(alerts).to_string()).unwrap().0, 200);
}

fn applied(state: &Path, base: Option<&Path>) -> soard::engine::state::State {
    let read = base.map(|path| soard::daemon::snapshot::read(path).unwrap().unwrap());
    let (mut folded, from) = read.map_or_else(Default::default, |(state, known)| (state, known.seq + 1));
    for line in soard::journal::reader::Reader::open(&state.join("journal")).unwrap().lines(from) {
        let line = line.unwrap();
        let facts = soard::domain::entry::Facts::parse(&line.kind, line.data.get()).unwrap();
        soard::engine::apply::apply(&mut folded, &soard::domain::entry::Entry { seq: line.seq, at: line.at, facts });
    }
    folded
}

fn same(a: &soard::engine::state::State, b: &soard::engine::state::State) {
    let sorted = |state: &soard::engine::state::State| {
        let mut lines: Vec<String> = format!("{state:#?}").lines().map(String::from).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(a), sorted(b));
}

const WAIT: &str = r#"fn on_alert(alert) { if alert.status == "active" { sleep("30d"); } }"#;
const WAITING: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [wait] }\n";

#[test]
fn retention_leaves_seals_and_what_open_work_needs_and_a_start_finds_the_same_state() {
    let folder = TempDir::new().unwrap();
    let push = "sources: { push: { http: { token: { env: SOARD_TEST_TOKEN } } } }\n";
    let files = [("rules/route/all.yaml", WAITING), ("playbooks/wait.rhai", WAIT)];
    let keeps_all = format!("{push}journal: {{ segment: 64KiB }}\n");
    let mut daemon = Daemon::new(folder.path(), &keeps_all, &files);
    daemon.start();
    over(&daemon, 0, 400);
    daemon.post(r#"[{"external_id":"open","title":"open","severity":"high"}]"#).unwrap();
    over(&daemon, 400, 800);
    let journal = folder.path().join("state/journal");
    assert_eq!(daemon.stop(), Some(0));
    let all = segments(&journal).len();
    assert!(all > 10, "{all}");
    // The control, and what everything is compared with: without a policy nothing goes.
    let whole = folder.path().join("whole");
    copy(&journal, &whole.join("journal"));

    let open_entry =
        lines(&journal).iter().position(|line| line.contains(r#""external_id":"open""#)).unwrap() as u64 + 1;
    let drops = keeps_all.replace("64KiB", "64KiB, size: 128KiB");
    let port = daemon.port;
    support::write(
        folder.path(),
        "soard.yaml",
        &format!("state: state\nserver: {{ listen: \"127.0.0.1:{port}\" }}\n{drops}"),
    );
    // With a snapshot first, and then from the base alone.
    daemon.start();
    wait_for("segments to go", || (segments(&journal).len() < all).then_some(()));
    daemon.kill();
    let report = daemon.json(&["log", "verify"]);
    assert_eq!(report["verdict"], "good", "a checkpoint covers what says so before anything goes: {report}");
    fs::remove_file(folder.path().join("state/snapshot")).unwrap();
    daemon.start();
    // Wherever the kill came, the next start takes away the rest of what was dropped.
    let base = |first: u64| folder.path().join(format!("state/base-{:020}", first - 1));
    let first = wait_for("the rest to go", || {
        let first = segments(&journal)[0].file_stem()?.to_str()?.parse::<u64>().ok()?;
        base(first).exists().then_some(first)
    });
    assert!(first > 1 && first <= open_entry, "the segment with the open alert, entry {open_entry}, stays: {first}");
    let shown = daemon.json(&["alerts", "list", "status=active"]);
    assert!(shown.to_string().contains(r#""title":"open""#), "{shown}");
    let status = daemon.json(&["status"]);
    assert_eq!((status["runs_open"].as_u64(), status["totals"]["alerts"].as_u64()), (Some(1), Some(1201)), "{status}");
    let (_, answer) = daemon.post(r#"[{"external_id":"open","title":"open","severity":"high"}]"#).unwrap();
    assert_eq!(answer["receipts"][0]["alerts"][0], "a-401.0", "its identity is kept: {answer}");
    over(&daemon, 2000, 1);
    assert_eq!(daemon.stop(), Some(0));

    let output = daemon.soard(&["-o", "json", "log", "verify"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["verdict"].as_str(), report["dropped"][0]["policy"].as_str()),
        (Some("good"), Some("size")),
        "{report}"
    );
    assert_eq!(report["dropped"][0]["to"].as_u64(), Some(first - 1));
    // The base is what the dropped entries add up to, and with the rest it gives what the whole journal gives.
    for path in segments(&journal) {
        fs::copy(&path, whole.join("journal").join(path.file_name().unwrap())).unwrap();
    }
    fs::copy(journal.join("HEAD"), whole.join("journal/HEAD")).unwrap();
    let from_base = applied(&folder.path().join("state"), Some(&base(first)));
    same(&from_base, &applied(&whole, None));
    // A damaged snapshot is left aside; the state is the same with it, without it and from the base.
    let snapshot = folder.path().join("state/snapshot");
    if snapshot.exists() {
        same(&from_base, &applied(&folder.path().join("state"), Some(&snapshot)));
    }
    fs::write(&snapshot, "no snapshot").unwrap();
    daemon.start();
    assert!(daemon.log().contains("a snapshot is not used"), "{}", daemon.log());
    assert_eq!(daemon.json(&["status"])["runs_open"].as_u64(), Some(1));
    assert_eq!(daemon.stop(), Some(0));

    // What nobody dropped by policy is missed.
    fs::remove_file(&segments(&journal)[0]).unwrap();
    assert_eq!(daemon.soard(&["log", "verify"]).status.code(), Some(1));
}

#[test]
fn what_is_dropped_by_policy_is_told_from_what_is_missing() {
    let folder = TempDir::new().unwrap();
    let script = script(folder.path());
    let dir = folder.path().join("journal");
    written(&dir, 1, "text", false);
    let key = signer(1).verifier().clone();
    let known = Known { key: Some(key.clone()), ..Known::default() };
    let unexplained = folder.path().join("unexplained");
    copy(&dir, &unexplained);
    let (closed, _) = retention::closed(&dir, &mut retention::Ends::new()).unwrap();
    let seals: Vec<Seal> =
        closed[..2].iter().map(|closed| retention::seal(&dir, closed, &mut |_| Ok(())).unwrap()).collect();
    let last = seals[1].last;
    let signed_by = key.to_string();
    let dropped = Facts::Log(Log::Dropped {
        policy: "age".into(),
        segments: seals,
        journal: JOURNAL.into(),
        signed_by,
        bundles: Vec::new(),
        runs: Vec::new(),
        letters: Vec::new(),
        base: String::new(),
    });
    let journal = open(&dir);
    append(&journal, "log", dropped.data());
    sign_with(&journal, vec![signer(1)]);
    journal.close().unwrap();
    retention::remove(&dir, last).unwrap();
    let report = verify_against(&dir, &known);
    assert!(matches!(report.outcome, Outcome::Good), "{report:?}");
    assert_eq!((report.first.unwrap().seq, report.signed.dropped.len()), (last + 1, 1));
    let (code, text) = by_hand(&script, &dir, &key, &[]);
    assert_eq!(code, Some(0), "{text}");
    // One segment more than the entry says, and segments of which no entry says anything.
    let seal = segments(&dir)[0].clone();
    fs::remove_file(seal).unwrap();
    segments(&unexplained)[..2].iter().for_each(|path| fs::remove_file(path).unwrap());
    for dir in [&dir, &unexplained] {
        assert!(matches!(verdict(dir, &known), Some((1, Damage::Segment { .. }))), "{:?}", verdict(dir, &known));
        let (code, text) = by_hand(&script, dir, &key, &[]);
        assert!(code == Some(1) && text.contains("no policy dropped them"), "{text}");
    }
}

/// Files of format version 1 with checkpoints and a dropped beginning, as they were first written. They never change.
#[test]
fn a_signed_journal_of_version_1_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal/v1-signed");
    let known = Known { key: Some(signer(1).verifier().clone()), ..Known::default() };
    let report = verify_against(&fixture, &known);
    assert!(matches!(report.outcome, Outcome::Good), "{report:?}");
    let dropped = report.signed.dropped.iter().map(|(policy, first, ..)| (policy.as_str(), *first)).collect::<Vec<_>>();
    assert_eq!(dropped, [("age", 1)]);
    assert_eq!(report.signed.last, Some(report.last.unwrap().seq));
    for line in soard::journal::reader::Reader::open(&fixture).unwrap().lines(1) {
        let line = line.unwrap();
        if line.kind == "log" {
            assert_eq!(
                Facts::parse(&line.kind, line.data.get()).unwrap().data(),
                line.data.get(),
                "entry {}",
                line.seq
            );
        }
    }
    let entries = [
        r#"{"key":{"verifier":"soard/a+00000000+AA==","replaces":"soard/b+00000000+AA=="}}"#,
        r#"{"repaired":{"damage":"entry 7 in x.jsonl at byte 9: its hash does not fit its content","from":7,"to":9,"bytes":812,"files":["a.damaged"]}}"#,
    ];
    for data in entries {
        assert_eq!(Facts::parse("log", data).unwrap().data(), data);
    }
}

fn archive_all(dir: &Path) {
    for closed in retention::closed(dir, &mut retention::Ends::new()).unwrap().0 {
        journal::archive::archive(dir, &closed).unwrap();
        journal::archive::settle(dir, closed.first).unwrap();
    }
}

/// The text of an archive, and an archive of a text, by zstd's own tool.
fn zstd(arguments: &[&str], from: &[u8]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("in");
    fs::write(&path, from).unwrap();
    let output = Command::new("zstd").args(arguments).arg("-qc").arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

type Change = (&'static str, fn(&Path) -> Vec<u8>, Option<Damage>);

fn unpacked(path: &Path) -> Vec<String> {
    String::from_utf8(zstd(&["-d"], &fs::read(path).unwrap())).unwrap().lines().map(String::from).collect()
}

fn packed(lines: &[String]) -> Vec<u8> {
    zstd(&["-19"], (lines.join("\n") + "\n").as_bytes())
}

/// What an archive is replaced by, and what is to be found then.
fn changes() -> [Change; 7] {
    [
        ("the control: packed anew, harder", |path| packed(&unpacked(path)), None),
        (
            "a byte",
            |path| {
                let mut bytes = fs::read(path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 4;
                bytes
            },
            Some(Damage::Archive),
        ),
        ("a cut", |path| fs::read(path).unwrap().split_off(9), Some(Damage::Archive)),
        ("plain lines under its name", |path| (unpacked(path).join("\n") + "\n").into(), Some(Damage::Archive)),
        (
            "an edit",
            |path| {
                let mut lines = unpacked(path);
                lines[0] = lines[0].replacen("text", "teXt", 1);
                packed(&lines)
            },
            Some(Damage::Hash),
        ),
        (
            "a line less at the end",
            |path| {
                let mut lines = unpacked(path);
                lines.pop();
                packed(&lines)
            },
            Some(Damage::Segment { found: 0 }),
        ),
        (
            "a line that is forged well",
            |path| {
                let mut lines = unpacked(path);
                let start = lines[1].rsplit_once(r#","h""#).unwrap().0.replace("text", "teXt");
                lines[1] = format!(r#"{start},"h":"{}"}}"#, sha256(&start));
                packed(&lines)
            },
            Some(Damage::Prev),
        ),
    ]
}

#[test]
fn archives_unpack_to_the_segments_and_attacks_on_them_are_found_as_on_segments() {
    let folder = TempDir::new().unwrap();
    let script = script(folder.path());
    let good = folder.path().join("good");
    let receipts = written(&good, 1, "text", false);
    let before: Vec<(PathBuf, Vec<u8>)> =
        segments(&good).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let key = signer(1).verifier().clone();
    let known = Known { anchors: receipts.clone(), key: Some(key.clone()), ..Known::default() };
    archive_all(&good);
    assert_eq!(segments(&good).len(), 1, "all but the last are archives now");
    let archive = |path: &Path| path.with_extension("jsonl.zst");
    for (path, bytes) in before.iter().take(before.len() - 1) {
        assert_eq!(zstd(&["-d"], &fs::read(archive(path)).unwrap()), *bytes);
    }
    assert_eq!(verdict(&good, &known), None);
    let (code, text) = by_hand(&script, &good, &key, &receipts);
    assert_eq!(code, Some(0), "{text}");

    for (name, change, damage) in changes() {
        let dir = folder.path().join(name.replace([' ', ',', ':'], "-"));
        copy(&good, &dir);
        let path = archive(&dir.join(before[1].0.file_name().unwrap()));
        fs::write(&path, change(&path)).unwrap();
        let found = verdict(&dir, &Known::default()).map(|(_, damage)| std::mem::discriminant(&damage));
        assert_eq!(found, damage.as_ref().map(std::mem::discriminant), "{name}");
        let (code, text) = by_hand(&script, &dir, &key, &receipts);
        assert_eq!(code, Some(i32::from(damage.is_some())), "{name}: {text}");
    }
}

const FAILING: &str = r#"fn on_alert(alert) { if alert.status == "active" { webhook("gone", #{ id: alert.id }); } }"#;
const TO_FAILING: &str = "route:\n  - { id: all, title: All, owner: soc@example.com, playbooks: [failing] }\n";

/// What people see of the first alerts, and of the whole, through a daemon or without one.
fn answers(daemon: &Daemon, last: u64) -> Vec<(String, serde_json::Value)> {
    let limit = last.to_string();
    let questions: [&[&str]; 11] = [
        &["alerts", "list", "--limit", "2000"],
        &["alerts", "show", "a-1.0"],
        &["why", "a-1.0"],
        &["why", "a-1.0/failing"],
        &["runs", "list"],
        &["runs", "show", "a-1.0/failing"],
        &["deliveries", "list", "--outcome", "any"],
        &["quarantine", "list"],
        &["log", "query", "--alert", "a-1.0"],
        &["log", "query", "--limit", &limit],
        &["log", "query", "--from", "3", "--limit", "1"],
    ];
    let answer = |question: &&[&str]| {
        let output = daemon.soard(&[&["-o", "json"], *question].concat());
        let lines = String::from_utf8(output.stdout).unwrap();
        let values: Vec<serde_json::Value> =
            serde_json::Deserializer::from_str(&lines).into_iter().map(Result::unwrap).collect();
        (question.join(" "), serde_json::json!([output.status.code(), values]))
    };
    questions.iter().map(answer).collect()
}

#[test]
fn a_daemon_compresses_what_is_old_and_every_command_answers_as_before() {
    let folder = TempDir::new().unwrap();
    let gone = HttpSink::answering_with_status("404 Not Found");
    let settings = format!(
        "sources: {{ push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }} }}\ndestinations:\n  gone: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        gone.address
    );
    let plain = format!("{settings}journal: {{ segment: 64KiB, compress_after: never }}\n");
    let files = [("rules/route/all.yaml", TO_FAILING), ("playbooks/failing.rhai", FAILING)];
    let mut daemon = Daemon::new(folder.path(), &plain, &files);
    daemon.start();
    assert_eq!(daemon.post(r#"{"external_id":"first","title":"first","severity":"high"}"#).unwrap().0, 200);
    wait_for("the run to fail", || daemon.journal().iter().any(|line| line["k"] == "run").then_some(()));
    daemon.post(r#"[{"severity":"no severity at all","title":7}]"#).unwrap();
    over(&daemon, 0, 300);
    let journal = folder.path().join("state/journal");
    let last = daemon.json(&["status"])["journal"]["seq"].as_u64().unwrap();
    wait_for("the index to catch up", || (daemon.json(&["status"])["index"]["behind"] == 0).then_some(()));
    let before = answers(&daemon, last);
    assert!(before.iter().filter(|(_, answer)| answer[0] == 0).count() >= 10, "they have something to say: {before:?}");
    assert_eq!(daemon.stop(), Some(0));
    let whole: Vec<(PathBuf, Vec<u8>)> =
        segments(&journal).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(whole.len() > 3, "{}", whole.len());

    let port = daemon.port;
    let head = format!("state: state\nserver: {{ listen: \"127.0.0.1:{port}\" }}\n");
    support::write(folder.path(), "soard.yaml", &(head + &plain.replace("never", "1ms")));
    daemon.start();
    wait_for("all closed segments to be compressed", || (segments(&journal).len() == 1).then_some(()));
    assert_eq!(answers(&daemon, last), before);
    let said = |line: &serde_json::Value| line["k"] == "log" && line["d"].get("archived").is_some();
    let on_record: Vec<serde_json::Value> = daemon.journal().into_iter().filter(said).collect();
    assert_eq!(on_record.len(), whole.len() - 1);
    let mut packed = 0;
    for ((path, bytes), line) in whole.iter().zip(&on_record) {
        let archive = fs::read(path.with_extension("jsonl.zst")).unwrap();
        assert_eq!(zstd(&["-d"], &archive), *bytes);
        let lengths = (line["d"]["archived"]["bytes"].as_u64(), line["d"]["archived"]["packed"].as_u64());
        assert_eq!(lengths, (Some(bytes.len() as u64), Some(archive.len() as u64)));
        packed += archive.len();
    }
    let unpacked: usize = whole.iter().take(on_record.len()).map(|(_, bytes)| bytes.len()).sum();
    assert!(packed * 3 < unpacked, "{packed} of {unpacked} bytes");
    // Through a crash, from the snapshot or the whole journal, and without a daemon.
    daemon.kill();
    assert_eq!(answers(&daemon, last), before);
    let _ = fs::remove_file(folder.path().join("state/snapshot"));
    daemon.start();
    assert_eq!(answers(&daemon, last), before);
    let (_, answer) = daemon.post(r#"{"external_id":"first","title":"first","severity":"high"}"#).unwrap();
    assert_eq!(answer["receipts"][0]["alerts"][0], "a-1.0", "{answer}");
    let retried = daemon.soard(&["runs", "restart", "a-1.0/failing", "--comment", "once more"]);
    assert_eq!(retried.status.code(), Some(0), "it reads its alert from the archive: {retried:?}");
    wait_for("the second run to send", || (gone.got().len() >= 2).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    let report = daemon.json(&["log", "verify"]);
    assert_eq!(report["verdict"], "good", "{report}");

    // Damage keeps the daemon from starting, and names the place.
    let archive = whole[1].0.with_extension("jsonl.zst");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, &bytes).unwrap();
    let _ = fs::remove_file(folder.path().join("state/snapshot"));
    assert_eq!(daemon.start_or_end().and_then(|status| status.code()), Some(2));
    assert!(daemon.log().contains(archive.file_name().unwrap().to_str().unwrap()), "{}", daemon.log());
    assert_eq!(daemon.soard(&["log", "verify"]).status.code(), Some(1));
    assert_eq!(fs::read(&archive).unwrap(), bytes);
}

/// A base as an earlier version wrote it: the entries that it stands for are gone. It never changes.
#[test]
fn a_base_of_version_1_is_read() {
    use soard::daemon::snapshot::{read, read_base};
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state/base-v1");
    let (state, known) = read_base(&fixture).unwrap().unwrap();
    assert_eq!((known.seq, state.alerts.len(), state.halted.len(), state.letters.len()), (11, 4, 1, 1));
    let letter = state.letters.values().next().unwrap();
    assert_eq!((letter.needs(), state.given_up(4).0.len(), state.given_up(3).0.len()), (4, 1, 0));
    assert!(read(&fixture).is_err(), "a snapshot of an earlier version is only a cache, and not used");
}
