//! `soard destinations list`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{Look, count};
use crate::cli::status;
use crate::daemon::report::DestinationReport;

/// List destinations and how they stand
///
/// Numbers are since the daemon was started. An open breaker means that the destination failed several times in a row: what waits is
/// held back, and one attempt tries it now and then. Exits with 1 when a breaker is open.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  soard destinations list\n  soard destinations list -o json | jq '.[] | select(.held) | .name'"
)]
pub struct Args {}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let all: Vec<DestinationReport> = context.daemon()?.get("/destinations").map_err(spoken)?;
        context.print(&all, |all, look| human(all, look))?;
        Ok(if all.iter().any(|destination| destination.held) { Exit::Nothing } else { Exit::Good })
    }
}

fn human(all: &[DestinationReport], look: &Look) -> String {
    if all.is_empty() {
        return "soard.yaml has no destinations\n".to_owned();
    }
    format!("{}{}\n", status::destinations(all, look).render(look), count(all.len() as u64, "destination"))
}
