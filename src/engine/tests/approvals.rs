//! What playbooks ask people, and what operators keep from going out.

use jiff::SignedDuration;
use serde_json::json;

use crate::domain::alert::Status;
use crate::domain::approval::{ApprovalRequest, Barred, Choice, Decider};
use crate::domain::decision::AlertRef;
use crate::domain::effect::{Class, Effect, EffectKey};
use crate::domain::entry::Due;
use crate::domain::hold::Scope;
use crate::domain::id::{ApprovalId, RunId};
use crate::domain::operator::{Operator, Order};
use crate::domain::time::Span;
use crate::domain::token::Role;
use crate::engine::approvals::CLOSED_MAX;
use crate::engine::input::Input;
use crate::engine::orders::{Refusal, Wish};
use crate::engine::tasks::{self, Task};
use crate::engine::tests::{HEARING, NONE, PLAIN, World, done, only_key, retry, started, status, webhook};

fn refused(result: Result<Vec<Task>, Refusal>, why: &str) {
    let said = result.unwrap_err().to_string();
    assert!(said.contains(why), "{why}: {said}");
}

/// A question that this run asks, told to `to`.
fn question(world: &World, seconds: i64, to: Option<&str>) -> Effect {
    Effect::Approve(ApprovalRequest {
        id: None,
        question: "Isolate web-01?".into(),
        by: vec!["approver".into()],
        not_by: Some(Barred::Starter),
        until: world.at + SignedDuration::from_secs(seconds),
        otherwise: Choice::Deny,
        notify: to.map(str::to_owned),
    })
}

fn decide_as(id: u64, choice: Choice, name: &str, role: Role) -> Wish {
    Wish::Decide { approval: ApprovalId(id), choice, who: Decider::Person { name: name.into(), role } }
}

#[test]
fn an_approval_is_decided_once_by_whoever_may_or_by_its_deadline() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let two = vec![question(&world, 60, None), question(&world, 90, None)];
    assert_eq!(world.ask(&run, two, None), Some(vec![]), "it waits for people");
    let ids: Vec<ApprovalId> = world.state.approvals.all().map(|approval| approval.id).collect();
    assert_eq!((ids, world.state.approvals.open()), (vec![ApprovalId(1), ApprovalId(2)], 2));
    assert_eq!(tasks::unfinished(&world.state), vec![], "and after a restart, too");

    refused(world.order(decide_as(1, Choice::Approve, "ann", Role::Operator), "yes"), "to be decided by approver");
    refused(world.order(decide_as(7, Choice::Approve, "ann", Role::Admin), "yes"), "did you mean ap-2?");
    world.order(decide_as(1, Choice::Approve, "ann", Role::Approver), "yes").unwrap();
    refused(world.order(decide_as(1, Choice::Deny, "bo", Role::Admin), "no"), "ap-1 was approved by ann");
    assert_eq!(world.state.runs[&run].waiting.len(), 1);

    world.pass(60);
    assert_eq!(world.due(), None, "what is decided does not time out");
    world.pass(30);
    let tasks = world.put(Input::Due).unwrap();
    assert!(matches!(&tasks[..], [Task::Evaluate(job), Task::Spare(_)] if job.entries.len() == 3), "{tasks:?}");
    refused(
        world.order(decide_as(2, Choice::Approve, "ann", Role::Admin), "late"),
        "was denied at 2030-01-01T00:01:30Z",
    );
    assert_eq!((world.state.approvals.open(), world.state.next_due()), (0, None));
}

#[test]
fn whoever_started_a_run_by_hand_does_not_approve_it_and_a_link_does_not_say_who_that_is() {
    let mut world = World::new("route: [{ id: none, title: None, owner: a@example.com, playbooks: [] }]", NONE);
    let alert = AlertRef { id: world.alert(json!({})).id, seq: world.state.seq, at: 0 };
    world.order(Wish::Start { alert, playbook: "mail".into() }, "by hand").unwrap();
    let run: RunId = "a-1.0/mail".parse().unwrap();
    world.ask(&run, vec![question(&world, 60, None)], None).unwrap();
    refused(world.order(decide_as(1, Choice::Approve, "ann", Role::Admin), "me"), "must not be decided by who started");
    let link = Wish::Decide { approval: ApprovalId(1), choice: Choice::Approve, who: Decider::Link };
    refused(world.order(link, "who?"), "a link does not say who you are");
    world.order(decide_as(1, Choice::Approve, "bo", Role::Approver), "four eyes").unwrap();
}

#[test]
fn whoever_changed_a_status_does_not_approve_what_the_run_that_it_started_asks() {
    let mut world = World::new(HEARING, NONE);
    world.alert(json!({ "external_id": "1", "kind": "k" }));
    world.told("a-1.0", status(Status::InProgress)).unwrap();
    let run: RunId = format!("a-1.0@{}/ticket", world.state.seq).parse().unwrap();
    world.ask(&run, vec![question(&world, 60, None)], None).unwrap();
    let barred = "must not be decided by who started";
    refused(world.order(decide_as(1, Choice::Approve, "ann", Role::Admin), "me"), barred);
    let link = Wish::Decide { approval: ApprovalId(1), choice: Choice::Approve, who: Decider::Link };
    refused(world.order(link, "who?"), "a link does not say who you are");
    world.order(decide_as(1, Choice::Approve, "bo", Role::Approver), "four eyes").unwrap();
}

#[test]
fn the_mail_about_a_question_settles_nothing_and_is_spared_once_it_is_decided() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let key = only_key(&world.ask(&run, vec![question(&world, 60, Some("oncall"))], None).unwrap());
    let (error, wait) = ("down".into(), Span::from_secs(5));
    let failed = Input::Failed { key: key.clone(), error, status: None, wait, ambiguous: false, progress: None };
    world.put(failed).unwrap();
    let decided = world.order(decide_as(1, Choice::Deny, "ann", Role::Approver), "no").unwrap();
    assert!(matches!(&decided[..], [Task::Evaluate(_), Task::Spare(spared)] if *spared == key), "{decided:?}");
    assert!(world.state.flights.is_empty() && world.state.next_due().is_none(), "its next attempt is not due any more");

    // A mail that arrived, or never will, leaves the question open.
    for class in [Class::Ok, Class::Dead] {
        let run = started(&mut world);
        let key = only_key(&world.ask(&run, vec![question(&world, 60, Some("oncall"))], None).unwrap());
        assert_eq!(world.put(Input::Done { key: key.clone(), reply: done(class) }), Some(vec![]));
        let open = &world.state.runs[&run];
        assert_eq!((open.waiting.len(), open.entries.len(), open.refused.len()), (1, 1, 0));
        assert_eq!(world.state.letters.len(), usize::from(class == Class::Dead));
    }
    // What a cancelled run asked is withdrawn.
    let order = Operator {
        actor: "ann".into(),
        address: None,
        comment: "no".into(),
        order: Order::RunCancel { run: run.clone() },
    };
    world.put(Input::Operator(Box::new(order))).unwrap();
    assert_eq!(world.state.approvals.open(), 2, "the other runs still ask");
}

#[test]
fn a_cancelled_run_asks_nobody_any_more() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let sends = world.ask(&run, vec![question(&world, 60, Some("oncall")), webhook()], None).unwrap();
    let [Task::Send(mail), Task::Send(_)] = &sends[..] else { panic!("{sends:?}") };
    let order = Order::RunCancel { run: run.clone() };
    let operator = Operator { actor: "ann".into(), address: None, comment: "reinstalled".into(), order };
    let tasks = world.put(Input::Operator(Box::new(operator))).unwrap();
    let expected = vec![Task::Withdraw(run), Task::Spare(mail.key.clone())];
    assert_eq!(tasks, expected, "what waits in a queue is not sent, nor what an operator has sent again");
    assert_eq!((world.state.approvals.open(), world.state.next_due()), (0, None));
    refused(world.order(decide_as(1, Choice::Approve, "bo", Role::Admin), "x"), "ap-1 was withdrawn at");
}

/// A question, its mail that did not arrive, and what an operator does to send that again.
fn with_dead_letter(world: &mut World, seconds: i64) -> (RunId, EffectKey, Input) {
    let run = started(world);
    let key = only_key(&world.ask(&run, vec![question(world, seconds, Some("oncall"))], None).unwrap());
    world.put(Input::Done { key: key.clone(), reply: done(Class::Dead) }).unwrap();
    let again = retry(world, &key, &run);
    (run, key, again)
}

type Close = fn(&mut World, RunId);

/// The ways in which the first question, asked for a minute, is closed.
const CLOSES: [(&str, Close); 3] = [
    ("decided", |world, _| drop(world.order(decide_as(1, Choice::Deny, "bo", Role::Approver), "no").unwrap())),
    ("timed out", |world, _| {
        world.pass(60);
        assert!(matches!(world.due(), Some(Due::Approval { .. })));
    }),
    ("cancelled", |world, run| drop(world.order(Wish::Cancel(run), "reinstalled").unwrap())),
];

#[test]
fn nobody_is_told_of_a_question_that_is_closed() {
    for (how, close) in CLOSES {
        let mut world = World::new(PLAIN, NONE);
        let (run, _, again) = with_dead_letter(&mut world, 60);
        let (_, other, other_again) = with_dead_letter(&mut world, 90);
        close(&mut world, run);
        let letters: Vec<&EffectKey> = world.state.letters.values().map(|letter| &letter.key).collect();
        assert_eq!(letters, [&other], "{how}: only that of the question that is open");
        assert_eq!(world.put(again), None, "{how}");
        assert!(matches!(&world.put(other_again).unwrap()[..], [Task::Send(_)]), "{how}: the control");
    }
}

#[test]
fn a_mail_that_is_sent_again_while_its_question_is_closed_is_no_dead_letter_any_more() {
    for (how, close) in CLOSES {
        let mut world = World::new(PLAIN, NONE);
        let (run, key, again) = with_dead_letter(&mut world, 60);
        assert!(matches!(&world.put(again).unwrap()[..], [Task::Send(_)]), "{how}: while it is open");
        close(&mut world, run);
        assert!(world.state.flights.is_empty(), "{how}: a restart does not send it");
        assert_eq!(world.put(Input::Done { key, reply: done(Class::Dead) }), None, "{how}");
        assert!(world.state.letters.is_empty(), "{how}");
    }
}

#[test]
fn closed_approvals_are_known_for_a_while() {
    let mut world = World::new(PLAIN, NONE);
    for _ in 0..=CLOSED_MAX {
        let run = started(&mut world);
        world.ask(&run, vec![question(&world, 60, None)], None).unwrap();
        let id = world.state.approvals.all().last().unwrap().id;
        world.order(decide_as(id.0, Choice::Deny, "bo", Role::Admin), "no").unwrap();
    }
    refused(world.order(decide_as(1, Choice::Deny, "bo", Role::Admin), "no"), "ap-1 was closed long ago");
    refused(world.order(decide_as(2, Choice::Deny, "bo", Role::Admin), "no"), "ap-2 was denied by ann");
}

#[test]
fn holds_are_on_until_they_are_off() {
    let mut world = World::new(PLAIN, NONE);
    let edr = || Scope::Destination("edr".into());
    refused(world.order(Wish::HoldOff(Scope::Everything), "x"), "everything is not on hold; nothing is");
    world.order(Wish::HoldOn(edr()), "it is repaired").unwrap();
    refused(world.order(Wish::HoldOn(edr()), "x"), "destination edr is on hold since 2030-01-01T00:00:00Z by ann");
    refused(world.order(Wish::HoldOff(Scope::Everything), "x"), "everything is not on hold; on hold: destination edr");
    let holds = &world.state.holds;
    assert!(holds.holds_destination("edr") && !holds.holds_destination("jira") && !holds.holds_playbook("mail"));
    world.order(Wish::HoldOn(Scope::Playbook("mail".into())), "wild").unwrap();
    world.order(Wish::HoldOn(Scope::Everything), "all").unwrap();
    assert!(world.state.holds.holds_destination("jira") && world.state.holds.holds_playbook("mail"));
    world.order(Wish::HoldOff(Scope::Everything), "fine").unwrap();
    world.order(Wish::HoldOff(edr()), "fine").unwrap();
    assert!(!world.state.holds.holds_destination("edr") && world.state.holds.all().len() == 1);
}
