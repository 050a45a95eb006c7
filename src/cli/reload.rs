//! `soard reload`: asks the daemon to load its bundle anew.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, GOOD, Look, styled};
use crate::cli::scrub;
use crate::cli::status::bundle_words;
use crate::console::shared::Comment;
use crate::daemon::report::ReloadReport;

/// Load rules and playbooks anew
///
/// The daemon reads and checks everything first, then swaps it whole. A bundle with faults is refused: they are
/// printed, the bundle before stays in charge, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard reload\n  git pull && soard check && soard reload")]
pub struct Args {
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let report: ReloadReport =
            context.daemon()?.send("/reload", &Comment { comment: self.comment.clone() }).map_err(spoken)?;
        context.print(&report, human)?;
        Ok(if report.loaded { Exit::Good } else { Exit::Nothing })
    }
}

pub(super) fn human(report: &ReloadReport, look: &Look) -> String {
    let mut text = String::new();
    for fault in &report.faults {
        text.push_str(scrub::block(fault).trim_end());
        text.push_str("\n\n");
    }
    let bundle = bundle_words(&report.bundle, look);
    if report.loaded {
        text.push_str(&format!("{}: {bundle}\n", styled(GOOD, "loaded")));
    } else {
        text.push_str(&format!("{}: still in charge is {bundle}\n", styled(BAD, "refused")));
    }
    text
}
