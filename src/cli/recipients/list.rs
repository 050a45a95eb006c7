//! `soard recipients list`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{FAINT, Look, NAME, WARN, ago, count, styled};
use crate::cli::table::{Cell, Table};
use crate::daemon::recipients::RecipientReport;
use crate::domain::alert::Severity;
use crate::domain::mail::Caps;

/// List recipients: what they want, what they have got of late, and what waits for their next digest
///
/// Exits with 1 when no destination sends mails.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard recipients list\n  \
                        soard recipients list -o json | jq '.[] | select(.unsubscribed != null) | .address'")]
pub struct Args {}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let all: Vec<RecipientReport> = context.daemon()?.get("/recipients").map_err(spoken)?;
        context.print(&all, |all, look| human(all, look))?;
        Ok(if all.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(all: &[RecipientReport], look: &Look) -> String {
    if all.is_empty() {
        return "no destination of soard.yaml sends mails\n".to_owned();
    }
    let mut table =
        Table::new(&["ADDRESS", "ROLES", "AT LEAST", "HIGH", "MEDIUM", "LOW", "WAIT", "DIGEST", "MAILS OF"], 8);
    for recipient in all {
        let waiting: u64 = recipient.waiting.iter().map(|waiting| waiting.alerts).sum();
        let due = recipient.waiting.first().map_or_else(|| recipient.digest.clone(), |first| ago(first.due, look));
        let (of, style) = match recipient.unsubscribed.is_empty() {
            true => (recipient.destinations.join(", "), anstyle::Style::new()),
            false => ("unsubscribed".to_owned(), WARN),
        };
        table.row(vec![
            Cell::new(&recipient.address, NAME),
            Cell::from(recipient.roles.join(", ")),
            Cell::from(recipient.at_least.as_str()),
            Cell::from(used(recipient, Severity::High)),
            Cell::from(used(recipient, Severity::Medium)),
            Cell::from(used(recipient, Severity::Low)),
            Cell::from(waiting.to_string()),
            Cell::from(due),
            Cell::new(of, style),
        ]);
    }
    let below = format!("{}; mails of a day by severity, of at most how many", count(all.len() as u64, "recipient"));
    format!("{}{}\n", table.render(look), styled(FAINT, below))
}

/// How many mails of a severity count now, and of at most how many.
pub(super) fn used(recipient: &RecipientReport, severity: Severity) -> String {
    let count =
        recipient.counted.iter().find(|counted| counted.severity == severity).map_or(0, |counted| counted.count);
    match Caps::of(&recipient.caps, severity) {
        Some(cap) => format!("{count}/{cap}"),
        None => "any".to_owned(),
    }
}
