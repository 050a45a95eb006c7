//! `soard normalise`: what the formats make of records. Offline.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::alerts::show;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, BAD, BOLD, FAINT, GOOD, Look, NAME, WARN, count, severity_style, status_style, styled};
use crate::cli::plain::{self, Page, safe};
use crate::daemon::bundle;
use crate::daemon::clock;
use crate::daemon::settings;
use crate::domain::alert::Alert;
use crate::domain::time::Span;
use crate::rules::normalise::{self as formats, Formats, Note, Parsed, Refused};
use crate::sources::split::{self, Content};
use crate::yaml::diagnostic::{Gravity, nearest};

/// Most records of one file.
const RECORDS_MAX: usize = 10_000;
/// Unmapped fields of one record that are named one by one.
const UNMAPPED_SHOWN: usize = 40;

/// Show what the formats make of records
///
/// For each record: which format takes it, the alerts that it becomes, what was odd, and which fields the format left
/// unmapped; or why it would be quarantined. Offline: the formats are those of the content folder, with the shipped
/// ones below them; the folder needs no soard.yaml.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all records are known; 1 one was refused, or none is an alert; 2 could not run.\n\n\
Examples:\n  soard normalise -f record.json\n  soard normalise -f eve.json -o json | jq '.[].alerts.unmapped'\n  \
tail -n 20 alerts.jsonl | soard normalise -f - /etc/soard\n  soard normalise -f record.json --format wazuh"
)]
pub struct Args {
    /// Records: a JSON object, a JSON array or JSON lines; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The content folder; default: --dir, else the current folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Try this format only, as a source does that names it; default: the one that the source names, else all
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// The source of soard.yaml that the records shall have come from
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// What became of one record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Alerts.
    Alerts(Taken),
    /// Its format says that it is no alert.
    NotAnAlert { format: String, why: String },
    /// It would be quarantined.
    Refused {
        cause: String,
        /// Each format and the first of its checks that failed.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        tried: BTreeMap<String, String>,
    },
}

#[derive(Debug, Serialize)]
struct Taken {
    format: String,
    /// Formats that recognise it too and come later.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    alerts: Vec<Shown>,
    notes: Vec<Note>,
    unmapped: Vec<Unmapped>,
}

#[derive(Debug, Serialize)]
struct Shown {
    /// JSON pointer of its part of the record; empty is the whole.
    part: String,
    /// How long equal fingerprints fold; absent when the product has its own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Span>,
    #[serde(flatten)]
    alert: Alert,
}

#[derive(Debug, Serialize)]
struct Unmapped {
    pointer: String,
    /// Absent when it lies within JSON that was packed in a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let folder = context.folder(self.folder.as_deref());
        let formats = load(&folder)?;
        let pinned = self.pinned(&folder, &formats)?;
        let bytes = read(&self.file)?;
        let records = match split::sniff(&bytes, RECORDS_MAX) {
            Content::Records(records) => records,
            Content::Unparsable(_) => vec![split::whole(&bytes)],
        };
        if records.len() > RECORDS_MAX {
            output::note(&format!("note: only the first {RECORDS_MAX} records are shown"));
        }
        let source = self.source.as_deref().unwrap_or("normalise");
        let records = records.into_iter().take(RECORDS_MAX);
        let all: Vec<Outcome> =
            records.map(|range| outcome(&formats, source, pinned.as_deref(), &bytes[range])).collect();
        context.print(&all, |all, look| human(all, look))?;
        let refused = all.iter().any(|outcome| matches!(outcome, Outcome::Refused { .. }));
        let found = all.iter().any(|outcome| matches!(outcome, Outcome::Alerts(_)));
        Ok(if found && !refused { Exit::Good } else { Exit::Nothing })
    }

    /// The only format to try: as asked for, else as the source names it.
    fn pinned(&self, folder: &Path, formats: &Formats) -> Result<Option<String>, Fault> {
        let pinned = match (&self.format, &self.source) {
            (Some(format), _) => Some(format.clone()),
            (None, Some(source)) => format_of(folder, source)?,
            (None, None) => None,
        };
        let names: Vec<&str> = formats.names().collect();
        match pinned {
            Some(name) if !names.contains(&name.as_str()) => {
                let fault = Fault::new(format!("there is no format `{name}`"));
                Err(match nearest(&name, &names) {
                    Some(near) => fault.hint(format!("did you mean `{near}`?")),
                    None => fault.hint(format!("the formats are {}", names.join(", "))),
                })
            }
            pinned => Ok(pinned),
        }
    }
}

/// The formats of a folder over the shipped ones; their faults go to stderr, and an error ends it.
fn load(folder: &Path) -> Result<Formats, Fault> {
    if !folder.is_dir() {
        return Err(Fault::new(format!("there is no folder {}", folder.display())));
    }
    let (files, mut faults) = match bundle::read_folder(folder) {
        Ok(files) => (files, Vec::new()),
        Err(faults) => (Default::default(), faults),
    };
    faults.retain(|fault| fault.place.file.starts_with(formats::FOLDER));
    let (formats, found) = formats::compile(&files);
    faults.extend(found);
    for fault in &faults {
        output::note(&format!("{}\n", fault.render(&files, true)));
    }
    match faults.iter().any(|fault| fault.gravity == Gravity::Error) || files.is_empty() {
        true => Err(Fault::new("the formats have faults").hint("`soard check` shows those of the other rules too")),
        false => Ok(formats),
    }
}

/// The format that a source of `soard.yaml` names.
fn format_of(folder: &Path, source: &str) -> Result<Option<String>, Fault> {
    let path = folder.join(settings::FILE);
    let read = settings::read(folder)
        .map_err(|error| Fault::new(format!("cannot read {}", path.display())).because(error))
        .map_err(|fault| fault.hint("leave --source out, or name the folder that holds soard.yaml"))?;
    let settings = read
        .settings
        .ok_or_else(|| Fault::new(format!("{} has faults", path.display())).hint("`soard check` shows them"))?;
    match settings.sources.iter().find(|known| *known.name == *source) {
        Some(known) => Ok(known.format.clone()),
        None => {
            let names: Vec<&str> = settings.sources.iter().map(|known| &*known.name).collect();
            let fault = Fault::new(format!("{} has no source `{source}`", path.display()));
            Err(fault.hint(format!("its sources are {}", names.join(", "))))
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else {
        let unreadable = |error| Fault::new(format!("cannot read {}", file.display())).because(error);
        bytes = std::fs::read(file).map_err(unreadable)?;
    }
    Ok(bytes)
}

fn outcome(formats: &Formats, source: &str, pinned: Option<&str>, bytes: &[u8]) -> Outcome {
    let taken = match formats.normalise(source, bytes, clock::now(), pinned) {
        Ok(taken) => taken,
        Err(Refused::NotAnAlert { format, why }) => return Outcome::NotAnAlert { format, why },
        Err(Refused::NoFormat { tried }) => {
            return Outcome::Refused { cause: "no format takes it".into(), tried: tried.into_iter().collect() };
        }
        Err(refused) => return Outcome::Refused { cause: refused.to_string(), tried: BTreeMap::new() },
    };
    let whole: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let pointers = formats.unmapped(bytes, pinned).unwrap_or_default();
    let unmapped = pointers.into_iter().map(|pointer| Unmapped { value: whole.pointer(&pointer).cloned(), pointer });
    let recognisers = if pinned.is_none() { formats.recognisers(bytes).unwrap_or_default() } else { Vec::new() };
    let also = recognisers.into_iter().filter(|name| *name != taken.format).map(str::to_owned).collect();
    let alerts = taken.alerts.into_iter().map(|Parsed { alert, part, window }| Shown { part, window, alert });
    Outcome::Alerts(Taken {
        format: taken.format,
        also,
        alerts: alerts.collect(),
        notes: taken.notes,
        unmapped: unmapped.collect(),
    })
}

fn human(all: &[Outcome], look: &Look) -> String {
    let mut page = Page::default();
    for (n, outcome) in (1..).zip(all) {
        let head = styled(BOLD, format!("record {n}"));
        match outcome {
            Outcome::Alerts(taken) => {
                let alerts = count(taken.alerts.len() as u64, "alert");
                page.line(0, format!("{head}  {alerts} by format {}", styled(NAME, safe(&taken.format))));
                taken_words(&mut page, taken, look);
            }
            Outcome::NotAnAlert { format, why } => {
                let format = styled(NAME, safe(format));
                page.line(0, format!("{head}  {} by format {format}: {}", styled(FAINT, "no alert"), safe(why)));
            }
            Outcome::Refused { cause, tried } => {
                page.line(0, format!("{head}  {}, to the quarantine: {}", styled(BAD, "refused"), safe(cause)));
                for (format, why) in tried {
                    page.line(2, format!("{} {}", styled(NAME, safe(format)), safe(why)));
                }
            }
        }
        page.gap();
    }
    page.line(0, summary(all));
    page.into_text()
}

fn taken_words(page: &mut Page, taken: &Taken, look: &Look) {
    if !taken.also.is_empty() {
        let others = safe(taken.also.join(", "));
        page.line(2, styled(WARN, format!("recognised by {others} too; the order of the formats decides")));
    }
    for shown in &taken.alerts {
        alert_words(page, shown, look);
    }
    if !taken.notes.is_empty() {
        page.line(2, styled(WARN, "odd"));
    }
    for note in &taken.notes {
        page.line(4, safe(note));
    }
    if !taken.unmapped.is_empty() {
        page.line(2, styled(FAINT, "left unmapped, in raw only"));
    }
    for left in taken.unmapped.iter().take(UNMAPPED_SHOWN) {
        let value = left.value.as_ref().map(plain::value).unwrap_or_default();
        page.line(4, format!("{} {}", safe(&left.pointer), styled(FAINT, value)));
    }
    if taken.unmapped.len() > UNMAPPED_SHOWN {
        page.line(4, format!("and {} more; -o json has all", taken.unmapped.len() - UNMAPPED_SHOWN));
    }
}

fn alert_words(page: &mut Page, shown: &Shown, look: &Look) {
    let alert = &shown.alert;
    let severity = styled(severity_style(alert.severity), alert.severity.as_str().to_uppercase());
    let status = styled(status_style(alert.status), alert.status);
    page.line(2, format!("{severity}  {status}  {}", styled(BOLD, safe(&alert.title))));
    let from = if shown.part.is_empty() { "the whole record".to_owned() } else { safe(&shown.part) };
    page.labelled(4, "made of", from);
    if let (Some(fingerprint), Some(window)) = (&alert.fingerprint, shown.window) {
        page.labelled(4, "identity", format!("fingerprint {}; repeats fold for {window}", safe(fingerprint)));
    }
    if let Some(description) = &alert.description {
        page.block(4, description, look);
    }
    show::fields(page, 4, alert, alert.tags.clone());
    show::entities(page, 4, alert);
    for (name, value) in &alert.extended {
        page.labelled(4, "extended", format!("{} {}", styled(FAINT, safe(name)), plain::value(value)));
    }
    show::guidance(page, 4, alert, look);
}

/// What became of all of them, in one line.
fn summary(all: &[Outcome]) -> String {
    let (mut alerts, mut ignored, mut refused, mut odd) = (0, 0, 0, 0);
    for outcome in all {
        match outcome {
            Outcome::Alerts(taken) => {
                alerts += taken.alerts.len() as u64;
                odd += taken.notes.len() as u64;
            }
            Outcome::NotAnAlert { .. } => ignored += 1,
            Outcome::Refused { .. } => refused += 1_u64,
        }
    }
    let mut words = vec![styled(GOOD, count(alerts, "alert"))];
    let kinds = [(ignored, FAINT, "no alert"), (refused, BAD, "refused"), (odd, WARN, "odd")];
    words.extend(
        kinds.into_iter().filter(|(n, ..)| *n > 0_u64).map(|(n, style, word)| styled(style, format!("{n} {word}"))),
    );
    format!("{}: {}", count(all.len() as u64, "record"), words.join(", "))
}
