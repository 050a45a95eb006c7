//! Starts and stops the parts; the only place that joins the core to the world.
//!
//! ```text
//! sources ─► prepare (normalise, match) ─► core (decide, apply) ─► journal ─► acknowledgement
//!                                            ▲                        │
//!                                            └── results ◄─ perform ◄─┘ tasks
//! ```

pub mod api;
pub mod bundle;
pub mod clock;
pub mod control;
pub mod core;
pub mod fault;
pub mod history;
pub mod logs;
pub mod perform;
pub mod prepare;
pub mod query;
pub mod reload;
pub mod report;
pub mod settings;
pub mod stop;
pub mod systemd;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actions::Actions;
use crate::daemon::api::Api;
use crate::daemon::bundle::{Bundle, Bundles};
use crate::daemon::control::Control;
use crate::daemon::core::{Core, Message};
use crate::daemon::fault::Fault;
use crate::daemon::perform::{Destinations, World};
use crate::daemon::reload::{Content, LoadError};
use crate::daemon::settings::Settings;
use crate::daemon::stop::Stop;
use crate::domain::entry::{Entry, Facts, Log};
use crate::engine::apply::apply;
use crate::engine::input::Input;
use crate::engine::state::State;
use crate::engine::tasks;
use crate::journal::writer::Journal;
use crate::journal::{self, JournalError, Recovery};
use crate::sources::http::Server;
use crate::sources::intake::{Counters, Intake, Limits, Offer};
use crate::sources::{self, Ended, FolderProgress, SourceError, StartPositions};

/// Inputs that may wait for the core.
const INBOX_MAX: usize = 256;
/// How long attempts under way may take to end at a stop; what takes longer is sent again after the restart.
const GRACE: Duration = Duration::from_secs(10);

/// Why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The content folder cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The state folder cannot be made or written.
    #[error("cannot use the state folder {}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The journal cannot be opened.
    #[error("cannot open the journal")]
    Journal(#[from] JournalError),
    /// A secret cannot be read, or a destination cannot be set up.
    #[error("cannot set up the destinations: {}", .0.join("; "))]
    Destinations(Vec<String>),
    /// A source cannot go on.
    #[error("a source stopped")]
    Source(#[from] SourceError),
    /// The journal stopped or a part of the daemon died: it ends rather than limps.
    #[error("{0}")]
    Fatal(String),
}

/// Runs the daemon until a signal, a fatal fault, or the end of all sources that can end.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run(dir: &Path) -> Result<(), DaemonError> {
    let content = reload::load(dir)?;
    for warning in content.warnings() {
        tracing::warn!("{warning}");
    }
    let recovered = recover(&content.settings.state)?;
    let actions = actions(&content.settings)?;
    Daemon::start(content, recovered, actions).await?.run().await
}

/// What the state folder gave.
struct Recovered {
    state: State,
    journal: Journal,
    recovery: Recovery,
}

fn recover(path: &Path) -> Result<Recovered, DaemonError> {
    let unusable = |cause| DaemonError::State { path: path.to_owned(), cause };
    for folder in [path.to_owned(), path.join("bundles"), path.join("journal")] {
        fs::create_dir_all(&folder).map_err(unusable)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    let mut state = State::default();
    let forgets_results = fault::from_env() == Some(Fault::ForgetResults);
    let mut read = |line: &journal::line::Line| {
        let mut facts = Facts::parse(&line.kind, line.data.get())?;
        if forgets_results && matches!(facts, Facts::Result(_)) {
            facts = Facts::Log(Log::Closed);
        }
        apply(&mut state, &Entry { seq: line.seq, at: line.at, facts });
        Ok(())
    };
    let (journal, recovery) = journal::open(&path.join("journal"), journal::Settings::default(), &mut read)?;
    tracing::info!(entries = recovery.entries, verdict = ?recovery.verdict, "journal recovered");
    Ok(Recovered { state, journal, recovery })
}

/// Destinations with their secrets resolved.
fn actions(settings: &Settings) -> Result<Actions, DaemonError> {
    let secret = |reference: &_| settings::secret(&settings.dir, reference);
    Actions::new(settings.destinations.clone(), &secret).map_err(DaemonError::Destinations)
}

/// The running parts.
struct Daemon {
    control: Control,
    core: mpsc::Sender<Message>,
    fatal: mpsc::UnboundedReceiver<String>,
    sources: JoinSet<Result<Ended, SourceError>>,
    core_thread: thread::JoinHandle<Result<(), String>>,
    performer: tokio::task::JoinHandle<()>,
    stop: Stop,
}

impl Daemon {
    async fn start(content: Content, recovered: Recovered, actions: Actions) -> Result<Self, DaemonError> {
        let Content { settings, bundle, .. } = content;
        let Recovered { state, journal, recovery } = recovered;
        let starts: BTreeMap<String, StartPositions> =
            settings.sources.iter().map(|source| (source.name.to_string(), positions(&state, &source.name))).collect();
        let journal_id = if state.journal.is_empty() { random_id()? } else { state.journal.clone() };
        let (bundle, reader) = (Arc::new(bundle), journal.reader());
        let (core_inbox, inbox) = mpsc::channel(INBOX_MAX);
        let (task_queue, tasks) = mpsc::unbounded_channel();
        let (fatal_sender, fatal) = mpsc::unbounded_channel();
        let (next_due, due) = watch::channel(None);
        let stop = Stop::default();

        let bundles = Bundles::new(&settings.state);
        let unusable = |cause| DaemonError::State { path: settings.state.clone(), cause };
        bundles.keep(&bundle).map_err(unusable)?;
        let unfinished = tasks::unfinished(&state);
        let takes_over = state.bundle != bundle.id;
        let world = Arc::new(World {
            bundles,
            destinations: ArcSwap::from_pointee(Destinations { settings: settings.destinations.clone(), actions }),
            journal: reader.clone(),
            journal_id: journal_id.clone(),
            core: core_inbox.clone(),
            counters: perform::Counters::default(),
            fault: fault::from_env(),
        });
        let room = Arc::new(AtomicBool::new(true));
        let core = Core {
            state,
            bundle: bundle.clone(),
            journal,
            tasks: task_queue.clone(),
            next_due,
            fatal: fatal_sender.clone(),
            fault: fault::from_env(),
            room: room.clone(),
        };
        let core_thread = spawn("core", move || core.run(inbox));
        open(&core_inbox, journal_id, recovery, takes_over.then(|| bundle.clone())).await;
        unfinished.into_iter().for_each(|task| drop(task_queue.send(task)));
        let performer = tokio::spawn(perform::run(world.clone(), tasks, stop.performer.subscribe()));
        tokio::spawn(timer(due, core_inbox.clone(), stop.performer.subscribe()));

        let current = Arc::new(ArcSwap::new(bundle));
        let (intake, offers) = Intake::new(Limits::default());
        prepare_thread(offers, current.clone(), core_inbox.clone(), room, &settings, fatal_sender);
        let control = Control::new(settings, world, current, core_inbox.clone());
        let sources = control.start_sources(starts, intake, &stop.intake).await?;
        let mut daemon = Self { control, core: core_inbox, fatal, sources, core_thread, performer, stop };
        daemon.listen(reader)?;
        Ok(daemon)
    }

    /// Serves the control socket.
    fn listen(&mut self, reader: journal::reader::Reader) -> Result<(), DaemonError> {
        let path = settings::socket(&self.control.settings().state);
        let unusable = |cause| DaemonError::State { path: path.clone(), cause };
        if path.exists() {
            // The journal's lock is ours, so no other daemon listens there.
            fs::remove_file(&path).map_err(unusable)?;
        }
        let listener = UnixListener::bind(&path).map_err(unusable)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(unusable)?;
        let api = Api { reader, commands: self.control.commands() };
        tokio::spawn(api::serve(listener, api, self.stop.performer.subscribe()));
        Ok(())
    }

    async fn run(mut self) -> Result<(), DaemonError> {
        let broken = |error| DaemonError::Fatal(format!("cannot listen for signals: {error}"));
        let mut term = signal(SignalKind::terminate()).map_err(broken)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(broken)?;
        let (to, mut changed) = mpsc::channel(1);
        let (dir, state) = (self.control.settings().dir.clone(), self.control.settings().state.clone());
        tokio::spawn(reload::watch(dir, state, to, self.stop.intake.subscribe()));
        tokio::spawn(watchdog(self.core.clone()));
        self.control.announce("ready");
        let ended = loop {
            tokio::select! {
                _ = term.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                _ = hangup.recv() => drop(self.control.reload().await),
                Some(()) = changed.recv() => drop(self.control.reload().await),
                Some(command) = self.control.next_command() => self.control.obey(command).await,
                Some(why) = self.fatal.recv() => break Err(DaemonError::Fatal(why)),
                Some(ended) = self.sources.join_next() => match ended {
                    Ok(Ok(_)) if self.sources.is_empty() => break self.drained().await,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => break Err(error.into()),
                    Err(error) => break Err(DaemonError::Fatal(format!("a source died: {error}"))),
                },
                () = self.core.closed() => break Err(DaemonError::Fatal("the core died".into())),
                _ = &mut self.performer => break Err(DaemonError::Fatal("the performer died".into())),
            }
        };
        self.shut_down(ended).await
    }

    /// All sources came to their end: waits until everything they brought is done.
    async fn drained(&mut self) -> Result<(), DaemonError> {
        loop {
            let report = self.control.core_report().await;
            if report.is_none_or(|report| report.runs == 0 && report.groups == 0) {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                Some(why) = self.fatal.recv() => return Err(DaemonError::Fatal(why)),
            }
        }
    }

    /// First what brings work, then what does it, then the journal. What is under way for longer than [`GRACE`]
    /// has its intent on record and is sent again, with the same key, after the restart.
    async fn shut_down(mut self, ended: Result<(), DaemonError>) -> Result<(), DaemonError> {
        systemd::stopping();
        tracing::info!("stopping");
        self.stop.intake.send_replace(true);
        let _ = timeout(GRACE, async { while self.sources.join_next().await.is_some() {} }).await;
        self.sources.abort_all();
        self.stop.performer.send_replace(true);
        if !self.performer.is_finished() && timeout(GRACE, &mut self.performer).await.is_err() {
            tracing::warn!("requests are still under way; they will be sent again with the same key");
        }
        let _ = self.core.send(Message::Stop).await;
        let core = self.core_thread;
        let closed = tokio::task::spawn_blocking(move || core.join()).await;
        let _ = fs::remove_file(settings::socket(&self.control.settings().state));
        ended?;
        match closed {
            Ok(Ok(closed)) => closed.map_err(DaemonError::Fatal),
            _ => Err(DaemonError::Fatal("the core died".into())),
        }
    }
}

/// The first entries of a daemon's life, before any input.
async fn open(core: &mpsc::Sender<Message>, journal: String, recovery: Recovery, bundle: Option<Arc<Bundle>>) {
    let opened = Log::Opened { journal, version: env!("CARGO_PKG_VERSION").into() };
    let recovered =
        recovery.torn.map(|torn| Log::Recovered { bytes: torn.bytes, sha256: torn.sha256, file: torn.file });
    for log in recovered.into_iter().chain([opened]) {
        let _ = core.send(Message::Input(Input::Log(log), None)).await;
    }
    if let Some(bundle) = bundle {
        let (done, durable) = oneshot::channel();
        let _ = core.send(Message::Swap(bundle, done)).await;
        let _ = durable.await;
    }
}

/// Wakes the core when its earliest timer is due.
async fn timer(
    mut due: watch::Receiver<Option<Timestamp>>,
    core: mpsc::Sender<Message>,
    mut stop: watch::Receiver<bool>,
) {
    /// Wall clocks jump: look again at least this often.
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    loop {
        let next = *due.borrow_and_update();
        let wait = next.map(|next| Duration::try_from(next.duration_since(clock::now())).unwrap_or(Duration::ZERO));
        if wait == Some(Duration::ZERO) && core.send(Message::Tick).await.is_err() {
            return;
        }
        // A told core announces its next instant once it has served this one.
        let pause = wait.filter(|wait| !wait.is_zero()).unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        tokio::select! {
            changed = due.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
            () = stop::told(&mut stop) => return,
        }
    }
}

/// Tells systemd that the daemon lives, as long as the core answers.
async fn watchdog(core: mpsc::Sender<Message>) {
    let Some(period) = systemd::watchdog_period() else { return };
    loop {
        tokio::time::sleep(period).await;
        let (to, answer) = oneshot::channel();
        if core.send(Message::Report(to)).await.is_err() {
            return;
        }
        if timeout(period, answer).await.is_ok_and(|answer| answer.is_ok()) {
            systemd::alive();
        }
    }
}

fn prepare_thread(
    offers: mpsc::Receiver<Offer>,
    current: Arc<ArcSwap<Bundle>>,
    core: mpsc::Sender<Message>,
    room: Arc<AtomicBool>,
    settings: &Settings,
    fatal: mpsc::UnboundedSender<String>,
) {
    let pinned = settings.sources.iter().map(|source| (source.name.to_string(), source.format.clone()));
    let pinned: BTreeMap<String, Option<String>> = pinned.collect();
    spawn("prepare", move || {
        let guarded = std::panic::AssertUnwindSafe(|| {
            prepare::run(offers, &current, &core, &room, |name| pinned.get(name)?.clone())
        });
        if std::panic::catch_unwind(guarded).is_err() {
            let _ = fatal.send("the prepare thread died".into());
        }
    });
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().name(name.into()).spawn(body).expect("the system gives the daemon a thread at start")
}

/// What the journal holds of one source.
fn positions(state: &State, source: &str) -> StartPositions {
    let folder = state.folders.get(source).into_iter().flatten();
    StartPositions {
        file: state.files.get(source).cloned(),
        folder: folder
            .map(|(file, last)| (file.clone(), FolderProgress { next: last.index + 1, done: last.last }))
            .collect(),
    }
}

fn random_id() -> Result<String, DaemonError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| DaemonError::Fatal(format!("no random numbers: {error}")))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

impl Control {
    /// Starts every source, and the HTTP server when one of them needs it.
    async fn start_sources(
        &self,
        mut starts: BTreeMap<String, StartPositions>,
        intake: Intake,
        stop: &watch::Sender<bool>,
    ) -> Result<JoinSet<Result<Ended, SourceError>>, DaemonError> {
        let settings = self.settings();
        let mut running = JoinSet::new();
        if let Some(server) = &settings.server {
            let server = Server::bind(server.clone(), self.endpoints(&intake)?, axum::Router::new()).await?;
            tracing::info!(address = %server.address(), "listening for alerts");
            let stop = stop.subscribe();
            running.spawn(async move {
                server.run(stop).await;
                Ok(Ended::Stopped)
            });
        }
        for source in &settings.sources {
            let start = starts.remove(&*source.name).unwrap_or_default();
            let counters: Arc<Counters> = self.counters(&source.name);
            running.spawn(sources::run(source.clone(), start, intake.clone(), counters, stop.subscribe()));
        }
        Ok(running)
    }
}
