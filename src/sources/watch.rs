//! Wakes a source when something happens in a folder. Only a hint: what events miss, the poll finds.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Time given to further events, so that a busy writer does not cost a look at the folder per write.
const COALESCE: Duration = Duration::from_millis(5);

/// Names of closed files kept at most; beyond that the poll finds them.
const CLOSED_MAX: usize = 100_000;

/// A watched folder.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    watcher: Option<(RecommendedWatcher, (u64, u64))>,
    shared: Arc<Shared>,
    complained: bool,
}

#[derive(Debug, Default)]
struct Shared {
    wake: Notify,
    closed: Mutex<HashSet<OsString>>,
}

impl Watch {
    /// Watches a folder, from the moment it exists.
    pub fn new(folder: &Path) -> Self {
        let mut watch = Self { folder: folder.into(), watcher: None, shared: Arc::default(), complained: false };
        watch.renew();
        watch
    }

    /// Waits for an event, at most `poll` long; true when the time was up.
    pub async fn wait(&mut self, poll: Duration) -> bool {
        let shared = self.shared.clone();
        let woken = tokio::time::timeout(poll, shared.wake.notified()).await.is_ok();
        if woken {
            tokio::time::sleep(COALESCE.min(poll)).await;
        } else {
            self.renew();
        }
        !woken
    }

    /// Names of the files that were closed after writing or renamed into the folder since the last call.
    pub fn take_closed(&self) -> HashSet<OsString> {
        std::mem::take(&mut *self.shared.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Watches the folder that stands at the path now; a folder that was replaced sends no events.
    fn renew(&mut self) {
        let now = std::fs::metadata(&self.folder).ok().map(|meta| (meta.dev(), meta.ino()));
        let watched = self.watcher.as_ref().map(|(_, id)| *id);
        if now == watched {
            return;
        }
        self.watcher = None;
        let Some(id) = now else { return };
        match watcher(&self.folder, self.shared.clone()) {
            Ok(watcher) => self.watcher = Some((watcher, id)),
            Err(error) if !self.complained => {
                self.complained = true;
                tracing::warn!(folder = %self.folder.display(), %error, "no file events, only polling");
            }
            Err(_) => {}
        }
    }
}

fn watcher(folder: &Path, shared: Arc<Shared>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let Ok(event) = event else {
            shared.wake.notify_one();
            return;
        };
        if event.need_rescan() {
            shared.wake.notify_one();
        }
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
                let mut closed = shared.closed.lock().unwrap_or_else(PoisonError::into_inner);
                if closed.len() < CLOSED_MAX {
                    closed.extend(event.paths.iter().filter_map(|path| path.file_name().map(OsString::from)));
                }
            }
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => {}
            // Opening and reading is what we do ourselves.
            _ => return,
        }
        shared.wake.notify_one();
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
