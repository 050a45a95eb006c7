//! The nouns of soard as plain data: no IO, no clock, no decisions.

pub mod alert;
pub mod approval;
pub mod attack;
pub mod brakes;
pub mod bytes;
pub mod decision;
pub mod effect;
pub mod entry;
pub mod export;
pub mod hold;
pub mod id;
pub mod lists;
pub mod mail;
pub mod operator;
pub mod recipient;
pub mod record;
pub mod secret;
pub mod silence;
pub mod text;
pub mod time;
pub mod token;
pub mod triage;
