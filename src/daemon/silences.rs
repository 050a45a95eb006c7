//! Silences over the control socket.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::daemon::api::{Answer, COMMENT_CHARS_MAX, Command, Named, Peer, Shares, order, said_why};
use crate::daemon::failure::Failure;
use crate::daemon::report::OrderReport;
use crate::daemon::triage::Sent;
use crate::domain::id::SilenceId;
use crate::domain::silence::{Silence, Term};
use crate::domain::time::Span;
use crate::engine::orders::Wish;

/// A silence to make.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// What an alert must have, all of it.
    #[serde(rename = "match")]
    pub terms: Vec<Term>,
    /// How long.
    pub lasts: Span,
    /// Why.
    pub comment: String,
}

/// Another end for a silence.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskUpdate {
    /// How long from now.
    pub lasts: Span,
    /// Why; may be empty.
    #[serde(default)]
    pub comment: String,
}

/// The end of a silence.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskEnd {
    /// Why; may be empty.
    #[serde(default)]
    pub comment: String,
}

pub(super) async fn list(State(shared): Shares) -> Answer<Vec<Silence>> {
    shared.command(Command::Silences).await.map(Json)
}

pub(super) async fn add(peer: ConnectInfo<Peer>, shares: Shares, Sent(ask): Sent<Ask>) -> Answer<OrderReport> {
    let comment = said_why(ask.comment)?;
    order(peer, shares, comment, Wish::SilenceAdd { terms: ask.terms, lasts: ask.lasts }).await
}

pub(super) async fn update(
    peer: ConnectInfo<Peer>,
    shares: Shares,
    Named(id): Named<SilenceId>,
    Sent(ask): Sent<AskUpdate>,
) -> Answer<OrderReport> {
    let comment = short(ask.comment)?;
    order(peer, shares, comment, Wish::SilenceUpdate { id, lasts: ask.lasts }).await
}

pub(super) async fn expire(
    peer: ConnectInfo<Peer>,
    shares: Shares,
    Named(id): Named<SilenceId>,
    Sent(ask): Sent<AskEnd>,
) -> Answer<OrderReport> {
    let comment = short(ask.comment)?;
    order(peer, shares, comment, Wish::SilenceExpire(id)).await
}

/// A comment that may be empty.
pub(super) fn short(comment: String) -> Result<String, Failure> {
    if comment.chars().count() > COMMENT_CHARS_MAX {
        let why = format!("a comment has at most {COMMENT_CHARS_MAX} characters");
        return Err(Failure::new(StatusCode::BAD_REQUEST, why));
    }
    Ok(comment.trim().to_owned())
}
