//! The thread that keeps the index up with the journal, mends it, and says how it stands.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::index::build::{self, Progress};
use crate::index::place::Place;
use crate::index::readers::Readers;
use crate::index::write::Writer;
use crate::index::{IndexError, schema};
use crate::journal::reader::Reader;

/// How often it looks for new entries when nobody asks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long it waits after a fault that has nothing to do with the file: a full disk, a rebuild by hand.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// How much the thread gives way to those that take alerts in.
const NICE: i32 = 19;

/// The running index: what the daemon asks.
#[derive(Debug, Clone)]
pub struct Index {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    journal: Reader,
    readers: Readers,
    state: Mutex<State>,
    /// Told when `state` changes.
    changed: Condvar,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The last entry in the index; of the build under way, while there is one.
    position: u64,
    doing: Doing,
    /// Someone wants everything built anew.
    anew: bool,
    stop: Stop,
}

/// What the thread is at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Doing {
    /// It has begun.
    #[default]
    Starting,
    /// It follows the journal.
    Following,
    /// It builds everything anew.
    Building,
    /// It cannot go on for now, for this reason, and tries again.
    Failing(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    /// Once the journal's end is reached.
    AtEnd,
    Now,
}

/// How the index stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The last entry in the index, or in the build under way.
    pub position: u64,
    /// Entries of the journal that are not in it yet.
    pub behind: u64,
    /// What the thread is at.
    pub doing: Doing,
}

/// The thread.
#[derive(Debug)]
pub struct Follower {
    index: Index,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts it. `died` is called if it panics.
    ///
    /// # Panics
    /// When the system gives no thread.
    pub fn start(place: Place, journal: Reader, died: impl FnOnce() + Send + 'static) -> Self {
        let readers = Readers::new(place.clone());
        let shared = Arc::new(Shared { place, journal, readers, state: Mutex::default(), changed: Condvar::new() });
        let index = Index { shared: shared.clone() };
        let body = move || {
            let _watch = Watch(Some(died));
            // Where the system refuses it, it works all the same.
            let _ = rustix::process::nice(NICE);
            shared.run();
        };
        let thread = thread::Builder::new().name("index".into()).spawn(body).expect("the system gives a thread");
        Self { index, thread }
    }

    /// What may be asked.
    pub fn index(&self) -> Index {
        self.index.clone()
    }

    /// Lets it reach the journal's end, for at most this long, and ends it.
    pub fn finish(self, patience: Duration) {
        self.index.shared.state().stop = Stop::AtEnd;
        self.index.shared.changed.notify_all();
        let until = Instant::now() + patience;
        let mut state = self.index.shared.state();
        while !self.thread.is_finished() && Instant::now() < until {
            state = self.index.shared.wait(state, LOOK_EVERY);
        }
        state.stop = Stop::Now;
        drop(state);
        self.index.shared.changed.notify_all();
        let _ = self.thread.join();
    }
}

struct Watch<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Watch<F> {
    fn drop(&mut self) {
        if let (true, Some(died)) = (thread::panicking(), self.0.take()) {
            died();
        }
    }
}

impl Index {
    /// Runs a query.
    ///
    /// # Errors
    /// As [`Readers::query`]; damage makes the thread build everything anew.
    pub fn query<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, IndexError>) -> Result<T, IndexError> {
        let answer = self.shared.readers.query(ask);
        if answer.as_ref().is_err_and(IndexError::is_damage) {
            self.rebuild();
        }
        answer
    }

    /// Waits until this entry is in the index, for at most this long.
    pub fn wait_for(&self, seq: u64, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.shared.state();
        while state.position < seq || state.doing == Doing::Building {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || matches!(state.doing, Doing::Failing(_)) {
                return;
            }
            self.shared.changed.notify_all();
            state = self.shared.wait(state, left);
        }
    }

    /// Lets everything be built anew.
    pub fn rebuild(&self) {
        self.shared.state().anew = true;
        self.shared.changed.notify_all();
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let state = self.shared.state();
        let doing = if state.anew { Doing::Building } else { state.doing.clone() };
        Standing {
            position: state.position,
            behind: self.shared.journal.head().seq.saturating_sub(state.position),
            doing,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }

    fn set(&self, doing: Doing) {
        self.state().doing = doing;
        self.changed.notify_all();
    }

    /// Until it is told to stop; a fault is said, mended where that is possible, and tried again.
    fn run(self: &Arc<Self>) {
        let mut last = None;
        while self.state().stop != Stop::Now {
            let error = match self.follow() {
                Ok(true) | Err(IndexError::Stopped) => return,
                Ok(false) => continue,
                Err(error) => error,
            };
            let is_absent = matches!(error, IndexError::Absent { .. });
            if is_absent || error.is_damage() {
                self.state().anew = true;
            }
            if !is_absent {
                let why = said(&error);
                if last.as_ref() != Some(&why) {
                    let mends = if error.is_damage() { "it is built anew" } else { "it is tried again" };
                    tracing::warn!(why, "the index does not go on; {mends}");
                }
                // Damage that comes back at once is not mended as fast as it comes.
                if !error.is_damage() || last.is_some() {
                    self.fail(&why);
                }
                last = Some(why);
            }
        }
    }

    fn fail(&self, why: &str) {
        self.set(Doing::Failing(why.to_owned()));
        let mut state = self.state();
        let until = Instant::now() + RETRY_EVERY;
        while state.stop == Stop::No && Instant::now() < until {
            state = self.wait(state, RETRY_EVERY);
        }
        if state.stop == Stop::AtEnd {
            state.stop = Stop::Now;
        }
    }

    /// Follows the journal; true when it is time to end, false when everything is to be built anew.
    fn follow(self: &Arc<Self>) -> Result<bool, IndexError> {
        let _lock = self.place.lock()?;
        if self.state().anew {
            self.build()?;
        }
        let mut writer = build::open(&self.place, &self.journal)?;
        let mut checking = None;
        self.state().position = writer.position()?.seq;
        self.set(Doing::Following);
        loop {
            let position = build::catch_up(&mut writer, &self.journal, &mut |progress| self.tell(progress))?;
            if checking.is_none() {
                checking = Some(self.check());
            }
            if !self.rest(&writer, position.seq) {
                self.readers.close();
                schema::close(writer.into_connection());
                return Ok(true);
            }
            if self.state().anew {
                return Ok(false);
            }
        }
    }

    /// Once a start, beside everything else: looks for damage that nobody has met yet.
    fn check(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        let shared = self.clone();
        let check = move || {
            let _ = rustix::process::nice(NICE);
            let stopped = shared.clone();
            let stops = move || stopped.state().stop != Stop::No;
            if let Err(error) = shared.readers.check(stops)
                && error.is_damage()
            {
                tracing::warn!(why = said(&error), "the index is damaged; it is built anew");
                shared.state().anew = true;
                shared.changed.notify_all();
            }
        };
        thread::Builder::new().name("index-check".into()).spawn(check).ok()
    }

    fn build(&self) -> Result<(), IndexError> {
        self.state().position = 0;
        self.set(Doing::Building);
        let number = build::build(&self.place, &self.journal, &mut |progress| self.tell(progress))?;
        self.readers.close();
        self.place.clear_but(Some(number))?;
        self.state().anew = false;
        tracing::info!(entries = self.state().position, "the index was built from the journal");
        Ok(())
    }

    fn tell(&self, progress: Progress) -> bool {
        let mut state = self.state();
        state.position = progress.done;
        self.changed.notify_all();
        state.stop != Stop::Now
    }

    /// Waits for more; false when it is time to end.
    fn rest(&self, writer: &Writer, position: u64) -> bool {
        let mut state = self.state();
        state.position = position;
        let mut idle = false;
        loop {
            let more = self.journal.head().seq > position;
            if state.stop == Stop::Now || (state.stop == Stop::AtEnd && !more) {
                return false;
            }
            if more || state.anew {
                return true;
            }
            if !idle {
                writer.rest();
                idle = true;
            }
            state = self.wait(state, LOOK_EVERY);
        }
    }
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
