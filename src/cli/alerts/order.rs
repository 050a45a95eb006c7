//! What all commands that change alerts have in common: which alerts, why, and what came of it.

use std::collections::HashSet;
use std::io::{self, IsTerminal, Read, Write};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crate::cli::Context;
use crate::cli::access::{asked, refused, spoken};
use crate::cli::alerts::list;
use crate::cli::bar::Bar;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered;
use crate::cli::output::{self, BAD, FAINT, Format, GOOD, Look, count, styled};
use crate::cli::plain::safe;
use crate::console::alerts::{ALERTS_MAX as ALERTS_ASKED_MAX, Orders, Want};
use crate::daemon::report::{IndexReport, Indexed, OrderReport, OrdersReport};
use crate::domain::id::{AlertId, BadId};
use crate::domain::operator::Order;
use crate::index::choose::{ALERTS_MAX, Chosen};
use crate::index::query::Request;

/// More ids than these need a yes.
pub const UNASKED_MAX: usize = 20;

/// Lines of a report for people; JSON has all.
const LINES_MAX: usize = 20;

/// How often the index is asked whether it has what is on record; after that its answer says how much it lacks.
const INDEX_ASKS_MAX: u32 = 300;

/// How long to wait between two times.
const INDEX_ASK_EVERY: Duration = Duration::from_millis(100);

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
    /// The alerts that `soard alerts list TERM…` lists, instead of ids; all terms must hold. At most 100,000
    #[arg(long = "where", value_name = "TERM")]
    terms: Vec<String>,
    /// With --where: also closed and informational ones
    #[arg(long, requires = "terms")]
    all: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
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
                io::stdin().take(STDIN_BYTES_MAX).read_to_string(&mut text)?;
                let named: Result<Vec<AlertId>, BadId> = text.split_whitespace().map(str::parse).collect();
                ids.extend(named.map_err(|bad| Fault::from(bad).hint("standard input has ids and blanks only"))?);
            }
        }
    }
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    match ids.len() {
        0 => Err(Fault::nothing("standard input names no alert")),
        n if n > ALERTS_MAX => Err(Fault::new(format!("{n} alerts; one command changes at most {ALERTS_MAX}"))),
        _ => Ok(ids),
    }
}

impl How {
    /// Gives the order: to the alerts named, or to those that fit the terms now.
    pub(super) fn order(&self, context: &Context, which: &[Which], want: &Want, why: &str) -> Result<Exit, Fault> {
        let comment = why.trim().to_owned();
        if let Want::Change(change) = want {
            change.check(&comment)?;
        }
        let daemon = if self.terms.is_empty() { None } else { Some(context.daemon()?) };
        let alerts = match &daemon {
            None => ids(which)?,
            Some(daemon) => {
                let chosen = self.choose(context, daemon)?;
                if self.dry_run {
                    return Ok(Exit::Good);
                }
                chosen
            }
        };
        if !self.dry_run && (daemon.is_some() || alerts.len() > UNASKED_MAX) {
            self.ask(alerts.len())?;
        }
        let daemon = daemon.map_or_else(|| context.daemon(), Ok)?;
        let (report, broke) = self.give(&daemon, &alerts, want, &comment);
        self.tell(context, &report)?;
        match broke {
            Some(fault) => Err(fault),
            None => Ok(if report.refused.is_empty() { Exit::Good } else { Exit::Nothing }),
        }
    }

    /// The alerts that fit the terms, once they have been shown. What arrives from now on is not among them.
    fn choose(&self, context: &Context, daemon: &Client) -> Result<Vec<AlertId>, Fault> {
        wait_for_index(daemon)?;
        let request = Request { filter: self.terms.clone(), all: self.all, ..Request::default() };
        let chosen: Indexed<Chosen> = daemon.get(&asked("/alerts/chosen", &request)).map_err(spoken)?;
        let alerts = &chosen.answer.alerts;
        if alerts.is_empty() {
            let none = Fault::nothing("no alert fits");
            return Err(if self.all { none } else { none.hint("closed and informational ones count with --all") });
        }
        if chosen.behind > 0 && (self.quiet || context.format != Format::Human) {
            output::note(list::late(chosen.behind).trim_end());
        }
        if self.quiet && self.dry_run {
            alerts.iter().try_for_each(|id| output::print(&id.to_string()))?;
        } else if self.dry_run || (context.format == Format::Human && !self.quiet) {
            context.print(&chosen, preview)?;
        }
        Ok(chosen.answer.alerts)
    }

    /// Whether it shall really be done: whoever cannot be asked has to say so beforehand.
    fn ask(&self, alerts: usize) -> Result<(), Fault> {
        if self.yes {
            return Ok(());
        }
        let many = count(alerts as u64, "alert");
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let fault = Fault::new(format!("{many}; nothing was changed yet"));
            return Err(fault.hint("--yes changes them, --dry-run says how"));
        }
        write!(io::stderr(), "Change {many}? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        let yes = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
        if yes { Ok(()) } else { Err(Fault::nothing("nothing was changed")) }
    }

    /// Gives the order in requests that the daemon takes. When one of them breaks, those behind it are not asked.
    fn give(&self, daemon: &Client, alerts: &[AlertId], want: &Want, comment: &str) -> (OrdersReport, Option<Fault>) {
        let mut report = OrdersReport::default();
        let mut bar = Bar::new("alerts");
        for (n, chunk) in alerts.chunks(ALERTS_ASKED_MAX).enumerate() {
            let done = n * ALERTS_ASKED_MAX;
            if alerts.len() > ALERTS_ASKED_MAX {
                bar.show(done as u64, alerts.len() as u64);
            }
            let ask = Orders {
                alerts: chunk.to_vec(),
                want: want.clone(),
                comment: comment.to_owned(),
                dry_run: self.dry_run,
            };
            match daemon.send::<OrdersReport>("/alerts/orders", &ask).map_err(refused) {
                Ok(one) => {
                    report.done.extend(one.done);
                    report.refused.extend(one.refused);
                }
                Err(fault) => {
                    bar.clear();
                    let left = count((alerts.len() - done - chunk.len()) as u64, "alert");
                    let hint = format!("{left} behind these {} were not asked for; again does the rest", chunk.len());
                    return (report, Some(if done > 0 { fault.hint(hint) } else { fault }));
                }
            }
        }
        bar.clear();
        (report, None)
    }

    fn tell(&self, context: &Context, report: &OrdersReport) -> Result<(), Fault> {
        if !self.quiet {
            let nothing = report.done.is_empty() && report.refused.is_empty();
            return if nothing { Ok(()) } else { context.print(report, human) };
        }
        report.done.iter().filter_map(alert).try_for_each(|id| output::print(&id.to_string()))?;
        report.refused.iter().for_each(|left| output::note(&format!("{}: {}", left.alert, safe(&left.why))));
        Ok(())
    }
}

/// Waits until the index has what was on record when the command began, so that terms find what was changed just now.
fn wait_for_index(daemon: &Client) -> Result<(), Fault> {
    let standing = || daemon.get::<IndexReport>("/index").map_err(spoken);
    let first = standing()?;
    let (mut entry, goal) = (first.entry, first.entry + first.behind);
    for _ in 0..INDEX_ASKS_MAX {
        if entry >= goal {
            break;
        }
        thread::sleep(INDEX_ASK_EVERY);
        entry = standing()?.entry;
    }
    Ok(())
}

fn alert(report: &OrderReport) -> Option<AlertId> {
    match &report.order {
        Order::Alert { alert, .. } => Some(*alert),
        Order::RunStart { alert, .. } => Some(alert.id),
        _ => None,
    }
}

/// How many fit, of what kinds, and the first of them.
fn preview(chosen: &Indexed<Chosen>, look: &Look) -> String {
    let Chosen { alerts, by_severity, by_status, first } = &chosen.answer;
    let severities: Vec<String> = by_severity.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let statuses: Vec<String> = by_status.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let mut text = list::table(first, look);
    if alerts.len() > first.len() {
        text.push_str(&styled(FAINT, format!("… and {} more\n", alerts.len() - first.len())));
    }
    let all = count(alerts.len() as u64, "alert");
    text.push_str(&format!("{all}: {}; {}\n", severities.join(", "), statuses.join(", ")));
    text.push_str(&list::late(chosen.behind));
    text
}

pub(in crate::cli) fn human(report: &OrdersReport, _: &Look) -> String {
    let mut text = String::new();
    for done in report.done.iter().take(LINES_MAX) {
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
    text.push_str(&more(report.done.len()));
    for left in report.refused.iter().take(LINES_MAX) {
        text.push_str(&format!("{} {}\n", styled(BAD, "not done:"), safe(&left.why)));
    }
    text.push_str(&more(report.refused.len()));
    let (done, left) = (report.done.len() as u64, report.refused.len() as u64);
    if done + left > 1 {
        let left = if left == 0 { String::new() } else { format!(", {left} not") };
        let verb = if report.done.iter().all(|done| done.seq.is_some()) { "done" } else { "could be done" };
        text.push_str(&format!("{}{left}\n", styled(GOOD, format!("{} {verb}", count(done, "alert")))));
    }
    text
}

/// That not all are told.
fn more(all: usize) -> String {
    if all <= LINES_MAX { String::new() } else { styled(FAINT, format!("… and {} more\n", all - LINES_MAX)) }
}
