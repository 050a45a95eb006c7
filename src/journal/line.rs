//! One line of the journal: writing it, checking it, reading it. No bytes make this code panic.

use std::io::Write;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::value::RawValue;

use crate::journal::{Damage, Draft};

/// Longest line, in bytes, with its line end.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// Longest content of an entry, in bytes: what a line can hold beside its other fields.
pub const DATA_BYTES_MAX: usize = LINE_BYTES_MAX - 512;

/// `prev` of the first line.
pub(super) const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What every line of this version begins with.
pub(super) const START: &[u8] = br#"{"v":1,"seq":"#;

const HASH_START: &[u8] = br#","h":""#;
const HASH_END: &[u8] = br#""}"#;
const HASH_FIELD_BYTES: usize = HASH_START.len() + 64 + HASH_END.len();

/// An entry as it stands in the journal.
#[derive(Debug, Clone)]
pub struct Line {
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// Number of the batch that it was written in, from 1, without gaps.
    pub batch: u64,
    /// How many entries of that batch follow.
    pub left: u32,
    /// When the daemon took the input.
    pub at: Timestamp,
    /// Kind of the entry.
    pub kind: String,
    /// Content, as JSON text.
    pub data: Box<RawValue>,
    /// Hash of the line before, in hex; 64 zeros for the first.
    pub prev: String,
    /// Its own hash, in hex.
    pub hash: String,
}

impl Line {
    /// Reads a line without its line end, and checks its own hash. The chain is not checked.
    ///
    /// # Errors
    /// [`Damage::Hash`] when the hash is wrong, [`Damage::Form`] when it is right but the line is not of version 1.
    pub fn parse(line: &[u8]) -> Result<Self, Damage> {
        check(line)?.read()
    }
}

/// The fields of a line, still as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub seq: u64,
    pub batch: u64,
    pub left: u32,
    at: &'a str,
    kind: &'a str,
    data: &'a str,
    pub prev: &'a str,
    pub hash: &'a str,
}

impl Parts<'_> {
    pub fn read(&self) -> Result<Line, Damage> {
        Ok(Line {
            seq: self.seq,
            batch: self.batch,
            left: self.left,
            at: self.at.parse().map_err(|_| Damage::Form)?,
            kind: self.kind.into(),
            data: RawValue::from_string(self.data.into()).map_err(|_| Damage::Form)?,
            prev: self.prev.into(),
            hash: self.hash.into(),
        })
    }
}

/// The fields of a line whose own hash is right.
pub(super) fn check(line: &[u8]) -> Result<Parts<'_>, Damage> {
    if !hash_holds(line) {
        return Err(Damage::Hash);
    }
    split(line).ok_or(Damage::Form)
}

/// Whether the text ends with `,"h":"…"}` and that is the SHA-256 of what stands before.
pub(super) fn hash_holds(line: &[u8]) -> bool {
    let Some((hashed, field)) = line.len().checked_sub(HASH_FIELD_BYTES).map(|at| line.split_at(at)) else {
        return false;
    };
    let hash = field.strip_prefix(HASH_START).and_then(|field| field.strip_suffix(HASH_END));
    hash.is_some_and(|hash| hash == hex_of(hashed).as_slice())
}

/// The fields of a line by their places alone; the hash is not checked.
pub(super) fn split(line: &[u8]) -> Option<Parts<'_>> {
    let text = std::str::from_utf8(line).ok()?;
    let (seq, rest) = number(text.strip_prefix(r#"{"v":1,"seq":"#)?)?;
    let (batch, rest) = number(rest.strip_prefix(r#","b":"#)?)?;
    let (left, rest) = number(rest.strip_prefix(r#","r":"#)?)?;
    let (at, rest) = rest.strip_prefix(r#","ts":""#)?.split_once('"')?;
    let (kind, rest) = rest.strip_prefix(r#","k":""#)?.split_once('"')?;
    let rest = rest.strip_prefix(r#","d":"#)?.strip_suffix(r#""}"#)?;
    let (rest, hash) = hex_at_end(rest)?;
    let (rest, prev) = hex_at_end(rest.strip_suffix(r#"","h":""#)?)?;
    let data = rest.strip_suffix(r#","prev":""#)?;
    let left = u32::try_from(left).ok()?;
    is_kind(kind).then_some(Parts { seq, batch, left, at, kind, data, prev, hash })
}

/// Digits as JSON has them, without leading zeros, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let plain = number.len() == 1 || !number.starts_with('0');
    if plain { Some((number.parse().ok()?, rest)) } else { None }
}

fn hex_at_end(text: &str) -> Option<(&str, &str)> {
    let (rest, hex) = text.split_at_checked(text.len().checked_sub(64)?)?;
    hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some((rest, hex))
}

fn is_kind(kind: &str) -> bool {
    !kind.is_empty() && kind.len() <= 32 && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Where a line stands: all that it has beside the draft.
pub(super) struct Slot<'a> {
    pub seq: u64,
    pub batch: u64,
    pub left: u32,
    pub prev: &'a str,
}

/// Adds the line to the buffer and returns its hash. Panics on a draft that would break the format: its
/// makers are all in this program.
pub(super) fn write(buffer: &mut Vec<u8>, slot: &Slot<'_>, draft: &Draft) -> String {
    assert!(is_kind(draft.kind), "{:?} is no kind of entry", draft.kind);
    assert!(!draft.data.as_bytes().contains(&b'\n'), "the content of an entry stands on one line");
    let start = buffer.len();
    let Slot { seq, batch, left, prev } = slot;
    let Draft { at, kind, data } = draft;
    write!(buffer, r#"{{"v":1,"seq":{seq},"b":{batch},"r":{left},"ts":"{at:.6}","k":"{kind}","d":"#)
        .expect("a buffer in memory takes everything");
    buffer.extend_from_slice(data.as_bytes());
    buffer.extend_from_slice(br#","prev":""#);
    buffer.extend_from_slice(prev.as_bytes());
    buffer.push(b'"');
    let hash = seal(buffer, start);
    buffer.push(b'\n');
    hash
}

/// Closes the JSON object that begins at `start` with the hash of its bytes so far.
pub(super) fn seal(buffer: &mut Vec<u8>, start: usize) -> String {
    let hex = hex_of(&buffer[start..]);
    buffer.extend_from_slice(HASH_START);
    buffer.extend_from_slice(&hex);
    buffer.extend_from_slice(HASH_END);
    String::from_utf8(hex.to_vec()).expect("hex is ASCII")
}

fn hex_of(bytes: &[u8]) -> [u8; 64] {
    let mut hex = [0; 64];
    HEXLOWER.encode_mut(digest(&SHA256, bytes).as_ref(), &mut hex);
    hex
}

/// SHA-256 of the bytes, in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft(data: &str) -> Draft {
        let at = "2026-11-22T01:02:03.004567Z".parse().unwrap();
        Draft { at, kind: "intake", data: data.into() }
    }

    fn written(data: &str) -> Vec<u8> {
        let mut line = Vec::new();
        write(&mut line, &Slot { seq: 12, batch: 8, left: 3, prev: ZEROS }, &draft(data));
        assert_eq!(line.pop(), Some(b'\n'));
        line
    }

    #[test]
    fn a_line_has_exactly_the_documented_bytes() {
        let line = written(r#"{"a":[1,"ü"]}"#);
        let hashed = concat!(
            r#"{"v":1,"seq":12,"b":8,"r":3,"ts":"2026-11-22T01:02:03.004567Z","k":"intake","d":{"a":[1,"ü"]},"#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000""#
        );
        let expected = format!(r#"{hashed},"h":"{}"}}"#, sha256(hashed.as_bytes()));
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn times_always_have_six_digits() {
        for (at, text) in [
            ("2026-11-22T01:02:03Z", "2026-11-22T01:02:03.000000Z"),
            ("2026-11-22T01:02:03.1234569Z", "2026-11-22T01:02:03.123456Z"),
        ] {
            let mut line = Vec::new();
            let draft = Draft { at: at.parse().unwrap(), kind: "log", data: "1".into() };
            write(&mut line, &Slot { seq: 1, batch: 1, left: 0, prev: ZEROS }, &draft);
            assert!(String::from_utf8(line).unwrap().contains(&format!(r#""ts":"{text}""#)), "{at}");
        }
    }

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let data = r#"{"x":"\",\"prev\":\"","y":{"v":1,"seq":1}}"#;
        let line = Line::parse(&written(data)).unwrap();
        assert_eq!((line.seq, line.batch, line.left, line.kind.as_str()), (12, 8, 3, "intake"));
        assert_eq!((line.at, line.data.get(), line.prev.as_str()), (draft("").at, data, ZEROS));
        serde_json::from_slice::<serde_json::Value>(&written(data)).unwrap();
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let line = written(r#"{"severity":"high"}"#);
        for at in 0..line.len() * 8 {
            let mut changed = line.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(Line::parse(&changed).unwrap_err(), Damage::Hash, "bit {at}");
        }
    }

    #[test]
    fn a_good_hash_over_something_else_is_not_a_line() {
        let good = written("{}");
        let hashed = std::str::from_utf8(&good).unwrap().rsplit_once(r#","h""#).unwrap().0;
        for (from, to) in [
            (r#""v":1"#, r#""v":2"#),
            (r#""seq":12"#, r#""seq":012"#),
            (r#""seq":12"#, r#""seq":99999999999999999999"#),
            (r#""r":3"#, r#""r":4294967296"#),
            (r#""d":{}"#, r#""d":{"#),
            (r#""ts":"2026"#, r#""ts":"x"#),
            ("intake", "in take"),
            (r#""prev":"0"#, r#""prev":"G"#),
            (r#","k":"intake""#, ""),
        ] {
            let mut other = hashed.replacen(from, to, 1).into_bytes();
            assert_ne!(other, hashed.as_bytes(), "{from}");
            seal(&mut other, 0);
            assert_eq!(Line::parse(&other).unwrap_err(), Damage::Form, "{from} → {to}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0..260_usize) {
            let _ = Line::parse(&bytes);
            seal(&mut bytes, 0);
            let _ = Line::parse(&bytes);
            let mut line = written("[1]");
            line.truncate(cut);
            line.extend_from_slice(&bytes);
            let _ = (Line::parse(&line), split(&line));
        }
    }
}
