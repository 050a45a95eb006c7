//! Carries out tasks: evaluates runs and sends effects, and reports what came of it as new inputs.
//!
//! A task exists only once the entry that asks for it is durable. Journal first: a crash after sending must not
//! forget that we sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::to_raw_value;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

use crate::actions::settings::Settings;
use crate::actions::templates::{Background, Templates};
use crate::actions::{Actions, Request};
use crate::daemon::addressees;
use crate::daemon::bundle::{Bundle, Bundles};
use crate::daemon::clock;
use crate::daemon::core::Message;
use crate::daemon::endings::Endings;
use crate::daemon::exports::Exports;
use crate::daemon::fault::{self, Fault};
use crate::daemon::history::{self, History, Replay, Unread};
use crate::daemon::keep::Retention;
use crate::daemon::lanes::{self, Job};
use crate::daemon::links::Links;
use crate::daemon::stop;
use crate::daemon::workers::wire;
use crate::daemon::workers::{Crash, Work, Workers};
use crate::domain::effect::{Class, EffectKey, Reply};
use crate::domain::entry::End;
use crate::domain::id::Trigger;
use crate::engine::holds::Holds;
use crate::engine::input::{Asked, Input, NewStep};
use crate::engine::tasks::{Evaluate, Task};
use crate::journal::room::Room;
use crate::playbooks::evaluate::{Entry, Evaluated, Then};
use crate::playbooks::input::Gathered;

/// What carrying out a task needs.
pub struct World {
    /// Bundles by id.
    pub bundles: Bundles,
    /// Destinations, as the last good settings have them.
    pub destinations: ArcSwap<Destinations>,
    /// The journal, for reading.
    pub history: History,
    /// Whether it has room.
    pub disk: Room,
    /// Random id of the journal.
    pub journal_id: String,
    /// Where results go.
    pub core: mpsc::Sender<Message>,
    /// Counted since the daemon started, by destination.
    pub counters: Counters,
    /// What is kept from going out, as far as that is durable.
    pub holds: watch::Receiver<Arc<Holds>>,
    /// Makes the links of mails that ask people.
    pub links: Arc<Links>,
    /// What goes on to other systems as it happens.
    pub exports: Arc<Exports>,
    /// What retention is kept from.
    pub retention: Arc<Retention>,
    /// Told when the destinations were loaded anew.
    pub renewed: Notify,
    /// Told when a part died or the journal cannot be read: the daemon ends rather than limps.
    pub fatal: mpsc::UnboundedSender<String>,
    /// Who evaluates playbooks.
    pub workers: Arc<Workers>,
    /// A protection to leave out, in tests.
    pub fault: Option<Fault>,
}

impl World {
    /// Ends the daemon.
    pub fn dies(&self, why: &str) {
        let _ = self.fatal.send(why.to_owned());
    }
}

/// Destinations, ready to send, with their settings.
pub struct Destinations {
    /// What they are.
    pub settings: Settings,
    /// What sends.
    pub actions: Actions,
}

/// What was sent since the daemon started, by destination.
#[derive(Default)]
pub struct Counters(std::sync::Mutex<BTreeMap<String, Arc<Counter>>>);

/// One destination's counts.
#[derive(Default)]
pub struct Counter {
    /// Effects that succeeded.
    pub sent: AtomicU64,
    /// Attempts and effects that did not.
    pub failed: AtomicU64,
    /// Attempts under way.
    pub under_way: AtomicU64,
    /// Attempts that wait since they are on hold.
    pub on_hold: AtomicU64,
    /// Its breaker holds attempts back.
    pub held: AtomicBool,
    /// Until when it lets none through; absent while an attempt is trying the destination.
    pub open_until: std::sync::Mutex<Option<Timestamp>>,
    /// What went wrong last.
    pub last_error: std::sync::Mutex<Option<String>>,
}

impl Counters {
    /// Attempts that wait since they are on hold, over all destinations.
    pub fn on_hold(&self) -> u64 {
        let all = self.0.lock().expect("nothing panics while it is held");
        all.values().map(|counter| counter.on_hold.load(Ordering::Relaxed)).sum()
    }

    /// The counts of one destination.
    pub fn of(&self, destination: &str) -> Arc<Counter> {
        let mut all = self.0.lock().expect("nothing panics while it is held");
        all.entry(destination.to_owned()).or_default().clone()
    }
}

/// Carries out tasks until the channel closes, then waits for the attempts under way.
pub async fn run(world: Arc<World>, mut tasks: mpsc::UnboundedReceiver<Task>, mut stop: watch::Receiver<bool>) {
    let runtime = Handle::current();
    let endings = Arc::new(Endings::default());
    let (to_lanes, jobs) = mpsc::unbounded_channel();
    let mut lanes = tokio::spawn(lanes::run(world.clone(), jobs, stop.clone()));
    loop {
        tokio::select! {
            task = tasks.recv() => match task {
                Some(Task::Evaluate(job)) => {
                    if let Some(end) = endings.take(&job, &world.history.recent) {
                        let _ = world.core.send(Message::Input(Input::Asked(asked(&world, &job, end)), None)).await;
                        continue;
                    }
                    let run = Evaluation { world: world.clone(), runtime: runtime.clone(), endings: endings.clone(), job };
                    if world.fault == Some(Fault::EvaluateInside) { run.inside() } else { world.workers.evaluate(Box::new(run)) }
                }
                Some(Task::Send(job)) => drop(to_lanes.send(Job::Send(job))),
                Some(Task::Withdraw(run)) => {
                    endings.forget(&run);
                    drop(to_lanes.send(Job::Withdraw(run)));
                }
                Some(Task::Spare(key)) => drop(to_lanes.send(Job::Spare(key))),
                Some(Task::Forget(key)) => forget(&world, key).await,
                Some(Task::Refuse(key, why)) => ended(&world, key, Class::Rejected, why).await,
                None => break,
            },
            ended = &mut lanes => {
                if let Err(error) = ended {
                    world.dies(&format!("the deliveries died: {error}"));
                }
                return;
            }
            () = stop::told(&mut stop) => break,
        }
    }
    world.workers.stop();
    drop(to_lanes);
    let _ = lanes.await;
}

/// The evaluation of one run.
struct Evaluation {
    world: Arc<World>,
    runtime: Handle,
    /// The runs that need not be evaluated once more.
    endings: Arc<Endings>,
    job: Evaluate,
}

impl Work for Evaluation {
    fn script(&self) -> (String, String) {
        (self.job.bundle.clone(), self.job.run.playbook.clone())
    }

    fn goes_on(&self) -> bool {
        !self.job.entries.is_empty()
    }

    /// What cannot be replayed fails the run with the reason.
    fn job(&self) -> Option<(Arc<Bundle>, wire::Job)> {
        match replay(&self.world, &self.job) {
            Ok(ready) => return Some(ready),
            Err(Unread::Journal(error)) => self.world.dies(&error),
            Err(Unread::Content(error)) => self.report(failed(error)),
        }
        None
    }

    fn done(self: Box<Self>, answer: Result<Evaluated, Crash>) {
        self.report(answer.unwrap_or_else(|Crash(error)| failed(error)));
    }
}

impl Evaluation {
    /// Tells the core what the run asks for next, or how it ended.
    fn report(&self, evaluated: Evaluated) {
        let (world, job) = (&self.world, &self.job);
        self.endings.keep(job, &evaluated);
        let asked = asked(world, job, evaluated);
        if world.fault == Some(Fault::SendBeforeIntent) {
            send_too_early(world, job, &asked, &self.runtime);
        }
        // A core that is gone has recorded what it needs to begin again.
        let _ = world.core.blocking_send(Message::Input(Input::Asked(asked), None));
    }

    /// What the control of the test of hostile playbooks does wrong.
    fn inside(self) {
        thread::spawn(move || {
            let Some((bundle, job)) = self.job() else { return };
            let answer = match job.input() {
                Ok(input) => bundle.playbooks.evaluate_on_stack(&job.on(&input)),
                Err(error) => failed(error.to_string()),
            };
            self.report(answer);
        });
    }
}

fn failed(error: String) -> Evaluated {
    Evaluated::failed(error, None)
}

/// What the control of the crash test does wrong: the request leaves before its intent is on record.
fn send_too_early(world: &Arc<World>, job: &Evaluate, asked: &Asked, runtime: &Handle) {
    for (n, step) in (job.steps..).zip(&asked.steps) {
        let (world, run, effect) = (world.clone(), job.run.clone(), step.effect.clone());
        let key = EffectKey::new(&world.journal_id, &run, n);
        runtime.spawn(async move {
            let (now, templates) = (clock::now(), Templates::default());
            let (key, effect, run, templates) = (&key, &effect, &run, &templates);
            let request = Request {
                key,
                effect,
                attempt: 1,
                at: now,
                now,
                run,
                input: &Value::Null,
                background: &Background::default(),
                templates,
                to: &[],
                thread: None,
                links: &BTreeMap::new(),
                log_head: "0:0",
                progress: None,
                in_doubt: false,
            };
            world.destinations.load_full().actions.send(request).await
        });
    }
    thread::sleep(fault::GAP);
}

/// An attempt that was under way when an earlier daemon died.
async fn forget(world: &World, key: EffectKey) {
    let error = "the daemon stopped while the request was under way, and the destination is at_most_once";
    ended(world, key, Class::Unknown, error.into()).await;
}

/// An effect ends without an attempt.
async fn ended(world: &World, key: EffectKey, class: Class, error: String) {
    let reply = Reply { class, status: None, value: Value::Null, error: Some(error) };
    let _ = world.core.send(Message::Input(Input::Done { key, reply }, None)).await;
}

/// About what an alert takes on its way to a worker.
const ALERT_BYTES: usize = 2 * 1024;

fn replay(world: &World, job: &Evaluate) -> Result<(Arc<Bundle>, wire::Job), Unread> {
    let bundle = world.bundles.get(&job.bundle).map_err(Unread::Content)?;
    let Replay { at, mut past, bytes } = history::past(&world.history, &job.entries, job.started)?;
    if let (Some(Fault::ReplayOtherwise), Some(step)) = (world.fault, past.first_mut()) {
        step.args_sha256 = "0".repeat(64);
    }
    let (entry, input) = match (&job.run.trigger, job.alerts.as_slice()) {
        (Trigger::Alert(_), [alert]) => (Entry::Alert, history::alert(&world.history, *alert)?),
        (Trigger::Status(_, seq), [alert]) => {
            let input = history::status_change(&world.history, *alert, *seq)?;
            (Entry::Status, to_raw_value(&input).expect("JSON values are written without fail"))
        }
        (Trigger::Alert(_) | Trigger::Status(..), alerts) => {
            return Err(Unread::Content(format!("the run was started for {} alerts", alerts.len())));
        }
        (Trigger::Group(_), alerts) => {
            let mut gathered = Gathered::default();
            for at in alerts {
                gathered.push(history::alert_value(&world.history, *at)?);
            }
            (Entry::Group, to_raw_value(&gathered.into_input()).expect("JSON values are written without fail"))
        }
    };
    let bytes = bytes + job.alerts.len() * ALERT_BYTES;
    let seed = Sha256::digest(format!("seed\n{}\n{}", world.journal_id, job.run)).into();
    let (id, playbook) = (job.bundle.clone(), job.run.playbook.clone());
    Ok((bundle, wire::Job { bundle: id, playbook, entry, input, at, seed, past, bytes }))
}

fn asked(world: &World, job: &Evaluate, evaluated: Evaluated) -> Asked {
    let settings = &world.destinations.load().settings;
    let steps = evaluated.steps.into_iter().map(|step| {
        let effect = addressees::addressed(step.effect, job.digest.as_deref());
        NewStep {
            mode: effect.destination().map(|name| settings.mode(name).unwrap_or_default()),
            brakes: settings.brakes(&effect, &job.run.playbook),
            recipients: addressees::recipients(world, settings, job, &effect),
            effect,
            args_sha256: step.args_sha256,
            value: step.value,
        }
    });
    let end = match evaluated.then {
        Then::Waits => None,
        Then::Finished(value) => Some(End::Finished { value }),
        Then::Failed { error, place } => Some(End::Failed { error, place }),
        Then::Diverged { step, expected, got } => Some(End::Stalled { step, expected, got }),
    };
    Asked { run: job.run.clone(), known_steps: job.steps, steps: steps.collect(), end }
}
