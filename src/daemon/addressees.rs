//! Whom a mail is for: the recipients of its destination with what they want, the owners of what it is about, or whose digest it is.

use serde_json::{Value, json};

use crate::actions::settings::Settings;
use crate::daemon::bundle::Bundle;
use crate::daemon::history::{self, Unread};
use crate::daemon::perform::World;
use crate::domain::decision::AlertRef;
use crate::domain::effect::Effect;
use crate::domain::mail::{DIGEST, Digest, Recipient, Wants};
use crate::domain::recipient::Addressee;
use crate::engine::tasks::Evaluate;

/// A digest's playbook names no destination: its mail goes where the alerts waited.
pub fn addressed(mut effect: Effect, digest: Option<&Digest>) -> Effect {
    if let (Effect::Email(request), Some(digest)) = (&mut effect, digest)
        && request.destination == DIGEST
    {
        request.destination.clone_from(&digest.destination);
    }
    effect
}

/// Whom an effect of a run is for; nobody, when it is no mail.
pub fn recipients(world: &World, settings: &Settings, job: &Evaluate, effect: &Effect) -> Vec<Recipient> {
    let Some(destination) = effect.destination() else { return Vec::new() };
    match (effect, &job.digest) {
        (Effect::Email(_), Some(digest)) if digest.destination == destination => {
            vec![Recipient { to: digest.to.clone(), wants: Wants::default() }]
        }
        (Effect::Email(_), _) => {
            let owners = owners(world, settings, job, destination);
            let left_out = settings.owners_left_out(destination, &owners);
            if left_out > 0 {
                tracing::warn!(run = %job.run, destination, left_out, "a mail has too many owners; the last ones do not get it");
            }
            settings.recipients(destination, &owners)
        }
        // Who is asked is for the engineer to say, never for an alert that names its owner.
        (Effect::Approve(_), _) => settings.recipients(destination, &[]),
        _ => Vec::new(),
    }
}

fn owners(world: &World, settings: &Settings, job: &Evaluate, destination: &str) -> Vec<String> {
    if !settings.to_owner(destination) {
        return Vec::new();
    }
    // What is wrong with the bundle has failed the run already.
    let Ok(bundle) = world.bundles.get(&job.bundle) else { return Vec::new() };
    // One after another: a group may have ten thousand large ones.
    let owner = |at: &AlertRef| Ok(bundle.rules.owners.owner(&history::alert_value(&world.history, *at)?));
    let owners: Result<Vec<_>, Unread> = job.alerts.iter().map(owner).collect();
    match owners {
        Ok(owners) => owners.into_iter().filter_map(|owner| owner?.email).collect(),
        Err(Unread::Content(error)) => {
            tracing::warn!(run = %job.run, error, "the owners of what a mail is about cannot be found");
            Vec::new()
        }
        Err(Unread::Journal(error)) => {
            world.dies(&error);
            Vec::new()
        }
    }
}

fn owners_of(bundle: &Bundle, alerts: &[Value]) -> Vec<String> {
    alerts.iter().filter_map(|alert| bundle.rules.owners.owner(alert)?.email).collect()
}

/// All who would get a mail, whatever they want.
pub fn all(
    settings: &Settings,
    bundle: &Bundle,
    destination: &str,
    alerts: &[Value],
    is_question: bool,
) -> Vec<Addressee> {
    let owners = if is_question { Vec::new() } else { owners_of(bundle, alerts) };
    settings.recipients(destination, &owners).into_iter().map(|recipient| recipient.to).collect()
}

/// What a digest's template gets as `data.digest`.
pub fn digest(digest: &Digest) -> Value {
    let reasons: Vec<Value> =
        digest.waits.iter().map(|(why, count)| json!({ "why": why.said(), "count": count })).collect();
    json!({ "recipient": digest.to.address, "reasons": reasons, "since": digest.since.to_string(), "more": digest.more })
}
