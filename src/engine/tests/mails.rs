//! Who gets which mail when: caps, quiet hours, minimum and unsubscribes, and the digests of what waits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::domain::alert::Severity;
use crate::domain::approval::{ApprovalRequest, Choice};
use crate::domain::brakes::{Bound, Brakes, Counted, Limit, Release};
use crate::domain::decision::AlertRef;
use crate::domain::effect::{Class, Effect, EffectKey, EmailRequest, Reply};
use crate::domain::entry::{BundleFacts, Due, End, Facts, Step};
use crate::domain::id::{GroupId, RunId};
use crate::domain::mail::{Caps, DIGEST_ALERTS_MAX, Daily, Digest, MailPlan, Quiet, Recipient, Wait, Wants};
use crate::domain::recipient::Addressee;
use crate::domain::record::Position;
use crate::domain::time::Span;
use crate::engine::input::{Asked, Input, NewStep};
use crate::engine::orders::Wish;
use crate::engine::tasks::{self, Task};
use crate::engine::tests::{GROUP, NONE, PLAIN, World, done, retry, runs};

/// The tests begin at midnight, and the digest goes out at eight.
const EIGHT: &str = "2030-01-01T08:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn someone(address: &str, wants: Wants) -> Recipient {
    Recipient { to: Addressee { address: address.into(), name: None }, wants }
}

fn ann() -> Recipient {
    someone("Ann@example.com", Wants::default())
}

fn mail(destination: &str) -> Effect {
    let (template, subject, data) = ("alert".into(), Some("T".into()), Map::new());
    Effect::Email(EmailRequest { destination: destination.into(), template, subject, data })
}

/// A new alert of this severity, and the run that it starts.
fn run(world: &mut World, severity: &str) -> RunId {
    let id = format!("{}", world.state.records + 1);
    let taken = world.alert(json!({ "external_id": id, "severity": severity }));
    RunId::first(crate::domain::id::Trigger::Alert(taken.id), "mail")
}

/// They get mails in digests only.
fn patient() -> Recipient {
    let none = Caps { high: Some(0), medium: Some(0), low: Some(0) };
    someone("bo@example.com", Wants { at_least: Severity::Informational, caps: none, ..Wants::default() })
}

/// The run asks for mails to these destinations at once.
fn one_a_minute() -> Brakes {
    let (of, limit) = (Counted::Destination("oncall".into()), Limit { at_most: 1, within: Span::from_secs(60) });
    let release = Release { by: vec!["approver".into()], deadline: Span::from_secs(60) };
    Brakes { bounds: vec![Bound { of, limit, release }], guard: None }
}

fn asks(world: &mut World, run: &RunId, effects: Vec<(Effect, Vec<Recipient>, Option<Brakes>)>) -> Vec<Step> {
    let known_steps = world.state.runs[run].steps;
    let step = |(effect, recipients, brakes)| NewStep {
        effect,
        args_sha256: "x".into(),
        mode: None,
        brakes,
        recipients,
        value: None,
    };
    let steps = effects.into_iter().map(step).collect();
    world.put(Input::Asked(Asked { run: run.clone(), known_steps, steps, end: None })).unwrap();
    let Facts::Intent(intent) = &world.entries.last().unwrap().facts else { panic!("no intent") };
    intent.steps.clone()
}

/// A new alert is mailed: who gets it now, later and not.
fn mailed(world: &mut World, severity: &str, destination: &str, to: &[Recipient]) -> MailPlan {
    let run = run(world, severity);
    asks(world, &run, vec![(mail(destination), to.to_vec(), None)]).remove(0).mail.unwrap()
}

/// `now`, `cap`, `quiet_hours`, `below_minimum` or `unsubscribed`, for each recipient of a mail.
fn words(plan: &MailPlan) -> Vec<(String, &'static str)> {
    let now = plan.to.iter().map(|now| (now.to.address.to_ascii_lowercase(), "now"));
    let later = plan.later.iter().map(|later| (later.to.address.to_ascii_lowercase(), later.why.as_str()));
    let not = plan.not.iter().map(|never| (never.address.to_ascii_lowercase(), never.why.as_str()));
    now.chain(later).chain(not).collect()
}

fn word(world: &mut World, severity: &str, destination: &str, to: &Recipient) -> &'static str {
    words(&mailed(world, severity, destination, std::slice::from_ref(to)))[0].1
}

/// Lets the next digest close: what it tells, and its run.
fn closes(world: &mut World) -> (Vec<String>, Digest, RunId) {
    let due = world.due();
    let Some(Due::Group { alerts, runs, digest, .. }) = due else { panic!("{due:?}") };
    let alerts = alerts.iter().map(|alert| alert.id.to_string()).collect();
    (alerts, *digest.expect("it is a digest"), runs[0].clone())
}

fn unsubscribe(world: &mut World, address: &str) {
    let wish = Wish::Unsubscribe { address: address.into(), destination: None, link: false };
    world.order(wish, "on leave").unwrap();
}

#[test]
fn caps_count_by_address_and_severity_over_all_destinations_in_a_day_from_the_first_mail() {
    let mut world = World::new(PLAIN, NONE);
    let ann = ann();
    let upper = someone("ANN@example.com", Wants::default());
    for (destination, who, expected) in [
        ("oncall", &ann, "now"),
        ("soc", &upper, "now"),
        ("oncall", &ann, "now"),
        ("soc", &ann, "now"),
        ("soc", &upper, "cap"),
    ] {
        assert_eq!(word(&mut world, "high", destination, who), expected);
    }
    let bo = someone("bo@example.com", Wants::default());
    assert_eq!(word(&mut world, "high", "oncall", &bo), "now", "each address has its own");
    let others: Vec<&str> = ["medium", "medium", "medium", "low", "low"]
        .into_iter()
        .map(|of| word(&mut world, of, "oncall", &ann))
        .collect();
    assert_eq!(others, ["now", "now", "cap", "now", "cap"], "each severity has its own");
    let everything = someone("cy@example.com", Wants { at_least: Severity::Informational, ..Wants::default() });
    let as_low = ["informational", "low"].map(|of| word(&mut world, of, "oncall", &everything));
    assert_eq!(as_low, ["now", "cap"], "informational mails count as low ones");

    world.pass(24 * 3600 - 1);
    assert_eq!(word(&mut world, "high", "oncall", &ann), "cap");
    world.pass(1);
    assert_eq!(word(&mut world, "high", "oncall", &ann), "now");
    let counted = world.state.recipients.counted("ann@example.com", Severity::High, world.at);
    assert_eq!(counted, Some((1, at("2030-01-03T00:00:00Z"))));
}

#[test]
fn a_cap_can_be_none_or_nothing_and_mails_of_one_intent_count_too() {
    let mut world = World::new(PLAIN, NONE);
    let any = someone("any@example.com", Wants { caps: Caps::NONE, ..Wants::default() });
    assert!((0..10).all(|_| word(&mut world, "low", "oncall", &any) == "now"));
    let never =
        someone("never@example.com", Wants { caps: Caps { low: Some(0), ..Caps::default() }, ..Wants::default() });
    assert_eq!(word(&mut world, "low", "oncall", &never), "cap");

    let run = run(&mut world, "low");
    let one = |destination: &str| (mail(destination), vec![ann(), never.clone()], None);
    let steps = asks(&mut world, &run, vec![one("oncall"), one("oncall"), one("soc")]);
    let told: Vec<Vec<(String, &str)>> = steps.iter().map(|step| words(step.mail.as_ref().unwrap())).collect();
    let (ann, never) = ("ann@example.com".to_owned(), "never@example.com".to_owned());
    assert_eq!(told[0], [(ann.clone(), "now"), (never.clone(), "cap")]);
    assert_eq!(told[1], [(ann.clone(), "cap"), (never.clone(), "cap")]);
    let groups: Vec<Vec<GroupId>> =
        steps.iter().map(|step| step.mail.as_ref().unwrap().later.iter().map(|later| later.group).collect()).collect();
    // One digest for each recipient of each destination; the first was open already.
    assert_eq!(groups, [vec![GroupId(1)], vec![GroupId(2), GroupId(1)], vec![GroupId(3), GroupId(4)]]);
    assert_eq!(world.state.groups.len(), 4);
}

#[test]
fn below_the_minimum_and_unsubscribed_nobody_is_told_and_the_run_goes_on_at_once() {
    let mut world = World::new(PLAIN, NONE);
    let picky = someone("picky@example.com", Wants { at_least: Severity::High, ..Wants::default() });
    unsubscribe(&mut world, "ann@example.com");
    let run = run(&mut world, "medium");
    let limit = one_a_minute();
    let steps = asks(&mut world, &run, vec![(mail("oncall"), vec![ann(), picky.clone()], Some(limit))]);
    assert_eq!(
        steps[0].value,
        Some(json!({ "accepted": [], "refused": {}, "later": {},
                     "left_out": { "Ann@example.com": "unsubscribed", "picky@example.com": "below_minimum" } }))
    );
    assert!(steps[0].key.is_none() && steps[0].counts_until.is_none() && world.state.flights.is_empty());
    let waits = tasks::unfinished(&world.state);
    assert!(matches!(&waits[..], [Task::Evaluate(job)] if job.run == run && job.steps == 1), "{waits:?}");
    assert!(world.state.groups.is_empty(), "nor does a digest tell of it");
    assert_eq!(word(&mut world, "high", "oncall", &picky), "now");
}

#[test]
fn what_waits_is_told_by_a_digest_that_outlives_restarts_swaps_and_settings() {
    let mut world = World::new(PLAIN, NONE);
    let sleeps =
        Quiet { from: 0, until: 6 * 60, days: [true; 7], zone: jiff::tz::TimeZone::UTC, except: Some(Severity::High) };
    let bo = someone("bo@example.com", Wants { quiet: Some(sleeps), ..Wants::default() });
    let plan = mailed(&mut world, "medium", "oncall", &[ann(), bo.clone()]);
    assert_eq!(words(&plan), [("ann@example.com".to_owned(), "now"), ("bo@example.com".to_owned(), "quiet_hours")]);
    assert_eq!(plan.later[0].due, at("2030-01-01T06:00:00Z"), "when the hours end");
    assert_eq!(word(&mut world, "high", "oncall", &bo), "now", "what is urgent wakes them");
    world.put(Input::Bundle(BundleFacts { id: "c".into(), commit: None, counts: BTreeMap::new() })).unwrap();
    mailed(&mut world, "low", "oncall", std::slice::from_ref(&bo));
    assert_eq!(world.due(), None, "not before its time");
    world.pass(6 * 3600);
    let (alerts, digest, run) = closes(&mut world);
    assert_eq!((alerts, run.to_string()), (vec!["a-1.0".to_owned(), "a-3.0".into()], "g-1/digest".into()));
    let (more, waits) = (BTreeMap::new(), BTreeMap::from([(Wait::QuietHours, 2)]));
    let to = Addressee { address: "bo@example.com".into(), name: None };
    assert_eq!(digest, Digest { destination: "oncall".into(), to, since: at("2030-01-01T00:00:00Z"), waits, more });
    assert_ne!(world.state.runs[&run].bundle, "c", "it ends on the bundle that it began with");

    // The digest is exempt from caps, minimum and hours, and counts for nothing.
    let none = Wants {
        at_least: Severity::High,
        caps: Caps { high: Some(0), medium: Some(0), low: Some(0) },
        ..bo.wants.clone()
    };
    let strict = Recipient { wants: none, ..bo.clone() };
    let step = asks(&mut world, &run, vec![(mail("oncall"), vec![strict], None)]).remove(0);
    assert_eq!(words(step.mail.as_ref().unwrap()), [("bo@example.com".to_owned(), "now")]);
    assert_eq!(step.mail.unwrap().to[0].counts_until, None);
    let key = EffectKey::new(&world.state.journal, &run, 0);
    world.put(Input::Done { key, reply: done(Class::Ok) }).unwrap();
    world.ask(&run, vec![], Some(End::Finished { value: Value::Null })).unwrap();
    mailed(&mut world, "medium", "oncall", std::slice::from_ref(&bo));
    assert!(world.state.groups.is_empty(), "what comes later begins a digest of its own");
}

#[test]
fn a_digest_closes_at_the_earlier_of_its_times_and_names_an_alert_once() {
    let mut world = World::new(PLAIN, NONE);
    world.pass(12 * 3600);
    let evening = Quiet { from: 20 * 60, until: 22 * 60, days: [true; 7], zone: jiff::tz::TimeZone::UTC, except: None };
    let wants = Wants { quiet: Some(evening), caps: Caps { low: Some(0), ..Caps::NONE }, ..Wants::default() };
    let bo = someone("bo@example.com", wants);
    let capped = run(&mut world, "low");
    let first = asks(&mut world, &capped, vec![(mail("oncall"), vec![bo.clone()], None)]).remove(0).mail.unwrap();
    assert_eq!((first.later[0].why, first.later[0].due), (Wait::Cap, at("2030-01-02T08:00:00Z")));
    let again = asks(&mut world, &capped, vec![(mail("oncall"), vec![bo.clone()], None)]).remove(0).mail.unwrap();
    assert_eq!(again.later[0].group, first.later[0].group);
    world.pass(9 * 3600);
    let quiet = mailed(&mut world, "high", "oncall", std::slice::from_ref(&bo));
    assert_eq!((quiet.later[0].why, quiet.later[0].due), (Wait::QuietHours, at("2030-01-01T22:00:00Z")));
    world.pass(3600);
    let (alerts, digest, _) = closes(&mut world);
    assert_eq!(alerts, ["a-1.0", "a-2.0"]);
    assert_eq!(digest.waits, BTreeMap::from([(Wait::Cap, 1), (Wait::QuietHours, 1)]));
    assert!(world.state.timers.is_empty(), "{:?}", world.state.timers);
}

#[test]
fn of_very_many_the_worst_are_named_and_the_others_counted() {
    let mut world = World::new(PLAIN, NONE);
    let none = Caps { high: Some(0), medium: Some(0), low: Some(0) };
    let bo = someone("bo@example.com", Wants { caps: none, ..Wants::default() });
    for n in 0..300 {
        let severity = if n < 250 { "low" } else { "high" };
        mailed(&mut world, severity, "oncall", std::slice::from_ref(&bo));
    }
    world.pass(8 * 3600);
    let (alerts, digest, _) = closes(&mut world);
    assert_eq!(alerts.len(), 100, "as many as the mail lists");
    assert!((251..=300).all(|n| alerts.contains(&format!("a-{n}.0"))), "all that are worse");
    assert_eq!(
        (digest.more, digest.waits),
        (BTreeMap::from([(Severity::Low, 200)]), BTreeMap::from([(Wait::Cap, 300)]))
    );
}

#[test]
fn a_question_heeds_unsubscribes_alone_and_reaches_somebody() {
    let mut world = World::new(PLAIN, NONE);
    let picky = someone(
        "picky@example.com",
        Wants { at_least: Severity::High, caps: Caps { low: Some(0), ..Caps::default() }, ..Wants::default() },
    );
    unsubscribe(&mut world, "ann@example.com");
    let question = || {
        Effect::Approve(ApprovalRequest {
            id: None,
            question: "Isolate?".into(),
            by: vec!["approver".into()],
            not_by: None,
            until: at("2030-01-02T00:00:00Z"),
            otherwise: Choice::Deny,
            notify: Some("oncall".into()),
        })
    };
    let run = run(&mut world, "low");
    let both = vec![ann(), picky];
    let steps = asks(&mut world, &run, vec![(question(), both.clone(), None), (question(), vec![ann()], None)]);
    let plan = steps[0].mail.as_ref().unwrap();
    assert_eq!(words(plan), [("picky@example.com".to_owned(), "now"), ("ann@example.com".into(), "unsubscribed")]);
    let plan = steps[1].mail.as_ref().unwrap();
    assert_eq!((words(plan), plan.to_all), (vec![("ann@example.com".to_owned(), "now")], true));
    assert!(steps.iter().all(|step| step.value.is_none()));
}

#[test]
fn what_brakes_stop_goes_to_all_who_want_it_once_people_let_it() {
    let mut world = World::new(PLAIN, NONE);
    let none = Wants { caps: Caps { high: Some(0), medium: Some(0), low: Some(0) }, ..Wants::default() };
    let capped = someone("capped@example.com", none);
    let limit = || Some(one_a_minute());
    let run = run(&mut world, "medium");
    let only_later = (mail("oncall"), vec![capped.clone()], limit());
    let all = || (mail("oncall"), vec![ann(), capped.clone()], limit());
    let steps = asks(&mut world, &run, vec![only_later, all(), all()]);
    assert_eq!((steps[0].counts_until, &steps[0].release), (None, &None), "a digest uses up no limit");
    assert!(steps[1].counts_until.is_some() && steps[1].release.is_none());
    assert_eq!(words(steps[1].mail.as_ref().unwrap())[1].1, "cap");
    let stopped = steps[2].mail.as_ref().unwrap();
    assert!(steps[2].release.is_some() && stopped.later.is_empty());
    assert_eq!(words(stopped), [("ann@example.com".to_owned(), "now"), ("capped@example.com".into(), "now")]);
    assert!(stopped.to.iter().all(|now| now.counts_until.is_none()));
    let counted = world.state.recipients.counted("ann@example.com", Severity::Medium, world.at);
    assert_eq!(counted.map(|(count, _)| count), Some(1));
}

#[test]
fn no_limit_of_a_destination_stops_a_digest() {
    let mut world = World::new(PLAIN, NONE);
    let none = Wants { caps: Caps { high: Some(0), medium: Some(0), low: Some(0) }, ..Wants::default() };
    let (one, other) = (someone("one@example.com", none.clone()), someone("other@example.com", none));
    mailed(&mut world, "high", "oncall", &[one.clone(), other.clone()]);
    world.pass(8 * 3600);
    for to in [one, other] {
        let (_, _, run) = closes(&mut world);
        let steps = asks(&mut world, &run, vec![(mail("oncall"), vec![to], Some(one_a_minute()))]);
        assert_eq!((&steps[0].release, steps[0].counts_until), (&None, None), "what waited is not stopped again");
    }
}

#[test]
fn a_digest_that_runs_again_tells_the_same_recipient() {
    let mut world = World::new(PLAIN, NONE);
    let none = Caps { high: Some(0), medium: Some(0), low: Some(0) };
    let daily = Daily { minute: 60, zone: jiff::tz::TimeZone::UTC };
    let bo = someone("bo@example.com", Wants { caps: none, digest: daily, ..Wants::default() });
    mailed(&mut world, "low", "oncall", &[bo]);
    world.pass(3600);
    let (_, digest, run) = closes(&mut world);
    world.ask(&run, vec![], Some(End::Failed { error: "x".into(), place: None })).unwrap();
    let alerts = world.state.halted[&run].run.alerts.clone();
    let restart = Wish::Restart { run, alerts, digest: Some(Box::new(digest.clone())) };
    world.order(restart, "mended").unwrap();
    let (id, again) = world.state.runs.iter().find(|(id, _)| id.playbook == "digest").unwrap();
    assert_eq!((id.to_string(), again.digest.as_deref()), ("g-1/digest~2".to_owned(), Some(&digest)));
    assert!(at(EIGHT) > world.at, "its own time counts");
}

/// What waits when alerts join one by one.
#[derive(Default)]
struct OneByOne {
    alerts: Vec<AlertRef>,
    waits: u64,
    more: BTreeMap<Severity, u64>,
}

impl OneByOne {
    fn join(&mut self, world: &World, alert: AlertRef) {
        let severity = |alert: &AlertRef| world.state.alerts.get(alert.id).unwrap().peak;
        if self.alerts.iter().any(|member| member.id == alert.id) {
            return;
        }
        self.waits += 1;
        if self.alerts.len() < DIGEST_ALERTS_MAX {
            return self.alerts.push(alert);
        }
        let least = self.alerts.iter().enumerate().map(|(place, member)| (severity(member), place)).min();
        let (least, place) = least.unwrap();
        let counted = least.min(severity(&alert));
        if least < severity(&alert) {
            self.alerts.remove(place);
            self.alerts.push(alert);
        }
        *self.more.entry(counted).or_default() += 1;
    }
}

#[test]
fn the_alerts_of_a_group_wait_as_if_they_came_one_by_one() {
    let mut world = World::new(GROUP, NONE);
    let mut slow = OneByOne::default();
    for round in 0..6_usize {
        let alert = |n: usize| {
            let severity = Severity::ALL[(n * n + n * round) % (round.min(3) + 1)];
            json!({ "external_id": format!("{round}-{n}"), "kind": "k", "severity": severity })
        };
        world.record(Position::Stdin { line: 1 }, &(0..70).map(alert).collect::<Vec<_>>());
        world.pass(30);
        let Some(Due::Group { runs, alerts, .. }) = world.due() else { panic!("the group closes") };
        asks(
            &mut world,
            &runs[0],
            vec![(mail("oncall"), vec![patient()], None), (mail("oncall"), vec![patient()], None)],
        );
        for alert in alerts.iter().chain(&alerts) {
            slow.join(&world, *alert);
        }
        let group = world.state.groups.values().find(|group| group.digest.is_some()).unwrap();
        let digest = group.digest.as_deref().unwrap();
        assert_eq!(
            (&group.alerts, &digest.more, digest.waits[&Wait::Cap]),
            (&slow.alerts, &slow.more, slow.waits),
            "round {round}"
        );
    }
    assert!(slow.more.len() >= 2, "{:?}", slow.more);
}

#[test]
fn a_body_that_waits_is_not_replaced_by_an_earlier_one() {
    let route = "route:\n  - { id: high, title: H, owner: a@example.com, match: { severity: high }, playbooks: [ticket] }\n  \
                 - { id: all, title: A, owner: a@example.com, playbooks: [mail] }";
    let mut world = World::new(route, NONE);
    let low = world.alert(json!({ "external_id": "1", "severity": "low" }));
    let high = world.alert(json!({ "external_id": "1", "severity": "high" }));
    let risen = world.state.seq;
    // The run that began with the low one is slow to ask.
    for taken in [high, low] {
        let run = runs(&taken)[0].parse().unwrap();
        asks(&mut world, &run, vec![(mail("oncall"), vec![patient()], None)]);
    }
    world.pass(8 * 3600);
    let Some(Due::Group { alerts, .. }) = world.due() else { panic!("the digest closes") };
    assert_eq!(alerts.iter().map(|alert| alert.seq).collect::<Vec<_>>(), [risen]);
}

/// An outcome without success, with what is known of the recipients.
fn gave_up(world: &mut World, key: &EffectKey, value: Value) {
    let reply = Reply { class: Class::Dead, status: None, value, error: Some("gave up".into()) };
    world.put(Input::Done { key: key.clone(), reply }).unwrap();
}

fn ends(world: &mut World, run: &RunId) {
    world.ask(run, vec![], Some(End::Failed { error: "it is dead".into(), place: None })).unwrap();
}

/// What the mails have to know that are sent when a run goes on, by step.
fn goes_on(world: &mut World, run: &RunId) -> Vec<(u32, Option<Value>)> {
    let tasks = world.order(Wish::Retry(run.clone()), "mended").unwrap();
    let sends = tasks.into_iter().filter_map(|task| match task {
        Task::Send(send) => Some((send.step, send.progress)),
        _ => None,
    });
    sends.collect()
}

#[test]
fn a_run_that_goes_on_mails_nobody_who_has_the_mail_or_may_have_it() {
    let mut world = World::new(PLAIN, NONE);
    let run = run(&mut world, "high");
    asks(&mut world, &run, vec![(mail("oncall"), vec![], None)]);
    let key = EffectKey::new(&world.state.journal, &run, 0);
    // The first attempt is the last: only its outcome says what it brought.
    let told =
        json!({ "accepted": ["a@example.com"], "refused": { "b@example.com": "550" }, "unknown": ["c@example.com"] });
    gave_up(&mut world, &key, told);
    ends(&mut world, &run);
    let known = json!({ "accepted": ["a@example.com"], "refused": {}, "unknown": ["c@example.com"] });
    assert_eq!(goes_on(&mut world, &run), [(0, Some(known))]);

    // What came of it when it was sent alone counts as well.
    gave_up(&mut world, &key, json!({ "accepted": ["a@example.com"], "refused": {} }));
    ends(&mut world, &run);
    let order = retry(&world, &key, &run);
    world.put(order).unwrap();
    gave_up(&mut world, &key, json!({ "accepted": ["a@example.com", "b@example.com"], "refused": {} }));
    let known = json!({ "accepted": ["a@example.com", "b@example.com"], "refused": {} });
    assert_eq!(goes_on(&mut world, &run), [(0, Some(known))]);
}

#[test]
fn what_is_sent_again_while_its_run_is_open_is_not_sent_twice_when_that_goes_on() {
    let mut world = World::new(PLAIN, NONE);
    let run = run(&mut world, "high");
    asks(&mut world, &run, vec![(mail("oncall"), vec![], None), (mail("soc"), vec![], None)]);
    let [first, second] = [0, 1].map(|step| EffectKey::new(&world.state.journal, &run, step));
    gave_up(&mut world, &first, json!({ "accepted": ["a@example.com"], "refused": {} }));
    let order = retry(&world, &first, &run);
    world.put(order).unwrap();
    let value = json!({ "accepted": ["a@example.com", "b@example.com"], "refused": {} });
    let reply = Reply { class: Class::Ok, status: None, value: value.clone(), error: None };
    world.put(Input::Done { key: first, reply }).unwrap();
    gave_up(&mut world, &second, Value::Null);
    ends(&mut world, &run);
    assert_eq!(goes_on(&mut world, &run), [(0, Some(value)), (1, None)]);
}
