//! `soard silence list`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, Look, NAME, ago, count, styled};
use crate::cli::table::{Cell, Table};
use crate::domain::silence::Silence;

/// List silences: those that hold, the next to end first
///
/// Exits with 1 when the list is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard silence list\n  soard silence list --expired\n  \
                        soard silence list -q | xargs -n1 soard silence expire")]
pub struct Args {
    /// Those that have ended, the last first, instead of those that hold
    #[arg(long)]
    expired: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let mut all: Vec<Silence> = context.daemon()?.get("/silences").map_err(spoken)?;
        let now = context.look.now;
        all.retain(|silence| (silence.until <= now) == self.expired);
        all.sort_by_key(|silence| silence.until);
        if self.expired {
            all.reverse();
        }
        if self.quiet {
            all.iter().try_for_each(|silence| output::print(&silence.id.to_string()))?;
        } else {
            context.print(&all, |all, look| human(all, look))?;
        }
        Ok(if all.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(all: &[Silence], look: &Look) -> String {
    let mut text = String::new();
    if !all.is_empty() {
        let mut table = Table::new(&["ID", "ENDS", "HELD", "LAST", "BY", "MATCH", "WHY"], 6);
        all.iter().for_each(|silence| table.row(cells(silence, look)));
        text.push_str(&table.render(look));
    }
    let below = if all.is_empty() { "no silences".to_owned() } else { count(all.len() as u64, "silence") };
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text
}

fn cells(silence: &Silence, look: &Look) -> Vec<Cell> {
    let terms: Vec<String> = silence.terms.iter().map(ToString::to_string).collect();
    vec![
        Cell::new(silence.id.to_string(), NAME),
        Cell::from(ago(silence.until, look)),
        Cell::from(count(silence.held, "alert")),
        Cell::from(silence.last.map_or_else(|| "never".into(), |last| ago(last, look))),
        Cell::from(&silence.by),
        Cell::from(terms.join(" ")),
        Cell::from(&silence.comment),
    ]
}
