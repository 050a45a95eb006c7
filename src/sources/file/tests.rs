//! Each line once, through everything that happens to log files, with the reader killed in between.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use super::follower::Follower;
use super::*;
use crate::domain::record::{Position, RECORD_BYTES_MAX};

/// A followed file, its reader, and what a journal would hold of it.
struct Lab {
    folder: TempDir,
    path: PathBuf,
    settings: Settings,
    counters: Arc<Counters>,
    follower: Follower,
    now: Instant,
    /// Handed over, not yet durable.
    pending: Vec<Record>,
    /// Durable.
    lines: Vec<String>,
    last: Option<FilePosition>,
}

impl Lab {
    fn new() -> Self {
        Self::starting(Start::Beginning)
    }

    fn starting(start: Start) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.jsonl");
        let settings = Settings { path: path.clone(), start, poll: POLL, quiet: QUIET };
        let counters = Arc::<Counters>::default();
        let follower = Follower::new("s".into(), &settings, None, counters.clone());
        let (now, pending, lines) = (Instant::now(), Vec::new(), Vec::new());
        Self { folder, path, settings, counters, follower, now, pending, lines, last: None }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, text: impl AsRef<[u8]>) {
        append(&self.path, text);
    }

    /// Creates a file that is measurably younger than those before it, as files in real life are.
    fn create(&self, name: &str) -> File {
        let path = self.at(name);
        let youngest = fs::read_dir(self.folder.path()).unwrap();
        let youngest = youngest.map(|e| e.unwrap().metadata().unwrap().created().unwrap()).max();
        loop {
            let file = OpenOptions::new().create_new(true).append(true).open(&path).unwrap();
            if Some(file.metadata().unwrap().created().unwrap()) > youngest {
                return file;
            }
            // Not removed at once: the inode would come back with the same birth.
            fs::rename(&path, self.at(".young")).unwrap();
            fs::remove_file(self.at(".young")).unwrap();
            std::thread::yield_now();
        }
    }

    fn rename(&self, to: &str) {
        fs::rename(&self.path, self.at(to)).unwrap();
    }

    fn copy_truncate(&self, to: &str) {
        let mut copy = self.create(to);
        copy.write_all(&fs::read(&self.path).unwrap()).unwrap();
        truncate(&self.path);
    }

    /// Reads until there is nothing more at once.
    fn read(&mut self) {
        for _ in 0..10_000 {
            let step = self.follower.step(self.now);
            self.pending.extend(step.records);
            if !step.more {
                return;
            }
        }
        panic!("the follower never comes to rest");
    }

    /// Makes the first `count` records that were handed over durable.
    fn keep(&mut self, count: usize) {
        for record in self.pending.drain(..count.min(self.pending.len())) {
            let Position::File(position) = record.position else { panic!() };
            if let Some(last) = &self.last {
                assert!(position.generation >= last.generation, "generations only go up");
            }
            self.last = Some(position);
            self.lines.push(String::from_utf8_lossy(&record.bytes).into_owned());
        }
    }

    fn read_and_keep(&mut self) {
        self.read();
        self.keep(usize::MAX);
    }

    /// Kills the reader: what was not durable is forgotten.
    fn kill(&mut self) {
        self.pending.clear();
        self.follower = Follower::new("s".into(), &self.settings, self.last.clone(), self.counters.clone());
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Reads all there is, waiting as long as needed for renamed files to be quiet.
    fn settle(&mut self) {
        for _ in 0..70 {
            self.read_and_keep();
            self.pass(QUIET);
        }
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        self.settle();
        assert_eq!(self.lines, lines);
    }

    fn count(&self, counter: impl Fn(&Counters) -> &std::sync::atomic::AtomicU64) -> u64 {
        counter(&self.counters).load(Ordering::Relaxed)
    }
}

fn append(path: &Path, text: impl AsRef<[u8]>) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_ref()).unwrap();
}

fn truncate(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
}

/// Runs a case without a kill, and with one after every number of durable records.
fn with_kills(case: impl Fn(&mut Lab, &dyn Fn(&mut Lab))) {
    case(&mut Lab::new(), &Lab::read_and_keep);
    for kept in 0..4 {
        case(&mut Lab::new(), &|lab| {
            lab.read();
            lab.keep(kept);
            lab.kill();
        });
    }
}

#[test]
fn lines_are_read_as_they_come() {
    with_kills(|lab, pause| {
        lab.append("a\nb\n");
        pause(lab);
        lab.append("c\n\n  \nd\r\n");
        pause(lab);
        lab.append("e\n");
        lab.expect(&["a", "b", "c", "d", "e"]);
        assert_eq!(lab.count(|c| &c.gaps), 0);
    });
}

#[test]
fn a_position_says_where_the_line_lies_and_what_surrounds_it() {
    let mut lab = Lab::new();
    lab.append("one\n\ntwo\r\n");
    lab.read_and_keep();
    let meta = fs::metadata(&lab.path).unwrap();
    let sha = |bytes: &[u8]| {
        use sha2::Digest;
        data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
    };
    let expected = FilePosition {
        path: lab.path.to_str().unwrap().into(),
        device: meta.dev(),
        inode: meta.ino(),
        generation: 1,
        head_bytes: 10,
        head_sha256: sha(b"one\n\ntwo\r\n"),
        tail_sha256: sha(b"one\n\ntwo\r\n"),
        offset: 5,
        next: 10,
    };
    assert_eq!(lab.last, Some(expected));
    let long = "x".repeat(2_000);
    lab.append(format!("{long}\n"));
    lab.read_and_keep();
    let (last, whole) = (lab.last.unwrap(), fs::read(&lab.path).unwrap());
    assert_eq!((last.offset, last.next, last.head_bytes), (10, 2_011, 1_024));
    assert_eq!((last.head_sha256, last.tail_sha256), (sha(&whole[..1_024]), sha(&whole[2_011 - 64..])));
}

#[test]
fn half_lines_wait_for_their_end() {
    with_kills(|lab, pause| {
        lab.append("a\nhal");
        pause(lab);
        assert!(!lab.lines.iter().any(|line| line.starts_with("hal")));
        lab.append("f\nb");
        pause(lab);
        lab.append("\n");
        lab.expect(&["a", "half", "b"]);
        assert_eq!(lab.count(|c| &c.half_lines), 0);
    });
}

#[test]
fn a_half_line_at_the_end_of_a_renamed_file_is_handed_over_and_counted() {
    let mut lab = Lab::new();
    lab.append("a\nhalf");
    lab.read_and_keep();
    lab.rename("alerts.jsonl.1");
    lab.create("alerts.jsonl").write_all(b"b\n").unwrap();
    lab.read_and_keep();
    assert_eq!(lab.lines, ["a"], "it may still be completed");
    lab.expect(&["a", "half", "b"]);
    assert_eq!(lab.count(|c| &c.half_lines), 1);
}

#[test]
fn a_renamed_file_is_read_to_its_end_first() {
    with_kills(|lab, pause| {
        let mut old = lab.create("alerts.jsonl");
        old.write_all(b"a\nb\n").unwrap();
        lab.read();
        lab.keep(1);
        pause(lab);
        lab.rename("alerts.jsonl.1");
        old.write_all(b"c\n").unwrap();
        pause(lab);
        let mut new = lab.create("alerts.jsonl");
        new.write_all(b"x\n").unwrap();
        pause(lab);
        lab.pass(QUIET / 2);
        old.write_all(b"late\n").unwrap();
        pause(lab);
        lab.pass(QUIET / 2);
        old.write_all(b"later\n").unwrap();
        new.write_all(b"y\n").unwrap();
        lab.expect(&["a", "b", "c", "late", "later", "x", "y"]);
        assert_eq!(lab.last.as_ref().unwrap().generation, 2);
    });
}

#[test]
fn rotations_that_nobody_saw_are_read_in_order() {
    with_kills(|lab, pause| {
        lab.create("alerts.jsonl").write_all(b"a\nb\n").unwrap();
        pause(lab);
        lab.append("c\n");
        lab.rename("alerts.jsonl-20260101");
        lab.create("alerts.jsonl").write_all(b"d\n").unwrap();
        lab.rename("alerts.jsonl-20260102");
        lab.create("alerts.jsonl").write_all(b"e\n").unwrap();
        lab.rename("alerts.jsonl-20260103");
        pause(lab);
        lab.create("alerts.jsonl").write_all(b"f\n").unwrap();
        // When nothing was durable before the rotation, the file at the path is the first that is known.
        match lab.last {
            None => lab.expect(&["f"]),
            Some(_) => lab.expect(&["a", "b", "c", "d", "e", "f"]),
        }
    });
}

#[test]
fn rotations_faster_than_the_quiet_time_hold_nothing_up() {
    let mut lab = Lab::new();
    let mut expected = Vec::new();
    for number in 0..20 {
        lab.create("alerts.jsonl").write_all(format!("{number}\n").as_bytes()).unwrap();
        lab.read_and_keep();
        lab.pass(QUIET / 2);
        lab.rename(&format!("alerts.jsonl-{number:04}"));
        expected.push(number.to_string());
    }
    assert!(lab.lines.len() >= 9, "{:?}", lab.lines);
    lab.create("alerts.jsonl");
    lab.settle();
    assert_eq!(lab.lines, expected);
}

#[test]
fn numbered_rotation_and_a_missing_file_after_a_restart() {
    let mut lab = Lab::new();
    lab.create("alerts.jsonl").write_all(b"a\nb\n").unwrap();
    lab.read();
    lab.keep(1);
    lab.rename("alerts.jsonl.1");
    lab.kill();
    lab.read_and_keep();
    assert_eq!(lab.lines, ["a", "b"], "the renamed file is found though nothing lies at the path");
    lab.create("alerts.jsonl").write_all(b"c\n").unwrap();
    fs::rename(lab.at("alerts.jsonl.1"), lab.at("alerts.jsonl.2")).unwrap();
    lab.kill();
    lab.expect(&["a", "b", "c"]);
    assert_eq!(lab.count(|c| &c.gaps), 0);
}

#[test]
fn files_that_only_look_like_rotations_are_left_alone() {
    let mut lab = Lab::new();
    lab.create("alerts.jsonl.7").write_all(b"older\n").unwrap();
    lab.create("alerts.jsonl").write_all(b"a\n").unwrap();
    lab.create("alerts.jsonl.6").write_all(b"there when we began\n").unwrap();
    lab.read_and_keep();
    for name in ["alerts.jsonl.bak", "alerts.jsonl.1.gz", "alerts.jsonl.2.tmp", "other.jsonl.1", "alerts.jsonl.old"] {
        lab.create(name).write_all(b"no\n").unwrap();
    }
    lab.rename("alerts.jsonl.1");
    lab.create("alerts.jsonl").write_all(b"b\n").unwrap();
    lab.expect(&["a", "b"]);
}

#[test]
fn truncation_in_place_begins_a_generation() {
    for after in ["x\n", "x\ny\n", "longer than what was there before\n", "z\nb\n", "q\nlonger\nthan\nbefore\n"] {
        with_kills(|lab, pause| {
            lab.append("a\nb\n");
            lab.read_and_keep();
            truncate(&lab.path);
            pause(lab);
            lab.append(after);
            pause(lab);
            let expected: Vec<&str> = ["a", "b"].into_iter().chain(after.lines()).collect();
            lab.expect(&expected);
            assert_eq!(lab.last.as_ref().unwrap().generation, 2);
        });
    }
}

#[test]
fn a_file_rewritten_at_once_is_noticed_even_at_the_same_size() {
    with_kills(|lab, pause| {
        lab.append("a\nb\n");
        lab.read_and_keep();
        let before = fs::metadata(&lab.path).unwrap().modified().unwrap();
        while fs::metadata(&lab.path).unwrap().modified().unwrap() == before {
            fs::write(&lab.path, "c\nd\n").unwrap();
        }
        pause(lab);
        lab.expect(&["a", "b", "c", "d"]);
    });
}

#[test]
fn copy_and_truncate_loses_nothing_while_the_copy_is_there() {
    with_kills(|lab, pause| {
        lab.create("alerts.jsonl").write_all(b"a\nb\n").unwrap();
        lab.read();
        lab.keep(1);
        pause(lab);
        lab.append("unread\n");
        lab.copy_truncate("alerts.jsonl.1");
        pause(lab);
        lab.append("c\n");
        pause(lab);
        lab.append("d\n");
        fs::rename(lab.at("alerts.jsonl.1"), lab.at("alerts.jsonl.2")).unwrap();
        lab.copy_truncate("alerts.jsonl.1");
        pause(lab);
        lab.append("e\n");
        lab.expect(&["a", "b", "unread", "c", "d", "e"]);
        assert_eq!(lab.count(|c| &c.gaps), 0);
    });
}

#[test]
fn two_copies_made_while_the_daemon_was_down() {
    let mut lab = Lab::new();
    lab.create("alerts.jsonl").write_all(b"a\nb\n").unwrap();
    lab.read();
    lab.keep(1);
    lab.copy_truncate("alerts.jsonl.2");
    lab.append("c\n");
    lab.copy_truncate("alerts.jsonl.1");
    lab.append("d\n");
    lab.kill();
    lab.expect(&["a", "b", "c", "d"]);
}

#[test]
fn a_hole_left_by_a_writer_that_does_not_append_is_skipped() {
    let mut lab = Lab::new();
    let mut writer = lab.create("alerts.jsonl");
    writer.write_all(b"a\nbb\n").unwrap();
    lab.read_and_keep();
    truncate(&lab.path);
    fs::write(&lab.path, [&[0; 50_000][..], b"c\n"].concat()).unwrap();
    lab.expect(&["a", "bb", "c"]);
}

#[test]
fn deletion_and_recreation_while_running_and_while_down() {
    with_kills(|lab, pause| {
        lab.append("a\nb\n");
        lab.read_and_keep();
        fs::remove_file(&lab.path).unwrap();
        pause(lab);
        lab.append("c\nd\n");
        pause(lab);
        lab.expect(&["a", "b", "c", "d"]);
    });
}

#[test]
fn a_reused_inode_is_another_file() {
    // With the reader down, a file system may give the same inode to the next file at once.
    for content in ["x\ny\nz\n", "a\nX\nlonger than before\n", "q\n"] {
        let mut lab = Lab::new();
        lab.append("a\nb\n");
        lab.read_and_keep();
        let inode = lab.last.as_ref().unwrap().inode;
        for _ in 0..50 {
            fs::remove_file(&lab.path).unwrap();
            lab.append(content);
            if fs::metadata(&lab.path).unwrap().ino() == inode {
                break;
            }
        }
        // Where it did not come to that, the journal says that it did.
        lab.last.as_mut().unwrap().inode = fs::metadata(&lab.path).unwrap().ino();
        lab.kill();
        let expected: Vec<&str> = ["a", "b"].into_iter().chain(content.lines()).collect();
        lab.expect(&expected);
        assert_eq!(lab.count(|c| &c.gaps), 1, "what the old file may have held is reported");
    }
}

#[test]
fn generations_with_the_same_header_are_told_apart() {
    let header = format!("{{\"header\":\"{}\"}}\n", "h".repeat(2_000));
    with_kills(|lab, pause| {
        lab.append(format!("{header}a\n"));
        lab.read_and_keep();
        truncate(&lab.path);
        pause(lab);
        lab.append(format!("{header}b\nc\n"));
        pause(lab);
        lab.settle();
        let short: Vec<_> = lab.lines.iter().map(|line| if line.len() > 9 { "header" } else { line }).collect();
        assert_eq!(short, ["header", "a", "header", "b", "c"]);
    });
}

#[test]
fn a_successor_that_begins_the_same_is_not_taken_for_the_renamed_file() {
    let mut lab = Lab::new();
    lab.create("alerts.jsonl").write_all(b"header\na\n").unwrap();
    lab.read();
    lab.keep(1);
    lab.rename("alerts.jsonl.1");
    lab.create("alerts.jsonl").write_all(b"header\nb\n").unwrap();
    lab.kill();
    lab.expect(&["header", "a", "header", "b"]);
}

#[test]
fn a_device_number_that_changed_with_a_reboot_is_no_other_file() {
    let mut lab = Lab::new();
    lab.append("a\nb\n");
    lab.read_and_keep();
    lab.last.as_mut().unwrap().device += 1;
    lab.kill();
    lab.append("c\n");
    lab.expect(&["a", "b", "c"]);
}

#[test]
fn a_missing_file_is_waited_for() {
    with_kills(|lab, pause| {
        pause(lab);
        lab.append("");
        pause(lab);
        lab.append("a\n");
        lab.expect(&["a"]);
    });
}

#[test]
fn beginning_at_the_end_skips_what_was_there_only() {
    let mut lab = Lab::starting(Start::End);
    lab.append("old\nhal");
    lab.read_and_keep();
    lab.append("f\nnew\n");
    lab.read_and_keep();
    assert_eq!(lab.lines, ["half", "new"]);
    lab.rename("alerts.jsonl.1");
    lab.append("next\n");
    lab.kill();
    lab.expect(&["half", "new", "next"]);
    let mut later = Lab::starting(Start::End);
    later.read_and_keep();
    later.append("first\n");
    later.expect(&["first"]);
}

#[test]
fn a_source_that_is_given_another_path_begins_anew_there() {
    let mut lab = Lab::starting(Start::End);
    lab.append("");
    lab.read();
    lab.append("a\n");
    lab.read_and_keep();
    let folder = tempfile::tempdir().unwrap();
    lab.path = folder.path().join("other.jsonl");
    lab.settings.path = lab.path.clone();
    lab.append("old\n");
    lab.kill();
    lab.read();
    lab.append("new\n");
    lab.expect(&["a", "new"]);
    assert_eq!(lab.count(|c| &c.gaps), 0);
}

#[test]
fn a_link_that_is_turned_to_another_file_is_a_rotation() {
    let mut lab = Lab::new();
    append(&lab.at("one"), "a\n");
    append(&lab.at("two"), "b\n");
    std::os::unix::fs::symlink("one", &lab.path).unwrap();
    lab.read_and_keep();
    append(&lab.at("one"), "late\n");
    std::os::unix::fs::symlink("two", lab.at("new")).unwrap();
    fs::rename(lab.at("new"), &lab.path).unwrap();
    lab.expect(&["a", "late", "b"]);
}

#[test]
fn what_is_no_file_is_reported_once_and_waited_out() {
    let mut lab = Lab::new();
    fs::create_dir(&lab.path).unwrap();
    lab.settle();
    assert_eq!(lab.count(|c| &c.io_errors), 1);
    fs::remove_dir(&lab.path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&lab.path).status();
    if made.is_ok_and(|status| status.success()) {
        lab.settle();
        fs::remove_file(&lab.path).unwrap();
    }
    lab.append("a\n");
    lab.expect(&["a"]);
}

#[test]
fn a_line_beyond_the_limit_is_handed_over_cut_and_the_next_one_follows() {
    let mut lab = Lab::new();
    lab.append(format!("{}\nb\n", "x".repeat(9 * 1024 * 1024)));
    lab.append(format!("{}\n", "y".repeat(RECORD_BYTES_MAX)));
    lab.append("z".repeat(3 * 1024 * 1024));
    lab.settle();
    let shown: Vec<_> = lab.lines.iter().map(|line| (line.len(), &line[..1])).collect();
    assert_eq!(shown, [(RECORD_BYTES_MAX, "x"), (1, "b"), (RECORD_BYTES_MAX, "y")]);
    assert_eq!(lab.count(|c| &c.oversized), 1);
    lab.kill();
    lab.append("\nlast\n");
    lab.settle();
    let shown: Vec<_> = lab.lines[3..].iter().map(|line| (line.len(), &line[..1])).collect();
    assert_eq!(shown, [(RECORD_BYTES_MAX, "z"), (4, "l")]);
}

#[test]
fn hostile_lines_are_handed_over_and_the_next_good_one_follows() {
    let bodies = crate::sources::hostile::bodies();
    assert!(bodies.len() >= 60);
    for (name, body) in bodies {
        let mut lab = Lab::new();
        lab.append(&body);
        lab.append("\n{\"good\":1}\n");
        lab.settle();
        assert_eq!(lab.lines.last().map(String::as_str), Some("{\"good\":1}"), "{name}");
        lab.kill();
        lab.append("{\"next\":1}\n");
        lab.settle();
        assert_eq!(lab.lines.last().map(String::as_str), Some("{\"next\":1}"), "{name}");
        assert_eq!(lab.lines.iter().filter(|line| *line == "{\"good\":1}").count(), 1, "{name}");
    }
}

/// A small generator, so that a failing seed can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A writer and a rotator at random, and a reader that is killed at random; the lines in the order of their files.
#[expect(clippy::too_many_lines, reason = "one life, read from birth to end")]
fn random_life(seed: u64, is_copying: bool) {
    let mut dice = Dice(seed);
    let mut lab = Lab::new();
    let mut writer = lab.create("alerts.jsonl");
    let mut previous: Option<File> = None;
    let mut files: Vec<Vec<String>> = vec![Vec::new()];
    let (mut written, mut rotations, mut half) = (0, 0, None::<String>);
    // The first line is durable before the file is rotated: from then on the journal knows where it is.
    writer.write_all(b"first\n").unwrap();
    files[0].push("first".into());
    lab.read_and_keep();
    let mut line = |dice: &mut Dice| {
        written += 1;
        format!("{written}-{}", "x".repeat(dice.below(120) as usize))
    };
    for _ in 0..120 {
        match dice.below(12) {
            0..=2 => {
                let mut text = half.take().unwrap_or_else(|| line(&mut dice));
                writer.write_all(format!("{}\n", text.rsplit('\u{1}').next().unwrap()).as_bytes()).unwrap();
                text.retain(|c| c != '\u{1}');
                files.last_mut().unwrap().push(text);
            }
            3 if half.is_none() => {
                let text = line(&mut dice);
                let (first, second) = text.split_at(text.len() / 2);
                writer.write_all(first.as_bytes()).unwrap();
                half = Some(format!("{first}\u{1}{second}"));
            }
            4 if !is_copying => {
                if let Some(old) = &mut previous {
                    let text = line(&mut dice);
                    old.write_all(format!("{text}\n").as_bytes()).unwrap();
                    let at = files.len() - 2;
                    files[at].push(text);
                }
            }
            5 if half.is_none() => {
                rotations += 1;
                let name = format!("alerts.jsonl-{rotations:08}");
                if is_copying {
                    lab.copy_truncate(&name);
                } else {
                    lab.rename(&name);
                    let new = lab.create("alerts.jsonl");
                    previous = Some(std::mem::replace(&mut writer, new));
                }
                files.push(Vec::new());
            }
            6 => {
                // Time passes only when the writer has let go of the renamed file.
                previous = None;
                lab.pass(QUIET);
            }
            7 => lab.kill(),
            8 => lab.pending.extend(lab.follower.step(lab.now).records),
            9 => {
                let some = dice.below(4) as usize;
                lab.keep(some);
            }
            _ => lab.read(),
        }
    }
    if let Some(text) = half.take() {
        writer.write_all(format!("{}\n", text.rsplit('\u{1}').next().unwrap()).as_bytes()).unwrap();
        files.last_mut().unwrap().push(text.replace('\u{1}', ""));
    }
    lab.settle();
    let expected: Vec<String> = files.into_iter().flatten().collect();
    let short =
        |lines: &[String]| lines.iter().map(|l| l.trim_end_matches('x').to_owned()).collect::<Vec<_>>().join(" ");
    assert_eq!(short(&lab.lines), short(&expected), "seed {seed}");
    let differing = lab.lines.iter().zip(&expected).find(|(got, expected)| got != expected);
    assert_eq!(differing, None, "seed {seed}");
    assert_eq!(lab.count(|c| &c.gaps), 0, "seed {seed}");
}

/// More of them with `SOARD_TEST_LIVES`.
fn lives() -> u64 {
    std::env::var("SOARD_TEST_LIVES").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

#[test]
fn random_lives_with_renaming() {
    (0..lives()).for_each(|seed| random_life(seed, false));
}

#[test]
fn random_lives_with_copying() {
    (0..lives()).for_each(|seed| random_life(seed, true));
}

#[tokio::test]
async fn a_running_source_is_woken_by_events_waits_for_room_and_goes_on_after_a_kill() {
    use crate::sources::intake::Limits;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.jsonl");
    // Polling would take an hour: only events wake it.
    let hour = Duration::from_secs(3600);
    let settings = Settings { path: path.clone(), start: Start::Beginning, poll: hour, quiet: hour };
    let text: String = (0..30_000).map(|n| format!("{n}\n")).collect();
    append(&path, text);
    let (mut next, mut last) = (0, None);
    for _ in 0..3 {
        let (intake, mut taken) = Intake::new(Limits::default());
        let (tell, stop) = signal::channel(false);
        let counters = Arc::<Counters>::default();
        let running = tokio::spawn(run("s".into(), settings.clone(), last.clone(), intake, counters.clone(), stop));
        for _ in 0..10_000 {
            let offer = taken.recv().await.unwrap();
            assert_eq!(offer.record.bytes, next.to_string().as_bytes());
            let Position::File(position) = &offer.record.position else { panic!() };
            (next, last) = (next + 1, Some(position.clone()));
        }
        assert!(taken.len() <= 4_096, "the queue is bounded");
        if next == 30_000 {
            append(&path, "30000\n");
            let offer = tokio::time::timeout(Duration::from_secs(10), taken.recv()).await.unwrap().unwrap();
            assert_eq!(offer.record.bytes, b"30000");
            tell.send(true).unwrap();
            assert_eq!(running.await.unwrap().unwrap(), Ended::Stopped);
        } else {
            running.abort();
            assert!(running.await.unwrap_err().is_cancelled());
        }
    }
}

#[test]
fn births_are_known_on_this_file_system() {
    let lab = Lab::new();
    let (one, two) = (lab.create("one"), lab.create("two"));
    let born = |file: &File| -> SystemTime { file.metadata().unwrap().created().unwrap() };
    assert!(born(&one) < born(&two));
}
