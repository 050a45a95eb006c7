//! The writer thread: one batch at a time, one write, one sync, then the acknowledgements.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::journal::disk::{Disk, is_full};
use crate::journal::head::{Head, HeadFile};
use crate::journal::index::Index;
use crate::journal::line::{self, DATA_BYTES_MAX, Slot};
use crate::journal::lock::Lock;
use crate::journal::notary::{Desk, Notary};
use crate::journal::queue::{Queue, Waiting, Work};
use crate::journal::reach::Beyond;
use crate::journal::reader::Reader;
use crate::journal::recover::Tip;
use crate::journal::room::{Room, Wait};
use crate::journal::segment;
use crate::journal::{AppendError, Done, Draft, JournalError, Receipt, Settings};

/// How long HEAD may lie in memory alone.
const HEAD_SYNC_EVERY: Duration = Duration::from_secs(1);

/// Beyond this a buffer is given back after a batch.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// The journal, open for writing. Dropping it without [`Journal::close`] finishes what waits, but leaves the
/// journal as after an unclean stop.
pub struct Journal {
    dir: Arc<Path>,
    queue: Arc<Queue>,
    index: Arc<Index>,
    writer: Option<JoinHandle<Result<Writer, Arc<JournalError>>>>,
    room: Room,
    notary: Notary,
    /// Holds the lock on the journal until the writer has ended.
    _lock: Lock,
}

impl Journal {
    pub(super) fn start(writer: Writer, lock: Lock) -> Result<Self, JournalError> {
        let (dir, queue, index) = (Arc::clone(&writer.dir), Arc::clone(&writer.queue), Arc::clone(&writer.index));
        let (room, notary) = (writer.room.clone(), writer.desk.notary.clone());
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run());
        let writer = Some(thread.map_err(JournalError::io("start the writer thread for", &dir))?);
        Ok(Self { dir, queue, index, writer, room, notary, _lock: lock })
    }

    /// Hands an entry to the writer thread. Entries are written in the order of these calls; each gets the number
    /// that follows the one before. Waits while too much is queued, so do not hold what `done` needs.
    ///
    /// `done` is called once: on the writer thread when the entry is durable or refused, or at once, on this
    /// thread, when the journal has stopped before. It must be short, must not block and must not append.
    pub fn append(&self, draft: Draft, done: Done) {
        self.append_all([(draft, done)]);
    }

    /// Hands several entries over at once, in their order, as by [`Journal::append`].
    pub fn append_all(&self, entries: impl IntoIterator<Item = (Draft, Done)>) {
        self.queue.push(entries.into_iter().map(|(draft, done)| Waiting::new(draft, done)));
    }

    /// A reader that sees each batch as soon as it is durable.
    pub fn reader(&self) -> Reader {
        Reader::live(Arc::clone(&self.dir), Arc::clone(&self.index))
    }

    /// Who gives the writer the keys for checkpoints; without one there are none.
    pub fn notary(&self) -> Notary {
        self.notary.clone()
    }

    /// Who knows whether there is room on the disk.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Writes what waits, marks the journal as closed in good order and releases the lock. What meets a full disk now is
    /// refused.
    ///
    /// # Errors
    /// The error that had stopped the journal, or that of the last writes. After [`AppendError::Full`] closing
    /// succeeds: what was acknowledged is in good order.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.finish()?.close()
    }

    fn finish(&mut self) -> Result<Writer, JournalError> {
        self.queue.close();
        let writer = self.writer.take().expect("only close and drop take the thread, and both own the journal");
        writer.join().map_err(|_| JournalError::Died)?.map_err(JournalError::Stopped)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let _ = self.finish();
        }
    }
}

/// The segment that is written to.
pub(super) struct Active {
    pub first: u64,
    pub path: PathBuf,
    pub file: File,
    /// Where the last durable batch ends.
    pub bytes: u64,
}

/// What the thread owns.
pub(super) struct Writer {
    pub disk: Disk,
    pub dir: Arc<Path>,
    pub settings: Settings,
    pub queue: Arc<Queue>,
    pub index: Arc<Index>,
    pub active: Active,
    pub head: HeadFile,
    pub desk: Desk,
    pub room: Room,
    /// The last durable line.
    pub tip: Tip,
}

/// A batch as it will stand in the file.
#[derive(Default)]
struct Rendered {
    bytes: Vec<u8>,
    /// Number, begin and end of each line in `bytes`.
    entries: Vec<(u64, u64, u64)>,
    receipts: Vec<Receipt>,
    tip: Option<Tip>,
}

impl Writer {
    fn run(mut self) -> Result<Self, Arc<JournalError>> {
        let _mourner = Mourner(Arc::clone(&self.queue));
        let mut head_synced = Instant::now();
        let mut head_dirty = false;
        let (mut batch, mut rendered) = (Vec::new(), Rendered::default());
        loop {
            let for_head = head_dirty.then(|| HEAD_SYNC_EVERY.saturating_sub(head_synced.elapsed()));
            let patience = for_head.into_iter().chain(self.desk.patience(self.tip.receipt.seq)).min();
            match self.queue.take(&mut batch, &self.settings, patience) {
                Work::Closed => return Ok(self),
                Work::Idle => {}
                Work::Batch => {
                    if let Err(why) = self.commit(&batch, &mut rendered) {
                        self.queue.refuse_batch(&why, &mut batch);
                        return match why {
                            AppendError::Full(_) => Ok(self),
                            AppendError::Stopped(why) => Err(why),
                        };
                    }
                    head_dirty = true;
                    for (waiting, receipt) in batch.drain(..).zip(rendered.receipts.drain(..)) {
                        waiting.answer(Ok(receipt));
                    }
                }
            }
            self.or_stop(|writer| writer.desk.look(&writer.tip.receipt))?;
            if head_dirty && head_synced.elapsed() >= HEAD_SYNC_EVERY {
                self.or_stop(|writer| writer.head.sync())?;
                (head_dirty, head_synced) = (false, Instant::now());
            }
        }
    }

    /// Does what must not fail; when it does, nothing more is taken.
    fn or_stop(&mut self, what: impl FnOnce(&mut Self) -> Result<(), JournalError>) -> Result<(), Arc<JournalError>> {
        what(self).map_err(|why| {
            let why = Arc::new(why);
            self.queue.refuse(&AppendError::Stopped(Arc::clone(&why)));
            why
        })
    }

    /// Makes a batch durable. On an error nothing of it is acknowledged, and the writer must not go on.
    fn commit(&mut self, batch: &[Waiting], rendered: &mut Rendered) -> Result<(), AppendError> {
        self.render(batch, rendered).map_err(stopped)?;
        let length = rendered.bytes.len() as u64;
        let first = Beyond { seq: self.tip.receipt.seq + 1, at: batch[0].draft.at };
        if self.begins_segment(length) || self.desk.is_due_before(&self.tip.receipt, first.at) {
            // Whatever happens from here on, no more than the reach stands behind the last checkpoint.
            let sign = |writer: &mut Self| writer.desk.sign(&writer.tip.receipt).map_err(full_or_stopped);
            self.with_room(batch.len(), 0, sign)?;
        }
        self.with_room(batch.len(), length, |writer| writer.write(&rendered.bytes))?;
        // A failed sync is never tried again: the kernel has forgotten what it did not write.
        self.disk.sync(&self.active.file).map_err(JournalError::io("sync", &self.active.path)).map_err(stopped)?;
        self.tip = rendered.tip.take().expect("a batch has at least one entry");
        let head = Head { receipt: self.tip.receipt.clone(), closed: false };
        self.with_room(batch.len(), 0, |writer| writer.head.write(&head).map_err(full_or_stopped))?;
        let at = self.active.bytes;
        for (_, start, end) in &mut rendered.entries {
            (*start, *end) = (*start + at, *end + at);
        }
        self.active.bytes += length;
        self.index.extend(self.active.first, &rendered.entries, head.receipt);
        self.desk.passed(first);
        Ok(())
    }

    /// Whether a batch of this length goes into a new segment.
    fn begins_segment(&self, length: u64) -> bool {
        self.active.bytes > 0 && self.active.bytes.saturating_add(length) > self.settings.segment_bytes_max
    }

    /// Does it again and again while the disk is full; [`AppendError::Full`] only when the journal closes meanwhile.
    fn with_room(
        &mut self,
        in_hand: usize,
        bytes: u64,
        mut what: impl FnMut(&mut Self) -> Result<(), AppendError>,
    ) -> Result<(), AppendError> {
        let mut wait = Wait::new(&self.room, in_hand, bytes);
        loop {
            match what(self) {
                Err(AppendError::Full(why)) if wait.on(&why) => {}
                fate => {
                    wait.end(&fate);
                    return fate;
                }
            }
        }
    }

    /// Writes a batch behind what is durable, into a new segment when it is time for one.
    fn write(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        if self.begins_segment(bytes.len() as u64) {
            self.rotate()?;
        }
        let written = self.disk.write_at(&self.active.file, bytes, self.active.bytes);
        written.map_err(|error| self.after_failed_write(error))
    }

    /// Writes the lines of a batch into memory.
    fn render(&self, batch: &[Waiting], rendered: &mut Rendered) -> Result<(), JournalError> {
        rendered.bytes.clear();
        rendered.bytes.shrink_to(BUFFER_KEPT_BYTES);
        rendered.entries.clear();
        rendered.receipts.clear();
        let mut tip = Tip { batch: self.tip.batch + 1, ..self.tip.clone() };
        for (at, Waiting { draft, .. }) in batch.iter().enumerate() {
            if draft.data.len() > DATA_BYTES_MAX {
                return Err(JournalError::TooLong { bytes: draft.data.len() });
            }
            tip.left = u32::try_from(batch.len() - at - 1).expect("a batch is far smaller");
            let start = rendered.bytes.len() as u64;
            let seq = tip.receipt.seq + 1;
            let slot = Slot { seq, batch: tip.batch, left: tip.left, prev: &tip.receipt.hash };
            let hash = line::write(&mut rendered.bytes, &slot, draft);
            tip.receipt = Receipt { seq, hash };
            rendered.entries.push((seq, start, rendered.bytes.len() as u64));
            rendered.receipts.push(tip.receipt.clone());
        }
        rendered.tip = Some(tip);
        Ok(())
    }

    /// A full disk leaves part of a batch: it is cut off, so that the file ends with what was acknowledged.
    fn after_failed_write(&self, error: io::Error) -> AppendError {
        let Active { file, path, bytes, .. } = &self.active;
        if !is_full(&error) {
            return stopped(JournalError::io("write", path)(error));
        }
        let cut = self.disk.cut(file, *bytes).and_then(|()| self.disk.sync(file));
        match cut {
            Ok(()) => AppendError::Full(Arc::new(error)),
            Err(error) => stopped(JournalError::io("cut back", path)(error)),
        }
    }

    /// Goes on with a new segment; its name is durable before anything stands in it.
    fn rotate(&mut self) -> Result<(), AppendError> {
        let first = self.tip.receipt.seq + 1;
        let path = segment::path(&self.dir, first);
        let file = self.disk.make(&path).map_err(JournalError::io("make", &path)).map_err(full_or_stopped)?;
        self.disk.sync(&file).map_err(JournalError::io("sync", &path)).map_err(stopped)?;
        segment::sync_dir(&self.dir).map_err(stopped)?;
        self.active = Active { first, path, file, bytes: 0 };
        Ok(())
    }

    fn close(mut self) -> Result<(), JournalError> {
        self.desk.sign_or_wait(&self.tip.receipt)?;
        match self.head.write(&Head { receipt: self.tip.receipt.clone(), closed: true }).map_err(full_or_stopped) {
            Ok(()) => self.head.sync(),
            // What is acknowledged is durable; without HEAD's word the next start looks at all of the last segment.
            Err(AppendError::Full(_)) => Ok(()),
            Err(AppendError::Stopped(why)) => Err(JournalError::Stopped(why)),
        }
    }
}

/// A full disk can be waited for; everything else ends the journal.
fn full_or_stopped(why: JournalError) -> AppendError {
    match why {
        JournalError::Io { source, .. } if is_full(&source) => AppendError::Full(Arc::new(source)),
        why => stopped(why),
    }
}

fn stopped(why: JournalError) -> AppendError {
    AppendError::Stopped(Arc::new(why))
}

/// Refuses everything when the thread ends by a panic, so that nobody waits for a writer that is gone.
struct Mourner(Arc<Queue>);

impl Drop for Mourner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.refuse(&stopped(JournalError::Died));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tempfile::TempDir;

    use super::*;
    use crate::journal::disk::faults::{EDQUOT, EFBIG, EIO, ENOSPC, Faults};
    use crate::journal::evidence::Evidence;
    use crate::journal::verify::{Outcome, verify};
    use crate::journal::{Recovery, Verdict, start};

    type Answers = Receiver<Result<Receipt, AppendError>>;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn open_on(disk: Disk, dir: &TempDir) -> Result<(Journal, Recovery), JournalError> {
        start::open(disk, dir.path(), Settings::default(), None, &Evidence::default(), &mut |_| Ok(()))
    }

    fn open(dir: &TempDir, faults: Faults) -> Result<Journal, JournalError> {
        open_on(Disk { faults: Some(Arc::new(faults)) }, dir).map(|(journal, _)| journal)
    }

    fn append(journal: &Journal) -> Result<Receipt, AppendError> {
        let (sender, answer) = channel();
        let draft = Draft { at: jiff::Timestamp::UNIX_EPOCH, kind: "log", data: r#"{"a":"bc"}"#.into() };
        journal.append(draft, Box::new(move |fate| sender.send(fate).unwrap()));
        answer.recv_timeout(PATIENCE).expect("each entry is answered")
    }

    /// Appends until the journal refuses, and goes on for a while: nothing may be acknowledged after a refusal.
    fn acknowledged(journal: &Journal) -> (Vec<Receipt>, Option<AppendError>) {
        let (mut receipts, mut refusal) = (Vec::new(), None);
        for _ in 0..6 {
            match (append(journal), &refusal) {
                (Ok(receipt), None) => receipts.push(receipt),
                (Ok(receipt), Some(_)) => panic!("{receipt:?} was acknowledged after a refusal"),
                (Err(why), _) => refusal = Some(why),
            }
        }
        (receipts, refusal)
    }

    /// Opens the journal on a healthy disk: every receipt is still good.
    fn recovered(dir: &TempDir, receipts: &[Receipt]) -> Recovery {
        let (journal, recovery) = open_on(Disk::default(), dir).unwrap();
        for receipt in receipts {
            let line = journal.reader().line(receipt.seq).unwrap().expect("an acknowledged entry is there");
            assert_eq!(line.hash, receipt.hash);
        }
        assert_eq!(append(&journal).unwrap().seq, recovery.head.seq + 1, "numbers go on without a gap");
        journal.close().unwrap();
        assert!(matches!(verify(dir.path()).outcome, Outcome::Good));
        recovery
    }

    #[test]
    fn a_failed_sync_is_never_acknowledged_and_stops_the_journal() {
        for at in 0..6 {
            let dir = TempDir::new().unwrap();
            let Ok(journal) = open(&dir, Faults { sync: Some((at, EIO)), ..Faults::default() }) else {
                assert_eq!(at, 0, "only the first sync belongs to opening");
                continue;
            };
            let (receipts, refusal) = acknowledged(&journal);
            assert_eq!(receipts.len() as u64, at - 1, "each batch has one sync");
            assert!(matches!(refusal, Some(AppendError::Stopped(_))), "{refusal:?}");
            assert!(matches!(journal.close(), Err(JournalError::Stopped(_))));
            recovered(&dir, &receipts);
        }
    }

    #[test]
    fn a_failed_write_is_never_acknowledged() {
        for (at, arrive) in (1..6).flat_map(|at| [0, 1, 150, 100_000].map(|arrive| (at, arrive))) {
            let dir = TempDir::new().unwrap();
            let faults = Faults { write: Some((at, arrive, EIO)), ..Faults::default() };
            let journal = open(&dir, faults).unwrap();
            let (receipts, refusal) = acknowledged(&journal);
            assert_eq!(receipts.len() as u64, (at - 1) / 2, "each batch is written and then named in HEAD");
            assert!(matches!(refusal, Some(AppendError::Stopped(_))), "{refusal:?}");
            assert!(journal.close().is_err());
            recovered(&dir, &receipts);
        }
    }

    /// Appends without waiting: the answers come in the order of the entries.
    fn append_later(journal: &Journal, answers: &Sender<Result<Receipt, AppendError>>) {
        let (answers, at) = (answers.clone(), jiff::Timestamp::UNIX_EPOCH);
        let draft = Draft { at, kind: "log", data: r#"{"a":"bc"}"#.into() };
        journal.append(draft, Box::new(move |fate| drop(answers.send(fate))));
    }

    fn wait_for(what: &str, mut come: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !come() {
            assert!(Instant::now() < deadline, "gave up waiting for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A disk that is full from the third batch on, until `again` is 0; two entries are acknowledged, three wait.
    fn filled(arrive: usize, error: i32) -> (TempDir, Arc<Faults>, Journal, Answers, Vec<Receipt>) {
        let dir = TempDir::new().unwrap();
        let faults = Faults { write: Some((5, arrive, error)), again: u64::MAX.into(), ..Faults::default() };
        let faults = Arc::new(faults);
        let (journal, _) = open_on(Disk { faults: Some(Arc::clone(&faults)) }, &dir).unwrap();
        let receipts = vec![append(&journal).unwrap(), append(&journal).unwrap()];
        assert!(journal.room().is_there());
        let (sender, answers) = channel();
        (0..3).for_each(|_| append_later(&journal, &sender));
        wait_for("entries that wait", || journal.room().waiting() == 3);
        (dir, faults, journal, answers, receipts)
    }

    #[test]
    fn a_full_disk_is_waited_for_and_what_waited_is_written_in_order_once() {
        for (error, arrive) in [(ENOSPC, 0), (EDQUOT, 40), (EFBIG, 200), (ENOSPC, 100_000)] {
            let (dir, faults, journal, answers, mut receipts) = filled(arrive, error);
            assert!(!journal.room().is_there(), "nothing new is to be taken");
            let tries = faults.counts.lock().unwrap()[0];
            wait_for("further tries", || faults.counts.lock().unwrap()[0] > tries + 1);
            assert!(answers.try_recv().is_err(), "nothing is acknowledged while the disk is full");
            assert_eq!(journal.reader().head(), receipts[1], "nothing of it can be read");
            faults.again.store(0, Ordering::SeqCst);
            receipts.extend((0..3).map(|_| answers.recv_timeout(PATIENCE).unwrap().unwrap()));
            receipts.push(append(&journal).unwrap());
            assert_eq!(receipts.iter().map(|receipt| receipt.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
            assert_eq!((journal.room().waiting(), journal.room().is_there()), (0, true));
            journal.close().unwrap();
            let recovery = recovered(&dir, &receipts);
            assert_eq!((recovery.verdict, recovery.entries), (Verdict::Clean, 6));
        }
    }

    #[test]
    fn what_waits_for_a_full_disk_is_refused_when_the_journal_closes() {
        for by_the_daemon in [true, false] {
            let (dir, _, journal, answers, receipts) = filled(40, ENOSPC);
            if by_the_daemon {
                journal.room().give_up();
                wait_for("the writer to give up", || journal.room().waiting() == 0);
                assert!(matches!(append(&journal), Err(AppendError::Full(_))), "nothing is acknowledged after that");
            }
            journal.close().unwrap();
            for _ in 0..3 {
                assert!(matches!(answers.recv_timeout(PATIENCE).unwrap(), Err(AppendError::Full(_))));
            }
            let recovery = recovered(&dir, &receipts);
            assert_eq!((recovery.verdict, recovery.head), (Verdict::Clean, receipts[1].clone()));
        }
    }

    /// Batches and HEAD in turn.
    #[test]
    fn whichever_write_finds_the_disk_full_everything_is_acknowledged_in_the_end() {
        for at in 1..9 {
            let dir = TempDir::new().unwrap();
            let journal =
                open(&dir, Faults { write: Some((at, 20, ENOSPC)), again: 1.into(), ..Faults::default() }).unwrap();
            let (receipts, refusal) = acknowledged(&journal);
            assert_eq!((receipts.len(), refusal.is_none()), (6, true), "write {at}");
            journal.close().unwrap();
            assert_eq!(recovered(&dir, &receipts).entries, 6, "write {at}");
        }
    }

    #[test]
    fn a_new_segment_waits_for_room_too() {
        let dir = TempDir::new().unwrap();
        let faults = Arc::new(Faults { make: Some((1, ENOSPC)), again: 2.into(), ..Faults::default() });
        let disk = Disk { faults: Some(Arc::clone(&faults)) };
        let settings = Settings { segment_bytes_max: 500, ..Settings::default() };
        let (journal, _) =
            start::open(disk, dir.path(), settings, None, &Evidence::default(), &mut |_| Ok(())).unwrap();
        let (receipts, refusal) = acknowledged(&journal);
        assert_eq!((receipts.len(), refusal.is_none()), (6, true));
        journal.close().unwrap();
        let segments = segment::list(dir.path()).unwrap().len() as u64;
        assert!(segments > 2, "{segments}");
        assert_eq!(faults.counts.lock().unwrap()[3], segments - 1 + 3, "one could be made only at the fourth try");
        recovered(&dir, &receipts);
    }

    #[test]
    fn a_full_disk_that_cannot_be_cut_back_leaves_a_torn_tail() {
        let dir = TempDir::new().unwrap();
        let faults = Faults { write: Some((3, 30, ENOSPC)), cut: Some((0, EIO)), ..Faults::default() };
        let journal = open(&dir, faults).unwrap();
        let (receipts, refusal) = acknowledged(&journal);
        assert!(matches!(refusal, Some(AppendError::Stopped(_))), "{refusal:?}");
        drop(journal);
        let recovery = recovered(&dir, &receipts);
        assert_eq!((recovery.verdict, recovery.torn[0].bytes), (Verdict::Torn, 30));
    }

    /// After a power cut HEAD must not be older than a second, also when nothing follows.
    #[test]
    fn head_is_synced_while_the_journal_rests() {
        let dir = TempDir::new().unwrap();
        let faults = Arc::new(Faults::default());
        let (journal, _) = open_on(Disk { faults: Some(Arc::clone(&faults)) }, &dir).unwrap();
        append(&journal).unwrap();
        let syncs = || faults.counts.lock().unwrap()[1];
        // Opening synced HEAD once, and the batch was synced once.
        let deadline = Instant::now() + PATIENCE;
        while syncs() < 3 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(syncs(), 3);
        journal.close().unwrap();
        assert_eq!(syncs(), 4, "closing syncs HEAD");
    }

    #[test]
    fn an_entry_that_is_too_long_is_refused_not_written() {
        let dir = TempDir::new().unwrap();
        let (journal, _) = open_on(Disk::default(), &dir).unwrap();
        let data = format!("\"{}\"", "x".repeat(DATA_BYTES_MAX - 2));
        for (data, fits) in [(data.clone(), true), (data + " ", false)] {
            let (sender, answer) = channel();
            let draft = Draft { at: jiff::Timestamp::MAX, kind: "log", data };
            journal.append(draft, Box::new(move |fate| sender.send(fate).unwrap()));
            let fate = answer.recv_timeout(PATIENCE).unwrap();
            assert_eq!(fate.is_ok(), fits, "{fate:?}");
        }
        assert!(journal.close().is_err());
        assert_eq!(recovered(&dir, &[]).entries, 1);
    }

    #[test]
    fn a_writer_that_dies_leaves_nobody_waiting() {
        let dir = TempDir::new().unwrap();
        let (journal, _) = open_on(Disk::default(), &dir).unwrap();
        let draft = Draft { at: jiff::Timestamp::UNIX_EPOCH, kind: "log", data: "1".into() };
        journal.append(draft, Box::new(|_| panic!("as a test")));
        assert!(matches!(append(&journal), Err(AppendError::Stopped(_))));
        assert!(matches!(journal.close(), Err(JournalError::Died)));
    }
}
