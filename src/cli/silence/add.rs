//! `soard silence add`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, GOOD, Look, NAME, WARN, styled, when_ago};
use crate::cli::plain::safe;
use crate::console::silences::Quiet;
use crate::daemon::report::OrderReport;
use crate::domain::operator::Order;
use crate::domain::silence::{SilenceOrder, Term};
use crate::domain::time::Span;
use crate::rules::silence;

const EXAMPLES: &str = "\
Examples:
  soard silence add kind=PortScan host=web-01 -d 4h -c \"penetration test\"
  soard silence add 'title=~^Backup' source=edr -d 30m -c \"restore drill\"
  soard silence add 'ip|cidr=10.20.0.0/16' 'severity|lte=medium' -d 2d -c \"network moves\"";

/// Keep alerts quiet for a while
///
/// An alert that has all of these is recorded and stays active, and no playbook is started for it. Any field of an alert
/// can be named. Values are compared as in rules: `*` and `?` are wildcards, case does not count, and a field may have the
/// rules' modifiers behind a bar. `=~` takes a regular expression that fits anywhere in the value; `!=` and `!~` mean that no
/// value is like that.
///
/// An alert that is reported again once the silence has ended is decided anew. What is to be quiet for longer than 90
/// days belongs into rules/suppress.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What an alert must have: field=value, field!=value, field=~regex, field!~regex
    #[arg(value_name = "FIELD=VALUE", required = true)]
    terms: Vec<Term>,
    /// How long: 30m, 4h, 7d; at most 90d
    #[arg(short, long = "duration", value_name = "TIME")]
    duration: Span,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY")]
    comment: String,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let checked = silence::check(&self.terms);
        if !checked.errors.is_empty() {
            return Err(Fault::new(checked.errors.join("; ")));
        }
        for warning in &checked.warnings {
            output::note(&format!("{} {}", styled(WARN, "warning:"), safe(warning)));
        }
        let ask = Quiet { terms: self.terms.clone(), lasts: self.duration, comment: self.comment.clone() };
        let report: OrderReport = context.daemon()?.send("/silences", &ask).map_err(refused)?;
        context.print(&report, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(report: &OrderReport, look: &Look) -> String {
    let entry = report.seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default();
    let what = match &report.order {
        Order::Silence(SilenceOrder::Add { id, until, .. } | SilenceOrder::Update { id, until }) => {
            format!("{} {} until {}", styled(NAME, id), styled(GOOD, "holds"), when_ago(*until, look))
        }
        Order::Silence(SilenceOrder::Expire { id }) => format!("{} has {}", styled(NAME, id), styled(GOOD, "ended")),
        other => format!("{other:?}"),
    };
    format!("{what}{entry}\n")
}
