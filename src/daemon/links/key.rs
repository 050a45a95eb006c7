//! The key of the links in mails, in the state folder.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::HEXLOWER;

/// Reads the key, or makes one that its owner alone can read.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bad =
        || io::Error::new(io::ErrorKind::InvalidData, "it is not 64 hex digits; delete it, and a new one is made");
    match fs::read_to_string(path) {
        Ok(text) => HEXLOWER.decode(text.trim().as_bytes()).ok().filter(|key| key.len() == 32).ok_or_else(bad),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
            let unfinished = path.with_extension("key.tmp");
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            writeln!(file, "{}", HEXLOWER.encode(&key))?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(key.to_vec())
        }
        Err(error) => Err(error),
    }
}
