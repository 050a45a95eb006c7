//! What changes, as it changes: by waiting for it, or as a stream of events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::console::ask::{Answer, Ask, Nothing};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::{STREAMS_MAX, Shared};
use crate::daemon::query::changes::{Change, Changes, page};

/// Longest wait for a change, in seconds.
const WAIT_SECS_MAX: u64 = 60;

/// How often a stream without news says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How long a stream lasts. Whoever connects again is admitted anew, so a token that was revoked meanwhile is refused.
const STREAM_LASTS: Duration = Duration::from_secs(300);

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
    let shared = ask.shared;
    let full = |_| Failure::busy(format!("{STREAMS_MAX} streams are open; ask for changes with `wait` instead"));
    let place = Arc::clone(&shared.streams).try_acquire_owned().map_err(full)?;
    let after = ask.last_event.or(ask.query.after).unwrap_or_else(|| shared.api.reader.head().seq);
    let live = Live { shared, after, ready: Vec::new(), until: Instant::now() + STREAM_LASTS, _place: place };
    let events = stream::unfold(live, async |live| next(live).await);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response())
}

/// Where a stream stands. Its place is free again when it ends.
struct Live {
    shared: Arc<Shared>,
    after: u64,
    ready: Vec<Change>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

/// The next event; the end when the stream has lasted long enough, the daemon stops or the journal cannot be read.
async fn next(mut live: Live) -> Option<(Result<Event, Infallible>, Live)> {
    while live.ready.is_empty() {
        if Instant::now() >= live.until {
            return None;
        }
        let page = read(&live.shared, Some(live.after), live.until).await.ok()?;
        if *live.shared.api.stop.borrow() {
            return None;
        }
        live.after = page.after;
        live.ready = page.changes;
        live.ready.reverse();
    }
    let change = live.ready.pop()?;
    let event = Event::default().id(change.seq.to_string()).event("change").json_data(&change).ok()?;
    Some((Ok(event), live))
}
