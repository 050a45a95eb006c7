//! What a mail shows beyond what its playbook gave: the alerts, their thread, what the run did before, advice, its links.
//!
//! All of it is read from the journal as it stood when the mail was asked for, so an attempt years later gives the same mail.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::actions::message::OwnLinks;
use crate::actions::templates::{Background, Page};
use crate::daemon::addressees;
use crate::daemon::bundle::Bundle;
use crate::daemon::history::{self, Began, History, Unread};
use crate::daemon::links::own::About;
use crate::daemon::measures::latest_of;
use crate::daemon::perform::World;
use crate::domain::decision::{AlertRef, Reason, RouteVerdict};
use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::entry::{Due, Facts, Step};
use crate::domain::id::{GroupId, RunId, Trigger};
use crate::domain::mail::{self, MailPlan};
use crate::domain::operator::{Operator, Order};
use crate::domain::recipient::{Addressee, folded};
use crate::engine::tasks::Send;

/// Earlier steps that a mail tells of: the last ones.
const STEPS_MAX: usize = 12;

/// Entries between the start of an ended run and a mail of it that are looked through for the run's own.
const ENTRIES_MAX: u64 = 10_000;

/// What a mail shows.
#[derive(Default)]
pub(super) struct Mail {
    /// The alert, or the group's alerts.
    pub input: Value,
    /// What is known beyond that.
    pub background: Background,
    /// The bundle that the run began with.
    pub bundle: Option<Arc<Bundle>>,
    /// Who gets it.
    pub to: Vec<Addressee>,
    /// What it tells whom, when it is a digest's.
    pub digest: Option<Box<mail::Digest>>,
    /// The thread that it belongs to.
    pub thread: Option<String>,
    /// Each recipient's links.
    pub links: BTreeMap<String, OwnLinks>,
}

/// Reads what the mail of a flight shows; `asks`: it tells people of a question.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub(super) fn load(
    world: &World,
    job: &Send,
    asked: Timestamp,
    asks: bool,
    plan: Option<&MailPlan>,
) -> Result<Mail, Unread> {
    let history = &world.history;
    let Began { alerts: refs, bundle, digest } = history::start(history, job.began, &job.run)?;
    let bundle = world.bundles.get_short(&bundle).map_err(Unread::Content)?;
    let to = match plan {
        Some(plan) => plan.addressees(),
        // Of a version that did not put it on record.
        None => {
            let alerts = history::alerts(history, &refs)?;
            addressees::all(&world.destinations.load().settings, &bundle, &job.destination, &alerts, asks)
        }
    };
    let mut background = Background { did: did(history, job)?, ..Background::default() };
    if let (Trigger::Alert(_) | Trigger::Status(..), [alert]) = (job.run.trigger, refs.as_slice()) {
        advise(history, &bundle, *alert, &mut background)?;
    }
    let input = match job.run.trigger {
        Trigger::Alert(_) => history::alerts(history, &refs)?.swap_remove(0),
        Trigger::Group(_) => Value::Array(history::listed(history, &refs)?),
        Trigger::Status(_, seq) => {
            let mut changed = history::status_change(history, refs[0], seq)?;
            background.change = changed["change"].take();
            changed["alert"].take()
        }
    };
    let links = if asks { BTreeMap::new() } else { own_links(world, job, &to, asked) };
    let subject = match &digest {
        Some(digest) => format!("digests of {} for {}", digest.destination, folded(&digest.to.address)),
        None => subject(history, job.run.trigger, &refs)?,
    };
    let thread = Some(thread(&world.journal_id, &subject));
    Ok(Mail { input, background, bundle: Some(bundle), to, digest, thread, links })
}

/// What the recipients can do by links; a question has its own instead.
fn own_links(world: &World, job: &Send, to: &[Addressee], asked: Timestamp) -> BTreeMap<String, OwnLinks> {
    let offers = world.destinations.load().settings.offers_unsubscribe(&job.destination);
    let destination = offers.then_some(job.destination.as_str());
    let addresses = to.iter().map(|to| to.address.as_str());
    world.links.own(About::of(job.run.trigger, job.began), destination, addresses, asked)
}

/// What mails of one thread have in common: the alert, or the route and the key of the group.
///
/// The next group with the same key goes on in the same thread; alerts that lack a key field group alone.
fn subject(history: &History, trigger: Trigger, refs: &[AlertRef]) -> Result<String, Unread> {
    let group = match (trigger, refs.first()) {
        (Trigger::Alert(alert) | Trigger::Status(alert, _), _) => return Ok(alert.to_string()),
        (Trigger::Group(group), None) => return Ok(group.to_string()),
        (Trigger::Group(group), Some(first)) => (group, history.entry(first.seq)?),
    };
    let (group, written) = group;
    let Facts::Intake(intake) = &written.entry.facts else { return Ok(group.to_string()) };
    let reasons = intake.alerts.iter().flat_map(|taken| &taken.decision.reasons);
    Ok(reasons.filter_map(|reason| key_of(reason, group)).next().unwrap_or_else(|| group.to_string()))
}

/// Route and key, if this is what put an alert into the group.
fn key_of(reason: &Reason, wanted: GroupId) -> Option<String> {
    match reason {
        Reason::Route { rule, verdict: RouteVerdict::Grouped { group, key: Some(key), .. }, .. }
            if *group == wanted =>
        {
            Some(serde_json::to_string(&(&rule.id, key)).expect("lists of text"))
        }
        _ => None,
    }
}

fn thread(journal: &str, subject: &str) -> String {
    let digest = Sha256::digest(format!("thread v1\n{journal}\n{subject}"));
    format!("thread.{}", BASE32_NOPAD.encode(&digest[..16]).to_ascii_lowercase())
}

fn advise(history: &History, bundle: &Bundle, alert: AlertRef, background: &mut Background) -> Result<(), Unread> {
    let Facts::Intake(intake) = history.entry(alert.seq)?.entry.facts.clone() else { return Ok(()) };
    let Some((_, body)) = latest_of(*intake, alert.id) else { return Ok(()) };
    let guidance = bundle.rules.advice.guidance(alert.id, &body);
    background.mitigate = guidance.mitigate.into_iter().map(|hint| hint.text).collect();
    background.prevent = guidance.prevent.into_iter().map(|hint| hint.text).collect();
    background.inspect =
        guidance.inspect.into_iter().filter_map(|hint| Some(Page { label: hint.text, url: hint.url? })).collect();
    Ok(())
}

/// What the run did before it asked for this mail, one line each, oldest first.
fn did(history: &History, job: &Send) -> Result<Vec<String>, Unread> {
    let mut steps: BTreeMap<u32, (Effect, Option<String>)> = BTreeMap::new();
    for seq in entries(history, job)? {
        match &history.entry(seq)?.entry.facts {
            Facts::Intent(intent) => intent.steps.iter().for_each(|step| drop(steps.insert(step.n, begun(step)))),
            Facts::Result(result) => settle(&mut steps, result.step, outcome(&result.reply)),
            Facts::Due(Due::Timer { step, .. }) => settle(&mut steps, *step, "done".into()),
            Facts::Due(Due::Approval { step, choice, .. }) => {
                settle(&mut steps, *step, format!("nobody decided in time, so it was {}", choice.past()));
            }
            Facts::Operator(Operator { actor, order: Order::Approval(order), .. }) => {
                settle(&mut steps, order.step, format!("{} by {actor}", order.choice.past()));
            }
            _ => {}
        }
    }
    let told = steps.into_values().filter_map(|(effect, outcome)| line(&effect, outcome.as_deref()));
    let mut told: Vec<String> = told.collect();
    Ok(told.split_off(told.len().saturating_sub(STEPS_MAX)))
}

/// The entries of the run before the one that asks: as the state has them, or of a run that has ended, as the journal does.
fn entries(history: &History, job: &Send) -> Result<Vec<u64>, Unread> {
    if !job.entries.is_empty() {
        return Ok(job.entries.iter().copied().filter(|seq| *seq < job.intent).collect());
    }
    if job.intent.saturating_sub(job.began) > ENTRIES_MAX {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for seq in job.began + 1..job.intent {
        if of_run(&history.entry(seq)?.entry.facts, &job.run) {
            found.push(seq);
        }
    }
    Ok(found)
}

fn of_run(facts: &Facts, wanted: &RunId) -> bool {
    match facts {
        Facts::Intent(intent) => intent.run == *wanted,
        Facts::Result(result) => result.run == *wanted && !result.resent,
        Facts::Due(Due::Timer { run, .. } | Due::Approval { run, .. }) => run == wanted,
        Facts::Operator(Operator { order: Order::Approval(order), .. }) => order.run == *wanted,
        _ => false,
    }
}

fn begun(step: &Step) -> (Effect, Option<String>) {
    (step.effect.clone(), step.value.as_ref().map(|_| "done".to_owned()))
}

fn settle(steps: &mut BTreeMap<u32, (Effect, Option<String>)>, step: u32, outcome: String) {
    if let Some((_, told)) = steps.get_mut(&step) {
        *told = Some(outcome);
    }
}

fn outcome(reply: &Reply) -> String {
    let status = reply.status.map(|status| format!(" ({status})")).unwrap_or_default();
    let named = named(&reply.value).map(|name| format!(", {name}")).unwrap_or_default();
    match reply.class {
        Class::Ok => format!("done{status}{named}"),
        Class::Rejected => format!("refused{status}"),
        Class::Dead => "gave up".into(),
        Class::Unknown => "unclear whether it arrived".into(),
    }
}

/// What a peer called the thing that it made: the key of a ticket, most often.
fn named(value: &Value) -> Option<String> {
    let body = value.get("body")?;
    let found = ["key", "number", "id", "name"].iter().find_map(|name| body.get(name))?;
    match found {
        Value::String(text) if text.len() <= 64 => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One step in words, where it says something to people.
fn line(effect: &Effect, outcome: Option<&str>) -> Option<String> {
    let outcome = outcome.unwrap_or("under way");
    Some(match effect {
        Effect::Webhook(webhook) => format!("Sent a request to {}: {outcome}", webhook.destination),
        Effect::Email(email) => format!("Sent a mail to {}: {outcome}", email.destination),
        Effect::Approve(asked) => format!("Asked “{}”: {outcome}", asked.question),
        Effect::SetStatus { alert, status, .. } => format!("Set {alert} to {status}"),
        Effect::Tag { alert, tag } => format!("Tagged {alert} with {tag}"),
        Effect::Sleep { until } => format!("Waited until {}", until.strftime("%Y-%m-%d %H:%M:%S UTC")),
        Effect::Now | Effect::Random | Effect::Log { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_is_told_with_what_came_of_it() {
        let webhook: Effect = serde_json::from_value(json!({"webhook": {"destination": "jira"}})).unwrap();
        let reply = |value: Value| serde_json::from_value::<Reply>(value).unwrap();
        let made = reply(json!({"class": "ok", "status": 201, "value": {"body": {"key": "SEC-12"}}}));
        assert_eq!(line(&webhook, Some(&outcome(&made))).unwrap(), "Sent a request to jira: done (201), SEC-12");
        let refused = reply(json!({"class": "rejected", "status": 403}));
        assert_eq!(line(&webhook, Some(&outcome(&refused))).unwrap(), "Sent a request to jira: refused (403)");
        assert_eq!(line(&webhook, None).unwrap(), "Sent a request to jira: under way");
        assert_eq!(line(&Effect::Now, None), None);
    }

    #[test]
    fn threads_differ_by_what_they_are_about_and_by_journal() {
        assert_eq!(thread("j", "a-1.0"), thread("j", "a-1.0"));
        assert_ne!(thread("j", "a-1.0"), thread("j", "a-1.1"));
        assert_ne!(thread("j", "a-1.0"), thread("another", "a-1.0"));
    }
}
