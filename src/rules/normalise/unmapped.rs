//! Which parts of a record a format does not look at: what the author of a format wants to see.

use std::cell::RefCell;
use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::rules::normalise::format::Format;
use crate::rules::normalise::path::{Reading, Scope};
use crate::rules::normalise::{Formats, Refused, Take, build, json, unpack};

impl Formats {
    /// JSON pointers of the values in a record that its format did not read for any field of an alert.
    ///
    /// # Errors
    /// As [`Formats::normalise`].
    pub fn unmapped(&self, bytes: &[u8], pinned: Option<&str>) -> Result<Vec<String>, Refused> {
        let record = json::parse(bytes)?;
        let mut left = Vec::new();
        match &record {
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    unmapped(self.choose(item, pinned)?, item, &format!("/{n}"), &mut left)?;
                }
            }
            one => unmapped(self.choose(one, pinned)?, one, "", &mut left)?,
        }
        Ok(left)
    }
}

fn unmapped(format: &Format, record: &Value, pointer: &str, to: &mut Vec<String>) -> Result<(), Refused> {
    let unpacked = unpack(record, &format.unpack);
    let mut reading = Reading { seen: Some(RefCell::new(HashSet::new())), ..format.reading() };
    if format.refs {
        reading.learn_ids(&unpacked);
    }
    let take = Take { format, source: "", received: Timestamp::UNIX_EPOCH };
    let whole = Scope { here: &unpacked, alert: &unpacked, record: &unpacked, reading: &reading };
    format.recognise.holds(&whole);
    for (_, item) in take.parts(&unpacked)? {
        let scope = Scope { here: item, alert: item, ..whole };
        format.ignore.iter().for_each(|ignore| _ = ignore.when.holds(&scope));
        build::build(format, &scope, take.source, take.received);
    }
    left(&unpacked, pointer, &reading, to);
    Ok(())
}

fn left(value: &Value, pointer: &str, reading: &Reading<'_>, to: &mut Vec<String>) {
    if reading.is_marked(value) || reading.is_empty(value) {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, item) in map.iter().filter(|(key, _)| !matches!(key.as_str(), "$id" | "$ref")) {
                left(item, &format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), reading, to);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                left(item, &format!("{pointer}/{n}"), reading, to);
            }
        }
        _ => to.push(pointer.into()),
    }
}
