//! Runs, what they send, and what operators order for both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, said_why};
use crate::console::destinations::OneDestination;
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::Because;
use crate::daemon::api::Command;
use crate::daemon::query::deliveries::{self, DeliveryFilter, DeliveryList, DeliveryState, DeliveryView};
use crate::daemon::query::run::{self, RunView};
use crate::daemon::query::runs::{self, RunFilter, RunList};
use crate::daemon::query::start;
use crate::daemon::query::why::Subject;
use crate::daemon::report::{OrderReport, ResendReport};
use crate::daemon::resend::{Resend, Which};
use crate::domain::effect::EffectKey;
use crate::domain::id::{RunId, Trigger};
use crate::domain::operator::Who;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let (read, change) = (Route::read, Route::change);
    routes.add(read("/runs", "list_runs", "Runs, open ones first"), list);
    routes.add(read("/runs/{trigger}/{playbook}", "get_run", "Everything on record about a run"), show);
    routes.add(change("/runs/{trigger}/{playbook}/cancel", "cancel_run", "End a run for good"), cancel);
    let retry_run = "Let a failed or stalled run go on from its recorded steps";
    routes.add(change("/runs/{trigger}/{playbook}/retry", "retry_run", retry_run), retry);
    let restart_run = "Start a run's playbook anew, on today's bundle";
    routes.add(change("/runs/{trigger}/{playbook}/restart", "restart_run", restart_run), restart);
    routes.add(read("/deliveries", "list_deliveries", "What was sent, or could not be"), delivery_list);
    routes.add(read("/deliveries/{key}", "get_delivery", "Everything on record about a delivery"), delivery);
    let retry_delivery = "Send a dead letter again, under its own key";
    routes.add(change("/deliveries/{key}/retry", "retry_delivery", retry_delivery), delivery_retry);
    let retry_all = "Send the dead letters of a destination again";
    routes.add(change("/destinations/{name}/retry", "retry_destination", retry_all), destination_retry);
}

async fn list(ask: Ask<Nothing, RunFilter>) -> Answer<RunList> {
    let filter = ask.query;
    ask.shared.scan(1, move |lines| runs::list(lines, &filter)).await
}

/// The run that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRun {
    /// The alert or the group that it was started for.
    trigger: Trigger,
    /// Name of the playbook; after a restart with its number behind: `ticket~2`.
    playbook: String,
}

impl OneRun {
    fn id(&self) -> Answer<RunId> {
        format!("{}/{}", self.trigger, self.playbook).parse().map_err(Failure::bad)
    }
}

async fn show(ask: Ask<OneRun>) -> Answer<RunView> {
    let id = ask.path.id()?;
    let wanted = id.clone();
    let view = ask.shared.read_about(Subject::Run(id.clone()), move |lines| run::show(lines, &wanted)).await?;
    view.ok_or_else(|| Failure::no(format!("run {id}")))
}

async fn cancel(ask: Ask<OneRun, Nothing, Because>) -> Answer<OrderReport> {
    let wish = Wish::Cancel(ask.path.id()?);
    ask.shared.order(ask.caller, said_why(ask.body.comment)?, wish).await
}

async fn retry(ask: Ask<OneRun, Nothing, Because>) -> Answer<OrderReport> {
    let wish = Wish::Retry(ask.path.id()?);
    ask.shared.order(ask.caller, said_why(ask.body.comment)?, wish).await
}

async fn restart(ask: Ask<OneRun, Nothing, Because>) -> Answer<OrderReport> {
    let (run, comment) = (ask.path.id()?, said_why(ask.body.comment)?);
    let wanted = run.clone();
    let found = ask
        .shared
        .read_about_for_order(Subject::Run(run.clone()), move |lines| start::started_for(lines, &wanted))
        .await?;
    let (alerts, digest) = found.ok_or_else(|| Failure::no(format!("run {run}")))?;
    ask.shared.order(ask.caller, comment, Wish::Restart { run, alerts, digest }).await
}

async fn delivery_list(ask: Ask<Nothing, DeliveryFilter>) -> Answer<DeliveryList> {
    let filter = ask.query;
    ask.shared.scan(1, move |lines| deliveries::list(lines, &filter)).await
}

/// The delivery that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneDelivery {
    /// Its key, also as receivers saw it: `msg_…`.
    #[schemars(regex(pattern = "^(msg_)?[a-z2-7]{26}$"))]
    key: String,
}

impl OneDelivery {
    fn key(&self) -> Answer<EffectKey> {
        self.key.parse().map_err(Failure::bad)
    }
}

async fn delivery(ask: Ask<OneDelivery>) -> Answer<DeliveryView> {
    let key = ask.path.key()?;
    let wanted = key.clone();
    let view = ask.shared.scan(1, move |lines| deliveries::show(lines, &wanted)).await?;
    view.ok_or_else(|| Failure::no(format!("delivery {key}")))
}

async fn delivery_retry(ask: Ask<OneDelivery, Nothing, Because>) -> Answer<ResendReport> {
    let (which, comment) = (Which::Key(ask.path.key()?), said_why(ask.body.comment)?);
    let ask_for = Resend { which, who: Who::from(ask.caller), comment };
    ask.shared.command(|done| Command::Resend { ask: ask_for, done }).await
}

/// Which dead letters to send again, and why.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Letters {
    /// Those with this outcome.
    pub outcome: DeliveryState,
    /// Why; it stands in the journal beside the name.
    #[schemars(length(max = 1_000), regex(pattern = r"\S"))]
    pub comment: String,
}

async fn destination_retry(ask: Ask<OneDestination, Nothing, Letters>) -> Answer<ResendReport> {
    let Letters { outcome, comment } = ask.body;
    let which = Which::Destination(ask.path.name, outcome.dead_letters());
    let ask_for = Resend { which, who: Who::from(ask.caller), comment: said_why(comment)? };
    ask.shared.command(|done| Command::Resend { ask: ask_for, done }).await
}
