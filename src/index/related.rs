//! Alerts that share an entity or a resource with another: most shared first, then the newest.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Severity, Status};
use crate::domain::id::AlertId;
use crate::index::IndexError;
use crate::index::labels::FIELDS;
use crate::index::query::rows;
use crate::index::row::Row;
use crate::index::write::{json, number};

/// Most related alerts that are told.
pub const RELATED_MAX: usize = 20;

/// Values of an alert by which others are looked for.
pub const VALUES_MAX: usize = 64;

/// Alerts that are looked at for one value: the newest.
pub const ALERTS_OF_VALUE_MAX: usize = 500;

/// Alerts that share something with one alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// Those that share most, then the newest.
    pub alerts: Vec<RelatedAlert>,
    /// There are more, or a value is so common that only its newest alerts were looked at.
    pub capped: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelatedAlert {
    /// Its id.
    pub id: AlertId,
    /// The severity that it was last decided upon with.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// One line for people.
    pub title: String,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// What both have.
    pub shares: Vec<Shared>,
}

/// A value that two alerts have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shared {
    /// Type of the entity, or `resource`.
    pub field: String,
    /// Its name or address.
    pub value: String,
}

/// The alerts that share an entity or a resource with this one; none when the index does not know it.
///
/// # Errors
/// What SQLite says.
pub fn related(conn: &Connection, id: AlertId) -> Result<Related, IndexError> {
    let mut shared: HashMap<i64, Vec<usize>> = HashMap::new();
    let (values, mut capped) = values(conn, id)?;
    for (at, value) in values.iter().enumerate() {
        for label in &value.labels {
            let alerts = alerts(conn, *label, id)?;
            capped |= alerts.len() == ALERTS_OF_VALUE_MAX;
            for alert in alerts {
                let known = shared.entry(alert).or_default();
                if !known.contains(&at) {
                    known.push(at);
                }
            }
        }
    }
    let mut order: Vec<(i64, Vec<usize>)> = shared.into_iter().collect();
    order.sort_unstable_by_key(|(alert, shares)| (std::cmp::Reverse(shares.len()), -alert));
    capped |= order.len() > RELATED_MAX;
    order.truncate(RELATED_MAX);
    let alert = |(alert, shares): (i64, Vec<usize>)| {
        let row = numbered(conn, alert)?;
        let Row { id, severity, status, title, last_seen, .. } =
            row.ok_or_else(|| IndexError::Unusable(format!("alert {alert} has labels and no row")))?;
        let shares = shares.into_iter().map(|at| values[at].shared.clone()).collect();
        Ok(RelatedAlert { id, severity, status, title, last_seen, shares })
    };
    Ok(Related { alerts: order.into_iter().map(alert).collect::<Result<_, IndexError>>()?, capped })
}

/// One value, which an alert may have as an entity and as a resource.
struct Value {
    shared: Shared,
    labels: Vec<i64>,
}

fn values(conn: &Connection, id: AlertId) -> Result<(Vec<Value>, bool), IndexError> {
    let sql = "SELECT l.id, l.field, l.value FROM alerts AS a, json_each(a.labels) AS j CROSS JOIN labels AS l ON l.id = j.value \
               WHERE a.id = ?";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?));
    let mut values: Vec<Value> = Vec::new();
    for (label, field, value) in rows(conn, sql, &[Sql::from(number(id))], read)? {
        // What is no label of the alert itself is a type of entity.
        if field != "resource" && FIELDS.contains(&&*field) {
            continue;
        }
        match values.iter_mut().find(|known| known.shared.value.eq_ignore_ascii_case(&value)) {
            Some(known) => known.labels.push(label),
            None => values.push(Value { shared: Shared { field, value }, labels: vec![label] }),
        }
    }
    let more = values.len() > VALUES_MAX;
    values.truncate(VALUES_MAX);
    Ok((values, more))
}

fn alerts(conn: &Connection, label: i64, but: AlertId) -> Result<Vec<i64>, IndexError> {
    let sql = format!(
        "SELECT alert FROM marks WHERE label = ? AND alert <> ? ORDER BY alert DESC LIMIT {ALERTS_OF_VALUE_MAX}"
    );
    rows(conn, &sql, &[Sql::from(label), Sql::from(number(but))], |row| row.get(0))
}

/// One alert as the index has it; `None` when it has none.
///
/// # Errors
/// What SQLite says.
pub fn one(conn: &Connection, id: AlertId) -> Result<Option<Row>, IndexError> {
    numbered(conn, number(id))
}

/// One alert by its number; `None` when there is none.
///
/// # Errors
/// What SQLite says.
pub fn numbered(conn: &Connection, alert: i64) -> Result<Option<Row>, IndexError> {
    let sql = "SELECT row FROM alerts WHERE id = ?";
    let found = rows(conn, sql, &[Sql::from(alert)], |row| row.get::<_, String>(0))?;
    found.first().map(|text| json(text)).transpose()
}
