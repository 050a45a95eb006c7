//! Everything the core can be told.

use serde_json::Value;

use crate::domain::alert::Alert;
use crate::domain::brakes::Brakes;
use crate::domain::effect::{Effect, EffectKey, Mode, Reply};
use crate::domain::entry::{BundleFacts, End, Log};
use crate::domain::id::RunId;
use crate::domain::mail::Recipient;
use crate::domain::operator::Operator;
use crate::domain::record::Record;
use crate::domain::time::Span;
use crate::rules::matcher::Matches;

/// One input; it gives at most one entry.
#[derive(Debug)]
pub enum Input {
    /// The journal was opened, recovered or is about to be closed.
    Log(Log),
    /// A bundle takes over.
    Bundle(BundleFacts),
    /// A record that a format turned into alerts.
    Intake(Box<Arrival>),
    /// A record that no format took, or that failed.
    Refused {
        /// The record.
        record: Record,
        /// Why.
        cause: String,
    },
    /// The earliest timer is due.
    Due,
    /// An evaluation ended.
    Asked(Asked),
    /// An attempt at an `at_most_once` effect is about to start.
    Begin {
        /// Which effect.
        key: EffectKey,
    },
    /// An attempt failed and another shall follow.
    Failed {
        /// Which effect.
        key: EffectKey,
        /// What went wrong.
        error: String,
        /// HTTP status or SMTP reply code.
        status: Option<u16>,
        /// How long until the next attempt is due.
        wait: Span,
        /// It may have arrived all the same.
        ambiguous: bool,
        /// What the next attempt has to know.
        progress: Option<Value>,
    },
    /// An operator orders something; for runs only what [`orders::order`](crate::engine::orders::order) has allowed.
    Operator(Box<Operator>),
    /// An effect has its outcome.
    Done {
        /// Which effect.
        key: EffectKey,
        /// The outcome.
        reply: Reply,
    },
}

/// A record with what the stateless stages made of it.
#[derive(Debug)]
pub struct Arrival {
    /// The record.
    pub record: Record,
    /// Name of the format that took it.
    pub format: String,
    /// Id of the bundle that normalised and matched.
    pub bundle: String,
    /// Its alerts, in order.
    pub alerts: Vec<Candidate>,
}

/// An alert that waits for its decision.
#[derive(Debug)]
pub struct Candidate {
    /// The alert.
    pub alert: Alert,
    /// JSON pointer of its part within the record.
    pub part: String,
    /// How long its fingerprint folds repeats; `None` for alerts with an external id.
    pub window: Option<Span>,
    /// The rules whose `match` holds.
    pub matches: Matches,
}

/// What one evaluation of a run came to.
#[derive(Debug)]
pub struct Asked {
    /// Which run.
    pub run: RunId,
    /// How many steps were on record when it was evaluated; another number makes this input stale.
    pub known_steps: u32,
    /// The steps that it added.
    pub steps: Vec<NewStep>,
    /// How the run ended; `None` while it waits.
    pub end: Option<End>,
}

/// A step that an evaluation added.
#[derive(Debug)]
pub struct NewStep {
    /// What is asked for.
    pub effect: Effect,
    /// SHA-256 of kind and arguments, in hex.
    pub args_sha256: String,
    /// The destination's delivery mode, for effects that leave the daemon.
    pub mode: Option<Mode>,
    /// The destination's brakes, where it has any; not for mails that tell of a question.
    pub brakes: Option<Brakes>,
    /// Whom a mail is for, and what they want; nobody, when it is none.
    pub recipients: Vec<Recipient>,
    /// The outcome of a step that soard answers itself.
    pub value: Option<Value>,
}
