//! `soard token list`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, FAINT, GOOD, Look, NAME, WARN, ago, count, styled};
use crate::cli::table::{Cell, Table};
use crate::domain::token::Token;

/// Tokens that expire within this many seconds are marked.
const SOON_SECS: i64 = 7 * 24 * 3600;

/// List tokens, without the tokens themselves
///
/// Revoked ones are shown with --all. Exits with 1 when the list is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard token list\n  soard token list --all -o json | jq '.[].name'")]
pub struct Args {
    /// Also those that were revoked
    #[arg(long)]
    all: bool,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let mut tokens: Vec<Token> = context.daemon()?.get("/tokens").map_err(refused)?;
        tokens.retain(|token| self.all || token.revoked.is_none());
        context.print(&tokens, |tokens, look| human(tokens, look))?;
        Ok(if tokens.is_empty() { Exit::Nothing } else { Exit::Good })
    }
}

pub(in crate::cli) fn human(tokens: &[Token], look: &Look) -> String {
    let mut text = String::new();
    if !tokens.is_empty() {
        let mut table = Table::new(&["NAME", "ROLE", "STATE", "EXPIRES", "MADE", "BY"], 5);
        tokens.iter().for_each(|token| table.row(cells(token, look)));
        text.push_str(&table.render(look));
    }
    let below = if tokens.is_empty() { "no tokens".to_owned() } else { count(tokens.len() as u64, "token") };
    text.push_str(&styled(FAINT, below));
    text.push('\n');
    text
}

fn cells(token: &Token, look: &Look) -> Vec<Cell> {
    let left = token.expires.duration_since(look.now).as_secs();
    let state = match token.revoked {
        Some(_) => Cell::new("revoked", FAINT),
        None if left <= 0 => Cell::new("expired", BAD),
        None if left < SOON_SECS => Cell::new("expires soon", WARN),
        None => Cell::new("valid", GOOD),
    };
    vec![
        Cell::new(&token.name, NAME),
        Cell::from(token.role.as_str()),
        state,
        Cell::from(ago(token.expires, look)),
        Cell::from(ago(token.made, look)),
        Cell::from(&token.by),
    ]
}
