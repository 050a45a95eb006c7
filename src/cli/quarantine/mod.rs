//! `soard quarantine`: records that no format took.

pub mod discard;
pub mod list;
pub mod retry;
pub mod show;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with quarantined records.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(list::Args),
    Show(show::Args),
    Retry(retry::Args),
    /// Give quarantined records up, so that retention need not keep them
    Discard(discard::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Retry(args) => args.run(context),
            Self::Discard(args) => args.run(context),
        }
    }
}
