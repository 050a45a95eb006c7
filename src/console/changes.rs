//! What changes, as it changes: by waiting for it, or as a stream of events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use crate::console::ask::{Answer, Ask, Nothing};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::Shared;
use crate::daemon::query::changes::{Change, Changes, page};

/// Longest wait for a change, in seconds.
const WAIT_SECS_MAX: u64 = 60;

/// How often a stream without news says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/changes", "get_changes", "What changed after an entry"), after);
    let live = "What changes, as server-sent events; an event's id is the entry's number";
    routes.stream::<_, _, Change, _>(Route::read("/changes/stream", "stream_changes", live), stream);
}

/// After which entry, and how long to wait for one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct After {
    /// The last entry that is known; absent: the last on record.
    after: Option<u64>,
    /// Seconds to wait for an entry when there is none yet; 60 at most.
    #[schemars(range(max = 60))]
    wait: u64,
}

async fn after(ask: Ask<Nothing, After>) -> Answer<Changes> {
    if ask.query.wait > WAIT_SECS_MAX {
        return Err(Failure::bad(format!("wait={}: at most {WAIT_SECS_MAX} seconds", ask.query.wait)));
    }
    let deadline = Instant::now() + Duration::from_secs(ask.query.wait);
    read(&ask.shared, ask.query.after, deadline).await
}

/// What changed after an entry, or nothing once the time is up. An entry that is not on record yet is waited for.
async fn read(shared: &Shared, after: Option<u64>, deadline: Instant) -> Answer<Changes> {
    let after = after.unwrap_or_else(|| shared.api.reader.head().seq);
    let next = after.saturating_add(1);
    if !shared.grown(next, deadline).await {
        return Ok(Changes { changes: Vec::new(), after });
    }
    shared.scan(next, move |lines| page(lines, after)).await
}

/// Where a stream begins.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct From {
    /// The last entry that is known; absent: the last on record. A browser that connects again says so by itself.
    after: Option<u64>,
}

async fn stream(ask: Ask<Nothing, From>) -> Answer<Response> {
    let after = ask.last_event.or(ask.query.after).unwrap_or_else(|| ask.shared.api.reader.head().seq);
    let events = stream::unfold((ask.shared, after, Vec::new()), async |state| next(state).await);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response())
}

type State = (Arc<Shared>, u64, Vec<Change>);

/// The next event; the end when the daemon stops or the journal cannot be read.
async fn next((shared, mut after, mut ready): State) -> Option<(Result<Event, Infallible>, State)> {
    while ready.is_empty() {
        let deadline = Instant::now() + Duration::from_secs(WAIT_SECS_MAX);
        let page = read(&shared, Some(after), deadline).await.ok()?;
        if *shared.api.stop.borrow() {
            return None;
        }
        after = page.after;
        ready = page.changes;
        ready.reverse();
    }
    let change = ready.pop()?;
    let event = Event::default().id(change.seq.to_string()).event("change").json_data(&change).ok()?;
    Some((Ok(event), (shared, after, ready)))
}
