//! Mails of two recipients, one of whom gets one a day: what waits for a digest, and what the digest must tell.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use soard::domain::effect::Effect;
use soard::domain::entry::{Due, Facts};
use soard::domain::id::{AlertId, GroupId, RunId, Trigger};
use soard::domain::mail::{Caps, DIGEST, Daily, Digest, Recipient, Wants};
use soard::domain::recipient::Addressee;
use soard::engine::state::State;

/// What the daemon does for a digest's run: its mail goes where the alerts waited.
pub fn addressed(mut effect: Effect, digest: Option<&Digest>) -> Effect {
    if let (Effect::Email(request), Some(digest)) = (&mut effect, digest)
        && request.destination == DIGEST
    {
        request.destination.clone_from(&digest.destination);
    }
    effect
}

/// Whom an effect is for, at this time; a digest goes out two minutes later.
pub fn recipients(effect: &Effect, digest: Option<&Digest>, now: Timestamp) -> Vec<Recipient> {
    if !matches!(effect, Effect::Email(_)) {
        return Vec::new();
    }
    let someone = |address: &str, caps| {
        let minute = u32::try_from(now.as_second().div_euclid(60).rem_euclid(24 * 60)).unwrap();
        let digest = Daily { minute: (minute + 2) % (24 * 60), zone: TimeZone::UTC };
        let to = Addressee { address: address.into(), name: None };
        Recipient { to, wants: Wants { caps, digest, ..Wants::default() } }
    };
    let one = Caps { high: Some(1), medium: Some(1), low: Some(1) };
    match digest {
        Some(digest) => vec![Recipient { to: digest.to.clone(), wants: Wants::default() }],
        None => vec![someone("one@example.com", one), someone("any@example.com", Caps::NONE)],
    }
}

/// What waits, as the journal's entries say.
#[derive(Default)]
pub struct Waiting(BTreeMap<GroupId, BTreeSet<AlertId>>);

impl Waiting {
    /// I12: a digest tells of what waits for it, of each alert once, and whom it is for gets it alone.
    pub fn read(&mut self, facts: &Facts) -> Result<(), String> {
        match facts {
            Facts::Intent(intent) => {
                for plan in intent.steps.iter().filter_map(|step| step.mail.as_ref()) {
                    for later in &plan.later {
                        let Trigger::Alert(alert) = intent.run.trigger else {
                            return Err(format!("I12: a mail of {} waits", intent.run));
                        };
                        self.0.entry(later.group).or_default().insert(alert);
                    }
                    if is_digest(&intent.run) && (plan.to.len() != 1 || plan.to[0].counts_until.is_some()) {
                        return Err(format!("I12: {} is mailed to {:?}", intent.run, plan.to));
                    }
                }
                Ok(())
            }
            Facts::Due(Due::Group { group, alerts, digest: Some(digest), .. }) => {
                let told: BTreeSet<AlertId> = alerts.iter().map(|alert| alert.id).collect();
                let waits = self.0.remove(group).unwrap_or_default();
                let counted: u64 = digest.waits.values().sum();
                let once = alerts.len() == told.len() && counted == told.len() as u64;
                if told == waits && once { Ok(()) } else { Err(format!("I12: {group} tells {told:?} of {waits:?}")) }
            }
            _ => Ok(()),
        }
    }

    /// What still waits is still gathered.
    pub fn end(&self, state: &State) -> Result<(), String> {
        let gone = self.0.keys().find(|group| !state.groups.contains_key(group));
        gone.map_or(Ok(()), |group| Err(format!("I12: what waits in {group} is lost")))
    }
}

fn is_digest(run: &RunId) -> bool {
    run.playbook == DIGEST
}
