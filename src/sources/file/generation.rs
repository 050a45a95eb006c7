//! One generation of a followed file: a descriptor, how far it was read, and what shows that it is still the same.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::domain::record::{FilePosition, Position, Record};
use crate::sources::intake::{Counters, count};
use crate::sources::lines::{Line, Lines};

/// Bytes of a file's beginning that identify it.
const HEAD_BYTES: usize = 1024;

/// Bytes before a position that identify it.
const TAIL_BYTES: usize = 64;

/// Bytes read at a time.
const BLOCK_BYTES: usize = 256 * 1024;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// What stands in the positions of all records of a source.
#[derive(Debug, Clone)]
pub struct Origin {
    pub source: Arc<str>,
    pub path: String,
}

/// One generation.
#[derive(Debug)]
pub struct Generation {
    pub file: File,
    pub id: FileId,
    /// Counted when its turn comes; 0 before.
    pub number: u64,
    /// A finished copy, made before its original was truncated: nobody writes to it.
    pub copy: bool,
    /// Since when it was seen at its end.
    pub idle_since: Option<Instant>,
    /// Offset of the first byte that was not handed over.
    next: u64,
    /// Offset up to which it was read; what lies between is a line without its end.
    read_to: u64,
    /// Its first bytes, at most [`HEAD_BYTES`], as read.
    head: Vec<u8>,
    /// The bytes before `read_to`, at most [`TAIL_BYTES`].
    tail: Vec<u8>,
    /// Hash of a complete head.
    head_sha256: Option<String>,
    lines: Lines,
    /// Position of the last record.
    last: Option<FilePosition>,
    /// Size and time when the read part was last found unchanged.
    stamp: Option<(u64, SystemTime)>,
}

/// What reading on gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes; there may be more.
    Some,
    /// Nothing new.
    End,
    /// What was read before is no longer there: the file was truncated or written anew.
    Replaced,
}

/// Opens a regular file; `None` when there is none. A pipe or a folder is an error, and is not waited on.
pub fn open(path: &Path) -> io::Result<Option<(File, FileId)>> {
    let found = match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => return Err(io::Error::other("not a regular file")),
        Ok(_) => File::open(path),
        Err(error) => Err(error),
    };
    let file = match found {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let id = FileId::of(&file.metadata()?);
    Ok(Some((file, id)))
}

/// The file still holds what was read up to the position: it is as long, and begins and goes on to there the same.
pub fn holds(file: &File, position: &FilePosition) -> io::Result<bool> {
    if file.metadata()?.len() < position.next || position.head_bytes > HEAD_BYTES as u64 {
        return Ok(false);
    }
    let head = read_at(file, 0, position.head_bytes as usize)?;
    let tail_bytes = position.next.min(TAIL_BYTES as u64);
    let tail = read_at(file, position.next - tail_bytes, tail_bytes as usize)?;
    Ok(hex(&head) == position.head_sha256 && hex(&tail) == position.tail_sha256)
}

/// Offset after the last line end.
pub fn last_line_end(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES as u64);
        let block = read_at(file, start, (end - start) as usize)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl Generation {
    /// Reads on in `file` at `next`.
    pub fn at(file: File, id: FileId, next: u64) -> io::Result<Self> {
        let head = read_at(&file, 0, next.min(HEAD_BYTES as u64) as usize)?;
        let tail_bytes = next.min(TAIL_BYTES as u64);
        let tail = read_at(&file, next - tail_bytes, tail_bytes as usize)?;
        Ok(Self {
            file,
            id,
            number: 0,
            copy: false,
            idle_since: None,
            next,
            read_to: next,
            head,
            tail,
            head_sha256: None,
            lines: Lines::default(),
            last: None,
            stamp: None,
        })
    }

    /// Reads on behind a position that the file [`holds`].
    pub fn resume(file: File, id: FileId, position: FilePosition) -> io::Result<Self> {
        let mut generation = Self::at(file, id, position.next)?;
        generation.number = position.generation;
        generation.last = Some(position);
        Ok(generation)
    }

    /// Position of the last record that it gave.
    pub fn last(&self) -> Option<&FilePosition> {
        self.last.as_ref()
    }

    /// Something happened to it, and nothing of it was read yet.
    pub fn is_changed_before_read(&self) -> io::Result<bool> {
        let meta = self.file.metadata()?;
        Ok(self.read_to == 0 && self.stamp != Some((meta.len(), meta.modified()?)))
    }

    /// Reads the next block and adds its lines to `records`.
    pub fn read(&mut self, origin: &Origin, records: &mut Vec<Record>, counters: &Counters) -> io::Result<Read> {
        let meta = self.file.metadata()?;
        let stamp = (meta.len(), meta.modified()?);
        if self.stamp != Some(stamp) {
            if meta.len() < self.read_to || !self.is_unchanged()? {
                return Ok(Read::Replaced);
            }
            self.stamp = Some(stamp);
        }
        let left = meta.len().saturating_sub(self.read_to);
        let block = read_at(&self.file, self.read_to, left.min(BLOCK_BYTES as u64) as usize)?;
        if block.is_empty() {
            return Ok(Read::End);
        }
        self.take(&block, origin, records, counters);
        Ok(Read::Some)
    }

    /// The last line, though it has no line end: nothing will follow it.
    pub fn half_line(&mut self, origin: &Origin, counters: &Counters) -> Option<Record> {
        let line = self.lines.rest()?;
        let tail = self.tail.clone();
        let record = self.record(line, &tail, origin, counters)?;
        count(&counters.half_lines);
        tracing::info!(source = %origin.source, offset = self.next, "the last line of a rotated file had no line end");
        Some(record)
    }

    fn take(&mut self, block: &[u8], origin: &Origin, records: &mut Vec<Record>, counters: &Counters) {
        let head_room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&block[..block.len().min(head_room)]);
        let before = std::mem::take(&mut self.tail);
        let mut at = 0;
        while let Some(line) = self.lines.next(block, &mut at) {
            let tail = last_bytes(&before, &block[..at]);
            records.extend(self.record(line, &tail, origin, counters));
        }
        self.tail = last_bytes(&before, block);
        self.read_to += block.len() as u64;
    }

    /// Turns a line into a record, unless it is blank, and moves `next` behind it.
    fn record(&mut self, mut line: Line, tail: &[u8], origin: &Origin, counters: &Counters) -> Option<Record> {
        let offset = self.next;
        self.next += line.raw_bytes;
        if offset == 0 && line.bytes.starts_with(b"\xEF\xBB\xBF") {
            line.bytes.drain(..3);
        }
        if line.is_blank() {
            return None;
        }
        if line.cut {
            count(&counters.oversized);
        }
        let head_bytes = self.next.min(HEAD_BYTES as u64);
        let position = FilePosition {
            path: origin.path.clone(),
            device: self.id.device,
            inode: self.id.inode,
            generation: self.number,
            head_bytes,
            head_sha256: self.head_sha256(head_bytes as usize),
            tail_sha256: hex(tail),
            offset,
            next: self.next,
        };
        self.last = Some(position.clone());
        Some(Record { source: origin.source.clone(), bytes: line.bytes, position: Position::File(position) })
    }

    fn head_sha256(&mut self, bytes: usize) -> String {
        if bytes < HEAD_BYTES {
            return hex(&self.head[..bytes]);
        }
        self.head_sha256.get_or_insert_with(|| hex(&self.head)).clone()
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        let tail_at = self.read_to - self.tail.len() as u64;
        Ok(read_at(&self.file, 0, self.head.len())? == self.head
            && read_at(&self.file, tail_at, self.tail.len())? == self.tail)
    }
}

/// The last at most [`TAIL_BYTES`] of `before` followed by `block`.
fn last_bytes(before: &[u8], block: &[u8]) -> Vec<u8> {
    let from_block = block.len().min(TAIL_BYTES);
    let from_before = before.len().min(TAIL_BYTES - from_block);
    [&before[before.len() - from_before..], &block[block.len() - from_block..]].concat()
}

/// Up to `bytes` bytes at an offset; fewer when the file ends.
fn read_at(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
