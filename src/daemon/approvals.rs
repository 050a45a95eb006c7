//! Approvals over the control socket.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use serde::{Deserialize, Serialize};

use crate::daemon::api::{Answer, Command, Named, Peer, Shares, order, said_why};
use crate::daemon::report::OrderReport;
use crate::daemon::triage::Sent;
use crate::domain::approval::{Approval, Choice, Decider};
use crate::domain::id::ApprovalId;
use crate::domain::operator;
use crate::domain::token::Role;
use crate::engine::orders::Wish;

/// A decision.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// How.
    pub choice: Choice,
    /// Why.
    pub comment: String,
}

pub(super) async fn list(State(shared): Shares) -> Answer<Vec<Approval>> {
    shared.command(Command::Approvals).await.map(Json)
}

pub(super) async fn decide(
    ConnectInfo(peer): ConnectInfo<Peer>,
    shares: Shares,
    Named(approval): Named<ApprovalId>,
    Sent(Decision { choice, comment }): Sent<Decision>,
) -> Answer<OrderReport> {
    let who = Decider::Person { name: operator::name(&peer.name()).to_owned(), role: Role::Admin };
    order(ConnectInfo(peer), shares, said_why(comment)?, Wish::Decide { approval, choice, who }).await
}
