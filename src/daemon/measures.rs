//! What can be done about one alert: pages to look at, advice, its owner, playbooks, mails, and what is related to it.
//!
//! It reads one row of the index and one entry of the journal, however long both are.

use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::actions::settings::Settings;
use crate::daemon::bundle::Bundle;
use crate::domain::alert::Alert;
use crate::domain::decision::RuleRef;
use crate::domain::entry::{Facts, Intake};
use crate::domain::id::{AlertId, RunId, Trigger};
use crate::domain::mail::Recipient;
use crate::index::IndexError;
use crate::index::related::{self, Related, related};
use crate::index::row::Row;
use crate::journal::reader::Reader;
use crate::playbooks::check::UseKind;
use crate::playbooks::evaluate::Entry;
use crate::rules::advise::Guidance;
use crate::rules::owners::Owner;

/// Most playbooks that are offered.
pub const PLAYBOOKS_MAX: usize = 100;

/// What can be done about one alert, as today's bundle and settings have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measures {
    /// The alert.
    pub id: AlertId,
    /// Id of the bundle that says so.
    pub bundle: String,
    /// What to look at, to do and to change.
    #[serde(flatten)]
    pub guidance: Guidance,
    /// Who owns what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Playbooks that can be started for it by hand.
    pub playbooks: Vec<ByHand>,
    /// The suppression of today's rules that would dismiss it if it came now: no mail is sent then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<RuleRef>,
    /// The mails that today's routes would send if it came now, as far as playbooks name their destinations.
    pub mails: Vec<Mail>,
    /// Alerts that share an entity or a resource with it.
    pub related: Related,
}

/// A playbook that can be started for an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ByHand {
    /// Its name, without `.rhai`.
    pub playbook: String,
    /// The run that it has had for the alert already, alone or in a group; `soard runs restart` runs it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran: Option<RunId>,
}

/// A mail that a route's playbook sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mail {
    /// The route.
    pub route: RuleRef,
    /// Its playbook.
    pub playbook: String,
    /// The destination that the playbook names.
    pub destination: String,
    /// Who gets it; empty when the settings are not known.
    pub to: Vec<String>,
    /// Who would get it but for its severity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The route gathers alerts and sends one mail for all of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grouped: bool,
}

/// What measures are found by.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The index.
    pub conn: &'a Connection,
    /// The journal.
    pub journal: &'a Reader,
    /// Destinations, when they are known.
    pub destinations: Option<&'a Settings>,
    /// Now.
    pub now: jiff::Timestamp,
}

/// Tells what can be done about an alert; `None` when the index or the journal has no such alert.
///
/// # Errors
/// What the index or the journal says.
pub fn measures(ground: Ground<'_>, bundle: &Bundle, id: AlertId) -> Result<Option<Measures>, IndexError> {
    let Some(row) = related::one(ground.conn, id)? else { return Ok(None) };
    let Some(mut alert) = body(ground.journal, row.last_entry, id)? else { return Ok(None) };
    let seen = serde_json::to_value(&alert).expect("an alert is plain data with string keys");
    let owner = bundle.rules.owners.owner(&seen);
    let suppressed_by = suppressed_by(ground, bundle, &alert);
    let mails = mails(ground.destinations, bundle, &alert, owner.as_ref());
    alert.status = row.status;
    Ok(Some(Measures {
        id,
        bundle: bundle.id.clone(),
        guidance: bundle.rules.advice.guidance(id, &alert),
        owner,
        playbooks: by_hand(bundle, &row),
        suppressed_by,
        mails,
        related: related(ground.conn, id)?,
    }))
}

/// The bundle that decided an alert last: the first digits of its id.
///
/// # Errors
/// What the index or the journal says.
pub fn decided_by(ground: Ground<'_>, id: AlertId) -> Result<Option<String>, IndexError> {
    let Some(row) = related::one(ground.conn, id)? else { return Ok(None) };
    Ok(intake(ground.journal, row.last_entry)?.map(|intake| intake.bundle))
}

/// An alert as an entry of the journal has it, with its part of the record.
///
/// # Errors
/// When the entry cannot be read.
pub fn body(journal: &Reader, seq: u64, id: AlertId) -> Result<Option<Alert>, IndexError> {
    Ok(intake(journal, seq)?.and_then(|intake| latest_of(intake, id)).map(|(_, alert)| alert))
}

/// An alert as an intake has it last, with its part of the record, and its index within the entry.
pub fn latest_of(mut intake: Intake, id: AlertId) -> Option<(u32, Alert)> {
    let at = intake.alerts.iter().rposition(|taken| taken.id == id)?;
    let taken = intake.alerts.swap_remove(at);
    let record: Option<serde_json::Value> = intake.record.bytes().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let raw = record.and_then(|record| record.pointer(&taken.part).cloned()).unwrap_or_default();
    Some((u32::try_from(at).ok()?, Alert { raw: raw.into(), ..taken.alert }))
}

fn intake(journal: &Reader, seq: u64) -> Result<Option<Intake>, IndexError> {
    let Some(line) = journal.line(seq)? else { return Ok(None) };
    let facts = Facts::parse(&line.kind, line.data.get()).map_err(|cause| IndexError::Entry { seq, cause })?;
    Ok(if let Facts::Intake(intake) = facts { Some(*intake) } else { None })
}

fn suppressed_by(ground: Ground<'_>, bundle: &Bundle, alert: &Alert) -> Option<RuleRef> {
    let matches = bundle.rules.matches(alert);
    let rule = bundle.rules.suppression(&matches, ground.now, &alert.source)?;
    Some(rule.rule.clone())
}

fn by_hand(bundle: &Bundle, row: &Row) -> Vec<ByHand> {
    let offered = bundle.playbooks.names().filter(|name| bundle.playbooks.has_entry(name, Entry::Alert));
    let one = |name: &str| {
        let mut runs = row.runs.iter().map(|run| &run.id);
        let ran = runs.find(|run| run.playbook == name && !matches!(run.trigger, Trigger::Status(..)));
        ByHand { playbook: name.into(), ran: ran.cloned() }
    };
    offered.take(PLAYBOOKS_MAX).map(one).collect()
}

/// What each route that takes the alert mails, by the destinations that its playbooks name as they are.
fn mails(settings: Option<&Settings>, bundle: &Bundle, alert: &Alert, owner: Option<&Owner>) -> Vec<Mail> {
    let owners: Vec<String> = owner.and_then(|owner| owner.email.clone()).into_iter().collect();
    let to = |destination: &str| {
        let all = settings.map(|all| all.recipients(destination, &owners)).unwrap_or_default();
        let (to, not): (Vec<Recipient>, Vec<Recipient>) =
            all.into_iter().partition(|recipient| alert.severity >= recipient.wants.at_least);
        let addresses = |all: Vec<Recipient>| all.into_iter().map(|recipient| recipient.to.address).collect();
        (addresses(to), addresses(not))
    };
    let mut mails: Vec<Mail> = Vec::new();
    for route in bundle.rules.route(&bundle.rules.matches(alert)) {
        for playbook in &route.playbooks {
            let file = format!("playbooks/{playbook}.rhai");
            for used in bundle.playbooks.destinations() {
                if used.kind != UseKind::Email || *used.place.file != *file {
                    continue;
                }
                let (destination, grouped) = (used.name.clone(), !route.group_by.is_empty());
                let (to, left_out) = to(&destination);
                let (route, playbook) = (route.rule.clone(), playbook.clone());
                let mail = Mail { route, playbook, destination, to, left_out, grouped };
                if !mails.contains(&mail) {
                    mails.push(mail);
                }
            }
        }
    }
    mails
}
