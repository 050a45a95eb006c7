//! Walks the journal and tells what a crash may have left behind from what it cannot.
//!
//! The walk stops at the first line whose own hash fails or that has no end. Then:
//!
//! 1. A line with a *good* hash but a wrong place in the chain is corruption: tearing cannot make one.
//! 2. The bad bytes belong to the batch that the last good line left unfinished, else to the next one. A later
//!    whole line of a batch greater than that is corruption, since a batch is written only when the one before
//!    is durable. What stands deep within the begin of the expected line is no line: a record can hold the text of one.
//! 3. Otherwise it is a torn tail. The batch that it belongs to was never acknowledged and goes as a whole.
//! 4. If HEAD names an entry beyond what is left, acknowledged entries are missing: corruption.
//!
//! A segment that another one follows has to be good to its end, and so has an archive: nothing was ever appended to it.

use std::io::BufRead;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use crate::journal::archive;
use crate::journal::head::Head;
use crate::journal::line::{self, Line, Parts};
use crate::journal::segment::{self, Form, read_piece};
use crate::journal::{Damage, JournalError, Place, Receipt};

/// How many places within bad bytes are tried as the begin of a whole line.
const EMBEDDED_MAX: usize = 64;

/// Open braces and brackets around what others wrote: the line's own, that of its content, and at least one more.
const FOREIGN_DEPTH: usize = 3;

/// Reads a line's fields and refuses it when its own hash is wrong.
type Check = fn(&[u8]) -> Result<Parts<'_>, Damage>;

/// Takes each line of each whole batch, with where it begins and ends.
type Each<'a> = dyn FnMut(Range<u64>, Line) -> Result<(), JournalError> + 'a;

/// The last line of a walk so far: what the next one has to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    pub receipt: Receipt,
    pub batch: u64,
    pub left: u32,
}

impl Tip {
    /// Before the first line.
    pub fn empty() -> Self {
        Self { receipt: Receipt::empty(), batch: 0, left: 0 }
    }

    /// The batch that the next line belongs to.
    pub fn next_batch(&self) -> u64 {
        self.batch.saturating_add(u64::from(self.left == 0))
    }

    fn take(&mut self, line: &Line) {
        self.receipt.seq = line.seq;
        self.receipt.hash.clone_from(&line.hash);
        (self.batch, self.left) = (line.batch, line.left);
    }

    /// Reads the piece as the line that continues this one.
    fn next_line(&self, piece: &[u8], check: Check) -> Result<Line, Damage> {
        let parts = check(piece.strip_suffix(b"\n").ok_or(Damage::Cut)?)?;
        if self.receipt.seq.checked_add(1) != Some(parts.seq) {
            return Err(Damage::Seq { found: parts.seq });
        }
        if parts.prev != self.receipt.hash {
            return Err(Damage::Prev);
        }
        if parts.batch != self.next_batch() || (self.left > 0 && parts.left != self.left - 1) {
            return Err(Damage::Batch);
        }
        parts.read()
    }

    /// Whether the piece is the begin of the very line that is expected next, as a torn write leaves it.
    fn breaks_off_in(&self, piece: &[u8]) -> bool {
        let begin = format!(r#"{{"v":1,"seq":{},"b":{},"r":"#, self.receipt.seq.saturating_add(1), self.next_batch());
        let is_cut = || serde_json::from_slice::<IgnoredAny>(piece).is_err_and(|error| error.is_eof());
        piece.starts_with(begin.as_bytes()) && is_cut()
    }
}

/// The places in the begin of a line where another could begin, but for those within what others wrote.
fn shallow(piece: &[u8]) -> Vec<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut places = Vec::new();
    for (at, byte) in piece.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                if depth < FOREIGN_DEPTH && piece[at..].starts_with(line::START) {
                    places.push(at);
                }
                depth += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    places
}

/// What a walk over one segment found.
#[derive(Debug)]
struct Walk {
    /// The last line of the last whole batch.
    whole: Tip,
    /// Where that line ends.
    whole_bytes: u64,
    /// Where the segment ends.
    bytes: u64,
    /// What follows the last whole batch.
    tail: Tail,
}

#[derive(Debug)]
enum Tail {
    Nothing,
    Torn(Bad),
    Corrupt(Bad),
}

/// The first bad line.
#[derive(Debug)]
struct Bad {
    seq: u64,
    offset: u64,
    damage: Damage,
}

impl Bad {
    fn at(self, file: &str) -> Place {
        Place { seq: self.seq, file: file.into(), offset: self.offset, damage: self.damage }
    }
}

/// Walks one segment that continues `from`.
fn walk(
    bytes: &mut dyn BufRead,
    path: &Path,
    from: Tip,
    check: Check,
    each: &mut Each<'_>,
) -> Result<Walk, JournalError> {
    let mut tip = from.clone();
    let mut walk = Walk { whole: from, whole_bytes: 0, bytes: 0, tail: Tail::Nothing };
    let mut piece = Vec::new();
    let mut batch = Vec::new();
    loop {
        let offset = walk.bytes;
        match read_piece(bytes, &mut piece) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if archive::is_damage(&error) => {
                let seq = tip.receipt.seq.saturating_add(1);
                walk.tail = Tail::Corrupt(Bad { seq, offset, damage: Damage::Archive });
                return Ok(walk);
            }
            Err(error) => return Err(JournalError::io("read", path)(error)),
        }
        walk.bytes += piece.len() as u64;
        match tip.next_line(&piece, check) {
            Ok(line) => {
                tip.take(&line);
                batch.push((offset..walk.bytes, line));
            }
            Err(damage) => {
                let torn = matches!(damage, Damage::Cut | Damage::Hash);
                let bad = Bad { seq: tip.receipt.seq.saturating_add(1), offset, damage };
                let own = if tip.breaks_off_in(&piece) { Some(shallow(&piece)) } else { None };
                let newest = newest_batch(bytes, path, check, &mut piece, own, &mut walk.bytes)?;
                let torn = torn && newest.is_none_or(|newest| newest <= tip.next_batch());
                walk.tail = if torn { Tail::Torn(bad) } else { Tail::Corrupt(bad) };
                return Ok(walk);
            }
        }
        if tip.left == 0 {
            for (span, line) in batch.drain(..) {
                each(span, line)?;
            }
            walk.whole = tip.clone();
            walk.whole_bytes = walk.bytes;
        }
    }
    if tip.left > 0 {
        let seq = tip.receipt.seq.saturating_add(1);
        walk.tail = Tail::Torn(Bad { seq, offset: walk.bytes, damage: Damage::Cut });
    }
    Ok(walk)
}

/// The greatest batch number of a whole line in the bad piece, at these places where they are known, and in all that follows.
fn newest_batch(
    bytes: &mut dyn BufRead,
    path: &Path,
    check: Check,
    piece: &mut Vec<u8>,
    places: Option<Vec<usize>>,
    end: &mut u64,
) -> Result<Option<u64>, JournalError> {
    let mut newest = places.as_ref().and_then(|places| batch_at(piece, places.iter().copied(), check));
    let mut is_searched = places.is_some();
    loop {
        if !std::mem::take(&mut is_searched) {
            newest = newest.max(embedded_batch(piece, check));
        }
        match read_piece(bytes, piece) {
            Ok(true) => {}
            Ok(false) => return Ok(newest),
            Err(error) if archive::is_damage(&error) => return Ok(newest),
            Err(error) => return Err(JournalError::io("read", path)(error)),
        }
        *end += piece.len() as u64;
    }
}

/// The batch of the whole line that the piece ends with. Damage that took the line end before it makes such a
/// line stand behind bad bytes, so it is looked for at each place where a line could begin.
fn embedded_batch(piece: &[u8], check: Check) -> Option<u64> {
    let starts = piece.windows(line::START.len()).enumerate().filter(|(_, window)| *window == line::START);
    batch_at(piece, starts.map(|(at, _)| at), check)
}

/// The batch of the whole line that begins at one of these places and ends with the piece.
fn batch_at(piece: &[u8], places: impl Iterator<Item = usize>, check: Check) -> Option<u64> {
    let piece = piece.strip_suffix(b"\n").unwrap_or(piece);
    places.take(EMBEDDED_MAX).find_map(|at| check(piece.get(at..)?).ok()).map(|parts| parts.batch)
}

/// What the whole journal is found to hold, if it is not corrupt.
#[derive(Debug)]
pub(super) struct Found {
    dir: PathBuf,
    /// The last line of the last whole batch.
    pub tip: Tip,
    /// First entries of the segments.
    pub segments: Vec<u64>,
    /// The last line before the last segment.
    pub last_from: Tip,
    /// Where the last whole batch ends in the last segment.
    pub whole_bytes: u64,
    /// The last segment is an archive: nothing is appended to it.
    pub ends_in_archive: bool,
    /// The torn tail of the last segment.
    pub torn: Option<TornTail>,
}

impl Found {
    /// Where the next entry would begin.
    pub fn end(&self) -> (String, u64) {
        (self.name_of(self.segments.last().copied().unwrap_or(1)), self.whole_bytes)
    }

    /// The file of a segment.
    pub fn name_of(&self, first: u64) -> String {
        segment::name_in(&self.dir, first)
    }
}

/// A tail that recovery moves aside.
#[derive(Debug)]
pub(super) struct TornTail {
    /// Its length, from the end of the last whole batch.
    pub bytes: u64,
    /// The first line that is bad or missing in it.
    pub place: Place,
}

/// Takes each line of each whole batch, with the first entry of its segment and where it begins and ends in it.
pub(super) type EachOfAll<'a> = dyn FnMut(u64, Range<u64>, Line) -> Result<(), JournalError> + 'a;

/// Where a walk begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin<'a> {
    /// At entry 1.
    Start,
    /// In the segment that holds this entry, or the one that begins behind it.
    At(&'a Receipt),
    /// With the first segment there is.
    First,
}

impl Begin<'_> {
    /// Which of the segments is walked first, and what the line before it was.
    fn place(self, dir: &Path, segments: &[u64]) -> Result<(usize, Tip), JournalError> {
        let at = match self {
            Self::Start => return Ok((0, Tip::empty())),
            Self::First => 0,
            Self::At(receipt) => segments.partition_point(|first| *first <= receipt.seq).saturating_sub(1),
        };
        match segments.get(at) {
            Some(first) if *first > 1 => Ok((at, before(dir, *first)?.unwrap_or_else(Tip::empty))),
            _ => Ok((at, Tip::empty())),
        }
    }
}

/// The line before a segment, as the segment's first line names it.
pub(super) fn before(dir: &Path, first: u64) -> Result<Option<Tip>, JournalError> {
    let line = segment::first_line(dir, first)?;
    let parts = line.as_ref().and_then(|line| line::check(line).ok());
    Ok(parts.map(|parts| {
        let receipt = Receipt { seq: parts.seq.saturating_sub(1), hash: parts.prev.to_owned() };
        Tip { receipt, batch: parts.batch.saturating_sub(1), left: 0 }
    }))
}

/// Walks the segments in the folder.
pub(super) fn walk_all(
    dir: &Path,
    begin: Begin<'_>,
    head: Option<&Head>,
    each: &mut EachOfAll<'_>,
) -> Result<Found, JournalError> {
    let head = head.map_or_else(Receipt::empty, |head| head.receipt.clone());
    let segments = segment::list(dir)?;
    let (skipped, tip) = begin.place(dir, &segments)?;
    let mut found = Found {
        dir: dir.into(),
        last_from: tip.clone(),
        tip,
        segments,
        whole_bytes: 0,
        ends_in_archive: false,
        torn: None,
    };
    for (at, &first) in found.segments.iter().enumerate().skip(skipped) {
        let is_last = at + 1 == found.segments.len();
        let opened = segment::open(dir, first)?;
        let (path, form) = (opened.path.clone(), opened.form);
        let file = segment::name_of(&path);
        let place = |bad: Bad| bad.at(&file);
        let expected = found.tip.receipt.seq.saturating_add(1);
        if first != expected {
            // Where its first line cannot be read, nothing says what should stand before it.
            let is_unread = at == skipped && before(dir, first)?.is_none();
            let missing = Bad { seq: expected, offset: 0, damage: Damage::Segment { found: first } };
            let unread = Bad { seq: first, offset: 0, damage: Damage::Hash };
            return Err(JournalError::Corrupt(place(if is_unread { unread } else { missing })));
        }
        let mut on_line = |span: Range<u64>, line: Line| {
            let forked = line.seq == head.seq && line.hash != head.hash;
            if forked {
                let bad = Bad { seq: line.seq, offset: span.start, damage: Damage::Fork };
                return Err(JournalError::Corrupt(place(bad)));
            }
            each(first, span, line)
        };
        (found.last_from, found.ends_in_archive) = (found.tip.clone(), form == Form::Archive);
        let walk = walk(&mut opened.text(), &path, found.tip, line::check, &mut on_line)?;
        let torn = match walk.tail {
            Tail::Corrupt(bad) => return Err(JournalError::Corrupt(place(bad))),
            Tail::Torn(bad) if form == Form::Archive => return Err(JournalError::Corrupt(place(bad))),
            Tail::Torn(bad) if !is_last => {
                let damage = if bad.offset == walk.bytes { Damage::Unfinished } else { bad.damage };
                return Err(JournalError::Corrupt(place(Bad { damage, ..bad })));
            }
            Tail::Torn(bad) => Some(TornTail { bytes: walk.bytes - walk.whole_bytes, place: place(bad) }),
            Tail::Nothing => None,
        };
        (found.tip, found.whole_bytes, found.torn) = (walk.whole, walk.whole_bytes, torn);
    }
    nothing_missing(found, &head)
}

/// HEAD must not name an entry beyond the last whole batch.
fn nothing_missing(found: Found, head: &Receipt) -> Result<Found, JournalError> {
    if head.seq <= found.tip.receipt.seq {
        return Ok(found);
    }
    let last = found.segments.last().copied().unwrap_or(1);
    let missing = Damage::Missing { head: head.seq };
    Err(JournalError::Corrupt(match found.torn {
        Some(torn) if torn.place.damage == Damage::Hash => torn.place,
        Some(torn) => Place { damage: missing, ..torn.place },
        None => Place {
            seq: found.tip.receipt.seq + 1,
            file: found.name_of(last),
            offset: found.whole_bytes,
            damage: missing,
        },
    }))
}

/// Whether a copy of a segment's whole batches is exactly that: it leads from the line before to the tip.
pub(super) fn leads_to(
    text: &mut dyn BufRead,
    path: &Path,
    bytes: u64,
    from: Tip,
    tip: &Tip,
) -> Result<bool, JournalError> {
    let walk = walk(text, path, from, line::check, &mut |_, _| Ok(()))?;
    Ok(matches!(walk.tail, Tail::Nothing) && walk.whole == *tip && walk.bytes == bytes)
}

/// What is wrong with a segment that should lead from the line before it to this one; `None`: nothing.
pub(super) fn damage_of(dir: &Path, first: u64, from: Tip, tip: &Tip) -> Result<Option<Place>, JournalError> {
    let opened = segment::open(dir, first)?;
    let path = opened.path.clone();
    let walk = walk(&mut opened.text(), &path, from, line::check, &mut |_, _| Ok(()))?;
    let bad = match walk.tail {
        Tail::Torn(bad) | Tail::Corrupt(bad) => bad,
        Tail::Nothing if walk.whole == *tip => return Ok(None),
        Tail::Nothing => Bad { seq: walk.whole.receipt.seq.saturating_add(1), offset: walk.bytes, damage: Damage::Cut },
    };
    Ok(Some(bad.at(&segment::name_of(&path))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Range;

    use super::*;
    use crate::journal::Draft;
    use crate::journal::line::Slot;

    /// xorshift64*: small, seeded, good enough to choose damage.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
        }

        fn between(&mut self, range: Range<usize>) -> usize {
            range.start + self.below(range.len())
        }
    }

    /// What the writer knows of a log that it wrote.
    struct Log {
        bytes: Vec<u8>,
        /// Where each line lies and the batch it is of.
        lines: Vec<(Range<usize>, u64)>,
        receipts: Vec<Receipt>,
        data: Vec<String>,
        /// The last batch that was synced and acknowledged; a later one may be on its way.
        durable: u64,
    }

    impl Log {
        fn write(random: &mut Random) -> Self {
            let mut log =
                Self { bytes: Vec::new(), lines: Vec::new(), receipts: Vec::new(), data: Vec::new(), durable: 0 };
            let mut tip = Receipt::empty();
            let batches = random.between(2..9) as u64;
            for batch in 1..=batches {
                for left in (0..random.between(1..5) as u32).rev() {
                    let data = format!(r#"{{"record":"{}"}}"#, "x".repeat(random.below(300)));
                    let draft = Draft { at: jiff::Timestamp::UNIX_EPOCH, kind: "intake", data };
                    let start = log.bytes.len();
                    let slot = Slot { seq: tip.seq + 1, batch, left, prev: &tip.hash };
                    let hash = line::write(&mut log.bytes, &slot, &draft);
                    tip = Receipt { seq: tip.seq + 1, hash };
                    log.lines.push((start..log.bytes.len(), batch));
                    log.receipts.push(tip.clone());
                    log.data.push(draft.data);
                }
            }
            log.durable = batches - random.below(2) as u64;
            log
        }

        /// The last entry of the batch; 0 for batch 0.
        fn last_seq(&self, batch: u64) -> u64 {
            self.lines.iter().filter(|(_, b)| *b <= batch).count() as u64
        }

        fn damage(&self, random: &mut Random) -> Damaged {
            let (length, count) = (self.bytes.len(), self.lines.len());
            let mut bytes = self.bytes.clone();
            let last_batch = self.lines.iter().find(|(_, b)| *b == self.lines[count - 1].1).unwrap().0.start;
            let anywhere = if random.below(2) == 0 { 0 } else { last_batch };
            let (kind, touched, unordered) = match random.below(8) {
                0 => ("none", length..length, false),
                1 => {
                    let mut at = random.between(anywhere..length);
                    if random.below(4) == 0 {
                        // A line end that goes makes two lines one.
                        at = self.lines[random.below(count)].0.end - 1;
                    }
                    bytes[at] ^= 1 << random.below(8);
                    ("flip", at..at + 1, false)
                }
                2 => {
                    let at = random.between(anywhere..length);
                    bytes.truncate(at);
                    ("cut", at..length, false)
                }
                3 => {
                    let size = [512, 4096][random.below(2)];
                    let at = random.between(anywhere..length) / size * size;
                    let end = (at + size).min(length);
                    bytes[at..end].fill(0);
                    ("zero page", at..end, false)
                }
                4 => {
                    // The last batch arrives in part: some of its sectors never do, and the file may be too short.
                    let at = random.between(last_batch..length) / 64 * 64;
                    let at = at.max(last_batch);
                    let end = random.between(at..length);
                    bytes[at..end].fill(0);
                    bytes.truncate(random.between(end..length));
                    ("torn", at..length, false)
                }
                5 => {
                    let (a, b) = (random.below(count - 1), count - 1);
                    let b = random.between(a + 1..b + 1);
                    bytes = self.lines[..a]
                        .iter()
                        .chain([&self.lines[b]])
                        .chain(&self.lines[a + 1..b])
                        .chain([&self.lines[a]])
                        .chain(&self.lines[b + 1..])
                        .flat_map(|(span, _)| self.bytes[span.clone()].iter().copied())
                        .collect();
                    ("swap", length..length, true)
                }
                6 => {
                    let (from, to) = (random.below(count), random.below(count));
                    let copy = self.bytes[self.lines[from].0.clone()].to_vec();
                    let at = self.lines[to.max(from)].0.end;
                    bytes.splice(at..at, copy);
                    ("double", length..length, true)
                }
                _ => {
                    let from = random.below(count - 1);
                    let to = random.between(from..count - 1);
                    bytes.drain(self.lines[from].0.start..self.lines[to].0.end);
                    ("delete", length..length, true)
                }
            };
            Damaged { kind, bytes, touched, unordered }
        }
    }

    struct Damaged {
        kind: &'static str,
        bytes: Vec<u8>,
        /// The bytes of the log that were changed or cut off.
        touched: Range<usize>,
        /// Whole lines stand where they do not belong.
        unordered: bool,
    }

    /// The right verdict, from what was done to the log and not from its content: where the journal then ends
    /// and whether a tail is torn, or `None` for corrupt.
    fn expected(log: &Log, damaged: &Damaged, head: u64) -> Option<(u64, bool)> {
        if damaged.unordered {
            return None;
        }
        let touched = |span: &Range<usize>| span.start < damaged.touched.end && damaged.touched.start < span.end;
        let Some(first) = log.lines.iter().position(|(span, _)| touched(span)) else {
            return Some((log.lines.len() as u64, false));
        };
        let batch = log.lines[first].1;
        if log.lines[first..].iter().any(|(span, b)| *b > batch && !touched(span)) {
            return None;
        }
        let end = log.last_seq(batch - 1);
        let end_bytes = end.checked_sub(1).map_or(0, |at| log.lines[at as usize].0.end);
        (head <= end).then_some((end, damaged.bytes.len() > end_bytes))
    }

    /// The verdict as [`expected`] gives it; an end beyond all ends when something was recovered that was never written.
    fn verdict(log: &Log, bytes: &[u8], head: u64, check: Check) -> Option<(u64, bool)> {
        let path = Path::new("memory");
        let (mut seen, mut invented) = (0, false);
        let mut each = |_, line: Line| {
            seen += 1;
            let written = seen <= log.data.len() && log.data[seen - 1] == line.data.get();
            invented |= !written || log.receipts[seen - 1].hash != line.hash;
            Ok(())
        };
        let mut from = bytes;
        let walk = walk(&mut from, path, Tip::empty(), check, &mut each).unwrap();
        assert_eq!(walk.bytes, bytes.len() as u64);
        let torn = match walk.tail {
            Tail::Corrupt(_) => return None,
            Tail::Torn(_) => true,
            Tail::Nothing => false,
        };
        assert_eq!(walk.whole.receipt.seq, seen as u64);
        let end = if invented { u64::MAX } else { walk.whole.receipt.seq };
        (head <= end).then_some((end, torn))
    }

    /// Wrong verdicts over `count` damaged logs, by kind of damage, and how many verdicts there were of each sort.
    fn wrong_verdicts(count: u64, check: Check) -> (BTreeMap<&'static str, u64>, BTreeMap<&'static str, u64>) {
        let (mut wrong, mut sorts) = (BTreeMap::new(), BTreeMap::new());
        for seed in 1..=count / 40 {
            let mut random = Random(seed);
            let log = Log::write(&mut random);
            for _ in 0..40 {
                let damaged = log.damage(&mut random);
                // HEAD is up to date after a killed process, and up to a second old after a power cut.
                let fresh = random.below(2) == 0;
                let head =
                    log.last_seq(if fresh { log.durable } else { random.below(log.durable as usize + 1) as u64 });
                let right = expected(&log, &damaged, head);
                if verdict(&log, &damaged.bytes, head, check) != right {
                    *wrong.entry(damaged.kind).or_default() += 1;
                }
                if fresh && let Some((end, _)) = right {
                    assert!(end >= log.last_seq(log.durable), "the oracle itself loses acknowledged entries");
                }
                *sorts.entry(right.map_or("corrupt", |(_, torn)| if torn { "torn" } else { "clean" })).or_default() +=
                    1;
            }
        }
        (wrong, sorts)
    }

    #[test]
    fn no_damage_is_misjudged() {
        let (wrong, sorts) = wrong_verdicts(20_000, line::check);
        assert_eq!(wrong, BTreeMap::new());
        for sort in ["clean", "torn", "corrupt"] {
            assert!(sorts[sort] > 1_000, "{sorts:?}");
        }
    }

    /// One mutation of a log that is taken as its lines, each with its line end.
    fn mutate(items: &mut Vec<Vec<u8>>, random: &mut Random) {
        if items.is_empty() {
            return;
        }
        let at = random.below(items.len());
        let to = random.below(items.len() + 1);
        match random.below(9) {
            0 | 1 => {
                let byte = random.below(items[at].len());
                items[at][byte] ^= 1 << random.below(8);
            }
            2 => {
                // Cut off here: a part of the line stays, or nothing of it.
                let length = random.below(items[at].len());
                items[at].truncate(length);
                items.truncate(at + 1);
            }
            3 => {
                let from = random.below(items[at].len());
                let end = random.between(from..items[at].len() + 1);
                items[at].drain(from..end);
            }
            4 => {
                let line = items.remove(at);
                items.insert(to.min(items.len()), line);
            }
            5 => items.insert(to, items[at].clone()),
            6 => drop(items.remove(at)),
            7 => {
                // Its line end alone could complete a line that lost its own.
                let mut garbage = vec![[0, b'x'][random.below(2)]; random.between(1..40)];
                garbage.extend((random.below(2) == 0).then_some(b'\n'));
                items.insert(to, garbage);
            }
            _ => {
                // Before its first byte it would leave the line whole; garbage of its own does that above.
                let byte = random.below(items[at].len()).max(1);
                items[at].insert(byte, (11 + random.below(245)) as u8);
            }
        }
        // A line end alone would complete a line that lost its own: that is no damage.
        items.retain(|item| item.first().is_some_and(|byte| *byte != b'\n'));
    }

    /// The right verdict on what became of a log's lines: known from which of them are still what they were, and where.
    fn expected_of(log: &Log, items: &[Vec<u8>], head: u64) -> Option<(u64, bool)> {
        let number = |item: &Vec<u8>| log.lines.iter().position(|(span, _)| log.bytes[span.clone()] == item[..]);
        let whole: Vec<Option<usize>> = items.iter().map(number).collect();
        let good = whole.iter().zip(0..).take_while(|(found, n)| **found == Some(*n)).count();
        let batch_of = |n: usize| log.lines[n].1;
        // The last whole batch among the good lines: its end is the end of the journal.
        let is_batch_end = |n: usize| n + 1 == log.lines.len() || batch_of(n + 1) != batch_of(n);
        let end = (0..good).rev().find(|n| is_batch_end(*n)).map_or(0, |n| n + 1);
        match whole.get(good) {
            None => {}
            // A whole line in a wrong place.
            Some(Some(_)) => return None,
            Some(None) => {
                let batch =
                    if end < good { batch_of(good - 1) } else { good.checked_sub(1).map_or(1, |n| batch_of(n) + 1) };
                // At the very end a line proves as much without its line end.
                let bare = |item: &Vec<u8>| number(&[item.as_slice(), b"\n"].concat());
                let last = items.last().and_then(bare);
                if whole[good..].iter().flatten().chain(&last).any(|n| batch_of(*n) > batch) {
                    return None;
                }
            }
        }
        (head <= end as u64).then_some((end as u64, end < items.len()))
    }

    /// One to four mutations each, of all kinds, in all orders. `tests/run --long` tries 300,000 logs.
    #[test]
    fn no_mutation_is_misjudged() {
        let long = std::env::var_os("SOARD_TESTS").is_some_and(|sizes| sizes == "long");
        let count: u64 = if long { 300_000 } else { 24_000 };
        let mut sorts: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 1..=count / 40 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let log = Log::write(&mut random);
            for round in 0..40 {
                let mut items: Vec<Vec<u8>> =
                    log.lines.iter().map(|(span, _)| log.bytes[span.clone()].to_vec()).collect();
                for _ in 0..random.between(1..5) {
                    mutate(&mut items, &mut random);
                }
                let head = random.below(log.durable as usize + 1) as u64;
                let head = log.last_seq(if random.below(2) == 0 { log.durable } else { head });
                let right = expected_of(&log, &items, head);
                assert_eq!(verdict(&log, &items.concat(), head, line::check), right, "seed {seed}, round {round}");
                *sorts.entry(right.map_or("corrupt", |(_, torn)| if torn { "torn" } else { "clean" })).or_default() +=
                    1;
            }
        }
        println!("{count} mutated logs, 0 wrong verdicts: {sorts:?}");
        assert!(sorts.len() == 3 && sorts.values().all(|n| *n > count / 300), "{sorts:?}");
    }

    /// The control: without the line's own hash, verdicts go wrong.
    #[test]
    fn without_the_own_hash_damage_is_misjudged() {
        let (wrong, _) = wrong_verdicts(2_000, |line| line::split(line).ok_or(Damage::Hash));
        assert!(wrong["flip"] > 50, "{wrong:?}");
    }

    fn lines(slots: &[(u64, u64, u32)]) -> Vec<Vec<u8>> {
        let mut prev = line::ZEROS.to_string();
        let draft = Draft { at: jiff::Timestamp::UNIX_EPOCH, kind: "log", data: "{}".into() };
        let mut line_of = |&(seq, batch, left): &(u64, u64, u32)| {
            let mut bytes = Vec::new();
            prev = line::write(&mut bytes, &Slot { seq, batch, left, prev: &prev }, &draft);
            bytes
        };
        slots.iter().map(&mut line_of).collect()
    }

    fn damage_of(bytes: &[u8]) -> Option<Damage> {
        let mut from = bytes;
        match walk(&mut from, Path::new("m"), Tip::empty(), line::check, &mut |_, _| Ok(())).unwrap().tail {
            Tail::Corrupt(bad) => Some(bad.damage),
            _ => None,
        }
    }

    /// The second line was written after the first was durable, so the first one's line end was, too.
    #[test]
    fn a_whole_line_is_found_behind_a_line_end_that_is_gone() {
        let mut bytes = lines(&[(1, 1, 0), (2, 2, 0)]).concat();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        bytes[end] = 0;
        assert_eq!(damage_of(&bytes), Some(Damage::Hash));
    }

    /// A record that holds the text of a whole line with a right hash, of a batch far ahead. Wherever the line that keeps the
    /// record breaks off, it is a torn write; the control: a later whole line behind it is found all the same.
    #[test]
    fn a_line_in_the_text_of_a_record_is_no_line() {
        let fake = String::from_utf8(lines(&[(7, 999, 0)]).concat()).unwrap();
        let first = lines(&[(1, 1, 0)]).concat();
        let prev = line::check(&first[..first.len() - 1]).unwrap().hash.to_owned();
        let json = format!(r#"{{"source":"push","record":{{"json":{{"x":[1,{}],"y":"\\"{{"}}}}}}"#, fake.trim_end());
        let draft = Draft { at: jiff::Timestamp::UNIX_EPOCH, kind: "intake", data: json };
        let mut hostile = Vec::new();
        let hash = line::write(&mut hostile, &Slot { seq: 2, batch: 2, left: 0, prev: &prev }, &draft);
        let end_of_fake = hostile.windows(fake.len() - 1).position(|part| part == &fake.as_bytes()[..fake.len() - 1]);
        assert!(end_of_fake.is_some(), "it is kept verbatim");
        for cut in 1..hostile.len() {
            assert_eq!(damage_of(&[&first, &hostile[..cut]].concat()), None, "cut at {cut}");
        }
        let mut next = Vec::new();
        line::write(&mut next, &Slot { seq: 3, batch: 3, left: 0, prev: &hash }, &draft);
        for end in [&b"\0"[..], b""] {
            let joined = [&first, &hostile[..hostile.len() - 1], end, &next].concat();
            assert_eq!(damage_of(&joined), Some(Damage::Hash), "{end:?}");
        }
    }

    #[test]
    fn lines_that_were_forged_with_good_hashes_do_not_fit() {
        let good = [(1, 1, 1), (2, 1, 0), (3, 2, 0)];
        assert_eq!(damage_of(&lines(&good).concat()), None);
        for (slots, damage) in [
            (vec![(2, 1, 0)], Damage::Seq { found: 2 }),
            (vec![(1, 1, 0), (3, 2, 0)], Damage::Seq { found: 3 }),
            (vec![(1, 2, 0)], Damage::Batch),
            (vec![(1, 1, 1), (2, 2, 0)], Damage::Batch),
            (vec![(1, 1, 2), (2, 1, 0)], Damage::Batch),
            (vec![(1, 1, 0), (2, 1, 0)], Damage::Batch),
        ] {
            assert_eq!(damage_of(&lines(&slots).concat()), Some(damage), "{slots:?}");
        }
        let other = lines(&[(1, 1, 1), (2, 1, 0)]);
        let mut forked = lines(&good);
        forked[0] = lines(&[(1, 1, 1)]).remove(0);
        assert_eq!(damage_of(&[forked[0].as_slice(), &other[1], &forked[2]].concat()), None);
        let mut longer = Vec::new();
        let draft = Draft { at: jiff::Timestamp::UNIX_EPOCH, kind: "log", data: "1".into() };
        line::write(&mut longer, &Slot { seq: 1, batch: 1, left: 1, prev: line::ZEROS }, &draft);
        assert_eq!(damage_of(&[longer.as_slice(), &forked[1]].concat()), Some(Damage::Prev));
    }
}
