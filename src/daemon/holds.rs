//! Holds over the control socket.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use serde::{Deserialize, Serialize};

use crate::daemon::api::{Answer, Command, Peer, Shares, order, said_why};
use crate::daemon::report::{HoldsReport, OrderReport};
use crate::daemon::triage::Sent;
use crate::domain::hold::HoldOrder;
use crate::engine::orders::Wish;

/// A change of what is on hold.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What.
    pub hold: HoldOrder,
    /// Why.
    pub comment: String,
}

pub(super) async fn list(State(shared): Shares) -> Answer<HoldsReport> {
    shared.command(Command::Holds).await.map(Json)
}

pub(super) async fn change(peer: ConnectInfo<Peer>, shares: Shares, Sent(ask): Sent<Change>) -> Answer<OrderReport> {
    let wish = match ask.hold {
        HoldOrder::On(scope) => Wish::HoldOn(scope),
        HoldOrder::Off(scope) => Wish::HoldOff(scope),
    };
    order(peer, shares, said_why(ask.comment)?, wish).await
}
