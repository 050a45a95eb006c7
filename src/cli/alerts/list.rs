//! `soard alerts list`.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::cli::Context;
use crate::cli::alerts::csv;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, Format, Look, NAME, ago, count, severity_style, status_style, styled};
use crate::cli::plain::safe;
use crate::cli::table::{Cell, Table};
use crate::daemon::report::Indexed;
use crate::index::facets::Facet;
use crate::index::query::{Page, ROWS_MAX, Request, Sort};
use crate::index::row::Row;

const EXAMPLES: &str = "\
Examples:
  soard alerts list                                     what is worth a look, the worst first
  soard alerts list 'severity>=high' 'seen>=4h'         high ones of the last four hours
  soard alerts list host=web-1 'title=~(?i)port'
  soard alerts list ip=10.0.0.0/8 technique=T1110       also its sub-techniques
  soard alerts list powershell 'text=\"encoded command\"'  words that stand anywhere in the alert or its record
  soard alerts list suppressed_by=sanctioned-scanner    what a suppression holds back
  soard alerts list run=failed -q | xargs -n1 soard why
  soard alerts list --all --count-by kind
  soard alerts list --all --limit 25000 -o csv > alerts.csv";

const KEYS: &str = "\
Terms: KEY=VALUE, KEY!=VALUE, KEY=~REGEX, KEY!~REGEX; severity, seen and received also with >= <= > <. All of them must hold.
  severity, status         words, with commas between several
  seen, received           an instant, or how long ago: 30m, 4h, 7d
  ip                       an address or a network
  host, account, file, …   an entity of that type by its name, id, path, hash …; entity: of any type
  source, vendor, product, kind, title, resource, tactic, technique, tag, assignee, playbook
  suppressed_by, silenced_by, route   the rule or silence, by its id
  is_incident              true, false: whether the product says that it stands for other alerts
  feedback                 useful, not_useful
  run                      open, finished, failed, stalled, cancelled
  fate                     suppressed, silenced, resolved, unrouted, recorded, muted, throttled, grouped, ran
  text                     words; WORD* begins so, \"two words\" stand together. A term without a key is text.
Letters compare without regard to case, but in regular expressions.";

/// List alerts: by severity, then the newest
///
/// Closed alerts are shown when a term asks for a status, fate or suppression, informational ones when a term asks for a
/// severity or for incidents, and all of them with --all; a line below the list says how many were left out. Exits with 1 when the
/// list is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{KEYS}\n\n{EXAMPLES}"))]
pub struct Args {
    /// What the alerts must be: KEY=VALUE, KEY=~REGEX, KEY>=VALUE, or words to search for
    #[arg(value_name = "TERM")]
    terms: Vec<String>,
    /// Also closed and informational ones
    #[arg(long)]
    all: bool,
    /// In which order
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Count by the values of a field instead: severity, kind, source, host …
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["cursor", "limit", "quiet"])]
    count_by: Option<String>,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

impl ValueEnum for Sort {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Severity => "the worst first, then what arrived last",
            Self::Newest => "what arrived last first",
            Self::Oldest => "what arrived first first",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let request = Request {
            filter: self.terms.clone(),
            all: self.all,
            sort: self.sort,
            limit: Some(self.limit.clamp(1, ROWS_MAX)),
            cursor: self.cursor.clone(),
            uncounted: false,
        };
        if let Some(field) = &self.count_by {
            return facet(context, &request, field);
        }
        let access = context.access()?;
        let mut list = access.alerts(&request)?;
        // A page has a limit of its own, so it may take several.
        while let Some(cursor) = list.answer.next.clone().filter(|_| (list.answer.alerts.len() as u64) < self.limit) {
            let left = self.limit - list.answer.alerts.len() as u64;
            let request =
                Request { cursor: Some(cursor), limit: Some(left.min(ROWS_MAX)), uncounted: true, ..request.clone() };
            let page = access.alerts(&request)?;
            list.answer.alerts.extend(page.answer.alerts);
            list.answer.next = page.answer.next;
        }
        if self.quiet {
            list.answer.alerts.iter().try_for_each(|row| output::print(&row.id.to_string()))?;
        } else if context.format == Format::Csv {
            output::print(&csv::rows(&list.answer.alerts))?;
        } else {
            context.print(&list, human)?;
        }
        Ok(if list.answer.alerts.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

fn facet(context: &Context, request: &Request, field: &str) -> Result<Exit, Fault> {
    let facet = context.access()?.facet(request, field)?;
    context.print(&facet, counts)?;
    Ok(if facet.answer.values.is_empty() { Exit::Nothing } else { Exit::Good })
}

pub(in crate::cli) fn human(list: &Indexed<Page>, look: &Look) -> String {
    let mut text = String::new();
    let page = &list.answer;
    if !page.alerts.is_empty() {
        text.push_str(&table(&page.alerts, look));
    }
    text.push_str(&styled(FAINT, below(page)));
    text.push('\n');
    text.push_str(&late(list.behind));
    text
}

/// Alerts, a line each.
pub(super) fn table(rows: &[Row], look: &Look) -> String {
    let head = ["ID", "SEVERITY", "STATUS", "SEEN", "TIMES", "SOURCE", "TITLE", "ABOUT", "RUNS"];
    let mut table = Table::new(&head, 6);
    rows.iter().for_each(|row| table.row(cells(row, look)));
    table.render(look)
}

fn cells(row: &Row, look: &Look) -> Vec<Cell> {
    let what = match &row.suppressed_by {
        Some(rule) => Cell::new(format!("suppressed by {}", rule.id), FAINT),
        None => Cell::from(row.runs.iter().map(|run| &*run.id.playbook).collect::<Vec<_>>().join(", ")),
    };
    vec![
        Cell::new(row.id.to_string(), NAME),
        Cell::new(row.severity.as_str(), severity_style(row.severity)),
        Cell::new(row.status.as_str(), status_style(row.status)),
        Cell::from(ago(row.last_seen, look)),
        Cell::from(row.count.to_string()),
        Cell::from(&row.source),
        Cell::from(&row.title),
        Cell::from(row.resource.as_deref().unwrap_or("-")),
        what,
    ]
}

/// What the list leaves out.
fn below(page: &Page) -> String {
    let shown = page.alerts.len() as u64;
    let matching = page.matching;
    let mut text = match matching.n {
        0 => "no alerts".to_owned(),
        n if n == shown => count(n, "alert"),
        n if page.next.is_none() => format!("the last {shown} of {n} alerts"),
        n => format!("{shown} of {}{n} alerts", if matching.capped { "more than " } else { "" }),
    };
    if let Some(next) = &page.next {
        text.push_str(&format!("; --limit shows more, --cursor {next} goes on"));
    }
    if let Some(n) = page.left_out.filter(|n| *n > 0) {
        text.push_str(&format!("; {n} closed or informational left out (--all)"));
    }
    text
}

/// That the index does not have everything yet.
pub(in crate::cli) fn late(behind: u64) -> String {
    if behind == 0 {
        return String::new();
    }
    let entries = if behind == 1 { "1 entry is".to_owned() } else { format!("{behind} entries are") };
    styled(FAINT, format!("{entries} on record and not in the index yet")) + "\n"
}

fn counts(facet: &Indexed<Facet>, look: &Look) -> String {
    let Facet { field, of, values, others } = &facet.answer;
    let mut table = Table::new(&["ALERTS", "VALUE"], 1);
    for (value, n) in values {
        table.row(vec![Cell::from(n.to_string()), Cell::from(value)]);
    }
    let mut text = if values.is_empty() { String::new() } else { table.render(look) };
    let first = if of.capped { "the first " } else { "" };
    let mut below = format!("{first}{} counted by {}", count(of.n, "alert"), safe(field));
    if *others > 0 {
        below.push_str(&format!("; {others} rarer values left out"));
    }
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text.push_str(&late(facet.behind));
    text
}
