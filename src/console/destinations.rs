//! Destinations: how they stand, and whether a message gets through.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, short};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::{Comment, Shared};
use crate::daemon::api::Command;
use crate::daemon::query::deliveries::{self, DeliveryFilter, DeliveryRow, DeliveryState};
use crate::daemon::report::{DestinationReport, TrialReport};
use crate::domain::operator::Who;

/// Dead letters that the view of a destination holds: the newest.
const LETTERS_MAX: u64 = 10;

/// How long a trial may take: a mail server may use up its time at each stage.
const TRIAL_WAIT_MAX: Duration = Duration::from_secs(280);

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/destinations", "list_destinations", "How each destination stands"), list);
    let told = "How a destination is set up, how it stands, and what failed last";
    routes.add(Route::read("/destinations/{name}", "get_destination", told), show);
    let sent = "Send one marked message, and tell what the peer says at each stage";
    routes.add(Route::change("/destinations/{name}/test", "test_destination", sent), test);
}

/// The destination that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OneDestination {
    /// Its name in `soard.yaml`.
    pub(super) name: String,
}

/// Everything about a destination, but for secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationView {
    /// How it stands.
    pub report: DestinationReport,
    /// How it is set up, in words.
    pub settings: BTreeMap<String, String>,
    /// The dead letters, the newest first.
    pub letters: Vec<DeliveryRow>,
}

async fn all(shared: &Shared) -> Answer<Vec<(DestinationReport, BTreeMap<String, String>)>> {
    shared.command(Command::Destinations).await
}

async fn list(ask: Ask) -> Answer<Vec<DestinationReport>> {
    Ok(all(&ask.shared).await?.into_iter().map(|(report, _)| report).collect())
}

async fn show(ask: Ask<OneDestination>) -> Answer<DestinationView> {
    let name = ask.path.name;
    let found = all(&ask.shared).await?.into_iter().find(|(report, _)| report.name == name);
    let (report, settings) = found.ok_or_else(|| unknown(&name))?;
    let (outcome, limit) = (Some(DeliveryState::Failed), Some(LETTERS_MAX));
    let filter = DeliveryFilter { destination: Some(name), outcome, limit, ..DeliveryFilter::default() };
    let letters = ask.shared.scan(1, move |lines| deliveries::list(lines, &filter)).await?.deliveries;
    Ok(DestinationView { report, settings, letters })
}

async fn test(ask: Ask<OneDestination, Nothing, Comment>) -> Answer<TrialReport> {
    let (name, who, comment) = (ask.path.name, Who::from(ask.caller), short(ask.body.comment)?);
    let told = ask
        .shared
        .command_within(TRIAL_WAIT_MAX, |done| Command::TryOut { name: name.clone(), who, comment, done })
        .await?;
    told.map_err(Failure::busy)?.ok_or_else(|| unknown(&name))
}

fn unknown(name: &str) -> Failure {
    let name: String = name.chars().take(100).collect();
    Failure::not_found(format!("soard.yaml has no destination {name:?}"))
}
