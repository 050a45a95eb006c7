//! Adapters that bring records in: followed files, drop folders, HTTP and standard input.
//!
//! A source knows nothing of formats and rules: it hands over bytes with their position and, where somebody waits
//! for it, passes on what became of them. What a source has read stands in the journal with what it gave, so a
//! source starts from [`StartPositions`] and keeps no state file of its own.

pub mod file;
pub mod folder;
#[cfg(test)]
mod hostile;
pub mod http;
pub mod intake;
mod lines;
mod settings;
pub mod split;
pub mod stdin;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch as signal;

use crate::domain::record::FilePosition;
use crate::sources::intake::{Closed, Counters, Intake};
use crate::yaml::node::Node;
use crate::yaml::reader::Faults;

/// One source of `soard.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its name.
    pub name: Arc<str>,
    /// The format that its records have; without it, the first format that recognises a record takes it.
    pub format: Option<String>,
    /// How its records come in.
    pub kind: Kind,
}

/// How a source's records come in.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A file that is followed.
    File(file::Settings),
    /// A folder into which files are dropped.
    Folder(folder::Settings),
    /// An endpoint of the HTTP server.
    Http(http::Settings),
    /// Standard input.
    Stdin,
}

impl Kind {
    /// The word in `soard.yaml`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Folder(_) => "folder",
            Self::Http(_) => "http",
            Self::Stdin => "stdin",
        }
    }
}

impl Settings {
    /// Takes relative paths as relative to `folder`: that of `soard.yaml`.
    pub fn rebase(&mut self, folder: &Path) {
        match &mut self.kind {
            Kind::File(file) => file.path = folder.join(&file.path),
            Kind::Folder(drop) => {
                drop.path = folder.join(&drop.path);
                if let folder::Done::Move { to } = &mut drop.done {
                    *to = folder.join(&*to);
                }
            }
            Kind::Http(http) => http.tokens.iter_mut().for_each(|token| token.rebase(folder)),
            Kind::Stdin => {}
        }
    }
}

/// Reads `sources:` of `soard.yaml`: a map of name to source.
pub fn read_settings(node: &Node, faults: &mut Faults) -> Vec<Settings> {
    settings::read(node, faults)
}

/// What the journal already holds of one source.
#[derive(Debug, Clone, Default)]
pub struct StartPositions {
    /// Position of the last record of a `file` source.
    pub file: Option<FilePosition>,
    /// How far the files of a `folder` source were read, by name and SHA-256 of the content in hex.
    pub folder: BTreeMap<(String, String), FolderProgress>,
}

/// How far a file of a folder was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderProgress {
    /// Index of the next record.
    pub next: u32,
    /// There is no next record.
    pub done: bool,
}

/// Why a source returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// Nothing more can come, and all that came is in the queue.
    Finished,
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The daemon's end of the intake is gone, though nobody told the source to stop.
    #[error("source {source_name}: cannot hand over records")]
    Closed {
        /// Which source.
        source_name: Arc<str>,
        /// Why.
        #[source]
        cause: Closed,
    },
    /// Part of the source died.
    #[error("source {source_name}: its reader died")]
    Died {
        /// Which source.
        source_name: Arc<str>,
        /// Why.
        #[source]
        cause: tokio::task::JoinError,
    },
    /// Standard input cannot be read.
    #[error("source {source_name}: cannot read standard input")]
    Stdin {
        /// Which source.
        source_name: Arc<str>,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The HTTP server cannot listen.
    #[error("cannot listen on {address} for http sources")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// Runs one source until `stop` turns true or nothing more can come. The records of an `http` source come by
/// [`http::Server`], which serves them all; here such a source only waits.
///
/// # Errors
/// When the source cannot go on: the daemon then stops. What may pass, such as a missing file, is waited for.
pub async fn run(
    settings: Settings,
    start: StartPositions,
    intake: Intake,
    counters: Arc<Counters>,
    mut stop: signal::Receiver<bool>,
) -> Result<Ended, SourceError> {
    let name = settings.name;
    match settings.kind {
        Kind::File(file) => file::run(name, file, start.file, intake, counters, stop).await,
        Kind::Folder(folder) => folder::run(name, folder, start.folder, intake, counters, stop).await,
        Kind::Stdin => stdin::run(name, tokio::io::stdin(), intake, counters, stop).await,
        Kind::Http(_) => {
            stopped(&mut stop).await;
            Ok(Ended::Stopped)
        }
    }
}

/// Waits until `stop` is true or its sender is gone.
async fn stopped(stop: &mut signal::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
