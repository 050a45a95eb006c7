//! `soard log repair`.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, GOOD, Look, WARN, count, size, styled, when_ago};
use crate::cli::plain::{Page, safe};
use crate::daemon::clock;
use crate::journal::repair::{Plan, plan};

/// Give up what stands behind the first damage, so that the daemon can start again
///
/// Without --accept-loss it only shows what would be lost: every entry from the first bad one on, also good ones behind it,
/// since each rests on the one before. Restore a copy instead if you have one. With --accept-loss what is given up is
/// moved to side files in the journal's folder, and an entry says what, why and where. No daemon may be running.
/// Exits with 0 when there is no damage or it was repaired, with 1 when there is damage and it was only shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard log repair\n  soard log repair --accept-loss")]
pub struct Args {
    /// The journal's folder; the one of --dir when absent
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Give up what is shown without this option
    #[arg(long)]
    accept_loss: bool,
}

/// What was found and done.
#[derive(Debug, Serialize)]
struct Report {
    journal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<Loss>,
    /// The entry that records the repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<u64>,
    /// What was given up lies in these files.
    files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Loss {
    place: String,
    kept_to: u64,
    kept_at: jiff::Timestamp,
    lost_bytes: u64,
    lost_whole_entries: u64,
    lost_to: u64,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let dir = self.journal.clone().unwrap_or_else(|| context.places.journal());
        let mut report = Report { journal: dir.display().to_string(), loss: None, repaired: None, files: Vec::new() };
        let mut exit = Exit::Good;
        if let Some(plan) = plan(&dir)? {
            report.loss = Some(loss(&plan));
            if self.accept_loss {
                let done = plan.carry_out(&dir, clock::now())?;
                (report.repaired, report.files) = (Some(done.receipt.seq), done.files);
            } else {
                exit = Exit::Nothing;
            }
        }
        context.print(&report, human)?;
        Ok(exit)
    }
}

fn loss(plan: &Plan) -> Loss {
    Loss {
        place: plan.place.to_string(),
        kept_to: plan.kept.seq,
        kept_at: plan.kept_at,
        lost_bytes: plan.lost_bytes,
        lost_whole_entries: plan.lost_lines,
        lost_to: plan.lost_to,
    }
}

fn human(report: &Report, look: &Look) -> String {
    let mut page = Page::default();
    let Some(loss) = &report.loss else {
        page.line(0, styled(GOOD, "there is no damage that keeps a daemon from starting; nothing was changed"));
        return page.into_text();
    };
    match report.repaired {
        Some(seq) => page.line(0, styled(WARN, format!("repaired with loss; entry {seq} records it"))),
        None => page.line(0, styled(BAD, "damaged; nothing was changed, and this is what a repair would give up")),
    }
    page.labelled(2, "journal", safe(&report.journal));
    page.labelled(2, "damage", safe(&loss.place));
    page.labelled(2, "kept", format!("up to entry {}, {}", loss.kept_to, when_ago(loss.kept_at, look)));
    let whole = count(loss.lost_whole_entries, "whole line");
    let to = loss.lost_to.max(loss.kept_to + 1);
    page.labelled(2, "lost", format!("entries {} to {to}: {}, {whole}", loss.kept_to + 1, size(loss.lost_bytes)));
    for file in &report.files {
        page.labelled(2, "aside", safe(file));
    }
    if report.repaired.is_none() {
        page.gap();
        page.line(0, "Restore a copy if you have one. `soard log repair --accept-loss` gives it up.".to_owned());
    }
    page.into_text()
}
