//! What a format makes of a record: one alert, in soard's own words.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One alert, as the rules, the playbooks and the journal see it. Field names never change once released.
///
/// `raw` is the part of the record that gave this alert; the journal keeps the whole record verbatim,
/// so `raw` is not written again with the alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Name of the source that handed over the record.
    pub source: String,
    /// The product's own id of this alert; with `source` it identifies the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Values of the fields by which the format tells repeats apart, when there is no `external_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Maker of the product, for example `Microsoft`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The product, for example `Defender for Cloud`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Which detection fired: the same for all alerts of one detection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// One line for people; never empty.
    pub title: String,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How bad it is, on soard's scale.
    pub severity: Severity,
    /// The severity as the product wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_severity: Option<String>,
    /// The status that the source reports; operators and rules may change it afterwards.
    #[serde(default)]
    pub status: Status,
    /// How sure the product is: its own word or number, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
    /// Names of ATT&CK tactics as MITRE writes them, such as `Credential Access`; words of the product's own stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tactics: Vec<String>,
    /// ATT&CK technique and sub-technique ids, such as `T1059.001`; names that have no id stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub techniques: Vec<String>,
    /// First event that the alert covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Last event that the alert covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// When the product raised the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Timestamp>,
    /// When soard took the record; stamped once, by the daemon.
    pub received: Timestamp,
    /// Ids of the affected resources, the most concerned first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// What the alert is about, by entity type (`ip`, `host`, `account` …), in the order of the record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entities: BTreeMap<String, Vec<Map<String, Value>>>,
    /// What to do about it, step by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remediation: Vec<String>,
    /// Pages of the product and of others about this alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Short labels, from the source or from playbooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Alerts with the same key are related, says the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_key: Option<String>,
    /// The product itself grouped other alerts into this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_incident: bool,
    /// Product-specific properties that have no field of their own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extended: Map<String, Value>,
    /// The JSON that gave this alert: the record, or the item of it.
    #[serde(skip)]
    pub raw: Arc<Value>,
}

impl Alert {
    /// The first entity's naming property: `host`, `account` and `ip` are short forms of it.
    pub fn first_entity(&self, kind: &str, property: &str) -> Option<&str> {
        self.entities.get(kind)?.first()?.get(property)?.as_str()
    }

    /// Name of the first host entity.
    pub fn host(&self) -> Option<&str> {
        self.first_entity("host", "name")
    }

    /// Name of the first account entity.
    pub fn account(&self) -> Option<&str> {
        self.first_entity("account", "name")
    }

    /// Address of the first ip entity.
    pub fn ip(&self) -> Option<&str> {
        self.first_entity("ip", "address")
    }

    /// What the alert is about, in a word or two: its host, else its first resource, account or address.
    pub fn about(&self) -> Option<&str> {
        let resource = self.resources.first().map(String::as_str);
        self.host().or(resource).or(self.account()).or(self.ip())
    }
}

/// A page about the alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What the page is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `http` or `https` only; anything else stays in `raw`.
    pub url: String,
}

/// How bad an alert is; compares by rank, `informational` lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look in context only.
    Informational,
    /// May be benign, or a blocked attack.
    Low,
    /// Look at it.
    Medium,
    /// Look at it now.
    High,
}

impl Severity {
    /// All severities, lowest first.
    pub const ALL: [Severity; 4] = [Self::Informational, Self::Low, Self::Medium, Self::High];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(word));
        found.ok_or_else(|| UnknownWord { word: word.into() })
    }
}

/// Where an alert stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AlertStatus")]
pub enum Status {
    /// Nobody has dealt with it yet.
    #[default]
    Active,
    /// Somebody is on it.
    InProgress,
    /// Dealt with.
    Resolved,
    /// Not worth dealing with: by a suppression, or by an operator.
    Dismissed,
}

impl Status {
    /// All statuses.
    pub const ALL: [Status; 4] = [Self::Active, Self::InProgress, Self::Resolved, Self::Dismissed];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::InProgress => "in_progress",
            Self::Resolved => "resolved",
            Self::Dismissed => "dismissed",
        }
    }

    /// Neither resolved nor dismissed.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Active | Self::InProgress)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(word));
        found.ok_or_else(|| UnknownWord { word: word.into() })
    }
}

/// A word that is none of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word {word:?}")]
pub struct UnknownWord {
    /// The word as given.
    pub word: String,
}

/// Top-level fields of an alert that a rule may name; `entities`, `extended` and `raw` take a path below them.
pub const ALERT_FIELDS: &[&str] = &[
    "id",
    "source",
    "external_id",
    "fingerprint",
    "vendor",
    "product",
    "kind",
    "title",
    "description",
    "severity",
    "source_severity",
    "status",
    "confidence",
    "tactics",
    "techniques",
    "start",
    "end",
    "generated",
    "received",
    "resources",
    "entities",
    "host",
    "account",
    "ip",
    "remediation",
    "links",
    "tags",
    "correlation_key",
    "is_incident",
    "extended",
    "raw",
];

/// Entity types that the shipped formats give and that rules, mails and pages know by name.
pub const ENTITY_TYPES: &[&str] = &[
    "account",
    "cloud_resource",
    "container",
    "domain",
    "file",
    "hash",
    "host",
    "ip",
    "kubernetes",
    "mailbox",
    "malware",
    "network",
    "process",
    "registry",
    "service",
    "url",
];
