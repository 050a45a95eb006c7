//! `soard approvals show`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::approvals::list::{closed, style};
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{FAINT, Look, NAME, WARN, ago, styled, when};
use crate::cli::plain::{Page, safe};
use crate::domain::approval::{Approval, Barred, Outcome};
use crate::domain::id::ApprovalId;

/// Show an approval: the whole question, who may decide and until when, and what came of it
///
/// `soard why RUN` shows what led to it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  soard approvals show ap-3\n  soard approvals show ap-3 -o json | jq -r .run | xargs soard why"
)]
pub struct Args {
    /// The approval
    #[arg(value_name = "ID")]
    id: ApprovalId,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let approval: Approval = context.daemon()?.get(&format!("/approvals/{}", self.id)).map_err(refused)?;
        context.print(&approval, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(approval: &Approval, look: &Look) -> String {
    let Approval { id, run, step, asked, request, starter, outcome } = approval;
    let mut page = Page::default();
    let state =
        outcome.as_ref().map_or_else(|| styled(WARN, "open"), |outcome| styled(style(outcome.choice), closed(outcome)));
    page.line(0, format!("{}  {state}", styled(NAME, id)));
    page.gap();
    page.block(2, &request.question, look);
    page.gap();
    page.labelled(0, "by", safe(request.by.join(" or ")));
    if request.not_by == Some(Barred::Starter) {
        let who = starter.as_ref().map(|starter| format!(": {}", safe(starter))).unwrap_or_default();
        page.labelled(0, "not by", format!("whoever started the run{who}"));
    }
    page.labelled(
        0,
        "until",
        format!("{} ({}), then {}", when(request.until), ago(request.until, look), request.otherwise),
    );
    page.labelled(
        0,
        "asked",
        format!("{} ({}) by step {step} of {}", when(*asked), ago(*asked, look), styled(NAME, safe(run))),
    );
    if let Some(name) = &request.notify {
        page.labelled(0, "told", format!("by mail to {}", safe(name)));
    }
    if let Some(Outcome { at, seq, by, comment, .. }) = outcome {
        let by = by.as_ref().map(|by| format!(" by {}", safe(by))).unwrap_or_default();
        let why = if comment.is_empty() { String::new() } else { format!(": {}", safe(comment)) };
        page.labelled(0, "closed", format!("{}{by}, entry {seq}{why}", when(*at)));
    } else {
        page.gap();
        page.line(0, styled(FAINT, format!("`soard approve {id} -c WHY` or `soard deny {id} -c WHY` decides")));
    }
    page.into_text()
}
