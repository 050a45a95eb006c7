//! Deliveries: every effect that leaves the daemon, how it stands, and what operators ordered of it.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::run::{AttemptView, Outcome};
use crate::daemon::query::{Fold, Lines, LogLine, QueryError, ROWS_DEFAULT, ROWS_LISTED_MAX, fold};
use crate::domain::effect::{Class, Effect, EffectKey, Mode};
use crate::domain::entry::{Attempt, Due, Entry, Facts, Intent, StepResult};
use crate::domain::id::RunId;
use crate::domain::operator::{Operator, Order};
use crate::index::row::short;

/// The newest deliveries that a list knows among those that have not succeeded; older ones are left out of it.
pub const ROWS_MAX: usize = 200_000;

/// How a delivery stands. The last two are no state of one delivery, but ask for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It has no outcome yet.
    Waiting,
    /// The receiver took it.
    Ok,
    /// The receiver refused it for good, or it could not be made.
    Rejected,
    /// All attempts are used up.
    Dead,
    /// It may or may not have arrived.
    Unknown,
    /// Nobody needs it any more: its run was cancelled, or what it asks was decided.
    Cancelled,
    /// Every dead letter: rejected, dead or unknown.
    Failed,
    /// Any.
    Any,
}

impl DeliveryState {
    /// The words that a filter takes.
    pub const ALL: [Self; 8] =
        [Self::Failed, Self::Dead, Self::Rejected, Self::Unknown, Self::Waiting, Self::Ok, Self::Cancelled, Self::Any];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Any => "any",
        }
    }

    /// The outcomes of dead letters that it covers.
    pub fn dead_letters(self) -> Vec<Class> {
        match self {
            Self::Rejected => vec![Class::Rejected],
            Self::Dead => vec![Class::Dead],
            Self::Unknown => vec![Class::Unknown],
            Self::Failed | Self::Any => vec![Class::Rejected, Class::Dead, Class::Unknown],
            Self::Waiting | Self::Ok | Self::Cancelled => Vec::new(),
        }
    }

    const fn of(class: Class) -> Self {
        match class {
            Class::Ok => Self::Ok,
            Class::Rejected => Self::Rejected,
            Class::Dead => Self::Dead,
            Class::Unknown => Self::Unknown,
        }
    }

    fn covers(self, one: Self) -> bool {
        match self {
            Self::Any => true,
            Self::Failed => matches!(one, Self::Rejected | Self::Dead | Self::Unknown),
            other => other == one,
        }
    }
}

/// One delivery in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryRow {
    /// The effect's key: what `show` and `retry` take.
    pub key: EffectKey,
    /// The run that asked for it.
    pub run: RunId,
    /// Which step of the run.
    pub step: u32,
    /// `webhook` or `email`.
    pub kind: String,
    /// Name of the destination.
    pub destination: String,
    /// What to do when it is unclear whether it arrived.
    pub mode: Mode,
    /// When the run asked for it.
    pub asked: Timestamp,
    /// How it stands.
    pub state: DeliveryState,
    /// Attempts so far, since it was asked for or sent again.
    pub attempts: u32,
    /// When it had its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// HTTP status or SMTP reply code of the last attempt, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often an operator had it sent again.
    #[serde(default)]
    pub resent: u32,
}

/// Which deliveries a list shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryFilter {
    /// To this destination only.
    pub destination: Option<String>,
    /// Of this run only.
    pub run: Option<RunId>,
    /// How they stand; dead letters when absent.
    pub outcome: Option<DeliveryState>,
    /// Asked for at or after this instant.
    pub since: Option<Timestamp>,
    /// At most this many rows; 50 when absent.
    pub limit: Option<u64>,
}

/// A list of deliveries, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryList {
    /// The rows.
    pub deliveries: Vec<DeliveryRow>,
    /// How many fit the filter, shown or not.
    pub matching: u64,
}

/// One delivery with all that happened to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    /// As in a list.
    pub row: DeliveryRow,
    /// Sequence number of the `intent` entry.
    pub intent: u64,
    /// What is sent.
    pub effect: Effect,
    /// Attempts that failed and were followed by another.
    pub attempts: Vec<AttemptView>,
    /// Its outcomes: one, and one more for each time that an operator had it sent again.
    pub outcomes: Vec<Outcome>,
    /// The operators' orders.
    pub orders: Vec<OrderView>,
}

/// An operator's order to send a delivery again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeliveryOrder")]
pub struct OrderView {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Why.
    pub comment: String,
}

/// Lists deliveries.
///
/// # Errors
/// When the journal cannot be read.
pub fn list(lines: Lines<'_>, filter: &DeliveryFilter) -> Result<DeliveryList, QueryError> {
    let limit = usize::try_from(filter.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_LISTED_MAX)).unwrap_or(usize::MAX);
    let mut rows =
        Rows { filter, limit, open: BTreeMap::new(), places: HashMap::new(), ok: BTreeMap::new(), matching: 0 };
    fold(lines, &mut rows)?;
    let open = rows.open.into_iter().filter(|(_, row)| filter.fits(row));
    let mut found: BTreeMap<(u64, u32), DeliveryRow> = open.collect();
    let matching = rows.matching + found.len() as u64;
    found.extend(rows.ok);
    Ok(DeliveryList { deliveries: found.into_values().rev().take(limit).collect(), matching })
}

/// Shows one delivery; `None` when no effect has this key.
///
/// # Errors
/// When the journal cannot be read.
pub fn show(lines: Lines<'_>, key: &EffectKey) -> Result<Option<DeliveryView>, QueryError> {
    let mut one = One { key, name: format!("\"{key}\""), found: None };
    fold(lines, &mut one)?;
    Ok(one.found)
}

impl DeliveryFilter {
    fn fits(&self, row: &DeliveryRow) -> bool {
        self.outcome.unwrap_or(DeliveryState::Failed).covers(row.state)
            && self.destination.as_ref().is_none_or(|destination| row.destination == *destination)
            && self.run.as_ref().is_none_or(|run| row.run == *run)
            && self.since.is_none_or(|since| row.asked >= since)
    }
}

struct Rows<'a> {
    filter: &'a DeliveryFilter,
    limit: usize,
    /// Those that have not succeeded, in the order in which they were asked for.
    open: BTreeMap<(u64, u32), DeliveryRow>,
    places: HashMap<EffectKey, (u64, u32)>,
    /// The newest that have succeeded, which is final, and fit.
    ok: BTreeMap<(u64, u32), DeliveryRow>,
    /// How many have succeeded and fit.
    matching: u64,
}

impl Rows<'_> {
    fn cancel(&mut self, at: Timestamp, run: &RunId, step: Option<u32>) {
        let mut places = Vec::new();
        for (place, row) in self.open.iter_mut().filter(|(_, row)| row.is_spared(run, step)) {
            row.cancel(at);
            places.push(*place);
        }
        places.into_iter().for_each(|place| self.settle(place));
    }

    fn settle(&mut self, place: (u64, u32)) {
        let Some(row) = self.open.remove(&place) else { return };
        self.places.remove(&row.key);
        if self.filter.fits(&row) {
            self.matching += 1;
            self.ok.insert(place, row);
            if self.ok.len() > self.limit {
                self.ok.pop_first();
            }
        }
    }
}

impl Fold for Rows<'_> {
    fn wants(&self, line: &LogLine) -> bool {
        matches!(&*line.kind, "intent" | "attempt" | "result" | "operator") || times_out(line)
    }

    fn apply(&mut self, entry: &Entry) {
        if let Facts::Intent(intent) = &entry.facts {
            for (row, _) in rows(entry, intent) {
                let place = (entry.seq, row.step);
                self.places.insert(row.key.clone(), place);
                self.open.insert(place, row);
                if self.open.len() > ROWS_MAX
                    && let Some((_, oldest)) = self.open.pop_first()
                {
                    self.places.remove(&oldest.key);
                }
            }
            return;
        }
        if let Some((run, step)) = spared(&entry.facts) {
            return self.cancel(entry.at, run, step);
        }
        let Some(place) = key_of(&entry.facts).and_then(|key| self.places.get(key)).copied() else { return };
        let Some(row) = self.open.get_mut(&place) else { return };
        row.take(entry);
        if row.state == DeliveryState::Ok {
            self.settle(place);
        }
    }
}

struct One<'a> {
    key: &'a EffectKey,
    name: String,
    found: Option<DeliveryView>,
}

impl Fold for One<'_> {
    fn wants(&self, line: &LogLine) -> bool {
        let of_run = |view: &DeliveryView| line.has(&format!("\"{}\"", view.row.run));
        let ends = line.kind == "operator" || times_out(line);
        matches!(&*line.kind, "intent" | "attempt" | "result" | "operator") && line.has(&self.name)
            || ends && self.found.as_ref().is_some_and(of_run)
    }

    fn apply(&mut self, entry: &Entry) {
        if let Facts::Intent(intent) = &entry.facts {
            let found = rows(entry, intent).find(|(row, _)| row.key == *self.key);
            self.found = found.map(|(row, effect)| DeliveryView {
                row,
                intent: entry.seq,
                effect: effect.clone(),
                attempts: Vec::new(),
                outcomes: Vec::new(),
                orders: Vec::new(),
            });
        }
        let Some(view) = &mut self.found else { return };
        if let Some((run, step)) = spared(&entry.facts) {
            if view.row.is_spared(run, step) {
                view.row.cancel(entry.at);
            }
            return;
        }
        if !matches!(entry.facts, Facts::Intent(_)) && key_of(&entry.facts) != Some(self.key) {
            return;
        }
        match &entry.facts {
            Facts::Attempt(Attempt { n, error, status, .. }) => {
                let (at, error, status) = (entry.at, error.clone(), *status);
                view.attempts.push(AttemptView { n: *n, at, error, status });
            }
            Facts::Result(result) => view.outcomes.push(Outcome::new(entry.at, result)),
            Facts::Operator(Operator { actor, comment, order: Order::DeliveryRetry { .. }, .. }) => {
                let (actor, comment) = (actor.clone(), comment.clone());
                view.orders.push(OrderView { at: entry.at, actor, comment });
            }
            _ => {}
        }
        view.row.take(entry);
    }
}

/// The deliveries that an intent asks for.
fn rows<'a>(entry: &'a Entry, intent: &'a Intent) -> impl Iterator<Item = (DeliveryRow, &'a Effect)> {
    intent.steps.iter().filter_map(|step| {
        let row = DeliveryRow {
            key: step.key.clone()?,
            run: intent.run.clone(),
            step: step.n,
            kind: step.effect.kind().into(),
            destination: step.effect.destination()?.into(),
            mode: step.mode.unwrap_or_default(),
            asked: entry.at,
            state: DeliveryState::Waiting,
            attempts: 0,
            ended: None,
            next: None,
            status: None,
            error: None,
            resent: 0,
        };
        Some((row, &step.effect))
    })
}

/// Whether the line may say that nobody decided an approval in time.
fn times_out(line: &LogLine) -> bool {
    line.kind == "due" && line.has("\"approval\"")
}

/// The run, or the step of it, of which an entry says that nothing more is to be sent.
fn spared(facts: &Facts) -> Option<(&RunId, Option<u32>)> {
    match facts {
        Facts::Operator(Operator { order: Order::RunCancel { run }, .. }) => Some((run, None)),
        Facts::Operator(Operator { order: Order::Approval(order), .. }) => Some((&order.run, Some(order.step))),
        Facts::Due(Due::Approval { run, step, .. }) => Some((run, Some(*step))),
        _ => None,
    }
}

/// The delivery that an entry is about.
fn key_of(facts: &Facts) -> Option<&EffectKey> {
    match facts {
        Facts::Attempt(attempt) => Some(&attempt.key),
        Facts::Result(result) => Some(&result.key),
        Facts::Operator(Operator { order: Order::DeliveryRetry { key, .. }, .. }) => Some(key),
        _ => None,
    }
}

impl DeliveryRow {
    /// Whether it waits and belongs to this run, or tells of this step's question. What an operator had sent again goes on when
    /// its run is cancelled, but not when its question is decided.
    fn is_spared(&self, run: &RunId, step: Option<u32>) -> bool {
        let asked = step.map_or(self.resent == 0, |step| self.step == step && self.kind == "approve");
        self.state == DeliveryState::Waiting && self.run == *run && asked
    }

    fn cancel(&mut self, at: Timestamp) {
        (self.state, self.ended, self.next) = (DeliveryState::Cancelled, Some(at), None);
    }

    /// Takes an entry that is about this delivery.
    fn take(&mut self, entry: &Entry) {
        match &entry.facts {
            Facts::Attempt(Attempt { n, error, status, next, .. }) => {
                (self.attempts, self.status, self.next) = (*n, *status, Some(*next));
                self.error = Some(short(error));
            }
            Facts::Result(StepResult { attempts, reply, .. }) => {
                (self.attempts, self.status, self.next) = (*attempts, reply.status, None);
                (self.state, self.ended) = (DeliveryState::of(reply.class), Some(entry.at));
                self.error = reply.error.as_deref().map(short);
            }
            Facts::Operator(_) => {
                self.resent += 1;
                (self.state, self.ended, self.attempts) = (DeliveryState::Waiting, None, 0);
            }
            _ => {}
        }
    }
}
