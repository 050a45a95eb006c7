//! Mail into a folder: one `.eml` file for each, for trying out, for tests and for machines without mail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes the mail durably; the same name replaces its own file, so a mail sent again is still one.
pub(super) async fn write(folder: &Path, name: &str, bytes: Vec<u8>) -> io::Result<PathBuf> {
    let folder = folder.to_owned();
    let name = format!("{name}.eml");
    let written = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&folder)?;
        let hidden = folder.join(format!(".{name}.part"));
        let whole = folder.join(name);
        let mut file = File::create(&hidden)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&hidden, &whole)?;
        File::open(&folder)?.sync_all()?;
        Ok(whole)
    });
    written.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
