//! What daemon and worker say to one another: frames of JSON, each after its length in four bytes.

use std::io::{self, Read, Write};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::playbooks::evaluate::{self, Entry, Evaluated, PastStep};
use crate::yaml::diagnostic::Sources;

/// Bytes of one frame: a batch of jobs with their replays, or a bundle's scripts.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What the daemon asks.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Compile a bundle's playbooks and lists, and keep them.
    Load {
        /// Id of the bundle.
        bundle: String,
        /// The files, by path.
        files: Sources,
    },
    /// Evaluate these, in order.
    Evaluate(Vec<Job>),
}

/// One run, as far as it got; the worker reads no journal.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Id of the bundle that the run began with.
    pub bundle: String,
    /// Name of the playbook.
    pub playbook: String,
    /// Which function.
    pub entry: Entry,
    /// The alert as JSON, an array of them, or an alert with a change; a text, since the daemon has no use for more.
    pub input: Box<RawValue>,
    /// What a new `now()` returns.
    pub at: Timestamp,
    /// What `random()` is derived from.
    pub seed: [u8; 32],
    /// The steps on record, in order.
    pub past: Vec<PastStep>,
    /// About how many bytes all this takes; for making batches.
    #[serde(skip)]
    pub bytes: usize,
}

impl Job {
    /// What the script is called with.
    ///
    /// # Errors
    /// When the text is no JSON that this version reads.
    pub fn input(&self) -> serde_json::Result<Value> {
        serde_json::from_str(self.input.get())
    }

    /// The evaluation that this asks for.
    pub fn on<'a>(&'a self, input: &'a Value) -> evaluate::Job<'a> {
        let Self { playbook, entry, at, seed, past, .. } = self;
        evaluate::Job { playbook, entry: *entry, input, at: *at, seed: *seed, past }
    }
}

/// What the worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Tell {
    /// It is shut in and waits for work.
    Ready {
        /// Protections that this kernel does not have.
        lacks: Vec<String>,
    },
    /// A bundle is compiled; the fault says why it cannot be used.
    Loaded {
        /// What is wrong.
        fault: Option<String>,
    },
    /// The answers to a batch begin: one for each job, in order.
    Evaluated(Evaluated),
}

/// Writes one frame.
///
/// # Errors
/// When the peer is gone.
pub fn write(to: &mut impl Write, frame: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, frame)?;
    let length = u32::try_from(bytes.len() - 4).map_err(|_| io::Error::other("the frame is too long"))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&bytes)
}

/// Reads one frame.
///
/// # Errors
/// When the peer is gone, or sends what is no frame.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("the frame is too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
