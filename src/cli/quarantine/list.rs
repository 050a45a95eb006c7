//! `soard quarantine list`.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, GOOD, Look, NAME, Since, ago, count, size, styled};
use crate::cli::table::{Cell, Table};
use crate::daemon::query::quarantine::{QuarantineFilter, QuarantineList, QuarantineRow};

const EXAMPLES: &str = "\
Examples:
  soard quarantine list
  soard quarantine list --source defender --since 1d
  soard quarantine list --all              also those that were sent through again or discarded since
  soard quarantine list -q | xargs soard quarantine retry";

/// List quarantined records, the newest first
///
/// A record is quarantined when no format takes it, or when the one that does fails. Exits with 1 when the list
/// is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// From this source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Quarantined since: 30m, 4h, 7d, or an instant
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Also those that were sent through again or discarded since
    #[arg(long)]
    all: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Print record numbers only
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let filter = QuarantineFilter {
            source: self.source.clone(),
            since: self.since.map(|since| since.instant(&context.look)),
            all: self.all,
            limit: Some(self.limit),
        };
        let list = context.access()?.quarantine(&filter)?;
        if self.quiet {
            list.records.iter().try_for_each(|row| output::print(&row.record_no.to_string()))?;
        } else {
            context.print(&list, human)?;
        }
        Ok(if list.records.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(list: &QuarantineList, look: &Look) -> String {
    let mut text = String::new();
    if !list.records.is_empty() {
        let mut table = Table::new(&["RECORD", "WHEN", "SOURCE", "SIZE", "CAUSE", "SINCE THEN"], 4);
        list.records.iter().for_each(|row| table.row(cells(row, look)));
        text.push_str(&table.render(look));
    }
    let shown = list.records.len() as u64;
    let below = match list.matching {
        0 => "no quarantined records".to_owned(),
        n if n == shown => count(n, "record"),
        n => format!("{shown} of {n} records; --limit shows more"),
    };
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text
}

fn cells(row: &QuarantineRow, look: &Look) -> Vec<Cell> {
    let since = match (&row.retried, &row.discarded) {
        (Some(retried), _) => Cell::new(format!("became record {}", retried.record_no), GOOD),
        (None, Some(discarded)) => Cell::from(format!("discarded by {}", discarded.by)),
        (None, None) => Cell::from("-"),
    };
    vec![
        Cell::new(row.record_no.to_string(), NAME),
        Cell::from(ago(row.at, look)),
        Cell::from(&row.source),
        Cell::from(size(row.bytes)),
        Cell::from(&row.cause),
        since,
    ]
}
