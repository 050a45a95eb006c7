//! One step of a run: how it looks when it is asked for, how it ends, and what it waits for.

use jiff::Timestamp;

use crate::daemon::query::run::{Outcome, StepView};
use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::entry::{Step, StepResult};

impl Outcome {
    /// Of an effect that left the daemon.
    pub(super) fn new(at: Timestamp, result: &StepResult) -> Self {
        let Reply { class, status, value, error } = result.reply.clone();
        Self { at, attempts: result.attempts, class, status, value, error }
    }
}

impl StepView {
    pub(super) fn new(at: Timestamp, step: &Step) -> Self {
        let waits = step.key.is_some() || matches!(step.effect, Effect::Sleep { .. } | Effect::Approve(_));
        let next = match &step.effect {
            _ if step.release.is_some() => step.release.as_ref().map(|request| request.until),
            Effect::Sleep { until } => Some(*until),
            Effect::Approve(request) => Some(request.until),
            _ => None,
        };
        let value = step.value.clone().unwrap_or_default();
        let outcome = Outcome { at, attempts: 0, class: Class::Ok, status: None, value, error: None };
        Self {
            n: step.n,
            kind: step.effect.kind().into(),
            destination: step.effect.destination().map(Into::into),
            effect: step.effect.clone(),
            key: step.key.clone(),
            mode: step.mode,
            intended: at,
            attempts: Vec::new(),
            next,
            release: step.release.clone(),
            mail: step.mail.clone(),
            outcome: (!waits).then_some(outcome),
            told: None,
            resent: Vec::new(),
        }
    }

    /// What a step without an outcome waits for, in words.
    pub fn waits_for(&self) -> String {
        let asked = match &self.effect {
            Effect::Approve(request) => Some(request),
            _ => self.release.as_ref(),
        };
        if let Some(request) = asked {
            let id = request.id.map(|id| format!("{id} ")).unwrap_or_default();
            return format!("{id}by {} until {:.0}: {}", request.by.join(" or "), request.until, request.question);
        }
        match (&self.destination, self.next, self.attempts.last()) {
            (None, Some(until), _) => format!("{} until {until:.0}", self.kind),
            (None, None, _) => self.kind.clone(),
            (Some(to), Some(next), Some(last)) => format!("{} to {to}: attempt {} at {next:.0}", self.kind, last.n + 1),
            (Some(to), None, Some(last)) => format!("{} to {to}: attempt {} under way", self.kind, last.n + 1),
            (Some(to), _, None) => format!("{} to {to}", self.kind),
        }
    }
}
