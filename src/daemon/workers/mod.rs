//! Evaluates runs in worker processes of the same binary, so that a script that eats memory, overflows the stack or
//! spins harms its own run only.
//!
//! Two lanes. The quick lane takes batches and gives each a moment. What is not done by then, or brings its worker
//! down, goes alone to the slow lane, whose workers have low priority and give it time; there its next evaluations
//! go at once. Evaluations are pure: killing one and doing it again elsewhere changes nothing. A run whose worker
//! died twice fails.

pub mod inside;
pub mod process;
pub mod sandbox;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::bundle::Bundle;
use crate::daemon::report::WorkersReport;
use crate::daemon::workers::process::{Broken, Process, Time};
use crate::daemon::workers::wire::Job;
use crate::playbooks::evaluate::Evaluated;

/// Processes of each lane, at most.
const PROCESSES: usize = 2;
/// Effects that may wait for their turn before runs that have not begun are held back a moment: what was asked for goes
/// out while it is still in memory.
const AHEAD_MAX: usize = 512;
/// How long they are held back at most; a destination that takes nothing must not keep others waiting.
const AHEAD_PAUSE: Duration = Duration::from_millis(20);
/// Jobs in one batch of the quick lane.
const BATCH_MAX: usize = 32;
/// Of so many turns one is for a run's first evaluation, when others go on.
const FIRST_EACH: usize = 4;
/// Bytes in one batch; a larger job travels alone.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// What a batch of the quick lane may take.
const QUICK_MAX: Time = Time { cpu: Duration::from_millis(60), clock: Duration::from_secs(1) };
/// What an evaluation of the slow lane may take. Only a machine that stands still needs this, since the worker bounds its
/// own processor time more closely.
const SLOW_MAX: Time = Time { cpu: Duration::from_secs(60), clock: Duration::from_mins(5) };
/// How long a worker without work is kept.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Workers that may die of one evaluation before it fails.
const DEATHS_MAX: u8 = 2;
/// Niceness of the slow lane's workers.
const SLOW_NICE: i32 = 19;
/// How often a worker's start is tried when the system gives no process.
const STARTS_MAX: u32 = 20;
/// How long to wait between these.
const START_PAUSE: Duration = Duration::from_millis(500);
/// Playbooks remembered as slow.
const SLOW_KNOWN_MAX: usize = 1_000;

/// One evaluation to do.
pub trait Work: Send + 'static {
    /// Bundle and playbook: what is remembered as slow.
    fn script(&self) -> (String, String);

    /// Whether the run has been evaluated before.
    fn goes_on(&self) -> bool;

    /// The bundle, and the job as a worker gets it; `None` when that cannot be had and the work said so itself.
    fn job(&self) -> Option<(Arc<Bundle>, Job)>;

    /// Takes the answer.
    fn done(self: Box<Self>, answer: Result<Evaluated, Crash>);
}

/// An evaluation that no worker survived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash(pub String);

/// What the pool did since the daemon started.
#[derive(Debug, Default)]
struct Counts {
    running: AtomicU64,
    started: AtomicU64,
    died: AtomicU64,
    late: AtomicU64,
    lacks: Mutex<BTreeSet<String>>,
}

/// The pool.
pub struct Workers {
    quick: Lane,
    slow: Lane,
    known_slow: Mutex<BTreeSet<(String, String)>>,
    counts: Counts,
    /// Called when no worker can be started at all.
    dies: Box<dyn Fn(&str) + Send + Sync>,
}

struct Lane {
    speed: Speed,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Effects that wait for their turn; only the quick lane is told.
    ahead: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    /// Evaluations of runs that go on, and what broken batches left. They go before others: what has begun is ended
    /// before more is begun, so that little is under way at a time.
    going_on: VecDeque<Item>,
    /// First evaluations. Each [`FIRST_EACH`]th turn is theirs, however many runs go on.
    first: VecDeque<Item>,
    turns: usize,
    closed: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.going_on.is_empty() && self.first.is_empty()
    }

    /// The next one that `fits`.
    fn pop(&mut self, fits: impl Fn(&Item) -> bool) -> Option<Item> {
        let firsts_turn = self.turns.is_multiple_of(FIRST_EACH) && !self.first.is_empty();
        let queue = if firsts_turn || self.going_on.is_empty() { &mut self.first } else { &mut self.going_on };
        let next = queue.pop_front_if(|item| fits(item));
        self.turns += usize::from(next.is_some());
        next
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speed {
    Quick,
    Slow,
}

struct Item {
    work: Box<dyn Work>,
    deaths: u8,
    /// Its batch broke: the next try is without company, to see whose fault it was.
    alone: bool,
}

/// An item with what the worker gets of it.
struct Ready {
    item: Item,
    bundle: Arc<Bundle>,
    job: Job,
}

impl Workers {
    /// Starts the threads that look after the processes; a process starts with the first work.
    pub fn start(dies: impl Fn(&str) + Send + Sync + 'static) -> Arc<Self> {
        let workers = Arc::new(Self {
            quick: Lane::new(Speed::Quick),
            slow: Lane::new(Speed::Slow),
            known_slow: Mutex::default(),
            counts: Counts::default(),
            dies: Box::new(dies),
        });
        // What is slow must leave room for the rest: a spinning script on each of two processors would not.
        let slow = (thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, PROCESSES);
        for (speed, processes) in [(Speed::Quick, PROCESSES), (Speed::Slow, slow)] {
            for n in 0..processes {
                let own = workers.clone();
                let name = format!("{}-{n}", if speed == Speed::Quick { "quick" } else { "slow" });
                let body = move || {
                    if catch_unwind(AssertUnwindSafe(|| own.keep(speed))).is_err() {
                        (own.dies)("a thread that looks after a worker died");
                    }
                };
                let thread = thread::Builder::new().name(name).spawn(body);
                thread.expect("the system gives the daemon a thread at start");
            }
        }
        workers
    }

    /// Takes work; the answer comes on another thread.
    pub fn evaluate(&self, work: Box<dyn Work>) {
        let is_slow = locked(&self.known_slow).contains(&work.script());
        let lane = if is_slow { &self.slow } else { &self.quick };
        lane.push([Item { work, deaths: 0, alone: false }], false);
    }

    /// Told how many effects wait for their turn.
    pub fn effects_wait(&self, count: usize) {
        let before = self.quick.ahead.swap(count, Ordering::Relaxed);
        if before > AHEAD_MAX / 2 && count <= AHEAD_MAX / 2 {
            self.quick.wake.notify_all();
        }
    }

    /// What they did, for `soard status`.
    pub fn report(&self) -> WorkersReport {
        let Counts { running, started, died, late, lacks } = &self.counts;
        let [running, started, died, late] = [running, started, died, late].map(|count| count.load(Ordering::Relaxed));
        WorkersReport { running, started, died, late, lacks: locked(lacks).iter().cloned().collect() }
    }

    /// Ends the processes once they are done with what they have; what waits is dropped, since the journal knows it.
    pub fn stop(&self) {
        for lane in [&self.quick, &self.slow] {
            let mut queue = locked(&lane.queue);
            *queue = Queue { closed: true, ..Queue::default() };
            lane.wake.notify_all();
        }
    }

    fn lane(&self, speed: Speed) -> &Lane {
        match speed {
            Speed::Quick => &self.quick,
            Speed::Slow => &self.slow,
        }
    }

    fn keep(&self, speed: Speed) {
        let lane = self.lane(speed);
        let mut process = None;
        loop {
            match lane.take(process.is_some()) {
                Some(items) if items.is_empty() => drop(self.ended(&mut process)),
                Some(items) => self.serve(speed, &mut process, items),
                None => return drop(self.ended(&mut process)),
            }
        }
    }

    fn ended(&self, process: &mut Option<Process>) -> Option<String> {
        self.counts.running.fetch_sub(u64::from(process.is_some()), Ordering::Relaxed);
        process.take().map(Process::cause_of_death)
    }

    /// Has one batch evaluated.
    fn serve(&self, speed: Speed, process: &mut Option<Process>, items: Vec<Item>) {
        let mut ready = Vec::with_capacity(items.len());
        for item in items {
            if let Some((bundle, job)) = item.work.job() {
                ready.push(Ready { item, bundle, job });
            }
        }
        let mut bytes = 0;
        let too_many = ready.iter().position(|one| {
            bytes += one.job.bytes;
            bytes > BATCH_BYTES_MAX
        });
        let later = ready.split_off(too_many.map_or(ready.len(), |at| at.max(1)).min(ready.len()));
        self.lane(speed).push(later.into_iter().map(|one| one.item).rev(), true);
        if ready.is_empty() {
            return;
        }
        if process.as_ref().is_some_and(|running| ready.iter().any(|one| !running.has_room_for(&one.bundle.id))) {
            self.ended(process);
        }
        if process.is_none() {
            *process = self.start_process(speed);
        }
        let Some(running) = process.as_mut() else { return };
        let bundles: BTreeMap<String, Arc<Bundle>> =
            ready.iter().map(|one| (one.bundle.id.clone(), one.bundle.clone())).collect();
        let loaded = bundles.values().try_for_each(|bundle| running.load(bundle));
        let (mut items, jobs): (Vec<Item>, Vec<Job>) = ready.into_iter().map(|one| (one.item, one.job)).unzip();
        let begun = Instant::now();
        let (answers, broken) = match loaded {
            Ok(()) => running.evaluate(jobs, if speed == Speed::Quick { QUICK_MAX } else { SLOW_MAX }),
            Err(broken) => (Vec::new(), Err(broken)),
        };
        let unanswered = items.split_off(answers.len());
        for (item, answer) in items.into_iter().zip(answers) {
            self.answered(speed, item, answer, begun.elapsed());
        }
        if let Err(broken) = broken {
            let is_late = speed == Speed::Quick && matches!(broken, Broken::Late);
            let count = if is_late { &self.counts.late } else { &self.counts.died };
            count.fetch_add(1, Ordering::Relaxed);
            let cause = self.ended(process).unwrap_or_default();
            self.again(speed, unanswered, &broken, &cause);
            if speed == Speed::Quick {
                self.replace(process, &bundles);
            }
        }
    }

    /// A fresh worker that knows the bundles already, so that the next alert does not wait for either; until then
    /// the other workers of the lane take what comes.
    fn replace(&self, process: &mut Option<Process>, bundles: &BTreeMap<String, Arc<Bundle>>) {
        *process = self.start_process(Speed::Quick);
        let Some(running) = process.as_mut() else { return };
        if bundles.values().try_for_each(|bundle| running.load(bundle)).is_err() {
            self.ended(process);
        }
    }

    fn answered(&self, speed: Speed, item: Item, answer: Evaluated, took: Duration) {
        if speed == Speed::Slow && took < QUICK_MAX.cpu / 2 {
            locked(&self.known_slow).remove(&item.work.script());
        }
        item.work.done(Ok(answer));
    }

    /// What a broken batch leaves: each alone; the one that was alone has shown that it is slow or deadly.
    fn again(&self, speed: Speed, mut items: Vec<Item>, broken: &Broken, cause: &str) {
        if items.len() > 1 {
            items.iter_mut().for_each(|item| item.alone = true);
            return self.lane(speed).push(items, true);
        }
        let Some(mut item) = items.pop() else { return };
        let (bundle, playbook) = item.work.script();
        let late = matches!(broken, Broken::Late);
        if !(late && speed == Speed::Quick) {
            let cause = if late { "it took too long" } else { cause };
            tracing::warn!(bundle, playbook, cause, "a playbook brought its worker down");
            item.deaths += 1;
            if item.deaths >= DEATHS_MAX {
                let crash = format!("worker_crash: the script brought down {DEATHS_MAX} workers: {cause}");
                return item.work.done(Err(Crash(crash)));
            }
        }
        let mut known = locked(&self.known_slow);
        if known.len() >= SLOW_KNOWN_MAX {
            known.clear();
        }
        known.insert((bundle, playbook));
        drop(known);
        self.slow.push([item], false);
    }

    /// A fresh process. When the system gives none for long, the daemon ends rather than limps.
    fn start_process(&self, speed: Speed) -> Option<Process> {
        let nice = if speed == Speed::Quick { 0 } else { SLOW_NICE };
        let mut tries = 1;
        loop {
            match Process::start(nice) {
                Ok(process) => {
                    self.counts.running.fetch_add(1, Ordering::Relaxed);
                    self.counts.started.fetch_add(1, Ordering::Relaxed);
                    self.report_lacks(&process.lacks);
                    return Some(process);
                }
                Err(error) if tries == STARTS_MAX => {
                    (self.dies)(&format!("no worker for playbooks can be started: {error}"));
                    return None;
                }
                Err(error) => tracing::warn!(%error, "a worker for playbooks did not start"),
            }
            tries += 1;
            thread::sleep(START_PAUSE);
        }
    }

    fn report_lacks(&self, lacks: &[String]) {
        let mut known = locked(&self.counts.lacks);
        for lack in lacks {
            if known.insert(lack.clone()) {
                tracing::warn!(lack, "workers run without a protection that this system does not give");
            }
        }
    }
}

impl Lane {
    fn new(speed: Speed) -> Self {
        Self { speed, queue: Mutex::default(), wake: Condvar::new(), ahead: AtomicUsize::new(0) }
    }

    fn push(&self, items: impl IntoIterator<Item = Item>, first: bool) {
        let mut queue = locked(&self.queue);
        if queue.closed {
            return;
        }
        for item in items {
            if first {
                queue.going_on.push_front(item);
            } else if item.work.goes_on() {
                queue.going_on.push_back(item);
            } else {
                queue.first.push_back(item);
            }
            self.wake.notify_one();
        }
    }

    /// The next batch; empty when nothing came for so long that the process may go; `None` when it is over.
    fn take(&self, has_process: bool) -> Option<Vec<Item>> {
        let mut queue = locked(&self.queue);
        let mut held_back = false;
        loop {
            while queue.is_empty() && !queue.closed {
                if has_process {
                    let (back, idle) =
                        self.wake.wait_timeout(queue, IDLE_MAX).expect("nothing panics while it is held");
                    queue = back;
                    if idle.timed_out() && queue.is_empty() {
                        return Some(Vec::new());
                    }
                } else {
                    queue = self.wake.wait(queue).expect("nothing panics while it is held");
                }
            }
            if !held_back && self.ahead.load(Ordering::Relaxed) > AHEAD_MAX {
                held_back = true;
                // More runs that have not begun are no reason to go on.
                let waits = |queue: &mut Queue| {
                    !queue.closed && queue.going_on.is_empty() && self.ahead.load(Ordering::Relaxed) > AHEAD_MAX / 2
                };
                let held = self.wake.wait_timeout_while(queue, AHEAD_PAUSE, waits);
                queue = held.expect("nothing panics while it is held").0;
                continue;
            }
            let batch = self.batch(&mut queue);
            if !batch.is_empty() || queue.closed {
                return (!batch.is_empty()).then_some(batch);
            }
        }
    }

    fn batch(&self, queue: &mut Queue) -> Vec<Item> {
        let mut batch: Vec<Item> = queue.pop(|_| true).into_iter().collect();
        let together = self.speed == Speed::Quick && batch.first().is_some_and(|first| !first.alone);
        while together
            && batch.len() < BATCH_MAX
            && let Some(next) = queue.pop(|next| !next.alone)
        {
            batch.push(next);
        }
        batch
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is held")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run {
        goes_on: bool,
    }

    impl Work for Run {
        fn script(&self) -> (String, String) {
            ("b".into(), "p".into())
        }

        fn goes_on(&self) -> bool {
            self.goes_on
        }

        fn job(&self) -> Option<(Arc<Bundle>, Job)> {
            None
        }

        fn done(self: Box<Self>, _: Result<Evaluated, Crash>) {}
    }

    fn item(goes_on: bool) -> Item {
        Item { work: Box::new(Run { goes_on }), deaths: 0, alone: false }
    }

    #[test]
    fn runs_that_go_on_come_first_and_effects_that_never_leave_keep_no_run_for_ever() {
        let lane = Lane::new(Speed::Quick);
        lane.ahead.store(usize::MAX, Ordering::Relaxed);
        lane.push([item(false), item(true), item(false)], false);
        let goes_on: Vec<bool> = lane.take(true).unwrap().iter().map(|item| item.work.goes_on()).collect();
        // The first turn is a first evaluation's, as one in some is; then come those that go on.
        assert_eq!(goes_on, [false, true, false]);
        lane.push([item(false)], false);
        assert_eq!(lane.take(true).map(|batch| batch.len()), Some(1), "after a moment it goes all the same");
        *locked(&lane.queue) = Queue { closed: true, ..Queue::default() };
        assert!(lane.take(true).is_none(), "it is over");
    }
}
