//! `soard exports show`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::escape;
use crate::cli::exports::list;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, BOLD, Look, count, styled, when};
use crate::cli::plain::{Page, safe};
use crate::console::exports::ExportView;

/// Show how an export is set up and stands
///
/// Secrets are named by where they lie. Of an address only the host is shown, since many services put a key into the path.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard exports show siem\n  soard exports show siem -o json | jq .report.behind")]
pub struct Args {
    /// Its name in soard.yaml
    #[arg(value_name = "NAME")]
    name: String,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let found = context.daemon()?.find(&format!("/exports/{}", escape(&self.name))).map_err(spoken)?;
        let Some(view) = found else { return Err(unknown(&self.name)) };
        context.print::<ExportView>(&view, human)?;
        Ok(Exit::Good)
    }
}

/// There is no such export.
pub(super) fn unknown(name: &str) -> Fault {
    Fault::nothing(format!("soard.yaml has no export {name:?}")).hint("`soard exports list` names those that there are")
}

fn human(view: &ExportView, look: &Look) -> String {
    let report = &view.report;
    let mut page = Page::default();
    page.line(0, format!("{}  {}", styled(BOLD, safe(&report.name)), safe(&report.kind)));
    for (name, value) in &view.settings {
        page.labelled(2, name, safe(value));
    }
    if let Some(snapshot) = &report.snapshot {
        let of = format!("{} of {}", snapshot.taken, count(snapshot.alerts, "alert"));
        page.labelled(2, "under way", format!("a snapshot of {}, {of} taken", when(snapshot.at)));
    }
    if report.set_back > 0 {
        let words = format!("{} times, since the journal was another one than it had read", report.set_back);
        page.labelled(2, "went back", styled(BAD, words));
    }
    page.gap();
    page.into_text() + &list::table(std::slice::from_ref(report), look).render(look)
}
