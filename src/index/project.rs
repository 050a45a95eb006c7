//! Entries to rows: what each kind of entry says about alerts, runs and deliveries.

use jiff::Timestamp;
use rusqlite::params;

use crate::domain::effect::{Class, Effect};
use crate::domain::entry::{Due, End, Facts, Intake, Log, Step, StepResult, Taken};
use crate::domain::id::{AlertId, RunId, Trigger};
use crate::domain::operator::{Operator, Order};
use crate::domain::triage::AlertChange;
use crate::index::labels::feedback;
use crate::index::row::{Outcome, Row, only_counted, short};
use crate::index::write::{Writer, maybe, micros, number};
use crate::index::{IndexError, search};
use crate::journal::line::Line;

/// Kinds of entries that say nothing the index keeps.
const PASSED_OVER: &[&str] = &["quarantine", "begin"];

/// A change of an alert, for its history.
struct Change<'a> {
    actor: &'a str,
    what: &'a str,
    value: &'a str,
    reason: Option<&'a str>,
    comment: Option<&'a str>,
}

/// Where in the journal.
#[derive(Clone, Copy)]
struct At {
    seq: u64,
    at: Timestamp,
}

impl Writer {
    /// Takes the next entry.
    ///
    /// # Errors
    /// When it cannot be understood or written; the batch has to be undone then.
    pub fn take(&mut self, line: &Line) -> Result<(), IndexError> {
        if PASSED_OVER.contains(&&*line.kind) {
            return Ok(());
        }
        let facts = Facts::parse(&line.kind, line.data.get());
        let facts = facts.map_err(|cause| IndexError::Entry { seq: line.seq, cause })?;
        let at = At { seq: line.seq, at: line.at };
        match &facts {
            Facts::Log(Log::Opened { journal, .. }) => self.journal.clone_from(journal),
            Facts::Log(Log::Dropped { segments, journal, .. }) => {
                self.journal.clone_from(journal);
                self.forget(segments.last().map_or(0, |seal| seal.last))?;
            }
            Facts::Bundle(bundle) => {
                let values = params![at.seq.cast_signed(), micros(at.at), bundle.id];
                self.run("INSERT INTO bundles VALUES (?1, ?2, ?3)", values)?;
            }
            Facts::Intake(intake) => self.intake(at, intake)?,
            Facts::Due(Due::Group { group, alerts, runs, .. }) => {
                for alert in alerts {
                    let member = params![group.0.cast_signed(), number(alert.id)];
                    self.run("INSERT OR IGNORE INTO members VALUES (?1, ?2)", member)?;
                }
                runs.iter().try_for_each(|run| self.start(at, run))?;
            }
            Facts::Intent(intent) => self.steps(at, &intent.run, &intent.steps)?,
            Facts::Result(result) => self.result(at, result)?,
            Facts::Run(end) => {
                self.steps(at, &end.run, &end.steps)?;
                let (outcome, error) = match &end.end {
                    End::Finished { .. } => (Outcome::Finished, None),
                    End::Failed { error, .. } => (Outcome::Failed, Some(short(error))),
                    End::Stalled { step, .. } => (Outcome::Stalled, Some(format!("step {step} differs"))),
                };
                self.end(at, &end.run, outcome, error.as_deref())?;
            }
            Facts::Due(Due::Approval { run, step, .. }) => self.spare(run, *step)?,
            Facts::Operator(operator) => self.order(at, operator)?,
            Facts::Log(_) | Facts::Quarantine(_) | Facts::Due(_) => {}
            Facts::Begin(_) | Facts::Attempt(_) => {}
        }
        self.mention(at.seq, &facts)
    }

    fn intake(&mut self, at: At, intake: &Intake) -> Result<(), IndexError> {
        for taken in &intake.alerts {
            self.see(at, intake, taken)?;
            for run in started(taken) {
                self.start_row(at, run)?;
            }
        }
        Ok(())
    }

    fn see(&mut self, at: At, intake: &Intake, taken: &Taken) -> Result<(), IndexError> {
        let content = search::content(&taken.alert);
        let words = || search::text(&taken.alert, &intake.record, &taken.part);
        let Some(known) = self.alert(taken.id)? else {
            let pending = self.add(Row::new(at.seq, at.at, taken))?;
            (pending.words, pending.content) = (Some(words()), content);
            return Ok(());
        };
        let changed = known.row.again(at.seq, at.at, taken);
        if !only_counted(&taken.decision) || known.content != content {
            (known.words, known.content) = (Some(words()), content);
        }
        let (status, severity) = (known.row.status, known.row.severity);
        let rule = known.row.suppressed_by.as_ref().map(|rule| format!("suppression {}", rule.id));
        let source = format!("source {}", intake.source);
        let actor = rule.as_deref().unwrap_or(&source);
        if changed.severity {
            self.change(
                at,
                0,
                taken.id,
                &Change { actor: &source, what: "severity", value: severity.as_str(), reason: None, comment: None },
            )?;
        }
        if changed.status {
            self.change(
                at,
                1,
                taken.id,
                &Change { actor, what: "status", value: status.as_str(), reason: None, comment: None },
            )?;
        }
        Ok(())
    }

    /// The steps that soard answers itself change alerts; the others are deliveries.
    fn steps(&mut self, at: At, run: &RunId, steps: &[Step]) -> Result<(), IndexError> {
        let actor = format!("playbook {run}");
        let sent = steps.iter().filter(|step| step.key.is_some() && step.effect.destination().is_some()).count() as u64;
        if sent > 0 {
            self.each_alert(run, |row| row.deliveries += sent)?;
        }
        for step in steps {
            match &step.effect {
                Effect::SetStatus { alert, status, comment } => {
                    let Some(known) = self.alert(*alert)? else { continue };
                    known.row.stand(*status);
                    let change = Change {
                        actor: &actor,
                        what: "status",
                        value: status.as_str(),
                        reason: None,
                        comment: comment.as_deref(),
                    };
                    self.change(at, step.n, *alert, &change)?;
                }
                Effect::Tag { alert, tag } => {
                    let Some(known) = self.alert(*alert)? else { continue };
                    known.row.tag(tag);
                    self.change(
                        at,
                        step.n,
                        *alert,
                        &Change { actor: &actor, what: "tag", value: tag, reason: None, comment: None },
                    )?;
                }
                effect => {
                    let (Some(key), Some(destination)) = (&step.key, effect.destination()) else { continue };
                    let sql = "INSERT OR REPLACE INTO deliveries (run, step, key, kind, destination, outcome, attempts, asked) \
                               VALUES (?1, ?2, ?3, ?4, ?5, 'open', 0, ?6)";
                    let values =
                        params![run.to_string(), step.n, key.as_str(), effect.kind(), destination, micros(at.at)];
                    self.run(sql, values)?;
                }
            }
        }
        Ok(())
    }

    fn result(&mut self, at: At, result: &StepResult) -> Result<(), IndexError> {
        let outcome = match result.reply.class {
            Class::Ok => "ok",
            Class::Rejected => "rejected",
            Class::Dead => "dead",
            Class::Unknown => "unknown",
        };
        let error = result.reply.error.as_deref().map(short);
        let sql = "UPDATE deliveries SET outcome = ?3, attempts = attempts + ?4, code = ?5, ended = ?6, error = ?7 \
                   WHERE run = ?1 AND step = ?2";
        let values = params![
            result.run.to_string(),
            result.step,
            outcome,
            result.attempts,
            result.reply.status,
            micros(at.at),
            maybe(error.as_deref())
        ];
        self.run(sql, values)?;
        Ok(())
    }

    fn order(&mut self, at: At, operator: &Operator) -> Result<(), IndexError> {
        match &operator.order {
            Order::RunCancel { run } => {
                self.end(at, run, Outcome::Cancelled, Some(&short(&operator.comment)))?;
                let sql = "UPDATE deliveries SET outcome = 'cancelled' WHERE run = ?1 AND outcome = 'open'";
                self.run(sql, [run.to_string()])?;
            }
            Order::RunRestart { starts, alerts, .. } => {
                self.start_row(at, starts)?;
                for alert in alerts {
                    if let Some(known) = self.alert(alert.id)? {
                        known.row.run(starts, Outcome::Open);
                        known.row.ordered(at.at);
                    }
                }
            }
            Order::RunRetry { run, again } => {
                let sql = "UPDATE runs SET outcome = ?2, ended = NULL, error = NULL WHERE id = ?1";
                self.run(sql, params![run.to_string(), Outcome::Open as i64])?;
                self.each_alert(run, |row| row.run(run, Outcome::Open))?;
                for step in again {
                    self.open_again(run, *step)?;
                }
            }
            Order::DeliveryRetry { run, step, .. } => self.open_again(run, *step)?,
            Order::RunStart { alert, starts, .. } => {
                self.start_row(at, starts)?;
                if let Some(known) = self.alert(alert.id)? {
                    known.row.run(starts, Outcome::Open);
                    known.row.ordered(at.at);
                }
            }
            Order::Alert { alert, change, .. } => {
                self.triage(at, operator, *alert, change)?;
                for run in operator.order.runs() {
                    self.start_row(at, run)?;
                    if let Some(known) = self.alert(*alert)? {
                        known.row.run(run, Outcome::Open);
                    }
                }
            }
            Order::Approval(order) => self.spare(&order.run, order.step)?,
            Order::Silence(_)
            | Order::Token(_)
            | Order::Hold(_)
            | Order::Recipient(_)
            | Order::DestinationTest { .. }
            | Order::QuarantineDiscard { .. }
            | Order::Upkeep(_) => {}
        }
        Ok(())
    }

    /// What an operator changed about an alert.
    fn triage(&mut self, at: At, by: &Operator, id: AlertId, change: &AlertChange) -> Result<(), IndexError> {
        let Some(known) = self.alert(id)? else { return Ok(()) };
        let (mut said, mut why) = (Vec::new(), None);
        known.row.ordered(at.at);
        match change {
            AlertChange::Status { to, reason } => {
                known.row.set_status(*to, *reason);
                said.push(("status", to.to_string()));
                why = reason.map(|reason| reason.to_string());
            }
            AlertChange::Comment => said.push(("comment", String::new())),
            AlertChange::Tags { add, remove } => {
                add.iter().for_each(|tag| known.row.tag(tag));
                remove.iter().for_each(|tag| known.row.untag(tag));
                said.extend(add.iter().map(|tag| ("tag", tag.clone())));
                said.extend(remove.iter().map(|tag| ("untag", tag.clone())));
            }
            AlertChange::Assign { to } => {
                known.row.assignee = to.as_deref().map(short);
                said.push(("assign", to.clone().unwrap_or_else(|| "nobody".into())));
            }
            AlertChange::Feedback { useful, reason } => {
                (known.row.useful, known.row.useful_reason) = (Some(*useful), *reason);
                said.push(("feedback", feedback(*useful).to_owned()));
                why = reason.map(|reason| reason.to_string());
            }
        }
        let comment = Some(&*by.comment).filter(|comment| !comment.is_empty());
        for (n, (what, value)) in (0..).zip(said) {
            let reason = why.as_deref();
            self.change(at, n, id, &Change { actor: &by.actor, what, value: &value, reason, comment })?;
        }
        Ok(())
    }

    /// Nobody needs to be told any more of a question that is decided.
    fn spare(&mut self, run: &RunId, step: u32) -> Result<(), IndexError> {
        let sql = "UPDATE deliveries SET outcome = 'cancelled' WHERE run = ?1 AND step = ?2 AND outcome = 'open' AND kind = 'approve'";
        self.run(sql, params![run.to_string(), step])?;
        Ok(())
    }

    fn open_again(&mut self, run: &RunId, step: u32) -> Result<(), IndexError> {
        let sql = "UPDATE deliveries SET outcome = 'open', ended = NULL, error = NULL, code = NULL WHERE run = ?1 AND step = ?2";
        self.run(sql, params![run.to_string(), step])?;
        Ok(())
    }

    /// A run that a group started.
    fn start(&mut self, at: At, run: &RunId) -> Result<(), IndexError> {
        self.start_row(at, run)?;
        self.each_alert(run, |row| row.run(run, Outcome::Open))
    }

    fn start_row(&mut self, at: At, run: &RunId) -> Result<(), IndexError> {
        let sql = "INSERT OR IGNORE INTO runs (id, outcome, started, entry) VALUES (?1, ?2, ?3, ?4)";
        self.run(sql, params![run.to_string(), Outcome::Open as i64, micros(at.at), at.seq.cast_signed()])?;
        Ok(())
    }

    fn end(&mut self, at: At, run: &RunId, outcome: Outcome, error: Option<&str>) -> Result<(), IndexError> {
        let sql = "UPDATE runs SET outcome = ?2, ended = ?3, error = ?4 WHERE id = ?1";
        self.run(sql, params![run.to_string(), outcome as i64, micros(at.at), maybe(error)])?;
        self.each_alert(run, |row| row.run(run, outcome))
    }

    /// Tells each alert that a run was started for.
    fn each_alert(&mut self, run: &RunId, mut tell: impl FnMut(&mut Row)) -> Result<(), IndexError> {
        let alerts = match run.trigger {
            Trigger::Alert(id) | Trigger::Status(id, _) => vec![id],
            Trigger::Group(group) => self.members(group.0)?,
        };
        for id in alerts {
            if let Some(known) = self.alert(id)? {
                tell(&mut known.row);
            }
        }
        Ok(())
    }

    fn change(&mut self, at: At, n: u32, id: AlertId, change: &Change<'_>) -> Result<(), IndexError> {
        let Change { actor, what, value, reason, comment } = change;
        let sql = "INSERT OR REPLACE INTO changes (alert, entry, n, at, actor, what, value, reason, comment) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = params![
            number(id),
            at.seq.cast_signed(),
            n,
            micros(at.at),
            actor,
            what,
            short(value),
            maybe(*reason),
            maybe(*comment)
        ];
        self.run(sql, values)?;
        Ok(())
    }
}

/// The runs that a decision about one alert started.
fn started(taken: &Taken) -> impl Iterator<Item = &RunId> {
    use crate::domain::decision::{Reason, RouteVerdict};
    taken.decision.reasons.iter().flat_map(|reason| match reason {
        Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } => &runs[..],
        _ => &[],
    })
}
