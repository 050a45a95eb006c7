//! Effects that are under way: how they begin, and begin again.

use crate::domain::effect::Effect;
use crate::domain::entry::{Entry, Step};
use crate::domain::id::RunId;
use crate::domain::operator::Order;
use crate::engine::brakes::Brake;
use crate::engine::state::{Flight, State};

/// An effect that leaves the daemon is under way.
pub(crate) fn fly(state: &mut State, entry: &Entry, id: &RunId, step: &Step) {
    let (Some(key), Some(destination)) = (&step.key, step.effect.destination()) else { return };
    let Some(run) = state.runs.get_mut(id) else { return };
    run.waiting.insert(step.n);
    let flight = Flight {
        run: id.clone(),
        step: step.n,
        intent: entry.seq,
        asked: entry.at,
        began: run.began,
        destination: destination.into(),
        failed: 0,
        next: None,
        mode: step.mode.unwrap_or_default(),
        begun: false,
        ambiguous: false,
        progress: None,
        error: None,
        resent: false,
        notice: matches!(step.effect, Effect::Approve(_)),
        brake: step.release.as_ref().and_then(|request| request.id).map(Brake::Asks),
        needs: run.needs(),
    };
    state.flights.insert(key.clone(), flight);
}

/// An operator has a dead letter sent again.
pub(crate) fn send_again(state: &mut State, entry: &Entry, order: &Order) {
    let Order::DeliveryRetry { key, run, step, intent, began, result, destination, mode, in_doubt, progress } = order
    else {
        return;
    };
    let needs = state.letters.remove(result).map_or(u64::MAX, |letter| letter.needs());
    let flight = Flight {
        run: run.clone(),
        step: *step,
        intent: *intent,
        asked: entry.at,
        began: *began,
        destination: destination.clone(),
        failed: 0,
        next: None,
        mode: *mode,
        begun: false,
        ambiguous: *in_doubt,
        progress: progress.clone(),
        error: None,
        resent: true,
        notice: false,
        brake: None,
        needs,
    };
    state.flights.insert(key.clone(), flight);
}
