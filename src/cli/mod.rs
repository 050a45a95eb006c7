//! The operator's tool: one file per subcommand.

mod access;
mod alerts;
mod approvals;
mod bar;
mod check;
mod client;
mod csv;
mod deliveries;
mod destinations;
mod explain;
mod export;
mod exports;
mod fault;
mod hold;
mod index;
mod log;
mod normalise;
mod ordered;
mod output;
mod plain;
mod quarantine;
mod quickstart;
mod recipients;
mod reload;
mod report;
mod run;
mod runs;
mod samples;
mod scrub;
mod silence;
mod status;
mod table;
mod token;
mod version;
mod why;
mod worker;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
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

// What a command says of itself stands at its arguments, here and below: words at a variant hide all but their first line.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Explain(explain::Args),
    Normalise(normalise::Args),
    Quickstart(quickstart::Args),
    /// Show alerts
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// Report who makes noise, and what suppressions hold back
    #[command(subcommand)]
    Report(report::Command),
    /// Keep alerts quiet for a while
    #[command(subcommand)]
    Silence(silence::Command),
    Export(export::Args),
    Why(why::Args),
    /// Show runs of playbooks
    #[command(subcommand)]
    Runs(runs::Command),
    /// Look after what playbooks send: list it, and send dead letters again
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// Look after where playbooks send to, and try it out
    #[command(subcommand)]
    Destinations(destinations::Command),
    /// Look after where alerts and changes go on to as they happen, and try it out
    #[command(subcommand)]
    Exports(exports::Command),
    /// Show what playbooks ask people
    #[command(subcommand)]
    Approvals(approvals::Command),
    Approve(approvals::decide::Approve),
    Deny(approvals::decide::Deny),
    /// Keep webhooks and mails from going out for a while
    #[command(subcommand)]
    Hold(hold::Command),
    /// Look after who gets mails
    #[command(subcommand)]
    Recipients(recipients::Command),
    /// Look after records that no format took
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Look after the index that lists come from
    #[command(subcommand)]
    Index(index::Command),
    /// Make and revoke tokens for HTTP
    #[command(subcommand)]
    Token(token::Command),
    /// Try the whole way with sample alerts
    #[command(subcommand)]
    Samples(samples::Command),
    /// Read and verify the journal
    #[command(subcommand)]
    Log(log::Command),
    Status(status::Args),
    Reload(reload::Args),
    Version(version::Args),
    /// Evaluate playbooks for the daemon that started it
    #[command(hide = true)]
    Worker,
}

/// What a command works with.
struct Context {
    /// As given with `--dir`.
    dir: Option<PathBuf>,
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
    let (dir, places, look) = (cli.global.dir.clone(), Places::of(&cli.global), Look::of_terminal());
    let context = Context { dir, places, format: cli.global.output, look };
    match cli.command.run(&context) {
        Ok(exit) => exit.into(),
        Err(fault) => fault.report(),
    }
}

impl Command {
    fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Run(args) => args.run(context),
            Self::Check(args) => args.run(context),
            Self::Explain(args) => args.run(context),
            Self::Normalise(args) => args.run(context),
            Self::Quickstart(args) => args.run(context),
            Self::Alerts(command) => command.run(context),
            Self::Report(command) => command.run(context),
            Self::Silence(command) => command.run(context),
            Self::Export(args) => args.run(context),
            Self::Why(args) => args.run(context),
            Self::Runs(command) => command.run(context),
            Self::Deliveries(command) => command.run(context),
            Self::Destinations(command) => command.run(context),
            Self::Exports(command) => command.run(context),
            Self::Approvals(command) => command.run(context),
            Self::Approve(args) => args.run(context),
            Self::Deny(args) => args.run(context),
            Self::Hold(command) => command.run(context),
            Self::Recipients(command) => command.run(context),
            Self::Quarantine(command) => command.run(context),
            Self::Index(command) => command.run(context),
            Self::Token(command) => command.run(context),
            Self::Samples(command) => command.run(context),
            Self::Log(command) => command.run(context),
            Self::Status(args) => args.run(context),
            Self::Reload(args) => args.run(context),
            Self::Version(args) => args.run(context),
            Self::Worker => worker::run(),
        }
    }
}

impl Context {
    /// The content folder: as given, else `--dir`, else the current one.
    fn folder(&self, given: Option<&Path>) -> PathBuf {
        given.or(self.dir.as_deref()).unwrap_or(Path::new(".")).to_owned()
    }

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
            Format::Csv => Err(Fault::new("this command does not print CSV").hint("`soard alerts list -o csv` does")),
        }
    }
}

#[cfg(test)]
mod tests;
