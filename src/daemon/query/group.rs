//! One group of alerts: who is in it, and what it started.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::run::{RunView, Runs, Wanted};
use crate::daemon::query::{BundleRef, Bundles, Fold, Lines, LogLine, QueryError, fold};
use crate::domain::alert::Severity;
use crate::domain::decision::{Key, Reason, RouteVerdict, RuleRef};
use crate::domain::entry::{Due, Entry, Facts, Intake};
use crate::domain::id::{AlertId, GroupId, Trigger};
use crate::index::row::short;

/// Members that a view names; further ones only count.
pub const MEMBERS_MAX: usize = 1000;

/// Everything on record about one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupView {
    /// Its id.
    pub id: GroupId,
    /// The route that gathers it.
    pub rule: RuleRef,
    /// The bundle that opened it.
    pub bundle: BundleRef,
    /// The values that its alerts have in common; `None`: the one alert lacks a key field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// When its first alert came.
    pub opened: Timestamp,
    /// When it is to close.
    pub due: Timestamp,
    /// When it closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// The playbooks that start when it closes.
    pub playbooks: Vec<String>,
    /// Its alerts, in order of arrival.
    pub members: Vec<Member>,
    /// How many alerts it has, named above or not.
    pub members_total: u64,
    /// The runs that it started.
    pub runs: Vec<RunView>,
}

/// One alert of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// The alert.
    pub id: AlertId,
    /// When it joined.
    pub at: Timestamp,
    /// Its severity then.
    pub severity: Severity,
    /// Its title then.
    pub title: String,
}

/// Shows one group; `None` when there is none with this id.
///
/// # Errors
/// When the journal cannot be read.
pub fn show(lines: Lines<'_>, id: GroupId) -> Result<Option<GroupView>, QueryError> {
    let runs = Runs::new(Wanted::Triggers([Trigger::Group(id)].into()));
    let names = [format!("\"{id}\""), format!("\"{id}/")];
    let mut show = Show { id, names, group: None, runs, bundles: Bundles::default() };
    fold(lines, &mut show)?;
    let Some(mut group) = show.group else { return Ok(None) };
    group.bundle = show.bundles.named(&group.bundle.id);
    group.runs = show.runs.views(&show.bundles);
    Ok(Some(group))
}

struct Show {
    id: GroupId,
    names: [String; 2],
    group: Option<GroupView>,
    runs: Runs,
    bundles: Bundles,
}

impl Show {
    fn intake(&mut self, entry: &Entry, intake: &Intake) {
        for taken in &intake.alerts {
            for reason in &taken.decision.reasons {
                let Reason::Route { rule, verdict: RouteVerdict::Grouped { group, key, due, playbooks }, .. } = reason
                else {
                    continue;
                };
                if *group != self.id {
                    continue;
                }
                let view = self.group.get_or_insert_with(|| GroupView {
                    id: *group,
                    rule: rule.clone(),
                    // Its full name may come later.
                    bundle: BundleRef { id: intake.bundle.clone(), commit: None },
                    key: key.clone(),
                    opened: entry.at,
                    due: *due,
                    closed: None,
                    playbooks: playbooks.clone(),
                    members: Vec::new(),
                    members_total: 0,
                    runs: Vec::new(),
                });
                let (severity, title) = (taken.alert.severity, short(&taken.alert.title));
                view.join(Member { id: taken.id, at: entry.at, severity, title });
            }
        }
    }
}

impl GroupView {
    fn join(&mut self, member: Member) {
        if self.members.iter().any(|known| known.id == member.id) {
            return;
        }
        self.members_total += 1;
        if self.members.len() < MEMBERS_MAX {
            self.members.push(member);
        }
    }
}

impl Fold for Show {
    fn wants(&self, line: &LogLine) -> bool {
        Bundles::wants(line) || matches!(&*line.kind, "attempt" | "due") || self.names.iter().any(|name| line.has(name))
    }

    fn apply(&mut self, entry: &Entry) {
        self.bundles.apply(entry);
        self.runs.apply(entry);
        match &entry.facts {
            Facts::Intake(intake) => self.intake(entry, intake),
            Facts::Due(Due::Group { group, alerts, .. }) if *group == self.id => {
                if let Some(view) = &mut self.group {
                    view.closed = Some(entry.at);
                    view.members_total = alerts.len() as u64;
                }
            }
            _ => {}
        }
    }
}
