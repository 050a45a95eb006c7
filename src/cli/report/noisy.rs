//! `soard report noisy`.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::cli::Context;
use crate::cli::alerts::list::late;
use crate::cli::csv;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, FAINT, Format, GOOD, Look, NAME, Since, largest_unit, styled};
use crate::cli::table::{Cell, Table};
use crate::daemon::report::Indexed;
use crate::index::noise::{LINES_MAX, NoiseLine, NoiseReport, NoiseRequest, NoiseSort};

const EXAMPLES: &str = "\
Examples:
  soard report noisy                                   the kinds of the last 30 days, the most frequent first
  soard report noisy --since 7d --by rule              suppressions and routes
  soard report noisy --by host --sort dismissed
  soard report noisy --suggest 2 > rules/suppress/quiet-2.yaml
  soard report noisy --limit 1000 -o csv > noise.csv";

/// Rank kinds, rules, sources, hosts … by the noise they make, and suggest what makes it less
///
/// DISMISSED is the share of the alerts that no suppression holds; FALSE POSITIVE that of the alerts that people closed with
/// a reason or judged; NOT USEFUL that of those they judged. RUNS, SENT (webhooks and mails of these runs) and ORDERS (of operators)
/// are what was done about them; FIRST is the median time until an operator did something. Exits with 1 when there are no alerts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Alerts that arrived since: 7d, or an instant
    #[arg(long, value_name = "TIME", default_value = "30d")]
    since: Since,
    /// Of what: kind, rule, source, host, account, technique, tag, or any other key that `alerts list` knows
    #[arg(long, value_name = "FIELD", default_value = "kind")]
    by: String,
    /// What comes first
    #[arg(long, value_enum, default_value_t)]
    sort: NoiseSort,
    /// At most this many lines
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// Print only what is suggested for this line, as YAML
    #[arg(long, value_name = "LINE")]
    suggest: Option<u64>,
}

impl ValueEnum for NoiseSort {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Volume => "the most alerts",
            Self::Dismissed => "the largest share of dismissed ones",
            Self::FalsePositive => "the largest share of false positives",
            Self::NotUseful => "the largest share of those called not useful",
            Self::Actions => "the fewest actions for each alert",
            Self::FirstAction => "the longest time to the first action",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let request = NoiseRequest {
            by: self.by.clone(),
            since: Some(self.since.instant(&context.look)),
            sort: self.sort,
            limit: Some(self.limit.max(self.suggest.unwrap_or(1)).clamp(1, LINES_MAX)),
        };
        let report = context.access()?.noisy(&request)?;
        let lines = &report.answer.lines;
        if let Some(rank) = self.suggest {
            output::print(suggested(lines, rank)?)?;
            return Ok(Exit::Good);
        }
        if context.format == Format::Csv {
            output::print(&csv::lines(&HEAD, lines.iter().map(values)))?;
        } else {
            context.print(&report, human)?;
        }
        Ok(if lines.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

fn suggested(lines: &[NoiseLine], rank: u64) -> Result<&str, Fault> {
    let line = lines.iter().find(|line| line.rank == rank);
    let line = line.ok_or_else(|| Fault::nothing(format!("the report has no line {rank}")))?;
    let suggestion = line.suggestion.as_ref().map(|suggestion| suggestion.yaml.as_str());
    suggestion.ok_or_else(|| {
        let none = Fault::nothing(format!("nothing is suggested for line {rank}"));
        none.hint("the report says in its last column for which lines something is")
    })
}

const HEAD: [&str; 23] = [
    "rank",
    "what",
    "source",
    "value",
    "alerts",
    "times",
    "suppressed",
    "throttled",
    "high",
    "dismissed",
    "closed",
    "false_positives",
    "benign",
    "judged",
    "not_useful",
    "worth",
    "decided",
    "runs",
    "deliveries",
    "orders",
    "acted",
    "first_action_secs",
    "suggestion",
];

fn values(line: &NoiseLine) -> [String; HEAD.len()] {
    let figures = &line.figures;
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        line.rank.to_string(),
        line.what.clone(),
        given(&line.source),
        given(&line.value),
        figures.alerts.to_string(),
        figures.times.to_string(),
        figures.suppressed.to_string(),
        figures.throttled.to_string(),
        figures.high.to_string(),
        figures.dismissed.to_string(),
        figures.closed.to_string(),
        figures.false_positives.to_string(),
        figures.benign.to_string(),
        figures.judged.to_string(),
        figures.not_useful.to_string(),
        figures.worth.to_string(),
        figures.decided.to_string(),
        figures.runs.to_string(),
        figures.deliveries.to_string(),
        figures.orders.to_string(),
        figures.acted.to_string(),
        figures.first_action_secs.map(|secs| secs.to_string()).unwrap_or_default(),
        line.suggestion.as_ref().map(|suggestion| suggestion.advice.as_str().to_owned()).unwrap_or_default(),
    ]
}

fn human(report: &Indexed<NoiseReport>, look: &Look) -> String {
    let NoiseReport { by, since, lines, of } = &report.answer;
    let mut text = String::new();
    if !lines.is_empty() {
        let first = if by == "kind" { "SOURCE" } else { "WHAT" };
        let head = [
            "#",
            first,
            "VALUE",
            "ALERTS",
            "TIMES",
            "SUPPRESSED",
            "DISMISSED",
            "FALSE POSITIVE",
            "NOT USEFUL",
            "RUNS",
            "SENT",
            "ORDERS",
            "FIRST",
            "SUGGESTED",
        ];
        let mut table = Table::new(&head, 2);
        lines.iter().for_each(|line| table.row(cells(line)));
        text.push_str(&table.render(look));
    }
    let since = since.map(|since| format!(", of alerts that arrived since {since:.0}")).unwrap_or_default();
    let mut below = if lines.is_empty() { "no alerts".into() } else { format!("{} of {of} lines", lines.len()) };
    below.push_str(&since);
    if let Some(line) = lines.iter().find(|line| line.suggestion.is_some()) {
        below.push_str(&format!("; --suggest {} prints what is suggested", line.rank));
    }
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text.push_str(&late(report.behind));
    text
}

fn cells(line: &NoiseLine) -> Vec<Cell> {
    let figures = &line.figures;
    let share = |part, of: u64| Cell::from(percent(part, of));
    vec![
        Cell::from(line.rank.to_string()),
        Cell::from(line.source.as_deref().unwrap_or(&line.what)),
        line.value.as_deref().map_or_else(|| Cell::new("(no kind)", FAINT), |value| Cell::new(value, NAME)),
        Cell::from(figures.alerts.to_string()),
        Cell::from(figures.times.to_string()),
        Cell::from(figures.suppressed.to_string()),
        share(figures.dismissed, figures.shown()),
        share(figures.false_positives, figures.decided),
        share(figures.not_useful, figures.judged),
        Cell::from(figures.runs.to_string()),
        Cell::from(figures.deliveries.to_string()),
        Cell::from(figures.orders.to_string()),
        Cell::from(figures.first_action_secs.map_or_else(|| "-".into(), largest_unit)),
        line.suggestion.as_ref().map_or_else(|| Cell::from("-"), |it| Cell::new(it.advice.as_str(), GOOD)),
    ]
}

/// `92% of 50`.
fn percent(part: u64, of: u64) -> String {
    (part * 100).checked_div(of).map_or_else(|| "-".into(), |percent| format!("{percent}% of {of}"))
}
