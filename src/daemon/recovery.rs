//! What a start finds: the journal, and the state that it adds up to.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::daemon::fault::{self, Fault};
use crate::daemon::settings::Settings;
use crate::daemon::{DaemonError, keep, snapshot};
use crate::domain::entry::{Entry, Facts, Log};
use crate::engine::apply::apply;
use crate::engine::state::State;
use crate::journal::writer::Journal;
use crate::journal::{self, JournalError, Receipt, Recovery};

/// What the state folder gave.
pub struct Recovered {
    /// What the journal adds up to.
    pub state: State,
    /// The journal, open for writing.
    pub journal: Journal,
    /// What opening it found.
    pub recovery: Recovery,
    /// The entry up to which a snapshot went; 0: none was used.
    pub snapshot: u64,
}

/// Opens the journal, finds the state, and removes what the last daemon left unfinished.
///
/// # Errors
/// When the state folder cannot be used, or the journal is damaged or in use.
pub fn recover(settings: &Settings) -> Result<Recovered, DaemonError> {
    let recovered = find(settings)?;
    let unusable = |cause| DaemonError::State { path: settings.state.clone(), cause };
    snapshot::remove_unfinished(&settings.state).map_err(unusable)?;
    Ok(recovered)
}

/// The state comes from a snapshot where one fits, else from a base, else from the whole journal.
fn find(settings: &Settings) -> Result<Recovered, DaemonError> {
    let path = &settings.state;
    let unusable = |cause| DaemonError::State { path: path.to_owned(), cause };
    for folder in [path.to_owned(), path.join("bundles"), path.join("journal")] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(unusable)?;
    }
    let limits = journal::Settings {
        segment_bytes_max: settings
            .journal
            .segment
            .map_or(journal::Settings::default().segment_bytes_max, |bytes| bytes.0),
        ..journal::Settings::default()
    };
    let snapshot = path.join(snapshot::FILE);
    for file in [snapshot.clone()].into_iter().chain(keep::bases(path)) {
        let read = if file == snapshot { snapshot::read(&file) } else { snapshot::read_base(&file) };
        let (state, known) = match read {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(why) => {
                tracing::warn!(%why, file = %file.display(), "a snapshot is not used: more of the journal is read");
                continue;
            }
        };
        match replay(path, limits.clone(), state, Some(&known)) {
            Err(DaemonError::Journal(why @ JournalError::Elsewhere { .. })) => {
                tracing::warn!(%why, file = %file.display(), "a snapshot does not fit the journal: more of it is read");
            }
            recovered => return recovered,
        }
    }
    replay(path, limits, State::default(), None)
}

/// Applies the journal to a state that covers it up to `known`.
fn replay(
    path: &Path,
    limits: journal::Settings,
    mut state: State,
    known: Option<&Receipt>,
) -> Result<Recovered, DaemonError> {
    let forgets_results = fault::from_env() == Some(Fault::ForgetResults);
    let mut read = |line: &journal::line::Line| {
        let mut facts = Facts::parse(&line.kind, line.data.get())?;
        if forgets_results && matches!(facts, Facts::Result(_)) {
            facts = Facts::Log(Log::Closed);
        }
        apply(&mut state, &Entry { seq: line.seq, at: line.at, facts });
        Ok(())
    };
    let dir = path.join("journal");
    let (journal, recovery) = match known {
        Some(known) => journal::open_behind(&dir, limits, known, &mut read)?,
        None => journal::open(&dir, limits, &mut read)?,
    };
    if fault::from_env() == Some(Fault::GiveUpOnFullDisk) {
        journal.room().give_up();
    }
    let snapshot = known.map_or(0, |known| known.seq);
    tracing::info!(entries = recovery.entries, snapshot, verdict = ?recovery.verdict, "journal recovered");
    Ok(Recovered { state, journal, recovery, snapshot })
}
