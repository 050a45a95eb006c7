//! Checks a journal from its files alone, without lock and without changing anything.

use std::path::Path;

use jiff::Timestamp;

use crate::journal::evidence::OnRecord;
use crate::journal::head::Head;
use crate::journal::note::Verifier;
use crate::journal::recover::{Begin, walk_all};
use crate::journal::witness::Witness;
use crate::journal::{JournalError, Place, Receipt};

/// What is known from outside of the journal's folder.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Receipts that were kept elsewhere.
    pub anchors: Vec<Receipt>,
    /// A public key that signed the journal at some time.
    pub key: Option<Verifier>,
    /// The folder was copied while the daemon wrote: its checkpoints may be older than its segments.
    pub is_live_copy: bool,
}

/// What checking a journal found.
#[derive(Debug)]
pub struct Report {
    /// The verdict.
    pub outcome: Outcome,
    /// Whole entries up to the end or to the first bad one, in whole batches.
    pub entries: u64,
    /// Segments that these entries lie in.
    pub segments: u64,
    /// The first of these entries.
    pub first: Option<Stamp>,
    /// The last of these entries.
    pub last: Option<Stamp>,
    /// How many of them are older than the one before. The daemon's time never goes backwards, so this is worth a
    /// look; it is not damage.
    pub backwards: u64,
    /// The first of those.
    pub first_backwards: Option<u64>,
    /// The entry that HEAD names; `None` when HEAD is absent or not readable, so that a cut end goes unnoticed.
    pub head: Option<Receipt>,
    /// What the checkpoints say.
    pub signed: Signatures,
    /// How many of the anchors fit, and the newest of them.
    pub anchored: (u64, Option<u64>),
    /// Where retention has dropped something: the last entry that the base stands for, and the SHA-256 of the base as the
    /// journal names it, empty where it does not.
    pub behind: Option<(Receipt, String)>,
    /// The entries that anchors name and that retention dropped: these could not be compared.
    pub uncompared: Vec<u64>,
}

/// What the checkpoints beside a journal say.
#[derive(Debug, Clone, Default)]
pub struct Signatures {
    /// The public keys that the journal names, with the entries that name them.
    pub keys: Vec<(u64, String)>,
    /// How many checkpoints were compared with their entries and are signed by the key in charge.
    pub checkpoints: u64,
    /// The last entry that one of those names, and so vouches for with all before it.
    pub last: Option<u64>,
    /// What retention dropped: policy, first and last entry, bytes.
    pub dropped: Vec<(String, u64, u64, u64)>,
    /// Entries that an operator gave up, by the entries that say so: from, to.
    pub given_up: Vec<(u64, u64, u64)>,
    /// Keys that a repair put in charge though nobody vouched for them, by the entries that say so.
    pub taken: Vec<(u64, String)>,
    /// The file ends with a note that was being written.
    pub torn: bool,
}

/// An entry by number, time and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Which entry.
    pub seq: u64,
    /// When the daemon took the input.
    pub at: Timestamp,
    /// Its hash in hex. Compare it with a receipt that was kept elsewhere: a journal that was cut or rewritten as
    /// a whole is good in itself.
    pub hash: String,
}

/// The verdict on a journal.
#[derive(Debug)]
pub enum Outcome {
    /// Whole batches to the end, every hash right, none missing that HEAD names.
    Good,
    /// As good, then a batch that breaks off: a crash, or a daemon that is writing it right now.
    Torn {
        /// Length of the tail.
        bytes: u64,
        /// The first line that is bad or missing in it.
        place: Place,
    },
    /// Something was changed, removed, added or moved, or the disk lost it. No crash explains it.
    Tampered(Place),
    /// The files could not be read.
    Unreadable(JournalError),
}

/// Checks the journal in `dir`: every hash, the chain, the order, HEAD, the checkpoints.
pub fn verify(dir: &Path) -> Report {
    verify_against(dir, &Known::default())
}

/// Checks the journal in `dir` as [`verify`], and against what is known from outside.
pub fn verify_against(dir: &Path, known: &Known) -> Report {
    let mut report = Report {
        outcome: Outcome::Good,
        entries: 0,
        segments: 0,
        first: None,
        last: None,
        backwards: 0,
        first_backwards: None,
        head: None,
        signed: Signatures::default(),
        anchored: (0, None),
        behind: None,
        uncompared: Vec::new(),
    };
    if let Err(error) = report.walk(dir, known) {
        report.outcome = match error {
            JournalError::Corrupt(place) => Outcome::Tampered(place),
            other => Outcome::Unreadable(other),
        };
    }
    report
}

impl Report {
    fn walk(&mut self, dir: &Path, known: &Known) -> Result<(), JournalError> {
        // What names entries is read first: a daemon that writes on makes it older than the segments, never newer.
        let mut witness = Witness::new(dir, known)?;
        let head = Head::read(dir)?;
        self.head = head.as_ref().map(|head| head.receipt.clone());
        let (mut segment, mut on_record, mut before) = (0, OnRecord::default(), None);
        let found = walk_all(dir, Begin::First, head.as_ref(), &mut |first, span, line| {
            self.segments += u64::from(segment != first);
            segment = first;
            witness.meet(first, span.start, &line)?;
            on_record.meet(&line);
            before.get_or_insert_with(|| Receipt { seq: line.seq - 1, hash: line.prev.clone() });
            self.take(Stamp { seq: line.seq, at: line.at, hash: line.hash });
            Ok(())
        });
        if let Err(JournalError::Corrupt(_)) | Ok(_) = &found {
            (self.anchored, self.uncompared) = (witness.anchored(), witness.uncompared());
        }
        let found = found?;
        if found.segments.is_empty() && head.is_none() && !witness.has_notes() {
            return Err(JournalError::Absent { dir: dir.into() });
        }
        self.signed = witness.check(&found)?;
        let begins_behind = before.filter(|before| before.seq > 0);
        self.behind = begins_behind.map(|before| on_record.rests_on(before.seq).unwrap_or((before, String::new())));
        if let Some(torn) = found.torn {
            self.outcome = Outcome::Torn { bytes: torn.bytes, place: torn.place };
        }
        Ok(())
    }

    fn take(&mut self, stamp: Stamp) {
        self.entries += 1;
        if self.last.as_ref().is_some_and(|last| stamp.at < last.at) {
            self.backwards += 1;
            self.first_backwards.get_or_insert(stamp.seq);
        }
        if self.first.is_none() {
            self.first = Some(stamp.clone());
        }
        self.last = Some(stamp);
    }
}
