//! What every rule carries: its id, and where it stands.

use std::collections::BTreeMap;

use crate::domain::decision::RuleRef;
use crate::rules::known::Reading;
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::Node;
use crate::yaml::reader::{MapReader, text};

/// The ids of one kind of rule, with the place of each.
pub type Ids = BTreeMap<String, Place>;

/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// Reads the id of a rule, which no other rule of its kind may have.
pub fn id(map: &mut MapReader, ids: &mut Ids, reading: &mut Reading) -> Option<RuleRef> {
    let node = map.need("id", &mut reading.faults)?;
    let id = text(node, &mut reading.faults)?;
    if !well_formed(id) {
        bad_id(node, id, reading);
        return None;
    }
    if let Some(first) = ids.get(id) {
        let message = format!("the id `{id}` is taken; first in {}", first.file_line());
        reading.faults.error("id-taken", &node.place, message);
        return None;
    }
    ids.insert(id.to_owned(), node.place.clone());
    Some(RuleRef { id: id.to_owned(), place: map.place().file_line() })
}

fn well_formed(id: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    id.len() <= ID_BYTES_MAX && id.starts_with(first) && id.chars().all(|c| first(c) || matches!(c, '_' | '.' | '-'))
}

fn bad_id(node: &Node, id: &str, reading: &mut Reading) {
    let message = format!("`{id}` is not an id: lower-case letters, digits, `-`, `_` and `.`, at most {ID_BYTES_MAX}");
    let fault = Diagnostic::error("bad-id", node.place.clone(), message);
    let lower = id.to_lowercase();
    let better: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect();
    let better = better.trim_start_matches(['-', '_', '.']);
    reading.faults.push(if well_formed(better) { fault.help(format!("write `{better}`")) } else { fault });
}
