//! Everything on record about one alert.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::daemon::query::alerts::{AlertRow, steps};
use crate::daemon::query::run::{RunView, Runs, Wanted};
use crate::daemon::query::{BundleRef, Bundles, Fold, Lines, LogLine, QueryError, fold};
use crate::domain::alert::Alert;
use crate::domain::decision::{Decision, Reason, RouteVerdict};
use crate::domain::effect::Effect;
use crate::domain::entry::{Due, Entry, Facts, Intake, Taken};
use crate::domain::id::{AlertId, GroupId, RunId, Trigger};
use crate::domain::operator::{Operator, Order};
use crate::domain::record::{Body, Position};
use crate::domain::triage::AlertChange;
use crate::index::row::{Outcome, Row, only_counted};

/// Decisions about one alert that a view holds; later ones only count.
pub const SEEN_MAX: usize = 500;

/// Orders about one alert that a view holds: the newest.
pub const ORDERS_MAX: usize = 500;

/// Everything on record about one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertView {
    /// As in a list.
    pub row: AlertRow,
    /// The alert as seen last.
    pub alert: Alert,
    /// What was decided each time it was seen.
    pub seen: Vec<Seen>,
    /// Decisions beyond the first 500, which only count here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seen_left_out: u64,
    /// The runs that were started for it, alone or in a group.
    pub runs: Vec<RunView>,
    /// What playbooks changed about it.
    pub changes: Vec<Change>,
    /// What operators changed about it, and the playbooks that they started by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<AlertOrder>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<String>,
    /// Its tags: the source's and those of playbooks and operators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The part of the last record that gave it.
    pub raw: Value,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One decision about an alert, and the repeats after it that were only counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Sequence number of the entry.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Ordinal of the record.
    pub record_no: u64,
    /// Where the record lay.
    pub position: Position,
    /// Name of the format that took it.
    pub format: String,
    /// The bundle that decided.
    pub bundle: BundleRef,
    /// What was decided.
    pub decision: Decision,
    /// How many sightings this stands for: repeats in a row that were only counted are one.
    pub times: u64,
    /// When the last of them was.
    pub until: Timestamp,
}

/// A change that a playbook made to an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PlaybookChange")]
pub struct Change {
    /// Sequence number of the entry.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The run that asked for it.
    pub run: RunId,
    /// Its step.
    pub step: u32,
    /// What was asked: `set_status` or `tag`.
    pub effect: Effect,
}

/// What an operator ordered for an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertOrder {
    /// Sequence number of the entry.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What, who and why.
    pub operator: Operator,
}

/// Shows one alert; `None` when there is none with this id.
///
/// # Errors
/// When the journal cannot be read.
pub fn show(lines: Lines<'_>, id: AlertId) -> Result<Option<AlertView>, QueryError> {
    let mut show = Show::new(id);
    fold(lines, &mut show)?;
    let Some(Latest { row, alert, record, part }) = show.latest else { return Ok(None) };
    for seen in &mut show.seen {
        seen.bundle = show.bundles.named(&seen.bundle.id);
    }
    let mut tags = alert.tags.clone();
    tags.extend(show.tags.iter().filter(|tag| !alert.tags.contains(tag)).cloned());
    tags.retain(|tag| !show.tags_removed.contains(tag));
    Ok(Some(AlertView {
        row: AlertRow::of(&row),
        alert,
        seen: show.seen,
        seen_left_out: show.seen_left_out,
        runs: show.runs.views(&show.bundles),
        changes: show.changes,
        orders: show.orders,
        assigned_to: show.assigned_to,
        tags,
        raw: raw(&record, &part),
    }))
}

/// The part of a record that a pointer names; text when the record is no JSON.
fn raw(record: &Body, part: &str) -> Value {
    let Some(bytes) = record.bytes() else { return Value::Null };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) => value.pointer(part).cloned().unwrap_or(Value::Null),
        Err(_) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

struct Show {
    id: AlertId,
    /// How the alert and its groups are named in JSON: lines without any of these are not parsed.
    names: Vec<String>,
    latest: Option<Latest>,
    seen: Vec<Seen>,
    seen_left_out: u64,
    runs: Runs,
    changes: Vec<Change>,
    orders: Vec<AlertOrder>,
    assigned_to: Option<String>,
    /// Tags of playbooks and operators.
    tags: Vec<String>,
    tags_removed: BTreeSet<String>,
    bundles: Bundles,
}

struct Latest {
    row: Row,
    alert: Alert,
    record: Body,
    part: String,
}

impl Show {
    fn new(id: AlertId) -> Self {
        Self {
            id,
            names: vec![format!("\"{id}\""), format!("\"{id}/"), format!("\"{id}@")],
            latest: None,
            seen: Vec::new(),
            seen_left_out: 0,
            runs: Runs::new(Wanted::Triggers([Trigger::Alert(id)].into())),
            changes: Vec::new(),
            orders: Vec::new(),
            assigned_to: None,
            tags: Vec::new(),
            tags_removed: BTreeSet::new(),
            bundles: Bundles::default(),
        }
    }

    fn intake(&mut self, entry: &Entry, intake: &Intake) {
        let id = self.id;
        for taken in intake.alerts.iter().filter(|taken| taken.id == id) {
            let row = match self.latest.take() {
                None => Row::new(entry.seq, entry.at, taken),
                Some(Latest { mut row, .. }) => {
                    row.again(entry.seq, entry.at, taken);
                    row
                }
            };
            let (alert, part) = (taken.alert.clone(), taken.part.clone());
            self.latest = Some(Latest { row, alert, record: intake.record.clone(), part });
            self.saw(entry, intake, taken);
            for reason in &taken.decision.reasons {
                if let Reason::Route { verdict: RouteVerdict::Grouped { group, .. }, .. } = reason {
                    self.follow(*group);
                }
            }
        }
    }

    fn saw(&mut self, entry: &Entry, intake: &Intake, taken: &Taken) {
        // Its full name may come later.
        let bundle = BundleRef { id: intake.bundle.clone(), commit: None };
        if let Some(last) = self.seen.last_mut()
            && only_counted(&taken.decision)
            && only_counted(&last.decision)
            && last.bundle == bundle
        {
            last.times += 1;
            last.until = entry.at;
        } else if self.seen.len() < SEEN_MAX {
            self.seen.push(Seen {
                seq: entry.seq,
                at: entry.at,
                record_no: intake.record_no,
                position: intake.position.clone(),
                format: intake.format.clone(),
                bundle,
                decision: taken.decision.clone(),
                times: 1,
                until: entry.at,
            });
        } else {
            self.seen_left_out += 1;
        }
    }

    fn follow(&mut self, group: GroupId) {
        if self.runs.want(Trigger::Group(group)) {
            self.names.extend([format!("\"{group}\""), format!("\"{group}/")]);
        }
    }

    fn change(&mut self, entry: &Entry) {
        let Some((run, steps)) = steps(&entry.facts) else { return };
        for step in steps {
            match &step.effect {
                Effect::SetStatus { alert, status, .. } if *alert == self.id => {
                    if let Some(latest) = &mut self.latest {
                        latest.row.stand(*status);
                    }
                }
                Effect::Tag { alert, tag } if *alert == self.id => {
                    tag_with(&mut self.tags, &mut self.tags_removed, tag);
                }
                _ => continue,
            }
            let effect = step.effect.clone();
            self.changes.push(Change { seq: entry.seq, at: entry.at, run: run.clone(), step: step.n, effect });
        }
    }
}

/// Adds a tag, as that which was said of it last.
fn tag_with(tags: &mut Vec<String>, removed: &mut BTreeSet<String>, tag: &String) {
    removed.remove(tag);
    if !tags.contains(tag) {
        tags.push(tag.clone());
    }
}

impl Show {
    fn order(&mut self, entry: &Entry, operator: &Operator) {
        match &operator.order {
            Order::Alert { alert, change, .. } if *alert == self.id => {
                self.changed(change);
                if let Some(latest) = &mut self.latest {
                    operator.order.runs().into_iter().for_each(|run| latest.row.run(run, Outcome::Open));
                }
            }
            Order::RunStart { alert, starts, .. } if alert.id == self.id => {
                if let Some(latest) = &mut self.latest {
                    latest.row.run(starts, Outcome::Open);
                }
            }
            _ => return,
        }
        if self.orders.len() == ORDERS_MAX {
            self.orders.remove(0);
        }
        self.orders.push(AlertOrder { seq: entry.seq, at: entry.at, operator: operator.clone() });
    }

    fn changed(&mut self, change: &AlertChange) {
        match change {
            AlertChange::Status { to, reason } => {
                if let Some(latest) = &mut self.latest {
                    latest.row.set_status(*to, *reason);
                }
            }
            AlertChange::Tags { add, remove } => {
                for tag in remove {
                    self.tags.retain(|known| known != tag);
                    self.tags_removed.insert(tag.clone());
                }
                add.iter().for_each(|tag| tag_with(&mut self.tags, &mut self.tags_removed, tag));
            }
            AlertChange::Assign { to } => self.assigned_to.clone_from(to),
            AlertChange::Comment | AlertChange::Feedback { .. } => {}
        }
    }
}

impl Fold for Show {
    fn wants(&self, line: &LogLine) -> bool {
        // Attempts and retries name only the effect's key; they are short.
        Bundles::wants(line) || matches!(&*line.kind, "attempt" | "due") || self.names.iter().any(|name| line.has(name))
    }

    fn apply(&mut self, entry: &Entry) {
        self.bundles.apply(entry);
        self.runs.apply(entry);
        self.change(entry);
        match &entry.facts {
            Facts::Intake(intake) => self.intake(entry, intake),
            Facts::Operator(operator) => self.order(entry, operator),
            Facts::Due(Due::Group { alerts, runs, .. }) if alerts.iter().any(|alert| alert.id == self.id) => {
                if let Some(latest) = &mut self.latest {
                    runs.iter().for_each(|run| latest.row.run(run, Outcome::Open));
                }
            }
            _ => {}
        }
    }
}
