//! The stateless stages: normalise and match, before anything is ordered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::daemon::bundle::Bundle;
use crate::daemon::clock;
use crate::daemon::core::Message;
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
    let normalised = bundle.formats.normalise(&record.source, &record.bytes, clock::now(), pinned);
    match normalised {
        Ok(normalised) => {
            let parsed = normalised.alerts.into_iter();
            let alerts = parsed.map(|parsed| Candidate {
                matches: bundle.rules.matches(&parsed.alert),
                alert: parsed.alert,
                part: parsed.part,
                window: parsed.window,
            });
            let (format, alerts) = (normalised.format, alerts.collect());
            let arrival = Arrival { record, format, bundle: bundle.id.clone(), alerts };
            Prepared::Input(Input::Intake(Box::new(arrival)), normalised.notes)
        }
        Err(Refused::NotAnAlert { format, why }) => Prepared::NotAnAlert(format!("{format}: {why}")),
        Err(refused) => Prepared::Input(Input::Refused { record, cause: refused.to_string() }, Vec::new()),
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

/// Prepares offers in their order until the sources are done; runs on a thread of its own.
pub fn run(
    mut offers: mpsc::Receiver<Offer>,
    bundle: &ArcSwap<Bundle>,
    core: &mpsc::Sender<Message>,
    room: &AtomicBool,
    tally: &Tally,
    pinned: impl Fn(&str) -> Option<String>,
) {
    let mut held = VecDeque::new();
    while let Some(offer) = held.pop_front().or_else(|| offers.blocking_recv()) {
        if offer.answer.is_none() && !room.load(Ordering::Relaxed) {
            held.push_front(offer);
            if !wait_for_room(&mut offers, &mut held, core) {
                return;
            }
            continue;
        }
        let Offer { record, answer, .. } = offer;
        let bundle: Arc<Bundle> = bundle.load_full();
        let (source, pinned) = (record.source.clone(), pinned(&record.source));
        match survive(&bundle, record, pinned.as_deref()) {
            Prepared::Input(input, odd) => {
                tally.count_odd(&source, &odd);
                if core.blocking_send(Message::Input(input, answer)).is_err() {
                    return;
                }
            }
            Prepared::NotAnAlert(why) => {
                tally.count_ignored(&source);
                if let Some(answer) = answer {
                    let _ = answer.send(Answer::Ignored { why });
                }
            }
        }
    }
}

/// Waits a little. Records that can be refused are, meanwhile; the others are held in their order, of which there are
/// at most as many as the sources' lanes hold.
fn wait_for_room(offers: &mut mpsc::Receiver<Offer>, held: &mut VecDeque<Offer>, core: &mpsc::Sender<Message>) -> bool {
    thread::sleep(ROOM_PAUSE);
    while let Ok(offer) = offers.try_recv() {
        match offer.answer {
            Some(answer) => drop(answer.send(Answer::Full)),
            None => held.push_back(offer),
        }
    }
    core.blocking_send(Message::Tick).is_ok()
}

/// A record that makes soard panic harms only itself: it is quarantined.
fn survive(bundle: &Bundle, record: Record, pinned: Option<&str>) -> Prepared {
    let copy = record.clone();
    let work = std::panic::AssertUnwindSafe(|| prepare(bundle, record, pinned));
    std::panic::catch_unwind(work).unwrap_or_else(|_| {
        let cause = "a fault of soard itself: the record made it panic; the log says where".into();
        Prepared::Input(Input::Refused { record: copy, cause }, Vec::new())
    })
}
