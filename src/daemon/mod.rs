//! Joins the core to the world: the only place that does.

pub mod api;
pub mod query;
pub mod report;
