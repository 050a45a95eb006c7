//! `soard recipients show`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::escape;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BOLD, FAINT, Look, NAME, WARN, ago, count, styled, when};
use crate::cli::plain::{Page, safe};
use crate::cli::recipients::list::used;
use crate::daemon::recipients::RecipientReport;
use crate::domain::alert::Severity;
use crate::domain::recipient::which;

/// Show what a recipient wants, what they have got of late, and what waits
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard recipients show ann@example.com\n  \
                        soard recipients show ann@example.com -o json | jq .waiting")]
pub struct Args {
    /// The mail address
    #[arg(value_name = "ADDRESS")]
    address: String,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let found = context.daemon()?.find(&format!("/recipients/{}", escape(&self.address))).map_err(spoken)?;
        let Some(report) = found else {
            let what = format!("nothing is known of a recipient {:?}", self.address);
            return Err(Fault::nothing(what).hint("`soard recipients list` names those that there are"));
        };
        context.print::<RecipientReport>(&report, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(report: &RecipientReport, look: &Look) -> String {
    let mut page = Page::default();
    let name = report.name.as_ref().map(|name| format!("  {}", safe(name))).unwrap_or_default();
    page.line(0, format!("{}{name}", styled(BOLD, safe(&report.address))));
    if !report.roles.is_empty() {
        page.labelled(2, "roles", safe(report.roles.join(", ")));
    }
    let of = report.destinations.join(", ");
    page.labelled(2, "mails of", if of.is_empty() { "no destination by itself".to_owned() } else { safe(of) });
    page.labelled(2, "at least", report.at_least);
    let caps = [Severity::High, Severity::Medium, Severity::Low].map(|of| format!("{of} {}", used(report, of)));
    page.labelled(2, "of a day", caps.join(", "));
    for counted in &report.counted {
        page.labelled(2, "", styled(FAINT, format!("{} until {}", counted.severity, when(counted.until))));
    }
    page.labelled(2, "quiet", report.quiet.as_deref().map_or_else(|| "never".to_owned(), safe));
    page.labelled(2, "digest", safe(&report.digest));
    for waiting in &report.waiting {
        let alerts = count(waiting.alerts, "alert");
        let (group, of) = (styled(NAME, waiting.group), safe(&waiting.destination));
        let due = format!("{} ({})", when(waiting.due), ago(waiting.due, look));
        page.line(2, format!("{group}: {alerts} of {of} since {}, to be sent at {due}", when(waiting.since)));
    }
    for told in &report.unsubscribed {
        let how = if told.link { " by a link" } else { "" };
        let by = format!("since {} by {}{how}: {}", when(told.since), safe(&told.by), safe(&told.comment));
        page.line(
            2,
            format!("{} from {} {by}", styled(WARN, "unsubscribed"), safe(which(told.destination.as_deref()))),
        );
    }
    page.into_text()
}
