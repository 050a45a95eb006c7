//! Deliberate faults for the controls of the crash tests: a daemon without one of its protections.
//!
//! Builds without debug assertions have none of this.

/// A protection to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Acknowledge a record before its entry is written.
    AcknowledgeBeforeWrite,
    /// Send an effect before its intent is written.
    SendBeforeIntent,
    /// Make an attempt that must not be repeated without a record of its begin.
    SendWithoutBegin,
    /// Send again what is in doubt instead of asking.
    SendWithoutProbe,
    /// Forget at recovery that effects have outcomes, as if they had not been written.
    ForgetResults,
    /// Evaluate playbooks in the daemon's own process.
    EvaluateInside,
    /// Send what is on hold.
    SendOnHold,
    /// Move an export's cursor before its peer has taken the records.
    MoveCursorEarly,
    /// Do not wait for room on a full disk.
    GiveUpOnFullDisk,
    /// Take no new alerts above ten open runs, so that the test of their limit need not open a hundred thousand.
    FewRuns,
    /// Replay as a version of soard would that computes steps in another way.
    ReplayOtherwise,
}

/// The fault that `SOARD_FAULT` names.
pub fn from_env() -> Option<Fault> {
    if !cfg!(debug_assertions) {
        return None;
    }
    match std::env::var("SOARD_FAULT").ok()?.as_str() {
        "acknowledge-before-write" => Some(Fault::AcknowledgeBeforeWrite),
        "send-before-intent" => Some(Fault::SendBeforeIntent),
        "send-without-begin" => Some(Fault::SendWithoutBegin),
        "send-without-probe" => Some(Fault::SendWithoutProbe),
        "send-on-hold" => Some(Fault::SendOnHold),
        "forget-results" => Some(Fault::ForgetResults),
        "replay-otherwise" => Some(Fault::ReplayOtherwise),
        "give-up-on-full-disk" => Some(Fault::GiveUpOnFullDisk),
        "move-cursor-early" => Some(Fault::MoveCursorEarly),
        "few-runs" => Some(Fault::FewRuns),
        "evaluate-inside" => Some(Fault::EvaluateInside),
        _ => None,
    }
}

/// How long the faulty daemon waits between the act and the write that should have come first.
pub const GAP: std::time::Duration = std::time::Duration::from_millis(50);
