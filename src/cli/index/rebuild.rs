//! `soard index rebuild`.

use serde::{Deserialize, Serialize};

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::bar::Bar;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::index::wait::wait;
use crate::cli::output::{GOOD, Look, count, size, styled};
use crate::console::shared::Comment;
use crate::daemon::report::IndexReport;
use crate::index::build::build;
use crate::index::place::Place;
use crate::index::query::{Request, list};
use crate::index::readers::Readers;
use crate::journal::reader::Reader;

/// Build the index anew from the journal
///
/// Never needed in ordinary use: a missing, damaged or older index is built anew by itself. A running daemon builds beside
/// its work, and lists come from the old index meanwhile; without one this command builds, and a daemon that starts meanwhile
/// waits for it. The journal is only read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard index rebuild\n  soard -C /etc/soard index rebuild -o json")]
pub struct Args {
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

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
        let mut bar = Bar::new("entries");
        let place = Place::of(&context.places.state);
        let entry = match Client::connect(&context.places.socket) {
            Ok(client) => by_daemon(&client, &self.comment, &mut bar)?,
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
        bar.show(progress.done, progress.of);
        true
    })?;
    place.clear_but(Some(number))?;
    Ok(done)
}

fn by_daemon(client: &Client, why: &str, bar: &mut Bar) -> Result<u64, Fault> {
    let why = Comment { comment: why.to_owned() };
    let begun: IndexReport = client.send("/index/rebuild", &why).map_err(spoken)?;
    wait(client, begun.entry + begun.behind, bar)
}
