//! An alert in a row, as the views of one alert begin.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Severity, Status};
use crate::domain::decision::RuleRef;
use crate::domain::entry::{Facts, Step};
use crate::domain::id::{AlertId, RunId};
use crate::index::row::Row;

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
    /// What the index keeps of it, as far as views begin with it.
    pub(super) fn of(row: &Row) -> Self {
        Self {
            id: row.id,
            received: row.received,
            last_seen: row.last_seen,
            count: row.count,
            severity: row.severity,
            status: row.status,
            title: row.title.clone(),
            kind: row.kind.clone(),
            source: row.source.clone(),
            resource: row.resource.clone(),
            suppressed_by: row.suppressed_by.clone(),
            runs: row.runs.iter().map(|run| run.id.clone()).collect(),
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
