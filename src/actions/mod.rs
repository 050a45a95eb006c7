//! Sends what playbooks ask for: webhooks and mails. One call makes one attempt; when to try again is the
//! caller's to decide with [`retry::next_attempt`], because every attempt stands in the journal.

pub mod email;
mod folder;
mod message;
pub mod retry;
mod scrub;
pub mod settings;
mod signature;
mod smtp;
pub mod templates;
pub mod webhook;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::actions::email::Mailer;
use crate::actions::settings::{Settings, Target};
use crate::actions::templates::Templates;
use crate::actions::webhook::{Clients, Sender};
use crate::domain::effect::{Class, Effect, EffectKey, Reply};
use crate::domain::id::RunId;
use crate::domain::secret::{Secret, SecretRef};
use crate::domain::time::Span;

/// All destinations, ready to send.
pub struct Actions {
    ready: BTreeMap<String, Ready>,
}

struct Ready {
    permits: Semaphore,
    link: Link,
}

enum Link {
    Webhook(Box<Sender>),
    Email(Box<Mailer>),
}

/// A turn at a destination; the next one may go when it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
}

/// One attempt at an effect.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The effect's key: the same for all attempts.
    pub key: &'a EffectKey,
    /// What to send.
    pub effect: &'a Effect,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When the run asked for it: the mail's date.
    pub at: Timestamp,
    /// The time of this attempt: the webhook's time stamp.
    pub now: Timestamp,
    /// The run that asked for it.
    pub run: &'a RunId,
    /// The alert as JSON, or the group's alerts as a list, for mail templates.
    pub input: &'a Value,
    /// The mail templates of the run's bundle.
    pub templates: &'a Templates,
    /// What the attempt before left to know: the recipients that took the mail already.
    pub progress: Option<&'a Value>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is over: `ok`, `rejected` or `unknown`.
    Done(Reply),
    /// It failed in a way that may pass.
    Again {
        /// What went wrong, one line.
        error: String,
        /// HTTP status or SMTP reply code, where there was one.
        status: Option<u16>,
        /// How long the receiver asks to wait.
        after: Option<Span>,
        /// It may have arrived all the same.
        ambiguous: bool,
        /// What the next attempt has to know of this one.
        progress: Option<Value>,
    },
}

impl Actions {
    /// Resolves the secrets and makes ready all destinations; opens no connection.
    ///
    /// # Errors
    /// Every destination that cannot be made ready, each with the reason and never with a secret.
    pub fn new(
        settings: Settings,
        secrets: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    ) -> Result<Self, Vec<String>> {
        // Fails only when a provider is installed already, and then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut clients = Clients::default();
        let mut ready = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, destination) in settings.iter() {
            let link = match &destination.target {
                Target::Webhook(webhook) => Sender::new(webhook, destination.mode, secrets, &mut clients)
                    .map(|sender| Link::Webhook(Box::new(sender))),
                Target::Email(email) => {
                    Mailer::new(email, destination.mode, secrets).map(|mailer| Link::Email(Box::new(mailer)))
                }
            };
            match link {
                Ok(link) => {
                    ready.insert(name.into(), Ready { permits: Semaphore::new(destination.concurrency), link });
                }
                Err(fault) => faults.push(format!("destination `{name}`: {fault}")),
            }
        }
        if faults.is_empty() { Ok(Self { ready }) } else { Err(faults) }
    }

    /// Waits for a turn at a destination: only so many effects are under way at a time, and whoever waits costs no more
    /// than its place in the queue. `None`: there is no such destination.
    pub async fn turn(&self, destination: &str) -> Option<Turn<'_>> {
        let ready = self.ready.get(destination)?;
        Some(Turn { _permit: ready.permits.acquire().await.expect("the semaphore is never closed") })
    }

    /// Makes one attempt once it is its turn at the destination; from then on its time is bounded by the destination's
    /// limits.
    pub async fn send(&self, request: Request<'_>) -> Outcome {
        let turn = match request.effect.destination() {
            Some(name) => self.turn(name).await,
            None => None,
        };
        self.send_in_turn(turn, request).await
    }

    /// Makes one attempt in a turn that was waited for.
    pub async fn send_in_turn(&self, _turn: Option<Turn<'_>>, request: Request<'_>) -> Outcome {
        let Some(name) = request.effect.destination() else {
            return Outcome::rejected(format!("`{}` does not leave the daemon", request.effect.kind()));
        };
        let Some(ready) = self.ready.get(name) else {
            return Outcome::rejected(format!("no destination `{}`", scrub::line(name, 100)));
        };
        match (&ready.link, request.effect) {
            (Link::Webhook(sender), Effect::Webhook(webhook)) => sender.send(&request, webhook).await,
            (Link::Email(mailer), Effect::Email(email)) => mailer.send(&request, email).await,
            _ => Outcome::rejected(format!("destination `{name}` does not take a `{}`", request.effect.kind())),
        }
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ready.keys()).finish()
    }
}

impl Outcome {
    /// It could not be made, and trying again would not change that.
    fn rejected(error: String) -> Self {
        Self::Done(Reply { class: Class::Rejected, status: None, value: Value::Null, error: Some(error) })
    }
}

/// Reads a secret and says which one is missing.
fn resolve(secret: &SecretRef, secrets: &dyn Fn(&SecretRef) -> Result<Secret, String>) -> Result<Secret, String> {
    secrets(secret).map_err(|error| format!("{secret}: {error}"))
}

/// Reads a file of root certificates.
fn read_ca(path: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read the certificates in {}: {error}", path.display()))
}
