//! `soard recipients`: who gets mails.

pub mod change;
pub mod list;
pub mod show;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with recipients.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(list::Args),
    Show(show::Args),
    Unsubscribe(change::Unsubscribe),
    Subscribe(change::Subscribe),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Unsubscribe(args) => args.run(context),
            Self::Subscribe(args) => args.run(context),
        }
    }
}
