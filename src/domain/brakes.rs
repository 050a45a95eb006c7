//! What keeps effects from going out unless people let them.

use std::fmt;

use crate::domain::time::Span;

/// The brakes that an effect meets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brakes {
    /// More than these do not go out by themselves.
    pub bounds: Vec<Bound>,
    /// Who may let go what names something that is never to be touched; `None`: nobody looks for that.
    pub guard: Option<Release>,
}

/// A limit, and what it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The effects that it counts.
    pub of: Counted,
    /// How many.
    pub limit: Limit,
    /// Who may let one more go.
    pub release: Release,
}

/// Effects that count together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// What goes to a destination.
    Destination(String),
    /// What runs of a playbook send.
    Playbook(String),
}

/// Names one limit among all; a destination's name has no space in it.
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(name) => f.write_str(name),
            Self::Playbook(name) => write!(f, "playbook {name}"),
        }
    }
}

/// How many effects go out within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// This many.
    pub at_most: u64,
    /// Counted from the first of them.
    pub within: Span,
}

/// Who may let go what a brake stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Roles and names.
    pub by: Vec<String>,
    /// How long it waits for them before it is denied.
    pub deadline: Span,
}
