//! `soard log`: the journal itself.

mod anchor;
pub mod key;
pub mod query;
pub mod repair;
pub mod tail;
pub mod verify;

use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered::order;
use crate::cli::output::{self, FAINT, Format, NAME, count, styled, when};
use crate::cli::plain::{effect, safe};
use crate::daemon::query::LogLine;
use crate::domain::decision::{Reason, RouteVerdict};
use crate::domain::entry::{Due, End, Facts, Log, Step, Taken};
use crate::domain::id::RunId;

/// What to do with the journal.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Tail(tail::Args),
    Query(query::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Key(key::Args),
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Tail(args) => args.run(context),
            Self::Query(args) => args.run(context),
            Self::Verify(args) => args.run(context),
            Self::Repair(args) => args.run(context),
            Self::Key(args) => args.run(context),
        }
    }
}

/// The state folder that a journal lies in, where that is one and not just a copy's folder.
fn state_of(journal: &Path) -> Option<PathBuf> {
    let state = journal.parent()?;
    state.join("bundles").is_dir().then(|| state.to_owned())
}

/// Prints entries one on a line: as words, or as JSON Lines.
fn print(lines: &[LogLine], context: &Context) -> Result<(), Fault> {
    let text: Vec<String> = match context.format {
        Format::Human => lines.iter().map(|line| human(line, context.look.width)).collect(),
        Format::Json => lines.iter().map(output::json_line).collect(),
        Format::Csv => return context.print(&lines, |_, _| String::new()),
    };
    if text.is_empty() { Ok(()) } else { output::print(&text.join("\n")) }
}

/// An entry on one line.
pub(super) fn human(line: &LogLine, width: usize) -> String {
    let words = match Facts::parse(&line.kind, line.data.get()) {
        Ok(facts) => words(&facts),
        Err(bad) => format!("not understood: {}", safe(bad)),
    };
    let (seq, at, kind) = (format!("{:>7}", line.seq), when(line.at), format!("{:<10}", safe(&line.kind)));
    let room = width.saturating_sub(7 + 2 + 20 + 2 + 10 + 1).max(40);
    let words = crate::cli::scrub::cut(&words, room);
    format!("{}  {}  {} {words}", styled(FAINT, seq), styled(FAINT, at), styled(NAME, kind))
}

fn words(facts: &Facts) -> String {
    match facts {
        Facts::Log(Log::Opened { version, .. }) => format!("soard {} started", safe(version)),
        Facts::Log(Log::Closed) => "stopped in good order".to_owned(),
        Facts::Log(Log::Recovered { bytes, file, .. }) => {
            format!("{} of a torn tail moved aside to {}", output::size(*bytes), safe(file))
        }
        Facts::Log(Log::Dropped { policy, segments, runs, letters, .. }) => {
            let (first, last) =
                (segments.first().map_or(0, |seal| seal.first), segments.last().map_or(0, |seal| seal.last));
            let lost = format!(
                ", and {} and {} given up",
                count(runs.len() as u64, "failed run"),
                count(letters.len() as u64, "dead letter")
            );
            let lost = if runs.is_empty() && letters.is_empty() { String::new() } else { lost };
            format!("entries {first} to {last} were dropped by {}{lost}", safe(policy))
        }
        Facts::Log(Log::Archived { first, last, bytes, packed }) => {
            let (bytes, packed) = (output::size(*bytes), output::size(*packed));
            format!("entries {first} to {last} were compressed, from {bytes} to {packed}")
        }
        Facts::Log(Log::Repaired { from, to, damage, key, .. }) => {
            let lost = if to < from { "what may have followed".into() } else { format!("entries {from} to {to}") };
            let key =
                key.as_deref().map(|key| format!("; checkpoints are signed by {}", safe(key))).unwrap_or_default();
            format!("an operator gave up {lost}: {}{key}", safe(damage))
        }
        Facts::Log(Log::Key { verifier, replaces: None }) => format!("checkpoints are signed by {}", safe(verifier)),
        Facts::Log(Log::Key { verifier, .. }) => format!("checkpoints are signed by a new key, {}", safe(verifier)),
        Facts::Bundle(bundle) => {
            let commit = bundle.commit.as_deref().map(|commit| format!(" (commit {})", output::short_hash(commit)));
            format!("{}{} took over", output::short_hash(&bundle.id), commit.unwrap_or_default())
        }
        Facts::Intake(intake) => {
            let alerts: Vec<String> = intake.alerts.iter().map(taken).collect();
            let again = intake.redelivery_of.map(|n| format!(", a redelivery of record {n}")).unwrap_or_default();
            let (n, source) = (intake.record_no, safe(&intake.source));
            format!(
                "record {n} from {source}{again}: {}",
                if alerts.is_empty() { "no alert".into() } else { alerts.join("; ") }
            )
        }
        Facts::Quarantine(quarantine) => {
            format!("record {} from {}: {}", quarantine.record_no, safe(&quarantine.source), safe(&quarantine.cause))
        }
        Facts::Due(due) => due_words(due),
        Facts::Intent(intent) => format!("{} asks: {}", safe(&intent.run), steps(&intent.steps)),
        Facts::Begin(begin) => format!("attempt {} of {} begins; it must not be repeated", begin.n, begin.key),
        Facts::Attempt(attempt) => {
            let (n, error, next) = (attempt.n, safe(&attempt.error), when(attempt.next));
            format!("{n} of {} failed: {error}; next at {next}", attempt.key)
        }
        Facts::Result(result) => {
            let class = serde_json::to_value(result.reply.class).expect("a class is a word");
            let code = result.reply.status.map(|code| format!(" ({code})")).unwrap_or_default();
            let error = result.reply.error.as_deref().map(|error| format!(": {}", safe(error))).unwrap_or_default();
            let (run, attempts) = (safe(&result.run), count(result.attempts.into(), "attempt"));
            let class = class.as_str().unwrap_or_default();
            format!("{run} step {}: {class}{code} after {attempts}{error}", result.step)
        }
        Facts::Operator(operator) => order(operator),
        Facts::Run(end) => {
            let how = match &end.end {
                End::Finished { .. } => "finished".to_owned(),
                End::Failed { error, .. } => format!("failed: {}", safe(error)),
                End::Stalled { step, .. } => format!("stalled at step {step}"),
            };
            format!("{} {how}", safe(&end.run))
        }
    }
}

fn taken(taken: &Taken) -> String {
    let alert = &taken.alert;
    let what: Vec<String> = taken.decision.reasons.iter().map(reason).collect();
    format!("{} {} “{}” {}", taken.id, alert.severity, safe(&alert.title), what.join(", "))
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Duplicate { count, anew: None, .. } => format!("repeated ({count})"),
        Reason::Duplicate { count, anew: Some(_), .. } => format!("repeated ({count}), changed"),
        Reason::Suppress { rule, .. } => format!("suppressed by {}", safe(&rule.id)),
        Reason::Silence { silence, .. } => format!("silenced by {silence}"),
        Reason::Resolved => "over, says the source".to_owned(),
        Reason::NoRoute => "no route".to_owned(),
        Reason::Route { rule, verdict, .. } => {
            let what = match verdict {
                RouteVerdict::Muted { .. } => "muted".to_owned(),
                RouteVerdict::Throttled => "throttled".to_owned(),
                RouteVerdict::Grouped { group, .. } => format!("joined {group}"),
                RouteVerdict::Run { runs, .. } => format!("started {}", playbooks(runs)),
                RouteVerdict::Record => "recorded".to_owned(),
            };
            format!("{what} by {}", safe(&rule.id))
        }
    }
}

fn playbooks(runs: &[RunId]) -> String {
    let names = runs.iter().map(|run| run.playbook.as_str()).collect::<Vec<_>>().join(", ");
    if names.is_empty() { "nothing".to_owned() } else { safe(names) }
}

fn due_words(due: &Due) -> String {
    match due {
        Due::Group { group, alerts, runs, .. } => {
            format!("{group} closed with {}, started {}", count(alerts.len() as u64, "alert"), playbooks(runs))
        }
        Due::Timer { run, step } => format!("{} step {step}: sleep is over", safe(run)),
        Due::Approval { approval, run, choice, .. } => {
            format!("{approval} of {} timed out: {}", safe(run), choice.past())
        }
        Due::Retry { key } => format!("next attempt of {key}"),
        Due::Throttle { rule, surplus, .. } => {
            format!("throttle of {} ended; it held back {}", safe(&rule.id), count(*surplus, "alert"))
        }
    }
}

fn steps(steps: &[Step]) -> String {
    steps
        .iter()
        .map(|step| anstream::adapter::strip_str(&effect(&step.effect)).to_string())
        .collect::<Vec<_>>()
        .join("; ")
}
