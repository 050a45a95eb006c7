//! The lock on the journal's folder: one writer at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::journal::JournalError;
use crate::journal::segment;

/// Keeps a second daemon out; it goes with the process, however that ends.
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock, or says that another process has it.
    pub fn take(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join("LOCK");
        let file = segment::open_to_write(&path).map_err(JournalError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(JournalError::Locked { dir: dir.into() }),
            Err(TryLockError::Error(error)) => Err(JournalError::io("lock", &path)(error)),
        }
    }
}

impl Drop for Lock {
    /// Closing the file is not enough: a process that is being started holds a copy of it until its program runs.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}
