//! `fields.txt` beside each format's samples: every field that occurs in them, below the page that documents it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::corpus::{root, samples};

/// Compares what is listed with what occurs, both ways.
pub fn check() {
    let mut by_format = BTreeMap::<String, Vec<Value>>::new();
    for (format, _, bytes) in samples() {
        by_format.entry(format).or_default().push(serde_json::from_slice(&bytes).unwrap());
    }
    for (format, records) in by_format {
        let text = fs::read_to_string(root().join("tests/samples").join(&format).join("fields.txt")).unwrap();
        let mut page = "";
        let mut listed = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix("  ") {
                Some(field) => {
                    assert!(
                        page.contains("https://")
                            || ["docs/", "made up", "what the user"].iter().any(|start| page.starts_with(start)),
                        "{format}: {field} stands below no page"
                    );
                    assert!(listed.insert(field.to_owned()), "{format}: {field} stands there twice");
                }
                None => page = line,
            }
        }
        let mut occur = BTreeSet::new();
        records.iter().for_each(|record| fields(record, String::new(), &listed, &mut occur));
        let missing: Vec<_> = occur.difference(&listed).collect();
        let gone: Vec<_> = listed.difference(&occur).collect();
        assert!(
            missing.is_empty() && gone.is_empty(),
            "{format}: no documentation for {missing:?}; in no sample {gone:?}"
        );
    }
}

/// The paths of a value's fields; below one that is listed with `.*`, the keys are anybody's.
fn fields(value: &Value, at: String, listed: &BTreeSet<String>, to: &mut BTreeSet<String>) {
    let free = format!("{at}.*");
    match value {
        _ if listed.contains(&free) => _ = to.insert(free),
        Value::Object(map) if !map.is_empty() => {
            for (key, item) in map {
                let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '@' | '-'));
                let key = if plain { key.clone() } else { format!("{key:?}") };
                fields(item, if at.is_empty() { key } else { format!("{at}.{key}") }, listed, to);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().for_each(|item| fields(item, at.clone(), listed, to));
        }
        _ if at.is_empty() => {}
        _ => _ = to.insert(at),
    }
}
