//! `soard destinations`: where playbooks send to.

pub mod list;
pub mod show;
pub mod test;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with destinations.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(list::Args),
    Show(show::Args),
    Test(test::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Test(args) => args.run(context),
        }
    }
}
