//! `soard alerts`: the list for triage, and everything about one.

pub mod csv;
pub mod history;
pub mod list;
pub mod show;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with alerts.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List alerts: by severity, then the newest
    List(list::Args),
    /// Show everything about one alert
    Show(show::Args),
    /// Show who changed an alert, when and why, and what was sent for it
    History(history::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::History(args) => args.run(context),
        }
    }
}
