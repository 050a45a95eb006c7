//! Segment files: their names, and what stands in the journal's folder.
//!
//! A segment lies there as lines, or as an archive of the same lines. Who reads it need not know which; where both are
//! there, the lines are read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::journal::archive::{self, Unpacked};
use crate::journal::line::LINE_BYTES_MAX;
use crate::journal::{Damage, JournalError, Place};

/// A file that is being made and takes its name when it is complete.
const UNFINISHED: &str = ".tmp";

/// How much of a segment is read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// How often the folder is listed until two lists agree.
const LISTS_MAX: u32 = 10;

/// How a segment lies in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it was written.
    Plain,
    /// Compressed.
    Archive,
}

impl Form {
    fn path(self, dir: &Path, first: u64) -> PathBuf {
        match self {
            Self::Plain => path(dir, first),
            Self::Archive => archive_path(dir, first),
        }
    }

    /// Opens the segment in this form.
    pub fn open(self, dir: &Path, first: u64) -> Result<Opened, JournalError> {
        let path = self.path(dir, first);
        let file = File::open(&path).map_err(JournalError::io("open", &path))?;
        Ok(Opened { form: self, path, file })
    }
}

/// A segment, open for reading.
#[derive(Debug)]
pub(super) struct Opened {
    pub form: Form,
    pub path: PathBuf,
    pub file: File,
}

/// The lines of a segment, however it lies there.
pub(super) type Text = Box<dyn BufRead + Send>;

impl Opened {
    /// All of its lines.
    pub fn text(self) -> Text {
        let bytes = BufReader::with_capacity(BUFFER_BYTES, self.file);
        match self.form {
            Form::Plain => Box::new(bytes),
            Form::Archive => Box::new(Unpacked::new(bytes)),
        }
    }

    /// Its lines from this byte of them on. In an archive, all before it is unpacked and passed over.
    pub fn text_from(mut self, offset: u64) -> Result<Text, JournalError> {
        let path = self.path.clone();
        let read = || {
            if self.form == Form::Plain {
                self.file.seek(SeekFrom::Start(offset))?;
                return Ok(self.text());
            }
            let mut text = self.text();
            io::copy(&mut text.by_ref().take(offset), &mut io::sink())?;
            Ok(text)
        };
        read().map_err(JournalError::io("read", &path))
    }

    /// The lines of an archive from the frame on that begins at this byte of it.
    pub fn text_from_frame(mut self, packed: u64) -> Result<Text, JournalError> {
        self.file.seek(SeekFrom::Start(packed)).map_err(JournalError::io("read", &self.path))?;
        Ok(self.text())
    }

    /// How long the file is.
    pub fn bytes(&self) -> Result<u64, JournalError> {
        Ok(self.file.metadata().map_err(JournalError::io("look at", &self.path))?.len())
    }
}

/// Opens a segment in the form that is there. An archive takes its name before the plain file goes, so one of them is found.
pub(super) fn open(dir: &Path, first: u64) -> Result<Opened, JournalError> {
    match Form::Plain.open(dir, first) {
        Err(absent) if absent.is_absent() => match Form::Archive.open(dir, first) {
            // Whoever has neither misses the plain one.
            Err(also) if also.is_absent() => Err(absent),
            opened => opened,
        },
        opened => opened,
    }
}

/// The segment's first line without its end; `None` where it has none yet.
pub(super) fn first_line(dir: &Path, first: u64) -> Result<Option<Vec<u8>>, JournalError> {
    let opened = open(dir, first)?;
    let (path, mut piece) = (opened.path.clone(), Vec::new());
    match read_piece(&mut opened.text(), &mut piece) {
        Err(error) if archive::is_damage(&error) => Err(JournalError::Corrupt(Place {
            seq: first,
            file: archive_name(first),
            offset: 0,
            damage: Damage::Archive,
        })),
        read => {
            read.map_err(JournalError::io("read", &path))?;
            Ok((piece.pop() == Some(b'\n')).then_some(piece))
        }
    }
}

/// The last part of a path.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Name of the file that a segment is read from now.
pub(super) fn name_in(dir: &Path, first: u64) -> String {
    let is_archive = !path(dir, first).exists() && archive_path(dir, first).exists();
    if is_archive { archive_name(first) } else { name(first) }
}

/// Name of the segment whose first entry is `first`: 20 digits, so that names sort as numbers do.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(name(first))
}

/// Name of its archive.
pub(super) fn archive_name(first: u64) -> String {
    format!("{first:020}.jsonl.zst")
}

pub(super) fn archive_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(archive_name(first))
}

pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// First entries of the segments in the folder, in order. Other files are left out.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, JournalError> {
    // A segment that is archived while the folder is listed can miss under both names.
    let mut listed = list_once(dir)?;
    for _ in 1..LISTS_MAX {
        let again = list_once(dir)?;
        if again == listed {
            break;
        }
        listed = again;
    }
    Ok(listed)
}

fn list_once(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let mut firsts: Vec<u64> = names(dir)?.iter().filter_map(|name| first_of(name)).collect();
    firsts.sort_unstable();
    firsts.dedup();
    Ok(firsts)
}

fn first_of(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".zst").unwrap_or(name).strip_suffix(".jsonl")?.parse().ok()?;
    (self::name(first) == name || archive_name(first) == name).then_some(first)
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
