//! When checkpoints are made, and with which keys.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::journal::checkpoint::{Checkpoint, CheckpointFile};
use crate::journal::disk::Disk;
use crate::journal::note::Signer;
use crate::journal::queue::Queue;
use crate::journal::reach::{Beyond, REACH};
use crate::journal::{JournalError, Receipt};

/// The longest that an entry waits for a checkpoint over it.
const EVERY: Duration = Duration::from_secs(60);

/// A checkpoint is made after this many entries without one.
const ENTRIES: u64 = 1000;

/// The shortest time between two checkpoints that the count asks for.
const PAUSE: Duration = Duration::from_secs(1);

/// Gives the writer its keys. Cheap to clone.
#[derive(Clone)]
pub struct Notary {
    keys: Arc<Mutex<Keys>>,
    queue: Arc<Queue>,
}

/// Called once a checkpoint covers what was durable when it was asked for.
pub type Signed = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Keys {
    origin: String,
    signers: Vec<Signer>,
    /// Checkpoints are to be made at once, for these.
    asked: Vec<Signed>,
}

impl Notary {
    /// From now on the first key signs. The others sign the next checkpoint with it: so an old key vouches for the
    /// entry that names its successor.
    pub fn sign_with(&self, origin: String, signers: Vec<Signer>, done: Signed) {
        let mut keys = self.lock();
        (keys.origin, keys.signers) = (origin, signers);
        drop(keys);
        self.vouch(done);
    }

    /// From now on this key signs, and those in charge until now sign the next checkpoint with it. To be called when the
    /// entry that names it is durable, before the writer does anything else: by what [`crate::journal::Done`] does.
    pub fn succeed(&self, origin: String, signer: Signer) {
        let mut keys = self.lock();
        keys.origin = origin;
        keys.signers.insert(0, signer);
    }

    /// Has a checkpoint made over what is durable, unless there is one.
    pub fn vouch(&self, done: Signed) {
        self.lock().asked.push(done);
        self.queue.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's side: knows what is signed already.
pub(super) struct Desk {
    pub notary: Notary,
    file: CheckpointFile,
    /// The last entry that a checkpoint of this process names.
    signed: u64,
    /// The first entry behind it; `None`: there is none, or an earlier process wrote it.
    beyond: Option<Beyond>,
    when: Instant,
    /// The log was told that there is no room for checkpoints.
    is_full: bool,
}

impl Desk {
    /// Opens the file of checkpoints.
    pub fn open(dir: &Path, disk: Disk, queue: Arc<Queue>) -> Result<Self, JournalError> {
        let file = CheckpointFile::open(dir, disk)?;
        Ok(Self {
            notary: Notary { keys: Arc::default(), queue },
            file,
            signed: 0,
            beyond: None,
            when: Instant::now(),
            is_full: false,
        })
    }

    /// How long the writer may sleep; `None`: there is nothing to sign.
    pub fn patience(&self, head: u64) -> Option<Duration> {
        (head > self.signed).then_some(PAUSE)
    }

    /// Makes a checkpoint over the durable head where it is time for one, or later where the disk is full.
    pub fn look(&mut self, head: &Receipt) -> Result<(), JournalError> {
        let waited = self.when.elapsed();
        let due = waited >= EVERY || head.seq.saturating_sub(self.signed) >= ENTRIES && waited >= PAUSE;
        let asked = !self.notary.lock().asked.is_empty();
        if asked || due { self.sign_or_wait(head) } else { Ok(()) }
    }

    /// Makes a checkpoint over the durable head, or later where the disk is full.
    pub fn sign_or_wait(&mut self, head: &Receipt) -> Result<(), JournalError> {
        match self.sign(head) {
            Err(why) if why.is_full() => {
                self.when = Instant::now();
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::warn!(seq = head.seq, "the disk is full: checkpoints wait until there is room");
                }
                Ok(())
            }
            signed => signed,
        }
    }

    /// Whether a batch whose first entry has this stamp would go further beyond the last checkpoint than any may.
    pub fn is_due_before(&self, head: &Receipt, at: Timestamp) -> bool {
        let next = Beyond { seq: head.seq + 1, at };
        head.seq > self.signed && self.beyond.is_none_or(|first| REACH.ends_before(first, next))
    }

    /// A batch that begins with this entry is durable.
    pub fn passed(&mut self, first: Beyond) {
        if self.beyond.is_none() && first.seq == self.signed + 1 {
            self.beyond = Some(first);
        }
    }

    /// Makes a checkpoint over the durable head, unless there is one or there is no key.
    pub fn sign(&mut self, head: &Receipt) -> Result<(), JournalError> {
        let mut keys = self.notary.lock();
        if keys.signers.is_empty() {
            return Ok(());
        }
        if head.seq > self.signed || keys.signers.len() > 1 {
            let (origin, receipt) = (keys.origin.clone(), head.clone());
            let note = Checkpoint { origin, receipt, reach: Some(REACH) }.sign(&keys.signers);
            self.file.append(&note)?;
            (self.signed, self.beyond, self.when, self.is_full) = (head.seq, None, Instant::now(), false);
            keys.signers.truncate(1);
            // Where the log goes elsewhere, this line is an anchor: `soard log verify --anchor` takes it.
            tracing::info!(log_head = %head, "checkpoint");
        }
        std::mem::take(&mut keys.asked).into_iter().for_each(|done| done());
        Ok(())
    }
}
