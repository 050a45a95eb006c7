//! What all routes share: the daemon's main loop, its journal and its index.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use crate::console::ask::Answer;
use crate::console::failure::{Failure, with_causes};
use crate::daemon::api::{Api, Command};
use crate::daemon::clock;
use crate::daemon::order::Ordered;
use crate::daemon::query::why::Subject;
use crate::daemon::query::{Lines, LogLine, QueryError, lines, lines_about};
use crate::daemon::report::{IndexReport, Indexed, OrderReport};
use crate::domain::operator::Who;
use crate::domain::token::Caller;
use crate::engine::orders::Wish;
use crate::index::IndexError;
use crate::index::follow::{Doing, Index};
use crate::index::mentions::about_all;
use crate::index::schema;

/// How many queries read the journal at once; further ones wait.
pub const SCANS_MAX: usize = 4;

/// How many queries read the index at once; further ones wait.
pub const QUERIES_MAX: usize = 4;

/// How many reads for orders run at once, beside the queries of those who only look.
const ORDER_SCANS_MAX: usize = 2;

/// Streams of changes that are open at once.
pub const STREAMS_MAX: usize = 64;

/// How long a command waits for the daemon's answer.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long an answer of the index waits for what was on record when it was asked for.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often a request that waits for news looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What an operator may say about an order that speaks for itself.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comment {
    /// Why; it stands in the journal beside the name.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    pub comment: String,
}

/// What an operator has to say about an order.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// Why; it stands in the journal beside the name.
    #[schemars(length(max = 1_000), regex(pattern = r"\S"))]
    pub comment: String,
}

/// What all routes share.
pub struct Shared {
    /// The daemon.
    pub api: Api,
    /// What there is to ask.
    pub document: Value,
    /// Places for streams of changes.
    pub streams: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    order_scans: Arc<Semaphore>,
    queries: Arc<Semaphore>,
}

impl Shared {
    /// Of a daemon.
    pub fn new(api: Api, document: Value) -> Self {
        let room = |n| Arc::new(Semaphore::new(n));
        Self {
            api,
            document,
            streams: room(STREAMS_MAX),
            scans: room(SCANS_MAX),
            order_scans: room(ORDER_SCANS_MAX),
            queries: room(QUERIES_MAX),
        }
    }

    /// Asks the main loop.
    ///
    /// # Errors
    /// When it does not take the command, or does not answer.
    pub async fn command<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Command) -> Answer<T> {
        self.command_within(COMMAND_WAIT_MAX, ask).await
    }

    /// As [`Shared::command`], for what takes longer.
    ///
    /// # Errors
    /// As there.
    pub async fn command_within<T>(
        &self,
        patience: Duration,
        ask: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Answer<T> {
        let (done, answer) = oneshot::channel();
        let given = timeout(COMMAND_WAIT_MAX, self.api.commands.send(ask(done))).await;
        given
            .map_err(|_| Failure::busy("the daemon is too busy to answer"))?
            .map_err(|_| Failure::busy("the daemon is stopping"))?;
        // What was taken may have been done, also when nobody is left to say so.
        timeout(patience, answer).await.ok().and_then(Result::ok).ok_or_else(Failure::late)
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub async fn order(&self, caller: Caller, comment: String, wish: Wish) -> Answer<OrderReport> {
        let (who, dry_run) = (Who::from(caller), false);
        let report =
            self.command(|done| Command::Order(Box::new(Ordered { who, comment, wish, dry_run, done }))).await?;
        report.map_err(Failure::conflict)
    }

    /// Reads the journal once, from this sequence number on, on a thread that may block.
    ///
    /// # Errors
    /// When it cannot be read, or the daemon stops.
    pub async fn scan<T: Send + 'static>(
        &self,
        from: u64,
        query: impl FnOnce(Lines<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Answer<T> {
        self.scan_in(&self.scans, from, query).await
    }

    /// Reads what is on record about something: the entries that the index names, or the whole journal while it cannot say.
    ///
    /// # Errors
    /// As [`Shared::scan`].
    pub async fn read_about<T: Send + 'static>(
        &self,
        subject: Subject,
        query: impl FnOnce(Lines<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Answer<T> {
        self.read_about_in(&self.scans, subject, query).await
    }

    /// As [`Shared::read_about`], for orders: whoever only looks does not keep them waiting.
    ///
    /// # Errors
    /// As [`Shared::scan`].
    pub async fn read_about_for_order<T: Send + 'static>(
        &self,
        subject: Subject,
        query: impl FnOnce(Lines<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Answer<T> {
        self.read_about_in(&self.order_scans, subject, query).await
    }

    async fn read_about_in<T: Send + 'static>(
        &self,
        room: &Arc<Semaphore>,
        subject: Subject,
        query: impl FnOnce(Lines<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Answer<T> {
        let (index, reader) = (self.api.index.clone(), self.api.reader.clone());
        self.blocking_in(room, move |unless_stopped| {
            index.wait_for(reader.head().seq, FRESH_WAIT_MAX);
            match index.query(|conn| about_all(conn, &reader, subject.mentioned())).ok().flatten() {
                Some(about) => query(&mut lines_about(&reader, about).map(unless_stopped)),
                None => query(&mut lines(&reader, 1).map(unless_stopped)),
            }
        })
        .await
    }

    /// As [`Shared::scan`], for orders: whoever only looks does not keep them waiting.
    ///
    /// # Errors
    /// As there.
    pub async fn scan_for_order<T: Send + 'static>(
        &self,
        from: u64,
        query: impl FnOnce(Lines<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Answer<T> {
        self.scan_in(&self.order_scans, from, query).await
    }

    async fn scan_in<T: Send + 'static>(
        &self,
        room: &Arc<Semaphore>,
        from: u64,
        query: impl FnOnce(Lines<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Answer<T> {
        let reader = self.api.reader.clone();
        self.blocking_in(room, move |unless_stopped| query(&mut lines(&reader, from).map(unless_stopped))).await
    }

    /// Reads on a thread that may block, once there is room; what it reads ends when the daemon does.
    async fn blocking_in<T: Send + 'static>(
        &self,
        room: &Arc<Semaphore>,
        read: impl FnOnce(&dyn Fn(Result<LogLine, QueryError>) -> Result<LogLine, QueryError>) -> Result<T, QueryError>
        + Send
        + 'static,
    ) -> Answer<T> {
        let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
        let stop = self.api.stop.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&|line| if *stop.borrow() { Err(QueryError::Stopping) } else { line })
        });
        Ok(reading.await.map_err(|_| died())??)
    }

    /// Asks the index once it has what is on record now, or after a while what it has.
    ///
    /// # Errors
    /// When the request is not understood, or the index cannot answer.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection, Timestamp) -> Result<T, IndexError> + Send + 'static,
    ) -> Answer<Indexed<T>> {
        let permit = Arc::clone(&self.queries).acquire_owned().await.expect("the semaphore is never closed");
        let shared = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let Api { reader, index, .. } = &shared.api;
            index.wait_for(reader.head().seq, FRESH_WAIT_MAX);
            let head = reader.head().seq;
            index.query(|conn| {
                let (_, position) = schema::position(conn)?;
                Ok(Indexed { answer: query(conn, clock::now())?, behind: head.saturating_sub(position.seq) })
            })
        });
        let answer: Result<_, IndexError> = answer.await.map_err(|_| died())?;
        answer.map_err(|error| not_indexed(&error, &standing(&self.api.index)))
    }

    /// Waits until the journal has reached this entry; false when the time is up or the daemon stops.
    pub async fn grown(&self, seq: u64, deadline: Instant) -> bool {
        let mut stop = self.api.stop.clone();
        while self.api.reader.head().seq < seq {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return false,
            }
        }
        true
    }
}

fn died() -> Failure {
    Failure::broken("the query died; the daemon's log says why")
}

/// How the index stands.
pub fn standing(index: &Index) -> IndexReport {
    let standing = index.standing();
    let (doing, why) = match standing.doing {
        Doing::Starting => ("starting", None),
        Doing::Following => ("following", None),
        Doing::Building => ("building", None),
        Doing::Failing(why) => ("failing", Some(why)),
    };
    IndexReport { entry: standing.position, behind: standing.behind, doing: doing.into(), why }
}

fn not_indexed(error: &IndexError, index: &IndexReport) -> Failure {
    match error {
        IndexError::Asked(_) => Failure::bad(error),
        IndexError::TooBroad | IndexError::TooMany { .. } => {
            Failure::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, error)
        }
        _ if index.doing != "following" => {
            let of = index.entry + index.behind;
            let why = index.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let stands = format!("{}, entry {} of {of}{why}", index.doing, index.entry);
            Failure::busy(format!("the index is not ready: {stands}; ask again soon"))
        }
        _ => Failure::broken(with_causes(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::daemon::auth::Gate;
    use crate::daemon::links::Links;
    use crate::daemon::query::story;
    use crate::index::follow::Follower;
    use crate::index::place::Place;

    /// Status of an answer, and whether it calls to ask again.
    fn told<T: Debug>(answer: Answer<T>) -> (StatusCode, bool) {
        let response = answer.unwrap_err().into_response();
        (response.status(), response.headers().contains_key(header::RETRY_AFTER))
    }

    #[tokio::test]
    async fn a_command_that_was_taken_is_answered_late_and_only_one_that_was_not_is_to_be_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let journal = story::journal(&folder.path().join("journal"));
        let follower = Follower::start(Place::of(folder.path()), journal.reader(), || {});
        let links = Arc::new(Links::open(folder.path(), None, "j").unwrap());
        let ((commands, mut inbox), (_stop, stop)) = (mpsc::channel(1), watch::channel(false));
        let (reader, index, gate) = (journal.reader(), follower.index(), Arc::new(Gate::default()));
        let shared = Shared::new(Api { reader, index, commands, gate, links, stop }, Value::Null);

        // The main loop has the command and says nothing.
        let (answer, taken) = tokio::join!(shared.command_within(Duration::ZERO, Command::Approvals), inbox.recv());
        assert!(matches!(taken, Some(Command::Approvals(_))));
        assert_eq!(told(answer), (StatusCode::GATEWAY_TIMEOUT, false));

        // One that answers is heard, also at the last moment.
        let say = async {
            let Some(Command::Approvals(done)) = inbox.recv().await else { panic!("another command") };
            done.send(Vec::new()).unwrap();
        };
        let (answer, ()) = tokio::join!(shared.command(Command::Approvals), say);
        assert_eq!(answer.unwrap(), []);

        // One that was taken by a daemon that stops then may have been done.
        let take = async { drop(inbox.recv().await.unwrap()) };
        let (answer, ()) = tokio::join!(shared.command(Command::Approvals), take);
        assert_eq!(told(answer), (StatusCode::GATEWAY_TIMEOUT, false));

        drop(inbox);
        assert_eq!(told(shared.command(Command::Approvals).await), (StatusCode::SERVICE_UNAVAILABLE, true));
        follower.finish(Duration::ZERO);
    }
}
