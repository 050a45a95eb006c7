//! Starts and stops the parts; the only place that joins the core to the world.
//!
//! ```text
//! sources ─► prepare (normalise, match) ─► core (decide, apply) ─► journal ─► acknowledgement
//!                                            ▲                        │
//!                                            └── results ◄─ perform ◄─┘ tasks
//! ```

pub mod actor;
mod addressees;
pub mod api;
pub mod auth;
pub mod beside;
pub mod breaker;
pub mod bundle;
pub mod clock;
pub mod control;
pub mod core;
pub mod deliver;
pub mod endings;
pub mod exports;
pub mod fault;
pub mod history;
pub mod holds;
pub mod keep;
pub mod key;
pub mod lanes;
pub mod likeness;
pub mod links;
pub mod logged;
pub mod logs;
mod mail;
pub mod measures;
pub mod opening;
pub mod order;
pub mod perform;
pub mod ports;
pub mod prepare;
pub mod query;
pub mod recent;
pub mod recipients;
pub mod recovery;
pub mod reload;
pub mod report;
pub mod resend;
pub mod samples;
pub mod settings;
pub mod snapshot;
pub mod socket;
pub mod stop;
pub mod suppressions;
pub mod systemd;
pub mod takes;
pub mod tally;
pub mod timer;
pub mod told;
pub mod trial;
pub mod workers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actions::Actions;
use crate::daemon::api::{Api, Console};
use crate::daemon::auth::Gate;
use crate::daemon::bundle::{Bundle, Bundles};
use crate::daemon::clock::Steady;
use crate::daemon::control::{Ask, Control, SourceCounters};
use crate::daemon::core::{Core, Message, Pending};
use crate::daemon::exports::Exports;
use crate::daemon::history::History;
use crate::daemon::key::{KeyError, Keys};
use crate::daemon::links::{Links, LinksError};
use crate::daemon::opening::{open, resume, sign};
use crate::daemon::perform::{Destinations, World};
use crate::daemon::ports::Ports;
use crate::daemon::recovery::{Recovered, recover};
use crate::daemon::reload::{Content, LoadError};
use crate::daemon::settings::Settings;
use crate::daemon::snapshot::Snapshots;
use crate::daemon::stop::Stop;
use crate::daemon::takes::Takes;
use crate::daemon::tally::Tally;
use crate::daemon::workers::Workers;
use crate::engine::state::State;
use crate::engine::tasks;
use crate::index::follow::Follower;
use crate::index::place::Place;
use crate::journal::JournalError;
use crate::journal::notary::Notary;
use crate::journal::reader::Reader;
use crate::sources::http::Server;
use crate::sources::intake::{Intake, Limits, Offer};
use crate::sources::{self, Ended, FolderProgress, SourceError, StartPositions};

/// Inputs that may wait for the core.
const INBOX_MAX: usize = 256;
/// How often it is looked whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);
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
    /// The key that signs the journal cannot be used.
    #[error("cannot sign the journal")]
    Key(#[from] KeyError),
    /// The key for links in mails cannot be used.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// A secret cannot be read, or a destination cannot be set up.
    #[error("cannot set up the destinations: {}", .0.join("; "))]
    Destinations(Vec<String>),
    /// An export cannot be set up.
    #[error("cannot set up the exports: {}", .0.join("; "))]
    Exports(Vec<String>),
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
pub async fn run(dir: &Path, console: Console) -> Result<(), DaemonError> {
    outlive_file_size_limit()?;
    let content = reload::load_in_daemon(dir)?;
    for warning in content.warnings() {
        tracing::warn!("{warning}");
    }
    let recovered = recover(&content.settings)?;
    let actions = actions(&content.settings)?;
    let held = content.held();
    // Before anything is served: whoever is told to stop from here on closes the journal in good order.
    let signals = Signals::listen().map_err(broken)?;
    let daemon = Daemon::start(content, recovered, actions, console).await?;
    daemon.control.loads().store(Some(Arc::new(held)));
    daemon.run(signals).await
}

/// What the daemon is told by signals.
struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let (term, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { term, interrupt, hangup: signal(SignalKind::hangup())? })
    }
}

/// Beyond a limit on file size the kernel sends a signal that ends a process. Once somebody listens for it, writing
/// fails instead, and the journal waits for room.
fn outlive_file_size_limit() -> Result<(), DaemonError> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind).map(drop).map_err(broken)
}

fn broken(error: std::io::Error) -> DaemonError {
    DaemonError::Fatal(format!("cannot listen for signals: {error}"))
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
    fatal_sender: mpsc::UnboundedSender<String>,
    prepare: thread::JoinHandle<()>,
    sources: JoinSet<Result<Ended, SourceError>>,
    core_thread: thread::JoinHandle<Result<(), String>>,
    performer: tokio::task::JoinHandle<()>,
    index: Follower,
    stop: Stop,
}

impl Daemon {
    /// Everything that can fail comes first; only then does anything leave the daemon.
    async fn start(
        content: Content,
        recovered: Recovered,
        actions: Actions,
        console: Console,
    ) -> Result<Self, DaemonError> {
        let Content { settings, bundle, .. } = content;
        let Recovered { state, journal, recovery, snapshot } = recovered;
        let (intake, offers) = Intake::new(Limits::default());
        let (counters, gate) = (counters(&settings), Arc::new(Gate::new(state.tokens.clone())));
        let ports = Ports::open(&settings, &intake, &counters, &gate).await?;
        let (bundle, reader, bundles) = (Arc::new(bundle), journal.reader(), Bundles::new(&settings.state));
        let history = History { journal: reader.clone(), recent: Arc::default() };
        bundles.keep(&bundle).map_err(|cause| DaemonError::State { path: settings.state.clone(), cause })?;
        let (stop, (fatal_sender, fatal)) = (Stop::default(), mpsc::unbounded_channel());
        let (index, exports) = followers(&settings, &reader, &fatal_sender)?;
        let (starts, unfinished) = (starts(&settings, &state), tasks::unfinished(&state));
        let journal_id = if state.journal.is_empty() { random_id()? } else { state.journal.clone() };
        let (links, replaced) = (Arc::new(Links::of(&settings, &journal_id)?), state.signed_by.clone());
        let (notary, disk, takes) = (journal.notary(), journal.room().clone(), Arc::<Takes>::default());
        let succession = resume(&notary, &journal_id, Keys::open(&settings, &journal_id, &state.signed_by)?);

        let ((core_inbox, inbox), (task_queue, tasks)) = (mpsc::channel(INBOX_MAX), mpsc::unbounded_channel());
        let ((next_due, due), own_holds) = (watch::channel(None), Arc::new(state.holds.clone()));
        let (tell_holds, holds) = watch::channel(own_holds);
        let takes_over = (state.bundle != bundle.id).then(|| bundle.clone());
        let core = Core {
            clock: Steady::new(state.at),
            state,
            bundle: bundle.clone(),
            journal,
            tasks: task_queue.clone(),
            next_due,
            fatal: fatal_sender.clone(),
            fault: fault::from_env(),
            takes: takes.clone(),
            gate: gate.clone(),
            holds: tell_holds,
            pending: Pending::default(),
            snapshots: Snapshots::start(&settings.state, snapshot),
            recent: history.recent.clone(),
        };
        let core_thread = spawn("core", move || core.run(inbox));
        open(&core_inbox, journal_id.clone(), recovery, takes_over).await?;
        sign(&core_inbox, &notary, &settings, &journal_id, &replaced, succession).await?;
        exports.start(&fatal_sender, &stop.performer);

        let world = Arc::new(World {
            workers: start_workers(&fatal_sender),
            bundles,
            destinations: ArcSwap::from_pointee(Destinations { settings: settings.destinations.clone(), actions }),
            history,
            disk,
            journal_id,
            core: core_inbox.clone(),
            counters: perform::Counters::default(),
            fatal: fatal_sender.clone(),
            holds,
            links: links.clone(),
            exports,
            retention: Arc::default(),
            renewed: tokio::sync::Notify::new(),
            fault: fault::from_env(),
        });
        let (current, tally) = (Arc::new(ArcSwap::new(bundle)), Arc::<Tally>::default());
        let prepare = prepare_thread(offers, current.clone(), core_inbox.clone(), takes, tally.clone(), &settings);
        unfinished.into_iter().for_each(|task| drop(task_queue.send(task)));
        let performer = tokio::spawn(perform::run(world.clone(), tasks, stop.performer.subscribe()));
        guard("keeper", &fatal_sender, keeper(&settings, &world, &notary, &stop));
        guard("timer", &fatal_sender, timer::timer(due, core_inbox.clone(), stop.performer.subscribe()));
        let control = Control::new(settings, counters, world, current, core_inbox.clone(), notary, tally);
        let (core, commands) = (core_inbox, control.commands());
        let api = Api { reader, index: index.index(), commands, gate, links, stop: stop.intake.subscribe() };
        let server = ports.serve(console(api), &fatal_sender, &stop);
        let sources = control.start_sources(starts, intake, server, &stop.intake);
        Ok(Self { control, core, fatal, fatal_sender, sources, prepare, core_thread, performer, index, stop })
    }

    async fn run(mut self, signals: Signals) -> Result<(), DaemonError> {
        let Signals { mut term, mut interrupt, mut hangup } = signals;
        let (to, mut changed) = mpsc::channel(1);
        let (dir, state) = (self.control.settings().dir.clone(), self.control.settings().state.clone());
        guard(
            "watch",
            &self.fatal_sender,
            reload::watch(dir, state, self.control.loads(), to, self.stop.intake.subscribe()),
        );
        guard("watchdog", &self.fatal_sender, timer::watchdog(self.core.clone()));
        self.control.announce("ready");
        let ends = !self.sources.is_empty();
        let mut look = tokio::time::interval(LOOK_EVERY);
        let ended = loop {
            tokio::select! {
                _ = term.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                _ = hangup.recv() => self.control.ask_reload(Ask::Operator(None)),
                Some(()) = changed.recv() => self.control.ask_reload(Ask::Watch),
                event = self.control.next() => tokio::select! {
                    // What is served may wait for a full disk.
                    () = self.control.serve(event) => {}
                    _ = term.recv() => break Ok(()),
                    _ = interrupt.recv() => break Ok(()),
                },
                Some(why) = self.fatal.recv() => break Err(DaemonError::Fatal(why)),
                () = self.core.closed() => break Err(DaemonError::Fatal("the core died".into())),
                _ = &mut self.performer => break Err(DaemonError::Fatal("the performer died".into())),
                Some(ended) = self.sources.join_next(), if !self.sources.is_empty() => match ended {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => break Err(error.into()),
                    Err(error) => break Err(DaemonError::Fatal(format!("a source died: {error}"))),
                },
                _ = look.tick() => {
                    if self.prepare.is_finished() && !self.sources.is_empty() {
                        break Err(DaemonError::Fatal("the prepare thread died".into()));
                    }
                    if ends && self.sources.is_empty() && self.is_done().await {
                        break Ok(());
                    }
                }
            }
        };
        self.shut_down(ended).await
    }

    /// All sources came to their end, and everything that they brought is done.
    async fn is_done(&self) -> bool {
        let report = if self.prepare.is_finished() { self.control.core_report().await } else { None };
        report.is_some_and(|left| left.runs + left.groups + left.held == 0 && left.unwritten == 0)
    }

    /// First what brings work, then what does it, then the journal. What is under way for longer than [`GRACE`] has its
    /// intent on record: it is sent again, with the same key, after the restart, or is `unknown` where that is
    /// forbidden. After a fatal fault nothing can be recorded any more, so nothing more is begun. What waits for a full
    /// disk is refused, as what a crash would leave unwritten.
    async fn shut_down(mut self, ended: Result<(), DaemonError>) -> Result<(), DaemonError> {
        systemd::stopping();
        tracing::info!("stopping");
        self.control.disk().give_up();
        if ended.is_err() {
            self.stop.performer.send_replace(true);
        }
        self.stop.intake.send_replace(true);
        let _ = timeout(GRACE, async { while self.sources.join_next().await.is_some() {} }).await;
        self.sources.abort_all();
        self.stop.performer.send_replace(true);
        if !self.performer.is_finished() && timeout(GRACE, &mut self.performer).await.is_err() {
            tracing::warn!("requests are still under way; their intents are on record");
        }
        self.control.world().exports.finish(GRACE).await;
        let _ = self.core.send(Message::Stop).await;
        let core = self.core_thread;
        let closed = tokio::task::spawn_blocking(move || core.join()).await;
        // The journal has its last entry. What the index does not reach in time, it does after the next start.
        let (index, patience) = (self.index, if ended.is_ok() { GRACE } else { Duration::ZERO });
        let _ = tokio::task::spawn_blocking(move || index.finish(patience)).await;
        let _ = fs::remove_file(settings::socket(&self.control.settings().state));
        ended?;
        match closed {
            Ok(Ok(closed)) => closed.map_err(DaemonError::Fatal),
            _ => Err(DaemonError::Fatal("the core died".into())),
        }
    }
}

/// Starts the worker processes as they are needed.
fn start_workers(fatal: &mpsc::UnboundedSender<String>) -> Arc<Workers> {
    let dying = fatal.clone();
    Workers::start(move |why| drop(dying.send(why.to_owned())))
}

/// Drops and compresses what is old of the journal.
fn keeper(settings: &Settings, world: &World, notary: &Notary, stop: &Stop) -> impl Future<Output = ()> + Send + use<> {
    let (folder, policy, reader) = (settings.state.clone(), settings.journal.clone(), world.history.journal.clone());
    let (asked, told) = ((world.core.clone(), notary.clone()), (world.exports.clone(), world.retention.clone()));
    keep::run(folder, policy, reader, asked, told, stop.performer.subscribe())
}

/// What follows the journal: the index, and the exports, which ask it.
fn followers(
    settings: &Settings,
    reader: &Reader,
    fatal: &mpsc::UnboundedSender<String>,
) -> Result<(Follower, Arc<Exports>), DaemonError> {
    let index = start_index(&settings.state, reader, fatal);
    let exports = Exports::open(settings, reader, &index.index());
    Ok((index, exports.map_err(DaemonError::Exports)?))
}

/// Keeps the index up with the journal.
fn start_index(state: &Path, journal: &Reader, fatal: &mpsc::UnboundedSender<String>) -> Follower {
    let fatal = fatal.clone();
    Follower::start(Place::of(state), journal.clone(), move || drop(fatal.send("the index died".into())))
}

/// Runs a part beside the others; a part that dies stops the daemon.
fn guard(name: &'static str, fatal: &mpsc::UnboundedSender<String>, part: impl Future<Output = ()> + Send + 'static) {
    let fatal = fatal.clone();
    tokio::spawn(async move {
        if let Err(error) = tokio::spawn(part).await {
            let _ = fatal.send(format!("the {name} died: {error}"));
        }
    });
}

fn prepare_thread(
    offers: mpsc::Receiver<Offer>,
    current: Arc<ArcSwap<Bundle>>,
    core: mpsc::Sender<Message>,
    takes: Arc<Takes>,
    tally: Arc<Tally>,
    settings: &Settings,
) -> thread::JoinHandle<()> {
    let pinned = settings.sources.iter().map(|source| (source.name.to_string(), source.format.clone()));
    let pinned: BTreeMap<String, Option<String>> = pinned.collect();
    spawn("prepare", move || prepare::run(offers, &current, &core, &takes, &tally, |name| pinned.get(name)?.clone()))
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().name(name.into()).spawn(body).expect("the system gives the daemon a thread at start")
}

/// What the journal holds of every source.
fn starts(settings: &Settings, state: &State) -> BTreeMap<String, StartPositions> {
    settings.sources.iter().map(|source| (source.name.to_string(), positions(state, &source.name))).collect()
}

/// One set of counters for each source.
fn counters(settings: &Settings) -> SourceCounters {
    settings.sources.iter().map(|source| (source.name.to_string(), Arc::default())).collect()
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
    /// Starts every source, and the HTTP server when there is one.
    fn start_sources(
        &self,
        mut starts: BTreeMap<String, StartPositions>,
        intake: Intake,
        server: Option<Server>,
        stop: &watch::Sender<bool>,
    ) -> JoinSet<Result<Ended, SourceError>> {
        let mut running = JoinSet::new();
        if let Some(server) = server {
            let stop = stop.subscribe();
            running.spawn(async move {
                server.run(stop).await;
                Ok(Ended::Stopped)
            });
        }
        for source in &self.settings().sources {
            let start = starts.remove(&*source.name).unwrap_or_default();
            let counters = self.counters(&source.name);
            running.spawn(sources::run(source.clone(), start, intake.clone(), counters, stop.subscribe()));
        }
        running
    }
}
