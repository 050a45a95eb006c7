//! `evaluate(bundle, input, results so far) -> next steps | finished | failed`: a pure function.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Position, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::effect::{Effect, Reply};
use crate::domain::entry::given;
use crate::domain::lists::Lists;
use crate::playbooks::check::Use;
use crate::playbooks::fault::Fault;
use crate::playbooks::limits::STACK_BYTES;
use crate::playbooks::run::{self, Run, Stop};
use crate::playbooks::value::{to_dynamic, to_json};
use crate::playbooks::{fault, input};
use crate::rules::owners::Owners;

/// The playbooks of one bundle, compiled and checked; shared by all threads.
#[derive(Debug)]
pub struct Playbooks {
    pub(super) engine: Engine,
    pub(super) playbooks: BTreeMap<String, Playbook>,
    pub(super) lists: Arc<Lists>,
    pub(super) owners: Arc<Owners>,
    pub(super) uses: Vec<Use>,
}

/// One playbook.
#[derive(Debug)]
pub(super) struct Playbook {
    pub file: Arc<str>,
    pub ast: AST,
    /// Line of each entry function that it has.
    pub entries: BTreeMap<Entry, u32>,
    /// Where each ends with a step.
    pub last: BTreeMap<Entry, Position>,
}

/// The function of a playbook that a run calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// `on_alert(alert)`.
    Alert,
    /// `on_group(alerts)`.
    Group,
    /// `on_status(alert, change)`.
    Status,
}

impl Entry {
    /// All.
    pub const ALL: [Entry; 3] = [Self::Alert, Self::Group, Self::Status];

    /// The function's name.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Alert => "on_alert",
            Self::Group => "on_group",
            Self::Status => "on_status",
        }
    }

    /// How it is written in a script.
    pub const fn written(self) -> &'static str {
        match self {
            Self::Alert => "on_alert(alert)",
            Self::Group => "on_group(alerts)",
            Self::Status => "on_status(alert, change)",
        }
    }

    /// How many arguments it takes.
    pub const fn arguments(self) -> usize {
        match self {
            Self::Alert | Self::Group => 1,
            Self::Status => 2,
        }
    }

    /// The template of a mail that names none.
    pub const fn template(self) -> &'static str {
        match self {
            Self::Alert | Self::Status => "alert",
            Self::Group => "group",
        }
    }
}

/// One run, as far as it got.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Name of the playbook.
    pub playbook: &'a str,
    /// Which function.
    pub entry: Entry,
    /// The alert as JSON, an array of them, or `{"alert": …, "change": …}`.
    pub input: &'a Value,
    /// What a new `now()` returns, and from when a new `sleep` counts.
    pub at: Timestamp,
    /// What `random()` is derived from; the same for all evaluations of a run.
    pub seed: [u8; 32],
    /// The steps on record, in order.
    pub past: &'a [PastStep],
}

/// A step on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastStep {
    /// [`Effect::kind`].
    pub kind: String,
    /// As it stood in [`NewStep::args_sha256`].
    pub args_sha256: String,
    /// `None` while it is open. Steps that soard answers itself have class `ok` and their value.
    pub outcome: Option<Reply>,
}

/// What an evaluation gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Steps to put on record after those of the job, in order.
    pub steps: Vec<NewStep>,
    /// What then.
    pub then: Then,
    /// It waits for one step alone, the last of them, and returns what that answers once it succeeds: no other evaluation
    /// is needed to know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_last: bool,
}

/// A step that is not on record yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewStep {
    /// What is asked for.
    pub effect: Effect,
    /// SHA-256 of kind and arguments as the script gave them, in hex.
    pub args_sha256: String,
    /// The outcome, for steps that soard answers itself.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// What becomes of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It goes on when each open step has an outcome.
    Waits,
    /// The script returned this; `null` when it returned what JSON cannot hold.
    Finished(Value),
    /// The script threw, or broke a limit.
    Failed {
        /// What went wrong.
        error: String,
        /// `file:line:column`, or `file:line` of the entry function where Rhai does not say.
        place: Option<String>,
    },
    /// The script asks for something else than what is on record; no new steps.
    Diverged {
        /// Which step.
        step: u32,
        /// What is on record.
        expected: String,
        /// What the script asks for.
        got: String,
    },
}

/// Stack that a thread needs for [`Playbooks::evaluate`]; only touched pages cost memory.
pub const fn stack_bytes() -> usize {
    STACK_BYTES
}

impl Evaluated {
    /// What evaluating once more would give when the step with [`Evaluated::is_last`] has succeeded: the run returns the
    /// answer, as a script would see it.
    #[must_use]
    pub fn after_last(answer: &Value) -> Self {
        let value = to_json(&to_dynamic(answer)).unwrap_or_default();
        Self { steps: Vec::new(), then: Then::Finished(value), is_last: false }
    }

    /// No steps, and a run that failed.
    #[must_use]
    pub fn failed(error: String, place: Option<String>) -> Self {
        Self { steps: Vec::new(), then: Then::Failed { error, place }, is_last: false }
    }
}

impl Playbooks {
    /// Names of the playbooks, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.playbooks.keys().map(String::as_str)
    }

    /// Whether the playbook is there and has this entry function.
    pub fn has_entry(&self, playbook: &str, entry: Entry) -> bool {
        self.playbooks.get(playbook).is_some_and(|playbook| playbook.entries.contains_key(&entry))
    }

    /// Every destination that a playbook or module names literally, for checking against `soard.yaml`.
    pub fn destinations(&self) -> &[Use] {
        &self.uses
    }

    /// Runs the script from the top over the steps on record, up to the first one without outcome.
    ///
    /// Needs a thread with [`stack_bytes`] of stack. Always returns: a panic inside becomes [`Then::Failed`].
    pub fn evaluate(&self, job: &Job) -> Evaluated {
        let Some(playbook) = self.playbooks.get(job.playbook) else {
            return Evaluated::failed(format!("there is no playbook `{}` in this bundle", job.playbook), None);
        };
        let function = job.entry.function();
        let Some(line) = playbook.entries.get(&job.entry) else {
            return Evaluated::failed(format!("the playbook `{}` has no {function}", job.playbook), None);
        };
        let input = match job.entry {
            Entry::Alert | Entry::Group => input::prepare(job.input),
            Entry::Status => input::prepare_change(job.input),
        };
        let run = Run {
            entry: Some(job.entry),
            at: job.at,
            seed: job.seed,
            alerts: input.ids,
            past: job.past.to_vec(),
            last: playbook.last.get(&job.entry).map(|at| (playbook.file.clone(), *at)),
            owners: self.owners.clone(),
            ..Run::of_constants(self.lists.clone())
        };
        let (result, run) = run::with(run, || {
            let options = CallFnOptions::new().eval_ast(true);
            let mut scope = Scope::new();
            let result =
                self.engine.call_fn_with_options(options, &mut scope, &playbook.ast, function, input.arguments);
            ended(result, &playbook.file)
        });
        let result = result.unwrap_or_else(|_| {
            let error = "the script brought the interpreter down; this is a fault of soard or of Rhai".to_string();
            Err(Fault { error, place: None })
        });
        verdict(run, result, &format!("{}:{line}", playbook.file))
    }

    /// [`Playbooks::evaluate`] on a thread of its own that has the stack it needs.
    pub fn evaluate_on_stack(&self, job: &Job) -> Evaluated {
        match run::on_stack(|| self.evaluate(job)) {
            Ok(Some(evaluated)) => evaluated,
            Ok(None) => Evaluated::failed("the thread of the script ended early".into(), None),
            Err(error) => Evaluated::failed(format!("no thread for the script: {error}"), None),
        }
    }
}

/// Converts on the evaluating thread, so that large values are also dropped on its stack.
fn ended(result: Result<Dynamic, Box<EvalAltResult>>, file: &str) -> Result<Value, Fault> {
    match result {
        Ok(value) => Ok(to_json(&value).unwrap_or_default()),
        Err(error) => Err(fault::explain(*error, file)),
    }
}

/// The flag outranks what the script returned; see [`run`].
fn verdict(run: Run, result: Result<Value, Fault>, function: &str) -> Evaluated {
    let is_last = run.is_last && run.stop == Some(Stop::Waits);
    let unread = run.past.get(run.next).map(|past| past.kind.clone());
    let then = match (run.stop, unread, result) {
        (Some(Stop::Waits), ..) => Then::Waits,
        (Some(Stop::Diverged { step, expected, got }), ..) => Then::Diverged { step, expected, got },
        (Some(Stop::Limit(error)), _, result) => {
            let place = result.err().and_then(|fault| fault.place).unwrap_or_else(|| function.into());
            Then::Failed { error, place: Some(place) }
        }
        (None, Some(kind), result) => {
            let got = if result.is_ok() { "the end of the script" } else { "an error that ends the script" };
            let step = u32::try_from(run.next).unwrap_or(u32::MAX);
            Then::Diverged { step, expected: kind, got: got.into() }
        }
        (None, None, Ok(value)) => Then::Finished(value),
        (None, None, Err(fault)) => {
            Then::Failed { error: fault.error, place: Some(fault.place.unwrap_or_else(|| function.into())) }
        }
    };
    let steps = if matches!(then, Then::Diverged { .. }) { Vec::new() } else { run.steps };
    Evaluated { steps, then, is_last }
}
