//! Each file once, whatever is dropped, and through restarts.

use std::fs;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::sources::intake::{Limits, Offer};

const PATIENCE: Duration = Duration::from_secs(10);

type Running = (JoinHandle<Result<Ended, SourceError>>, mpsc::Receiver<Offer>, signal::Sender<bool>);

/// A drop folder and what a journal would hold of it.
struct Lab {
    folder: TempDir,
    settings: Settings,
    counters: Arc<Counters>,
    progress: Progress,
    running: Option<Running>,
    seq: u64,
}

impl Lab {
    fn new(move_done: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        fs::create_dir(&path).unwrap();
        let to = folder.path().join("out");
        let done = if move_done { Done::Move { to } } else { Done::Keep };
        let settings = Settings { path, done, poll: Duration::from_millis(10) };
        Self { folder, settings, counters: Arc::default(), progress: Progress::new(), running: None, seq: 0 }
    }

    fn start(&mut self) {
        let (intake, taken) = Intake::new(Limits::default());
        let (tell, stop) = signal::channel(false);
        let (settings, counters) = (self.settings.clone(), self.counters.clone());
        let running = tokio::spawn(run("s".into(), settings, self.progress.clone(), intake, counters, stop));
        self.running = Some((running, taken, tell));
    }

    fn kill(&mut self) {
        self.running.take().unwrap().0.abort();
    }

    /// Drops a file as a careful sender does: written under another name, then renamed.
    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let tmp = self.folder.path().join("tmp");
        fs::write(&tmp, text).unwrap();
        fs::rename(tmp, self.settings.path.join(name)).unwrap();
    }

    async fn offer(&mut self) -> Offer {
        let (_, taken, _) = self.running.as_mut().unwrap();
        tokio::time::timeout(PATIENCE, taken.recv()).await.expect("a record in time").unwrap()
    }

    /// Takes the next record, and makes it durable.
    async fn next(&mut self) -> String {
        let offer = self.offer().await;
        let (text, answer) = self.make_durable(offer);
        if let Some(answer) = answer {
            answer.send(Answer::Ignored { why: "test".into() }).unwrap();
        }
        text
    }

    fn make_durable(&mut self, offer: Offer) -> (String, Option<tokio::sync::oneshot::Sender<Answer>>) {
        let Position::Folder(position) = offer.record.position else { panic!() };
        self.seq += 1;
        let progress = FolderProgress { next: position.index + 1, done: position.last };
        self.progress.insert((position.file.clone(), position.sha256), progress);
        let text = String::from_utf8_lossy(&offer.record.bytes).into_owned();
        (format!("{} {}{} {text}", position.file, position.index, if position.last { "." } else { "" }), offer.answer)
    }

    /// A file that comes after everything else: what is not handed over before it is not handed over.
    async fn expect_only_marker(&mut self, name: &str) {
        self.put(name, "{\"marker\":1}");
        assert_eq!(self.next().await, format!("{name} 0. {{\"marker\":1}}"));
    }

    async fn until(&self, what: impl Fn() -> bool) {
        let waiting = async {
            while !what() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    }
}

#[tokio::test]
async fn objects_arrays_and_lines_become_records() {
    let mut lab = Lab::new(false);
    lab.start();
    lab.put("a.json", "\u{feff}{\n  \"a\": 1\n}\n");
    assert_eq!(lab.next().await, "a.json 0. {\n  \"a\": 1\n}");
    lab.put("b.json", "[{\"a\":1}, 2,\n{\"c\":[]}]");
    assert_eq!(lab.next().await, "b.json 0 {\"a\":1}");
    assert_eq!(lab.next().await, "b.json 1 2");
    assert_eq!(lab.next().await, "b.json 2. {\"c\":[]}");
    lab.put("c.jsonl", "{\"a\":1}\r\n\nbroken\n{\"half\":1}");
    assert_eq!(lab.next().await, "c.jsonl 0 {\"a\":1}");
    assert_eq!(lab.next().await, "c.jsonl 1 broken");
    assert_eq!(lab.next().await, "c.jsonl 2. {\"half\":1}");
    lab.put("d.json", "{\"lines\":1}\n{\"in\":2}\n");
    assert_eq!(lab.next().await, "d.json 0 {\"lines\":1}");
    assert_eq!(lab.next().await, "d.json 1. {\"in\":2}");
    lab.put("e.ndjson", "no json");
    assert_eq!(lab.next().await, "e.ndjson 0. no json");
    lab.put("f.json", "no json\nat all");
    assert_eq!(lab.next().await, "f.json 0. no json\nat all");
    for empty in ["g.json", "h.jsonl"] {
        lab.put(empty, " \n");
    }
    lab.put("i.json", "[]");
    lab.expect_only_marker("z.json").await;
}

#[tokio::test]
async fn unfinished_hidden_and_foreign_files_are_left_alone() {
    let mut lab = Lab::new(false);
    for name in [".hidden.json", "a.json.tmp", "a.json.part", "a.txt", "json", ".json"] {
        lab.put(name, "{}");
    }
    fs::create_dir(lab.settings.path.join("folder.json")).unwrap();
    let outside = lab.folder.path().join("outside");
    fs::write(&outside, "{}").unwrap();
    std::os::unix::fs::symlink(&outside, lab.settings.path.join("link.json")).unwrap();
    lab.start();
    lab.expect_only_marker("z.json").await;
    lab.expect_only_marker("zz.json").await;
}

#[tokio::test]
async fn the_same_name_with_other_content_is_another_file_and_the_same_content_is_not() {
    let mut lab = Lab::new(false);
    lab.start();
    lab.put("a.json", "{\"v\":1}");
    assert_eq!(lab.next().await, "a.json 0. {\"v\":1}");
    lab.put("a.json", "{\"v\":1}");
    lab.put("a2.json", "{\"v\":1}");
    assert_eq!(lab.next().await, "a2.json 0. {\"v\":1}");
    lab.put("a.json", "{\"v\":2}");
    assert_eq!(lab.next().await, "a.json 0. {\"v\":2}");
    lab.expect_only_marker("z.json").await;
}

#[tokio::test]
async fn a_file_is_read_on_where_the_journal_ends() {
    for kept in 0..=5 {
        let mut lab = Lab::new(false);
        lab.put("a.jsonl", "0\n1\n2\n3\n4\n");
        lab.start();
        for index in 0..kept {
            assert!(lab.next().await.ends_with(&index.to_string()));
        }
        lab.kill();
        lab.start();
        for index in kept..5 {
            assert!(lab.next().await.ends_with(&format!(" {index}")));
        }
        lab.expect_only_marker("z.json").await;
    }
}

#[tokio::test]
async fn a_file_is_moved_when_its_last_record_is_durable_and_not_before() {
    let mut lab = Lab::new(true);
    let out = lab.folder.path().join("out");
    lab.start();
    lab.put("a.jsonl", "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(lab.next().await, "a.jsonl 0 {\"a\":1}");
    let refused = lab.offer().await;
    assert!(lab.settings.path.join("a.jsonl").exists());
    refused.answer.unwrap().send(Answer::Full).unwrap();
    let again = lab.offer().await;
    let (text, answer) = lab.make_durable(again);
    assert_eq!(text, "a.jsonl 1. {\"a\":2}", "a full disk is waited for");
    // The daemon dies between the entry and its answer.
    drop(answer);
    lab.kill();
    lab.progress.clear();
    lab.start();
    lab.next().await;
    lab.offer().await.answer.unwrap().send(Answer::Stopped).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(lab.settings.path.join("a.jsonl").exists(), "it is not durable");
    let (running, taken, tell) = lab.running.take().unwrap();
    tell.send(true).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), Ended::Stopped);
    drop(taken);
    let key = lab.progress.keys().next().unwrap().clone();
    lab.progress.insert(key, FolderProgress { next: 2, done: true });
    assert!(lab.settings.path.join("a.jsonl").exists() && !out.exists());
    lab.start();
    lab.until(|| out.join("a.jsonl").exists()).await;
    lab.put("a.jsonl", "{\"other\":1}");
    assert_eq!(lab.next().await, "a.jsonl 0. {\"other\":1}");
    lab.until(|| fs::read_dir(&out).unwrap().count() == 2).await;
    assert_eq!(fs::read_to_string(out.join("a.jsonl")).unwrap(), "{\"a\":1}\n{\"a\":2}\n", "nothing is overwritten");
    lab.put("empty.json", "");
    lab.until(|| out.join("empty.json").exists()).await;
    assert_eq!(fs::read_dir(&lab.settings.path).unwrap().count(), 0);
}

#[tokio::test]
async fn large_files_are_refused_and_large_records_cut() {
    let mut lab = Lab::new(false);
    let sparse = fs::File::create(lab.folder.path().join("sparse")).unwrap();
    sparse.set_len(FILE_BYTES_MAX + 1).unwrap();
    fs::rename(lab.folder.path().join("sparse"), lab.settings.path.join("huge.json")).unwrap();
    lab.put("many.jsonl", "1\n".repeat(FILE_RECORDS_MAX + 1));
    lab.put("wide.jsonl", format!("{}\n{{\"good\":1}}\n", "x".repeat(RECORD_BYTES_MAX + 5)));
    lab.start();
    assert_eq!(lab.next().await.len(), "wide.jsonl 0 ".len() + RECORD_BYTES_MAX);
    assert_eq!(lab.next().await, "wide.jsonl 1. {\"good\":1}");
    let counters = lab.counters.clone();
    lab.until(|| counters.files_refused.load(Ordering::Relaxed) == 2).await;
    assert_eq!(lab.counters.oversized.load(Ordering::Relaxed), 1);
    lab.expect_only_marker("z.json").await;
}

#[tokio::test]
async fn hostile_files_are_handed_over_and_the_next_good_one_follows() {
    let mut lab = Lab::new(false);
    lab.start();
    for (number, (name, body)) in crate::sources::hostile::bodies().into_iter().enumerate() {
        for extension in ["json", "jsonl"] {
            lab.put(&format!("{number}.{extension}"), &body);
            lab.put(&format!("{number}-next.{extension}"), "{\"good\":1}");
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while !lab.next().await.starts_with(&format!("{number}-next.")) {
                assert!(tokio::time::Instant::now() < deadline, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_missing_folder_is_waited_for() {
    let mut lab = Lab::new(false);
    fs::remove_dir(&lab.settings.path).unwrap();
    lab.start();
    let counters = lab.counters.clone();
    lab.until(|| counters.io_errors.load(Ordering::Relaxed) == 1).await;
    fs::create_dir(&lab.settings.path).unwrap();
    lab.expect_only_marker("z.json").await;
    let (running, taken, tell) = lab.running.take().unwrap();
    tell.send(true).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), Ended::Stopped);
    drop(taken);
}

#[test]
fn a_file_that_grows_is_complete_when_it_rested_between_two_polls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let mut look = Look::default();
    let mut ready = |closed: &[&str], is_poll| {
        let closed = closed.iter().map(OsString::from).collect();
        let found = look.ready(folder.path(), &closed, is_poll).unwrap();
        if let Some((name, stamp)) = found.first() {
            look.done(name, *stamp);
        }
        found.len()
    };
    fs::write(&path, "{").unwrap();
    assert_eq!(ready(&[], true), 0);
    fs::write(&path, "{}").unwrap();
    assert_eq!(ready(&[], true), 0, "it grew");
    assert_eq!(ready(&[], false), 0, "an event is no poll");
    assert_eq!(ready(&[], true), 1);
    assert_eq!(ready(&[], true), 0, "it is done");
    fs::write(&path, "{\"a\":1}").unwrap();
    assert_eq!(ready(&["a.json"], false), 1, "it was closed");
}
