//! One lane for each destination: a queue, a number of attempts at a time, and a breaker. What waits in one lane is
//! never in the way of another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::actions::settings::{BreakerSettings, CONCURRENCY, Settings};
use crate::daemon::breaker::{Breaker, Health, Leave, Limits};
use crate::daemon::fault::Fault;
use crate::daemon::perform::{Counter, World};
use crate::daemon::{clock, deliver, stop};
use crate::domain::effect::EffectKey;
use crate::domain::id::RunId;
use crate::engine::holds::Holds;
use crate::engine::tasks::Send;

/// What the lanes are told.
pub enum Job {
    /// Make an attempt.
    Send(Box<Send>),
    /// Make none for this run any more.
    Withdraw(RunId),
    /// Make none with this key any more.
    Spare(EffectKey),
}

/// The lanes, by name of the destination.
#[derive(Default)]
struct Lanes(BTreeMap<String, Lane>);

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Box<Send>>,
    /// What came to its turn and is on hold with its playbook.
    held: VecDeque<Box<Send>>,
    under_way: usize,
    breaker: Breaker,
}

/// An attempt that is over.
struct Ended {
    destination: String,
    leave: Leave,
    health: Health,
}

/// Makes attempts until the jobs end or the daemon stops, then waits for those under way. What has not begun by then is
/// found again at the next start.
pub async fn run(world: Arc<World>, mut jobs: mpsc::UnboundedReceiver<Job>, mut stopping: watch::Receiver<bool>) {
    let mut lanes = Lanes::default();
    let mut under_way: JoinSet<Ended> = JoinSet::new();
    let mut holds = world.holds.clone();
    loop {
        let wakes = lanes.wakes(&holds.borrow());
        let touched = tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => lanes.take(job),
                None => break,
            },
            Some(ended) = under_way.join_next(), if !under_way.is_empty() => match ended {
                Ok(ended) => lanes.ended(&world, ended),
                Err(error) => return world.dies(&format!("an attempt died: {error}")),
            },
            () = tokio::time::sleep_until(wakes.unwrap_or_else(Instant::now).into()), if wakes.is_some() => None,
            () = world.renewed.notified() => {
                lanes.renew(&world);
                None
            },
            // A core that is gone changes nothing any more, and the daemon stops.
            Ok(()) = holds.changed() => {
                lanes.release();
                None
            },
            () = stop::told(&mut stopping) => break,
        };
        lanes.start(&world, touched.as_deref(), |job, leave| {
            let (world, stopping, destination) = (world.clone(), stopping.clone(), job.destination.clone());
            under_way.spawn(async move {
                let health = deliver::attempt(world, *job, stopping).await;
                Ended { destination, leave, health }
            });
        });
    }
    while under_way.join_next().await.is_some() {}
}

impl Lanes {
    fn take(&mut self, job: Job) -> Option<String> {
        let job = match job {
            Job::Send(job) => job,
            Job::Withdraw(run) => {
                self.drop_all(|job| job.run == run && !job.resent);
                return None;
            }
            Job::Spare(key) => {
                self.drop_all(|job| job.key == key);
                return None;
            }
        };
        let destination = job.destination.clone();
        self.0.entry(destination.clone()).or_default().waiting.push_back(job);
        Some(destination)
    }

    /// Drops what waits and is not to be sent any more.
    fn drop_all(&mut self, gone: impl Fn(&Send) -> bool) {
        for lane in self.0.values_mut() {
            lane.waiting.retain(|job| !gone(job));
            lane.held.retain(|job| !gone(job));
        }
    }

    /// What is on hold is another now: what was held comes to its turn again, before what came later.
    fn release(&mut self) {
        for lane in self.0.values_mut() {
            lane.held.append(&mut lane.waiting);
            std::mem::swap(&mut lane.held, &mut lane.waiting);
        }
    }

    fn ended(&mut self, world: &World, ended: Ended) -> Option<String> {
        let Ended { destination, leave, health } = ended;
        let lane = self.0.get_mut(&destination).expect("an attempt began in its lane");
        lane.under_way -= 1;
        let limits = limits(&world.destinations.load().settings, &destination);
        if lane.breaker.ended(leave, health, Instant::now(), limits) {
            said(&destination, &lane.breaker, limits);
        }
        lane.report(&world.counters.of(&destination));
        Some(destination)
    }

    /// Starts what may start now: in one lane, or in all.
    fn start(&mut self, world: &World, only: Option<&str>, mut spawn: impl FnMut(Box<Send>, Leave)) {
        let destinations = world.destinations.load();
        let holds = world.holds.borrow().clone();
        for (name, lane) in self.0.iter_mut().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            let concurrency = destinations.settings.get(name).map_or(CONCURRENCY, |to| to.concurrency);
            let held = holds.holds_destination(name) && world.fault != Some(Fault::SendOnHold);
            while !held && lane.under_way < concurrency {
                let Some(job) = lane.next(&holds) else { break };
                let Some(leave) = lane.breaker.leave(Instant::now()) else {
                    lane.waiting.push_front(job);
                    break;
                };
                lane.under_way += 1;
                spawn(job, leave);
            }
            let on_hold = lane.held.len() + if held { lane.waiting.len() } else { 0 };
            let counter = world.counters.of(name);
            counter.on_hold.store(on_hold as u64, Ordering::Relaxed);
            lane.report(&counter);
        }
        world.workers.effects_wait(self.0.values().map(|lane| lane.waiting.len()).sum());
    }

    /// When the next open breaker lets an attempt through that waits for nothing else.
    fn wakes(&self, holds: &Holds) -> Option<Instant> {
        let waiting = self.0.iter().filter(|(name, lane)| !lane.waiting.is_empty() && !holds.holds_destination(name));
        waiting.filter_map(|(_, lane)| lane.breaker.open_until()).min()
    }

    /// The destinations were loaded anew, perhaps because one of them was mended.
    fn renew(&mut self, world: &World) {
        for (name, lane) in &mut self.0 {
            lane.breaker = Breaker::default();
            lane.report(&world.counters.of(name));
        }
    }
}

impl Lane {
    /// The next one that may go out.
    fn next(&mut self, holds: &Holds) -> Option<Box<Send>> {
        loop {
            let job = self.waiting.pop_front()?;
            if holds.holds_playbook(&job.run.playbook) {
                self.held.push_back(job);
                continue;
            }
            return Some(job);
        }
    }

    /// What `soard status` shows of it.
    fn report(&self, counter: &Counter) {
        counter.under_way.store(self.under_way as u64, Ordering::Relaxed);
        counter.held.store(self.breaker.holds(), Ordering::Relaxed);
        let left = self.breaker.open_until().map(|until| until.saturating_duration_since(Instant::now()));
        let until = left.and_then(|left| clock::now().checked_add(left).ok());
        *counter.open_until.lock().expect("nothing panics while it is held") = until;
    }
}

fn limits(settings: &Settings, destination: &str) -> Limits {
    let BreakerSettings { failures, open } =
        settings.get(destination).map_or_else(BreakerSettings::default, |to| to.breaker);
    Limits { failures, open: open.duration() }
}

fn said(destination: &str, breaker: &Breaker, limits: Limits) {
    if breaker.holds() {
        let (failures, open) = (limits.failures, limits.open);
        tracing::warn!(
            destination,
            failures,
            ?open,
            "destination fails: what is for it waits, and one attempt tries it now and then"
        );
    } else {
        tracing::info!(destination, "destination answers again");
    }
}
