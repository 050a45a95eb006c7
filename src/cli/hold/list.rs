//! `soard hold list`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{FAINT, Look, NAME, ago, count, styled};
use crate::cli::table::{Cell, Table};
use crate::daemon::report::HoldsReport;

/// List what is on hold
///
/// Exits with 1 when nothing is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard hold list\n  soard hold list -o json | jq .waiting")]
pub struct Args {}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let report: HoldsReport = context.daemon()?.get("/holds").map_err(spoken)?;
        context.print(&report, human)?;
        Ok(if report.holds.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(report: &HoldsReport, look: &Look) -> String {
    if report.holds.is_empty() {
        return format!("{}\n", styled(FAINT, "nothing is on hold"));
    }
    let mut table = Table::new(&["ON HOLD", "SINCE", "BY", "WHY"], 3);
    for hold in &report.holds {
        table.row(vec![
            Cell::new(hold.scope.to_string(), NAME),
            Cell::from(ago(hold.since, look)),
            Cell::from(&hold.by),
            Cell::from(&hold.comment),
        ]);
    }
    format!("{}{}\n", table.render(look), styled(FAINT, waiting(report.waiting)))
}

/// How much waits.
pub(in crate::cli) fn waiting(n: u64) -> String {
    if n == 1 { "1 request waits".to_owned() } else { format!("{} wait", count(n, "request")) }
}
