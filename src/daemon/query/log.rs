//! The journal's own lines, filtered.

use std::collections::{BTreeSet, HashSet, VecDeque};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::alerts::steps;
use crate::daemon::query::{Lines, LogLine, QueryError};
use crate::domain::decision::{Reason, RouteVerdict};
use crate::domain::effect::EffectKey;
use crate::domain::entry::{Due, Entry, Facts, Taken};
use crate::domain::id::{AlertId, RunId, Trigger};
use crate::domain::operator::Order;

/// Lines in a page unless told otherwise.
pub const LINES_DEFAULT: u64 = 1000;

/// Most bytes of content in a page; at least one line is given.
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which lines to show.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogFilter {
    /// From this sequence number on.
    pub from: Option<u64>,
    /// At most this many lines; 1000 when absent.
    pub limit: Option<u64>,
    /// The last lines instead of the first.
    #[serde(deserialize_with = "flag")]
    pub last: bool,
    /// These kinds only, with commas between them.
    pub kind: Option<String>,
    /// At or after this instant.
    pub since: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Only what concerns this alert: its records, its runs and its groups.
    pub alert: Option<AlertId>,
    /// Only what concerns this run.
    pub run: Option<RunId>,
    /// When there is nothing yet, wait for it.
    #[serde(deserialize_with = "flag")]
    pub follow: bool,
}

/// `?follow` and `?follow=true` are the same.
fn flag<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match &*String::deserialize(from)? {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither true nor false"))),
    }
}

/// Some lines of the journal.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogPage {
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// Where to read on.
    pub next: u64,
    /// The page is full: there may be more from `next` on.
    pub more: bool,
}

impl LogFilter {
    /// Where reading has to begin when the journal ends with entry `head`. Attempts name only the effect's key, so
    /// what concerns an alert or a run is known only to those who read from the beginning.
    pub fn start(&self, head: u64) -> u64 {
        let from = self.from.unwrap_or(1).max(1);
        if self.alert.is_some() || self.run.is_some() {
            1
        } else if self.last && self.kind.is_none() && self.until.is_none() {
            from.max((head + 1).saturating_sub(self.limit.unwrap_or(LINES_DEFAULT)))
        } else {
            from
        }
    }

    fn fits(&self, line: &LogLine) -> bool {
        self.from.is_none_or(|from| line.seq >= from)
            && self.kind.as_ref().is_none_or(|kinds| kinds.split(',').any(|kind| kind.trim() == line.kind))
            && self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
    }
}

/// Reads a page; `lines` begin at [`LogFilter::start`].
///
/// # Errors
/// When the journal cannot be read.
pub fn page(lines: Lines<'_>, filter: &LogFilter) -> Result<LogPage, QueryError> {
    let limit = usize::try_from(filter.limit.unwrap_or(LINES_DEFAULT).max(1)).unwrap_or(usize::MAX);
    let mut concern = Concern::new(filter);
    let mut page: VecDeque<LogLine> = VecDeque::new();
    let (mut bytes, mut next) = (0, filter.from.unwrap_or(1).max(1));
    for line in lines {
        let line = line?;
        let concerned = concern.concerns(&line)?;
        if concerned && filter.fits(&line) {
            let size = line.data.get().len();
            if !filter.last && !page.is_empty() && (page.len() >= limit || bytes + size > PAGE_BYTES_MAX) {
                return Ok(LogPage { lines: page.into(), next, more: true });
            }
            bytes += size;
            next = next.max(line.seq + 1);
            page.push_back(line);
            while page.len() > limit || page.len() > 1 && bytes > PAGE_BYTES_MAX {
                bytes -= page.pop_front().map_or(0, |dropped| dropped.data.get().len());
            }
        } else {
            next = next.max(line.seq + 1);
        }
    }
    Ok(LogPage { lines: page.into(), next, more: false })
}

/// Knows which lines concern an alert or a run.
struct Concern {
    alert: Option<AlertId>,
    run: Option<RunId>,
    triggers: BTreeSet<Trigger>,
    keys: HashSet<EffectKey>,
}

impl Concern {
    fn new(filter: &LogFilter) -> Self {
        let triggers = filter.alert.map(Trigger::Alert).into_iter().collect();
        Self { alert: filter.alert, run: filter.run.clone(), triggers, keys: HashSet::new() }
    }

    fn concerns(&mut self, line: &LogLine) -> Result<bool, QueryError> {
        if self.alert.is_none() && self.run.is_none() {
            return Ok(true);
        }
        match &*line.kind {
            "bundle" | "quarantine" => Ok(false),
            // Retention names the runs that it gave up.
            "log" => Ok(self.run.as_ref().is_some_and(|run| line.has(&format!("\"{run}\"")))),
            "intake" if !self.named_in(line) => Ok(false),
            _ => Ok(self.concerns_entry(&line.entry()?)),
        }
    }

    /// Cheap, and never wrong about what it leaves out.
    fn named_in(&self, line: &LogLine) -> bool {
        let alert = self.alert.is_none_or(|id| line.has(&format!("\"{id}\"")));
        alert && self.run.as_ref().is_none_or(|id| line.has(&format!("\"{id}\"")))
    }

    fn concerns_entry(&mut self, entry: &Entry) -> bool {
        if let Some((run, steps)) = steps(&entry.facts)
            && self.wants(run)
        {
            self.keys.extend(steps.iter().filter_map(|step| step.key.clone()));
        }
        match &entry.facts {
            Facts::Intake(intake) => {
                let known = |taken: &Taken| self.run.is_none() && self.alert == Some(taken.id);
                intake.alerts.iter().any(|taken| known(taken) || self.starts(taken))
            }
            Facts::Due(Due::Group { group, runs, alerts, .. }) => {
                let member = self.alert.is_some_and(|id| alerts.iter().any(|alert| alert.id == id));
                if member {
                    self.triggers.insert(Trigger::Group(*group));
                }
                member && self.run.is_none() || runs.iter().any(|run| self.wants(run))
            }
            Facts::Due(Due::Timer { run, .. } | Due::Approval { run, .. }) => self.wants(run),
            Facts::Due(Due::Retry { key }) => self.keys.contains(key),
            Facts::Due(Due::Throttle { .. }) => false,
            Facts::Intent(intent) => self.wants(&intent.run),
            Facts::Begin(begin) => self.keys.contains(&begin.key),
            Facts::Attempt(attempt) => self.keys.contains(&attempt.key),
            Facts::Result(result) => self.wants(&result.run),
            Facts::Run(end) => self.wants(&end.run),
            Facts::Operator(operator) => match &operator.order {
                Order::Alert { alert, .. } if self.run.is_none() => self.alert == Some(*alert),
                order => order.runs().into_iter().any(|run| self.wants(run)),
            },
            Facts::Log(_) | Facts::Bundle(_) | Facts::Quarantine(_) => false,
        }
    }

    fn starts(&self, taken: &Taken) -> bool {
        taken.decision.reasons.iter().any(|reason| match reason {
            Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } => runs.iter().any(|run| self.wants(run)),
            _ => false,
        })
    }

    /// Both filters hold where both are given.
    fn wants(&self, run: &RunId) -> bool {
        self.run.as_ref().is_none_or(|wanted| wanted == run)
            && (self.alert.is_none() || self.triggers.contains(&run.trigger.about()))
    }
}
