//! Peers: who takes the notices of an export. A batch is taken or it is not; what was not is sent again, so the peer may
//! get notices twice and never misses one.
//!
//! Taken means: in a file, synced; over HTTP, answered 2xx; by syslog, which has no answers, that the server closed the connection
//! after we said that we had sent all, having read to the end.

mod file;
mod http;
mod syslog;

use std::fmt::Write;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::actions::peer::file::GrowingFile;
use crate::actions::peer::http::Endpoint;
use crate::actions::peer::syslog::Relay;
use crate::actions::settings::exports::Export;
use crate::actions::settings::exports::peer::PeerSettings;
use crate::actions::trial::Stages;
use crate::domain::alert::Severity;
use crate::domain::export::Format;
use crate::domain::id::AlertId;
use crate::domain::secret::{Secret, SecretRef};
use crate::domain::time::Span;

/// Bytes of the body's digest in a batch's key.
const KEY_DIGEST_BYTES: usize = 16;

/// One notice as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Sequence number of the entry that it tells of.
    pub seq: u64,
    /// Its number among the notices of that entry.
    pub n: u64,
    /// What it is, in a word.
    pub sort: &'static str,
    /// It belongs to a snapshot.
    pub is_snapshot: bool,
    /// The alert.
    pub alert: Option<AlertId>,
    /// How bad that is.
    pub severity: Option<Severity>,
    /// When.
    pub at: Timestamp,
    /// The notice on one line, without its end.
    pub line: String,
}

/// Some notices, in order; at least one.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Name of the export.
    pub export: &'a str,
    /// The notices.
    pub pieces: &'a [Piece],
    /// `SEQ:HASH` of the last entry that they tell of.
    pub log_head: &'a str,
    /// The time of this attempt.
    pub now: Timestamp,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In one line.
    pub why: String,
    /// How long the peer asks to wait.
    pub after: Option<Span>,
    /// The peer takes no batch of this size.
    pub too_large: bool,
    /// The peer has said clearly that it does not take this, or not now; otherwise it may have been too slow.
    pub is_clear: bool,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, after: None, too_large: false, is_clear: false }
    }
}

/// Who takes the notices, ready to be given some.
pub struct Peer {
    kind: Kind,
    format: Format,
}

enum Kind {
    File(GrowingFile),
    Http(Box<Endpoint>),
    Syslog(Box<Relay>),
}

impl Peer {
    /// Resolves the secrets and makes the peer ready; opens nothing yet.
    ///
    /// # Errors
    /// Why it cannot be made ready, never with a secret.
    pub fn new(export: &Export, secrets: &dyn Fn(&SecretRef) -> Result<Secret, String>) -> Result<Self, String> {
        // Fails only when a provider is installed already, and then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kind = match &export.peer {
            PeerSettings::File(file) => Kind::File(GrowingFile::new(file)),
            PeerSettings::Http(http) => Kind::Http(Box::new(Endpoint::new(http, export.format, secrets)?)),
            PeerSettings::Syslog(syslog) => Kind::Syslog(Box::new(Relay::new(syslog)?)),
        };
        Ok(Self { kind, format: export.format })
    }

    /// Hands a batch over; over a network within the peer's limits of time.
    ///
    /// # Errors
    /// Why it was not taken, or perhaps was.
    pub async fn take(&mut self, batch: Batch<'_>) -> Result<(), Refusal> {
        match &mut self.kind {
            // A write cannot be taken back, so it is waited for: a second one beside it would tear the lines of both.
            Kind::File(file) => file.append(batch).await.map_err(Refusal::from),
            Kind::Http(endpoint) => endpoint.post(batch).await,
            Kind::Syslog(relay) => relay.send(batch, &mut Stages::default()).await.map_err(Refusal::from),
        }
    }

    /// Hands one marked notice over, and notes each stage.
    pub async fn try_out(&mut self, batch: Batch<'_>, stages: &mut Stages) {
        match &mut self.kind {
            Kind::File(file) => match file.append(batch).await {
                Ok(()) => stages.good("write", file.path().display()),
                Err(why) => stages.bad("write", why),
            },
            Kind::Http(endpoint) => {
                if endpoint.reach(stages).await {
                    match endpoint.post(batch).await {
                        Ok(()) => stages.good("request", "it was taken"),
                        Err(refusal) => stages.bad("request", refusal.why),
                    }
                }
            }
            Kind::Syslog(relay) => drop(relay.send(batch, stages).await),
        }
    }

    /// Longest line that it takes.
    pub const fn line_bytes_max(&self) -> Option<usize> {
        match &self.kind {
            Kind::Syslog(relay) => Some(relay.line_bytes_max()),
            Kind::File(_) | Kind::Http(_) => None,
        }
    }

    /// In which form its notices are.
    pub const fn format(&self) -> Format {
        self.format
    }
}

impl Batch<'_> {
    /// The lines, each with its end.
    fn lines(&self) -> String {
        let mut text = String::with_capacity(self.pieces.iter().map(|piece| piece.line.len() + 1).sum());
        for piece in self.pieces {
            text.push_str(&piece.line);
            text.push('\n');
        }
        text
    }

    /// Marks the batch: the export's name, the first and the last notice by entry and number, and what its body hashes to.
    fn key(&self, body: &[u8]) -> String {
        let ends = self.pieces.first().zip(self.pieces.last());
        let at = |piece: &Piece| (piece.seq, piece.n);
        let ((first, first_n), (last, last_n)) =
            ends.map_or_else(Default::default, |(first, last)| (at(first), at(last)));
        let mut key = format!("{}-{first}-{first_n}-{last}-{last_n}-", self.export);
        for byte in &Sha256::digest(body)[..KEY_DIGEST_BYTES] {
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_one_snapshot_have_keys_of_their_own() {
        let piece = |n| Piece {
            seq: 7,
            n,
            sort: "alert",
            is_snapshot: true,
            alert: None,
            severity: None,
            at: Timestamp::UNIX_EPOCH,
            line: "{}".into(),
        };
        let key = |pieces: &[Piece]| {
            Batch { export: "lake", pieces, log_head: "7:00", now: Timestamp::UNIX_EPOCH }.key(b"{}\n")
        };
        let first = key(&[piece(0), piece(1)]);
        assert_eq!(first, "lake-7-0-7-1-ca3d163bab055381827226140568f3be");
        assert_eq!(first, key(&[piece(0), piece(1)]), "the same batch, the same key");
        assert_ne!(first, key(&[piece(2), piece(3)]));
    }
}
