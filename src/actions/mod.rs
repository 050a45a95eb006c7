//! Sends what playbooks ask for: webhooks and mails. One call makes one attempt; when to try again is the
//! caller's to decide with [`retry::next_attempt`], because every attempt stands in the journal.

pub mod email;
mod folder;
pub mod message;
pub mod peer;
mod probe;
pub mod retry;
pub mod scrub;
pub mod settings;
mod signature;
mod smtp;
pub mod templates;
pub mod trial;
pub mod webhook;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::actions::email::Mailer;
use crate::actions::message::OwnLinks;
use crate::actions::settings::{Settings, Target};
use crate::actions::templates::{Background, Templates};
use crate::actions::trial::Stages;
use crate::actions::webhook::{Clients, Sender};
use crate::domain::effect::{Class, Effect, EffectKey, Reply};
use crate::domain::id::RunId;
use crate::domain::recipient::Addressee;
use crate::domain::secret::{Secret, SecretRef};
use crate::domain::time::Span;

/// All destinations, ready to send.
pub struct Actions {
    links: BTreeMap<String, Link>,
}

enum Link {
    Webhook(Box<Sender>),
    Email(Box<Mailer>),
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
    /// What else is known of it, for mail templates.
    pub background: &'a Background,
    /// The mail templates of the run's bundle.
    pub templates: &'a Templates,
    /// Who gets the mail.
    pub to: &'a [Addressee],
    /// The mail thread that it belongs to: what stands before the `@` of its root's id.
    pub thread: Option<&'a str>,
    /// What each recipient of a mail can do by links, by address.
    pub links: &'a BTreeMap<String, OwnLinks>,
    /// `SEQ:HASH` of the journal entry that asked for it: whoever got it can later show that the journal had it.
    pub log_head: &'a str,
    /// What the attempt before left to know: the recipients that took the mail already.
    pub progress: Option<&'a Value>,
    /// An attempt may have arrived, and the receiver is to be asked before another is made.
    pub in_doubt: bool,
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
        let mut links = BTreeMap::new();
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
                    links.insert(name.into(), link);
                }
                Err(fault) => faults.push(format!("destination `{name}`: {fault}")),
            }
        }
        if faults.is_empty() { Ok(Self { links }) } else { Err(faults) }
    }

    /// Makes one attempt; its time is bounded by the destination's limits.
    pub async fn send(&self, request: Request<'_>) -> Outcome {
        let Some(name) = request.effect.destination() else {
            return Outcome::rejected(format!("`{}` does not leave the daemon", request.effect.kind()));
        };
        let Some(link) = self.links.get(name) else {
            return Outcome::rejected(format!("no destination `{}`", scrub::line(name, 100)));
        };
        match (link, request.effect) {
            (Link::Webhook(sender), Effect::Webhook(webhook)) => sender.send(&request, webhook).await,
            (Link::Email(mailer), Effect::Email(email)) => mailer.send(&request, email).await,
            _ => Outcome::rejected(format!("destination `{name}` does not take a `{}`", request.effect.kind())),
        }
    }
}

/// A trial: which destination, and what marks its message.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// Name of the destination.
    pub destination: &'a str,
    /// A key of its own.
    pub key: &'a EffectKey,
    /// When.
    pub at: Timestamp,
    /// `SEQ:HASH` of the entry by which an operator ordered it.
    pub log_head: &'a str,
}

impl Actions {
    /// Sends one marked message and tells what the peer said at each stage; `None`: there is no such destination.
    pub async fn try_out(&self, trial: Trial<'_>) -> Option<Stages> {
        let mut stages = Stages::default();
        match self.links.get(trial.destination)? {
            Link::Webhook(sender) => sender.try_out(trial, &mut stages).await,
            Link::Email(mailer) => mailer.try_out(trial, &mut stages).await,
        }
        Some(stages)
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.links.keys()).finish()
    }
}

impl Outcome {
    /// The destination did not answer, or said that it cannot serve now; a refusal of this request is none of that.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Done(reply) => reply.class == Class::Unknown,
            // HTTP's ways to say `later`, and SMTP's 421; other 4xx of SMTP are about this mail or a recipient.
            Self::Again { status, .. } => status.is_none_or(|code| matches!(code, 408 | 421 | 425 | 429 | 500..)),
        }
    }

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
