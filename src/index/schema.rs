//! The tables, and the position that they have reached in the journal.
//!
//! | table | what it holds |
//! |---|---|
//! | `alerts` | one row for each alert: what lists sort and filter by in columns, everything else as JSON |
//! | `figures` | what reports add up of each alert, in a few bytes |
//! | `labels` | each value of each field by which alerts are filtered, once |
//! | `marks` | which alert has which label: one clustered tree instead of an index for each field |
//! | `search` | words of the alerts, without the text itself |
//! | `members` | which alerts a group had |
//! | `runs`, `deliveries` | each run and what it sent, with the outcome |
//! | `changes` | who changed what about an alert, when and why |
//! | `mentions` | which entries speak of an alert, a group, an effect or a bundle |
//! | `bundles` | when each bundle took over |
//! | `position` | the journal, and the last entry that is in the index |

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::index::IndexError;
use crate::index::way::add_regexp;
use crate::journal::Receipt;

/// Raised when the tables or what stands in them change: an index of another version is built anew.
pub const VERSION: i64 = 3;

/// How long a statement waits for another connection.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Pages in the write-ahead log before they are moved into the database.
const WAL_PAGES: i64 = 8_000;

/// Memory for pages while rows trickle in, and while everything is built, in KiB.
const CACHE_KIB: i64 = 8 << 10;
const BUILD_CACHE_KIB: i64 = 128 << 10;

/// Statements that a connection keeps ready.
const STATEMENTS_MAX: usize = 64;

const TABLES: &str = r#"
CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), journal TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY, -- ordinal of the record and index within it: grows with time
    status INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    received INTEGER NOT NULL, -- microseconds, as all times
    last_seen INTEGER NOT NULL,
    last_entry INTEGER NOT NULL,
    content INTEGER NOT NULL, -- hash of what the words in `search` were made of
    labels TEXT NOT NULL, -- JSON list of ids
    row TEXT NOT NULL
) STRICT;
CREATE TABLE figures (
    alert INTEGER PRIMARY KEY, source INTEGER NOT NULL, kind INTEGER NOT NULL, -- labels; 0 where it has none
    status INTEGER NOT NULL, severity INTEGER NOT NULL, suppressed INTEGER NOT NULL, fate INTEGER NOT NULL, closed_as INTEGER, useful INTEGER, useful_reason INTEGER,
    times INTEGER NOT NULL, last_seen INTEGER NOT NULL, runs INTEGER NOT NULL, deliveries INTEGER NOT NULL, orders INTEGER NOT NULL,
    waited INTEGER -- from its arrival to the first order, in seconds
) STRICT;
CREATE TABLE labels (id INTEGER PRIMARY KEY, field TEXT NOT NULL, value TEXT NOT NULL COLLATE NOCASE, ip BLOB, UNIQUE (field, value)) STRICT;
CREATE TABLE marks (label INTEGER NOT NULL, alert INTEGER NOT NULL, PRIMARY KEY (label, alert)) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE search USING fts5(text, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2');
CREATE TABLE members (grp INTEGER NOT NULL, alert INTEGER NOT NULL, PRIMARY KEY (grp, alert)) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    id TEXT PRIMARY KEY, outcome INTEGER NOT NULL, started INTEGER NOT NULL, ended INTEGER, entry INTEGER NOT NULL, error TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE deliveries (
    run TEXT NOT NULL, step INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, destination TEXT NOT NULL,
    outcome TEXT NOT NULL, attempts INTEGER NOT NULL, code INTEGER, asked INTEGER NOT NULL, ended INTEGER, error TEXT,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE mentions (subject INTEGER NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY (subject, entry)) STRICT, WITHOUT ROWID;
CREATE TABLE bundles (entry INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL) STRICT;
CREATE TABLE changes (
    alert INTEGER NOT NULL, entry INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL,
    actor TEXT NOT NULL, what TEXT NOT NULL, value TEXT NOT NULL, reason TEXT, comment TEXT,
    PRIMARY KEY (alert, entry, n)
) STRICT, WITHOUT ROWID;
INSERT INTO position VALUES (1, '', 0, '0000000000000000000000000000000000000000000000000000000000000000');
"#;

/// What a build makes last, since keeping it up to date row by row costs the most.
const LAST: &str = r"
INSERT INTO marks SELECT DISTINCT label.value, alerts.id FROM alerts, json_each(alerts.labels) AS label ORDER BY 1, 2;
CREATE INDEX alerts_by_rank ON alerts (status, severity);
CREATE INDEX alerts_by_seen ON alerts (last_seen);
CREATE INDEX labels_by_ip ON labels (ip) WHERE ip IS NOT NULL;
";

/// Makes a new database for a build: without indexes, and without care for crashes, since it counts only once it is whole.
///
/// # Errors
/// When the file cannot be made.
pub fn create(path: &Path) -> Result<Connection, IndexError> {
    let conn = Connection::open(path).map_err(IndexError::sqlite("create"))?;
    set(&conn, "journal_mode", "OFF")?;
    set(&conn, "synchronous", "OFF")?;
    set(&conn, "cache_size", -BUILD_CACHE_KIB)?;
    conn.execute_batch(TABLES).map_err(IndexError::sqlite("create"))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(conn)
}

/// Finishes a build and closes it.
///
/// # Errors
/// When the disk does not take it.
pub fn finish(conn: Connection) -> Result<(), IndexError> {
    set(&conn, "synchronous", "FULL")?;
    conn.execute_batch(&format!("BEGIN IMMEDIATE; {LAST} PRAGMA user_version = {VERSION}; COMMIT"))
        .map_err(IndexError::sqlite("finish"))?;
    conn.close().map_err(|(_, cause)| IndexError::sqlite("finish")(cause))
}

/// Opens a whole build for writing.
///
/// # Errors
/// [`IndexError::Unusable`] when another version wrote it; when it is no database.
pub fn open(path: &Path) -> Result<Connection, IndexError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(IndexError::sqlite("open"))?;
    conn.busy_timeout(BUSY_WAIT_MAX).map_err(IndexError::sqlite("open"))?;
    check_version(&conn)?;
    set(&conn, "journal_mode", "WAL")?;
    set(&conn, "synchronous", "NORMAL")?;
    set(&conn, "wal_autocheckpoint", WAL_PAGES)?;
    set(&conn, "cache_size", -CACHE_KIB)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(conn)
}

/// Opens a whole build for reading alone.
///
/// # Errors
/// As [`open`].
pub fn open_to_read(path: &Path) -> Result<Connection, IndexError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(IndexError::sqlite("open"))?;
    conn.busy_timeout(BUSY_WAIT_MAX).map_err(IndexError::sqlite("open"))?;
    check_version(&conn)?;
    add_regexp(&conn)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(conn)
}

/// Closes what [`open`] opened, so that the one file says everything and whoever reads it needs to write nothing.
pub fn close(conn: Connection) {
    // A reader that still has it open keeps it as it is, and then it is right as well.
    let _ = set(&conn, "journal_mode", "DELETE");
    let _ = conn.close();
}

/// Tables and indexes of a whole build, in order.
const SHAPE: &str = "alerts,alerts_by_rank,alerts_by_seen,bundles,changes,deliveries,figures,labels,labels_by_ip,marks,members,mentions,position,runs,search";

fn check_version(conn: &Connection) -> Result<(), IndexError> {
    let version: i64 =
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(IndexError::sqlite("open"))?;
    if version != VERSION {
        return Err(IndexError::Unusable("another version of soard made it".into()));
    }
    let names = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' AND name NOT \
                 GLOB 'search_*' ORDER BY name)";
    let shape: Option<String> = conn.query_row(names, [], |row| row.get(0)).map_err(IndexError::sqlite("open"))?;
    if shape.as_deref() == Some(SHAPE) { Ok(()) } else { Err(IndexError::Unusable("a table is missing".into())) }
}

/// Whether SQLite finds the file whole. Reads all of it.
///
/// # Errors
/// [`IndexError::Unusable`] with what it found.
pub fn check(conn: &Connection) -> Result<(), IndexError> {
    let found: String =
        conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(IndexError::sqlite("check"))?;
    if found == "ok" { Ok(()) } else { Err(IndexError::Unusable(found)) }
}

fn set(conn: &Connection, pragma: &str, value: impl rusqlite::ToSql) -> Result<(), IndexError> {
    conn.pragma_update(None, pragma, value).map_err(IndexError::sqlite("open"))
}

/// The last entry that is in the index, and the id of its journal.
///
/// # Errors
/// When it cannot be read.
pub fn position(conn: &Connection) -> Result<(String, Receipt), IndexError> {
    let read = conn.query_row("SELECT journal, seq, hash FROM position", [], |row| {
        Ok((row.get(0)?, Receipt { seq: row.get::<_, i64>(1)?.cast_unsigned(), hash: row.get(2)? }))
    });
    let read = read.optional().map_err(IndexError::sqlite("read"))?;
    read.ok_or_else(|| IndexError::Unusable("it does not say how far it goes".into()))
}

/// Sets it, in the transaction of the rows that it speaks of.
pub(super) fn set_position(conn: &Connection, journal: &str, to: &Receipt) -> Result<(), IndexError> {
    let mut statement = conn
        .prepare_cached("UPDATE position SET journal = ?1, seq = ?2, hash = ?3")
        .map_err(IndexError::sqlite("write"))?;
    statement.execute(params![journal, to.seq.cast_signed(), to.hash]).map_err(IndexError::sqlite("write"))?;
    Ok(())
}
