//! Records that no format took.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::console::ask::{Answer, Ask, Nothing, short};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::Comment;
use crate::daemon::api::Command;
use crate::daemon::query::quarantine::{self, QuarantineFilter, QuarantineList, QuarantineView};
use crate::daemon::report::RetryReport;
use crate::domain::operator::Upkeep;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/quarantine", "list_quarantine", "Records that no format took"), list);
    routes.add(Route::read("/quarantine/{record_no}", "get_quarantined", "One of them, verbatim"), show);
    let again = "Send one through again, by today's formats";
    routes.add(Route::change("/quarantine/{record_no}/retry", "retry_quarantined", again), retry);
}

/// The record that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRecord {
    /// Its ordinal.
    record_no: u64,
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
