//! Alerts: the list for triage, and everything about one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::daemon::query::runs::{RunView, Runs, Wanted};
use crate::daemon::query::{
    BundleRef, Bundles, Fold, Lines, LogLine, QueryError, ROWS_DEFAULT, Read, about, fold, short,
};
use crate::domain::alert::{Alert, Severity, Status};
use crate::domain::decision::{Decision, Reason, RouteVerdict, RuleRef};
use crate::domain::effect::Effect;
use crate::domain::entry::{Due, Entry, Facts, Intake, Step, Taken};
use crate::domain::id::{AlertId, GroupId, RunId, Trigger};
use crate::domain::record::{Body, Position};

/// Decisions about one alert that a view holds; later ones only count.
pub const SEEN_MAX: usize = 500;

/// One alert in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    /// Its id.
    pub id: AlertId,
    /// When it was seen first.
    pub received: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// How often it was seen.
    pub count: u64,
    /// The severity that it was last decided upon with.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// One line for people, at most 200 characters of it.
    pub title: String,
    /// Which detection fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the source.
    pub source: String,
    /// What it is about: a host, else a resource, an account or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The suppression that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<RuleRef>,
    /// The runs that were started for it, alone or in a group.
    #[serde(default)]
    pub runs: Vec<RunId>,
}

impl AlertRow {
    fn new(at: Timestamp, taken: &Taken) -> Self {
        let mut row = Self {
            id: taken.id,
            received: at,
            last_seen: at,
            count: 0,
            severity: taken.alert.severity,
            status: taken.decision.status,
            title: String::new(),
            kind: None,
            source: taken.alert.source.clone(),
            resource: None,
            suppressed_by: None,
            runs: Vec::new(),
        };
        row.decided(&taken.alert, &taken.decision);
        row.seen(at, taken);
        row
    }

    /// The alert was seen again.
    fn again(&mut self, at: Timestamp, taken: &Taken) {
        if !only_counted(&taken.decision) {
            self.decided(&taken.alert, &taken.decision);
        }
        self.seen(at, taken);
    }

    fn seen(&mut self, at: Timestamp, taken: &Taken) {
        self.count += 1;
        self.last_seen = at;
        self.status = taken.decision.status;
        self.title = short(&taken.alert.title);
        self.kind = taken.alert.kind.as_deref().map(short);
        self.resource = about(&taken.alert);
    }

    fn decided(&mut self, alert: &Alert, decision: &Decision) {
        self.severity = alert.severity;
        self.suppressed_by = suppression(decision).cloned();
        for reason in &decision.reasons {
            if let Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } = reason {
                self.runs.extend(runs.iter().cloned());
            }
        }
    }
}

/// The suppression that dismissed the alert.
fn suppression(decision: &Decision) -> Option<&RuleRef> {
    decision.reasons.iter().find_map(|reason| match reason {
        Reason::Suppress { rule, .. } => Some(rule),
        _ => None,
    })
}

/// A repeat that was only counted.
fn only_counted(decision: &Decision) -> bool {
    matches!(decision.reasons.first(), Some(Reason::Duplicate { anew: None, .. }))
}

/// Which alerts a list shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertFilter {
    /// At least this severity; `low` when absent.
    pub severity: Option<Severity>,
    /// This status only.
    pub status: Option<Status>,
    /// From this source only.
    pub source: Option<String>,
    /// Seen at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those that a suppression holds. They are left out otherwise, unless `status` asks for dismissed ones.
    pub suppressed: bool,
    /// At most this many rows; 50 when absent.
    pub limit: Option<u64>,
}

/// A list of alerts: open ones first, by severity, then the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertList {
    /// The rows.
    pub alerts: Vec<AlertRow>,
    /// How many alerts fit the filter, shown or not.
    pub matching: u64,
    /// How many more fit but for being suppressed.
    pub hidden_suppressed: u64,
    /// How many more fit but for being below `low`.
    pub hidden_informational: u64,
}

/// Lists alerts. Reads the journal twice, so that it keeps little of alerts that it does not show: first where each
/// alert stands, then the rows that are shown.
///
/// # Errors
/// When the journal cannot be read.
pub fn list(read: Read<'_>, filter: &AlertFilter) -> Result<AlertList, QueryError> {
    let mut standings = Standings::default();
    fold(&mut *read(1), &mut standings)?;
    let source = filter.source.as_ref().map(|name| standings.sources.iter().position(|known| known == name));
    let mut list = AlertList { alerts: Vec::new(), matching: 0, hidden_suppressed: 0, hidden_informational: 0 };
    let mut shown: Vec<(AlertId, Standing)> = Vec::new();
    for (id, standing) in standings.alerts.into_iter().filter(|(_, standing)| filter.fits(standing, source)) {
        if standing.suppressed && !filter.suppressed && filter.status != Some(Status::Dismissed) {
            list.hidden_suppressed += 1;
        } else if standing.severity == Severity::Informational && filter.severity.is_none() {
            list.hidden_informational += 1;
        } else {
            shown.push((id, standing));
        }
    }
    list.matching = shown.len() as u64;
    let rank =
        |(id, at): &(AlertId, Standing)| (!at.status.is_open(), Reverse(at.severity), Reverse((at.last_seen, *id)));
    shown.sort_by_key(rank);
    shown.truncate(usize::try_from(filter.limit.unwrap_or(ROWS_DEFAULT)).unwrap_or(usize::MAX));
    let Some(from) = shown.iter().map(|(_, standing)| standing.first_seq).min() else { return Ok(list) };
    let mut rows = Rows { wanted: shown.iter().map(|(id, _)| *id).collect(), rows: BTreeMap::new() };
    fold(&mut *read(from), &mut rows)?;
    list.alerts = shown.iter().filter_map(|(id, _)| rows.rows.remove(id)).collect();
    Ok(list)
}

impl AlertFilter {
    /// `source` is the index of the filter's source; `Some(None)` is one that no alert came from.
    fn fits(&self, standing: &Standing, source: Option<Option<usize>>) -> bool {
        self.severity.is_none_or(|least| standing.severity >= least)
            && self.status.is_none_or(|status| standing.status == status)
            && source.is_none_or(|source| source == Some(standing.source as usize))
            && self.since.is_none_or(|since| standing.last_seen >= since)
            && (!self.suppressed || standing.suppressed)
    }
}

/// Where an alert stands: what filters and order need, and no more.
#[derive(Clone, Copy)]
struct Standing {
    first_seq: u64,
    last_seen: Timestamp,
    source: u32,
    severity: Severity,
    status: Status,
    suppressed: bool,
}

/// Where each alert stands.
#[derive(Default)]
struct Standings {
    alerts: BTreeMap<AlertId, Standing>,
    /// Names of the sources; there are few.
    sources: Vec<String>,
}

impl Standings {
    fn take(&mut self, entry: &Entry, taken: &Taken) {
        let known = self.sources.iter().position(|source| *source == taken.alert.source);
        let source = known.unwrap_or_else(|| {
            self.sources.push(taken.alert.source.clone());
            self.sources.len() - 1
        });
        let decision = &taken.decision;
        let new = Standing {
            first_seq: entry.seq,
            last_seen: entry.at,
            source: u32::try_from(source).unwrap_or(u32::MAX),
            severity: taken.alert.severity,
            status: decision.status,
            suppressed: suppression(decision).is_some(),
        };
        let update = |known: &mut Standing| {
            (known.last_seen, known.status) = (new.last_seen, new.status);
            if !only_counted(decision) {
                (known.severity, known.suppressed) = (new.severity, new.suppressed);
            }
        };
        self.alerts.entry(taken.id).and_modify(update).or_insert(new);
    }
}

impl Fold for Standings {
    fn wants(&self, line: &LogLine) -> bool {
        line.kind == "intake" || matches!(&*line.kind, "intent" | "run") && line.has("\"set_status\"")
    }

    fn apply(&mut self, entry: &Entry) {
        if let Facts::Intake(intake) = &entry.facts {
            intake.alerts.iter().for_each(|taken| self.take(entry, taken));
        }
        for (alert, status) in statuses(&entry.facts) {
            self.alerts.entry(alert).and_modify(|standing| standing.status = status);
        }
    }
}

/// The rows of the alerts that are wanted.
struct Rows {
    wanted: BTreeSet<AlertId>,
    rows: BTreeMap<AlertId, AlertRow>,
}

impl Fold for Rows {
    fn wants(&self, line: &LogLine) -> bool {
        match &*line.kind {
            "intake" => true,
            "due" => line.has("\"group\""),
            "intent" | "run" => line.has("\"set_status\""),
            _ => false,
        }
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.facts {
            Facts::Intake(intake) => {
                for taken in intake.alerts.iter().filter(|taken| self.wanted.contains(&taken.id)) {
                    let known = self.rows.entry(taken.id).and_modify(|row| row.again(entry.at, taken));
                    known.or_insert_with(|| AlertRow::new(entry.at, taken));
                }
            }
            Facts::Due(Due::Group { alerts, runs, .. }) => {
                for alert in alerts {
                    self.rows.entry(alert.id).and_modify(|row| row.runs.extend(runs.iter().cloned()));
                }
            }
            facts => {
                for (alert, status) in statuses(facts) {
                    self.rows.entry(alert).and_modify(|row| row.status = status);
                }
            }
        }
    }
}

/// The statuses that playbooks set.
fn statuses(facts: &Facts) -> impl Iterator<Item = (AlertId, Status)> {
    let steps = steps(facts).map_or(&[][..], |(_, steps)| steps);
    steps.iter().filter_map(|step| match &step.effect {
        Effect::SetStatus { alert, status, .. } => Some((*alert, *status)),
        _ => None,
    })
}

/// The steps that an entry adds to a run.
pub(super) fn steps(facts: &Facts) -> Option<(&RunId, &[Step])> {
    match facts {
        Facts::Intent(intent) => Some((&intent.run, &intent.steps)),
        Facts::Run(end) => Some((&end.run, &end.steps)),
        _ => None,
    }
}

/// Everything on record about one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// As in a list.
    pub row: AlertRow,
    /// The alert as seen last.
    pub alert: Alert,
    /// What was decided each time it was seen.
    pub seen: Vec<Seen>,
    /// Decisions beyond the first 500, which only count here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seen_left_out: u64,
    /// The runs that were started for it, alone or in a group.
    pub runs: Vec<RunView>,
    /// What playbooks changed about it.
    pub changes: Vec<Change>,
    /// The part of the last record that gave it.
    pub raw: Value,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One decision about an alert, and the repeats after it that were only counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Sequence number of the entry.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Ordinal of the record.
    pub record_no: u64,
    /// Where the record lay.
    pub position: Position,
    /// Name of the format that took it.
    pub format: String,
    /// The bundle that decided.
    pub bundle: BundleRef,
    /// What was decided.
    pub decision: Decision,
    /// How many sightings this stands for: repeats in a row that were only counted are one.
    pub times: u64,
    /// When the last of them was.
    pub until: Timestamp,
}

/// A change that a playbook made to an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Sequence number of the entry.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The run that asked for it.
    pub run: RunId,
    /// Its step.
    pub step: u32,
    /// What was asked: `set_status` or `tag`.
    pub effect: Effect,
}

/// Shows one alert; `None` when there is none with this id.
///
/// # Errors
/// When the journal cannot be read.
pub fn show(lines: Lines<'_>, id: AlertId) -> Result<Option<AlertView>, QueryError> {
    let mut show = Show::new(id);
    fold(lines, &mut show)?;
    let Some(Latest { row, alert, record, part }) = show.latest else { return Ok(None) };
    Ok(Some(AlertView {
        row,
        alert,
        seen: show.seen,
        seen_left_out: show.seen_left_out,
        runs: show.runs.views(&show.bundles),
        changes: show.changes,
        raw: raw(&record, &part),
    }))
}

/// The part of a record that a pointer names; text when the record is no JSON.
fn raw(record: &Body, part: &str) -> Value {
    let Some(bytes) = record.bytes() else { return Value::Null };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) => value.pointer(part).cloned().unwrap_or(Value::Null),
        Err(_) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

struct Show {
    id: AlertId,
    /// How the alert and its groups are named in JSON: lines without any of these are not parsed.
    names: Vec<String>,
    latest: Option<Latest>,
    seen: Vec<Seen>,
    seen_left_out: u64,
    runs: Runs,
    changes: Vec<Change>,
    bundles: Bundles,
}

struct Latest {
    row: AlertRow,
    alert: Alert,
    record: Body,
    part: String,
}

impl Show {
    fn new(id: AlertId) -> Self {
        Self {
            id,
            names: vec![format!("\"{id}\""), format!("\"{id}/")],
            latest: None,
            seen: Vec::new(),
            seen_left_out: 0,
            runs: Runs::new(Wanted::Triggers([Trigger::Alert(id)].into())),
            changes: Vec::new(),
            bundles: Bundles::default(),
        }
    }

    fn intake(&mut self, entry: &Entry, intake: &Intake) {
        let id = self.id;
        for taken in intake.alerts.iter().filter(|taken| taken.id == id) {
            let row = match self.latest.take() {
                None => AlertRow::new(entry.at, taken),
                Some(Latest { mut row, .. }) => {
                    row.again(entry.at, taken);
                    row
                }
            };
            let (alert, part) = (taken.alert.clone(), taken.part.clone());
            self.latest = Some(Latest { row, alert, record: intake.record.clone(), part });
            self.saw(entry, intake, taken);
            for reason in &taken.decision.reasons {
                if let Reason::Route { verdict: RouteVerdict::Grouped { group, .. }, .. } = reason {
                    self.follow(*group);
                }
            }
        }
    }

    fn saw(&mut self, entry: &Entry, intake: &Intake, taken: &Taken) {
        let bundle = self.bundles.named(&intake.bundle);
        if let Some(last) = self.seen.last_mut()
            && only_counted(&taken.decision)
            && only_counted(&last.decision)
            && last.bundle == bundle
        {
            last.times += 1;
            last.until = entry.at;
        } else if self.seen.len() < SEEN_MAX {
            self.seen.push(Seen {
                seq: entry.seq,
                at: entry.at,
                record_no: intake.record_no,
                position: intake.position.clone(),
                format: intake.format.clone(),
                bundle,
                decision: taken.decision.clone(),
                times: 1,
                until: entry.at,
            });
        } else {
            self.seen_left_out += 1;
        }
    }

    fn follow(&mut self, group: GroupId) {
        if self.runs.want(Trigger::Group(group)) {
            self.names.extend([format!("\"{group}\""), format!("\"{group}/")]);
        }
    }

    fn change(&mut self, entry: &Entry) {
        let Some((run, steps)) = steps(&entry.facts) else { return };
        for step in steps {
            match &step.effect {
                Effect::SetStatus { alert, status, .. } if *alert == self.id => {
                    if let Some(latest) = &mut self.latest {
                        latest.row.status = *status;
                    }
                }
                Effect::Tag { alert, .. } if *alert == self.id => {}
                _ => continue,
            }
            let effect = step.effect.clone();
            self.changes.push(Change { seq: entry.seq, at: entry.at, run: run.clone(), step: step.n, effect });
        }
    }
}

impl Fold for Show {
    fn wants(&self, line: &LogLine) -> bool {
        // Attempts and retries name only the effect's key; they are short.
        matches!(&*line.kind, "bundle" | "attempt" | "due") || self.names.iter().any(|name| line.has(name))
    }

    fn apply(&mut self, entry: &Entry) {
        self.bundles.apply(entry);
        self.runs.apply(entry);
        self.change(entry);
        match &entry.facts {
            Facts::Intake(intake) => self.intake(entry, intake),
            Facts::Due(Due::Group { alerts, runs, .. }) if alerts.iter().any(|alert| alert.id == self.id) => {
                if let Some(latest) = &mut self.latest {
                    latest.row.runs.extend(runs.iter().cloned());
                }
            }
            _ => {}
        }
    }
}
