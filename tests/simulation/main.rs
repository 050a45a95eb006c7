//! A simulation of the pure core: the real decisions, state, tasks and playbooks over a simulated disk, network, clock
//! and process, all of which fail by lot. Each seed is a whole life of a daemon; what it must never do is checked at its end.
//!
//! `tests/run --long` runs more seeds, `SOARD_SEED` a single one.

mod content;
mod generated;
mod random;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use content::Content;
use soard::domain::effect::{Effect, EffectKey, Mode};
use soard::domain::entry::{Due, End, Facts, Step};
use soard::domain::id::{ApprovalId, RunId};
use soard::domain::operator::Order;
use soard::engine::state::State;
use world::{Fault, World};

/// Seeds of an ordinary run.
const SEEDS: u64 = 250;
/// Seeds of the long form.
const SEEDS_LONG: u64 = 5000;
/// Steps of the schedule in one life.
const STEPS: usize = 120;

/// What the journal says of one effect.
struct Known {
    run: RunId,
    step: u32,
    mode: Mode,
    intended_at: u64,
    results: usize,
    retried: usize,
}

/// One life; says what it did wrong.
fn live(content: &Content, seed: u64, fault: Fault) -> Result<usize, String> {
    let mut world = World::new(content, seed, fault);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    check(&world)?;
    Ok(world.durable.len())
}

fn check(world: &World) -> Result<(), String> {
    let mut effects: BTreeMap<EffectKey, Known> = BTreeMap::new();
    let mut story = Story::default();
    for (line, seq) in world.durable.iter().zip(1..) {
        if line.seq != seq {
            return Err(format!("entry {seq} is missing"));
        }
        story.read(line.seq, &line.facts(), &mut effects)?;
    }
    acknowledged(world, &story)?;
    settled(&effects, &story)?;
    delivered(world, &effects)?;
    if sorted(world.state()) != sorted(&world.recovered()) {
        return Err("I7: the state is another than the journal gives".into());
    }
    replayed(world, &story)
}

/// What the journal's entries tell.
#[derive(Default)]
struct Story {
    records: BTreeSet<u64>,
    timers: BTreeSet<(RunId, u32)>,
    approvals: BTreeSet<ApprovalId>,
    cancelled: BTreeSet<RunId>,
    finished: BTreeSet<RunId>,
}

impl Story {
    fn read(&mut self, seq: u64, facts: &Facts, effects: &mut BTreeMap<EffectKey, Known>) -> Result<(), String> {
        match facts {
            Facts::Intake(intake) => drop(self.records.insert(intake.record_no)),
            Facts::Due(Due::Timer { run, step }) if !self.timers.insert((run.clone(), *step)) => {
                return Err(format!("I9: the timer of {run} step {step} fired twice"));
            }
            Facts::Due(Due::Approval { approval, .. }) => self.decided(*approval)?,
            Facts::Intent(intent) => {
                for step in &intent.steps {
                    self.intended(seq, &intent.run, step, effects)?;
                }
            }
            Facts::Result(result) => {
                let known = effects.get_mut(&result.key).ok_or("I2: a result without an intent")?;
                known.results += 1;
            }
            Facts::Run(end) => match &end.end {
                End::Finished { .. } => drop(self.finished.insert(end.run.clone())),
                End::Stalled { step, expected, got } => {
                    return Err(format!("I8: {} stalled at {step}: {expected}, {got}", end.run));
                }
                End::Failed { .. } => {}
            },
            Facts::Operator(operator) => match &operator.order {
                Order::RunCancel { run } => drop(self.cancelled.insert(run.clone())),
                Order::RunRetry { run, again } => {
                    for known in effects.values_mut().filter(|known| known.run == *run && again.contains(&known.step)) {
                        known.results -= 1;
                        known.retried += 1;
                    }
                }
                Order::Approval(order) => self.decided(order.approval)?,
                Order::RunRestart { .. }
                | Order::DeliveryRetry { .. }
                | Order::Alert { .. }
                | Order::Silence(_)
                | Order::Hold(_)
                | Order::Token(_)
                | Order::DestinationTest { .. }
                | Order::RunStart { .. } => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn decided(&mut self, approval: ApprovalId) -> Result<(), String> {
        if self.approvals.insert(approval) { Ok(()) } else { Err(format!("I9: {approval} was decided twice")) }
    }

    fn intended(
        &mut self,
        seq: u64,
        run: &RunId,
        step: &Step,
        effects: &mut BTreeMap<EffectKey, Known>,
    ) -> Result<(), String> {
        let Some(key) = &step.key else { return Ok(()) };
        let mode = step.mode.unwrap_or_default();
        let known = Known { run: run.clone(), step: step.n, mode, intended_at: seq, results: 0, retried: 0 };
        match effects.insert(key.clone(), known) {
            None => Ok(()),
            Some(_) => Err(format!("I2: {key} was asked for twice")),
        }
    }
}

/// I1: what was acknowledged is on record. I6: what was handed out as a head is on the chain.
fn acknowledged(world: &World, story: &Story) -> Result<(), String> {
    if let Some(lost) = world.acknowledged.iter().find(|record| !story.records.contains(record)) {
        return Err(format!("I1: record {lost} was acknowledged and is lost"));
    }
    for (seq, head) in &world.heads {
        if world.durable.get(usize::try_from(*seq).unwrap() - 1) != Some(head) {
            return Err(format!("I6: entry {seq} is another than was handed out"));
        }
    }
    Ok(())
}

/// I2: each effect has exactly one outcome, unless its run was cancelled.
fn settled(effects: &BTreeMap<EffectKey, Known>, story: &Story) -> Result<(), String> {
    for (key, known) in effects {
        let open = known.results == 0 && story.cancelled.contains(&known.run);
        if known.results != 1 && !open {
            return Err(format!("I2: {key} of {} has {} outcomes", known.run, known.results));
        }
    }
    Ok(())
}

/// I3: as often as crashes and lost answers excuse, always with one body. I4: never before its intent was durable.
/// I5: in the order of the run's intents.
fn delivered(world: &World, effects: &BTreeMap<EffectKey, Known>) -> Result<(), String> {
    let mut seen: BTreeMap<&EffectKey, (usize, &str)> = BTreeMap::new();
    let mut last: BTreeMap<&RunId, u64> = BTreeMap::new();
    for got in &world.got {
        let known = effects.get(&got.key).filter(|_| got.intended);
        let known = known.ok_or_else(|| format!("I4: {} came without an intent on record", got.key))?;
        let (count, body) = seen.entry(&got.key).or_insert((0, &got.body));
        if *count == 0 {
            let before = last.insert(&known.run, known.intended_at).unwrap_or_default();
            if before > known.intended_at {
                return Err(format!("I5: {} overtook a later step of {}", got.key, known.run));
            }
        }
        *count += 1;
        let excused = match known.mode {
            Mode::AtLeastOnce | Mode::Probe => world.excused.get(&got.key).copied().unwrap_or_default(),
            // Nothing excuses a second time but an operator.
            Mode::AtMostOnce => known.retried,
        };
        if *count > 1 + excused || *body != got.body {
            return Err(format!("I3: {} came {count} times, {excused} excused", got.key));
        }
    }
    Ok(())
}

/// I8: every finished run gives the same again.
fn replayed(world: &World, story: &Story) -> Result<(), String> {
    for run in &story.finished {
        let (job, then) = &world.finished[run];
        let again = world.replay(job);
        if again != *then {
            return Err(format!("I8: {run} replays as {:?}", again.then));
        }
    }
    Ok(())
}

/// Maps print in any order: compare what they print, sorted.
fn sorted(state: &State) -> Vec<String> {
    let mut lines: Vec<String> = format!("{state:#?}").lines().map(String::from).collect();
    lines.sort_unstable();
    lines
}

/// Does `work` with the stack that scripts need.
fn deep<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let stack = soard::playbooks::evaluate::stack_bytes();
    thread::Builder::new().stack_size(stack).spawn(work).unwrap().join().unwrap()
}

/// Whether tests run in their long form.
fn is_long() -> bool {
    std::env::var_os("SOARD_TESTS").is_some_and(|sizes| sizes == "long")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_life_breaks_a_promise() {
    let (first, seeds) = match number("SOARD_SEED") {
        Some(seed) => (seed, 1),
        None => (0, if is_long() { SEEDS_LONG } else { SEEDS }),
    };
    let halves = [first, first + 1].map(|start| {
        thread::spawn(move || {
            deep(move || {
                let content = Content::new();
                let mut entries = 0;
                for seed in (start..first + seeds).step_by(2) {
                    let lived = catch_unwind(AssertUnwindSafe(|| live(&content, seed, Fault::None)));
                    match lived {
                        Ok(Ok(count)) => entries += count,
                        Ok(Err(broken)) => panic!("seed {seed}: {broken}; again with SOARD_SEED={seed}"),
                        Err(_) => panic!("seed {seed} panicked; again with SOARD_SEED={seed}"),
                    }
                }
                entries
            })
        })
    });
    let entries: usize = halves.into_iter().map(|half| half.join().unwrap()).sum();
    println!("{seeds} lives, {entries} entries, no promise broken");
    assert!(entries > 20 * usize::try_from(seeds).unwrap(), "they lived too little");
}

#[test]
fn without_a_protection_a_promise_breaks() {
    for (fault, promises) in [
        (Fault::ActEarly, &["I4", "panicked"][..]),
        (Fault::AcknowledgeEarly, &["I1"]),
        (Fault::ForgetResults, &["I2", "I3", "I7", "I8"]),
        (Fault::ReuseOfKeys, &["I3", "I4"]),
    ] {
        let broken = deep(move || {
            let content = Content::new();
            (0..300).find_map(|seed| match catch_unwind(AssertUnwindSafe(|| live(&content, seed, fault))) {
                Ok(Ok(_)) => None,
                Ok(Err(broken)) => Some(broken),
                Err(_) => Some("panicked".into()),
            })
        });
        let broken = broken.unwrap_or_else(|| panic!("{fault:?} goes unnoticed"));
        println!("{fault:?}: {broken}");
        assert!(promises.iter().any(|promise| broken.contains(promise)), "{fault:?}: {broken}");
    }
}

/// What an operator's order is called, where a life can have one.
fn ordered(order: &Order) -> Option<String> {
    match order {
        Order::RunCancel { .. } => Some("cancel".into()),
        Order::RunRetry { again, .. } => Some(format!("retry {}", !again.is_empty())),
        Order::RunRestart { .. } => Some("restart".into()),
        Order::Approval(order) => Some(order.choice.to_string()),
        Order::DeliveryRetry { .. }
        | Order::Alert { .. }
        | Order::Silence(_)
        | Order::Hold(_)
        | Order::Token(_)
        | Order::DestinationTest { .. }
        | Order::RunStart { .. } => None,
    }
}

/// A run that asks the outside must be among what is simulated, or the checks above check nothing.
#[test]
fn the_lives_see_everything() {
    let seen = deep(|| {
        let content = Content::new();
        let mut seen = BTreeSet::new();
        for seed in 0..60 {
            let mut world = World::new(&content, seed, Fault::None);
            for _ in 0..STEPS {
                world.step();
            }
            world.settle();
            for line in &world.durable {
                let what: Option<String> = match line.facts() {
                    Facts::Operator(operator) => ordered(&operator.order),
                    Facts::Due(Due::Approval { .. }) => Some("timed out".into()),
                    Facts::Due(Due::Group { .. }) => Some("group".into()),
                    Facts::Due(Due::Retry { .. }) => Some("another attempt".into()),
                    Facts::Due(Due::Throttle { .. }) => Some("surplus".into()),
                    Facts::Result(result) => Some(format!("{:?}", result.reply.class)),
                    Facts::Intent(intent) => match &intent.steps[0].effect {
                        Effect::Sleep { .. } => Some("sleep".into()),
                        _ => Some("intent".into()),
                    },
                    Facts::Run(end) => match end.end {
                        End::Finished { .. } => Some(format!("finished {}", end.run.playbook)),
                        _ => Some("failed".into()),
                    },
                    other => Some(other.kind().into()),
                };
                seen.extend(what);
            }
        }
        seen
    });
    println!("{seen:?}");
    for what in [
        "Dead",
        "Ok",
        "Rejected",
        "Unknown",
        "another attempt",
        "approve",
        "attempt",
        "begin",
        "cancel",
        "deny",
        "failed",
        "finished asks",
        "finished catches",
        "finished chain",
        "finished group",
        "finished once",
        "finished parallel",
        "finished waits",
        "group",
        "intake",
        "intent",
        "restart",
        "retry true",
        "sleep",
        "surplus",
        "timed out",
    ] {
        assert!(seen.contains(what), "no life has seen {what}: {seen:?}");
    }
}
