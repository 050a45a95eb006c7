//! Holds: what operators keep from going out.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Holds at a time.
pub const HOLDS_MAX: usize = 1_000;

/// What a hold is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All that playbooks send.
    Everything,
    /// What goes to this destination.
    Destination(String),
    /// What runs of this playbook send.
    Playbook(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Destination(name) => write!(f, "destination {name}"),
            Self::Playbook(name) => write!(f, "playbook {name}"),
        }
    }
}

/// What is kept from going out, since when, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// What.
    pub scope: Scope,
    /// Since when.
    pub since: Timestamp,
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub comment: String,
}

/// What an operator orders about holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldOrder {
    /// From now on this waits.
    On(Scope),
    /// From now on this goes out, and what has waited does.
    Off(Scope),
}
