//! What operators do about many alerts at once: each alert gets an order and an entry of its own.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::daemon::api::{Answer, COMMAND_WAIT_MAX, COMMENT_CHARS_MAX, Command, Peer, Shared, Shares, said_why};
use crate::daemon::core::Ordered;
use crate::daemon::failure::Failure;
use crate::daemon::query::Lines;
use crate::daemon::report::{NotOrdered, OrderReport, OrdersReport};
use crate::domain::decision::AlertRef;
use crate::domain::entry::Facts;
use crate::domain::id::AlertId;
use crate::domain::triage::AlertChange;
use crate::engine::orders::Wish;

/// Alerts of one request.
pub const ALERTS_MAX: usize = 1_000;

/// What is asked for many alerts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Which.
    pub alerts: Vec<AlertId>,
    /// What.
    pub want: Want,
    /// Why; may be empty where the change speaks for itself.
    #[serde(default)]
    pub comment: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an operator wants for each of the alerts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Change it.
    Change(AlertChange),
    /// Start this playbook for it.
    Run(String),
}

/// A JSON body, with our errors.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await?;
        let bad = |error| Failure::new(StatusCode::BAD_REQUEST, format!("the body is not what is asked for: {error}"));
        serde_json::from_slice(&body).map(Self).map_err(bad)
    }
}

/// Gives each alert its order; those that cannot be carried out are told one by one, and the others are.
pub(super) async fn alert_orders(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(shared): Shares,
    Sent(mut ask): Sent<Ask>,
) -> Answer<OrdersReport> {
    ask.comment = checked(&ask)?;
    let actor = peer.name();
    let all = give(&shared, &actor, ask);
    let late = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is too busy; some alerts may be done");
    Ok(Json(tokio::time::timeout(COMMAND_WAIT_MAX, all).await.map_err(late)??))
}

/// The comment, if the request is one that can be carried out for some alert.
fn checked(ask: &Ask) -> Result<String, Failure> {
    let bad = |why: String| Failure::new(StatusCode::BAD_REQUEST, why);
    if !(1..=ALERTS_MAX).contains(&ask.alerts.len()) {
        return Err(bad(format!("a request is for 1 to {ALERTS_MAX} alerts")));
    }
    match &ask.want {
        Want::Run(_) => said_why(ask.comment.clone()),
        Want::Change(change) => {
            let comment = ask.comment.trim();
            change.check(comment).map_err(|error| bad(error.to_string()))?;
            if comment.chars().count() > COMMENT_CHARS_MAX {
                return Err(bad(format!("a comment has at most {COMMENT_CHARS_MAX} characters")));
            }
            Ok(comment.to_owned())
        }
    }
}

async fn give(shared: &Shared, actor: &str, ask: Ask) -> Result<OrdersReport, Failure> {
    let gone = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let mut report = OrdersReport::default();
    let mut waiting: Vec<(AlertId, oneshot::Receiver<Result<OrderReport, String>>)> = Vec::new();
    for alert in ask.alerts.iter().copied().collect::<BTreeSet<AlertId>>() {
        let wish = match &ask.want {
            Want::Change(change) => Wish::Change { alert, change: change.clone(), latest: None },
            Want::Run(playbook) => Wish::Start { alert: body(shared, alert).await?, playbook: playbook.clone() },
        };
        let (done, answer) = oneshot::channel();
        let (actor, comment, dry_run) = (actor.to_owned(), ask.comment.clone(), ask.dry_run);
        let ordered = Ordered { actor, comment, wish, dry_run, done };
        shared.api.commands.send(Command::Order(Box::new(ordered))).await.map_err(|_| gone())?;
        waiting.push((alert, answer));
    }
    for (alert, answer) in waiting {
        match answer.await {
            Ok(Ok(done)) => report.done.push(done),
            Ok(Err(why)) => report.refused.push(NotOrdered { alert, why }),
            Err(_) => report.refused.push(NotOrdered { alert, why: "the daemon is stopping".into() }),
        }
    }
    Ok(report)
}

/// Where the alert's latest body stands; nowhere when it is unknown, which the core then says.
async fn body(shared: &Shared, alert: AlertId) -> Result<AlertRef, Failure> {
    let nowhere = AlertRef { id: alert, seq: 0, at: 0 };
    let Some(seq) = shared.command(|done| Command::Body(alert, done)).await? else { return Ok(nowhere) };
    let index = move |lines: Lines<'_>| {
        let Some(line) = lines.next() else { return Ok(None) };
        let Facts::Intake(intake) = line?.entry()?.facts else { return Ok(None) };
        Ok((0..).zip(&intake.alerts).filter(|(_, taken)| taken.id == alert).map(|(at, _)| at).last())
    };
    let at: Option<u32> = shared.scan(seq, index).await?;
    at.map(|at| AlertRef { id: alert, seq, at }).ok_or_else(|| Failure::not_found(format!("body of alert {alert}")))
}
