//! Views over the journal: pure folds over its lines.
//!
//! They read the journal from its beginning, or the entries that the index names, parse only the lines that can matter to them, and
//! keep rows with bounded texts, never bodies. Lists of alerts come from the index instead.

pub mod alert;
pub mod alerts;
pub mod cause;
pub mod changes;
pub mod deliveries;
pub mod group;
pub mod log;
pub mod quarantine;
pub mod run;
pub mod runs;
pub mod start;
pub mod step;
pub mod why;

#[cfg(test)]
pub(crate) mod story;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::entry::{Entry, Facts, Log};
use crate::index::mentions::Mentions;
use crate::journal::JournalError;
use crate::journal::line::Line;
use crate::journal::reader::Reader;

/// Most rows of a list.
pub const ROWS_LISTED_MAX: u64 = 10_000;

/// How many rows a list has unless told otherwise.
pub const ROWS_DEFAULT: u64 = 50;

/// One line of the journal, as queries see it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// Position in the journal, from 1.
    pub seq: u64,
    /// When the daemon took the input.
    pub at: Timestamp,
    /// Kind of the entry.
    pub kind: String,
    /// Its content, verbatim.
    pub data: Box<RawValue>,
    /// Hash of the line, in hex.
    pub hash: String,
}

impl From<Line> for LogLine {
    fn from(Line { seq, at, kind, data, hash, .. }: Line) -> Self {
        Self { seq, at, kind, data, hash }
    }
}

impl LogLine {
    /// The facts of the line.
    ///
    /// # Errors
    /// When its content does not have the shape of its kind.
    pub fn entry(&self) -> Result<Entry, QueryError> {
        let facts = Facts::parse(&self.kind, self.data.get()).map_err(|cause| self.not_understood(cause))?;
        Ok(Entry { seq: self.seq, at: self.at, facts })
    }

    fn not_understood(&self, cause: serde_json::Error) -> QueryError {
        QueryError::Entry { seq: self.seq, kind: self.kind.clone(), cause }
    }

    /// Whether the content has this text as it stands in JSON. Cheap; tells which lines are worth parsing.
    fn has(&self, text: &str) -> bool {
        self.data.get().contains(text)
    }
}

/// The journal's lines, in order.
pub type Lines<'a> = &'a mut dyn Iterator<Item = Result<LogLine, QueryError>>;

/// The journal's lines from this sequence number to the head as it is now.
pub fn lines(reader: &Reader, from: u64) -> impl Iterator<Item = Result<LogLine, QueryError>> + use<> {
    reader.lines(from).map(|line| line.map(LogLine::from).map_err(QueryError::Journal))
}

/// The entries that the index names, and all those behind what it knows.
pub fn lines_about(reader: &Reader, about: Mentions) -> impl Iterator<Item = Result<LogLine, QueryError>> + use<> {
    let Mentions { entries, upto } = about;
    let (one, rest) = (reader.clone(), lines(reader, upto + 1));
    // What retention has dropped meanwhile is not there any more.
    let named = entries.into_iter().filter_map(move |seq| one.line(seq).transpose());
    named.map(|line| line.map(LogLine::from).map_err(QueryError::Journal)).chain(rest)
}

/// A query that failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The journal could not be read.
    #[error("read the journal")]
    Journal(#[source] JournalError),
    /// The daemon stops, and does not wait for long queries.
    #[error("the daemon is stopping")]
    Stopping,
    /// A line is not what its kind says.
    #[error("understand journal entry {seq} of kind {kind:?}")]
    Entry {
        /// Its sequence number.
        seq: u64,
        /// Its kind.
        kind: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
}

/// A view that grows entry by entry.
trait Fold {
    /// Whether the line can matter; others are not parsed.
    fn wants(&self, line: &LogLine) -> bool;
    /// Takes the next entry.
    fn apply(&mut self, entry: &Entry);
}

fn fold(lines: Lines<'_>, view: &mut impl Fold) -> Result<(), QueryError> {
    for line in lines {
        let line = line?;
        if view.wants(&line) {
            view.apply(&line.entry()?);
        }
    }
    Ok(())
}

/// A bundle as a view names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleRef {
    /// SHA-256 over its files, in hex.
    pub id: String,
    /// The git commit, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Which commit each bundle was loaded from.
#[derive(Debug, Default)]
struct Bundles(BTreeMap<String, Option<String>>);

impl Bundles {
    /// Whether the line names bundles: the entry that introduces one, or those that took its place when it was dropped.
    fn wants(line: &LogLine) -> bool {
        line.kind == "bundle" || (line.kind == "log" && line.has("\"bundles\""))
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.facts {
            Facts::Bundle(bundle) => drop(self.0.insert(bundle.id.clone(), bundle.commit.clone())),
            Facts::Log(Log::Dropped { bundles, .. }) => {
                self.0.extend(bundles.iter().map(|bundle| (bundle.id.clone(), bundle.commit.clone())));
            }
            _ => {}
        }
    }

    /// By its id, or by the first digits of it; to be asked after the last line.
    fn named(&self, id: &str) -> BundleRef {
        let known = self.0.range(id.to_owned()..).next();
        let known = known.filter(|(known, _)| !id.is_empty() && known.starts_with(id));
        let (id, commit) = known.map_or((id, None), |(known, commit)| (known, commit.clone()));
        BundleRef { id: id.into(), commit }
    }
}
