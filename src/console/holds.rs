//! What operators keep from going out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, said_why};
use crate::console::routes::{Route, Routes};
use crate::daemon::api::Command;
use crate::daemon::report::{HoldsReport, OrderReport};
use crate::domain::hold::HoldOrder;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/holds", "list_holds", "What is kept from going out"), list);
    let change_hold = "Keep webhooks and mails from going out, or let them go out again";
    routes.add(Route::change("/holds", "change_hold", change_hold), change);
}

/// A change of what is on hold.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HoldChange")]
pub struct Change {
    /// What.
    pub hold: HoldOrder,
    /// Why; it stands in the journal beside the name.
    #[schemars(length(max = 1_000), regex(pattern = r"\S"))]
    pub comment: String,
}

async fn list(ask: Ask) -> Answer<HoldsReport> {
    ask.shared.command(Command::Holds).await
}

async fn change(ask: Ask<Nothing, Nothing, Change>) -> Answer<OrderReport> {
    let Change { hold, comment } = ask.body;
    let wish = match hold {
        HoldOrder::On(scope) => Wish::HoldOn(scope),
        HoldOrder::Off(scope) => Wish::HoldOff(scope),
    };
    ask.shared.order(ask.caller, said_why(comment)?, wish).await
}
