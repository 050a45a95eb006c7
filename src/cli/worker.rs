//! `soard worker`: a process that evaluates playbooks for the daemon that started it. Not for people.

use crate::cli::fault::{Exit, Fault};
use crate::daemon::workers::inside;

/// Serves the daemon until it closes the socket.
pub(super) fn run() -> Result<Exit, Fault> {
    inside::main().map_err(|error| Fault::new("a worker of the daemon cannot go on").because(error))?;
    Ok(Exit::Good)
}
