//! `soard quarantine show`.

use std::io::{IsTerminal, Write};

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BOLD, FAINT, GOOD, Look, NAME, count, size, styled, when, when_ago};
use crate::cli::plain::{self, Page, safe};
use crate::daemon::query::quarantine::QuarantineView;
use crate::domain::record::Body;

/// Show one quarantined record and why it is there
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard quarantine show 17\n  \
                        soard quarantine show 17 --raw > record.json     the bytes, verbatim")]
pub struct Args {
    /// Number of the record
    #[arg(value_name = "RECORD")]
    record_no: u64,
    /// Print only the record's bytes, verbatim: not for a terminal
    #[arg(long)]
    raw: bool,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let Some(view) = context.access()?.quarantined(self.record_no)? else {
            let none = Fault::nothing(format!("record {} was not quarantined", self.record_no));
            return Err(none.hint("`soard quarantine list --all` shows those that were"));
        };
        if self.raw && std::io::stdout().is_terminal() {
            let raw = Fault::new("a record's raw bytes could drive the terminal");
            return Err(raw.hint("send them to a file or a pipe; without --raw they are shown escaped"));
        }
        if self.raw {
            let bytes = view.record.bytes().ok_or_else(|| Fault::new("the record's base64 is damaged"))?;
            std::io::stdout().lock().write_all(&bytes)?;
        } else {
            context.print(&view, human)?;
        }
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(view: &QuarantineView, look: &Look) -> String {
    let mut page = Page::default();
    let row = &view.row;
    let record = styled(NAME, format!("record {}", row.record_no));
    let source = safe(&row.source);
    page.line(0, format!("{record}  {} from source {source}, {}", size(row.bytes), when_ago(row.at, look)));
    page.labelled(2, "cause", styled(BOLD, safe(&row.cause)));
    page.labelled(2, "from", plain::position(&view.position));
    page.labelled(2, "journal", format!("entry {}", view.seq));
    match (&row.retried, &row.discarded) {
        (Some(retried), _) => {
            let (at, alerts) = (when(retried.at), count(retried.alerts.len() as u64, "alert"));
            let ids: Vec<String> = retried.alerts.iter().map(ToString::to_string).collect();
            let gave = format!("record {}, which gave {alerts} {}", retried.record_no, ids.join(" "));
            page.labelled(2, "retried", styled(GOOD, format!("{at}: became {}", gave.trim_end())));
        }
        (None, Some(discarded)) => {
            let (by, why) = (safe(&discarded.by), safe(&discarded.comment));
            page.labelled(2, "discarded", format!("{} by {by}: {why}", when(discarded.at)));
        }
        (None, None) => {
            let retry = format!("`soard quarantine retry {}` sends it through again", row.record_no);
            page.labelled(2, "retried", format!("no; {}", styled(FAINT, retry)));
        }
    }
    page.gap();
    match &view.record {
        body @ (Body::Json(_) | Body::Text(_)) => page.block(2, body.written(), look),
        Body::Base64(text) => {
            page.line(2, styled(FAINT, "not UTF-8; as base64:"));
            page.block(2, text, look);
        }
    }
    page.into_text()
}
