//! `soard report`: what came of the alerts, and what the rules held back.

pub mod noisy;
pub mod suppressions;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to report.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Noisy(noisy::Args),
    Suppressions(suppressions::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Noisy(args) => args.run(context),
            Self::Suppressions(args) => args.run(context),
        }
    }
}
