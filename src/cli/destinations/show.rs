//! `soard destinations show`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::escape;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BOLD, FAINT, Look, NAME, ago, count, styled};
use crate::cli::plain::{Page, safe};
use crate::cli::status;
use crate::console::destinations::DestinationView;

/// Show how a destination is set up, how it stands and what failed last
///
/// Secrets are named by where they lie. Of an address only the host is shown, since many services put a key into the path.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  soard destinations show oncall\n  soard destinations show jira -o json | jq .letters"
)]
pub struct Args {
    /// Its name in soard.yaml
    #[arg(value_name = "NAME")]
    name: String,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let found = context.daemon()?.find(&format!("/destinations/{}", escape(&self.name))).map_err(spoken)?;
        let Some(view) = found else { return Err(unknown(&self.name)) };
        context.print::<DestinationView>(&view, human)?;
        Ok(Exit::Good)
    }
}

/// There is no such destination.
pub(super) fn unknown(name: &str) -> Fault {
    Fault::nothing(format!("soard.yaml has no destination {name:?}"))
        .hint("`soard destinations list` names those that there are")
}

fn human(view: &DestinationView, look: &Look) -> String {
    let mut page = Page::default();
    page.line(0, format!("{}  {}", styled(BOLD, safe(&view.report.name)), safe(&view.report.kind)));
    for (name, value) in &view.settings {
        page.labelled(2, name, safe(value));
    }
    page.gap();
    let mut text = page.into_text();
    text.push_str(&status::destinations(std::slice::from_ref(&view.report), look).render(look));
    let mut page = Page::default();
    page.gap();
    if view.letters.is_empty() {
        page.line(0, styled(FAINT, "no dead letters"));
    } else {
        page.line(0, styled(BOLD, count(view.letters.len() as u64, "dead letter")));
    }
    for letter in &view.letters {
        let error = letter.error.as_deref().map(|error| format!(": {}", safe(error))).unwrap_or_default();
        let (key, state) = (styled(NAME, letter.key.as_str()), letter.state.as_str());
        page.line(2, format!("{key}  {}  {state}{error}", ago(letter.asked, look)));
    }
    text.push_str(&page.into_text());
    text
}
