//! Runs that wait for their last step: its success ends them, and no worker need be asked to learn that.
//!
//! A cache and no more. What is not here is evaluated, and comes to the same end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::daemon::recent::Recent;
use crate::domain::effect::Class;
use crate::domain::entry::Facts;
use crate::domain::id::RunId;
use crate::engine::tasks::Evaluate;
use crate::playbooks::evaluate::Evaluated;

/// Runs that are known to wait for their last step.
const RUNS_MAX: usize = 100_000;

/// The number of the last step, for each run of which it is known.
#[derive(Debug, Default)]
pub struct Endings(Mutex<HashMap<RunId, u32>>);

impl Endings {
    /// Remembers what an evaluation of this run said.
    pub fn keep(&self, job: &Evaluate, evaluated: &Evaluated) {
        let steps = job.steps + u32::try_from(evaluated.steps.len()).unwrap_or(u32::MAX);
        let mut known = self.lock();
        if evaluated.is_last && steps > 0 && known.len() < RUNS_MAX {
            known.insert(job.run.clone(), steps - 1);
        }
    }

    /// What evaluating the run would give, when its last step has just succeeded.
    pub fn take(&self, job: &Evaluate, recent: &Recent) -> Option<Evaluated> {
        let last = self.lock().remove(&job.run)?;
        let written = recent.get(*job.entries.last()?)?;
        let Facts::Result(result) = &written.entry.facts else { return None };
        let ends = result.step == last && result.reply.class == Class::Ok;
        ends.then(|| Evaluated::after_last(&result.reply.value))
    }

    /// A run that is not to go on.
    pub fn forget(&self, run: &RunId) {
        self.lock().remove(run);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::daemon::recent::Written;
    use crate::domain::effect::{EffectKey, Reply};
    use crate::domain::entry::{Entry, StepResult};
    use crate::playbooks::evaluate::Then;

    fn job(entries: Vec<u64>) -> Evaluate {
        let run = "a-1.0/tell".parse().unwrap();
        let started = Timestamp::UNIX_EPOCH;
        Evaluate { run, bundle: "b".into(), alerts: Vec::new(), entries, steps: 3, started, digest: None }
    }

    /// A result of the run's fourth step, durable, in entry 9.
    fn recent(class: Class) -> Recent {
        let reply = Reply { class, status: None, value: json!({ "status": 200 }), error: None };
        let run = job(Vec::new()).run;
        let key = EffectKey::new("journal", &run, 3);
        let result = StepResult { run, step: 3, key, attempts: 1, reply, resent: false };
        let entry = Entry { seq: 9, at: Timestamp::UNIX_EPOCH, facts: Facts::Result(result) };
        let recent = Recent::default();
        recent.keep(Arc::new(Written { entry, bytes: 1, hash: OnceLock::from("h".to_owned()) }));
        recent
    }

    #[test]
    fn only_the_success_of_the_step_that_was_said_to_be_the_last_ends_a_run() {
        let waits = Evaluated { is_last: true, then: Then::Waits, ..Evaluated::after_last(&Value::Null) };
        let one = Evaluated {
            steps: serde_json::from_value(json!([{ "effect": "now", "args_sha256": "" }])).unwrap(),
            ..waits
        };
        let endings = Endings::default();
        let told = |class| {
            endings.keep(&job(vec![4]), &one);
            endings.take(&job(vec![4, 9]), &recent(class))
        };
        assert_eq!(told(Class::Ok), Some(Evaluated::after_last(&json!({ "status": 200 }))));
        assert_eq!(endings.take(&job(vec![4, 9]), &recent(Class::Ok)), None, "once");
        assert_eq!(told(Class::Rejected), None);
        assert_eq!(told(Class::Unknown), None);
        endings.keep(&job(vec![4]), &one);
        assert_eq!(endings.take(&job(vec![4]), &recent(Class::Ok)), None, "its entry is not the result");
        endings.keep(&Evaluate { steps: 2, ..job(vec![4]) }, &one);
        assert_eq!(endings.take(&job(vec![9]), &recent(Class::Ok)), None, "another step");
        endings.keep(&job(vec![4]), &one);
        endings.forget(&job(Vec::new()).run);
        assert_eq!(endings.take(&job(vec![9]), &recent(Class::Ok)), None, "cancelled");
    }
}
