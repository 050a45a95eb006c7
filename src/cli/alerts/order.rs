//! What all commands that change alerts have in common: which alerts, why, and what came of it.

use std::io::Read;
use std::str::FromStr;

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered;
use crate::cli::output::{self, BAD, FAINT, GOOD, Look, count, styled};
use crate::cli::plain::safe;
use crate::console::alerts::{ALERTS_MAX, Orders, Want};
use crate::daemon::report::{OrderReport, OrdersReport};
use crate::domain::id::{AlertId, BadId};
use crate::domain::operator::Order;

/// More alerts than these need `--yes`.
pub const UNASKED_MAX: usize = 20;

/// Bytes of ids on standard input.
const STDIN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An alert, or `-` for those on standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Alert(AlertId),
    /// Those that standard input names, separated by blanks or lines.
    Stdin,
}

impl FromStr for Which {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        if text == "-" { Ok(Self::Stdin) } else { text.parse().map(Self::Alert) }
    }
}

/// How an order for alerts is given.
#[derive(Debug, clap::Args)]
pub struct How {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Do it also for more than 20 alerts
    #[arg(long)]
    yes: bool,
    /// Print only the ids of the alerts for which it is done
    #[arg(short, long)]
    quiet: bool,
}

/// The ids, each once, in their order.
fn ids(given: &[Which]) -> Result<Vec<AlertId>, Fault> {
    let mut ids = Vec::new();
    for which in given {
        match which {
            Which::Alert(id) => ids.push(*id),
            Which::Stdin => {
                let mut text = String::new();
                std::io::stdin().take(STDIN_BYTES_MAX).read_to_string(&mut text)?;
                let named: Result<Vec<AlertId>, BadId> = text.split_whitespace().map(str::parse).collect();
                ids.extend(named.map_err(|bad| Fault::from(bad).hint("standard input has ids and blanks only"))?);
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(ids)
}

impl How {
    /// Gives the order, in requests of at most [`ALERTS_MAX`] alerts.
    pub(super) fn order(&self, context: &Context, which: &[Which], want: &Want, why: &str) -> Result<Exit, Fault> {
        let ids = ids(which)?;
        if ids.is_empty() {
            return Err(Fault::nothing("standard input names no alert"));
        }
        if ids.len() > UNASKED_MAX && !self.yes && !self.dry_run {
            let many = count(ids.len() as u64, "alert");
            output::print(&format!("{many}; nothing was changed yet, --yes changes them, --dry-run says how\n"))?;
            return Ok(Exit::Nothing);
        }
        let daemon = context.daemon()?;
        let mut report = OrdersReport::default();
        for alerts in ids.chunks(ALERTS_MAX) {
            let ask = Orders {
                alerts: alerts.to_vec(),
                want: want.clone(),
                comment: why.trim().to_owned(),
                dry_run: self.dry_run,
            };
            let one: OrdersReport = daemon.send("/alerts/orders", &ask).map_err(refused)?;
            report.done.extend(one.done);
            report.refused.extend(one.refused);
        }
        self.tell(context, &report)?;
        Ok(if report.refused.is_empty() { Exit::Good } else { Exit::Nothing })
    }

    fn tell(&self, context: &Context, report: &OrdersReport) -> Result<(), Fault> {
        if !self.quiet {
            return context.print(report, human);
        }
        report.done.iter().filter_map(alert).try_for_each(|id| output::print(&id.to_string()))?;
        report.refused.iter().for_each(|left| output::note(&format!("{}: {}", left.alert, safe(&left.why))));
        Ok(())
    }
}

fn alert(report: &OrderReport) -> Option<AlertId> {
    match &report.order {
        Order::Alert { alert, .. } => Some(*alert),
        Order::RunStart { alert, .. } => Some(alert.id),
        _ => None,
    }
}

pub(in crate::cli) fn human(report: &OrdersReport, _: &Look) -> String {
    let mut text = String::new();
    for done in &report.done {
        let what = match &done.order {
            Order::Alert { alert, was, change, .. } => {
                format!("{}{}", ordered::alert_change(*alert, *was, change), ordered::starting(&done.order))
            }
            Order::RunStart { starts, .. } => format!("started {}", safe(starts)),
            other => format!("{other:?}"),
        };
        let what = match done.seq {
            Some(seq) => format!("{what} {}", styled(FAINT, format!("(entry {seq})"))),
            None => format!("{} {what}", styled(FAINT, "would have")),
        };
        text.push_str(&format!("{what}\n"));
    }
    for left in &report.refused {
        text.push_str(&format!("{} {}\n", styled(BAD, "not done:"), safe(&left.why)));
    }
    let (done, left) = (report.done.len() as u64, report.refused.len() as u64);
    if done + left > 1 {
        let left = if left == 0 { String::new() } else { format!(", {left} not") };
        let verb = if report.done.iter().all(|done| done.seq.is_some()) { "done" } else { "could be done" };
        text.push_str(&format!("{}{left}\n", styled(GOOD, format!("{} {verb}", count(done, "alert")))));
    }
    text
}
