//! `soard token revoke`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::client::escape;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{GOOD, styled};
use crate::cli::plain::safe;
use crate::console::shared::Comment;
use crate::daemon::report::OrderReport;

/// Refuse a token from now on
///
/// Its name is free for a new one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard token revoke edr -c \"it was in a log\"")]
pub struct Args {
    /// Whose it is
    #[arg(value_name = "NAME")]
    name: String,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let path = format!("/tokens/{}/revoke", escape(&self.name));
        let ask = Comment { comment: self.comment.clone() };
        let report: OrderReport = context.daemon()?.send(&path, &ask).map_err(refused)?;
        context.print(&report, |report, _| {
            let entry = report.seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default();
            format!("`{}` is {}{entry}\n", safe(&self.name), styled(GOOD, "revoked"))
        })?;
        Ok(Exit::Good)
    }
}
