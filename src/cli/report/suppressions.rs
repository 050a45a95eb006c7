//! `soard report suppressions`.

use crate::cli::Context;
use crate::cli::alerts::list::late;
use crate::cli::csv;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, BAD, BOLD, FAINT, Format, Look, NAME, WARN, ago, count, styled};
use crate::cli::silence::list as silences;
use crate::cli::table::{Cell, Table};
use crate::daemon::report::Indexed;
use crate::daemon::suppressions::{Standing, SuppressionLine, SuppressionsReport};
use crate::domain::silence::Silence;

const EXAMPLES: &str = "\
Examples:
  soard report suppressions
  soard report suppressions -o json | jq '.suppressions[] | select(.unused or .standing == \"expired\")'
  soard report suppressions -o csv > suppressions.csv";

/// List suppressions with what they hold back: expired ones first, then those that expire within 30 days
///
/// Each with the alerts on record that it holds, the last of them, how long it is there, who answers for it and until when.
/// Suppressions that were removed are listed as long as alerts on record are held by them. Silences stand apart.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let report = context.access()?.suppressions()?;
        if context.format == Format::Csv {
            output::print(&csv::lines(&HEAD, report.answer.suppressions.iter().map(values)))?;
        } else {
            context.print(&report, human)?;
        }
        Ok(Exit::Good)
    }
}

const HEAD: [&str; 13] = [
    "id", "standing", "unused", "hits", "times", "last_hit", "since", "title", "owner", "reason", "starts", "expires",
    "place",
];

fn values(line: &SuppressionLine) -> [String; HEAD.len()] {
    let rule = line.rule.as_ref();
    let at = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    [
        line.id.clone(),
        line.standing.as_str().into(),
        line.unused.to_string(),
        line.hits.to_string(),
        line.times.to_string(),
        at(line.last_hit),
        at(line.since),
        rule.map(|rule| rule.title.clone()).unwrap_or_default(),
        rule.map(|rule| rule.owner.clone()).unwrap_or_default(),
        rule.map(|rule| rule.reason.as_str().to_owned()).unwrap_or_default(),
        at(rule.and_then(|rule| rule.starts)),
        at(rule.and_then(|rule| rule.expires)),
        line.place.clone(),
    ]
}

fn human(report: &Indexed<SuppressionsReport>, look: &Look) -> String {
    let SuppressionsReport { suppressions, silences } = &report.answer;
    let mut text = String::new();
    if !suppressions.is_empty() {
        let mut table = Table::new(&["ID", "STATE", "HITS", "LAST", "AGE", "EXPIRES", "OWNER", "REASON", "PLACE"], 8);
        suppressions.iter().for_each(|line| table.row(cells(line, look)));
        text.push_str(&table.render(look));
    }
    text.push_str(&styled(FAINT, below(suppressions)));
    text.push('\n');
    text.push_str(&late(report.behind));
    if let Some(all) = silences {
        text.push_str(&quiet(all, look));
    }
    text
}

fn cells(line: &SuppressionLine, look: &Look) -> Vec<Cell> {
    let (rule, none) = (line.rule.as_ref(), || "-".to_owned());
    let state = if line.unused { format!("{}, unused", line.standing.as_str()) } else { line.standing.as_str().into() };
    let style = match line.standing {
        Standing::Expired => BAD,
        Standing::Expiring => WARN,
        Standing::Removed | Standing::Waiting => FAINT,
        Standing::Active if line.unused => WARN,
        Standing::Active => BOLD,
    };
    let expires = |rule: &crate::daemon::suppressions::SuppressionRule| match rule.expires {
        Some(at) => format!("{} ({})", at.strftime("%Y-%m-%d"), ago(at, look)),
        None => "never".into(),
    };
    vec![
        Cell::new(&line.id, NAME),
        Cell::new(state, style),
        Cell::from(line.hits.to_string()),
        Cell::from(line.last_hit.map_or_else(none, |at| ago(at, look))),
        Cell::from(line.since.map_or_else(none, |at| ago(at, look).trim_end_matches(" ago").to_owned())),
        Cell::from(rule.map_or_else(none, expires)),
        Cell::from(rule.map_or_else(none, |rule| rule.owner.clone())),
        Cell::from(rule.map_or_else(none, |rule| rule.reason.as_str().to_owned())),
        Cell::from(&line.place),
    ]
}

fn below(lines: &[SuppressionLine]) -> String {
    let mut text = count(lines.len() as u64, "suppression");
    let of = |standing: Standing| lines.iter().filter(|line| line.standing == standing).count();
    let unused = lines.iter().filter(|line| line.unused).count();
    let counts = [
        ("expired", of(Standing::Expired)),
        ("expiring within 30 days", of(Standing::Expiring)),
        ("unused", unused),
        ("removed", of(Standing::Removed)),
    ];
    for (word, n) in counts.into_iter().filter(|(_, n)| *n > 0) {
        text.push_str(&format!(", {n} {word}"));
    }
    text
}

/// The silences, which no file tells of.
fn quiet(all: &[Silence], look: &Look) -> String {
    format!("\n{}\n{}", styled(BOLD, "silences, which operators made"), silences::human(all, look))
}
