//! Lists, counts and histories of alerts over the control socket, from the index.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::daemon::clock;
use crate::daemon::failure::Failure;
use crate::daemon::report::IndexReport;
use crate::domain::id::AlertId;
use crate::index::IndexError;
use crate::index::choose::{Chosen, choose};
use crate::index::facets::{Facet, facet};
use crate::index::follow::{Doing, Index};
use crate::index::noise::{NoiseReport, NoiseRequest, noise};
use crate::index::query::{Page, Request, Sort, list};
use crate::index::schema;
use crate::index::story::{Story, story};
use crate::journal::reader::Reader;
use crate::yaml::diagnostic::nearest;

/// How long an answer waits for what was on record when it was asked for.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(1);

/// Queries at once; further ones wait.
const QUERIES_MAX: usize = 4;

/// Parameters of a query string.
const PARAMETERS: &[&str] = &["filter", "all", "sort", "limit", "cursor"];

/// An answer of the index, and how far the index is behind the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Indexed<T> {
    /// The answer.
    #[serde(flatten)]
    pub answer: T,
    /// Entries of the journal that were not in the index yet.
    #[serde(default)]
    pub behind: u64,
}

struct Shared {
    index: Index,
    journal: Reader,
    queries: Arc<Semaphore>,
}

type Shares = State<Arc<Shared>>;

type Answer<T> = Result<Json<Indexed<T>>, Failure>;

/// The pages that the index answers.
pub fn routes(index: Index, journal: Reader) -> Router {
    let shared = Shared { index, journal, queries: Arc::new(Semaphore::new(QUERIES_MAX)) };
    Router::new()
        .route("/v1/alerts", get(alerts))
        .route("/v1/alerts/chosen", get(chosen))
        .route("/v1/alerts/{id}/history", get(history))
        .route("/v1/facets/{field}", get(facets))
        .route("/v1/reports/noisy", get(noisy))
        .route("/v1/index", get(standing))
        .route("/v1/index/rebuild", post(rebuild))
        .with_state(Arc::new(shared))
}

/// How the index stands.
pub fn report(index: &Index) -> IndexReport {
    let standing = index.standing();
    let (doing, why) = match standing.doing {
        Doing::Starting => ("starting", None),
        Doing::Following => ("following", None),
        Doing::Building => ("building", None),
        Doing::Failing(why) => ("failing", Some(why)),
    };
    IndexReport { entry: standing.position, behind: standing.behind, doing: doing.into(), why }
}

async fn alerts(State(shared): Shares, Query(pairs): Query<Vec<(String, String)>>) -> Answer<Page> {
    let request = request(pairs)?;
    shared.ask(move |conn, now| list(conn, &request, now)).await
}

async fn chosen(State(shared): Shares, Query(pairs): Query<Vec<(String, String)>>) -> Answer<Chosen> {
    let request = request(pairs)?;
    shared.ask(move |conn, now| choose(conn, &request, now)).await
}

async fn facets(
    State(shared): Shares,
    Path(field): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Answer<Facet> {
    let request = request(pairs)?;
    shared.ask(move |conn, now| facet(conn, &request, &field, now)).await
}

async fn noisy(State(shared): Shares, Query(request): Query<NoiseRequest>) -> Answer<NoiseReport> {
    shared.ask(move |conn, now| noise(conn, &request, now)).await
}

async fn history(State(shared): Shares, Path(id): Path<String>) -> Answer<Story> {
    let id: AlertId = id.parse().map_err(|bad| Failure::new(StatusCode::BAD_REQUEST, format!("{bad}")))?;
    let Json(Indexed { answer, behind }) = shared.ask(move |conn, _| story(conn, id).map(Found)).await?;
    let answer = answer.0.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, format!("the index has no alert {id}")))?;
    Ok(Json(Indexed { answer, behind }))
}

struct Found(Option<Story>);

async fn standing(State(shared): Shares) -> Json<IndexReport> {
    Json(report(&shared.index))
}

async fn rebuild(State(shared): Shares) -> Json<IndexReport> {
    shared.index.rebuild();
    Json(report(&shared.index))
}

/// A request of its parameters; `filter` may come many times.
fn request(pairs: Vec<(String, String)>) -> Result<Request, Failure> {
    let bad = |why: String| Failure::new(StatusCode::BAD_REQUEST, why);
    let mut request = Request::default();
    for (name, value) in pairs {
        match name.as_str() {
            "filter" => request.filter.push(value),
            "all" => request.all = value.parse().map_err(|_| bad(format!("all={value:?}: write true or false")))?,
            "limit" => request.limit = Some(value.parse().map_err(|_| bad(format!("limit={value:?} is no number")))?),
            "cursor" => request.cursor = Some(value),
            "sort" => {
                let words = Sort::ALL.map(Sort::as_str);
                let found = Sort::ALL.into_iter().find(|sort| sort.as_str() == value);
                request.sort = found.ok_or_else(|| bad(format!("sort={value:?}: known are {}", words.join(", "))))?;
            }
            other => {
                let near = nearest(other, PARAMETERS).map(|near| format!("; did you mean `{near}`?"));
                let near = near.unwrap_or_else(|| format!("; known are {}", PARAMETERS.join(", ")));
                return Err(bad(format!("there is no parameter {other:?}{near}")));
            }
        }
    }
    Ok(request)
}

impl Shared {
    /// Asks the index, a few at a time.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection, Timestamp) -> Result<T, IndexError> + Send + 'static,
    ) -> Answer<T> {
        let _permit = self.queries.acquire().await.expect("the semaphore is never closed");
        ask(&self.index, &self.journal, query).await
    }
}

/// Asks the index once it has what is on record now, or after a while what it has.
pub(super) async fn ask<T: Send + 'static>(
    index: &Index,
    journal: &Reader,
    query: impl FnOnce(&Connection, Timestamp) -> Result<T, IndexError> + Send + 'static,
) -> Answer<T> {
    let (asked, journal) = (index.clone(), journal.clone());
    let answer = tokio::task::spawn_blocking(move || {
        asked.wait_for(journal.head().seq, FRESH_WAIT_MAX);
        let head = journal.head().seq;
        asked.query(|conn| {
            let (_, position) = schema::position(conn)?;
            Ok(Indexed { answer: query(conn, clock::now())?, behind: head.saturating_sub(position.seq) })
        })
    });
    let died = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the query died; the daemon's log says why");
    let answer: Result<_, IndexError> = answer.await.map_err(died)?;
    answer.map(Json).map_err(|error| failure(&error, &report(index)))
}

fn failure(error: &IndexError, index: &IndexReport) -> Failure {
    match error {
        IndexError::Asked(_) => Failure::new(StatusCode::BAD_REQUEST, error.to_string()),
        IndexError::TooBroad | IndexError::TooMany { .. } => {
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        _ if index.doing != "following" => {
            let of = index.entry + index.behind;
            let why = index.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let text =
                format!("the index is not ready: {}, entry {} of {of}{why}; ask again soon", index.doing, index.entry);
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        _ => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}{cause}"))
        }
    }
}
