//! The journal: an append-only log in files, the only source of truth.
//!
//! Entries are lines of JSON in segment files. Each line carries the hash of the line before and its own hash,
//! the number of its batch and how many lines of that batch follow; `docs/journal-format.md` owns the format.
//! One thread writes: it takes everything queued, writes it at once, syncs once, then acknowledges.
//!
//! What this folder keeps to:
//!
//! - Nothing is acknowledged before `fdatasync` said so, and a failed sync is never tried again: the kernel
//!   reports it once and then forgets. The journal stops and the daemon has to restart from what the disk has.
//! - A full disk is waited for: the file is cut back to what was acknowledged and the same batch written again.
//! - Only one batch is ever on its way to the disk. Recovery rests on it: bad bytes followed by a whole line of
//!   a later batch cannot come from a torn write.
//! - Recovery never repairs silently. A torn tail is moved aside and reported; anything else stops the start.
//!
//! Read in this order: [`mod@line`] (one line), `recover` (what a crash may leave behind), [`writer`] (the thread),
//! `start` (lock, recover, open), [`reader`], [`verify`] and [`archive`] (segments that are old).

pub mod archive;
pub mod checkpoint;
mod disk;
pub mod evidence;
mod head;
mod index;
pub mod line;
mod lock;
pub mod notary;
pub mod note;
pub mod policy;
mod queue;
pub mod reach;
pub mod reader;
mod recover;
pub mod repair;
pub mod retention;
pub mod room;
mod segment;
mod start;
pub mod verify;
mod witness;
pub mod writer;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::journal::evidence::Evidence;
use crate::journal::line::Line;
use crate::journal::writer::Journal;

/// Takes each intact entry in order while the journal is opened; its error ends the opening.
pub type Apply<'a> = dyn FnMut(&Line) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

/// Locks the journal in `dir` (made when absent), recovers it and opens it for writing.
///
/// Each entry of each whole batch is given to `apply`, in order. A torn tail is moved to a side file, and after
/// an unclean stop the last segment is replaced by a verified copy, before this returns.
///
/// # Errors
/// [`JournalError::Locked`] when another daemon has it, [`JournalError::Corrupt`] with the place when it is
/// damaged, [`JournalError::Apply`] when `apply` refused an entry, [`JournalError::Io`] otherwise. On an error
/// nothing was written but the side file.
pub fn open(dir: &Path, settings: Settings, apply: &mut Apply<'_>) -> Result<(Journal, Recovery), JournalError> {
    start::open(disk::Disk::default(), dir, settings, None, &Evidence::default(), apply)
}

/// Opens the journal as [`open`], but gives only the entries behind `known` to `apply`: a snapshot covers the others. The
/// segments before the one that holds `known` are not read. What lies beside the journal is held against it.
///
/// # Errors
/// As [`open`], [`JournalError::Corrupt`] also when the evidence names an entry that is missing;
/// [`JournalError::Elsewhere`] when the journal has no entry `known`, and then `apply` was never called.
pub fn open_behind(
    dir: &Path,
    settings: Settings,
    known: Option<&Receipt>,
    evidence: &Evidence,
    apply: &mut Apply<'_>,
) -> Result<(Journal, Recovery), JournalError> {
    start::open(disk::Disk::default(), dir, settings, known, evidence, apply)
}

/// An entry as the core hands it over.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// When the daemon took the input, in whole microseconds: the line keeps no more.
    pub at: Timestamp,
    /// Kind of the entry: lower-case letters and `_`.
    pub kind: &'static str,
    /// Content as compact JSON on one line, at most [`line::DATA_BYTES_MAX`] bytes.
    pub data: String,
}

/// Called once, when the fate of an entry is known: see [`Journal::append`].
pub type Done = Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>;

/// What an acknowledgement carries: whoever keeps it can later prove that the entry was changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Position of the entry, from 1; 0 stands for the empty journal.
    pub seq: u64,
    /// The entry's hash in hex; 64 zeros for the empty journal.
    pub hash: String,
}

/// `SEQ:HASH`, as it stands in the log-head headers and as anchors are given.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl Receipt {
    /// The head of an empty journal.
    pub fn empty() -> Self {
        Self { seq: 0, hash: line::ZEROS.into() }
    }
}

/// The journal's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A segment that would grow beyond this is closed and the next one begun; 64 MiB.
    pub segment_bytes_max: u64,
    /// Most entries in one batch; 4096.
    pub batch_entries_max: usize,
    /// Most bytes of content in one batch, unless a single entry is larger; 1 MiB.
    pub batch_bytes_max: usize,
    /// Free space below which new records find no [`room::Room`]; 256 MiB.
    pub reserve_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            batch_entries_max: 4096,
            batch_bytes_max: 1 << 20,
            reserve_bytes: 256 << 20,
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whether a tail was cut off.
    pub verdict: Verdict,
    /// How many entries were recovered.
    pub entries: u64,
    /// The last of them.
    pub head: Receipt,
    /// The tails that were cut off, of this opening and of earlier ones that nobody has recorded. The daemon records them
    /// as the first entries that it appends; until then each opening reports them again.
    pub torn: Vec<Torn>,
}

/// How the journal was found. A corrupt one is an error, not a verdict: it is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Whole batches to the end.
    Clean,
    /// The last batch was never complete, hence never acknowledged; it was moved aside.
    Torn,
}

/// A tail that was moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256, in hex.
    pub sha256: String,
    /// Name of the side file, in the journal's folder.
    pub file: String,
}

/// Why an entry was not acknowledged. The core has applied it to its state already, so the daemon cannot go on
/// with that state after either: it stops, and recovery at the next start tells what is on record.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk, the quota or the file size limit was full, and the journal closed before there was room again. The file
    /// ends with the last acknowledged batch; the entry is not acknowledged, nor is any after it. A limit on file size is
    /// met here only by a process that survives `SIGXFSZ`.
    #[error("the disk is full: the entry was not acknowledged")]
    Full(#[source] Arc<io::Error>),
    /// A write or a sync failed, or an entry was too long. Whether the entry is on disk is unknown: abort at once.
    #[error("the journal has stopped: whether the entry was kept is unknown until the next start")]
    Stopped(#[source] Arc<JournalError>),
}

/// What went wrong with the journal as a whole.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("the journal in {} is in use by another soard", dir.display())]
    Locked {
        /// The journal's folder.
        dir: PathBuf,
    },
    /// There is neither a segment nor a HEAD file.
    #[error("there is no journal in {}", dir.display())]
    Absent {
        /// The folder.
        dir: PathBuf,
    },
    /// Damage that no crash can explain, or loss of acknowledged entries.
    #[error("the journal is damaged: {0}")]
    Corrupt(Place),
    /// The journal does not hold the entry that reading was to begin behind.
    #[error("the journal has no entry {seq} with that hash")]
    Elsewhere {
        /// Which.
        seq: u64,
    },
    /// An intact entry that the core could not apply.
    #[error("cannot apply entry {seq} of the journal in {file}")]
    Apply {
        /// Which entry.
        seq: u64,
        /// In which segment.
        file: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An entry beyond the limit.
    #[error("an entry of {bytes} bytes is too long for the journal: at most {} are allowed", line::DATA_BYTES_MAX)]
    TooLong {
        /// Length of its content.
        bytes: usize,
    },
    /// The writer thread ended by a panic.
    #[error("the journal's writer thread has died")]
    Died,
    /// The journal had stopped before.
    #[error("the journal has stopped")]
    Stopped(#[source] Arc<JournalError>),
}

/// Where the journal is damaged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The entry that should stand there.
    pub seq: u64,
    /// Name of the segment file.
    pub file: String,
    /// Offset of the first bad byte's line in that file; in an archive, in what it unpacks to.
    pub offset: u64,
    /// How.
    pub damage: Damage,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} in {} at byte {}: {}", self.seq, self.file, self.offset, self.damage)
    }
}

/// A kind of damage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The line has no end.
    #[error("the line breaks off")]
    Cut,
    /// The line's hash is not that of its bytes, or it has none.
    #[error("its hash does not fit its content")]
    Hash,
    /// The hash is good, but this is no line of this version.
    #[error("its hash is good, but it is not a journal line of version 1")]
    Form,
    /// Another entry stands here: entries were removed, inserted, doubled or moved.
    #[error("entry {found} stands in its place")]
    Seq {
        /// Which.
        found: u64,
    },
    /// Its `prev` is not the hash of the entry before.
    #[error("it does not continue the entry before it")]
    Prev,
    /// Its batch does not continue the batch of the entry before.
    #[error("its batch does not continue the one before it")]
    Batch,
    /// An archive is not what zstd makes, or not of whole lines.
    #[error("the archive does not unpack")]
    Archive,
    /// The segment ends within a batch, and another segment follows.
    #[error("the segment ends within a batch, and another segment follows")]
    Unfinished,
    /// A segment file is missing or misnamed.
    #[error("a segment is missing: this one begins with entry {found}")]
    Segment {
        /// First entry of the segment that was found instead.
        found: u64,
    },
    /// The journal ends before an entry that was acknowledged.
    #[error("acknowledged entries are missing: HEAD names entry {head}")]
    Missing {
        /// The entry that HEAD names.
        head: u64,
    },
    /// The journal ends before an entry that a file beside it names.
    #[error("entries are missing: {file} names entry {seq}")]
    Beyond {
        /// The file, in the state folder.
        file: String,
        /// Which entry.
        seq: u64,
    },
    /// There is no journal where there has been one.
    #[error("the journal is gone: there is neither a segment nor HEAD, but {file} is there")]
    Emptied {
        /// What tells that there was one, in the state folder.
        file: String,
    },
    /// The base that stands for what was dropped before this entry cannot be used.
    #[error("{file}, which stands for the entries before it, {why}")]
    Base {
        /// The file, in the state folder.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// HEAD names another hash for this entry.
    #[error("HEAD names another hash for it")]
    Fork,
    /// A receipt, header or note from outside names another hash for this entry.
    #[error("an anchor names another hash for it")]
    Anchor,
    /// The journal ends before an entry that somebody holds a receipt for.
    #[error("entries are missing: an anchor names entry {anchor}")]
    BeforeAnchor {
        /// Which.
        anchor: u64,
    },
    /// A checkpoint names another hash for this entry.
    #[error("a signed checkpoint names another hash for it")]
    Checkpoint,
    /// The journal ends before an entry that a checkpoint names.
    #[error("entries are missing: a signed checkpoint names entry {seq}")]
    BeforeCheckpoint {
        /// Which.
        seq: u64,
    },
    /// Entries go further beyond the last checkpoint than a daemon lets them.
    #[error(
        "a checkpoint is missing: the daemon would have made one behind entry {noted} before it wrote this one; checkpoints \
         were taken away, entries were added, or this is a copy that was made while the daemon ran"
    )]
    Unvouched {
        /// The entry that the last checkpoint names.
        noted: u64,
    },
    /// An entry says that the missing segments were dropped, but no checkpoint covers it.
    #[error(
        "a segment is missing: this one begins with entry {found}; entry {seq} says that a policy dropped what stood before, but \
         no checkpoint vouches for that entry"
    )]
    Dropped {
        /// First entry of the segment that was found instead.
        found: u64,
        /// The entry that says so.
        seq: u64,
    },
    /// A checkpoint in the file is no note, names another journal, or is out of order.
    #[error("the checkpoint is not a note about this journal")]
    BadCheckpoint,
    /// A checkpoint is not signed by the key that was in charge.
    #[error("the checkpoint is not signed by the key that the journal names")]
    Signature,
    /// A new key took over, and the old one did not vouch for it.
    #[error("the key that was in charge did not vouch for the new one")]
    Succession,
    /// A repair put a key in charge that is not the one that was given.
    #[error(
        "entry {seq}, a repair, put another key in charge than the one that was given, and nobody vouches for it: if that key is \
         yours, give it"
    )]
    Taken {
        /// The entry of the repair.
        seq: u64,
    },
    /// The journal names another key than the one that was given.
    #[error("the journal was never signed by the key that was given")]
    Key,
}

impl Damage {
    /// What is there is good, but more has been there.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::BeforeCheckpoint { .. } | Self::Beyond { .. } | Self::Emptied { .. }
        )
    }
}

impl JournalError {
    /// A file that is not there.
    fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// A full disk, quota or file: it can be waited for.
    fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if disk::is_full(source))
    }

    /// An archive that does not unpack.
    fn is_damage(&self) -> bool {
        matches!(self, Self::Io { source, .. } if archive::is_damage(source))
    }

    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}
