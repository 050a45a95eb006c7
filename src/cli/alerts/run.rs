//! `soard alerts run`: a playbook started by hand.

use crate::cli::Context;
use crate::cli::alerts::order::{How, Which};
use crate::cli::fault::{Exit, Fault};
use crate::console::alerts::Want;

/// Start a playbook for alerts by hand
///
/// The playbook's `on_alert`, on today's bundle, whatever the routes say; also for alerts that are suppressed, silenced or
/// closed. One that has run for the alert before is not started again: `soard runs restart` does that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard alerts run a-1042.0 isolate-host -c \"confirmed by phone\"\n  \
                        soard runs show a-1042.0/isolate-host")]
pub struct Args {
    /// Alerts; `-` reads their ids from standard input
    #[arg(value_name = "ID", required = true)]
    alerts: Vec<Which>,
    /// Name of the playbook, without `.rhai`
    #[arg(value_name = "PLAYBOOK", required = true)]
    playbook: String,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY")]
    comment: String,
    #[command(flatten)]
    how: How,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.how.order(context, &self.alerts, &Want::Run(self.playbook.clone()), &self.comment)
    }
}
