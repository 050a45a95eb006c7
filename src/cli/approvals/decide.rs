//! `soard approve` and `soard deny`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, GOOD, Look, NAME, styled};
use crate::cli::plain::safe;
use crate::console::approvals::Decision;
use crate::daemon::report::OrderReport;
use crate::domain::approval::Choice;
use crate::domain::id::ApprovalId;
use crate::domain::operator::Order;

/// Let a playbook do what it asks for
///
/// The first decision counts. After its deadline an approval is decided as the playbook says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard approvals list\n  soard approve ap-3 -c \"confirmed with the owner\"")]
pub struct Approve {
    #[command(flatten)]
    target: Target,
}

/// Keep a playbook from doing what it asks for
///
/// The first decision counts. After its deadline an approval is decided as the playbook says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard approvals list\n  soard deny ap-3 -c \"it is a domain controller\"")]
pub struct Deny {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The approval
    #[arg(value_name = "ID")]
    id: ApprovalId,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY")]
    comment: String,
}

impl Approve {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.decide(context, Choice::Approve)
    }
}

impl Deny {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.target.decide(context, Choice::Deny)
    }
}

impl Target {
    fn decide(&self, context: &Context, choice: Choice) -> Result<Exit, Fault> {
        let ask = Decision { choice, comment: self.comment.clone() };
        let report: OrderReport =
            context.daemon()?.send(&format!("/approvals/{}/decide", self.id), &ask).map_err(refused)?;
        context.print(&report, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(report: &OrderReport, _: &Look) -> String {
    let entry = report.seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default();
    let Order::Approval(order) = &report.order else { return format!("{:?}{entry}\n", report.order) };
    let style = if order.choice == Choice::Approve { GOOD } else { BAD };
    let (id, run) = (styled(NAME, order.approval), safe(&order.run));
    format!("{id} is {}, {run} goes on{entry}\n", styled(style, order.choice.past()))
}
