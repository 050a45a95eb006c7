//! Retention: which segments may go, and what stays of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead};
use std::path::Path;

use jiff::Timestamp;

use crate::domain::entry::Seal;
use crate::journal::archive;
use crate::journal::line::Line;
use crate::journal::policy::Policy;
use crate::journal::segment::{self, Form, read_piece};
use crate::journal::{Damage, JournalError, Place};

/// A segment that another one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Its first entry.
    pub first: u64,
    /// Its last entry.
    pub last: u64,
    /// How much room it takes.
    pub bytes: u64,
    /// It is compressed.
    pub archived: bool,
    /// When the next segment began: no entry of this one is younger.
    pub until: Timestamp,
}

/// Why segments are dropped: by age, by size.
pub const POLICIES: [&str; 2] = ["age", "size"];

/// When each closed segment ended, as far as that was looked up: it never changes, and costs a look into the next one.
pub type Ends = BTreeMap<u64, Timestamp>;

/// The closed segments, oldest first, and the length of all segments.
///
/// # Errors
/// When the files cannot be read.
pub fn closed(dir: &Path, ends: &mut Ends) -> Result<(Vec<Closed>, u64), JournalError> {
    let firsts = segment::list(dir)?;
    ends.retain(|first, _| firsts.first().is_some_and(|oldest| first >= oldest));
    let mut all = 0;
    let mut closed = Vec::new();
    for (at, first) in firsts.iter().enumerate() {
        let opened = segment::open(dir, *first)?;
        let (bytes, archived) = (opened.bytes()?, opened.form == Form::Archive);
        all += bytes;
        // A segment that has just been begun may be empty yet.
        let Some(next) = firsts.get(at + 1) else { break };
        let until = match ends.get(first) {
            Some(until) => *until,
            None => {
                let line = segment::first_line(dir, *next)?.and_then(|line| Line::parse(&line).ok());
                let Some(line) = line else { break };
                ends.insert(*first, line.at);
                line.at
            }
        };
        closed.push(Closed { first: *first, last: next - 1, bytes, archived, until });
    }
    Ok((closed, all))
}

/// How many of the closed segments go, and by which policy: a run from the oldest on, none of which holds an entry from
/// `needed` on.
pub fn choose(
    closed: &[Closed],
    all: u64,
    policy: &Policy,
    now: Timestamp,
    needed: u64,
) -> Option<(usize, &'static str)> {
    let free = closed.iter().take_while(|segment| segment.last < needed);
    let old = |segment: &&Closed| policy.keep.is_some_and(|keep| keep.after(segment.until) < now);
    let by_age = free.clone().take_while(old).count();
    if by_age > 0 {
        return Some((by_age, POLICIES[0]));
    }
    let mut left = all;
    let over = |segment: &&Closed| {
        let over = policy.size.is_some_and(|size| left > size.0);
        left = left.saturating_sub(segment.bytes);
        over
    };
    let by_size = free.take_while(over).count();
    (by_size > 0).then_some((by_size, POLICIES[1]))
}

/// Reads a closed segment to its end, gives each entry to `each`, and returns its seal.
///
/// # Errors
/// When it cannot be read, or is not whole.
pub fn seal(
    dir: &Path,
    closed: &Closed,
    each: &mut dyn FnMut(&Line) -> Result<(), String>,
) -> Result<Seal, JournalError> {
    let opened = segment::open(dir, closed.first)?;
    let (path, file) = (opened.path.clone(), segment::name_of(&opened.path));
    let mut text = opened.text();
    let from: &mut dyn BufRead = &mut text;
    let (mut piece, mut next, mut offset) = (Vec::new(), closed.first, 0);
    let mut seal: Option<Seal> = None;
    loop {
        let place = |damage| JournalError::Corrupt(Place { seq: next, file: file.clone(), offset, damage });
        let more = read_piece(from, &mut piece).map_err(|error| match archive::is_damage(&error) {
            true => place(Damage::Archive),
            false => JournalError::io("read", &path)(error),
        });
        if !more? {
            break;
        }
        let line = piece.strip_suffix(b"\n").ok_or(Damage::Cut).and_then(Line::parse).map_err(place)?;
        let follows = seal.as_ref().is_none_or(|seal| seal.hash == line.prev);
        if line.seq != next || !follows {
            return Err(place(if follows { Damage::Seq { found: line.seq } } else { Damage::Prev }));
        }
        each(&line).map_err(|why| JournalError::Apply { seq: next, file: file.clone(), source: why.into() })?;
        let seal = seal.get_or_insert_with(|| Seal {
            first: line.seq,
            last: line.seq,
            first_hash: line.hash.clone(),
            hash: String::new(),
            bytes: closed.bytes,
            from: line.at,
            until: line.at,
        });
        (seal.last, seal.until) = (line.seq, line.at);
        seal.hash = line.hash;
        offset += piece.len() as u64;
        next += 1;
    }
    let missing = JournalError::Corrupt(Place { seq: next, file, offset, damage: Damage::Cut });
    seal.filter(|seal| seal.last == closed.last).ok_or(missing)
}

/// First entry of the oldest segment; `None`: there is no segment.
///
/// # Errors
/// When the folder cannot be read.
pub fn oldest(dir: &Path) -> Result<Option<u64>, JournalError> {
    Ok(segment::list(dir)?.first().copied())
}

/// Removes the segments up to entry `last`, oldest first. The journal has their seals on record by now.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove(dir: &Path, last: u64) -> Result<(), JournalError> {
    let firsts = segment::list(dir)?;
    for pair in firsts.windows(2).filter(|pair| pair[1] <= last.saturating_add(1)) {
        for path in [segment::path(dir, pair[0]), segment::archive_path(dir, pair[0])] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(JournalError::io("remove", &path))?,
            }
        }
        // One by one: a power cut that brings back an older one but not a younger one would leave a gap.
        segment::sync_dir(dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bytes::Bytes;

    #[test]
    fn age_goes_before_size_and_what_is_needed_stops_both() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let closed: Vec<Closed> = (0..4)
            .map(|n| Closed {
                first: n * 10 + 1,
                last: n * 10 + 10,
                bytes: 100,
                archived: false,
                until: at(i64::try_from(n).unwrap() * 60),
            })
            .collect();
        let policy = |keep: Option<u64>, size: Option<u64>| Policy {
            keep: keep.map(crate::domain::time::Span::from_secs),
            size: size.map(Bytes),
            ..Policy::default()
        };
        let chosen = |keep, size, needed| choose(&closed, 450, &policy(keep, size), at(200), needed);
        assert_eq!(chosen(None, None, u64::MAX), None);
        assert_eq!(chosen(Some(60), None, u64::MAX), Some((3, "age")));
        assert_eq!(chosen(Some(60), None, 15), Some((1, "age")));
        assert_eq!(chosen(Some(60), None, 10), None);
        assert_eq!(chosen(None, Some(250), u64::MAX), Some((2, "size")));
        assert_eq!(chosen(Some(1000), Some(0), u64::MAX), Some((4, "size")));
        assert_eq!(chosen(Some(150), Some(1), u64::MAX), Some((1, "age")));
    }
}
