//! `soard status`: how the daemon stands.

use std::collections::BTreeMap;

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::exports;
use crate::cli::fault::{Exit, Fault};
use crate::cli::hold::list::waiting;
use crate::cli::output::{BAD, BOLD, Look, WARN, ago, count, short_hash, size, styled, when, when_ago};
use crate::cli::plain::{Page, safe};
use crate::cli::table::{Cell, Table};
use crate::daemon::report::{
    BundleReport, DestinationReport, IndexReport, JournalReport, KeptBy, LeapReport, RefusedBundle, SourceReport,
    Status,
};
use crate::domain::alert;
use crate::domain::time::Span;

/// Show how the daemon stands
///
/// Its bundle and the one it refused, sources, destinations, alerts on record, open runs and the journal's head.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard status\n  soard status -o json | jq .sources")]
pub struct Args {}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let status: Status = context.daemon()?.get("/status").map_err(spoken)?;
        context.print(&status, human)?;
        Ok(Exit::Good)
    }
}

pub(super) fn human(status: &Status, look: &Look) -> String {
    let mut page = Page::default();
    let up = Span::from_secs(status.uptime_secs);
    let version = styled(BOLD, format!("soard {}", safe(&status.version)));
    page.line(0, format!("{version}, process {}, up {up} since {}", status.pid, when(status.started)));
    page.labelled(0, "bundle", bundle_words(&status.bundle, look));
    if let Some(refused) = &status.refused_bundle {
        refused_words(&mut page, refused, look);
    }
    journal_words(&mut page, &status.journal);
    if let Some(index) = &status.index {
        page.labelled(0, "index", index_words(index));
    }
    page.labelled(0, "state", safe(&status.state_dir));
    page.labelled(0, "alerts", alert_words(status));
    let open = format!("{}, {}", count(status.runs_open, "open run"), count(status.groups_open, "open group"));
    page.labelled(0, "work", format!("{open}, {} waiting to be decided", count(status.queue_depth, "input")));
    if status.runs_full {
        let full = "too many runs are open: new alerts are refused until some have ended; see `soard runs list`";
        page.labelled(0, "", styled(BAD, full));
    }
    if status.runs_stalled > 0 {
        let runs = styled(BAD, count(status.runs_stalled, "stalled run"));
        page.labelled(0, "stalled", format!("{runs} wait for you; see `soard runs list --state stalled`"));
    }
    let workers = &status.workers;
    let died = if workers.died > 0 { format!(", {} brought down by playbooks", workers.died) } else { String::new() };
    let late = if workers.late > 0 { format!(", {} replaced after a slow batch", workers.late) } else { String::new() };
    page.labelled(0, "workers", format!("{} running, {} started{died}{late}", workers.running, workers.started));
    if !workers.lacks.is_empty() {
        let lacks = safe(workers.lacks.join(", "));
        page.labelled(0, "", styled(WARN, format!("this system does not shut them in fully; it lacks: {lacks}")));
    }
    if status.silences_active > 0 {
        let silences = styled(WARN, count(status.silences_active, "silence"));
        page.labelled(0, "silences", format!("{silences}; see `soard silence list`"));
    }
    for hold in &status.on_hold.holds {
        let why = format!("by {}: {}", safe(&hold.by), safe(&hold.comment));
        page.labelled(0, "on hold", format!("{} since {}, {why}", styled(BAD, safe(&hold.scope)), when(hold.since)));
    }
    if !status.on_hold.holds.is_empty() {
        page.labelled(0, "", format!("{}; `soard hold off` lets it go out", waiting(status.on_hold.waiting)));
    }
    if status.approvals_open > 0 {
        let open = styled(WARN, count(status.approvals_open, "approval"));
        page.labelled(0, "approvals", format!("{open} open; see `soard approvals list`"));
    }
    if status.quarantined > 0 {
        let see = "see `soard quarantine list`";
        let records = styled(WARN, count(status.quarantined, "record"));
        page.labelled(0, "quarantine", format!("{records}; {see}"));
    }
    if status.dead_letters > 0 {
        let letters = styled(WARN, count(status.dead_letters, "dead letter"));
        page.labelled(0, "deliveries", format!("{letters}; see `soard deliveries list`"));
    }
    page.labelled(0, "totals", totals(status));
    page.gap();
    page.into_text() + &tables(status, look)
}

/// Sources, destinations and exports.
fn tables(status: &Status, look: &Look) -> String {
    let mut text = sources(&status.sources).render(look);
    text.push_str(&oddities(&status.sources));
    text.push('\n');
    text.push_str(&destinations(&status.destinations, look).render(look));
    if !status.exports.is_empty() {
        text.push('\n');
        text.push_str(&exports::list::table(&status.exports, look).render(look));
    }
    text
}

/// Where the journal stands, and what is not as it should be.
fn journal_words(page: &mut Page, journal: &JournalReport) {
    page.labelled(0, "journal", format!("entry {}, hash {}", journal.seq, short_hash(&journal.hash)));
    if journal.waiting > 0 {
        let waits = match journal.waiting {
            1 => "1 entry waits".to_owned(),
            n => format!("{n} entries wait"),
        };
        page.labelled(0, "", styled(BAD, format!("the disk is full: {waits} for room, new alerts are refused")));
    } else if !journal.room {
        page.labelled(0, "", styled(BAD, "the disk is nearly full: new alerts are refused, only results are written"));
    }
    if let Some(LeapReport { from, to, until }) = &journal.leap {
        let leapt = styled(WARN, format!("the clock leapt from {} to {}", when(*from), when(*to)));
        page.labelled(0, "", format!("{leapt}; until {} ages are judged as if it had not", when(*until)));
    }
    if journal.ahead_secs > 0 {
        let ahead = Span::from_secs(journal.ahead_secs);
        page.labelled(0, "", styled(WARN, format!("its time is {ahead} ahead of the system's clock")));
    }
    if let Some(kept_by) = &journal.kept_by {
        page.labelled(0, "", kept_words(kept_by));
    }
}

/// What keeps retention from dropping, and what to do about it.
fn kept_words(kept_by: &KeptBy) -> String {
    let KeptBy { kind, id, entry, since, segments } = kept_by;
    let id = safe(id);
    let see = match kind.as_str() {
        "quarantined_record" => format!("`soard quarantine retry {id}` or `discard`"),
        "alert" => format!("`soard alerts show {id}`"),
        "run" | "failed_run" => format!("`soard runs show {id}`"),
        "effect" | "dead_letter" => format!("`soard deliveries show {id}`"),
        "group" => format!("`soard why {id}`"),
        _ => format!("`soard exports show {id}`"),
    };
    let kept = styled(WARN, format!("{} not dropped", count(*segments, "segment")));
    let what = safe(kind.replace('_', " "));
    format!("{kept}: {what} {id} needs entry {entry} of {}; {see}", when(*since))
}

/// How far the index is.
fn index_words(index: &IndexReport) -> String {
    let lag = if index.behind == 0 { "up to date".to_owned() } else { format!("{} behind", index.behind) };
    let at = format!("entry {}, {lag}", index.entry);
    match (&*index.doing, &index.why) {
        ("following", _) => at,
        (doing, None) => format!("{}, {at}", styled(WARN, safe(doing))),
        (doing, Some(why)) => format!("{}, {at}: {}", styled(BAD, safe(doing)), safe(why)),
    }
}

/// A bundle with its commit, its age and what it has.
pub(super) fn bundle_words(bundle: &BundleReport, look: &Look) -> String {
    let commit = bundle.commit.as_deref().map(|commit| format!(" (commit {})", short_hash(commit)));
    let counts: Vec<String> = bundle.counts.iter().map(|(name, n)| format!("{n} {}", safe(name))).collect();
    let loaded = when_ago(bundle.loaded_at, look);
    let has = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    format!("{}{}, loaded {loaded}{has}", short_hash(&bundle.id), commit.unwrap_or_default())
}

fn refused_words(page: &mut Page, refused: &RefusedBundle, look: &Look) {
    let faults = styled(BAD, count(refused.faults.len() as u64, "fault"));
    let at = when_ago(refused.at, look);
    page.labelled(0, "", format!("a newer one was refused {at} with {faults}; the bundle above stays in charge"));
    for fault in &refused.faults {
        page.block(13, fault, look);
    }
}

fn alert_words(status: &Status) -> String {
    let counts = &status.alerts;
    let words = |words: &[&str], by: &BTreeMap<String, u64>| {
        let counted = words.iter().filter_map(|word| by.get(*word).filter(|n| **n > 0).map(|n| format!("{n} {word}")));
        counted.collect::<Vec<_>>().join(", ")
    };
    let statuses = words(&alert::Status::ALL.map(alert::Status::as_str), &counts.by_status);
    let mut severities = alert::Severity::ALL.map(alert::Severity::as_str);
    severities.reverse();
    match counts.total {
        0 => "none on record".to_owned(),
        total => format!("{total} on record: {statuses}; {}", words(&severities, &counts.by_severity)),
    }
}

fn totals(status: &Status) -> String {
    let totals = status.totals.iter().filter(|(_, n)| **n > 0);
    let totals: Vec<String> = totals.map(|(name, n)| format!("{} {n}", safe(name.replace('_', " ")))).collect();
    if totals.is_empty() { "nothing yet".to_owned() } else { totals.join(", ") }
}

fn error_cell(error: Option<&String>) -> Cell {
    error.map_or_else(|| Cell::from("-"), |error| Cell::new(error, WARN))
}

fn sources(sources: &[SourceReport]) -> Table {
    let mut table = Table::new(&["SOURCE", "KIND", "RECORDS", "SIZE", "REFUSED", "NO ALERT", "ODD", "LAST ERROR"], 7);
    for source in sources {
        table.row(vec![
            Cell::new(&source.name, BOLD),
            Cell::from(&source.kind),
            Cell::from(source.records.to_string()),
            Cell::from(size(source.bytes)),
            Cell::from(source.refused.to_string()),
            Cell::from(source.ignored.to_string()),
            Cell::from(source.oddities.values().sum::<u64>().to_string()),
            error_cell(source.last_error.as_ref()),
        ]);
    }
    table
}

/// What was odd in the records of each source, by kind.
fn oddities(sources: &[SourceReport]) -> String {
    let mut page = Page::default();
    for source in sources.iter().filter(|source| !source.oddities.is_empty()) {
        let counts = source.oddities.iter().map(|(kind, n)| format!("{} {n}", safe(kind.replace('_', " "))));
        let last = source.last_oddity.as_deref().map(|last| format!("; last {}", safe(last))).unwrap_or_default();
        let counts = counts.collect::<Vec<_>>().join(", ");
        page.line(2, format!("{} {}: {counts}{last}", styled(WARN, "odd in"), safe(&source.name)));
    }
    page.into_text()
}

/// A table of destinations.
pub(super) fn destinations(destinations: &[DestinationReport], look: &Look) -> Table {
    let head = ["DESTINATION", "KIND", "SENT", "FAILED", "IN FLIGHT", "WAITING", "BREAKER", "LAST ERROR"];
    let mut table = Table::new(&head, 7);
    for to in destinations {
        let numbers = [to.sent, to.failed, to.in_flight, to.waiting].map(|n| Cell::from(n.to_string()));
        let mut cells = vec![Cell::new(&to.name, BOLD), Cell::from(&to.kind)];
        cells.extend(numbers);
        cells.push(match (to.held, to.open_until) {
            (false, _) => Cell::from("closed"),
            (true, Some(until)) => Cell::new(format!("open, tries {}", ago(until, look)), BAD),
            (true, None) => Cell::new("open, trying", BAD),
        });
        cells.push(error_cell(to.last_error.as_ref()));
        table.row(cells);
    }
    table
}
