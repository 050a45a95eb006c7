//! `soard alerts`: the list for triage, and everything about one.

pub mod list;
pub mod show;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with alerts.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List alerts: open ones first, by severity, then the newest
    List(list::Args),
    /// Show everything about one alert
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
