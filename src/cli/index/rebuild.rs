//! `soard index rebuild`.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{GOOD, Look, count, size, styled};
use crate::daemon::report::IndexReport;
use crate::index::build::{Progress, build};
use crate::index::place::Place;
use crate::index::query::{Request, list};
use crate::index::readers::Readers;
use crate::journal::reader::Reader;

/// How often a daemon that builds is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Cells of the progress bar.
const BAR: usize = 30;

/// Build the index anew from the journal
///
/// Never needed in ordinary use: a missing, damaged or older index is built anew by itself. A running daemon builds beside
/// its work, and lists come from the old index meanwhile; without one this command builds, and a daemon that starts meanwhile
/// waits for it. The journal is only read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard index rebuild\n  soard -C /etc/soard index rebuild -o json")]
pub struct Args {}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
struct Built {
    /// The last entry of the journal that is in the index.
    entry: u64,
    /// How many alerts it has.
    alerts: u64,
    /// How large it is.
    bytes: u64,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let mut bar = Bar::default();
        let place = Place::of(&context.places.state);
        let entry = match Client::connect(&context.places.socket) {
            Ok(client) => by_daemon(&client, &mut bar)?,
            Err(_) => here(context, &place, &mut bar)?,
        };
        bar.clear();
        let asked = Request { all: true, limit: Some(1), ..Request::default() };
        let counted = Readers::new(place.clone()).query(|conn| list(conn, &asked, context.look.now));
        let bytes = place.current().and_then(|(_, path)| std::fs::metadata(path).ok()).map_or(0, |data| data.len());
        let built = Built { entry, alerts: counted.map_or(0, |page| page.matching.n), bytes };
        context.print(&built, human)?;
        Ok(Exit::Good)
    }
}

fn human(built: &Built, _: &Look) -> String {
    let alerts = count(built.alerts, "alert");
    format!("{}: entries up to {}, {alerts}, {}\n", styled(GOOD, "built"), built.entry, size(built.bytes))
}

fn here(context: &Context, place: &Place, bar: &mut Bar) -> Result<u64, Fault> {
    let reader = Reader::open(&context.places.journal())?;
    let _lock = place.lock()?;
    let mut done = 0;
    let number = build(place, &reader, &mut |progress| {
        done = progress.done;
        bar.show(progress);
        true
    })?;
    place.clear_but(Some(number))?;
    Ok(done)
}

fn by_daemon(client: &Client, bar: &mut Bar) -> Result<u64, Fault> {
    let begun: IndexReport = client.post("/index/rebuild").map_err(spoken)?;
    let goal = begun.entry + begun.behind;
    loop {
        let IndexReport { entry, behind, doing, why } = client.get("/index").map_err(spoken)?;
        if let Some(why) = why {
            return Err(Fault::new("the daemon cannot build the index").hint(why));
        }
        if doing == "following" && entry >= goal {
            return Ok(entry);
        }
        bar.show(Progress { done: entry, of: entry + behind });
        thread::sleep(ASK_EVERY);
    }
}

/// How far it is, on one line of a terminal.
#[derive(Default)]
struct Bar {
    shown: Option<u64>,
}

impl Bar {
    fn show(&mut self, Progress { done, of }: Progress) {
        let percent = done.min(of) * 100 / of.max(1);
        if !io::stderr().is_terminal() || self.shown == Some(percent) {
            return;
        }
        self.shown = Some(percent);
        let full = BAR * usize::try_from(percent).unwrap_or_default() / 100;
        let empty = BAR - full;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(empty));
        // There is nobody left to tell when stderr is closed.
        let _ = write!(io::stderr(), "\r{bar} {percent:>3} % of {of} entries");
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
