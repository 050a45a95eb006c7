//! YAML with places: every value knows its line and column, and all faults of a file are reported at once.
//!
//! serde-saphyr parses; the tree is ours, because deriving `Deserialize` would stop at the first fault.

pub mod clock;
pub mod diagnostic;
pub mod node;
pub mod reader;
pub mod secret;
