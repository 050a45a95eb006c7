//! Operators' silences.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::ask::{Answer, Ask, Nothing, said_why, short};
use crate::console::routes::{Route, Routes};
use crate::console::shared::Comment;
use crate::daemon::api::Command;
use crate::daemon::report::OrderReport;
use crate::domain::id::SilenceId;
use crate::domain::silence::{Silence, Term};
use crate::domain::time::Span;
use crate::engine::orders::Wish;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let (read, change) = (Route::read, Route::change);
    routes.add(read("/silences", "list_silences", "Silences that hold, and those that ended last"), list);
    routes.add(change("/silences", "add_silence", "Keep alerts quiet for a while"), make);
    routes.add(change("/silences/{id}/update", "update_silence", "Give a silence another end"), update);
    routes.add(change("/silences/{id}/expire", "expire_silence", "End a silence"), expire);
}

/// The silence that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneSilence {
    /// Which.
    id: SilenceId,
}

/// A silence to make.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSilence")]
pub struct Quiet {
    /// What an alert must have, all of it.
    #[serde(rename = "match")]
    #[schemars(length(min = 1))]
    pub terms: Vec<Term>,
    /// How long.
    pub lasts: Span,
    /// Why.
    #[schemars(length(max = 1_000), regex(pattern = r"\S"))]
    pub comment: String,
}

/// Another end for a silence.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SilenceEnd")]
pub struct End {
    /// How long from now.
    pub lasts: Span,
    /// Why; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    pub comment: String,
}

async fn list(ask: Ask) -> Answer<Vec<Silence>> {
    ask.shared.command(Command::Silences).await
}

async fn make(ask: Ask<Nothing, Nothing, Quiet>) -> Answer<OrderReport> {
    let Quiet { terms, lasts, comment } = ask.body;
    ask.shared.order(ask.caller, said_why(comment)?, Wish::SilenceAdd { terms, lasts }).await
}

async fn update(ask: Ask<OneSilence, Nothing, End>) -> Answer<OrderReport> {
    let wish = Wish::SilenceUpdate { id: ask.path.id, lasts: ask.body.lasts };
    ask.shared.order(ask.caller, short(ask.body.comment)?, wish).await
}

async fn expire(ask: Ask<OneSilence, Nothing, Comment>) -> Answer<OrderReport> {
    ask.shared.order(ask.caller, short(ask.body.comment)?, Wish::SilenceExpire(ask.path.id)).await
}
