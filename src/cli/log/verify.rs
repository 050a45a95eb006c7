//! `soard log verify`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::log::anchor::{self, Anchors};
use crate::cli::log::state_of;
use crate::cli::output::{self, BAD, GOOD, Look, WARN, count, size, styled, when_ago};
use crate::cli::plain::{Page, safe};
use crate::daemon::beside;
use crate::journal::Receipt;
use crate::journal::note::{BadKey, Verifier};
use crate::journal::retention::oldest;
use crate::journal::verify::{Known, Outcome, Report, Stamp, verify_against};

/// Check every hash, the chain and the head
///
/// Reads the files alone and changes nothing; a daemon may be running. Exits with 0 when the journal is whole, with
/// 1 when something was changed, removed or added, with 2 when it cannot be read. Checkpoints are signed with the key
/// that the journal names; whoever can write the whole folder can name another. So give --key, the public key that
/// `soard log key` once showed, and --anchor, what receivers hold: no cut or rewritten journal fits these. Anchors of
/// entries that retention dropped are named, not compared.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard log verify\n  soard log verify --journal /backup/soard/journal\n  \
                        soard log verify --key @soard.pub --anchor receipts.json --anchor mail.eml\n  \
                        soard log verify --anchor 1042:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub struct Args {
    /// The journal's folder; the one of --dir when absent
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// A public key that signed this journal, as `soard log key` shows it, or @FILE with it
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<Verifier>,
    /// SEQ:HASH, or a file with such: receipts of alerts sent, webhook or mail headers, log lines, checkpoints
    #[arg(long, value_name = "ANCHOR", value_parser = anchor::read)]
    anchor: Vec<Anchors>,
    /// The folder is a copy that was made while the daemon ran: entries far behind its last checkpoint are no fault
    #[arg(long)]
    live_copy: bool,
}

fn key(text: &str) -> Result<Verifier, String> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?,
        None => text.to_owned(),
    };
    text.parse().map_err(|bad: BadKey| bad.to_string())
}

/// The verdict as it is printed.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Verified {
    journal: String,
    /// `good`, `torn`, `tampered` or `unreadable`.
    verdict: &'static str,
    /// Where and how it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// Bytes of a torn tail.
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_bytes: Option<u64>,
    entries: u64,
    segments: u64,
    first: Option<End>,
    last: Option<End>,
    /// Entries that are older than the one before.
    backwards: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_backwards: Option<u64>,
    /// The entry that HEAD names.
    head_seq: Option<u64>,
    /// Checkpoints that fit their entries and whose signatures are right.
    checkpoints: u64,
    /// The last entry that a checkpoint vouches for.
    signed_seq: Option<u64>,
    /// The keys that signed, oldest first.
    keys: Vec<String>,
    /// What retention dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<Dropped>,
    /// What an operator gave up after a damage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<GivenUp>,
    /// Anchors that fit, and the newest of them.
    anchors: u64,
    anchored_seq: Option<u64>,
    /// Entries that anchors name and that retention dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_compared: Vec<u64>,
    /// Entries at the end that neither a checkpoint nor an anchor vouches for.
    unanchored: u64,
    /// Keys that repairs put in charge.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    taken: Vec<Taken>,
    /// What stands for the entries that retention dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Rest>,
}

/// A key that nobody vouches for.
#[derive(Debug, Serialize)]
struct Taken {
    /// The entry of the repair.
    seq: u64,
    key: String,
}

/// The base that a journal begins behind.
#[derive(Debug, Serialize)]
struct Rest {
    /// The last entry that it stands for.
    seq: u64,
    /// `good`, `unchecked` where the journal does not lie in a state folder, or what is wrong with it.
    verdict: String,
}

const GOOD_BASE: &str = "good";
const UNCHECKED: &str = "unchecked";

impl Rest {
    fn of(journal: &Path, state: Option<&Path>, behind: &Receipt, sha256: &str) -> Self {
        let fault = state.map(|state| beside::fault_of_base(state, behind, sha256));
        // A daemon may have dropped more meanwhile, and the base with it.
        let is_still = || oldest(journal).is_ok_and(|first| first.is_some_and(|first| first <= behind.seq + 1));
        let verdict = match fault.filter(|fault| fault.is_none() || is_still()) {
            None => UNCHECKED.to_owned(),
            Some(None) => GOOD_BASE.to_owned(),
            Some(Some((file, why))) => format!("{file} {why}"),
        };
        Self { seq: behind.seq, verdict }
    }
}

/// Segments that are gone by policy.
#[derive(Debug, Serialize)]
struct Dropped {
    policy: String,
    from: u64,
    to: u64,
    bytes: u64,
}

/// A repair with loss.
#[derive(Debug, Serialize)]
struct GivenUp {
    /// The entry that says so.
    seq: u64,
    from: u64,
    to: u64,
}

/// An end of the journal.
#[derive(Debug, Serialize)]
struct End {
    seq: u64,
    at: Timestamp,
    hash: String,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let dir = self.journal.clone().unwrap_or_else(|| context.places.journal());
        let anchors = self.anchor.iter().flat_map(|Anchors(all)| all.clone()).collect();
        let state = if self.journal.is_some() { state_of(&dir) } else { Some(context.places.state.clone()) };
        let known = Known { anchors, key: self.key.clone(), is_live_copy: self.live_copy };
        let report = verify_against(&dir, &known);
        let base = report.behind.clone().map(|(behind, sha256)| Rest::of(&dir, state.as_deref(), &behind, &sha256));
        if let Outcome::Unreadable(error) = report.outcome {
            let hint = "say where the journal is with --journal, or where soard.yaml is with --dir";
            return Err(Fault::from(error).hint(hint));
        }
        let verified = Verified::new(dir.display().to_string(), report).resting_on(base);
        context.print(&verified, human)?;
        Ok(if verified.verdict == "tampered" { Exit::Nothing } else { Exit::Good })
    }
}

impl Verified {
    pub(in crate::cli) fn new(journal: String, report: Report) -> Self {
        let (verdict, place, torn_bytes) = match report.outcome {
            Outcome::Good => ("good", None, None),
            Outcome::Torn { bytes, place } => ("torn", Some(place.to_string()), Some(bytes)),
            Outcome::Tampered(place) => ("tampered", Some(place.to_string()), None),
            Outcome::Unreadable(error) => ("unreadable", Some(output::with_causes(&error)), None),
        };
        let vouched = report.signed.last.max(report.anchored.1).unwrap_or(0);
        let end = |Stamp { seq, at, hash }| End { seq, at, hash };
        let unanchored = report.last.as_ref().map_or(0, |last| last.seq.saturating_sub(vouched).min(report.entries));
        Self {
            journal,
            verdict,
            place,
            torn_bytes,
            entries: report.entries,
            segments: report.segments,
            first: report.first.map(end),
            last: report.last.map(end),
            backwards: report.backwards,
            first_backwards: report.first_backwards,
            head_seq: report.head.map(|head| head.seq),
            checkpoints: report.signed.checkpoints,
            signed_seq: report.signed.last,
            dropped: report
                .signed
                .dropped
                .into_iter()
                .map(|(policy, from, to, bytes)| Dropped { policy, from, to, bytes })
                .collect(),
            given_up: report.signed.given_up.into_iter().map(|(seq, from, to)| GivenUp { seq, from, to }).collect(),
            keys: report.signed.keys.into_iter().map(|(_, key)| key).collect(),
            anchors: report.anchored.0,
            anchored_seq: report.anchored.1,
            not_compared: report.uncompared,
            unanchored,
            taken: report.signed.taken.into_iter().map(|(seq, key)| Taken { seq, key }).collect(),
            base: None,
        }
    }

    /// A journal is no better than the base that it rests on.
    fn resting_on(mut self, base: Option<Rest>) -> Self {
        let is_bad = base.as_ref().filter(|base| base.verdict != GOOD_BASE && base.verdict != UNCHECKED);
        if let Some(base) = is_bad.filter(|_| self.verdict != "tampered") {
            (self.verdict, self.place) = ("tampered", Some(base.verdict.clone()));
        }
        self.base = base;
        self
    }
}

pub(in crate::cli) fn human(verified: &Verified, look: &Look) -> String {
    let mut page = Page::default();
    let (style, words) = match verified.verdict {
        "good" => (GOOD, "good: every hash is right, the chain is whole, and nothing is missing that HEAD names"),
        "torn" => (WARN, "good, but its last batch breaks off: a crash, or a daemon that is writing it right now"),
        _ => (BAD, "tampered: something was changed, removed, added or moved"),
    };
    page.line(0, styled(style, words));
    if let Some(place) = &verified.place {
        page.labelled(2, "where", safe(place));
    }
    if let Some(bytes) = verified.torn_bytes {
        page.labelled(2, "tail", format!("{}, never acknowledged", size(bytes)));
    }
    page.labelled(2, "journal", safe(&verified.journal));
    let segments = count(verified.segments, "segment");
    page.labelled(2, "entries", format!("{} in {segments} up to there", verified.entries));
    for (label, end) in [("first", &verified.first), ("last", &verified.last)] {
        if let Some(End { seq, at, hash }) = end {
            page.labelled(2, label, format!("entry {seq}, {}", when_ago(*at, look)));
            page.labelled(2, "", format!("hash {}", safe(hash)));
        }
    }
    match verified.head_seq {
        Some(seq) => page.labelled(2, "HEAD", format!("names entry {seq}")),
        None => page.labelled(2, "HEAD", styled(WARN, "absent or not readable: a cut end would go unnoticed")),
    }
    vouchers(&mut page, verified);
    if let Some(first) = verified.first_backwards {
        let times = count(verified.backwards, "time");
        page.labelled(2, "clock", styled(WARN, format!("went backwards {times}, first at entry {first}")));
    }
    page.into_text()
}

/// Who vouches for the entries, and for how many nobody does.
fn vouchers(page: &mut Page, verified: &Verified) {
    if let Some(seq) = verified.signed_seq {
        let checkpoints = count(verified.checkpoints, "checkpoint");
        page.labelled(2, "signed", format!("up to entry {seq}, by {checkpoints}"));
    }
    if let Some(key) = verified.keys.last() {
        page.labelled(2, "key", safe(key));
    }
    for Dropped { policy, from, to, bytes } in &verified.dropped {
        page.labelled(2, "dropped", format!("entries {from} to {to} by {}, {}", safe(policy), size(*bytes)));
    }
    for GivenUp { seq, from, to } in &verified.given_up {
        let words = format!("entries {from} to {to} were given up by an operator, says entry {seq}");
        page.labelled(2, "repaired", styled(WARN, words));
    }
    for Taken { seq, key } in &verified.taken {
        page.labelled(2, "key", safe(key));
        let words = format!("put in charge by entry {seq}, a repair: the key before did not vouch for it");
        page.labelled(2, "", styled(WARN, words));
    }
    if let Some(Rest { seq, verdict }) = verified.base.as_ref().filter(|base| base.verdict == UNCHECKED) {
        let words =
            format!("stands for the entries up to {seq}; it does not lie beside this folder, so it is {verdict}");
        page.labelled(2, "base", styled(WARN, words));
    }
    if let Some(seq) = verified.anchored_seq {
        page.labelled(2, "anchored", format!("up to entry {seq}, by {}", count(verified.anchors, "anchor")));
    }
    if let [oldest, .., newest] = verified.not_compared[..] {
        let anchors = count(verified.not_compared.len() as u64, "anchor");
        let words = format!("not compared: {anchors} of entries {oldest} to {newest}, which were dropped by retention");
        page.labelled(2, "anchors", styled(WARN, words));
    } else if let [seq] = verified.not_compared[..] {
        let words = format!("not compared: entry {seq} was dropped by retention");
        page.labelled(2, "anchors", styled(WARN, words));
    }
    if verified.unanchored > 0 && verified.verdict != "tampered" {
        let words = format!("nothing vouches for the last {}", count_of(verified.unanchored));
        page.labelled(2, "tail", styled(WARN, words));
    }
}

fn count_of(entries: u64) -> String {
    if entries == 1 { "entry".to_owned() } else { format!("{entries} entries") }
}
