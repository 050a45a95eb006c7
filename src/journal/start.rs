//! Opening: lock, walk, judge, move a torn tail aside, replace the last segment by a copy, start the writer.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::journal::archive;
use crate::journal::disk::Disk;
use crate::journal::evidence::{Evidence, OnRecord};
use crate::journal::head::{Head, HeadFile};
use crate::journal::index::{Index, Segment};
use crate::journal::line::{Line, sha256};
use crate::journal::lock::Lock;
use crate::journal::notary::Desk;
use crate::journal::queue::Queue;
use crate::journal::recover::{self, Begin, Found, TornTail};
use crate::journal::room::Room;
use crate::journal::segment::{self, Form};
use crate::journal::writer::{Active, Journal, Writer};
use crate::journal::{Apply, JournalError, Receipt, Recovery, Settings, Torn, Verdict};

pub(super) fn open(
    disk: Disk,
    dir: &Path,
    settings: Settings,
    known: Option<&Receipt>,
    evidence: &Evidence,
    apply: &mut Apply<'_>,
) -> Result<(Journal, Recovery), JournalError> {
    segment::make_dir(dir)?;
    let lock = Lock::take(dir)?;
    segment::remove_unfinished(dir)?;
    let head = Head::read(dir)?;
    let Walked { found, mut segments, on_record } = replay(dir, head.as_ref(), known, apply)?;
    evidence.judge(dir, &found, head.is_none() && found.segments.is_empty(), &on_record)?;
    archive::undo(dir)?;
    known_by_length(dir, &mut segments, &found)?;
    let torn = move_aside(dir, &found)?;
    let receipt = found.tip.receipt.clone();
    let clean_stop = head.is_some_and(|head| head.closed && head.receipt == receipt) && found.torn.is_none();
    if !clean_stop {
        replace_last(dir, &found)?;
    }
    let active = open_active(dir, &found)?;
    let head = HeadFile::open(dir, disk.clone())?;
    head.write(&Head { receipt: receipt.clone(), closed: false })?;
    head.sync()?;
    let queue = Arc::new(Queue::new());
    let desk = Desk::open(dir, disk.clone(), Arc::clone(&queue))?;
    segment::sync_dir(dir)?;
    let verdict = if torn.is_empty() { Verdict::Clean } else { Verdict::Torn };
    let recovery = Recovery { verdict, entries: receipt.seq, head: receipt.clone(), torn };
    let dir: Arc<Path> = Arc::from(dir);
    let index = Arc::new(Index::new(segments, receipt));
    let room = Room::new(Arc::clone(&dir), settings.reserve_bytes, Arc::clone(&queue));
    let writer = Writer { disk, dir, settings, queue, index, active, head, desk, room, tip: found.tip };
    Ok((Journal::start(writer, lock)?, recovery))
}

/// Lines that travel together from the thread that checks them to the one that applies them.
const LINES_MAX: usize = 256;

/// Bytes of content after which they travel.
const BYTES_MAX: usize = 1 << 20;

/// As many such batches may wait.
const BATCHES_MAX: usize = 4;

/// Lines of checked batches, each with the first entry of its segment.
type Checked = Vec<(u64, Line)>;

/// What reading the journal gave, beside the entries.
struct Walked {
    found: Found,
    segments: Vec<Segment>,
    on_record: OnRecord,
}

/// Reads and checks the journal on a thread of its own and applies it on this one, so that hashing and applying go side by side.
fn replay(
    dir: &Path,
    head: Option<&Head>,
    known: Option<&Receipt>,
    apply: &mut Apply<'_>,
) -> Result<Walked, JournalError> {
    thread::scope(|scope| {
        let (to, checked) = sync_channel::<Checked>(BATCHES_MAX);
        let walker = scope.spawn(move || walk(dir, head, known, &to));
        for (first, line) in checked.iter().flatten() {
            let refused = |source| JournalError::Apply { seq: line.seq, file: segment::name(first), source };
            // The walker stops when nobody takes what it reads.
            apply(&line).map_err(refused)?;
        }
        walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Checks the journal, and hands over the lines behind `known`.
fn walk(
    dir: &Path,
    head: Option<&Head>,
    known: Option<&Receipt>,
    to: &SyncSender<Checked>,
) -> Result<Walked, JournalError> {
    let (mut segments, mut on_record) = (Vec::<Segment>::new(), OnRecord::default());
    let elsewhere = |receipt: &Receipt| JournalError::Elsewhere { seq: receipt.seq };
    let send = |lines: Checked| {
        let gone = |_| JournalError::io("read", dir)(io::Error::other("nobody takes what is read"));
        to.send(lines).map_err(gone)
    };
    let (mut met, mut lines, mut bytes) = (None, Checked::new(), 0);
    let begin = known.map_or(Begin::Start, Begin::At);
    let found = recover::walk_all(dir, begin, head, &mut |first, span, line| {
        if let Some(known) = known {
            let hash = if line.seq == known.seq { Some(&line.hash) } else { None };
            let before = (met.is_none() && line.seq == known.seq + 1).then_some(&line.prev);
            match hash.or(before) {
                Some(hash) if *hash != known.hash => return Err(elsewhere(known)),
                Some(_) => met = Some(()),
                None if met.is_none() && line.seq > known.seq => return Err(elsewhere(known)),
                None => {}
            }
        }
        if segments.last().is_none_or(|segment| segment.first != first) {
            segments.push(Segment::new(first));
        }
        let segment = segments.last_mut().expect("one was pushed if there was none");
        segment.add(line.seq, span.start, span.end);
        on_record.meet(&line);
        if known.is_some_and(|known| line.seq <= known.seq) {
            return Ok(());
        }
        bytes += line.data.get().len();
        lines.push((first, line));
        if lines.len() < LINES_MAX && bytes < BYTES_MAX {
            return Ok(());
        }
        bytes = 0;
        send(std::mem::take(&mut lines))
    })?;
    if let Some(known) = known.filter(|known| met.is_none() && **known != found.tip.receipt) {
        return Err(elsewhere(known));
    }
    send(lines)?;
    Ok(Walked { found, segments, on_record })
}

/// The segments that were not walked, and archives, whose lines lie elsewhere than they were read: of these only the length
/// is known.
fn known_by_length(dir: &Path, segments: &mut Vec<Segment>, found: &Found) -> Result<(), JournalError> {
    let walked = segments.first().map_or(u64::MAX, |segment| segment.first);
    let mut before = Vec::new();
    for pair in found.segments.windows(2).filter(|pair| pair[0] < walked) {
        before.push(Segment::unmarked(pair[0], pair[1] - 1, segment::open(dir, pair[0])?.bytes()?));
    }
    for segment in &mut *segments {
        if segment::open(dir, segment.first)?.form == Form::Archive {
            *segment = Segment::unmarked(segment.first, segment.last, segment.bytes);
        }
    }
    segments.splice(0..0, before);
    Ok(())
}

/// Keeps a torn tail in a side file, named by the entry that would have begun there. Where files of earlier openings are
/// still there and no entry was appended since, nobody has recorded those tails yet: they are named again.
fn move_aside(dir: &Path, found: &Found) -> Result<Vec<Torn>, JournalError> {
    let begin = format!("{:020}-", found.tip.receipt.seq.saturating_add(1));
    if let Some(torn) = &found.torn {
        keep_aside(dir, &begin, torn, found.whole_bytes)?;
    }
    let mut names = segment::names(dir)?;
    names.retain(|name| name.starts_with(&begin) && name.ends_with(".torn"));
    names.sort();
    let read = |file: String| {
        let path = dir.join(&file);
        let bytes = fs::read(&path).map_err(JournalError::io("read", &path))?;
        Ok(Torn { bytes: bytes.len() as u64, sha256: sha256(&bytes), file })
    };
    names.into_iter().map(read).collect()
}

fn keep_aside(dir: &Path, begin: &str, torn: &TornTail, from: u64) -> Result<(), JournalError> {
    let segment = dir.join(&torn.place.file);
    let mut bytes = Vec::new();
    let read = File::open(&segment).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    read.map_err(JournalError::io("read", &segment))?;
    let file = format!("{begin}{}.torn", &sha256(&bytes)[..16]);
    write_whole(dir, &dir.join(&file), |to| to.write_all(&bytes))
}

/// Replaces the last segment by a copy of its whole batches. After a failed sync memory may show bytes that the
/// disk does not have, after a crash bytes that were never synced; a copy has been written and synced by us.
fn replace_last(dir: &Path, found: &Found) -> Result<(), JournalError> {
    let Some(&first) = found.segments.last().filter(|_| !found.ends_in_archive) else { return Ok(()) };
    let path = segment::path(dir, first);
    let source = File::open(&path).map_err(JournalError::io("open", &path))?;
    write_whole(dir, &path, |to| {
        // As `dyn`, so that the bytes really pass through here: the system's own ways to copy may share the old
        // file's blocks, which are the very ones in doubt.
        let from: &mut dyn Read = &mut source.take(found.whole_bytes);
        io::copy(from, to)?;
        // What was walked and what was copied were two reads: only a copy that proves itself takes the place.
        let copy = segment::unfinished(&path);
        let mut text = BufReader::new(File::open(&copy)?);
        match recover::leads_to(&mut text, &copy, found.whole_bytes, found.last_from.clone(), &found.tip) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::other("the copy is not what was read before")),
            Err(error) => Err(io::Error::other(error)),
        }
    })
}

/// Writes a file under another name, syncs it and gives it its name: after a crash it is whole or not there.
pub(super) fn write_whole(
    dir: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), JournalError> {
    let unfinished = segment::unfinished(path);
    let make = || {
        let mut file = segment::open_to_write(&unfinished)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    // What a full disk broke off would only take the room that is left.
    make().inspect_err(|_| drop(fs::remove_file(&unfinished))).map_err(JournalError::io("write", path))?;
    segment::sync_dir(dir)
}

/// Opens the last segment for writing; a new journal gets its first, and nothing is appended to an archive.
fn open_active(dir: &Path, found: &Found) -> Result<Active, JournalError> {
    let behind = found.tip.receipt.seq.saturating_add(1);
    let (first, bytes) = match found.segments.last() {
        Some(&last) if !found.ends_in_archive => (last, found.whole_bytes),
        _ => (behind, 0),
    };
    let path = segment::path(dir, first);
    let file = segment::open_to_write(&path).map_err(JournalError::io("open", &path))?;
    Ok(Active { first, path, file, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_disk_breaks_off_takes_no_room() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, "before").unwrap();
        let is_full = |to: &mut File| {
            to.write_all(&[b'x'; 5000])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        assert!(write_whole(dir.path(), &path, is_full).is_err());
        assert_eq!(segment::names(dir.path()).unwrap(), ["a.jsonl"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        write_whole(dir.path(), &path, |to| to.write_all(b"after")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
    }
}
