//! What started a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decision::RuleRef;
use crate::domain::entry::Entry;
use crate::domain::id::{RunId, Trigger};

/// What started a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Sequence number of the entry that started it.
    pub seq: u64,
    /// The alert or group.
    pub trigger: Trigger,
    /// The route that named the playbook.
    pub rule: RuleRef,
    /// How many alerts it was started for.
    pub alerts: u64,
    /// Title of the alert, when it was one alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl Cause {
    /// Of a run for one alert.
    pub(super) fn one(entry: &Entry, run: &RunId, rule: RuleRef, title: Option<String>) -> Self {
        Self { seq: entry.seq, trigger: run.trigger, rule, alerts: 1, title }
    }
}
