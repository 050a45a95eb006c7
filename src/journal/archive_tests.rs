//! Archives against all that can befall them: the plain segment is the oracle.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::journal::disk::faults::{EIO, ENOSPC, Faults};
use crate::journal::evidence::Evidence;
use crate::journal::reader::Reader;
use crate::journal::repair::{Beside, plan};
use crate::journal::retention::{Ends, closed, remove, seal};
use crate::journal::verify::{Outcome, verify};
use crate::journal::writer::Journal;
use crate::journal::{Damage, Draft, Place, Settings, Verdict, open, open_behind};

const PATIENCE: Duration = Duration::from_secs(20);

fn draft(n: u64, bytes: usize) -> Draft {
    // Text that does not shrink to nothing, so that archives have more than one block.
    let text: String =
        (0..bytes as u64).map(|at| char::from(b'a' + ((n * 31 + at * at * 7 + at / 11) % 23) as u8)).collect();
    Draft {
        at: jiff::Timestamp::from_second(1_700_000_000 + n as i64).unwrap(),
        kind: "intake",
        data: format!(r#"{{"n":{n},"t":"{text}"}}"#),
    }
}

fn append(journal: &Journal, drafts: impl Iterator<Item = Draft>) {
    let (sender, fates) = channel();
    let mut sent = 0;
    for draft in drafts {
        let sender = sender.clone();
        journal.append(draft, Box::new(move |fate| sender.send(fate).unwrap()));
        sent += 1;
    }
    (0..sent).for_each(|_| drop(fates.recv_timeout(PATIENCE).unwrap().unwrap()));
}

fn settings(segment_bytes_max: u64) -> Settings {
    Settings { segment_bytes_max, batch_entries_max: 3, ..Settings::default() }
}

/// A journal of many small segments, closed in good order.
fn small(dir: &Path) -> u64 {
    let (journal, _) = open(dir, settings(1500), &mut |_| Ok(())).unwrap();
    append(&journal, (1..=30).map(|n| draft(n, 60)));
    journal.close().unwrap();
    30
}

/// A journal with segments of several frames.
fn large(dir: &Path) -> u64 {
    let (journal, _) = open(dir, settings(1 << 20), &mut |_| Ok(())).unwrap();
    append(&journal, (1..=160).map(|n| draft(n, 15_000)));
    journal.close().unwrap();
    160
}

fn closed_of(dir: &Path) -> Vec<Closed> {
    closed(dir, &mut Ends::new()).unwrap().0
}

/// Archives every closed segment as the daemon does.
fn archive_all(dir: &Path) -> Vec<Archived> {
    let archive = |closed: &Closed| {
        let archived = archive(dir, closed).unwrap();
        settle(dir, closed.first).unwrap();
        archived
    };
    closed_of(dir).iter().map(archive).collect()
}

fn texts(dir: &Path) -> Vec<Vec<u8>> {
    let text = |first: u64| {
        let mut text = Vec::new();
        segment::open(dir, first).unwrap().text().read_to_end(&mut text).unwrap();
        text
    };
    segment::list(dir).unwrap().into_iter().map(text).collect()
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = segment::names(dir).unwrap().into_iter().filter(|name| name != "LOCK");
    names.map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

fn lines_of(reader: &Reader, from: u64) -> Vec<(u64, String)> {
    reader.lines(from).map(|line| line.map(|line| (line.seq, line.hash)).unwrap()).collect()
}

fn aside_of(dir: &Path, path: &Path) -> PathBuf {
    dir.join(format!("{}.damaged", segment::name_of(path)))
}

fn first_archive(dir: &Path) -> PathBuf {
    let is_archive = |first: &u64| segment::archive_path(dir, *first).exists();
    segment::archive_path(dir, segment::list(dir).unwrap().into_iter().find(is_archive).unwrap())
}

#[test]
fn an_archived_journal_reads_as_before() {
    for (make, frames_min) in [(small as fn(&Path) -> u64, 1), (large, 3)] {
        let dir = TempDir::new().unwrap();
        let last = make(dir.path());
        let (before, report) = (texts(dir.path()), verify(dir.path()));
        let plain = Reader::open(dir.path()).unwrap();
        let expected = lines_of(&plain, 1);
        assert_eq!(expected.len() as u64, last);
        let seals = |dir: &Path| -> Vec<_> {
            let seal = |closed: &Closed| seal(dir, closed, &mut |_| Ok(())).unwrap();
            closed_of(dir).iter().map(seal).map(|seal| (seal.first_hash, seal.hash, seal.until)).collect()
        };
        let sealed = seals(dir.path());
        let archived = archive_all(dir.path());
        assert!(archived.len() > 1);
        for (Archived { first, bytes, packed, .. }, text) in archived.iter().zip(&before) {
            assert_eq!(*bytes, text.len() as u64);
            assert_eq!(*packed, fs::metadata(segment::archive_path(dir.path(), *first)).unwrap().len());
            let archive = File::open(segment::archive_path(dir.path(), *first)).unwrap();
            assert!(super::frames(BufReader::new(archive), *first).unwrap().len() >= frames_min);
        }
        assert_eq!(texts(dir.path()), before);
        assert_eq!(seals(dir.path()), sealed);
        assert_eq!(format!("{:?}", verify(dir.path())), format!("{report:?}"));
        // Readers that had looked before, and one that comes after, by position and in a stream.
        for reader in [&plain, &Reader::open(dir.path()).unwrap()] {
            for from in [1, 2, 7, last / 2, last] {
                assert_eq!(lines_of(reader, from), expected[from as usize - 1..]);
            }
            for (seq, hash) in expected.iter().rev() {
                assert_eq!(reader.line(*seq).unwrap().unwrap().hash, *hash);
            }
        }
        // Recovery, with a snapshot and without.
        let known = crate::journal::Receipt { seq: 4, hash: expected[3].1.clone() };
        let mut seen = 0;
        open_behind(dir.path(), settings(1500), Some(&known), &Evidence::default(), &mut |_| {
            seen += 1;
            Ok(())
        })
        .unwrap()
        .0
        .close()
        .unwrap();
        assert_eq!(seen, last - 4);
        let (journal, recovery) = open(dir.path(), settings(1500), &mut |_| Ok(())).unwrap();
        assert_eq!((recovery.verdict, recovery.entries), (Verdict::Clean, last));
        assert_eq!(lines_of(&journal.reader(), 1), expected);
        assert_eq!(journal.reader().line(2).unwrap().unwrap().hash, expected[1].1);
        append(&journal, std::iter::once(draft(last + 1, 60)));
        journal.close().unwrap();
        assert!(matches!(verify(dir.path()).outcome, Outcome::Good));
    }
}

/// The verdict for each change of an archive's bytes: never good, unless it still unpacks to the same.
#[test]
fn no_change_of_an_archive_goes_unnoticed() {
    let dir = TempDir::new().unwrap();
    let last = small(dir.path());
    archive_all(dir.path());
    let path = first_archive(dir.path());
    let whole = fs::read(&path).unwrap();
    let text = texts(dir.path()).remove(0);
    // Whether it is good.
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut unpacked = Vec::new();
        let is_same = Unpacked::new(bytes).read_to_end(&mut unpacked).is_ok() && unpacked == text;
        let outcome = verify(dir.path()).outcome;
        assert_eq!(matches!(outcome, Outcome::Good), is_same, "{outcome:?}");
        if let Outcome::Tampered(place) = &outcome {
            // An archive of no bytes at all is missed at the next one.
            assert!(place.seq <= last && (bytes.is_empty() || place.file == segment::name_of(&path)), "{place}");
            let before = fs::read(&path).unwrap();
            let opened = open(dir.path(), settings(1500), &mut |_| Ok(()));
            assert!(matches!(opened, Err(JournalError::Corrupt(at)) if at == *place));
            assert_eq!(fs::read(&path).unwrap(), before, "nothing is repaired silently");
        }
        is_same
    };
    let mut bad = 0;
    for at in 0..whole.len() {
        for bit in [1, 0x10, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            bad += u64::from(!check(&changed));
        }
        assert!(!check(&whole[..at]), "cut at {at}");
    }
    assert!(!check(&[&whole[..], b"x"].concat()));
    assert!(!check(&[&whole[..], &whole[..]].concat()));
    assert!(bad as usize > whole.len() * 2, "{bad}");
    // The control: without a change it is good, and so it is when only the form differs.
    assert!(check(&whole) && check(&zstd::bulk::compress(&text, 1).unwrap()));
}

#[test]
fn damage_in_an_archive_has_its_place_and_spares_what_stands_before_it() {
    let dir = TempDir::new().unwrap();
    large(dir.path());
    archive_all(dir.path());
    let path = first_archive(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let frames = super::frames(&bytes[..], 1).unwrap();
    assert!(frames.len() >= 3, "{frames:?}");
    let at = frames[1].packed as usize + 100;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let place =
        Place { seq: frames[1].seq, file: segment::name_of(&path), offset: frames[1].offset, damage: Damage::Archive };
    assert!(matches!(verify(dir.path()).outcome, Outcome::Tampered(found) if found == place));
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.line(place.seq - 1).unwrap().unwrap().seq, place.seq - 1);
    for seq in [place.seq, frames[2].seq - 1, frames[2].seq] {
        let Err(JournalError::Corrupt(found)) = reader.line(seq) else { panic!("{seq}") };
        assert_eq!((found.seq, found.damage), (seq, Damage::Archive));
    }
    let mut lines = reader.lines(1).skip(place.seq as usize - 1);
    assert!(matches!(lines.next(), Some(Err(JournalError::Corrupt(found))) if found == place));
    assert!(lines.next().is_none());
    let error = seal(dir.path(), &closed_of(dir.path())[0], &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, JournalError::Corrupt(found) if found == place));
}

#[test]
fn a_repair_keeps_what_stands_before_the_damage_and_the_whole_archive_aside() {
    for crashes in [false, true] {
        let dir = TempDir::new().unwrap();
        large(dir.path());
        archive_all(dir.path());
        let path = first_archive(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        let frames = super::frames(&bytes[..], 1).unwrap();
        bytes[frames[1].packed as usize + 100] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let kept = lines_of(&Reader::open(dir.path()).unwrap(), 150);
        assert!(!kept.is_empty());
        let plan = plan(dir.path(), &Beside::default()).unwrap().unwrap();
        // Whole batches stay; the one that the damage cuts goes.
        assert!(plan.kept.seq < frames[1].seq && plan.kept.seq + 3 >= frames[1].seq, "{plan:?}");
        assert_eq!(plan.lost_to, 160);
        assert!(plan.lost_bytes > bytes.len() as u64 - frames[1].packed);
        let done = plan
            .carry_out(dir.path(), &Beside::default(), jiff::Timestamp::from_second(1_800_000_000).unwrap())
            .unwrap();
        assert_eq!(done.receipt.seq, plan.kept.seq + 1);
        assert_eq!(fs::read(aside_of(dir.path(), &path)).unwrap(), bytes);
        if crashes {
            // As if it had died before the archive was removed: the next start goes on.
            fs::write(&path, &bytes).unwrap();
        }
        let (journal, recovery) = open(dir.path(), settings(1500), &mut |_| Ok(())).unwrap();
        assert_eq!((recovery.entries, path.exists()), (done.receipt.seq, false));
        assert_eq!(fs::read(aside_of(dir.path(), &path)).unwrap(), bytes);
        journal.close().unwrap();
        let report = verify(dir.path());
        assert!(matches!(report.outcome, Outcome::Good), "{report:?}");
    }
}

/// Whichever call fails, the segment stays, there is no archive of half the bytes, and the next try succeeds.
#[test]
fn a_disk_that_fails_costs_nothing_but_the_archive() {
    let dir = TempDir::new().unwrap();
    large(dir.path());
    let (before, first) = (files(dir.path()), &closed_of(dir.path())[0]);
    let fail = |faults| archive_on(&Disk { faults: Some(Arc::new(faults)) }, dir.path(), first);
    let mut failed = 0;
    for n in 0..6 {
        for error in [EIO, ENOSPC] {
            let faults = [
                Faults { write: Some((n, 1000, error)), ..Faults::default() },
                Faults { sync: Some((n, error)), ..Faults::default() },
                Faults { cut: Some((n, error)), ..Faults::default() },
            ];
            for faults in faults {
                match fail(faults) {
                    Ok(_) => fs::remove_file(segment::archive_path(dir.path(), 1)).unwrap(),
                    Err(error) => {
                        assert!(matches!(error, JournalError::Io { .. }), "{error:?}");
                        failed += 1;
                    }
                }
                assert_eq!(files(dir.path()), before);
            }
        }
    }
    assert!(failed >= 2 * (3 + 1 + 1), "{failed}: each frame, the cut and the sync");
    assert!(fail(Faults::default()).is_ok());
}

/// Its name; what lies there as segment, archive and unfinished archive; what lies there after a start as segment, archive and
/// archive moved aside.
type Stage<'a> = (&'a str, [Option<&'a [u8]>; 3], [bool; 3]);

/// What a crash leaves at each stage, and what others may leave; the start never reads less than there was.
#[test]
fn a_crash_at_any_stage_loses_nothing() {
    let dir = TempDir::new().unwrap();
    small(dir.path());
    let (expected, first) = (lines_of(&Reader::open(dir.path()).unwrap(), 1), closed_of(dir.path()).remove(1));
    let (plain, packed) = (segment::path(dir.path(), first.first), segment::archive_path(dir.path(), first.first));
    let unfinished = segment::unfinished(&packed);
    let text = fs::read(&plain).unwrap();
    archive(dir.path(), &first).unwrap();
    let good = fs::read(&packed).unwrap();
    let damaged = [&good[..good.len() - 9], b"something"].concat();
    let aside = aside_of(dir.path(), &packed);
    let stages: [Stage<'_>; 6] = [
        ("half written", [Some(&text), None, Some(&good[..50])], [true, false, false]),
        ("written", [Some(&text), None, Some(&good)], [true, false, false]),
        ("named", [Some(&text), Some(&good), None], [true, false, false]),
        ("settled", [None, Some(&good), None], [false, true, false]),
        ("written anew over an older one", [Some(&text), Some(&good), Some(&good[..50])], [true, false, false]),
        ("beside an archive that is none", [Some(&text), Some(&damaged), None], [true, false, true]),
    ];
    for (stage, there, then) in stages {
        for (path, bytes) in [&plain, &packed, &unfinished].into_iter().zip(there) {
            let _ = fs::remove_file(path);
            bytes.into_iter().for_each(|bytes| fs::write(path, bytes).unwrap());
        }
        assert_eq!(lines_of(&Reader::open(dir.path()).unwrap(), 1), expected, "{stage}");
        assert!(matches!(verify(dir.path()).outcome, Outcome::Good), "{stage}");
        let (journal, recovery) = open(dir.path(), settings(1500), &mut |_| Ok(())).unwrap();
        assert_eq!((recovery.verdict, recovery.entries), (Verdict::Clean, 30), "{stage}");
        assert_eq!(lines_of(&journal.reader(), 1), expected, "{stage}");
        assert_eq!([&plain, &packed, &aside].map(|path| path.exists()), then, "{stage}");
        assert!(!unfinished.exists(), "{stage}");
        journal.close().unwrap();
        let _ = fs::remove_file(&aside);
    }
    // The control: a segment that is gone before its archive has its name is missed.
    fs::remove_file(&plain).unwrap();
    fs::write(&unfinished, &good).unwrap();
    assert!(matches!(verify(dir.path()).outcome, Outcome::Tampered(_)));
}

#[test]
fn a_damaged_segment_is_not_archived_and_its_place_is_told() {
    let dir = TempDir::new().unwrap();
    small(dir.path());
    let first = closed_of(dir.path()).remove(1);
    let path = segment::path(dir.path(), first.first);
    let text = fs::read_to_string(&path).unwrap();
    let changed = [
        text.replacen("\"t\":\"", "\"t\":\"!", 1),
        text.lines().skip(1).map(|line| format!("{line}\n")).collect(),
        text.lines().take(text.lines().count() - 1).map(|line| format!("{line}\n")).collect(),
        text[..text.len() - 1].to_owned(),
    ];
    for changed in changed {
        fs::write(&path, &changed).unwrap();
        let before = files(dir.path());
        let error = archive(dir.path(), &first).unwrap_err();
        assert!(matches!(&error, JournalError::Corrupt(place) if place.file == segment::name_of(&path)), "{error:?}");
        assert_eq!(files(dir.path()), before);
    }
    assert!(settle(dir.path(), first.first).is_err() && path.exists(), "without an archive nothing is removed");
    fs::write(&path, &text).unwrap();
    assert!(archive(dir.path(), &first).is_ok());
}

#[test]
fn nothing_is_appended_to_an_archive_and_retention_takes_archives_along() {
    let dir = TempDir::new().unwrap();
    small(dir.path());
    archive_all(dir.path());
    // Somebody removed the last segment and HEAD: what is left is good in itself, and goes on behind the last archive.
    let last = *segment::list(dir.path()).unwrap().last().unwrap();
    fs::remove_file(segment::path(dir.path(), last)).unwrap();
    fs::remove_file(dir.path().join("HEAD")).unwrap();
    let _ = fs::remove_file(dir.path().join("checkpoints"));
    let archives = files(dir.path());
    let (journal, recovery) = open(dir.path(), settings(1500), &mut |_| Ok(())).unwrap();
    assert_eq!(recovery.entries, last - 1);
    append(&journal, (last..last + 9).map(|n| draft(n, 60)));
    assert_eq!(lines_of(&journal.reader(), 1).len() as u64, last + 8);
    journal.close().unwrap();
    for (name, bytes) in archives.iter().filter(|(name, _)| name.ends_with(".zst")) {
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), *bytes);
    }
    assert!(matches!(verify(dir.path()).outcome, Outcome::Good));
    let closed = closed_of(dir.path());
    assert_eq!(closed[0].bytes, fs::metadata(segment::archive_path(dir.path(), 1)).unwrap().len());
    remove(dir.path(), closed[1].last).unwrap();
    assert_eq!(segment::list(dir.path()).unwrap()[0], closed[2].first);
}

/// Unpacking is bounded: a frame of endless zeros, and one that wants a window of a gigabyte.
#[test]
fn an_archive_that_would_fill_the_memory_is_damaged() {
    let mut zeros = zstd::bulk::compress(&vec![0; FRAME_BYTES_MAX + CHUNK_BYTES], 3).unwrap();
    let wide = {
        use std::io::Write;
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"{}\n").unwrap();
        encoder.finish().unwrap()
    };
    for bytes in [std::mem::take(&mut zeros), wide] {
        let error = Unpacked::new(&bytes[..]).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(is_damage(&error), "{error:?}");
    }
}
