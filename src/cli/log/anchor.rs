//! Anchors: what others hold of the journal, by number and hash.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::journal::Receipt;

/// The anchors that one argument gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchors(pub Vec<Receipt>);

/// Reads `SEQ:HASH`, or a file that has anchors in it, whatever stands around them.
pub fn read(text: &str) -> Result<Anchors, String> {
    let own = find(text);
    if own.len() == 1 && own[0].to_string() == text.trim() {
        return Ok(Anchors(own));
    }
    let bytes = std::fs::read(text).map_err(|error| format!("it is neither SEQ:HASH nor a file: {error}"))?;
    let found = find(&String::from_utf8_lossy(&bytes));
    if found.is_empty() {
        let forms = "a receipt {\"seq\":…,\"h\":…}, SEQ:HASH as in headers and log lines, or a checkpoint";
        return Err(format!("there is no anchor in the file: {forms}"));
    }
    Ok(Anchors(found))
}

/// Receipts as HTTP answers have them, `SEQ:HASH`, and number and hash on two lines as in checkpoints.
fn find(text: &str) -> Vec<Receipt> {
    static FORMS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
        [
            r#"\{[^{}]*"seq"\s*:\s*(\d{1,20})\b[^{}]*"(?:h|head|hash)"\s*:\s*"([0-9a-f]{64})""#,
            r#"\{[^{}]*"(?:h|head|hash)"\s*:\s*"(?<hash>[0-9a-f]{64})"[^{}]*"seq"\s*:\s*(?<seq>\d{1,20})\b"#,
            r"\b(\d{1,20}):\s{0,4}([0-9a-f]{64})\b",
            r"(?m)^(\d{1,20})\r?\n([0-9a-f]{64})\r?$",
        ]
        .map(|form| Regex::new(form).expect("a form is a correct expression"))
    });
    let receipt = |found: Captures<'_>| {
        let (seq, hash) = (found.name("seq").or(found.get(1))?, found.name("hash").or(found.get(2))?);
        Some(Receipt { seq: seq.as_str().parse().ok()?, hash: hash.as_str().to_owned() })
    };
    FORMS.iter().flat_map(|form| form.captures_iter(text).filter_map(receipt).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_found_in_whatever_holds_them() {
        let hash = "9f".repeat(32);
        for (text, seq) in [
            (format!("7:{hash}"), 7),
            (format!("X-Soard-Log-Head: 8:{hash}\r\nSubject: x"), 8),
            (format!(r#"{{"receipts":[{{"index":0,"seq":9,"h":"{hash}","record":1}}]}}"#), 9),
            (format!(r#"{{"alerts":[],"h":"{hash}","index":0,"record":1,"seq":12}}"#), 12),
            (format!("soard/ab\n10\n{hash}\n\n— soard/ab AAAA\n"), 10),
            (format!("Nov 26 host soard[1]: checkpoint log_head=11:{hash}"), 11),
        ] {
            assert_eq!(find(&text), [Receipt { seq, hash: hash.clone() }], "{text}");
        }
        assert_eq!(find("seq 7, hash 9f9f"), []);
        assert!(read("/nowhere/at/all").is_err());
        assert_eq!(read(&format!("7:{hash}")).unwrap().0.len(), 1);
    }
}
