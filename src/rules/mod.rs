//! Rule files to checked rules, and records to alerts. Pure: no clock, no files, no network.

pub mod normalise;
