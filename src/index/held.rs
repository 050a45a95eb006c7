//! What suppressions hold back, and which bundles were in charge since when.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::domain::decision::RuleRef;
use crate::index::IndexError;
use crate::index::query::{read, rows};
use crate::index::write::instant;

/// The alerts on record that a suppression holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The rule, where it stood when it held one of them last.
    pub rule: RuleRef,
    /// How many alerts.
    pub alerts: u64,
    /// How often they were seen.
    pub times: u64,
    /// When one of them was seen last.
    pub last: Timestamp,
}

/// A bundle and when it took over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reign {
    /// SHA-256 over its files, in hex.
    pub id: String,
    /// Since when.
    pub since: Timestamp,
}

/// Every suppression that holds an alert on record, by id.
///
/// # Errors
/// What SQLite says.
pub fn held(conn: &Connection) -> Result<Vec<Held>, IndexError> {
    // The other columns are of the row with the greatest number, as SQLite does with a lone max().
    let sql = "SELECT l.value, count(*), sum(f.times), max(f.last_seen), m.alert FROM labels AS l CROSS JOIN marks AS m ON \
               m.label = l.id CROSS JOIN figures AS f ON f.alert = m.alert WHERE l.field = ? GROUP BY l.id ORDER BY l.value";
    let found = rows(conn, sql, &[Sql::from("suppressed_by".to_owned())], |row| {
        let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let held = Held {
            rule: RuleRef { id: row.get(0)?, place: String::new() },
            alerts: number(1)?,
            times: number(2)?,
            last: instant(row.get(3)?),
        };
        Ok((held, row.get::<_, i64>(4)?))
    })?;
    let place = |(mut held, alert): (Held, i64)| {
        held.rule.place = read(conn, alert)?.suppressed_by.map(|rule| rule.place).unwrap_or_default();
        Ok(held)
    };
    found.into_iter().map(place).collect()
}

/// The bundles that took over last, the newest first.
///
/// # Errors
/// What SQLite says.
pub fn reigns(conn: &Connection, most: usize) -> Result<Vec<Reign>, IndexError> {
    let sql = format!("SELECT id, at FROM bundles ORDER BY entry DESC LIMIT {most}");
    rows(conn, &sql, &[], |row| Ok(Reign { id: row.get(0)?, since: instant(row.get(1)?) }))
}
