//! Alerts: the list for triage, and everything about one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::daemon::query::runs::{RunView, Runs, Wanted};
use crate::daemon::query::{BundleRef, Bundles, Fold, Lines, LogLine, QueryError, ROWS_DEFAULT, about, fold, short};
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
        self.suppressed_by = decision.reasons.iter().find_map(|reason| match reason {
            Reason::Suppress { rule, .. } => Some(rule.clone()),
            _ => None,
        });
        for reason in &decision.reasons {
            if let Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } = reason {
                self.runs.extend(runs.iter().cloned());
            }
        }
    }
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

/// Lists alerts.
///
/// # Errors
/// When the journal cannot be read.
pub fn list(lines: Lines<'_>, filter: &AlertFilter) -> Result<AlertList, QueryError> {
    let mut rows = Rows::default();
    fold(lines, &mut rows)?;
    let mut list = AlertList { alerts: Vec::new(), matching: 0, hidden_suppressed: 0, hidden_informational: 0 };
    for row in rows.0.into_values().filter(|row| filter.fits(row)) {
        let suppressed = row.suppressed_by.is_some();
        if suppressed && !filter.suppressed && filter.status != Some(Status::Dismissed) {
            list.hidden_suppressed += 1;
        } else if row.severity == Severity::Informational && filter.severity.is_none() {
            list.hidden_informational += 1;
        } else {
            list.alerts.push(row);
        }
    }
    list.matching = list.alerts.len() as u64;
    list.alerts.sort_by_key(|row| (!row.status.is_open(), Reverse(row.severity), Reverse((row.last_seen, row.id))));
    list.alerts.truncate(usize::try_from(filter.limit.unwrap_or(ROWS_DEFAULT)).unwrap_or(usize::MAX));
    Ok(list)
}

impl AlertFilter {
    fn fits(&self, row: &AlertRow) -> bool {
        self.severity.is_none_or(|least| row.severity >= least)
            && self.status.is_none_or(|status| row.status == status)
            && self.source.as_ref().is_none_or(|source| row.source == *source)
            && self.since.is_none_or(|since| row.last_seen >= since)
            && (!self.suppressed || row.suppressed_by.is_some())
    }
}

#[derive(Default)]
struct Rows(BTreeMap<AlertId, AlertRow>);

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
                for taken in &intake.alerts {
                    let known = self.0.entry(taken.id).and_modify(|row| row.again(entry.at, taken));
                    known.or_insert_with(|| AlertRow::new(entry.at, taken));
                }
            }
            Facts::Due(Due::Group { alerts, runs, .. }) => {
                for alert in alerts {
                    self.0.entry(alert.id).and_modify(|row| row.runs.extend(runs.iter().cloned()));
                }
            }
            facts => {
                for step in steps(facts).map_or(&[][..], |(_, steps)| steps) {
                    if let Effect::SetStatus { alert, status, .. } = &step.effect {
                        self.0.entry(*alert).and_modify(|row| row.status = *status);
                    }
                }
            }
        }
    }
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
