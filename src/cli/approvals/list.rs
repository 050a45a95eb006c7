//! `soard approvals list`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, BAD, FAINT, GOOD, Look, NAME, WARN, ago, count, styled};
use crate::cli::table::{Cell, Table};
use crate::domain::approval::{Approval, Choice, How, Outcome};

const EXAMPLES: &str = "\
Examples:
  soard approvals list
  soard approve ap-3 -c \"confirmed with the owner\"
  soard approvals list --all -o json | jq '.[] | select(.outcome.how == \"timed_out\")'";

/// List approvals: those that wait, the next to time out first
///
/// Exits with 1 when the list is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Those that are closed, too, the newest first: the last 1,000
    #[arg(long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let mut all: Vec<Approval> = context.daemon()?.get("/approvals").map_err(spoken)?;
        all.retain(|approval| self.all || approval.outcome.is_none());
        sort(&mut all);
        if self.quiet {
            all.iter().try_for_each(|approval| output::print(&approval.id.to_string()))?;
        } else {
            context.print(&all, |all, look| human(all, look))?;
        }
        Ok(if all.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

/// Open ones first, the next to time out before the others; then the closed ones, the newest first.
fn sort(all: &mut [Approval]) {
    all.sort_by_key(|approval| {
        let closed = approval.outcome.as_ref().map(|outcome| std::cmp::Reverse(outcome.seq));
        (closed.is_some(), closed, approval.request.until, approval.id)
    });
}

pub(in crate::cli) fn human(all: &[Approval], look: &Look) -> String {
    let mut text = String::new();
    if !all.is_empty() {
        let mut table = Table::new(&["ID", "STATE", "UNTIL", "OTHERWISE", "BY", "RUN", "QUESTION"], 6);
        all.iter().for_each(|approval| table.row(cells(approval, look)));
        text.push_str(&table.render(look));
    }
    let open = all.iter().filter(|approval| approval.outcome.is_none()).count();
    let below = if open == 0 {
        "nothing waits for approval".to_owned()
    } else {
        format!("{} open", count(open as u64, "approval"))
    };
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text
}

fn cells(approval: &Approval, look: &Look) -> Vec<Cell> {
    let request = &approval.request;
    let (state, style) = match &approval.outcome {
        None => ("open".to_owned(), WARN),
        Some(outcome) => (closed(outcome), style(outcome.choice)),
    };
    let by = match approval.outcome.as_ref().and_then(|outcome| outcome.by.as_ref()) {
        Some(by) => by.clone(),
        None => request.by.join(" or "),
    };
    vec![
        Cell::new(approval.id.to_string(), NAME),
        Cell::new(state, style),
        Cell::from(ago(request.until, look)),
        Cell::from(request.otherwise.as_str()),
        Cell::from(by),
        Cell::from(approval.run.to_string()),
        Cell::from(&request.question),
    ]
}

/// How it was closed, in a word or two.
pub(super) fn closed(outcome: &Outcome) -> String {
    let what = outcome.choice.map_or("withdrawn", Choice::past);
    if outcome.how == How::TimedOut { format!("{what}, timed out") } else { what.to_owned() }
}

/// In which colour that is told.
pub(super) const fn style(choice: Option<Choice>) -> anstyle::Style {
    match choice {
        Some(Choice::Approve) => GOOD,
        Some(Choice::Deny) => BAD,
        None => FAINT,
    }
}
