//! A suppression drafted from an alert, and how many past alerts it would have matched: counted by running it over them.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::measures::{Ground, body};
use crate::domain::alert::Severity;
use crate::domain::id::AlertId;
use crate::index::IndexError;
use crate::index::filter::{Condition, Filter, Labelled, Test};
use crate::index::plan::{Limits, Plan};
use crate::index::query::{Request, Sort};
use crate::index::related;
use crate::index::row::{Row, short};
use crate::rules::draft::{self, About, Draft};
use crate::rules::suppress::SuppressReason;

/// Most past alerts that a draft is run over: the newest of those that could match.
pub const LOOKED_AT_MAX: usize = 2_000;

/// Past alerts that are named.
pub const EXAMPLES_MAX: usize = 10;

/// Days that a draft holds unless told otherwise.
pub const DAYS: u16 = 30;

/// Most days that a draft may hold.
pub const DAYS_MAX: u16 = 366;

/// What to draft.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Fields by which alerts are alike, at most 20; none: kind and what it is about.
    #[schemars(length(max = 20))]
    pub by: Vec<String>,
    /// Who answers for the rule; absent: `soc`.
    #[schemars(length(min = 1, max = 100))]
    pub owner: Option<String>,
    /// Why: `false_positive`, `expected`, `accepted_risk` or `other`; absent: `expected`.
    #[schemars(regex(pattern = "^(false_positive|expected|accepted_risk|other)$"))]
    pub reason: Option<String>,
    /// Why, in words.
    #[schemars(length(min = 1, max = 1_000))]
    pub comment: Option<String>,
    /// How many days it holds; absent: 30.
    #[schemars(range(min = 1, max = 366))]
    pub days: Option<u16>,
}

/// A drafted suppression, and what it would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Likeness {
    /// The rule file.
    pub yaml: String,
    /// The fields by which alerts are alike, with this alert's values.
    pub by: BTreeMap<String, Vec<String>>,
    /// How many past alerts it would have matched.
    pub past: Past,
}

/// How a draft did on past alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Past {
    /// Alerts that it matches, the one that it was drafted from included.
    pub matched: u64,
    /// Of them those of high severity.
    pub high: u64,
    /// Alerts that it was run over: the newest of those that have the same source and labels.
    pub looked_at: u64,
    /// There are older ones that it was not run over.
    pub capped: bool,
    /// When the oldest of them was seen first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The newest alerts that it matches.
    pub examples: Vec<AlertId>,
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub enum NoLikeness {
    /// The index or the journal cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What was asked for makes no rule.
    #[error("{0}")]
    Asked(String),
}

/// Drafts a suppression of alerts like this one; `None` when there is no such alert.
///
/// # Errors
/// [`NoLikeness`]
pub fn likeness(ground: Ground<'_>, id: AlertId, wanted: &Wanted) -> Result<Option<Likeness>, NoLikeness> {
    let Some(row) = related::one(ground.conn, id)? else { return Ok(None) };
    let Some(alert) = body(ground.journal, row.last_entry, id)? else { return Ok(None) };
    let reason = wanted.reason.as_deref().map_or(Ok(SuppressReason::Expected), draft::reason);
    let days = wanted.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(NoLikeness::Asked(format!("a draft holds for 1 to {DAYS_MAX} days, not {days}")));
    }
    let today = ground.now.to_zoned(TimeZone::UTC).date();
    let about = About {
        by: &wanted.by,
        owner: wanted.owner.as_deref().unwrap_or("soc"),
        reason: reason.map_err(NoLikeness::Asked)?,
        comment: wanted.comment.as_deref().unwrap_or("say here why nobody needs to see these alerts"),
        expires: today.saturating_add(i32::from(days).days()),
    };
    let draft = draft::suppression(id, &alert, &about).map_err(NoLikeness::Asked)?;
    let past = past(ground, &alert.source, &draft)?;
    Ok(Some(Likeness { yaml: draft.yaml, by: draft.by, past }))
}

/// Runs the draft over the newest alerts that could match it.
fn past(ground: Ground<'_>, source: &str, draft: &Draft) -> Result<Past, IndexError> {
    let filter = Filter { conditions: conditions(source, &draft.by), names_severity: true, names_status: true };
    let request = Request { all: true, sort: Sort::Newest, ..Request::default() };
    let plan = Plan::new(ground.conn, &filter, &request, Limits::default())?;
    let mut found = plan.first(ground.conn, LOOKED_AT_MAX + 1)?;
    let capped = found.len() > LOOKED_AT_MAX;
    found.truncate(LOOKED_AT_MAX);
    let mut past = Past { capped, looked_at: found.len() as u64, ..Past::default() };
    for found in found {
        let Some(Row { id, last_entry, received, .. }) = related::numbered(ground.conn, found.id)? else { continue };
        past.since = Some(received);
        let Some(alert) = body(ground.journal, last_entry, id)? else { continue };
        let matches = draft.rules.matches(&alert);
        if draft.rules.suppression(&matches, ground.now, &alert.source).is_none() {
            continue;
        }
        past.matched += 1;
        past.high += u64::from(alert.severity == Severity::High);
        if past.examples.len() < EXAMPLES_MAX {
            past.examples.push(id);
        }
    }
    Ok(past)
}

/// Fields of a draft that are labels as they are, with the labels' names.
const LABELS: &[(&str, &str)] = &[
    ("kind", "kind"),
    ("title", "title"),
    ("vendor", "vendor"),
    ("product", "product"),
    ("resources", "resource"),
    ("host", "host"),
    ("account", "account"),
    ("ip", "ip"),
];

/// What an alert must have in the index to match the draft. Labels know no case beyond ASCII, so other texts are left to the draft.
fn conditions(source: &str, by: &BTreeMap<String, Vec<String>>) -> Vec<Condition> {
    let is = |field: &'static str, value: &str| {
        let test = Test::Is(vec![short(value)]);
        Condition::Label(Labelled { fields: vec![field], test, negated: false })
    };
    let mut all = vec![is("source", source)];
    for (field, label) in LABELS {
        let values = by.get(*field).into_iter().flatten();
        all.extend(values.filter(|value| value.is_ascii()).map(|value| is(label, value)));
    }
    all
}
