//! The journal through its public interface: what a daemon, a second daemon and a later reader see.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use soard::domain::entry::Facts;
use soard::journal::archive;
use soard::journal::line::Line;
use soard::journal::reader::Reader;
use soard::journal::retention;
use soard::journal::verify::{Outcome, Report, verify};
use soard::journal::writer::Journal;
use soard::journal::{self, AppendError, Damage, Draft, JournalError, Place, Receipt, Recovery, Settings, Verdict};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

type Fate = Result<Receipt, AppendError>;

/// Segments of a few entries each.
fn small() -> Settings {
    Settings { segment_bytes_max: 1500, ..Settings::default() }
}

fn open(dir: &Path) -> (Journal, Recovery) {
    journal::open(dir, small(), &mut |_| Ok(())).unwrap()
}

/// Opens it with segments that do not end within a test.
fn open_large(dir: &Path) -> (Journal, Recovery) {
    journal::open(dir, Settings::default(), &mut |_| Ok(())).unwrap()
}

fn draft(n: u64) -> Draft {
    let at = Timestamp::from_second(1_700_000_000 + n as i64).unwrap();
    Draft {
        at,
        kind: "intake",
        data: format!(r#"{{"n":{n},"text":"né \"quoted\" \\ {}"}}"#, "x".repeat(n as usize % 50)),
    }
}

fn append(journal: &Journal, draft: Draft) -> Receiver<Fate> {
    let (sender, fate) = channel();
    journal.append(draft, Box::new(move |outcome| drop(sender.send(outcome))));
    fate
}

/// Appends entries 1 to `n`, each in a batch of its own.
fn written(dir: &Path, n: u64) -> Vec<Receipt> {
    let (journal, _) = open(dir);
    let receipts = (1..=n).map(|n| append(&journal, draft(n)).recv_timeout(PATIENCE).unwrap().unwrap()).collect();
    journal.close().unwrap();
    receipts
}

/// Holds the writer in the acknowledgement of one entry while `queued` more are handed over: they make one batch.
fn one_batch(journal: &Journal, from: u64, queued: u64) -> Vec<Receipt> {
    let (reached, at_gate) = channel();
    let (open_gate, gate) = channel::<()>();
    let (sender, first) = channel();
    journal.append(
        draft(from),
        Box::new(move |fate| {
            reached.send(()).unwrap();
            gate.recv_timeout(PATIENCE).unwrap();
            sender.send(fate).unwrap();
        }),
    );
    at_gate.recv_timeout(PATIENCE).unwrap();
    let fates: Vec<_> = (1..=queued).map(|n| append(journal, draft(from + n))).collect();
    open_gate.send(()).unwrap();
    [first].iter().chain(&fates).map(|fate| fate.recv_timeout(PATIENCE).unwrap().unwrap()).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths
}

fn last_segment(dir: &Path) -> PathBuf {
    segments(dir).pop().unwrap()
}

fn damage(dir: &Path) -> Damage {
    match verify(dir) {
        Report { outcome: Outcome::Tampered(place), .. } => place.damage,
        report => panic!("{report:?}"),
    }
}

#[test]
fn entries_come_back_as_they_were_handed_over() {
    let dir = TempDir::new().unwrap();
    let receipts = written(dir.path(), 40);
    assert!(segments(dir.path()).len() > 5, "it went over many segments");
    let mut applied = Vec::new();
    let (journal, recovery) = journal::open(dir.path(), small(), &mut |line: &Line| {
        applied.push((line.seq, line.at, line.kind.clone(), line.data.get().to_string()));
        Ok(())
    })
    .unwrap();
    assert_eq!((recovery.verdict, recovery.entries), (Verdict::Clean, 40));
    assert_eq!(Some(&recovery.head), receipts.last());
    let expected = (1..=40).map(|n| (n, draft(n).at, "intake".to_string(), draft(n).data));
    assert!(applied.into_iter().eq(expected));
    for reader in [journal.reader(), Reader::open(dir.path()).unwrap()] {
        assert_eq!(Some(&reader.head()), receipts.last());
        for receipt in &receipts {
            let line = reader.line(receipt.seq).unwrap().unwrap();
            assert_eq!(
                (line.hash.as_str(), line.data.get()),
                (receipt.hash.as_str(), draft(receipt.seq).data.as_str())
            );
        }
        assert!(reader.line(0).unwrap().is_none() && reader.line(41).unwrap().is_none());
        for from in [0, 1, 2, 17, 40, 41, 99] {
            let seqs: Vec<u64> = reader.lines(from).map(|line| line.unwrap().seq).collect();
            assert_eq!(seqs, (from.max(1)..=40).collect::<Vec<_>>(), "from {from}");
        }
    }
    journal.close().unwrap();
}

#[test]
fn an_empty_journal_opens_closes_and_is_good() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state/journal");
    assert!(matches!(verify(&path).outcome, Outcome::Unreadable(JournalError::Io { .. })));
    for _ in 0..2 {
        let (journal, recovery) = open(&path);
        assert_eq!((recovery.entries, recovery.head, recovery.torn), (0, Receipt::empty(), Vec::new()));
        assert!(journal.room().is_there(), "a temporary folder has no reserve to speak of");
        journal.close().unwrap();
        assert!(matches!(verify(&path).outcome, Outcome::Good));
        assert_eq!(Reader::open(&path).unwrap().lines(1).count(), 0);
    }
    assert!(matches!(Reader::open(dir.path()), Err(JournalError::Absent { .. })));
    assert!(matches!(verify(dir.path()).outcome, Outcome::Unreadable(JournalError::Absent { .. })));
}

#[test]
fn what_waits_goes_in_one_batch_and_is_acknowledged_in_order() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let receipts = one_batch(&journal, 1, 99);
    assert!(receipts.iter().map(|receipt| receipt.seq).eq(1..=100));
    let lines: Vec<Line> = journal.reader().lines(2).collect::<Result<_, _>>().unwrap();
    assert!(lines.iter().all(|line| line.batch == 2), "one write and one sync for all");
    assert!(lines.iter().map(|line| line.left).eq((0..99).rev()));
    journal.close().unwrap();
    let limits = Settings { batch_entries_max: 10, ..Settings::default() };
    let (journal, _) = journal::open(dir.path(), limits, &mut |_| Ok(())).unwrap();
    one_batch(&journal, 101, 25);
    let lines: Vec<Line> = journal.reader().lines(102).collect::<Result<_, _>>().unwrap();
    assert!(lines.iter().map(|line| line.left).eq((0..10).rev().chain((0..10).rev()).chain((0..5).rev())));
    journal.close().unwrap();
    assert!(matches!(verify(dir.path()).outcome, Outcome::Good));
}

#[test]
fn a_reserve_that_is_not_there_leaves_no_room() {
    let dir = TempDir::new().unwrap();
    let settings = Settings { reserve_bytes: u64::MAX, ..small() };
    let (journal, _) = journal::open(dir.path(), settings, &mut |_| Ok(())).unwrap();
    assert!(!journal.room().is_there());
    assert!(append(&journal, draft(1)).recv_timeout(PATIENCE).unwrap().is_ok(), "results may still be recorded");
}

#[test]
fn a_second_daemon_is_refused_until_the_first_is_gone() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let second = journal::open(dir.path(), small(), &mut |_| Ok(()));
    assert!(matches!(second, Err(JournalError::Locked { .. })));
    assert!(Reader::open(dir.path()).is_ok(), "reading needs no lock");
    journal.close().unwrap();
    open(dir.path()).0.close().unwrap();
}

#[test]
fn an_entry_that_cannot_be_applied_ends_the_opening() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 5);
    let refuse = &mut |line: &Line| if line.seq == 3 { Err("unknown kind".into()) } else { Ok(()) };
    assert!(matches!(journal::open(dir.path(), small(), refuse), Err(JournalError::Apply { seq: 3, .. })));
    assert_eq!(open(dir.path()).1.entries, 5);
}

/// A journal whose last batch has several entries, and the HEAD of before that batch: a crash before the sync.
fn crashed(dir: &Path) -> (PathBuf, Vec<u8>, u64) {
    written(dir, 4);
    let before = fs::read(last_segment(dir)).unwrap().len();
    let head = fs::read(dir.join("HEAD")).unwrap();
    let (journal, _) = open_large(dir);
    one_batch(&journal, 5, 3);
    journal.close().unwrap();
    let path = last_segment(dir);
    let bytes = fs::read(&path).unwrap();
    // Entry 5 made a batch of its own, and HEAD is put back to before it.
    fs::write(dir.join("HEAD"), head).unwrap();
    let durable = before + bytes[before..].iter().position(|b| *b == b'\n').unwrap() + 1;
    (path, bytes, durable as u64)
}

#[test]
fn a_torn_tail_of_any_kind_is_moved_aside_and_reported() {
    let dir = TempDir::new().unwrap();
    let (path, whole, durable) = crashed(dir.path());
    let durable = durable as usize;
    let ends: Vec<usize> = (durable..whole.len()).filter(|at| whole[*at] == b'\n').map(|at| at + 1).collect();
    let zeroed = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0);
        bytes
    };
    let kinds = [
        ("one byte", whole[..durable + 1].to_vec()),
        ("half a line", whole[..ends[0] - 100].to_vec()),
        ("no line end", whole[..ends[0] - 1].to_vec()),
        ("one line of three", whole[..ends[0]].to_vec()),
        ("two lines of three", whole[..ends[1]].to_vec()),
        ("last byte missing", whole[..ends[2] - 1].to_vec()),
        ("zeros for the first line", zeroed(durable, ends[0])),
        ("zeros in the middle", zeroed(ends[0] + 10, ends[1] - 10)),
        ("zeros at the end", zeroed(ends[2] - 5, ends[2])),
        ("zeros beyond the end", [&whole[..durable], &[0; 5000]].concat()),
        ("zeros of the whole batch", zeroed(durable, ends[2])),
    ];
    let head = fs::read(dir.path().join("HEAD")).unwrap();
    for (kind, bytes) in kinds {
        fs::write(&path, &bytes).unwrap();
        fs::write(dir.path().join("HEAD"), &head).unwrap();
        let Outcome::Torn { bytes: torn_bytes, .. } = verify(dir.path()).outcome else { panic!("{kind}") };
        assert_eq!(torn_bytes as usize, bytes.len() - durable, "{kind}");
        assert_eq!(Reader::open(dir.path()).unwrap().head().seq, 5, "{kind}: readers see whole batches");
        let (journal, recovery) = open_large(dir.path());
        assert_eq!((recovery.verdict, recovery.entries), (Verdict::Torn, 5), "{kind}");
        let [torn] = &recovery.torn[..] else { panic!("{kind}: {recovery:?}") };
        assert_eq!(fs::read(dir.path().join(&torn.file)).unwrap(), bytes[durable..], "{kind}");
        journal.close().unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole[..durable], "{kind}");
        // Until the daemon has recorded it, each opening names it again.
        let (journal, recovery) = open_large(dir.path());
        assert_eq!(recovery.torn, std::slice::from_ref(torn), "{kind}");
        append(&journal, draft(6)).recv_timeout(PATIENCE).unwrap().unwrap();
        journal.close().unwrap();
        assert_eq!(open_large(dir.path()).1.torn, [], "{kind}");
        fs::remove_file(dir.path().join(&torn.file)).unwrap();
    }
}

/// A daemon that dies before it has recorded a torn tail, and leaves another one behind it.
#[test]
fn torn_tails_that_nobody_recorded_are_all_reported() {
    let dir = TempDir::new().unwrap();
    let (path, whole, durable) = crashed(dir.path());
    for (length, expected) in [(durable + 30, 1), (durable + 50, 2), (durable, 2)] {
        fs::write(&path, &whole[..length as usize]).unwrap();
        let (journal, recovery) = open_large(dir.path());
        let kept = recovery.torn.iter().map(|torn| fs::read(dir.path().join(&torn.file)).unwrap());
        assert_eq!((recovery.verdict, kept.len()), (Verdict::Torn, expected), "{recovery:?}");
        assert!(kept.zip(&recovery.torn).all(|(bytes, torn)| bytes.len() as u64 == torn.bytes));
        drop(journal);
    }
    let (journal, _) = open_large(dir.path());
    append(&journal, draft(6)).recv_timeout(PATIENCE).unwrap().unwrap();
    journal.close().unwrap();
    assert_eq!(open_large(dir.path()).1.torn, []);
}

#[test]
fn damage_that_no_crash_explains_is_not_opened_and_nothing_is_changed() {
    let dir = TempDir::new().unwrap();
    let (path, whole, durable) = crashed(dir.path());
    let mut bytes = whole.clone();
    bytes[durable as usize - 100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = journal::open(dir.path(), small(), &mut |_| Ok(())).err().unwrap();
    let JournalError::Corrupt(Place { seq: 5, offset, damage: Damage::Hash, .. }) = &error else { panic!("{error}") };
    assert_eq!(
        whole[..*offset as usize].iter().filter(|b| **b == b'\n').count(),
        4,
        "the place is the begin of line 5"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(fs::read_dir(dir.path()).unwrap().all(|entry| !entry.unwrap().path().ends_with(".torn")));
}

fn first_of(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn acknowledged_entries_that_are_gone_are_missed() {
    for cut in ["line", "byte", "segment", "all"] {
        let dir = TempDir::new().unwrap();
        written(dir.path(), 12);
        let path = last_segment(dir.path());
        let bytes = fs::read(&path).unwrap();
        match cut {
            "line" => {
                let end = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                fs::write(&path, &bytes[..end]).unwrap();
            }
            "byte" => fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
            "segment" => fs::remove_file(&path).unwrap(),
            _ => segments(dir.path()).iter().for_each(|path| fs::remove_file(path).unwrap()),
        }
        assert_eq!(damage(dir.path()), Damage::Missing { head: 12 }, "{cut}");
        let opened = journal::open(dir.path(), small(), &mut |_| Ok(()));
        assert!(matches!(opened, Err(JournalError::Corrupt(_))), "{cut}");
    }
}

#[test]
fn an_unclean_stop_replaces_the_last_segment_by_a_copy() {
    use std::os::unix::fs::MetadataExt;
    let dir = TempDir::new().unwrap();
    written(dir.path(), 3);
    let path = last_segment(dir.path());
    let (inode, bytes) = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
    // Kept open, so that the file system cannot give the number to the copy.
    let _kept = fs::File::open(&path).unwrap();
    drop(open(dir.path()).0);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it was closed in good order before");
    drop(open(dir.path()).0);
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode, "it was dropped without closing");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let unfinished = path.with_extension("jsonl.tmp");
    fs::write(&unfinished, "half a copy").unwrap();
    open(dir.path()).0.close().unwrap();
    assert!(!unfinished.exists());
}

#[test]
fn each_kind_of_tampering_is_found() {
    let forge = |from: &str, to: &str| {
        // Whoever can compute hashes can forge one line, but not the chain behind it.
        let start = from.rsplit_once(r#","h":""#).unwrap().0.replacen(r#""n":"#, to, 1);
        let hash = sha256(&start);
        format!(r#"{start},"h":"{hash}"}}"#)
    };
    type Tamper<'a> = (&'a str, Box<dyn Fn(&mut Vec<String>) + 'a>, Damage);
    let kinds: Vec<Tamper> = vec![
        ("edit", Box::new(|lines| lines[1] = lines[1].replace("\"n\"", "\"m\"")), Damage::Hash),
        ("forge", Box::new(|lines| lines[1] = forge(&lines[1], r#""m":"#)), Damage::Prev),
        ("delete", Box::new(|lines| drop(lines.remove(1))), Damage::Seq { found: 3 }),
        ("swap", Box::new(|lines| lines.swap(1, 2)), Damage::Seq { found: 3 }),
        ("double", Box::new(|lines| lines.insert(1, lines[0].clone())), Damage::Seq { found: 1 }),
        ("insert", Box::new(|lines| lines.insert(1, "{}".into())), Damage::Hash),
        ("foreign", Box::new(|lines| lines[1] = sealed("{\"v\":1")), Damage::Form),
        ("join", Box::new(|lines| lines[1] = lines.remove(1) + &lines[1]), Damage::Hash),
    ];
    for (kind, tamper, expected) in kinds {
        let dir = TempDir::new().unwrap();
        written(dir.path(), 12);
        let path = &segments(dir.path())[0];
        let mut lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(Into::into).collect();
        tamper(&mut lines);
        fs::write(path, lines.join("\n") + "\n").unwrap();
        let report = verify(dir.path());
        let Outcome::Tampered(place) = report.outcome else { panic!("{kind}: {:?}", report.outcome) };
        let bad_is_third = kind == "forge";
        assert_eq!((place.seq, &place.damage), (if bad_is_third { 3 } else { 2 }, &expected), "{kind}");
        assert_eq!(place.offset as usize, lines[..place.seq as usize - 1].iter().map(|l| l.len() + 1).sum::<usize>());
        assert_eq!(report.entries, place.seq - 1, "{kind}");
        assert!(journal::open(dir.path(), small(), &mut |_| Ok(())).is_err(), "{kind}");
    }
}

#[test]
fn tampering_with_whole_segments_is_found() {
    let dir = TempDir::new().unwrap();
    let receipts = written(dir.path(), 20);
    let paths = segments(dir.path());
    let aside = dir.path().join("aside");
    for at in [0, 2] {
        fs::rename(&paths[at], &aside).unwrap();
        let found = first_of(&paths[at + 1]);
        assert_eq!(damage(dir.path()), Damage::Segment { found });
        fs::rename(&aside, &paths[at]).unwrap();
    }
    let bytes = fs::read(&paths[2]).unwrap();
    fs::write(&paths[2], &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(damage(dir.path()), Damage::Cut);
    fs::write(&paths[2], b"").unwrap();
    assert_eq!(damage(dir.path()), Damage::Segment { found: first_of(&paths[3]) });
    fs::write(&paths[2], &bytes).unwrap();
    let report = verify(dir.path());
    assert!(matches!(report.outcome, Outcome::Good), "{report:?}");
    assert_eq!((report.entries, report.segments), (20, paths.len() as u64));
    assert_eq!(report.first.unwrap().hash, receipts[0].hash);
    assert_eq!((report.last.unwrap().at, report.head.as_ref()), (draft(20).at, receipts.last()));
    // Another history of the same length, under the old HEAD.
    let other = TempDir::new().unwrap();
    let (journal, _) = open(other.path());
    (2..=21).for_each(|n| drop(append(&journal, draft(n)).recv_timeout(PATIENCE).unwrap().unwrap()));
    journal.close().unwrap();
    fs::copy(dir.path().join("HEAD"), other.path().join("HEAD")).unwrap();
    assert_eq!(damage(other.path()), Damage::Fork);
}

#[test]
fn time_that_goes_backwards_is_counted_but_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    for n in [5, 4, 9, 2, 10] {
        append(&journal, draft(n)).recv_timeout(PATIENCE).unwrap().unwrap();
    }
    journal.close().unwrap();
    let report = verify(dir.path());
    assert!(matches!(report.outcome, Outcome::Good));
    assert_eq!((report.backwards, report.first_backwards), (2, Some(2)));
}

#[test]
fn readers_keep_up_with_a_writer_that_appends_and_rotates() {
    const ENTRIES: u64 = 3_000;
    let dir = TempDir::new().unwrap();
    let settings = Settings { batch_entries_max: 40, segment_bytes_max: 100_000, ..Settings::default() };
    let (journal, _) = journal::open(dir.path(), settings, &mut |_| Ok(())).unwrap();
    let (live, beside) = (journal.reader(), Reader::open(dir.path()).unwrap());
    let written = AtomicBool::new(false);
    let deadline = Instant::now() + PATIENCE;
    let check = |line: Line, seq: u64| assert_eq!((line.seq, line.data.get()), (seq, draft(seq).data.as_str()));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let fates: Vec<_> = (1..=ENTRIES).map(|n| append(&journal, draft(n))).collect();
            for (fate, seq) in fates.iter().zip(1..) {
                assert_eq!(fate.recv_timeout(PATIENCE).unwrap().unwrap().seq, seq);
                // Acknowledged means that it can be read back at once.
                check(journal.reader().line(seq).unwrap().unwrap(), seq);
            }
            written.store(true, Ordering::Release);
        });
        threads.spawn(|| {
            let mut next = 1;
            while next <= ENTRIES && Instant::now() < deadline {
                beside.refresh().unwrap();
                for line in beside.lines(next) {
                    check(line.unwrap(), next);
                    next += 1;
                }
            }
            assert_eq!(next, ENTRIES + 1, "following sees every entry once");
        });
        threads.spawn(|| {
            let mut seen = 0_u64;
            while !written.load(Ordering::Acquire) && Instant::now() < deadline {
                let head = live.head().seq;
                assert!(head >= seen, "the head never goes back");
                seen = head;
                for seq in [1, head / 3 + 1, head].into_iter().filter(|seq| (1..=head).contains(seq)) {
                    check(live.line(seq).unwrap().unwrap(), seq);
                }
            }
        });
    });
    journal.close().unwrap();
    assert!(segments(dir.path()).len() > 3);
    assert!(matches!(verify(dir.path()), Report { outcome: Outcome::Good, entries: ENTRIES, .. }));
}

#[test]
fn a_stream_passes_over_what_retention_takes_meanwhile() {
    for is_live in [true, false] {
        let dir = TempDir::new().unwrap();
        written(dir.path(), 20);
        let (journal, _) = open(dir.path());
        let reader = if is_live { journal.reader() } else { Reader::open(dir.path()).unwrap() };
        let mut lines = reader.lines(1);
        let mut seen = vec![lines.next().unwrap().unwrap().seq];
        let (closed, _) = retention::closed(dir.path(), &mut retention::Ends::new()).unwrap();
        let [first, .., last] = &closed[..] else { panic!("{closed:?}") };
        if is_live {
            reader.forget(last.last);
        }
        retention::remove(dir.path(), last.last).unwrap();
        seen.extend(lines.map(|line| line.unwrap().seq));
        // The segment that was open is read to its end.
        let expected: Vec<u64> = (1..=first.last).chain(last.last + 1..=20).collect();
        assert_eq!(seen, expected);
        journal.close().unwrap();
    }
}

#[test]
fn a_reader_names_the_entry_that_is_damaged() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 12);
    let path = &segments(dir.path())[0];
    fs::write(path, fs::read_to_string(path).unwrap().replacen("\"n\":2", "\"n\":7", 1)).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert!(matches!(reader.line(2), Err(JournalError::Corrupt(Place { seq: 2, damage: Damage::Hash, .. }))));
    assert_eq!(reader.line(3).unwrap().unwrap().data.get(), draft(3).data);
    let mut lines = reader.lines(1);
    assert!(lines.next().unwrap().is_ok() && lines.next().unwrap().is_err() && lines.next().is_none());
    let damage_of = |seq| match Reader::open(dir.path()).unwrap().lines(seq).next().unwrap() {
        Err(JournalError::Corrupt(place)) => (place.seq, place.damage),
        other => panic!("{other:?}"),
    };
    let next = first_of(&segments(dir.path())[1]);
    fs::write(path, "nothing that was ever written\n").unwrap();
    assert_eq!(damage_of(1), (1, Damage::Hash));
    assert_eq!(damage_of(2), (2, Damage::Cut));
    fs::remove_file(path).unwrap();
    // Retention may have taken it: streams begin with what is there, and `verify` tells whether it went by policy.
    assert_eq!(Reader::open(dir.path()).unwrap().lines(1).next().unwrap().unwrap().seq, next);
    assert_eq!(damage(dir.path()), Damage::Segment { found: next });
    assert_eq!(Reader::open(dir.path()).unwrap().lines(next).count() as u64, 12 - next + 1);
}

/// Set in a process that only appends to the journal in that folder, for its parent to kill or to limit.
const APPEND_TO: &str = "SOARD_TEST_APPEND_TO";

/// Appends without end and prints each acknowledgement, with at most 50 entries on their way; gives up when they wait for
/// a full disk.
fn append_and_print(dir: &Path) {
    let (journal, recovery) = open_large(dir);
    let (answered, answers) = channel::<Option<AppendError>>();
    for n in recovery.entries + 1.. {
        let answered = answered.clone();
        let done = move |fate: Fate| {
            if let Ok(Receipt { seq, hash }) = &fate {
                println!("\nack {seq} {hash}");
            }
            answered.send(fate.err()).unwrap();
        };
        journal.append(draft(n), Box::new(done));
        if n - recovery.entries < 50 {
            continue;
        }
        let answer = loop {
            match answers.recv_timeout(Duration::from_millis(20)) {
                Ok(answer) => break answer,
                Err(_) if journal.room().waiting() > 0 => journal.room().give_up(),
                Err(_) => {}
            }
        };
        if let Some(why) = answer {
            assert!(matches!(why, AppendError::Full(_)), "{why:?}");
            journal.close().unwrap();
            return println!("\nfull");
        }
    }
}

/// Runs this very test in a process of its own as [`append_and_print`], below a shell that prepares it.
fn appender(dir: &Path, prepare: &str, test: &str) -> Child {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!(r#"{prepare}; exec "$0" --exact {test} --nocapture"#)]);
    shell.arg(std::env::current_exe().unwrap()).env(APPEND_TO, dir).stdout(Stdio::piped()).spawn().unwrap()
}

fn receipt_of(line: &str) -> Option<Receipt> {
    let (seq, hash) = line.strip_prefix("ack ")?.split_once(' ')?;
    // The last line may be cut off by the kill.
    (hash.len() == 64).then(|| Receipt { seq: seq.parse().unwrap(), hash: hash.into() })
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    if let Some(dir) = std::env::var_os(APPEND_TO) {
        return append_and_print(Path::new(&dir));
    }
    let dir = TempDir::new().unwrap();
    let mut receipts: Vec<Receipt> = Vec::new();
    for kill in 0..12 {
        let mut child = appender(dir.path(), "true", "a_killed_process_loses_nothing_that_it_acknowledged");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        receipts.extend(lines.by_ref().filter_map(|line| receipt_of(&line)).take(1 + kill * 97 % 400));
        child.kill().unwrap();
        receipts.extend(lines.filter_map(|line| receipt_of(&line)));
        child.wait().unwrap();
        let (journal, recovery) = open_large(dir.path());
        assert!(recovery.entries >= receipts.len() as u64, "kill {kill}");
        let reader = journal.reader();
        for receipt in &receipts {
            assert_eq!(reader.line(receipt.seq).unwrap().unwrap().hash, receipt.hash, "kill {kill}");
        }
        // What was on record but not yet acknowledged is good, too.
        receipts = reader.lines(1).map(|line| line.map(|l| Receipt { seq: l.seq, hash: l.hash }).unwrap()).collect();
        drop(journal);
    }
    assert!(matches!(verify(dir.path()).outcome, Outcome::Good));
}

/// With a real limit of the system, not a made-up error: files may not grow beyond 64 KiB.
#[test]
fn a_real_limit_on_file_size_is_waited_for_and_leaves_a_good_journal() {
    if let Some(dir) = std::env::var_os(APPEND_TO) {
        return append_and_print(Path::new(&dir));
    }
    let dir = TempDir::new().unwrap();
    let limit = "trap '' XFSZ; ulimit -f 64";
    let child = appender(dir.path(), limit, "a_real_limit_on_file_size_is_waited_for_and_leaves_a_good_journal");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("\nfull"), "{text}");
    let receipts: Vec<Receipt> = text.lines().filter_map(receipt_of).collect();
    assert!(matches!(verify(dir.path()).outcome, Outcome::Good));
    let (_, recovery) = open(dir.path());
    assert_eq!((recovery.verdict, Some(&recovery.head)), (Verdict::Clean, receipts.last()));
}

/// Files of format version 1, as the first release wrote them. They never change.
#[test]
fn a_journal_of_version_1_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal/v1");
    let report = verify(&fixture);
    assert!(matches!(report.outcome, Outcome::Good), "{report:?}");
    assert_eq!((report.entries, report.segments), (7, 2));
    let lines: Vec<Line> = Reader::open(&fixture).unwrap().lines(1).collect::<Result<_, _>>().unwrap();
    let kinds: Vec<&str> = lines.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(kinds, ["log", "quarantine", "intent", "due", "run", "quarantine", "log"]);
    assert!(lines.iter().map(|line| (line.batch, line.left)).eq([
        (1, 0),
        (2, 1),
        (2, 0),
        (3, 0),
        (4, 0),
        (5, 0),
        (6, 0)
    ]));
    assert_eq!(lines[1].at, "2026-11-22T01:02:04.004567Z".parse().unwrap());
    assert_eq!(lines[6].hash, "78ccf2cbba4d72efce3474cc60de61fc13c96f3e29d979b5060c089aaf9f42bb");
    for line in &lines {
        let facts = Facts::parse(&line.kind, line.data.get()).unwrap();
        assert_eq!(facts.data(), line.data.get(), "entry {}", line.seq);
    }
    let dir = TempDir::new().unwrap();
    for entry in fs::read_dir(&fixture).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    assert_eq!(open(dir.path()).1.entries, 7);
}

/// The blocks of shell in the section on checking by hand, in order.
fn documented_commands() -> Vec<String> {
    let doc = include_str!("../docs/journal-format.md");
    let section = doc.split("## Checking by hand").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_string()).collect()
}

fn sh(dir: &Path, command: &str) -> Output {
    Command::new("bash").args(["-euo", "pipefail", "-c", command]).current_dir(dir).output().unwrap()
}

fn sealed(start: &str) -> String {
    format!(r#"{start},"h":"{}"}}"#, sha256(start))
}

fn sha256(text: &str) -> String {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("text"), text).unwrap();
    let output = sh(dir.path(), "sha256sum text | cut -c -64");
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

#[test]
fn the_documented_commands_check_a_journal() {
    let mut commands = documented_commands();
    let function = commands.remove(0);
    assert_eq!(commands.len(), 5);
    let outputs = |dir: &Path| -> Vec<String> {
        let output = |command: &String| {
            let output = sh(dir, &format!("{function}\n{command}"));
            format!("{}{}", output.status, String::from_utf8_lossy(&output.stdout))
        };
        commands.iter().map(output).collect()
    };
    let dir = TempDir::new().unwrap();
    let receipts = written(dir.path(), 12);
    let Receipt { seq, hash } = receipts.last().unwrap();
    let good = "exit status: 0";
    let expected = [
        format!("{good}own hashes: good\n"),
        format!("{good}chain: good\n"),
        format!("{good}order: 12 entries, no gap\n"),
        format!("{good}HEAD: {seq} {hash}\n"),
        format!("{good}{}\n", receipts[6].hash),
    ];
    assert_eq!(outputs(dir.path()), expected);
    // Also where segments are compressed, and where a crash left one beside its archive.
    let packed = TempDir::new().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), packed.path().join(entry.file_name())).unwrap();
    }
    for closed in retention::closed(packed.path(), &mut retention::Ends::new()).unwrap().0 {
        archive::archive(packed.path(), &closed).unwrap();
        if closed.first > 1 {
            archive::settle(packed.path(), closed.first).unwrap();
        }
    }
    assert!(segments(packed.path()).len() < segments(dir.path()).len());
    assert_eq!(outputs(packed.path()), expected);

    // Each check finds what it is for.
    let path = &segments(dir.path())[0];
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(path, text.replacen("\"n\":2", "\"n\":7", 1)).unwrap();
    assert_eq!(outputs(dir.path())[0], "exit status: 0entry 2: its hash does not fit\n");
    let start = lines[1].rsplit_once(",\"h\"").unwrap().0.replacen("\"n\":2", "\"n\":7", 1);
    fs::write(path, [lines[0], &sealed(&start), lines[2]].join("\n") + "\n").unwrap();
    let forged = outputs(dir.path());
    assert_eq!(forged[0], expected[0], "who forges a line gives it a hash");
    assert!(forged[1].contains("chain: broken"), "{forged:?}");
    fs::write(path, lines[..2].join("\n") + "\n").unwrap();
    assert!(outputs(dir.path())[2].starts_with("exit status: 5"), "{:?}", outputs(dir.path()));
    fs::write(path, &text).unwrap();
    fs::remove_file(last_segment(dir.path())).unwrap();
    assert!(outputs(dir.path())[3].contains("HEAD: differs"), "{:?}", outputs(dir.path()));
}
