//! `soard recipients unsubscribe` and `subscribe`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::client::escape;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered::recipient_order;
use crate::cli::output::Look;
use crate::console::recipients::Change;
use crate::daemon::report::OrderReport;
use crate::domain::operator::Order;

/// Send an address no mails any more
///
/// None of one destination, or none at all. What waits for its next digest is not sent either, unless it is subscribed again
/// before. Other recipients of the same mails get them as before; a question to people that nobody would get goes to all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard recipients unsubscribe ann@example.com -c \"on leave until May\"\n  \
                  soard recipients unsubscribe ann@example.com --destination oncall -c \"not on call any more\"")]
pub struct Unsubscribe {
    #[command(flatten)]
    target: Target,
}

/// Send an address mails again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard recipients subscribe ann@example.com -c \"back from leave\"")]
pub struct Subscribe {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The mail address
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Only mails of this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY")]
    comment: String,
}

impl Unsubscribe {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.change(context, "unsubscribe")
    }
}

impl Subscribe {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.change(context, "subscribe")
    }
}

impl Target {
    fn change(&self, context: &Context, verb: &str) -> Result<Exit, Fault> {
        let ask = Change { destination: self.destination.clone(), comment: self.comment.clone() };
        let path = format!("/recipients/{}/{verb}", escape(&self.address));
        let report: OrderReport = context.daemon()?.send(&path, &ask).map_err(refused)?;
        context.print(&report, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(report: &OrderReport, _: &Look) -> String {
    let entry = report.seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default();
    match &report.order {
        Order::Recipient(order) => format!("{}{entry}\n", recipient_order(order)),
        other => format!("{other:?}{entry}\n"),
    }
}
