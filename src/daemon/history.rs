//! Reads back from the journal what a run, a mail or a page needs: alerts, requests and replays.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::decision::{AlertRef, Reason, RouteVerdict};
use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::entry::{Due, Facts, Intake, Step};
use crate::domain::id::RunId;
use crate::domain::operator::{Operator, Order};
use crate::journal::Receipt;
use crate::journal::line::Line;
use crate::journal::reader::Reader;
use crate::playbooks::evaluate::PastStep;

/// A run's replay.
pub struct Replay {
    /// Time of the last entry that the run has seen.
    pub at: Timestamp,
    /// Its steps so far.
    pub past: Vec<PastStep>,
    /// Bytes that it has in the journal.
    pub bytes: usize,
}

/// Why something cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The entry is there and does not hold what it should; trying again would not change that.
    #[error("{0}")]
    Content(String),
    /// The journal cannot be read at all.
    #[error("{0}")]
    Journal(String),
}

/// Bytes that one run may have in the journal, its results included; each evaluation reads them all.
pub const RUN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often reading is tried when the system refuses it, as with too many open files.
const READS_MAX: u32 = 20;
/// How long to wait between these.
const READ_PAUSE: Duration = Duration::from_millis(500);

/// The facts of one entry.
///
/// # Errors
/// [`Unread`], with the entry's number. A fault of the system is waited for, for ten seconds.
pub fn facts(journal: &Reader, seq: u64) -> Result<(Timestamp, Facts), Unread> {
    sized(journal, seq).map(|(at, facts, _)| (at, facts))
}

/// The facts of one entry, and the bytes that they have in the journal.
fn sized(journal: &Reader, seq: u64) -> Result<(Timestamp, Facts, usize), Unread> {
    let line = line(journal, seq)?;
    let content = |error| Unread::Content(format!("entry {seq} is not understood: {error}"));
    let facts = Facts::parse(&line.kind, line.data.get()).map_err(content)?;
    Ok((line.at, facts, line.data.get().len()))
}

/// Number and hash of one entry.
///
/// # Errors
/// As [`facts`].
pub fn receipt(journal: &Reader, seq: u64) -> Result<Receipt, Unread> {
    line(journal, seq).map(|line| Receipt { seq, hash: line.hash })
}

fn line(journal: &Reader, seq: u64) -> Result<Line, Unread> {
    let mut tries = 1;
    let line: Option<Line> = loop {
        match journal.line(seq) {
            Ok(line) => break line,
            Err(error) if tries == READS_MAX => {
                return Err(Unread::Journal(format!("cannot read entry {seq}: {error}")));
            }
            Err(_) => std::thread::sleep(READ_PAUSE),
        }
        tries += 1;
    };
    line.ok_or_else(|| Unread::Content(format!("entry {seq} is not in the journal")))
}

/// The alerts as playbooks and templates see them: every field, the short forms, the id and `raw`.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn alerts(journal: &Reader, refs: &[AlertRef]) -> Result<Vec<Value>, Unread> {
    refs.iter().map(|at| alert(journal, *at)).collect()
}

fn alert(journal: &Reader, at: AlertRef) -> Result<Value, Unread> {
    let (_, Facts::Intake(intake)) = facts(journal, at.seq)? else {
        return Err(Unread::Content(format!("entry {} holds no alerts", at.seq)));
    };
    alert_json(&intake, at.at as usize)
        .ok_or_else(|| Unread::Content(format!("entry {} holds no alert {}", at.seq, at.at)))
}

/// One alert of an intake entry as JSON.
pub fn alert_json(intake: &Intake, index: usize) -> Option<Value> {
    let taken = intake.alerts.get(index)?;
    let alert = &taken.alert;
    let mut json = serde_json::to_value(alert).expect("an alert is plain data with string keys");
    let raw = intake.record.bytes().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let raw = raw.and_then(|raw| raw.pointer(&taken.part).cloned()).unwrap_or_default();
    let more = [
        ("id", Value::from(taken.id.to_string())),
        ("host", alert.host().into()),
        ("account", alert.account().into()),
        ("ip", alert.ip().into()),
        ("status", taken.decision.status.as_str().into()),
        ("raw", raw),
    ];
    let fields = json.as_object_mut().expect("an alert is a map");
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Some(json)
}

/// A step's request, and when it was asked for.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn effect(journal: &Reader, intent: u64, step: u32) -> Result<(Timestamp, Effect), Unread> {
    let (at, Facts::Intent(intent_facts)) = facts(journal, intent)? else {
        return Err(Unread::Content(format!("entry {intent} holds no request")));
    };
    let step = intent_facts.steps.into_iter().find(|s| s.n == step);
    Ok((at, step.ok_or_else(|| Unread::Content(format!("entry {intent} lacks the step")))?.effect))
}

/// What a run was started for, and its bundle's id or the first digits of it, from the entry that started it.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn start(journal: &Reader, began: u64, run: &RunId) -> Result<(Vec<AlertRef>, String), Unread> {
    let (_, facts) = facts(journal, began)?;
    match facts {
        Facts::Intake(intake) => {
            let starts = |reason: &Reason| {
                let Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } = reason else { return false };
                runs.contains(run)
            };
            let numbered = (0..).zip(&intake.alerts);
            let mut started = numbered.filter(|(_, taken)| taken.decision.reasons.iter().any(starts));
            started.next().map(|(at, taken)| (vec![AlertRef { id: taken.id, seq: began, at }], intake.bundle.clone()))
        }
        Facts::Due(Due::Group { runs, alerts, bundle, .. }) if runs.contains(run) => Some((alerts, bundle)),
        Facts::Operator(Operator { order: Order::RunRestart { starts, alerts, bundle, .. }, .. }) if starts == *run => {
            Some((alerts, bundle))
        }
        Facts::Operator(Operator { order: Order::RunStart { alert, starts, bundle }, .. }) if starts == *run => {
            Some((vec![alert], bundle))
        }
        _ => None,
    }
    .ok_or_else(|| Unread::Content(format!("entry {began} does not start {run}")))
}

/// A run's steps with their outcomes, from its own entries.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn past(journal: &Reader, entries: &[u64], started: Timestamp) -> Result<Replay, Unread> {
    let mut replay = Replay::new(started);
    for seq in entries {
        let (at, facts, bytes) = sized(journal, *seq)?;
        replay.take(*seq, at, facts, bytes).map_err(Unread::Content)?;
    }
    Ok(replay)
}

impl Replay {
    /// Of a run that has no entry yet.
    pub fn new(started: Timestamp) -> Self {
        Self { at: started, past: Vec::new(), bytes: 0 }
    }

    /// Adds the run's next entry, which has this many bytes.
    ///
    /// # Errors
    /// Words for the operator: the entry is no part of a run, or the run has too many bytes.
    pub fn take(&mut self, seq: u64, at: Timestamp, facts: Facts, bytes: usize) -> Result<(), String> {
        self.at = at;
        self.bytes += bytes;
        if self.bytes > RUN_BYTES_MAX {
            let mib = RUN_BYTES_MAX / 1024 / 1024;
            return Err(format!("the run has more than {mib} MiB on record"));
        }
        match facts {
            Facts::Intent(intent) => self.past.extend(intent.steps.into_iter().map(past_step)),
            Facts::Result(result) => self.settle(result.step, result.reply, seq)?,
            Facts::Due(Due::Timer { step, .. }) => {
                let reply = Reply { class: Class::Ok, status: None, value: Value::Null, error: None };
                self.settle(step, reply, seq)?;
            }
            // A failed run that an operator lets go on.
            Facts::Run(end) => self.past.extend(end.steps.into_iter().map(past_step)),
            Facts::Operator(_) => {}
            _ => return Err(format!("entry {seq} is no part of a run")),
        }
        Ok(())
    }

    fn settle(&mut self, step: u32, reply: Reply, seq: u64) -> Result<(), String> {
        let place = self.past.get_mut(step as usize);
        place.ok_or_else(|| format!("entry {seq} settles a step that was never asked for"))?.outcome = Some(reply);
        Ok(())
    }
}

fn past_step(step: Step) -> PastStep {
    let outcome = step.value.map(|value| Reply { class: Class::Ok, status: None, value, error: None });
    PastStep { kind: step.effect.kind().to_owned(), args_sha256: step.args_sha256, outcome }
}
