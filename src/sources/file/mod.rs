//! Follows a file of JSON Lines through rotation, truncation, replacement and restarts: each line once.
//!
//! What is certain:
//! - A line is handed over when its line end is there. The last line of a file that was rotated away is handed over
//!   without one, and counted in `half_lines`.
//! - A renamed file is read until it was quiet for [`QUIET`] after its successor appeared, then its successors in the
//!   order of their birth; those that came and went while nobody looked are found by name (`NAME.1`,
//!   `NAME-20260101`, `STEM-2026-01-01.EXT`).
//! - Copy-and-truncate loses nothing while the copy lies beside the file and the writer pauses for the copying.
//! - After a restart the file is known again by inode, first KiB and the bytes before the position, wherever it lies
//!   in the folder. The device number may differ: it is not stable across reboots.
//!
//! What nobody can see: a file replaced by one with the same beginning and the same bytes before the position, and
//! lines that were compressed or deleted before they were read. Where a continuation is not found after a restart,
//! the new file is read from its beginning and `gaps` counts it.

mod follower;
mod generation;
mod siblings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as signal;

use crate::domain::record::{FilePosition, Record};
use crate::sources::file::follower::Follower;
use crate::sources::intake::{Counters, Intake};
use crate::sources::watch::Watch;
use crate::sources::{Ended, SourceError, stopped};

/// How often the file is looked at when no event came.
pub const POLL: Duration = Duration::from_secs(1);

/// How long a renamed file must be quiet before its successor is read.
pub const QUIET: Duration = Duration::from_secs(5);

/// A followed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it lies.
    pub path: PathBuf,
    /// Where to begin in a file that is there before soard first looks.
    pub start: Start,
    /// How often to look when no event came.
    pub poll: Duration,
    /// How long a renamed file must be quiet before its successor is read.
    pub quiet: Duration,
}

/// Where to begin in a file that is there before soard first looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At its first line.
    #[default]
    Beginning,
    /// After its last line. What came before the first record is skipped again after a restart.
    End,
}

impl std::str::FromStr for Start {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            _ => Err(()),
        }
    }
}

/// Follows the file until `stop` turns true, from the last position that the journal holds.
pub(super) async fn run(
    name: Arc<str>,
    settings: Settings,
    from: Option<FilePosition>,
    intake: Intake,
    counters: Arc<Counters>,
    mut stop: signal::Receiver<bool>,
) -> Result<Ended, SourceError> {
    let follow = async {
        let mut watch = Watch::new(folder_of(&settings.path));
        let mut follower = Follower::new(name.clone(), &settings, from, counters.clone());
        loop {
            let now = tokio::time::Instant::now().into_std();
            let stepped = tokio::task::spawn_blocking(move || {
                let step = follower.step(now);
                (follower, step)
            });
            let (back, step) = stepped.await.map_err(|cause| died(&name, cause))?;
            follower = back;
            for record in step.records {
                hand_over(&name, record, &intake, &counters).await?;
            }
            if !step.more {
                watch.wait(settings.poll).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stopped(&mut stop) => Ok(Ended::Stopped),
        ended = follow => ended,
    }
}

fn died(name: &Arc<str>, cause: tokio::task::JoinError) -> SourceError {
    SourceError::Died { source_name: name.clone(), cause }
}

async fn hand_over(name: &Arc<str>, record: Record, intake: &Intake, counters: &Counters) -> Result<(), SourceError> {
    counters.record(record.bytes.len());
    intake.send(record).await.map_err(|cause| SourceError::Closed { source_name: name.clone(), cause })
}

/// The folder that a file lies in; a bare name lies in the working directory.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
