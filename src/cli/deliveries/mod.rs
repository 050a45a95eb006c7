//! `soard deliveries`: what playbooks send, and what became of it.

pub mod list;
pub mod retry;
pub mod show;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::daemon::query::deliveries::DeliveryState;

/// What to do with deliveries.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(list::Args),
    Show(show::Args),
    Retry(retry::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Retry(args) => args.run(context),
        }
    }
}

impl ValueEnum for DeliveryState {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Failed => "every dead letter: dead, rejected or unknown",
            Self::Dead => "all attempts are used up",
            Self::Rejected => "refused for good",
            Self::Unknown => "it may or may not have arrived",
            Self::Waiting => "no outcome yet",
            Self::Ok => "the receiver took it",
            Self::Cancelled => "nobody needs it any more: its run was cancelled, or its question decided",
            Self::Any => "all of them",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}
