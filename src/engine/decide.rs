//! One input gives at most one entry of facts.

use jiff::Timestamp;

use crate::domain::brakes::{Brakes, Counted};
use crate::domain::effect::{Effect, EffectKey};
use crate::domain::entry::{Attempt, Begin, Due, Entry, Facts, Intent, Quarantine, RunEnd, Step, StepResult};
use crate::domain::id::{RunId, Trigger};
use crate::domain::mail::MailPlan;
use crate::domain::operator::{Operator, Order};
use crate::domain::record::{Body, Position};
use crate::engine::brakes::{self, Verdict};
use crate::engine::input::{Asked, Input, NewStep};
use crate::engine::intake;
use crate::engine::mails::{self, Mails};
use crate::engine::state::{State, Timer};
use crate::rules::compile::Rules;

/// Decides what an input means. `at` is the time of the input; an entry is never earlier than the one before.
///
/// `None`: the input says nothing new (an outcome that is on record already, a timer that is gone).
pub fn decide(state: &State, rules: &Rules, at: Timestamp, input: Input) -> Option<Entry> {
    let at = at.max(state.at);
    let facts = match input {
        Input::Log(log) => Facts::Log(log),
        Input::Bundle(bundle) => Facts::Bundle(bundle),
        Input::Intake(arrival) => Facts::Intake(Box::new(intake::decide(state, rules, at, *arrival))),
        Input::Refused { record, cause } => {
            if let Some(redelivery) = intake::redelivered(state, at, &record) {
                return Some(Entry { seq: state.seq + 1, at, facts: Facts::Intake(Box::new(redelivery)) });
            }
            if let Position::Retry { quarantine } = record.position
                && state.quarantine.contains_key(&quarantine)
            {
                return None;
            }
            Facts::Quarantine(Quarantine {
                record_no: state.records + 1,
                source: record.source.to_string(),
                position: record.position,
                record: Body::new(&record.bytes),
                cause,
            })
        }
        Input::Due => due(state, at)?,
        Input::Asked(asked) => asked_facts(state, rules, at, asked)?,
        Input::Begin { key } => {
            let n = state.flights.get(&key)?.failed + 1;
            Facts::Begin(Begin { key, n })
        }
        Input::Failed { key, error, status, wait, ambiguous, progress } => {
            let flight = state.flights.get(&key)?;
            let (n, next) = (flight.failed + 1, wait.after(at));
            Facts::Attempt(Attempt { n, key, error, status, ambiguous, next, progress })
        }
        Input::Operator(operator) => ordered(state, *operator)?,
        Input::Done { key, mut reply } => {
            let flight = state.flights.get(&key)?;
            if reply.value.is_null() {
                // Nobody knows what came of the last attempt, but who took the mail before is known.
                reply.value = flight.progress.clone().unwrap_or_default();
            }
            let attempts = if flight.brake.is_some() { 0 } else { flight.failed + 1 };
            let (run, step) = (flight.run.clone(), flight.step);
            Facts::Result(StepResult { run, step, key, attempts, reply, resent: flight.resent })
        }
    };
    Some(Entry { seq: state.seq + 1, at, facts })
}

fn due(state: &State, at: Timestamp) -> Option<Facts> {
    let (_, timer) = state.timers.first().filter(|(due, _)| *due <= at)?;
    Some(Facts::Due(match timer {
        Timer::Throttle(hash) => {
            let window = &state.windows[hash];
            let (rule, key, surplus) = (window.rule.clone(), window.key.clone(), window.surplus);
            let is_whole = state.throttle_hash(&rule, &key) == *hash;
            Due::Throttle { rule, key, surplus, window: (!is_whole).then(|| format!("{hash:016x}")) }
        }
        Timer::Group(id) => {
            let group = &state.groups[id];
            let run = |playbook: &String| RunId::first(Trigger::Group(*id), playbook);
            Due::Group {
                group: *id,
                rule: group.rule.clone(),
                alerts: group.alerts.clone(),
                runs: group.playbooks.iter().map(run).collect(),
                bundle: group.bundle.clone(),
                digest: group.digest.clone(),
            }
        }
        Timer::Sleep(run, step) => Due::Timer { run: run.clone(), step: *step },
        Timer::Retry(key) => Due::Retry { key: key.clone() },
        Timer::Approval(id) => {
            let approval = state.approvals.get(*id)?;
            let (run, step, choice) = (approval.run.clone(), approval.step, approval.request.otherwise);
            Due::Approval { approval: *id, run, step, choice }
        }
    }))
}

fn asked_facts(state: &State, rules: &Rules, at: Timestamp, asked: Asked) -> Option<Facts> {
    let run = state.runs.get(&asked.run)?;
    if run.steps != asked.known_steps || !run.waiting.is_empty() {
        return None;
    }
    let (mut limits, mut mails) = (state.limits.clone(), Mails::new(state, run, at));
    let numbered = (run.steps..).zip(asked.steps);
    let judged = numbered.map(|(n, mut step)| {
        let brakes = step.brakes.take().filter(|_| asked.end.is_none());
        let recipients = std::mem::take(&mut step.recipients);
        let mut step = number(state, &asked.run, n, step);
        if asked.end.is_none() {
            step.mail = mails.plan(&step.effect, recipients);
        }
        if let Some(brakes) = brakes.filter(|_| !is_for_nobody_at_all(&step)) {
            judge(&mut step, &mut mails, brakes, |effect, brakes| {
                brakes::judge(&mut limits, &rules.guard, at, effect, brakes)
            });
        }
        answered_if_unsent(step)
    });
    let mut steps: Vec<Step> = judged.collect();
    let questions = steps.iter_mut().filter_map(|step| match &mut step.effect {
        Effect::Approve(request) => Some(request),
        _ => step.release.as_mut(),
    });
    (0..).zip(questions).for_each(|(before, request)| request.id = Some(state.approvals.next(before)));
    match asked.end {
        Some(end) => {
            // A run that has ended asks nothing of the outside any more.
            steps.retain(|step| step.value.is_some());
            Some(Facts::Run(RunEnd { run: asked.run, steps, end }))
        }
        None if steps.is_empty() => None,
        None => Some(Facts::Intent(Intent { run: asked.run, steps })),
    }
}

/// What a mail leaves to be asked when nobody wants it.
fn is_for_nobody_at_all(step: &Step) -> bool {
    step.mail.as_ref().is_some_and(|plan| plan.to.is_empty() && plan.later.is_empty())
}

/// Brakes have the last word: what they stop waits for people, for all recipients, and what only a digest tells of uses up
/// no limit. Nor does a digest, and none stops it: it is what is left of mails that something held back before. The guard looks at it.
fn judge(step: &mut Step, mails: &mut Mails<'_>, brakes: Brakes, judge: impl FnOnce(&Effect, &Brakes) -> Verdict) {
    let unsent = step.mail.as_ref().is_some_and(MailPlan::is_for_nobody);
    let tells_of_others = mails.are_a_digests() && matches!(step.effect, Effect::Email(_));
    let brakes = if unsent || tells_of_others { Brakes { bounds: Vec::new(), ..brakes } } else { brakes };
    match judge(&step.effect, &brakes) {
        Verdict::Asks(request) => {
            step.release = Some(*request);
            step.mail.iter_mut().for_each(|plan| mails.let_go(plan));
        }
        Verdict::Goes(counts) => {
            for (of, until) in counts {
                match of {
                    Counted::Destination(_) => step.counts_until = Some(until),
                    Counted::Playbook(_) => step.playbook_counts_until = Some(until),
                }
            }
        }
    }
}

/// A mail that nobody gets now is answered at once, and its run goes on.
fn answered_if_unsent(mut step: Step) -> Step {
    if let Some(plan) = step.mail.as_ref().filter(|plan| plan.is_for_nobody()) {
        step.value = Some(mails::unsent(plan));
        (step.key, step.mode) = (None, None);
    }
    step
}

/// `None`: the order is overtaken by what happened since.
fn ordered(state: &State, operator: Operator) -> Option<Facts> {
    if let Order::DeliveryRetry { key, result, .. } = &operator.order {
        state.letters.get(result).filter(|letter| letter.key == *key && !state.flights.contains_key(key))?;
    }
    Some(Facts::Operator(operator))
}

fn number(state: &State, run: &RunId, n: u32, step: NewStep) -> Step {
    let key = step.effect.destination().map(|_| EffectKey::new(&state.journal, run, n));
    let mode = key.as_ref().map(|_| step.mode.unwrap_or_default());
    let NewStep { effect, args_sha256, value, .. } = step;
    Step {
        n,
        effect,
        args_sha256,
        key,
        mode,
        release: None,
        mail: None,
        counts_until: None,
        playbook_counts_until: None,
        value,
    }
}
