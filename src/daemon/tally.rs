//! What normalising counts, by source, since the daemon was started.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::rules::normalise::Note;

/// The counts of all sources.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<String, SourceTally>>);

/// The counts of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceTally {
    /// Records that their format says are no alerts.
    pub ignored: u64,
    /// Oddities of records that became alerts all the same, by kind.
    pub oddities: BTreeMap<String, u64>,
    /// The last of them, in words.
    pub last_oddity: Option<String>,
}

impl Tally {
    /// Counts a record that is no alert.
    pub fn count_ignored(&self, source: &str) {
        self.locked().entry(source.into()).or_default().ignored += 1;
    }

    /// Counts what was odd in a record.
    pub fn count_odd(&self, source: &str, notes: &[Note]) {
        let Some(last) = notes.last() else { return };
        let mut locked = self.locked();
        let tally = locked.entry(source.into()).or_default();
        for note in notes {
            *tally.oddities.entry(note.kind.as_str().into()).or_default() += 1;
        }
        tally.last_oddity = Some(last.to_string());
    }

    /// What a source came to.
    pub fn of(&self, source: &str) -> SourceTally {
        self.locked().get(source).cloned().unwrap_or_default()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, SourceTally>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}
