//! `soard hold`: what operators keep from going out.

pub mod change;
pub mod list;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with holds.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    On(change::On),
    Off(change::Off),
    List(list::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::On(args) => args.run(context),
            Self::Off(args) => args.run(context),
            Self::List(args) => args.run(context),
        }
    }
}
