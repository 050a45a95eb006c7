//! When checkpoints are made, and with which keys.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::journal::checkpoint::{Checkpoint, CheckpointFile};
use crate::journal::disk::Disk;
use crate::journal::note::Signer;
use crate::journal::queue::Queue;
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

/// Called once the checkpoint that was asked for is durable.
pub type Signed = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Keys {
    origin: String,
    signers: Vec<Signer>,
    /// A checkpoint is to be made at once.
    asked: Option<Signed>,
}

impl Notary {
    /// From now on the first key signs. The others sign the next checkpoint with it: so an old key vouches for the
    /// entry that names its successor.
    pub fn sign_with(&self, origin: String, signers: Vec<Signer>, done: Signed) {
        *self.lock() = Keys { origin, signers, asked: Some(done) };
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
            when: Instant::now(),
            is_full: false,
        })
    }

    /// How long the writer may sleep; `None`: there is nothing to sign.
    pub fn patience(&self, head: u64) -> Option<Duration> {
        (head > self.signed).then_some(PAUSE)
    }

    /// Makes a checkpoint over the durable head where it is time for one.
    pub fn look(&mut self, head: &Receipt) -> Result<(), JournalError> {
        let waited = self.when.elapsed();
        let due = waited >= EVERY || head.seq.saturating_sub(self.signed) >= ENTRIES && waited >= PAUSE;
        let asked = self.notary.lock().asked.is_some();
        if asked || due { self.sign(head) } else { Ok(()) }
    }

    /// Makes a checkpoint over the durable head, unless there is one or there is no key.
    pub fn sign(&mut self, head: &Receipt) -> Result<(), JournalError> {
        let mut keys = self.notary.lock();
        if keys.signers.is_empty() || (head.seq <= self.signed && keys.asked.is_none()) {
            return Ok(());
        }
        let note = Checkpoint { origin: keys.origin.clone(), receipt: head.clone() }.sign(&keys.signers);
        self.when = Instant::now();
        let was_full = std::mem::replace(&mut self.is_full, !self.file.append(&note)?);
        if self.is_full {
            if !was_full {
                tracing::warn!(seq = head.seq, "the disk is full: checkpoints wait until there is room");
            }
            return Ok(());
        }
        self.signed = head.seq;
        keys.signers.truncate(1);
        if let Some(done) = keys.asked.take() {
            done();
        }
        // Where the log goes elsewhere, this line is an anchor: `soard log verify --anchor` takes it.
        tracing::info!(log_head = %head, "checkpoint");
        Ok(())
    }
}
