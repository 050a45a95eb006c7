//! The control socket: HTTP over a Unix socket, for `soard`'s own commands.
//!
//! Only the daemon's own user and root may speak to it; the kernel says who the peer is. Views are folds over the
//! journal and run on threads that may block, a few at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::daemon::core::Ordered;
use crate::daemon::failure::Failure;
use crate::daemon::listing::Indexed;
use crate::daemon::query::alert::{self, AlertView};
use crate::daemon::query::deliveries::{self, DeliveryFilter, DeliveryState};
use crate::daemon::query::log::{self, LogFilter, LogPage};
use crate::daemon::query::quarantine::{self, QuarantineFilter};
use crate::daemon::query::run::{self, RunView};
use crate::daemon::query::runs::{self, RunFilter};
use crate::daemon::query::start;
use crate::daemon::query::why::{Subject, Why, why};
use crate::daemon::query::{Lines, QueryError, lines};
use crate::daemon::report::{KeyReport, OrderReport, ReloadReport, ResendReport, RetryReport, Status};
use crate::daemon::resend::{Resend, Which};
use crate::daemon::samples::{Ask, SamplesReport};
use crate::daemon::suppressions::SuppressionsReport;
use crate::daemon::triage::Sent;
use crate::daemon::{actor, clock, listing, silences, suppressions, tokens, triage};
use crate::domain::effect::EffectKey;
use crate::domain::id::{AlertId, RunId};
use crate::domain::silence::Silence;
use crate::domain::token::Token;
use crate::engine::orders::Wish;
use crate::index::follow::Index;
use crate::journal::reader::Reader;

/// How many queries read the journal at once; further ones wait.
pub const SCANS_MAX: usize = 4;

/// How long a command waits for the daemon's answer.
pub(super) const COMMAND_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long `/v1/log?follow` waits for a line before it answers with none.
const FOLLOW_WAIT_MAX: Duration = Duration::from_secs(20);

/// How often it looks.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// How long open requests may go on once the daemon stops.
const STOP_WAIT_MAX: Duration = Duration::from_secs(3);

/// What the control socket needs of the daemon.
pub struct Api {
    /// Reads the journal.
    pub reader: Reader,
    /// Lists alerts.
    pub index: Index,
    /// Commands to the daemon's main loop.
    pub commands: mpsc::Sender<Command>,
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
    /// Tell the sequence number of the entry that holds an alert's latest body.
    Body(AlertId, oneshot::Sender<Option<u64>>),
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

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What is wrong.
    pub error: String,
}

/// Serves the control socket until `stop` turns true.
pub async fn serve(listener: UnixListener, api: Api, stop: watch::Receiver<bool>) {
    let own = match own_uid() {
        Ok(own) => own,
        Err(error) => {
            tracing::error!(%error, "cannot tell the daemon's own user: the control socket stays closed");
            return;
        }
    };
    let shared = Arc::new(Shared { api, scans: Arc::new(Semaphore::new(SCANS_MAX)), stop: stop.clone() });
    let service = router(shared, own).into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopped(stop.clone()));
    tokio::select! {
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "the control socket failed");
        },
        () = async { stopped(stop).await; tokio::time::sleep(STOP_WAIT_MAX).await } => {}
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone means the same as one that says stop.
    let _ = stop.wait_for(|stop| *stop).await;
}

pub(super) struct Shared {
    pub(super) api: Api,
    scans: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

pub(super) type Shares = State<Arc<Shared>>;

fn router(shared: Arc<Shared>, own: u32) -> Router {
    let listing = listing::routes(shared.api.index.clone(), shared.api.reader.clone());
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/alerts/{id}", get(alert_show))
        .route("/v1/why/{*id}", get(why_show))
        .route("/v1/alerts/orders", post(triage::alert_orders))
        .route("/v1/silences", get(silences::list).post(silences::add))
        .route("/v1/silences/{id}/update", post(silences::update))
        .route("/v1/silences/{id}/expire", post(silences::expire))
        .route("/v1/reports/suppressions", get(suppressions_report))
        .route("/v1/tokens", get(tokens::list).post(tokens::add))
        .route("/v1/tokens/{name}/revoke", post(tokens::revoke))
        .route("/v1/runs", get(run_list))
        .route("/v1/run", get(run_show))
        .route("/v1/run/cancel", post(run_cancel))
        .route("/v1/run/retry", post(run_retry))
        .route("/v1/run/restart", post(run_restart))
        .route("/v1/deliveries", get(delivery_list))
        .route("/v1/deliveries/{key}", get(delivery_show))
        .route("/v1/deliveries/{key}/retry", post(delivery_retry))
        .route("/v1/destinations/{name}/retry", post(destination_retry))
        .route("/v1/samples", post(samples_send))
        .route("/v1/quarantine", get(quarantine_list))
        .route("/v1/quarantine/{record_no}", get(quarantine_show))
        .route("/v1/quarantine/{record_no}/retry", post(quarantine_retry))
        .route("/v1/log", get(log_page))
        .route("/v1/log/key/rotate", post(key_rotate))
        .with_state(shared)
        .merge(listing)
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, "there is no such page on the control socket"))
        .layer(middleware::from_fn(move |ConnectInfo(peer): ConnectInfo<Peer>, request, next| {
            only_owner(own, peer, request, next)
        }))
}

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    uid: Option<u32>,
}

impl Peer {
    pub(super) fn name(self) -> String {
        self.uid.map_or_else(|| "unknown".to_owned(), actor::name)
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|peer| peer.uid()) }
    }
}

/// The daemon's own user, by asking the kernel about a socket of which both ends are ours.
fn own_uid() -> io::Result<u32> {
    Ok(UnixStream::pair()?.0.peer_cred()?.uid())
}

async fn only_owner(own: u32, peer: Peer, request: Request, next: Next) -> Response {
    if may_speak(own, peer.uid) {
        return next.run(request).await;
    }
    let who = "only the daemon's own user and root may use the control socket";
    Failure::new(StatusCode::FORBIDDEN, who).into_response()
}

fn may_speak(own: u32, peer: Option<u32>) -> bool {
    peer.is_some_and(|uid| uid == own || uid == 0)
}

/// Query parameters, with our errors.
struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Query(asked) = Query::from_request_parts(parts, state).await?;
        Ok(Self(asked))
    }
}

/// What the path names, with our errors.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(named) = Path::from_request_parts(parts, state).await?;
        Ok(Self(named))
    }
}

pub(super) type Answer<T> = Result<Json<T>, Failure>;

async fn status(State(shared): Shares) -> Answer<Status> {
    let mut status = shared.command(Command::Status).await?;
    status.index = Some(listing::report(&shared.api.index));
    Ok(Json(status))
}

async fn reload(State(shared): Shares) -> Answer<ReloadReport> {
    shared.command(Command::Reload).await.map(Json)
}

async fn alert_show(State(shared): Shares, Named(id): Named<AlertId>) -> Answer<AlertView> {
    let view = shared.scan(1, move |lines| alert::show(lines, id)).await?;
    view.map(Json).ok_or_else(|| Failure::not_found(format!("alert {id}")))
}

async fn why_show(State(shared): Shares, Named(id): Named<String>) -> Answer<Why> {
    let subject: Subject = id.parse().map_err(|bad| Failure::new(StatusCode::BAD_REQUEST, format!("{bad}")))?;
    let answer = shared.scan(1, move |lines| why(lines, &subject)).await?;
    answer.map(Json).ok_or_else(|| Failure::not_found(id))
}

async fn suppressions_report(State(shared): Shares) -> Answer<Indexed<SuppressionsReport>> {
    let status = shared.command(Command::Status).await?;
    let mut silences = shared.command(Command::Silences).await?;
    let asked = clock::now();
    silences.retain(|silence| silence.until > asked);
    let report = move |conn: &rusqlite::Connection, now| {
        let report = suppressions::report(conn, std::path::Path::new(&status.state_dir), Some(&status.bundle.id), now)?;
        Ok(SuppressionsReport { silences: Some(silences), ..report })
    };
    listing::ask(&shared.api.index, &shared.api.reader, report).await
}

async fn run_list(State(shared): Shares, Asked(filter): Asked<RunFilter>) -> Answer<runs::RunList> {
    shared.scan(1, move |lines| runs::list(lines, &filter)).await.map(Json)
}

#[derive(Deserialize)]
struct OneRun {
    id: RunId,
}

async fn run_show(State(shared): Shares, Asked(OneRun { id }): Asked<OneRun>) -> Answer<RunView> {
    let wanted = id.clone();
    let view = shared.scan(1, move |lines| run::show(lines, &wanted)).await?;
    view.map(Json).ok_or_else(|| Failure::not_found(format!("run {id}")))
}

/// What an operator orders for a run, and why.
#[derive(Debug, Deserialize)]
struct RunOrder {
    id: RunId,
    comment: String,
}

/// Characters of a comment.
pub(super) const COMMENT_CHARS_MAX: usize = 1_000;

async fn run_cancel(peer: ConnectInfo<Peer>, shares: Shares, Asked(asked): Asked<RunOrder>) -> Answer<OrderReport> {
    let wish = Wish::Cancel(asked.id);
    order(peer, shares, said_why(asked.comment)?, wish).await
}

async fn run_retry(peer: ConnectInfo<Peer>, shares: Shares, Asked(asked): Asked<RunOrder>) -> Answer<OrderReport> {
    let wish = Wish::Retry(asked.id);
    order(peer, shares, said_why(asked.comment)?, wish).await
}

async fn run_restart(peer: ConnectInfo<Peer>, shares: Shares, Asked(asked): Asked<RunOrder>) -> Answer<OrderReport> {
    let run = asked.id.clone();
    let alerts = shares.0.scan(1, move |lines| start::started_for(lines, &run)).await?;
    let alerts = alerts.ok_or_else(|| Failure::not_found(format!("run {}", asked.id)))?;
    let wish = Wish::Restart { run: asked.id, alerts };
    order(peer, shares, said_why(asked.comment)?, wish).await
}

/// The comment, if it says something.
pub(super) fn said_why(comment: String) -> Result<String, Failure> {
    if comment.trim().is_empty() || comment.chars().count() > COMMENT_CHARS_MAX {
        let why = format!("a comment of 1 to {COMMENT_CHARS_MAX} characters must say why");
        return Err(Failure::new(StatusCode::BAD_REQUEST, why));
    }
    Ok(comment)
}

pub(super) async fn order(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(shared): Shares,
    comment: String,
    wish: Wish,
) -> Answer<OrderReport> {
    let (actor, dry_run) = (peer.name(), false);
    let report =
        shared.command(|done| Command::Order(Box::new(Ordered { actor, comment, wish, dry_run, done }))).await?;
    report.map(Json).map_err(|why| Failure::new(StatusCode::CONFLICT, why))
}

async fn delivery_list(
    State(shared): Shares,
    Asked(filter): Asked<DeliveryFilter>,
) -> Answer<deliveries::DeliveryList> {
    shared.scan(1, move |lines| deliveries::list(lines, &filter)).await.map(Json)
}

async fn delivery_show(State(shared): Shares, Named(key): Named<EffectKey>) -> Answer<deliveries::DeliveryView> {
    let wanted = key.clone();
    let view = shared.scan(1, move |lines| deliveries::show(lines, &wanted)).await?;
    view.map(Json).ok_or_else(|| Failure::not_found(format!("delivery {key}")))
}

/// Why an operator orders something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Comment {
    comment: String,
}

async fn delivery_retry(
    State(shared): Shares,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Named(key): Named<EffectKey>,
    Asked(Comment { comment }): Asked<Comment>,
) -> Answer<ResendReport> {
    let ask = Resend { which: Which::Key(key), actor: peer.name(), comment: said_why(comment)? };
    shared.command(|done| Command::Resend { ask, done }).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bulk {
    outcome: DeliveryState,
    comment: String,
}

async fn destination_retry(
    State(shared): Shares,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Named(name): Named<String>,
    Asked(Bulk { outcome, comment }): Asked<Bulk>,
) -> Answer<ResendReport> {
    let ask = Resend {
        which: Which::Destination(name, outcome.dead_letters()),
        actor: peer.name(),
        comment: said_why(comment)?,
    };
    shared.command(|done| Command::Resend { ask, done }).await.map(Json)
}

async fn samples_send(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(shared): Shares,
    Sent(Ask { formats }): Sent<Ask>,
) -> Answer<SamplesReport> {
    let actor = peer.name();
    shared.command(|done| Command::Samples { formats, actor, done }).await.map(Json)
}

async fn quarantine_list(
    State(shared): Shares,
    Asked(filter): Asked<QuarantineFilter>,
) -> Answer<quarantine::QuarantineList> {
    shared.scan(1, move |lines| quarantine::list(lines, &filter)).await.map(Json)
}

async fn quarantine_show(State(shared): Shares, Named(record_no): Named<u64>) -> Answer<quarantine::QuarantineView> {
    let view = shared.scan(1, move |lines| quarantine::show(lines, record_no)).await?;
    view.map(Json).ok_or_else(|| Failure::not_found(format!("quarantined record {record_no}")))
}

async fn quarantine_retry(State(shared): Shares, Named(record_no): Named<u64>) -> Answer<RetryReport> {
    let report = shared.command(|done| Command::Retry { record_no, done }).await?;
    report.map(Json).map_err(|why| Failure::new(StatusCode::CONFLICT, why))
}

async fn key_rotate(State(shared): Shares) -> Answer<KeyReport> {
    let report = shared.command(Command::RotateKey).await?;
    report.map(Json).map_err(|why| Failure::new(StatusCode::CONFLICT, why))
}

async fn log_page(State(shared): Shares, Asked(filter): Asked<LogFilter>) -> Answer<LogPage> {
    let deadline = Instant::now() + FOLLOW_WAIT_MAX;
    let mut filter = filter;
    loop {
        let page = shared.log(filter.clone()).await?;
        if !filter.follow || !page.lines.is_empty() || Instant::now() >= deadline {
            return Ok(Json(page));
        }
        filter.from = Some(page.next);
        if shared.grown(page.next, deadline).await {
            continue;
        }
        return Ok(Json(page));
    }
}

impl Shared {
    /// Asks the main loop.
    pub(super) async fn command<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Failure> {
        let busy = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is too busy to answer");
        let gone = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
        let (done, answer) = oneshot::channel();
        let ask = async {
            self.api.commands.send(ask(done)).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())
        };
        tokio::time::timeout(COMMAND_WAIT_MAX, ask).await.map_err(|_| busy())?
    }

    /// Reads the journal once, from this sequence number on, on a thread that may block.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        from: u64,
        query: impl FnOnce(Lines<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = Arc::clone(&self.scans).acquire_owned().await.expect("the semaphore is never closed");
        let (reader, stop) = (self.api.reader.clone(), self.stop.clone());
        let scan = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let unless_stopped = move |line| if *stop.borrow() { Err(QueryError::Stopping) } else { line };
            query(&mut lines(&reader, from).map(unless_stopped))
        });
        let died = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the query died; the daemon's log says why");
        Ok(scan.await.map_err(died)??)
    }

    async fn log(&self, filter: LogFilter) -> Result<LogPage, Failure> {
        self.scan(filter.start(self.api.reader.head().seq), move |lines| log::page(lines, &filter)).await
    }

    /// Waits until the journal has reached this entry; false when the time is up or the daemon stops.
    async fn grown(&self, seq: u64, deadline: Instant) -> bool {
        let mut stop = self.stop.clone();
        while self.api.reader.head().seq < seq {
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return false,
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;
    use crate::daemon::query::story;
    use crate::index::follow::Follower;
    use crate::index::place::Place;

    async fn status_for(uid: Option<u32>, own: u32, path: &str) -> StatusCode {
        let dir = tempfile::tempdir().unwrap();
        let journal = story::journal(dir.path());
        let follower = Follower::start(Place::of(dir.path()), journal.reader(), || {});
        let api = Api { reader: journal.reader(), index: follower.index(), commands: mpsc::channel(1).0 };
        let (_stop, stop) = watch::channel(false);
        let shared = Arc::new(Shared { api, scans: Arc::new(Semaphore::new(1)), stop });
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(Peer { uid }));
        let status = router(shared, own).oneshot(request).await.unwrap().status();
        follower.finish(Duration::ZERO);
        status
    }

    #[tokio::test]
    async fn only_the_daemons_own_user_and_root_may_speak() {
        for path in ["/v1/runs", "/v1/alerts", "/v1/index/rebuild", "/v1/why/a-1.0%2Fticket", "/v1/nothing"] {
            assert_eq!(status_for(Some(1001), 1000, path).await, StatusCode::FORBIDDEN, "{path}");
            assert_eq!(status_for(None, 1000, path).await, StatusCode::FORBIDDEN, "{path}");
        }
        assert_eq!(status_for(Some(1000), 1000, "/v1/runs").await, StatusCode::OK);
        assert_eq!(status_for(Some(0), 1000, "/v1/why/a-1.0%2Fticket").await, StatusCode::OK);
        assert_eq!(status_for(Some(0), 1000, "/v1/nothing").await, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_main_loop_that_is_gone_is_said_so() {
        assert_eq!(status_for(Some(0), 0, "/v1/status").await, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn the_kernel_tells_our_own_user() {
        use std::os::unix::fs::MetadataExt;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let own = runtime.block_on(async { own_uid().unwrap() });
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(own, std::fs::metadata(dir.path()).unwrap().uid());
    }
}
