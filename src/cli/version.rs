//! `soard version`.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};

/// Print the version
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard version\n  soard version -o json")]
pub struct Args {}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let version = Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
        context.print(&version, |Version { name, version }, _| format!("{name} {version}\n"))?;
        Ok(Exit::Good)
    }
}
