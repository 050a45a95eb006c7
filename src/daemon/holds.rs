//! What is on hold, as operators are told, and which holds make no sense.

use crate::daemon::control::Control;
use crate::daemon::report::HoldsReport;
use crate::domain::hold::{Hold, Scope};
use crate::engine::orders::Wish;
use crate::yaml::diagnostic::nearest;

impl Control {
    /// What is on hold, and how much waits for that.
    pub(super) fn holds_report(&self, holds: Vec<Hold>) -> HoldsReport {
        HoldsReport { holds, waiting: self.world().counters.on_hold() }
    }

    /// Why a hold would never hold anything: nothing has this name.
    pub(super) fn unknown(&self, wish: &Wish) -> Option<String> {
        let (what, name, known): (_, _, Vec<String>) = match wish {
            Wish::HoldOn(Scope::Destination(name)) => {
                ("destination", name, self.settings().destinations.iter().map(|(name, _)| name.to_owned()).collect())
            }
            Wish::HoldOn(Scope::Playbook(name)) => {
                ("playbook", name, self.bundle().playbooks.names().map(str::to_owned).collect())
            }
            _ => return None,
        };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        if known.contains(&name.as_str()) {
            return None;
        }
        let near = nearest(name, &known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Some(format!("there is no {what} `{name}`{near}"))
    }
}
