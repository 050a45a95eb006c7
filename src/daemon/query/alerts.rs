//! The list of alerts for triage.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::daemon::query::{Fold, Lines, LogLine, QueryError, ROWS_DEFAULT, Read, about, fold, short};
use crate::domain::alert::{Alert, Severity, Status};
use crate::domain::decision::{Decision, Reason, RouteVerdict, RuleRef};
use crate::domain::effect::Effect;
use crate::domain::entry::{Due, Entry, Facts, Step, Taken};
use crate::domain::id::{AlertId, RunId};
use crate::domain::operator::{Operator, Order};
use crate::domain::triage::AlertChange;

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
    pub(super) fn new(at: Timestamp, taken: &Taken) -> Self {
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
    pub(super) fn again(&mut self, at: Timestamp, taken: &Taken) {
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

    /// An operator says where it stands; one that is opened is no suppression's any more.
    pub(super) fn set_status(&mut self, to: Status) {
        self.status = to;
        if to.is_open() {
            self.suppressed_by = None;
        }
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
pub(super) fn only_counted(decision: &Decision) -> bool {
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
    let standings = Standings::read(&mut *read(1))?;
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
    /// Reads only what matters here: skipping the record and most of the alert is what makes a long journal bearable.
    fn read(lines: Lines<'_>) -> Result<Self, QueryError> {
        let mut standings = Self::default();
        for line in lines {
            let line = line?;
            if line.kind == "intake" {
                let glance: Glance = line.content()?;
                glance.alerts.iter().for_each(|taken| standings.take(&line, taken));
            } else if sets_status(&line) {
                for (alert, status) in statuses(&line.entry()?.facts) {
                    let set = |standing: &mut Standing| {
                        standing.status = status;
                        standing.suppressed &= !(line.kind == "operator" && status.is_open());
                    };
                    standings.alerts.entry(alert).and_modify(set);
                }
            }
        }
        Ok(standings)
    }

    fn take(&mut self, line: &LogLine, taken: &GlanceTaken) {
        let known = self.sources.iter().position(|source| *source == taken.alert.source);
        let source = known.unwrap_or_else(|| {
            self.sources.push(taken.alert.source.clone());
            self.sources.len() - 1
        });
        let reasons = &taken.decision.reasons;
        let new = Standing {
            first_seq: line.seq,
            last_seen: line.at,
            source: u32::try_from(source).unwrap_or(u32::MAX),
            severity: taken.alert.severity,
            status: taken.decision.status,
            suppressed: reasons.iter().any(|reason| reason.stage == "suppress"),
        };
        let only_counted = reasons.first().is_some_and(|first| first.stage == "duplicate" && first.anew.is_none());
        let update = |known: &mut Standing| {
            (known.last_seen, known.status) = (new.last_seen, new.status);
            if !only_counted {
                (known.severity, known.suppressed) = (new.severity, new.suppressed);
            }
        };
        self.alerts.entry(taken.id).and_modify(update).or_insert(new);
    }
}

/// What [`Standings`] read of an `intake` entry.
#[derive(Deserialize)]
struct Glance {
    alerts: Vec<GlanceTaken>,
}

#[derive(Deserialize)]
struct GlanceTaken {
    id: AlertId,
    alert: GlanceAlert,
    decision: GlanceDecision,
}

#[derive(Deserialize)]
struct GlanceAlert {
    source: String,
    severity: Severity,
}

#[derive(Deserialize)]
struct GlanceDecision {
    status: Status,
    reasons: Vec<GlanceReason>,
}

#[derive(Deserialize)]
struct GlanceReason {
    stage: String,
    anew: Option<IgnoredAny>,
}

/// The ids in an `intake` entry.
#[derive(Deserialize)]
struct Ids {
    alerts: Vec<IdOfTaken>,
}

#[derive(Deserialize)]
struct IdOfTaken {
    id: AlertId,
}

fn sets_status(line: &LogLine) -> bool {
    match &*line.kind {
        "intent" | "run" => line.has("\"set_status\""),
        "operator" => line.has("\"status\""),
        _ => false,
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
            // What cannot be read is wanted, so that it is not passed over in silence.
            "intake" => {
                line.content().map_or(true, |ids: Ids| ids.alerts.iter().any(|at| self.wanted.contains(&at.id)))
            }
            "due" => line.has("\"group\""),
            _ => sets_status(line),
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
                let by_operator = matches!(facts, Facts::Operator(_));
                for (alert, status) in statuses(facts) {
                    let set =
                        |row: &mut AlertRow| if by_operator { row.set_status(status) } else { row.status = status };
                    self.rows.entry(alert).and_modify(set);
                }
            }
        }
    }
}

/// The statuses that playbooks and operators set.
fn statuses(facts: &Facts) -> impl Iterator<Item = (AlertId, Status)> {
    let steps = steps(facts).map_or(&[][..], |(_, steps)| steps);
    let set = steps.iter().filter_map(|step| match &step.effect {
        Effect::SetStatus { alert, status, .. } => Some((*alert, *status)),
        _ => None,
    });
    let ordered = match facts {
        Facts::Operator(Operator {
            order: Order::Alert { alert, change: AlertChange::Status { to, .. }, .. }, ..
        }) => Some((*alert, *to)),
        _ => None,
    };
    set.chain(ordered)
}

/// The steps that an entry adds to a run.
pub(super) fn steps(facts: &Facts) -> Option<(&RunId, &[Step])> {
    match facts {
        Facts::Intent(intent) => Some((&intent.run, &intent.steps)),
        Facts::Run(end) => Some((&end.run, &end.steps)),
        _ => None,
    }
}
