//! Cursors: where the next page of a list begins. Opaque to whoever holds one, and good for its own query only.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::index::filter::{Fault, Faults};
use crate::index::plan::Found;
use crate::index::query::Request;

/// Bytes of a cursor before it is encoded.
const BYTES: usize = 1 + 8 + 8 + 1 + 8;

/// The form of the bytes.
const VERSION: u8 = 1;

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// What times such as `4h` were counted back from on the first page: they are on every page.
    pub now: Timestamp,
    /// Severity of the last alert, as the tables have it.
    pub severity: i64,
    /// Its number in the tables.
    pub id: i64,
}

impl Cursor {
    /// The alert at which the page ended; how it stood does not matter for the order.
    pub fn found(&self) -> Found {
        Found { id: self.id, severity: self.severity, status: 0 }
    }

    /// As text, bound to the query.
    pub fn encode(&self, request: &Request) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend(digest(request));
        bytes.extend(self.now.as_microsecond().to_be_bytes());
        bytes.push(u8::try_from(self.severity).unwrap_or_default());
        bytes.extend(self.id.to_be_bytes());
        data_encoding::BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads the query's cursor; `None` on its first page.
    ///
    /// # Errors
    /// When it is none, or one of another query.
    pub fn decode(request: &Request) -> Result<Option<Self>, Faults> {
        let Some(text) = &request.cursor else { return Ok(None) };
        let fault = |message: &str| {
            let help = Some("begin without a cursor, and take the next one from the answer".into());
            Faults(vec![Fault { term: "cursor".into(), message: message.into(), help }])
        };
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default();
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| fault("it is no cursor"))?;
        let read = |from: usize| -> [u8; 8] { std::array::from_fn(|at| bytes[from + at]) };
        if bytes[0] != VERSION {
            return Err(fault("it is no cursor"));
        }
        if read(1) != digest(request) {
            return Err(fault("it belongs to another filter or order"));
        }
        let now = Timestamp::from_microsecond(i64::from_be_bytes(read(9)));
        let now = now.map_err(|_| fault("it is no cursor"))?;
        Ok(Some(Self { now, severity: bytes[17].into(), id: i64::from_be_bytes(read(18)) }))
    }
}

/// The first bytes of a hash over everything that decides which alerts come in which order.
fn digest(request: &Request) -> [u8; 8] {
    let mut digest = Sha256::new();
    digest.update([u8::from(request.all), request.sort as u8]);
    for term in &request.filter {
        digest.update(term.len().to_be_bytes());
        digest.update(term);
    }
    let digest = digest.finalize();
    std::array::from_fn(|at| digest[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::query::Sort;

    fn request(filter: &[&str]) -> Request {
        Request { filter: filter.iter().map(|term| (*term).to_owned()).collect(), ..Request::default() }
    }

    #[test]
    fn a_cursor_is_good_for_its_own_query_only() {
        let now = "2026-11-22T03:00:00Z".parse().unwrap();
        let cursor = Cursor { now, severity: 3, id: 1 << 40 };
        let own = request(&["host=a", "seen>=4h"]);
        let text = cursor.encode(&own);
        let with = |request: Request| Cursor::decode(&Request { cursor: Some(text.clone()), ..request });
        assert_eq!(with(own.clone()).unwrap(), Some(cursor));
        for other in [
            request(&["host=a"]),
            request(&["host=aseen>=4h"]),
            request(&["seen>=4h", "host=a"]),
            Request { all: true, ..own.clone() },
            Request { sort: Sort::Newest, ..own.clone() },
        ] {
            assert!(with(other.clone()).unwrap_err().to_string().contains("another filter"), "{other:?}");
        }
        for bad in ["", "x", "====", &text[1..], &format!("{text}AA"), &"A".repeat(10_000)] {
            assert!(Cursor::decode(&Request { cursor: Some(bad.into()), ..own.clone() }).is_err(), "{bad}");
        }
    }
}
