//! Suppressions: rules that dismiss matching alerts, with an owner, a reason and an end.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decision::RuleRef;
use crate::rules::detection::{self, Detection};
use crate::rules::header::{self, Ids};
use crate::rules::known::Reading;
use crate::rules::matcher::Matches;
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{MapReader, one_or_many, text};

/// A checked suppression.
#[derive(Debug, Clone)]
pub struct Suppression {
    /// Its number among the suppressions, as [`Matches`] counts.
    pub number: usize,
    /// Its id and place.
    pub rule: RuleRef,
    /// One line for people.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// Why the alerts are unwanted.
    pub reason: SuppressReason,
    /// More about why.
    pub comment: Option<String>,
    /// From when it holds; `None` is always.
    pub starts: Option<Timestamp>,
    /// Until when it holds, not included; `None` is for ever.
    pub expires: Option<Timestamp>,
    /// The sources it is for; empty means all.
    pub sources: Vec<String>,
    /// Where `expires` is written.
    expires_place: Place,
}

/// Why alerts are suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuppressReason {
    /// The product is wrong.
    FalsePositive,
    /// It is right, and what it saw is meant to be.
    Expected,
    /// It is right, and nobody will do anything about it.
    AcceptedRisk,
    /// See the comment.
    Other,
}

const REASONS: [(&str, SuppressReason); 4] = [
    ("false_positive", SuppressReason::FalsePositive),
    ("expected", SuppressReason::Expected),
    ("accepted_risk", SuppressReason::AcceptedRisk),
    ("other", SuppressReason::Other),
];

impl SuppressReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::FalsePositive, Self::Expected, Self::AcceptedRisk, Self::Other];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        REASONS.into_iter().find(|(_, reason)| *reason == self).expect("REASONS lists every reason").0
    }
}

impl Suppression {
    /// Whether it dismisses an alert of this source now.
    pub fn holds(&self, matches: &Matches, at: Timestamp, source: &str) -> bool {
        matches.suppression(self.number)
            && self.starts.is_none_or(|starts| starts <= at)
            && self.expires.is_none_or(|expires| at < expires)
            && (self.sources.is_empty() || self.sources.iter().any(|name| name == source))
    }

    /// Warns when it no longer holds at this time.
    pub fn expired(&self, at: Timestamp) -> Option<Diagnostic> {
        let expires = self.expires.filter(|expires| *expires <= at)?;
        let message = format!("`{}` expired at {expires} and does nothing any more", self.rule.id);
        let fault = Diagnostic::warning("expired", self.expires_place.clone(), message);
        Some(fault.help(format!("delete the rule, or agree on a new date with {}", self.owner)))
    }
}

/// Reads one suppression; notes every fault. Its number is that of its detection.
pub fn read(node: &Node, number: usize, ids: &mut Ids, reading: &mut Reading) -> Option<(Suppression, Detection)> {
    let mut map = MapReader::new(node, "a suppression: a map with `id`, `title`, `owner` …", &mut reading.faults)?;
    let rule = header::id(&mut map, ids, reading);
    let title = map.need_text("title", &mut reading.faults);
    let owner = map.need_text("owner", &mut reading.faults);
    let comment = map.text("comment", &mut reading.faults);
    let reason = map.need("reason", &mut reading.faults).and_then(|node| reason(node, comment.is_some(), reading));
    let starts = map.get("starts").map(|node| instant(node, Edge::Begin, reading));
    let expires_node = map.need("expires", &mut reading.faults);
    let expires = expires_node.and_then(|node| expires(node, reading));
    let sources = map.texts("sources", &mut reading.faults).unwrap_or_default();
    if let Some(node) = map.get("sources") {
        check_sources(node, reading);
    }
    let detection =
        map.need("match", &mut reading.faults).and_then(|node| Some((node, detection::read(node, reading)?)));
    map.finish(&mut reading.faults);
    if let Some((node, detection)) = &detection
        && detection.constant() == Some(true)
    {
        let message = "this matches every alert, so everything would be dismissed";
        reading.faults.push(Diagnostic::warning("matches-everything", node.place.clone(), message));
    }
    if let (Some(Some(starts)), Some(Some(expires)), Some(node)) = (starts, expires, expires_node)
        && expires <= starts
    {
        let message = format!("it expires at {expires}, before it starts at {starts}");
        reading.faults.error("expires-before-start", &node.place, message);
    }
    let suppression = Suppression {
        number,
        rule: rule?,
        title: title?,
        owner: owner?,
        reason: reason?,
        comment,
        starts: starts.flatten(),
        expires: expires?,
        sources,
        expires_place: expires_node?.place.clone(),
    };
    Some((suppression, detection?.1))
}

fn reason(node: &Node, has_comment: bool, reading: &mut Reading) -> Option<SuppressReason> {
    let word = text(node, &mut reading.faults)?;
    let Some((_, reason)) = REASONS.into_iter().find(|(known, _)| *known == word) else {
        let fault = Diagnostic::error("unknown-reason", node.place.clone(), format!("`{word}` is no reason"));
        reading.faults.push(fault.suggest(word, REASONS.map(|(known, _)| known)));
        return None;
    };
    if reason == SuppressReason::Other && !has_comment {
        let fault = Diagnostic::error("missing-comment", node.place.clone(), "`reason: other` needs a `comment`");
        reading.faults.push(fault.help("say in `comment` why these alerts are unwanted"));
    }
    Some(reason)
}

/// `Some(None)` is never.
fn expires(node: &Node, reading: &mut Reading) -> Option<Option<Timestamp>> {
    if node.value == Value::Str("never".into()) {
        let fault = Diagnostic::warning("never-expires", node.place.clone(), "this suppression never expires");
        reading.faults.push(fault.help("give it a date, so that somebody looks at it again"));
        return Some(None);
    }
    instant(node, Edge::End, reading).map(Some)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Begin,
    End,
}

/// An instant, or a date: its beginning or its end, in UTC.
fn instant(node: &Node, edge: Edge, reading: &mut Reading) -> Option<Timestamp> {
    let parsed = match &node.value {
        Value::Str(text) => day_edge(text, edge).or_else(|| Timestamp::from_str(text).ok()),
        _ => None,
    };
    if parsed.is_none() {
        let never = if edge == Edge::End { ", or `never`" } else { "" };
        reading
            .faults
            .expected(node, &format!("a date such as 2027-03-31, or an instant such as 2027-03-31T18:00:00Z{never}"));
    }
    parsed
}

fn day_edge(text: &str, edge: Edge) -> Option<Timestamp> {
    if text.len() != "2027-03-31".len() {
        return None;
    }
    let date: Date = text.parse().ok()?;
    let date = if edge == Edge::End { date.tomorrow().ok()? } else { date };
    date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// An empty list would quietly mean all sources.
fn check_sources(node: &Node, reading: &mut Reading) {
    let nodes = one_or_many(node);
    if nodes.is_empty() {
        let fault = Diagnostic::error("empty-scope", node.place.clone(), "the list of sources is empty");
        reading.faults.push(fault.help("leave out `sources` for all of them"));
    }
    let Some(sources) = &reading.known.sources else { return };
    for node in nodes {
        let Value::Str(name) = &node.value else { continue };
        if !sources.contains(name) {
            let fault =
                Diagnostic::error("unknown-source", node.place.clone(), format!("no source is called `{name}`"));
            reading.faults.push(fault.suggest(name, sources.iter().map(String::as_str)));
        }
    }
}
