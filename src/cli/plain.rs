//! Decisions, runs and changes in plain words. Everything that came from outside is scrubbed on its way in.

use std::fmt::Display;

use anstyle::Style;
use serde_json::Value;

use crate::cli::ordered::order;
use crate::cli::output::{
    BAD, BOLD, FAINT, GOOD, Look, NAME, WARN, ago, count, severity_style, short_hash, status_style, styled, took, when,
    when_ago,
};
use crate::cli::scrub;
use crate::daemon::query::BundleRef;
use crate::daemon::query::alert::Seen;
use crate::daemon::query::alerts::AlertRow;
use crate::daemon::query::run::{OrderView, Outcome, RunView, StepView};
use crate::daemon::query::runs::RunState;
use crate::domain::alert::{Severity, Status};
use crate::domain::decision::{Anew, Identity, Key, Reason, RouteVerdict, RuleRef, Window};
use crate::domain::effect::{Class, Effect, EmailRequest, WebhookRequest};
use crate::domain::entry::End;
use crate::domain::mail::{Later, MailPlan, Never, Omit, Wait};
use crate::domain::record::Position;

/// Longest text that came from outside and is shown within a line, in cells.
const INLINE_WIDTH: usize = 200;

/// Text from outside, within a line.
pub fn safe(text: impl Display) -> String {
    scrub::cut(&scrub::line(&text.to_string()), INLINE_WIDTH)
}

/// Text that is built line by line.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Adds a line; its parts are scrubbed already.
    pub fn line(&mut self, indent: usize, text: impl Display) {
        self.0.push_str(&" ".repeat(indent));
        self.0.push_str(&text.to_string());
        self.0.push('\n');
    }

    /// Adds a line that begins with a label.
    pub fn labelled(&mut self, indent: usize, label: &str, text: impl Display) {
        self.line(indent, format!("{} {text}", styled(FAINT, format!("{label:<10}"))));
    }

    /// Adds text from outside with its own line ends, wrapped.
    pub fn block(&mut self, indent: usize, text: &str, look: &Look) {
        let width = look.width.min(100).saturating_sub(indent).max(20);
        for line in scrub::block(text).lines() {
            for piece in wrap(line, width) {
                self.line(indent, piece);
            }
        }
    }

    /// Adds an empty line.
    pub fn gap(&mut self) {
        self.0.push('\n');
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.0
    }
}

fn wrap(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let mut pieces = vec![String::new()];
    for word in line.split(' ') {
        let last = pieces.last_mut().expect("it begins with one");
        let room = width.saturating_sub(last.chars().count());
        if !last.is_empty() && word.chars().count() + 1 > room {
            pieces.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    pieces
}

/// The alert on one line.
pub fn alert_head(row: &AlertRow) -> String {
    let severity = row.severity.as_str().to_uppercase();
    format!(
        "{}  {}  {}  {}",
        styled(NAME, row.id),
        styled(severity_style(row.severity), severity),
        styled(status_style(row.status), row.status),
        styled(BOLD, safe(&row.title)),
    )
}

/// A rule with its place.
pub fn rule(rule: &RuleRef) -> String {
    format!("{} ({})", styled(BOLD, safe(&rule.id)), safe(&rule.place))
}

/// A bundle with its commit.
pub fn bundle(bundle: &BundleRef) -> String {
    match &bundle.commit {
        Some(commit) => format!("{} (commit {})", short_hash(&bundle.id), short_hash(commit)),
        None => format!("{} (no git commit)", short_hash(&bundle.id)),
    }
}

/// Where a record lay.
pub fn position(position: &Position) -> String {
    match position {
        Position::File(file) => format!("file {} at byte {}", safe(&file.path), file.offset),
        Position::Folder(file) => format!("file {}, record {}", safe(&file.file), u64::from(file.index) + 1),
        Position::Http(http) => {
            let key = http.key.as_ref().map(|key| format!(", idempotency key {}", safe(key))).unwrap_or_default();
            format!("request from {}, record {}{key}", safe(&http.peer), u64::from(http.index) + 1)
        }
        Position::Sample { by } => format!("a sample that {} sent", safe(by)),
        Position::Stdin { line } => format!("standard input, line {line}"),
        Position::Retry { quarantine } => format!("quarantined record {quarantine}, sent through again"),
    }
}

/// A rule's key: the values that alerts have in common.
pub fn key(key: &Key) -> String {
    let sets = key.iter().map(|set| if set.is_empty() { "nothing".to_owned() } else { set.join("+") });
    safe(sets.collect::<Vec<_>>().join(", "))
}

/// One decision with what each stage said, and which stage stopped what.
pub fn decision(page: &mut Page, indent: usize, seen: &Seen, look: &Look) {
    if let Some(Reason::Duplicate { by, count: n, anew: None, .. }) = seen.decision.reasons.first() {
        repeats(page, indent, seen, *by, *n);
        return;
    }
    let (at, bundle) = (when(seen.at), bundle(&seen.bundle));
    page.line(indent, format!("{} {at} by bundle {bundle}, journal entry {}", styled(BOLD, "decided"), seen.seq));
    let indent = indent + 2;
    page.labelled(indent, "record", format!("{} ({})", seen.record_no, position(&seen.position)));
    page.labelled(indent, "format", safe(&seen.format));
    let mut reasons = seen.decision.reasons.as_slice();
    if let Some((Reason::Duplicate { by, count, anew: Some(anew), was }, rest)) = reasons.split_first() {
        page.labelled(indent, "duplicate", duplicate(*by, *count, *anew, *was));
        if matches!(anew, Anew::Changed) {
            page.labelled(indent, "suppress", styled(FAINT, "not reached: a mere change starts nothing"));
        }
        reasons = rest;
    } else {
        page.labelled(indent, "duplicate", "no, seen for the first time");
    }
    if !reasons.is_empty() && !matches!(reasons, [Reason::Suppress { .. }, ..]) {
        page.labelled(indent, "suppress", "no rule matched");
    }
    for reason in reasons {
        stage(page, indent, reason, look);
    }
    page.labelled(indent, "status", styled(status_style(seen.decision.status), seen.decision.status));
}

fn repeats(page: &mut Page, indent: usize, seen: &Seen, by: Identity, n: u64) {
    let by = identity(by);
    let text = if seen.times == 1 {
        format!("{} {} as sighting {n}: known by {by}", styled(BOLD, "repeated"), when(seen.at))
    } else {
        let (from, until) = (when(seen.at), when(seen.until));
        let times = count(seen.times, "time");
        format!("{} {times}, {from} to {until}: known by {by}", styled(BOLD, "repeated"))
    };
    page.line(indent, format!("{text}; only counted, so no later stage was reached and nothing started"));
}

const fn identity(by: Identity) -> &'static str {
    match by {
        Identity::ExternalId => "its external id",
        Identity::Fingerprint => "its fingerprint",
    }
}

fn duplicate(by: Identity, count: u64, anew: Anew, was: Option<Status>) -> String {
    let why = match anew {
        Anew::SeverityRose { from, to } => format!("decided anew, because its severity rose from {from} to {to}"),
        Anew::Reopened => "decided anew, because it was closed and is active again".to_owned(),
        Anew::NotSuppressedAnyMore => "decided anew, because its suppression no longer matches".to_owned(),
        Anew::NotSilencedAnyMore => "decided anew, because its silence has ended".to_owned(),
        Anew::Changed => "its severity fell or its status changed: recorded, nothing started".to_owned(),
    };
    let was = was.filter(|_| anew != Anew::Reopened);
    let was = was.map(|was| format!("; it was {was} and is open again")).unwrap_or_default();
    format!("sighting {count}, known by {}; {why}{was}", identity(by))
}

pub fn stage(page: &mut Page, indent: usize, reason: &Reason, look: &Look) {
    match reason {
        Reason::Duplicate { .. } => {}
        Reason::Suppress { rule: by, expires } => {
            let until = match expires {
                Some(expires) => format!("the rule expires {} ({})", when(*expires), ago(*expires, look)),
                None => "the rule never expires".to_owned(),
            };
            page.labelled(indent, "suppress", format!("{}: {}; {until}", rule(by), styled(WARN, "dismissed")));
            page.labelled(indent, "route", styled(FAINT, "not reached: the suppression stopped it; nothing started"));
        }
        Reason::Silence { silence, by, until } => {
            let who = format!("{} by {} until {}", styled(BOLD, silence), safe(by), when_ago(*until, look));
            page.labelled(indent, "silence", format!("{who}: {}", styled(WARN, "kept quiet")));
            page.labelled(indent, "route", styled(FAINT, "not reached: the silence stopped it; nothing started"));
        }
        Reason::Resolved => {
            page.labelled(
                indent,
                "route",
                styled(FAINT, "not reached: the source says that it is over; nothing started"),
            );
        }
        Reason::NoRoute => page.labelled(indent, "route", styled(WARN, "no route matched; nothing started")),
        Reason::Route { rule: by, window, unthrottled, verdict } => {
            page.labelled(indent, "route", format!("{}: {}", rule(by), routed(verdict, window.as_ref())));
            if let (Some(window), false) = (window, matches!(verdict, RouteVerdict::Throttled)) {
                page.labelled(indent, "", format!("throttle for {}: {}", key(&window.key), through(window)));
            }
            if *unthrottled {
                page.labelled(indent, "", styled(WARN, "not throttled: there were too many windows already"));
            }
            if let RouteVerdict::Grouped { key: Some(values), .. } = verdict {
                page.labelled(indent, "", format!("group of {}", key(values)));
            }
        }
    }
}

fn routed(verdict: &RouteVerdict, window: Option<&Window>) -> String {
    match verdict {
        RouteVerdict::Muted { time } => format!("{} by {}; nothing started", styled(WARN, "muted"), safe(time)),
        RouteVerdict::Throttled => {
            let window = window.map(|window| format!(" for {}: {}", key(&window.key), through(window)));
            format!("{}{}; nothing started", styled(WARN, "throttled"), window.unwrap_or_default())
        }
        RouteVerdict::Grouped { group, due, playbooks, .. } => {
            let what = format!("{} when it closes at {}", names(playbooks), when(*due));
            format!("joined group {}, which starts {what}", styled(NAME, group))
        }
        RouteVerdict::Run { runs, ran_before } => {
            let started: Vec<String> = runs.iter().map(|run| run.playbook.clone()).collect();
            match (started.is_empty(), ran_before.is_empty()) {
                (false, true) => format!("started {}", names(&started)),
                (false, false) => format!("started {}; {} had run for it before", names(&started), names(ran_before)),
                (true, _) => format!("nothing started, since {} had run for it before", names(ran_before)),
            }
        }
        RouteVerdict::Record => "on record only, since the route names no playbook".to_owned(),
    }
}

fn names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| styled(GOOD, safe(name))).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn through(window: &Window) -> String {
    let Window { passed, surplus, until, .. } = window;
    let held = if *surplus == 0 { String::new() } else { format!(", {surplus} held back") };
    format!("{passed} let through{held}, until {}", when(*until))
}

/// How a run stands, in its colour.
pub fn run_state(state: RunState) -> String {
    styled(run_style(state), state.as_str())
}

/// How the state of a run looks.
pub const fn run_style(state: RunState) -> Style {
    match state {
        RunState::Waiting => NAME,
        RunState::Retrying => WARN,
        RunState::Finished => GOOD,
        RunState::Failed | RunState::Stalled => BAD,
        RunState::Cancelled => FAINT,
    }
}

/// A run with each of its steps.
pub fn run(page: &mut Page, indent: usize, view: &RunView, look: &Look) {
    run_head(page, indent, view, look);
    run_steps(page, indent + 2, view, look);
}

/// How a run stands.
pub fn run_head(page: &mut Page, indent: usize, view: &RunView, look: &Look) {
    let row = &view.row;
    let since = match (row.ended, &row.waiting_for) {
        (Some(ended), _) => format!("after {}", took(row.started, ended)),
        (None, Some(what)) => format!("for {}  {}", took(row.started, look.now), safe(what)),
        (None, None) => format!("for {}", took(row.started, look.now)),
    };
    page.line(indent, format!("{}  {} {since}", styled(NAME, safe(&row.id)), run_state(row.state)));
}

/// Each step of a run, and how the run ended.
pub fn run_steps(page: &mut Page, indent: usize, view: &RunView, look: &Look) {
    for view in &view.steps {
        step(page, indent, view, look);
    }
    match &view.end {
        Some(End::Failed { error, place }) => {
            let place = place.as_ref().map(|place| format!(" at {}", safe(place))).unwrap_or_default();
            page.line(indent, format!("{}{place}: {}", styled(BAD, "failed"), safe(error)));
        }
        Some(End::Stalled { step, expected, got }) => page.line(
            indent,
            format!(
                "{} at step {step}: on record is {}, but the replay asked for {}; nothing more is done",
                styled(BAD, "stalled"),
                safe(expected),
                safe(got)
            ),
        ),
        Some(End::Finished { value }) if !value.is_null() => page.line(indent, format!("returned {}", safe(value))),
        Some(End::Finished { .. }) | None => {}
    }
    if let Some(at) = view.given_up {
        let why = "given up: retention dropped what it needs, so it can be neither retried nor restarted";
        page.line(indent, format!("{} {}", when(at), styled(WARN, why)));
    }
    for OrderView { at, operator } in &view.orders {
        page.line(indent, format!("{} {}", when(*at), order(operator)));
    }
}

fn step(page: &mut Page, indent: usize, view: &StepView, look: &Look) {
    let state = match (&view.outcome, view.next, view.attempts.last()) {
        _ if view.mail.as_ref().is_some_and(MailPlan::is_for_nobody) => "nobody gets it now".to_owned(),
        (Some(outcome), ..) if matches!(view.effect, Effect::Approve(_)) => decided(view, outcome),
        (None, Some(next), _) if matches!(view.effect, Effect::Approve(_)) => {
            format!("{} for a decision ({})", styled(NAME, "waits"), ago(next, look))
        }
        (Some(outcome), ..) => outcome_words(outcome),
        (None, Some(next), Some(last)) => {
            let due = format!("at {} ({})", when(next), ago(next, look));
            format!("{}: attempt {} {due}", styled(WARN, "waits"), last.n + 1)
        }
        (None, Some(next), None) => format!("{} ({})", styled(NAME, "waits"), ago(next, look)),
        (None, None, last) => {
            let attempt = last.map_or(1, |last| last.n + 1);
            format!("{}: attempt {attempt}", styled(NAME, "under way"))
        }
    };
    page.line(indent, format!("{} {} {}  {state}", view.n, when(view.intended), effect(&view.effect)));
    for attempt in &view.attempts {
        let code = attempt.status.map(|code| format!(" ({code})")).unwrap_or_default();
        let failed = styled(WARN, format!("attempt {} failed", attempt.n));
        page.line(indent + 4, format!("{failed} {}{code}: {}", when(attempt.at), safe(&attempt.error)));
    }
    if let Some(plan) = &view.mail {
        mail_plan(page, indent + 4, plan);
    }
    if let Some(told) = &view.told {
        page.line(indent + 4, format!("the mail about it: {}", outcome_words(told)));
    }
    for outcome in &view.resent {
        page.line(indent + 4, format!("sent again on an operator's word: {}", outcome_words(outcome)));
    }
    if let Some(key) = &view.key {
        page.line(indent + 4, styled(FAINT, format!("key {key}")));
    }
}

/// Who does not get a mail at once, and why.
fn mail_plan(page: &mut Page, indent: usize, plan: &MailPlan) {
    for Later { to, why, group, due } in &plan.later {
        let why = match why {
            Wait::Cap => format!("has had enough mails of {} severity for a day", plan.severity.max(Severity::Low)),
            Wait::QuietHours => "is not to be disturbed".to_owned(),
        };
        page.line(indent, format!("{} {why}: in digest {group} at {}", safe(&to.address), when(*due)));
    }
    for Never { address, why } in &plan.not {
        let why = match why {
            Omit::BelowMinimum => "wants to hear of what is more severe only",
            Omit::Unsubscribed => "is unsubscribed",
        };
        page.line(indent, styled(FAINT, format!("{} {why}", safe(address))));
    }
    if plan.to_all {
        page.line(indent, styled(WARN, "all have unsubscribed and got it all the same, since it is a question"));
    }
}

/// How a question to people was decided. The deadline goes before an order of the same instant.
fn decided(view: &StepView, outcome: &Outcome) -> String {
    let (style, word) = if outcome.value == true { (GOOD, "approved") } else { (BAD, "denied") };
    let late = matches!(&view.effect, Effect::Approve(request) if request.until <= outcome.at);
    let late = if late { ", since nobody had decided in time" } else { "" };
    format!("{} at {}{late}", styled(style, word), when(outcome.at))
}

/// How a step ended.
pub fn outcome_words(outcome: &Outcome) -> String {
    let (style, word) = match outcome.class {
        Class::Ok => (GOOD, "ok"),
        Class::Rejected => (BAD, "rejected"),
        Class::Dead => (BAD, "given up"),
        Class::Unknown => (WARN, "unknown: it may or may not have arrived"),
    };
    let word = styled(style, word);
    if outcome.attempts == 0 {
        return if outcome.value.is_null() { word } else { format!("{word}: {}", safe(&outcome.value)) };
    }
    let code = outcome.status.map(|code| format!(" ({code})")).unwrap_or_default();
    let error = outcome.error.as_ref().map(|error| format!(": {}", safe(error))).unwrap_or_default();
    format!("{word}{code} at {} after {}{error}", when(outcome.at), count(outcome.attempts.into(), "attempt"))
}

/// What a step asks for.
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Webhook(WebhookRequest { destination, method, path, .. }) => {
            let method = method.as_ref().map(|method| format!("{} ", safe(method))).unwrap_or_default();
            let path: String = path.iter().map(|part| format!("/{}", safe(part))).collect();
            let path = if path.is_empty() { path } else { format!(", path {path}") };
            format!("webhook {method}to {}{path}", styled(BOLD, safe(destination)))
        }
        Effect::Email(EmailRequest { destination, template, subject, .. }) => {
            let subject = subject.as_ref().map(|subject| format!(", “{}”", safe(subject))).unwrap_or_default();
            format!("email to {}, template {}{subject}", styled(BOLD, safe(destination)), safe(template))
        }
        Effect::Sleep { until } => format!("sleep until {}", when(*until)),
        Effect::Approve(request) => {
            let id = request.id.map(|id| format!(" {id}")).unwrap_or_default();
            let (by, until) = (safe(request.by.join(" or ")), when(request.until));
            format!("approve{id} “{}”, by {by} until {until}, otherwise {}", safe(&request.question), request.otherwise)
        }
        Effect::Now | Effect::Random => effect.kind().to_owned(),
        Effect::Log { level, text } => format!("log {}: {}", safe(level), safe(text)),
        Effect::SetStatus { alert, status, comment } => {
            let comment = comment.as_ref().map(|comment| format!(": “{}”", safe(comment))).unwrap_or_default();
            format!("set_status of {alert} to {status}{comment}")
        }
        Effect::Tag { alert, tag } => format!("tag {alert} with {}", safe(tag)),
    }
}

/// A JSON value on one line; text without its quotes.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) => safe(text),
        other => safe(other),
    }
}
