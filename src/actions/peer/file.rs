//! A file that grows by whole lines, each batch synced, and is set aside at a size: `PATH.1` is the youngest of those.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::actions::peer::Batch;
use crate::actions::settings::exports::peer::FileSettings;

/// Bytes that are looked through at a time for the end of the last whole line.
const LOOK_BYTES: u64 = 64 * 1024;

/// The file.
pub(super) struct GrowingFile {
    settings: Arc<FileSettings>,
    /// It was written to since the start, so its name is on the disk.
    is_known: bool,
}

impl GrowingFile {
    pub(super) fn new(settings: &FileSettings) -> Self {
        Self { settings: Arc::new(settings.clone()), is_known: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Appends the batch durably.
    pub(super) async fn append(&mut self, batch: Batch<'_>) -> Result<(), String> {
        let (settings, lines, is_known) = (self.settings.clone(), batch.lines(), self.is_known);
        let written = tokio::task::spawn_blocking(move || append(&settings, lines.as_bytes(), is_known)).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.is_known |= written.is_ok();
        written.map_err(|error| format!("cannot write {}: {error}", self.settings.path.display()))
    }
}

/// Opened anew each time, so that a file that somebody moved or removed is begun anew instead of growing out of sight. One whose name may not be on
/// the disk yet, such as after a crash, is seen to.
fn append(settings: &FileSettings, bytes: &[u8], is_known: bool) -> io::Result<()> {
    let path = &settings.path;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let length = match fs::metadata(path) {
        Ok(data) => Some(data.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let is_full = length.is_some_and(|length| length >= settings.size.0);
    if is_full {
        set_aside(path, settings.keep)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    let end = cut_back(&mut file)?;
    if let Err(error) = file.write_all(bytes) {
        // A full disk leaves no part of a batch behind.
        let _ = file.set_len(end);
        return Err(error);
    }
    file.sync_all()?;
    if is_full || length.is_none() || !is_known {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// `PATH` becomes `PATH.1`, that becomes `PATH.2`, and what would be one too many goes. A crash in between leaves a number out.
fn set_aside(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    for n in (1..keep).rev() {
        match fs::rename(numbered(n), numbered(n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

/// Cuts off a line that a crash left unfinished: its batch was not taken, and is written again. A file without any whole line may be anybody's,
/// so it is left alone.
fn cut_back(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut bytes = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(LOOK_BYTES);
        file.seek(SeekFrom::Start(from))?;
        bytes.clear();
        Read::by_ref(file).take(end - from).read_to_end(&mut bytes)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    if end == 0 && length > 0 {
        return Err(io::Error::other("it has no whole line, so it may not be the export's; move it away"));
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bytes::Bytes;

    #[test]
    fn it_grows_by_whole_lines_and_is_set_aside_at_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let settings = FileSettings { path: path.clone(), size: Bytes(10), keep: 2 };
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        append(&settings, b"one\n", false).unwrap();
        fs::write(&path, "one\ntw").unwrap();
        append(&settings, b"two\nthree\n", true).unwrap();
        assert_eq!(read("out.jsonl"), "one\ntwo\nthree\n", "the unfinished line is gone");
        for line in ["four\nfive\nsix\n", "seven seven\n", "eight eight\n"] {
            append(&settings, line.as_bytes(), true).unwrap();
        }
        assert_eq!(
            (read("out.jsonl"), read("out.jsonl.1"), read("out.jsonl.2")),
            ("eight eight\n".into(), "seven seven\n".into(), "four\nfive\nsix\n".into())
        );
        assert!(!folder.path().join("out.jsonl.3").exists());
        fs::write(&path, "no end").unwrap();
        let refused = append(&settings, b"nine\n", true).unwrap_err().to_string();
        assert!(refused.contains("no whole line"), "{refused}");
        assert_eq!(read("out.jsonl"), "no end", "it is left as it was");
    }
}
