//! Who gets mails, and who does not want any.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, said_why};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::daemon::api::Command;
use crate::daemon::recipients::RecipientReport;
use crate::daemon::report::OrderReport;
use crate::domain::recipient::folded;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let listed = "Who gets mails: what they want, what they have got of late, and what waits for their digest";
    routes.add(Route::read("/recipients", "list_recipients", listed), list);
    routes.add(Route::read("/recipients/{address}", "get_recipient", "One recipient"), show);
    let stop = "Send an address no mails any more: none of one destination, or none at all";
    routes.add(Route::change("/recipients/{address}/unsubscribe", "unsubscribe_recipient", stop), unsubscribe);
    let resume = "Send an address mails again";
    routes.add(Route::change("/recipients/{address}/subscribe", "subscribe_recipient", resume), subscribe);
}

/// The recipient that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRecipient {
    /// Its mail address, percent-encoded.
    address: String,
}

/// Which mails an order is about, and why.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RecipientChange")]
pub struct Change {
    /// Those of this destination; all, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Why; it stands in the journal beside the name.
    #[schemars(length(max = 1_000), regex(pattern = r"\S"))]
    pub comment: String,
}

async fn list(ask: Ask) -> Answer<Vec<RecipientReport>> {
    ask.shared.command(Command::Recipients).await
}

async fn show(ask: Ask<OneRecipient>) -> Answer<RecipientReport> {
    let address = folded(&ask.path.address);
    let all: Vec<RecipientReport> = ask.shared.command(Command::Recipients).await?;
    let found = all.into_iter().find(|report| report.address == address);
    let short: String = address.chars().take(100).collect();
    found.ok_or_else(|| Failure::not_found(format!("nothing is known of a recipient {short:?}")))
}

async fn unsubscribe(ask: Ask<OneRecipient, Nothing, Change>) -> Answer<OrderReport> {
    let (address, Change { destination, comment }) = (ask.path.address, ask.body);
    let wish = Wish::Unsubscribe { address, destination, link: false };
    ask.shared.order(ask.caller, said_why(comment)?, wish).await
}

async fn subscribe(ask: Ask<OneRecipient, Nothing, Change>) -> Answer<OrderReport> {
    let (address, Change { destination, comment }) = (ask.path.address, ask.body);
    ask.shared.order(ask.caller, said_why(comment)?, Wish::Subscribe { address, destination }).await
}
