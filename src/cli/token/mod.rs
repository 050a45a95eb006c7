//! `soard token`: who may do what over HTTP.

pub mod add;
pub mod list;
pub mod revoke;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Add(add::Args),
    List(list::Args),
    Revoke(revoke::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Add(args) => args.run(context),
            Self::List(args) => args.run(context),
            Self::Revoke(args) => args.run(context),
        }
    }
}
