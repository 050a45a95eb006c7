//! What exports send: one notice for each thing that an entry of the journal tells of an alert.
//!
//! A notice is the alert as the API lists it, with what the entry says laid over it: an export that is behind tells where the alert
//! stood then, not where it stands now.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Severity;
use crate::domain::alert::Status;
use crate::domain::decision::{Anew, Decision, Reason};
use crate::domain::effect::Effect;
use crate::domain::entry::{Entry, Facts, Intake, Step, Taken};
use crate::domain::export::Pattern;
use crate::domain::id::{AlertId, RunId};
use crate::domain::operator::{Operator, Order};
use crate::domain::triage::{AlertChange, CloseReason};
use crate::index::row::{Row, only_counted};

/// Version of a notice's form.
pub const VERSION: u32 = 1;

/// One notice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Version of this form.
    pub v: u32,
    /// Sequence number of the entry that it tells of; of a snapshot's notices, of the entry as of which it was taken.
    pub seq: u64,
    /// Number among the notices of that entry, or of that snapshot.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// What it is.
    pub notice: Sort,
    /// It belongs to a snapshot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_snapshot: bool,
    /// The alert's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<AlertId>,
    /// What changed, by whom and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The alert; absent where the index knows it no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Box<Row>>,
    /// What was decided about it, stage by stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The entries that were dropped before they were exported, first and last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<(u64, u64)>,
    /// How many alerts the snapshot has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<u64>,
    /// Name of the export that is tried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soard_test: Option<String>,
    /// It was too long for the peer, so that only the most important of it is told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
}

/// What a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// An alert that is seen for the first time, or one of a snapshot.
    Alert,
    /// Something about an alert changed.
    Change,
    /// Entries were dropped before they were exported.
    Gap,
    /// A snapshot begins.
    SnapshotBegin,
    /// A snapshot is whole.
    SnapshotEnd,
    /// Somebody tries the export out.
    Test,
}

impl Sort {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Change => "change",
            Self::Gap => "gap",
            Self::SnapshotBegin => "snapshot_begin",
            Self::SnapshotEnd => "snapshot_end",
            Self::Test => "test",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What: `status`, `severity`, `tag`, `untag`, `assign`, `comment`, `feedback`, `suppression`, `silence`, `seen`.
    pub what: String,
    /// The new value; may be empty.
    pub value: String,
    /// Who or what: an operator, a source, a playbook's run.
    pub actor: String,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Change {
    /// The change in words.
    pub fn words(&self) -> String {
        let Self { what, value, actor, reason, comment } = self;
        let why = reason.iter().chain(comment).map(String::as_str).collect::<Vec<_>>().join(", ");
        let why = if why.is_empty() { why } else { format!(" ({why})") };
        let value = if value.is_empty() { String::new() } else { format!(" {value}") };
        format!("{what}{value} by {actor}{why}")
    }
}

/// What an entry tells of one alert.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Which.
    pub alert: AlertId,
    n: u64,
    tells: Tells<'a>,
}

#[derive(Debug, Clone)]
enum Tells<'a> {
    First(&'a Taken),
    Again(&'a Taken, Vec<Change>),
    Status(Status, Option<CloseReason>, Vec<Change>),
    Other(Vec<Change>),
}

/// What an entry tells of alerts, in order. A repeat that was only counted is nothing new.
pub fn events(entry: &Entry) -> Vec<Event<'_>> {
    match &entry.facts {
        Facts::Intake(intake) => (0..).zip(&intake.alerts).filter_map(|(n, taken)| seen(n, intake, taken)).collect(),
        Facts::Intent(intent) => steps(&intent.run, &intent.steps),
        Facts::Run(end) => steps(&end.run, &end.steps),
        Facts::Operator(operator) => ordered(operator).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn seen<'a>(n: u64, intake: &Intake, taken: &'a Taken) -> Option<Event<'a>> {
    let change = |what: &str, value: &str| Change {
        what: what.into(),
        value: value.into(),
        actor: format!("source {}", intake.source),
        reason: None,
        comment: None,
    };
    let status = taken.decision.status.as_str();
    let tells = match taken.decision.reasons.first() {
        Some(Reason::Duplicate { .. }) if only_counted(&taken.decision) => return None,
        Some(Reason::Duplicate { anew, .. }) => {
            let said = match anew {
                Some(Anew::SeverityRose { to, .. }) => change("severity", to.as_str()),
                Some(Anew::Reopened) => change("status", status),
                Some(Anew::NotSuppressedAnyMore) => change("suppression", "ended"),
                Some(Anew::NotSilencedAnyMore) => change("silence", "ended"),
                Some(Anew::Changed) | None => change("seen", &format!("{}, {status}", taken.alert.severity)),
            };
            Tells::Again(taken, vec![said])
        }
        _ => Tells::First(taken),
    };
    Some(Event { alert: taken.id, n, tells })
}

/// The steps that soard answers itself change alerts.
fn steps<'a>(run: &RunId, steps: &[Step]) -> Vec<Event<'a>> {
    let change = |what: &str, value: &str, comment: Option<&String>| {
        vec![Change {
            what: what.into(),
            value: value.into(),
            actor: format!("playbook {run}"),
            reason: None,
            comment: comment.cloned(),
        }]
    };
    let event = |step: &Step| match &step.effect {
        Effect::SetStatus { alert, status, comment } => {
            let changes = change("status", status.as_str(), comment.as_ref());
            Some((*alert, Tells::Status(*status, None, changes)))
        }
        Effect::Tag { alert, tag } => Some((*alert, Tells::Other(change("tag", tag, None)))),
        _ => None,
    };
    let told = (0..).zip(steps).filter_map(|(n, step)| Some((n, event(step)?)));
    told.map(|(n, (alert, tells))| Event { alert, n, tells }).collect()
}

fn ordered<'a>(operator: &Operator) -> Option<Event<'a>> {
    let Order::Alert { alert, change, .. } = &operator.order else { return None };
    let (mut said, mut why, mut status) = (Vec::new(), None, None);
    match change {
        AlertChange::Status { to, reason } => {
            said.push(("status", to.to_string()));
            why = reason.map(|reason| reason.to_string());
            status = Some((*to, *reason));
        }
        AlertChange::Comment => said.push(("comment", String::new())),
        AlertChange::Tags { add, remove } => {
            said.extend(add.iter().map(|tag| ("tag", tag.clone())));
            said.extend(remove.iter().map(|tag| ("untag", tag.clone())));
        }
        AlertChange::Assign { to } => said.push(("assign", to.clone().unwrap_or_default())),
        AlertChange::Feedback { useful, reason } => {
            said.push(("feedback", if *useful { "useful" } else { "not_useful" }.to_owned()));
            why = reason.map(|reason| reason.to_string());
        }
    }
    let change = |(what, value): (&str, String)| Change {
        what: what.into(),
        value,
        actor: operator.actor.clone(),
        reason: why.clone(),
        comment: Some(&operator.comment).filter(|comment| !comment.is_empty()).cloned(),
    };
    let changes = said.into_iter().map(change).collect();
    let tells = match status {
        Some((to, reason)) => Tells::Status(to, reason, changes),
        None => Tells::Other(changes),
    };
    Some(Event { alert: *alert, n: 0, tells })
}

impl Event<'_> {
    /// Whether the notice needs what is known of the alert from other entries.
    pub const fn needs_row(&self) -> bool {
        !matches!(self.tells, Tells::First(_))
    }

    /// The notice of it, with what the index knows of the alert.
    pub fn notice(self, seq: u64, at: Timestamp, known: Option<Row>) -> Notice {
        let mut notice = Notice::new(seq, self.n, at, Sort::Change);
        notice.id = Some(self.alert);
        let mut row = known;
        match self.tells {
            Tells::First(taken) => {
                notice.notice = Sort::Alert;
                notice.decision = Some(taken.decision.clone());
                row = Some(Row::new(seq, at, taken));
            }
            Tells::Again(taken, changes) => {
                row.get_or_insert_with(|| Row::new(seq, at, taken)).stood(seq, at, taken);
                (notice.changes, notice.decision) = (changes, Some(taken.decision.clone()));
            }
            Tells::Status(status, reason, changes) => {
                if let Some(row) = &mut row {
                    row.set_status(status, reason);
                }
                notice.changes = changes;
            }
            Tells::Other(changes) => notice.changes = changes,
        }
        notice.alert = row.map(Box::new);
        notice
    }
}

impl Notice {
    /// One that says nothing yet.
    fn new(seq: u64, n: u64, at: Timestamp, notice: Sort) -> Self {
        Self {
            v: VERSION,
            seq,
            n,
            at,
            notice,
            is_snapshot: false,
            id: None,
            changes: Vec::new(),
            alert: None,
            decision: None,
            missing: None,
            alerts: None,
            soard_test: None,
            shortened: false,
        }
    }

    /// Entries from `first` to `last` were dropped before they were exported.
    pub fn gap(first: u64, last: u64, at: Timestamp) -> Self {
        Self { missing: Some((first, last)), ..Self::new(last, 0, at, Sort::Gap) }
    }

    /// A snapshot of so many alerts, as of an entry, begins.
    pub fn begin(seq: u64, at: Timestamp, alerts: u64) -> Self {
        Self { is_snapshot: true, alerts: Some(alerts), ..Self::new(seq, 0, at, Sort::SnapshotBegin) }
    }

    /// Its `n`th alert, from 1.
    pub fn of_snapshot(seq: u64, n: u64, at: Timestamp, row: Row) -> Self {
        let id = Some(row.id);
        Self { is_snapshot: true, id, alert: Some(Box::new(row)), ..Self::new(seq, n, at, Sort::Alert) }
    }

    /// It is whole.
    pub fn end(seq: u64, at: Timestamp, alerts: u64) -> Self {
        Self { is_snapshot: true, alerts: Some(alerts), ..Self::new(seq, alerts + 1, at, Sort::SnapshotEnd) }
    }

    /// An alert as it is listed, for whoever asks for all of them.
    pub fn listed(row: Row) -> Self {
        let (seq, at, id) = (row.last_entry, row.last_seen, Some(row.id));
        Self { id, alert: Some(Box::new(row)), ..Self::new(seq, 0, at, Sort::Alert) }
    }

    /// The notice in words, for forms that want some.
    pub fn message(&self) -> String {
        match (self.notice, &self.missing, &self.soard_test) {
            (Sort::Gap, Some((first, last)), _) => {
                format!("entries {first} to {last} were dropped before they were exported")
            }
            (Sort::SnapshotBegin, ..) => format!("a snapshot of {} alerts begins", self.alerts.unwrap_or_default()),
            (Sort::SnapshotEnd, ..) => format!("a snapshot of {} alerts ends", self.alerts.unwrap_or_default()),
            (Sort::Test, _, Some(export)) => {
                format!("[soard test] export {export}: there is no alert behind this notice")
            }
            _ => {
                let told = self.changes.iter().map(Change::words).collect::<Vec<_>>().join("; ");
                let id = self.id.map(|id| id.to_string()).unwrap_or_default();
                format!("{id} {told}").trim().to_owned()
            }
        }
    }

    /// A marked notice that tells of nothing.
    pub fn test(export: &str, seq: u64, at: Timestamp) -> Self {
        Self { soard_test: Some(export.into()), ..Self::new(seq, 0, at, Sort::Test) }
    }
}

/// Which notices an export sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Alerts that are seen for the first time.
    pub alerts: bool,
    /// Changes of alerts.
    pub changes: bool,
    /// From this severity on.
    pub at_least: Severity,
    /// Of these kinds; none: of all.
    pub kinds: Vec<Pattern>,
}

impl Wanted {
    /// Whether the notice is one of them. What tells of the export itself always is, and so is a change of an alert that nobody knows more of, or
    /// that was seen again since: what it was at that moment is not known any more, and one too many is better than one lost.
    pub fn takes(&self, notice: &Notice) -> bool {
        let asked = match notice.notice {
            Sort::Alert => self.alerts || notice.is_snapshot,
            Sort::Change => self.changes,
            _ => return true,
        };
        let is_younger = |row: &Row| notice.notice == Sort::Change && row.last_entry > notice.seq;
        asked && notice.alert.as_ref().is_none_or(|row| is_younger(row) || self.takes_row(row))
    }

    /// Whether an alert is one of them.
    pub fn takes_row(&self, row: &Row) -> bool {
        let kind = row.kind.as_deref().unwrap_or_default();
        row.severity >= self.at_least && (self.kinds.is_empty() || self.kinds.iter().any(|pattern| pattern.fits(kind)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_not_left_out_by_what_its_alert_became_later() {
        let wanted = Wanted { alerts: true, changes: true, at_least: Severity::High, kinds: Vec::new() };
        let takes = |seq: u64, severity: Severity, change: bool| {
            let at = Timestamp::UNIX_EPOCH;
            let alert = json!({ "source": "edr", "title": "t", "severity": severity, "received": at });
            let decision = Decision { status: Status::Active, reasons: Vec::new() };
            let (id, identity) = ("a-1.0".parse().unwrap(), "00".repeat(8));
            let alert = serde_json::from_value(alert).unwrap();
            let taken = Taken { id, part: String::new(), alert, identity, identity_until: None, decision };
            let sort = if change { Sort::Change } else { Sort::Alert };
            let row = Some(Box::new(Row::new(9, at, &taken)));
            wanted.takes(&Notice { alert: row, ..Notice::new(seq, 0, at, sort) })
        };
        assert!(takes(5, Severity::Low, true), "it was seen again since, and may have been high before");
        assert!(!takes(9, Severity::Low, true), "it is as it was");
        assert!(takes(9, Severity::High, true));
        assert!(!takes(9, Severity::Low, false));
    }
}
