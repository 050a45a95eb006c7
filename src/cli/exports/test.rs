//! `soard exports test`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::escape;
use crate::cli::destinations::test::human;
use crate::cli::exports::show::unknown;
use crate::cli::fault::{Exit, Fault};
use crate::console::shared::Comment;
use crate::daemon::report::TrialReport;

/// Send one marked notice to an export's peer, and tell what it says at each stage
///
/// The notice says that it is a test: `"notice":"test"` and `"soard_test"` with the export's name. It goes out once, after the batch that is
/// under way; who asked for it stands in the journal. Exits with 1 when a stage goes wrong.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  soard exports test siem\n  soard exports test siem -c \"after the firewall change\""
)]
pub struct Args {
    /// Its name in soard.yaml
    #[arg(value_name = "NAME")]
    name: String,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "")]
    comment: String,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let path = format!("/exports/{}/test", escape(&self.name));
        let comment = Comment { comment: self.comment.clone() };
        let report: TrialReport = match context.daemon()?.send(&path, &comment) {
            Err(error) if error.is_not_found() => return Err(unknown(&self.name)),
            told => told.map_err(spoken)?,
        };
        context.print(&report, human)?;
        Ok(if report.good { Exit::Good } else { Exit::Nothing })
    }
}
