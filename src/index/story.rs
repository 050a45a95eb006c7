//! What happened to one alert: its runs, what they sent, and who changed what.

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::id::{AlertId, RunId};
use crate::index::IndexError;
use crate::index::query::rows;
use crate::index::row::{Outcome, Row};
use crate::index::write::{instant, json, number};

/// Most changes that are told, the newest ones.
pub const CHANGES_MAX: u64 = 500;

/// Most deliveries of one run that are told.
pub const DELIVERIES_MAX: u64 = 500;

/// One alert with its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Story {
    /// As in a list.
    pub row: Row,
    /// Who changed what, the oldest first.
    pub changes: Vec<Change>,
    /// The runs that were started for it, alone or in a group, in order.
    pub runs: Vec<Run>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "HistoryChange")]
pub struct Change {
    /// Sequence number of its entry.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// Who or what: a source, a suppression, a playbook's run.
    pub actor: String,
    /// What: `status`, `severity`, `tag`.
    pub what: String,
    /// The new value.
    pub value: String,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "HistoryRun")]
pub struct Run {
    /// Which.
    pub id: RunId,
    /// How it stands.
    pub outcome: Outcome,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it did not finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it sent.
    pub deliveries: Vec<Delivery>,
}

/// One webhook or mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "HistoryDelivery")]
pub struct Delivery {
    /// Its key, the same through all attempts.
    pub key: String,
    /// Step of the run.
    pub step: u32,
    /// `webhook` or `email`.
    pub kind: String,
    /// Name of the destination.
    pub destination: String,
    /// `open`, `ok`, `rejected`, `dead`, `unknown` or `cancelled`.
    pub outcome: String,
    /// Attempts so far, once there is an outcome.
    pub attempts: u32,
    /// HTTP status or SMTP reply code of the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Tells one alert's story; `None` when the index has no such alert.
///
/// # Errors
/// What SQLite says.
pub fn story(conn: &Connection, id: AlertId) -> Result<Option<Story>, IndexError> {
    let mut statement =
        conn.prepare_cached("SELECT row FROM alerts WHERE id = ?1").map_err(IndexError::sqlite("read"))?;
    let found: Option<String> =
        statement.query_row([number(id)], |row| row.get(0)).optional().map_err(IndexError::sqlite("read"))?;
    let Some(row) = found.map(|row| json::<Row>(&row)).transpose()? else { return Ok(None) };
    let mut runs = Vec::new();
    for run in &row.runs {
        runs.extend(self::run(conn, &run.id)?);
    }
    Ok(Some(Story { changes: changes(conn, id)?, runs, row }))
}

fn changes(conn: &Connection, id: AlertId) -> Result<Vec<Change>, IndexError> {
    let sql = format!(
        "SELECT entry, at, actor, what, value, reason, comment FROM changes WHERE alert = ? ORDER BY entry DESC, n DESC LIMIT {CHANGES_MAX}"
    );
    let mut changes = rows(conn, &sql, &[Sql::from(number(id))], |row| {
        Ok(Change {
            entry: row.get::<_, i64>(0)?.cast_unsigned(),
            at: instant(row.get(1)?),
            actor: row.get(2)?,
            what: row.get(3)?,
            value: row.get(4)?,
            reason: row.get(5)?,
            comment: row.get(6)?,
        })
    })?;
    changes.reverse();
    Ok(changes)
}

fn run(conn: &Connection, id: &RunId) -> Result<Option<Run>, IndexError> {
    let sql = "SELECT outcome, started, ended, error FROM runs WHERE id = ?";
    let found = rows(conn, sql, &[Sql::from(id.to_string())], |row| {
        let outcome: i64 = row.get(0)?;
        Ok(Run {
            id: id.clone(),
            outcome: Outcome::ALL.iter().copied().find(|known| *known as i64 == outcome).unwrap_or(Outcome::Open),
            started: instant(row.get(1)?),
            ended: row.get::<_, Option<i64>>(2)?.map(instant),
            error: row.get(3)?,
            deliveries: Vec::new(),
        })
    })?;
    let Some(mut run) = found.into_iter().next() else { return Ok(None) };
    run.deliveries = deliveries(conn, id)?;
    Ok(Some(run))
}

fn deliveries(conn: &Connection, id: &RunId) -> Result<Vec<Delivery>, IndexError> {
    let sql = format!(
        "SELECT key, step, kind, destination, outcome, attempts, code, asked, ended, error FROM deliveries WHERE run = ? ORDER BY \
         step LIMIT {DELIVERIES_MAX}"
    );
    rows(conn, &sql, &[Sql::from(id.to_string())], |row| {
        Ok(Delivery {
            key: row.get(0)?,
            step: row.get(1)?,
            kind: row.get(2)?,
            destination: row.get(3)?,
            outcome: row.get(4)?,
            attempts: row.get(5)?,
            code: row.get(6)?,
            asked: instant(row.get(7)?),
            ended: row.get::<_, Option<i64>>(8)?.map(instant),
            error: row.get(9)?,
        })
    })
}
