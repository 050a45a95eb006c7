//! `soard export`.

use clap::ValueEnum;

use crate::cli::Context;
use crate::cli::access::{Access, spoken};
use crate::cli::alerts::csv;
use crate::cli::alerts::list::late;
use crate::cli::bar::Bar;
use crate::cli::fault::{Exit, Fault};
use crate::cli::index::wait::wait;
use crate::cli::output;
use crate::daemon::report::{IndexReport, Indexed};
use crate::domain::export::Format;
use crate::export;
use crate::export::notice::Notice;
use crate::export::ocsf;
use crate::index::query::{ROWS_MAX, Request, Sort};
use crate::index::row::Row;

const EXAMPLES: &str = "\
Examples:
  soard export --format csv severity>=medium seen>=30d > alerts.csv
  soard export --format ocsf --all | gzip > findings.jsonl.gz
  soard export --format jsonl source=edr | jq -c 'select(.count > 10)'";

/// Write alerts for other systems, the oldest first
///
/// Takes the terms of `soard alerts list`, and like it leaves closed and informational alerts out unless a term or --all asks
/// for them. However many there are, a page of them is held at a time. It waits for the index where that is behind; what arrives meanwhile
/// is written as well. Exits with 1 when there is none.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What the alerts must be, as in `soard alerts list`
    #[arg(value_name = "TERM")]
    terms: Vec<String>,
    /// In which form
    #[arg(long, value_enum)]
    format: Form,
    /// Also closed and informational ones
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table for spreadsheets; no value in it is taken for a formula
    Csv,
    /// A line of JSON for each alert, as the API lists them
    Jsonl,
    /// A line of JSON for each alert: an OCSF Detection Finding
    Ocsf,
    /// A line of ArcSight's Common Event Format for each alert
    Cef,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let access = context.access()?;
        let mut bar = Bar::new("alerts");
        let written = self.write(&access, &mut bar);
        bar.clear();
        Ok(if written? == 0 { Exit::Nothing } else { Exit::Good })
    }

    fn write(&self, access: &Access, bar: &mut Bar) -> Result<u64, Fault> {
        let filter = self.terms.clone();
        let mut request =
            Request { filter, all: self.all, sort: Sort::Oldest, limit: Some(ROWS_MAX), ..Request::default() };
        if self.format == Form::Csv {
            output::print(&csv::head())?;
        }
        complete(access)?;
        let (mut done, mut of) = (0, None);
        loop {
            let Indexed { answer: page, behind } = access.alerts(&request)?;
            if of.is_none() && behind > 0 && matches!(access, Access::Journal(..)) {
                output::note(late(behind).trim_end());
            }
            let of = *of.get_or_insert(page.matching.n);
            output::print(&self.lines(&page.alerts))?;
            done += page.alerts.len() as u64;
            bar.show(done, of.max(done));
            let Some(next) = page.next else { return Ok(done) };
            (request.cursor, request.uncounted) = (Some(next), true);
        }
    }

    fn lines(&self, rows: &[Row]) -> String {
        match self.format {
            Form::Csv => csv::body(rows),
            Form::Jsonl => rows.iter().map(|row| output::json_line(row) + "\n").collect(),
            Form::Ocsf => rows.iter().map(|row| ocsf::line(row) + "\n").collect(),
            Form::Cef => {
                rows.iter().map(|row| export::line(&Notice::listed(row.clone()), Format::Cef, None) + "\n").collect()
            }
        }
    }
}

/// Waits until the index has what is on record now, so that nothing is missing.
fn complete(access: &Access) -> Result<(), Fault> {
    let Access::Daemon(client) = access else { return Ok(()) };
    let IndexReport { entry, behind, .. } = client.get("/index").map_err(spoken)?;
    let mut bar = Bar::new("entries");
    let waited = if behind > 0 { wait(client, entry + behind, &mut bar).map(drop) } else { Ok(()) };
    bar.clear();
    waited
}
