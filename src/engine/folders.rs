//! Positions in folders as JSON: its maps have no keys of two parts, and a position has both of them in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::record::FolderPosition;

type Folders = BTreeMap<String, BTreeMap<(String, String), FolderPosition>>;

/// Writes them as lists.
///
/// # Errors
/// When the writer has one.
pub fn serialize<S: Serializer>(folders: &Folders, to: S) -> Result<S::Ok, S::Error> {
    let lists = folders.iter().map(|(name, files)| (name, files.values().collect::<Vec<_>>()));
    lists.collect::<BTreeMap<_, _>>().serialize(to)
}

/// Reads them back.
///
/// # Errors
/// When it is not what was written.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Folders, D::Error> {
    let lists: BTreeMap<String, Vec<FolderPosition>> = BTreeMap::deserialize(from)?;
    let keyed = |file: FolderPosition| ((file.file.clone(), file.sha256.clone()), file);
    Ok(lists.into_iter().map(|(name, files)| (name, files.into_iter().map(keyed).collect())).collect())
}
