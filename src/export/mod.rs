//! Alerts as other systems read them. Pure: a row of the index in, a line of text out.

pub mod ocsf;
