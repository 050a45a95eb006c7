//! `soard alerts`: the list for triage, everything about one, and what operators do about them.

pub mod change;
pub(in crate::cli) mod csv;
pub mod history;
pub mod list;
pub mod measures;
pub mod order;
pub mod run;
pub mod show;
pub mod suppress;

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
    /// Say where alerts stand: active, in_progress, resolved or dismissed
    SetStatus(change::SetStatus),
    /// Comment on alerts
    Comment(change::Comment),
    /// Add and remove tags
    Tag(change::Tag),
    /// Say who looks after alerts
    Assign(change::Assign),
    /// Say whether alerts were worth raising
    Feedback(change::Feedback),
    /// Start a playbook for alerts by hand
    Run(run::Args),
    /// Draft a suppression of alerts like one
    Suppress(suppress::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::History(args) => args.run(context),
            Self::SetStatus(args) => args.run(context),
            Self::Comment(args) => args.run(context),
            Self::Tag(args) => args.run(context),
            Self::Assign(args) => args.run(context),
            Self::Feedback(args) => args.run(context),
            Self::Run(args) => args.run(context),
            Self::Suppress(args) => args.run(context),
        }
    }
}
