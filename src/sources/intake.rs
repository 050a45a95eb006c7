//! The way from the sources into the daemon: bounded in records and in bytes, so that a burst costs waiting or a
//! refusal, never memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::domain::record::Record;

/// Records in one request at most; the queue always has place for as many.
pub const BATCH_RECORDS_MAX: usize = 10_000;

/// Bytes that the queue has place for at least: one largest request with its overhead.
const QUEUE_BYTES_MIN: usize = 16 * 1024 * 1024;

/// What a record of a request costs beside its bytes.
const OFFER_BYTES: usize = 256;

/// Bytes of sources that wait for room, all together. They have a lane of their own: a file with a day's backlog
/// keeps its lane full, and senders of requests are not refused for it, nor kept waiting long behind it.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// What a record costs in that lane beside its bytes; so at most 4096 records are in it.
const WAITING_OFFER_BYTES: usize = 2048;

/// How much may wait between requests and the daemon; sources that can wait have a lane of 8 MiB beside.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records; at least [`BATCH_RECORDS_MAX`].
    pub records: usize,
    /// Bytes; at least 16 MiB.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 16_384, bytes: 64 * 1024 * 1024 }
    }
}

/// Where records go. The daemon holds the other end and takes one offer after the other; records of one source
/// arrive in its order.
#[derive(Debug, Clone)]
pub struct Intake {
    offers: mpsc::Sender<Offer>,
    /// Room for requests, in bytes.
    room: Arc<Semaphore>,
    /// Room for sources that wait, in bytes.
    waiting: Arc<Semaphore>,
}

/// One record for the daemon.
///
/// An offer without `answer` cannot be refused: its source goes on reading, so the daemon keeps the offer until it
/// can be made durable. An offer with `answer` may be answered [`Answer::Full`] or [`Answer::Busy`]; its sender then tries again.
/// Room in the queue comes back when the offer is dropped.
#[derive(Debug)]
pub struct Offer {
    /// The record.
    pub record: Record,
    /// Where to say what became of it; nothing is said before the entry is durable.
    pub answer: Option<oneshot::Sender<Answer>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Offer {
    /// An offer that takes no room in the queue, for the daemon's own use.
    pub fn new(record: Record, answer: Option<oneshot::Sender<Answer>>) -> Self {
        Self { record, answer, _room: None }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It stands in the journal with its alerts.
    Accepted {
        /// Its entry.
        seq: u64,
        /// The entry's hash, in hex.
        hash: String,
        /// Ordinal of the record.
        record_no: u64,
        /// Ids of its alerts.
        alerts: Vec<String>,
        /// It was delivered before.
        redelivery: bool,
    },
    /// It stands in the journal, set aside.
    Quarantined {
        /// Its entry.
        seq: u64,
        /// The entry's hash, in hex.
        hash: String,
        /// Ordinal of the record.
        record_no: u64,
        /// Why.
        cause: String,
    },
    /// Its format recognised it as no alert; nothing was written.
    Ignored {
        /// Why.
        why: String,
    },
    /// The disk is nearly full; nothing was written.
    Full,
    /// Too many runs are open; nothing was written.
    Busy,
    /// The daemon is going down; nothing was written.
    Stopped,
}

/// The daemon took its end away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon takes no more records")]
pub struct Closed;

/// Why nothing of a batch was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue has no room for all of it now.
    #[error("the intake queue is full")]
    Busy,
    /// The daemon took its end away.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl Intake {
    /// The sources' end, to be cloned, and the daemon's.
    pub fn new(limits: Limits) -> (Self, mpsc::Receiver<Offer>) {
        let records = limits.records.max(BATCH_RECORDS_MAX) + WAITING_BYTES / WAITING_OFFER_BYTES;
        let (offers, taken) = mpsc::channel(records);
        let room = Arc::new(Semaphore::new(limits.bytes.clamp(QUEUE_BYTES_MIN, Semaphore::MAX_PERMITS)));
        (Self { offers, room, waiting: Arc::new(Semaphore::new(WAITING_BYTES)) }, taken)
    }

    /// Queues a record that cannot be refused; waits for room.
    ///
    /// # Errors
    /// [`Closed`] when the daemon takes no more.
    pub async fn send(&self, record: Record) -> Result<(), Closed> {
        self.queue(record, None).await
    }

    /// Queues a record, waiting for room, and waits for what becomes of it.
    ///
    /// # Errors
    /// [`Closed`] when the daemon takes no more or went down before it answered.
    pub async fn ask(&self, record: Record) -> Result<Answer, Closed> {
        let (answer, answered) = oneshot::channel();
        self.queue(record, Some(answer)).await?;
        answered.await.map_err(|_| Closed)
    }

    async fn queue(&self, record: Record, answer: Option<oneshot::Sender<Answer>>) -> Result<(), Closed> {
        let charge = charge((record.bytes.len() + WAITING_OFFER_BYTES).min(WAITING_BYTES));
        let room = self.waiting.clone().acquire_many_owned(charge).await.map_err(|_| Closed)?;
        let offer = Offer { record, answer, _room: Some(room) };
        self.offers.send(offer).await.map_err(|_| Closed)
    }

    /// Queues all records of a batch or none, without waiting; the answers come in the order of the records.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when there is no room for all of them.
    pub fn try_send_all(&self, records: Vec<Record>) -> Result<Vec<oneshot::Receiver<Answer>>, Refusal> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let places = self.offers.try_reserve_many(records.len()).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(()) => Refusal::Busy,
            mpsc::error::TrySendError::Closed(()) => Refusal::Closed(Closed),
        })?;
        let bytes: usize = records.iter().map(|record| record.bytes.len() + OFFER_BYTES).sum();
        let mut room = self.room.clone().try_acquire_many_owned(charge(bytes)).map_err(|_| Refusal::Busy)?;
        let mut answers = Vec::with_capacity(records.len());
        for (place, record) in places.zip(records) {
            let (answer, answered) = oneshot::channel();
            let part = room.split(record.bytes.len() + OFFER_BYTES);
            place.send(Offer { record, answer: Some(answer), _room: part });
            answers.push(answered);
        }
        Ok(answers)
    }
}

fn charge(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What one source did since the start, for `soard status` and metrics. What the daemon decides (quarantine,
/// duplicates) is counted there.
#[derive(Debug, Default, Serialize)]
pub struct Counters {
    /// Records handed over.
    pub records: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Records beyond 1 MiB, handed over cut, to be quarantined.
    pub oversized: AtomicU64,
    /// Last lines without a line end, handed over when their file ended.
    pub half_lines: AtomicU64,
    /// Rotations, truncations and replacements of a followed file.
    pub generations: AtomicU64,
    /// Times that a followed file's continuation was not found after a restart: lines may be lost.
    pub gaps: AtomicU64,
    /// Files of a folder that were read to their end.
    pub files: AtomicU64,
    /// Files of a folder that were refused: too large, or too many records.
    pub files_refused: AtomicU64,
    /// Failed attempts to open, read or move a file.
    pub io_errors: AtomicU64,
    /// Requests, refused ones included.
    pub requests: AtomicU64,
    /// Requests without a valid token (401).
    pub refused_unauthorised: AtomicU64,
    /// Requests that could not be understood (400, 405, 415).
    pub refused_unparsable: AtomicU64,
    /// Requests beyond a size limit (413).
    pub refused_too_large: AtomicU64,
    /// Requests whose body came too slowly (408).
    pub refused_slow: AtomicU64,
    /// Requests for which there was no room (429).
    pub refused_busy: AtomicU64,
    /// Requests that the daemon could not make durable (503).
    pub refused_unavailable: AtomicU64,
}

impl Counters {
    /// Records, files and requests that were turned away or handed over cut, for whatever reason.
    pub fn refused(&self) -> u64 {
        let all = [
            &self.oversized,
            &self.files_refused,
            &self.refused_unauthorised,
            &self.refused_unparsable,
            &self.refused_too_large,
            &self.refused_slow,
            &self.refused_busy,
            &self.refused_unavailable,
        ];
        all.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// Counts a record that was handed over.
    pub(super) fn record(&self, bytes: usize) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Position;

    fn record(bytes: usize) -> Record {
        Record { source: "s".into(), bytes: vec![b'x'; bytes], position: Position::Stdin { line: 1 } }
    }

    #[tokio::test]
    async fn a_batch_is_queued_whole_or_not_at_all() {
        let (intake, mut taken) = Intake::new(Limits { records: 0, bytes: 0 });
        let places = BATCH_RECORDS_MAX + WAITING_BYTES / WAITING_OFFER_BYTES;
        assert_eq!(intake.try_send_all(vec![record(1); places - 1]).unwrap().len(), places - 1);
        assert_eq!(intake.try_send_all(vec![record(1); 2]).unwrap_err(), Refusal::Busy);
        assert_eq!(taken.len(), places - 1, "nothing of the refused batch was queued");
        assert_eq!(intake.try_send_all(vec![record(1); 1]).unwrap().len(), 1);
        taken.recv().await.unwrap();
        assert_eq!(intake.try_send_all(vec![record(1); 1]).unwrap().len(), 1, "room comes back");
    }

    #[tokio::test]
    async fn bytes_bound_the_queue_before_records_do_and_come_back() {
        let (intake, mut taken) = Intake::new(Limits { records: 0, bytes: 0 });
        let large = vec![record(1024 * 1024); 8];
        intake.try_send_all(large.clone()).unwrap();
        assert_eq!(intake.try_send_all(large.clone()).unwrap_err(), Refusal::Busy);
        drop(taken.recv().await.unwrap());
        intake.try_send_all(large).unwrap();
        drop(taken);
        assert_eq!(intake.send(record(1)).await, Err(Closed));
        assert_eq!(intake.try_send_all(vec![record(1)]).unwrap_err(), Refusal::Closed(Closed));
    }

    #[tokio::test]
    async fn a_source_that_waits_takes_no_room_from_requests() {
        let (intake, mut taken) = Intake::new(Limits { records: 0, bytes: 0 });
        let backlog = tokio::spawn({
            let intake = intake.clone();
            async move { while intake.send(record(1_000)).await.is_ok() {} }
        });
        let is_full = async {
            while intake.waiting.available_permits() > 1_000 + WAITING_OFFER_BYTES {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), is_full).await.unwrap();
        let waiting = taken.len();
        assert!((2_000..=4_096).contains(&waiting), "{waiting}");
        assert_eq!(intake.try_send_all(vec![record(1); BATCH_RECORDS_MAX]).unwrap().len(), BATCH_RECORDS_MAX);
        let asking = tokio::spawn({
            let intake = intake.clone();
            async move { intake.ask(record(9 * 1024 * 1024)).await }
        });
        let answering = async {
            loop {
                let offer = taken.recv().await.unwrap();
                if offer.record.bytes.len() > 1_000 {
                    return offer.answer.unwrap().send(Answer::Full).unwrap();
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), answering).await.unwrap();
        assert_eq!(asking.await.unwrap(), Ok(Answer::Full), "what is larger than the lane passes alone");
        drop(taken);
        backlog.await.unwrap();
    }
}
