//! Writes rows: the alerts that a batch of entries touches are read once, changed in memory and written once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::id::AlertId;
use crate::index::row::Row;
use crate::index::{IndexError, labels, schema};
use crate::journal::Receipt;

/// Labels whose ids are kept in memory.
const LABELS_MAX: usize = 20_000;

/// Writes the index: tables as they are, or without what a build makes last.
#[derive(Debug)]
pub struct Writer {
    pub(super) conn: Connection,
    /// `marks` are made at the end, of the alerts' labels.
    building: bool,
    /// Random id of the journal, once an entry has told it.
    pub(super) journal: String,
    known: HashMap<String, i64>,
    rows: BTreeMap<AlertId, Pending>,
    open: bool,
}

/// An alert that is to be written.
#[derive(Debug)]
pub(super) struct Pending {
    pub row: Row,
    /// Its words, where they changed, and the hash of what they were made of.
    pub words: Option<String>,
    pub content: i64,
    /// As it stands in the tables; `None`: not yet.
    stored: Option<Stored>,
}

#[derive(Debug)]
struct Stored {
    labels: BTreeSet<i64>,
}

impl Writer {
    /// Writes a new build.
    pub fn building(conn: Connection) -> Self {
        Self::new(conn, true, String::new())
    }

    /// Goes on with a whole one.
    ///
    /// # Errors
    /// When its position cannot be read.
    pub fn following(conn: Connection) -> Result<Self, IndexError> {
        let (journal, _) = schema::position(&conn)?;
        Ok(Self::new(conn, false, journal))
    }

    fn new(conn: Connection, building: bool, journal: String) -> Self {
        Self { conn, building, journal, known: HashMap::new(), rows: BTreeMap::new(), open: false }
    }

    /// The last entry that is in the index.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn position(&self) -> Result<Receipt, IndexError> {
        schema::position(&self.conn).map(|(_, position)| position)
    }

    /// Its connection, to be closed.
    pub fn into_connection(self) -> Connection {
        self.conn.flush_prepared_statement_cache();
        self.conn
    }

    /// Begins a batch, unless one has begun.
    pub(super) fn begin(&mut self) -> Result<(), IndexError> {
        if !self.open {
            self.conn.execute_batch("BEGIN IMMEDIATE").map_err(IndexError::sqlite("write"))?;
            self.open = true;
        }
        Ok(())
    }

    /// Makes the batch count: everything up to this entry is in the index.
    ///
    /// # Errors
    /// When it cannot be written; then none of the batch is.
    pub fn commit(&mut self, upto: &Receipt) -> Result<(), IndexError> {
        self.begin()?;
        let written = self.put_all();
        let written = written.and_then(|()| schema::set_position(&self.conn, &self.journal, upto));
        let written = written.and_then(|()| self.conn.execute_batch("COMMIT").map_err(IndexError::sqlite("write")));
        if written.is_err() {
            self.undo();
        } else {
            self.open = false;
        }
        written
    }

    /// Forgets the batch.
    pub fn undo(&mut self) {
        self.rows.clear();
        self.known.clear();
        if std::mem::take(&mut self.open) {
            // Where even that fails the connection is of no use, and the next statement says so.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    /// Gives memory back that only a burst needs.
    pub fn rest(&self) {
        let _ = self.conn.execute_batch("PRAGMA shrink_memory");
    }

    /// Runs a statement of the batch.
    pub(super) fn run(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<usize, IndexError> {
        self.begin()?;
        let mut statement = self.conn.prepare_cached(sql).map_err(IndexError::sqlite("write"))?;
        statement.execute(values).map_err(IndexError::sqlite("write"))
    }

    /// An alert as the entries so far left it; `None`: there is none.
    pub(super) fn alert(&mut self, id: AlertId) -> Result<Option<&mut Pending>, IndexError> {
        if !self.rows.contains_key(&id) {
            let Some(found) = self.stored(id)? else { return Ok(None) };
            self.rows.insert(id, found);
        }
        Ok(self.rows.get_mut(&id))
    }

    /// An alert that is not there yet.
    pub(super) fn add(&mut self, mut row: Row) -> Result<&mut Pending, IndexError> {
        let id = row.id;
        if row.count > 1 {
            row.received = self.arrival(id)?.unwrap_or(row.received);
        }
        let pending = Pending { row, words: None, content: 0, stored: None };
        Ok(self.rows.entry(id).insert_entry(pending).into_mut())
    }

    /// When an alert arrived whose first entries are gone: as far as its neighbours tell, since numbers grow as time does.
    fn arrival(&mut self, id: AlertId) -> Result<Option<Timestamp>, IndexError> {
        self.put_all()?;
        for sql in [
            "SELECT received FROM alerts WHERE id < ?1 ORDER BY id DESC LIMIT 1",
            "SELECT received FROM alerts WHERE id > ?1 ORDER BY id LIMIT 1",
        ] {
            let mut statement = self.conn.prepare_cached(sql).map_err(IndexError::sqlite("read"))?;
            let found = statement.query_row([number(id)], |row| row.get(0)).optional();
            if let Some(found) = found.map_err(IndexError::sqlite("read"))? {
                return Ok(Some(instant(found)));
            }
        }
        Ok(None)
    }

    fn put_all(&mut self) -> Result<(), IndexError> {
        self.begin()?;
        let rows = std::mem::take(&mut self.rows);
        rows.into_iter().try_for_each(|(id, pending)| self.put(id, pending))
    }

    fn stored(&mut self, id: AlertId) -> Result<Option<Pending>, IndexError> {
        self.begin()?;
        let mut statement = self
            .conn
            .prepare_cached("SELECT row, labels, content FROM alerts WHERE id = ?1")
            .map_err(IndexError::sqlite("read"))?;
        let found = statement.query_row([number(id)], |found| {
            Ok((found.get::<_, String>(0)?, found.get::<_, String>(1)?, found.get::<_, i64>(2)?))
        });
        let Some((row, labels, content)) = found.optional().map_err(IndexError::sqlite("read"))? else {
            return Ok(None);
        };
        let stored = Stored { labels: json(&labels)? };
        Ok(Some(Pending { row: json(&row)?, words: None, content, stored: Some(stored) }))
    }

    fn put(&mut self, id: AlertId, pending: Pending) -> Result<(), IndexError> {
        let Pending { row, words, content, stored } = pending;
        let id = number(id);
        let mut labels = BTreeSet::new();
        let (mut source, mut kind) = (0, 0);
        for (field, value) in row.labels() {
            let label = self.label(field, value)?;
            labels.insert(label);
            match field {
                "source" => source = label,
                "kind" => kind = label,
                _ => {}
            }
        }
        let columns = params![
            id,
            row.status as i64,
            row.severity as i64,
            micros(row.received),
            micros(row.last_seen),
            row.last_entry.cast_signed(),
            content,
            serde_json::to_string(&labels).expect("numbers are JSON"),
            serde_json::to_string(&row).expect("rows are plain data with string keys"),
        ];
        let sql = if stored.is_none() {
            "INSERT INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        } else {
            "UPDATE alerts SET status = ?2, severity = ?3, received = ?4, last_seen = ?5, last_entry = ?6, content = ?7, \
             labels = ?8, row = ?9 WHERE id = ?1"
        };
        self.run(sql, columns)?;
        self.put_figures(id, &row, source, kind)?;
        if !self.building {
            let before = stored.as_ref().map(|stored| &stored.labels);
            for gone in before.into_iter().flatten().filter(|label| !labels.contains(label)) {
                self.run("DELETE FROM marks WHERE label = ?1 AND alert = ?2", [*gone, id])?;
            }
            for new in labels.iter().filter(|label| !before.is_some_and(|before| before.contains(label))) {
                self.run("INSERT INTO marks VALUES (?1, ?2)", [*new, id])?;
            }
        }
        if let Some(words) = words {
            if stored.is_some() {
                self.run("DELETE FROM search WHERE rowid = ?1", [id])?;
            }
            self.run("INSERT INTO search (rowid, text) VALUES (?1, ?2)", params![id, words])?;
        }
        Ok(())
    }

    fn put_figures(&mut self, id: i64, row: &Row, source: i64, kind: i64) -> Result<(), IndexError> {
        let waited = row.first_order.map(|at| at.duration_since(row.received).as_secs().max(0));
        let columns = params![
            id,
            source,
            kind,
            row.status as i64,
            row.severity as i64,
            row.suppressed_by.is_some(),
            row.fate as i64,
            row.closed_as.map(|reason| reason as i64),
            row.useful,
            row.useful_reason.map(|reason| reason as i64),
            row.count.cast_signed(),
            micros(row.last_seen),
            row.runs.len() as i64,
            row.deliveries.cast_signed(),
            row.orders.cast_signed(),
            waited,
        ];
        let sql = "INSERT OR REPLACE INTO figures VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        self.run(sql, columns)?;
        Ok(())
    }

    /// The id of a label, which is made when it is new.
    fn label(&mut self, field: &str, value: &str) -> Result<i64, IndexError> {
        let key = format!("{field}\n{}", value.to_ascii_lowercase());
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let sql = "SELECT id FROM labels WHERE field = ?1 AND value = ?2";
        let found: Option<i64> = {
            let mut statement = self.conn.prepare_cached(sql).map_err(IndexError::sqlite("read"))?;
            statement.query_row([field, value], |row| row.get(0)).optional().map_err(IndexError::sqlite("read"))?
        };
        let id = match found {
            Some(id) => id,
            None => {
                let ip = if field == "ip" { labels::address(value) } else { None };
                self.run("INSERT INTO labels (field, value, ip) VALUES (?1, ?2, ?3)", params![field, value, ip])?;
                self.conn.last_insert_rowid()
            }
        };
        if self.known.len() >= LABELS_MAX {
            self.known.clear();
        }
        self.known.insert(key, id);
        Ok(id)
    }

    /// The alerts that were seen last in entries that are gone go as well, with all about them.
    pub(super) fn forget(&mut self, last: u64) -> Result<(), IndexError> {
        self.put_all()?;
        let last = last.cast_signed();
        self.run("DELETE FROM search WHERE rowid IN (SELECT id FROM alerts WHERE last_entry <= ?1)", [last])?;
        if !self.building {
            let marked = "DELETE FROM marks WHERE (label, alert) IN (SELECT label.value, alerts.id FROM alerts, \
                          json_each(alerts.labels) AS label WHERE last_entry <= ?1)";
            self.run(marked, [last])?;
            self.run("DELETE FROM labels WHERE NOT EXISTS (SELECT 1 FROM marks WHERE marks.label = labels.id)", [])?;
            self.known.clear();
        }
        for table in ["members", "changes", "figures"] {
            let sql = format!("DELETE FROM {table} WHERE alert IN (SELECT id FROM alerts WHERE last_entry <= ?1)");
            self.run(&sql, [last])?;
        }
        self.run(
            "DELETE FROM deliveries WHERE run IN (SELECT id FROM runs WHERE entry <= ?1 AND outcome <> 0)",
            [last],
        )?;
        self.run("DELETE FROM runs WHERE entry <= ?1 AND outcome <> 0", [last])?;
        self.run("DELETE FROM mentions WHERE entry <= ?1", [last])?;
        self.run("DELETE FROM bundles WHERE entry <= ?1 AND entry < (SELECT max(entry) FROM bundles)", [last])?;
        self.run("DELETE FROM alerts WHERE last_entry <= ?1", [last])?;
        Ok(())
    }

    /// The alerts that a group had.
    pub(super) fn members(&mut self, group: u64) -> Result<Vec<AlertId>, IndexError> {
        self.begin()?;
        let mut statement =
            self.conn.prepare_cached("SELECT alert FROM members WHERE grp = ?1").map_err(IndexError::sqlite("read"))?;
        let found = statement.query_map([group.cast_signed()], |row| row.get(0)).map_err(IndexError::sqlite("read"))?;
        found.map(|id| id.map(alert_id).map_err(IndexError::sqlite("read"))).collect()
    }
}

/// Bits of an alert's number that are its index within the record, of which a record has at most a thousand.
const INDEX_BITS: u32 = 10;

/// An alert's number in the tables: grows as alerts arrive.
pub(super) fn number(id: AlertId) -> i64 {
    let index = u64::from(id.index) & ((1 << INDEX_BITS) - 1);
    ((id.record << INDEX_BITS) | index).cast_signed()
}

/// The alert with that number.
pub(super) fn alert_id(number: i64) -> AlertId {
    let number = number.cast_unsigned();
    let index = u32::try_from(number & ((1 << INDEX_BITS) - 1)).expect("ten bits fit");
    AlertId { record: number >> INDEX_BITS, index }
}

/// Microseconds since 1970.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// An instant as the tables have it.
pub(super) fn instant(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Reads what a column holds as JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, IndexError> {
    serde_json::from_str(text).map_err(|error| IndexError::Unusable(error.to_string()))
}

/// A text that may be absent, as SQLite has it.
pub(super) fn maybe(text: Option<&str>) -> Sql {
    text.map_or(Sql::Null, |text| Sql::Text(text.to_owned()))
}
