//! A condition as SQL, in both directions: which alerts fit, and whether this one does.

use std::error::Error;

use regex::Regex;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value as Sql;

use crate::index::IndexError;
use crate::index::filter::{Labelled, Range, Test};
use crate::index::labels::octets;
use crate::index::query::rows;
use crate::index::write::micros;

/// Up to this many labels are looked up one by one.
const FEW_LABELS: usize = 8;

/// Some SQL and the values that it takes.
#[derive(Debug, Clone)]
pub(super) struct Clause {
    pub sql: String,
    pub values: Vec<Sql>,
}

impl Clause {
    fn new(sql: impl Into<String>, values: Vec<Sql>) -> Self {
        Self { sql: sql.into(), values }
    }
}

/// A condition.
#[derive(Debug)]
pub(super) struct Way {
    /// Selects the `id` of each alert that fits, once; absent where that is no help.
    pub lead: Option<Clause>,
    /// Holds of an alert `a` that fits.
    pub probe: Clause,
    /// The same of the `id` of `d`, where that is all it takes: asked before the alert itself is looked up.
    pub early: Option<Clause>,
    /// The probe takes ten times as long as others.
    pub dear: bool,
}

impl Way {
    /// Seen last within a range.
    pub fn seen(Range { from, until }: Range) -> Self {
        let values = vec![Sql::from(micros(from)), Sql::from(micros(until))];
        let ids = "SELECT id FROM alerts INDEXED BY alerts_by_seen WHERE last_seen BETWEEN ? AND ?";
        let lead = Some(Clause::new(ids, values.clone()));
        Self { lead, probe: Clause::new("+a.last_seen BETWEEN ? AND ?", values), early: None, dear: false }
    }

    /// Has these words.
    pub fn text(expression: &str, negated: bool) -> Self {
        let values = vec![Sql::from(expression.to_owned())];
        let ids = Clause::new("SELECT rowid AS id FROM search WHERE search MATCH ?", values.clone());
        let probe = "EXISTS (SELECT 1 FROM search WHERE search MATCH ? AND rowid = a.id)";
        let probe = Clause::new(not(negated, probe), values);
        Self { lead: (!negated).then_some(ids), probe, early: None, dear: true }
    }

    /// Has a label that passes the test; `None` when none can have.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn labelled(conn: &Connection, labelled: &Labelled, labels_max: usize) -> Result<Option<Self>, IndexError> {
        let negated = labelled.negated;
        Ok(match resolve(conn, labelled, labels_max)? {
            Some(labels) if labels.is_empty() => None,
            Some(labels) if labels.len() <= FEW_LABELS => {
                let places = vec!["?"; labels.len()].join(", ");
                let values: Vec<Sql> = labels.iter().map(|label| Sql::from(*label)).collect();
                let distinct = if labels.len() > 1 { "DISTINCT " } else { "" };
                let ids = format!("SELECT {distinct}alert AS id FROM marks WHERE label IN ({places})");
                let has = |id: &str| {
                    let has =
                        format!("EXISTS (SELECT 1 FROM marks AS m WHERE m.label IN ({places}) AND m.alert = {id})");
                    Clause::new(not(negated, &has), values.clone())
                };
                let (probe, early) = (has("a.id"), Some(has("d.id")));
                let lead = (!negated).then(|| Clause::new(ids, values.clone()));
                Some(Self { lead, probe, early, dear: false })
            }
            Some(labels) => {
                let list = vec![Sql::from(serde_json::to_string(&labels).expect("numbers are JSON"))];
                let set = "SELECT value FROM json_each(?)";
                let ids = format!("SELECT DISTINCT alert AS id FROM marks WHERE label IN ({set})");
                let probe = format!("EXISTS (SELECT 1 FROM json_each(a.labels) AS l WHERE l.value IN ({set}))");
                let lead = (!negated).then(|| Clause::new(ids, list.clone()));
                Some(Self { lead, probe: Clause::new(not(negated, &probe), list), early: None, dear: true })
            }
            None => {
                let test = test(labelled);
                let probe = format!(
                    "EXISTS (SELECT 1 FROM json_each(a.labels) AS l CROSS JOIN labels AS v ON v.id = l.value WHERE {})",
                    test.sql
                );
                let probe = Clause::new(not(negated, &probe), test.values);
                Some(Self { lead: None, probe, early: None, dear: true })
            }
        })
    }
}

fn not(negated: bool, sql: &str) -> String {
    if negated { format!("NOT {sql}") } else { sql.to_owned() }
}

/// Whether a label `v` is meant.
fn test(labelled: &Labelled) -> Clause {
    let fields = vec!["?"; labelled.fields.len()].join(", ");
    let mut values: Vec<Sql> = labelled.fields.iter().map(|field| Sql::from((*field).to_owned())).collect();
    let test = match &labelled.test {
        Test::Is(texts) => {
            values.extend(texts.iter().map(|text| Sql::from(text.clone())));
            format!("v.value IN ({})", vec!["?"; texts.len()].join(", "))
        }
        Test::Technique(technique) => {
            values.extend([technique.clone(), format!("{technique}."), format!("{technique}/")].map(Sql::from));
            "(v.value = ? OR (v.value >= ? AND v.value < ?))".to_owned()
        }
        Test::Within(network) => {
            values.extend([network.network(), network.broadcast()].map(|ip| Sql::from(octets(ip).to_vec())));
            "v.ip BETWEEN ? AND ?".to_owned()
        }
        Test::Like(regex) => {
            values.push(Sql::from(regex.as_str().to_owned()));
            "v.value REGEXP ?".to_owned()
        }
    };
    // Addresses have an index of their own, which a comparison of the field must not turn SQLite away from.
    let plus = if matches!(labelled.test, Test::Within(_)) { "+" } else { "" };
    Clause { sql: format!("{plus}v.field IN ({fields}) AND {test}"), values }
}

/// The labels that a condition means; `None` when they are too many.
fn resolve(conn: &Connection, labelled: &Labelled, labels_max: usize) -> Result<Option<Vec<i64>>, IndexError> {
    let Clause { sql, values } = test(labelled);
    let sql = format!("SELECT v.id FROM labels AS v WHERE {sql} LIMIT {}", labels_max + 1);
    let labels = rows(conn, &sql, &values, |row| row.get::<_, i64>(0))?;
    Ok((labels.len() <= labels_max).then_some(labels))
}

/// Lets a connection compare with regular expressions.
///
/// # Errors
/// What SQLite says.
pub(super) fn add_regexp(conn: &Connection) -> Result<(), IndexError> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function("regexp", 2, flags, |call| {
        let compiled = call.get_or_create_aux(0, |pattern| -> Result<_, Box<dyn Error + Send + Sync>> {
            Ok(Regex::new(pattern.as_str()?)?)
        })?;
        Ok(compiled.is_match(call.get_raw(1).as_str()?))
    })
    .map_err(IndexError::sqlite("open"))
}

/// The number of the first alert that arrived at that instant or later. Numbers grow as time does.
///
/// # Errors
/// What SQLite says.
pub(super) fn first_since(conn: &Connection, since: i64) -> Result<i64, IndexError> {
    let sql = "SELECT id, received FROM alerts WHERE id >= ? ORDER BY id LIMIT 1";
    let next = |from: i64| -> Result<Option<(i64, i64)>, IndexError> {
        Ok(rows(conn, sql, &[Sql::from(from)], |row| Ok((row.get(0)?, row.get(1)?)))?.pop())
    };
    let last = rows(conn, "SELECT id FROM alerts ORDER BY id DESC LIMIT 1", &[], |row| row.get::<_, i64>(0))?;
    let (mut low, mut high) = (0, last.first().map_or(0, |last| last.saturating_add(1)));
    while low < high {
        let middle = low + (high - low) / 2;
        match next(middle)? {
            Some((id, received)) if received < since => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
