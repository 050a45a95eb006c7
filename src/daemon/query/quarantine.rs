//! Quarantined records: the list, and one with its bytes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::{Fold, Lines, LogLine, QueryError, ROWS_DEFAULT, ROWS_LISTED_MAX, fold};
use crate::domain::entry::{Entry, Facts, Quarantine};
use crate::domain::id::AlertId;
use crate::domain::operator::{Operator, Order};
use crate::domain::record::{Body, Position};
use crate::index::row::short;

/// The newest records that a list knows; older ones are left out of it, but can still be shown one by one.
pub const RECORDS_MAX: usize = 100_000;

/// One quarantined record in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineRow {
    /// Ordinal of the record: what `show` and `retry` take.
    pub record_no: u64,
    /// When it was quarantined.
    pub at: Timestamp,
    /// Name of the source.
    pub source: String,
    /// Why, in words.
    pub cause: String,
    /// Size of the record in bytes.
    pub bytes: u64,
    /// What came of sending it through again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<Retried>,
    /// Who gave it up, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Discarded>,
}

/// A record is given up: it is on record, and nobody looks after it any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Discarded {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub comment: String,
}

/// A retry that went well; one that fails leaves the record as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retried {
    /// When.
    pub at: Timestamp,
    /// Ordinal of the record that it became.
    pub record_no: u64,
    /// The alerts that it gave.
    pub alerts: Vec<AlertId>,
}

/// Which quarantined records a list shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuarantineFilter {
    /// From this source only.
    pub source: Option<String>,
    /// Quarantined at or after this instant.
    pub since: Option<Timestamp>,
    /// Also those that were sent through again or given up since.
    pub all: bool,
    /// At most this many rows; 50 when absent.
    pub limit: Option<u64>,
}

/// A list of quarantined records, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineList {
    /// The rows.
    pub records: Vec<QuarantineRow>,
    /// How many records fit the filter, shown or not.
    pub matching: u64,
}

/// One quarantined record with its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineView {
    /// As in a list, but with the whole cause.
    pub row: QuarantineRow,
    /// Sequence number of the entry.
    pub seq: u64,
    /// Where the record lay.
    pub position: Position,
    /// The record, verbatim.
    pub record: Body,
}

/// Lists quarantined records.
///
/// # Errors
/// When the journal cannot be read.
pub fn list(lines: Lines<'_>, filter: &QuarantineFilter) -> Result<QuarantineList, QueryError> {
    let mut rows = Rows::default();
    fold(lines, &mut rows)?;
    let mut records: Vec<QuarantineRow> = rows.rows.into_values().rev().filter(|row| filter.fits(row)).collect();
    let matching = records.len() as u64;
    records.truncate(usize::try_from(filter.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_LISTED_MAX)).unwrap_or(usize::MAX));
    Ok(QuarantineList { records, matching })
}

impl QuarantineFilter {
    fn fits(&self, row: &QuarantineRow) -> bool {
        (self.all || row.retried.is_none() && row.discarded.is_none())
            && self.source.as_ref().is_none_or(|source| row.source == *source)
            && self.since.is_none_or(|since| row.at >= since)
    }
}

/// Shows one quarantined record; `None` when the record with this ordinal was not quarantined.
///
/// # Errors
/// When the journal cannot be read.
pub fn show(lines: Lines<'_>, record_no: u64) -> Result<Option<QuarantineView>, QueryError> {
    let mut rows = Rows { only: Some(record_no), ..Rows::default() };
    fold(lines, &mut rows)?;
    let Some((row, (seq, found))) = rows.rows.remove(&record_no).zip(rows.found) else { return Ok(None) };
    let row = QuarantineRow { cause: found.cause, ..row };
    Ok(Some(QuarantineView { row, seq, position: found.position, record: found.record }))
}

#[derive(Default)]
struct Rows {
    rows: BTreeMap<u64, QuarantineRow>,
    /// Keep this record's bytes.
    only: Option<u64>,
    found: Option<(u64, Quarantine)>,
}

impl Fold for Rows {
    fn wants(&self, line: &LogLine) -> bool {
        match &*line.kind {
            "quarantine" => true,
            "intake" => line.has("\"position\":{\"retry\""),
            "operator" => line.has("\"quarantine_discard\""),
            _ => false,
        }
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.facts {
            Facts::Quarantine(quarantine) => {
                let row = QuarantineRow {
                    record_no: quarantine.record_no,
                    at: entry.at,
                    source: quarantine.source.clone(),
                    cause: short(&quarantine.cause),
                    bytes: quarantine.record.bytes().map_or(0, |bytes| bytes.len() as u64),
                    retried: None,
                    discarded: None,
                };
                if self.only == Some(quarantine.record_no) {
                    self.found = Some((entry.seq, quarantine.clone()));
                } else if self.only.is_some() {
                    return;
                }
                self.rows.insert(quarantine.record_no, row);
                if self.rows.len() > RECORDS_MAX {
                    self.rows.pop_first();
                }
            }
            Facts::Intake(intake) => {
                if let Position::Retry { quarantine } = intake.position
                    && let Some(row) = self.rows.get_mut(&quarantine)
                {
                    let alerts = intake.alerts.iter().map(|taken| taken.id).collect();
                    row.retried = Some(Retried { at: entry.at, record_no: intake.record_no, alerts });
                }
            }
            Facts::Operator(Operator { actor, comment, order: Order::QuarantineDiscard { records }, .. }) => {
                for record in records {
                    if let Some(row) = self.rows.get_mut(record) {
                        let (by, comment) = (actor.clone(), comment.clone());
                        row.discarded = Some(Discarded { at: entry.at, by, comment });
                    }
                }
            }
            _ => {}
        }
    }
}
