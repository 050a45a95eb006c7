//! The core: pure, synchronous decisions over a state that is nothing but the fold of the journal.
//!
//! `decide(&State, &Rules, at, Input) -> Option<Entry>` reads no clock, no file and no network; `apply(&mut State,
//! &Entry)` is all that recovery does. What is to be done outside follows from the state: [`tasks`].

pub mod alerts;
pub mod apply;
pub mod approvals;
pub mod brakes;
pub mod decide;
pub mod deliveries;
pub mod fit;
pub mod flights;
pub mod folders;
pub mod holds;
pub mod input;
pub mod intake;
pub mod leap;
pub mod mails;
pub mod needs;
pub mod orders;
pub mod ran;
pub mod recipients;
pub mod saved;
pub mod silences;
pub mod state;
pub mod tasks;
pub mod tokens;
pub mod triage;

#[cfg(test)]
mod tests;
