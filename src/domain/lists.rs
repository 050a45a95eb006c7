//! Named lists of the bundle, as playbooks and rules look them up.

use std::collections::BTreeMap;

/// List name → key → value. A plain list's values are `true`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists(pub BTreeMap<String, BTreeMap<String, serde_json::Value>>);
