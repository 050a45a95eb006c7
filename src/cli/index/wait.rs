//! Waiting for a daemon's index.

use std::thread;
use std::time::Duration;

use crate::cli::access::spoken;
use crate::cli::bar::Bar;
use crate::cli::client::Client;
use crate::cli::fault::Fault;
use crate::daemon::report::IndexReport;

/// How often the daemon is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Waits until the daemon's index has this entry, and returns the last one that it has.
///
/// # Errors
/// When the daemon cannot go on with its index, or does not answer.
pub fn wait(client: &Client, goal: u64, bar: &mut Bar) -> Result<u64, Fault> {
    loop {
        let IndexReport { entry, behind, doing, why } = client.get("/index").map_err(spoken)?;
        if let Some(why) = why {
            return Err(Fault::new("the daemon cannot go on with its index").hint(why));
        }
        if doing == "following" && entry >= goal {
            return Ok(entry);
        }
        bar.show(entry, entry + behind);
        thread::sleep(ASK_EVERY);
    }
}
