//! Tokens. One is made here, told once, and kept by its hash alone.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::console::ask::{Answer, Ask, Nothing, short};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::Comment;
use crate::daemon::api::Command;
use crate::daemon::report::OrderReport;
use crate::domain::time::Span;
use crate::domain::token::{Role, Token};
use crate::engine::orders::Wish;

/// What tokens begin with, so that scanners for leaked secrets know them.
const BEGINNING: &str = "soard_";

/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    let admin = Role::Admin;
    routes.add(Route::read("/tokens", "list_tokens", "Tokens, revoked ones included").role(admin), list);
    routes.add(Route::change("/tokens", "add_token", "Make a token; it is told this once").role(admin), make);
    routes.add(Route::change("/tokens/{name}/revoke", "revoke_token", "Take a token back").role(admin), revoke);
}

/// The token that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneToken {
    /// Whose it is.
    name: String,
}

/// A token to make.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewToken")]
pub struct New {
    /// Whose it is.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_.-]{0,63}$"))]
    pub name: String,
    /// What its owner may do.
    pub role: Role,
    /// How long.
    pub lasts: Span,
    /// What for; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    pub comment: String,
}

/// A token that was made, with the only copy of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MadeToken")]
pub struct Made {
    /// The token.
    pub token: String,
    /// Its order.
    #[serde(flatten)]
    pub report: OrderReport,
}

async fn list(ask: Ask) -> Answer<Vec<Token>> {
    ask.shared.command(Command::Tokens).await
}

async fn make(ask: Ask<Nothing, Nothing, New>) -> Answer<Made> {
    let New { name, role, lasts, comment } = ask.body;
    let token = random()?;
    let sha256 = HEXLOWER.encode(&Sha256::digest(&token));
    let report = ask.shared.order(ask.caller, short(comment)?, Wish::TokenAdd { name, role, sha256, lasts }).await?;
    Ok(Made { token, report })
}

fn random() -> Answer<String> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::broken(format!("no random numbers: {error}")))?;
    Ok(format!("{BEGINNING}{}", BASE64URL_NOPAD.encode(&bytes)))
}

async fn revoke(ask: Ask<OneToken, Nothing, Comment>) -> Answer<OrderReport> {
    ask.shared.order(ask.caller, short(ask.body.comment)?, Wish::TokenRevoke(ask.path.name)).await
}
