//! Connections that read: a few, used again, each query bounded in what it may look at.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::index::place::Place;
use crate::index::{IndexError, schema};

/// Connections that are kept for the next query.
const IDLE_MAX: usize = 4;

/// Steps of SQLite's machine between two looks at the limit.
const STEPS_BETWEEN: i32 = 10_000;

/// Steps that one query may take: a few seconds.
const STEPS_MAX: u64 = 300_000_000;

/// Opens the current build for queries.
#[derive(Debug)]
pub struct Readers {
    place: Place,
    idle: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    conn: Connection,
    steps: Arc<AtomicU64>,
}

impl Readers {
    /// For this index.
    pub fn new(place: Place) -> Self {
        Self { place, idle: Mutex::default() }
    }

    /// Runs a query on the index as it is now: everything that it reads is of one moment.
    ///
    /// # Errors
    /// [`IndexError::Absent`] when there is no index, [`IndexError::TooBroad`] when the query takes too long; the query's own.
    pub fn query<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, IndexError>) -> Result<T, IndexError> {
        let absent = || IndexError::Absent { dir: self.place.dir().to_owned() };
        let (number, path) = self.place.current().ok_or_else(absent)?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|open| open.number == number);
            idle.pop()
        };
        let open = match idle {
            Some(open) => open,
            None => Open::new(number, path)?,
        };
        open.steps.store(0, Ordering::Relaxed);
        open.conn.execute_batch("BEGIN").map_err(IndexError::sqlite("read"))?;
        // A connection that failed is closed, and its transaction with it.
        let answer = ask(&open.conn)?;
        open.conn.execute_batch("COMMIT").map_err(IndexError::sqlite("read"))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(open);
        }
        Ok(answer)
    }

    /// Looks whether the file is whole, until `stops` says to stop.
    ///
    /// # Errors
    /// [`IndexError::Unusable`] with what is wrong.
    pub fn check(&self, stops: impl FnMut() -> bool + Send + 'static) -> Result<(), IndexError> {
        let Some((_, path)) = self.place.current() else { return Ok(()) };
        let mut conn = schema::open_to_read(&path)?;
        conn.progress_handler(STEPS_BETWEEN, Some(stops)).map_err(IndexError::sqlite("open"))?;
        schema::check(&conn)
    }

    /// Lets go of the files.
    pub fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Open {
    fn new(number: u64, path: PathBuf) -> Result<Self, IndexError> {
        let mut conn = schema::open_to_read(&path)?;
        let steps = Arc::new(AtomicU64::new(0));
        let taken = steps.clone();
        let between = u64::from(STEPS_BETWEEN.unsigned_abs());
        let stop = move || taken.fetch_add(between, Ordering::Relaxed) > STEPS_MAX;
        conn.progress_handler(STEPS_BETWEEN, Some(stop)).map_err(IndexError::sqlite("open"))?;
        Ok(Self { number, conn, steps })
    }
}
