//! One group of alerts: who is in it, and what it started.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::run::{RunView, Runs, Wanted};
use crate::daemon::query::{BundleRef, Bundles, Fold, Lines, LogLine, QueryError, fold};
use crate::domain::alert::Severity;
use crate::domain::decision::{AlertRef, Key, Reason, RouteVerdict, RuleRef};
use crate::domain::entry::{Due, Entry, Facts, Intake, Step};
use crate::domain::id::{AlertId, GroupId, RunId, Trigger};
use crate::domain::mail::{DIGEST, Digest, Wait};
use crate::domain::recipient::Addressee;
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
    /// What it tells whom, when it is a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<DigestView>,
    /// The runs that it started.
    pub runs: Vec<RunView>,
}

/// A digest: what waits, or waited, for one recipient of one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DigestView {
    /// Name of the destination.
    pub destination: String,
    /// Who gets it.
    pub to: Addressee,
    /// Why it waits.
    pub waits: Vec<Wait>,
    /// The alerts that it names; as long as it is open, those that waited alone.
    pub alerts: Vec<AlertId>,
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
    let mut show = Show { id, names, group: None, runs, bundles: Bundles::default(), in_charge: String::new() };
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
    /// Id of the bundle in charge.
    in_charge: String,
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
                    digest: None,
                    runs: Vec::new(),
                });
                let (severity, title) = (taken.alert.severity, short(&taken.alert.title));
                view.join(Member { id: taken.id, at: entry.at, severity, title });
            }
        }
    }
}

impl Show {
    /// One more mail waits for the digest.
    fn waits(&mut self, entry: &Entry, run: &RunId, step: &Step) {
        let (Some(plan), Some(destination)) = (&step.mail, step.effect.destination()) else { return };
        for later in plan.later.iter().filter(|later| later.group == self.id) {
            let view = self.group.get_or_insert_with(|| GroupView {
                id: self.id,
                rule: RuleRef { id: DIGEST.into(), place: format!("{destination} for {}", later.to.address) },
                bundle: BundleRef { id: self.in_charge.clone(), commit: None },
                key: None,
                opened: entry.at,
                due: later.due,
                closed: None,
                playbooks: vec![DIGEST.into()],
                members: Vec::new(),
                members_total: 0,
                digest: Some(DigestView {
                    destination: destination.to_owned(),
                    to: later.to.clone(),
                    waits: Vec::new(),
                    alerts: Vec::new(),
                }),
                runs: Vec::new(),
            });
            view.due = view.due.min(later.due);
            let Some(digest) = &mut view.digest else { continue };
            if !digest.waits.contains(&later.why) {
                digest.waits.push(later.why);
            }
            let (Trigger::Alert(alert) | Trigger::Status(alert, _)) = run.trigger else { continue };
            if !digest.alerts.contains(&alert) && digest.alerts.len() < MEMBERS_MAX {
                digest.alerts.push(alert);
                view.members_total += 1;
            }
        }
    }

    fn closes(&mut self, at: Timestamp, alerts: &[AlertRef], bundle: &str, tells: Option<&Digest>) {
        let Some(view) = &mut self.group else { return };
        (view.closed, view.members_total) = (Some(at), alerts.len() as u64);
        if let (Some(digest), Some(tells)) = (&mut view.digest, tells) {
            view.bundle.id = bundle.to_owned();
            view.members_total = tells.waits.values().sum();
            digest.alerts = alerts.iter().map(|alert| alert.id).collect();
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
            Facts::Bundle(bundle) => self.in_charge.clone_from(&bundle.id),
            Facts::Intent(intent) => intent.steps.iter().for_each(|step| self.waits(entry, &intent.run, step)),
            Facts::Due(Due::Group { group, alerts, bundle, digest, .. }) if *group == self.id => {
                self.closes(entry.at, alerts, bundle, digest.as_deref());
            }
            _ => {}
        }
    }
}
