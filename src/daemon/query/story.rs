//! A small journal in which everything happens once, for the tests of views and commands.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::daemon::query::{LogLine, QueryError};
use crate::domain::alert::{Alert, Severity, Status};
use crate::domain::decision::{AlertRef, Anew, Decision, Identity, Reason, RouteVerdict, RuleRef, Window};
use crate::domain::effect::{Class, Effect, EffectKey, EmailRequest, Mode, Reply, WebhookRequest};
use crate::domain::entry::{
    Attempt, BundleFacts, Due, End, Facts, Intake, Intent, Log, Quarantine, RunEnd, Step, StepResult, Taken,
};
use crate::domain::id::{AlertId, GroupId};
use crate::domain::operator::{Operator, Order};
use crate::domain::record::{Body, HttpPosition, Position};
use crate::journal::writer::Journal;
use crate::journal::{Draft, Settings};

/// A title that would clear the screen, set the window's title, reverse the text and fill the screen.
pub fn hostile_title() -> String {
    format!("\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}gpj.exe\u{2066}\r\nerror: {}", "A".repeat(10_000))
}

/// The instant this many seconds after the beginning of the story.
pub fn at(secs: i64) -> Timestamp {
    let begin: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
    begin + jiff::SignedDuration::from_secs(secs)
}

fn alert(title: &str, severity: Severity, secs: i64) -> Alert {
    let fields = json!({
        "source": "defender", "title": title, "severity": severity, "received": at(secs),
        "kind": "VM_SuspiciousPowerShell", "external_id": format!("ext-{secs}"), "vendor": "Microsoft",
        "product": "Defender for Cloud", "techniques": ["T1059.001"], "source_severity": "High",
        "entities": { "host": [{ "name": "web-01", "os": "windows" }] },
        "description": "An encoded command was run.\nIt fetched a file.",
        "remediation": ["Isolate the host.", "Reset the account."],
        "links": [{ "label": "portal", "url": "https://example.com/alert/1" }],
    });
    serde_json::from_value(fields).unwrap()
}

fn rule(id: &str, place: &str) -> RuleRef {
    RuleRef { id: id.into(), place: place.into() }
}

fn taken(id: &str, alert: Alert, status: Status, reasons: Vec<Reason>) -> Taken {
    let identity = "00000000000000ff".into();
    let id = id.parse().unwrap();
    Taken { id, part: "/alert".into(), alert, identity, identity_until: None, decision: Decision { status, reasons } }
}

fn intake(record_no: u64, alerts: Vec<Taken>) -> Facts {
    let record = json!({ "n": record_no, "alert": { "name": alerts.first().map(|taken| &taken.alert.title) } });
    Facts::Intake(Box::new(Intake {
        record_no,
        source: "defender".into(),
        position: Position::Http(HttpPosition { key: None, index: 0, peer: "192.0.2.7:50000".into() }),
        record: Body::Text(record.to_string()),
        format: "defender-rest".into(),
        bundle: bundle_id(),
        alerts,
        redelivery_of: None,
    }))
}

fn bundle_id() -> String {
    "3f2a91c0".repeat(8)
}

fn started(route: &str, runs: &[&str]) -> Reason {
    let runs = runs.iter().map(|run| run.parse().unwrap()).collect();
    let verdict = RouteVerdict::Run { runs, ran_before: Vec::new() };
    Reason::Route { rule: rule(route, "rules/route/main.yaml:4"), window: None, unthrottled: false, verdict }
}

fn window(passed: u64, surplus: u64) -> Option<Window> {
    let key = vec![vec!["VM_SuspiciousPowerShell".into()], vec!["web-01".into()]];
    Some(Window { key, passed, surplus, until: at(86_400) })
}

fn grouped() -> Reason {
    let verdict = RouteVerdict::Grouped {
        group: GroupId(1),
        key: Some(vec![vec!["web-01".into()]]),
        due: at(90),
        playbooks: vec!["chat".into()],
    };
    Reason::Route { rule: rule("low", "rules/route/main.yaml:19"), window: None, unthrottled: false, verdict }
}

fn key(run: &str, step: u32) -> EffectKey {
    EffectKey::new("journal", &run.parse().unwrap(), step)
}

fn step(run: &str, n: u32, effect: Effect, value: Value) -> Step {
    let key = effect.destination().map(|_| key(run, n));
    let mode = key.as_ref().map(|_| Mode::AtLeastOnce);
    let (release, mail, counts_until, value) = (None, None, None, (!value.is_null()).then_some(value));
    Step {
        n,
        effect,
        args_sha256: "0".repeat(64),
        key,
        mode,
        release,
        mail,
        counts_until,
        playbook_counts_until: None,
        value,
    }
}

fn webhook(destination: &str) -> Effect {
    let request = json!({ "destination": destination, "method": "POST", "path": ["issues"], "body": { "a": 1 } });
    Effect::Webhook(serde_json::from_value::<WebhookRequest>(request).unwrap())
}

fn email() -> Effect {
    let request = json!({ "destination": "oncall", "template": "alert", "subject": "HIGH: PowerShell on web-01" });
    Effect::Email(serde_json::from_value::<EmailRequest>(request).unwrap())
}

fn asks(run: &str, steps: Vec<Step>) -> Facts {
    Facts::Intent(Intent { run: run.parse().unwrap(), steps })
}

fn failed(run: &str, step: u32, n: u32, next: i64) -> Facts {
    let error = "the destination answered 503".into();
    Facts::Attempt(Attempt {
        key: key(run, step),
        n,
        error,
        status: Some(503),
        ambiguous: false,
        next: at(next),
        progress: None,
    })
}

fn done(run: &str, step: u32, attempts: u32, status: u16) -> Facts {
    let reply = Reply { class: Class::Ok, status: Some(status), value: json!({ "status": status }), error: None };
    Facts::Result(StepResult { run: run.parse().unwrap(), step, key: key(run, step), attempts, reply, resent: false })
}

fn ended(run: &str, end: End) -> Facts {
    Facts::Run(RunEnd { run: run.parse().unwrap(), steps: Vec::new(), end })
}

fn again(count: u64, anew: Option<Anew>) -> Reason {
    Reason::Duplicate { by: Identity::ExternalId, count, anew, was: None }
}

/// What happened, and when, in seconds after the beginning.
pub fn facts() -> Vec<(i64, Facts)> {
    let mut story = beginning();
    story.extend(held_back());
    story.extend(group());
    story.extend(trouble());
    story
}

/// An alert that starts two runs, one of them with a retry, and that is seen again.
fn beginning() -> Vec<(i64, Facts)> {
    use Severity::{High, Medium};
    let title = "Suspicious PowerShell on web-01";
    let (mail, ticket, id) = ("a-1.0/notify-email", "a-1.0/ticket", AlertId { record: 1, index: 0 });
    let counts = BTreeMap::from([("routes".into(), 2), ("playbooks".into(), 4)]);
    let commit = Some("9c50b39d".repeat(5));
    let status = Effect::SetStatus { alert: id, status: Status::InProgress, comment: Some("ticket 7".into()) };
    let tag = Effect::Tag { alert: id, tag: "ticketed".into() };
    let sleep = Effect::Sleep { until: at(3600) };
    let mut route = started("high", &[mail, ticket]);
    if let Reason::Route { window: place, .. } = &mut route {
        *place = window(1, 0);
    }
    vec![
        (0, Facts::Log(Log::Opened { journal: "journal".into(), version: "0.1.0".into() })),
        (0, Facts::Bundle(BundleFacts { id: bundle_id(), commit, counts })),
        (1, intake(1, vec![taken("a-1.0", alert(title, Medium, 1), Status::Active, vec![route])])),
        (
            1,
            asks(
                mail,
                vec![step(mail, 0, Effect::Now, json!("2026-11-22T03:00:01Z")), step(mail, 1, email(), Value::Null)],
            ),
        ),
        (1, asks(ticket, vec![step(ticket, 0, webhook("jira"), Value::Null)])),
        (2, done(mail, 1, 1, 250)),
        (2, ended(mail, End::Finished { value: Value::Null })),
        (3, failed(ticket, 0, 1, 8)),
        (8, Facts::Due(Due::Retry { key: key(ticket, 0) })),
        (9, done(ticket, 0, 2, 201)),
        (
            9,
            asks(
                ticket,
                vec![
                    step(ticket, 1, status, Value::Null),
                    step(ticket, 2, tag, Value::Null),
                    step(ticket, 3, sleep, Value::Null),
                ],
            ),
        ),
        (20, intake(2, vec![taken("a-1.0", alert(title, Medium, 1), Status::InProgress, vec![again(2, None)])])),
        (25, intake(3, vec![taken("a-1.0", alert(title, Medium, 1), Status::InProgress, vec![again(3, None)])])),
        (
            30,
            intake(
                4,
                vec![taken(
                    "a-1.0",
                    alert(title, High, 1),
                    Status::Active,
                    vec![
                        again(4, Some(Anew::SeverityRose { from: Medium, to: High })),
                        Reason::Route {
                            rule: rule("high", "rules/route/main.yaml:4"),
                            window: window(2, 0),
                            unthrottled: false,
                            verdict: RouteVerdict::Run {
                                runs: Vec::new(),
                                ran_before: vec!["notify-email".into(), "ticket".into()],
                            },
                        },
                    ],
                )],
            ),
        ),
    ]
}

/// A suppressed alert, a muted one with a hostile title, a throttled one, and a record that no format took.
fn held_back() -> Vec<(i64, Facts)> {
    let suppress = Reason::Suppress { rule: rule("scanner", "rules/suppress/net.yaml:3"), expires: Some(at(864_000)) };
    let muted = RouteVerdict::Muted { time: "night".into() };
    let route = |verdict, window| Reason::Route {
        rule: rule("high", "rules/route/main.yaml:4"),
        window,
        unthrottled: false,
        verdict,
    };
    let hostile = alert(&hostile_title(), Severity::High, 50);
    let throttled = vec![route(RouteVerdict::Throttled, window(4, 3))];
    vec![
        (
            40,
            intake(
                5,
                vec![taken("a-5.0", alert("Port scan", Severity::Medium, 40), Status::Dismissed, vec![suppress])],
            ),
        ),
        (50, intake(6, vec![taken("a-6.0", hostile, Status::Active, vec![route(muted, None)])])),
        (55, intake(7, vec![taken("a-7.0", alert("Seen often", Severity::High, 55), Status::Active, throttled)])),
        (
            58,
            Facts::Quarantine(Quarantine {
                record_no: 8,
                source: "defender".into(),
                position: Position::Stdin { line: 3 },
                record: Body::Text("{\"broken\": \x1b[31m\n".into()),
                cause: "no format took it: \x1b[31mexpected value at line 1 column 12".into(),
            }),
        ),
    ]
}

/// Two alerts that gather in a group, whose run is being retried.
fn group() -> Vec<(i64, Facts)> {
    let one = taken("a-9.0", alert("Login from a new place", Severity::Low, 60), Status::Active, vec![grouped()]);
    let note =
        taken("a-9.1", alert("Policy was read", Severity::Informational, 60), Status::Active, vec![Reason::NoRoute]);
    let two = taken("a-10.0", alert("Login at night", Severity::Low, 70), Status::Active, vec![grouped()]);
    let member = |record, seq| AlertRef { id: AlertId { record, index: 0 }, seq, at: 0 };
    let chat = "g-1/chat";
    vec![
        (60, intake(9, vec![one, note])),
        (70, intake(10, vec![two])),
        (
            90,
            Facts::Due(Due::Group {
                group: GroupId(1),
                rule: rule("low", "rules/route/main.yaml:19"),
                alerts: vec![member(9, 19), member(10, 20)],
                runs: vec![chat.parse().unwrap()],
                bundle: bundle_id(),
                digest: None,
            }),
        ),
        (90, asks(chat, vec![step(chat, 0, webhook("chat"), Value::Null)])),
        (91, failed(chat, 0, 1, 96)),
        (96, Facts::Due(Due::Retry { key: key(chat, 0) })),
        (97, failed(chat, 0, 2, 120)),
    ]
}

/// A run that fails, one that stalls, and a retry that goes well.
fn trouble() -> Vec<(i64, Facts)> {
    let (failing, stalling) = ("a-11.0/isolate", "a-11.0/enrich");
    let route = started("high", &[failing, stalling]);
    let end = End::Failed { error: "no field `hots`".into(), place: Some("playbooks/isolate.rhai:3:9".into()) };
    let stalled = End::Stalled { step: 0, expected: "webhook jira".into(), got: "email oncall".into() };
    let mut retried =
        intake(12, vec![taken("a-12.0", alert("Late", Severity::Low, 110), Status::Resolved, vec![Reason::Resolved])]);
    if let Facts::Intake(intake) = &mut retried {
        intake.position = Position::Retry { quarantine: 8 };
    }
    let order = Order::DeliveryRetry {
        key: key(failing, 0),
        run: failing.parse().unwrap(),
        step: 0,
        intent: 27,
        began: 26,
        result: 28,
        destination: "edr".into(),
        mode: Mode::AtLeastOnce,
        in_doubt: false,
        progress: None,
    };
    let refused =
        Reply { class: Class::Rejected, status: Some(404), value: Value::Null, error: Some("no such issue".into()) };
    vec![
        (100, intake(11, vec![taken("a-11.0", alert("Ransomware", Severity::High, 100), Status::Active, vec![route])])),
        (100, asks(failing, vec![step(failing, 0, webhook("edr"), Value::Null)])),
        (
            101,
            Facts::Result(StepResult {
                run: failing.parse().unwrap(),
                step: 0,
                key: key(failing, 0),
                attempts: 1,
                reply: refused,
                resent: false,
            }),
        ),
        (101, ended(failing, end)),
        (102, ended(stalling, stalled)),
        (110, retried),
        (
            120,
            Facts::Operator(Operator {
                actor: "ann (uid 1000)".into(),
                address: None,
                comment: "the issue is there now".into(),
                order,
            }),
        ),
        (
            121,
            Facts::Result(StepResult {
                run: failing.parse().unwrap(),
                step: 0,
                key: key(failing, 0),
                attempts: 1,
                reply: Reply { class: Class::Ok, status: Some(201), value: Value::Null, error: None },
                resent: true,
            }),
        ),
    ]
}

/// The story as the lines of a journal.
pub fn lines() -> Vec<Result<LogLine, QueryError>> {
    let numbered = (1..).zip(facts());
    let line = |(seq, (secs, facts)): (u64, (i64, Facts))| {
        let data = serde_json::value::RawValue::from_string(facts.data()).unwrap();
        Ok(LogLine { seq, at: at(secs), kind: facts.kind().into(), data, hash: format!("{seq:064x}") })
    };
    numbered.map(line).collect()
}

/// Writes the story into a journal.
pub fn journal(dir: &Path) -> Journal {
    let (journal, _) = crate::journal::open(dir, Settings::default(), &mut |_| Ok(())).unwrap();
    append(&journal, facts());
    journal
}

/// Goes on with the story, one batch an entry, and waits until all is on disk.
pub fn append(journal: &Journal, facts: Vec<(i64, Facts)>) {
    for (secs, facts) in facts {
        let (done, acknowledged) = mpsc::channel();
        let draft = Draft { at: at(secs), kind: facts.kind(), data: facts.data() };
        journal.append(draft, Box::new(move |receipt| done.send(receipt).unwrap()));
        acknowledged.recv().unwrap().unwrap();
    }
}
