//! The daemon itself: how it stands, its bundle, its index, samples, and what there is to ask.

use std::sync::Arc;

use serde_json::Value;

use crate::console::ask::{Answer, Ask, Nothing};
use crate::console::routes::{Route, Routes};
use crate::console::shared::standing;
use crate::daemon::api::Command;
use crate::daemon::report::{IndexReport, ReloadReport, Status};
use crate::daemon::samples;
use crate::domain::operator::Who;
use crate::domain::token::Role;

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

async fn reload(ask: Ask) -> Answer<ReloadReport> {
    ask.shared.command(Command::Reload).await
}

async fn index(ask: Ask) -> Answer<IndexReport> {
    Ok(standing(&ask.shared.api.index))
}

async fn rebuild(ask: Ask) -> Answer<IndexReport> {
    let index = &Arc::clone(&ask.shared).api.index;
    index.rebuild();
    Ok(standing(index))
}

async fn send_samples(ask: Ask<Nothing, Nothing, samples::Ask>) -> Answer<samples::SamplesReport> {
    let (formats, who) = (ask.body.formats, Who::from(ask.caller));
    ask.shared.command(|done| Command::Samples { formats, actor: who.actor, done }).await
}
