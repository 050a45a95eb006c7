//! `soard log key`.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{GOOD, Look, styled, when};
use crate::cli::plain::{Page, safe};
use crate::console::shared::Comment;
use crate::daemon::query::log::LogFilter;
use crate::daemon::report::KeyReport;
use crate::domain::entry::{Facts, Log};

/// Show the public keys that checkpoints are signed with, or change the key
///
/// The newest comes last; keep it where nobody who reaches this host can change it, and give it to `soard log verify
/// --key`. `soard log key rotate` makes a new key: the old one vouches for it once more and is then deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard log key\n  soard log key -o json | jq -r '.[-1].verifier' > soard.pub\n  \
                        soard log key rotate")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Sign with a new key from now on
    ///
    /// The old key signs once more, to vouch for the new one, and is deleted. A key that soard.yaml names is changed there.
    #[command(after_help = "Examples:\n  soard log key rotate\n  soard log key rotate -c \"the yearly change\"")]
    Rotate {
        /// Why; it stands in the journal beside your name
        #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
        comment: String,
    },
}

/// A key, and from where on it signs.
#[derive(Debug, Serialize)]
struct Key {
    verifier: String,
    since: Timestamp,
    seq: u64,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match &self.command {
            None => show(context),
            Some(Command::Rotate { comment }) => {
                let why = Comment { comment: comment.clone() };
                let report: KeyReport = context.daemon()?.send("/log/key/rotate", &why).map_err(spoken)?;
                context.print(&report, rotated)?;
                Ok(Exit::Good)
            }
        }
    }
}

fn show(context: &Context) -> Result<Exit, Fault> {
    let access = context.access()?;
    let mut filter = LogFilter { kind: Some("log".into()), ..LogFilter::default() };
    let mut keys = Vec::new();
    loop {
        let page = access.log(&filter)?;
        for line in &page.lines {
            let named = Facts::parse(&line.kind, line.data.get());
            if let Ok(Facts::Log(Log::Key { verifier, .. } | Log::Repaired { key: Some(verifier), .. })) = named {
                keys.push(Key { verifier, since: line.at, seq: line.seq });
            }
        }
        filter.from = Some(page.next);
        if !page.more {
            break;
        }
    }
    context.print(&keys, human)?;
    Ok(if keys.is_empty() { Exit::Nothing } else { Exit::Good })
}

fn human(keys: &Vec<Key>, _look: &Look) -> String {
    let mut page = Page::default();
    for Key { verifier, since, seq } in keys {
        page.line(0, safe(verifier));
        page.labelled(2, "signs", format!("from entry {seq} on, {}", when(*since)));
    }
    if keys.is_empty() {
        page.line(0, "no key has signed this journal yet".to_owned());
    }
    page.into_text()
}

fn rotated(report: &KeyReport, _look: &Look) -> String {
    let mut page = Page::default();
    page.line(0, styled(GOOD, "a new key signs the journal; keep its public half elsewhere"));
    page.labelled(2, "new", safe(&report.verifier));
    page.labelled(2, "replaces", safe(&report.replaces));
    page.into_text()
}
