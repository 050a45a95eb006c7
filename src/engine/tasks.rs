//! What is to be done outside, derived from the state alone, so that a restart finds it again.

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::approval::Outcome;
use crate::domain::decision::{AlertRef, Reason, RouteVerdict};
use crate::domain::effect::{EffectKey, Mode};
use crate::domain::entry::{Due, Entry, Facts};
use crate::domain::id::RunId;
use crate::domain::mail::Digest;
use crate::domain::operator::Order;
use crate::engine::brakes::Brake;
use crate::engine::state::{Flight, Run, State};

/// One thing to do once the entry that asks for it is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Evaluate a run from its replay.
    Evaluate(Evaluate),
    /// Make the next attempt of an effect.
    Send(Box<Send>),
    /// An attempt was under way when the daemon died and its destination forbids a second: its outcome is unknown.
    Forget(EffectKey),
    /// Nobody let an effect go: it ends, for this reason.
    Refuse(EffectKey, String),
    /// What a run still has in a queue is not to be sent any more: it was cancelled.
    Withdraw(RunId),
    /// An effect that is still in a queue is not to be sent any more: nobody needs it.
    Spare(EffectKey),
}

/// A run to evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluate {
    /// Which.
    pub run: RunId,
    /// Its bundle.
    pub bundle: String,
    /// What it was started for.
    pub alerts: Vec<AlertRef>,
    /// Its replay: sequence numbers.
    pub entries: Vec<u64>,
    /// How many steps are on record.
    pub steps: u32,
    /// When it was started: what `now()` is until it has seen a result.
    pub started: Timestamp,
    /// What it tells whom, when it is a digest's.
    pub digest: Option<Box<Digest>>,
}

/// An attempt to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// Which effect.
    pub key: EffectKey,
    /// Whose.
    pub run: RunId,
    /// Which step.
    pub step: u32,
    /// Sequence number of the entry that holds the request.
    pub intent: u64,
    /// Name of the destination.
    pub destination: String,
    /// Sequence number of the entry that started the run: it leads to the alerts and the bundle.
    pub began: u64,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// What to do when it is unclear whether it arrived.
    pub mode: Mode,
    /// An attempt may have arrived, and the receiver is to be asked before another is made.
    pub in_doubt: bool,
    /// An operator had it sent again, whatever becomes of the run.
    pub resent: bool,
    /// What it has to know of the last attempt.
    pub progress: Option<Value>,
    /// Its run's replay so far, while the run is open: sequence numbers.
    pub entries: Vec<u64>,
}

/// The tasks that an entry, already applied, sets off.
pub fn of(state: &State, entry: &Entry) -> Vec<Task> {
    match &entry.facts {
        Facts::Intake(intake) => {
            let reasons = intake.alerts.iter().flat_map(|taken| &taken.decision.reasons);
            let runs = reasons.flat_map(|reason| match reason {
                Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } => runs.as_slice(),
                _ => &[],
            });
            runs.filter_map(|run| evaluate(state, run)).collect()
        }
        Facts::Due(Due::Group { runs, .. }) => runs.iter().filter_map(|run| evaluate(state, run)).collect(),
        Facts::Due(Due::Timer { run, .. }) => evaluate(state, run).into_iter().collect(),
        Facts::Due(Due::Approval { run, step, .. }) => answered(state, run, *step),
        Facts::Due(Due::Retry { key }) => send(state, key).into_iter().collect(),
        Facts::Intent(intent) => {
            let keys = intent.steps.iter().filter_map(|step| step.key.as_ref());
            let mut tasks: Vec<Task> = keys.filter_map(|key| send(state, key)).collect();
            if tasks.is_empty() {
                tasks.extend(evaluate(state, &intent.run));
            }
            tasks
        }
        Facts::Result(result) if result.resent => Vec::new(),
        Facts::Result(result) => evaluate(state, &result.run).into_iter().collect(),
        Facts::Operator(operator) => ordered(state, &operator.order),
        _ => Vec::new(),
    }
}

fn ordered(state: &State, order: &Order) -> Vec<Task> {
    match order {
        Order::RunRestart { starts: run, .. } | Order::RunStart { starts: run, .. } => {
            evaluate(state, run).into_iter().collect()
        }
        Order::RunRetry { run, .. } => {
            let flights = state.flights.iter().filter(|(_, flight)| flight.run == *run && !flight.resent);
            let mut keys: Vec<&EffectKey> = flights.map(|(key, _)| key).collect();
            keys.sort_by_key(|key| state.flights[*key].step);
            let sends = keys.into_iter().filter_map(|key| send(state, key));
            sends.chain(evaluate(state, run)).collect()
        }
        Order::DeliveryRetry { key, .. } => send(state, key).into_iter().collect(),
        Order::Approval(order) => answered(state, &order.run, order.step),
        Order::RunCancel { run } => cancelled(state, run),
        Order::Alert { .. } => order.runs().into_iter().filter_map(|run| evaluate(state, run)).collect(),
        Order::Silence(_)
        | Order::Token(_)
        | Order::Hold(_)
        | Order::Recipient(_)
        | Order::DestinationTest { .. }
        | Order::QuarantineDiscard { .. }
        | Order::Upkeep(_) => Vec::new(),
    }
}

/// The run goes on, and nobody needs to be told of the question any more; or an effect goes out, or never does.
fn answered(state: &State, run: &RunId, step: u32) -> Vec<Task> {
    let key = EffectKey::new(&state.journal, run, step);
    match state.flights.get(&key).map(|flight| &flight.brake) {
        Some(Some(Brake::Denied(why))) => vec![Task::Refuse(key, why.clone())],
        Some(_) => send(state, &key).into_iter().collect(),
        None => evaluate(state, run).into_iter().chain([Task::Spare(key)]).collect(),
    }
}

/// What the run asked for is not sent any more, and nobody is told of its questions, whoever has that sent again.
fn cancelled(state: &State, run: &RunId) -> Vec<Task> {
    let withdrawn = |outcome: &Outcome| outcome.seq == state.seq;
    let asked =
        state.approvals.all().filter(|asked| asked.run == *run && asked.outcome.as_ref().is_some_and(withdrawn));
    let spared = asked.map(|asked| Task::Spare(EffectKey::new(&state.journal, run, asked.step)));
    [Task::Withdraw(run.clone())].into_iter().chain(spared).collect()
}

/// Everything that waits to be done in a recovered state.
pub fn unfinished(state: &State) -> Vec<Task> {
    let evaluations = state.runs.keys().filter_map(|run| evaluate(state, run));
    let mut keys: Vec<&EffectKey> = state.flights.keys().collect();
    keys.sort_by_key(|key| (state.flights[*key].intent, state.flights[*key].step));
    let sends = keys.into_iter().filter_map(|key| match &state.flights[key] {
        Flight { next: Some(_), .. } => None,
        Flight { brake: Some(Brake::Denied(why)), .. } => Some(Task::Refuse(key.clone(), why.clone())),
        Flight { mode: Mode::AtMostOnce, begun: true, .. } => Some(Task::Forget(key.clone())),
        // Whether it was sent before the daemon died is nowhere on record.
        flight => send_flight(state, key, flight.mode == Mode::Probe),
    });
    evaluations.chain(sends).collect()
}

/// A run that waits for nothing is to be evaluated.
fn evaluate(state: &State, id: &RunId) -> Option<Task> {
    let run: &Run = state.runs.get(id).filter(|run| run.waiting.is_empty())?;
    Some(Task::Evaluate(Evaluate {
        run: id.clone(),
        bundle: run.bundle.clone(),
        alerts: run.alerts.clone(),
        entries: run.entries.clone(),
        steps: run.steps,
        started: run.started,
        digest: run.digest.clone(),
    }))
}

fn send(state: &State, key: &EffectKey) -> Option<Task> {
    let flight = state.flights.get(key)?;
    send_flight(state, key, flight.mode == Mode::Probe && flight.ambiguous)
}

fn send_flight(state: &State, key: &EffectKey, in_doubt: bool) -> Option<Task> {
    let flight = state.flights.get(key).filter(|flight| flight.resent || state.runs.contains_key(&flight.run))?;
    if flight.brake.is_some() {
        return None;
    }
    Some(Task::Send(Box::new(Send {
        key: key.clone(),
        run: flight.run.clone(),
        step: flight.step,
        intent: flight.intent,
        destination: flight.destination.clone(),
        began: flight.began,
        attempt: flight.failed + 1,
        mode: flight.mode,
        in_doubt,
        resent: flight.resent,
        progress: flight.progress.clone(),
        entries: state.runs.get(&flight.run).map(|run| run.entries.clone()).unwrap_or_default(),
    })))
}
