//! `exports:` of soard.yaml, checked: which alerts and changes go on to other systems, where and in which form.

pub mod calendar;
pub mod peer;
pub mod told;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::actions::retry::Schedule;
use crate::actions::settings::exports::calendar::Calendar;
use crate::actions::settings::exports::peer::PeerSettings;
use crate::actions::settings::{RETRIES_MAX, RETRY_MAX, RETRY_MIN, check_name, span, span_node};
use crate::domain::alert::Severity;
use crate::domain::export::{Format, Pattern};
use crate::domain::secret::SecretRef;
use crate::domain::time::Span;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{self, Faults, MapReader, one_or_many};

/// All exports by name; empty when soard.yaml has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exports(BTreeMap<String, Export>);

/// One export.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Who takes the notices.
    pub peer: PeerSettings,
    /// In which form.
    pub format: Format,
    /// From this severity on.
    pub at_least: Severity,
    /// Of these kinds; none: of all.
    pub kinds: Vec<Pattern>,
    /// Alerts that are seen for the first time.
    pub alerts: bool,
    /// Changes of alerts.
    pub changes: bool,
    /// A new export begins with the oldest entry on record, not with the next one.
    pub from_start: bool,
    /// How long segments of the journal stay for it once retention would drop them.
    pub keep_for: Span,
    /// When a batch that was not taken is sent again; the last wait repeats for ever.
    pub schedule: Schedule,
    /// When all open alerts are sent.
    pub snapshot: Option<Calendar>,
}

/// Most exports; each has a task, a cursor and, now and then, a connection.
const EXPORTS_MAX: usize = 32;

/// How long segments stay for an export that is behind, unless it says otherwise.
pub const KEEP_FOR: Span = Span::from_secs(7 * 24 * 3600);

const KEEP_FOR_MAX: Span = Span::from_secs(366 * 24 * 3600);

/// Waits before a batch is sent again, unless the export has its own.
const RETRIES: [Span; 5] =
    [Span::from_secs(1), Span::from_secs(5), Span::from_secs(15), Span::from_secs(30), Span::from_secs(60)];

/// Long enough to be for ever.
const FOR_EVER: Span = Span::from_secs(u32::MAX as u64);

impl Exports {
    /// All exports, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Export)> {
        self.0.iter().map(|(name, export)| (name.as_str(), export))
    }

    /// Makes relative paths (files, secrets, certificates) relative to the folder of soard.yaml.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        for export in self.0.values_mut() {
            for path in export.peer.paths() {
                *path = folder.join(&*path);
            }
            for secret in export.peer.secrets_mut() {
                secret.rebase(folder);
            }
        }
        self
    }

    /// Every secret that the exports need.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        self.0.values().flat_map(|export| export.peer.secrets()).collect()
    }
}

/// Reads `exports:` of soard.yaml; every fault is noted, and what is faulty is left out.
pub fn read_exports(node: &Node, faults: &mut Faults) -> Exports {
    let mut exports = Exports::default();
    let Some(mut map) = MapReader::new(node, "a map of exports by name", faults) else { return exports };
    let all = map.rest();
    if all.len() > EXPORTS_MAX {
        faults.error("too-many-exports", map.place(), format!("{} exports; at most {EXPORTS_MAX} run", all.len()));
    }
    for (name, node) in all {
        check_name(name, "an export", faults);
        if let Some(export) = export(node, faults) {
            exports.0.insert(name.text.clone(), export);
        }
    }
    let mut files: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (name, export) in &exports.0 {
        let PeerSettings::File(file) = &export.peer else { continue };
        if let Some(other) = files.insert(plain(&file.path), name) {
            let message = format!("`{name}` and `{other}` write the same file {}", file.path.display());
            faults.push(Diagnostic::error("export-file-twice", map.place().clone(), message).help("give each its own"));
        }
    }
    exports
}

/// A path without `.` and `..`, to compare.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn export(node: &Node, faults: &mut Faults) -> Option<Export> {
    let mut map = MapReader::new(node, "an export: `file:`, `http:` or `syslog:`", faults)?;
    let before = faults.found.len();
    let targets = [map.get("file"), map.get("http"), map.get("syslog")];
    let format = map.get("format").map_or(Some(Format::Json), |node| format(node, faults));
    let at_least = map.get("at_least").map_or(Some(Severity::Informational), |node| severity(node, faults));
    let kinds = map.texts("kinds", faults).unwrap_or_default();
    let what = map.get("what").map_or((true, true), |node| what(node, faults));
    let from_start = map.get("from").map_or(Some(false), |node| from(node, faults));
    let keep_for = span(&mut map, "keep_for", Span::from_secs(0), KEEP_FOR_MAX, faults).unwrap_or(KEEP_FOR);
    let retries = map.list("retries").map(|items| retries(items, faults));
    let snapshot = map.get("snapshot").map(|node| calendar::read(node, faults));
    let place = map.place();
    map.finish(faults);
    let peer = match targets {
        [Some(file), None, None] => peer::file(file, faults).map(PeerSettings::File),
        [None, Some(http), None] => peer::http(http, faults).map(|http| PeerSettings::Http(Box::new(http))),
        [None, None, Some(syslog)] => peer::syslog(syslog, faults).map(PeerSettings::Syslog),
        // A misspelt target is told already.
        [None, None, None] if faults.found.len() > before => None,
        _ => {
            faults.error("export-peer", place, "an export has exactly one of `file:`, `http:` and `syslog:`");
            None
        }
    };
    Some(Export {
        peer: peer?,
        format: format?,
        at_least: at_least?,
        kinds: kinds.iter().map(|kind| Pattern::new(kind)).collect(),
        alerts: what.0,
        changes: what.1,
        from_start: from_start?,
        keep_for,
        schedule: Schedule::new(Some(retries.unwrap_or_else(|| RETRIES.to_vec())), Some(FOR_EVER)),
        snapshot: match snapshot {
            Some(calendar) => Some(calendar?),
            None => None,
        },
    })
}

fn retries(items: &[Node], faults: &mut Faults) -> Vec<Span> {
    let waits: Vec<Span> = items.iter().filter_map(|item| span_node(item, RETRY_MIN, RETRY_MAX, faults)).collect();
    if let Some(first) = items.first().filter(|_| waits.len() > RETRIES_MAX) {
        let message = format!("{} retries are listed; at most {RETRIES_MAX} are taken", waits.len());
        faults.error("too-many-export-retries", &first.place, message);
    }
    if waits.is_empty() { RETRIES.to_vec() } else { waits }
}

/// One of these words; notes a fault with a suggestion otherwise.
fn word<T: Copy>(
    node: &Node,
    what: &str,
    known: &[(&'static str, T)],
    code: &'static str,
    faults: &mut Faults,
) -> Option<T> {
    let text = reader::text(node, faults)?;
    if let Some((_, found)) = known.iter().find(|(word, _)| *word == text) {
        return Some(*found);
    }
    let fault = Diagnostic::error(code, node.place.clone(), format!("{text:?} is no {what}"));
    faults.push(fault.suggest(text, known.iter().map(|(word, _)| *word)));
    None
}

fn format(node: &Node, faults: &mut Faults) -> Option<Format> {
    let known = Format::ALL.map(|format| (format.as_str(), format));
    word(node, "form of exports", &known, "export-format", faults)
}

fn severity(node: &Node, faults: &mut Faults) -> Option<Severity> {
    word(node, "severity", &Severity::ALL.map(|severity| (severity.as_str(), severity)), "export-severity", faults)
}

fn what(node: &Node, faults: &mut Faults) -> (bool, bool) {
    let known = [("alerts", 0), ("changes", 1)];
    let mut given = [false; 2];
    let items = one_or_many(node);
    if items.is_empty() {
        faults.expected(node, "`alerts`, `changes` or a list of them");
    }
    for item in items {
        if let Some(which) = word(item, "kind of notice", &known, "export-what", faults) {
            given[which] = true;
        }
    }
    (given[0], given[1])
}

fn from(node: &Node, faults: &mut Faults) -> Option<bool> {
    if let Value::Str(_) = node.value {
        return word(node, "place to begin", &[("now", false), ("start", true)], "export-from", faults);
    }
    faults.expected(node, "`now` or `start`");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_one_file_however_its_path_is_written() {
        let plain = |path: &str| plain(Path::new(path)).display().to_string();
        assert_eq!(plain("./a//b/../c.jsonl"), "a/c.jsonl");
        assert_eq!(plain("../a/./c.jsonl"), "../a/c.jsonl");
        assert_eq!(plain("a/../../../c"), "../../c");
        assert_eq!(plain("/a/b/../c"), "/a/c");
    }
}
