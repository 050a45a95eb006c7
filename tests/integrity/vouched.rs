//! Checkpoints that were taken away are missed, what no checkpoint covers explains nothing, and no honest history is blamed:
//! neither by `soard log verify` nor by the script of the document.

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use soard::domain::entry::{Facts, Log, Seal};
use soard::journal::checkpoint::{Checkpoint, Checkpoints, origin};
use soard::journal::evidence::Evidence;
use soard::journal::reach::REACH;
use soard::journal::repair::Beside;
use soard::journal::verify::{Known, Outcome, verify_against};
use soard::journal::writer::Journal;
use soard::journal::{self, Damage, Draft, JournalError, Receipt, Settings, retention};
use tempfile::TempDir;

use crate::support::{Daemon, wait_for};
use crate::{
    JOURNAL, PATIENCE, append, by_hand, copy, field, head, lines, open, script, segments, sha256, sign_with, signer,
    verdict, written,
};

fn known() -> Known {
    Known { key: Some(signer(1).verifier().clone()), ..Known::default() }
}

/// Holds a journal against what both checks say of it.
fn judged(script: &Path, dir: &Path) -> (Option<Damage>, Option<i32>, String) {
    let (code, text) = by_hand(script, dir, signer(1).verifier(), &[]);
    (verdict(dir, &known()).map(|(_, damage)| damage), code, text)
}

fn good(script: &Path, dir: &Path, what: &str) {
    let (damage, code, text) = judged(script, dir);
    assert_eq!((damage, code), (None, Some(0)), "{what}: {text}");
}

/// Keeps the first checkpoints, as whoever owns the folder can.
fn keep_notes(dir: &Path, count: usize) {
    let path = dir.join("checkpoints");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.split_inclusive("=\n\n").take(count).collect::<String>()).unwrap();
}

/// Changes each line from an entry on and puts hashes, chain and HEAD right, segment by segment.
fn forge(dir: &Path, from: u64, change: impl Fn(String) -> String) {
    let (mut prev, mut last) = (String::new(), 0);
    for path in segments(dir) {
        let mut forged = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            last += 1;
            let (start, own) = line.rsplit_once(r#","h":""#).unwrap();
            if last < from {
                prev = own.trim_end_matches("\"}").to_owned();
                forged += &format!("{line}\n");
                continue;
            }
            let start = change(start.rsplit_once(r#","prev":""#).unwrap().0.to_owned());
            let start = format!(r#"{start},"prev":"{prev}""#);
            prev = sha256(&start);
            forged += &format!("{start},\"h\":\"{prev}\"}}\n");
        }
        fs::write(&path, forged).unwrap();
    }
    head(dir, last, &prev);
}

/// Adds a line behind the last one, as whoever owns the folder can.
fn add(dir: &Path, data: &str) -> u64 {
    let last = lines(dir).pop().unwrap();
    let value: serde_json::Value = serde_json::from_str(&last).unwrap();
    let (seq, batch) = (value["seq"].as_u64().unwrap() + 1, value["b"].as_u64().unwrap() + 1);
    let (at, prev) = (field(&last, "ts"), field(&last, "h"));
    let start = format!(r#"{{"v":1,"seq":{seq},"b":{batch},"r":0,"ts":"{at}","k":"log","d":{data},"prev":"{prev}""#);
    let hash = sha256(&start);
    let path = segments(dir).pop().unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap() + &format!("{start},\"h\":\"{hash}\"}}\n")).unwrap();
    head(dir, seq, &hash);
    seq
}

fn dropped(segments: Vec<Seal>, signed_by: String) -> String {
    let (bundles, runs, letters) = (Vec::new(), Vec::new(), Vec::new());
    let (policy, journal) = ("age".into(), JOURNAL.into());
    Facts::Log(Log::Dropped { policy, segments, journal, signed_by, bundles, runs, letters, base: String::new() })
        .data()
}

#[test]
fn checkpoints_that_were_taken_away_are_missed() {
    let folder = TempDir::new().unwrap();
    let (script, honest) = (script(folder.path()), folder.path().join("honest"));
    written(&honest, 1, "text", false);
    good(&script, &honest, "the control");
    let forged = folder.path().join("forged");
    copy(&honest, &forged);
    keep_notes(&forged, 1);
    forge(&forged, 4, |line| line.replace("text", "teXt"));
    let (damage, code, text) = judged(&script, &forged);
    assert_eq!((damage, code), (Some(Damage::Unvouched { noted: 2 }), Some(1)), "{text}");
    assert!(text.contains("beyond the last checkpoint, over entry 2"), "{text}");
    assert!(verdict(&forged, &Known::default()).is_some(), "the key that the journal names is enough");
    // The controls: what an earlier version wrote promised nothing, and a copy may have older checkpoints.
    let copied = Known { is_live_copy: true, ..known() };
    assert_eq!(verdict(&forged, &copied), None);
    let hash = field(&lines(&forged)[1], "h");
    let earlier = Checkpoint { origin: origin(JOURNAL), receipt: Receipt { seq: 2, hash }, reach: None };
    fs::write(forged.join("checkpoints"), earlier.sign(&[signer(1)]) + "\n").unwrap();
    good(&script, &forged, "a note of an earlier version");
    // A reach that somebody else wrote is not signed.
    let mut note = fs::read_to_string(honest.join("checkpoints")).unwrap();
    note = note.split_inclusive("=\n\n").next().unwrap().replace(&REACH.to_string(), "reach 99999 99999");
    fs::write(forged.join("checkpoints"), note).unwrap();
    let (damage, code, text) = judged(&script, &forged);
    assert!(damage.is_some() && code == Some(1) && text.contains("is not signed"), "{damage:?}, {text}");
}

/// A journal in one segment whose stamps follow these steps, with a key from its second entry on.
fn stamped(dir: &Path, steps: &[i64], each: &mut dyn FnMut(u64)) -> Journal {
    let journal = journal::open(dir, Settings::default(), &mut |_| Ok(())).unwrap().0;
    let mut at = Timestamp::from_second(1_700_000_000).unwrap();
    let mut put = |data: String, step: i64| {
        at += SignedDuration::from_secs(step);
        let (sender, fate) = channel();
        journal.append(Draft { at, kind: "log", data }, Box::new(move |fate| sender.send(fate).unwrap()));
        fate.recv_timeout(PATIENCE).unwrap().unwrap().seq
    };
    put(format!(r#"{{"opened":{{"journal":"{JOURNAL}","version":"0.1.0"}}}}"#), 0);
    put(format!(r#"{{"key":{{"verifier":"{}"}}}}"#, signer(1).verifier()), 0);
    sign_with(&journal, vec![signer(1)]);
    for step in steps {
        each(put(r#"{"closed":{}}"#.into(), *step));
    }
    journal
}

#[test]
fn whatever_stands_on_the_disk_at_any_moment_is_good_whatever_the_clock_does() {
    let folder = TempDir::new().unwrap();
    let (script, dir) = (script(folder.path()), folder.path().join("journal"));
    // Every few seconds, then nothing for a year, then a clock that is set back and put right again.
    let steps = [5, 9, 20, 25, 0, 0, 1, 59, 0, 60, 61, 0, 31_536_000, 1, 1, -31_536_000, 0, 31_536_000, 5, 59, 1];
    let killed = folder.path().join("killed");
    let journal = stamped(&dir, &steps, &mut |seq| {
        // What a process that is killed now leaves behind.
        copy(&dir, &killed);
        assert_eq!(verdict(&killed, &known()), None, "killed behind entry {seq}");
    });
    let noted = |dir: &Path| -> Vec<u64> {
        Checkpoints::read(dir).unwrap().signed.iter().map(|signed| signed.checkpoint.receipt.seq).collect()
    };
    let notes = noted(&dir);
    assert!(notes.len() >= 6, "the stamps alone ask for them, however fast the entries come: {notes:?}");
    good(&script, &killed, "the last of them");
    drop(journal);
    // Killed, and opened again by who has no key yet: the next batch waits for it, and then the end is signed first.
    let journal = journal::open(&dir, Settings::default(), &mut |_| Ok(())).unwrap().0;
    let end = journal.reader().head().seq;
    journal.notary().sign_with(origin(JOURNAL), vec![signer(1)], Box::new(|| {}));
    append(&journal, "log", r#"{"closed":{}}"#.into());
    assert!(noted(&dir).contains(&end), "{end}: {:?}", noted(&dir));
    journal.close().unwrap();
    good(&script, &dir, "closed");
    // The control: with one of those checkpoints and all behind it taken away, it is found.
    for count in 1..4 {
        let dir = folder.path().join(format!("cut-{count}"));
        copy(&killed, &dir);
        keep_notes(&dir, count);
        let (damage, code, text) = judged(&script, &dir);
        assert!(matches!(damage, Some(Damage::Unvouched { .. })) && code == Some(1), "{count}: {damage:?}, {text}");
    }
}

#[test]
fn a_journal_under_load_is_good_while_it_grows_and_goes_no_further_than_its_reach() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("journal");
    let journal = stamped(&dir, &[0], &mut |_| {});
    let (sender, fates) = channel();
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let count = 2 * REACH.entries + 5000;
    journal.append_all((0..count).map(|_| {
        let sender = sender.clone();
        let draft = Draft { at, kind: "log", data: r#"{"closed":{}}"#.into() };
        (draft, Box::new(move |fate: Result<Receipt, _>| sender.send(fate.unwrap().seq).unwrap()) as journal::Done)
    }));
    let mut checks = 0;
    loop {
        let last = fates.iter().take(1000).last().unwrap();
        let report = verify_against(&dir, &known());
        assert!(matches!(report.outcome, Outcome::Good | Outcome::Torn { .. }), "at {last}: {report:?}");
        checks += 1;
        if last >= count {
            break;
        }
        while fates.try_recv().is_ok_and(|seq| seq < count - 1000) {}
    }
    assert!(checks > 1, "it was looked at while it grew");
    let noted: Vec<u64> =
        Checkpoints::read(&dir).unwrap().signed.iter().map(|signed| signed.checkpoint.receipt.seq).collect();
    let most = REACH.entries + Settings::default().batch_entries_max as u64;
    assert!(noted.windows(2).all(|pair| pair[1] - pair[0] <= most), "{noted:?}");
    let killed = folder.path().join("killed");
    copy(&dir, &killed);
    assert_eq!(verdict(&killed, &known()), None);
    keep_notes(&killed, 1);
    assert!(matches!(verdict(&killed, &known()), Some((_, Damage::Unvouched { .. }))), "the control");
    drop(journal);
}

#[test]
fn a_repair_that_gives_up_checkpoints_leaves_a_good_journal() {
    let folder = TempDir::new().unwrap();
    let (script, dir) = (script(folder.path()), folder.path().join("journal"));
    stamped(&dir, &[10; 12], &mut |_| {}).close().unwrap();
    let path = segments(&dir).pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen(r#""seq":12,"#, r#""seq":13,"#, 1)).unwrap();
    let plan = journal::repair::plan(&dir, &Beside::default()).unwrap().expect("it is damaged");
    plan.carry_out(&dir, &Beside::default(), Timestamp::from_second(1_800_000_000).unwrap()).unwrap();
    good(&script, &dir, "its own entry came years later, without a key");
    // The control: the repair excuses nothing but itself, and the daemon signs before it writes on.
    let other = folder.path().join("other");
    copy(&dir, &other);
    add(&other, r#"{"closed":{}}"#);
    let (damage, code, text) = judged(&script, &other);
    assert!(matches!(damage, Some(Damage::Unvouched { .. })) && code == Some(1), "{damage:?}, {text}");
    let journal = open(&dir);
    journal.notary().sign_with(origin(JOURNAL), vec![signer(1)], Box::new(|| {}));
    append(&journal, "log", r#"{"closed":{}}"#.into());
    drop(journal);
    good(&script, &dir, "and the daemon's next one");
}

#[test]
fn an_entry_that_says_dropped_explains_nothing_without_a_checkpoint_over_it() {
    let folder = TempDir::new().unwrap();
    let (script, dir, forged) = (script(folder.path()), folder.path().join("journal"), folder.path().join("forged"));
    let receipts = written(&dir, 1, "text", false);
    copy(&dir, &forged);
    let (closed, _) = retention::closed(&dir, &mut retention::Ends::new()).unwrap();
    let seals: Vec<Seal> =
        closed[..2].iter().map(|closed| retention::seal(&dir, closed, &mut |_| Ok(())).unwrap()).collect();
    let (removed, data) = (seals[1].last, dropped(seals, signer(1).verifier().to_string()));
    retention::remove(&forged, removed).unwrap();
    let seq = add(&forged, &data);
    let (damage, code, text) = judged(&script, &forged);
    assert_eq!((damage, code), (Some(Damage::Dropped { found: removed + 1, seq }), Some(1)), "{text}");
    assert!(text.contains("no checkpoint vouches for the entry that says"), "{text}");
    let anchors = vec![receipts[1].clone(), receipts.last().unwrap().clone()];
    let report = verify_against(&forged, &Known { anchors: anchors.clone(), ..known() });
    assert!(matches!(report.outcome, Outcome::Tampered(_)), "{report:?}");

    // Nor does a daemon start on it and sign it, which has a snapshot of what is gone; until an operator says so.
    let starts = |dir: &Path| {
        let evidence = Evidence { keys: vec![signer(1).verifier().clone()], ..Evidence::default() };
        let known = receipts.last();
        journal::open_behind(dir, Settings::default(), known, &evidence, &mut |_| Ok(())).map(|(journal, _)| journal)
    };
    let refused = starts(&forged).map(|_| ()).unwrap_err();
    assert!(
        matches!(&refused, JournalError::Corrupt(place) if place.damage == Damage::Dropped { found: removed + 1, seq })
    );
    let evidence = Evidence { keys: vec![signer(1).verifier().clone()], ..Evidence::default() };
    let beside = Beside { evidence, base: None };
    let plan = journal::repair::plan(&forged, &beside).unwrap().expect("it does not start");
    plan.carry_out(&forged, &beside, Timestamp::from_second(1_800_000_000).unwrap()).unwrap();
    starts(&forged).unwrap().close().unwrap();

    // The control: whoever has the key signs it, as the daemon does before anything goes.
    let journal = open(&dir);
    append(&journal, "log", data);
    sign_with(&journal, vec![signer(1)]);
    journal.close().unwrap();
    good(&script, &dir, "a crash in between: nothing is missing yet");
    retention::remove(&dir, removed).unwrap();
    good(&script, &dir, "signed");
    starts(&dir).unwrap().close().unwrap();
    let report = verify_against(&dir, &Known { anchors, ..known() });
    assert!(matches!(report.outcome, Outcome::Good), "{report:?}");
    assert_eq!(
        (report.uncompared.as_slice(), report.anchored.0),
        ([2].as_slice(), 1),
        "one anchor could not be compared"
    );
    let all = Checkpoints::read(&dir).unwrap().signed;
    let compared = all.iter().filter(|signed| signed.checkpoint.receipt.seq > removed).count() as u64;
    assert_eq!(report.signed.checkpoints, compared, "those over dropped entries do not count");
    assert!(compared < all.len() as u64);

    // One that names a dropped entry, and that nobody signed, stands in for all others.
    let note =
        Checkpoint { origin: origin(JOURNAL), receipt: Receipt { seq: removed, hash: "a".repeat(64) }, reach: None };
    fs::write(dir.join("checkpoints"), note.sign(&[signer(9)]) + "\n").unwrap();
    let alone = verdict(&dir, &Known::default()).map(|(_, damage)| damage);
    assert_eq!(alone, Some(Damage::Dropped { found: removed + 1, seq }));
    assert_eq!(by_hand(&script, &dir, signer(1).verifier(), &[]).0, Some(1));
}

#[test]
fn checkpoints_without_a_journal_say_that_it_is_gone() {
    let folder = TempDir::new().unwrap();
    let (script, dir) = (script(folder.path()), folder.path().join("journal"));
    written(&dir, 1, "text", false);
    segments(&dir).iter().for_each(|path| fs::remove_file(path).unwrap());
    fs::remove_file(dir.join("HEAD")).unwrap();
    let (damage, code, text) = judged(&script, &dir);
    assert_eq!((damage, code), (Some(Damage::BeforeCheckpoint { seq: 18 }), Some(1)), "{text}");
    // The control: a folder with nothing in it is no journal.
    fs::remove_file(dir.join("checkpoints")).unwrap();
    assert!(matches!(verify_against(&dir, &known()).outcome, Outcome::Unreadable(_)));
}

/// A journal with a change of keys, and a checkpoint over the entry that names the new one by the old key alone, as earlier
/// versions could make it.
fn belated(dir: &Path, followed: bool) {
    let receipts = written(dir, 1, "text", true);
    let change = receipts.iter().find(|receipt| receipt.seq == 11).unwrap().clone();
    let notes = Checkpoints::read(dir).unwrap().signed;
    let path = dir.join("checkpoints");
    let at = notes.iter().find(|signed| signed.checkpoint.receipt.seq == 11).expect("the change is signed").offset;
    let mut text = fs::read_to_string(&path).unwrap();
    let note = Checkpoint { origin: origin(JOURNAL), receipt: change, reach: None }.sign(&[signer(1)]) + "\n";
    text.insert_str(usize::try_from(at).unwrap(), &note);
    if !followed {
        text.truncate(usize::try_from(at).unwrap() + note.len());
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_checkpoint_by_the_old_key_at_a_change_of_keys_counts_for_nothing_and_has_to_be_followed() {
    let folder = TempDir::new().unwrap();
    let script = script(folder.path());
    for (followed, damage) in [(true, None), (false, Some(Damage::Signature))] {
        let dir = folder.path().join(format!("followed-{followed}"));
        belated(&dir, followed);
        let (found, code, text) = judged(&script, &dir);
        assert_eq!((found, code), (damage.clone(), Some(i32::from(damage.is_some()))), "{followed}: {text}");
    }
    let report = verify_against(&folder.path().join("followed-true"), &known());
    let all = Checkpoints::read(&folder.path().join("followed-true")).unwrap().signed.len() as u64;
    assert_eq!(report.signed.checkpoints, all - 1);
}

const PUSH: &str = "sources: { push: { format: soard, http: { token: { env: SOARD_TEST_TOKEN } } } }\n";

fn alerts(count: u64) -> String {
    let alert = |n| serde_json::json!({ "external_id": format!("n{n}"), "title": "t", "severity": "low", "status": "resolved" });
    serde_json::Value::Array((0..count).map(alert).collect()).to_string()
}

fn last(daemon: &Daemon) -> u64 {
    daemon.json(&["status"])["journal"]["seq"].as_u64().unwrap()
}

fn noted(dir: &Path) -> u64 {
    Checkpoints::read(dir).unwrap().signed.last().map_or(0, |signed| signed.checkpoint.receipt.seq)
}

#[test]
fn a_change_of_keys_at_which_a_checkpoint_falls_due_is_signed_by_both() {
    let folder = TempDir::new().unwrap();
    let files = [("rules/route/all.yaml", "default_route: none\n")];
    let mut daemon = Daemon::new(folder.path(), PUSH, &files);
    daemon.start();
    let journal = folder.path().join("state/journal");
    daemon.json(&["log", "key", "rotate"]);
    let begun = Instant::now();
    // The entry of the next change is to be the one that makes a checkpoint due.
    let left = 998 - (last(&daemon) - noted(&journal));
    assert_eq!(daemon.post(&alerts(left)).unwrap().0, 200);
    wait_for("a checkpoint to be allowed again", || (begun.elapsed() > Duration::from_millis(1100)).then_some(()));
    daemon.json(&["log", "key", "rotate"]);
    let report = daemon.json(&["log", "verify"]);
    assert_eq!(report["verdict"], "good", "{report}");
    let keys = report["keys"].as_array().unwrap().len();
    assert_eq!(keys, 3, "{report}");
    daemon.kill();
    daemon.start();
    assert!(last(&daemon) > 1000);
    assert_eq!(daemon.stop(), Some(0));
    let oldest = report["keys"][0].as_str().unwrap();
    let report = daemon.json(&["log", "verify", "--key", oldest]);
    assert_eq!(report["verdict"], "good", "who trusts the oldest can trust all: {report}");
}
