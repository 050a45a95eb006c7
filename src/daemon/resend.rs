//! Sends dead letters again, on an operator's word: the same request with the same key. The run that asked for it has
//! gone on with the outcome before, or has ended; it learns nothing of this.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::daemon::core::Message;
use crate::daemon::history::History;
use crate::daemon::perform::World;
use crate::daemon::report::{NotResent, ResendReport};
use crate::domain::effect::{Class, EffectKey, Mode};
use crate::domain::entry::Facts;
use crate::domain::mail;
use crate::domain::operator::{Operator, Order, Who};
use crate::engine::input::Input;
use crate::engine::state::{LETTERS_MAX, Letter};
use crate::sources::intake::Answer;

/// Which effects to send again, on whose word and why.
#[derive(Debug, Clone)]
pub struct Resend {
    /// Which.
    pub which: Which,
    /// Who orders it.
    pub who: Who,
    /// Why.
    pub comment: String,
}

/// Which dead letters an operator means.
#[derive(Debug, Clone)]
pub enum Which {
    /// The one with this key.
    Key(EffectKey),
    /// All of a destination that ended in one of these ways.
    Destination(String, Vec<Class>),
}

/// Sends them again, as far as they are dead letters; answers once every order is on record.
pub async fn resend(world: &Arc<World>, ask: Resend) -> ResendReport {
    let mut report = ResendReport::default();
    let letters = chosen(world, &ask.which).await;
    if let (Which::Key(key), true) = (&ask.which, letters.is_empty()) {
        let why = format!(
            "no dead letter has this key: it succeeded, is under way, or was given up: it is older than the newest \
             {LETTERS_MAX}, or what it needs was dropped"
        );
        report.refused.push(NotResent { key: key.clone(), why });
    }
    let mut orders = Vec::new();
    for (result, letter) in letters {
        let (key, history) = (letter.key.clone(), world.history.clone());
        match spawn_blocking(move || order(&history, result, letter)).await {
            Ok(Ok(order)) => {
                let (to, durable) = oneshot::channel();
                let operator = Operator {
                    actor: ask.who.actor.clone(),
                    address: ask.who.address.clone(),
                    comment: ask.comment.clone(),
                    order,
                };
                // A core that is gone drops the other end, which is the answer.
                let _ = world.core.send(Message::Input(Input::Operator(Box::new(operator)), Some(to))).await;
                orders.push((key, durable));
            }
            Ok(Err(why)) => report.refused.push(NotResent { key, why }),
            Err(error) => report.refused.push(NotResent { key, why: format!("reading it died: {error}") }),
        }
    }
    for (key, durable) in orders {
        match durable.await {
            Ok(Answer::Accepted { .. }) => report.again.push(key),
            Ok(Answer::Ignored { .. }) => {
                report.refused.push(NotResent { key, why: "it was sent again already".into() });
            }
            _ => report.refused.push(NotResent { key, why: "the daemon is stopping".into() }),
        }
    }
    report
}

async fn chosen(world: &World, which: &Which) -> Vec<(u64, Letter)> {
    let (to, letters) = oneshot::channel();
    let _ = world.core.send(Message::Letters(to)).await;
    let mut letters = letters.await.unwrap_or_default();
    letters.retain(|(_, letter)| match which {
        Which::Key(key) => letter.key == *key,
        Which::Destination(name, classes) => letter.destination == *name && classes.contains(&letter.class),
    });
    letters
}

/// The order that sends a letter again, from the entries that hold its request and its outcome.
fn order(history: &History, result: u64, letter: Letter) -> Result<Order, String> {
    let entry = |seq| history.entry(seq).map_err(|error| error.to_string());
    let Letter { key, intent, began, destination, class, .. } = letter;
    let (asked, outcome) = (entry(intent)?, entry(result)?);
    let Facts::Intent(asked) = &asked.entry.facts else { return Err(format!("entry {intent} holds no request")) };
    let step = asked.steps.iter().find(|step| step.key.as_ref() == Some(&key));
    let step = step.ok_or_else(|| format!("entry {intent} lacks the step"))?;
    let Facts::Result(outcome) = &outcome.entry.facts else { return Err(format!("entry {result} holds no outcome")) };
    let mode = step.mode.unwrap_or_default();
    Ok(Order::DeliveryRetry {
        key,
        run: asked.run.clone(),
        step: step.n,
        intent,
        began,
        result,
        destination,
        mode,
        // What was refused did not take effect; of the rest nobody knows.
        in_doubt: mode == Mode::Probe && class != Class::Rejected,
        progress: mail::resumed(&outcome.reply.value),
    })
}
