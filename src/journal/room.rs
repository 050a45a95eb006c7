//! Room on the disk: whether there is any, and how the writer waits for it.
//!
//! A full disk is the one fault that the journal outlives: what met it is still in hand, the file is cut back to what was
//! acknowledged, and writing the same bytes later is as good as writing them now.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::journal::AppendError;
use crate::journal::queue::Queue;

/// How long an answer about free space stays good.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long the writer waits before it tries again, at first; each further wait is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest such wait. Quotas and limits on file size cannot be seen in the free space: only trying tells.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How often the writer looks meanwhile whether space was freed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Free space, beside what is to be written, that is worth another try: a file system needs some for itself.
const MARGIN_BYTES: u64 = 64 << 10;

/// How often the log says again that the disk is full.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What is known of the room for the journal. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<Inner>);

struct Inner {
    dir: Arc<Path>,
    reserve_bytes: u64,
    queue: Arc<Queue>,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Room {
    pub(super) fn new(dir: Arc<Path>, reserve_bytes: u64, queue: Arc<Queue>) -> Self {
        Self(Arc::new(Inner { dir, reserve_bytes, queue, last: Mutex::default() }))
    }

    /// Whether new records may be taken: nothing waits for a full disk, and free space is above the reserve, which
    /// results, timers and operators may still use. Asks the system at most once a second; when the system does not
    /// answer, writing will tell.
    pub fn is_there(&self) -> bool {
        self.waiting() == 0 && self.is_above_reserve()
    }

    fn is_above_reserve(&self) -> bool {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((when, is_above)) if when.elapsed() < CHECK_EVERY => is_above,
            _ => {
                let is_above = self.free().is_none_or(|free| free >= self.0.reserve_bytes);
                *last = Some((Instant::now(), is_above));
                is_above
            }
        }
    }

    /// How many entries wait for a full disk. They are written, in their order, once there is room.
    pub fn waiting(&self) -> u64 {
        self.0.queue.stuck() as u64
    }

    /// The daemon stops: from now on what meets a full disk is refused, and so is what waits for it.
    pub fn give_up(&self) {
        self.0.queue.hurry();
    }

    /// Free bytes on the disk, if the system tells.
    fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&*self.0.dir).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// The writer's wait for room, from the first failed try to the one that goes well.
pub(super) struct Wait {
    room: Room,
    /// Entries that wait in the writer's hand.
    in_hand: usize,
    /// How much is to be written.
    bytes: u64,
    pause: Duration,
    /// When it began, and when the log was last told.
    since: Option<(Instant, Instant)>,
}

impl Wait {
    pub fn new(room: &Room, in_hand: usize, bytes: u64) -> Self {
        Self { room: room.clone(), in_hand, bytes, pause: PAUSE_MIN, since: None }
    }

    /// Waits until another try makes sense; `false`: the journal closes, and there shall be none.
    pub fn on(&mut self, why: &io::Error) -> bool {
        self.room.0.queue.stick(self.in_hand);
        self.say(why);
        let queue = &self.room.0.queue;
        let needed = self.bytes.saturating_add(MARGIN_BYTES);
        let lacks = || self.room.free().is_some_and(|free| free < needed);
        let (lacked, until) = (lacks(), Instant::now() + self.pause);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !queue.pause(left.min(LOOK_EVERY)) {
                return false;
            }
            if left.is_zero() || (lacked && !lacks()) {
                break;
            }
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }

    fn say(&mut self, why: &io::Error) {
        let now = Instant::now();
        let since = *self.since.get_or_insert((now, now));
        if since.1 == now || now.duration_since(since.1) >= SAY_EVERY {
            self.since = Some((since.0, now));
            let (entries, waited) = (self.room.waiting(), since.0.elapsed());
            tracing::error!(entries, ?waited, %why, "the disk is full: entries wait until there is room");
        }
    }

    /// What was waited for has come, or is given up.
    pub fn end(self, fate: &Result<(), AppendError>) {
        let entries = self.room.waiting();
        match (fate, self.since) {
            (Ok(()), Some((since, _))) => {
                let waited = since.elapsed();
                tracing::info!(entries, ?waited, "there is room on the disk again: what waited is written");
            }
            (Err(AppendError::Full(_)), _) => {
                tracing::error!(entries, "the disk is full: what waited is not on record, nor was it acknowledged");
            }
            _ => {}
        }
        self.room.0.queue.stick(0);
    }
}
