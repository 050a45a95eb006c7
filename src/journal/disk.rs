//! The calls that can fail while the journal is written, in one place so that tests can make them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The real disk; in this crate's own tests also one that fails on purpose.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub faults: Option<std::sync::Arc<faults::Faults>>,
}

impl Disk {
    pub fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            faults.on_write(file, bytes, offset)?;
        }
        file.write_all_at(bytes, offset)
    }

    /// Makes a file that only its owner reads.
    pub fn make(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            faults.on_make()?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    pub fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            faults.on_sync()?;
        }
        file.sync_data()
    }

    pub fn cut(&self, file: &File, bytes: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            faults.on_cut()?;
        }
        file.set_len(bytes)
    }
}

/// Is there no room: a full disk, a used-up quota, or a limit on the size of files?
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
pub(super) mod faults {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    pub const ENOSPC: i32 = 28;
    pub const EFBIG: i32 = 27;
    pub const EIO: i32 = 5;
    pub const EDQUOT: i32 = 122;

    /// Which call fails, counted from 0, and how. Each fails once: the next one succeeds, as on Linux. Only a disk may
    /// stay full for longer.
    #[derive(Debug, Default)]
    pub struct Faults {
        /// The write, how many bytes of it still arrive, and the error.
        pub write: Option<(u64, usize, i32)>,
        pub sync: Option<(u64, i32)>,
        pub cut: Option<(u64, i32)>,
        pub make: Option<(u64, i32)>,
        /// How many writes and makes behind the one that fails do so, too.
        pub again: AtomicU64,
        /// Writes, syncs, cuts and makes so far.
        pub counts: Mutex<[u64; 4]>,
    }

    impl Faults {
        fn count(&self, call: usize) -> u64 {
            let mut counts = self.counts.lock().unwrap();
            counts[call] += 1;
            counts[call] - 1
        }

        fn hits(&self, at: u64, n: u64) -> bool {
            n.checked_sub(at).is_some_and(|since| since <= self.again.load(Ordering::SeqCst))
        }

        pub fn on_write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
            let n = self.count(0);
            match self.write {
                Some((at, arrive, error)) if self.hits(at, n) => {
                    file.write_all_at(&bytes[..arrive.min(bytes.len())], offset)?;
                    Err(io::Error::from_raw_os_error(error))
                }
                _ => Ok(()),
            }
        }

        pub fn on_sync(&self) -> io::Result<()> {
            let n = self.count(1);
            self.sync.filter(|(at, _)| *at == n).map_or(Ok(()), |(_, e)| Err(io::Error::from_raw_os_error(e)))
        }

        pub fn on_cut(&self) -> io::Result<()> {
            let n = self.count(2);
            self.cut.filter(|(at, _)| *at == n).map_or(Ok(()), |(_, e)| Err(io::Error::from_raw_os_error(e)))
        }

        pub fn on_make(&self) -> io::Result<()> {
            let n = self.count(3);
            self.make.filter(|(at, _)| self.hits(*at, n)).map_or(Ok(()), |(_, e)| Err(io::Error::from_raw_os_error(e)))
        }
    }
}
