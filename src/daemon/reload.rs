//! Loads and checks everything first, then swaps it whole; a faulty bundle is refused and the old one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::daemon::bundle::{self, Bundle, Loaded};
use crate::daemon::settings::{self, Settings};
use crate::daemon::stop;
use crate::daemon::workers::process;
use crate::yaml::diagnostic::{Diagnostic, Gravity, Place, Sources};

/// How long the content folder must be quiet before it is loaded: a pull or an editor may be half done.
pub const QUIET: Duration = Duration::from_secs(2);

/// How long a folder that never comes to rest is waited for.
const RESTLESS_MAX: Duration = Duration::from_secs(30);

/// Settings and bundle of a content folder, both checked.
pub struct Content {
    /// The settings.
    pub settings: Settings,
    /// The bundle.
    pub bundle: Bundle,
    /// Warnings.
    pub faults: Vec<Diagnostic>,
    /// The texts, for rendering them.
    pub texts: Sources,
}

/// What was loaded last; nothing when that was refused, so that the next look tries again.
pub type Loads = ArcSwapOption<Held>;

/// What a content folder held: the text of its settings, and the id of its bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    settings: Option<String>,
    bundle: String,
}

impl Held {
    /// What a folder holds now; `None` when it cannot be read.
    fn now(dir: &Path) -> Option<Self> {
        let settings = std::fs::read_to_string(dir.join(settings::FILE)).ok()?;
        Some(Self { settings: Some(settings), bundle: bundle::id_of(&bundle::read_folder(dir).ok()?) })
    }
}

impl Content {
    /// What it was made of.
    pub fn held(&self) -> Held {
        Held { settings: self.texts.get(settings::FILE).cloned(), bundle: self.bundle.id.clone() }
    }

    /// The warnings as a person reads them.
    pub fn warnings(&self) -> Vec<String> {
        self.faults.iter().map(|fault| fault.render(&self.texts, false)).collect()
    }
}

/// Everything that is wrong with a content folder, with the texts for rendering it.
#[derive(Debug)]
pub struct Faulty {
    /// All faults, errors and warnings.
    pub faults: Vec<Diagnostic>,
    /// The texts.
    pub texts: Sources,
}

impl Faulty {
    /// The faults as a person reads them.
    pub fn rendered(&self, colour: bool) -> Vec<String> {
        self.faults.iter().map(|fault| fault.render(&self.texts, colour)).collect()
    }
}

/// Why a content folder cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There are no settings to read.
    #[error("cannot read {}", path.display())]
    Settings {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The content has faults.
    #[error("the content has {} faults", .0.faults.len())]
    Faulty(Faulty),
}

/// Loads and checks a content folder. Offline: nothing is written and nothing is reached.
///
/// # Errors
/// [`LoadError::Settings`] when there is no `soard.yaml`, [`LoadError::Faulty`] with all faults of all files.
pub fn load(dir: &Path) -> Result<Content, LoadError> {
    load_after(dir, |_| Ok(()))
}

/// [`load`] for the daemon: a worker compiles the scripts first, so that one that compiling brings down is no daemon.
///
/// # Errors
/// As [`load`].
pub fn load_in_daemon(dir: &Path) -> Result<Content, LoadError> {
    load_after(dir, process::trial)
}

fn load_after(dir: &Path, trial: impl Fn(&Sources) -> Result<(), String>) -> Result<Content, LoadError> {
    let read = settings::read(dir).map_err(|cause| LoadError::Settings { path: dir.join(settings::FILE), cause })?;
    let mut faults = read.faults;
    let mut texts = read.text;
    let files = match bundle::read_folder(dir) {
        Ok(files) => files,
        Err(unreadable) => {
            faults.extend(unreadable);
            return Err(LoadError::Faulty(Faulty { faults, texts }));
        }
    };
    texts.extend(files.clone());
    if let Err(cause) = trial(&files) {
        let message = format!("compiling the playbooks brought a worker down: {cause}");
        let help = "look at the constants of the playbooks: they are computed when the bundle is loaded";
        faults.push(Diagnostic::error("deadly-playbooks", Place::start(&"playbooks".into()), message).help(help));
        return Err(LoadError::Faulty(Faulty { faults, texts }));
    }
    let names = read.settings.as_ref().map(Settings::names);
    let Loaded { bundle, faults: found } = bundle::compile(files, bundle::commit(dir), names.as_ref());
    faults.extend(found);
    match (read.settings, bundle) {
        (Some(settings), Some(bundle)) => Ok(Content { settings, bundle, faults, texts }),
        _ => {
            faults.sort_by_key(|fault| fault.gravity == Gravity::Warning);
            Err(LoadError::Faulty(Faulty { faults, texts }))
        }
    }
}

/// Watches a content folder and sends a word once it holds something else and was quiet for [`QUIET`]; waits while git works in it.
pub async fn watch(
    dir: PathBuf,
    state: PathBuf,
    loaded: Arc<Loads>,
    changed: mpsc::Sender<()>,
    mut stop: watch::Receiver<bool>,
) {
    // Events name real paths.
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let (dir, state) = (real(dir), real(state));
    let (to, mut events) = mpsc::unbounded_channel();
    let content = dir.clone();
    let ours = move |path: &PathBuf| !path.starts_with(&state) && is_content(&content, path);
    let handler = move |event: notify::Result<notify::Event>| {
        let counts = match &event {
            Ok(event) if event.need_rescan() => true,
            Ok(event) => !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(&ours),
            Err(_) => true,
        };
        if counts {
            let _ = to.send(());
        }
    };
    let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
        watcher.watch(&dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "cannot watch the content folder; reload by signal still works");
            return;
        }
    };
    watch_folders(&mut watcher, &dir);
    // What changed between the load and this watch was seen by neither.
    let mut quiet_at = Some(Instant::now() + QUIET);
    let mut changed_at: Option<Instant> = None;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(()) => {
                    let first = *changed_at.get_or_insert_with(Instant::now);
                    quiet_at = Some((Instant::now() + QUIET).min(first + RESTLESS_MAX));
                }
                None => return,
            },
            () = sleep_until(quiet_at.unwrap_or_else(|| Instant::now() + QUIET)), if quiet_at.is_some() => {
                if git_is_busy(&dir) {
                    quiet_at = Some(Instant::now() + QUIET);
                } else {
                    (quiet_at, changed_at) = (None, None);
                    // Before the load: what changes after this is seen, what changed before is loaded.
                    watch_folders(&mut watcher, &dir);
                    if holds_something_else(&dir, &loaded).await {
                        let _ = changed.send(()).await;
                    }
                }
            }
            () = stop::told(&mut stop) => return,
        }
    }
}

/// Whether a folder holds something else than what was loaded last, as when it cannot be read.
async fn holds_something_else(dir: &Path, loaded: &Loads) -> bool {
    let dir = dir.to_owned();
    let now = tokio::task::spawn_blocking(move || Held::now(&dir)).await.ok().flatten();
    let loaded = loaded.load();
    now.is_none() || now.as_ref() != loaded.as_deref()
}

/// The folders of a bundle. The state folder may lie beside them and changes with every entry, so the content folder
/// as a whole is not watched.
const FOLDERS: [&str; 4] = ["rules", "playbooks", "lists", "templates"];

/// Watches each folder that is there, also one that was made anew.
fn watch_folders(watcher: &mut notify::RecommendedWatcher, dir: &Path) {
    for folder in FOLDERS.map(|name| dir.join(name)).iter().filter(|folder| folder.is_dir()) {
        let _ = watcher.unwatch(folder);
        if let Err(error) = watcher.watch(folder, RecursiveMode::Recursive) {
            tracing::warn!(%error, folder = %folder.display(), "cannot watch a folder; reload by signal still works");
        }
    }
}

/// Only what settings and bundle are made of counts: logs and alert files change all the time.
fn is_content(dir: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(dir) else { return false };
    let first = below.components().next().and_then(|part| part.as_os_str().to_str());
    first.is_some_and(|first| first == settings::FILE || FOLDERS.contains(&first))
}

/// A git that writes its index may be in the middle of a checkout.
pub fn git_is_busy(dir: &Path) -> bool {
    dir.ancestors().any(|above| above.join(".git/index.lock").exists())
}
