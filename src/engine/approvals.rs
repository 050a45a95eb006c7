//! Approvals: which are open, who decided which, and why somebody may not.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::approval::{Approval, ApprovalOrder, ApprovalRequest, Barred, Choice, Decider, How, Outcome};
use crate::domain::effect::EffectKey;
use crate::domain::entry::Entry;
use crate::domain::id::{ApprovalId, RunId};
use crate::domain::operator::Operator;
use crate::engine::brakes;
use crate::engine::state::{Flight, State, Timer};

/// Closed approvals that are still known as such; older ones stand in the journal only.
pub const CLOSED_MAX: usize = 1_000;

/// All that are open, and the last ones that are not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// Asked so far.
    asked: u64,
    all: BTreeMap<ApprovalId, Approval>,
    /// In the order in which they were closed.
    closed: VecDeque<ApprovalId>,
}

/// Why an approval is not decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody asked.
    #[error("there is no approval {id}{}", near.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unknown {
        /// The id.
        id: ApprovalId,
        /// The nearest open one.
        near: Option<ApprovalId>,
    },
    /// It was, but so long ago that only the journal knows.
    #[error("{0} was closed long ago; `soard log query` finds it in the journal")]
    Forgotten(ApprovalId),
    /// It is closed.
    #[error("{id} {}; nothing was recorded", ended(outcome))]
    Closed {
        /// Which.
        id: ApprovalId,
        /// What came of it.
        outcome: Box<Outcome>,
    },
    /// Somebody else has to.
    #[error("{id} is to be decided by {}, and you are {name}", by.join(" or "))]
    NotYou {
        /// Which.
        id: ApprovalId,
        /// Who may.
        by: Vec<String>,
        /// Who wants to.
        name: String,
    },
    /// Whoever started the run must not.
    #[error("{id} must not be decided by who started {run}, and that is {name}")]
    Starter {
        /// Which.
        id: ApprovalId,
        /// The run.
        run: RunId,
        /// Who wants to.
        name: String,
    },
    /// A link does not say who follows it.
    #[error("{id} must not be decided by who started {run}, and a link does not say who you are; use `soard approve`")]
    Anonymous {
        /// Which.
        id: ApprovalId,
        /// The run.
        run: RunId,
    },
}

/// What came of it, as the rest of a sentence.
pub fn ended(Outcome { at, how, choice, by, .. }: &Outcome) -> String {
    let what = choice.map_or("withdrawn", Choice::past);
    match (how, by) {
        (How::Decided, Some(by)) => format!("was {what} by {by} at {at:.0}"),
        (How::TimedOut, _) => format!("was {what} at {at:.0}, since nobody had decided in time"),
        _ => format!("was {what} at {at:.0}, since its run was cancelled"),
    }
}

impl Approvals {
    /// All that are known, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Approval> {
        self.all.values()
    }

    /// One of them.
    pub fn get(&self, id: ApprovalId) -> Option<&Approval> {
        self.all.get(&id)
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.all.len() - self.closed.len()
    }

    /// The id of the next one, if this many are asked before it.
    pub fn next(&self, before: u64) -> ApprovalId {
        ApprovalId(self.asked + before + 1)
    }

    /// The order that decides one.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn decide(&self, id: ApprovalId, choice: Choice, who: &Decider) -> Result<ApprovalOrder, Refusal> {
        let Some(approval) = self.all.get(&id) else { return Err(self.missing(id)) };
        let Approval { run, step, request, starter, outcome, .. } = approval;
        if let Some(outcome) = outcome {
            return Err(Refusal::Closed { id, outcome: Box::new(outcome.clone()) });
        }
        let barred = starter.as_ref().filter(|_| request.not_by == Some(Barred::Starter));
        match who {
            Decider::Link if barred.is_some() => return Err(Refusal::Anonymous { id, run: run.clone() }),
            Decider::Person { name, .. } if barred == Some(name) => {
                return Err(Refusal::Starter { id, run: run.clone(), name: name.clone() });
            }
            Decider::Person { name, role } if !request.is_for(name, *role) => {
                return Err(Refusal::NotYou { id, by: request.by.clone(), name: name.clone() });
            }
            Decider::Link | Decider::Person { .. } => {}
        }
        let link = *who == Decider::Link;
        Ok(ApprovalOrder { approval: id, run: run.clone(), step: *step, choice, link })
    }

    fn missing(&self, id: ApprovalId) -> Refusal {
        if (1..=self.asked).contains(&id.0) {
            return Refusal::Forgotten(id);
        }
        let open = self.all.values().filter(|approval| approval.outcome.is_none());
        let near = open.map(|approval| approval.id).min_by_key(|open| open.0.abs_diff(id.0));
        Refusal::Unknown { id, near }
    }

    /// Takes a question that is on record now.
    pub(crate) fn ask(&mut self, id: ApprovalId, approval: Approval) {
        self.asked = self.asked.max(id.0);
        self.all.insert(id, approval);
    }

    /// Closes one; the request, if it was open.
    pub(crate) fn close(&mut self, id: ApprovalId, outcome: Outcome) -> Option<ApprovalRequest> {
        let approval = self.all.get_mut(&id).filter(|approval| approval.outcome.is_none())?;
        approval.outcome = Some(outcome);
        let request = approval.request.clone();
        self.closed.push_back(id);
        while self.closed.len() > CLOSED_MAX {
            self.closed.pop_front().and_then(|oldest| self.all.remove(&oldest));
        }
        Some(request)
    }

    /// The open ones of a run, with the steps that ask them.
    pub(crate) fn of(&self, run: &RunId) -> Vec<(ApprovalId, u32)> {
        let open = self.all.values().filter(|approval| approval.outcome.is_none() && approval.run == *run);
        open.map(|approval| (approval.id, approval.step)).collect()
    }

    /// When one is decided by itself, and how.
    pub(crate) fn deadline(&self, id: ApprovalId) -> Option<(Timestamp, Choice)> {
        let approval = self.all.get(&id).filter(|approval| approval.outcome.is_none())?;
        Some((approval.request.until, approval.request.otherwise))
    }
}

/// A run asks.
pub(crate) fn ask(state: &mut State, entry: &Entry, run: &RunId, step: u32, request: &ApprovalRequest) {
    let Some(id) = request.id else { return };
    let starter = state.runs.get(run).and_then(|run| run.starter.clone());
    let (run, asked, request) = (run.clone(), entry.at, request.clone());
    state.timers.insert((request.until, Timer::Approval(id)));
    state.approvals.ask(id, Approval { id, run, step, asked, request, starter, outcome: None });
}

/// A question has its answer.
fn answer(state: &mut State, id: ApprovalId, run: &RunId, step: u32, outcome: Outcome) {
    let seq = outcome.seq;
    let key = EffectKey::new(&state.journal, run, step);
    let releases = brakes::settle(state, id, &key, &outcome);
    if let Some(request) = state.approvals.close(id, outcome) {
        state.timers.remove(&(request.until, Timer::Approval(id)));
    }
    if releases {
        // Its run goes on with what comes of it.
        return;
    }
    spare(state, run, step);
    if let Some(open) = state.runs.get_mut(run) {
        open.waiting.remove(&step);
        open.entries.push(seq);
    }
}

/// Whoever was to be told of a question need not be told any more: neither by a mail that waits, nor by one that did not arrive.
fn spare(state: &mut State, run: &RunId, step: u32) {
    let key = EffectKey::new(&state.journal, run, step);
    state.letters.retain(|_, letter| letter.key != key);
    if let Some(Flight { next: Some(next), .. }) = state.flights.remove(&key) {
        state.timers.remove(&(next, Timer::Retry(key)));
    }
}

/// Somebody decided.
pub(crate) fn decided(state: &mut State, entry: &Entry, order: &ApprovalOrder, operator: &Operator) {
    let (how, choice, by) = (How::Decided, Some(order.choice), Some(operator.actor.clone()));
    let (at, seq, comment) = (entry.at, entry.seq, operator.comment.clone());
    answer(state, order.approval, &order.run, order.step, Outcome { at, seq, how, choice, by, comment });
}

/// Nobody did in time.
pub(crate) fn time_out(state: &mut State, entry: &Entry, id: ApprovalId, (run, step): (&RunId, u32), choice: Choice) {
    let (at, seq, how, comment) = (entry.at, entry.seq, How::TimedOut, String::new());
    answer(state, id, run, step, Outcome { at, seq, how, choice: Some(choice), by: None, comment });
}

/// The run that asks is cancelled.
pub(crate) fn withdraw(state: &mut State, entry: &Entry, run: &RunId, operator: &Operator) {
    for (approval, step) in state.approvals.of(run) {
        let (at, seq, how) = (entry.at, entry.seq, How::Withdrawn);
        let (by, comment) = (Some(operator.actor.clone()), operator.comment.clone());
        state.approvals.close(approval, Outcome { at, seq, how, choice: None, by, comment });
        spare(state, run, step);
    }
}
