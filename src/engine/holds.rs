//! Holds: what operators keep from going out, and what orders do about it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::hold::{HOLDS_MAX, Hold, HoldOrder, Scope};

/// All that are on, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    all: Vec<Hold>,
}

/// Why an order about holds is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is on.
    #[error("{} is on hold since {:.0} by {}; nothing was recorded", .0.scope, .0.since, .0.by)]
    On(Box<Hold>),
    /// It is not on.
    #[error("{scope} is not on hold{}", named(others))]
    Off {
        /// What.
        scope: Scope,
        /// What is.
        others: Vec<Scope>,
    },
    /// There are too many.
    #[error("there are {HOLDS_MAX} holds already")]
    TooMany,
}

fn named(scopes: &[Scope]) -> String {
    let names: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    if names.is_empty() { "; nothing is".into() } else { format!("; on hold: {}", names.join(", ")) }
}

impl Holds {
    /// All that are on, the oldest first.
    pub fn all(&self) -> &[Hold] {
        &self.all
    }

    /// Whether nothing may go to this destination.
    pub fn holds_destination(&self, name: &str) -> bool {
        self.all.iter().any(|hold| match &hold.scope {
            Scope::Everything => true,
            Scope::Destination(held) => held == name,
            Scope::Playbook(_) => false,
        })
    }

    /// Whether nothing of this playbook may go out, wherever to.
    pub fn holds_playbook(&self, name: &str) -> bool {
        self.all.iter().any(|hold| matches!(&hold.scope, Scope::Playbook(held) if held == name))
    }

    /// The order that turns one on.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn on(&self, scope: Scope) -> Result<HoldOrder, Refusal> {
        if let Some(hold) = self.all.iter().find(|hold| hold.scope == scope) {
            return Err(Refusal::On(Box::new(hold.clone())));
        }
        if self.all.len() >= HOLDS_MAX { Err(Refusal::TooMany) } else { Ok(HoldOrder::On(scope)) }
    }

    /// The order that turns one off.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn off(&self, scope: Scope) -> Result<HoldOrder, Refusal> {
        let mut others: Vec<Scope> = self.all.iter().map(|hold| hold.scope.clone()).collect();
        if others.contains(&scope) {
            return Ok(HoldOrder::Off(scope));
        }
        others.truncate(10);
        Err(Refusal::Off { scope, others })
    }

    /// Applies an order.
    pub(crate) fn apply(&mut self, at: Timestamp, order: &HoldOrder, by: &str, comment: &str) {
        match order {
            HoldOrder::On(scope) => {
                let (by, comment) = (by.to_owned(), comment.to_owned());
                self.all.push(Hold { scope: scope.clone(), since: at, by, comment });
            }
            HoldOrder::Off(scope) => self.all.retain(|hold| hold.scope != *scope),
        }
    }
}
