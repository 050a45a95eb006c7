//! Rule files to checked rules: what the engine decides by, and the formats that make alerts of records.
//!
//! Everything here is pure: texts of files in, rules and diagnostics out. A rule that exists is valid,
//! because only the readers in this folder can build one.
