//! What keeps a destination's effects from going out unless people let them.

use crate::domain::time::Span;

/// A destination's brakes, as an effect to it meets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brakes {
    /// More effects than this do not go out by themselves.
    pub limit: Option<Limit>,
    /// Nor does what names something that is never to be touched.
    pub guard: bool,
    /// Who may let one go: roles and names.
    pub by: Vec<String>,
    /// How long it waits for them before it is denied.
    pub deadline: Span,
}

/// How many effects go out within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// This many.
    pub at_most: u64,
    /// Counted from the first of them.
    pub within: Span,
}
