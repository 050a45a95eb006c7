//! Rows one by one, for those who pass alerts on.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::alert::Status;
use crate::domain::id::AlertId;
use crate::index::row::Row;
use crate::index::write::{json, number};
use crate::index::{IndexError, schema};
use crate::journal::Receipt;

/// One alert; `None`: the index knows it not, or no more.
///
/// # Errors
/// When it cannot be read.
pub fn row(conn: &Connection, id: AlertId) -> Result<Option<Row>, IndexError> {
    let mut statement =
        conn.prepare_cached("SELECT row FROM alerts WHERE id = ?1").map_err(IndexError::sqlite("read"))?;
    let found: Option<String> =
        statement.query_row([number(id)], |row| row.get(0)).optional().map_err(IndexError::sqlite("read"))?;
    found.map(|row| json(&row)).transpose()
}

/// Gives all open alerts to `each`, the oldest first, and returns the entry as of which they are.
///
/// # Errors
/// When they cannot be read, and what `each` says.
pub fn each_open(
    conn: &Connection,
    mut each: impl FnMut(Row) -> Result<(), IndexError>,
) -> Result<Receipt, IndexError> {
    let open = Status::ALL.into_iter().filter(|status| status.is_open()).map(|status| Sql::from(status as i64));
    let open: Vec<Sql> = open.collect();
    let [first, second] = open.as_slice() else { unreachable!("two statuses are open") };
    let mut statement = conn
        .prepare_cached("SELECT row FROM alerts WHERE status IN (?1, ?2) ORDER BY id")
        .map_err(IndexError::sqlite("read"))?;
    let mut rows = statement.query(params![first, second]).map_err(IndexError::sqlite("read"))?;
    while let Some(row) = rows.next().map_err(IndexError::sqlite("read"))? {
        let text: String = row.get(0).map_err(IndexError::sqlite("read"))?;
        each(json(&text)?)?;
    }
    schema::position(conn).map(|(_, position)| position)
}
