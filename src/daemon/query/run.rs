//! Every step of a run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::daemon::query::cause::Cause;
use crate::daemon::query::runs::{RunRow, RunState};
use crate::daemon::query::{BundleRef, Bundles, Fold, Lines, LogLine, QueryError, fold};
use crate::domain::approval::{ApprovalRequest, Choice};
use crate::domain::decision::{Reason, RouteVerdict, RuleRef};
use crate::domain::effect::{Class, Effect, EffectKey, Mode};
use crate::domain::entry::{Attempt, Due, End, Entry, Facts, Intake, Log, RunEnd, Step, StepResult};
use crate::domain::id::{RunId, Trigger};
use crate::domain::mail::MailPlan;
use crate::domain::operator::{Operator, Order};
use crate::index::row::short;

/// One run with all its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunView {
    /// As in a list.
    pub row: RunRow,
    /// What started it.
    pub cause: Cause,
    /// The bundle that it began with and ends on.
    pub bundle: BundleRef,
    /// Its steps, in program order.
    pub steps: Vec<StepView>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What operators ordered for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderView>,
    /// When retention dropped what it would need to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<Timestamp>,
}

/// An operator's order for a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunOrder")]
pub struct OrderView {
    /// When.
    pub at: Timestamp,
    /// What, who and why.
    pub operator: Operator,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Number in program order, from 0.
    pub n: u32,
    /// Kind of the effect: the name of the script's function.
    pub kind: String,
    /// The destination, for effects that leave the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// What is asked for.
    pub effect: Effect,
    /// Key of an effect that leaves the daemon, the same through all attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<EffectKey>,
    /// What to do when it is unclear whether it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// When the run asked for it.
    pub intended: Timestamp,
    /// Attempts that failed and were followed by another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
    /// When the next attempt is due, or the sleep over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// What people are asked before it goes out, as long as they have not decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ApprovalRequest>,
    /// Who gets a mail now, who later and who not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailPlan>,
    /// How it ended; `None` while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Of a question to people: what came of the mail that tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Outcome>,
    /// What came of it when an operator had it sent again; the run went on with the outcome above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resent: Vec<Outcome>,
}

/// An attempt that failed and was followed by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// Which attempt, from 1.
    pub n: u32,
    /// When it had failed.
    pub at: Timestamp,
    /// What went wrong.
    pub error: String,
    /// HTTP status or SMTP reply code, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeliveryOutcome")]
pub struct Outcome {
    /// When.
    pub at: Timestamp,
    /// How many attempts it took; 0 for steps that soard answers itself.
    pub attempts: u32,
    /// How.
    pub class: Class,
    /// HTTP status or SMTP reply code, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the script gets.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// Why it is not `ok`, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Shows one run; `None` when there is none with this id.
///
/// # Errors
/// When the journal cannot be read.
pub fn show(lines: Lines<'_>, id: &RunId) -> Result<Option<RunView>, QueryError> {
    let mut show = Show {
        name: format!("\"{}", RunId::first(id.trigger, &*id.playbook)),
        runs: Runs::new(Wanted::Run(id.clone())),
        bundles: Bundles::default(),
    };
    fold(lines, &mut show)?;
    let views = show.runs.views(&show.bundles);
    Ok(views.into_iter().find(|view| view.row.id == *id))
}

struct Show {
    /// Of the first run; a restarted one has the same and a number.
    name: String,
    runs: Runs,
    bundles: Bundles,
}

impl Fold for Show {
    fn wants(&self, line: &LogLine) -> bool {
        Bundles::wants(line) || matches!(&*line.kind, "attempt" | "due") || line.has(&self.name)
    }

    fn apply(&mut self, entry: &Entry) {
        self.bundles.apply(entry);
        self.runs.apply(entry);
    }
}

/// Which runs a fold keeps.
pub(super) enum Wanted {
    /// All, as rows.
    All,
    /// One, with its steps.
    Run(RunId),
    /// Those of these alerts and groups, with their steps.
    Triggers(BTreeSet<Trigger>),
}

/// The fold of all runs that are wanted.
pub(super) struct Runs {
    wanted: Wanted,
    pub(super) runs: BTreeMap<RunId, Open>,
    keys: HashMap<EffectKey, (RunId, u32)>,
}

/// A run while it is folded.
pub(super) struct Open {
    row: RunRow,
    cause: Cause,
    bundle: String,
    /// All steps, or only those without an outcome when rows suffice.
    steps: BTreeMap<u32, StepView>,
    /// When rows suffice: steps that ended last and may be sent again.
    closed: BTreeMap<u32, StepView>,
    end: Option<End>,
    orders: Vec<OrderView>,
    given_up: Option<Timestamp>,
}

impl Runs {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, runs: BTreeMap::new(), keys: HashMap::new() }
    }

    /// Wants the runs of one more alert or group; whether that is news.
    pub(super) fn want(&mut self, trigger: Trigger) -> bool {
        match &mut self.wanted {
            Wanted::Triggers(triggers) => triggers.insert(trigger),
            Wanted::All | Wanted::Run(_) => false,
        }
    }

    /// The runs with their steps, in order of their start.
    pub(super) fn views(self, bundles: &Bundles) -> Vec<RunView> {
        let mut views: Vec<RunView> = self.runs.into_values().map(|run| run.into_view(bundles)).collect();
        views.sort_by_key(|view| view.cause.seq);
        views
    }

    fn wants_run(&self, id: &RunId) -> bool {
        match &self.wanted {
            Wanted::All => true,
            // A restarted run has its cause from the first.
            Wanted::Run(run) => run.trigger == id.trigger && run.playbook == id.playbook,
            Wanted::Triggers(triggers) => triggers.contains(&id.trigger.about()),
        }
    }

    fn start(&mut self, entry: &Entry, id: &RunId, bundle: &str, cause: Cause) {
        if !self.wants_run(id) {
            return;
        }
        let row = RunRow {
            id: id.clone(),
            playbook: id.playbook.clone(),
            started: entry.at,
            ended: None,
            state: RunState::Waiting,
            steps: 0,
            waiting_for: None,
            error: None,
        };
        let (steps, closed, orders) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let open = Open { row, cause, bundle: bundle.into(), steps, closed, end: None, orders, given_up: None };
        self.runs.entry(id.clone()).or_insert(open);
    }

    fn intake(&mut self, entry: &Entry, intake: &Intake) {
        for taken in &intake.alerts {
            for reason in &taken.decision.reasons {
                let Reason::Route { rule, verdict: RouteVerdict::Run { runs, .. }, .. } = reason else { continue };
                for id in runs {
                    let cause = Cause::one(entry, id, rule.clone(), Some(short(&taken.alert.title)));
                    self.start(entry, id, &intake.bundle, cause);
                }
            }
        }
    }

    fn steps(&mut self, entry: &Entry, id: &RunId, steps: &[Step]) {
        let rows_suffice = matches!(self.wanted, Wanted::All);
        let Some(run) = self.runs.get_mut(id) else { return };
        run.closed.clear();
        for step in steps {
            run.row.steps = step.n + 1;
            let view = StepView::new(entry.at, step);
            if let Some(key) = &step.key {
                self.keys.insert(key.clone(), (id.clone(), step.n));
            }
            if !rows_suffice || view.outcome.is_none() {
                run.steps.insert(step.n, view);
            }
        }
    }

    fn step_of(&mut self, key: &EffectKey) -> Option<&mut StepView> {
        let (run, n) = self.keys.get(key)?;
        self.runs.get_mut(run)?.steps.get_mut(n)
    }

    fn attempt(&mut self, at: Timestamp, attempt: &Attempt) {
        let Some(step) = self.step_of(&attempt.key) else { return };
        if !matches!(step.effect, Effect::Approve(_)) {
            step.next = Some(attempt.next);
        }
        let (error, status) = (attempt.error.clone(), attempt.status);
        step.attempts.push(AttemptView { n: attempt.n, at, error, status });
    }

    fn result(&mut self, at: Timestamp, result: &StepResult) {
        self.keys.remove(&result.key);
        let outcome = Outcome::new(at, result);
        let step = self.runs.get_mut(&result.run).and_then(|run| run.steps.get_mut(&result.step));
        if let Some(step) = step.filter(|step| matches!(step.effect, Effect::Approve(_))) {
            (step.attempts, step.told) = (Vec::new(), Some(outcome));
        } else if !result.resent {
            self.close(&result.run, result.step, outcome);
        } else if let Some(step) = self.runs.get_mut(&result.run).and_then(|run| run.steps.get_mut(&result.step)) {
            step.resent.push(outcome);
        }
    }

    fn answer(&mut self, at: Timestamp, run: &RunId, n: u32, choice: Choice) {
        let asked = self.runs.get_mut(run).and_then(|run| run.steps.get_mut(&n));
        if let Some(step) = asked.filter(|step| !matches!(step.effect, Effect::Approve(_))) {
            // It goes out, or its outcome follows.
            (step.release, step.next) = (None, None);
            return;
        }
        let value = Value::Bool(choice.answer());
        self.close(run, n, Outcome { at, attempts: 0, class: Class::Ok, status: None, value, error: None });
    }

    fn close(&mut self, run: &RunId, n: u32, outcome: Outcome) {
        let Some(run) = self.runs.get_mut(run) else { return };
        if matches!(self.wanted, Wanted::All) {
            run.closed.extend(run.steps.remove_entry(&n));
        } else if let Some(step) = run.steps.get_mut(&n) {
            step.next = None;
            step.outcome = Some(outcome);
        }
    }

    fn end(&mut self, at: Timestamp, end: &RunEnd) {
        let rows_suffice = matches!(self.wanted, Wanted::All);
        let Some(run) = self.runs.get_mut(&end.run) else { return };
        run.row.ended = Some(at);
        (run.row.state, run.row.error) = match &end.end {
            End::Finished { .. } => (RunState::Finished, None),
            End::Failed { error, .. } => (RunState::Failed, Some(short(error))),
            End::Stalled { step, expected, got } => {
                let error = format!("step {step} is {expected} on record, but the replay asked for {got}");
                (RunState::Stalled, Some(short(&error)))
            }
        };
        if rows_suffice {
            run.steps.clear();
        } else {
            run.end = Some(end.end.clone());
        }
    }

    fn order(&mut self, entry: &Entry, operator: &Operator) {
        match &operator.order {
            Order::RunRestart { run, starts, alerts, bundle, .. } => {
                let first = self.runs.get(run).map(|open| open.cause.clone());
                let rule = RuleRef { id: "a restart".into(), place: String::new() };
                let (trigger, alerts) = (starts.trigger, alerts.len() as u64);
                let cause = first.unwrap_or(Cause { seq: entry.seq, trigger, rule, alerts, title: None });
                self.start(entry, starts, bundle, Cause { seq: entry.seq, ..cause });
            }
            Order::RunStart { starts, bundle, .. } => {
                let rule = RuleRef { id: "by hand".into(), place: operator.actor.clone() };
                self.start(entry, starts, bundle, Cause::one(entry, starts, rule, None));
            }
            Order::RunCancel { run } => {
                let Some(open) = self.runs.get_mut(run) else { return };
                (open.row.ended, open.row.state) = (Some(entry.at), RunState::Cancelled);
                open.row.error = Some(short(&operator.comment));
            }
            Order::RunRetry { run, again } => self.retry(run, again),
            Order::Alert { on_status: Some(told), .. } => {
                for (rule, id) in told.starts() {
                    self.start(entry, id, &told.bundle, Cause::one(entry, id, rule.clone(), None));
                }
            }
            Order::Approval(order) => self.answer(entry.at, &order.run, order.step, order.choice),
            Order::DeliveryRetry { .. } | Order::Alert { .. } => {}
            Order::Silence(_)
            | Order::Token(_)
            | Order::Hold(_)
            | Order::Recipient(_)
            | Order::DestinationTest { .. }
            | Order::QuarantineDiscard { .. }
            | Order::Upkeep(_) => {}
        }
        for run in operator.order.runs() {
            if let Some(open) = self.runs.get_mut(run).filter(|_| !matches!(self.wanted, Wanted::All)) {
                open.orders.push(OrderView { at: entry.at, operator: operator.clone() });
            }
        }
    }

    fn retry(&mut self, id: &RunId, again: &[u32]) {
        let Some(open) = self.runs.get_mut(id) else { return };
        (open.row.ended, open.row.state, open.row.error, open.end) = (None, RunState::Waiting, None, None);
        open.steps.append(&mut open.closed);
        for n in again {
            let Some(step) = open.steps.get_mut(n) else { continue };
            (step.outcome, step.next) = (None, None);
            if let Some(key) = &step.key {
                self.keys.insert(key.clone(), (id.clone(), *n));
            }
        }
        if matches!(self.wanted, Wanted::All) {
            open.steps.retain(|n, _| again.contains(n));
        }
    }

    fn due(&mut self, entry: &Entry, due: &Due) {
        match due {
            Due::Group { group, rule, alerts, runs, bundle, .. } => {
                for id in runs {
                    let (trigger, rule) = (Trigger::Group(*group), rule.clone());
                    let cause = Cause { seq: entry.seq, trigger, rule, alerts: alerts.len() as u64, title: None };
                    self.start(entry, id, bundle, cause);
                }
            }
            Due::Timer { run, step } => {
                let at = entry.at;
                let outcome =
                    Outcome { at, attempts: 0, class: Class::Ok, status: None, value: Value::Null, error: None };
                self.close(run, *step, outcome);
            }
            Due::Approval { run, step, choice, .. } => self.answer(entry.at, run, *step, *choice),
            Due::Retry { key } => {
                if let Some(step) = self.step_of(key).filter(|step| !matches!(step.effect, Effect::Approve(_))) {
                    step.next = None;
                }
            }
            Due::Throttle { .. } => {}
        }
    }
}

impl Fold for Runs {
    fn wants(&self, line: &LogLine) -> bool {
        match &*line.kind {
            "intake" => line.has("\"run\""),
            "due" | "intent" | "attempt" | "result" | "run" | "operator" => true,
            _ => false,
        }
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.facts {
            Facts::Intake(intake) => self.intake(entry, intake),
            Facts::Due(due) => self.due(entry, due),
            Facts::Intent(intent) => self.steps(entry, &intent.run, &intent.steps),
            Facts::Attempt(attempt) => self.attempt(entry.at, attempt),
            Facts::Result(result) => self.result(entry.at, result),
            Facts::Run(end) => {
                self.steps(entry, &end.run, &end.steps);
                self.end(entry.at, end);
            }
            Facts::Operator(operator) => self.order(entry, operator),
            Facts::Log(Log::Dropped { runs, .. }) => {
                for run in runs {
                    if let Some(open) = self.runs.get_mut(run) {
                        open.given_up = Some(entry.at);
                    }
                }
            }
            Facts::Log(_) | Facts::Bundle(_) | Facts::Quarantine(_) | Facts::Begin(_) => {}
        }
    }
}

impl Open {
    pub(super) fn into_row(mut self) -> RunRow {
        if self.row.ended.is_some() {
            return self.row;
        }
        let waits: Vec<&StepView> = self.steps.values().filter(|step| step.outcome.is_none()).collect();
        let asks = |step: &StepView| matches!(step.effect, Effect::Approve(_));
        if waits.iter().any(|step| !step.attempts.is_empty() && !asks(step)) {
            self.row.state = RunState::Retrying;
            self.row.error = waits.iter().flat_map(|step| &step.attempts).next_back().map(|last| short(&last.error));
        }
        let words: Vec<String> = waits.into_iter().map(StepView::waits_for).collect();
        self.row.waiting_for =
            Some(if words.is_empty() { "its next step".to_owned() } else { short(&words.join(", ")) });
        self.row
    }

    fn into_view(mut self, bundles: &Bundles) -> RunView {
        let (cause, bundle) = (self.cause.clone(), bundles.named(&self.bundle));
        let (steps, end) = (self.steps.values().cloned().collect(), self.end.take());
        let (orders, given_up) = (std::mem::take(&mut self.orders), self.given_up);
        RunView { row: self.into_row(), cause, bundle, steps, end, orders, given_up }
    }
}
