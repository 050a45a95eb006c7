//! The core with a manual clock. After every test the journal's text is applied to an empty state, which must come
//! out equal to the live one: recovery only applies.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::domain::alert::{Alert, Severity, Status};
use crate::domain::decision::{AlertRef, Anew, Reason, RouteVerdict};
use crate::domain::effect::{Class, Effect, EffectKey, Mode, Reply, WebhookRequest};
use crate::domain::entry::{BundleFacts, Due, End, Entry, Facts, Log, Seal, StepResult, Taken};
use crate::domain::id::{AlertId, RunId, SilenceId};
use crate::domain::operator::{Hearing, Operator, Order};
use crate::domain::record::{HttpPosition, Position, Record};
use crate::domain::silence::SilenceOrder;
use crate::domain::time::Span;
use crate::domain::triage::{AlertChange, CloseReason};
use crate::engine::apply::apply;
use crate::engine::decide::decide;
use crate::engine::fit::fit;
use crate::engine::input::{Arrival, Asked, Candidate, Input, NewStep};
use crate::engine::intake::WINDOWS_MAX;
use crate::engine::orders::{self, Latest, Refusal, Wish};
use crate::engine::saved::Parts;
use crate::engine::state::{OpenWindow, State};
use crate::engine::tasks::{self, Task};
use crate::rules::compile::{Rules, compile};
use crate::rules::known::{Known, PlaybookEntries};

mod approvals;
mod brakes;
mod mails;

struct World {
    rules: Rules,
    state: State,
    at: Timestamp,
    entries: Vec<Entry>,
}

fn rules(route: &str, suppress: &str) -> Rules {
    let both = PlaybookEntries { on_alert: true, on_group: true, on_status: true };
    let playbooks = ["mail", "ticket"].map(|name| (name.to_owned(), both)).into();
    let files = BTreeMap::from([
        ("rules/route/t.yaml".to_owned(), route.to_owned()),
        ("rules/suppress/t.yaml".to_owned(), suppress.to_owned()),
    ]);
    let (rules, faults) = compile(&files, &Known { playbooks, sources: None });
    assert!(faults.iter().all(|fault| fault.code == "no-expiry"), "{faults:#?}");
    rules
}

const PLAIN: &str = "route: [{ id: all, title: All, owner: a@example.com, playbooks: [mail] }]";
const NONE: &str = "suppress: []";

fn suppress(field: &str) -> String {
    format!(
        "suppress: [{{ id: quiet, title: Quiet, owner: a@example.com, reason: expected, expires: 2031-01-01, match: {{ {field} }} }}]"
    )
}

impl World {
    fn new(route: &str, suppress: &str) -> Self {
        let at = "2030-01-01T00:00:00Z".parse().unwrap();
        let mut world = Self { rules: rules(route, suppress), state: State::default(), at, entries: Vec::new() };
        world.put(Input::Log(Log::Opened { journal: "j".into(), version: "0".into() })).unwrap();
        world
    }

    fn put(&mut self, input: Input) -> Option<Vec<Task>> {
        let entry = decide(&self.state, &self.rules, self.at, input)?;
        apply(&mut self.state, &entry);
        let tasks = tasks::of(&self.state, &entry);
        self.entries.push(entry);
        Some(tasks)
    }

    fn pass(&mut self, seconds: i64) {
        self.at += SignedDuration::from_secs(seconds);
    }

    fn due(&mut self) -> Option<Due> {
        self.put(Input::Due)?;
        match &self.entries.last()?.facts {
            Facts::Due(due) => Some(due.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn record(&mut self, position: Position, alerts: &[Value]) -> Vec<Taken> {
        let received = self.at;
        let candidate = |more: &Value| {
            let mut alert = json!({ "source": "s", "title": "T", "severity": "medium", "received": received });
            alert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let alert: Alert = serde_json::from_value(alert).unwrap();
            let matches = self.rules.matches(&alert);
            Candidate { alert, part: String::new(), window: Some(Span::from_secs(3600)), matches }
        };
        let alerts = alerts.iter().map(candidate).collect();
        let record = Record { source: "s".into(), bytes: b"{}".to_vec(), position };
        self.put(Input::Intake(Box::new(Arrival { record, format: "f".into(), bundle: "b".into(), alerts }))).unwrap();
        match &self.entries.last().unwrap().facts {
            Facts::Intake(intake) => intake.alerts.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn alert(&mut self, more: Value) -> Taken {
        self.record(Position::Stdin { line: 1 }, &[more]).remove(0)
    }

    fn ask(&mut self, run: &RunId, effects: Vec<Effect>, end: Option<End>) -> Option<Vec<Task>> {
        let known_steps = self.state.runs.get(run).map_or(0, |run| run.steps);
        let step = |effect: Effect| {
            let value = effect.destination().is_none().then_some(json!(null));
            NewStep { effect, args_sha256: "x".into(), mode: None, brakes: None, recipients: vec![], value }
        };
        let steps = effects.into_iter().map(step).collect();
        self.put(Input::Asked(Asked { run: run.clone(), known_steps, steps, end }))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut recovered = State::default();
        for entry in &self.entries {
            let facts = Facts::parse(entry.facts.kind(), &entry.facts.data()).unwrap();
            apply(&mut recovered, &Entry { seq: entry.seq, at: entry.at, facts });
        }
        assert_eq!(sorted(&recovered), sorted(&self.state));
        // A snapshot loses nothing, and damage of its packed part is noticed.
        let saved = self.state.save().parts();
        assert_eq!(sorted(&State::restore(&saved).unwrap()), sorted(&self.state));
        let cut = Parts { alerts: saved.alerts[..saved.alerts.len().saturating_sub(1)].to_vec(), ..saved.clone() };
        assert!(saved.alerts.is_empty() || State::restore(&cut).is_err());
    }
}

/// Maps print in any order: compare what they print, sorted.
fn sorted(state: &State) -> Vec<String> {
    let mut lines: Vec<String> = format!("{state:#?}").lines().map(String::from).collect();
    lines.sort();
    lines
}

fn webhook() -> Effect {
    Effect::Webhook(WebhookRequest {
        destination: "hook".into(),
        method: None,
        path: Vec::new(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body: None,
    })
}

fn runs(taken: &Taken) -> Vec<String> {
    let verdicts = taken.decision.reasons.iter().filter_map(|reason| match reason {
        Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } => Some(runs.iter().map(RunId::to_string)),
        _ => None,
    });
    verdicts.flatten().collect()
}

fn anew(taken: &Taken) -> Option<Anew> {
    taken.decision.reasons.iter().find_map(|reason| match reason {
        Reason::Duplicate { anew, .. } => *anew,
        _ => None,
    })
}

#[test]
fn a_repeat_only_counts_and_a_risen_severity_starts_only_what_has_not_run() {
    let route = "route:\n  - { id: high, title: H, owner: a@example.com, match: { severity: high }, playbooks: [mail, ticket] }\n  \
                 - { id: all, title: A, owner: a@example.com, playbooks: [mail] }";
    let mut world = World::new(route, NONE);
    assert_eq!(runs(&world.alert(json!({ "external_id": "1" }))), ["a-1.0/mail"]);
    let repeat = world.alert(json!({ "external_id": "1" }));
    assert_eq!((runs(&repeat), anew(&repeat), repeat.id.to_string()), (vec![], None, "a-1.0".into()));
    let worse = world.alert(json!({ "external_id": "1", "severity": "high" }));
    assert_eq!(runs(&worse), ["a-1.0/ticket"]);
    assert_eq!(anew(&worse), Some(Anew::SeverityRose { from: Severity::Medium, to: Severity::High }));
    assert_eq!(world.state.alerts.get(worse.id).unwrap().count, 3);
    assert_eq!(runs(&world.alert(json!({ "external_id": "2" }))), ["a-4.0/mail"]);
}

#[test]
fn a_fingerprint_folds_within_its_window_from_first_sight() {
    let mut world = World::new(PLAIN, NONE);
    let print = json!({ "fingerprint": "x" });
    let first = world.alert(print.clone());
    world.pass(3500);
    assert_eq!(world.alert(print.clone()).id, first.id);
    world.pass(200);
    let later = world.alert(print);
    assert_ne!(later.id, first.id);
    assert_eq!(runs(&later).len(), 1);
    assert_ne!(world.alert(json!({})).id, world.alert(json!({})).id, "alerts without identity never fold");
}

#[test]
fn a_suppressed_alert_is_on_record_as_dismissed_until_the_suppression_no_longer_matches() {
    let mut world = World::new(PLAIN, &suppress("kind: Scan"));
    let scan = json!({ "external_id": "1", "kind": "Scan" });
    let dismissed = world.alert(scan.clone());
    assert_eq!((dismissed.decision.status, runs(&dismissed)), (Status::Dismissed, vec![]));
    assert!(matches!(&dismissed.decision.reasons[0], Reason::Suppress { rule, .. } if rule.id == "quiet"));
    assert_eq!(anew(&world.alert(scan.clone())), None);
    world.rules = rules(PLAIN, NONE);
    assert_eq!(
        world.state.alerts.get(dismissed.id).unwrap().status,
        Status::Dismissed,
        "removing a rule reverts nothing"
    );
    let seen_again = world.alert(scan);
    assert_eq!((anew(&seen_again), runs(&seen_again).len()), (Some(Anew::NotSuppressedAnyMore), 1));
    assert_eq!(seen_again.decision.status, Status::Active);
}

#[test]
fn an_expired_suppression_holds_nothing() {
    let mut world = World::new(PLAIN, &suppress("kind: Scan"));
    world.at = "2031-01-02T00:00:01Z".parse().unwrap();
    assert_eq!(world.alert(json!({ "kind": "Scan" })).decision.status, Status::Active);
}

#[test]
fn the_source_resolves_and_reopens_but_a_set_status_outranks_it_until_severity_rises() {
    let mut world = World::new(PLAIN, NONE);
    let id = |status: &str| json!({ "external_id": "1", "status": status });
    let first = world.alert(id("active"));
    let resolved = world.alert(id("resolved"));
    assert_eq!((resolved.decision.status, anew(&resolved)), (Status::Resolved, Some(Anew::Changed)));
    let reopened = world.alert(id("active"));
    assert_eq!((anew(&reopened), runs(&reopened).len()), (Some(Anew::Reopened), 0));

    let run: RunId = runs(&first)[0].parse().unwrap();
    let dismiss = Effect::SetStatus { alert: first.id, status: Status::Dismissed, comment: None };
    world.ask(&run, vec![dismiss], Some(End::Finished { value: json!(null) })).unwrap();
    assert_eq!(world.state.alerts.get(first.id).unwrap().status, Status::Dismissed);
    assert_eq!(anew(&world.alert(id("active"))), None);
    let worse = world.alert(json!({ "external_id": "1", "severity": "high" }));
    assert_eq!(worse.decision.status, Status::Active);
}

#[test]
fn a_throttle_counts_by_key_and_reports_its_surplus() {
    let route = "route: [{ id: t, title: T, owner: a@example.com, playbooks: [mail], throttle: { per: [kind], at_most: 2, within: 1h } }]";
    let mut world = World::new(route, NONE);
    let started: Vec<usize> = (0..5).map(|_| runs(&world.alert(json!({ "kind": "a" }))).len()).collect();
    assert_eq!(started, [1, 1, 0, 0, 0]);
    assert_eq!(runs(&world.alert(json!({ "kind": "b" }))).len(), 1, "another key has its own window");
    assert_eq!(runs(&world.alert(json!({}))).len(), 1, "an alert without the key is never throttled");
    world.pass(3600);
    assert!(matches!(world.due(), Some(Due::Throttle { surplus: 3, .. })));
    assert_eq!(world.due(), None);
    assert_eq!(runs(&world.alert(json!({ "kind": "a" }))).len(), 1);
}

#[test]
fn of_long_keys_a_window_keeps_no_more_than_a_line_and_tells_them_apart_all_the_same() {
    let route = "route: [{ id: t, title: T, owner: a@example.com, playbooks: [mail], throttle: { per: [kind, resources], at_most: 1, within: 1h } }]";
    let mut world = World::new(route, NONE);
    let long = "k".repeat(50_000);
    let alert = |end: &str| json!({ "kind": format!("{long}{end}"), "resources": vec!["r"; 5] });
    let started = |world: &mut World, end| runs(&world.alert(alert(end))).len();
    let first = ["a", "a", "b", "b", "a"].map(|end| started(&mut world, end));
    assert_eq!(first, [1, 0, 1, 0, 0]);
    assert_eq!(world.state.windows.len(), 2);
    let windows = serde_json::to_string(&world.state.windows).unwrap();
    assert!(windows.len() < 2_000, "{} bytes", windows.len());
    world.pass(3600);
    let surplus = [(); 2].map(|()| match world.due() {
        Some(Due::Throttle { surplus, window: Some(_), .. }) => surplus,
        other => panic!("{other:?}"),
    });
    assert_eq!(surplus.iter().sum::<u64>(), 3);
    assert_eq!((world.state.windows.len(), world.due()), (0, None));
    assert_eq!(started(&mut world, "a"), 1, "a window anew");
}

#[test]
fn what_needs_a_window_beyond_the_limit_is_not_throttled_and_counted() {
    let route = "route: [{ id: t, title: T, owner: a@example.com, playbooks: [mail], throttle: { per: [kind], at_most: 1, within: 1h } }]";
    let mut world = World::new(route, NONE);
    world.alert(json!({ "kind": "known" }));
    let (rule, until) = (world.state.windows.values().next().unwrap().rule.clone(), world.at);
    let until = until + SignedDuration::from_hours(1);
    for hash in 0..WINDOWS_MAX as u64 - 1 {
        let window = OpenWindow { rule: rule.clone(), key: Vec::new(), passed: 1, surplus: 0, until };
        world.state.windows.insert(hash, window);
        world.state.window_ends.insert((until, hash));
    }
    assert_eq!(runs(&world.alert(json!({ "kind": "known" }))).len(), 0, "an open window goes on");
    assert_eq!(runs(&world.alert(json!({ "kind": "new" }))).len(), 1);
    let again = world.alert(json!({ "kind": "new" }));
    assert!(matches!(again.decision.reasons[..], [Reason::Route { unthrottled: true, window: None, .. }]), "{again:?}");
    assert_eq!((runs(&again).len(), world.state.totals.unthrottled), (1, 2));
    world.pass(3600);
    world.due().unwrap();
    let _ = [1, 2].map(|_| world.alert(json!({ "kind": "new" })));
    assert_eq!((world.state.windows.len(), world.state.totals.unthrottled), (1, 2), "there is room again");
}

#[test]
fn alerts_of_one_record_see_what_those_before_them_did() {
    let route = "route: [{ id: t, title: T, owner: a@example.com, playbooks: [mail], throttle: { per: [kind], at_most: 2, within: 1h } }]";
    let mut world = World::new(route, NONE);
    let batch: Vec<Value> = (0..4).map(|_| json!({ "kind": "a" })).collect();
    let taken = world.record(Position::Stdin { line: 1 }, &batch);
    assert_eq!(taken.iter().map(|taken| runs(taken).len()).collect::<Vec<_>>(), [1, 1, 0, 0]);
    let twice =
        world.record(Position::Stdin { line: 2 }, &[json!({ "external_id": "x" }), json!({ "external_id": "x" })]);
    assert_eq!(twice[0].id, twice[1].id);
    assert_eq!(world.state.alerts.get(twice[0].id).unwrap().count, 2);
}

#[test]
fn a_group_waits_closes_and_starts_its_playbook_once_and_a_missing_key_groups_alone() {
    let route = "route: [{ id: g, title: G, owner: a@example.com, playbooks: [mail], group_by: [entities.host.name], group_wait: 30s }]";
    let mut world = World::new(route, NONE);
    let host = |name: &str| json!({ "entities": { "host": [{ "name": name }] } });
    for name in ["a", "a", "b"] {
        world.alert(host(name));
        world.pass(5);
    }
    world.alert(json!({}));
    world.alert(json!({}));
    assert_eq!(world.state.groups.len(), 4);
    world.pass(60);
    let mut sizes = Vec::new();
    while let Some(Due::Group { alerts, runs, .. }) = world.due() {
        assert_eq!(runs.len(), 1);
        sizes.push(alerts.len());
    }
    assert_eq!(sizes, [2, 1, 1, 1]);
    assert_eq!(world.state.runs.len(), 4);
    world.alert(host("a"));
    assert_eq!(world.state.groups.len(), 1, "a closed group takes no more; the next one opens");
}

#[test]
fn a_redelivered_record_is_known_by_its_key_and_index_for_a_week() {
    let mut world = World::new(PLAIN, NONE);
    let position =
        |key: &str, index| Position::Http(HttpPosition { key: Some(key.into()), index, peer: "127.0.0.1:1".into() });
    assert_eq!(world.record(position("k", 0), &[json!({})]).len(), 1);
    assert_eq!(world.record(position("k", 0), &[json!({})]).len(), 0);
    assert!(matches!(&world.entries.last().unwrap().facts, Facts::Intake(i) if i.redelivery_of == Some(1)));
    assert_eq!(world.record(position("k", 1), &[json!({})]).len(), 1);
    world.pass(8 * 24 * 3600);
    assert_eq!(world.record(position("k", 0), &[json!({})]).len(), 1);
}

fn started(world: &mut World) -> RunId {
    runs(&world.alert(json!({})))[0].parse().unwrap()
}

fn only_key(tasks: &[Task]) -> EffectKey {
    match tasks {
        [Task::Send(send)] => send.key.clone(),
        other => panic!("{other:?}"),
    }
}

fn done(class: Class) -> Reply {
    Reply { class, status: None, value: json!(null), error: None }
}

#[test]
fn an_effect_is_asked_for_tried_again_at_its_time_with_the_same_key_and_ends_once() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let key = only_key(&world.ask(&run, vec![webhook()], None).unwrap());
    assert_eq!(world.ask(&run, vec![webhook()], None), None, "an evaluation of a run that waits is stale");
    let wait = Span::from_secs(5);
    let failed =
        Input::Failed { key: key.clone(), error: "down".into(), status: None, wait, ambiguous: false, progress: None };
    assert_eq!(world.put(failed), Some(vec![]));
    assert_eq!(tasks::unfinished(&world.state), vec![], "a restart does not start the schedule over");
    assert_eq!(world.due(), None);
    world.pass(5);
    let tasks = world.put(Input::Due).unwrap();
    assert!(matches!(&tasks[..], [Task::Send(send)] if send.attempt == 2 && send.key == key), "{tasks:?}");
    let tasks = world.put(Input::Done { key: key.clone(), reply: done(Class::Ok) }).unwrap();
    assert!(matches!(&tasks[..], [Task::Evaluate(job)] if job.steps == 1 && job.entries.len() == 2), "{tasks:?}");
    assert_eq!(world.put(Input::Done { key, reply: done(Class::Dead) }), None, "the first outcome counts");
    world.ask(&run, vec![], Some(End::Finished { value: json!(null) })).unwrap();
    assert!(world.state.runs.is_empty() && world.state.flights.is_empty());
}

#[test]
fn parallel_effects_wait_for_the_last_and_a_sleep_for_its_time() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let until = world.at + SignedDuration::from_secs(60);
    let tasks = world.ask(&run, vec![Effect::Now, webhook(), Effect::Sleep { until }], None).unwrap();
    let key = only_key(&tasks);
    assert_eq!(world.put(Input::Done { key, reply: done(Class::Ok) }), Some(vec![]));
    world.pass(60);
    let tasks = world.put(Input::Due).unwrap();
    assert!(matches!(&tasks[..], [Task::Evaluate(job)] if job.steps == 3), "{tasks:?}");
}

#[test]
fn a_restart_finds_what_was_under_way_and_never_repeats_what_forbids_it() {
    let mut world = World::new(PLAIN, NONE);
    let first = started(&mut world);
    assert!(matches!(&tasks::unfinished(&world.state)[..], [Task::Evaluate(job)] if job.run == first));
    let key = only_key(&world.ask(&first, vec![webhook()], None).unwrap());
    assert!(matches!(&tasks::unfinished(&world.state)[..], [Task::Send(send)] if send.key == key && send.attempt == 1));

    let second = started(&mut world);
    let step = NewStep {
        effect: webhook(),
        args_sha256: "x".into(),
        mode: Some(Mode::AtMostOnce),
        brakes: None,
        recipients: vec![],
        value: None,
    };
    let asked = Asked { run: second, known_steps: 0, steps: vec![step], end: None };
    let once = only_key(&world.put(Input::Asked(asked)).unwrap());
    let sends = |world: &World| tasks::unfinished(&world.state).iter().filter(|t| matches!(t, Task::Send(_))).count();
    assert_eq!(sends(&world), 2, "what was never begun may be sent");
    world.put(Input::Begin { key: once.clone() }).unwrap();
    let unfinished = tasks::unfinished(&world.state);
    assert!(unfinished.contains(&Task::Forget(once)), "{unfinished:?}");
    assert_eq!((unfinished.len(), sends(&world)), (2, 1));
}

#[test]
fn the_receiver_is_asked_before_a_second_request_only_where_the_first_may_have_arrived() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let step = NewStep {
        effect: webhook(),
        args_sha256: "x".into(),
        mode: Some(Mode::Probe),
        brakes: None,
        recipients: vec![],
        value: None,
    };
    let asked = Asked { run, known_steps: 0, steps: vec![step], end: None };
    let in_doubt = |tasks: &[Task]| match tasks {
        [Task::Send(send)] => send.in_doubt,
        other => panic!("{other:?}"),
    };
    let tasks = world.put(Input::Asked(asked)).unwrap();
    let key = only_key(&tasks);
    assert!(!in_doubt(&tasks), "the first request needs no question");
    assert!(in_doubt(&tasks::unfinished(&world.state)), "after a crash nobody knows");
    for ambiguous in [true, false] {
        let (key, error, wait) = (key.clone(), "broke".into(), Span::from_secs(1));
        world.put(Input::Failed { key, error, status: None, wait, ambiguous, progress: None }).unwrap();
        assert_eq!(tasks::unfinished(&world.state), vec![], "it waits for its time");
        world.pass(1);
        assert_eq!(in_doubt(&world.put(Input::Due).unwrap()), ambiguous);
    }
}

fn retry(world: &World, key: &EffectKey, run: &RunId) -> Input {
    let result = *world.state.letters.iter().find(|(_, letter)| letter.key == *key).map_or(&0, |(result, _)| result);
    let letter = world.state.letters.get(&result);
    let order = Order::DeliveryRetry {
        key: key.clone(),
        run: run.clone(),
        step: 0,
        intent: letter.map_or(0, |letter| letter.intent),
        began: letter.map_or(0, |letter| letter.began),
        result,
        destination: "d".into(),
        mode: Mode::AtLeastOnce,
        in_doubt: false,
        progress: None,
    };
    Input::Operator(Box::new(Operator { actor: "ann".into(), address: None, comment: "why".into(), order }))
}

#[test]
fn a_dead_letter_is_sent_again_once_an_order_and_its_run_goes_its_own_way() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let first = only_key(&world.ask(&run, vec![webhook()], None).unwrap());
    assert_eq!(world.put(retry(&world, &first, &run)), None, "what is under way is no dead letter");
    world.put(Input::Done { key: first.clone(), reply: done(Class::Dead) }).unwrap();
    // The script caught the error and asks for something else.
    let second = only_key(&world.ask(&run, vec![webhook()], None).unwrap());
    let replay = world.state.runs[&run].entries.clone();

    let tasks = world.put(retry(&world, &first, &run)).unwrap();
    let [Task::Send(send)] = &tasks[..] else { panic!("{tasks:?}") };
    assert_eq!((&send.key, send.attempt), (&first, 1));
    assert_eq!(world.put(retry(&world, &first, &run)), None, "it is under way");
    assert!(tasks::unfinished(&world.state).contains(&tasks[0]), "a restart finds it");
    assert_eq!(world.put(Input::Done { key: first.clone(), reply: done(Class::Dead) }), Some(vec![]));
    assert_eq!(world.state.letters.len(), 1, "it is a dead letter again");
    world.put(retry(&world, &first, &run)).unwrap();
    assert_eq!(world.put(Input::Done { key: first.clone(), reply: done(Class::Ok) }), Some(vec![]));
    assert!(world.state.letters.is_empty());
    assert_eq!(world.state.runs[&run].entries, replay, "the run's replay is what it was");

    world.put(Input::Done { key: second, reply: done(Class::Rejected) }).unwrap();
    world.ask(&run, vec![], Some(End::Finished { value: json!(null) })).unwrap();
    let letter = world.state.letters.values().next().unwrap().key.clone();
    assert!(matches!(&world.put(retry(&world, &letter, &run)).unwrap()[..], [Task::Send(_)]), "its run has ended");
}

#[test]
fn a_run_that_goes_on_takes_its_dead_letters_along_and_sees_what_arrived_meanwhile() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let key = only_key(&world.ask(&run, vec![webhook()], None).unwrap());
    let fail = |world: &mut World| {
        world.put(Input::Done { key: key.clone(), reply: done(Class::Dead) }).unwrap();
        world.ask(&run, vec![], Some(End::Failed { error: "it is dead".into(), place: None }));
    };
    let wish = |world: &World| orders::order(&world.state, &world.rules, world.at, Wish::Retry(run.clone()), "why");
    let go_on = |world: &mut World| {
        let order = wish(world).unwrap();
        let operator = Operator { actor: "ann".into(), address: None, comment: "it is back".into(), order };
        world.put(Input::Operator(Box::new(operator))).unwrap()
    };
    fail(&mut world);
    world.put(retry(&world, &key, &run)).unwrap();
    assert_eq!(wish(&world), Err(Refusal::BeingSent(run.clone())));
    world.put(Input::Done { key: key.clone(), reply: done(Class::Dead) }).unwrap();
    assert_eq!(only_key(&go_on(&mut world)), key);
    assert!(world.state.letters.is_empty(), "it is under way, and nobody else may send it");

    fail(&mut world);
    world.put(retry(&world, &key, &run)).unwrap();
    world.put(Input::Done { key: key.clone(), reply: done(Class::Ok) }).unwrap();
    let arrived = world.state.seq;
    let tasks = go_on(&mut world);
    let [Task::Evaluate(replay)] = &tasks[..] else { panic!("nothing is sent a second time: {tasks:?}") };
    assert!(replay.entries.contains(&arrived), "the script sees that it arrived");
}

/// Drops the entries up to this one, as retention does.
fn forget(world: &mut World, last: u64) {
    let at = world.at;
    let seal = Seal { first: 1, last, first_hash: String::new(), hash: String::new(), bytes: 1, from: at, until: at };
    let (runs, letters) = world.state.given_up(last);
    let bundles = Vec::new();
    let (policy, journal, signed_by, segments) = ("size".into(), "j".into(), String::new(), vec![seal]);
    world
        .put(Input::Log(Log::Dropped {
            policy,
            segments,
            journal,
            signed_by,
            bundles,
            runs,
            letters,
            base: String::new(),
        }))
        .unwrap();
}

const GROUP: &str =
    "route: [{ id: g, title: G, owner: a@example.com, playbooks: [mail], group_by: [kind], group_wait: 30s }]";

/// An alert of a group, its dead letter and its failed run; the entry of the alert, the run, and the letter's key.
fn failed_group(world: &mut World) -> (u64, RunId, EffectKey) {
    world.alert(json!({ "external_id": "1", "kind": "k" }));
    let alert = world.state.seq;
    world.alert(json!({ "external_id": "2", "kind": "other", "status": "resolved" }));
    world.pass(30);
    let Some(Due::Group { runs, .. }) = world.due() else { panic!("the group closes") };
    let key = only_key(&world.ask(&runs[0], vec![webhook()], None).unwrap());
    world.put(Input::Done { key: key.clone(), reply: done(Class::Dead) }).unwrap();
    world.ask(&runs[0], vec![], Some(End::Failed { error: "it is dead".into(), place: None }));
    world.alert(json!({ "external_id": "1", "kind": "k", "status": "resolved" }));
    (alert, runs[0].clone(), key)
}

#[test]
fn what_failed_holds_the_alerts_it_is_about_for_a_time_and_is_then_given_up() {
    let mut world = World::new(GROUP, NONE);
    let (alert, run, key) = failed_group(&mut world);
    let (held, late) = (world.at, world.at + SignedDuration::from_micros(1));
    assert_eq!(world.state.needed(held), alert, "a retry reads the alert again");
    assert_eq!(world.state.needed(late), u64::MAX, "but not for ever");
    // The letter alone holds it as well, and so does the request when it is sent again.
    world.put(Input::Operator(Box::new(Operator {
        actor: "ann".into(),
        comment: "why".into(),
        address: None,
        order: Order::RunCancel { run: run.clone() },
    })));
    assert_eq!((world.state.halted.len(), world.state.needed(held), world.state.needed(late)), (0, alert, u64::MAX));
    world.put(retry(&world, &key, &run)).unwrap();
    assert_eq!(world.state.needed(late), alert, "what is under way is not given up");
    world.put(Input::Done { key: key.clone(), reply: done(Class::Dead) }).unwrap();

    assert_eq!(world.state.given_up(alert - 1), (vec![], vec![]));
    assert_eq!(world.state.given_up(alert), (vec![], vec![key]));
    forget(&mut world, alert - 1);
    assert_eq!(world.state.letters.len(), 1);
    forget(&mut world, alert);
    assert!(world.state.letters.is_empty());
}

#[test]
fn a_run_that_was_given_up_is_neither_retried_nor_restarted() {
    let mut world = World::new(GROUP, NONE);
    let (alert, run, key) = failed_group(&mut world);
    let alerts = world.state.halted[&run].run.alerts.clone();
    let wishes = [Wish::Retry(run.clone()), Wish::Restart { run: run.clone(), alerts, digest: None }];
    let refused = |world: &World| {
        wishes.clone().map(|wish| orders::order(&world.state, &world.rules, world.at, wish, "why").err())
    };
    assert_eq!(refused(&world), [None, None], "the control");
    assert_eq!(world.state.given_up(alert), (vec![run.clone()], vec![key]));
    forget(&mut world, alert);
    assert_eq!(refused(&world), [Some(Refusal::NotHalted(run.clone())), Some(Refusal::Dropped(run))]);
}

#[test]
fn bundles_are_known_by_name_as_long_as_something_may_name_them() {
    let mut world = World::new(GROUP, NONE);
    let swap = |world: &mut World, id: &str| {
        let facts = BundleFacts { id: id.into(), commit: Some(format!("commit of {id}")), counts: BTreeMap::new() };
        world.put(Input::Bundle(facts)).unwrap();
    };
    let known = |world: &World| world.state.bundles.keys().cloned().collect::<Vec<_>>().join(" ");
    swap(&mut world, "a");
    swap(&mut world, "b");
    assert_eq!(known(&world), "b");
    world.alert(json!({ "external_id": "1", "kind": "k" }));
    swap(&mut world, "c");
    assert_eq!(known(&world), "b c", "the open group ends on the one it began with");
    world.pass(30);
    let Some(Due::Group { runs, .. }) = world.due() else { panic!("the group closes") };
    swap(&mut world, "d");
    assert_eq!(known(&world), "b d");
    world.ask(&runs[0], vec![], Some(End::Finished { value: json!(null) }));
    swap(&mut world, "e");
    assert_eq!((known(&world).as_str(), world.state.bundles["e"].as_deref()), ("e", Some("commit of e")));
}

#[test]
fn a_refused_record_is_kept_aside_until_a_retry_takes_it() {
    let mut world = World::new(PLAIN, NONE);
    let record = |position| Record { source: "s".into(), bytes: b"?".to_vec(), position };
    world.put(Input::Refused { record: record(Position::Stdin { line: 1 }), cause: "no format".into() }).unwrap();
    assert_eq!(world.state.quarantine.len(), 1);
    let retry = Position::Retry { quarantine: 1 };
    assert_eq!(world.put(Input::Refused { record: record(retry.clone()), cause: "still".into() }), None);
    assert_eq!(world.record(retry, &[json!({})])[0].id.to_string(), "a-2.0");
    assert!(world.state.quarantine.is_empty());
}

#[test]
fn records_that_are_given_up_leave_the_quarantine_all_or_none() {
    let mut world = World::new(PLAIN, NONE);
    for line in 1..=3 {
        let record = Record { source: "s".into(), bytes: b"?".to_vec(), position: Position::Stdin { line } };
        world.put(Input::Refused { record, cause: "no format".into() }).unwrap();
    }
    let first = world.state.quarantine[&1];
    assert_eq!(world.state.needed(Timestamp::MAX), first, "retention keeps the oldest of them");
    let refusal = world.order(Wish::Discard(Some(vec![1, 9])), "noise").unwrap_err();
    assert_eq!(refusal.to_string(), "record 9 is not in quarantine");
    world.order(Wish::Discard(Some(vec![2, 1, 2])), "noise").unwrap();
    assert_eq!(world.state.quarantine.keys().copied().collect::<Vec<_>>(), [3]);
    assert!(world.state.needed(Timestamp::MAX) > first);
    world.order(Wish::Discard(None), "noise").unwrap();
    assert_eq!(world.state.needed(Timestamp::MAX), u64::MAX);
    assert!(world.order(Wish::Discard(None), "noise").unwrap_err().to_string().contains("no record is in quarantine"));
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new(PLAIN, NONE);
    let first = world.alert(json!({})).alert.received;
    world.pass(-3600);
    assert_eq!(world.alert(json!({})).alert.received, first);
}

#[test]
fn one_key_for_two_different_records_loses_neither_and_a_refused_record_is_known_again_too() {
    let mut world = World::new(PLAIN, NONE);
    let record = |bytes: &[u8]| {
        let position = Position::Http(HttpPosition { key: Some("k".into()), index: 0, peer: "p".into() });
        Record { source: "s".into(), bytes: bytes.to_vec(), position }
    };
    for _ in 0..2 {
        for bytes in [b"one", b"two"] {
            world.put(Input::Refused { record: record(bytes), cause: "no format".into() }).unwrap();
        }
    }
    assert_eq!(world.state.quarantine.len(), 2);
}

#[test]
fn an_alert_that_went_through_a_group_does_not_start_its_playbook_again() {
    let route =
        "route: [{ id: g, title: G, owner: a@example.com, playbooks: [mail], group_by: [kind], group_wait: 30s }]";
    let mut world = World::new(route, NONE);
    let alert = |severity: &str| json!({ "external_id": "1", "kind": "k", "severity": severity });
    world.alert(alert("medium"));
    world.pass(30);
    world.due().unwrap();
    for severity in ["low", "medium", "high"] {
        let again = world.alert(alert(severity));
        let grouped = |reason: &Reason| matches!(reason, Reason::Route { verdict: RouteVerdict::Grouped { .. }, .. });
        assert!(!again.decision.reasons.iter().any(grouped), "{severity}: {again:?}");
        let rose = matches!(anew(&again), Some(Anew::SeverityRose { .. }));
        assert_eq!(rose, severity == "high", "only more than ever before is decided anew");
    }
    assert_eq!(world.state.runs.len(), 1);
}

#[test]
fn what_does_not_fit_the_journal_becomes_an_entry_that_says_so() {
    let mut world = World::new(PLAIN, NONE);
    let run = started(&mut world);
    let long = Effect::Log { level: "info".into(), text: "x".repeat(5_000) };
    let asked = Asked {
        run,
        known_steps: 0,
        steps: vec![NewStep {
            effect: long,
            args_sha256: String::new(),
            mode: None,
            brakes: None,
            recipients: vec![],
            value: Some(json!(null)),
        }],
        end: None,
    };
    let entry = decide(&world.state, &world.rules, world.at, Input::Asked(asked)).unwrap();
    let (entry, data) = fit(entry, 1_000);
    assert!(data.len() <= 1_000);
    assert!(matches!(&entry.facts, Facts::Run(end) if matches!(&end.end, End::Failed { .. })), "{entry:?}");

    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(120), "]".repeat(120))).unwrap();
    let step = StepResult {
        run: "a-1.0/mail".parse().unwrap(),
        step: 0,
        key: EffectKey::new("j", &"a-1.0/mail".parse().unwrap(), 0),
        attempts: 1,
        reply: Reply {
            class: Class::Ok,
            status: Some(200),
            value: json!({ "status": 200, "body": deep }),
            error: None,
        },
        resent: false,
    };
    let (entry, data) = fit(Entry { seq: 9, at: world.at, facts: Facts::Result(step) }, 1_000_000);
    assert!(Facts::parse(entry.facts.kind(), &data).is_ok());
    assert!(
        matches!(&entry.facts, Facts::Result(r) if r.reply.value["status"] == 200 && r.reply.value["body"].is_null())
    );
}

fn status(to: Status) -> AlertChange {
    AlertChange::Status { to, reason: (!to.is_open()).then_some(CloseReason::Benign) }
}

impl World {
    fn order(&mut self, wish: Wish, comment: &str) -> Result<Vec<Task>, Refusal> {
        let order = orders::order(&self.state, &self.rules, self.at, wish, comment)?;
        let (actor, address, comment) = ("ann".into(), None, comment.to_owned());
        let operator = Operator { actor, address, comment, order };
        Ok(self.put(Input::Operator(Box::new(operator))).expect("nothing happened since"))
    }

    fn change(&mut self, alert: &str, change: AlertChange) -> Result<Vec<Task>, Refusal> {
        self.order(Wish::Change { alert: alert.parse().unwrap(), change, latest: None }, "")
    }

    /// As [`World::change`], with the alert's latest body for the routes that want to hear of it.
    fn told(&mut self, alert: &str, change: AlertChange) -> Result<Vec<Task>, Refusal> {
        let id: AlertId = alert.parse().unwrap();
        let seq = self.state.alerts.get(id).unwrap().seq;
        let Facts::Intake(intake) = &self.entries[usize::try_from(seq).unwrap() - 1].facts else { panic!() };
        let (at, taken) = (0..).zip(&intake.alerts).find(|(_, taken)| taken.id == id).unwrap();
        let latest = Some(Box::new(Latest { at: AlertRef { id, seq, at }, alert: taken.alert.clone() }));
        self.order(Wish::Change { alert: id, change, latest }, "")
    }
}

#[test]
fn an_operators_status_outranks_the_sources_until_severity_rises_and_the_entry_says_that_it_reopens() {
    let mut world = World::new(PLAIN, NONE);
    let id = |status: &str| json!({ "external_id": "1", "status": status });
    world.alert(id("active"));
    assert_eq!(world.change("a-1.0", status(Status::Dismissed)), Ok(vec![]));
    assert!(world.change("a-1.0", status(Status::Dismissed)).unwrap_err().to_string().contains("already"));
    for reported in ["active", "resolved", "in_progress"] {
        let seen = world.alert(id(reported));
        assert_eq!((seen.decision.status, anew(&seen)), (Status::Dismissed, None), "{reported}");
    }
    let worse = world.alert(json!({ "external_id": "1", "severity": "high" }));
    let [Reason::Duplicate { anew: Some(Anew::SeverityRose { .. }), was, .. }, ..] = &worse.decision.reasons[..] else {
        panic!("{:?}", worse.decision)
    };
    assert_eq!((worse.decision.status, *was), (Status::Active, Some(Status::Dismissed)));
    // From here on the source has its say again.
    assert_eq!(
        world.alert(json!({ "external_id": "1", "severity": "high", "status": "resolved" })).decision.status,
        Status::Resolved
    );
    assert_eq!(world.change("a-1.0", status(Status::InProgress)), Ok(vec![]));
    assert_eq!(
        world.alert(json!({ "external_id": "1", "severity": "high", "status": "resolved" })).decision.status,
        Status::InProgress
    );
}

#[test]
fn an_operator_takes_an_alert_out_of_a_suppressions_hands() {
    let mut world = World::new(PLAIN, &suppress("kind: Scan"));
    let scan = json!({ "external_id": "1", "kind": "Scan" });
    world.alert(scan.clone());
    world.change("a-1.0", status(Status::Active)).unwrap();
    assert_eq!(world.alert(scan.clone()).decision.status, Status::Active, "the rule does not dismiss it again");
    assert!(!world.state.alerts.get("a-1.0".parse().unwrap()).unwrap().suppressed);
    let worse = world.alert(json!({ "external_id": "1", "kind": "Scan", "severity": "high" }));
    assert_eq!(worse.decision.status, Status::Dismissed, "what is worse is decided anew, by the rules");
}

#[test]
fn what_cannot_be_done_about_an_alert_is_refused_and_nothing_is_recorded() {
    let mut world = World::new(PLAIN, NONE);
    assert!(world.change("a-1.0", status(Status::Active)).unwrap_err().to_string().contains("no alerts yet"));
    world.alert(json!({ "external_id": "1" }));
    world.record(Position::Stdin { line: 2 }, &[json!({}), json!({})]);
    let before = world.entries.len();
    for (alert, near) in [("a-2.7", "a-2.1"), ("a-9.0", "a-2.1"), ("a-0.0", "a-1.0"), ("a-1.1", "a-1.0")] {
        let said = world.change(alert, AlertChange::Assign { to: None }).unwrap_err().to_string();
        assert!(said.contains(&format!("did you mean {near}?")) && !said.contains("retention"), "{said}");
    }
    assert_eq!(
        world.change("a-1.0", status(Status::Active)).unwrap_err(),
        Refusal::SameStatus { alert: "a-1.0".parse().unwrap(), status: Status::Active }
    );
    let nothing = AlertChange::Tags { add: vec![], remove: vec![] };
    assert!(matches!(world.change("a-1.0", nothing), Err(Refusal::Change(_))));
    world.state.dropped = 3;
    let said = world.change("a-9.0", AlertChange::Assign { to: None }).unwrap_err().to_string();
    world.state.dropped = 0;
    assert!(said.contains("up to journal entry 3 were dropped by retention"), "{said}");
    assert_eq!(world.entries.len(), before);
}

#[test]
fn a_playbook_started_by_hand_runs_once_and_can_be_restarted() {
    let mut world = World::new(PLAIN, NONE);
    let taken = world.alert(json!({ "external_id": "1" }));
    let alert = AlertRef { id: taken.id, seq: world.state.seq, at: 0 };
    let start = |playbook: &str| Wish::Start { alert, playbook: playbook.into() };
    let tasks = world.order(start("ticket"), "why").unwrap();
    let [Task::Evaluate(evaluate)] = &tasks[..] else { panic!("{tasks:?}") };
    assert_eq!((evaluate.run.to_string(), &evaluate.alerts[..]), ("a-1.0/ticket".into(), &[alert][..]));
    for ran in ["ticket", "mail"] {
        let said = world.order(start(ran), "why").unwrap_err().to_string();
        assert!(said.contains("soard runs restart"), "{said}");
    }
    world.ask(&evaluate.run, vec![], Some(End::Finished { value: json!(null) })).unwrap();
    let again = Wish::Restart { run: evaluate.run.clone(), alerts: vec![alert], digest: None };
    assert!(matches!(&world.order(again, "why").unwrap()[..], [Task::Evaluate(e)] if e.run.attempt == 2));
    let worse = world.alert(json!({ "external_id": "1", "severity": "high" }));
    assert_eq!(runs(&worse), [""; 0], "a route starts nothing that ran by hand");
}

impl World {
    fn silence(&mut self, terms: &[&str], secs: u64) -> Result<Vec<Task>, Refusal> {
        let terms = terms.iter().map(|term| term.parse().unwrap()).collect();
        self.order(Wish::SilenceAdd { terms, lasts: Span::from_secs(secs) }, "a drill")
    }
}

fn silenced(taken: &Taken) -> Option<String> {
    taken.decision.reasons.iter().find_map(|reason| match reason {
        Reason::Silence { silence, .. } => Some(silence.to_string()),
        _ => None,
    })
}

#[test]
fn a_silenced_alert_stays_active_starts_nothing_and_is_decided_anew_once_the_silence_has_ended() {
    let mut world = World::new(PLAIN, &suppress("kind: Scan"));
    world.silence(&["host=web-*", "severity|lt=high"], 3600).unwrap();
    let on = |id: &str| json!({ "external_id": id, "entities": { "host": [{ "name": "web-01" }] } });
    let held = world.alert(on("1"));
    assert_eq!((silenced(&held), held.decision.status, runs(&held)), (Some("s-1".into()), Status::Active, vec![]));
    assert_eq!(silenced(&world.alert(json!({ "external_id": "2" }))), None, "another host is not meant");
    let scan =
        world.alert(json!({ "external_id": "3", "kind": "Scan", "entities": { "host": [{ "name": "web-01" }] } }));
    assert_eq!((scan.decision.status, silenced(&scan)), (Status::Dismissed, None), "suppressions come first");
    world.pass(3599);
    let again = world.alert(on("1"));
    assert_eq!((anew(&again), silenced(&again)), (None, None), "a repeat only counts");
    world.pass(1);
    let after = world.alert(on("1"));
    assert_eq!((anew(&after), runs(&after)), (Some(Anew::NotSilencedAnyMore), vec!["a-1.0/mail".to_owned()]));
    assert_eq!(anew(&world.alert(on("1"))), None);
    let [silence] = &world.state.silences.all().collect::<Vec<_>>()[..] else { panic!("one silence") };
    assert_eq!((silence.held, silence.last, &*silence.by), (1, Some(silence.made), "ann"));
    assert_eq!(world.state.silences.active(world.at).count(), 0);
}

#[test]
fn a_silence_is_heeded_when_it_gets_worse_or_its_source_changes_its_status() {
    let mut world = World::new(PLAIN, NONE);
    world.silence(&["kind=x"], 3600).unwrap();
    let x = |more: Value| {
        let mut alert = json!({ "external_id": "1", "kind": "x" });
        alert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        alert
    };
    world.alert(x(json!({})));
    let worse = world.alert(x(json!({ "severity": "high" })));
    assert!(matches!(anew(&worse), Some(Anew::SeverityRose { .. })));
    assert_eq!((silenced(&worse), runs(&worse)), (Some("s-1".into()), vec![]));
    let taken = world.alert(x(json!({ "severity": "high", "status": "in_progress" })));
    assert_eq!((anew(&taken), silenced(&taken)), (Some(Anew::Changed), None));
    world.order(Wish::SilenceExpire("s-1".parse().unwrap()), "").unwrap();
    let after = world.alert(x(json!({ "severity": "high", "status": "in_progress" })));
    assert_eq!((anew(&after), runs(&after).len()), (Some(Anew::NotSilencedAnyMore), 1), "a change does not hide it");
}

#[test]
fn silences_are_changed_ended_and_refused() {
    let mut world = World::new(PLAIN, NONE);
    let span = Span::from_secs;
    let refused = |result: Result<Vec<Task>, Refusal>, expected: &str| {
        let said = result.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    };
    refused(world.silence(&[], 60), "1 to 20 terms");
    refused(world.silence(&["hots=x"], 60), "did you mean `host`?");
    refused(world.silence(&["title=*"], 60), "every alert");
    refused(world.silence(&["kind=x"], 59), "a silence lasts 1m to 90d, not 59s");
    refused(world.silence(&["kind=x"], 90 * 86_400 + 1), "belongs into rules/suppress");
    let terms = vec!["kind=x".parse().unwrap()];
    refused(world.order(Wish::SilenceAdd { terms, lasts: span(60) }, " "), "says why");
    world.silence(&["kind=x"], 60).unwrap();
    let id = "s-1".parse().unwrap();
    world.order(Wish::SilenceUpdate { id, lasts: span(600) }, "longer").unwrap();
    world.pass(60);
    assert_eq!(silenced(&world.alert(json!({ "kind": "x" }))), Some("s-1".into()), "it was made longer");
    world.order(Wish::SilenceExpire(id), "").unwrap();
    assert_eq!(silenced(&world.alert(json!({ "kind": "x" }))), None);
    refused(world.order(Wish::SilenceExpire(id), ""), "s-1 ended at 2030-01-01T00:01:00Z");
    refused(world.order(Wish::SilenceUpdate { id, lasts: span(60) }, ""), "s-1 ended at");
    refused(world.order(Wish::SilenceExpire("s-7".parse().unwrap()), ""), "did you mean s-1?");
    for n in 0..1_000 {
        let order = SilenceOrder::Add {
            id: SilenceId(n + 2),
            terms: vec!["kind=x".parse().unwrap()],
            until: span(60).after(world.at),
        };
        world.state.silences.apply(world.at, &order, "ann", "many");
    }
    refused(world.silence(&["kind=x"], 60), "1000 silences already");
    world.pass(60);
    world.silence(&["kind=x"], 60).unwrap();
    assert_eq!(world.state.silences.all().count(), 1_001, "ended ones are listed, up to a limit");
    world.state = State::default();
    world.entries.clear();
}

/// A silence belongs to the input's past: what was decided under it is read, never decided again.
#[test]
fn a_snapshot_keeps_silences_and_they_hold_as_before() {
    let mut world = World::new(PLAIN, NONE);
    world.silence(&["title=~^T"], 60).unwrap();
    world.alert(json!({ "external_id": "1" }));
    let mut restored = State::restore(&world.state.save().parts()).unwrap();
    std::mem::swap(&mut world.state, &mut restored);
    assert_eq!(silenced(&world.alert(json!({ "external_id": "2" }))), Some("s-1".into()));
    world.pass(60);
    assert_eq!(anew(&world.alert(json!({ "external_id": "1" }))), Some(Anew::NotSilencedAnyMore));
}

const HEARING: &str = "route:\n  - { id: high, match: { severity: high }, on_status: [ticket], playbooks: [mail], continue: true }\n  \
                       - { id: all, on_status: [ticket, mail], group_by: [kind], playbooks: [mail] }";

/// The runs that the last entry starts, with the routes that name them.
fn told(world: &World) -> Vec<(String, Vec<String>)> {
    let Facts::Operator(Operator { order: Order::Alert { on_status, .. }, .. }) = &world.entries.last().unwrap().facts
    else {
        panic!("{:?}", world.entries.last())
    };
    let route = |route: &Hearing| (route.rule.id.clone(), route.runs.iter().map(ToString::to_string).collect());
    on_status.iter().flat_map(|told| &told.routes).map(route).collect()
}

#[test]
fn an_operators_change_of_status_starts_on_status_of_the_routes_that_take_the_alert() {
    let mut world = World::new(HEARING, NONE);
    world.alert(json!({ "external_id": "1", "kind": "k" }));
    let body = world.state.seq;
    let tasks = world.told("a-1.0", status(Status::InProgress)).unwrap();
    let seq = world.state.seq;
    assert_eq!(told(&world), [("all".into(), vec![format!("a-1.0@{seq}/ticket"), format!("a-1.0@{seq}/mail")])]);
    let [Task::Evaluate(ticket), Task::Evaluate(mail)] = &tasks[..] else { panic!("{tasks:?}") };
    assert_eq!(ticket.alerts, [AlertRef { id: "a-1.0".parse().unwrap(), seq: body, at: 0 }]);

    // Each change is news: another run, with keys of its own. What a playbook sets tells nobody.
    let step = world.ask(&ticket.run, vec![webhook()], None).unwrap();
    let set = Effect::SetStatus { alert: "a-1.0".parse().unwrap(), status: Status::Active, comment: None };
    assert_eq!(world.ask(&mail.run, vec![set], Some(End::Finished { value: json!(null) })), Some(vec![]));
    assert_eq!(world.state.alerts.get("a-1.0".parse().unwrap()).unwrap().status, Status::Active);
    let again = world.told("a-1.0", status(Status::InProgress)).unwrap();
    let [Task::Evaluate(second), _] = &again[..] else { panic!("{again:?}") };
    assert_ne!(second.run, ticket.run);
    assert_ne!(only_key(&world.ask(&second.run, vec![webhook()], None).unwrap()), only_key(&step));

    // A playbook that two routes name starts once, and one that has run for the alert starts all the same.
    world.alert(json!({ "external_id": "2", "kind": "k", "severity": "high" }));
    world.told("a-2.0", status(Status::Dismissed)).unwrap();
    let seq = world.state.seq;
    let expected =
        [("high".into(), vec![format!("a-2.0@{seq}/ticket")]), ("all".into(), vec![format!("a-2.0@{seq}/mail")])];
    assert_eq!(told(&world), expected);

    // Other changes, and changes whose alert nobody has read, start nothing.
    assert_eq!(world.told("a-2.0", AlertChange::Assign { to: None }), Ok(vec![]));
    assert_eq!(world.change("a-2.0", status(Status::Active)), Ok(vec![]));
    assert!(told(&world).is_empty());
}

#[test]
fn a_told_change_survives_recovery_and_holds_what_it_needs() {
    let mut world = World::new(HEARING, NONE);
    world.alert(json!({ "external_id": "1", "kind": "k" }));
    world.told("a-1.0", status(Status::Dismissed)).unwrap();
    let change = world.state.seq;
    let run: RunId = format!("a-1.0@{change}/ticket").parse().unwrap();
    let mut recovered = State::default();
    for entry in &world.entries {
        let written = Facts::parse(entry.facts.kind(), &entry.facts.data()).unwrap();
        apply(&mut recovered, &Entry { facts: written, ..entry.clone() });
    }
    let unfinished = tasks::unfinished(&recovered);
    assert!(unfinished.iter().any(|task| matches!(task, Task::Evaluate(job) if job.run == run)), "{unfinished:?}");

    world.ask(&run, vec![], Some(End::Failed { error: "no".into(), place: None })).unwrap();
    let alerts = world.state.halted[&run].run.alerts.clone();
    let restart = Wish::Restart { run: run.clone(), alerts: alerts.clone(), digest: None };
    assert!(
        matches!(&world.order(restart.clone(), "why").unwrap()[..], [Task::Evaluate(e)] if e.run.to_string() == format!("{run}~2"))
    );
    let second = RunId { attempt: 2, ..run };
    let body = alerts[0].seq;
    assert_eq!(world.state.runs[&second].needs(), body, "it reads alert and change again");
    assert!(body < change, "so what keeps the body keeps the change");
    world.ask(&second, vec![], Some(End::Finished { value: json!(null) })).unwrap();
    world.state.dropped = change;
    assert!(matches!(world.order(restart, "why"), Err(Refusal::Dropped(_))));
    world.state.dropped = 0;
}
