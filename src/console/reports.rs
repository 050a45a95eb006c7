//! Reports: who makes noise, and what suppressions hold back.

use std::path::Path;

use crate::console::ask::{Answer, Ask, Nothing};
use crate::console::routes::{Route, Routes};
use crate::daemon::api::Command;
use crate::daemon::clock;
use crate::daemon::report::Indexed;
use crate::daemon::suppressions::{self, SuppressionsReport};
use crate::index::noise::{NoiseReport, NoiseRequest, noise};

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let noisy_about = "Kinds, rules, sources, hosts … by the noise they make, with what would make it less";
    routes.add(Route::read("/reports/noisy", "report_noisy", noisy_about), noisy);
    let suppressions_about = "Suppressions with what they hold back; silences apart";
    routes.add(Route::read("/reports/suppressions", "report_suppressions", suppressions_about), held);
}

async fn noisy(ask: Ask<Nothing, NoiseRequest>) -> Answer<Indexed<NoiseReport>> {
    let request = ask.query;
    ask.shared.ask(move |conn, now| noise(conn, &request, now)).await
}

async fn held(ask: Ask) -> Answer<Indexed<SuppressionsReport>> {
    let status = ask.shared.command(Command::Status).await?;
    let mut silences = ask.shared.command(Command::Silences).await?;
    let asked = clock::now();
    silences.retain(|silence| silence.until > asked);
    let report = move |conn: &rusqlite::Connection, now| {
        let report = suppressions::report(conn, Path::new(&status.state_dir), Some(&status.bundle.id), now)?;
        Ok(SuppressionsReport { silences: Some(silences), ..report })
    };
    ask.shared.ask(report).await
}
