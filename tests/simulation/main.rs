//! A simulation of the pure core: the real decisions, state, tasks and playbooks over a simulated disk, network, clock
//! and process, all of which fail by lot. Each seed is a whole life of a daemon; what it must never do is checked at its end.
//!
//! `tests/run --long` runs more seeds, `SOARD_SEED` a single one.

mod content;
mod generated;
mod mails;
mod random;
mod words;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use content::Content;
use mails::Waiting;
use soard::domain::decision::{Anew, Reason};
use soard::domain::effect::{Effect, EffectKey, Mode};
use soard::domain::entry::{Due, End, Facts, Step};
use soard::domain::id::{ApprovalId, RunId};
use soard::domain::operator::Order;
use soard::domain::silence::SilenceOrder;
use soard::domain::triage::AlertChange;
use soard::engine::state::State;
use words::Words;
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
    let (mut story, mut words, mut waiting) = (Story::default(), Words::default(), Waiting::default());
    for (line, seq) in world.durable.iter().zip(1..) {
        if line.seq != seq {
            return Err(format!("entry {seq} is missing"));
        }
        let facts = line.facts();
        story.read(line.seq, &facts, &mut effects)?;
        waiting.read(&facts)?;
        words.read(line.at, &facts)?;
    }
    waiting.end(world.state())?;
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
                | Order::Recipient(_)
                | Order::Token(_)
                | Order::DestinationTest { .. }
                | Order::QuarantineDiscard { .. }
                | Order::Upkeep(_)
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

/// What operators said and recovery forgot shows in what is decided after.
#[test]
fn words_that_are_forgotten_break_what_they_promise() {
    let missing = deep(|| {
        let content = Content::new();
        let mut missing = vec!["I10", "I11"];
        for seed in 0..300 {
            let life = catch_unwind(AssertUnwindSafe(|| live(&content, seed, Fault::ForgetOrders)));
            if let Ok(Err(broken)) = life {
                missing.retain(|promise| !broken.starts_with(promise));
            }
            if missing.is_empty() {
                break;
            }
        }
        missing
    });
    assert!(missing.is_empty(), "{missing:?} go unnoticed");
}

fn change_word(change: &AlertChange) -> &'static str {
    match change {
        AlertChange::Status { .. } => "status set",
        AlertChange::Comment => "commented",
        AlertChange::Tags { .. } => "tagged",
        AlertChange::Assign { .. } => "assigned",
        AlertChange::Feedback { .. } => "feedback",
    }
}

fn silence_word(order: &SilenceOrder) -> &'static str {
    match order {
        SilenceOrder::Add { .. } => "silence added",
        SilenceOrder::Update { .. } => "silence updated",
        SilenceOrder::Expire { .. } => "silence ended",
    }
}

/// What the entries of many lives must show.
const SEEN: &[&str] = &[
    "Dead",
    "Ok",
    "Rejected",
    "Unknown",
    "another attempt",
    "approve",
    "assigned",
    "attempt",
    "begin",
    "cancel",
    "commented",
    "deny",
    "failed",
    "feedback",
    "finished asks",
    "finished catches",
    "finished chain",
    "finished digest",
    "finished group",
    "finished mails",
    "finished once",
    "finished parallel",
    "finished waits",
    "group",
    "held by a silence",
    "intake",
    "intent",
    "no longer held",
    "open again",
    "restart",
    "retry true",
    "silence added",
    "silence ended",
    "silence updated",
    "sleep",
    "start",
    "status set",
    "surplus",
    "tagged",
    "timed out",
];

/// Notes what an entry shows.
fn note(facts: Facts, seen: &mut BTreeSet<String>) {
    match facts {
        Facts::Operator(operator) => match operator.order {
            Order::RunCancel { .. } => seen.insert("cancel".to_owned()),
            Order::RunRetry { again, .. } => seen.insert(format!("retry {}", !again.is_empty())),
            Order::RunRestart { .. } => seen.insert("restart".to_owned()),
            Order::RunStart { .. } => seen.insert("start".to_owned()),
            Order::Alert { change, .. } => seen.insert(change_word(&change).to_owned()),
            Order::Silence(order) => seen.insert(silence_word(&order).to_owned()),
            Order::Approval(order) => seen.insert(order.choice.to_string()),
            Order::DeliveryRetry { .. }
            | Order::Token(_)
            | Order::Hold(_)
            | Order::Recipient(_)
            | Order::DestinationTest { .. }
            | Order::QuarantineDiscard { .. }
            | Order::Upkeep(_) => return,
        },
        Facts::Intake(intake) => {
            for reason in intake.alerts.iter().flat_map(|taken| &taken.decision.reasons) {
                let word = match reason {
                    Reason::Silence { .. } => "held by a silence",
                    Reason::Duplicate { anew: Some(Anew::NotSilencedAnyMore), .. } => "no longer held",
                    Reason::Duplicate { was: Some(_), .. } => "open again",
                    _ => continue,
                };
                seen.insert(word.to_owned());
            }
            seen.insert("intake".into())
        }
        Facts::Due(Due::Approval { .. }) => seen.insert("timed out".into()),
        Facts::Due(Due::Group { .. }) => seen.insert("group".into()),
        Facts::Due(Due::Retry { .. }) => seen.insert("another attempt".into()),
        Facts::Due(Due::Throttle { .. }) => seen.insert("surplus".into()),
        Facts::Result(result) => seen.insert(format!("{:?}", result.reply.class)),
        Facts::Intent(intent) => match &intent.steps[0].effect {
            Effect::Sleep { .. } => seen.insert("sleep".into()),
            _ => seen.insert("intent".into()),
        },
        Facts::Run(end) => match end.end {
            End::Finished { .. } => seen.insert(format!("finished {}", end.run.playbook)),
            _ => seen.insert("failed".into()),
        },
        other => seen.insert(other.kind().into()),
    };
}

/// A run that asks the outside must be among what is simulated, or the checks above check nothing.
#[test]
fn the_lives_see_everything() {
    let seen = deep(|| {
        let content = Content::new();
        let mut seen = BTreeSet::new();
        for seed in 0..90 {
            let mut world = World::new(&content, seed, Fault::None);
            for _ in 0..STEPS {
                world.step();
            }
            world.settle();
            for line in &world.durable {
                note(line.facts(), &mut seen);
            }
        }
        seen
    });
    println!("{seen:?}");
    for what in SEEN {
        assert!(seen.contains(*what), "no life has seen {what}: {seen:?}");
    }
}
