//! Playbooks: Rhai scripts that say what to do about an alert or a group. Pure: compile, evaluate.
//!
//! A script reads like straight-line code and never holds a thread. Each of its requests to the outside is a
//! step with a number in program order. Evaluation takes the steps on record with their outcomes, runs the
//! script from the top, and ends at the first step that has no outcome yet; the daemon makes the new steps
//! durable, performs them, and evaluates again.
//!
//! *Invariants:* no IO, no clock, no random numbers but those of the job; the same bundle and the same job
//! give the same answer on every machine. What a script can do to this process is bounded by [`limits`];
//! what remains is written in `docs/playbooks.md`.

pub mod approve;
pub mod check;
pub mod compile;
pub mod engine;
pub mod evaluate;
pub mod fault;
pub mod host;
pub mod input;
pub mod last;
pub mod limits;
pub mod request;
pub mod run;
pub mod text;
pub mod value;

#[cfg(test)]
mod tests;
