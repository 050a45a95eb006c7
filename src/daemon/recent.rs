//! Keeps what was just written and sets something off, and what was just read for that, so that carrying it out need
//! not read it back from the disk each time.
//!
//! A cache and no more: what is not here stands in the journal.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::domain::entry::Entry;

/// Bytes of entries, as the journal has them, that are kept.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// An entry with what the journal alone knows of it.
#[derive(Debug)]
pub struct Written {
    /// The entry.
    pub entry: Entry,
    /// Bytes that its data have in the journal.
    pub bytes: usize,
    /// Its hash; absent until it is durable.
    pub hash: OnceLock<String>,
}

/// The entries that tasks asked for last or will ask for soon.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_seq: HashMap<u64, Arc<Written>>,
    /// In the order in which they came.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Recent {
    /// Keeps an entry. The oldest ones make room.
    pub fn keep(&self, written: Arc<Written>) {
        let mut kept = self.lock();
        let (seq, bytes) = (written.entry.seq, written.bytes);
        if kept.by_seq.insert(seq, written).is_none() {
            kept.order.push_back(seq);
            kept.bytes += bytes;
        }
        while kept.bytes > BYTES_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.bytes -= kept.by_seq.remove(&oldest).map_or(0, |written| written.bytes);
        }
    }

    /// An entry, if it is kept and durable.
    pub fn get(&self, seq: u64) -> Option<Arc<Written>> {
        self.lock().by_seq.get(&seq).filter(|written| written.hash.get().is_some()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::{Facts, Log};

    fn written(seq: u64, bytes: usize, durable: bool) -> Arc<Written> {
        let entry = Entry { seq, at: jiff::Timestamp::UNIX_EPOCH, facts: Facts::Log(Log::Closed) };
        let hash = if durable { OnceLock::from("hash".to_owned()) } else { OnceLock::new() };
        Arc::new(Written { entry, bytes, hash })
    }

    #[test]
    fn the_oldest_make_room_and_nothing_is_told_before_it_is_durable() {
        let recent = Recent::default();
        for seq in [2, 5, 9] {
            recent.keep(written(seq, BYTES_MAX / 3, true));
        }
        let known = |recent: &Recent| [2, 5, 7, 9, 12].map(|seq| recent.get(seq).is_some());
        assert_eq!(known(&recent), [true, true, false, true, false]);
        let waits = written(12, BYTES_MAX / 2, false);
        recent.keep(waits.clone());
        assert_eq!(known(&recent), [false, false, false, true, false]);
        waits.hash.set("hash".into()).unwrap();
        assert_eq!(known(&recent), [false, false, false, true, true]);
        recent.keep(written(5, BYTES_MAX / 3, true));
        recent.keep(written(5, BYTES_MAX / 3, true));
        assert_eq!(known(&recent), [false, true, false, false, true]);
        assert_eq!(recent.lock().bytes, BYTES_MAX / 3 + BYTES_MAX / 2, "what is there already counts once");
        recent.keep(written(13, 2 * BYTES_MAX, true));
        assert_eq!(recent.lock().bytes, 0, "what is too large for all is not kept");
    }
}
