//! The daemon itself: how it stands, its bundle, its index, samples, and what there is to ask.

use std::sync::Arc;

use serde_json::Value;

use crate::console::ask::{Answer, Ask, Nothing, short};
use crate::console::routes::{Route, Routes};
use crate::console::shared::{Comment, standing};
use crate::daemon::api::Command;
use crate::daemon::report::{IndexReport, ReloadReport, Status};
use crate::daemon::samples;
use crate::domain::operator::Upkeep;
use crate::domain::token::Role;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let admin = Role::Admin;
    routes.add(Route::read("/openapi.json", "get_description", "This document"), description);
    routes.add(Route::read("/status", "get_status", "How the daemon stands"), status);
    routes.add(Route::change("/reload", "reload", "Load rules and playbooks anew").role(admin), reload);
    routes.add(Route::read("/index", "get_index", "How the index of alerts stands"), index);
    routes.add(Route::change("/index/rebuild", "rebuild_index", "Build the index anew").role(admin), rebuild);
    routes.add(
        Route::change("/samples", "send_samples", "Send sample alerts through every stage and sink"),
        send_samples,
    );
}

async fn description(ask: Ask) -> Answer<Value> {
    Ok(ask.shared.document.clone())
}

async fn status(ask: Ask) -> Answer<Status> {
    let mut status = ask.shared.command(Command::Status).await?;
    status.index = Some(standing(&ask.shared.api.index));
    Ok(status)
}

async fn reload(ask: Ask<Nothing, Nothing, Comment>) -> Answer<ReloadReport> {
    ask.shared.order(ask.caller, short(ask.body.comment)?, Wish::Upkeep(Upkeep::Reload)).await?;
    ask.shared.command(Command::Reload).await
}

async fn index(ask: Ask) -> Answer<IndexReport> {
    Ok(standing(&ask.shared.api.index))
}

async fn rebuild(ask: Ask<Nothing, Nothing, Comment>) -> Answer<IndexReport> {
    ask.shared.order(ask.caller, short(ask.body.comment)?, Wish::Upkeep(Upkeep::IndexRebuild)).await?;
    let index = &Arc::clone(&ask.shared).api.index;
    index.rebuild();
    Ok(standing(index))
}

async fn send_samples(ask: Ask<Nothing, Nothing, samples::Ask>) -> Answer<samples::SamplesReport> {
    let samples::Ask { formats, comment } = ask.body;
    // What is no format is answered, and says nothing on record.
    let known = formats.iter().filter(|format| samples::SAMPLES.iter().any(|(known, _)| known == format));
    let (known, actor): (Vec<String>, _) = (known.cloned().collect(), ask.caller.name.clone());
    if formats.is_empty() || !known.is_empty() {
        let wish = Wish::Upkeep(Upkeep::Samples { formats: known });
        ask.shared.order(ask.caller, short(comment)?, wish).await?;
    }
    ask.shared.command(|done| Command::Samples { formats, actor, done }).await
}
