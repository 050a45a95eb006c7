//! `soard runs list`.

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, Look, NAME, Since, WARN, ago, count, styled};
use crate::cli::plain::run_style;
use crate::cli::table::{Cell, Table};
use crate::daemon::query::runs::{RunFilter, RunList, RunRow, RunState};

const EXAMPLES: &str = "\
Examples:
  soard runs list                        open ones first, then the newest
  soard runs list --state failed --since 1d
  soard runs list --playbook notify-email
  soard runs list -q --state stalled | xargs -n1 soard why";

/// List runs: open ones first, then the newest
///
/// Exits with 1 when the list is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// This state only
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<RunState>,
    /// This playbook only
    #[arg(long, value_name = "NAME")]
    playbook: Option<String>,
    /// Started since: 30m, 4h, 7d, or an instant
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

fn states() -> impl TypedValueParser<Value = RunState> {
    let words = PossibleValuesParser::new(RunState::ALL.map(RunState::as_str));
    words.map(|word| {
        let state = RunState::ALL.into_iter().find(|state| state.as_str() == word);
        state.expect("clap lets only the states pass")
    })
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let filter = RunFilter {
            state: self.state,
            playbook: self.playbook.clone(),
            since: self.since.map(|since| since.instant(&context.look)),
            limit: Some(self.limit),
        };
        let list = context.access()?.runs(&filter)?;
        if self.quiet {
            list.runs.iter().try_for_each(|row| output::print(&row.id.to_string()))?;
        } else {
            context.print(&list, human)?;
        }
        Ok(if list.runs.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(list: &RunList, look: &Look) -> String {
    let mut text = String::new();
    if !list.runs.is_empty() {
        let mut table = Table::new(&["ID", "STATE", "STARTED", "STEPS", "WAITS FOR / ERROR"], 4);
        list.runs.iter().for_each(|row| table.row(cells(row, look)));
        text.push_str(&table.render(look));
    }
    let shown = list.runs.len() as u64;
    let below = match list.matching {
        0 => "no runs".to_owned(),
        n if n == shown => count(n, "run"),
        n => format!("{shown} of {n} runs; --limit shows more"),
    };
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text
}

fn cells(row: &RunRow, look: &Look) -> Vec<Cell> {
    let what = match (&row.waiting_for, &row.error) {
        (Some(what), Some(error)) => Cell::new(format!("{what}; {error}"), WARN),
        (Some(what), None) => Cell::from(what),
        (None, Some(error)) => Cell::new(error, WARN),
        (None, None) => Cell::from("-"),
    };
    vec![
        Cell::new(row.id.to_string(), NAME),
        Cell::new(row.state.as_str(), run_style(row.state)),
        Cell::from(ago(row.started, look)),
        Cell::from(row.steps.to_string()),
        what,
    ]
}
