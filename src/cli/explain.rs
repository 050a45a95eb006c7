//! `soard explain`: what today's rules would do with a record, and why. Offline.

use std::io::Read;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, BOLD, FAINT, Look, severity_style, styled};
use crate::cli::plain::{self, Page, safe};
use crate::cli::scrub;
use crate::daemon::bundle::Bundle;
use crate::daemon::clock;
use crate::daemon::prepare::{self, Prepared};
use crate::daemon::reload::{self, LoadError};
use crate::domain::entry::{Facts, Taken};
use crate::domain::record::{Position, Record};
use crate::domain::silence::Silence;
use crate::engine::apply::apply;
use crate::engine::decide::decide;
use crate::engine::input::Input;
use crate::engine::state::State;
use crate::rules::explain::RuleExplanation;
use crate::sources::split::{self, Content};

/// Most records of one file.
const RECORDS_MAX: usize = 10_000;

/// Say what today's rules would do with alerts, and why
///
/// Offline and without memory: nothing is sent and nothing is recorded, and no alert is known from before. For
/// what was decided in the past, see `soard why`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard explain -f alert.json\n  soard explain -f alerts.jsonl --all\n  \
soard explain -f alert.json --silences
  curl -s … | soard explain -f - --source edr --at 2026-12-24T22:00:00Z -o json")]
pub struct Args {
    /// Records: a JSON object, a JSON array or JSON lines; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The content folder, with soard.yaml in it; default: --dir, else the current folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The source that the records shall have come from: its format counts, and rules may be scoped to it
    #[arg(long, value_name = "NAME", default_value = "explain")]
    source: String,
    /// The time at which they shall have come; default: now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Also heed the silences that hold at the running daemon
    #[arg(long)]
    silences: bool,
    /// Show every rule, not only those that match and those that fail by one item
    #[arg(long)]
    all: bool,
}

/// What would become of one record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Explained {
    /// These alerts.
    Alerts { format: String, alerts: Vec<ExplainedAlert> },
    /// It would be quarantined.
    Quarantined { cause: String },
    /// Its format says that it is no alert.
    NotAnAlert { why: String },
}

#[derive(Debug, Serialize)]
struct ExplainedAlert {
    #[serde(flatten)]
    taken: Taken,
    rules: Vec<RuleExplanation>,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let folder = context.folder(self.folder.as_deref());
        let content = reload::load(&folder).map_err(|error| match error {
            LoadError::Faulty(_) => Fault::from(error).hint("`soard check` shows them"),
            other => Fault::from(other).hint("give the folder that holds soard.yaml: soard explain -f FILE FOLDER"),
        })?;
        let known = content.settings.sources.iter().find(|source| *source.name == *self.source);
        let pinned = known.and_then(|source| source.format.clone());
        let bytes = self.read()?;
        let at = self.at.unwrap_or_else(clock::now);
        let mut state = State::default();
        if self.silences {
            let all: Vec<Silence> = context.daemon()?.get("/silences").map_err(spoken)?;
            state.silences = all.into_iter().collect();
        }
        let mut one = |record: &[u8]| self.one(&content.bundle, &mut state, at, pinned.as_deref(), record);
        let records = match split::sniff(&bytes, RECORDS_MAX) {
            Content::Records(records) => records,
            Content::Unparsable(_) => vec![split::whole(&bytes)],
        };
        let all: Vec<Explained> = records.into_iter().take(RECORDS_MAX).map(|range| one(&bytes[range])).collect();
        let found = all.iter().any(|explained| matches!(explained, Explained::Alerts { .. }));
        context.print(&all, |all, look| human(all, self.all, look))?;
        Ok(if found { Exit::Good } else { Exit::Nothing })
    }

    fn read(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut bytes)?;
        } else {
            let unreadable = |error| Fault::new(format!("cannot read {}", self.file.display())).because(error);
            bytes = std::fs::read(&self.file).map_err(unreadable)?;
        }
        Ok(bytes)
    }

    fn one(&self, bundle: &Bundle, state: &mut State, at: Timestamp, pinned: Option<&str>, bytes: &[u8]) -> Explained {
        let position = Position::Stdin { line: state.records + 1 };
        let record = Record { source: self.source.as_str().into(), bytes: bytes.to_vec(), position };
        let input = match prepare::prepare(bundle, record, pinned) {
            Prepared::Input(input, _) => input,
            Prepared::NotAnAlert(why) => return Explained::NotAnAlert { why },
        };
        if let Input::Refused { cause, .. } = input {
            return Explained::Quarantined { cause };
        }
        let raw: Vec<_> = match &input {
            Input::Intake(arrival) => arrival.alerts.iter().map(|candidate| candidate.alert.raw.clone()).collect(),
            _ => Vec::new(),
        };
        let entry = decide(state, &bundle.rules, at, input).expect("an arrival always gives an entry");
        apply(state, &entry);
        let Facts::Intake(intake) = entry.facts else { unreachable!("an arrival gives an intake") };
        let alerts = intake.alerts.into_iter().zip(raw).map(|(mut taken, raw)| {
            taken.alert.raw = raw;
            ExplainedAlert { rules: bundle.rules.explain(&taken.alert), taken }
        });
        Explained::Alerts { format: intake.format, alerts: alerts.collect() }
    }
}

fn human(all: &[Explained], every_rule: bool, look: &Look) -> String {
    let mut page = Page::default();
    for explained in all {
        match explained {
            Explained::Quarantined { cause } => {
                page.line(0, format!("{}  {}", styled(BAD, "quarantined"), safe(cause)));
            }
            Explained::NotAnAlert { why } => page.line(0, format!("{}  {}", styled(FAINT, "no alert"), safe(why))),
            Explained::Alerts { format, alerts } => {
                for alert in alerts {
                    one_alert(&mut page, format, alert, every_rule, look);
                }
            }
        }
        page.gap();
    }
    page.into_text()
}

fn one_alert(page: &mut Page, format: &str, explained: &ExplainedAlert, every_rule: bool, look: &Look) {
    let Taken { alert, decision, .. } = &explained.taken;
    let severity = styled(severity_style(alert.severity), alert.severity.as_str().to_uppercase());
    page.line(0, format!("{severity}  {}", styled(BOLD, safe(&alert.title))));
    page.labelled(2, "format", safe(format));
    for reason in &decision.reasons {
        plain::stage(page, 2, reason, look);
    }
    page.labelled(2, "status", decision.status);
    let (mut hidden, mut shown) = (0, 0);
    for rule in &explained.rules {
        if every_rule || rule.matched || rule.near_miss {
            shown += 1;
            for line in scrub::block(&rule.render()).lines() {
                page.line(2, line);
            }
        } else {
            hidden += 1;
        }
    }
    if hidden > 0 {
        let others = if shown > 0 { "other " } else { "" };
        page.line(2, styled(FAINT, format!("{hidden} {others}rules do not match; --all shows them")));
    }
}
