//! An alert or an event as single tests see it: each field looked up at most once.

use std::cell::OnceCell;

use serde_json::Value;

use crate::domain::alert::Alert;
use crate::rules::fields::Fields;
use crate::rules::found::Found;
use crate::rules::test::Prepared;

/// An alert or an event, with the fields that were looked up so far.
pub struct View<'a> {
    seen: Seen<'a>,
    fields: &'a Fields,
    found: Vec<OnceCell<Prepared<'a>>>,
}

enum Seen<'a> {
    Alert(&'a Alert),
    Event(&'a Value),
}

impl<'a> View<'a> {
    /// An alert, ready to be asked.
    pub fn of_alert(fields: &'a Fields, alert: &'a Alert) -> Self {
        Self::new(fields, Seen::Alert(alert))
    }

    /// An event, ready to be asked.
    pub fn of_event(fields: &'a Fields, event: &'a Value) -> Self {
        Self::new(fields, Seen::Event(event))
    }

    fn new(fields: &'a Fields, seen: Seen<'a>) -> Self {
        Self { seen, fields, found: fields.all().iter().map(|_| OnceCell::new()).collect() }
    }

    /// What is at a field.
    pub fn at(&self, field: usize) -> &Prepared<'a> {
        self.found[field].get_or_init(|| Prepared::new(self.look_up(field)))
    }

    fn look_up(&self, field: usize) -> Found<'a> {
        let field = &self.fields.all()[field];
        match self.seen {
            Seen::Alert(alert) => field.find(alert),
            Seen::Event(event) => field.find_in_event(event),
        }
    }
}
