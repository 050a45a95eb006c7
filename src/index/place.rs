//! Where the index lies: a folder of its own in the state folder, that may be deleted whenever no daemon runs.
//!
//! Each build has a number and a file of its own, so that a new one takes over while readers still have the old one open;
//! SQLite's companion files of the two never meet.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::index::IndexError;

/// Name of the folder in the state folder.
pub const FOLDER: &str = "index";

/// What a build is called before it is whole.
const UNFINISHED: &str = ".building";

/// The index of a state folder.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
}

/// Whoever writes the index holds this.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Place {
    /// In this state folder.
    pub fn of(state: &Path) -> Self {
        Self { dir: state.join(FOLDER) }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps other writers away; makes the folder when absent.
    ///
    /// # Errors
    /// [`IndexError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<Lock, IndexError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(IndexError::io("make", &self.dir))?;
        let path = self.dir.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(IndexError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(IndexError::Locked { dir: self.dir.clone() }),
            Err(TryLockError::Error(cause)) => Err(IndexError::io("lock", &path)(cause)),
        }
    }

    /// The newest whole build, by number and path.
    pub fn current(&self) -> Option<(u64, PathBuf)> {
        self.builds().pop()
    }

    /// Where the next build is made, and what it is called once it is whole.
    pub fn next(&self) -> (PathBuf, u64, PathBuf) {
        let number = self.current().map_or(1, |(number, _)| number + 1);
        let path = self.dir.join(name(number));
        (self.dir.join(format!("{}{UNFINISHED}", name(number))), number, path)
    }

    /// Lets a build that was written and closed take over.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn take_over(&self, unfinished: &Path, whole: &Path) -> Result<(), IndexError> {
        fs::rename(unfinished, whole).map_err(IndexError::io("rename", unfinished))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(IndexError::io("sync", &self.dir))
    }

    /// Removes everything but this build and the lock.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn clear_but(&self, number: Option<u64>) -> Result<(), IndexError> {
        let kept = number.map(name);
        for file in fs::read_dir(&self.dir).map_err(IndexError::io("list", &self.dir))?.flatten() {
            let file_name = file.file_name().to_string_lossy().into_owned();
            let is_kept = kept.as_ref().is_some_and(|kept| file_name.strip_prefix(kept).is_some_and(is_companion));
            if file_name.contains(ENDING) && !is_kept {
                fs::remove_file(file.path()).map_err(IndexError::io("remove", &file.path()))?;
            }
        }
        Ok(())
    }

    fn builds(&self) -> Vec<(u64, PathBuf)> {
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let number = |path: &Path| -> Option<u64> {
            let file = path.file_name()?.to_str()?;
            let number = file.strip_prefix("alerts-")?.strip_suffix(ENDING)?.parse().ok()?;
            (name(number) == file).then_some(number)
        };
        let mut builds: Vec<(u64, PathBuf)> =
            files.filter_map(|file| Some((number(&file.path())?, file.path()))).collect();
        builds.sort();
        builds
    }
}

const ENDING: &str = ".sqlite";

fn name(number: u64) -> String {
    format!("alerts-{number}{ENDING}")
}

/// The database itself, or one of the files that SQLite keeps beside it.
fn is_companion(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_build_counts_and_the_others_go() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path());
        assert_eq!(place.current(), None);
        let _lock = place.lock().unwrap();
        assert!(matches!(place.lock(), Err(IndexError::Locked { .. })));
        for file in
            ["alerts-2.sqlite", "alerts-10.sqlite", "alerts-10.sqlite-wal", "alerts-11.sqlite.building", "notes"]
        {
            fs::write(place.dir().join(file), "").unwrap();
        }
        assert_eq!(place.current().unwrap().0, 10);
        assert_eq!(place.next().1, 11);
        place.clear_but(Some(10)).unwrap();
        let mut left: Vec<_> = fs::read_dir(place.dir()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["alerts-10.sqlite", "alerts-10.sqlite-wal", "lock", "notes"]);
    }
}
