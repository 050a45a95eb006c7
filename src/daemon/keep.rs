//! Drops the journal's oldest segments where the user wants that, keeps all that later work needs of them, and compresses
//! what has grown old.
//!
//! What the dropped entries add up to becomes the base: the state as of the last of them, in a file that a start reads
//! before the entries that are left. Base first, then the entry that names the seals, then a checkpoint over that entry, then
//! the files go: a crash in between leaves more than is needed, never less, and who removes files without a key is found out.
//!
//! A compressed segment says the same as before. Its archive is whole and proven before the entry that names it, and only
//! then the segment goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::daemon::core::{Dropping, Message, Needs};
use crate::daemon::exports::Exports;
use crate::daemon::opening::record;
use crate::daemon::report::KeptBy;
use crate::daemon::{clock, snapshot, stop};
use crate::domain::entry::{BundleName, Entry, Facts, Log, Seal};
use crate::engine::apply::apply;
use crate::engine::leap::Leap;
use crate::engine::needs::Need;
use crate::engine::state::State;
use crate::journal::archive::{self, Archived};
use crate::journal::notary::Notary;
use crate::journal::policy::{After, Policy};
use crate::journal::reader::Reader;
use crate::journal::retention::{self, Closed, Ends};
use crate::journal::{JournalError, Receipt};

/// How often to look whether something is to be dropped or compressed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Most segments that one entry names.
const SEGMENTS_MAX: usize = 1000;

/// How far the thread that compresses stands back behind all others; 19 is the most.
const ARCHIVE_NICE: i32 = 19;

/// Why nothing could be dropped or compressed.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot write the base: {0}")]
    Base(std::io::Error),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("the daemon is stopping")]
    Stopping,
}

/// Path of the base that goes up to an entry.
pub fn base(state: &Path, last: u64) -> PathBuf {
    state.join(format!("{}{last:020}", snapshot::BASE))
}

/// The bases in the state folder, the newest first.
pub fn bases(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state).into_iter().flatten().flatten().map(|file| file.path());
    let is_base = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(snapshot::BASE).is_some_and(|seq| seq.len() == 20 && seq.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut bases: Vec<PathBuf> = files.filter(is_base).collect();
    bases.sort_unstable_by(|a, b| b.cmp(a));
    bases
}

/// The last entry that a base stands for, by its name.
pub fn last_of(base: &Path) -> u64 {
    let name = base.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.rsplit_once('-').and_then(|(_, seq)| seq.parse().ok()).unwrap_or_default()
}

/// Looks now and then until `stop` turns true.
pub async fn run(
    state: PathBuf,
    policy: Policy,
    reader: Reader,
    (core, notary): (mpsc::Sender<Message>, Notary),
    (exports, retention): (Arc<Exports>, Arc<Retention>),
    mut stop: watch::Receiver<bool>,
) {
    let drops = policy.keep.is_some() || policy.size.is_some();
    let (journal, ends) = (state.join("journal"), Ends::new());
    let doubted = None;
    let mut keeper = Keeper { journal, state, policy, reader, core, notary, exports, retention, doubted, ends };
    // A crash may have left it to us, whatever the policy is now.
    match keeper.finish_last().await {
        Ok(()) | Err(KeepError::Stopping) => {}
        Err(error) => tracing::error!(%error, "what was dropped of the journal cannot be removed"),
    }
    if !drops && keeper.policy.compress_after == After::Never {
        return;
    }
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = stop::told(&mut stop) => return,
        }
        if drops {
            match keeper.drop_segments().await {
                Ok(()) | Err(KeepError::Stopping) => {}
                Err(error) => tracing::error!(%error, "no segment of the journal can be dropped"),
            }
        }
        match keeper.compress(&stop).await {
            Ok(()) | Err(KeepError::Stopping) => {}
            Err(error) => {
                tracing::error!(%error, "no segment of the journal can be compressed");
                if matches!(error, KeepError::Journal(JournalError::Corrupt(_))) {
                    // It will not mend itself, and those behind it wait for an operator as well.
                    keeper.policy.compress_after = After::Never;
                }
            }
        }
    }
}

/// What retention is kept from, for `soard status`.
#[derive(Debug, Default)]
pub struct Retention(Mutex<Option<KeptBy>>);

impl Retention {
    /// What keeps segments from being dropped that a policy would drop.
    pub fn kept_by(&self) -> Option<KeptBy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, kept_by: Option<KeptBy>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept_by;
    }
}

struct Keeper {
    state: PathBuf,
    journal: PathBuf,
    policy: Policy,
    reader: Reader,
    core: mpsc::Sender<Message>,
    notary: Notary,
    exports: Arc<Exports>,
    retention: Arc<Retention>,
    doubted: Option<Leap>,
    ends: Ends,
}

impl Keeper {
    async fn closed(&mut self) -> Result<(Vec<Closed>, u64), KeepError> {
        let (journal, mut ends) = (self.journal.clone(), std::mem::take(&mut self.ends));
        let looked = tokio::task::spawn_blocking(move || (retention::closed(&journal, &mut ends), ends)).await;
        let (closed, ends) = looked.map_err(|_| KeepError::Stopping)?;
        self.ends = ends;
        Ok(closed?)
    }

    /// What the core knows that decides about dropping.
    async fn needs(&self) -> Result<Needs, KeepError> {
        let (to, needs) = oneshot::channel();
        self.core.send(Message::Needs(self.policy.hold, to)).await.map_err(|_| KeepError::Stopping)?;
        needs.await.map_err(|_| KeepError::Stopping)
    }

    async fn finish_last(&self) -> Result<(), KeepError> {
        let dropped = self.needs().await?.dropped;
        self.finish(dropped).await
    }

    async fn drop_segments(&mut self) -> Result<(), KeepError> {
        let Needs { first, dropped, now, held, leap } = self.needs().await?;
        self.doubt(leap);
        self.finish(dropped).await?;
        let (closed, all) = self.closed().await?;
        let need = first.into_iter().chain(self.exports.first_need(&closed, now)).min_by_key(|need| need.seq);
        let choose = |needed| retention::choose(&closed, all, &self.policy, now, needed);
        let chosen = choose(need.as_ref().map_or(u64::MAX, |need| need.seq));
        let count = |chosen: Option<(usize, _)>| chosen.map_or(0, |(count, _)| count);
        let kept = count(choose(u64::MAX)).saturating_sub(count(chosen));
        self.tell(need.filter(|_| kept > 0), kept).await;
        let Some((count, by)) = chosen else { return Ok(()) };
        let chosen = closed[..count.min(SEGMENTS_MAX)].to_vec();
        let (folder, dir) = (self.state.clone(), self.journal.clone());
        let folded = tokio::task::spawn_blocking(move || fold(&folder, &dir, &chosen)).await;
        let (seals, folded, base) = folded.map_err(|_| KeepError::Stopping)??;
        let Some(last) = seals.last().map(|seal| seal.last) else { return Ok(()) };
        let State { journal, signed_by, bundles, .. } = folded;
        let bundles = bundles.into_iter().map(|(id, commit)| BundleName { id, commit }).collect();
        let (policy, runs, letters) = (by.into(), Vec::new(), Vec::new());
        let log = Log::Dropped { policy, segments: seals, journal, signed_by, bundles, runs, letters, base };
        let (done, durable) = oneshot::channel();
        self.core.send(Message::Drop(Box::new(Dropping { log, held, done }))).await.map_err(|_| KeepError::Stopping)?;
        // Something has come to need them, or the daemon stops.
        let Ok((runs, letters)) = durable.await else { return Ok(()) };
        tracing::info!(last, policy = by, "segments of the journal were dropped");
        if runs + letters > 0 {
            let hold = self.policy.hold.to_string();
            tracing::warn!(runs, letters, hold, "what failed longer ago is given up: it can no longer be retried");
        }
        self.finish(last).await
    }

    /// Tells the log of a leap, once.
    fn doubt(&mut self, leap: Option<Leap>) {
        if let Some(Leap { from, to }) = leap.filter(|leap| self.doubted.is_none_or(|known| known.to < leap.to)) {
            let until = Leap { from, to }.until();
            tracing::warn!(%from, %to, %until, "the clock leapt: until then nothing is dropped for an age that it has by that alone");
        }
        self.doubted = leap.or(self.doubted);
    }

    /// Tells in status and log what keeps segments from being dropped.
    async fn tell(&self, need: Option<Need>, segments: usize) {
        let segments = segments as u64;
        let known = self.retention.kept_by();
        let Some(Need { seq, kind, id }) = need else {
            if known.is_some() {
                tracing::info!("nothing keeps segments of the journal from being dropped any more");
            }
            return self.retention.set(None);
        };
        if let Some(known) = known.filter(|known| (known.entry, &*known.kind, &known.id) == (seq, kind, &id)) {
            return self.retention.set(Some(KeptBy { segments, ..known }));
        }
        let reader = self.reader.clone();
        let line = tokio::task::spawn_blocking(move || reader.line(seq)).await;
        let Ok(Ok(Some(line))) = line else { return };
        let since = line.at;
        tracing::warn!(segments, kind, id, entry = seq, %since, "segments of the journal are not dropped: something needs them");
        self.retention.set(Some(KeptBy { kind: kind.into(), id, entry: seq, since, segments }));
    }

    /// Removes what the journal has on record as dropped, and other bases, once a checkpoint covers that entry.
    async fn finish(&self, last: u64) -> Result<(), KeepError> {
        if last > 0 {
            let (done, signed) = oneshot::channel();
            self.notary.vouch(Box::new(move || done.send(()).unwrap_or_default()));
            signed.await.map_err(|_| KeepError::Stopping)?;
        }
        let (state, journal, reader) = (self.state.clone(), self.journal.clone(), self.reader.clone());
        let finished = tokio::task::spawn_blocking(move || {
            if last > 0 && base(&state, last).exists() {
                reader.forget(last);
                retention::remove(&journal, last)?;
            }
            remove_other_bases(&state, &journal, last)
        });
        finished.await.map_err(|_| KeepError::Stopping)?
    }

    /// Compresses what is old enough, one segment after the other.
    async fn compress(&mut self, stop: &watch::Receiver<bool>) -> Result<(), KeepError> {
        let After::Age(age) = self.policy.compress_after else { return Ok(()) };
        let now = clock::now();
        let (closed, _) = self.closed().await?;
        let old = closed.into_iter().filter(|segment| !segment.archived && age.after(segment.until) < now);
        for segment in old {
            if *stop.borrow() {
                break;
            }
            let archived = archive_aside(self.journal.clone(), segment).await?;
            let Archived { first, last, bytes, packed } = archived;
            // Without the entry the segment stays, and the next start begins anew.
            record(&self.core, Log::Archived { first, last, bytes, packed }).await.ok_or(KeepError::Stopping)?;
            let journal = self.journal.clone();
            let settled = tokio::task::spawn_blocking(move || archive::settle(&journal, first)).await;
            settled.map_err(|_| KeepError::Stopping)??;
            tracing::info!(first, last, bytes, packed, "a segment of the journal was compressed");
        }
        Ok(())
    }
}

/// Archives a segment on a thread that lets all others go first.
async fn archive_aside(journal: PathBuf, closed: Closed) -> Result<Archived, KeepError> {
    let (to, archived) = oneshot::channel();
    let work = move || {
        // Of this thread alone; where it is not allowed the work is done all the same.
        let _ = rustix::process::setpriority_process(None, ARCHIVE_NICE);
        let _ = to.send(archive::archive(&journal, &closed));
    };
    thread::Builder::new().name("archive".into()).spawn(work).map_err(KeepError::Thread)?;
    Ok(archived.await.map_err(|_| KeepError::Stopping)??)
}

/// Removes bases of before, and those whose entry never came; only while the journal begins behind the one on record.
/// Otherwise, as after a repair that gave up that entry, nothing else may know what the dropped entries add up to.
fn remove_other_bases(state: &Path, journal: &Path, last: u64) -> Result<(), KeepError> {
    if retention::oldest(journal)? != Some(last + 1) {
        return Ok(());
    }
    let kept = base(state, last);
    for other in bases(state).into_iter().filter(|path| *path != kept) {
        fs::remove_file(other).map_err(KeepError::Base)?;
    }
    Ok(())
}

/// Adds up what is to go and writes it as the new base; also its SHA-256.
fn fold(state: &Path, journal: &Path, chosen: &[Closed]) -> Result<(Vec<Seal>, State, String), KeepError> {
    let first = chosen.first().map_or(1, |closed| closed.first);
    let read = snapshot::read_base(&base(state, first - 1));
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
    let Some(Seal { last, hash, .. }) = seals.last() else { return Ok((seals, folded, String::new())) };
    let (receipt, path) = (Receipt { seq: *last, hash: hash.clone() }, base(state, *last));
    snapshot::write(&path, &folded.save(), &receipt).map_err(KeepError::Base)?;
    let sha256 = snapshot::sha256(&path).map_err(KeepError::Base)?;
    Ok((seals, folded, sha256))
}
