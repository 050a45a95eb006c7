//! Why something happened: what was decided then, by which rule of which bundle, read from the journal alone.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::alert::AlertView;
use crate::daemon::query::group::GroupView;
use crate::daemon::query::run::RunView;
use crate::daemon::query::{Lines, QueryError, alert, group, run};
use crate::domain::id::{AlertId, GroupId, RunId};
use crate::index::mentions;

/// What one can ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An alert, `a-1042.0`.
    Alert(AlertId),
    /// A run, `a-1042.0/notify-email`.
    Run(RunId),
    /// A group, `g-17`.
    Group(GroupId),
}

/// A text that is the id of nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither an alert (a-1042.0) nor a group (g-17) nor a run (a-1042.0/notify-email)")]
pub struct BadSubject {
    text: String,
}

impl FromStr for Subject {
    type Err = BadSubject;
    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let parsed = if text.contains('/') {
            text.parse().map(Self::Run)
        } else if text.starts_with("g-") {
            text.parse().map(Self::Group)
        } else {
            text.parse().map(Self::Alert)
        };
        parsed.map_err(|_| BadSubject { text: text.into() })
    }
}

impl Subject {
    /// What has to be on record about for the answer.
    pub fn mentioned(&self) -> Vec<mentions::Subject> {
        match self {
            Self::Alert(id) => vec![mentions::Subject::Alert(*id)],
            Self::Run(id) => vec![mentions::Subject::of(id.trigger)],
            Self::Group(id) => vec![mentions::Subject::Group(*id), mentions::Subject::Joined(*id)],
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alert(id) => id.fmt(f),
            Self::Run(id) => id.fmt(f),
            Self::Group(id) => id.fmt(f),
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// What was decided each time the alert was seen, and what came of it.
    Alert(Box<AlertView>),
    /// What started the run, and what each step did.
    Run(Box<RunView>),
    /// Who is in the group, which rule gathers it, and what it started.
    Group(Box<GroupView>),
}

/// Answers from the journal; `None` when it has nothing with this id.
///
/// # Errors
/// When the journal cannot be read.
pub fn why(lines: Lines<'_>, subject: &Subject) -> Result<Option<Why>, QueryError> {
    Ok(match subject {
        Subject::Alert(id) => alert::show(lines, *id)?.map(|view| Why::Alert(Box::new(view))),
        Subject::Run(id) => run::show(lines, id)?.map(|view| Why::Run(Box::new(view))),
        Subject::Group(id) => group::show(lines, *id)?.map(|view| Why::Group(Box::new(view))),
    })
}
