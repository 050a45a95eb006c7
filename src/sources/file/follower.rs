//! Decides which generation is read, one step at a time; synchronous, and told the time, so that tests need no waits.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::domain::record::{FilePosition, Record};
use crate::sources::file::generation::{FileId, Generation, Origin, Read, holds, last_line_end, open};
use crate::sources::file::siblings::{Age, Sibling, siblings};
use crate::sources::file::{Settings, Start};
use crate::sources::intake::{Counters, count};

/// Generations held open at most; beyond that the oldest is not waited for.
const OPEN_MAX: usize = 64;

/// Rotated files remembered as read.
const KNOWN_MAX: usize = 4096;

/// Follows one path.
#[derive(Debug)]
pub struct Follower {
    origin: Origin,
    path: PathBuf,
    start: Start,
    quiet: Duration,
    counters: Arc<Counters>,
    /// Where the journal ends, until it was looked for.
    resume: Option<FilePosition>,
    /// Oldest first; the first is being read, the last is the newest that was seen at the path.
    open: VecDeque<Generation>,
    last_number: u64,
    /// Rotated files that are of no interest: read, or older than where we began.
    known: VecDeque<(FileId, SystemTime)>,
    complaint: Option<String>,
}

/// What one step gave.
#[derive(Debug, Default)]
pub struct Step {
    /// Records, in order.
    pub records: Vec<Record>,
    /// There may be more at once.
    pub more: bool,
}

impl Follower {
    /// Follows from the last position that the journal holds.
    pub fn new(source: Arc<str>, settings: &Settings, from: Option<FilePosition>, counters: Arc<Counters>) -> Self {
        let path = settings.path.clone();
        Self {
            origin: Origin { source, path: path.to_string_lossy().into_owned() },
            path,
            start: settings.start,
            quiet: settings.quiet,
            counters,
            last_number: from.as_ref().map_or(0, |position| position.generation),
            resume: from,
            open: VecDeque::new(),
            known: VecDeque::new(),
            complaint: None,
        }
    }

    /// Looks at the path and reads at most one block. What fails is tried again with the next step.
    pub fn step(&mut self, now: Instant) -> Step {
        let mut step = Step::default();
        match self.advance(now, &mut step) {
            Ok(()) => self.complaint = None,
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    count(&self.counters.io_errors);
                    tracing::warn!(source = %self.origin.source, path = %self.path.display(), %error, "cannot read; will try again");
                    self.complaint = Some(complaint);
                }
            }
        }
        step
    }

    fn advance(&mut self, now: Instant, step: &mut Step) -> io::Result<()> {
        let looked = self.look(now);
        // What is open is read on, even when its successor cannot be opened.
        self.read(now, step)?;
        looked
    }

    fn read(&mut self, now: Instant, step: &mut Step) -> io::Result<()> {
        let is_superseded = self.open.len() > 1;
        let is_crowded = self.open.len() > OPEN_MAX;
        let Some(front) = self.open.front_mut() else { return Ok(()) };
        if front.number == 0 {
            self.last_number += 1;
            front.number = self.last_number;
            if self.last_number > 1 {
                count(&self.counters.generations);
            }
        }
        let is_fresh = !is_superseded && front.is_changed_before_read()?;
        if is_fresh && self.has_new_copy()? {
            step.more = true;
            return self.replace(step);
        }
        let Some(front) = self.open.front_mut() else { return Ok(()) };
        match front.read(&self.origin, &mut step.records, &self.counters)? {
            Read::Some => {
                front.idle_since = None;
                step.more = true;
            }
            Read::Replaced => {
                self.replace(step)?;
                step.more = true;
            }
            Read::End => {
                let idle_since = *front.idle_since.get_or_insert(now);
                let is_quiet = now.saturating_duration_since(idle_since) >= self.quiet;
                if is_superseded && (is_quiet || front.copy || is_crowded) {
                    self.leave(step);
                    step.more = true;
                }
            }
        }
        Ok(())
    }

    /// Opens the file at the path if it is not open yet, and what came before it.
    fn look(&mut self, now: Instant) -> io::Result<()> {
        let Some((file, id)) = open(&self.path)? else {
            return self.look_without_file();
        };
        if self.open.iter().any(|generation| generation.id == id) {
            return Ok(());
        }
        match (self.open.back(), self.resume.clone()) {
            (Some(newest), _) => {
                let age = Age::of(&newest.file.metadata()?)?;
                let is_first_successor = self.open.len() == 1;
                self.open_between(age, &siblings(&self.path)?)?;
                self.open.push_back(Generation::at(file, id, 0)?);
                // The writer may go on with the renamed file until it is told of the new one.
                if let Some(front) = self.open.front_mut()
                    && is_first_successor
                {
                    front.idle_since = Some(now);
                }
            }
            (None, None) => self.begin_anew(file, id)?,
            (None, Some(position)) => {
                let beside = siblings(&self.path)?;
                self.begin(file, id, position, &beside)?;
                self.know_rest(&beside);
                self.resume = None;
            }
        }
        Ok(())
    }

    /// Nothing of this path stands in the journal.
    fn begin_anew(&mut self, file: File, id: FileId) -> io::Result<()> {
        let offset = if self.start == Start::End { last_line_end(&file)? } else { 0 };
        self.open.push_back(Generation::at(file, id, offset)?);
        self.know_rest(&siblings(&self.path)?);
        Ok(())
    }

    /// No file at the path: after a restart the one we read may lie beside it. A file that comes later is new.
    fn look_without_file(&mut self) -> io::Result<()> {
        if !self.open.is_empty() {
            return Ok(());
        }
        let Some(position) = self.resume.clone() else {
            self.start = Start::Beginning;
            return Ok(());
        };
        if let Some((file, sibling)) = rotated(&siblings(&self.path)?, &position)? {
            self.open.push_back(Generation::resume(file, sibling.id, position)?);
            self.resume = None;
        }
        Ok(())
    }

    /// Finds the journal's last position again, with a file at the path.
    fn begin(&mut self, file: File, id: FileId, position: FilePosition, beside: &[Sibling]) -> io::Result<()> {
        if id.inode == position.inode && holds(&file, &position)? {
            self.open.push_back(Generation::resume(file, id, position)?);
            return Ok(());
        }
        if let Some((old, sibling)) = rotated(beside, &position)? {
            self.open.push_back(Generation::resume(old, sibling.id, position)?);
            self.open_between(sibling.age, beside)?;
        } else {
            let copies = self.copies(&file, beside, Some(&position))?;
            if copies.is_empty() && position.path != self.origin.path {
                return self.begin_anew(file, id);
            }
            if copies.is_empty() {
                count(&self.counters.gaps);
                tracing::warn!(source = %self.origin.source, path = %self.path.display(), offset = position.next,
                    "the file that was read last is gone; lines after the offset, if there were any, are lost");
            }
            self.open.extend(copies);
        }
        self.open.push_back(Generation::at(file, id, 0)?);
        Ok(())
    }

    /// Opens the rotated files that are younger than one of age `after` and not open yet: their time at the path
    /// passed between two looks.
    fn open_between(&mut self, after: Age, beside: &[Sibling]) -> io::Result<()> {
        for sibling in beside.iter().filter(|sibling| sibling.is_rotated) {
            // A file that was unpacked or restored is young, but what it holds is old.
            let is_younger = sibling.age.born > after.born && sibling.age.modified >= after.born;
            if !is_younger || self.is_open(sibling) || self.is_known(sibling) {
                continue;
            }
            if let Some(file) = sibling.open()? {
                self.open.push_back(Generation::at(file, sibling.id, 0)?);
            }
        }
        Ok(())
    }

    /// The copy that was made of `file` before it was truncated, from the position on, and the copies after that one.
    /// Without a position nothing of it was handed over: then all copies made since we began.
    fn copies(&self, file: &File, beside: &[Sibling], from: Option<&FilePosition>) -> io::Result<Vec<Generation>> {
        let age = Age::of(&file.metadata()?)?;
        let mut found = VecDeque::new();
        let candidates = beside.iter().filter(|s| s.is_rotated && s.age.born > age.born);
        for sibling in candidates.rev().filter(|s| !self.is_known(s)) {
            let Some(file) = sibling.open()? else { continue };
            let continued = match from {
                Some(position) if holds(&file, position)? => Some(position.clone()),
                _ => None,
            };
            let is_continuation = continued.is_some();
            let mut generation = match continued {
                Some(position) => Generation::resume(file, sibling.id, position)?,
                None => Generation::at(file, sibling.id, 0)?,
            };
            generation.copy = true;
            found.push_front(generation);
            if is_continuation {
                return Ok(found.into());
            }
        }
        Ok(if from.is_none() { found.into() } else { Vec::new() })
    }

    /// A file of which nothing was read shows no truncation: only the copy does.
    fn has_new_copy(&self) -> io::Result<bool> {
        let Some(front) = self.open.front() else { return Ok(false) };
        let age = Age::of(&front.file.metadata()?)?;
        let beside = siblings(&self.path)?;
        let is_new = |s: &Sibling| s.is_rotated && s.age.born > age.born && !self.is_known(s) && !self.is_open(s);
        Ok(beside.iter().any(is_new))
    }

    /// The file being read was truncated or written anew.
    fn replace(&mut self, step: &mut Step) -> io::Result<()> {
        let Some(front) = self.open.front() else { return Ok(()) };
        let beside = siblings(&self.path)?;
        let copies = self.copies(&front.file, &beside, front.last())?;
        let anew = Generation::at(front.file.try_clone()?, front.id, 0)?;
        if let Some(mut front) = self.open.pop_front()
            && copies.is_empty()
        {
            step.records.extend(front.half_line(&self.origin, &self.counters));
        }
        self.open.push_front(anew);
        for copy in copies.into_iter().rev() {
            self.open.push_front(copy);
        }
        self.know_rest(&beside);
        Ok(())
    }

    /// Goes on to the next generation.
    fn leave(&mut self, step: &mut Step) {
        let Some(mut front) = self.open.pop_front() else { return };
        step.records.extend(front.half_line(&self.origin, &self.counters));
        if let Ok(age) = front.file.metadata().and_then(|meta| Age::of(&meta)) {
            self.know(front.id, age);
        }
    }

    /// What lies beside the file when we begin, and is not its continuation, is old.
    fn know_rest(&mut self, beside: &[Sibling]) {
        for sibling in beside.iter().filter(|sibling| sibling.is_rotated) {
            if !self.is_open(sibling) {
                self.know(sibling.id, sibling.age);
            }
        }
    }

    fn know(&mut self, id: FileId, age: Age) {
        self.known.push_back((id, age.born));
        if self.known.len() > KNOWN_MAX {
            self.known.pop_front();
        }
    }

    fn is_known(&self, sibling: &Sibling) -> bool {
        self.known.contains(&(sibling.id, sibling.age.born))
    }

    fn is_open(&self, sibling: &Sibling) -> bool {
        self.open.iter().any(|generation| generation.id == sibling.id)
    }
}

/// The file that was being read, under another name.
fn rotated<'a>(beside: &'a [Sibling], position: &FilePosition) -> io::Result<Option<(File, &'a Sibling)>> {
    for sibling in beside.iter().filter(|sibling| sibling.id.inode == position.inode) {
        if let Some(file) = sibling.open_holding(position)? {
            return Ok(Some((file, sibling)));
        }
    }
    Ok(None)
}
