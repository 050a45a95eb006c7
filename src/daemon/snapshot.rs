//! Snapshots of the state: a cache that spares reading the whole journal at a start.
//!
//! A snapshot names the journal entry up to which it goes, by number and hash, and is written once that entry is durable.
//! One that does not fit the journal, or that another version wrote, is left aside with a line in the log.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::engine::ran::Ran;
use crate::engine::saved::{Parts, RESTORED_MIN, Saved, VERSION};
use crate::engine::state::State;
use crate::journal::Receipt;

/// Name of the file in the state folder.
pub const FILE: &str = "snapshot";

/// What names of bases begin with.
pub const BASE: &str = "base-";

/// How the name of one ends that is being written.
const UNFINISHED: &str = "tmp";

/// A snapshot is written when this many entries follow the last one, and no fewer than an eighth of the alerts on record: what a start
/// has to read behind it then takes about as long as the snapshot itself, and writing them costs little beside the journal.
const ENTRIES: u64 = 50_000;
const ALERTS_PER_ENTRY: u64 = 8;

/// At a stop, this many are worth one.
const ENTRIES_AT_STOP: u64 = 1_000;

/// Longest header, in bytes.
const HEADER_BYTES_MAX: u64 = 4096;

/// The first line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    seq: u64,
    hash: String,
    json: u64,
    alerts: u64,
    ran: u64,
    /// Absent in what versions before 7 wrote.
    #[serde(default)]
    deliveries: u64,
    sha256: String,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its parts are not what its header says.
    #[error("it is damaged")]
    Damaged,
    /// Another version of soard wrote it.
    #[error("another version wrote it")]
    Version,
    /// No state gives these bytes.
    #[error("{0}")]
    Content(String),
}

/// Reads a snapshot; `None`: there is none.
///
/// # Errors
/// Why it cannot be used.
pub fn read(path: &Path) -> Result<Option<(State, Receipt)>, Unusable> {
    read_since(path, VERSION)
}

/// Reads a base: what it stands for is gone, so that an older version is read as well.
///
/// # Errors
/// Why it cannot be used.
pub fn read_base(path: &Path) -> Result<Option<(State, Receipt)>, Unusable> {
    read_since(path, RESTORED_MIN)
}

fn read_since(path: &Path, oldest: u32) -> Result<Option<(State, Receipt)>, Unusable> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let length = file.metadata()?.len();
    let mut from = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    from.by_ref().take(HEADER_BYTES_MAX).read_until(b'\n', &mut line)?;
    let header: Header = serde_json::from_slice(&line).map_err(|_| Unusable::Damaged)?;
    if !(oldest..=VERSION).contains(&header.version) {
        return Err(Unusable::Version);
    }
    let parts = [header.json, header.alerts, header.ran, header.deliveries];
    let sum = parts.iter().try_fold(line.len() as u64, |sum, part| sum.checked_add(*part));
    if sum != Some(length) {
        return Err(Unusable::Damaged);
    }
    let mut digest = Context::new(&SHA256);
    let [json, alerts, ran, deliveries] = parts.map(|bytes| part(&mut from, bytes, &mut digest));
    let (version, deliveries) = (header.version, deliveries?);
    let saved = Parts { version, json: json?, alerts: alerts?, ran: ran?, deliveries };
    if data_encoding::HEXLOWER.encode(digest.finish().as_ref()) != header.sha256 {
        return Err(Unusable::Damaged);
    }
    let state = State::restore(&saved).map_err(|error| Unusable::Content(error.to_string()))?;
    let fits = state.seq == header.seq;
    if fits { Ok(Some((state, Receipt { seq: header.seq, hash: header.hash }))) } else { Err(Unusable::Damaged) }
}

fn part(from: &mut impl Read, bytes: u64, digest: &mut Context) -> io::Result<Vec<u8>> {
    let mut part = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    from.read_exact(&mut part)?;
    digest.update(&part);
    Ok(part)
}

/// SHA-256 of a whole file, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut from = File::open(path)?;
    let (mut digest, mut part) = (Context::new(&SHA256), vec![0; 1 << 20]);
    loop {
        match from.read(&mut part)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(digest.finish().as_ref())),
            length => digest.update(&part[..length]),
        }
    }
}

/// Writes a snapshot whole or not at all.
///
/// # Errors
/// When the system refuses it.
pub fn write(path: &Path, saved: &Saved, receipt: &Receipt) -> io::Result<()> {
    let Saved { json, alerts, ran, deliveries } = saved;
    let ran = Ran::pack(ran.clone());
    let mut digest = Context::new(&SHA256);
    digest.update(json);
    alerts.packed().for_each(|part| digest.update(&part));
    digest.update(&ran);
    deliveries.packed().for_each(|part| digest.update(&part));
    let sha256 = data_encoding::HEXLOWER.encode(digest.finish().as_ref());
    let parts = [json.len() as u64, alerts.bytes(), ran.len() as u64, deliveries.bytes()];
    let (seq, hash) = (receipt.seq, receipt.hash.clone());
    let [json_bytes, alerts_bytes, ran_bytes, deliveries_bytes] = parts;
    let header = Header {
        version: VERSION,
        seq,
        hash,
        json: json_bytes,
        alerts: alerts_bytes,
        ran: ran_bytes,
        deliveries: deliveries_bytes,
        sha256,
    };
    let mut header = serde_json::to_vec(&header).expect("numbers and text are JSON");
    header.push(b'\n');
    let unfinished = path.with_extension(UNFINISHED);
    let make = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&header)?;
        file.write_all(json)?;
        alerts.packed().try_for_each(|part| file.write_all(&part))?;
        file.write_all(&ran)?;
        deliveries.packed().try_for_each(|part| file.write_all(&part))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    // What a full disk broke off would only fill it.
    make().inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Removes what an earlier daemon was writing when it died. Only whoever holds the journal may: others would take it from
/// the one that lives.
///
/// # Errors
/// When the system refuses it.
pub fn remove_unfinished(state: &Path) -> io::Result<()> {
    for file in fs::read_dir(state)? {
        let path = file?.path();
        if path.extension().is_some_and(|end| end == UNFINISHED) && path.file_stem().is_some_and(is_ours) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Whether a file is a snapshot or a base by its name.
fn is_ours(name: &OsStr) -> bool {
    name == FILE || name.to_str().is_some_and(|name| name.starts_with(BASE))
}

/// Writes snapshots beside the core.
pub struct Snapshots {
    last: u64,
    /// One is taken, and is not written yet.
    busy: Arc<AtomicBool>,
    to: Option<mpsc::Sender<(Saved, Receipt)>>,
    writer: Option<JoinHandle<()>>,
}

impl Snapshots {
    /// Goes on from a state whose snapshot went up to entry `last`.
    pub fn start(state: &Path, last: u64) -> Self {
        let path: PathBuf = state.join(FILE);
        let (to, from) = mpsc::channel::<(Saved, Receipt)>();
        let busy = Arc::new(AtomicBool::new(false));
        let done = busy.clone();
        let write = move || {
            for (saved, receipt) in from {
                match write(&path, &saved, &receipt) {
                    Ok(()) => tracing::debug!(seq = receipt.seq, "snapshot written"),
                    Err(error) => tracing::warn!(%error, "no snapshot could be written; the next start takes longer"),
                }
                done.store(false, Ordering::Release);
            }
        };
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(write);
        Self { last, busy, to: Some(to), writer: thread.ok() }
    }

    /// Saves the state where it is time for it. What it returns is to be called once the state's last entry is durable.
    pub fn take(&mut self, state: &State, stops: bool) -> Option<impl FnOnce(&Receipt) + Send + use<>> {
        let enough = if stops { ENTRIES_AT_STOP } else { ENTRIES.max(state.alerts.len() as u64 / ALERTS_PER_ENTRY) };
        // On a slow disk there shall be no queue of them; the next entry asks again.
        let is_busy = !stops && self.busy.load(Ordering::Acquire);
        if is_busy || state.seq < self.last.saturating_add(enough) {
            return None;
        }
        self.last = state.seq;
        self.busy.store(true, Ordering::Release);
        let (saved, to) = (state.save(), self.to.clone()?);
        Some(move |receipt: &Receipt| drop(to.send((saved, receipt.clone()))))
    }

    /// Waits until what was taken is written.
    pub fn finish(&mut self) {
        self.to = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_taken_while_another_one_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshots = Snapshots::start(folder.path(), 0);
        let mut state = State { seq: ENTRIES, ..State::default() };
        let write = snapshots.take(&state, false).expect("it is time for one");
        state.seq += ENTRIES;
        assert!(snapshots.take(&state, false).is_none(), "the first is not written yet");
        write(&Receipt { seq: ENTRIES, hash: "a".into() });
        while snapshots.busy.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let write = snapshots.take(&state, false).expect("now there is nothing to wait for");
        state.seq += ENTRIES;
        assert!(snapshots.take(&state, true).is_some(), "at a stop there is no next time");
        write(&Receipt { seq: 2 * ENTRIES, hash: "b".into() });
        snapshots.finish();
        let (_, receipt) = read(&folder.path().join(FILE)).unwrap().unwrap();
        assert_eq!(receipt.seq, 2 * ENTRIES);
    }
}
