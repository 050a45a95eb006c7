//! Cuts a stream of bytes into lines, whatever the blocks it comes in and however long a line is.

use crate::domain::record::RECORD_BYTES_MAX;

/// The line being read. At most [`RECORD_BYTES_MAX`] bytes of it are kept; the rest is only counted.
#[derive(Debug, Default)]
pub struct Lines {
    kept: Vec<u8>,
    /// Bytes of the line so far, kept or not.
    raw_bytes: u64,
    cut: bool,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Its bytes, without line end, leading NUL bytes (a file that was truncated under its writer begins with them)
    /// and, when longer than a record may be, without what is beyond.
    pub bytes: Vec<u8>,
    /// Bytes that it took in the stream, its line end included.
    pub raw_bytes: u64,
    /// It was longer than a record may be.
    pub cut: bool,
}

impl Line {
    /// Nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }
}

impl Lines {
    /// Reads on in `block` from `at`; gives the line that ends there and moves `at` behind it. `None`: the block is
    /// used up and the line goes on in the next one.
    pub fn next(&mut self, block: &[u8], at: &mut usize) -> Option<Line> {
        let rest = &block[*at..];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                *at += end + 1;
                self.keep(&rest[..end]);
                self.raw_bytes += 1;
                Some(self.finish())
            }
            None => {
                *at = block.len();
                self.keep(rest);
                None
            }
        }
    }

    /// The last line, if it has no line end.
    pub fn rest(&mut self) -> Option<Line> {
        (self.raw_bytes > 0).then(|| self.finish())
    }

    fn keep(&mut self, mut part: &[u8]) {
        self.raw_bytes += part.len() as u64;
        if self.kept.is_empty() {
            let nuls = part.iter().take_while(|byte| **byte == 0).count();
            part = &part[nuls..];
        }
        // One byte more than a record may have: it may be the `\r` of the line end.
        let room = RECORD_BYTES_MAX + 1 - self.kept.len();
        self.cut |= part.len() > room;
        self.kept.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn finish(&mut self) -> Line {
        let mut line = std::mem::take(self);
        if !line.cut && line.kept.last() == Some(&b'\r') {
            line.kept.pop();
        }
        if line.kept.len() > RECORD_BYTES_MAX {
            line.cut = true;
        }
        if line.cut {
            line.kept.truncate(cut_at(&line.kept));
        }
        Line { bytes: line.kept, raw_bytes: line.raw_bytes, cut: line.cut }
    }
}

/// Where to cut bytes that are longer than a record may be: not within a UTF-8 character.
pub fn cut_at(bytes: &[u8]) -> usize {
    let end = bytes.len().min(RECORD_BYTES_MAX);
    let boundary = (end.saturating_sub(3)..=end).rev().find(|at| bytes.get(*at).is_none_or(|b| b & 0xC0 != 0x80));
    boundary.unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(blocks: &[&[u8]]) -> Vec<(String, u64, bool)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for block in blocks {
            let mut at = 0;
            while let Some(line) = lines.next(block, &mut at) {
                found.push(line);
            }
        }
        found.extend(lines.rest());
        found.into_iter().map(|l| (String::from_utf8(l.bytes).unwrap(), l.raw_bytes, l.cut)).collect()
    }

    #[test]
    fn lines_do_not_depend_on_the_blocks() {
        let text = b"one\n\ntwo\r\n\0\0three\nhalf";
        let whole = all(&[text]);
        let shown: Vec<_> = whole.iter().map(|(line, raw, _)| (line.as_str(), *raw)).collect();
        assert_eq!(shown, [("one", 4), ("", 1), ("two", 5), ("three", 8), ("half", 4)]);
        for size in 1..text.len() {
            assert_eq!(all(&text.chunks(size).collect::<Vec<_>>()), whole, "blocks of {size}");
        }
    }

    #[test]
    fn a_line_as_long_as_a_record_is_whole_and_a_longer_one_is_cut() {
        let fits = "x".repeat(RECORD_BYTES_MAX);
        assert_eq!(all(&[fits.as_bytes(), b"\r\n"])[0], (fits.clone(), RECORD_BYTES_MAX as u64 + 2, false));
        let longer = "x".repeat(RECORD_BYTES_MAX + 1);
        assert_eq!(all(&[longer.as_bytes(), b"\n"])[0], (fits, RECORD_BYTES_MAX as u64 + 2, true));
        let wide = format!("{}é{}", "x".repeat(RECORD_BYTES_MAX - 1), "y".repeat(9_000_000));
        let (cut, raw, is_cut) = all(&[wide.as_bytes(), b"\n"]).remove(0);
        assert_eq!((cut.len(), raw, is_cut), (RECORD_BYTES_MAX - 1, wide.len() as u64 + 1, true));
    }
}
