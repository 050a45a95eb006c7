//! An alert in a row, as the views of one alert begin.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Alert, Severity, Status};
use crate::domain::decision::{Decision, Reason, RouteVerdict, RuleRef};
use crate::domain::entry::{Facts, Step, Taken};
use crate::domain::id::{AlertId, RunId};
use crate::index::row::short;

/// One alert in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
        self.resource = taken.alert.about().map(short);
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

/// The steps that an entry adds to a run.
pub(super) fn steps(facts: &Facts) -> Option<(&RunId, &[Step])> {
    match facts {
        Facts::Intent(intent) => Some((&intent.run, &intent.steps)),
        Facts::Run(end) => Some((&end.run, &end.steps)),
        _ => None,
    }
}
