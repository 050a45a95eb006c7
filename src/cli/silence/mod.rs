//! `soard silence`: what operators keep quiet for a while.

pub mod add;
pub mod end;
pub mod list;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// What to do with silences.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Add(add::Args),
    List(list::Args),
    Expire(end::Expire),
    Update(end::Update),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Add(args) => args.run(context),
            Self::List(args) => args.run(context),
            Self::Expire(args) => args.run(context),
            Self::Update(args) => args.run(context),
        }
    }
}
