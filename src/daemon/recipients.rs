//! Recipients as operators are told of them, and which orders about them make no sense.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::actions::settings::Target;
use crate::daemon::control::Control;
use crate::daemon::core::{Core, Message};
use crate::domain::alert::Severity;
use crate::domain::id::GroupId;
use crate::domain::mail::{Caps, Daily, Digest, Quiet};
use crate::domain::recipient::{Unsubscribed, folded};
use crate::engine::orders::Wish;
use crate::engine::recipients::Recipients;
use crate::yaml::clock::DAYS;
use crate::yaml::diagnostic::nearest;

/// Somebody who gets mails: what they want, what they have got of late, and what waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Recipient")]
pub struct RecipientReport {
    /// The address, in lower case.
    pub address: String,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The destinations whose mails go to them; those that only write to owners apart.
    pub destinations: Vec<String>,
    /// They hear of nothing less severe.
    pub at_least: Severity,
    /// Most mails a day, by severity; none where any number is wanted.
    pub caps: Caps,
    /// The mails that count for the caps now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<Counted>,
    /// Hours in which mails wait, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<String>,
    /// When the digest goes out, in words.
    pub digest: String,
    /// What waits for the next digests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// The mails that they do not get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsubscribed: Vec<Unsubscribed>,
}

/// Mails that count for a cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Of this severity; informational ones count as low.
    pub severity: Severity,
    /// How many.
    pub count: u64,
    /// Until when.
    pub until: Timestamp,
}

/// What waits for a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The destination of the mails.
    pub destination: String,
    /// The group that gathers it.
    pub group: GroupId,
    /// How many alerts.
    pub alerts: u64,
    /// Since when.
    pub since: Timestamp,
    /// When the digest goes out.
    pub due: Timestamp,
}

/// What the core knows of recipients.
#[derive(Debug, Clone)]
pub struct Known {
    /// Now.
    pub at: Timestamp,
    /// Who has got and wants what.
    pub recipients: Recipients,
    /// What waits.
    pub digests: Vec<(GroupId, Timestamp, Digest)>,
}

impl Core {
    /// What it knows of recipients.
    pub(super) fn recipients(&self) -> Known {
        let digests = self.state.groups.iter().filter_map(|(id, group)| {
            let digest = group.digest.as_deref()?;
            Some((*id, group.due, digest.clone()))
        });
        let (at, recipients) = (self.clock.now(), self.state.recipients.clone());
        Known { at, recipients, digests: digests.collect() }
    }
}

impl Control {
    /// All recipients that settings, orders or waiting mails name, by address.
    pub(super) async fn recipients(&self) -> Option<Vec<RecipientReport>> {
        let (to, known) = oneshot::channel();
        self.core().send(Message::Recipients(to)).await.ok()?;
        let known = known.await.ok()?;
        let settings = &self.settings().destinations;
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, destination) in settings.iter() {
            let Target::Email(email) = &destination.target else { continue };
            for to in &email.to {
                all.entry(folded(to.email.as_ref())).or_default().push(name.to_owned());
            }
        }
        let listed = settings.recipients.iter().map(|listed| folded(listed.mailbox.email.as_ref()));
        let waiting = known.digests.iter().map(|(.., digest)| folded(&digest.to.address));
        let named = known.recipients.addresses().map(str::to_owned);
        for address in listed.chain(waiting).chain(named) {
            all.entry(address).or_default();
        }
        Some(all.into_iter().map(|(address, from)| self.recipient(&known, address, from)).collect())
    }

    fn recipient(&self, known: &Known, address: String, destinations: Vec<String>) -> RecipientReport {
        let recipients = &self.settings().destinations.recipients;
        let (wants, listed) = (recipients.wants(&address), recipients.get(&address));
        let counted = [Severity::High, Severity::Medium, Severity::Low].into_iter().filter_map(|severity| {
            let (count, until) = known.recipients.counted(&address, severity, known.at)?;
            Some(Counted { severity, count, until })
        });
        let waiting = known.digests.iter().filter(|(.., digest)| folded(&digest.to.address) == address);
        let waiting = waiting.map(|(group, due, digest)| Waiting {
            destination: digest.destination.clone(),
            group: *group,
            alerts: digest.waits.values().sum(),
            since: digest.since,
            due: *due,
        });
        let mut waiting: Vec<Waiting> = waiting.collect();
        waiting.sort_by_key(|waiting| (waiting.due, waiting.group));
        RecipientReport {
            name: listed.and_then(|listed| listed.mailbox.name.clone()),
            roles: listed.map(|listed| listed.roles.clone()).unwrap_or_default(),
            destinations,
            at_least: wants.at_least,
            caps: wants.caps,
            counted: counted.collect(),
            quiet: wants.quiet.as_ref().map(quiet_words),
            digest: daily_words(&wants.digest),
            waiting,
            unsubscribed: known.recipients.unsubscribed(&address).to_vec(),
            address,
        }
    }

    /// Why an order about mails would change nothing: no mail goes there. Who follows a link has got one.
    pub(super) fn unmailed(&self, wish: &Wish) -> Option<String> {
        let (address, destination) = match wish {
            Wish::Unsubscribe { address, destination, link: false } => (Some(address), destination),
            Wish::Subscribe { destination, .. } => (None, destination),
            _ => return None,
        };
        let names = self.settings().destinations.names("email");
        if let Some(name) = destination.as_deref().filter(|name| !names.contains(name)) {
            return Some(format!("there is no email destination `{name}`{}", near(name, &names)));
        }
        let known = self.addresses();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let address = folded(address?);
        if known.contains(&address.as_str()) {
            return None;
        }
        Some(format!("no mail goes to {address}{}", near(&address, &known)))
    }

    /// The addresses that mails may go to, in lower case.
    fn addresses(&self) -> BTreeSet<String> {
        let settings = &self.settings().destinations;
        let listed = settings.recipients.iter().map(|listed| folded(listed.mailbox.email.as_ref()));
        let mut all: BTreeSet<String> = listed.collect();
        for (_, destination) in settings.iter() {
            let Target::Email(email) = &destination.target else { continue };
            all.extend(email.to.iter().map(|to| folded(to.email.as_ref())));
            if email.to_owner {
                all.extend(self.bundle().rules.owners.addresses().map(folded));
            }
        }
        all
    }
}

fn near(name: &str, known: &[&str]) -> String {
    nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

fn clock_words(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn daily_words(daily: &Daily) -> String {
    format!("{} {}", clock_words(daily.minute), daily.zone.iana_name().unwrap_or("UTC"))
}

fn quiet_words(quiet: &Quiet) -> String {
    let named = DAYS.iter().zip(quiet.days).filter(|(_, on)| *on).map(|(day, _)| *day);
    let days = if quiet.days == [true; 7] { String::new() } else { named.collect::<Vec<_>>().join(",") + " " };
    let except = quiet.except.map(|severity| format!(", except {severity}")).unwrap_or_default();
    let zone = quiet.zone.iana_name().unwrap_or("UTC");
    format!("{days}{} to {} {zone}{except}", clock_words(quiet.from), clock_words(quiet.until))
}
