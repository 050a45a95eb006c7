//! Approvals: what a playbook asks people, who may answer, and what came of it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::UnknownWord;
use crate::domain::id::{ApprovalId, RunId};
use crate::domain::time::Span;
use crate::domain::token::{Role, is_name};

/// Characters of a question.
pub const QUESTION_CHARS_MAX: usize = 500;

/// Names and roles that may decide one approval.
pub const DECIDERS_MAX: usize = 20;

/// Longest time that an approval waits, in days.
pub const WITHIN_DAYS_MAX: u64 = 90;

/// Longest time that an approval waits.
pub const WITHIN_MAX: Span = Span::from_secs(WITHIN_DAYS_MAX * 24 * 3600);

/// Shortest time that an approval waits.
pub const WITHIN_MIN: Span = Span::from_secs(1);

/// How an approval is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// `approve` returns `true`.
    Approve,
    /// `approve` returns `false`.
    Deny,
}

impl Choice {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Approve, Self::Deny];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }

    /// The word for what was decided.
    pub const fn past(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }

    /// What the script gets.
    pub const fn answer(self) -> bool {
        matches!(self, Self::Approve)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Choice {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|choice| choice.as_str() == word);
        found.ok_or_else(|| UnknownWord { word: word.into() })
    }
}

/// Who must not decide, whatever else may be said of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Barred {
    /// Whoever started or restarted the run by hand.
    Starter,
}

impl Barred {
    /// The word for it.
    pub const WORD: &str = "starter";
}

/// What a script gives to `approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// Its number; none before the step is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ApprovalId>,
    /// What people are asked, one line.
    pub question: String,
    /// Who may decide: roles (`approver`, `admin`) and names.
    pub by: Vec<String>,
    /// Who must not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_by: Option<Barred>,
    /// When it is decided by itself.
    pub until: Timestamp,
    /// And how.
    pub otherwise: Choice,
    /// Name of the email destination that gets a mail with links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
}

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// Somebody whom soard knows: by a token, or by the user at the other end of the control socket.
    Person {
        /// Name of the token or the user.
        name: String,
        /// The role.
        role: Role,
    },
    /// Whoever holds a link that was mailed.
    Link,
}

/// Why a text cannot name who decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDecider {
    /// The role cannot decide anything.
    #[error("{0}s cannot decide approvals; name `approver`, `admin`, or somebody")]
    Role(Role),
    /// Neither a role nor a name.
    #[error("{0:?} is neither a role nor a name: lower-case letters, digits, `_`, `.` and `-`, at most 64")]
    Name(String),
}

/// Checks that a text is a role that can decide, or a name.
///
/// # Errors
/// [`BadDecider`]
pub fn check_decider(text: &str) -> Result<(), BadDecider> {
    match text.parse::<Role>() {
        Ok(role) if role.may(Role::Approver) => Ok(()),
        Ok(role) => Err(BadDecider::Role(role)),
        Err(_) if is_name(text) => Ok(()),
        Err(_) => Err(BadDecider::Name(text.chars().take(80).collect())),
    }
}

impl ApprovalRequest {
    /// Whether this person is among those who may decide.
    pub fn is_for(&self, name: &str, role: Role) -> bool {
        let named = |by: &String| by.parse::<Role>().map_or(by == name, |needs| role.may(needs));
        role.may(Role::Approver) && self.by.iter().any(named)
    }
}

/// An approval, open or closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Which.
    pub id: ApprovalId,
    /// The run that waits for it.
    pub run: RunId,
    /// Its step.
    pub step: u32,
    /// When it was asked.
    pub asked: Timestamp,
    /// What was asked.
    pub request: ApprovalRequest,
    /// Who started the run by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starter: Option<String>,
    /// What came of it; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What came of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApprovalOutcome")]
pub struct Outcome {
    /// When.
    pub at: Timestamp,
    /// Sequence number of the entry.
    pub seq: u64,
    /// How it came about.
    pub how: How,
    /// What was decided; absent when it was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// Who decided, or withdrew the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// How an approval came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Somebody decided.
    Decided,
    /// Nobody did in time.
    TimedOut,
    /// Its run was cancelled.
    Withdrawn,
}

/// What is decided about an approval, as an operator's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalOrder {
    /// Which.
    pub approval: ApprovalId,
    /// The run that waits for it.
    pub run: RunId,
    /// Its step.
    pub step: u32,
    /// What is decided.
    pub choice: Choice,
    /// By a link that was mailed: whoever says to be the actor was not asked for a proof.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub link: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_names_decide_and_lesser_roles_never_do() {
        let request = |by: &[&str]| ApprovalRequest {
            id: None,
            question: "Isolate?".into(),
            by: by.iter().map(|by| (*by).to_owned()).collect(),
            not_by: None,
            until: Timestamp::UNIX_EPOCH,
            otherwise: Choice::Deny,
            notify: None,
        };
        for (by, name, role, may) in [
            (&["approver"][..], "ann", Role::Approver, true),
            (&["approver"], "ann", Role::Admin, true),
            (&["approver"], "approver", Role::Operator, false),
            (&["admin"], "ann", Role::Approver, false),
            (&["bo", "ann"], "ann", Role::Approver, true),
            (&["bo"], "ann", Role::Admin, false),
            (&["ann"], "ann", Role::Operator, false),
        ] {
            assert_eq!(request(by).is_for(name, role), may, "{by:?} {name} {role}");
        }
    }

    #[test]
    fn what_cannot_decide_is_said() {
        for (text, fault) in [
            ("approver", ""),
            ("ann.b-1", ""),
            ("operator", "operators cannot decide"),
            ("source", "sources cannot decide"),
            ("Ann", "neither a role nor a name"),
            ("", "neither a role nor a name"),
        ] {
            let said = check_decider(text).err().map(|bad| bad.to_string()).unwrap_or_default();
            assert!(if fault.is_empty() { said.is_empty() } else { said.contains(fault) }, "{text}: {said}");
        }
    }
}
