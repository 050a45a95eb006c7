//! Finds earlier generations of a followed file among the files beside it.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::domain::record::FilePosition;
use crate::sources::file::folder_of;
use crate::sources::file::generation::{FileId, holds, open};

/// Entries of a folder looked at.
const ENTRIES_MAX: usize = 100_000;

/// Parts of a file name that say: not plain text, or not finished.
const NOT_PLAIN: [&str; 11] = ["gz", "xz", "bz2", "zst", "lz4", "Z", "zip", "tmp", "part", "swp", "bak"];

/// When a file came into being and was last written to.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    /// Its birth; where the file system keeps none, its last change.
    pub born: SystemTime,
    /// Its last change.
    pub modified: SystemTime,
}

impl Age {
    pub fn of(meta: &Metadata) -> io::Result<Self> {
        let modified = meta.modified()?;
        Ok(Self { born: meta.created().unwrap_or(modified), modified })
    }
}

/// A regular file beside the followed one.
#[derive(Debug)]
pub struct Sibling {
    path: PathBuf,
    pub id: FileId,
    pub age: Age,
    /// Its name is that of a rotated file.
    pub is_rotated: bool,
}

impl Sibling {
    /// Opens it, if it is still the same file.
    pub fn open(&self) -> io::Result<Option<File>> {
        Ok(open(&self.path)?.filter(|(_, id)| *id == self.id).map(|(file, _)| file))
    }

    /// Opens it, if it holds what was read up to the position.
    pub fn open_holding(&self, position: &FilePosition) -> io::Result<Option<File>> {
        match self.open()? {
            Some(file) if holds(&file, position)? => Ok(Some(file)),
            _ => Ok(None),
        }
    }
}

/// The regular files beside `path`, without the one at `path`, the oldest first.
pub fn siblings(path: &Path) -> io::Result<Vec<Sibling>> {
    let entries = match std::fs::read_dir(folder_of(path)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let own = std::fs::metadata(path).ok().map(|meta| FileId::of(&meta));
    let mut found = Vec::new();
    for entry in entries.take(ENTRIES_MAX).flatten() {
        // A symbolic link is no rotated file, and a file may vanish while we look.
        let Ok(meta) = entry.metadata() else { continue };
        let id = FileId::of(&meta);
        if !meta.is_file() || Some(id) == own {
            continue;
        }
        let is_rotated = is_rotated_name(path, &entry.file_name().to_string_lossy());
        found.push(Sibling { path: entry.path(), id, age: Age::of(&meta)?, is_rotated });
    }
    found.sort_by_key(|sibling| (sibling.age.born, sibling.age.modified));
    Ok(found)
}

/// `alerts.jsonl.1`, `alerts.jsonl-20260101`, `alerts-2026-01-01.jsonl`; nothing compressed or unfinished.
fn is_rotated_name(path: &Path, name: &str) -> bool {
    if name.split('.').any(|part| NOT_PLAIN.contains(&part)) {
        return false;
    }
    let bases = [path.file_name(), path.file_stem()];
    let mut rests = bases.into_iter().flatten().filter_map(|base| name.strip_prefix(&*base.to_string_lossy()));
    rests.any(|rest| {
        let mut chars = rest.chars();
        matches!(chars.next(), Some('.' | '-' | '_')) && chars.next().is_some_and(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_known_by_name() {
        let path = Path::new("/x/alerts.jsonl");
        for name in ["alerts.jsonl.1", "alerts.jsonl-20260101", "alerts-2026-01-01.jsonl", "alerts_1.jsonl"] {
            assert!(is_rotated_name(path, name), "{name}");
        }
        for name in
            ["alerts.jsonl.1.gz", "alerts.jsonl.bak", "alerts.jsonl", "alerts2.jsonl", "other.1", "alerts.1.tmp"]
        {
            assert!(!is_rotated_name(path, name), "{name}");
        }
    }
}
