//! What a start finds: the journal, and the state that it adds up to.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::daemon::fault::{self, Fault};
use crate::daemon::settings::Settings;
use crate::daemon::{DaemonError, beside, keep, key, snapshot};
use crate::domain::entry::{Entry, Facts, Log};
use crate::engine::apply::apply;
use crate::engine::state::State;
use crate::journal::evidence::{Begun, Evidence, Named};
use crate::journal::writer::Journal;
use crate::journal::{self, Damage, JournalError, Place, Receipt, Recovery};

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
    let found = snapshot::read(&path.join(snapshot::FILE)).unwrap_or_else(|why| {
        tracing::warn!(%why, file = snapshot::FILE, "a snapshot is not used: more of the journal is read");
        None
    });
    let evidence = beside::evidence(path, &key::at_hand(settings), found.as_ref().map(|(_, known)| known.seq));
    if let Some((state, known)) = found {
        match replay(path, limits.clone(), state, Some(&known), &evidence) {
            Err(DaemonError::Journal(why @ JournalError::Elsewhere { .. })) => {
                tracing::warn!(%why, file = snapshot::FILE, "a snapshot does not fit the journal: more of it is read");
            }
            recovered => return recovered,
        }
    }
    from_base(path, &limits, evidence)
}

/// From the newest base that fits, else from the whole journal.
fn from_base(path: &Path, limits: &journal::Settings, mut evidence: Evidence) -> Result<Recovered, DaemonError> {
    let mut unusable = Vec::new();
    for file in keep::bases(path) {
        let named = beside::named(&file);
        let why = match snapshot::read_base(&file) {
            Ok(Some((state, known))) => {
                let sha256 = snapshot::sha256(&file).map_err(|cause| DaemonError::State { path: file, cause })?;
                evidence.base = Some(Begun { named: named.clone(), sha256 });
                match replay(path, limits.clone(), state, Some(&known), &evidence) {
                    Err(DaemonError::Journal(JournalError::Elsewhere { .. })) => "does not fit the journal".to_owned(),
                    recovered => return recovered,
                }
            }
            Ok(None) => "is absent".to_owned(),
            Err(why) => format!("cannot be used: {why}"),
        };
        tracing::warn!(file = named.file, "a base {why}: more of the journal is read");
        unusable.push((named, why));
    }
    evidence.base = None;
    match replay(path, limits.clone(), State::default(), None, &evidence) {
        Err(DaemonError::Journal(JournalError::Corrupt(place))) => {
            Err(JournalError::Corrupt(told(place, unusable)).into())
        }
        recovered => recovered,
    }
}

/// Where the journal begins behind entries that were dropped, it is the base that is missing.
fn told(place: Place, unusable: Vec<(Named, String)>) -> Place {
    let Damage::Segment { found } = place.damage else { return place };
    if place.seq != 1 {
        return place;
    }
    let is_it = |(named, _): &(Named, String)| named.seq + 1 == found;
    let known = unusable.into_iter().find(is_it).map(|(named, why)| (named.file, why));
    let (file, why) =
        known.unwrap_or_else(|| (beside::named(&keep::base(Path::new(""), found - 1)).file, "is absent".into()));
    Place { seq: found, damage: Damage::Base { file, why }, ..place }
}

/// Applies the journal to a state that covers it up to `known`.
fn replay(
    path: &Path,
    limits: journal::Settings,
    mut state: State,
    known: Option<&Receipt>,
    evidence: &Evidence,
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
    let (journal, recovery) = journal::open_behind(&dir, limits, known, evidence, &mut read)?;
    if fault::from_env() == Some(Fault::GiveUpOnFullDisk) {
        journal.room().give_up();
    }
    let snapshot = known.map_or(0, |known| known.seq);
    tracing::info!(entries = recovery.entries, snapshot, verdict = ?recovery.verdict, "journal recovered");
    Ok(Recovered { state, journal, recovery, snapshot })
}
