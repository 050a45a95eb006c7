//! What the daemon offers to those who ask: its journal, its index, and commands to its main loop.
//!
//! How it is asked, over HTTP, is not the daemon's: whoever starts it gives it a [`Console`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use tokio::sync::{mpsc, oneshot, watch};

use crate::actions::settings::Settings;
use crate::daemon::auth::Gate;
use crate::daemon::bundle::Bundle;
use crate::daemon::links::Links;
use crate::daemon::order::Ordered;
use crate::daemon::recipients::RecipientReport;
use crate::daemon::report::{
    DestinationReport, ExportReport, HoldsReport, KeyReport, ReloadReport, ResendReport, RetryReport, Status,
    TrialReport,
};
use crate::daemon::resend::Resend;
use crate::daemon::samples::SamplesReport;
use crate::domain::approval::Approval;
use crate::domain::id::AlertId;
use crate::domain::operator::Who;
use crate::domain::silence::Silence;
use crate::domain::token::Token;
use crate::engine::triage::Active;
use crate::index::follow::Index;
use crate::journal::reader::Reader;

/// What can be asked.
pub struct Api {
    /// Reads the journal.
    pub reader: Reader,
    /// Lists alerts.
    pub index: Index,
    /// Commands to the daemon's main loop.
    pub commands: mpsc::Sender<Command>,
    /// Knows the tokens.
    pub gate: Arc<Gate>,
    /// Knows the links of mails that ask people.
    pub links: Arc<Links>,
    /// Turns true when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

/// Makes what is served over HTTP of what the daemon offers.
pub type Console = fn(Api) -> Doors;

/// What is served over HTTP, by where.
pub struct Doors {
    /// On the control socket; each request holds its [`Peer`](crate::daemon::socket::Peer) as connection information.
    pub socket: Router,
    /// On the server, beside its sources.
    pub server: Router,
}

/// What decides and sends today.
#[derive(Clone)]
pub struct Today {
    /// The bundle in charge.
    pub bundle: Arc<Bundle>,
    /// The destinations.
    pub destinations: Arc<Settings>,
}

/// What only the daemon's main loop can answer.
pub enum Command {
    /// How do things stand?
    Status(oneshot::Sender<Status>),
    /// Load the bundle anew.
    Reload(oneshot::Sender<ReloadReport>),
    /// Sign the journal with a new key.
    RotateKey(oneshot::Sender<Result<KeyReport, String>>),
    /// Do something with a run or an alert.
    Order(Box<Ordered>),
    /// Tell the silences that hold and those that ended last.
    Silences(oneshot::Sender<Vec<Silence>>),
    /// Tell the tokens, revoked ones included.
    Tokens(oneshot::Sender<Vec<Token>>),
    /// Tell the approvals that are open and those that were closed last.
    Approvals(oneshot::Sender<Vec<Approval>>),
    /// Tell who gets mails.
    Recipients(oneshot::Sender<Vec<RecipientReport>>),
    /// Tell what is on hold.
    Holds(oneshot::Sender<HoldsReport>),
    /// Tell the bundle in charge and the destinations.
    Today(oneshot::Sender<Today>),
    /// Tell the sequence number of the entry that holds an alert's latest body.
    Body(AlertId, oneshot::Sender<Option<u64>>),
    /// Tell which of these alerts are active, so many at most.
    Active(Vec<AlertId>, usize, oneshot::Sender<Active>),
    /// Tell how each destination stands, and how it is set up.
    Destinations(oneshot::Sender<Vec<(DestinationReport, BTreeMap<String, String>)>>),
    /// Send one marked message to a destination.
    TryOut {
        /// Which.
        name: String,
        /// Who wants it.
        who: Who,
        /// Why; may be empty.
        comment: String,
        /// What the peer said; `None`: there is no such destination.
        done: oneshot::Sender<Result<Option<TrialReport>, String>>,
    },
    /// Tell how each export stands, and how it is set up.
    Exports(oneshot::Sender<Vec<(ExportReport, BTreeMap<String, String>)>>),
    /// Send one marked record to an export's peer.
    TryOutExport {
        /// Which.
        name: String,
        /// Sequence number of the entry that ordered it.
        seq: u64,
        /// What the peer said; `None`: there is no such export.
        done: oneshot::Sender<Result<Option<TrialReport>, String>>,
    },
    /// Send dead letters again.
    Resend {
        /// Which, on whose word and why.
        ask: Resend,
        /// What came of it.
        done: oneshot::Sender<ResendReport>,
    },
    /// Send sample alerts through every stage.
    Samples {
        /// Of these formats; none means of all.
        formats: Vec<String>,
        /// Who sends them.
        actor: String,
        /// What came of it.
        done: oneshot::Sender<SamplesReport>,
    },
    /// Send a quarantined record through again.
    Retry {
        /// Ordinal of the record.
        record_no: u64,
        /// What came of it; an error says why the record stays in quarantine.
        done: oneshot::Sender<Result<RetryReport, String>>,
    },
}
