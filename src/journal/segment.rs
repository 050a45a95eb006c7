//! Segment files: their names, and what stands in the journal's folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::journal::JournalError;
use crate::journal::line::LINE_BYTES_MAX;

/// A file that is being made and takes its name when it is complete.
const UNFINISHED: &str = ".tmp";

/// Name of the segment whose first entry is `first`: 20 digits, so that names sort as numbers do.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(name(first))
}

pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// First entries of the segments in the folder, in order. Other files are left out.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let mut firsts: Vec<u64> = names(dir)?.iter().filter_map(|name| first_of(name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

fn first_of(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".jsonl")?.parse().ok()?;
    (self::name(first) == name).then_some(first)
}

/// All file names in the folder that are text.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, JournalError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    };
    read().map_err(JournalError::io("list", dir))
}

/// Removes what an earlier process was making when it died.
pub(super) fn remove_unfinished(dir: &Path) -> Result<(), JournalError> {
    for name in names(dir)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
    }
    Ok(())
}

/// Makes the folder, readable by its owner alone: records can hold anything.
pub(super) fn make_dir(dir: &Path) -> Result<(), JournalError> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(JournalError::io("make the folder", dir))?;
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes new, renamed and removed names in the folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(JournalError::io("sync the folder", dir))
}

/// Opens a file of the journal for writing, and makes it when absent.
pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Reads on to the next line end into the emptied buffer, but no further than the longest line: memory stays
/// bounded whatever the file holds. Returns false at the end of the file.
pub(super) fn read_piece(from: &mut dyn BufRead, piece: &mut Vec<u8>) -> io::Result<bool> {
    piece.clear();
    Ok(from.take(LINE_BYTES_MAX as u64).read_until(b'\n', piece)? > 0)
}
