//! soard takes security alerts from many sources, decides by rules kept in git which to keep quiet
//! and which to act on, runs durable playbooks, and records every decision in an append-only journal.
//!
//! Read the folders from the bottom up; each imports only those above it in this list:
//!
//! 1. [`domain`]: the nouns, plain data
//! 2. `yaml`: YAML with places, and diagnostics
//! 3. `rules`: rule files to checked rules, the matcher, formats
//! 4. `playbooks` and `engine`: pure evaluation and pure decisions
//! 5. `journal`, `sources`, `actions`: the adapters to the world
//! 6. `index`: the journal as tables, for queries; `export`: its rows as other systems read them
//! 7. `daemon`: the only place that joins the core to the world
//! 8. `console`: the HTTP API, on the control socket and on the server
//! 9. `cli`: one file per subcommand

pub mod actions;
pub mod cli;
pub mod console;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod export;
pub mod index;
pub mod journal;
pub mod playbooks;
pub mod rules;
pub mod sources;
pub mod yaml;
