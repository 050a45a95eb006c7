//! Continuous exports: alerts and their changes, sent on as they happen, each at least once and in order.
//!
//! An export reads the journal behind its cursor, one task each, never the core: a peer that is slow or dead holds up nobody else. It reads only what
//! is durable. Read in this order: [`cursor`], `page` (entries to notices), `follow` (the task), `pace`, `snapshot`.

pub mod cursor;
mod follow;
mod pace;
mod page;
mod snapshot;
mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::actions::peer::Peer;
use crate::actions::settings::exports::Export;
use crate::daemon::exports::cursor::{Cursor, Found, Mark};
use crate::daemon::exports::follow::Task;
use crate::daemon::exports::page::Feed;
use crate::daemon::report::{ExportReport, SnapshotReport};
use crate::daemon::settings::{self, Settings};
use crate::daemon::{clock, fault, guard};
use crate::engine::needs::Need;
use crate::export::notice::Wanted;
use crate::index::follow::Index;
use crate::journal::reader::Reader;
use crate::journal::retention::Closed;
use crate::journal::{JournalError, Receipt};

/// All exports of a daemon.
pub struct Exports {
    all: BTreeMap<String, (Arc<Following>, Export)>,
    state: PathBuf,
    /// How far each is, until its task has it.
    cursors: Mutex<BTreeMap<String, Cursor>>,
    /// How many tasks have not ended.
    running: watch::Sender<usize>,
}

/// What a task shares with those who ask how it stands.
struct Following {
    feed: Arc<Feed>,
    peer: tokio::sync::Mutex<Peer>,
    standing: Mutex<Standing>,
}

/// How an export stands.
#[derive(Debug, Default)]
struct Standing {
    /// Everything up to this entry was taken, and that is on disk.
    entry: u64,
    doing: &'static str,
    /// When the first entry happened that waits.
    waiting_since: Option<Timestamp>,
    next_try: Option<Timestamp>,
    sent: u64,
    failed: u64,
    /// Failures in a row.
    failing: u64,
    missed: u64,
    set_back: u64,
    last_error: Option<String>,
    snapshot: Option<SnapshotReport>,
}

impl Standing {
    fn at_rest(&mut self) {
        (self.doing, self.waiting_since, self.next_try) = ("following", None, None);
    }

    fn durable(&mut self, cursor: &Cursor) {
        self.entry = cursor.mark.seq;
        let told = |spooled: &cursor::Spooled| SnapshotReport {
            entry: spooled.seq,
            at: spooled.at,
            alerts: spooled.alerts,
            taken: spooled.done.saturating_sub(1).min(spooled.alerts),
        };
        self.snapshot = cursor.snapshot.as_ref().map(told);
    }
}

impl Following {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exports {
    /// Makes all peers ready and finds out how far each is; sends nothing yet.
    ///
    /// # Errors
    /// Every export that cannot be made ready or has no cursor, each with the reason.
    pub fn open(settings: &Settings, journal: &Reader, index: &Index) -> Result<Arc<Self>, Vec<String>> {
        let (mut all, mut cursors, mut faults) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, export) in settings.exports.iter() {
            let secret = |reference: &_| settings::secret(&settings.dir, reference);
            let peer = Peer::new(export, &secret);
            match (peer, cursor(&settings.state, name, export, journal)) {
                (Ok(peer), Ok(cursor)) => {
                    let following = Arc::new(following(export, peer, &cursor, journal, index));
                    all.insert(name.to_owned(), (following, export.clone()));
                    cursors.insert(name.to_owned(), cursor);
                }
                (peer, cursor) => {
                    let why = peer.err().into_iter().chain(cursor.err());
                    faults.extend(why.map(|why| format!("export `{name}`: {why}")));
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (state, cursors) = (settings.state.clone(), Mutex::new(cursors));
        Ok(Arc::new(Self { all, state, cursors, running: watch::Sender::new(0) }))
    }

    /// Starts to follow the journal, a task for each.
    pub fn start(self: &Arc<Self>, fatal: &mpsc::UnboundedSender<String>, stop: &watch::Sender<bool>) {
        let cursors = std::mem::take(&mut *self.cursors.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, cursor) in cursors {
            let Some((following, export)) = self.all.get(&name).cloned() else { continue };
            let task = Task::new(following, export, self.state.clone(), cursor, fault::from_env(), stop.subscribe());
            let ended = self.clone();
            self.running.send_modify(|running| *running += 1);
            guard("export", fatal, async move {
                task.run().await;
                ended.running.send_modify(|running| *running -= 1);
            });
        }
    }

    /// Waits until all tasks have ended, for at most this long.
    pub async fn finish(&self, patience: Duration) {
        let mut running = self.running.subscribe();
        if timeout(patience, running.wait_for(|running| *running == 0)).await.is_err() {
            tracing::warn!("exports are still sending; what was not taken is sent again");
        }
    }

    /// The last entry of the first of these segments that an export has not read and that is kept for it; and which export.
    pub fn first_need(&self, closed: &[Closed], now: Timestamp) -> Option<Need> {
        let each = self.all.iter().filter_map(|(name, (following, export))| {
            let entry = following.standing().entry;
            let seq = needed(closed, entry, |until| export.keep_for.after(until) > now)?;
            Some(Need { seq, kind: "export", id: name.clone() })
        });
        each.min_by_key(|need| need.seq)
    }

    /// How each stands.
    pub fn reports(&self, head: u64) -> Vec<ExportReport> {
        let now = clock::now();
        let report = |(name, (following, export)): (&String, &(Arc<Following>, Export))| {
            let standing = following.standing();
            let behind = head.saturating_sub(standing.entry);
            let lag = standing.waiting_since.map(|since| now.duration_since(since).as_secs());
            ExportReport {
                name: name.clone(),
                kind: export.peer.kind().into(),
                format: export.format.to_string(),
                entry: standing.entry,
                behind,
                lag_secs: lag.and_then(|secs| u64::try_from(secs).ok()).unwrap_or_default(),
                doing: standing.doing.into(),
                next_try: standing.next_try,
                sent: standing.sent,
                failed: standing.failed,
                failing: standing.failing,
                missed: standing.missed,
                set_back: standing.set_back,
                last_error: standing.last_error.clone(),
                snapshot: standing.snapshot.clone(),
            }
        };
        self.all.iter().map(report).collect()
    }

    /// How each is set up, in words.
    pub fn told(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.all.iter().map(|(name, (_, export))| (name.clone(), export.told())).collect()
    }
}

fn following(export: &Export, peer: Peer, cursor: &Cursor, journal: &Reader, index: &Index) -> Following {
    let wanted = Wanted {
        alerts: export.alerts,
        changes: export.changes,
        at_least: export.at_least,
        kinds: export.kinds.clone(),
    };
    let (journal, index, line_bytes_max) = (journal.clone(), index.clone(), peer.line_bytes_max());
    let feed = Arc::new(Feed { journal, index, wanted, format: export.format, line_bytes_max });
    let mut standing = Standing { doing: "starting", ..Standing::default() };
    standing.durable(cursor);
    Following { feed, peer: tokio::sync::Mutex::new(peer), standing: Mutex::new(standing) }
}

/// The cursor as it was left. A new export begins as it says; one whose cursor cannot be understood begins anew,
/// since nothing may be left out. One that the system does not give stays as it is.
fn cursor(state: &Path, name: &str, export: &Export, journal: &Reader) -> Result<Cursor, String> {
    let found = Cursor::read(state, name).map_err(|error| format!("cannot read its cursor: {error}"))?;
    let start: Mark = match found {
        Found::Whole(mut cursor) => {
            if cursor.note_calendar(export.snapshot.is_some(), clock::now()) {
                kept(&cursor, state)?;
            }
            return Ok(cursor);
        }
        Found::None if export.from_start => {
            oldest(journal).map_err(|error| format!("cannot read the journal: {error}"))?
        }
        Found::None => journal.head().into(),
        Found::Unusable(why) => {
            let export = name;
            tracing::error!(
                export,
                why,
                "the export's cursor cannot be understood and is kept as `.bad`; it begins anew with the oldest entry on record"
            );
            Cursor::keep_bad(state, name).map_err(|error| format!("cannot set its bad cursor aside: {error}"))?;
            Receipt::empty().into()
        }
    };
    let mut cursor = Cursor::new(name, start, clock::now());
    cursor.note_calendar(export.snapshot.is_some(), clock::now());
    kept(&cursor, state)?;
    Ok(cursor)
}

fn kept(cursor: &Cursor, state: &Path) -> Result<(), String> {
    cursor.write(state).map_err(|error| format!("cannot write its cursor: {error}"))
}

/// Before the oldest entry on record: what was dropped before the export was there is no gap.
fn oldest(journal: &Reader) -> Result<Mark, JournalError> {
    let line = journal.lines(1).next().transpose()?;
    Ok(line.map_or_else(|| Receipt::empty().into(), |line| Mark { seq: line.seq - 1, hash: line.prev }))
}

fn needed(closed: &[Closed], entry: u64, is_kept: impl Fn(Timestamp) -> bool) -> Option<u64> {
    let unread = closed.iter().filter(|segment| segment.last > entry);
    unread.filter(|segment| is_kept(segment.until)).map(|segment| segment.last).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_stay_for_an_export_that_is_behind_until_they_are_too_old() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let closed: Vec<Closed> = (0..4)
            .map(|n| Closed {
                first: n * 10 + 1,
                last: n * 10 + 10,
                bytes: 1,
                archived: false,
                until: at(n.cast_signed()),
            })
            .collect();
        let young = |since: i64| move |until: Timestamp| until >= at(since);
        assert_eq!(needed(&closed, 0, young(0)), Some(10));
        assert_eq!(needed(&closed, 10, young(0)), Some(20), "the first was read");
        assert_eq!(needed(&closed, 11, young(0)), Some(20));
        assert_eq!(needed(&closed, 0, young(2)), Some(30), "the first two are too old to be kept");
        assert_eq!(needed(&closed, 0, young(9)), None);
        assert_eq!(needed(&closed, 40, young(0)), None);
    }

    fn export(more: &str) -> Export {
        let text = format!("siem: {{ file: {{ path: out.jsonl }}{more} }}");
        let node = crate::yaml::node::parse(&"soard.yaml".into(), &text).unwrap();
        let mut faults = crate::yaml::reader::Faults::default();
        let exports = crate::actions::settings::exports::read_exports(&node, &mut faults);
        exports.iter().next().unwrap().1.clone()
    }

    #[test]
    fn a_cursor_that_is_bad_is_kept_and_one_that_the_system_does_not_give_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let journal = crate::daemon::query::story::journal(folder.path());
        let (state, reader) = (folder.path().join("state"), journal.reader());
        let path = state.join("exports/siem.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{").unwrap();
        let export = export("");
        assert_eq!(cursor(&state, "siem", &export, &reader).unwrap().mark.seq, 0);
        assert_eq!(std::fs::read_to_string(state.join("exports/siem.json.bad")).unwrap(), "{");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let why = cursor(&state, "siem", &export, &reader).unwrap_err();
        assert!(why.starts_with("cannot read its cursor"), "{why}");
        assert!(path.is_dir(), "it is left as it is");
    }

    #[test]
    fn a_new_export_begins_with_the_oldest_entry_on_record_and_misses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::journal::Settings { segment_bytes_max: 4096, ..crate::journal::Settings::default() };
        let (journal, _) = crate::journal::open(folder.path(), settings, &mut |_| Ok(())).unwrap();
        let reader = journal.reader();
        assert_eq!(oldest(&reader).unwrap(), Receipt::empty().into(), "there is nothing yet");
        crate::daemon::query::story::append(&journal, crate::daemon::query::story::facts());
        assert_eq!(oldest(&reader).unwrap(), Receipt::empty().into());
        reader.forget(reader.head().seq - 1);
        let first = reader.lines(1).next().unwrap().unwrap();
        assert!(first.seq > 1);
        let begun = cursor(&folder.path().join("state"), "siem", &export(", from: start"), &reader).unwrap();
        assert_eq!(begun.mark, Mark { seq: first.seq - 1, hash: first.prev });
    }
}
