//! Rule files to checked rules: what the engine decides by, and the formats that make alerts of records.
//!
//! Everything here is pure: texts of files in, rules and diagnostics out. A rule that exists is valid,
//! because only the readers in this folder can build one.

pub mod advise;
pub mod compile;
pub mod condition;
pub mod contradiction;
pub mod detection;
pub mod draft;
pub mod encode;
pub mod expand;
pub mod explain;
pub mod fields;
pub mod found;
pub mod guard;
pub mod header;
pub mod item;
pub mod known;
pub mod lists;
pub mod matcher;
pub mod modifiers;
pub mod normalise;
pub mod owners;
pub mod pattern;
pub mod route;
pub mod sigma;
pub mod silence;
pub mod suppress;
pub mod test;
pub mod times;
pub mod url;
pub mod view;
pub mod wanted;

#[cfg(test)]
mod tests;
