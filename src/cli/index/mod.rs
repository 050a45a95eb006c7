//! `soard index`: the tables that lists of alerts come from.

pub mod rebuild;
pub mod wait;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with the index.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Rebuild(rebuild::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Rebuild(args) => args.run(context),
        }
    }
}
