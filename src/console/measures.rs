//! What can be done about an alert, and a suppression drafted from it.

use crate::console::alerts::OneAlert;
use crate::console::ask::{Answer, Ask};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::daemon::api::{Command, Today};
use crate::daemon::likeness::{Likeness, NoLikeness, Wanted, likeness};
use crate::daemon::measures::{self, Ground, Measures};
use crate::daemon::report::Indexed;
use crate::domain::id::AlertId;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let about = "What can be done about an alert, and which others share something with it";
    routes.add(Route::read("/alerts/{id}/measures", "get_measures", about), measures);
    let about = "A suppression drafted from an alert, and how many past alerts it would have matched";
    routes.add(Route::read("/alerts/{id}/suppression", "draft_suppression", about), suppression);
}

async fn measures(ask: Ask<OneAlert>) -> Answer<Indexed<Measures>> {
    let (id, shared) = (ask.path.id, ask.shared);
    let Today { bundle, destinations } = shared.command(Command::Today).await?;
    let journal = shared.api.reader.clone();
    let answer = shared.ask(move |conn, now| {
        let ground = Ground { conn, journal: &journal, destinations: Some(&destinations), now };
        measures::measures(ground, &bundle, id)
    });
    known(id, answer.await?)
}

async fn suppression(ask: Ask<OneAlert, Wanted>) -> Answer<Indexed<Likeness>> {
    let (id, wanted, shared) = (ask.path.id, ask.query, ask.shared);
    let journal = shared.api.reader.clone();
    let answer = shared.ask(move |conn, now| {
        let ground = Ground { conn, journal: &journal, destinations: None, now };
        match likeness(ground, id, &wanted) {
            Err(NoLikeness::Index(error)) => Err(error),
            Err(NoLikeness::Asked(why)) => Ok(Err(why)),
            Ok(found) => Ok(Ok(found)),
        }
    });
    let Indexed { answer, behind } = answer.await?;
    known(id, Indexed { answer: answer.map_err(Failure::bad)?, behind })
}

fn known<T>(id: AlertId, Indexed { answer, behind }: Indexed<Option<T>>) -> Answer<Indexed<T>> {
    let answer = answer.ok_or_else(|| Failure::not_found(format!("the index has no alert {id}")))?;
    Ok(Indexed { answer, behind })
}
