//! What lies in a state folder beside its journal, and tells of it: keys, a snapshot, bases.

use std::path::Path;

use crate::daemon::{keep, key, snapshot};
use crate::domain::entry::{BundleName, Log, Seal};
use crate::engine::state::State;
use crate::journal::Receipt;
use crate::journal::evidence::{Evidence, Named, OTHER_BASE};
use crate::journal::note::Signer;
use crate::journal::repair::{Base, Beside};

/// Policy of a `dropped` entry that a repair puts on record anew.
const BY_REPAIR: &str = "repair";

/// What tells how far the journal went. `snapshot` is the entry that a whole snapshot names.
pub fn evidence(state: &Path, keys: &[Signer], snapshot: Option<u64>) -> Evidence {
    let snapshot = snapshot.map(|seq| Named { file: snapshot::FILE.into(), seq });
    let bases = keep::bases(state).into_iter().map(|path| named(&path));
    Evidence {
        keys: keys.iter().map(|signer| signer.verifier().clone()).collect(),
        files: snapshot.into_iter().chain(bases).collect(),
        key_file: state.join(key::FILE).exists().then(|| key::FILE.to_owned()),
        base: None,
    }
}

/// A base, by its name.
pub fn named(path: &Path) -> Named {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Named { file, seq: keep::last_of(path) }
}

/// What is wrong with the base that a journal which begins behind this entry rests on; `sha256` is that on record, empty
/// where none is.
pub fn fault_of_base(state: &Path, behind: &Receipt, sha256: &str) -> Option<(String, String)> {
    let path = keep::base(state, behind.seq);
    let why = match snapshot::read_base(&path) {
        Ok(None) => "is absent".to_owned(),
        Err(why) => format!("cannot be used: {why}"),
        Ok(Some((_, receipt))) if receipt != *behind => "does not fit the journal".to_owned(),
        Ok(Some(_)) => match snapshot::sha256(&path) {
            Err(why) => format!("cannot be read: {why}"),
            Ok(found) if sha256.is_empty() || found == sha256 => return None,
            Ok(_) => OTHER_BASE.to_owned(),
        },
    };
    Some((named(&path).file, why))
}

/// What a repair of the journal in a state folder knows from there.
pub fn of(state: &Path, keys: &[Signer]) -> Beside {
    let read = snapshot::read(&state.join(snapshot::FILE)).ok().flatten();
    let evidence = evidence(state, keys, read.map(|(_, known)| known.seq));
    Beside { evidence, base: keep::bases(state).iter().find_map(|path| usable(path)) }
}

fn usable(path: &Path) -> Option<Base> {
    let (state, receipt) = snapshot::read_base(path).ok().flatten()?;
    let sha256 = snapshot::sha256(path).ok()?;
    let (at, signed_by) = (state.at, state.signed_by.clone());
    let dropped = dropped(state, &receipt, sha256);
    Some(Base { receipt, at, signed_by, dropped })
}

/// What the base alone still knows of what was dropped.
fn dropped(state: State, receipt: &Receipt, base: String) -> Log {
    let (runs, letters) = state.given_up(receipt.seq);
    let State { at, journal, signed_by, bundles, .. } = state;
    let seal = Seal {
        first: 1,
        last: receipt.seq,
        first_hash: String::new(),
        hash: receipt.hash.clone(),
        bytes: 0,
        from: at,
        until: at,
    };
    let bundles = bundles.into_iter().map(|(id, commit)| BundleName { id, commit }).collect();
    Log::Dropped { policy: BY_REPAIR.into(), segments: vec![seal], journal, signed_by, bundles, runs, letters, base }
}
