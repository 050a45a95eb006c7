//! Facets: how many of the alerts that fit have which value of a field.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Severity, Status};
use crate::index::filter::{Fault, Faults, Filter};
use crate::index::plan::{Limits, Plan};
use crate::index::query::{Count, Request};
use crate::index::write::json;
use crate::index::{IndexError, labels};
use crate::yaml::diagnostic::nearest;

/// Alerts that facets are counted over: the first ones in the list's order, or where the filter fits many, any of them. Severity
/// and status are counted to the end where nothing else is asked.
pub const ALERTS_MAX: usize = 10_000;

/// Most values of one field, the most frequent ones.
pub const VALUES_MAX: usize = 100;

/// The values of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facet {
    /// Which field.
    pub field: String,
    /// The alerts that were counted.
    pub of: Count,
    /// Each value with the number of alerts that have it, the most frequent first.
    pub values: Vec<(String, u64)>,
    /// Values that are left out because they are rarer.
    pub others: u64,
}

/// Counts the values of a field.
///
/// # Errors
/// As [`crate::index::query::list`]; a field that is none.
pub fn facet(conn: &Connection, request: &Request, field: &str, now: Timestamp) -> Result<Facet, IndexError> {
    let field = known(field)?;
    let filter = Filter::parse(&request.filter, now)?;
    let plan = Plan::new(conn, &filter, request, Limits::default())?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let of = if ["severity", "status"].contains(&field) && plan.is_plain() {
        let cells = plan.cells(conn)?;
        for (severity, status, n) in cells.iter().filter(|(_, _, n)| *n > 0) {
            let value = if field == "severity" { severity.as_str() } else { status.as_str() };
            *counts.entry(value.into()).or_default() += n;
        }
        Count { n: cells.iter().map(|(_, _, n)| n).sum(), capped: false }
    } else {
        let mut found = plan.some(conn, ALERTS_MAX + 1)?;
        let capped = found.len() > ALERTS_MAX;
        found.truncate(ALERTS_MAX);
        let ids: Vec<i64> = found.iter().map(|found| found.id).collect();
        count(conn, &ids, field, &mut counts)?;
        Count { n: ids.len() as u64, capped }
    };
    let mut values: Vec<(String, u64)> = counts.into_iter().collect();
    values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let others = values.len().saturating_sub(VALUES_MAX) as u64;
    values.truncate(VALUES_MAX);
    Ok(Facet { field: field.into(), of, values, others })
}

/// Fields that can be counted by.
pub fn fields() -> Vec<&'static str> {
    ["severity", "status"].into_iter().chain(labels::fields()).collect()
}

fn known(field: &str) -> Result<&'static str, Faults> {
    let fields = fields();
    fields.iter().find(|known| **known == field).copied().ok_or_else(|| {
        let help = match nearest(field, &fields) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", fields.join(", ")),
        };
        let term = field.chars().take(80).collect();
        Faults(vec![Fault { term, message: "there is no such field to count by".into(), help: Some(help) }])
    })
}

fn count(conn: &Connection, ids: &[i64], field: &str, counts: &mut BTreeMap<String, u64>) -> Result<(), IndexError> {
    let mut labels: HashMap<i64, u64> = HashMap::new();
    let sql = "SELECT severity, status, labels FROM alerts WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).map_err(IndexError::sqlite("read"))?;
    for id in ids {
        let read = statement
            .query_row([id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?)));
        let (severity, status, of) = read.map_err(IndexError::sqlite("read"))?;
        let word = match field {
            "severity" => Severity::ALL.into_iter().find(|known| *known as i64 == severity).map(Severity::as_str),
            "status" => Status::ALL.into_iter().find(|known| *known as i64 == status).map(Status::as_str),
            _ => {
                json::<Vec<i64>>(&of)?.into_iter().for_each(|label| *labels.entry(label).or_default() += 1);
                None
            }
        };
        if let Some(word) = word {
            *counts.entry(word.into()).or_default() += 1;
        }
    }
    let sql = "SELECT value FROM labels WHERE id = ?1 AND field = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(IndexError::sqlite("read"))?;
    for (label, n) in labels {
        let value: Option<String> = statement
            .query_row(rusqlite::params![label, field], |row| row.get(0))
            .optional()
            .map_err(IndexError::sqlite("read"))?;
        if let Some(value) = value {
            counts.insert(value, n);
        }
    }
    Ok(())
}
