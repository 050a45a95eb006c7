//! The list of runs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::run::{Open, Runs, Wanted};
use crate::daemon::query::{Fold, Lines, LogLine, QueryError, ROWS_DEFAULT, ROWS_LISTED_MAX, fold};
use crate::domain::entry::{End, Entry, Facts, RunEnd};
use crate::domain::id::RunId;
use crate::domain::operator::{Operator, Order};

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A step has no outcome yet, or the run is about to go on.
    Waiting,
    /// A step failed and will be tried again.
    Retrying,
    /// The script returned.
    Finished,
    /// The script threw, or broke a limit.
    Failed,
    /// A replay asked for something else than what is on record.
    Stalled,
    /// An operator ended it.
    Cancelled,
}

impl RunState {
    /// All states.
    pub const ALL: [RunState; 6] =
        [Self::Waiting, Self::Retrying, Self::Finished, Self::Failed, Self::Stalled, Self::Cancelled];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::Cancelled => "cancelled",
        }
    }

    /// It has not ended.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Retrying)
    }
}

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Name of the playbook.
    pub playbook: String,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub state: RunState,
    /// Steps on record.
    pub steps: u32,
    /// What an open run waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Why it did not finish, or what went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunFilter {
    /// This state only.
    pub state: Option<RunState>,
    /// This playbook only.
    pub playbook: Option<String>,
    /// Started at or after this instant.
    pub since: Option<Timestamp>,
    /// At most this many rows; 50 when absent.
    pub limit: Option<u64>,
}

/// A list of runs: open ones first, then the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunList {
    /// The rows.
    pub runs: Vec<RunRow>,
    /// How many runs fit the filter, shown or not.
    pub matching: u64,
}

/// Lists runs. Keeps those that are open or can be retried, and of the others, which are final, only what is shown.
///
/// # Errors
/// When the journal cannot be read.
pub fn list(lines: Lines<'_>, filter: &RunFilter) -> Result<RunList, QueryError> {
    let limit = usize::try_from(filter.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_LISTED_MAX)).unwrap_or(usize::MAX);
    let mut listing = Listing { runs: Runs::new(Wanted::All), filter, limit, ended: BTreeMap::new(), matching: 0 };
    fold(lines, &mut listing)?;
    let kept = listing.runs.runs.into_values().map(Open::into_row).filter(|row| filter.fits(row));
    let mut rows: Vec<RunRow> = kept.collect();
    let matching = listing.matching + rows.len() as u64;
    rows.extend(listing.ended.into_values());
    let order = |row: &RunRow| (row.state.is_open(), row.started, row.id.clone());
    rows.sort_by_key(|row| std::cmp::Reverse(order(row)));
    rows.truncate(limit);
    Ok(RunList { runs: rows, matching })
}

struct Listing<'a> {
    runs: Runs,
    filter: &'a RunFilter,
    limit: usize,
    /// The newest that have ended and fit.
    ended: BTreeMap<(Timestamp, RunId), RunRow>,
    /// How many have ended and fit.
    matching: u64,
}

impl Fold for Listing<'_> {
    fn wants(&self, line: &LogLine) -> bool {
        self.runs.wants(line)
    }

    fn apply(&mut self, entry: &Entry) {
        self.runs.apply(entry);
        let run = match &entry.facts {
            Facts::Run(RunEnd { run, end: End::Finished { .. }, .. }) => run,
            Facts::Operator(Operator { order: Order::RunCancel { run }, .. }) => run,
            _ => return,
        };
        let Some(row) = self.runs.runs.remove(run).map(Open::into_row).filter(|row| self.filter.fits(row)) else {
            return;
        };
        self.matching += 1;
        self.ended.insert((row.started, row.id.clone()), row);
        if self.ended.len() > self.limit {
            self.ended.pop_first();
        }
    }
}

impl RunFilter {
    fn fits(&self, row: &RunRow) -> bool {
        self.state.is_none_or(|state| row.state == state)
            && self.playbook.as_ref().is_none_or(|playbook| row.playbook == *playbook)
            && self.since.is_none_or(|since| row.started >= since)
    }
}
