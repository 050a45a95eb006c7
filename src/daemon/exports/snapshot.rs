//! Snapshots of all open alerts, each as of one entry of the journal.
//!
//! The alerts are set aside in a file first, in one look at the index, and sent from there. So a snapshot is of one instant however long the peer
//! takes, and goes on after a crash where it stopped.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::actions::peer::Piece;
use crate::daemon::exports::cursor::{FOLDER, Spooled};
use crate::daemon::exports::page::Feed;
use crate::export::notice::Notice;
use crate::index::row::Row;
use crate::index::{IndexError, rows};

/// How much the file is compressed: little, since it lives for minutes.
const LEVEL: i32 = 1;

/// Bytes of notices in a batch, unless one is larger.
const BYTES_MAX: usize = 1 << 20;

/// Why a snapshot cannot be taken or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("cannot ask the index: {0}")]
    Index(#[from] IndexError),
    #[error("cannot set the snapshot aside: {0}")]
    Io(#[from] io::Error),
}

/// Where an export's snapshot is set aside.
pub(super) fn path(state: &Path, export: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{export}.snapshot.zst"))
}

/// Sets all open alerts that the export wants aside. Blocks.
pub(super) fn take(feed: &Feed, path: &Path, at: Timestamp) -> Result<Spooled, SnapshotError> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let beside = path.with_extension("part");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut to = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
    let mut alerts = 0;
    let position = feed.index.query(|conn| {
        let mut put = |row: Row| -> io::Result<()> {
            serde_json::to_writer(&mut to, &row)?;
            to.write_all(b"\n")
        };
        rows::each_open(conn, |row| {
            if feed.wanted.takes_row(&row) {
                alerts += 1;
                put(row).map_err(|cause| IndexError::Io { doing: "write", path: beside.clone(), cause })?;
            }
            Ok(())
        })
    })?;
    let file = to.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Spooled { seq: position.seq, at, alerts, done: 0 })
}

/// A snapshot that is sent: its notices from where the peer is on.
pub(super) struct Sending {
    from: io::Lines<BufReader<zstd::Decoder<'static, BufReader<File>>>>,
    spooled: Spooled,
    next: u64,
}

impl Sending {
    /// Opens what was set aside, and passes over what the peer has. Blocks.
    pub(super) fn open(path: &Path, spooled: &Spooled) -> io::Result<Self> {
        let from = BufReader::new(zstd::Decoder::new(File::open(path)?)?).lines();
        let mut sending = Self { from, spooled: spooled.clone(), next: spooled.done };
        for _ in 1..spooled.done.min(spooled.alerts + 1) {
            sending.row()?;
        }
        Ok(sending)
    }

    fn row(&mut self) -> io::Result<Row> {
        let line = self.from.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        Ok(serde_json::from_str(&line)?)
    }

    /// The next notices, from the one that says that it begins to the one that says that it is whole; none: that was sent. Blocks.
    pub(super) fn batch(&mut self, feed: &Feed, notices_max: usize) -> io::Result<Vec<Piece>> {
        let Spooled { seq, at, alerts, .. } = self.spooled;
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while self.next <= alerts + 1 && pieces.len() < notices_max && bytes < BYTES_MAX {
            let notice = match self.next {
                0 => Notice::begin(seq, at, alerts),
                n if n <= alerts => Notice::of_snapshot(seq, n, at, self.row()?),
                _ => Notice::end(seq, at, alerts),
            };
            self.next += 1;
            let piece = feed.piece(&notice);
            bytes += piece.line.len();
            pieces.push(piece);
        }
        Ok(pieces)
    }
}
