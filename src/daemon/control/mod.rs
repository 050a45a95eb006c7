//! Answers operators: status, reload, another try for a quarantined record.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::daemon::api::{Command, Today};
use crate::daemon::auth::Gate;
use crate::daemon::bundle::Bundle;
use crate::daemon::core::{CoreReport, Message};
use crate::daemon::key::Keys;
use crate::daemon::opening::{Succession, sign};
use crate::daemon::perform::{Destinations, World};
use crate::daemon::prepare::{self, Prepared};
use crate::daemon::reload::{self, Content, LoadError, Loads};
use crate::daemon::report::{KeyReport, RefusedBundle, ReloadReport, RetryReport};
use crate::daemon::settings::{self, Settings};
use crate::daemon::tally::Tally;
use crate::daemon::{DaemonError, actions, clock, resend, samples, systemd, trial};
use crate::domain::entry::Facts;
use crate::domain::record::{Position, Record};
use crate::domain::secret::Secret;
use crate::engine::input::Input;
use crate::journal::notary::Notary;
use crate::journal::room::Room;
use crate::sources::intake::{Answer, Counters, Intake};
use crate::sources::{Kind, http};

/// Commands that may wait.
const COMMANDS_MAX: usize = 64;
/// How long an operator waits for the core.
const CORE_WAIT: Duration = Duration::from_secs(5);

/// A load under way.
type Load = JoinHandle<Result<Content, LoadError>>;

/// What a load comes to.
pub type Loaded = Result<Result<Content, LoadError>, JoinError>;

/// Something to serve.
pub enum Event {
    /// A load ended.
    Loaded(Box<Loaded>),
    /// An operator wants something.
    Command(Command),
}

/// What a swap came to.
struct Swapped {
    changed: bool,
    warnings: Vec<String>,
}

/// What operators talk to.
pub struct Control {
    settings: Settings,
    world: Arc<World>,
    current: Arc<ArcSwap<Bundle>>,
    core: mpsc::Sender<Message>,
    notary: Notary,
    sources: BTreeMap<String, Arc<Counters>>,
    tally: Arc<Tally>,
    started: Timestamp,
    loaded: Timestamp,
    refused: Option<RefusedBundle>,
    commands: mpsc::Sender<Command>,
    inbox: mpsc::Receiver<Command>,
    /// The load under way, and who asked for it.
    loading: Option<(Load, Vec<Ask>)>,
    /// Who asked since: their files may have changed after that load had begun.
    asked: Vec<Ask>,
    loads: Arc<Loads>,
}

/// Counters of every source, by name.
pub type SourceCounters = BTreeMap<String, Arc<Counters>>;

/// Who asks for a reload.
#[derive(Debug)]
pub enum Ask {
    /// A file changed.
    Watch,
    /// An operator, by signal or by command, who may wait for the answer; secrets are read anew.
    Operator(Option<oneshot::Sender<ReloadReport>>),
}

/// The HTTP sources with their tokens.
///
/// # Errors
/// When a token cannot be read.
pub fn endpoints(
    settings: &Settings,
    intake: &Intake,
    counters: &SourceCounters,
    gate: &Arc<Gate>,
) -> Result<Vec<http::Endpoint>, DaemonError> {
    let mut endpoints = Vec::new();
    let mut wrong = Vec::new();
    for source in &settings.sources {
        let Kind::Http(http) = &source.kind else { continue };
        let tokens = http.tokens.iter().map(|token| settings::secret(&settings.dir, token));
        match tokens.collect::<Result<Vec<Secret>, String>>() {
            Ok(tokens) => {
                let (name, intake) = (source.name.clone(), intake.clone());
                let counters = counters.get(&*source.name).cloned().unwrap_or_default();
                let gate = gate.of_sources();
                endpoints.push(http::Endpoint { name, tokens, gate, intake, counters });
            }
            Err(error) => wrong.push(format!("source {}: {error}", source.name)),
        }
    }
    if wrong.is_empty() { Ok(endpoints) } else { Err(DaemonError::Destinations(wrong)) }
}

impl Control {
    /// With the settings that the daemon started with.
    pub fn new(
        settings: Settings,
        sources: SourceCounters,
        world: Arc<World>,
        current: Arc<ArcSwap<Bundle>>,
        core: mpsc::Sender<Message>,
        notary: Notary,
        tally: Arc<Tally>,
    ) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (started, loaded) = (clock::now(), clock::now());
        Self {
            settings,
            world,
            current,
            core,
            notary,
            sources,
            tally,
            started,
            loaded,
            refused: None,
            commands,
            inbox,
            loading: None,
            asked: Vec::new(),
            loads: Arc::default(),
        }
    }

    /// What was loaded last.
    pub fn loads(&self) -> Arc<Loads> {
        self.loads.clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What carries out tasks.
    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// The core.
    pub(super) fn core(&self) -> &mpsc::Sender<Message> {
        &self.core
    }

    /// The bundle in charge.
    pub(super) fn bundle(&self) -> Arc<Bundle> {
        self.current.load_full()
    }

    /// Whether the journal has room.
    pub fn disk(&self) -> &Room {
        &self.world.disk
    }

    /// Where commands go.
    pub fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    /// A source's counters.
    pub fn counters(&self, source: &str) -> Arc<Counters> {
        self.sources.get(source).cloned().unwrap_or_default()
    }

    /// Carries a command out and answers it.
    async fn obey(&mut self, command: Command) {
        match command {
            Command::Status(to) => {
                if let Some(status) = self.status().await {
                    let _ = to.send(status);
                }
            }
            Command::Reload(to) => self.ask_reload(Ask::Operator(Some(to))),
            Command::RotateKey(to) => drop(to.send(self.rotate_key().await)),
            Command::Order(ordered) => match self.unknown(&ordered.wish).or_else(|| self.unmailed(&ordered.wish)) {
                Some(why) => drop(ordered.done.send(Err(why))),
                None => drop(self.core.send(Message::Order(ordered)).await),
            },
            Command::Silences(done) => drop(self.core.send(Message::Silences(done)).await),
            Command::Tokens(done) => drop(self.core.send(Message::Tokens(done)).await),
            Command::Approvals(done) => drop(self.core.send(Message::Approvals(done)).await),
            Command::Recipients(done) => {
                if let Some(all) = self.recipients().await {
                    let _ = done.send(all);
                }
            }
            Command::Holds(done) => {
                if let Some(core) = self.core_report().await {
                    let _ = done.send(self.holds_report(core.holds));
                }
            }
            Command::Today(to) => {
                let (bundle, destinations) = (self.current.load_full(), self.settings.destinations.clone().into());
                drop(to.send(Today { bundle, destinations }));
            }
            Command::Body(alert, done) => drop(self.core.send(Message::Body(alert, done)).await),
            Command::Active(alerts, most, done) => drop(self.core.send(Message::Active(alerts, most, done)).await),
            Command::Destinations(done) => {
                if let Some(core) = self.core_report().await {
                    let _ = done.send(self.destinations(&core));
                }
            }
            Command::TryOut { name, who, comment, done } => {
                let world = self.world.clone();
                tokio::spawn(async move { drop(done.send(trial::try_out(&world, name, who, comment).await)) });
            }
            Command::Exports(done) => drop(done.send(self.exports())),
            Command::TryOutExport { name, seq, done } => {
                let world = self.world.clone();
                tokio::spawn(async move {
                    drop(done.send(world.exports.try_out(&world, name, seq).await));
                });
            }
            Command::Resend { ask, done } => {
                let world = self.world.clone();
                tokio::spawn(async move { drop(done.send(resend::resend(&world, ask).await)) });
            }
            Command::Samples { formats, actor, done } => {
                let (bundle, core) = (self.current.load_full(), self.core.clone());
                tokio::spawn(async move { drop(done.send(samples::send(bundle, core, formats, actor).await)) });
            }
            Command::Retry { record_no, done } => drop(done.send(self.retry(record_no).await)),
        }
    }

    /// Begins to load, beside everything else; when a load is under way, another follows it.
    pub fn ask_reload(&mut self, ask: Ask) {
        self.asked.push(ask);
        if self.loading.is_none() {
            let dir = self.settings.dir.clone();
            let load = tokio::task::spawn_blocking(move || reload::load_in_daemon(&dir));
            self.loading = Some((load, std::mem::take(&mut self.asked)));
        }
    }

    /// The next thing to serve.
    pub async fn next(&mut self) -> Event {
        let loading = async {
            match &mut self.loading {
                Some((load, _)) => load.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            loaded = loading => Event::Loaded(Box::new(loaded)),
            command = self.inbox.recv() => Event::Command(command.expect("this end holds a sender")),
        }
    }

    /// Serves it.
    pub async fn serve(&mut self, event: Event) {
        match event {
            Event::Loaded(loaded) => self.take(*loaded).await,
            Event::Command(command) => self.obey(command).await,
        }
    }

    /// Swaps what was loaded, or keeps the old when it has a fault, and answers who asked.
    async fn take(&mut self, loaded: Loaded) {
        let (_, asked) = self.loading.take().unwrap_or_else(|| unreachable!("a load was under way"));
        let by_operator = asked.iter().any(|ask| matches!(ask, Ask::Operator(_)));
        let mut held = None;
        let result = match loaded {
            Ok(Ok(content)) => {
                held = Some(Arc::new(content.held()));
                self.swap(content, by_operator).await
            }
            Ok(Err(LoadError::Faulty(faulty))) => Err(faulty.rendered(false)),
            Ok(Err(error)) => Err(vec![said(&error)]),
            Err(error) => Err(vec![format!("loading died: {error}")]),
        };
        self.loads.store(held.filter(|_| result.is_ok()));
        let report = self.told(result);
        for ask in asked {
            if let Ask::Operator(Some(to)) = ask {
                let _ = to.send(report.clone());
            }
        }
        if let Some(next) = self.asked.pop() {
            self.ask_reload(next);
        }
    }

    fn told(&mut self, result: Result<Swapped, Vec<String>>) -> ReloadReport {
        match result {
            Ok(Swapped { changed, warnings }) => {
                let was_refused = self.refused.take().is_some();
                if changed || was_refused {
                    self.announce("reloaded");
                }
                ReloadReport { loaded: true, bundle: self.bundle_report(), faults: warnings }
            }
            Err(faults) => {
                let all = faults.join("\n");
                tracing::error!(faults = faults.len(), "the new bundle is refused, the old one stays\n{all}");
                self.refused = Some(RefusedBundle { at: clock::now(), faults: faults.clone() });
                self.announce("new bundle refused, the old one stays");
                ReloadReport { loaded: false, bundle: self.bundle_report(), faults }
            }
        }
    }

    async fn swap(&mut self, content: Content, by_operator: bool) -> Result<Swapped, Vec<String>> {
        let mut warnings = content.warnings();
        let Content { settings, bundle, .. } = content;
        let changed = bundle.id != self.current.load().id;
        let others = settings.destinations != self.settings.destinations;
        let new = if by_operator || others {
            let actions = actions(&settings).map_err(|error| vec![said(&error)])?;
            Some(Destinations { settings: settings.destinations.clone(), actions })
        } else {
            None
        };
        if settings.sources != self.settings.sources
            || settings.server != self.settings.server
            || settings.state != self.settings.state
            || settings.exports != self.settings.exports
        {
            warnings
                .push("`state`, `sources`, `server` or `exports` changed: they take effect at the next start".into());
        }
        if changed {
            let bundle = Arc::new(bundle);
            self.world.bundles.keep(&bundle).map_err(|error| vec![format!("cannot keep the bundle: {error}")])?;
            let (done, durable) = oneshot::channel();
            let gone = || vec!["the core is gone".to_owned()];
            self.core.send(Message::Swap(bundle.clone(), done)).await.map_err(|_| gone())?;
            match timeout(CORE_WAIT, durable).await {
                Ok(durable) => durable.map_err(|_| gone())?,
                // The core decides by it already.
                Err(_) => {
                    warnings.push("the new bundle is in charge, but not yet on record: the disk is full or slow".into())
                }
            }
            self.current.store(bundle);
            self.loaded = clock::now();
        }
        if let Some(new) = new {
            self.world.destinations.store(Arc::new(new));
            self.world.renewed.notify_one();
            self.settings.destinations = settings.destinations;
        }
        if changed || others {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
        }
        Ok(Swapped { changed: changed || others, warnings })
    }

    /// Says in the log and to systemd what the daemon is at.
    pub fn announce(&self, what: &str) {
        let bundle = self.current.load();
        let short = &bundle.id[..12];
        tracing::info!(bundle = short, commit = bundle.commit, "{what}");
        let status = format!("{what}; bundle {short}");
        if what == "ready" { systemd::ready(&status) } else { systemd::status(&status) }
    }

    /// What the core says about itself; `None` when it does not answer in time.
    pub async fn core_report(&self) -> Option<CoreReport> {
        let (to, answer) = oneshot::channel();
        self.core.send(Message::Report(to)).await.ok()?;
        timeout(CORE_WAIT, answer).await.ok()?.ok()
    }

    /// Lets a new key of soard's own sign from now on.
    async fn rotate_key(&self) -> Result<KeyReport, String> {
        if self.disk().waiting() > 0 {
            return Err("the disk is full".into());
        }
        let replaced = self.core_report().await.ok_or("the core is gone")?.signed_by;
        let journal = &self.world.journal_id;
        let keys = Keys::renew(&self.settings, journal, &replaced).map_err(|error| said(&error))?;
        let (_, succession) = Succession::of(keys);
        let signed = sign(&self.core, &self.notary, &self.settings, journal, &replaced, succession).await;
        signed.map(|verifier| KeyReport { verifier, replaces: replaced }).map_err(|error| said(&error))
    }

    /// Sends a quarantined record through again, with today's formats.
    async fn retry(&self, record_no: u64) -> Result<RetryReport, String> {
        let gone = || "the core is gone".to_owned();
        let (to, seq) = oneshot::channel();
        self.core.send(Message::Quarantined(record_no, to)).await.map_err(|_| gone())?;
        let seq = seq.await.map_err(|_| gone())?;
        let seq = seq.ok_or_else(|| format!("record {record_no} is not in quarantine"))?;
        let entry = self.world.history.entry(seq).map_err(|error| error.to_string())?;
        let Facts::Quarantine(kept) = &entry.entry.facts else {
            return Err(format!("entry {seq} holds no quarantined record"));
        };
        let bytes = kept.record.bytes().ok_or_else(|| format!("entry {seq} holds no readable record"))?;
        let position = Position::Retry { quarantine: record_no };
        let record = Record { source: kept.source.clone().into(), bytes, position };
        let source = self.settings.sources.iter().find(|source| *source.name == *kept.source);
        let pinned = source.and_then(|source| source.format.as_deref());
        let input = match prepare::prepare(&self.current.load(), record, pinned) {
            Prepared::Input(input, _) => input,
            Prepared::NotAnAlert(why) => return Err(format!("the format says it is no alert: {why}")),
        };
        let format = match &input {
            Input::Intake(arrival) => arrival.format.clone(),
            _ => String::new(),
        };
        let (to, answer) = oneshot::channel();
        self.core.send(Message::Input(input, Some(to))).await.map_err(|_| gone())?;
        let answer = timeout(CORE_WAIT, answer).await.map_err(|_| "not yet on record: the disk is full or slow")?;
        match answer.map_err(|_| gone())? {
            Answer::Accepted { alerts, .. } => {
                let alerts = alerts.iter().filter_map(|id| id.parse().ok()).collect();
                Ok(RetryReport { record_no, format, alerts })
            }
            Answer::Ignored { why } | Answer::Quarantined { cause: why, .. } => Err(why),
            Answer::Full => Err("the disk is full".into()),
            Answer::Busy => Err("too many runs are open".into()),
            Answer::Stopped => Err("the daemon is stopping".into()),
        }
    }
}

/// An error with its causes, in one line.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
