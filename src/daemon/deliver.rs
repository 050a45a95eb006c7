//! Makes attempts at effects and reports what came of them.
//!
//! An attempt first waits for its turn at the destination, and only then reads what it has to send: whoever waits costs
//! no more than its place in the queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::actions::retry::next_attempt;
use crate::actions::{Outcome, Request};
use crate::daemon::bundle::Bundle;
use crate::daemon::core::Message;
use crate::daemon::history::{self, Unread};
use crate::daemon::perform::{Counter, Destinations, World};
use crate::daemon::{clock, stop};
use crate::domain::effect::{Class, Effect, Mode, Reply};
use crate::domain::id::Trigger;
use crate::domain::time::Span;
use crate::engine::input::Input;
use crate::engine::tasks::Send;
use crate::sources::intake::Answer;

/// Waits for its turn, makes one attempt and reports it. What is not begun when the daemon stops is left for the next
/// start.
pub async fn attempt(world: Arc<World>, job: Send, mut stopping: watch::Receiver<bool>) {
    let destinations = world.destinations.load_full();
    let turn = tokio::select! {
        turn = destinations.actions.turn(&job.destination) => turn,
        () = stop::told(&mut stopping) => return,
    };
    if *stopping.borrow() || (job.mode == Mode::AtMostOnce && !begin(&world, &job).await) {
        return;
    }
    let (reader, task) = (world.clone(), job.clone());
    let loaded = tokio::task::spawn_blocking(move || load(&reader, &task)).await;
    let outcome = match loaded {
        Ok(Ok(loaded)) => {
            let request = request(&job, &loaded);
            destinations.actions.send_in_turn(turn, request).await
        }
        Ok(Err(Unread::Content(error))) => Outcome::Done(rejected(error)),
        Ok(Err(Unread::Journal(error))) => return world.dies(&error),
        Err(error) => return world.dies(&format!("reading a request died: {error}")),
    };
    let _ = world.core.send(Message::Input(input(&world, &destinations, job, outcome), None)).await;
}

/// Puts on record that an attempt that must not be repeated starts now; `false`: it may not start.
async fn begin(world: &World, job: &Send) -> bool {
    let (to, durable) = oneshot::channel();
    let begin = Message::Input(Input::Begin { key: job.key.clone() }, Some(to));
    world.core.send(begin).await.is_ok() && matches!(durable.await, Ok(Answer::Accepted { .. }))
}

struct Loaded {
    effect: Effect,
    asked: jiff::Timestamp,
    input: Value,
    bundle: Arc<Bundle>,
}

fn load(world: &World, job: &Send) -> Result<Loaded, Unread> {
    let (asked, effect) = history::effect(&world.journal, job.intent, job.step)?;
    let bundle = world.bundles.get(&job.bundle).map_err(Unread::Content)?;
    // Only mails show the alerts; a webhook's body is all that it sends.
    let input = match (&effect, job.run.trigger) {
        (Effect::Email(_), Trigger::Alert(_)) => history::alerts(&world.journal, &job.alerts)?.swap_remove(0),
        (Effect::Email(_), Trigger::Group(_)) => Value::Array(history::alerts(&world.journal, &job.alerts)?),
        _ => Value::Null,
    };
    Ok(Loaded { effect, asked, input, bundle })
}

fn request<'a>(job: &'a Send, loaded: &'a Loaded) -> Request<'a> {
    Request {
        key: &job.key,
        effect: &loaded.effect,
        attempt: job.attempt,
        at: loaded.asked,
        now: clock::now(),
        run: &job.run,
        input: &loaded.input,
        templates: &loaded.bundle.templates,
        progress: job.progress.as_ref(),
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
        Outcome::Again { error, status, after, progress, .. } => {
            note(&counter, false, Some(&error));
            let schedule = destinations.settings.schedule(&job.destination).cloned().unwrap_or_default();
            let now = clock::now();
            match next_attempt(&schedule, &job.key, job.attempt, now, after) {
                Some(next) => {
                    let wait = std::time::Duration::try_from(next.duration_since(now)).unwrap_or_default();
                    let wait = Span::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                    Input::Failed { key: job.key, error, status, wait, progress }
                }
                None => {
                    let error = format!("gave up after {} attempts: {error}", job.attempt);
                    let value = progress.unwrap_or_default();
                    Input::Done { key: job.key, reply: Reply { class: Class::Dead, status, value, error: Some(error) } }
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
