//! Exports: how they stand, and whether a notice gets through.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, short};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::Comment;
use crate::daemon::api::Command;
use crate::daemon::report::{ExportReport, TrialReport};
use crate::domain::operator::Upkeep;
use crate::engine::orders::Wish;

/// How long a trial may take: a batch that is under way goes first.
const TRIAL_WAIT_MAX: Duration = Duration::from_secs(280);

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/exports", "list_exports", "How each export stands"), list);
    routes.add(Route::read("/exports/{name}", "get_export", "How an export is set up and stands"), show);
    let sent = "Send one marked notice, and tell what the peer says at each stage";
    routes.add(Route::change("/exports/{name}/test", "test_export", sent), test);
}

/// The export that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OneExport {
    /// Its name in `soard.yaml`.
    pub(super) name: String,
}

/// Everything about an export, but for secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportView {
    /// How it stands.
    pub report: ExportReport,
    /// How it is set up, in words.
    pub settings: BTreeMap<String, String>,
}

async fn list(ask: Ask) -> Answer<Vec<ExportReport>> {
    let all = ask.shared.command(Command::Exports).await?;
    Ok(all.into_iter().map(|(report, _)| report).collect())
}

async fn show(ask: Ask<OneExport>) -> Answer<ExportView> {
    let name = ask.path.name;
    let found = ask.shared.command(Command::Exports).await?.into_iter().find(|(report, _)| report.name == name);
    let (report, settings) = found.ok_or_else(|| unknown(&name))?;
    Ok(ExportView { report, settings })
}

async fn test(ask: Ask<OneExport, Nothing, Comment>) -> Answer<TrialReport> {
    let name = ask.path.name;
    let all = ask.shared.command(Command::Exports).await?;
    if !all.iter().any(|(report, _)| report.name == name) {
        return Err(unknown(&name));
    }
    let wish = Wish::Upkeep(Upkeep::ExportTest { export: name.clone() });
    let seq = ask.shared.order(ask.caller, short(ask.body.comment)?, wish).await?.seq.unwrap_or_default();
    let sent =
        ask.shared.command_within(TRIAL_WAIT_MAX, |done| Command::TryOutExport { name: name.clone(), seq, done });
    sent.await?.map_err(Failure::busy)?.ok_or_else(|| unknown(&name))
}

fn unknown(name: &str) -> Failure {
    let name: String = name.chars().take(100).collect();
    Failure::not_found(format!("soard.yaml has no export {name:?}"))
}
