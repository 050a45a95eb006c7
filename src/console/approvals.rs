//! What playbooks ask people, and their answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, said_why};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::daemon::api::Command;
use crate::daemon::report::OrderReport;
use crate::domain::approval::{Approval, Choice, Decider};
use crate::domain::id::ApprovalId;
use crate::domain::operator;
use crate::domain::token::Role;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let list_approvals = "What playbooks ask people: what is open, and what was closed last";
    routes.add(Route::read("/approvals", "list_approvals", list_approvals), list);
    routes.add(Route::read("/approvals/{id}", "get_approval", "One of them"), show);
    let decide_approval = "Decide an approval; the first decision counts";
    let route = Route::change("/approvals/{id}/decide", "decide_approval", decide_approval);
    routes.add(route.role(Role::Approver), decide);
}

/// The approval that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneApproval {
    /// Which.
    id: ApprovalId,
}

/// A decision.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApprovalDecision")]
pub struct Decision {
    /// How.
    pub choice: Choice,
    /// Why; it stands in the journal beside the name.
    #[schemars(length(max = 1_000), regex(pattern = r"\S"))]
    pub comment: String,
}

async fn list(ask: Ask) -> Answer<Vec<Approval>> {
    ask.shared.command(Command::Approvals).await
}

async fn show(ask: Ask<OneApproval>) -> Answer<Approval> {
    let (id, all) = (ask.path.id, ask.shared.command(Command::Approvals).await?);
    all.into_iter().find(|approval| approval.id == id).ok_or_else(|| Failure::no(format!("approval {id}")))
}

async fn decide(ask: Ask<OneApproval, Nothing, Decision>) -> Answer<OrderReport> {
    let Decision { choice, comment } = ask.body;
    let who = Decider::Person { name: operator::name(&ask.caller.name).to_owned(), role: ask.caller.role };
    let wish = Wish::Decide { approval: ask.path.id, choice, who };
    ask.shared.order(ask.caller, said_why(comment)?, wish).await
}
