//! What the daemon tells of itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::actions::settings::Destination;
use crate::daemon::clock;
use crate::daemon::control::Control;
use crate::daemon::core::CoreReport;
use crate::daemon::report::{
    AlertCounts, BundleReport, DestinationReport, ExportReport, JournalReport, LeapReport, SourceReport, Status,
};

impl Control {
    pub(super) async fn status(&self) -> Option<Status> {
        let core = self.core_report().await?;
        let head = self.world.history.journal.head();
        let destinations = self.destination_reports(&core);
        Some(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: self.started,
            state_dir: self.settings.state.display().to_string(),
            uptime_secs: u64::try_from(clock::now().duration_since(self.started).as_secs()).unwrap_or_default(),
            bundle: self.bundle_report(),
            refused_bundle: self.refused.clone(),
            journal: JournalReport {
                seq: head.seq,
                hash: head.hash,
                room: core.room,
                waiting: core.waiting,
                kept_by: self.world.retention.kept_by(),
                leap: core.leap.map(|leap| LeapReport { from: leap.from, to: leap.to, until: leap.until() }),
                ahead_secs: core.ahead_secs,
            },
            index: None,
            sources: self.source_reports(),
            destinations,
            exports: self.world.exports.reports(self.world.history.journal.head().seq),
            alerts: AlertCounts { total: core.alerts as u64, by_status: core.by_status, by_severity: core.by_severity },
            totals: serde_json::from_value(serde_json::to_value(&core.totals).unwrap_or_default()).unwrap_or_default(),
            runs_open: core.runs as u64,
            runs_full: core.runs_full,
            runs_stalled: core.stalled as u64,
            workers: self.world.workers.report(),
            groups_open: core.groups as u64,
            silences_active: core.silences as u64,
            approvals_open: core.approvals as u64,
            on_hold: self.holds_report(core.holds),
            quarantined: core.quarantine as u64,
            dead_letters: core.letters as u64,
            queue_depth: (self.core.max_capacity() - self.core.capacity()) as u64,
        })
    }

    pub(super) fn bundle_report(&self) -> BundleReport {
        let facts = self.current.load().facts();
        BundleReport { id: facts.id, commit: facts.commit, loaded_at: self.loaded, counts: facts.counts }
    }

    fn source_reports(&self) -> Vec<SourceReport> {
        let report = |source: &crate::sources::Settings| {
            let counters = self.counters(&source.name);
            let tally = self.tally.of(&source.name);
            SourceReport {
                name: source.name.to_string(),
                kind: source.kind.as_str().into(),
                records: counters.records.load(Ordering::Relaxed),
                bytes: counters.bytes.load(Ordering::Relaxed),
                refused: counters.refused(),
                ignored: tally.ignored,
                oddities: tally.oddities,
                last_oddity: tally.last_oddity,
                last_error: None,
            }
        };
        self.settings.sources.iter().map(report).collect()
    }

    pub(super) fn destinations(&self, core: &CoreReport) -> Vec<(DestinationReport, BTreeMap<String, String>)> {
        let told = self.settings.destinations.iter().map(|(_, destination)| destination.told());
        self.destination_reports(core).into_iter().zip(told).collect()
    }

    pub(super) fn exports(&self) -> Vec<(ExportReport, BTreeMap<String, String>)> {
        let exports = &self.world.exports;
        let mut told = exports.told();
        let reports = exports.reports(self.world.history.journal.head().seq).into_iter();
        reports
            .map(|report| (told.remove(&report.name).unwrap_or_default(), report))
            .map(|(told, report)| (report, told))
            .collect()
    }

    fn destination_reports(&self, core: &CoreReport) -> Vec<DestinationReport> {
        let report = |(name, destination): (&str, &Destination)| {
            let counter = self.world.counters.of(name);
            let in_flight = counter.under_way.load(Ordering::Relaxed);
            let open = core.flights.get(name).copied().unwrap_or_default();
            DestinationReport {
                name: name.into(),
                kind: destination.target.kind().into(),
                in_flight,
                waiting: open.saturating_sub(in_flight),
                held: counter.held.load(Ordering::Relaxed),
                open_until: *counter.open_until.lock().expect("nothing panics while it is held"),
                sent: counter.sent.load(Ordering::Relaxed),
                failed: counter.failed.load(Ordering::Relaxed),
                last_error: counter.last_error.lock().expect("nothing panics while it is held").clone(),
            }
        };
        self.settings.destinations.iter().map(report).collect()
    }
}
