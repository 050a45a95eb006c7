//! Builds the index from the whole journal, beside the one that is there, and lets it take over.

use std::path::Path;

use crate::index::place::Place;
use crate::index::write::Writer;
use crate::index::{IndexError, schema};
use crate::journal::Receipt;
use crate::journal::reader::Reader;

/// Most entries in one transaction.
pub const BATCH_ENTRIES_MAX: usize = 2_000;

/// Most bytes of entries in one transaction, unless a single entry is larger.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// How far a build or a writer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last entry that is in the index.
    pub done: u64,
    /// The last one of the journal.
    pub of: u64,
}

/// Told after each batch; false stops.
pub type Tell<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// Builds everything anew. Whoever calls holds the lock. Returns the number of the build, which is the current one now.
///
/// # Errors
/// [`IndexError::Stopped`] when `tell` says so; when the journal cannot be read or the disk does not take it. The index that
/// was there stays then.
pub fn build(place: &Place, reader: &Reader, tell: Tell<'_>) -> Result<u64, IndexError> {
    let (unfinished, number, whole) = place.next();
    place.clear_but(place.current().map(|(number, _)| number))?;
    let built = fill(&unfinished, reader, tell).and_then(|()| place.take_over(&unfinished, &whole));
    if built.is_err() {
        // What cannot be removed now is removed before the next build.
        let _ = std::fs::remove_file(&unfinished);
    }
    built.map(|()| number)
}

fn fill(path: &Path, reader: &Reader, tell: Tell<'_>) -> Result<(), IndexError> {
    let mut writer = Writer::building(schema::create(path)?);
    catch_up(&mut writer, reader, tell)?;
    schema::finish(writer.into_connection())
}

/// Takes every entry that the journal has by now. Returns the last one.
///
/// # Errors
/// As [`build`].
pub fn catch_up(writer: &mut Writer, reader: &Reader, tell: Tell<'_>) -> Result<Receipt, IndexError> {
    let mut position = writer.position()?;
    while position.seq < reader.head().seq {
        let caught = batches(writer, reader, &mut position, tell);
        if caught.is_err() {
            writer.undo();
        }
        caught?;
    }
    Ok(position)
}

fn batches(writer: &mut Writer, reader: &Reader, position: &mut Receipt, tell: Tell<'_>) -> Result<(), IndexError> {
    let (mut entries, mut bytes) = (0, 0);
    let mut last = None;
    for line in reader.lines(position.seq + 1) {
        let line = line?;
        if line.seq == position.seq + 1 && line.prev != position.hash {
            return Err(IndexError::Unusable("it is of another journal".into()));
        }
        writer.take(&line)?;
        entries += 1;
        bytes += line.data.get().len();
        let reached = Receipt { seq: line.seq, hash: line.hash };
        if entries < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
            last = Some(reached);
            continue;
        }
        writer.commit(&reached)?;
        (entries, bytes, last) = (0, 0, None);
        *position = reached;
        if !tell(Progress { done: position.seq, of: reader.head().seq }) {
            return Err(IndexError::Stopped);
        }
    }
    if let Some(reached) = last {
        writer.commit(&reached)?;
        *position = reached;
        if !tell(Progress { done: position.seq, of: reader.head().seq }) {
            return Err(IndexError::Stopped);
        }
    }
    Ok(())
}

/// Opens the current build for writing, if it is of this journal and can be gone on with.
///
/// # Errors
/// [`IndexError::Absent`] when there is none, [`IndexError::Unusable`] when it has to be built anew.
pub fn open(place: &Place, reader: &Reader) -> Result<Writer, IndexError> {
    let (number, path) = place.current().ok_or_else(|| IndexError::Absent { dir: place.dir().to_owned() })?;
    place.clear_but(Some(number))?;
    let writer = Writer::following(schema::open(&path)?)?;
    fits(&writer.position()?, reader)?;
    Ok(writer)
}

/// Whether the journal has the entry that the index goes up to.
///
/// # Errors
/// [`IndexError::Unusable`] when it has not.
pub fn fits(position: &Receipt, reader: &Reader) -> Result<(), IndexError> {
    if position.seq == 0 {
        return Ok(());
    }
    if position.seq > reader.head().seq {
        return Err(IndexError::Unusable(format!(
            "the journal ends before entry {}, up to which it goes",
            position.seq
        )));
    }
    match reader.line(position.seq) {
        Ok(Some(line)) if line.hash == position.hash => Ok(()),
        Ok(_) => Err(IndexError::Unusable("it is of another journal".into())),
        // Dropped by retention, most likely; what the journal says of its own state is not for the index to judge.
        Err(_) => Err(IndexError::Unusable(format!("the journal has no entry {} any more", position.seq))),
    }
}
