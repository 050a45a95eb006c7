//! Tokens over the control socket. A token is made here, told once, and kept by its hash alone.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::daemon::api::{Answer, Command, Named, Peer, Shares, order};
use crate::daemon::failure::Failure;
use crate::daemon::report::OrderReport;
use crate::daemon::silences::{AskEnd, short};
use crate::daemon::triage::Sent;
use crate::domain::time::Span;
use crate::domain::token::{Role, Token};
use crate::engine::orders::Wish;

/// What tokens begin with, so that scanners for leaked secrets know them.
const BEGINNING: &str = "soard_";

/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;

/// A token to make.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Whose it is.
    pub name: String,
    /// What its owner may do.
    pub role: Role,
    /// How long.
    pub lasts: Span,
    /// What for; may be empty.
    #[serde(default)]
    pub comment: String,
}

/// A token that was made, with the only copy of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Made {
    /// The token.
    pub token: String,
    /// Its order.
    #[serde(flatten)]
    pub report: OrderReport,
}

pub(super) async fn list(State(shared): Shares) -> Answer<Vec<Token>> {
    shared.command(Command::Tokens).await.map(Json)
}

pub(super) async fn add(peer: ConnectInfo<Peer>, shares: Shares, Sent(ask): Sent<Ask>) -> Answer<Made> {
    let Ask { name, role, lasts, comment } = ask;
    let token = random()?;
    let sha256 = HEXLOWER.encode(&Sha256::digest(&token));
    let Json(report) = order(peer, shares, short(comment)?, Wish::TokenAdd { name, role, sha256, lasts }).await?;
    Ok(Json(Made { token, report }))
}

fn random() -> Result<String, Failure> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    let none = |error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no random numbers: {error}"));
    getrandom::fill(&mut bytes).map_err(none)?;
    Ok(format!("{BEGINNING}{}", BASE64URL_NOPAD.encode(&bytes)))
}

pub(super) async fn revoke(
    peer: ConnectInfo<Peer>,
    shares: Shares,
    Named(name): Named<String>,
    Sent(ask): Sent<AskEnd>,
) -> Answer<OrderReport> {
    order(peer, shares, short(ask.comment)?, Wish::TokenRevoke(name)).await
}
