//! What would make a noisy kind quieter, where its figures speak for it: a rule as text, ready for the content folder.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::index::IndexError;
use crate::index::facets::facet;
use crate::index::noise::NoiseLine;
use crate::index::query::Request;

/// At least so many alerts of a kind must have been closed or judged by people before a suppression is suggested …
pub const DECIDED_MIN: u64 = 10;

/// … that many of a hundred of those that were shown …
pub const DECIDED_PERCENT_MIN: u64 = 25;

/// … and that many of a hundred of them must have been false positives or benign, and none worth it.
pub const VAIN_PERCENT_MIN: u64 = 90;

/// At least so many alerts of a kind must have been shown before a throttle is suggested …
pub const SHOWN_MIN: u64 = 100;

/// … with that many actions by itself for a hundred alerts, as runs …
pub const RUNS_PERCENT_MIN: u64 = 50;

/// … and people did something about at most so many of a hundred.
pub const ACTED_PERCENT_MAX: u64 = 5;

/// How many alerts of a kind a day the suggested throttle lets through.
pub const THROTTLE_AT_MOST: u64 = 10;

/// How long a suggested suppression holds.
const HOLDS: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Longest value that rows keep whole; one that is longer ends in an ellipsis.
const ELLIPSIS: char = '…';

/// Longest id of a rule.
const ID_CHARS_MAX: usize = 64;

/// A rule that would make something quieter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suggestion {
    /// Which.
    pub advice: Advice,
    /// The figures that speak for it.
    pub why: String,
    /// A suppression: the whole file. A throttle: the line for the route that the comment names.
    pub yaml: String,
}

/// What is suggested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// People find that it is nothing: a suppression.
    Suppress,
    /// It comes often, playbooks run for it, and hardly anyone looks: a throttle.
    Throttle,
}

impl Advice {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Throttle => "throttle",
        }
    }
}

/// What the figures of a kind speak for, if for anything. Other lines say nothing about which rule would be right.
pub(super) fn suggest(
    conn: &Connection,
    line: &NoiseLine,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Suggestion>, IndexError> {
    let (Some(source), Some(kind)) = (&line.source, &line.value) else { return Ok(None) };
    let since = since.map_or_else(|| "on record".to_owned(), |since| format!("since {}", day(since)));
    if is_vain(line) {
        return Ok(Some(suppression(line, source, kind, &since, now)));
    }
    if !is_unheeded(line) {
        return Ok(None);
    }
    // Terms of a filter are trimmed; a kind that this changes finds nothing, and then there is no route to name.
    let filter = vec![format!("kind={kind}"), format!("source={source}")];
    let routes = match facet(conn, &Request { filter, all: true, ..Request::default() }, "route", now) {
        Ok(facet) => facet.values,
        Err(IndexError::Asked(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(routes.first().map(|(route, _)| throttle(line, source, kind, route, &since)))
}

/// People have looked at enough of them, and found nothing.
fn is_vain(line: &NoiseLine) -> bool {
    let figures = &line.figures;
    figures.decided >= DECIDED_MIN
        && figures.worth == 0
        && is_at_least(figures.decided, DECIDED_PERCENT_MIN, figures.shown())
        && is_at_least(figures.vain, VAIN_PERCENT_MIN, figures.decided)
}

/// Playbooks run for many of them, and hardly anyone does anything about them.
fn is_unheeded(line: &NoiseLine) -> bool {
    let figures = &line.figures;
    figures.shown() >= SHOWN_MIN
        && figures.throttled == 0
        && is_at_least(figures.runs, RUNS_PERCENT_MIN, figures.shown())
        && figures.acted * 100 <= ACTED_PERCENT_MAX * figures.shown()
}

fn is_at_least(part: u64, percent: u64, of: u64) -> bool {
    part * 100 >= percent * of
}

fn suppression(line: &NoiseLine, source: &str, kind: &str, since: &str, now: Timestamp) -> Suggestion {
    let figures = &line.figures;
    let reason = if figures.false_positives >= figures.benign { "false_positive" } else { "expected" };
    let why = format!(
        "of {} alerts {since} people closed or judged {}: {} false positives, {} benign or expected, none worth it",
        figures.shown(),
        figures.decided,
        figures.false_positives,
        figures.benign,
    );
    let expires = day(now.checked_add(HOLDS).unwrap_or(Timestamp::MAX));
    let yaml = format!(
        "# Suggested by `soard report noisy`; whoever takes it over answers for it.\nsuppress:\n  - id: {}\n    title: {}\n    \
         owner: soc@example.com\n    reason: {reason}\n    comment: {}\n    expires: {expires}\n    match:\n      {}\n      {}\n",
        id(source, kind),
        quoted(&format!("{kind} from {source}")),
        quoted(&format!("Suggested on {}: {why}", day(now))),
        item("source", source),
        item("kind", kind),
    );
    Suggestion { advice: Advice::Suppress, why, yaml }
}

fn throttle(line: &NoiseLine, source: &str, kind: &str, route: &str, since: &str) -> Suggestion {
    let figures = &line.figures;
    let why = format!(
        "{} alerts {since} gave {} runs, and people did something about {} of them",
        figures.shown(),
        figures.runs,
        figures.acted
    );
    let yaml = format!(
        "# {} from {}: {why}.\n# Into the route `{}`; it holds for each kind that the route takes. The surplus is counted and reported.\n\
         throttle: {{ per: [source, kind], at_most: {THROTTLE_AT_MOST}, within: 1d }}\n",
        quoted(kind),
        quoted(source),
        route,
    );
    Suggestion { advice: Advice::Throttle, why, yaml }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// `quiet-edr-port-scan`.
fn id(source: &str, kind: &str) -> String {
    let mut id = String::from("quiet");
    for word in [source, kind] {
        if !id.ends_with('-') {
            id.push('-');
        }
        for c in word.chars() {
            match c {
                'a'..='z' | '0'..='9' => id.push(c),
                'A'..='Z' => id.push(c.to_ascii_lowercase()),
                _ if id.ends_with('-') => {}
                _ => id.push('-'),
            }
        }
    }
    id.truncate(ID_CHARS_MAX);
    id.trim_end_matches('-').to_owned()
}

/// `field: "value"`, whatever the value has in it; one that was cut is known by its beginning.
fn item(field: &str, value: &str) -> String {
    let (modifier, value) = match value.strip_suffix(ELLIPSIS) {
        Some(begin) => ("|startswith", begin),
        None => ("", value),
    };
    let mut escaped = String::new();
    for c in value.chars() {
        if matches!(c, '*' | '?' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    format!("{field}{modifier}: {}", quoted(&escaped))
}

/// A text as YAML and JSON both quote it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ids_and_values_stay_values() {
        assert_eq!(id("edr", "Port Scan (new)"), "quiet-edr-port-scan-new");
        assert_eq!(id("-Ü-", "x"), "quiet-x");
        assert_eq!(id("a", &"long".repeat(30)).len(), ID_CHARS_MAX);
        assert_eq!(item("kind", r#"a*b?\"c"#), r#"kind: "a\\*b\\?\\\\\"c""#);
        assert_eq!(item("kind", "begin…"), r#"kind|startswith: "begin""#);
    }
}
