//! `soard runs`: the list, every step of one, and what an operator can do about it.

pub mod list;
pub mod order;
pub mod show;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with runs.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(list::Args),
    Show(show::Args),
    Cancel(order::Cancel),
    Restart(order::Restart),
    Retry(order::Retry),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Cancel(args) => args.run(context),
            Self::Restart(args) => args.run(context),
            Self::Retry(args) => args.run(context),
        }
    }
}
