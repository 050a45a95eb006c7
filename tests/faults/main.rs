//! The daemon among peers that fail, is killed among them, and delivers all the same. The oracle stands outside: it
//! knows what the peers got and reads the journal as plain JSON.

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod full;
mod hold;
mod lanes;
mod letters;
mod matrix;
mod peers;
mod rest;
mod stages;
mod ways;
