//! What free text finds an alert by: everything that it says, each value once.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::domain::alert::Alert;
use crate::domain::attack;
use crate::domain::record::Body;
use crate::index::row::scalars;

/// Bytes of one alert that are searched; what comes after them is not found.
pub const SEARCH_BYTES_MAX: usize = 16 << 10;

/// The words of an alert: title, description, names and ids, entities, then what the record says beyond that.
pub fn text(alert: &Alert, record: &Body, part: &str) -> String {
    let mut words = Words::default();
    words.add(&alert.title);
    let texts = [&alert.description, &alert.kind, &alert.external_id, &alert.vendor, &alert.product];
    texts.into_iter().flatten().for_each(|text| words.add(text));
    words.add(&alert.source);
    for list in [&alert.resources, &alert.tactics, &alert.tags, &alert.remediation] {
        list.iter().for_each(|text| words.add(text));
    }
    alert.techniques.iter().for_each(|id| words.add(&attack::titled(id)));
    for entity in alert.entities.values().flatten() {
        entity.values().for_each(|value| scalars(value, &mut |text| words.add(text)));
    }
    match serde_json::from_str::<Value>(record.written()) {
        Ok(value) => {
            if let Some(raw) = value.pointer(part) {
                scalars(raw, &mut |text| words.add(text));
            }
        }
        Err(_) if matches!(record, Body::Text(_)) => words.add(record.written()),
        Err(_) => {}
    }
    words.text
}

#[derive(Default)]
struct Words {
    known: HashSet<u64>,
    text: String,
}

impl Words {
    fn add(&mut self, text: &str) {
        let room = SEARCH_BYTES_MAX.saturating_sub(self.text.len());
        if room == 0 || text.is_empty() || !self.known.insert(hash(&text)) {
            return;
        }
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        self.text.push('\n');
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Changes when the alert says something else, but for its times: a repeat that says the same is not searched anew.
pub fn content(alert: &Alert) -> i64 {
    let entities = serde_json::to_string(&alert.entities).unwrap_or_default();
    let own = (&alert.title, &alert.description, &alert.kind, &alert.external_id);
    hash(&(own, &alert.resources, &alert.tactics, &alert.techniques, &alert.tags, entities)).cast_signed()
}

/// Words of a search as FTS5 reads them: each quoted, so that none of its signs means anything; all must be there. `scan*` is
/// the beginning of a word, `"port scan"` a phrase. `None`: there is nothing to search for.
pub fn expression(asked: &str) -> Option<String> {
    let mut terms: Vec<String> = Vec::new();
    for (at, piece) in asked.split('"').enumerate() {
        if at % 2 == 1 {
            terms.extend(term(piece));
        } else {
            terms.extend(piece.split_whitespace().filter_map(term));
        }
    }
    (!terms.is_empty()).then(|| terms.join(" AND "))
}

fn term(word: &str) -> Option<String> {
    let (word, prefix) = word.strip_suffix('*').map_or((word, ""), |word| (word, " *"));
    word.chars().any(char::is_alphanumeric).then(|| format!("\"{word}\"{prefix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_never_becomes_syntax() {
        for (asked, expected) in [
            ("port scan", Some(r#""port" AND "scan""#)),
            (r#"web-1 "failed login" pow*"#, Some(r#""web-1" AND "failed login" AND "pow" *"#)),
            (
                "a OR b NEAR(c) -d text:e ^f",
                Some(r#""a" AND "OR" AND "b" AND "NEAR(c)" AND "-d" AND "text:e" AND "^f""#),
            ),
            (r#"" unclosed"#, Some(r#"" unclosed""#)),
            ("*** --", None),
            ("", None),
        ] {
            assert_eq!(expression(asked).as_deref(), expected, "{asked}");
        }
    }

    #[test]
    fn values_are_searched_once_and_within_the_limit() {
        let alert =
            serde_json::json!({ "source": "s", "title": "t", "severity": "low", "received": "2026-11-22T03:00:00Z" });
        let alert: Alert = serde_json::from_value(alert).unwrap();
        let record =
            serde_json::json!({ "one": { "a": "t", "b": ["x", 7, true], "long": "é".repeat(SEARCH_BYTES_MAX) } });
        let found = text(&alert, &Body::new(record.to_string().as_bytes()), "/one");
        assert!(found.starts_with("t\ns\nx\n7\né"), "{}", &found[..20]);
        assert!(found.len() <= SEARCH_BYTES_MAX + 1);
    }
}
