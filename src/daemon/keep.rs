//! Drops the journal's oldest segments where the user wants that, and keeps all that later work needs of them.
//!
//! What the dropped entries add up to becomes the base: the state as of the last of them, in a file that a start reads
//! before the entries that are left. Base first, then the entry that names the seals, then the files go: a crash in between
//! leaves more than is needed, never less.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::daemon::core::Message;
use crate::daemon::{clock, snapshot, stop};
use crate::domain::entry::{Entry, Facts, Log, Seal};
use crate::engine::apply::apply;
use crate::engine::state::State;
use crate::journal::policy::Policy;
use crate::journal::reader::Reader;
use crate::journal::retention::{self, Closed};
use crate::journal::{JournalError, Receipt};

/// How often to look whether something is to be dropped.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Most segments that one entry names.
const SEGMENTS_MAX: usize = 1000;

/// Why nothing could be dropped.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot write the base: {0}")]
    Base(std::io::Error),
    #[error("the daemon is stopping")]
    Stopping,
}

/// Path of the base that goes up to an entry.
fn base(state: &Path, last: u64) -> PathBuf {
    state.join(format!("base-{last:020}"))
}

/// The bases in the state folder, the newest first.
pub fn bases(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state).into_iter().flatten().flatten().map(|file| file.path());
    let is_base = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("base-").is_some_and(|seq| seq.len() == 20 && seq.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut bases: Vec<PathBuf> = files.filter(is_base).collect();
    bases.sort_unstable_by(|a, b| b.cmp(a));
    bases
}

/// Looks now and then until `stop` turns true.
pub async fn run(
    state: PathBuf,
    policy: Policy,
    reader: Reader,
    core: mpsc::Sender<Message>,
    mut stop: watch::Receiver<bool>,
) {
    if policy.keep.is_none() && policy.size.is_none() {
        return;
    }
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = stop::told(&mut stop) => return,
        }
        match drop_segments(&state, &policy, &reader, &core).await {
            Ok(()) | Err(KeepError::Stopping) => {}
            Err(error) => tracing::error!(%error, "no segment of the journal can be dropped"),
        }
    }
}

async fn drop_segments(
    state: &Path,
    policy: &Policy,
    reader: &Reader,
    core: &mpsc::Sender<Message>,
) -> Result<(), KeepError> {
    let (to, needs) = oneshot::channel();
    core.send(Message::Needs(to)).await.map_err(|_| KeepError::Stopping)?;
    let (needed, dropped) = needs.await.map_err(|_| KeepError::Stopping)?;
    let journal = state.join("journal");
    finish(state, &journal, reader, dropped)?;
    let (closed, all) = retention::closed(&journal)?;
    let Some((count, by)) = retention::choose(&closed, all, policy, clock::now(), needed) else { return Ok(()) };
    let chosen = closed[..count.min(SEGMENTS_MAX)].to_vec();
    let (folder, dir) = (state.to_owned(), journal.clone());
    let folded = tokio::task::spawn_blocking(move || fold(&folder, &dir, &chosen)).await;
    let (seals, folded) = folded.map_err(|_| KeepError::Stopping)??;
    let Some(last) = seals.last().map(|seal| seal.last) else { return Ok(()) };
    let log = Log::Dropped { policy: by.into(), segments: seals, journal: folded.journal, signed_by: folded.signed_by };
    let (to, durable) = oneshot::channel();
    core.send(Message::Drop(log, to)).await.map_err(|_| KeepError::Stopping)?;
    if durable.await.is_ok_and(|on_record| on_record) {
        tracing::info!(last, policy = by, "segments of the journal were dropped");
        finish(state, &journal, reader, last)?;
    }
    Ok(())
}

/// Adds up what is to go and writes it as the new base.
fn fold(state: &Path, journal: &Path, chosen: &[Closed]) -> Result<(Vec<Seal>, State), KeepError> {
    let first = chosen.first().map_or(1, |closed| closed.first);
    let read = snapshot::read(&base(state, first - 1));
    let unusable = |why: String| KeepError::Base(std::io::Error::other(why));
    let mut folded = match read.map_err(|why| unusable(why.to_string()))? {
        Some((state, _)) => state,
        None if first == 1 => State::default(),
        None => return Err(unusable(format!("there is no base up to entry {}", first - 1))),
    };
    let mut seals = Vec::new();
    for closed in chosen {
        seals.push(retention::seal(journal, closed, &mut |line| {
            let facts = Facts::parse(&line.kind, line.data.get()).map_err(|error| error.to_string())?;
            apply(&mut folded, &Entry { seq: line.seq, at: line.at, facts });
            Ok(())
        })?);
    }
    if let Some(Seal { last, hash, .. }) = seals.last() {
        let receipt = Receipt { seq: *last, hash: hash.clone() };
        snapshot::write(&base(state, *last), &folded.save(), &receipt).map_err(KeepError::Base)?;
    }
    Ok((seals, folded))
}

/// Removes what the journal has on record as dropped, and older bases.
fn finish(state: &Path, journal: &Path, reader: &Reader, last: u64) -> Result<(), KeepError> {
    let kept = base(state, last);
    if last == 0 || !kept.exists() {
        return Ok(());
    }
    reader.forget(last);
    retention::remove(journal, last)?;
    for older in bases(state).into_iter().filter(|path| *path < kept) {
        fs::remove_file(older).map_err(KeepError::Base)?;
    }
    Ok(())
}
