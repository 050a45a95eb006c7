//! What operators do about alerts: the changes that they order, and what these do to the state.
//!
//! The state keeps only what decisions need of it, the status; the rest is read back from the journal.

use crate::domain::decision::AlertRef;
use crate::domain::id::{AlertId, RunId, Trigger};
use crate::domain::operator::Order;
use crate::domain::triage::AlertChange;
use crate::engine::orders::Refusal;
use crate::engine::state::{Slot, State};

/// The order for a change to an alert.
///
/// # Errors
/// [`Refusal`]
pub fn change(state: &State, alert: AlertId, change: AlertChange, comment: &str) -> Result<Order, Refusal> {
    change.check(comment)?;
    let slot = known(state, alert)?;
    match change {
        AlertChange::Status { to, .. } if slot.status == to => Err(Refusal::SameStatus { alert, status: to }),
        change => Ok(Order::Alert { alert, was: slot.status, change }),
    }
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
