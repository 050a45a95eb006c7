//! Limits and the guard of destinations: what exceeds them waits for people.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::approval::{Choice, Decider};
use crate::domain::brakes::{Bound, Brakes, Counted, Limit, Release};
use crate::domain::effect::{Class, Effect, EffectKey};
use crate::domain::entry::{End, Facts};
use crate::domain::id::{ApprovalId, RunId};
use crate::domain::operator::{Operator, Order};
use crate::domain::time::Span;
use crate::domain::token::Role;
use crate::engine::input::{Asked, Input, NewStep};
use crate::engine::orders::Wish;
use crate::engine::tasks::{self, Task};
use crate::engine::tests::{NONE, PLAIN, World, done, started, webhook};
use crate::rules::compile::compile;
use crate::rules::known::Known;

/// Asks for webhooks with these bodies at once: the tasks, and the steps that wait for people.
fn ask(world: &mut World, run: &RunId, bodies: &[&str], brakes: &Brakes) -> (Vec<Task>, Vec<u32>) {
    let step = |body: &&str| {
        let Effect::Webhook(mut request) = webhook() else { unreachable!("it is one") };
        request.body = Some(json!({ "host": body }));
        let (effect, args_sha256, brakes) = (Effect::Webhook(request), "x".into(), Some(brakes.clone()));
        NewStep { effect, args_sha256, mode: None, brakes, recipients: vec![], value: None }
    };
    let known_steps = world.state.runs[run].steps;
    let steps = bodies.iter().map(step).collect();
    let tasks = world.put(Input::Asked(Asked { run: run.clone(), known_steps, steps, end: None })).unwrap();
    let Facts::Intent(intent) = &world.entries.last().unwrap().facts else { panic!("no intent") };
    (tasks, intent.steps.iter().filter(|step| step.release.is_some()).map(|step| step.n).collect())
}

fn limited(at_most: u64) -> Brakes {
    bounded(Counted::Destination("hook".into()), at_most)
}

fn bounded(of: Counted, at_most: u64) -> Brakes {
    let limit = Limit { at_most, within: Span::from_secs(3600) };
    Brakes { bounds: vec![Bound { of, limit, release: release() }], guard: None }
}

fn release() -> Release {
    Release { by: vec!["approver".into()], deadline: Span::from_secs(600) }
}

fn decided(world: &mut World, id: u64, choice: Choice) -> Vec<Task> {
    let who = Decider::Person { name: "ann".into(), role: Role::Approver };
    world.order(Wish::Decide { approval: ApprovalId(id), choice, who }, "looked at it").unwrap()
}

fn key(world: &World, run: &RunId, step: u32) -> EffectKey {
    EffectKey::new(&world.state.journal, run, step)
}

fn sends(tasks: &[Task]) -> Vec<EffectKey> {
    let sent = |task: &Task| if let Task::Send(send) = task { Some(send.key.clone()) } else { None };
    tasks.iter().filter_map(sent).collect()
}

#[test]
fn what_exceeds_a_limit_waits_and_goes_out_once_somebody_lets_it() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let (tasks, asks) = ask(&mut world, &run, &["a", "b", "c", "d"], &limited(2));
    assert_eq!((sends(&tasks), asks), (vec![key(&world, &run, 0), key(&world, &run, 1)], vec![2, 3]));
    let question = &world.state.approvals.get(ApprovalId(1)).unwrap().request.question;
    assert_eq!(question, "Send this to hook? 2 went out within 1h, which is its limit: {\"host\":\"c\"}");
    for step in [0, 1] {
        let key = key(&world, &run, step);
        world.put(Input::Done { key, reply: done(Class::Ok) }).unwrap();
    }
    assert_eq!(tasks::unfinished(&world.state), vec![], "after a restart they wait as well");

    let third = key(&world, &run, 2);
    assert_eq!(sends(&decided(&mut world, 1, Choice::Approve)), std::slice::from_ref(&third));
    assert_eq!(
        sends(&tasks::unfinished(&world.state)),
        std::slice::from_ref(&third),
        "what was let go is sent after a crash"
    );
    assert!(
        world.put(Input::Done { key: third, reply: done(Class::Ok) }).unwrap().is_empty(),
        "the fourth still waits"
    );

    // What people let go does not count, and the window is the same for all runs.
    world.pass(3599);
    let other = started(&mut world);
    assert_eq!(ask(&mut world, &other, &["e"], &limited(3)).1, Vec::<u32>::new());
    assert_eq!(ask_more(&mut world, "f"), [0]);
    world.pass(1);
    assert_eq!(ask_more(&mut world, "g"), Vec::<u32>::new(), "a new window");
}

fn ask_more(world: &mut World, body: &str) -> Vec<u32> {
    let run = started(world);
    ask(world, &run, &[body], &limited(3)).1
}

#[test]
fn what_nobody_lets_go_ends_with_the_reason_and_is_no_dead_letter() {
    for by_hand in [true, false] {
        let mut world = World::new(PLAIN, NONE);
        let run = started(&mut world);
        let bodies = ["a", "b"];
        assert_eq!(ask(&mut world, &run, &bodies, &limited(1)).1, [1]);
        let (first, second) = (key(&world, &run, 0), key(&world, &run, 1));
        world.put(Input::Done { key: first, reply: done(Class::Ok) }).unwrap();
        let tasks = if by_hand {
            decided(&mut world, 1, Choice::Deny)
        } else {
            world.pass(600);
            world.put(Input::Due).unwrap()
        };
        let [Task::Refuse(refused, why)] = &tasks[..] else { panic!("{tasks:?}") };
        let said = if by_hand { "ap-1 was denied by ann" } else { "since nobody had decided in time" };
        assert!(*refused == second && why.contains(said), "{why}");
        assert_eq!(tasks::unfinished(&world.state), tasks, "a crash forgets nothing");
        let tasks = world.put(Input::Done { key: second.clone(), reply: done(Class::Rejected) }).unwrap();
        assert!(matches!(&tasks[..], [Task::Evaluate(job)] if job.entries.len() == 3), "{tasks:?}");
        let Facts::Result(result) = &world.entries.last().unwrap().facts else { panic!("no result") };
        assert_eq!((result.attempts, world.state.letters.len()), (0, 0), "nobody sends it again");

        // Nor does a retry of its run.
        let end = End::Failed { error: "refused".into(), place: None };
        world.put(Input::Asked(Asked { run: run.clone(), known_steps: 2, steps: vec![], end: Some(end) })).unwrap();
        let tasks = world.order(Wish::Retry(run), "again").unwrap();
        assert!(matches!(&tasks[..], [Task::Evaluate(_)]), "{tasks:?}");
    }
}

#[test]
fn a_limit_of_a_playbook_counts_what_it_sends_anywhere_and_stands_beside_the_destinations() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let of_playbook = bounded(Counted::Playbook(run.playbook.clone()), 3);
    let both = |at_most| {
        let mut brakes = limited(at_most);
        brakes.bounds.extend(of_playbook.bounds.clone());
        brakes
    };
    // The destination lets two go; what it stops does not count for the playbook.
    let (tasks, asks) = ask(&mut world, &run, &["a", "b", "c"], &both(2));
    assert_eq!((sends(&tasks).len(), asks), (2, vec![2]));
    for step in [0, 1] {
        let key = key(&world, &run, step);
        world.put(Input::Done { key, reply: done(Class::Ok) }).unwrap();
    }
    decided(&mut world, 1, Choice::Deny);
    world.put(Input::Done { key: key(&world, &run, 2), reply: done(Class::Rejected) }).unwrap();
    // One more is within the playbook's limit, wherever it goes, and the next is not.
    let (tasks, asks) = ask(&mut world, &run, &["d", "e"], &both(1_000));
    assert_eq!((sends(&tasks).len(), asks), (1, vec![4]));
    let question = &world.state.approvals.get(ApprovalId(2)).unwrap().request.question;
    assert!(
        question.contains(&format!("3 went out within 1h, which is the limit of playbook {}", run.playbook)),
        "{question}"
    );
}

#[test]
fn the_guard_has_the_last_word_and_a_cancelled_run_asks_nobody() {
    let mut world = World::new(PLAIN, NONE);
    let files = BTreeMap::from([("lists/never_touch.txt".to_owned(), "dc-*".to_owned())]);
    world.rules.guard = compile(&files, &Known::default()).0.guard;
    let run = started(&mut world);
    let guarded = Brakes { guard: Some(release()), ..limited(1) };
    let (tasks, asks) = ask(&mut world, &run, &["DC-01", "web-1", "web-2"], &guarded);
    assert_eq!((sends(&tasks), asks), (vec![key(&world, &run, 1)], vec![0, 2]), "what the guard stops does not count");
    let question = &world.state.approvals.get(ApprovalId(1)).unwrap().request.question;
    assert!(question.contains("It names DC-01, and dc-* is never to be touched"), "{question}");
    assert_eq!(ask_unguarded(&mut world), Vec::<u32>::new());

    let order = Order::RunCancel { run: run.clone() };
    let operator = Operator { actor: "ann".into(), address: None, comment: "no".into(), order };
    world.put(Input::Operator(Box::new(operator))).unwrap();
    assert_eq!((world.state.approvals.open(), world.state.next_due()), (0, None));
    assert!(!world.state.flights.values().any(|flight| flight.run == run));
}

fn ask_unguarded(world: &mut World) -> Vec<u32> {
    let run = started(world);
    ask(world, &run, &["DC-01"], &Brakes::default()).1
}
