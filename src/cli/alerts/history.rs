//! `soard alerts history`.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{FAINT, Look, count, styled, when};
use crate::cli::plain::{Page, safe};
use crate::cli::table::{Cell, Table};
use crate::daemon::report::Indexed;
use crate::domain::id::AlertId;
use crate::index::story::Story;

/// Show who changed an alert, when and why, and what was sent for it
///
/// Changes of its status, severity and tags by sources, suppressions and playbooks; its runs and what each of them sent.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  soard alerts history a-1042.0\n  soard alerts history a-1042.0 -o json | jq '.runs[].deliveries'"
)]
pub struct Args {
    /// The alert
    #[arg(value_name = "ID")]
    id: AlertId,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let Some(story) = context.access()?.history(self.id)? else {
            let none = Fault::nothing(format!("the index has no alert {}", self.id));
            return Err(none.hint("`soard alerts list --all` shows the alerts"));
        };
        context.print(&story, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(story: &Indexed<Story>, look: &Look) -> String {
    let Story { row, changes, runs } = &story.answer;
    let mut page = Page::default();
    page.line(0, format!("{}  {}  {}  {}", row.id, row.severity, row.status, safe(&row.title)));
    let seen = format!("seen {}, first {}, last {}", count(row.count, "time"), when(row.received), when(row.last_seen));
    page.line(2, seen);
    page.gap();
    let mut text = page.into_text();
    let mut table = Table::new(&["WHEN", "WHO", "WHAT", "WHY"], 3);
    for change in changes {
        let why = [change.reason.as_deref(), change.comment.as_deref()];
        table.row(vec![
            Cell::from(when(change.at)),
            Cell::from(&change.actor),
            Cell::from(format!("{} {}", change.what, change.value)),
            Cell::from(why.into_iter().flatten().collect::<Vec<_>>().join(": ")),
        ]);
    }
    match changes.len() {
        0 => text.push_str(&(styled(FAINT, "no changes") + "\n")),
        _ => text.push_str(&table.render(look)),
    }
    for run in runs {
        let error = run.error.as_deref().map(|error| format!(": {}", safe(error))).unwrap_or_default();
        text.push_str(&format!("\nrun {} {}{error}\n", safe(run.id.to_string()), run.outcome));
        let mut table = Table::new(&["STEP", "KIND", "DESTINATION", "OUTCOME", "ATTEMPTS", "KEY", "ERROR"], 6);
        for sent in &run.deliveries {
            let code = sent.code.map(|code| format!(" ({code})")).unwrap_or_default();
            table.row(vec![
                Cell::from(sent.step.to_string()),
                Cell::from(&sent.kind),
                Cell::from(&sent.destination),
                Cell::from(format!("{}{code}", sent.outcome)),
                Cell::from(sent.attempts.to_string()),
                Cell::from(&sent.key),
                Cell::from(sent.error.as_deref().unwrap_or("-")),
            ]);
        }
        if !run.deliveries.is_empty() {
            text.push_str(&table.render(look));
        }
    }
    text
}
