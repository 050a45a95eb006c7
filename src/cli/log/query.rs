//! `soard log query`.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, Since, styled};
use crate::daemon::query::log::LogFilter;
use crate::domain::id::{AlertId, RunId};

const EXAMPLES: &str = "\
Examples:
  soard log query --alert a-1042.0        all entries about an alert, its runs and its groups
  soard log query --run a-1042.0/ticket   all entries about a run
  soard log query --kind intake --since 1h -o json | jq -c .data.alerts
  soard log query --from 5000 --limit 100";

/// The kinds of entries.
const KINDS: [&str; 11] =
    ["log", "bundle", "intake", "quarantine", "due", "intent", "begin", "attempt", "result", "run", "operator"];

/// Print the entries that fit
///
/// JSON output is one entry a line. Exits with 1 when none fits.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// These kinds only, with commas between them: log, bundle, intake, quarantine, due, intent, begin, attempt, result, run,
    /// operator
    #[arg(long, value_name = "KINDS", value_parser = kinds)]
    kind: Option<String>,
    /// Since: 30m, 4h, 7d, or an instant
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Before: 30m, 4h, 7d ago, or an instant
    #[arg(long, value_name = "TIME")]
    until: Option<Since>,
    /// What concerns this alert: its records, its runs and its groups
    #[arg(long, value_name = "ID")]
    alert: Option<AlertId>,
    /// What concerns this run
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// From this entry on
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u64,
}

/// Kinds with commas between them.
pub(super) fn kinds(text: &str) -> Result<String, String> {
    match text.split(',').map(str::trim).find(|kind| !KINDS.contains(kind)) {
        Some(unknown) => Err(format!("there is no kind {unknown:?}; the kinds are {}", KINDS.join(", "))),
        None => Ok(text.to_owned()),
    }
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let access = context.access()?;
        let mut filter = LogFilter {
            from: self.from,
            limit: Some(self.limit),
            kind: self.kind.clone(),
            since: self.since.map(|since| since.instant(&context.look)),
            until: self.until.map(|until| until.instant(&context.look)),
            alert: self.alert,
            run: self.run.clone(),
            ..LogFilter::default()
        };
        let mut left = self.limit;
        let mut found = false;
        // A page has a limit in bytes as well, so it may take several.
        while left > 0 {
            filter.limit = Some(left);
            let page = access.log(&filter)?;
            super::print(&page.lines, context)?;
            found |= !page.lines.is_empty();
            left = left.saturating_sub(page.lines.len() as u64);
            filter.from = Some(page.next);
            if !page.more {
                return Ok(if found { Exit::Good } else { Exit::Nothing });
            }
        }
        let next = filter.from.unwrap_or(1);
        output::note(&styled(FAINT, format!("note: there may be more; go on with --from {next}")));
        Ok(Exit::Good)
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;
    use crate::cli::log::tail;

    #[test]
    fn the_help_names_every_kind() {
        for mut command in
            [Args::augment_args(clap::Command::new("query")), tail::Args::augment_args(clap::Command::new("tail"))]
        {
            let help = command.render_long_help().to_string();
            for kind in KINDS {
                assert!(help.contains(&format!(" {kind}")), "{kind}: {help}");
            }
        }
    }
}
