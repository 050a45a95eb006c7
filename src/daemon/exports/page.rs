//! Reads what an export sends next: entries of the journal, the alerts that they are about, and the notices of both.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::actions::peer::Piece;
use crate::daemon::exports::cursor::Mark;
use crate::domain::entry::{Entry, Facts};
use crate::domain::export::Format;
use crate::domain::id::AlertId;
use crate::export;
use crate::export::notice::{Event, Notice, Wanted, events};
use crate::index::follow::Index;
use crate::index::row::Row;
use crate::index::{IndexError, rows, schema};
use crate::journal::JournalError;
use crate::journal::line::Line;
use crate::journal::reader::Reader;

/// Entries of one page.
const ENTRIES_MAX: u64 = 5_000;

/// Bytes of the journal that one page is made of; at least one entry is read.
const JOURNAL_BYTES_MAX: usize = 16 << 20;

/// Bytes of notices in a page, unless those of one entry are more.
const BYTES_MAX: usize = 1 << 20;

/// How long the index is waited for at a time.
const INDEX_WAIT_MAX: Duration = Duration::from_secs(2);

/// Kinds of entries that tell of alerts; the others are passed over unread.
const TELLING: [&str; 4] = ["intake", "intent", "run", "operator"];

/// Where notices come from, and which and how.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) journal: Reader,
    pub(super) index: Index,
    pub(super) wanted: Wanted,
    pub(super) format: Format,
    pub(super) line_bytes_max: Option<usize>,
}

/// Some entries' notices.
#[derive(Debug)]
pub(super) struct Page {
    /// In order; empty when the entries have none.
    pub(super) pieces: Vec<Piece>,
    /// The last entry.
    pub(super) upto: Mark,
    /// When the first one happened.
    pub(super) first_at: Timestamp,
    /// Entries that were dropped before they could be read.
    pub(super) missed: u64,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("cannot read the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("cannot understand entry {seq} of the journal: {cause}")]
    Entry { seq: u64, cause: serde_json::Error },
    #[error("the journal is another one than before")]
    Elsewhere,
    #[error("it waits for the index, which is at entry {position} of {seq}")]
    Behind { position: u64, seq: u64 },
    #[error("cannot ask the index: {0}")]
    Index(#[from] IndexError),
}

impl Feed {
    /// The notices behind a mark, up to entry `until`; `None`: there is no entry yet. Blocks.
    pub(super) fn page(&self, from: &Mark, until: u64, notices_max: usize) -> Result<Option<Page>, PageError> {
        let mut page: Option<Page> = None;
        let (mut entries, mut journal_bytes, mut bytes) = (0, 0, 0);
        for line in self.journal.lines(from.seq + 1) {
            let line = line?;
            if line.seq > until {
                break;
            }
            if page.is_none() && line.seq == from.seq + 1 && line.prev != from.hash {
                return Err(PageError::Elsewhere);
            }
            entries += 1;
            journal_bytes += line.data.get().len();
            let page = page.get_or_insert_with(|| Page {
                pieces: Vec::new(),
                upto: from.clone(),
                first_at: line.at,
                missed: 0,
            });
            if line.seq > page.upto.seq + 1 {
                page.missed += line.seq - page.upto.seq - 1;
                page.pieces.push(self.piece(&Notice::gap(page.upto.seq + 1, line.seq - 1, line.at)));
            }
            let known = page.pieces.len();
            self.take(&line, &mut page.pieces)?;
            bytes += page.pieces[known..].iter().map(|piece| piece.line.len()).sum::<usize>();
            page.upto = Mark { seq: line.seq, hash: line.hash };
            let full = page.pieces.len() >= notices_max || bytes >= BYTES_MAX;
            if full || entries >= ENTRIES_MAX || journal_bytes >= JOURNAL_BYTES_MAX {
                break;
            }
        }
        Ok(page)
    }

    /// Adds the notices of an entry.
    fn take(&self, line: &Line, pieces: &mut Vec<Piece>) -> Result<(), PageError> {
        if !TELLING.contains(&&*line.kind) {
            return Ok(());
        }
        let facts = Facts::parse(&line.kind, line.data.get());
        let facts = facts.map_err(|cause| PageError::Entry { seq: line.seq, cause })?;
        let entry = Entry { seq: line.seq, at: line.at, facts };
        for event in events(&entry) {
            let known = if event.needs_row() { self.row(event.alert, line.seq)? } else { None };
            let notice = Event::notice(event, line.seq, line.at, known);
            if self.wanted.takes(&notice) {
                pieces.push(self.piece(&notice));
            }
        }
        Ok(())
    }

    /// What the index knows of an alert, once it has this entry.
    fn row(&self, alert: AlertId, seq: u64) -> Result<Option<Row>, PageError> {
        self.index.wait_for(seq, INDEX_WAIT_MAX);
        let (position, row) = self.index.query(|conn| {
            let (_, position) = schema::position(conn)?;
            Ok((position.seq, rows::row(conn, alert)?))
        })?;
        if position < seq { Err(PageError::Behind { position, seq }) } else { Ok(row) }
    }

    /// A notice as it is sent.
    pub(super) fn piece(&self, notice: &Notice) -> Piece {
        Piece {
            seq: notice.seq,
            n: notice.n,
            sort: notice.notice.as_str(),
            is_snapshot: notice.is_snapshot,
            alert: notice.id,
            severity: notice.alert.as_ref().map(|row| row.severity),
            at: notice.at,
            line: export::line(notice, self.format, self.line_bytes_max),
        }
    }
}

/// Reads a page beside everything else.
pub(super) async fn read(
    feed: &Arc<Feed>,
    from: Mark,
    until: u64,
    notices_max: usize,
) -> Result<Option<Page>, PageError> {
    let feed = feed.clone();
    let read = tokio::task::spawn_blocking(move || feed.page(&from, until, notices_max)).await;
    // A reader that panicked is our own fault: the export's task dies with it, and the daemon ends.
    read.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()))
}
