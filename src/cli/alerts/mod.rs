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
    List(list::Args),
    Show(show::Args),
    History(history::Args),
    SetStatus(change::SetStatus),
    Comment(change::Comment),
    Tag(change::Tag),
    Assign(change::Assign),
    Feedback(change::Feedback),
    Run(run::Args),
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
