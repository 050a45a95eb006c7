//! `soard recipients`: who gets mails.

pub mod change;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with recipients.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Send an address no mails any more
    Unsubscribe(change::Unsubscribe),
    /// Send an address mails again
    Subscribe(change::Subscribe),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Unsubscribe(args) => args.run(context),
            Self::Subscribe(args) => args.run(context),
        }
    }
}
