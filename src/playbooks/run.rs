//! One evaluation under way: which steps are on record, which are new, and whether it has come to an end.
//!
//! Rhai's `on_progress` gets no context, so the evaluation of this thread lies in a thread-local. It is set
//! for the time of one evaluation only and never carries anything to the next.
//!
//! A script can swallow the error by which Rhai ends it: inside a closure that `map` or `sort` runs, the
//! error comes wrapped and `try … catch` takes it; `order_by` drops it. So a flag decides, not the error: once
//! [`Run::stop`] is set, every host function refuses, `on_progress` ends the script, and the flag outranks
//! whatever the script returned.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use rhai::{Dynamic, EvalAltResult, Map, Position};
use serde_json::Value;
use sha2::Sha256;

use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::lists::Lists;
use crate::playbooks::evaluate::{Entry, NewStep, PastStep};
use crate::playbooks::limits::{OPERATIONS_MAX, STACK_BYTES, STEPS_MAX};
use crate::playbooks::value::fingerprint;
use crate::rules::owners::Owners;

/// One evaluation under way.
#[derive(Debug)]
pub struct Run {
    /// Which function was called; `None` while a file's constants are computed, where no step is allowed.
    pub entry: Option<Entry>,
    /// What a new `now()` returns.
    pub at: Timestamp,
    /// What `random()` is derived from.
    pub seed: [u8; 32],
    /// Ids of the alerts that this run may change.
    pub alerts: BTreeSet<String>,
    /// For `lookup`.
    pub lists: Arc<Lists>,
    /// For `owner`.
    pub owners: Arc<Owners>,
    /// Steps on record.
    pub past: Vec<PastStep>,
    /// Number of the next step.
    pub next: usize,
    /// The call that ends the entry function: its file, and where it stands there.
    pub last: Option<(Arc<str>, Position)>,
    /// It waits for that call's step, and for nothing else.
    pub is_last: bool,
    /// Steps that this evaluation added.
    pub steps: Vec<NewStep>,
    /// Set once, and final.
    pub stop: Option<Stop>,
    /// Operations so far, counted across closures, which Rhai's own limit does not do.
    pub operations: u64,
    /// Calls of `random` so far.
    pub randoms: u64,
}

/// Why an evaluation ends whatever the script does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A step has no outcome yet.
    Waits,
    /// The script asks for something else than what is on record.
    Diverged {
        /// Which step.
        step: u32,
        /// What is on record.
        expected: String,
        /// What the script asks for.
        got: String,
    },
    /// A limit was hit; says which.
    Limit(String),
}

/// Why a host function does not return a value.
#[derive(Debug)]
pub enum Halt {
    /// The evaluation is over.
    Stop,
    /// The script gets this error and may catch it.
    Throw(Box<Map>),
}

impl Halt {
    /// An error that the script may catch: its kind and what is wrong.
    pub fn throw(kind: &str, message: impl Into<String>) -> Self {
        let mut error = Map::new();
        error.insert("kind".into(), kind.into());
        error.insert("message".into(), message.into().into());
        Self::Throw(Box::new(error))
    }

    /// The script gave an argument that the function does not take.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::throw("argument", message)
    }
}

impl From<Halt> for Box<EvalAltResult> {
    fn from(halt: Halt) -> Self {
        Box::new(match halt {
            Halt::Stop => EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE),
            Halt::Throw(error) => EvalAltResult::ErrorRuntime(Dynamic::from_map(*error), Position::NONE),
        })
    }
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Does `work` with `run` as this thread's evaluation and gives it back with the result, also after a panic.
pub fn with<T>(run: Run, work: impl FnOnce() -> T) -> (std::thread::Result<T>, Run) {
    let outer = RUN.with_borrow_mut(|slot| slot.replace(run));
    assert!(outer.is_none(), "evaluations do not nest");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let run = RUN.with_borrow_mut(Option::take).expect("set above, and nothing else takes it");
    (result, run)
}

/// Does `work` on a thread of its own that has the stack an evaluation needs.
///
/// # Errors
/// When the system gives no thread; `None` when the work panicked.
pub fn on_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<Option<T>> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("playbook".into()).stack_size(STACK_BYTES);
        Ok(builder.spawn_scoped(scope, work)?.join().ok())
    })
}

/// Gives a host function the evaluation it belongs to; refuses when that has come to an end.
pub fn current<T>(work: impl FnOnce(&mut Run) -> Result<T, Halt>) -> Result<T, Box<EvalAltResult>> {
    RUN.with_borrow_mut(|slot| match slot {
        Some(run) if run.stop.is_some() => Err(Halt::Stop),
        Some(run) => work(run),
        None => Err(Halt::throw("limit", "playbooks run only when soard evaluates them")),
    })
    .map_err(Box::from)
}

/// What `on_progress` does at each operation: counts it, and says whether the script has to end.
pub fn tick() -> Option<Dynamic> {
    RUN.with_borrow_mut(|slot| {
        let run = slot.as_mut()?;
        run.operations += 1;
        if run.operations > OPERATIONS_MAX {
            run.halt(Stop::Limit(format!("the script used more than {OPERATIONS_MAX} operations")));
        }
        run.stop.is_some().then_some(Dynamic::UNIT)
    })
}

impl Run {
    /// An evaluation that computes a file's constants: no steps, no input.
    pub fn of_constants(lists: Arc<Lists>) -> Self {
        Self {
            entry: None,
            at: Timestamp::UNIX_EPOCH,
            seed: [0; 32],
            alerts: BTreeSet::new(),
            lists,
            owners: Arc::default(),
            past: Vec::new(),
            next: 0,
            last: None,
            is_last: false,
            steps: Vec::new(),
            stop: None,
            operations: 0,
            randoms: 0,
        }
    }

    /// Ends the evaluation; the first reason stands.
    pub fn halt(&mut self, stop: Stop) -> Halt {
        if self.stop.is_none() {
            if matches!(stop, Stop::Diverged { .. }) {
                self.steps.clear();
            }
            self.stop = Some(stop);
        }
        Halt::Stop
    }

    /// Takes the next step number for this request. Gives the outcome, or `None` while it is open.
    ///
    /// # Errors
    /// When the record says otherwise, or the run has too many steps.
    pub fn step(&mut self, effect: Effect, args: &Value) -> Result<Option<Reply>, Halt> {
        let kind = effect.kind();
        if self.entry.is_none() {
            return Err(Halt::throw("limit", format!("`{kind}` works only inside on_alert and on_group")));
        }
        let n = self.next;
        if n >= STEPS_MAX {
            return Err(self.halt(Stop::Limit(format!("the run has more than {STEPS_MAX} steps"))));
        }
        self.next += 1;
        let random = matches!(effect, Effect::Random).then(|| self.random());
        let args_sha256 = fingerprint(kind, args);
        if let Some(past) = self.past.get(n) {
            if past.kind != kind || past.args_sha256 != args_sha256 {
                let expected = format!("{} ({})", past.kind, short(&past.args_sha256));
                let got = format!("{kind}{} ({})", shown(args), short(&args_sha256));
                let step = u32::try_from(n).unwrap_or(u32::MAX);
                return Err(self.halt(Stop::Diverged { step, expected, got }));
            }
            return Ok(past.outcome.clone());
        }
        let value = match &effect {
            Effect::Webhook(_) | Effect::Email(_) | Effect::Sleep { .. } | Effect::Approve(_) => None,
            Effect::Now => Some(Value::String(self.at.to_string())),
            Effect::Random => random,
            Effect::Log { .. } | Effect::SetStatus { .. } | Effect::Tag { .. } => Some(Value::Null),
        };
        let answer = value.clone().map(|value| Reply { class: Class::Ok, status: None, value, error: None });
        self.steps.push(NewStep { effect, args_sha256, value });
        Ok(answer)
    }

    /// The next number from 0 (included) to 1 (excluded).
    fn random(&mut self) -> Value {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed).expect("HMAC takes keys of any length");
        mac.update(&self.randoms.to_be_bytes());
        self.randoms += 1;
        let digest = mac.finalize().into_bytes();
        let bits = digest.iter().take(8).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte)) >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        Value::from(bits as f64 / (1_u64 << 53) as f64)
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// Arguments for people: cut after about one line.
fn shown(args: &Value) -> String {
    let mut text = args.to_string();
    if text.len() > 160 {
        text.truncate(text.floor_char_boundary(160));
        text.push('…');
    }
    text
}
