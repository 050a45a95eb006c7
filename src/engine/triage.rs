//! What operators do about alerts: the changes that they order, and what these do to the state.
//!
//! The state keeps only what decisions need of it, the status; the rest is read back from the journal.

use std::collections::BTreeSet;

use crate::domain::alert::Status;
use crate::domain::decision::AlertRef;
use crate::domain::id::{AlertId, RunId, Trigger};
use crate::domain::operator::{Hearing, OnStatus, Order};
use crate::domain::triage::AlertChange;
use crate::engine::alerts::Slot;
use crate::engine::orders::{Latest, Refusal};
use crate::engine::state::State;
use crate::rules::compile::Rules;

/// The order for a change to an alert.
///
/// # Errors
/// [`Refusal`]
pub fn change(
    state: &State,
    rules: &Rules,
    (alert, latest): (AlertId, Option<Box<Latest>>),
    change: AlertChange,
    comment: &str,
) -> Result<Order, Refusal> {
    change.check(comment)?;
    let slot = known(state, alert)?;
    let mut on_status = None;
    if let AlertChange::Status { to, .. } = change {
        if slot.status == to {
            return Err(Refusal::SameStatus { alert, status: to });
        }
        on_status = latest.and_then(|latest| on_status_of(state, rules, alert, &latest)).map(Box::new);
    }
    Ok(Order::Alert { alert, was: slot.status, change, on_status })
}

/// The order by which an alert that is active becomes `in_progress`.
///
/// # Errors
/// [`Refusal`]
pub fn acknowledge(
    state: &State,
    rules: &Rules,
    (alert, latest): (AlertId, Option<Box<Latest>>),
    comment: &str,
) -> Result<Order, Refusal> {
    check_active(state, alert)?;
    change(state, rules, (alert, latest), AlertChange::Status { to: Status::InProgress, reason: None }, comment)
}

/// Which of many alerts can be acknowledged.
#[derive(Debug)]
pub struct Active {
    /// The active ones, as many as were asked for at most.
    pub alerts: Vec<AlertId>,
    /// Why there are none.
    pub refused: Option<Refusal>,
}

/// Which of these alerts are active: the first ones.
pub fn active(state: &State, alerts: &[AlertId], most: usize) -> Active {
    let is_active = |alert: &AlertId| state.alerts.get(*alert).is_some_and(|slot| slot.status == Status::Active);
    let found: Vec<AlertId> = alerts.iter().copied().filter(is_active).take(most).collect();
    let last = alerts.last().filter(|_| found.is_empty());
    let refused = last.and_then(|alert| check_active(state, *alert).err());
    Active { alerts: found, refused }
}

fn check_active(state: &State, alert: AlertId) -> Result<(), Refusal> {
    match known(state, alert)?.status {
        Status::Active => Ok(()),
        status => Err(Refusal::NotActive { alert, status }),
    }
}

/// The runs that tell of a change of status: those of the routes that take the alert today, whatever suppressions, silences,
/// times, throttles and groups say. Changes by sources and playbooks tell nobody, so no run can set off another.
fn on_status_of(state: &State, rules: &Rules, alert: AlertId, latest: &Latest) -> Option<OnStatus> {
    if latest.at.seq <= state.dropped {
        return None;
    }
    let trigger = Trigger::Status(alert, state.seq + 1);
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut routes = Vec::new();
    for route in rules.route(&rules.matches(&latest.alert)) {
        let news = route.on_status.iter().filter(|playbook| known.insert(playbook));
        let runs: Vec<RunId> = news.map(|playbook| RunId::first(trigger, playbook)).collect();
        if !runs.is_empty() {
            routes.push(Hearing { rule: route.rule.clone(), runs });
        }
    }
    (!routes.is_empty()).then(|| OnStatus { alert: latest.at, bundle: state.bundle.clone(), routes })
}

/// The order that starts a playbook by hand.
///
/// # Errors
/// [`Refusal`]
pub fn start(state: &State, alert: AlertRef, playbook: String) -> Result<Order, Refusal> {
    known(state, alert.id)?;
    let starts = RunId::first(Trigger::Alert(alert.id), playbook);
    if state.has_run(&starts) {
        return Err(Refusal::RanBefore { alert: alert.id, playbook: starts.playbook });
    }
    Ok(Order::RunStart { alert, starts, bundle: state.bundle.clone() })
}

fn known(state: &State, alert: AlertId) -> Result<&Slot, Refusal> {
    let unknown = || Refusal::UnknownAlert { alert, near: state.alerts.nearest(alert), dropped: state.dropped };
    state.alerts.get(alert).ok_or_else(unknown)
}

/// Applies a change. An operator's status outranks the source's until severity rises; who opens what a suppression had
/// dismissed takes it out of the suppression's hands.
pub fn apply(state: &mut State, alert: AlertId, change: &AlertChange) {
    let AlertChange::Status { to, .. } = change else { return };
    let Some(slot) = state.alerts.get_mut(alert) else { return };
    slot.status = *to;
    slot.held = true;
    slot.suppressed &= !to.is_open();
}
