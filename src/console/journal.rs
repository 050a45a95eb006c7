//! The journal's own lines, and its key.

use std::time::Duration;

use tokio::time::Instant;

use crate::console::ask::{Answer, Ask, Nothing, short};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::{Comment, Shared};
use crate::daemon::api::Command;
use crate::daemon::query::log::{self, LogFilter, LogPage};
use crate::daemon::report::KeyReport;
use crate::domain::operator::Upkeep;
use crate::domain::token::Role;
use crate::engine::orders::Wish;

/// How long `follow` waits for a line before it answers with none.
const FOLLOW_WAIT_MAX: Duration = Duration::from_secs(20);

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/log", "get_log", "The journal's entries"), page);
    let rotate_key = "Sign the journal with a new key from now on";
    routes.add(Route::change("/log/key/rotate", "rotate_key", rotate_key).role(Role::Admin), rotate);
}

async fn rotate(ask: Ask<Nothing, Nothing, Comment>) -> Answer<KeyReport> {
    ask.shared.order(ask.caller, short(ask.body.comment)?, Wish::Upkeep(Upkeep::KeyRotate)).await?;
    ask.shared.command(Command::RotateKey).await?.map_err(Failure::conflict)
}

async fn page(ask: Ask<Nothing, LogFilter>) -> Answer<LogPage> {
    let deadline = Instant::now() + FOLLOW_WAIT_MAX;
    let (shared, mut filter) = (ask.shared, ask.query);
    loop {
        let page = read(&shared, filter.clone()).await?;
        if !filter.follow || !page.lines.is_empty() || Instant::now() >= deadline {
            return Ok(page);
        }
        filter.from = Some(page.next);
        if !shared.grown(page.next, deadline).await {
            return Ok(page);
        }
    }
}

async fn read(shared: &Shared, filter: LogFilter) -> Answer<LogPage> {
    shared.scan(filter.start(shared.api.reader.head().seq), move |lines| log::page(lines, &filter)).await
}
