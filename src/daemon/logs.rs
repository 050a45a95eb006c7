//! Where log lines go: journald under systemd, people on a terminal, JSON on request.

use clap::ValueEnum;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Journald when systemd connected it, otherwise human.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
    /// Structured fields in the journal of systemd.
    Journald,
}

/// Sets the process's log up. A line that cannot be written is lost: on a full disk nobody can be told of it, and
/// soard goes on. `SOARD_LOG` filters as `tracing` does: `info` by default, `soard=debug` for more.
///
/// # Errors
/// When journald is asked for and cannot be reached.
pub fn start(form: LogForm) -> std::io::Result<()> {
    let filter = EnvFilter::try_from_env("SOARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    match form {
        LogForm::Json => {
            registry.with(fmt::layer().log_internal_errors(false).json().with_writer(std::io::stderr)).init()
        }
        LogForm::Journald => registry.with(tracing_journald::layer()?).init(),
        LogForm::Auto if under_systemd => match tracing_journald::layer() {
            Ok(layer) => registry.with(layer).init(),
            Err(_) => registry
                .with(
                    fmt::layer()
                        .log_internal_errors(false)
                        .with_ansi(false)
                        .without_time()
                        .with_writer(std::io::stderr),
                )
                .init(),
        },
        LogForm::Auto | LogForm::Human => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry
                .with(
                    fmt::layer()
                        .log_internal_errors(false)
                        .with_ansi(colour)
                        .with_target(false)
                        .with_writer(std::io::stderr),
                )
                .init();
        }
    }
    Ok(())
}
