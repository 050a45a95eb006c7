//! `soard hold on` and `off`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{GOOD, Look, NAME, WARN, styled};
use crate::cli::plain::safe;
use crate::console::holds::Change;
use crate::daemon::report::OrderReport;
use crate::domain::hold::{HoldOrder, Scope};
use crate::domain::operator::Order;

const ON_EXAMPLES: &str = "\
Examples:
  soard hold on -c \"a rule runs wild\"
  soard hold on --destination edr -c \"the vendor repairs it\"
  soard hold on --playbook isolate -c \"it isolates the wrong hosts\"";

/// Keep webhooks and mails from going out
///
/// Alerts are taken and decided as before, and runs go on until they have something to send; that waits, in the journal,
/// also over restarts. Nothing is lost: what waits goes out once the hold is off, unless its run is cancelled. A request
/// that is under way is not called back.
#[derive(Debug, clap::Args)]
#[command(after_help = ON_EXAMPLES)]
pub struct On {
    #[command(flatten)]
    target: Target,
}

/// Let them go out again
///
/// What has waited goes out. To drop some of it, cancel its runs before: `soard runs list --state waiting`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard hold off -c \"the rule is corrected\"\n  \
                        soard hold off --destination edr -c \"the vendor has repaired it\"")]
pub struct Off {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Target {
    /// Only what goes to this destination
    #[arg(long, value_name = "NAME", conflicts_with = "playbook")]
    destination: Option<String>,
    /// Only what runs of this playbook send
    #[arg(long, value_name = "NAME")]
    playbook: Option<String>,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY")]
    comment: String,
}

impl On {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.change(context, HoldOrder::On)
    }
}

impl Off {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.change(context, HoldOrder::Off)
    }
}

impl Target {
    fn change(&self, context: &Context, order: impl FnOnce(Scope) -> HoldOrder) -> Result<Exit, Fault> {
        let scope = match (&self.destination, &self.playbook) {
            (Some(name), _) => Scope::Destination(name.clone()),
            (None, Some(name)) => Scope::Playbook(name.clone()),
            (None, None) => Scope::Everything,
        };
        let ask = Change { hold: order(scope), comment: self.comment.clone() };
        let report: OrderReport = context.daemon()?.send("/holds", &ask).map_err(refused)?;
        context.print(&report, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(report: &OrderReport, _: &Look) -> String {
    let entry = report.seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default();
    let what = match &report.order {
        Order::Hold(HoldOrder::On(scope)) => format!("{} is {}", styled(NAME, safe(scope)), styled(WARN, "on hold")),
        Order::Hold(HoldOrder::Off(scope)) => {
            format!("{} {}", styled(NAME, safe(scope)), styled(GOOD, "goes out again"))
        }
        other => format!("{other:?}"),
    };
    format!("{what}{entry}\n")
}
