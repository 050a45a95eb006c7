//! `soard runs show`.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::Look;
use crate::cli::why;
use crate::daemon::query::run::RunView;
use crate::daemon::query::why::Why;
use crate::domain::id::RunId;

/// Show every step of one run
///
/// What each step asked for, its attempts and its outcome, what started the run and on which bundle it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard runs show a-1042.0/notify-email\n  \
                        soard runs show g-17/ticket -o json | jq '.steps[].outcome'")]
pub struct Args {
    /// The run
    #[arg(value_name = "ID")]
    id: RunId,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let Some(view) = context.access()?.run(&self.id)? else {
            let none = Fault::nothing(format!("the journal has no run {}", self.id));
            let hint = "`soard runs list` shows the runs; of one that retention has dropped, `soard log query --run ID` \
                        shows what is left, and whether it was given up";
            return Err(none.hint(hint));
        };
        context.print(&view, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(view: &RunView, look: &Look) -> String {
    why::human(&Why::Run(Box::new(view.clone())), look)
}
