//! Reads each file that is dropped into a folder once: `*.json`, `*.jsonl`, `*.ndjson`.
//!
//! A file is complete when it was closed after writing, was renamed into the folder, or did not change between two
//! polls. What makes it *this* file is its name and the SHA-256 of its content: the same name with other content is
//! another file. Names that begin with a dot, symbolic links and everything that is no regular file are left alone.
//! A file without records is done at once. A file that is no JSON is one record, to be quarantined.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::watch as signal;

use crate::domain::record::{FolderPosition, Position, RECORD_BYTES_MAX, Record};
use crate::sources::intake::{Answer, Closed, Counters, Intake, count};
use crate::sources::split::{self, Content};
use crate::sources::watch::Watch;
use crate::sources::{Ended, FolderProgress, SourceError, lines, stopped};

/// How often the folder is looked at when no event came.
pub const POLL: Duration = Duration::from_secs(1);

/// Largest file.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most records in one file.
pub const FILE_RECORDS_MAX: usize = 1_000_000;

/// How long to wait before a record is offered again that the daemon could not make durable.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// A drop folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it lies.
    pub path: PathBuf,
    /// What becomes of a file that was read.
    pub done: Done,
    /// How often to look when no event came.
    pub poll: Duration,
}

/// What becomes of a file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It stays; the journal knows that it is done.
    Keep,
    /// It goes to another folder of the same file system, once all its records are durable.
    Move {
        /// Which; made when it is not there.
        to: PathBuf,
    },
}

type Progress = BTreeMap<(String, String), FolderProgress>;

/// Reads what is dropped into the folder until `stop` turns true.
pub(super) async fn run(
    name: Arc<str>,
    settings: Settings,
    progress: Progress,
    intake: Intake,
    counters: Arc<Counters>,
    mut stop: signal::Receiver<bool>,
) -> Result<Ended, SourceError> {
    let folder = Folder { name, settings, progress, intake, counters, look: Look::default(), complaint: None };
    tokio::select! {
        biased;
        () = stopped(&mut stop) => Ok(Ended::Stopped),
        ended = folder.follow() => ended,
    }
}

struct Folder {
    name: Arc<str>,
    settings: Settings,
    progress: Progress,
    intake: Intake,
    counters: Arc<Counters>,
    look: Look,
    complaint: Option<String>,
}

impl Folder {
    async fn follow(mut self) -> Result<Ended, SourceError> {
        let mut watch = Watch::new(&self.settings.path);
        let mut is_poll = true;
        loop {
            let closed = watch.take_closed();
            let mut look = std::mem::take(&mut self.look);
            let path = self.settings.path.clone();
            let (back, ready) = self
                .blocking(move || {
                    let ready = look.ready(&path, &closed, is_poll);
                    (look, ready)
                })
                .await?;
            self.look = back;
            match ready {
                Ok(ready) => {
                    self.complaint = None;
                    for (file, stamp) in ready {
                        self.read(&file, stamp).await?;
                    }
                }
                Err(error) => self.complain(&self.settings.path.clone(), "look into", &error),
            }
            is_poll = watch.wait(self.settings.poll).await;
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, SourceError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|cause| SourceError::Died { source_name: self.name.clone(), cause })
    }

    /// Says once what does not work; the next look tries again.
    fn complain(&mut self, path: &Path, attempt: &str, error: &io::Error) {
        let complaint = format!("{attempt} {}: {error}", path.display());
        if self.complaint.as_ref() != Some(&complaint) {
            count(&self.counters.io_errors);
            tracing::warn!(source = %self.name, "cannot {complaint}");
            self.complaint = Some(complaint);
        }
    }

    async fn read(&mut self, file: &OsStr, stamp: Stamp) -> Result<(), SourceError> {
        let path = self.settings.path.join(file);
        let opened = path.clone();
        let loaded = match self.blocking(move || load(&opened)).await? {
            Ok(Loaded::Changed) => return Ok(()),
            Ok(Loaded::Refused(why)) => {
                count(&self.counters.files_refused);
                tracing::warn!(source = %self.name, file = %path.display(), "refused: {why}");
                self.look.done(file, stamp);
                return Ok(());
            }
            Ok(Loaded::File(loaded)) => loaded,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.complain(&path, "read", &error);
                return Ok(());
            }
        };
        let key = (file.to_string_lossy().into_owned(), loaded.sha256.clone());
        let before = self.progress.get(&key).copied().unwrap_or(FolderProgress { next: 0, done: false });
        if !before.done {
            self.hand_over(&key.0, &loaded, before.next).await?;
            count(&self.counters.files);
            self.progress.insert(key, FolderProgress { next: loaded.last_index(), done: true });
        }
        if let Done::Move { to } = self.settings.done.clone() {
            let from = path.clone();
            if let Err(error) = self.blocking(move || move_away(&from, &to, &loaded.sha256)).await? {
                self.complain(&path, "move", &error);
            }
        }
        self.look.done(file, stamp);
        Ok(())
    }

    async fn hand_over(&self, file: &str, loaded: &File, from: u32) -> Result<(), SourceError> {
        let closed = |cause: Closed| SourceError::Closed { source_name: self.name.clone(), cause };
        for index in from..=loaded.last_index() {
            let Some(range) = loaded.records.get(index as usize) else { break };
            let last = index == loaded.last_index();
            let position = FolderPosition { file: file.into(), sha256: loaded.sha256.clone(), index, last };
            let mut bytes = &loaded.bytes[range.clone()];
            if bytes.len() > RECORD_BYTES_MAX {
                count(&self.counters.oversized);
                bytes = &bytes[..lines::cut_at(bytes)];
            }
            self.counters.record(bytes.len());
            let record =
                Record { source: self.name.clone(), bytes: bytes.into(), position: Position::Folder(position) };
            if last && self.settings.done != Done::Keep {
                self.ask(record).await.map_err(closed)?;
            } else {
                self.intake.send(record).await.map_err(closed)?;
            }
        }
        Ok(())
    }

    /// Waits until the record is durable; the ones before it are durable then as well.
    async fn ask(&self, record: Record) -> Result<(), Closed> {
        loop {
            match self.intake.ask(record.clone()).await? {
                Answer::Accepted { .. } | Answer::Quarantined { .. } | Answer::Ignored { .. } => return Ok(()),
                Answer::Full | Answer::Busy => tokio::time::sleep(FULL_WAIT).await,
                // The daemon is going down and tells us to stop next; the record is read again after the restart.
                Answer::Stopped => std::future::pending().await,
            }
        }
    }
}

/// Size, time and inode of a file when it was looked at.
type Stamp = (u64, SystemTime, u64);

/// What was seen in the folder.
#[derive(Debug, Default)]
struct Look {
    /// Files that were dealt with.
    done: HashMap<OsString, Stamp>,
    /// Files that may still be written to.
    waiting: HashMap<OsString, Stamp>,
}

impl Look {
    /// The files that are complete and not dealt with, the oldest first.
    fn ready(
        &mut self,
        folder: &Path,
        closed: &HashSet<OsString>,
        is_poll: bool,
    ) -> io::Result<Vec<(OsString, Stamp)>> {
        let mut ready = BTreeSet::new();
        let mut present = HashSet::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            // Of a link this is the link's own; a file may vanish while we look.
            let Ok(meta) = entry.metadata() else { continue };
            if !is_record_file(&name) || !meta.is_file() {
                continue;
            }
            let stamp = (meta.len(), meta.modified()?, meta.ino());
            present.insert(name.clone());
            if self.done.get(&name) == Some(&stamp) {
                continue;
            }
            let before = match is_poll {
                true => self.waiting.insert(name.clone(), stamp),
                false => None,
            };
            if closed.contains(&name) || before == Some(stamp) {
                ready.insert((stamp.1, name, stamp));
            }
        }
        self.done.retain(|name, _| present.contains(name));
        self.waiting.retain(|name, _| present.contains(name));
        Ok(ready.into_iter().map(|(_, name, stamp)| (name, stamp)).collect())
    }

    fn done(&mut self, name: &OsStr, stamp: Stamp) {
        self.waiting.remove(name);
        self.done.insert(name.into(), stamp);
    }
}

fn is_record_file(name: &OsStr) -> bool {
    let path = Path::new(name);
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    !is_hidden && path.extension().is_some_and(|ext| ext == "json" || ext == "jsonl" || ext == "ndjson")
}

/// A file's content.
#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    sha256: String,
    records: Vec<Range<usize>>,
}

impl File {
    fn last_index(&self) -> u32 {
        u32::try_from(self.records.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

#[derive(Debug)]
enum Loaded {
    File(File),
    /// It changed while it was read.
    Changed,
    Refused(String),
}

fn load(path: &Path) -> io::Result<Loaded> {
    let meta = std::fs::symlink_metadata(path)?;
    if !meta.is_file() {
        return Ok(Loaded::Changed);
    }
    if meta.len() > FILE_BYTES_MAX {
        return Ok(Loaded::Refused(format!("it has {} bytes; at most {FILE_BYTES_MAX} are read", meta.len())));
    }
    let bytes = std::fs::read(path)?;
    if bytes.len() as u64 != meta.len() {
        return Ok(Loaded::Changed);
    }
    let is_lines = path.extension().is_some_and(|ext| ext != "json");
    let records = match is_lines {
        true => split::lines(&bytes, FILE_RECORDS_MAX),
        false => match split::sniff(&bytes, FILE_RECORDS_MAX) {
            Content::Records(records) => records,
            Content::Unparsable(_) => {
                Some(split::whole(&bytes)).filter(|range| !range.is_empty()).into_iter().collect()
            }
        },
    };
    if records.len() > FILE_RECORDS_MAX {
        return Ok(Loaded::Refused(format!("it has more than {FILE_RECORDS_MAX} records")));
    }
    let sha256 = HEXLOWER.encode(&Sha256::digest(&bytes));
    Ok(Loaded::File(File { bytes, sha256, records }))
}

/// Moves a file; one of the same name that is there already is not overwritten.
fn move_away(from: &Path, to: &Path, sha256: &str) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    let name = from.file_name().unwrap_or_default();
    let mut target = to.join(name);
    if target.try_exists()? {
        let stem = from.file_stem().unwrap_or_default().to_string_lossy();
        let extension = from.extension().unwrap_or_default().to_string_lossy();
        target = to.join(format!("{stem}.{}.{extension}", &sha256[..16]));
    }
    std::fs::rename(from, target)
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
