//! `journal:` in `soard.yaml`: which keys sign checkpoints.

use crate::domain::secret::SecretRef;
use crate::yaml::node::Node;
use crate::yaml::reader::{Faults, MapReader};
use crate::yaml::secret::secret_ref;

/// What the user wants of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Keys for checkpoints, the one in charge first; empty: soard makes its own and keeps it in the state folder.
    pub keys: Vec<SecretRef>,
}

impl Policy {
    /// Reads the map below `journal`.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map = MapReader::new(node, "a map with `key`", faults)?;
        let keys = map.list("key").unwrap_or_default();
        let keys = keys.iter().filter_map(|key| secret_ref(key, faults)).collect();
        map.finish(faults);
        Some(Self { keys })
    }
}
