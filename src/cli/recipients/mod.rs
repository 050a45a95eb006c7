//! `soard recipients`: who gets mails.

pub mod change;
pub mod list;
pub mod show;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with recipients.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List recipients: what they want, have got and wait for
    List(list::Args),
    /// Show what one wants, has got and waits for
    Show(show::Args),
    /// Send an address no mails any more
    Unsubscribe(change::Unsubscribe),
    /// Send an address mails again
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
