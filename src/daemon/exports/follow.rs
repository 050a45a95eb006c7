//! One export's task: reads behind its cursor, hands batches to its peer until they are taken, and only then moves the cursor.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::actions::peer::{Batch, Piece, Refusal};
use crate::actions::retry::next_attempt;
use crate::actions::settings::exports::Export;
use crate::daemon::exports::cursor::{Cursor, Mark, Spooled};
use crate::daemon::exports::pace::Pace;
use crate::daemon::exports::page::{Page, PageError, read};
use crate::daemon::exports::snapshot::{self, Sending};
use crate::daemon::exports::{Following, Standing};
use crate::daemon::fault::{self, Fault};
use crate::daemon::{clock, stop};
use crate::domain::effect::EffectKey;

/// How often the journal is looked at for new entries: what comes in between goes together.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often a cursor is written that only passed entries without notices.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after a fault of the journal, the index or the disk.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// It is time to end.
struct Stopped;

/// The task.
pub(super) struct Task {
    pub(super) following: Arc<Following>,
    pub(super) settings: Export,
    pub(super) state: PathBuf,
    pub(super) cursor: Cursor,
    /// The cursor has moved since it was written.
    pub(super) moved: bool,
    pub(super) fault: Option<Fault>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) saved: Instant,
    pub(super) pace: Pace,
}

impl Task {
    pub(super) fn new(
        following: Arc<Following>,
        settings: Export,
        state: PathBuf,
        cursor: Cursor,
        fault: Option<Fault>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (moved, saved, pace) = (false, Instant::now(), Pace::default());
        Self { following, settings, state, cursor, moved, fault, stop, saved, pace }
    }

    /// Until it is told to stop.
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            if let Err(Stopped) = self.turn().await {
                break;
            }
        }
        if self.moved {
            let _ = self.write().await;
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.following.standing()
    }

    async fn turn(&mut self) -> Result<(), Stopped> {
        self.begin_snapshot().await?;
        let until = match &self.cursor.snapshot {
            Some(spooled) if self.cursor.mark.seq >= spooled.seq => return self.send_snapshot().await,
            Some(spooled) => spooled.seq,
            None => u64::MAX,
        };
        match read(&self.following.feed, self.cursor.mark.clone(), until, self.pace.most()).await {
            Ok(Some(page)) => self.pass_on(page).await,
            Ok(None) if self.cursor.snapshot.is_some() => self.align_or_wait().await,
            Ok(None) => self.rest().await,
            Err(PageError::Elsewhere) => self.align_or_wait().await,
            Err(error) => self.trouble(error.to_string()).await,
        }
    }

    /// Nothing to do for now.
    async fn rest(&mut self) -> Result<(), Stopped> {
        if self.cursor.mark.seq > self.following.feed.journal.head().seq {
            return self.align_or_wait().await;
        }
        if self.moved && self.saved.elapsed() >= SAVE_EVERY {
            self.save().await?;
        }
        self.standing().at_rest();
        self.wait(LOOK_EVERY).await
    }

    /// Sends a page's notices and moves the cursor behind it.
    async fn pass_on(&mut self, page: Page) -> Result<(), Stopped> {
        let Page { pieces, upto, first_at, missed } = page;
        self.standing().waiting_since = Some(first_at);
        if missed > 0 {
            let (export, after) = (&*self.cursor.export, self.cursor.mark.seq);
            tracing::warn!(export, missed, after, "entries of the journal were dropped before they were exported");
            self.standing().missed += missed;
        }
        if pieces.is_empty() {
            self.advance(upto);
            if self.saved.elapsed() >= SAVE_EVERY {
                self.save().await?;
            }
            return Ok(());
        }
        if self.fault == Some(Fault::MoveCursorEarly) {
            self.advance(upto.clone());
            self.save().await?;
            sleep(fault::GAP).await;
        }
        let log_head = format!("{}:{}", upto.seq, upto.hash);
        self.hand_over(&pieces, &log_head).await?;
        self.advance(upto);
        self.save().await
    }

    /// Hands notices over, one batch after the other, each until it is taken. One entry may have more notices than a batch.
    async fn hand_over(&mut self, mut pieces: &[Piece], log_head: &str) -> Result<(), Stopped> {
        let mut attempt = 0;
        while !pieces.is_empty() {
            let (first, rest) = pieces.split_at(self.pace.most().min(pieces.len()));
            attempt += 1;
            self.standing().doing = "sending";
            let batch = Batch { export: &self.cursor.export, pieces: first, log_head, now: clock::now() };
            // An attempt is bounded in time. One that is under way when the daemon stops is given up, and made again.
            let mut stop = self.stop.clone();
            let taken = tokio::select! {
                taken = async { self.following.peer.lock().await.take(batch).await } => taken,
                () = stop::told(&mut stop) => return Err(Stopped),
            };
            let Err(refusal) = taken else {
                self.taken(first.len() as u64, attempt);
                self.pace.taken();
                (pieces, attempt) = (rest, 0);
                continue;
            };
            let next = self.next_try(first, attempt, &refusal);
            self.refused(&refusal, attempt, next);
            // A smaller batch is another one; after mere failures the waits go on to grow.
            if self.pace.refused(&refusal, first.len()) && refusal.too_large {
                attempt = 0;
            }
            let wait = Duration::try_from(next.duration_since(clock::now())).unwrap_or_default();
            self.wait(wait).await?;
        }
        Ok(())
    }

    fn taken(&self, notices: u64, attempts: u32) {
        let export = &*self.cursor.export;
        if attempts > 1 {
            tracing::info!(export, attempts, "the export goes on");
        }
        let mut standing = self.standing();
        standing.sent += notices;
        (standing.failing, standing.next_try) = (0, None);
    }

    fn refused(&self, refusal: &Refusal, attempt: u32, next: Timestamp) {
        let (export, why) = (&*self.cursor.export, &*refusal.why);
        if attempt == 1 {
            tracing::warn!(export, why, "notices were not taken; they are sent again until they are");
        }
        let mut standing = self.standing();
        standing.failed += 1;
        standing.failing += 1;
        (standing.doing, standing.next_try) = ("waiting", Some(next));
        standing.last_error = Some(refusal.why.clone());
    }

    /// When a batch is sent again. An export has one batch at a time, so waiting does what a breaker does for destinations.
    fn next_try(&self, pieces: &[Piece], attempt: u32, refusal: &Refusal) -> Timestamp {
        let key = EffectKey::of_trial(&self.cursor.export, pieces.first().map_or(0, |piece| piece.seq));
        let now = clock::now();
        next_attempt(&self.settings.schedule, &key, attempt, now, refusal.after).unwrap_or(now)
    }

    fn advance(&mut self, to: Mark) {
        if to.seq > self.cursor.mark.seq {
            self.cursor.advance(to);
            self.moved = true;
        }
    }

    /// Writes the cursor, again and again until the disk takes it: notices are never passed on without that.
    async fn save(&mut self) -> Result<(), Stopped> {
        while let Err(error) = self.write().await {
            self.trouble(format!("cannot write the cursor: {error}")).await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> io::Result<()> {
        let (cursor, state) = (self.cursor.clone(), self.state.clone());
        let written = tokio::task::spawn_blocking(move || cursor.write(&state)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        (self.moved, self.saved) = (false, Instant::now());
        self.standing().durable(&self.cursor);
        Ok(())
    }

    /// Something of our own is in the way, and may not be soon.
    async fn trouble(&self, why: String) -> Result<(), Stopped> {
        let export = &*self.cursor.export;
        {
            let mut standing = self.standing();
            if standing.last_error.as_ref() != Some(&why) {
                tracing::warn!(export, why, "the export waits");
            }
            (standing.doing, standing.last_error) = ("waiting", Some(why));
        }
        self.wait(AGAIN_AFTER).await
    }

    /// The journal does not know the entry that the cursor names: back to the last one that both know.
    async fn align_or_wait(&mut self) -> Result<(), Stopped> {
        let (mut cursor, journal) = (self.cursor.clone(), self.following.feed.journal.clone());
        let aligned = tokio::task::spawn_blocking(move || cursor.align(&journal).map(|moved| (moved, cursor))).await;
        match aligned {
            Ok(Ok((true, cursor))) => {
                let (export, before, after) = (&*self.cursor.export, self.cursor.mark.seq, cursor.mark.seq);
                tracing::error!(
                    export,
                    before,
                    after,
                    "the journal is another one than the export has read; it goes on behind the last entry that both know"
                );
                self.standing().set_back += 1;
                self.cursor = cursor;
                self.cursor.snapshot = None;
                self.save().await
            }
            Ok(Ok((false, _))) => self.wait(LOOK_EVERY).await,
            Ok(Err(error)) => self.trouble(format!("cannot read the journal: {error}")).await,
            Err(died) => std::panic::resume_unwind(died.into_panic()),
        }
    }

    /// Sets a snapshot aside when it is time for one.
    async fn begin_snapshot(&mut self) -> Result<(), Stopped> {
        let Some(calendar) = &self.settings.snapshot else { return Ok(()) };
        let now = clock::now();
        if self.cursor.snapshot.is_some() || calendar.next(self.cursor.snapshot_at) > now {
            return Ok(());
        }
        let (feed, from) = (self.following.feed.clone(), self.cursor.mark.seq);
        let path = snapshot::path(&self.state, &self.cursor.export);
        let taken = tokio::task::spawn_blocking(move || {
            feed.index.wait_for(from, AGAIN_AFTER);
            snapshot::take(&feed, &path, now)
        });
        match taken.await {
            Ok(Ok(spooled)) if spooled.seq < from => {
                self.trouble(format!("the snapshot waits for the index, which is at entry {}", spooled.seq)).await
            }
            Ok(Ok(spooled)) => {
                let (export, entry, alerts) = (&*self.cursor.export, spooled.seq, spooled.alerts);
                tracing::info!(export, entry, alerts, "a snapshot is sent");
                (self.cursor.snapshot, self.cursor.snapshot_at) = (Some(spooled), now);
                self.save().await
            }
            Ok(Err(error)) => self.trouble(error.to_string()).await,
            Err(died) => std::panic::resume_unwind(died.into_panic()),
        }
    }

    /// Sends what was set aside, from where the peer is on.
    async fn send_snapshot(&mut self) -> Result<(), Stopped> {
        let Some(spooled) = self.cursor.snapshot.clone() else { return Ok(()) };
        let path = snapshot::path(&self.state, &self.cursor.export);
        let mut sending = match self.aside(move || Sending::open(&path, &spooled)).await {
            Ok(sending) => sending,
            Err(error) => return self.snapshot_anew(&error).await,
        };
        let log_head = format!("{}:{}", self.cursor.mark.seq, self.cursor.mark.hash);
        loop {
            let (feed, most) = (self.following.feed.clone(), self.pace.most());
            let read = self.aside(move || sending.batch(&feed, most).map(|pieces| (pieces, sending))).await;
            let pieces;
            (pieces, sending) = match read {
                Ok(read) => read,
                Err(error) => return self.snapshot_anew(&error).await,
            };
            if pieces.is_empty() {
                self.cursor.snapshot = None;
                self.save().await?;
                let _ = std::fs::remove_file(snapshot::path(&self.state, &self.cursor.export));
                tracing::info!(export = &*self.cursor.export, "the snapshot is whole");
                return Ok(());
            }
            self.hand_over(&pieces, &log_head).await?;
            if let Some(Spooled { done, .. }) = &mut self.cursor.snapshot {
                *done += pieces.len() as u64;
            }
            self.save().await?;
        }
    }

    /// What was set aside is gone or damaged: the next turn takes another.
    async fn snapshot_anew(&mut self, error: &io::Error) -> Result<(), Stopped> {
        let export = &*self.cursor.export;
        tracing::warn!(export, %error, "the snapshot cannot be read back; another one is taken");
        (self.cursor.snapshot, self.cursor.snapshot_at) = (None, Timestamp::UNIX_EPOCH);
        self.save().await
    }

    /// Does what blocks beside everything else.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()))
    }

    async fn wait(&self, patience: Duration) -> Result<(), Stopped> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep(patience) => Ok(()),
            () = stop::told(&mut stop) => Err(Stopped),
        }
    }
}
