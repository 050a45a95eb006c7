//! Bytes as received, and where they came from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Largest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// One record as a source hands it over.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Name of the source.
    pub source: Arc<str>,
    /// The bytes, verbatim, without the line end.
    pub bytes: Vec<u8>,
    /// Where it lay, so that it is read once.
    pub position: Position,
}

/// Where a record lay in its source; stands in the same journal entry as the alerts it gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// A line of a followed file.
    File(FilePosition),
    /// A record in a file of a folder.
    Folder(FolderPosition),
    /// A record in the body of a request.
    Http(HttpPosition),
    /// A line of standard input, counted from 1.
    Stdin {
        /// Line number, from 1.
        line: u64,
    },
    /// A quarantined record that an operator sent through again.
    Retry {
        /// Ordinal of the quarantined record.
        quarantine: u64,
    },
}

/// A line in one generation of a followed file. Identity is the inode *and* what the file begins with,
/// since file systems give freed inodes back within seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// Path as configured.
    pub path: String,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Counts rotations, truncations and replacements of the file at `path`, from 1.
    pub generation: u64,
    /// Bytes covered by `head_sha256`: at most 1024.
    pub head_bytes: u64,
    /// SHA-256 of the first `head_bytes` of the file, in hex.
    pub head_sha256: String,
    /// SHA-256 of the at most 64 bytes before `next`, in hex.
    pub tail_sha256: String,
    /// Offset of the line's first byte.
    pub offset: u64,
    /// Offset after the line's end: where to read on.
    pub next: u64,
}

/// A record in one file of a folder source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderPosition {
    /// File name within the folder.
    pub file: String,
    /// SHA-256 of the file's content, in hex: the same name with other content is another file.
    pub sha256: String,
    /// Index of the record in the file, from 0.
    pub index: u32,
    /// This is the file's last record: the file is done.
    pub last: bool,
}

/// A record in the body of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPosition {
    /// The sender's `Idempotency-Key`, if it gave one; redelivery is known by key and index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Index of the record in the body, from 0.
    pub index: u32,
    /// Address of the sender.
    pub peer: String,
}

/// A record's bytes as the journal keeps them: text where they are UTF-8, base64 otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// UTF-8 text, verbatim.
    Text(String),
    /// Anything else, as standard base64.
    Base64(String),
}

impl Body {
    /// Keeps the bytes so that [`Body::bytes`] gives them back unchanged.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Base64(data_encoding::BASE64.encode(bytes)),
        }
    }

    /// The bytes as received; `None` when the base64 was edited.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Base64(text) => data_encoding::BASE64.decode(text.as_bytes()).ok(),
        }
    }
}
