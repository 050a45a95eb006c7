//! Archives: closed segments, compressed, that can still be verified and read entry by entry.
//!
//! An archive is a row of zstd frames, each of whole lines and independent of the others, so that one entry costs one
//! frame. What `zstd -dc` makes of the file is the segment, byte for byte: hashes, chain and checkpoints stay what they are.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use zstd::bulk::Compressor;
use zstd::stream::raw::{CParameter, DParameter, Decoder, Operation};

use crate::journal::disk::Disk;
use crate::journal::line::{self, LINE_BYTES_MAX};
use crate::journal::recover::{self, Tip, before};
use crate::journal::retention::Closed;
use crate::journal::segment::{self, Form, Opened, read_piece};
use crate::journal::{JournalError, Receipt};

/// A frame is closed once its lines have this many bytes.
const FRAME_BYTES: usize = 256 << 10;

/// Most bytes that a frame may unpack to: one line more than fits.
const FRAME_BYTES_MAX: usize = FRAME_BYTES + LINE_BYTES_MAX;

/// Unpacking may look back 2 to the power of this many bytes: what [`FRAME_BYTES_MAX`] needs.
const WINDOW_LOG_MAX: u32 = 24;

/// How much is unpacked at once.
const CHUNK_BYTES: usize = 64 << 10;

/// zstd's level: higher ones take longer and make journals no smaller, since what is left then is mostly hashes.
const LEVEL: i32 = 6;

/// What does not unpack.
#[derive(Debug, thiserror::Error)]
#[error("the archive is damaged")]
struct Damaged;

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Damaged)
}

/// Whether reading failed because of what stands in an archive.
pub(super) fn is_damage(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Damaged>())
}

/// The lines of an archive. Memory is bounded whatever the file holds.
pub(super) struct Unpacked<R> {
    from: R,
    /// `None` where zstd could not be set up.
    decoder: Option<Decoder<'static>>,
    frame: Vec<u8>,
    /// How much of the frame is read.
    at: usize,
    /// Where the next frame begins in the archive.
    packed: u64,
}

impl<R: BufRead> Unpacked<R> {
    /// Reads from where a frame begins.
    pub fn new(from: R) -> Self {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
            Ok(decoder)
        });
        Self { from, decoder: decoder.ok(), frame: Vec::new(), at: 0, packed: 0 }
    }

    /// Unpacks the next frame; at the end of the archive it is empty.
    fn next_frame(&mut self) -> io::Result<()> {
        self.frame.clear();
        self.at = 0;
        let unpacked = self.unpack().map_err(|error| match error.kind() {
            // The system's errors have kinds of their own; this is zstd's.
            io::ErrorKind::Other => damaged(),
            _ => error,
        });
        if unpacked.is_err() {
            self.frame.clear();
        }
        unpacked
    }

    fn unpack(&mut self) -> io::Result<()> {
        let decoder = self.decoder.as_mut().ok_or(io::ErrorKind::OutOfMemory)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut has_begun = false;
        loop {
            let input = self.from.fill_buf()?;
            if input.is_empty() && !has_begun {
                return Ok(());
            }
            let status = decoder.run_on_buffers(input, &mut chunk)?;
            let idle = status.bytes_read == 0 && status.bytes_written == 0;
            self.from.consume(status.bytes_read);
            self.packed += status.bytes_read as u64;
            self.frame.extend_from_slice(&chunk[..status.bytes_written]);
            has_begun = true;
            if idle || self.frame.len() > FRAME_BYTES_MAX {
                return Err(damaged());
            }
            if status.remaining == 0 {
                break;
            }
        }
        decoder.reinit()?;
        if self.frame.ends_with(b"\n") { Ok(()) } else { Err(damaged()) }
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Unpacked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.frame.len() {
            self.next_frame()?;
        }
        Ok(&self.frame[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

/// Where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its first entry.
    pub seq: u64,
    /// Where that entry begins in the segment.
    pub offset: u64,
    /// Where the frame begins in the archive.
    pub packed: u64,
}

/// The frames of the archive of a segment. Behind one that is damaged there are none: reading it tells what is wrong.
pub(super) fn frames(from: impl BufRead, first: u64) -> io::Result<Vec<Frame>> {
    let mut unpacked = Unpacked::new(from);
    let mut next = Frame { seq: first, offset: 0, packed: 0 };
    let mut frames = Vec::new();
    loop {
        let text = match unpacked.fill_buf() {
            Err(error) if !is_damage(&error) => return Err(error),
            unpacked => unpacked.unwrap_or_default(),
        };
        // Behind a frame that does not begin with its entry nothing is sure.
        let begins = text.split(|byte| *byte == b'\n').next().and_then(line::split);
        if frames.is_empty() || !text.is_empty() {
            frames.push(next);
        }
        if begins.is_none_or(|parts| parts.seq != next.seq) {
            return Ok(frames);
        }
        let (bytes, lines) = (text.len(), memchr::memchr_iter(b'\n', text).count());
        unpacked.consume(bytes);
        next.seq += lines as u64;
        next.offset += bytes as u64;
        next.packed = unpacked.packed;
    }
}

/// What an archive unpacks to behind this byte of its lines, up to a frame that is damaged, and how many bytes of the archive
/// do not unpack.
pub(super) fn rest(archive: File, from: u64) -> io::Result<(Vec<u8>, u64)> {
    let length = archive.metadata()?.len();
    let mut unpacked = Unpacked::new(BufReader::new(archive));
    let (mut text, mut offset) = (Vec::new(), 0_u64);
    loop {
        let packed = unpacked.packed;
        let lines = match unpacked.fill_buf() {
            Err(error) if is_damage(&error) => return Ok((text, length.saturating_sub(packed))),
            lines => lines?,
        };
        if lines.is_empty() {
            return Ok((text, 0));
        }
        let known = usize::try_from(from.saturating_sub(offset)).unwrap_or(usize::MAX).min(lines.len());
        text.extend_from_slice(&lines[known..]);
        let bytes = lines.len();
        offset += bytes as u64;
        unpacked.consume(bytes);
    }
}

/// A segment that was archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archived {
    /// Its first entry.
    pub first: u64,
    /// Its last entry.
    pub last: u64,
    /// How long it was.
    pub bytes: u64,
    /// How long the archive is.
    pub packed: u64,
}

/// Writes the archive of a closed segment beside it, reads it back, and gives it its name once it has proven to hold every
/// entry of the segment. The segment stays: [`settle`] removes it.
///
/// # Errors
/// [`JournalError::Corrupt`] when the segment is damaged, [`JournalError::Io`] when the system refuses something. Then there is
/// no archive.
pub fn archive(dir: &Path, closed: &Closed) -> Result<Archived, JournalError> {
    archive_on(&Disk::default(), dir, closed)
}

fn archive_on(disk: &Disk, dir: &Path, closed: &Closed) -> Result<Archived, JournalError> {
    let path = segment::archive_path(dir, closed.first);
    let unfinished = segment::unfinished(&path);
    let made = write(disk, dir, closed, &unfinished).and_then(|archived| {
        prove(dir, closed, &unfinished, archived.bytes)?;
        fs::rename(&unfinished, &path).map_err(JournalError::io("make", &path))?;
        segment::sync_dir(dir)?;
        Ok(archived)
    });
    if made.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    made
}

fn write(disk: &Disk, dir: &Path, closed: &Closed, to: &Path) -> Result<Archived, JournalError> {
    let Opened { path: from, file, .. } = Form::Plain.open(dir, closed.first)?;
    let mut lines = BufReader::with_capacity(FRAME_BYTES, file);
    let file = segment::open_to_write(to).map_err(JournalError::io("make", to))?;
    let mut archived = Archived { first: closed.first, last: closed.last, bytes: 0, packed: 0 };
    let (mut frame, mut piece) = (Vec::new(), Vec::new());
    let mut zstd = compressor().map_err(JournalError::io("compress for", to))?;
    loop {
        let more = read_piece(&mut lines, &mut piece).map_err(JournalError::io("read", &from))?;
        frame.extend_from_slice(&piece);
        if !frame.is_empty() && (frame.len() >= FRAME_BYTES || !more) {
            let packed = zstd.compress(&frame).map_err(JournalError::io("compress for", to))?;
            disk.write_at(&file, &packed, archived.packed).map_err(JournalError::io("write", to))?;
            archived.bytes += frame.len() as u64;
            archived.packed += packed.len() as u64;
            frame.clear();
        }
        if !more {
            break;
        }
    }
    disk.cut(&file, archived.packed).and_then(|()| disk.sync(&file)).map_err(JournalError::io("sync", to))?;
    // What is read back then comes from the disk, where the system heeds that.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    Ok(archived)
}

fn compressor() -> io::Result<Compressor<'static>> {
    let mut zstd = Compressor::new(LEVEL)?;
    zstd.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(zstd)
}

/// The archive has to lead from the entry before the segment to the one that the next segment continues, in as many bytes.
fn prove(dir: &Path, closed: &Closed, archive: &Path, bytes: u64) -> Result<(), JournalError> {
    let none = || io::Error::other("the next segment does not say what it continues");
    let tip = before(dir, closed.last + 1)?.ok_or_else(none).map_err(JournalError::io("check", archive))?;
    // A segment whose first line is not its own continues nothing.
    let unknown = Tip { receipt: Receipt { seq: closed.first - 1, hash: String::new() }, ..Tip::empty() };
    let from = if closed.first == 1 { Some(Tip::empty()) } else { before(dir, closed.first)? };
    let from = from.filter(|from| from.receipt.seq == unknown.receipt.seq).unwrap_or(unknown);
    let packed = File::open(archive).map_err(JournalError::io("open", archive))?;
    let mut text = Unpacked::new(BufReader::new(packed));
    if recover::leads_to(&mut text, archive, bytes, from.clone(), &tip)? {
        return Ok(());
    }
    // Either the segment is damaged, or what was written is not what is read.
    let damage = recover::damage_of(dir, closed.first, from, &tip)?;
    Err(damage.map_or_else(
        || JournalError::io("check", archive)(io::Error::other("it does not unpack to what was written")),
        JournalError::Corrupt,
    ))
}

/// Removes a segment whose archive has its name; from then on the archive is read.
///
/// # Errors
/// When there is no archive, or the segment cannot be removed.
pub fn settle(dir: &Path, first: u64) -> Result<(), JournalError> {
    Form::Archive.open(dir, first)?;
    let path = segment::path(dir, first);
    fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
    segment::sync_dir(dir)
}

/// What a crash left of archiving: where a segment and its archive are both there, the segment stays, and will be
/// archived again. An archive that is not a copy of it is kept aside.
pub(super) fn undo(dir: &Path) -> Result<(), JournalError> {
    for first in segment::list(dir)? {
        let (plain, archive) = (segment::path(dir, first), segment::archive_path(dir, first));
        if !plain.exists() || !archive.exists() {
            continue;
        }
        if same(dir, first)? {
            fs::remove_file(&archive).map_err(JournalError::io("remove", &archive))?;
        } else {
            aside(dir, &archive)?;
        }
    }
    Ok(())
}

/// Moves a file of the journal aside as damaged; its new name.
pub(super) fn aside(dir: &Path, path: &Path) -> Result<String, JournalError> {
    let name = format!("{}.damaged", segment::name_of(path));
    fs::rename(path, dir.join(&name)).map_err(JournalError::io("move aside", path))?;
    Ok(name)
}

/// Does the archive unpack to the segment?
fn same(dir: &Path, first: u64) -> Result<bool, JournalError> {
    let (plain, archive) = (Form::Plain.open(dir, first)?, Form::Archive.open(dir, first)?);
    let (plain_path, archive_path) = (plain.path.clone(), archive.path.clone());
    let (mut plain, mut archive) = (plain.text(), archive.text());
    loop {
        let expected = plain.fill_buf().map_err(JournalError::io("read", &plain_path))?;
        let found = match archive.fill_buf() {
            Err(error) if is_damage(&error) => return Ok(false),
            found => found.map_err(JournalError::io("read", &archive_path))?,
        };
        let both = expected.len().min(found.len());
        if expected[..both] != found[..both] || (both == 0 && expected.len() != found.len()) {
            return Ok(false);
        }
        if both == 0 {
            return Ok(true);
        }
        plain.consume(both);
        archive.consume(both);
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
