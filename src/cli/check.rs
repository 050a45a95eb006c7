//! `soard check`: everything that is wrong with a content folder, offline.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, GOOD, WARN, count, styled};
use crate::daemon::clock;
use crate::daemon::reload::{self, LoadError};
use crate::domain::entry::BundleFacts;
use crate::yaml::diagnostic::{Diagnostic, Gravity, Sources};

/// Check settings, rules, playbooks, lists and templates
///
/// Offline: nothing is sent, nothing is written, secrets are not read. Shows all faults of all files at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 good (warnings allowed); 1 faults; 2 could not run.\n\n\
Examples:\n  soard check\n  soard check /etc/soard\n  soard check . -o json | jq '.faults[].place'\n  soard check --strict . && git push")]
pub struct Args {
    /// The content folder, with soard.yaml in it; default: --dir, else the current folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Count warnings as faults
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct Report {
    good: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<BundleFacts>,
    faults: Vec<Fact>,
}

#[derive(Serialize)]
struct Fact {
    gravity: Gravity,
    code: &'static str,
    file: String,
    line: u32,
    column: u32,
    place: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let folder = context.folder(self.folder.as_deref());
        let (faults, texts, bundle) = match reload::load(&folder) {
            Ok(content) => {
                let mut faults = content.faults;
                faults.extend(content.bundle.rules.expired(clock::now()));
                (faults, content.texts, Some(content.bundle.facts()))
            }
            Err(LoadError::Faulty(faulty)) => (faulty.faults, faulty.texts, None),
            Err(error @ LoadError::Settings { .. }) => {
                return Err(Fault::from(error).hint("give the folder that holds soard.yaml: soard check FOLDER"));
            }
        };
        let bad = if self.strict { !faults.is_empty() } else { bundle.is_none() };
        let report = Report { good: !bad, bundle, faults: faults.iter().map(Fact::of).collect() };
        context.print(&report, |report, _| human(report, &faults, &texts))?;
        Ok(if bad { Exit::Nothing } else { Exit::Good })
    }
}

impl Fact {
    fn of(fault: &Diagnostic) -> Self {
        let (place, message, help) = (fault.place.to_string(), fault.message.clone(), fault.help.clone());
        let (file, line, column) = (fault.place.file.to_string(), fault.place.line, fault.place.column);
        Self { gravity: fault.gravity, code: fault.code, file, line, column, place, message, help }
    }
}

fn human(report: &Report, faults: &[Diagnostic], texts: &Sources) -> String {
    let mut text: String = faults.iter().map(|fault| format!("{}\n\n", fault.render(texts, true))).collect();
    let errors = faults.iter().filter(|fault| fault.gravity == Gravity::Error).count() as u64;
    let warnings = faults.len() as u64 - errors;
    let found = match &report.bundle {
        Some(bundle) => {
            let counts = bundle.counts.iter().map(|(what, n)| format!("{n} {what}"));
            format!("{}: {}; bundle {}", styled(GOOD, "good"), counts.collect::<Vec<_>>().join(", "), &bundle.id[..12])
        }
        None => styled(BAD, count(errors, "error")),
    };
    text.push_str(&found);
    if warnings > 0 {
        text.push_str(&format!("; {}", styled(WARN, count(warnings, "warning"))));
    }
    text.push('\n');
    text
}
