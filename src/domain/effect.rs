//! What a playbook asks of the outside, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::alert::Status;
use crate::domain::id::{AlertId, BadId, RunId};

/// Identifies one effect through all retries, crashes and restarts: 26 characters of base32, lower case.
///
/// Sent as `webhook-id`, `Idempotency-Key` and the local part of `Message-ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EffectKey(String);

impl EffectKey {
    /// The key of a run's step. `journal` is the random id of the journal, so that a daemon that starts
    /// over with an empty state folder never reuses the keys of its earlier life.
    pub fn new(journal: &str, run: &RunId, step: u32) -> Self {
        let digest = Sha256::digest(format!("v1\n{journal}\n{run}\n{step}"));
        Self(data_encoding::BASE32_NOPAD.encode(&digest[..16]).to_ascii_lowercase())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EffectKey {
    type Err = BadId;

    /// Also as receivers saw it: `msg_KEY`.
    fn from_str(text: &str) -> Result<Self, BadId> {
        let key = text.strip_prefix("msg_").unwrap_or(text);
        if key.len() == 26 && key.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)) {
            return Ok(Self(key.into()));
        }
        Err(BadId { text: text.into(), expected: "an effect key: 26 letters and digits" })
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing a playbook asked for. The last six are answered by soard itself, the first three by the outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// An HTTP request to a destination.
    Webhook(WebhookRequest),
    /// A mail to a destination's recipients.
    Email(EmailRequest),
    /// Nothing until this instant.
    Sleep {
        /// When the run goes on.
        until: Timestamp,
    },
    /// The time, as the journal has it.
    Now,
    /// A number from 0 (included) to 1 (excluded).
    Random,
    /// A line in the journal and the log.
    Log {
        /// `debug`, `info`, `warn` or `error`.
        level: String,
        /// The line.
        text: String,
    },
    /// A change of an alert's status.
    SetStatus {
        /// Which alert.
        alert: AlertId,
        /// The new status.
        status: Status,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// A label on an alert.
    Tag {
        /// Which alert.
        alert: AlertId,
        /// The label.
        tag: String,
    },
}

impl Effect {
    /// The word for this kind of effect: the name of the script's function.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Sleep { .. } => "sleep",
            Self::Now => "now",
            Self::Random => "random",
            Self::Log { .. } => "log",
            Self::SetStatus { .. } => "set_status",
            Self::Tag { .. } => "tag",
        }
    }

    /// The destination, for effects that leave the daemon.
    pub fn destination(&self) -> Option<&str> {
        match self {
            Self::Webhook(request) => Some(&request.destination),
            Self::Email(request) => Some(&request.destination),
            _ => None,
        }
    }
}

/// What a script gives to `webhook`; URL, secrets and time-outs belong to the destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// Name of a webhook destination in `soard.yaml`.
    pub destination: String,
    /// HTTP method; the destination's, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path segments after the destination's URL; percent-encoded one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Query parameters; percent-encoded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Further headers; control characters are scrubbed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// JSON body; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// What a script gives to `email`; server, sender and recipients belong to the destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailRequest {
    /// Name of an email destination in `soard.yaml`.
    pub destination: String,
    /// Template name: `templates/NAME.html` and `templates/NAME.txt`.
    pub template: String,
    /// Subject; the template's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Further values for the template, as `data`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

/// What happens to a request that may or may not have arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Send again with the same key: a double is possible, a miss is not.
    #[default]
    AtLeastOnce,
    /// Never send again: the step's outcome is `unknown` and the playbook decides.
    AtMostOnce,
    /// Ask the receiver whether it took effect, and send again only if it says that it did not.
    Probe,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The peer took it (HTTP 2xx, SMTP 250), or the timer fired.
    Ok,
    /// The peer refused for good (HTTP 3xx and 4xx but 408, 425, 429; SMTP 5xx), or it could not be made.
    Rejected,
    /// All attempts are used up.
    Dead,
    /// It may or may not have arrived, and the destination forbids sending again.
    Unknown,
}

/// The outcome of a step as the journal keeps it and the script sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// How it ended.
    pub class: Class,
    /// HTTP status or SMTP reply code, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the script gets: `#{status, headers, body}` for webhooks, `#{accepted, refused, …}` for mails.
    #[serde(default)]
    pub value: Value,
    /// Why it is not `ok`, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
