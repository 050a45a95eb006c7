//! Makes attempts at effects and reports what came of them.
//!
//! An attempt reads what it has to send when it is its turn: whoever waits costs no more than its place in the queue.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;

use crate::actions::retry::next_attempt;
use crate::actions::templates::Templates;
use crate::actions::{Outcome, Request};
use crate::daemon::addressees;
use crate::daemon::breaker::Health;
use crate::daemon::clock;
use crate::daemon::core::Message;
use crate::daemon::fault::Fault;
use crate::daemon::history::{self, Asked, Unread};
use crate::daemon::mail::{self, Mail};
use crate::daemon::perform::{Counter, Destinations, World};
use crate::domain::effect::{Class, Effect, Mode, Reply};
use crate::domain::entry::Step;
use crate::domain::mail::{DIGEST, MailPlan};
use crate::domain::time::Span;
use crate::engine::input::Input;
use crate::engine::mails::told;
use crate::engine::tasks::Send;
use crate::sources::intake::Answer;

/// Makes one attempt, reports it, and says what it showed of the destination. What is not begun when the daemon stops is
/// left for the next start.
pub async fn attempt(world: Arc<World>, job: Send, stopping: watch::Receiver<bool>) -> Health {
    let destinations = world.destinations.load_full();
    if *stopping.borrow() || !begin(&world, &job).await {
        return Health::Unseen;
    }
    let (outcome, health) = match loaded(&world, &job).await {
        Ok(Ok(loaded)) => {
            let mut request = request(&job, &loaded);
            request.in_doubt &= world.fault != Some(Fault::SendWithoutProbe);
            let mut outcome = destinations.actions.send(request).await;
            if let (Outcome::Done(reply), Some(plan)) = (&mut outcome, &loaded.plan) {
                told(plan, &mut reply.value);
            }
            let health = health(&outcome);
            (outcome, health)
        }
        Ok(Err(Unread::Content(error))) => (Outcome::Done(rejected(error)), Health::Unseen),
        Ok(Err(Unread::Journal(error))) => {
            world.dies(&error);
            return Health::Unseen;
        }
        Err(error) => {
            world.dies(&format!("reading a request died: {error}"));
            return Health::Unseen;
        }
    };
    let _ = world.core.send(Message::Input(input(&world, &destinations, job, outcome), None)).await;
    health
}

fn health(outcome: &Outcome) -> Health {
    match outcome {
        outcome if outcome.is_outage() => Health::Fails,
        // It could not even be made.
        Outcome::Done(Reply { class: Class::Rejected, status: None, .. }) => Health::Unseen,
        _ => Health::Answers,
    }
}

/// Puts on record that an attempt that must not be repeated starts now; `false`: it may not start.
async fn begin(world: &World, job: &Send) -> bool {
    if job.mode != Mode::AtMostOnce || world.fault == Some(Fault::SendWithoutBegin) {
        return true;
    }
    let (to, durable) = oneshot::channel();
    let begin = Message::Input(Input::Begin { key: job.key.clone() }, Some(to));
    world.core.send(begin).await.is_ok() && matches!(durable.await, Ok(Answer::Accepted { .. }))
}

/// What is to be sent: from memory at once, or from the disk on a thread that may wait.
async fn loaded(world: &Arc<World>, job: &Send) -> Result<Result<Loaded, Unread>, JoinError> {
    let at_hand = world.history.recent.get(job.intent);
    let is_webhook = |step: &Step| matches!(step.effect, Effect::Webhook(_));
    if at_hand.is_some_and(|intent| history::request(&intent.entry, job.step).is_ok_and(is_webhook)) {
        return Ok(load(world, job));
    }
    let (world, job) = (world.clone(), job.clone());
    tokio::task::spawn_blocking(move || load(&world, &job)).await
}

struct Loaded {
    effect: Effect,
    asked: jiff::Timestamp,
    plan: Option<MailPlan>,
    log_head: String,
    /// What only mails show.
    mail: Option<Mail>,
}

fn load(world: &World, job: &Send) -> Result<Loaded, Unread> {
    let Asked { at: asked, effect, mail: plan, receipt } = history::asked(&world.history, job.intent, job.step)?;
    let asks = matches!(effect, Effect::Approve(_));
    let mut effect = match effect {
        Effect::Approve(request) => Effect::Email(world.links.mail(&request)),
        other => other,
    };
    let mail = match &mut effect {
        Effect::Email(request) => {
            let mail = mail::load(world, job, asked, asks, plan.as_ref())?;
            if let Some(digest) = mail.digest.as_ref().filter(|digest| digest.destination == request.destination) {
                request.data.insert(DIGEST.into(), addressees::digest(digest));
            }
            Some(mail)
        }
        _ => None,
    };
    Ok(Loaded { effect, asked, plan, log_head: receipt.to_string(), mail })
}

/// A webhook's body is all that it sends.
static NO_MAIL: LazyLock<Mail> = LazyLock::new(Mail::default);
static NO_TEMPLATES: LazyLock<Templates> = LazyLock::new(Templates::default);

fn request<'a>(job: &'a Send, loaded: &'a Loaded) -> Request<'a> {
    let mail = loaded.mail.as_ref().unwrap_or(&NO_MAIL);
    Request {
        key: &job.key,
        effect: &loaded.effect,
        attempt: job.attempt,
        at: loaded.asked,
        now: clock::now(),
        run: &job.run,
        input: &mail.input,
        background: &mail.background,
        templates: mail.bundle.as_ref().map_or(&NO_TEMPLATES, |bundle| &bundle.templates),
        to: &mail.to,
        thread: mail.thread.as_deref(),
        links: &mail.links,
        log_head: &loaded.log_head,
        progress: job.progress.as_ref(),
        in_doubt: job.in_doubt,
    }
}

/// What the core is told of an outcome.
fn input(world: &World, destinations: &Destinations, job: Send, outcome: Outcome) -> Input {
    let counter = world.counters.of(&job.destination);
    match outcome {
        Outcome::Done(reply) => {
            note(&counter, reply.class == Class::Ok, reply.error.as_deref());
            Input::Done { key: job.key, reply }
        }
        Outcome::Again { error, status, ambiguous, .. } if ambiguous && job.mode == Mode::AtMostOnce => {
            note(&counter, false, Some(&error));
            let reply = Reply { class: Class::Unknown, status, value: Value::Null, error: Some(error) };
            Input::Done { key: job.key, reply }
        }
        Outcome::Again { error, status, after, ambiguous, progress } => {
            note(&counter, false, Some(&error));
            let schedule = destinations.settings.schedule(&job.destination).cloned().unwrap_or_default();
            let now = clock::now();
            match next_attempt(&schedule, &job.key, job.attempt, now, after) {
                Some(next) => {
                    let wait = std::time::Duration::try_from(next.duration_since(now)).unwrap_or_default();
                    let wait = Span::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                    Input::Failed { key: job.key, error, status, wait, ambiguous, progress }
                }
                None => {
                    let error = format!("gave up after {} attempts: {error}", job.attempt);
                    let value = progress.unwrap_or_default();
                    // Where the receiver would be asked before a second request, a request in doubt is not just dead.
                    let in_doubt = ambiguous && job.mode == Mode::Probe;
                    let class = if in_doubt { Class::Unknown } else { Class::Dead };
                    Input::Done { key: job.key, reply: Reply { class, status, value, error: Some(error) } }
                }
            }
        }
    }
}

fn rejected(error: String) -> Reply {
    Reply { class: Class::Rejected, status: None, value: Value::Null, error: Some(error) }
}

fn note(counter: &Counter, ok: bool, error: Option<&str>) {
    if ok {
        counter.sent.fetch_add(1, Ordering::Relaxed);
    } else {
        counter.failed.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(error) = error {
        *counter.last_error.lock().expect("nothing panics while it is held") = Some(error.to_owned());
    }
}
