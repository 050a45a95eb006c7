//! Alerts that are to be changed at once: all that fit, as they are at one moment.

use jiff::Timestamp;
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Severity, Status};
use crate::domain::id::AlertId;
use crate::index::IndexError;
use crate::index::filter::Filter;
use crate::index::plan::{Limits, Plan};
use crate::index::query::{Request, read};
use crate::index::row::Row;
use crate::index::write::alert_id;

/// Most alerts that are chosen at once.
pub const ALERTS_MAX: usize = 100_000;

/// Rows of them that are shown.
pub const ROWS_SHOWN: usize = 10;

/// Alerts that fit: which ones is settled, whatever arrives or changes after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chosen {
    /// All of them, in the list's order.
    pub alerts: Vec<AlertId>,
    /// How many of each severity, the worst first.
    pub by_severity: Vec<(Severity, u64)>,
    /// How many of each status.
    pub by_status: Vec<(Status, u64)>,
    /// The first ones.
    pub first: Vec<Row>,
}

/// Chooses all alerts that a list would have, page after page; its limit and cursor do not count here.
///
/// # Errors
/// [`IndexError::TooMany`] when more fit than can be changed at once; as [`crate::index::query::list`].
pub fn choose(conn: &Connection, request: &Request, now: Timestamp) -> Result<Chosen, IndexError> {
    choose_within(conn, request, now, ALERTS_MAX)
}

/// As [`choose`], of at most so many.
///
/// # Errors
/// As [`choose`].
pub fn choose_within(conn: &Connection, request: &Request, now: Timestamp, most: usize) -> Result<Chosen, IndexError> {
    let filter = Filter::parse(&request.filter, now)?;
    let plan = Plan::new(conn, &filter, request, Limits::default())?;
    let found = plan.first(conn, most + 1)?;
    if found.len() > most {
        return Err(IndexError::TooMany { most });
    }
    let mut severities = [0; Severity::ALL.len()];
    let mut statuses = [0; Status::ALL.len()];
    let mut statement =
        conn.prepare_cached("SELECT status FROM alerts WHERE id = ?1").map_err(IndexError::sqlite("read"))?;
    for one in &found {
        let status: i64 = statement.query_row([one.id], |row| row.get(0)).map_err(IndexError::sqlite("read"))?;
        for (number, counts) in [(one.severity, &mut severities), (status, &mut statuses)] {
            let count = usize::try_from(number).ok().and_then(|number| counts.get_mut(number));
            *count.ok_or_else(|| IndexError::Unusable(format!("alert {} has a number that is no word", one.id)))? += 1;
        }
    }
    let first = found.iter().take(ROWS_SHOWN).map(|one| read(conn, one.id)).collect::<Result<_, _>>()?;
    let mut by_severity: Vec<_> = Severity::ALL.into_iter().zip(severities).filter(|(_, n)| *n > 0).collect();
    by_severity.reverse();
    let by_status = Status::ALL.into_iter().zip(statuses).filter(|(_, n)| *n > 0).collect();
    let alerts = found.iter().map(|one| alert_id(one.id)).collect();
    Ok(Chosen { alerts, by_severity, by_status, first })
}
