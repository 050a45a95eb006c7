//! The index: a projection of the journal in SQLite, for lists, filters, counts and search.
//!
//! The journal stays the only source of truth. Whatever happens to the index, it is built again from the journal, so:
//!
//! - It is never ahead of what is durable: it reads what the journal's reader shows, and keeps the position that it has
//!   reached in the same transaction as the rows.
//! - It decides nothing. A row is a fold of the entries about one alert, whatever the version that wrote them.
//! - It never holds the daemon up: one thread of low priority feeds it, and a fault of it is said and mended, not passed on.
//!
//! Read in this order: [`row`] (what is kept of an alert), [`schema`] (the tables), [`write`](mod@write) and [`project`] (entries to
//! rows), [`build`] (from nothing), [`follow`] (the thread), [`filter`] and [`query`] (reading).

pub mod build;
pub mod choose;
pub mod cursor;
pub mod facets;
pub mod filter;
pub mod follow;
pub mod held;
pub mod labels;
pub mod mentions;
pub mod noise;
pub mod place;
pub mod plan;
pub mod project;
pub mod query;
pub mod readers;
pub mod related;
pub mod row;
pub mod rows;
pub mod schema;
pub mod search;
pub mod story;
pub mod suggest;
mod way;
pub mod write;

use std::io;
use std::path::PathBuf;

use crate::index::filter::Faults;
use crate::journal::JournalError;

/// What went wrong with the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite refused something.
    #[error("cannot {doing} the index")]
    Sqlite {
        /// What was attempted.
        doing: &'static str,
        /// Why not.
        #[source]
        cause: rusqlite::Error,
    },
    /// The operating system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Journal(#[from] JournalError),
    /// An entry is not what its kind says.
    #[error("cannot understand entry {seq} of the journal")]
    Entry {
        /// Which.
        seq: u64,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// The file does not hold what this version wrote, or not of this journal.
    #[error("the index cannot be used: {0}")]
    Unusable(String),
    /// There is none.
    #[error("there is no index in {}", dir.display())]
    Absent {
        /// Where it should be.
        dir: PathBuf,
    },
    /// Another process writes it.
    #[error("the index in {} is in use by another soard", dir.display())]
    Locked {
        /// Its folder.
        dir: PathBuf,
    },
    /// A filter, cursor or field that is not understood.
    #[error(transparent)]
    Asked(#[from] Faults),
    /// The query would look at too much.
    #[error("the query looks at too much: narrow it, for example by time (seen>=7d) or source")]
    TooBroad,
    /// More alerts fit than can be changed at once.
    #[error(
        "more than {most} alerts fit, the most that can be changed at once: narrow it, for example by time (received>=7d)"
    )]
    TooMany {
        /// How many can.
        most: usize,
    },
    /// It was told to stop.
    #[error("the index stops")]
    Stopped,
}

impl IndexError {
    /// Another try on the same file would fail again: it has to be built anew.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Unusable(_) => true,
            Self::Sqlite { cause: rusqlite::Error::SqliteFailure(error, _), .. } => {
                matches!(error.code, DatabaseCorrupt | NotADatabase)
            }
            // A table or a column that is not there, a value of another type, a row that is no row.
            Self::Sqlite { cause, .. } => matches!(
                cause,
                rusqlite::Error::SqlInputError { .. }
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
            ),
            _ => false,
        }
    }

    /// What a SQLite call was for.
    pub(crate) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |cause| match &cause {
            rusqlite::Error::SqliteFailure(error, _) if error.code == rusqlite::ErrorCode::OperationInterrupted => {
                Self::TooBroad
            }
            _ => Self::Sqlite { doing, cause },
        }
    }

    pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::Io { doing, path, cause }
    }
}
