//! A notice in ArcSight's Common Event Format, version 0 of it: `CEF:0|soard|soard|VERSION|KIND|TITLE|SEVERITY|key=value …`.
//!
//! In the header `\` and `|` are escaped, in values `\`, `=` and line ends. What else breaks lines or hides is written as `\u{…}`, with its
//! backslash escaped like any other. `docs/exports.md` owns the table of keys.

use std::net::IpAddr;

use crate::domain::alert::Severity;
use crate::export::notice::{Change, Notice};
use crate::export::text::{begin, is_harmful};
use crate::index::row::Row;

/// Longest text of one value, in characters; `msg` may have 1,023.
const VALUE_CHARS_MAX: usize = 1_000;

/// Longest kind and title in the header, in characters.
const HEADER_CHARS_MAX: usize = 512;

/// The event, on one line.
pub(super) fn line(notice: &Notice) -> String {
    let (kind, title, severity) = match &notice.alert {
        Some(row) => (row.kind.as_deref().unwrap_or("alert"), row.title.clone(), severity(row.severity)),
        None => (notice.notice.as_str(), notice.message(), 0),
    };
    let mut event = format!("CEF:0|soard|soard|{}|", env!("CARGO_PKG_VERSION"));
    for part in [kind, &title] {
        event.push_str(&header(&begin(part, HEADER_CHARS_MAX)));
        event.push('|');
    }
    event.push_str(&format!("{severity}|"));
    let mut pairs = Vec::new();
    told(notice, &mut pairs);
    if let Some(row) = &notice.alert {
        alert(row, &mut pairs);
    }
    let pairs = pairs.into_iter().filter(|(_, text)| !text.is_empty());
    let pairs: Vec<String> =
        pairs.map(|(key, text)| format!("{key}={}", value(&begin(&text, VALUE_CHARS_MAX)))).collect();
    event + &pairs.join(" ")
}

/// From 0 to 10.
const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 6,
        Severity::High => 9,
    }
}

type Pairs = Vec<(&'static str, String)>;

/// A value of a key that means nothing by itself, with what it means.
fn custom(pairs: &mut Pairs, [label, key]: [&'static str; 2], meaning: &str, value: String) {
    if !value.is_empty() {
        pairs.extend([(label, meaning.to_owned()), (key, value)]);
    }
}

/// What the notice says.
fn told(notice: &Notice, pairs: &mut Pairs) {
    pairs.push(("rt", notice.at.as_millisecond().to_string()));
    pairs.push(("act", notice.notice.as_str().to_owned()));
    custom(pairs, ["cn1Label", "cn1"], "entry", notice.seq.to_string());
    custom(pairs, ["cn2Label", "cn2"], "number", notice.n.to_string());
    pairs.push(("externalId", notice.id.map(|id| id.to_string()).unwrap_or_default()));
    let changes: Vec<String> = notice.changes.iter().map(Change::words).collect();
    custom(pairs, ["cs6Label", "cs6"], "changes", changes.join("; "));
    let marks =
        [(notice.is_snapshot, "snapshot"), (notice.soard_test.is_some(), "test"), (notice.shortened, "shortened")];
    let marks: Vec<&str> = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
    custom(pairs, ["flexString2Label", "flexString2"], "marks", marks.join(" "));
}

/// What is known of the alert.
fn alert(row: &Row, pairs: &mut Pairs) {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let millis = |at: &Option<jiff::Timestamp>| at.map(|at| at.as_millisecond().to_string()).unwrap_or_default();
    let first = |kind: &str| row.entities.get(kind).and_then(|names| names.first()).cloned().unwrap_or_default();
    pairs.push(("msg", given(&row.description)));
    pairs.push(("cnt", row.count.to_string()));
    pairs.extend([("start", millis(&row.start)), ("end", millis(&row.end))]);
    pairs.push(("cat", row.tactics.join(", ")));
    for (key, kind) in [
        ("dhost", "host"),
        ("duser", "account"),
        ("fname", "file"),
        ("request", "url"),
        ("fileHash", "hash"),
        ("dproc", "process"),
        ("destinationDnsDomain", "domain"),
    ] {
        pairs.push((key, first(kind)));
    }
    let ip = first("ip");
    match ip.parse() {
        Ok(IpAddr::V4(_)) => pairs.push(("src", ip)),
        Ok(IpAddr::V6(_)) => custom(pairs, ["c6a2Label", "c6a2"], "source address", ip),
        Err(_) => {}
    }
    custom(pairs, ["cs1Label", "cs1"], "status", row.status.to_string());
    let by = row.suppressed_by.as_ref().map(|rule| &rule.id).or(row.silenced_by.as_ref());
    let fate = by.map_or_else(|| row.fate.to_string(), |by| format!("{} by {by}", row.fate));
    custom(pairs, ["cs2Label", "cs2"], "decision", fate);
    let product = [given(&row.vendor), given(&row.product)].join(" ");
    custom(pairs, ["cs3Label", "cs3"], "product", product.trim().to_owned());
    custom(pairs, ["cs4Label", "cs4"], "source", row.source.clone());
    custom(pairs, ["cs5Label", "cs5"], "techniques", row.techniques.join(", "));
    custom(pairs, ["flexString1Label", "flexString1"], "tags", row.tags.join(", "));
}

fn header(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '|' => out.extend(['\\', c]),
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_harmful(c) => out.push_str(&visible(c)),
            c => out.push(c),
        }
    }
    out
}

fn value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '=' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push(' '),
            c if is_harmful(c) => out.push_str(&visible(c)),
            c => out.push(c),
        }
    }
    out
}

/// `\u{202e}`, with the backslash escaped.
fn visible(c: char) -> String {
    format!("\\\\u{{{:x}}}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_is_escaped_and_what_hides_is_shown() {
        let evil = "a|b\\c=d\r\ne\u{202e}f\u{85}g\0";
        assert_eq!(header(evil), r"a\|b\\c=d  e\\u{202e}f\\u{85}g\\u{0}");
        assert_eq!(value(evil), r"a|b\\c\=d\r\ne\\u{202e}f\\u{85}g\\u{0}");
    }
}
