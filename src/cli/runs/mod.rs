//! `soard runs`: the list, and every step of one.

pub mod list;
pub mod show;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with runs.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List runs: open ones first, then the newest
    List(list::Args),
    /// Show every step of one run
    Show(show::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
        }
    }
}
