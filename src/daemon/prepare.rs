//! The stateless stages: normalise and match, before anything is ordered.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::daemon::bundle::Bundle;
use crate::daemon::clock;
use crate::daemon::core::Message;
use crate::daemon::takes::{Lack, Takes};
use crate::daemon::tally::Tally;
use crate::domain::record::Record;
use crate::engine::input::{Arrival, Candidate, Input};
use crate::rules::normalise::{Note, Refused};
use crate::sources::intake::{Answer, Offer};

/// What became of a record.
pub enum Prepared {
    /// Alerts, or a cause for the quarantine; and what was odd in the record.
    Input(Input, Vec<Note>),
    /// The format knows it and says that it is no alert.
    NotAnAlert(String),
}

/// Normalises and matches one record.
pub fn prepare(bundle: &Bundle, record: Record, pinned: Option<&str>) -> Prepared {
    match look(bundle, &record, pinned) {
        Ok((format, alerts, notes)) => {
            let arrival = Arrival { record, format, bundle: bundle.id.clone(), alerts };
            Prepared::Input(Input::Intake(Box::new(arrival)), notes)
        }
        Err(Seen::NoAlert(why)) => Prepared::NotAnAlert(why),
        Err(Seen::Refused(cause)) => Prepared::Input(Input::Refused { record, cause }, Vec::new()),
    }
}

/// What a record is that gives no alerts.
enum Seen {
    NoAlert(String),
    Refused(String),
}

/// A record that makes soard panic harms only itself: it is quarantined.
fn look(bundle: &Bundle, record: &Record, pinned: Option<&str>) -> Result<(String, Vec<Candidate>, Vec<Note>), Seen> {
    let work = || {
        let normalised = bundle.formats.normalise(&record.source, &record.bytes, clock::now(), pinned)?;
        let parsed = normalised.alerts.into_iter();
        let alerts = parsed.map(|parsed| Candidate {
            matches: bundle.rules.matches(&parsed.alert),
            alert: parsed.alert,
            part: parsed.part,
            window: parsed.window,
        });
        Ok((normalised.format, alerts.collect(), normalised.notes))
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(Refused::NotAnAlert { format, why })) => Err(Seen::NoAlert(format!("{format}: {why}"))),
        Ok(Err(refused)) => Err(Seen::Refused(refused.to_string())),
        Err(_) => Err(Seen::Refused("a fault of soard itself: the record made it panic; the log says where".into())),
    }
}

/// Matches again what an older bundle matched.
pub fn rematch(bundle: &Bundle, arrival: &mut Arrival) {
    for candidate in &mut arrival.alerts {
        candidate.matches = bundle.rules.matches(&candidate.alert);
    }
    arrival.bundle.clone_from(&bundle.id);
}

/// How long records that cannot be refused wait before the disk is looked at again.
const ROOM_PAUSE: Duration = Duration::from_millis(200);
/// Records that are prepared together and reach the core as one message.
const BATCH_RECORDS_MAX: usize = 64;
/// Bytes of such records, the last one aside.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Threads that prepare; what follows is one thread, which more of them would only outrun.
const THREADS_MAX: usize = 4;

/// Inputs with where to answer, in order.
pub type Batch = Vec<(Input, Option<oneshot::Sender<Answer>>)>;

/// Prepares offers until the sources are done: several batches at once, handed to the core in the order of the offers.
pub fn run(
    offers: mpsc::Receiver<Offer>,
    bundle: &ArcSwap<Bundle>,
    core: &mpsc::Sender<Message>,
    takes: &Takes,
    tally: &Tally,
    pinned: impl Fn(&str) -> Option<String> + Sync,
) {
    let entrance = Mutex::new(Entrance { offers, held: VecDeque::new(), tickets: 0 });
    let exit = Exit::default();
    let work = || {
        loop {
            let mut entered = locked(&entrance);
            let Some(offers) = entered.take(takes, core) else { return };
            let ticket = Ticket { number: entered.tickets, exit: &exit };
            entered.tickets += 1;
            drop(entered);
            let bundle = bundle.load_full();
            let batch: Batch = offers.into_iter().filter_map(|offer| one(&bundle, offer, tally, &pinned)).collect();
            ticket.wait();
            if !batch.is_empty() && core.blocking_send(Message::Batch(batch)).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        for n in 1..threads {
            let thread = thread::Builder::new().name(format!("prepare-{n}")).spawn_scoped(scope, work);
            thread.expect("the system gives the daemon a thread at start");
        }
        work();
    });
}

fn one(
    bundle: &Bundle,
    offer: Offer,
    tally: &Tally,
    pinned: impl Fn(&str) -> Option<String>,
) -> Option<(Input, Option<oneshot::Sender<Answer>>)> {
    let Offer { record, answer, .. } = offer;
    let (source, pinned) = (record.source.clone(), pinned(&record.source));
    match prepare(bundle, record, pinned.as_deref()) {
        Prepared::Input(input, odd) => {
            tally.count_odd(&source, &odd);
            Some((input, answer))
        }
        Prepared::NotAnAlert(why) => {
            tally.count_ignored(&source);
            answer.map(|answer| answer.send(Answer::Ignored { why }));
            None
        }
    }
}

/// Where batches are taken, one thread at a time.
struct Entrance {
    offers: mpsc::Receiver<Offer>,
    /// Taken already, and to be prepared once there is room.
    held: VecDeque<Offer>,
    tickets: u64,
}

impl Entrance {
    /// The next batch; `None` when the sources are done or the core is gone.
    fn take(&mut self, takes: &Takes, core: &mpsc::Sender<Message>) -> Option<Vec<Offer>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut next = self.held.pop_front().or_else(|| self.offers.blocking_recv());
        while let Some(offer) = next {
            if offer.answer.is_none()
                && let Some(lack) = takes.lack()
            {
                self.held.push_front(offer);
                if !batch.is_empty() {
                    break;
                }
                if !self.wait_for_room(lack, core) {
                    return None;
                }
            } else {
                bytes += offer.record.bytes.len();
                batch.push(offer);
                if batch.len() >= BATCH_RECORDS_MAX || bytes >= BATCH_BYTES_MAX {
                    break;
                }
            }
            next = self.held.pop_front().or_else(|| self.offers.try_recv().ok());
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Waits a little. Records that can be refused are, meanwhile; the others are held in their order, of which there
    /// are at most as many as the sources' lanes hold.
    fn wait_for_room(&mut self, lack: Lack, core: &mpsc::Sender<Message>) -> bool {
        thread::sleep(ROOM_PAUSE);
        while let Ok(offer) = self.offers.try_recv() {
            match offer.answer {
                Some(answer) => drop(answer.send(lack.answer())),
                None => self.held.push_back(offer),
            }
        }
        core.blocking_send(Message::Tick).is_ok()
    }
}

/// How many tickets have been served.
#[derive(Default)]
struct Exit {
    served: Mutex<u64>,
    moved: Condvar,
}

/// A place in the order; whoever drops it lets the next one go, also when it panics.
struct Ticket<'a> {
    number: u64,
    exit: &'a Exit,
}

impl Ticket<'_> {
    fn wait(&self) {
        let mut served = locked(&self.exit.served);
        while *served != self.number {
            served = self.exit.moved.wait(served).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.wait();
        *locked(&self.exit.served) += 1;
        self.exit.moved.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
