//! Watch lists and indicators of a bundle, as rules and playbooks look them up.

use std::collections::BTreeMap;

use serde_json::Value;

/// List name → key → value. A plain list of strings maps each of them to `true`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists(pub BTreeMap<String, BTreeMap<String, Value>>);

impl Lists {
    /// The value of a key; `None` when there is no such list or the list does not have the key.
    pub fn lookup(&self, list: &str, key: &str) -> Option<&Value> {
        self.0.get(list)?.get(key)
    }
}
