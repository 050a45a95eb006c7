//! What operators may order, and why not.

use crate::domain::decision::AlertRef;
use crate::domain::id::RunId;
use crate::domain::operator::Order;
use crate::engine::state::{Halted, State};

/// What an operator wants with a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// End it for good.
    Cancel(RunId),
    /// Let it go on from its recorded steps.
    Retry(RunId),
    /// Start its playbook anew for what it was started for.
    Restart {
        /// The run to repeat.
        run: RunId,
        /// What it was started for.
        alerts: Vec<AlertRef>,
    },
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to cancel.
    #[error("{0} has ended; only runs that are open, failed or stalled can be cancelled")]
    Ended(RunId),
    /// It goes on by itself.
    #[error("{0} is open; cancel it first")]
    Open(RunId),
    /// It did not stop half-way, or that was too long ago.
    #[error(
        "{0} is neither failed nor stalled, or it was given up: too many runs failed since, or what it needs was dropped"
    )]
    NotHalted(RunId),
    /// Somebody sends a dead letter of it again.
    #[error("{0} has a request that is being sent again; wait for its outcome")]
    BeingSent(RunId),
    /// Retention has dropped an alert that it is about.
    #[error("what {0} was started for was dropped")]
    Dropped(RunId),
    /// The playbook was never started for that.
    #[error("{0} was never started")]
    Unknown(RunId),
}

/// The order that fulfils a wish.
///
/// # Errors
/// [`Refusal`]
pub fn order(state: &State, wish: Wish) -> Result<Order, Refusal> {
    match wish {
        Wish::Cancel(run) => {
            known(state, &run)?;
            let stands = state.runs.contains_key(&run) || state.halted.contains_key(&run);
            if stands { Ok(Order::RunCancel { run }) } else { Err(Refusal::Ended(run)) }
        }
        Wish::Retry(run) => {
            known(state, &run)?;
            if state.runs.contains_key(&run) {
                return Err(Refusal::Open(run));
            }
            let halted = state.halted.get(&run).ok_or_else(|| Refusal::NotHalted(run.clone()))?;
            if halted.run.refused.iter().any(|refused| state.flights.contains_key(&refused.key)) {
                return Err(Refusal::BeingSent(run));
            }
            Ok(Order::RunRetry { again: again(halted), run })
        }
        Wish::Restart { run, alerts } => {
            known(state, &run)?;
            let same = |open: &&RunId| open.trigger == run.trigger && open.playbook == run.playbook;
            if let Some(open) = state.runs.keys().find(same) {
                return Err(Refusal::Open(open.clone()));
            }
            if alerts.iter().any(|alert| alert.seq <= state.dropped) {
                return Err(Refusal::Dropped(run));
            }
            let mut starts = RunId { attempt: 2, ..run.clone() };
            while state.has_run(&starts) {
                starts.attempt += 1;
            }
            Ok(Order::RunRestart { run, starts, alerts, bundle: state.bundle.clone() })
        }
    }
}

fn known(state: &State, run: &RunId) -> Result<(), Refusal> {
    if state.has_run(run) { Ok(()) } else { Err(Refusal::Unknown(run.clone())) }
}

/// The steps to send again: the script has seen that they failed and asked for nothing since.
fn again(halted: &Halted) -> Vec<u32> {
    halted.run.refused.iter().map(|refused| refused.flight.step).collect()
}
