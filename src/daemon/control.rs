//! Answers operators: status, reload, another try for a quarantined record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::actions::settings::Destination;
use crate::daemon::api::Command;
use crate::daemon::bundle::Bundle;
use crate::daemon::core::{CoreReport, Message};
use crate::daemon::perform::{Destinations, World};
use crate::daemon::prepare::{self, Prepared};
use crate::daemon::reload::{self, Content, LoadError};
use crate::daemon::report::{
    AlertCounts, BundleReport, DestinationReport, JournalReport, RefusedBundle, ReloadReport, RetryReport,
    SourceReport, Status,
};
use crate::daemon::settings::{self, Settings};
use crate::daemon::{DaemonError, actions, clock, history, systemd};
use crate::domain::entry::Facts;
use crate::domain::record::{Position, Record};
use crate::domain::secret::Secret;
use crate::engine::input::Input;
use crate::sources::intake::{Answer, Counters, Intake};
use crate::sources::{Kind, http};

/// Commands that may wait.
const COMMANDS_MAX: usize = 64;
/// How long an operator waits for the core.
const CORE_WAIT: Duration = Duration::from_secs(5);

/// What operators talk to.
pub struct Control {
    settings: Settings,
    world: Arc<World>,
    current: Arc<ArcSwap<Bundle>>,
    core: mpsc::Sender<Message>,
    sources: BTreeMap<String, Arc<Counters>>,
    started: Timestamp,
    loaded: Timestamp,
    refused: Option<RefusedBundle>,
    commands: mpsc::Sender<Command>,
    inbox: mpsc::Receiver<Command>,
}

impl Control {
    /// With the settings that the daemon started with.
    pub fn new(
        settings: Settings,
        world: Arc<World>,
        current: Arc<ArcSwap<Bundle>>,
        core: mpsc::Sender<Message>,
    ) -> Self {
        let sources = settings.sources.iter().map(|source| (source.name.to_string(), Arc::default())).collect();
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (started, loaded) = (clock::now(), clock::now());
        Self { settings, world, current, core, sources, started, loaded, refused: None, commands, inbox }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where commands go.
    pub fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    /// The next command; never `None`, since this end holds a sender.
    pub async fn next_command(&mut self) -> Option<Command> {
        self.inbox.recv().await
    }

    /// A source's counters.
    pub fn counters(&self, source: &str) -> Arc<Counters> {
        self.sources.get(source).cloned().unwrap_or_default()
    }

    /// The HTTP sources with their tokens.
    ///
    /// # Errors
    /// When a token cannot be read.
    pub fn endpoints(&self, intake: &Intake) -> Result<Vec<http::Endpoint>, DaemonError> {
        let mut endpoints = Vec::new();
        let mut wrong = Vec::new();
        for source in &self.settings.sources {
            let Kind::Http(http) = &source.kind else { continue };
            let tokens = http.tokens.iter().map(|token| settings::secret(&self.settings.dir, token));
            match tokens.collect::<Result<Vec<Secret>, String>>() {
                Ok(tokens) => {
                    let counters = self.counters(&source.name);
                    let (name, intake) = (source.name.clone(), intake.clone());
                    endpoints.push(http::Endpoint { name, tokens, intake, counters });
                }
                Err(error) => wrong.push(format!("source {}: {error}", source.name)),
            }
        }
        if wrong.is_empty() { Ok(endpoints) } else { Err(DaemonError::Destinations(wrong)) }
    }

    /// Carries a command out and answers it.
    pub async fn obey(&mut self, command: Command) {
        match command {
            Command::Status(to) => {
                if let Some(status) = self.status().await {
                    let _ = to.send(status);
                }
            }
            Command::Reload(to) => drop(to.send(self.reload().await)),
            Command::Retry { record_no, done } => drop(done.send(self.retry(record_no).await)),
        }
    }

    /// Loads, checks and swaps; on any fault the old bundle and settings stay.
    pub async fn reload(&mut self) -> ReloadReport {
        let (dir, before) = (self.settings.dir.clone(), self.current.load().id.clone());
        let loaded = tokio::task::spawn_blocking(move || reload::load(&dir)).await;
        let result = match loaded {
            Ok(Ok(content)) => self.swap(content).await,
            Ok(Err(LoadError::Faulty(faulty))) => Err(faulty.rendered(false)),
            Ok(Err(error)) => Err(vec![said(&error)]),
            Err(error) => Err(vec![format!("loading died: {error}")]),
        };
        match result {
            Ok(warnings) => {
                let changed = self.refused.take().is_some() || self.current.load().id != before;
                if changed {
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

    async fn swap(&mut self, content: Content) -> Result<Vec<String>, Vec<String>> {
        let mut warnings = content.warnings();
        let Content { settings, bundle, .. } = content;
        let new = actions(&settings).map_err(|error| vec![said(&error)])?;
        if settings.sources != self.settings.sources || settings.server != self.settings.server {
            warnings.push("`sources` and `server` changed: they take effect at the next start".into());
        }
        let bundle = Arc::new(bundle);
        if bundle.id != self.current.load().id {
            self.world.bundles.keep(&bundle).map_err(|error| vec![format!("cannot keep the bundle: {error}")])?;
            let (done, durable) = oneshot::channel();
            let gone = || vec!["the core is gone".to_owned()];
            self.core.send(Message::Swap(bundle.clone(), done)).await.map_err(|_| gone())?;
            durable.await.map_err(|_| gone())?;
            self.current.store(bundle);
        }
        let destinations = Destinations { settings: settings.destinations.clone(), actions: new };
        self.world.destinations.store(Arc::new(destinations));
        self.settings.destinations = settings.destinations;
        self.loaded = clock::now();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(warnings)
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

    async fn status(&self) -> Option<Status> {
        let core = self.core_report().await?;
        let head = self.world.journal.head();
        let destinations = self.destination_reports(&core);
        Some(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: self.started,
            state_dir: self.settings.state.display().to_string(),
            uptime_secs: u64::try_from(clock::now().duration_since(self.started).as_secs()).unwrap_or_default(),
            bundle: self.bundle_report(),
            refused_bundle: self.refused.clone(),
            journal: JournalReport { seq: head.seq, hash: head.hash, room: core.room },
            sources: self.source_reports(),
            destinations,
            alerts: AlertCounts { total: core.alerts as u64, by_status: core.by_status, by_severity: core.by_severity },
            totals: serde_json::from_value(serde_json::to_value(&core.totals).unwrap_or_default()).unwrap_or_default(),
            runs_open: core.runs as u64,
            groups_open: core.groups as u64,
            quarantined: core.quarantine as u64,
            queue_depth: (self.core.max_capacity() - self.core.capacity()) as u64,
        })
    }

    fn bundle_report(&self) -> BundleReport {
        let facts = self.current.load().facts();
        BundleReport { id: facts.id, commit: facts.commit, loaded_at: self.loaded, counts: facts.counts }
    }

    fn source_reports(&self) -> Vec<SourceReport> {
        let report = |source: &crate::sources::Settings| {
            let counters = self.counters(&source.name);
            SourceReport {
                name: source.name.to_string(),
                kind: source.kind.as_str().into(),
                records: counters.records.load(Ordering::Relaxed),
                bytes: counters.bytes.load(Ordering::Relaxed),
                refused: counters.refused(),
                last_error: None,
            }
        };
        self.settings.sources.iter().map(report).collect()
    }

    fn destination_reports(&self, core: &CoreReport) -> Vec<DestinationReport> {
        let report = |(name, destination): (&str, &Destination)| {
            let counter = self.world.counters.of(name);
            let (in_flight, waiting) = core.flights.get(name).copied().unwrap_or_default();
            DestinationReport {
                name: name.into(),
                kind: destination.target.kind().into(),
                in_flight,
                waiting,
                sent: counter.sent.load(Ordering::Relaxed),
                failed: counter.failed.load(Ordering::Relaxed),
                last_error: counter.last_error.lock().expect("nothing panics while it is held").clone(),
            }
        };
        self.settings.destinations.iter().map(report).collect()
    }

    /// Sends a quarantined record through again, with today's formats.
    async fn retry(&self, record_no: u64) -> Result<RetryReport, String> {
        let gone = || "the core is gone".to_owned();
        let (to, seq) = oneshot::channel();
        self.core.send(Message::Quarantined(record_no, to)).await.map_err(|_| gone())?;
        let seq = seq.await.map_err(|_| gone())?;
        let seq = seq.ok_or_else(|| format!("record {record_no} is not in quarantine"))?;
        let (_, Facts::Quarantine(kept)) = history::facts(&self.world.journal, seq)? else {
            return Err(format!("entry {seq} holds no quarantined record"));
        };
        let bytes = kept.record.bytes().ok_or_else(|| format!("entry {seq} holds no readable record"))?;
        let position = Position::Retry { quarantine: record_no };
        let record = Record { source: kept.source.clone().into(), bytes, position };
        let source = self.settings.sources.iter().find(|source| *source.name == *kept.source);
        let pinned = source.and_then(|source| source.format.as_deref());
        let input = match prepare::prepare(&self.current.load(), record, pinned) {
            Prepared::Input(input) => input,
            Prepared::NotAnAlert(why) => return Err(format!("the format says it is no alert: {why}")),
        };
        let format = match &input {
            Input::Intake(arrival) => arrival.format.clone(),
            _ => String::new(),
        };
        let (to, answer) = oneshot::channel();
        self.core.send(Message::Input(input, Some(to))).await.map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())? {
            Answer::Accepted { alerts, .. } => {
                let alerts = alerts.iter().filter_map(|id| id.parse().ok()).collect();
                Ok(RetryReport { record_no, format, alerts })
            }
            Answer::Ignored { why } | Answer::Quarantined { cause: why, .. } => Err(why),
            Answer::Full => Err("the disk is full".into()),
            Answer::Stopped => Err("the daemon is stopping".into()),
        }
    }
}

/// An error with its causes, in one line.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
