//! What operators may order, and why not.

use jiff::Timestamp;

use crate::domain::alert::{Alert, Status};
use crate::domain::approval::{Choice, Decider};
use crate::domain::decision::AlertRef;
use crate::domain::hold::Scope;
use crate::domain::id::{AlertId, ApprovalId, RunId, SilenceId};
use crate::domain::mail::Digest;
use crate::domain::operator::{Order, Upkeep};
use crate::domain::silence::Term;
use crate::domain::time::Span;
use crate::domain::token::Role;
use crate::domain::triage::{AlertChange, BadChange};
use crate::engine::approvals;
use crate::engine::holds;
use crate::engine::recipients;
use crate::engine::silences;
use crate::engine::state::{Halted, State};
use crate::engine::tokens;
use crate::engine::triage;
use crate::rules::compile::Rules;

/// Quarantined records that one order gives up.
pub const DISCARDED_MAX: usize = 10_000;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// End it for good.
    Cancel(RunId),
    /// Let it go on from its recorded steps.
    Retry(RunId),
    /// Start its playbook anew for what it was started for.
    Restart {
        /// The run to repeat.
        run: RunId,
        /// What it was started for.
        alerts: Vec<AlertRef>,
        /// What it tells whom, when it is a digest's.
        digest: Option<Box<Digest>>,
    },
    /// Change an alert.
    Change {
        /// Which.
        alert: AlertId,
        /// What.
        change: AlertChange,
        /// Its latest body, where routes may want to hear of a change of status.
        latest: Option<Box<Latest>>,
    },
    /// Say that somebody looks after an alert, if nobody has done anything about it yet.
    Acknowledge {
        /// Which.
        alert: AlertId,
        /// Its latest body, as for a change.
        latest: Option<Box<Latest>>,
    },
    /// Start a playbook for an alert, by hand.
    Start {
        /// Where the alert's body stands, as far as the journal has it.
        alert: AlertRef,
        /// Name of the playbook, without `.rhai`.
        playbook: String,
    },
    /// Keep alerts quiet for a while.
    SilenceAdd {
        /// What an alert must have, all of it.
        terms: Vec<Term>,
        /// How long.
        lasts: Span,
    },
    /// Let a silence end at another time.
    SilenceUpdate {
        /// Which.
        id: SilenceId,
        /// How long from now.
        lasts: Span,
    },
    /// End a silence now.
    SilenceExpire(SilenceId),
    /// Make a token valid.
    TokenAdd {
        /// Whose it is.
        name: String,
        /// What its owner may do.
        role: Role,
        /// SHA-256 of the token, in hex.
        sha256: String,
        /// How long.
        lasts: Span,
    },
    /// Take a token back.
    TokenRevoke(String),
    /// Send one marked message to a destination.
    TryOut(String),
    /// Keep something from going out.
    HoldOn(Scope),
    /// Let it go out again.
    HoldOff(Scope),
    /// Do something with the daemon itself.
    Upkeep(Upkeep),
    /// Give up quarantined records; `None`: all there are, the oldest [`DISCARDED_MAX`] of them at a time.
    Discard(Option<Vec<u64>>),
    /// Send an address no mails any more.
    Unsubscribe {
        /// The address.
        address: String,
        /// None of this destination; `None`: none at all.
        destination: Option<String>,
        /// Somebody followed a link in a mail.
        link: bool,
    },
    /// Send it mails again.
    Subscribe {
        /// The address.
        address: String,
        /// Those of this destination; `None`: all.
        destination: Option<String>,
    },
    /// Decide an approval.
    Decide {
        /// Which.
        approval: ApprovalId,
        /// How.
        choice: Choice,
        /// Who.
        who: Decider,
    },
}

/// An alert as it was seen last.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Where its body stands.
    pub at: AlertRef,
    /// The body, with its part of the record.
    pub alert: Alert,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to cancel.
    #[error("{0} has ended; only runs that are open, failed or stalled can be cancelled")]
    Ended(RunId),
    /// It goes on by itself.
    #[error("{0} is open; cancel it first")]
    Open(RunId),
    /// It did not stop half-way, or that was too long ago.
    #[error(
        "{0} is neither failed nor stalled, or it was given up: too many runs failed since, or what it needs was dropped"
    )]
    NotHalted(RunId),
    /// Somebody sends a dead letter of it again.
    #[error("{0} has a request that is being sent again; wait for its outcome")]
    BeingSent(RunId),
    /// Retention has dropped an alert that it is about.
    #[error("what {0} was started for was dropped")]
    Dropped(RunId),
    /// The playbook was never started for that.
    #[error("{0} was never started, or retention dropped what it was started for")]
    Unknown(RunId),
    /// No alert has this id.
    #[error("there is no alert {alert}; {}", hint(*.near, *.dropped))]
    UnknownAlert {
        /// The id.
        alert: AlertId,
        /// The nearest one that there is.
        near: Option<AlertId>,
        /// The last entry that retention has dropped; 0: none.
        dropped: u64,
    },
    /// It stands there already.
    #[error("{alert} is {status} already; nothing was recorded")]
    SameStatus {
        /// The alert.
        alert: AlertId,
        /// Where it stands.
        status: Status,
    },
    /// Only what is active is acknowledged: nothing that was closed is opened by it.
    #[error("{alert} is {status} already")]
    NotActive {
        /// The alert.
        alert: AlertId,
        /// Where it stands.
        status: Status,
    },
    /// The change says nothing that could be done.
    #[error("{0}")]
    Change(#[from] BadChange),
    /// It cannot be done with silences.
    #[error("{0}")]
    Silence(#[from] silences::Refusal),
    /// It cannot be done with tokens.
    #[error("{0}")]
    Token(#[from] tokens::Refusal),
    /// It cannot be put on hold, or is not.
    #[error("{0}")]
    Hold(#[from] holds::Refusal),
    /// The address gets no mails anyway, or gets them.
    #[error("{0}")]
    Recipient(#[from] recipients::Refusal),
    /// The approval is not to be decided, or not by them.
    #[error("{0}")]
    Approval(#[from] approvals::Refusal),
    /// It is no record that no format took, or a format took it since.
    #[error("record {0} is not in quarantine")]
    NotInQuarantine(u64),
    /// There is nothing to give up.
    #[error("no record is in quarantine")]
    NoneInQuarantine,
    /// One entry names only so many.
    #[error("{0} records are more than the {DISCARDED_MAX} that one order may name")]
    TooManyDiscarded(usize),
    /// The playbook was started for it before, alone or in a group.
    #[error(
        "`{playbook}` has run for {alert} before, alone or in its group; `soard why {alert}` names the run, and \
         `soard runs restart RUN` runs it again"
    )]
    RanBefore {
        /// The alert.
        alert: AlertId,
        /// The playbook.
        playbook: String,
    },
}

fn hint(near: Option<AlertId>, dropped: u64) -> String {
    match (near, dropped) {
        (None, 0) => "there are no alerts yet".into(),
        (Some(near), 0) => format!("did you mean {near}?"),
        (None, last) => format!("closed alerts up to journal entry {last} were dropped by retention"),
        (Some(near), last) => {
            format!("did you mean {near}? Closed alerts up to journal entry {last} were dropped by retention")
        }
    }
}

/// The order that fulfils a wish at this time, given the comment that goes with it. It belongs into the next entry.
///
/// # Errors
/// [`Refusal`]
pub fn order(state: &State, rules: &Rules, at: Timestamp, wish: Wish, comment: &str) -> Result<Order, Refusal> {
    let at = at.max(state.at);
    match wish {
        Wish::Cancel(run) => {
            known(state, &run)?;
            let stands = state.runs.contains_key(&run) || state.halted.contains_key(&run);
            if stands { Ok(Order::RunCancel { run }) } else { Err(Refusal::Ended(run)) }
        }
        Wish::Retry(run) => {
            known(state, &run)?;
            if state.runs.contains_key(&run) {
                return Err(Refusal::Open(run));
            }
            let halted = state.halted.get(&run).ok_or_else(|| Refusal::NotHalted(run.clone()))?;
            if halted.run.refused.iter().any(|refused| state.flights.contains_key(&refused.key)) {
                return Err(Refusal::BeingSent(run));
            }
            Ok(Order::RunRetry { again: again(halted), run })
        }
        Wish::Restart { run, alerts, digest } => {
            known(state, &run)?;
            let same = |open: &&RunId| open.trigger == run.trigger && open.playbook == run.playbook;
            if let Some(open) = state.runs.keys().find(same) {
                return Err(Refusal::Open(open.clone()));
            }
            if alerts.iter().any(|alert| alert.seq <= state.dropped) {
                return Err(Refusal::Dropped(run));
            }
            // Earlier attempts may be forgotten, later ones are not before this one.
            let mut starts = RunId { attempt: run.attempt + 1, ..run.clone() };
            while state.has_run(&starts) {
                starts.attempt += 1;
            }
            Ok(Order::RunRestart { run, starts, alerts, bundle: state.bundle.clone(), digest })
        }
        Wish::Change { alert, change, latest } => triage::change(state, rules, (alert, latest), change, comment),
        Wish::SilenceAdd { terms, lasts } => Ok(Order::Silence(state.silences.add(at, terms, lasts, comment)?)),
        Wish::SilenceUpdate { id, lasts } => Ok(Order::Silence(state.silences.update(at, id, lasts)?)),
        Wish::SilenceExpire(id) => Ok(Order::Silence(state.silences.expire(at, id)?)),
        Wish::TokenAdd { name, role, sha256, lasts } => {
            Ok(Order::Token(state.tokens.add(at, name, role, sha256, lasts)?))
        }
        Wish::TokenRevoke(name) => Ok(Order::Token(state.tokens.revoke(name)?)),
        Wish::TryOut(destination) => Ok(Order::DestinationTest { destination }),
        Wish::Upkeep(upkeep) => match upkeep {
            Upkeep::QuarantineRetry { record_no } if !state.quarantine.contains_key(&record_no) => {
                Err(Refusal::NotInQuarantine(record_no))
            }
            upkeep => Ok(Order::Upkeep(upkeep)),
        },
        Wish::Discard(records) => discard(state, records),
        Wish::HoldOn(scope) => Ok(Order::Hold(state.holds.on(scope)?)),
        Wish::HoldOff(scope) => Ok(Order::Hold(state.holds.off(scope)?)),
        Wish::Unsubscribe { address, destination, link } => {
            Ok(Order::Recipient(state.recipients.unsubscribe(&address, destination, link)?))
        }
        Wish::Subscribe { address, destination } => {
            Ok(Order::Recipient(state.recipients.subscribe(&address, destination)?))
        }
        Wish::Decide { approval, choice, who } => Ok(Order::Approval(state.approvals.decide(approval, choice, &who)?)),
        Wish::Acknowledge { alert, latest } => triage::acknowledge(state, rules, (alert, latest), comment),
        Wish::Start { alert, playbook } => triage::start(state, alert, playbook),
    }
}

/// All of them or none.
fn discard(state: &State, records: Option<Vec<u64>>) -> Result<Order, Refusal> {
    let mut records = records.unwrap_or_else(|| state.quarantine.keys().copied().take(DISCARDED_MAX).collect());
    records.sort_unstable();
    records.dedup();
    match records.iter().find(|record| !state.quarantine.contains_key(record)) {
        Some(stranger) => Err(Refusal::NotInQuarantine(*stranger)),
        None if records.is_empty() => Err(Refusal::NoneInQuarantine),
        None if records.len() > DISCARDED_MAX => Err(Refusal::TooManyDiscarded(records.len())),
        None => Ok(Order::QuarantineDiscard { records }),
    }
}

fn known(state: &State, run: &RunId) -> Result<(), Refusal> {
    if state.has_run(run) { Ok(()) } else { Err(Refusal::Unknown(run.clone())) }
}

/// The steps to send again: the script has seen that they failed and asked for nothing since.
fn again(halted: &Halted) -> Vec<u32> {
    halted.run.refused.iter().map(|refused| refused.flight.step).collect()
}
