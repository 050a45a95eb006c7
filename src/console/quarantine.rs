//! Records that no format took.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, said_why, short};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::Comment;
use crate::daemon::api::Command;
use crate::daemon::query::quarantine::{self, QuarantineFilter, QuarantineList, QuarantineView};
use crate::daemon::report::{OrderReport, RetryReport};
use crate::domain::operator::Upkeep;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/quarantine", "list_quarantine", "Records that no format took"), list);
    routes.add(Route::read("/quarantine/{record_no}", "get_quarantined", "One of them, verbatim"), show);
    let again = "Send one through again, by today's formats";
    routes.add(Route::change("/quarantine/{record_no}/retry", "retry_quarantined", again), retry);
    let give_up = "Give records up: none of them is sent through again, and retention need not keep them";
    routes.add(Route::change("/quarantine/discard", "discard_quarantined", give_up), discard);
}

/// The record that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRecord {
    /// Its ordinal.
    record_no: u64,
}

/// Records to give up.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QuarantineDiscards")]
pub struct Discards {
    /// Their ordinals: all of them are given up or none. Absent: all there are, the oldest ten thousand of them at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10_000))]
    pub records: Option<Vec<u64>>,
    /// Why; it stands in the journal beside the name.
    #[schemars(length(max = 1_000), regex(pattern = r"\S"))]
    pub comment: String,
}

async fn list(ask: Ask<Nothing, QuarantineFilter>) -> Answer<QuarantineList> {
    let filter = ask.query;
    ask.shared.scan(1, move |lines| quarantine::list(lines, &filter)).await
}

async fn show(ask: Ask<OneRecord>) -> Answer<QuarantineView> {
    let record_no = ask.path.record_no;
    let view = ask.shared.scan(1, move |lines| quarantine::show(lines, record_no)).await?;
    view.ok_or_else(|| Failure::no(format!("quarantined record {record_no}")))
}

async fn retry(ask: Ask<OneRecord, Nothing, Comment>) -> Answer<RetryReport> {
    let record_no = ask.path.record_no;
    let wish = Wish::Upkeep(Upkeep::QuarantineRetry { record_no });
    ask.shared.order(ask.caller, short(ask.body.comment)?, wish).await?;
    let report = ask.shared.command(|done| Command::Retry { record_no, done }).await?;
    report.map_err(Failure::conflict)
}

async fn discard(ask: Ask<Nothing, Nothing, Discards>) -> Answer<OrderReport> {
    let Discards { records, comment } = ask.body;
    ask.shared.order(ask.caller, said_why(comment)?, Wish::Discard(records)).await
}
