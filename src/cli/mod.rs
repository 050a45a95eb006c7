//! The operator's tool: one file per subcommand.

mod access;
mod alerts;
mod client;
mod fault;
mod log;
mod output;
mod plain;
mod quarantine;
mod reload;
mod runs;
mod scrub;
mod status;
mod table;
mod version;
mod why;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::access::{Access, Places};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{Format, Look};

const EXIT_CODES: &str = "Exit codes: 0 good; 1 nothing found, or a check failed; 2 could not run, or wrong usage.";

/// Security automation: alerts in, decisions by rules kept in git, durable playbooks out, every step on record.
#[derive(Debug, Parser)]
#[command(name = "soard", version, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// The running daemon's control socket
    #[arg(
        long,
        global = true,
        env = "SOARD_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        help_heading = "Global options"
    )]
    pub socket: Option<PathBuf>,
    /// The folder with soard.yaml; its state folder has the journal and the control socket
    #[arg(
        short = 'C',
        long,
        global = true,
        env = "SOARD_DIR",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub dir: Option<PathBuf>,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    pub output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show alerts
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// Say why something happened: what was decided then, by which rule at which file and line
    Why(why::Args),
    /// Show runs of playbooks
    #[command(subcommand)]
    Runs(runs::Command),
    /// Look after records that no format took
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Read and verify the journal
    #[command(subcommand)]
    Log(log::Command),
    /// Show how the daemon stands
    Status(status::Args),
    /// Load rules and playbooks anew
    Reload(reload::Args),
    /// Print the version
    Version(version::Args),
}

/// What a command works with.
struct Context {
    places: Places,
    format: Format,
    look: Look,
}

/// Runs the command that the arguments name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => usage.exit(),
    };
    let context = Context { places: Places::of(&cli.global), format: cli.global.output, look: Look::of_terminal() };
    match cli.command.run(&context) {
        Ok(exit) => exit.into(),
        Err(fault) => fault.report(),
    }
}

impl Command {
    fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Alerts(command) => command.run(context),
            Self::Why(args) => args.run(context),
            Self::Runs(command) => command.run(context),
            Self::Quarantine(command) => command.run(context),
            Self::Log(command) => command.run(context),
            Self::Status(args) => args.run(context),
            Self::Reload(args) => args.run(context),
            Self::Version(args) => args.run(context),
        }
    }
}

impl Context {
    /// The daemon, or the journal itself when none answers.
    fn access(&self) -> Result<Access, Fault> {
        Access::open(&self.places)
    }

    /// The daemon.
    fn daemon(&self) -> Result<Client, Fault> {
        access::daemon(&self.places)
    }

    /// Prints the value as JSON, or as `human` says.
    fn print<T: serde::Serialize>(&self, value: &T, human: impl FnOnce(&T, &Look) -> String) -> Result<(), Fault> {
        match self.format {
            Format::Human => output::print(&human(value, &self.look)),
            Format::Json => output::print(&output::json(value)),
        }
    }
}

#[cfg(test)]
mod tests;
