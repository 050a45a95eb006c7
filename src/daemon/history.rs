//! Reads back from the journal what a run, a mail or a page needs: alerts, requests and replays.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::daemon::recent::{Recent, Written};
use crate::domain::alert::Alert;
use crate::domain::approval::Choice;
use crate::domain::decision::{AlertRef, Reason, RouteVerdict};
use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::entry::{Due, Entry, Facts, Intake, Step};
use crate::domain::id::{AlertId, RunId};
use crate::domain::mail::{Digest, MailPlan};
use crate::domain::operator::{Operator, Order};
use crate::domain::record::Body;
use crate::domain::triage::AlertChange;
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
/// Alerts of a group that its mails show in full, and more than those.
const LISTED_MAX: usize = 200;
/// How often reading is tried when the system refuses it, as with too many open files.
const READS_MAX: u32 = 20;
/// How long to wait between these.
const READ_PAUSE: Duration = Duration::from_millis(500);

/// Where to read from: what was just written, else the journal.
#[derive(Debug, Clone)]
pub struct History {
    /// The journal.
    pub journal: Reader,
    /// What the core has just written, and what was just read.
    pub recent: Arc<Recent>,
}

impl History {
    /// One entry.
    ///
    /// # Errors
    /// [`Unread`], with the entry's number. A fault of the system is waited for, for ten seconds.
    pub fn entry(&self, seq: u64) -> Result<Arc<Written>, Unread> {
        if let Some(written) = self.recent.get(seq) {
            return Ok(written);
        }
        let line = line(&self.journal, seq)?;
        let content = |error| Unread::Content(format!("entry {seq} is not understood: {error}"));
        let facts = Facts::parse(&line.kind, line.data.get()).map_err(content)?;
        let (entry, bytes) = (Entry { seq, at: line.at, facts }, line.data.get().len());
        let written = Arc::new(Written { entry, bytes, hash: OnceLock::from(line.hash) });
        self.recent.keep(written.clone());
        Ok(written)
    }
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

/// The alerts as templates see them: every field, the short forms, the id and `raw`.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn alerts(history: &History, refs: &[AlertRef]) -> Result<Vec<Value>, Unread> {
    refs.iter().map(|at| alert_value(history, *at)).collect()
}

/// One of them.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn alert_value(history: &History, at: AlertRef) -> Result<Value, Unread> {
    let text = alert(history, at)?;
    let value = serde_json::from_str(text.get());
    value.map_err(|error| Unread::Content(format!("alert {} is not understood: {error}", at.id)))
}

/// The alerts of a group as its mails show them: the first 200 without `raw`, and of the others what counting
/// them takes.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn listed(history: &History, refs: &[AlertRef]) -> Result<Vec<Value>, Unread> {
    let numbered = refs.iter().enumerate();
    let alerts = numbered.map(|(n, at)| {
        let mut alert = alert_value(history, *at)?;
        if n < LISTED_MAX {
            alert["raw"] = Value::Null;
            return Ok(alert);
        }
        Ok(json!({ "id": alert["id"].take(), "severity": alert["severity"].take() }))
    });
    alerts.collect()
}

/// One alert as playbooks see it, as JSON text: the same as [`alerts`] give.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn alert(history: &History, at: AlertRef) -> Result<Box<RawValue>, Unread> {
    let written = history.entry(at.seq)?;
    let Facts::Intake(intake) = &written.entry.facts else {
        return Err(Unread::Content(format!("entry {} holds no alerts", at.seq)));
    };
    alert_text(intake, at.at as usize)
        .ok_or_else(|| Unread::Content(format!("entry {} holds no alert {}", at.seq, at.at)))
}

/// An alert and the change of its status that an entry holds, as `on_status` gets them.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn status_change(history: &History, at: AlertRef, seq: u64) -> Result<Value, Unread> {
    let written = history.entry(seq)?;
    let Facts::Operator(Operator { actor, comment, order: Order::Alert { was, change, .. }, .. }) =
        &written.entry.facts
    else {
        return Err(Unread::Content(format!("entry {seq} changes no alert")));
    };
    let AlertChange::Status { to, reason } = change else {
        return Err(Unread::Content(format!("entry {seq} changes no status")));
    };
    let mut alert = alerts(history, &[at])?.swap_remove(0);
    alert["status"] = to.as_str().into();
    let change = json!({
        "from": was, "to": to, "reason": reason, "comment": comment, "by": actor, "at": written.entry.at.to_string(),
    });
    Ok(json!({ "alert": alert, "change": change }))
}

/// An alert with what is not written with it: its id, the short forms, and its part of the record.
#[derive(Serialize)]
struct Seen<'a> {
    #[serde(flatten)]
    alert: Cow<'a, Alert>,
    id: AlertId,
    host: Option<&'a str>,
    account: Option<&'a str>,
    ip: Option<&'a str>,
    raw: Option<Cow<'a, RawValue>>,
}

/// One alert of an intake entry as JSON text. Nothing is built that only would be written down again.
pub fn alert_text(intake: &Intake, index: usize) -> Option<Box<RawValue>> {
    let taken = intake.alerts.get(index)?;
    let mut alert = Cow::Borrowed(&taken.alert);
    if alert.status != taken.decision.status {
        alert.to_mut().status = taken.decision.status;
    }
    let (host, account, ip) = (taken.alert.host(), taken.alert.account(), taken.alert.ip());
    let seen = Seen { alert, id: taken.id, host, account, ip, raw: raw(&intake.record, &taken.part) };
    Some(serde_json::value::to_raw_value(&seen).expect("an alert is plain data with string keys"))
}

/// The part of a record that gave an alert.
fn raw<'a>(record: &'a Body, part: &str) -> Option<Cow<'a, RawValue>> {
    match record {
        Body::Json(json) if part.is_empty() => Some(Cow::Borrowed(json)),
        _ => {
            let record: Value = serde_json::from_slice(&record.bytes()?).ok()?;
            serde_json::value::to_raw_value(record.pointer(part)?).ok().map(Cow::Owned)
        }
    }
}

/// A step as asked for.
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// What.
    pub effect: Effect,
    /// Who gets it, when it is a mail.
    pub mail: Option<MailPlan>,
    /// Number and hash of the entry that asks.
    pub receipt: Receipt,
}

/// A step's request, and the entry that asks for it.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn asked(history: &History, intent: u64, step: u32) -> Result<Asked, Unread> {
    let written = history.entry(intent)?;
    let step = request(&written.entry, step)?;
    let hash = written.hash.get().expect("what can be read is durable").clone();
    let (effect, mail) = (step.effect.clone(), step.mail.clone());
    Ok(Asked { at: written.entry.at, effect, mail, receipt: Receipt { seq: intent, hash } })
}

/// A step, of the entry that asks for it.
///
/// # Errors
/// [`Unread::Content`], with the entry's number.
pub fn request(intent: &Entry, step: u32) -> Result<&Step, Unread> {
    let seq = intent.seq;
    let Facts::Intent(asked) = &intent.facts else {
        return Err(Unread::Content(format!("entry {seq} holds no request")));
    };
    let step = asked.steps.iter().find(|s| s.n == step);
    step.ok_or_else(|| Unread::Content(format!("entry {seq} lacks the step")))
}

/// How a run began.
pub struct Began {
    /// What it was started for.
    pub alerts: Vec<AlertRef>,
    /// Its bundle's id or the first digits of it.
    pub bundle: String,
    /// What it tells whom, when it is a digest's.
    pub digest: Option<Box<Digest>>,
}

/// How a run began, from the entry that started it.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn start(history: &History, began: u64, run: &RunId) -> Result<Began, Unread> {
    match &history.entry(began)?.entry.facts {
        Facts::Intake(intake) => {
            let starts = |reason: &Reason| {
                let Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } = reason else { return false };
                runs.contains(run)
            };
            let numbered = (0..).zip(&intake.alerts);
            let mut started = numbered.filter(|(_, taken)| taken.decision.reasons.iter().any(starts));
            let alert = started.next().map(|(at, taken)| AlertRef { id: taken.id, seq: began, at });
            alert.map(|alert| (vec![alert], intake.bundle.clone(), None))
        }
        Facts::Due(Due::Group { runs, alerts, bundle, digest, .. }) if runs.contains(run) => {
            Some((alerts.clone(), bundle.clone(), digest.clone()))
        }
        Facts::Operator(Operator { order: Order::RunRestart { starts, alerts, bundle, digest, .. }, .. })
            if starts == run =>
        {
            Some((alerts.clone(), bundle.clone(), digest.clone()))
        }
        Facts::Operator(Operator { order: Order::RunStart { alert, starts, bundle }, .. }) if starts == run => {
            Some((vec![*alert], bundle.clone(), None))
        }
        Facts::Operator(Operator { order: Order::Alert { on_status: Some(told), .. }, .. })
            if told.runs().any(|starts| starts == run) =>
        {
            Some((vec![told.alert], told.bundle.clone(), None))
        }
        _ => None,
    }
    .map(|(alerts, bundle, digest)| Began { alerts, bundle, digest })
    .ok_or_else(|| Unread::Content(format!("entry {began} does not start {run}")))
}

/// A run's steps with their outcomes, from its own entries.
///
/// # Errors
/// [`Unread`], with the entry's number.
pub fn past(history: &History, entries: &[u64], started: Timestamp) -> Result<Replay, Unread> {
    let mut replay = Replay::new(started);
    for seq in entries {
        replay.take(&*history.entry(*seq)?).map_err(Unread::Content)?;
    }
    Ok(replay)
}

impl Replay {
    /// Of a run that has no entry yet.
    pub fn new(started: Timestamp) -> Self {
        Self { at: started, past: Vec::new(), bytes: 0 }
    }

    /// Adds the run's next entry.
    ///
    /// # Errors
    /// Words for the operator: the entry is no part of a run, or the run has too many bytes.
    pub fn take(&mut self, written: &Written) -> Result<(), String> {
        let Entry { seq, at, facts } = &written.entry;
        self.at = *at;
        self.bytes += written.bytes;
        if self.bytes > RUN_BYTES_MAX {
            let mib = RUN_BYTES_MAX / 1024 / 1024;
            return Err(format!("the run has more than {mib} MiB on record"));
        }
        match facts {
            Facts::Intent(intent) => self.past.extend(intent.steps.iter().map(past_step)),
            Facts::Result(result) => self.settle(result.step, result.reply.clone(), *seq)?,
            Facts::Due(Due::Timer { step, .. }) => {
                let reply = Reply { class: Class::Ok, status: None, value: Value::Null, error: None };
                self.settle(*step, reply, *seq)?;
            }
            Facts::Due(Due::Approval { step, choice, .. }) => self.settle(*step, answer(*choice), *seq)?,
            Facts::Operator(Operator { order: Order::Approval(order), .. }) => {
                self.settle(order.step, answer(order.choice), *seq)?;
            }
            // A failed run that an operator lets go on.
            Facts::Run(end) => self.past.extend(end.steps.iter().map(past_step)),
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

/// What a script gets when its question is decided.
fn answer(choice: Choice) -> Reply {
    Reply { class: Class::Ok, status: None, value: Value::Bool(choice.answer()), error: None }
}

fn past_step(step: &Step) -> PastStep {
    let settled = |value| Reply { class: Class::Ok, status: None, value, error: None };
    PastStep {
        kind: step.effect.kind().to_owned(),
        args_sha256: step.args_sha256.clone(),
        outcome: step.value.clone().map(settled),
    }
}
