//! `soard log tail`.

use std::time::Duration;

use crate::cli::Context;
use crate::cli::access::Access;
use crate::cli::fault::{Exit, Fault};
use crate::daemon::query::log::{LogFilter, LogPage};

/// How often to look when there is no daemon that would wait for us.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Print the journal's last entries, and go on as it grows
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard log tail\n  soard log tail -n 100 --kind intake,quarantine\n  \
                        soard log tail -f -o json | jq -c '{seq, kind}'")]
pub struct Args {
    /// How many entries
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: u64,
    /// Go on as the journal grows
    #[arg(short, long)]
    follow: bool,
    /// These kinds only, with commas between them: log, bundle, intake, quarantine, due, intent, begin, attempt, result, run,
    /// operator
    #[arg(long, value_name = "KINDS", value_parser = super::query::kinds)]
    kind: Option<String>,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let access = context.access()?;
        let kind = self.kind.clone();
        let last = LogFilter { last: true, limit: Some(self.lines.max(1)), kind: kind.clone(), ..LogFilter::default() };
        let page = access.log(&last)?;
        if self.lines > 0 {
            super::print(&page.lines, context)?;
        }
        let found = !page.lines.is_empty();
        if self.follow {
            follow(&access, page, kind, context)?;
        }
        Ok(if found { Exit::Good } else { Exit::Nothing })
    }
}

/// Prints what comes, until the reader or the daemon goes away.
fn follow(access: &Access, mut page: LogPage, kind: Option<String>, context: &Context) -> Result<(), Fault> {
    loop {
        if matches!(access, Access::Journal(..)) && page.lines.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
        let on = LogFilter { from: Some(page.next), follow: true, kind: kind.clone(), ..LogFilter::default() };
        page = access.log(&on)?;
        super::print(&page.lines, context)?;
    }
}
