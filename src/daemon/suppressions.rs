//! What each suppression holds back, and which of them do nothing any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::silence::Silence;
use crate::index::IndexError;
use crate::index::held::{Held, held, reigns};
use crate::rules::compile;
use crate::rules::suppress::{SuppressReason, Suppression};
use crate::yaml::diagnostic::Sources;

/// A suppression that ends within this time is said to be expiring.
pub const EXPIRING_WITHIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// So many bundles are looked at to tell since when a suppression is there.
const BUNDLES_MAX: usize = 200;

/// All suppressions of the bundle in charge, and those before that still hold alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuppressionsReport {
    /// The suppressions: those that need a look first.
    pub suppressions: Vec<SuppressionLine>,
    /// Operators' silences that hold, which are no rules; absent where no daemon could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silences: Option<Vec<Silence>>,
}

/// One suppression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuppressionLine {
    /// Its id.
    pub id: String,
    /// Where it is written, or was.
    pub place: String,
    /// How it stands.
    pub standing: Standing,
    /// It holds no alert on record.
    pub unused: bool,
    /// The alerts on record that it holds.
    pub hits: u64,
    /// How often they were seen.
    pub times: u64,
    /// When one of them was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit: Option<Timestamp>,
    /// Since when it is in the bundle without a break, as far back as the journal tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What the rule says; absent when it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<SuppressionRule>,
}

/// What a suppression says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuppressionRule {
    /// One line for people.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// Why the alerts are unwanted.
    pub reason: SuppressReason,
    /// From when it holds; absent is always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Timestamp>,
    /// Until when it holds; absent is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// How a suppression stands; what needs a look first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does nothing any more.
    Expired,
    /// It does nothing any more within 30 days.
    Expiring,
    /// It holds.
    Active,
    /// It does not hold yet.
    Waiting,
    /// It is not in the bundle any more; what it held stays dismissed.
    Removed,
}

impl Standing {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Removed => "removed",
        }
    }

    fn of(rule: &Suppression, now: Timestamp) -> Self {
        match (rule.starts, rule.expires) {
            (_, Some(expires)) if expires <= now => Self::Expired,
            (Some(starts), _) if starts > now => Self::Waiting,
            (_, Some(expires)) if expires.duration_since(now) <= EXPIRING_WITHIN => Self::Expiring,
            _ => Self::Active,
        }
    }
}

/// Makes the report from the index and the bundles of a state folder. `current` is the bundle in charge; without it, the
/// last one that took over.
///
/// # Errors
/// When the index or the bundle cannot be read.
pub fn report(
    conn: &Connection,
    state: &Path,
    current: Option<&str>,
    now: Timestamp,
) -> Result<SuppressionsReport, IndexError> {
    let reigns = reigns(conn, BUNDLES_MAX)?;
    let current = current.or_else(|| reigns.first().map(|reign| reign.id.as_str()));
    let path = |id: &str| state.join("bundles").join(id);
    let rules = match current {
        Some(id) => suppressions(&path(id)).map_err(IndexError::io("read the bundle in", &path(id)))?,
        None => Vec::new(),
    };
    let mut since: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut unbroken: BTreeSet<String> = rules.iter().map(|rule| rule.rule.id.clone()).collect();
    for reign in &reigns {
        // A bundle that is gone tells nothing of what was before it.
        let Ok(rules) = suppressions(&path(&reign.id)) else { break };
        let there: BTreeSet<String> = rules.into_iter().map(|rule| rule.rule.id).collect();
        unbroken.retain(|id| there.contains(id));
        since.extend(unbroken.iter().map(|id| (id.clone(), reign.since)));
        if unbroken.is_empty() {
            break;
        }
    }
    let mut held: BTreeMap<String, Held> = held(conn)?.into_iter().map(|held| (held.rule.id.clone(), held)).collect();
    let mut lines: Vec<SuppressionLine> = rules
        .into_iter()
        .map(|rule| {
            let (held, since) = (held.remove(&rule.rule.id), since.get(&rule.rule.id).copied());
            line(Standing::of(&rule, now), held, since, Some(rule))
        })
        .collect();
    lines.extend(held.into_values().map(|held| line(Standing::Removed, Some(held), None, None)));
    lines.sort_by(|a, b| {
        let expires =
            |line: &SuppressionLine| line.rule.as_ref().and_then(|rule| rule.expires).unwrap_or(Timestamp::MAX);
        let key = |line: &SuppressionLine| (line.standing, !line.unused, expires(line), line.id.clone());
        key(a).cmp(&key(b))
    });
    Ok(SuppressionsReport { suppressions: lines, silences: None })
}

fn line(
    standing: Standing,
    held: Option<Held>,
    since: Option<Timestamp>,
    rule: Option<Suppression>,
) -> SuppressionLine {
    let named = rule.as_ref().map(|rule| rule.rule.clone()).or_else(|| held.as_ref().map(|held| held.rule.clone()));
    let named = named.expect("what is reported is a rule, or holds something");
    SuppressionLine {
        id: named.id,
        place: named.place,
        standing,
        unused: held.is_none(),
        hits: held.as_ref().map_or(0, |held| held.alerts),
        times: held.as_ref().map_or(0, |held| held.times),
        last_hit: held.map(|held| held.last),
        since,
        rule: rule.map(|rule| SuppressionRule {
            title: rule.title,
            owner: rule.owner,
            reason: rule.reason,
            starts: rule.starts,
            expires: rule.expires,
        }),
    }
}

/// The suppressions of a bundle's folder.
fn suppressions(bundle: &Path) -> io::Result<Vec<Suppression>> {
    let mut files = Sources::new();
    fs::read_dir(bundle)?;
    for folder in ["rules/suppress", "lists"] {
        let entries = match fs::read_dir(bundle.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            files.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(compile::suppressions(&files))
}
