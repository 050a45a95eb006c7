//! `soard runs cancel`, `restart` and `retry`: orders, with who and why on record.

use hyper::StatusCode;

use crate::cli::Context;
use crate::cli::access::{run_path, spoken};
use crate::cli::client::ClientError;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered;
use crate::cli::output::{GOOD, Look, NAME, short_hash, styled};
use crate::cli::plain::safe;
use crate::console::shared::Because;
use crate::daemon::report::OrderReport;
use crate::domain::id::RunId;
use crate::domain::operator::Order;

/// End a run for good
///
/// An open run asks for nothing more and waits for nothing more; a request that is under way is not called back.
/// A failed or stalled run is settled by it: it can no longer be retried.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard runs cancel a-1042.0/isolate -c \"the host is being reinstalled\"")]
pub struct Cancel {
    #[command(flatten)]
    target: Target,
}

/// Start a run's playbook anew, for the same alerts, on today's bundle
///
/// From the top, as another run with a number behind its id: what the first one sent is sent again, under keys of its
/// own. An open run has to be cancelled first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard runs restart a-1042.0/ticket -c \"the playbook is corrected\"\n  \
                        soard runs show a-1042.0/ticket~2")]
pub struct Restart {
    #[command(flatten)]
    target: Target,
}

/// Let a failed or stalled run go on from its recorded steps
///
/// On the bundle that it began with. When it failed because its last effects did, these are sent again, under their
/// own keys; no other step is repeated. A stalled run needs the version of soard that it began with.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard runs retry a-1042.0/ticket -c \"the ticket system is back\"\n  \
                        soard runs list -q --state failed | xargs -n1 soard runs retry -c \"mail works again\"")]
pub struct Retry {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The run
    #[arg(value_name = "ID")]
    id: RunId,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY")]
    comment: String,
}

impl Cancel {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.order(context, "cancel")
    }
}

impl Restart {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.order(context, "restart")
    }
}

impl Retry {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.order(context, "retry")
    }
}

impl Target {
    fn order(&self, context: &Context, what: &str) -> Result<Exit, Fault> {
        let comment = Because { comment: self.comment.clone() };
        let daemon = context.daemon()?;
        match daemon.send::<OrderReport>(&format!("{}/{what}", run_path(&self.id)), &comment) {
            Ok(report) => {
                context.print(&report, human)?;
                Ok(Exit::Good)
            }
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND | StatusCode::CONFLICT, error }) => {
                Err(Fault::nothing(error).hint(format!("`soard runs show {}` says how it stands", self.id)))
            }
            Err(error) => Err(spoken(error)),
        }
    }
}

pub(in crate::cli) fn human(report: &OrderReport, _: &Look) -> String {
    let name = |run: &RunId| styled(NAME, safe(run));
    let text = match &report.order {
        Order::RunCancel { run } => format!("{} is {}", name(run), styled(GOOD, "cancelled")),
        Order::RunRestart { starts, bundle, .. } => {
            format!("{} {} on bundle {}", name(starts), styled(GOOD, "starts"), short_hash(bundle))
        }
        Order::RunRetry { run, again } => {
            let steps: Vec<String> = again.iter().map(ToString::to_string).collect();
            let sent =
                if steps.is_empty() { String::new() } else { format!("; step {} is sent again", steps.join(", ")) };
            format!("{} {}{sent}", name(run), styled(GOOD, "goes on"))
        }
        Order::DeliveryRetry { key, .. } => format!("{key} is {}", styled(GOOD, "sent again")),
        Order::RunStart { starts, bundle, .. } => {
            format!("{} {} on bundle {}", name(starts), styled(GOOD, "starts"), short_hash(bundle))
        }
        Order::Approval(order) => ordered::approval_order(order),
        Order::Hold(order) => ordered::hold_order(order),
        Order::Recipient(order) => ordered::recipient_order(order),
        Order::Token(order) => ordered::token_order(order),
        Order::DestinationTest { destination } => format!("destination {} is tried out", safe(destination)),
        Order::Silence(order) => ordered::silence_order(order),
        Order::QuarantineDiscard { records } => format!("discarded {}", ordered::quarantined(records)),
        Order::Upkeep(upkeep) => ordered::upkeep(upkeep),
        Order::Alert { alert, was, change, .. } => ordered::alert_change(*alert, *was, change),
    };
    let entry = report.seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default();
    format!("{text}{entry}\n")
}
