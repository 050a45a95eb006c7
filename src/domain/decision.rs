//! Why an alert was kept, folded, dismissed, held back or acted upon.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Severity, Status};
use crate::domain::id::{AlertId, GroupId, RunId, SilenceId};

/// A rule as a decision names it: by id and by place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RuleRef {
    /// The rule's id.
    pub id: String,
    /// `file:line` in the bundle.
    pub place: String,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.place)
    }
}

/// What became of one alert of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The alert's status after this decision; absent: `active`, as most are.
    #[serde(default, skip_serializing_if = "is_active")]
    pub status: Status,
    /// What each stage said, in stage order.
    pub reasons: Vec<Reason>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_active(status: &Status) -> bool {
    *status == Status::Active
}

/// What one stage said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Reason {
    /// The alert is known already.
    Duplicate {
        /// By what it was recognised.
        by: Identity,
        /// How often it was seen, this time included.
        count: u64,
        /// Why it was decided anew all the same; when absent, it was only counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anew: Option<Anew>,
        /// Where it stood, when it was closed and this opens it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<Status>,
    },
    /// A suppression dismissed it.
    Suppress {
        /// Which.
        rule: RuleRef,
        /// When that rule expires; `None` is never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
    },
    /// The source says that it is over; nothing is started for it.
    Resolved,
    /// An operator's silence holds it: it stays as it is, and nothing is started for it.
    Silence {
        /// Which.
        silence: SilenceId,
        /// Who made it.
        by: String,
        /// When it ends, as of this decision.
        until: Timestamp,
    },
    /// A route matched.
    Route {
        /// Which.
        rule: RuleRef,
        /// The throttle's window, where the route has one and the alert has its key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Window>,
        /// The route has a throttle that could not be kept: there are too many windows already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unthrottled: bool,
        /// What it did.
        verdict: RouteVerdict,
    },
    /// No route matched it.
    NoRoute,
}

/// By what a repeat is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Same source and external id.
    ExternalId,
    /// Same source, format and fingerprint, within the format's window.
    Fingerprint,
}

/// Why a repeat is decided anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Anew {
    /// Its severity rose.
    SeverityRose {
        /// From.
        from: Severity,
        /// To.
        to: Severity,
    },
    /// It was resolved and is active again.
    Reopened,
    /// The suppression that held it no longer matches.
    NotSuppressedAnyMore,
    /// The silence that held it has ended.
    NotSilencedAnyMore,
    /// Severity fell or status changed: recorded, nothing is started.
    Changed,
}

/// What a matching route did with the alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteVerdict {
    /// A mute time, or outside its active time.
    Muted {
        /// Which time, as the rule names it.
        time: String,
    },
    /// The throttle's window is full: counted, reported when the window ends, nothing started.
    Throttled,
    /// It waits with others of its group.
    Grouped {
        /// Which group.
        group: GroupId,
        /// The values that make the key; `None`: the alert lacks a key field and groups alone.
        key: Option<Key>,
        /// When the group closes and its playbooks start.
        due: Timestamp,
        /// The playbooks that will start.
        playbooks: Vec<String>,
    },
    /// Playbooks start now.
    Run {
        /// The runs; playbooks that ran for this alert before are not started again.
        runs: Vec<RunId>,
        /// Playbooks that the route names and that had run for this alert before, or that another route started.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ran_before: Vec<String>,
    },
    /// The route has no playbooks: the alert is on record and stays active.
    Record,
}

/// The values of a rule's key fields: one sorted set for each field.
pub type Key = Vec<Vec<String>>;

/// A throttle's window after it counted an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// The values that make the key.
    pub key: Key,
    /// How many went through in this window.
    pub passed: u64,
    /// How many were held back in this window.
    pub surplus: u64,
    /// When it ends.
    pub until: Timestamp,
}

/// An alert by its id and by the journal entry that holds its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct AlertRef {
    /// The alert.
    pub id: AlertId,
    /// Sequence number of the `intake` entry.
    pub seq: u64,
    /// Index within that entry's `alerts`.
    pub at: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_stays() {
        for text in [
            r#"{"stage":"duplicate","by":"external_id","count":2}"#,
            r#"{"stage":"duplicate","by":"fingerprint","count":2,"anew":"not_silenced_any_more"}"#,
            r#"{"stage":"silence","silence":"s-1","by":"ann","until":"2030-01-01T04:00:00Z"}"#,
            r#"{"stage":"duplicate","by":"external_id","count":2,"anew":{"severity_rose":{"from":"low","to":"high"}},"was":"dismissed"}"#,
        ] {
            let reason: Reason = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&reason).unwrap(), text);
        }
    }
}
