//! `soard alerts list`.

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, Look, NAME, Since, ago, count, severity_style, status_style, styled};
use crate::cli::plain::run_names;
use crate::cli::table::{Cell, Table};
use crate::daemon::query::alerts::{AlertFilter, AlertList, AlertRow};
use crate::domain::alert::{Severity, Status};

const EXAMPLES: &str = "\
Examples:
  soard alerts list                              what is worth a look, the worst first
  soard alerts list --severity high --since 4h   high ones of the last four hours
  soard alerts list --status active --source defender
  soard alerts list --suppressed                 what the suppressions hold back
  soard alerts list -q --severity high | xargs -n1 soard why
  soard alerts list -o json | jq '.alerts[].title'";

/// List alerts: open ones first, by severity, then the newest
///
/// Informational alerts are shown when --severity asks for them, suppressed ones when --suppressed or
/// --status dismissed does; a line below the list says how many were left out. Exits with 1 when the list is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// At least this severity
    #[arg(long, value_name = "SEVERITY", value_parser = severities())]
    severity: Option<Severity>,
    /// This status only
    #[arg(long, value_name = "STATUS", value_parser = statuses())]
    status: Option<Status>,
    /// From this source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Seen since: 30m, 4h, 7d, or an instant
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Only those that a suppression holds
    #[arg(long)]
    suppressed: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

fn severities() -> impl TypedValueParser<Value = Severity> {
    let words = PossibleValuesParser::new(Severity::ALL.map(Severity::as_str));
    words.map(|word| word.parse().expect("clap lets only the severities pass"))
}

fn statuses() -> impl TypedValueParser<Value = Status> {
    let words = PossibleValuesParser::new(Status::ALL.map(Status::as_str));
    words.map(|word| word.parse().expect("clap lets only the statuses pass"))
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let filter = AlertFilter {
            severity: self.severity,
            status: self.status,
            source: self.source.clone(),
            since: self.since.map(|since| since.instant(&context.look)),
            suppressed: self.suppressed,
            limit: Some(self.limit),
        };
        let list = context.access()?.alerts(&filter)?;
        if self.quiet {
            list.alerts.iter().try_for_each(|row| output::print(&row.id.to_string()))?;
        } else {
            context.print(&list, human)?;
        }
        Ok(if list.alerts.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(list: &AlertList, look: &Look) -> String {
    let mut text = String::new();
    if !list.alerts.is_empty() {
        let mut table =
            Table::new(&["ID", "SEVERITY", "STATUS", "SEEN", "TIMES", "SOURCE", "TITLE", "ABOUT", "RUNS"], 6);
        list.alerts.iter().for_each(|row| table.row(cells(row, look)));
        text.push_str(&table.render(look));
    }
    text.push_str(&styled(FAINT, below(list)));
    text.push('\n');
    text
}

fn cells(row: &AlertRow, look: &Look) -> Vec<Cell> {
    let what = match &row.suppressed_by {
        Some(rule) => Cell::new(format!("suppressed by {}", rule.id), FAINT),
        None => Cell::from(run_names(&row.runs)),
    };
    vec![
        Cell::new(row.id.to_string(), NAME),
        Cell::new(row.severity.as_str(), severity_style(row.severity)),
        Cell::new(row.status.as_str(), status_style(row.status)),
        Cell::from(ago(row.last_seen, look)),
        Cell::from(row.count.to_string()),
        Cell::from(&row.source),
        Cell::from(&row.title),
        Cell::from(row.resource.as_deref().unwrap_or("-")),
        what,
    ]
}

/// What the list leaves out.
fn below(list: &AlertList) -> String {
    let shown = list.alerts.len() as u64;
    let mut text = match list.matching {
        0 => "no alerts".to_owned(),
        n if n == shown => count(n, "alert"),
        n => format!("{shown} of {n} alerts; --limit shows more"),
    };
    let hidden = [
        (list.hidden_suppressed, "suppressed (--suppressed)"),
        (list.hidden_informational, "informational (--severity informational)"),
    ];
    let hidden: Vec<String> =
        hidden.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if !hidden.is_empty() {
        text.push_str(&format!("; not shown: {}", hidden.join(", ")));
    }
    text
}
