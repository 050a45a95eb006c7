//! `destinations:` of soard.yaml, checked: where playbooks may send, and how.

pub mod brakes;
pub mod email;
pub mod exports;
pub mod probe;
pub mod recipients;
pub mod told;
pub mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::actions::retry::Schedule;
use crate::actions::settings::brakes::{BrakeSettings, PlaybookSettings, read_playbooks};
use crate::actions::settings::email::{EmailSettings, Transport};
use crate::actions::settings::recipients::Recipients;
use crate::actions::settings::webhook::{Text, WebhookSettings};
use crate::domain::brakes::Brakes;
use crate::domain::effect::{Effect, Mode};
use crate::domain::mail::{DIGEST, Recipient};
use crate::domain::recipient::Addressee;
use crate::domain::secret::SecretRef;
use crate::domain::time::Span;
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Key, Node, Value};
use crate::yaml::reader::{self, Faults, MapReader};

/// All destinations by name, and who gets mails; empty when soard.yaml has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    destinations: BTreeMap<String, Destination>,
    /// What those want who get mails.
    pub recipients: Recipients,
    /// Limits of playbooks, by name.
    pub playbooks: BTreeMap<String, PlaybookSettings>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// What happens to a request that may or may not have arrived.
    pub mode: Mode,
    /// How many effects are under way at a time; the others wait.
    pub concurrency: usize,
    /// When a failed effect is tried again.
    pub schedule: Schedule,
    /// When no attempts are made for a while.
    pub breaker: BreakerSettings,
    /// What keeps effects from going out by themselves.
    pub brakes: Option<BrakeSettings>,
    /// What it is.
    pub target: Target,
}

/// When a destination that fails is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// How long it stays open before one attempt tries the destination.
    pub open: Span,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, open: Span::from_secs(30) }
    }
}

/// How many effects are under way at a destination at a time, unless it says otherwise.
pub const CONCURRENCY: usize = 4;

/// What a destination is.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// An HTTP endpoint.
    Webhook(Box<WebhookSettings>),
    /// Recipients of mail.
    Email(Box<EmailSettings>),
}

impl Target {
    /// The word in soard.yaml, and the playbook function that uses it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
        }
    }
}

impl Settings {
    /// One destination.
    pub fn get(&self, name: &str) -> Option<&Destination> {
        self.destinations.get(name)
    }

    /// All destinations, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Destination)> {
        self.destinations.iter().map(|(name, destination)| (name.as_str(), destination))
    }

    /// What the destination does with a request that may or may not have arrived.
    pub fn mode(&self, name: &str) -> Option<Mode> {
        self.get(name).map(|destination| destination.mode)
    }

    /// The brakes that an effect of a playbook meets; a mail that tells of a question meets none.
    pub fn brakes(&self, effect: &Effect, playbook: &str) -> Option<Brakes> {
        let name = effect.destination().filter(|_| !matches!(effect, Effect::Approve(_)))?;
        let of_destination = self.get(name).and_then(|destination| destination.brakes.as_ref());
        let of_playbook = self.playbooks.get(playbook);
        if of_destination.is_none() && of_playbook.is_none() {
            return None;
        }
        let mut brakes = of_destination.map(|brakes| brakes.brakes(name)).unwrap_or_default();
        brakes.bounds.extend(of_playbook.map(|settings| settings.bound(playbook)));
        Some(brakes)
    }

    /// Who gets a mail to this destination about something that these people own, and what they want; nobody, when it takes
    /// no mails.
    pub fn recipients(&self, name: &str, owners: &[String]) -> Vec<Recipient> {
        let Some(Target::Email(email)) = self.get(name).map(|destination| &destination.target) else {
            return Vec::new();
        };
        let wants = |to: Addressee| Recipient { wants: self.recipients.wants(&to.address).clone(), to };
        email.recipients(owners).into_iter().map(wants).collect()
    }

    /// How many of these owners get no mail to this destination since there are too many of them.
    pub fn owners_left_out(&self, name: &str, owners: &[String]) -> usize {
        match self.get(name).map(|found| &found.target) {
            Some(Target::Email(email)) => email.owners_left_out(owners),
            _ => 0,
        }
    }

    /// Whether mails to this destination go to owners.
    pub fn to_owner(&self, name: &str) -> bool {
        matches!(self.get(name).map(|found| &found.target), Some(Target::Email(email)) if email.to_owner)
    }

    /// Whether mails to this destination offer their recipients to get no more of them.
    pub fn offers_unsubscribe(&self, name: &str) -> bool {
        matches!(self.get(name).map(|found| &found.target), Some(Target::Email(email)) if email.unsubscribe)
    }

    /// Where destinations ask for the guard, which needs the bundle's list.
    pub fn guarded(&self) -> Vec<Place> {
        self.destinations.values().filter_map(|destination| destination.brakes.as_ref()?.guarded.clone()).collect()
    }

    /// When the destination's effects are tried again.
    pub fn schedule(&self, name: &str) -> Option<&Schedule> {
        self.get(name).map(|destination| &destination.schedule)
    }

    /// `webhook` or `email`.
    pub fn kind(&self, name: &str) -> Option<&'static str> {
        self.get(name).map(|destination| destination.target.kind())
    }

    /// Names of all destinations of a kind, for the check of playbooks.
    pub fn names(&self, kind: &str) -> Vec<&str> {
        self.iter().filter(|(_, destination)| destination.target.kind() == kind).map(|(name, _)| name).collect()
    }

    /// Every secret that the destinations need, once.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let mut all: Vec<&SecretRef> =
            self.destinations.values().flat_map(|destination| destination.target.secrets()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Makes relative paths (secrets, mail folders, certificates) relative to the folder of soard.yaml.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        for destination in self.destinations.values_mut() {
            for path in destination.target.paths() {
                *path = folder.join(&*path);
            }
            for secret in destination.target.secrets_mut() {
                secret.rebase(folder);
            }
        }
        self
    }
}

impl Target {
    fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Webhook(webhook) => webhook.secrets(),
            Self::Email(email) => email.secrets(),
        }
    }

    fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Webhook(webhook) => webhook.secrets_mut(),
            Self::Email(email) => email.secrets_mut(),
        }
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Webhook(webhook) => webhook.ca.iter_mut().collect(),
            Self::Email(email) => match &mut email.transport {
                Transport::Folder(path) => vec![path],
                Transport::Smtp(smtp) => smtp.ca.iter_mut().collect(),
            },
        }
    }
}

/// Reads `destinations:` of soard.yaml, given `recipients:`; every fault is noted, and what is faulty is left out.
pub fn read_settings(
    node: Option<&Node>,
    playbooks: Option<&Node>,
    recipients: Recipients,
    faults: &mut Faults,
) -> Settings {
    let playbooks = playbooks.map(|node| read_playbooks(node, faults)).unwrap_or_default();
    let mut settings = Settings { destinations: BTreeMap::new(), recipients, playbooks };
    let map = node.and_then(|node| MapReader::new(node, "a map of destinations by name", faults));
    let Some(mut map) = map else { return settings };
    for (name, node) in map.rest() {
        check_name(name, "a destination", faults);
        if name.text == DIGEST {
            let message =
                format!("`{DIGEST}` stands for the destination of each digest, and cannot be the name of one");
            let fault = Diagnostic::error("reserved-destination", name.place.clone(), message);
            faults.push(fault.help("take another name"));
        }
        if let Some(destination) = destination(node, &settings.recipients, faults) {
            settings.destinations.insert(name.text.clone(), destination);
        }
    }
    settings
}

fn check_name(name: &Key, what: &str, faults: &mut Faults) {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.text.len() > 64 || name.text.is_empty() || !name.text.chars().all(good) {
        let message = format!("`{}` is not a name for {what}", name.text);
        let fault = Diagnostic::error("destination-name", name.place.clone(), message);
        faults.push(fault.help("use at most 64 lower-case letters, digits, `-` and `_`"));
    }
}

fn destination(node: &Node, recipients: &Recipients, faults: &mut Faults) -> Option<Destination> {
    let mut map = MapReader::new(node, "a destination: `webhook:` or `email:`", faults)?;
    let webhook = map.get("webhook");
    let email = map.get("email");
    let place = map.place();
    let before = faults.found.len();
    map.finish(faults);
    match (webhook, email) {
        (Some(node), None) => webhook::read(node, faults),
        (None, Some(node)) => email::read(node, recipients, faults),
        // A misspelt kind is told already.
        (None, None) if faults.found.len() > before => None,
        _ => {
            let message = "a destination is either `webhook:` or `email:`";
            faults.error("destination-kind", place, message);
            None
        }
    }
}

/// The keys that both kinds have.
struct Common {
    mode: Option<Mode>,
    mode_given: bool,
    concurrency: usize,
    schedule: Schedule,
    breaker: BreakerSettings,
    brakes: Option<BrakeSettings>,
}

impl Common {
    fn read(map: &mut MapReader<'_>, faults: &mut Faults) -> Self {
        let mode_node = map.get("mode");
        let mode = mode_node.and_then(|node| mode(node, faults));
        let concurrency = map.whole("concurrency", 1..=256, faults);
        let retries = map.list("retries").map(|items| {
            let waits = items.iter().filter_map(|item| span_node(item, RETRY_MIN, RETRY_MAX, faults));
            waits.collect::<Vec<_>>()
        });
        if let Some(waits) = retries.as_ref().filter(|waits| waits.len() > RETRIES_MAX) {
            let message = format!("{} retries are listed; at most {RETRIES_MAX} are taken", waits.len());
            faults.error("too-many-retries", map.place(), message);
        }
        let give_up_after = span(map, "give_up_after", Span::from_secs(1), GIVE_UP_MAX, faults);
        let breaker = map.get("breaker").map(|node| breaker(node, faults)).unwrap_or_default();
        let brakes = brakes::read(map, faults);
        let concurrency = concurrency.map_or(CONCURRENCY, |n| usize::try_from(n).expect("the range is within usize"));
        let schedule = Schedule::new(retries, give_up_after);
        Self { mode, mode_given: mode_node.is_some(), concurrency, schedule, breaker, brakes }
    }

    fn destination(self, mode: Mode, target: Target) -> Destination {
        let Self { concurrency, schedule, breaker, brakes, .. } = self;
        Destination { mode, concurrency, schedule, breaker, brakes, target }
    }
}

const RETRY_MIN: Span = Span::from_millis(100);
const RETRY_MAX: Span = Span::from_secs(24 * 3600);
const GIVE_UP_MAX: Span = Span::from_secs(30 * 24 * 3600);
const RETRIES_MAX: usize = 100;

const BREAKER_MAX: Span = Span::from_secs(3600);

fn breaker(node: &Node, faults: &mut Faults) -> BreakerSettings {
    let mut settings = BreakerSettings::default();
    let Some(mut map) = MapReader::new(node, "when a failing destination is left alone", faults) else {
        return settings;
    };
    if let Some(failures) = map.whole("failures", 1..=1000, faults) {
        settings.failures = u32::try_from(failures).expect("the range is within u32");
    }
    settings.open = span(&mut map, "open", RETRY_MIN, BREAKER_MAX, faults).unwrap_or(settings.open);
    map.finish(faults);
    settings
}

fn mode(node: &Node, faults: &mut Faults) -> Option<Mode> {
    match &node.value {
        Value::Str(word) if word == "at_least_once" => Some(Mode::AtLeastOnce),
        Value::Str(word) if word == "at_most_once" => Some(Mode::AtMostOnce),
        Value::Str(word) if word == "probe" => Some(Mode::Probe),
        _ => {
            faults.expected(node, "`at_least_once`, `at_most_once` or `probe`");
            None
        }
    }
}

/// An optional length of time within limits.
fn span(map: &mut MapReader<'_>, key: &'static str, least: Span, most: Span, faults: &mut Faults) -> Option<Span> {
    span_node(map.get(key)?, least, most, faults)
}

fn span_node(node: &Node, least: Span, most: Span, faults: &mut Faults) -> Option<Span> {
    let span: Span = reader::parsed(node, "a length of time such as 30s, 5m or 1h30m", faults)?;
    if (least..=most).contains(&span) {
        return Some(span);
    }
    faults.error("span-out-of-range", &node.place, format!("expected {least} to {most}, found {span}"));
    None
}

/// A text, or a reference to a secret.
fn text_or_secret(node: &Node, faults: &mut Faults) -> Option<Text> {
    match node.value {
        Value::Map(_) => crate::yaml::secret::secret_ref(node, faults).map(Text::Secret),
        _ => reader::text(node, faults).map(|text| Text::Plain(text.into())),
    }
}

/// The host is this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let literal = bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    literal || bare.eq_ignore_ascii_case("localhost")
}
