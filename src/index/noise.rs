//! Who makes noise: what came of the alerts of each kind, rule, source, host … since some day.
//!
//! Adds up the `figures` of the alerts label by label, so that it costs one look-up for each alert and value, and keeps
//! no more than the lines that are asked for.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as Sqlite, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Severity, Status};
use crate::domain::triage::{CloseReason, FeedbackReason};
use crate::index::facets::known;
use crate::index::filter::{Fault, Faults};
use crate::index::row::Fate;
use crate::index::suggest::{Suggestion, suggest};
use crate::index::way::first_since;
use crate::index::write::micros;
use crate::index::{IndexError, labels};
use crate::yaml::diagnostic::nearest;

/// Lines of a report unless told otherwise.
pub const LINES_DEFAULT: u64 = 20;

/// Most lines of a report.
pub const LINES_MAX: u64 = 1_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseRequest {
    /// `kind` (of a source), `rule` (suppressions and routes), or any field that alerts are filtered by.
    pub by: String,
    /// Alerts that arrived since; all on record when absent.
    pub since: Option<Timestamp>,
    /// What comes first.
    pub sort: NoiseSort,
    /// At most this many lines; 20 when absent, 1,000 at most.
    pub limit: Option<u64>,
}

impl Default for NoiseRequest {
    fn default() -> Self {
        Self { by: "kind".into(), since: None, sort: NoiseSort::Volume, limit: None }
    }
}

/// What comes first in a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSort {
    /// The most alerts.
    #[default]
    Volume,
    /// The largest share of dismissed ones.
    Dismissed,
    /// The largest share of false positives.
    FalsePositive,
    /// The largest share of those that were called not useful.
    NotUseful,
    /// The fewest actions for each alert.
    Actions,
    /// The longest time to the first action.
    FirstAction,
}

impl NoiseSort {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Volume, Self::Dismissed, Self::FalsePositive, Self::NotUseful, Self::Actions, Self::FirstAction];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Dismissed => "dismissed",
            Self::FalsePositive => "false-positive",
            Self::NotUseful => "not-useful",
            Self::Actions => "actions",
            Self::FirstAction => "first-action",
        }
    }
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoiseReport {
    /// What the lines are about.
    pub by: String,
    /// Alerts that arrived since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The lines, as sorted.
    pub lines: Vec<NoiseLine>,
    /// How many there are in all.
    pub of: u64,
}

/// One kind, rule, source …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoiseLine {
    /// Where it stands, from 1.
    pub rank: u64,
    /// Whose kind it is; of other fields absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `suppression` or `route` of a rule, otherwise the field.
    pub what: String,
    /// The value; absent: alerts without a kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What came of its alerts.
    #[serde(flatten)]
    pub figures: Figures,
    /// What would make it quieter, where the figures speak for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
}

/// What came of some alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// How many alerts.
    pub alerts: u64,
    /// How often they were seen.
    pub times: u64,
    /// Those that a suppression holds.
    pub suppressed: u64,
    /// Those that a throttle held back.
    pub throttled: u64,
    /// Those of severity high.
    pub high: u64,
    /// Dismissed by people, sources or playbooks: not by a suppression.
    pub dismissed: u64,
    /// Closed by people with a reason.
    pub closed: u64,
    /// Closed as false positives, or called so.
    pub false_positives: u64,
    /// Closed as benign, or called expected.
    pub benign: u64,
    /// False positives and benign ones together, each once.
    pub vain: u64,
    /// Called useful or not.
    pub judged: u64,
    /// Called not useful.
    pub not_useful: u64,
    /// Closed as true positives, or called useful.
    pub worth: u64,
    /// Closed with a reason or judged: people have looked at them.
    pub decided: u64,
    /// Runs for them.
    pub runs: u64,
    /// Webhooks and mails that their runs asked for.
    pub deliveries: u64,
    /// What operators did about them.
    pub orders: u64,
    /// The alerts about which operators did something.
    pub acted: u64,
    /// Median time from arrival to the first order, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_action_secs: Option<u64>,
}

impl Figures {
    /// Those that no suppression holds: what people could see.
    pub fn shown(&self) -> u64 {
        self.alerts - self.suppressed
    }

    /// Dismissed of those that were shown.
    pub fn dismissed_share(&self) -> Option<f64> {
        share(self.dismissed, self.shown())
    }

    /// False positives of those that people have closed or judged.
    pub fn false_positive_share(&self) -> Option<f64> {
        share(self.false_positives, self.decided)
    }

    /// Not useful of those that were judged.
    pub fn not_useful_share(&self) -> Option<f64> {
        share(self.not_useful, self.judged)
    }

    /// Everything that soard and people did.
    pub fn actions(&self) -> u64 {
        self.runs + self.deliveries + self.orders
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// The figures of some alerts, while they are added up.
#[derive(Debug, Default)]
struct Sum {
    figures: Figures,
    waited: Vec<u64>,
}

/// Makes the report.
///
/// # Errors
/// [`IndexError::Asked`] when there is no such field; [`IndexError::TooBroad`], or what SQLite says.
pub fn noise(conn: &Connection, request: &NoiseRequest, now: Timestamp) -> Result<NoiseReport, IndexError> {
    let from = request.since.map_or(Ok(0), |since| first_since(conn, micros(since)))?;
    let limit = usize::try_from(request.limit.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX)).expect("a thousand fits");
    let mut best = Best { lines: Vec::new(), of: 0, sort: request.sort, limit };
    match request.by.as_str() {
        "rule" => {
            by_label(conn, ("suppressed_by", "suppression"), from, &mut best)?;
            by_label(conn, ("route", "route"), from, &mut best)?;
        }
        "kind" => by_kind(conn, from, &mut best)?,
        by => {
            let field = field(by)?;
            by_label(conn, (field, field), from, &mut best)?;
        }
    }
    let (mut lines, of) = best.finish();
    for (rank, line) in (1..).zip(&mut lines) {
        line.rank = rank;
        line.suggestion = suggest(conn, line, request.since, now)?;
    }
    Ok(NoiseReport { by: request.by.clone(), since: request.since, lines, of })
}

/// Fields that a report can be by.
pub fn fields() -> Vec<&'static str> {
    let others = labels::fields().filter(|field| *field != "kind");
    ["kind", "rule"].into_iter().chain(others).collect()
}

fn field(by: &str) -> Result<&'static str, Faults> {
    let fields = fields();
    if fields.contains(&by) {
        return known(by);
    }
    let help = match nearest(by, &fields) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", fields.join(", ")),
    };
    let (term, message) = (by.chars().take(80).collect(), "there is no such field to report by".into());
    Err(Faults(vec![Fault { term, message, help: Some(help) }]))
}

const COLUMNS: &str = "f.status, f.severity, f.suppressed, f.fate, f.closed_as, f.useful, f.useful_reason, f.times, f.runs, f.deliveries, \
                       f.orders, f.waited, f.source";

/// Alerts by label: those of one label come one after the other.
const BY_LABEL: &str = "FROM labels AS l CROSS JOIN marks AS m ON m.label = l.id CROSS JOIN figures AS f ON f.alert = m.alert \
                        WHERE l.field = ?1 AND m.alert >= ?2";

fn by_label(conn: &Connection, (field, what): (&str, &str), from: i64, best: &mut Best) -> Result<(), IndexError> {
    let sql = format!("SELECT {COLUMNS}, l.id {BY_LABEL}");
    let mut statement = conn.prepare_cached(&sql).map_err(IndexError::sqlite("read"))?;
    let mut rows = statement.query(params![field, from]).map_err(IndexError::sqlite("read"))?;
    let (mut at, mut sum) = (0, Sum::default());
    loop {
        let row = rows.next().map_err(IndexError::sqlite("read"))?;
        let label = row.map(|row| row.get(13)).transpose().map_err(IndexError::sqlite("read"))?;
        if label != Some(at) && sum.figures.alerts > 0 {
            let value = Some(text(conn, at)?);
            best.take(NoiseLine::new(what, None, value, std::mem::take(&mut sum)));
        }
        let (Some(row), Some(label)) = (row, label) else { return Ok(()) };
        at = label;
        sum.add(row).map_err(IndexError::sqlite("read"))?;
    }
}

/// Kinds are a source's: two products may use one name for different things.
fn by_kind(conn: &Connection, from: i64, best: &mut Best) -> Result<(), IndexError> {
    let with = format!("SELECT {COLUMNS}, l.id {BY_LABEL}");
    let without = format!("SELECT {COLUMNS}, 0 FROM figures AS f WHERE ?1 = 'kind' AND f.alert >= ?2 AND f.kind = 0");
    for sql in [with, without] {
        let mut statement = conn.prepare_cached(&sql).map_err(IndexError::sqlite("read"))?;
        let mut rows = statement.query(params!["kind", from]).map_err(IndexError::sqlite("read"))?;
        let (mut at, mut sums) = (0_i64, HashMap::<i64, Sum>::new());
        loop {
            let row = rows.next().map_err(IndexError::sqlite("read"))?;
            let label = row.map(|row| row.get(13)).transpose().map_err(IndexError::sqlite("read"))?;
            if label != Some(at) {
                for (source, sum) in sums.drain() {
                    let value = if at == 0 { None } else { Some(text(conn, at)?) };
                    best.take(NoiseLine::new("kind", Some(text(conn, source)?), value, sum));
                }
            }
            let (Some(row), Some(label)) = (row, label) else { break };
            at = label;
            let source = row.get(12).map_err(IndexError::sqlite("read"))?;
            sums.entry(source).or_default().add(row).map_err(IndexError::sqlite("read"))?;
        }
    }
    Ok(())
}

/// What a label says.
fn text(conn: &Connection, label: i64) -> Result<String, IndexError> {
    let mut statement =
        conn.prepare_cached("SELECT value FROM labels WHERE id = ?1").map_err(IndexError::sqlite("read"))?;
    let found = statement.query_row([label], |row| row.get(0)).optional().map_err(IndexError::sqlite("read"))?;
    found.ok_or_else(|| IndexError::Unusable(format!("label {label} is missing")))
}

impl Sum {
    /// One alert more.
    fn add(&mut self, row: &Sqlite<'_>) -> rusqlite::Result<()> {
        let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let word = |at: usize| row.get::<_, Option<i64>>(at);
        let (closed_as, useful, reason): (_, Option<bool>, _) = (word(4)?, row.get(5)?, word(6)?);
        let closed = |as_what: CloseReason| closed_as == Some(as_what as i64);
        let called = |as_what: FeedbackReason| reason == Some(as_what as i64);
        let false_positive = closed(CloseReason::FalsePositive) || called(FeedbackReason::FalsePositive);
        let benign = closed(CloseReason::Benign) || called(FeedbackReason::Expected);
        let orders = number(10)?;
        let sum = &mut self.figures;
        let suppressed: bool = row.get(2)?;
        sum.alerts += 1;
        for (count, counts) in [
            (&mut sum.suppressed, suppressed),
            (&mut sum.dismissed, !suppressed && number(0)? == Status::Dismissed as u64),
            (&mut sum.high, number(1)? == Severity::High as u64),
            (&mut sum.throttled, number(3)? == Fate::Throttled as u64),
            (&mut sum.closed, closed_as.is_some()),
            (&mut sum.false_positives, false_positive),
            (&mut sum.benign, benign),
            (&mut sum.vain, false_positive || benign),
            (&mut sum.judged, useful.is_some()),
            (&mut sum.not_useful, useful == Some(false)),
            (&mut sum.worth, closed(CloseReason::TruePositive) || useful == Some(true)),
            (&mut sum.decided, closed_as.is_some() || useful.is_some()),
            (&mut sum.acted, orders > 0),
        ] {
            *count += u64::from(counts);
        }
        sum.times += number(7)?;
        sum.runs += number(8)?;
        sum.deliveries += number(9)?;
        sum.orders += orders;
        self.waited.extend(word(11)?.map(i64::cast_unsigned));
        Ok(())
    }

    fn finish(mut self) -> Figures {
        if !self.waited.is_empty() {
            let middle = (self.waited.len() - 1) / 2;
            self.figures.first_action_secs = Some(*self.waited.select_nth_unstable(middle).1);
        }
        self.figures
    }
}

impl NoiseLine {
    fn new(what: &str, source: Option<String>, value: Option<String>, sum: Sum) -> Self {
        Self { rank: 0, source, what: what.into(), value, figures: sum.finish(), suggestion: None }
    }
}

/// The first lines in the report's order.
struct Best {
    lines: Vec<NoiseLine>,
    of: u64,
    sort: NoiseSort,
    limit: usize,
}

impl Best {
    fn take(&mut self, line: NoiseLine) {
        self.of += 1;
        self.lines.push(line);
        if self.lines.len() >= 4 * self.limit {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let sort = self.sort;
        self.lines.sort_by(|a, b| {
            let first = score(&b.figures, sort).total_cmp(&score(&a.figures, sort));
            let key = |line: &NoiseLine| (Reverse(line.figures.alerts), line.value.clone(), line.source.clone());
            first.then_with(|| key(a).cmp(&key(b))).then_with(|| a.what.cmp(&b.what))
        });
        self.lines.truncate(self.limit);
    }

    fn finish(mut self) -> (Vec<NoiseLine>, u64) {
        self.cut();
        (self.lines, self.of)
    }
}

/// The larger, the further up. What there is no figure for comes last.
fn score(figures: &Figures, sort: NoiseSort) -> f64 {
    let found = match sort {
        NoiseSort::Volume => Some(figures.alerts as f64),
        NoiseSort::Dismissed => figures.dismissed_share(),
        NoiseSort::FalsePositive => figures.false_positive_share(),
        NoiseSort::NotUseful => figures.not_useful_share(),
        NoiseSort::Actions => share(figures.actions(), figures.alerts).map(|each| -each),
        NoiseSort::FirstAction => figures.first_action_secs.map(|secs| secs as f64),
    };
    found.unwrap_or(f64::NEG_INFINITY)
}
