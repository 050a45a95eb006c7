//! Bytes as received, and where they came from.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// A sample that ships with soard.
    Sample {
        /// Who sent it.
        by: String,
    },
    /// A quarantined record that an operator sent through again.
    Retry {
        /// Ordinal of the quarantined record.
        quarantine: u64,
    },
}

/// A line in one generation of a followed file. Identity is the inode *and* what the file begins with,
/// since file systems give freed inodes back within seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpPosition {
    /// The sender's `Idempotency-Key`, if it gave one; redelivery is known by key and index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Index of the record in the body, from 0.
    pub index: u32,
    /// Address of the sender.
    pub peer: String,
}

/// Nesting up to which a record stands in the journal as JSON rather than as a text that holds JSON: readers of the
/// journal stop at 128 levels.
const JSON_DEPTH_MAX: usize = 32;

/// A record's bytes as the journal keeps them, verbatim in each form.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// JSON on one line without space around it, as most records are: shorter than as a text, and tools can look into it.
    Json(Box<RawValue>),
    /// Other UTF-8 text.
    Text(String),
    /// Anything else, as standard base64.
    Base64(String),
}

impl Body {
    /// Keeps the bytes so that [`Body::bytes`] gives them back unchanged.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => json(text).map_or_else(|| Self::Text(text.into()), Self::Json),
            Err(_) => Self::Base64(data_encoding::BASE64.encode(bytes)),
        }
    }

    /// The bytes as received; `None` when the base64 was edited.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Base64(text) => data_encoding::BASE64.decode(text.as_bytes()).ok(),
            Self::Json(_) | Self::Text(_) => Some(self.written().as_bytes().to_vec()),
        }
    }

    /// The text as received, or the base64 of what is none.
    pub fn written(&self) -> &str {
        match self {
            Self::Json(json) => json.get(),
            Self::Text(text) | Self::Base64(text) => text,
        }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.written() == other.written()
    }
}

/// The text as JSON, when it is nothing else, on one line and not deep.
fn json(text: &str) -> Option<Box<RawValue>> {
    let is_fit = text.starts_with('{') && !text.contains('\n') && depth(text) <= JSON_DEPTH_MAX;
    let json: &RawValue = if is_fit { serde_json::from_str(text).ok()? } else { return None };
    (json.get().len() == text.len()).then(|| json.to_owned())
}

/// How deep JSON text is nested.
pub fn depth(json: &str) -> usize {
    // Most texts have fewer brackets than any limit allows levels, and counting them is far cheaper.
    let brackets = json.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if brackets <= JSON_DEPTH_MAX {
        return brackets;
    }
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_unchanged_through_the_journal() {
        let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
        let cases: [(&[u8], &str); 9] = [
            (br#"{"a":1e400,"a":01234567890123456789012345678901234567890e-1}"#, "text"),
            (br#"{"a":1e400,"a":"\u00e9 \ud83d\ude00","b":12345678901234567890123456789}"#, "json"),
            (b"{\"a\": [ ] }", "json"),
            (b" {\"a\":1}", "text"),
            (b"{\"a\":1} ", "text"),
            (b"{\n\"a\":1}", "text"),
            (b"{\"a\":1", "text"),
            (deep.as_bytes(), "text"),
            (b"\xFF{}", "base64"),
        ];
        for (bytes, form) in cases {
            let written = serde_json::to_string(&Body::new(bytes)).unwrap();
            assert!(written.starts_with(&format!("{{\"{form}\":")), "{written}");
            let read: Body = serde_json::from_str(&written).unwrap();
            assert_eq!(read.bytes().unwrap(), bytes, "{written}");
        }
    }

    #[test]
    fn the_written_form_stays() {
        for text in
            [r#"{"stdin":{"line":3}}"#, r#"{"retry":{"quarantine":8}}"#, r#"{"sample":{"by":"ann (uid 1000)"}}"#]
        {
            let position: Position = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&position).unwrap(), text);
        }
    }

    #[test]
    fn depth_is_never_less_than_it_is() {
        let many = format!("[{}]", vec!["[]"; 50].join(","));
        for (json, expected) in [("1", 0), ("{}", 1), (many.as_str(), 2), (r#"{"a":["x\"]",{"b":[]}]}"#, 4)] {
            assert_eq!(depth(json), expected, "{json}");
        }
        let strings = format!("[{}]", vec![r#""[[[\"[""#; 50].join(","));
        assert_eq!(depth(&strings), 1);
    }
}
