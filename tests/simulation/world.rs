//! The world of one seed: the pure core as the daemon drives it, over a disk, a network, a clock and a process that
//! fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use soard::daemon::history::{Replay, alert_text};
use soard::daemon::recent::Written;
use soard::domain::alert::Alert;
use soard::domain::approval::{Choice, Decider};
use soard::domain::decision::AlertRef;
use soard::domain::effect::{Class, Effect, EffectKey, Mode, Reply};
use soard::domain::entry::{End, Entry, Facts, Intent, Log, Taken};
use soard::domain::id::{ApprovalId, RunId, Trigger};
use soard::domain::operator::{Operator, Order};
use soard::domain::record::{Position, Record};
use soard::domain::time::Span;
use soard::domain::token::Role;
use soard::engine::apply::apply;
use soard::engine::decide::decide;
use soard::engine::fit::fit;
use soard::engine::input::{Arrival, Asked, Candidate, Input, NewStep};
use soard::engine::orders::{self, Wish};
use soard::engine::state::State;
use soard::engine::tasks::{self, Evaluate, Send, Task};
use soard::playbooks::evaluate::{self, Then};

use crate::content::Content;
use crate::mails;
use crate::random::Random;
use crate::words;

/// Attempts at one effect.
const ATTEMPTS_MAX: u32 = 2;
/// Bytes of an entry.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// A protection to leave out, for the controls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Acts before the entry is durable.
    ActEarly,
    /// Acknowledges before the entry is durable.
    AcknowledgeEarly,
    /// Loses results at recovery.
    ForgetResults,
    /// Sends all effects of a run under one key.
    ReuseOfKeys,
    /// Loses what operators said about alerts at recovery.
    ForgetOrders,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub seq: u64,
    pub at: Timestamp,
    pub kind: &'static str,
    pub data: String,
}

impl Line {
    pub fn facts(&self) -> Facts {
        Facts::parse(self.kind, &self.data).expect("what was written is read")
    }
}

/// A request that the receiver got.
#[derive(Debug)]
pub struct Got {
    pub key: EffectKey,
    pub body: String,
    /// Whether its intent was durable when it came.
    pub intended: bool,
}

struct Pending {
    line: Line,
    tasks: Vec<Task>,
    /// The record whose sender waits for it.
    sender: Option<u64>,
    /// An attempt that waits for its begin to be durable.
    begins: Option<Send>,
}

/// A request under way: whether it arrives, and what the daemon hears.
struct Flight {
    job: Send,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Refused,
    LostBefore,
    LostAfter,
}

pub struct World<'a> {
    content: &'a Content,
    pub random: Random,
    fault: Fault,
    state: State,
    now: Timestamp,
    pub durable: Vec<Line>,
    /// Where alerts stand in it.
    bodies: Vec<AlertRef>,
    buffered: Vec<Pending>,
    tasks: VecDeque<Task>,
    flights: Vec<Flight>,
    /// What the receiver got, in order.
    pub got: Vec<Got>,
    /// Numbers of records that were acknowledged.
    pub acknowledged: Vec<u64>,
    /// Heads that were handed out: entry and content.
    pub heads: BTreeMap<u64, Line>,
    /// For each key: how often more than once it may have arrived.
    pub excused: BTreeMap<EffectKey, usize>,
    /// The last evaluation of each run that finished.
    pub finished: BTreeMap<RunId, (Evaluate, evaluate::Evaluated)>,
    sent_records: u64,
    pub faults_left: usize,
}

impl<'a> World<'a> {
    pub fn new(content: &'a Content, seed: u64, fault: Fault) -> Self {
        let mut world = Self {
            content,
            random: Random::new(seed),
            fault,
            state: State::default(),
            now: "2030-01-01T00:00:00Z".parse().unwrap(),
            durable: Vec::new(),
            bodies: Vec::new(),
            buffered: Vec::new(),
            tasks: VecDeque::new(),
            flights: Vec::new(),
            got: Vec::new(),
            acknowledged: Vec::new(),
            heads: BTreeMap::new(),
            excused: BTreeMap::new(),
            finished: BTreeMap::new(),
            sent_records: 0,
            faults_left: 6,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let journal = if self.state.journal.is_empty() { "j".into() } else { self.state.journal.clone() };
        self.put(Input::Log(Log::Opened { journal, version: "0".into() }), None, None);
        self.sync();
    }

    /// One step of the schedule, drawn by lot.
    pub fn step(&mut self) {
        match self.random.below(100) {
            0..=14 => self.post(),
            15..=18 => self.say(),
            19..=39 => self.sync(),
            40..=59 => self.work(),
            60..=79 => self.network(),
            80..=91 => self.pass(),
            92..=95 => self.order(),
            96..=97 if self.faults_left > 0 => self.crash(),
            // The disk refuses: the daemon stops at once, and what was not synced may or may not be there.
            98 if self.faults_left > 0 => self.crash(),
            _ => self.work(),
        }
    }

    /// Runs until nothing is left to do, with no more faults.
    pub fn settle(&mut self) {
        self.faults_left = 0;
        for _ in 0..10_000 {
            self.sync();
            if let Some(flight) = self.flights.pop() {
                self.arrive(Flight { outcome: Outcome::Answered, ..flight });
            } else if !self.tasks.is_empty() {
                self.work();
            } else if let Some(due) = self.state.next_due() {
                self.now = self.now.max(due);
                self.timers();
            } else if self.buffered.is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Decides an input and applies what it gives; the entry waits for the sync.
    fn put(&mut self, input: Input, sender: Option<u64>, begins: Option<Send>) -> bool {
        let Some(entry) = decide(&self.state, &self.content.rules, self.now, input) else { return false };
        let (entry, data) = fit(entry, ENTRY_BYTES_MAX);
        apply(&mut self.state, &entry);
        let tasks = tasks::of(&self.state, &entry);
        let line = Line { seq: entry.seq, at: entry.at, kind: entry.facts.kind(), data };
        let mut pending = Pending { line, tasks, sender, begins };
        if self.fault == Fault::ActEarly {
            self.tasks.extend(std::mem::take(&mut pending.tasks));
        }
        if self.fault == Fault::AcknowledgeEarly {
            self.acknowledged.extend(pending.sender.take());
        }
        self.buffered.push(pending);
        true
    }

    fn post(&mut self) {
        self.timers();
        self.sent_records += 1;
        let kind = *self.random.pick(&["each", "each", "grouped", "noisy", "nothing"]);
        let title = *self.random.pick(&["red", "green"]);
        let severity = *self.random.pick(&["low", "medium", "medium", "high"]);
        let external = self.random.below(20).to_string();
        let alert = json!({ "source": "s", "kind": kind, "title": title, "severity": severity, "external_id": external,
                            "received": self.now });
        let alert: Alert = serde_json::from_value(alert).unwrap();
        let matches = self.content.rules.matches(&alert);
        let window = Some(Span::from_secs(3600));
        let alerts = vec![Candidate { alert, part: String::new(), window, matches }];
        let bytes = format!("{{\"n\":{}}}", self.sent_records).into_bytes();
        let record = Record { source: "s".into(), bytes, position: Position::Stdin { line: self.sent_records } };
        let arrival = Arrival { record, format: "f".into(), bundle: "b".into(), alerts };
        let number = self.state.records + 1;
        self.put(Input::Intake(Box::new(arrival)), Some(number), None);
    }

    /// The disk takes all that waits as one batch.
    fn sync(&mut self) {
        for pending in std::mem::take(&mut self.buffered) {
            self.acknowledged.extend(pending.sender);
            self.heads.insert(pending.line.seq, pending.line.clone());
            self.keep(pending.line);
            self.tasks.extend(pending.tasks);
            if let Some(job) = pending.begins {
                self.leave(job);
            }
        }
    }

    /// An entry is on the disk.
    fn keep(&mut self, line: Line) {
        if let Facts::Intake(intake) = line.facts() {
            let body = |(at, taken): (u32, &Taken)| AlertRef { id: taken.id, seq: line.seq, at };
            self.bodies.extend((0..).zip(&intake.alerts).map(body));
        }
        self.durable.push(line);
    }

    fn work(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let at = self.random.below(self.tasks.len());
        match self.tasks.remove(at).unwrap() {
            Task::Evaluate(job) => self.evaluate(&job),
            Task::Send(job) if job.mode == Mode::AtMostOnce => {
                let begin = Input::Begin { key: job.key.clone() };
                self.put(begin, None, Some(*job));
            }
            Task::Send(job) => self.leave(*job),
            Task::Forget(key) => self.done(key, Class::Unknown),
            Task::Refuse(key, _) => self.done(key, Class::Rejected),
            // What is in a queue here was under way.
            Task::Withdraw(_) | Task::Spare(_) => {}
        }
    }

    /// A request leaves the daemon; what becomes of it is drawn now and shows later.
    fn leave(&mut self, job: Send) {
        let outcome = match self.random.below(10) {
            0 => Outcome::Refused,
            1 => Outcome::LostBefore,
            2 => Outcome::LostAfter,
            _ => Outcome::Answered,
        };
        self.flights.push(Flight { job, outcome });
    }

    fn network(&mut self) {
        if !self.flights.is_empty() {
            let at = self.random.below(self.flights.len());
            let flight = self.flights.swap_remove(at);
            self.arrive(flight);
        }
    }

    fn arrive(&mut self, Flight { job, outcome }: Flight) {
        if outcome != Outcome::LostBefore {
            self.deliver(&job);
        }
        let key = job.key.clone();
        match outcome {
            Outcome::Answered => self.done(key, Class::Ok),
            Outcome::Refused => self.done(key, Class::Rejected),
            Outcome::LostAfter if job.mode == Mode::AtMostOnce => self.done(key, Class::Unknown),
            _ if job.attempt >= ATTEMPTS_MAX => self.done(key, Class::Dead),
            _ => {
                if outcome == Outcome::LostAfter {
                    self.excuse(&key);
                }
                let (error, wait, ambiguous) = ("lost".into(), Span::from_secs(5), outcome == Outcome::LostAfter);
                self.put(Input::Failed { key, error, status: None, wait, ambiguous, progress: None }, None, None);
            }
        }
    }

    /// The receiver gets it.
    fn deliver(&mut self, job: &Send) {
        let line = self.durable.iter().find(|line| line.seq == job.intent);
        let step = line.map(Line::facts).and_then(|facts| match facts {
            Facts::Intent(Intent { steps, .. }) => steps.into_iter().find(|step| step.n == job.step),
            _ => None,
        });
        let body = step.as_ref().map(|step| serde_json::to_string(&step.effect).unwrap()).unwrap_or_default();
        let intended = step.is_some_and(|step| step.key.as_ref() == Some(&job.key));
        let key = if self.fault == Fault::ReuseOfKeys { EffectKey::new("j", &job.run, 0) } else { job.key.clone() };
        self.got.push(Got { key, body, intended });
    }

    fn done(&mut self, key: EffectKey, class: Class) {
        let value =
            if class == Class::Ok { json!({ "status": 200, "body": { "n": self.got.len() } }) } else { Value::Null };
        let error = (class != Class::Ok).then(|| "no".to_owned());
        let done = Input::Done { key: key.clone(), reply: Reply { class, status: None, value, error } };
        if !self.put(done, None, None) {
            // Its run was cancelled meanwhile, and a crash may still lose that order: then it is sent again.
            self.excuse(&key);
        }
    }

    fn excuse(&mut self, key: &EffectKey) {
        *self.excused.entry(key.clone()).or_default() += 1;
    }

    fn evaluate(&mut self, job: &Evaluate) {
        let evaluated = self.replay(job);
        if matches!(evaluated.then, Then::Finished(_)) {
            self.finished.insert(job.run.clone(), (job.clone(), evaluated.clone()));
        }
        let mode = |effect: &Effect| {
            effect.destination().map(|name| if name == "at_most" { Mode::AtMostOnce } else { Mode::AtLeastOnce })
        };
        let (now, digest) = (self.state.at, job.digest.as_deref());
        let step = |step: evaluate::NewStep| {
            let effect = mails::addressed(step.effect, digest);
            NewStep {
                mode: mode(&effect),
                brakes: None,
                recipients: mails::recipients(&effect, digest, now),
                effect,
                args_sha256: step.args_sha256,
                value: step.value,
            }
        };
        let steps = evaluated.steps.into_iter().map(step).collect();
        let end = match evaluated.then {
            Then::Waits => None,
            Then::Finished(value) => Some(End::Finished { value }),
            Then::Failed { error, place } => Some(End::Failed { error, place }),
            Then::Diverged { step, expected, got } => Some(End::Stalled { step, expected, got }),
        };
        self.put(Input::Asked(Asked { run: job.run.clone(), known_steps: job.steps, steps, end }), None, None);
    }

    /// What the daemon does: reads the run's entries back from the journal and evaluates.
    pub fn replay(&self, job: &Evaluate) -> evaluate::Evaluated {
        let mut replay = Replay::new(job.started);
        for seq in &job.entries {
            let line = &self.durable[usize::try_from(*seq).unwrap() - 1];
            let entry = Entry { seq: *seq, at: line.at, facts: line.facts() };
            let written = Written { entry, bytes: line.data.len(), hash: OnceLock::new() };
            replay.take(&written).expect("the entries are a run's");
        }
        let alerts: Vec<Value> = job.alerts.iter().map(|at| self.alert(*at)).collect();
        let (entry, input) = match job.run.trigger {
            Trigger::Alert(_) => (evaluate::Entry::Alert, alerts[0].clone()),
            Trigger::Group(_) => (evaluate::Entry::Group, Value::Array(alerts)),
            Trigger::Status(..) => unreachable!("nobody changes a status here"),
        };
        let seed = Sha256::digest(job.run.to_string()).into();
        let (playbook, past) = (job.run.playbook.as_str(), replay.past.as_slice());
        self.content.playbooks.evaluate(&evaluate::Job { playbook, entry, input: &input, at: replay.at, seed, past })
    }

    fn alert(&self, at: AlertRef) -> Value {
        let Facts::Intake(intake) = self.durable[usize::try_from(at.seq).unwrap() - 1].facts() else { panic!() };
        serde_json::from_str(alert_text(&intake, at.at as usize).unwrap().get()).unwrap()
    }

    /// Time passes; a clock may also jump back, which the core does not follow.
    fn pass(&mut self) {
        let seconds = if self.random.chance(10) { -30 } else { i64::try_from(self.random.below(40)).unwrap() };
        self.now += SignedDuration::from_secs(seconds);
        self.timers();
    }

    fn timers(&mut self) {
        let at = self.now.max(self.state.at);
        while self.state.next_due().is_some_and(|due| due <= at) {
            if !self.put(Input::Due, None, None) {
                break;
            }
        }
    }

    /// An operator cancels, retries or restarts some run, or decides an approval.
    fn order(&mut self) {
        let halted: Vec<RunId> = self.state.halted.keys().cloned().collect();
        let open: Vec<RunId> = self.state.runs.keys().cloned().collect();
        let asked: Vec<ApprovalId> =
            self.state.approvals.all().filter(|asked| asked.outcome.is_none()).map(|asked| asked.id).collect();
        let wish = match self.random.below(6) {
            4 | 5 if !asked.is_empty() => Wish::Decide {
                approval: *self.random.pick(&asked),
                choice: *self.random.pick(&Choice::ALL),
                who: Decider::Person { name: "ann".into(), role: Role::Approver },
            },
            0 if !open.is_empty() => Wish::Cancel(self.random.pick(&open).clone()),
            1 | 2 if !halted.is_empty() => Wish::Retry(self.random.pick(&halted).clone()),
            _ if !halted.is_empty() => {
                let run = self.random.pick(&halted).clone();
                let halted = &self.state.halted[&run].run;
                let (alerts, digest) = (halted.alerts.clone(), halted.digest.clone());
                Wish::Restart { run, alerts, digest }
            }
            _ => return,
        };
        let Ok(order) = orders::order(&self.state, &self.content.rules, self.state.at, wish, "why not") else { return };
        if let Order::RunRetry { run, again } = &order {
            for n in again {
                self.excuse(&EffectKey::new(&self.state.journal, run, *n));
            }
        }
        self.give(order);
    }

    fn give(&mut self, order: Order) {
        let operator = Operator { actor: "ann".into(), address: None, comment: "why not".into(), order };
        self.put(Input::Operator(Box::new(operator)), None, None);
    }

    /// An operator says something about an alert, or keeps some quiet.
    fn say(&mut self) {
        self.timers();
        let silences = self.state.silences.all().count() as u64;
        let Some(wish) = words::wish(&mut self.random, &self.bodies, silences) else { return };
        if let Ok(order) = orders::order(&self.state, &self.content.rules, self.state.at, wish, "why not") {
            self.give(order);
        }
    }

    /// The process dies: of what was not synced, some whole entries from the front may be on the disk all the same.
    /// Requests under way may arrive or not; nobody hears of it.
    fn crash(&mut self) {
        self.faults_left -= 1;
        let kept = self.random.below(self.buffered.len() + 1);
        let mut buffered = std::mem::take(&mut self.buffered);
        for lost in buffered.split_off(kept) {
            // It arrived, but that it did is lost.
            if let Facts::Result(result) = lost.line.facts() {
                self.excuse(&result.key);
            }
        }
        buffered.into_iter().for_each(|pending| self.keep(pending.line));
        for flight in std::mem::take(&mut self.flights) {
            self.excuse(&flight.job.key);
            if self.random.chance(50) {
                self.deliver(&flight.job);
            }
        }
        self.tasks.clear();
        self.state = self.recovered();
        self.tasks.extend(tasks::unfinished(&self.state));
        self.open();
    }

    /// The state that the journal adds up to.
    pub fn recovered(&self) -> State {
        let mut state = State::default();
        for line in &self.durable {
            let mut facts = line.facts();
            if self.fault == Fault::ForgetResults && matches!(facts, Facts::Result(_)) {
                facts = Facts::Log(Log::Closed);
            }
            let said = |operator: &Operator| matches!(operator.order, Order::Alert { .. } | Order::Silence(_));
            if self.fault == Fault::ForgetOrders && matches!(&facts, Facts::Operator(operator) if said(operator)) {
                facts = Facts::Log(Log::Closed);
            }
            apply(&mut state, &Entry { seq: line.seq, at: line.at, facts });
        }
        state
    }

    pub fn state(&self) -> &State {
        &self.state
    }
}
