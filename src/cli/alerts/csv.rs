//! Alerts as CSV, for spreadsheets.

use crate::cli::csv;
use crate::index::row::Row;

const HEAD: [&str; 20] = [
    "id",
    "severity",
    "status",
    "fate",
    "received",
    "last_seen",
    "count",
    "source",
    "vendor",
    "product",
    "kind",
    "title",
    "description",
    "resource",
    "tactics",
    "techniques",
    "tags",
    "suppressed_by",
    "runs",
    "external_id",
];

/// The head line.
pub fn head() -> String {
    HEAD.join(",") + "\n"
}

/// One line for each alert.
pub fn body(rows: &[Row]) -> String {
    csv::body(rows.iter().map(cells))
}

/// A head line and one line for each alert.
pub fn rows(rows: &[Row]) -> String {
    csv::lines(&HEAD, rows.iter().map(cells))
}

fn cells(row: &Row) -> [String; HEAD.len()] {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        row.id.to_string(),
        row.severity.to_string(),
        row.status.to_string(),
        row.fate.to_string(),
        row.received.to_string(),
        row.last_seen.to_string(),
        row.count.to_string(),
        row.source.clone(),
        given(&row.vendor),
        given(&row.product),
        given(&row.kind),
        row.title.clone(),
        given(&row.description),
        given(&row.resource),
        row.tactics.join("; "),
        row.techniques.join("; "),
        row.tags.join("; "),
        row.suppressed_by.as_ref().map(|rule| rule.id.clone()).unwrap_or_default(),
        row.runs.iter().map(|run| format!("{} {}", run.id.playbook, run.outcome)).collect::<Vec<_>>().join("; "),
        given(&row.external_id),
    ]
}
