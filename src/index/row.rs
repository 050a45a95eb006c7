//! What the index keeps of one alert: a fold of its entries, bounded however often and however large it comes.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::alert::{Alert, Severity, Status};
use crate::domain::decision::{Decision, Reason, RouteVerdict, RuleRef};
use crate::domain::entry::Taken;
use crate::domain::id::{AlertId, RunId};
use crate::domain::triage::{CloseReason, FeedbackReason};

/// Longest text in a row, in characters; a description may have [`DESCRIPTION_CHARS_MAX`].
pub const TEXT_CHARS_MAX: usize = 200;

/// Longest description in a row, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// Most items of one list in a row: resources, tags, entities of one type, runs.
pub const ITEMS_MAX: usize = 100;

/// Properties by which an entity is known: what `host=…`, `file=…` and the like compare with.
pub const NAMING: &[&str] = &[
    "name",
    "address",
    "id",
    "upn",
    "email",
    "sid",
    "fqdn",
    "netbios_name",
    "path",
    "url",
    "value",
    "key",
    "sha256",
    "sha1",
    "md5",
    "image",
];

/// One alert as the index keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Its id.
    pub id: AlertId,
    /// When it was seen first.
    pub received: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// How often it was seen.
    pub count: u64,
    /// The severity that it was last decided upon with.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// What became of it when it was last decided upon.
    pub fate: Fate,
    /// One line for people, at most 200 characters of it.
    pub title: String,
    /// What happened, at most 1,000 characters of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which detection fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the source.
    pub source: String,
    /// The product's own id of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Maker of the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// First event that the alert covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Last event that the alert covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// When the product raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Timestamp>,
    /// The product says that it stands for other alerts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_incident: bool,
    /// What it is about: a host, else a resource, an account or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Ids of the affected resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of the entities, by type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entities: BTreeMap<String, Vec<String>>,
    /// ATT&CK tactics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tactics: Vec<String>,
    /// ATT&CK techniques.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub techniques: Vec<String>,
    /// The source's tags and those of playbooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Those of them that the source gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_tags: Vec<String>,
    /// The suppression that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<RuleRef>,
    /// The silence that held it when it was last decided upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_by: Option<String>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Whether an operator found it useful.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub useful: Option<bool>,
    /// In what way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub useful_reason: Option<FeedbackReason>,
    /// What it turned out to be, as long as an operator's word holds it closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_as: Option<CloseReason>,
    /// How often operators changed it or started a playbook for it.
    #[serde(default)]
    pub orders: u64,
    /// When they did so first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_order: Option<Timestamp>,
    /// Ids of the routes that it took when it was last decided upon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// How many webhooks and mails its runs asked for.
    #[serde(default)]
    pub deliveries: u64,
    /// The runs that were started for it, alone or in a group.
    #[serde(default)]
    pub runs: Vec<RunOfAlert>,
    /// Sequence number of the entry that it was seen in first.
    pub first_entry: u64,
    /// Sequence number of the entry that it was seen in last.
    pub last_entry: u64,
}

/// A run that was started for an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunOfAlert {
    /// Which.
    pub id: RunId,
    /// How it stands.
    pub outcome: Outcome,
}

/// Makes an enum of words: `ALL`, `as_str`, `Display`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$item])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$(Self::$variant),+];

            /// The word used everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What became of an alert when it was last decided upon; of several routes, what led furthest.
    Fate {
        /// A suppression dismissed it.
        Suppressed = "suppressed",
        /// An operator's silence held it.
        Silenced = "silenced",
        /// The source says that it is over.
        Resolved = "resolved",
        /// No route matched it.
        Unrouted = "unrouted",
        /// Its routes have no playbooks.
        Recorded = "recorded",
        /// Its routes were muted.
        Muted = "muted",
        /// Its routes had enough of its kind.
        Throttled = "throttled",
        /// It waits, or waited, with others of its group.
        Grouped = "grouped",
        /// Playbooks ran for it.
        Ran = "ran",
    }
}

words! {
    /// How a run stands.
    Outcome {
        /// It has not ended.
        Open = "open",
        /// The script returned.
        Finished = "finished",
        /// The script threw, or broke a limit.
        Failed = "failed",
        /// A replay asked for something else than what is on record.
        Stalled = "stalled",
        /// An operator ended it.
        Cancelled = "cancelled",
    }
}

/// What a sighting changed, for the alert's history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Where it stands.
    pub status: bool,
    /// How bad it is.
    pub severity: bool,
}

impl Row {
    /// An alert that is seen for the first time, as far as the journal still tells.
    pub fn new(seq: u64, at: Timestamp, taken: &Taken) -> Self {
        let mut row = Self {
            id: taken.id,
            received: at,
            last_seen: at,
            count: 0,
            severity: taken.alert.severity,
            status: taken.decision.status,
            fate: Fate::Unrouted,
            title: String::new(),
            description: None,
            kind: None,
            source: short(&taken.alert.source),
            external_id: None,
            vendor: None,
            product: None,
            start: None,
            end: None,
            generated: None,
            is_incident: false,
            resource: None,
            resources: Vec::new(),
            entities: BTreeMap::new(),
            tactics: Vec::new(),
            techniques: Vec::new(),
            tags: Vec::new(),
            source_tags: Vec::new(),
            suppressed_by: None,
            silenced_by: None,
            assignee: None,
            useful: None,
            useful_reason: None,
            closed_as: None,
            orders: 0,
            first_order: None,
            routes: Vec::new(),
            deliveries: 0,
            runs: Vec::new(),
            first_entry: seq,
            last_entry: seq,
        };
        row.decide(&taken.alert, &taken.decision);
        row.see(seq, at, taken);
        if let Some(Reason::Duplicate { count, .. }) = taken.decision.reasons.first() {
            // The entries before are gone; this one says how many there were.
            row.count = *count;
        }
        row
    }

    /// The alert was seen again.
    pub fn again(&mut self, seq: u64, at: Timestamp, taken: &Taken) -> Changed {
        let (status, severity) = (self.status, self.severity);
        if !only_counted(&taken.decision) {
            self.decide(&taken.alert, &taken.decision);
        }
        self.see(seq, at, taken);
        Changed { status: self.status != status, severity: self.severity != severity }
    }

    /// As this sighting left it, whatever came after.
    pub fn stood(&mut self, seq: u64, at: Timestamp, taken: &Taken) {
        let count = match taken.decision.reasons.first() {
            Some(Reason::Duplicate { count, .. }) => *count,
            _ => 1,
        };
        self.again(seq, at, taken);
        self.count = count;
    }

    fn see(&mut self, seq: u64, at: Timestamp, taken: &Taken) {
        let alert = &taken.alert;
        self.count += 1;
        self.last_entry = seq;
        self.last_seen = at;
        self.stand(taken.decision.status);
        self.title = short(&alert.title);
        self.description = alert.description.as_deref().map(|text| cut(text, DESCRIPTION_CHARS_MAX));
        let texts = [&alert.kind, &alert.external_id, &alert.vendor, &alert.product];
        let places = [&mut self.kind, &mut self.external_id, &mut self.vendor, &mut self.product];
        for (place, text) in places.into_iter().zip(texts) {
            *place = text.as_deref().map(short);
        }
        (self.start, self.end, self.generated) = (alert.start, alert.end, alert.generated);
        self.is_incident = alert.is_incident;
        self.resource = alert.about().map(short);
        self.resources = items(&alert.resources);
        self.tactics = items(&alert.tactics);
        self.techniques = items(&alert.techniques);
        self.entities = alert
            .entities
            .iter()
            .map(|(kind, entities)| (kind.clone(), names(entities.iter().take(ITEMS_MAX))))
            .collect();
        self.entities.retain(|_, names| !names.is_empty());
        let others = self.tags.iter().filter(|tag| !self.source_tags.contains(tag)).cloned().collect::<Vec<_>>();
        self.source_tags = items(&alert.tags);
        self.tags.clone_from(&self.source_tags);
        others.iter().for_each(|tag| self.tag(tag));
    }

    fn decide(&mut self, alert: &Alert, decision: &Decision) {
        self.severity = alert.severity;
        let mut fate = None;
        (self.suppressed_by, self.silenced_by) = (None, None);
        let before = std::mem::take(&mut self.routes);
        for reason in &decision.reasons {
            fate = fate.max(match reason {
                Reason::Duplicate { .. } => None,
                Reason::Suppress { rule, .. } => {
                    self.suppressed_by = Some(rule.clone());
                    Some(Fate::Suppressed)
                }
                Reason::Silence { silence, .. } => {
                    self.silenced_by = Some(silence.to_string());
                    Some(Fate::Silenced)
                }
                Reason::Resolved => Some(Fate::Resolved),
                Reason::NoRoute => Some(Fate::Unrouted),
                Reason::Route { rule, verdict, .. } => Some(self.routed(rule, verdict)),
            });
        }
        match fate {
            Some(fate) => self.fate = fate,
            // Only where it stands was decided; its routes were not asked.
            None => self.routes = before,
        }
    }

    fn routed(&mut self, rule: &RuleRef, verdict: &RouteVerdict) -> Fate {
        if self.routes.len() < ITEMS_MAX {
            self.routes.push(short(&rule.id));
        }
        match verdict {
            RouteVerdict::Muted { .. } => Fate::Muted,
            RouteVerdict::Throttled => Fate::Throttled,
            RouteVerdict::Grouped { .. } => Fate::Grouped,
            RouteVerdict::Record => Fate::Recorded,
            RouteVerdict::Run { runs, .. } => {
                runs.iter().for_each(|run| self.run(run, Outcome::Open));
                Fate::Ran
            }
        }
    }

    /// A run for it was started, ended or goes on.
    pub fn run(&mut self, id: &RunId, outcome: Outcome) {
        let room = self.runs.len() < ITEMS_MAX;
        match self.runs.iter_mut().find(|run| run.id == *id) {
            Some(run) => run.outcome = outcome,
            None if room => self.runs.push(RunOfAlert { id: id.clone(), outcome }),
            None => {}
        }
    }

    /// It stands there, whoever says so; what is open is not closed as anything.
    pub fn stand(&mut self, status: Status) {
        self.status = status;
        if status.is_open() {
            self.closed_as = None;
        }
    }

    /// An operator says where it stands and why; one that is opened is no suppression's any more.
    pub fn set_status(&mut self, to: Status, reason: Option<CloseReason>) {
        (self.status, self.closed_as) = (to, reason);
        if to.is_open() {
            self.suppressed_by = None;
        }
    }

    /// An operator did something about it.
    pub fn ordered(&mut self, at: Timestamp) {
        self.orders += 1;
        self.first_order.get_or_insert(at);
    }

    /// It has this tag no more.
    pub fn untag(&mut self, tag: &str) {
        let tag = short(tag);
        self.tags.retain(|known| *known != tag);
        self.source_tags.retain(|known| *known != tag);
    }

    /// It has this tag from now on.
    pub fn tag(&mut self, tag: &str) {
        let tag = short(tag);
        if self.tags.len() < ITEMS_MAX && !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
    }
}

/// A repeat that was only counted.
pub fn only_counted(decision: &Decision) -> bool {
    matches!(decision.reasons.first(), Some(Reason::Duplicate { anew: None, .. }))
}

fn items(texts: &[String]) -> Vec<String> {
    texts.iter().take(ITEMS_MAX).map(|text| short(text)).collect()
}

/// By what these entities are known, each name once.
fn names<'a>(entities: impl Iterator<Item = &'a serde_json::Map<String, Value>>) -> Vec<String> {
    let mut names = Vec::new();
    for entity in entities {
        for value in NAMING.iter().filter_map(|property| entity.get(*property)) {
            scalars(value, &mut |text| {
                let text = short(text);
                if names.len() < ITEMS_MAX && !names.contains(&text) {
                    names.push(text);
                }
            });
        }
    }
    names
}

/// Each text and number of a JSON value, with the items of lists and objects.
pub fn scalars(value: &Value, each: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Number(number) => each(&number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| scalars(item, each)),
        Value::Object(fields) => fields.values().for_each(|field| scalars(field, each)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The text, or its beginning and an ellipsis.
pub fn short(text: &str) -> String {
    cut(text, TEXT_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
