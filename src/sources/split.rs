//! Finds the records in a whole body or file: one JSON object, a JSON array, or JSON Lines.

use std::ops::Range;

use serde_json::value::RawValue;

/// What the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Records, verbatim, as ranges of the bytes.
    Records(Vec<Range<usize>>),
    /// Neither one JSON object or array nor JSON Lines; why.
    Unparsable(String),
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Looks what the bytes are. Lines are taken as JSON Lines when the first one is JSON by itself; a bad line after it
/// is a record all the same, to be quarantined. At most `records_max` + 1 records are listed.
pub fn sniff(bytes: &[u8], records_max: usize) -> Content {
    let body = trim(bytes, 0..bytes.len());
    if body.is_empty() {
        return Content::Unparsable("there is nothing in it".into());
    }
    let whole = &bytes[body.clone()];
    match whole[0] {
        b'{' => match serde_json::from_slice::<&RawValue>(whole) {
            Ok(_) => Content::Records(vec![body]),
            Err(error) => lines_or(bytes, &error, records_max),
        },
        b'[' => match serde_json::from_slice::<Vec<&RawValue>>(whole) {
            Ok(items) => Content::Records(items.into_iter().take(records_max + 1).map(|i| within(bytes, i)).collect()),
            Err(error) => lines_or(bytes, &error, records_max),
        },
        _ => Content::Unparsable("expected a JSON object, an array of them, or JSON Lines".into()),
    }
}

fn lines_or(bytes: &[u8], error: &serde_json::Error, records_max: usize) -> Content {
    let lines = lines(bytes, records_max);
    match lines.as_slice() {
        [first, _, ..] if serde_json::from_slice::<&RawValue>(&bytes[first.clone()]).is_ok() => Content::Records(lines),
        _ => Content::Unparsable(error.to_string()),
    }
}

/// The lines that are not blank, without white space around them; at most `records_max` + 1.
pub fn lines(bytes: &[u8], records_max: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        let range = trim(bytes, start..start + line.len());
        start += line.len() + 1;
        if !range.is_empty() {
            found.push(range);
            if found.len() > records_max {
                break;
            }
        }
    }
    found
}

/// The whole content as one record.
pub fn whole(bytes: &[u8]) -> Range<usize> {
    trim(bytes, 0..bytes.len())
}

fn trim(bytes: &[u8], mut range: Range<usize>) -> Range<usize> {
    if range.start == 0 && bytes[range.clone()].starts_with(BOM) {
        range.start += BOM.len();
    }
    let part = &bytes[range.clone()];
    let from = range.start + (part.len() - part.trim_ascii_start().len());
    from..from + bytes[from..range.end].trim_ascii_end().len()
}

fn within(bytes: &[u8], item: &RawValue) -> Range<usize> {
    let start = item.get().as_ptr() as usize - bytes.as_ptr() as usize;
    start..start + item.get().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        match sniff(text.as_bytes(), 100) {
            Content::Records(found) => {
                let found: Vec<&str> = found.into_iter().map(|range| &text[range]).collect();
                assert_eq!(found, expected, "{text:?}");
            }
            Content::Unparsable(why) => assert!(expected.is_empty(), "{text:?}: {why}"),
        }
    }

    #[test]
    fn objects_arrays_and_lines_are_told_apart_and_kept_verbatim() {
        check("{\"a\": 1}", &["{\"a\": 1}"]);
        check("\u{feff} {\n \"a\" : 1e2 }\r\n", &["{\n \"a\" : 1e2 }"]);
        check("[{\"a\":1},\n {\"b\": [2]} , 3]", &["{\"a\":1}", "{\"b\": [2]}", "3"]);
        check("{\"a\":1}\r\n\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]);
        check("{\"a\":1}\n{broken\n{\"c\":3}", &["{\"a\":1}", "{broken", "{\"c\":3}"]);
        check("[1]\n[2]", &["[1]", "[2]"]);
        check("[]", &[]);
        for no in ["", " \n", "42", "\"text\"", "null", "{", "[1,", "{\n\"a\": 1,\n}", "<xml/>", "{} {}", "\0{}"] {
            assert!(matches!(sniff(no.as_bytes(), 100), Content::Unparsable(_)), "{no:?}");
        }
        assert!(matches!(sniff(b"{\"a\":\"\xff\"}", 100), Content::Unparsable(_)), "not UTF-8");
    }

    #[test]
    fn nesting_costs_no_stack_and_lists_are_bounded() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
        check(&deep, &[&deep]);
        let many = format!("[{}1]", "1,".repeat(5_000));
        assert!(matches!(sniff(many.as_bytes(), 100), Content::Records(found) if found.len() == 101));
        assert_eq!(lines("1\n".repeat(5_000).as_bytes(), 100).len(), 101);
    }
}
