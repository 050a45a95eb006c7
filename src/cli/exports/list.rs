//! `soard exports list`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, BOLD, Look, WARN, ago, count};
use crate::cli::table::{Cell, Table};
use crate::daemon::report::ExportReport;
use crate::domain::time::Span;

/// List exports and how they stand
///
/// BEHIND counts entries of the journal, LAG says for how long the first of them with something to send has waited. MISSED counts entries that
/// retention dropped before they were exported. Numbers of notices are since the daemon was started. Exits with 1 when an export's peer
/// does not take its notices, or entries were missed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  soard exports list\n  soard exports list -o json | jq '.[] | select(.lag_secs > 60) | .name'"
)]
pub struct Args {}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let all: Vec<ExportReport> = context.daemon()?.get("/exports").map_err(spoken)?;
        context.print(&all, |all, look| human(all, look))?;
        let bad = all.iter().any(|export| export.failing > 0 || export.missed > 0);
        Ok(if bad { Exit::Nothing } else { Exit::Good })
    }
}

fn human(all: &[ExportReport], look: &Look) -> String {
    if all.is_empty() {
        return "soard.yaml has no exports\n".to_owned();
    }
    format!("{}{}\n", table(all, look).render(look), count(all.len() as u64, "export"))
}

/// A table of exports.
pub(in crate::cli) fn table(all: &[ExportReport], look: &Look) -> Table {
    let head =
        ["EXPORT", "KIND", "FORMAT", "STATE", "ENTRY", "BEHIND", "LAG", "SENT", "FAILED", "MISSED", "LAST ERROR"];
    let mut table = Table::new(&head, 10);
    for export in all {
        let mut cells = vec![Cell::new(&export.name, BOLD), Cell::from(&export.kind), Cell::from(&export.format)];
        cells.push(match (export.failing, export.next_try) {
            (0, _) => Cell::from(&export.doing),
            (n, Some(next)) => Cell::new(format!("not taken {n}×, tries {}", ago(next, look)), BAD),
            (n, None) => Cell::new(format!("not taken {n}×, trying"), BAD),
        });
        cells.extend([export.entry, export.behind].map(|n| Cell::from(n.to_string())));
        cells.push(Cell::from(Span::from_secs(export.lag_secs).to_string()));
        cells.extend([export.sent, export.failed].map(|n| Cell::from(n.to_string())));
        cells.push(match export.missed {
            0 => Cell::from("0"),
            n => Cell::new(n.to_string(), BAD),
        });
        cells.push(export.last_error.as_ref().map_or_else(|| Cell::from("-"), |error| Cell::new(error, WARN)));
        table.row(cells);
    }
    table
}
