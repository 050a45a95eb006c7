//! The queue between the daemon and the writer thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::journal::{AppendError, Done, Draft, JournalError, Receipt, Settings};

/// Most entries that wait.
const ENTRIES_MAX: usize = 65_536;

/// Most bytes of content that wait, unless a single entry is larger.
const BYTES_MAX: usize = 64 << 20;

/// An entry that waits. Whatever becomes of it, it is answered.
pub(super) struct Waiting {
    pub draft: Draft,
    done: Option<Done>,
}

impl Waiting {
    pub fn new(draft: Draft, done: Done) -> Self {
        Self { draft, done: Some(done) }
    }

    pub fn answer(mut self, fate: Result<Receipt, AppendError>) {
        let done = self.done.take().expect("only this and drop take it, and both end its life");
        done(fate);
    }
}

impl Drop for Waiting {
    /// The writer died with it in hand.
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(AppendError::Stopped(Arc::new(JournalError::Died))));
        }
    }
}

/// Entries in the order of their arrival.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    drained: Condvar,
    hurried: Condvar,
    /// The writer waits for room on a full disk.
    stuck: AtomicBool,
}

struct Inner {
    entries: VecDeque<Waiting>,
    bytes: usize,
    state: State,
    /// The writer is to look up once, though nothing may wait.
    woken: bool,
    /// Entries that the writer holds while it waits for room.
    in_hand: usize,
    /// The writer is not to wait for room.
    in_haste: bool,
}

impl Inner {
    fn is_full_for(&self, bytes: usize) -> bool {
        let fits = self.entries.len() < ENTRIES_MAX && self.bytes + bytes <= BYTES_MAX;
        matches!(self.state, State::Open) && !self.entries.is_empty() && !fits
    }

    fn is_patient(&self) -> bool {
        matches!(self.state, State::Open) && !self.in_haste
    }
}

enum State {
    Open,
    Closing,
    Refusing(AppendError),
}

/// What there is to do for the writer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A batch was taken.
    Batch,
    /// Nothing came in time.
    Idle,
    /// The queue is empty and nothing more will come.
    Closed,
}

impl Queue {
    pub fn new() -> Self {
        let inner =
            Inner { entries: VecDeque::new(), bytes: 0, state: State::Open, woken: false, in_hand: 0, in_haste: false };
        Self {
            inner: Mutex::new(inner),
            filled: Condvar::new(),
            drained: Condvar::new(),
            hurried: Condvar::new(),
            stuck: AtomicBool::new(false),
        }
    }

    /// Adds entries in their order; waits while the queue is full. After [`Queue::refuse`] they are refused at once.
    pub fn push(&self, all: impl IntoIterator<Item = Waiting>) {
        let mut all = all.into_iter();
        let mut inner = self.lock();
        let refused = loop {
            let Some(waiting) = all.next() else { break None };
            let length = waiting.draft.data.len();
            while inner.is_full_for(length) {
                // Who drains it may not know yet that it is filled.
                self.filled.notify_one();
                inner = self.drained.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            if let State::Refusing(why) = &inner.state {
                break Some((why.clone(), waiting));
            }
            inner.bytes += length;
            inner.entries.push_back(waiting);
        };
        drop(inner);
        self.filled.notify_one();
        if let Some((why, first)) = refused {
            std::iter::once(first).chain(all).for_each(|waiting| waiting.answer(Err(why.clone())));
        }
    }

    /// Takes what waits, up to one batch; waits for it, for at most `patience` if there is one.
    pub fn take(&self, batch: &mut Vec<Waiting>, limits: &Settings, patience: Option<Duration>) -> Work {
        let mut inner = self.lock();
        while inner.entries.is_empty() {
            if !matches!(inner.state, State::Open) {
                return Work::Closed;
            }
            if std::mem::take(&mut inner.woken) {
                return Work::Idle;
            }
            let timed_out;
            (inner, timed_out) = match patience {
                Some(patience) => {
                    let (inner, wait) =
                        self.filled.wait_timeout(inner, patience).unwrap_or_else(PoisonError::into_inner);
                    (inner, wait.timed_out())
                }
                None => (self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner), false),
            };
            if timed_out && inner.entries.is_empty() {
                return Work::Idle;
            }
        }
        let mut bytes = 0;
        while let Some(next) = inner.entries.front() {
            let length = next.draft.data.len();
            let full = batch.len() >= limits.batch_entries_max || bytes + length > limits.batch_bytes_max;
            if full && !batch.is_empty() {
                break;
            }
            bytes += length;
            batch.extend(inner.entries.pop_front());
        }
        inner.bytes -= bytes;
        drop(inner);
        self.drained.notify_all();
        Work::Batch
    }

    /// Lets [`Queue::take`] return once, though nothing waits.
    pub fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_one();
    }

    /// The writer waits for room with so many entries in hand; with none it goes on.
    pub fn stick(&self, in_hand: usize) {
        self.lock().in_hand = in_hand;
        self.stuck.store(in_hand > 0, Ordering::Release);
    }

    /// How many entries wait for room, those in the writer's hand with them; 0 unless it waits.
    pub fn stuck(&self) -> usize {
        if !self.stuck.load(Ordering::Acquire) {
            return 0;
        }
        let inner = self.lock();
        if inner.in_hand > 0 { inner.in_hand + inner.entries.len() } else { 0 }
    }

    /// Holds the writer for this long; `false`, at once: it is to wait for room no longer.
    pub fn pause(&self, pause: Duration) -> bool {
        let waited = self.hurried.wait_timeout_while(self.lock(), pause, |inner| inner.is_patient());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_patient()
    }

    /// From now on the writer does not wait for room.
    pub fn hurry(&self) {
        self.lock().in_haste = true;
        self.hurried.notify_all();
    }

    /// No more entries will come: the writer finishes what waits.
    pub fn close(&self) {
        let mut inner = self.lock();
        if matches!(inner.state, State::Open) {
            inner.state = State::Closing;
        }
        drop(inner);
        self.filled.notify_all();
        self.hurried.notify_all();
    }

    /// Refuses what waits and all that comes; the first reason stays.
    pub fn refuse(&self, why: &AppendError) {
        let mut inner = self.lock();
        if !matches!(inner.state, State::Refusing(_)) {
            inner.state = State::Refusing(why.clone());
        }
        let waiting = std::mem::take(&mut inner.entries);
        inner.bytes = 0;
        drop(inner);
        self.drained.notify_all();
        for waiting in waiting {
            waiting.answer(Err(why.clone()));
        }
    }

    /// Refuses a batch that was taken, and then like [`Queue::refuse`].
    pub fn refuse_batch(&self, why: &AppendError, batch: &mut Vec<Waiting>) {
        for waiting in batch.drain(..) {
            waiting.answer(Err(why.clone()));
        }
        self.refuse(why);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize) -> Waiting {
        let draft = Draft { at: jiff::Timestamp::UNIX_EPOCH, kind: "log", data: "x".repeat(bytes) };
        Waiting::new(draft, Box::new(|_| ()))
    }

    fn sizes(queue: &Queue, limits: &Settings) -> Vec<usize> {
        let mut batch = Vec::new();
        queue.take(&mut batch, limits, None);
        batch.iter().map(|waiting| waiting.draft.data.len()).collect()
    }

    #[test]
    fn a_batch_keeps_its_limits_but_takes_at_least_one() {
        let queue = Queue::new();
        for bytes in [1, 1, 1, 60, 41, 200, 5] {
            queue.push([waiting(bytes)]);
        }
        let limits = Settings { batch_entries_max: 2, batch_bytes_max: 100, ..Settings::default() };
        for expected in [vec![1, 1], vec![1, 60], vec![41], vec![200], vec![5]] {
            assert_eq!(sizes(&queue, &limits), expected);
        }
        assert_eq!(queue.take(&mut Vec::new(), &limits, Some(Duration::ZERO)), Work::Idle);
        queue.close();
        assert_eq!(queue.take(&mut Vec::new(), &limits, None), Work::Closed);
    }

    #[test]
    fn a_full_queue_holds_its_callers_back_until_it_drains() {
        let queue = Arc::new(Queue::new());
        queue.push([waiting(BYTES_MAX)]);
        let (sender, pushed) = std::sync::mpsc::channel();
        let pusher = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                queue.push([1, 2, 3].map(waiting));
                sender.send(()).unwrap();
            }
        });
        assert!(pushed.recv_timeout(Duration::from_millis(50)).is_err(), "the queue is full");
        assert_eq!(sizes(&queue, &Settings::default()), [BYTES_MAX]);
        pusher.join().unwrap();
        assert_eq!(sizes(&queue, &Settings::default()), [1, 2, 3]);
    }

    #[test]
    fn a_queue_that_fills_up_within_a_handful_goes_on_in_its_order_and_a_refusal_ends_it() {
        let (queue, (sender, answers)) = (Arc::new(Queue::new()), std::sync::mpsc::channel());
        let numbered = move |n: usize| {
            let (sender, draft) = (sender.clone(), waiting(BYTES_MAX / 2).draft.clone());
            Waiting::new(draft, Box::new(move |fate| sender.send((n, fate.is_ok())).unwrap()))
        };
        let pusher = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.push((0..5).map(numbered))
        });
        let limits = Settings { batch_entries_max: 1, ..Settings::default() };
        for n in 0..2 {
            let mut batch = Vec::new();
            assert_eq!(queue.take(&mut batch, &limits, None), Work::Batch);
            batch.drain(..).for_each(|waiting| waiting.answer(Ok(Receipt { seq: n, hash: String::new() })));
        }
        queue.refuse(&AppendError::Stopped(Arc::new(JournalError::Died)));
        pusher.join().unwrap();
        // Those that still wait are refused by whoever refuses, the others by whoever hands them over.
        let mut told: Vec<_> = answers.iter().collect();
        told.sort_unstable();
        assert_eq!(told, [(0, true), (1, true), (2, false), (3, false), (4, false)]);
    }
}
