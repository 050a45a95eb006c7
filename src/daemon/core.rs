//! The one thread that owns the state: input → decide → apply → journal; acknowledgements and tasks wait for the sync.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::daemon::auth::Gate;
use crate::daemon::bundle::Bundle;
use crate::daemon::clock::Steady;
use crate::daemon::fault::{self, Fault};
use crate::daemon::logged;
use crate::daemon::order::Ordered;
use crate::daemon::prepare::{self, Batch};
use crate::daemon::recent::{Recent, Written};
use crate::daemon::recipients::Known;
use crate::daemon::snapshot::Snapshots;
use crate::daemon::takes::{Lack, Takes};
use crate::daemon::told::Told;
use crate::domain::alert::{Severity, Status};
use crate::domain::approval::Approval;
use crate::domain::entry::{Entry, Facts, Log};
use crate::domain::hold::Hold;
use crate::domain::id::AlertId;
use crate::domain::silence::Silence;
use crate::domain::time::Span;
use crate::domain::token::Token;
use crate::engine::apply::apply;
use crate::engine::decide::decide;
use crate::engine::fit::fit;
use crate::engine::holds::Holds;
use crate::engine::input::Input;
use crate::engine::leap::Leap;
use crate::engine::needs::Need;
use crate::engine::state::{Letter, State, Totals};
use crate::engine::tasks::{self, Task};
use crate::engine::triage::{self, Active};
use crate::journal::line::DATA_BYTES_MAX;
use crate::journal::notary::Signed;
use crate::journal::writer::Journal;
use crate::journal::{AppendError, Done, Draft, Receipt};
use crate::sources::intake::Answer;

/// What the core can be asked.
pub enum Message {
    /// Decide an input; the answer comes once its entry is durable.
    Input(Input, Option<oneshot::Sender<Answer>>),
    /// Decide several, in order.
    Batch(Batch),
    /// A timer may be due.
    Tick,
    /// Put a key on record, and do this on the writer's thread once the entry is durable.
    Key(Log, Signed),
    /// Take over a bundle that is checked and kept.
    Swap(Arc<Bundle>, oneshot::Sender<()>),
    /// Tell what there is.
    Report(oneshot::Sender<CoreReport>),
    /// Do what an operator orders.
    Order(Box<Ordered>),
    /// Sequence number of the entry that holds an alert's latest body.
    Body(AlertId, oneshot::Sender<Option<u64>>),
    /// Which of these alerts are active, so many at most.
    Active(Vec<AlertId>, usize, oneshot::Sender<Active>),
    /// The silences that hold and those that ended last.
    Silences(oneshot::Sender<Vec<Silence>>),
    /// The tokens, revoked ones included.
    Tokens(oneshot::Sender<Vec<Token>>),
    /// The approvals that are open and those that were closed last.
    Approvals(oneshot::Sender<Vec<Approval>>),
    /// Who has got and wants which mails, and what waits for them.
    Recipients(oneshot::Sender<Known>),
    /// The bytes of a quarantined record, for another try.
    Quarantined(u64, oneshot::Sender<Option<u64>>),
    /// What retention has to know, when what has failed is kept for so long?
    Needs(Span, oneshot::Sender<Needs>),
    /// Put on record that segments are dropped, unless something has come to need them; how much failed work is given up
    /// with them, once that is durable?
    Drop(Box<Dropping>),
    /// The effects that ended without success and can be sent again, by the number of their `result` entry.
    Letters(oneshot::Sender<Vec<(u64, Letter)>>),
    /// Close the journal and end.
    Stop,
}

/// What retention has to know.
pub struct Needs {
    /// What needs the earliest entry.
    pub first: Option<Need>,
    /// The last entry that was dropped; 0: none.
    pub dropped: u64,
    /// The time by which to judge ages.
    pub now: Timestamp,
    /// What has failed since is still needed.
    pub held: Timestamp,
    /// The clock leapt, and is not believed yet.
    pub leap: Option<Leap>,
}

/// Segments to drop.
pub struct Dropping {
    /// What the entry says, but for what is given up.
    pub log: Log,
    /// What has failed since is still needed.
    pub held: Timestamp,
    /// Gets the number of runs and of letters that were given up; nothing when the segments stay.
    pub done: oneshot::Sender<(usize, usize)>,
}

/// What the state says about itself, for `soard status`.
#[derive(Debug, Clone, Default)]
pub struct CoreReport {
    /// Sequence number of the last entry.
    pub seq: u64,
    /// The clock leapt, and is not believed yet where ages are judged.
    pub leap: Option<Leap>,
    /// Seconds that the time of entries is ahead of the wall clock, where that is worth telling.
    pub ahead_secs: u64,
    /// There is room for new alerts.
    pub room: bool,
    /// Too many runs are open for new alerts.
    pub runs_full: bool,
    /// Entries that are not durable yet.
    pub unwritten: u64,
    /// Those of them that wait for a full disk.
    pub waiting: u64,
    /// Records that are held until there is room.
    pub held: usize,
    /// Retained alerts.
    pub alerts: usize,
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// Open ones by severity.
    pub by_severity: BTreeMap<String, u64>,
    /// Totals since the journal began.
    pub totals: Totals,
    /// The public key that signs checkpoints.
    pub signed_by: String,
    /// Open runs.
    pub runs: usize,
    /// Stalled runs that nobody has looked after yet.
    pub stalled: usize,
    /// Open groups.
    pub groups: usize,
    /// Silences that hold.
    pub silences: usize,
    /// Approvals that wait for somebody.
    pub approvals: usize,
    /// What is on hold.
    pub holds: Vec<Hold>,
    /// Quarantined records.
    pub quarantine: usize,
    /// Effects that ended without success and can be sent again.
    pub letters: usize,
    /// Effects without an outcome, by destination.
    pub flights: BTreeMap<String, u64>,
}

/// The core's own things; everything it shares goes through channels.
pub struct Core {
    /// The fold of the journal.
    pub state: State,
    /// The bundle in charge.
    pub bundle: Arc<Bundle>,
    /// Where entries go.
    pub journal: Journal,
    /// Who carries tasks out.
    pub tasks: mpsc::UnboundedSender<Task>,
    /// When the earliest timer is due.
    pub next_due: watch::Sender<Option<Timestamp>>,
    /// Told when the journal stops: the daemon must end.
    pub fatal: mpsc::UnboundedSender<String>,
    /// What stamps inputs.
    pub clock: Steady,
    /// A protection to leave out, in tests.
    pub fault: Option<Fault>,
    /// Whether new alerts are taken, as of the last message.
    pub takes: Arc<Takes>,
    /// Who knows the tokens over HTTP.
    pub gate: Arc<Gate>,
    /// Tells what is on hold to what sends.
    pub holds: watch::Sender<Arc<Holds>>,
    /// What waits within the core.
    pub pending: Pending,
    /// Who writes snapshots.
    pub snapshots: Snapshots,
    /// What was just written and sets something off.
    pub recent: Arc<Recent>,
}

/// What waits within the core.
#[derive(Default)]
pub struct Pending {
    /// Records that nobody waits for and that found no room, in their order. There are no more than the inbox held when
    /// the room went: `prepare` holds back the others.
    held: VecDeque<Input>,
    /// Entries that go to the journal together, once the message that they come from is served.
    entries: Vec<(Draft, Done)>,
}

impl Core {
    /// Runs until [`Message::Stop`], then closes the journal.
    ///
    /// # Errors
    /// Words for the log when the journal cannot be closed in good order.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Message>) -> Result<(), String> {
        self.announce();
        while let Some(message) = inbox.blocking_recv() {
            let at = self.clock.stamp();
            // What opens the journal stands before anything else of this daemon's life.
            if !matches!(message, Message::Input(Input::Log(_), _) | Message::Key(..)) {
                self.run_timers(at);
            }
            self.take_held(at);
            match message {
                Message::Input(input, answer) => self.input(at, input, answer),
                Message::Batch(batch) => batch.into_iter().for_each(|(input, answer)| self.input(at, input, answer)),
                Message::Tick => {}
                Message::Key(key, done) => drop(self.step(at, Input::Log(key), |fate| {
                    if fate.is_ok() {
                        done()
                    }
                })),
                Message::Swap(bundle, done) => self.swap(at, bundle, done),
                Message::Order(ordered) => self.order(at, *ordered),
                Message::Report(to) => drop(to.send(self.report())),
                Message::Body(alert, to) => drop(to.send(self.state.alerts.get(alert).map(|slot| slot.seq))),
                Message::Active(alerts, most, to) => drop(to.send(triage::active(&self.state, &alerts, most))),
                Message::Silences(to) => drop(to.send(self.state.silences.all().cloned().collect())),
                Message::Tokens(to) => drop(to.send(self.state.tokens.all().to_vec())),
                Message::Approvals(to) => drop(to.send(self.state.approvals.all().cloned().collect())),
                Message::Recipients(to) => drop(to.send(self.recipients())),
                Message::Quarantined(record_no, to) => drop(to.send(self.state.quarantine.get(&record_no).copied())),
                Message::Needs(hold, to) => drop(to.send(self.needs(hold))),
                Message::Drop(ask) => self.drop_segments(at, *ask),
                Message::Letters(to) => drop(to.send(self.state.letters.clone().into_iter().collect())),
                Message::Stop => break,
            }
            self.hand_over();
            self.announce();
        }
        if !self.pending.held.is_empty() {
            tracing::error!(
                records = self.pending.held.len(),
                "records of sources are not taken: there was no room for them"
            );
        }
        let at = self.clock.stamp();
        self.step(at, Input::Log(Log::Closed), |_| {});
        self.hand_over();
        let closed = self.journal.close().map_err(|error| error.to_string());
        self.snapshots.finish();
        closed
    }

    /// Due timers go before input.
    fn run_timers(&mut self, at: Timestamp) {
        while self.state.next_due().is_some_and(|due| due <= at) {
            if !self.step(at, Input::Due, |_| {}) {
                break;
            }
        }
    }

    /// Takes what was held, once there is room.
    fn take_held(&mut self, at: Timestamp) {
        while !self.pending.held.is_empty() && self.has_room() {
            let input = self.pending.held.pop_front().expect("it is not empty");
            self.take(at, input, None);
        }
    }

    fn input(&mut self, at: Timestamp, input: Input, answer: Option<oneshot::Sender<Answer>>) {
        let is_record = matches!(input, Input::Intake(_) | Input::Refused { .. });
        // What is held goes first: records of one source stay in their order.
        let lack = if is_record { self.lack() } else { None };
        if !is_record || lack.is_none() && self.pending.held.is_empty() {
            return self.take(at, input, answer);
        }
        // A record that nobody waits for cannot be refused.
        match answer {
            None => self.pending.held.push_back(input),
            answer => reply(answer, lack.unwrap_or(Lack::Disk).answer()),
        }
    }

    fn take(&mut self, at: Timestamp, mut input: Input, answer: Option<oneshot::Sender<Answer>>) {
        if let Input::Intake(arrival) = &mut input
            && arrival.bundle != self.bundle.id
        {
            prepare::rematch(&self.bundle, arrival);
        }
        let cause = match &input {
            Input::Refused { cause, .. } => Some(cause.clone()),
            _ => None,
        };
        let Some(entry) = decide(&self.state, &self.bundle.rules, at, input) else {
            let why = cause.unwrap_or_else(|| "nothing new".into());
            return reply(answer, Answer::Ignored { why });
        };
        self.commit(entry, move |told, receipt| reply(answer, told.answer(receipt)));
    }

    fn swap(&mut self, at: Timestamp, bundle: Arc<Bundle>, done: oneshot::Sender<()>) {
        let facts = bundle.facts();
        self.bundle = bundle;
        self.step(at, Input::Bundle(facts), move |receipt| {
            if receipt.is_ok() {
                let _ = done.send(());
            }
        });
    }

    fn needs(&self, hold: Span) -> Needs {
        let (now, leap) = self.clock.believed(self.state.leap);
        let held = hold.before(now);
        Needs { first: self.state.first_need(held), dropped: self.state.dropped, now, held, leap }
    }

    fn drop_segments(&mut self, at: Timestamp, Dropping { mut log, held, done }: Dropping) {
        let Log::Dropped { segments, runs, letters, .. } = &mut log else { return };
        let last = segments.last().map_or(u64::MAX, |seal| seal.last);
        if last >= self.state.needed(held) {
            return;
        }
        (*runs, *letters) = self.state.given_up(last);
        let given_up = (runs.len(), letters.len());
        self.step(at, Input::Log(log), move |receipt| {
            if receipt.is_ok() {
                let _ = done.send(given_up);
            }
        });
    }

    /// Decides and commits; `false` when the input said nothing new.
    pub(super) fn step(
        &mut self,
        at: Timestamp,
        input: Input,
        done: impl FnOnce(&Result<Receipt, AppendError>) + Send + 'static,
    ) -> bool {
        let entry = decide(&self.state, &self.bundle.rules, at, input);
        entry.map(|entry| self.commit(entry, |_, receipt| done(receipt))).is_some()
    }

    /// Applies an entry that fits the journal, lays it ready for it, and acts once it is durable.
    fn commit(&mut self, entry: Entry, done: impl FnOnce(Told, &Result<Receipt, AppendError>) + Send + 'static) {
        let (entry, data) = fit(entry, DATA_BYTES_MAX);
        apply(&mut self.state, &entry);
        logged::entry(&entry);
        let stops = matches!(entry.facts, Facts::Log(Log::Closed));
        let snapshot = self.snapshots.take(&self.state, stops);
        let (tasks, told) = (tasks::of(&self.state, &entry), Told::of(&entry));
        let draft = Draft { at: entry.at, kind: entry.facts.kind(), data };
        let too_early = self.acts_too_early(&entry);
        let seq = entry.seq;
        let written =
            (!tasks.is_empty()).then(|| Arc::new(Written { entry, bytes: draft.data.len(), hash: OnceLock::new() }));
        if let Some(written) = &written {
            self.recent.keep(written.clone());
        }
        let (to, fatal) = (self.tasks.clone(), self.fatal.clone());
        let act = move |receipt: &Result<Receipt, AppendError>| {
            done(told, receipt);
            if let (Some(write), Ok(receipt)) = (snapshot, receipt) {
                write(receipt);
            }
            match receipt {
                Ok(receipt) => {
                    written.map(|written| written.hash.set(receipt.hash.clone()));
                    tasks.into_iter().for_each(|task| drop(to.send(task)));
                }
                Err(error) => drop(fatal.send(format!("the journal stopped: {error}"))),
            }
        };
        if too_early {
            act(&Ok(Receipt { seq, hash: String::new() }));
            std::thread::sleep(fault::GAP);
            self.pending.entries.push((draft, Box::new(|_| {})));
        } else {
            self.pending.entries.push((draft, Box::new(move |receipt| act(&receipt))));
        }
    }

    fn hand_over(&mut self) {
        if !self.pending.entries.is_empty() {
            self.journal.append_all(self.pending.entries.drain(..));
        }
    }

    fn acts_too_early(&self, entry: &Entry) -> bool {
        self.fault == Some(Fault::AcknowledgeBeforeWrite) && matches!(entry.facts, Facts::Intake(_))
    }

    /// Why new alerts are not taken now.
    fn lack(&self) -> Option<Lack> {
        let journal = self.journal.room();
        let lack = match (journal.is_there(), self.takes.are_too_many(self.state.runs.len(), self.fault)) {
            (false, _) => Some(Lack::Disk),
            (true, true) => Some(Lack::Runs),
            (true, false) => None,
        };
        let before = self.takes.set(lack);
        if before != lack {
            logged::takes(before, lack, journal.waiting(), self.state.runs.len());
        }
        lack
    }

    fn has_room(&self) -> bool {
        self.lack().is_none()
    }

    fn announce(&self) {
        // Without room the timer asks for another look each second.
        let next = if self.has_room() { self.state.next_due() } else { Some(self.state.at) };
        self.next_due.send_if_modified(|known| std::mem::replace(known, next) != next);
    }

    fn report(&self) -> CoreReport {
        let mut report = CoreReport {
            seq: self.state.seq,
            leap: self.clock.believed(self.state.leap).1,
            ahead_secs: self.clock.ahead().map_or(0, |ahead| ahead.as_secs().unsigned_abs()),
            room: self.journal.room().is_there(),
            runs_full: self.takes.lack() == Some(Lack::Runs),
            unwritten: self.state.seq.saturating_sub(self.journal.reader().head().seq),
            waiting: self.journal.room().waiting(),
            held: self.pending.held.len(),
            alerts: self.state.alerts.len(),
            totals: self.state.totals.clone(),
            signed_by: self.state.signed_by.clone(),
            runs: self.state.runs.len(),
            stalled: self.state.halted.values().filter(|halted| halted.stalled).count(),
            groups: self.state.groups.len(),
            silences: self.state.silences.active(self.clock.now()).count(),
            approvals: self.state.approvals.open(),
            holds: self.state.holds.all().to_vec(),
            quarantine: self.state.quarantine.len(),
            letters: self.state.letters.len(),
            ..CoreReport::default()
        };
        let mut statuses = [0_u64; Status::ALL.len()];
        let mut severities = [0_u64; Severity::ALL.len()];
        for slot in self.state.alerts.iter() {
            statuses[slot.status as usize] += 1;
            if slot.status.is_open() {
                severities[slot.severity as usize] += 1;
            }
        }
        report.by_status = Status::ALL.iter().zip(statuses).map(|(s, n)| (s.to_string(), n)).collect();
        report.by_severity = Severity::ALL.iter().zip(severities).map(|(s, n)| (s.to_string(), n)).collect();
        for flight in self.state.flights.values() {
            *report.flights.entry(flight.destination.clone()).or_default() += 1;
        }
        report
    }
}

fn reply(to: Option<oneshot::Sender<Answer>>, answer: Answer) {
    if let Some(to) = to {
        let _ = to.send(answer);
    }
}
