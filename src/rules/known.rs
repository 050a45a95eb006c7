//! What rules may refer to, and the common ground of the readers in this folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::lists::Lists;
use crate::rules::fields::{Field, Fields, Subject};
use crate::yaml::diagnostic::{Diagnostic, Place, Sources};
use crate::yaml::node::Node;
use crate::yaml::reader::Faults;

/// What rules may refer to besides one another.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The bundle's playbooks by name, without `.rhai`.
    pub playbooks: BTreeMap<String, PlaybookEntries>,
    /// Names of the configured sources; `None` when there is no configuration to check against.
    pub sources: Option<BTreeSet<String>>,
}

/// Which entry functions a playbook has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaybookEntries {
    /// It has `on_alert(alert)`.
    pub on_alert: bool,
    /// It has `on_group(alerts)`.
    pub on_group: bool,
    /// It has `on_status(alert, change)`.
    pub on_status: bool,
}

/// One pass over all rule files: what was found out so far.
#[derive(Debug)]
pub struct Reading<'a> {
    /// All faults so far.
    pub faults: Faults,
    /// All fields that rules name.
    pub fields: Fields,
    /// What rules may refer to.
    pub known: &'a Known,
    /// The bundle's lists.
    pub lists: &'a Lists,
    /// What the rules are about.
    pub subject: Subject,
    /// The files' texts, to find places inside scalars.
    pub texts: &'a Sources,
}

impl<'a> Reading<'a> {
    /// Begins.
    pub fn new(texts: &'a Sources, known: &'a Known, lists: &'a Lists, subject: Subject) -> Self {
        Self { faults: Faults::default(), fields: Fields::default(), known, lists, subject, texts }
    }

    /// The place of a part of a scalar, `at` bytes into it; the scalar's own place when it cannot be told,
    /// as in folded text.
    pub fn inside(&self, place: &Place, scalar: &str, at: usize) -> Place {
        let line = self.texts.get(&*place.file).and_then(|text| text.lines().nth(place.line as usize - 1));
        let rest: String = line.unwrap_or_default().chars().skip(place.column as usize - 1).collect();
        let skip = if rest.starts_with(scalar) {
            0
        } else if rest.get(1..).is_some_and(|rest| rest.starts_with(scalar)) {
            1
        } else {
            return place.clone();
        };
        let chars = scalar[..at].chars().count() + skip;
        Place { column: place.column + u32::try_from(chars).unwrap_or(0), ..place.clone() }
    }

    /// Checks a field path and notes what is wrong with it. The place is that of the scalar that begins with it.
    pub fn field(&mut self, text: &str, place: &Place) -> Option<Field> {
        let parsed = match self.subject {
            Subject::Alert => Field::parse(text),
            Subject::Event => Field::of_event(text),
        };
        match parsed {
            Ok(field) => {
                if let Some((kind, near)) = field.unknown_entity_type() {
                    let message = format!("no shipped format gives entities of type `{kind}`");
                    let mut fault = Diagnostic::warning("unknown-entity-type", self.inside(place, text, 0), message)
                        .underline(text);
                    fault.help = near.map(|near| format!("did you mean `{}`?", text.replacen(kind, near, 1)));
                    self.faults.push(fault);
                }
                Some(field)
            }
            Err(bad) => {
                let mut fault =
                    Diagnostic::error("bad-field", self.inside(place, text, 0), bad.message).underline(text);
                fault.help = bad.help;
                self.faults.push(fault);
                None
            }
        }
    }

    /// Notes a value that is of the right type and still cannot be used.
    pub fn bad_value(&mut self, node: &Node, message: impl Into<String>, help: Option<String>) {
        let mut fault = Diagnostic::error("bad-value", node.place.clone(), message);
        fault.help = help;
        self.faults.push(fault);
    }
}
