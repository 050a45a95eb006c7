//! `soard deliveries list`.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, BAD, FAINT, GOOD, Look, NAME, Since, WARN, ago, count, styled};
use crate::cli::table::{Cell, Table};
use crate::daemon::query::deliveries::{DeliveryFilter, DeliveryList, DeliveryRow, DeliveryState};
use crate::domain::id::RunId;

const EXAMPLES: &str = "\
Examples:
  soard deliveries list                                  dead letters
  soard deliveries list --destination jira --since 1d
  soard deliveries list --run a-1042.0/notify-email --outcome any
  soard deliveries list --outcome waiting";

/// List deliveries, the newest first: dead letters, unless told otherwise
///
/// A dead letter is a webhook or mail that ended without success. Exits with 1 when the list is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// To this destination only
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Of this run only
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// How they stand
    #[arg(long, value_enum, default_value_t = DeliveryState::Failed)]
    outcome: DeliveryState,
    /// Asked for since: 30m, 4h, 7d, or an instant
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Print keys only
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let filter = DeliveryFilter {
            destination: self.destination.clone(),
            run: self.run.clone(),
            outcome: Some(self.outcome),
            since: self.since.map(|since| since.instant(&context.look)),
            limit: Some(self.limit),
        };
        let list = context.access()?.deliveries(&filter)?;
        if self.quiet {
            list.deliveries.iter().try_for_each(|row| output::print(row.key.as_str()))?;
        } else {
            context.print(&list, human)?;
        }
        Ok(if list.deliveries.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(list: &DeliveryList, look: &Look) -> String {
    let mut text = String::new();
    if !list.deliveries.is_empty() {
        let mut table = Table::new(&["KEY", "ASKED", "DESTINATION", "RUN", "OUTCOME", "ATTEMPTS", "ERROR"], 6);
        list.deliveries.iter().for_each(|row| table.row(cells(row, look)));
        text.push_str(&table.render(look));
    }
    let below = match (list.matching, list.deliveries.len() as u64) {
        (0, _) => "no deliveries like that".to_owned(),
        (n, shown) if n == shown => {
            if n == 1 {
                "1 delivery".to_owned()
            } else {
                format!("{n} deliveries")
            }
        }
        (n, shown) => format!("{shown} of {n} deliveries; --limit shows more"),
    };
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text
}

fn cells(row: &DeliveryRow, look: &Look) -> Vec<Cell> {
    let code = row.status.map(|code| format!(" ({code})")).unwrap_or_default();
    let again = match row.resent {
        0 => String::new(),
        n => format!(", sent again {}", count(n.into(), "time")),
    };
    vec![
        Cell::new(row.key.as_str(), NAME),
        Cell::from(ago(row.asked, look)),
        Cell::from(&row.destination),
        Cell::from(row.run.to_string()),
        Cell::new(format!("{}{code}{again}", row.state.as_str()), style(row.state)),
        Cell::from(row.attempts.to_string()),
        Cell::from(row.error.as_deref().unwrap_or("-")),
    ]
}

const fn style(state: DeliveryState) -> anstyle::Style {
    match state {
        DeliveryState::Ok => GOOD,
        DeliveryState::Rejected | DeliveryState::Dead => BAD,
        DeliveryState::Unknown => WARN,
        _ => NAME,
    }
}
