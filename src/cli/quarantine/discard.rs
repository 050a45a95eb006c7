//! `soard quarantine discard`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered::quarantined;
use crate::cli::output::{GOOD, Look, count, styled};
use crate::console::quarantine::Discards;
use crate::daemon::report::OrderReport;
use crate::domain::operator::Order;
use crate::engine::orders::DISCARDED_MAX;

const EXAMPLES: &str = "\
Examples:
  soard quarantine discard 17 18 -c \"a test of the sender\"
  soard quarantine list -q --source edr --limit 1000 | xargs soard quarantine discard -c \"no alerts\"
  soard quarantine discard --all -c \"the sender is mended, and sent them again\"";

/// Give quarantined records up, so that retention need not keep them
///
/// A quarantined record keeps the journal from it on: `keep` and `size` drop nothing of that. One that is given up is not
/// sent through again; it stays on record until retention drops it. All that are named are given up, or none.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Numbers of the records
    #[arg(value_name = "RECORD", required_unless_present = "all")]
    records: Vec<u64>,
    /// All records in quarantine
    #[arg(long, conflicts_with = "records")]
    all: bool,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY")]
    comment: String,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let daemon = context.daemon()?;
        let records = (!self.all).then(|| self.records.clone());
        let mut reports = Vec::new();
        loop {
            let ask = Discards { records: records.clone(), comment: self.comment.clone() };
            let report: OrderReport = daemon.send("/quarantine/discard", &ask).map_err(refused)?;
            let goes_on = self.all && discarded(&report).len() >= DISCARDED_MAX;
            reports.push(report);
            if !goes_on {
                break;
            }
        }
        context.print(&reports, |reports, look| human(reports, look))?;
        Ok(Exit::Good)
    }
}

fn discarded(report: &OrderReport) -> &[u64] {
    match &report.order {
        Order::QuarantineDiscard { records } => records,
        _ => &[],
    }
}

pub(in crate::cli) fn human(reports: &[OrderReport], _: &Look) -> String {
    let lines = reports.iter().map(|report| {
        let entry = report.seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default();
        let records = discarded(report);
        let what = match records {
            [_] => quarantined(records),
            many => format!("{}: {}", count(many.len() as u64, "record"), quarantined(many)),
        };
        format!("{} {what}{entry}\n", styled(GOOD, "discarded"))
    });
    lines.collect()
}
