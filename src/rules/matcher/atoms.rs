//! The distinct questions that all rules ask of a field, each asked once for a document.

use std::collections::HashMap;

use ipnet::IpNet;
use serde_json::Number;

use crate::rules::matcher::hash::Table;
use crate::rules::modifiers::{Order, RegexFlags, TimePart};
use crate::rules::pattern::Pattern;
use crate::rules::test::{Reference, Test};

/// The number of an atom.
pub type AtomId = u32;

/// No atom.
pub const NONE: AtomId = AtomId::MAX;

/// A question that an index answers from the value alone. Texts are folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Atom {
    /// The value is this text.
    Exact(String),
    /// It begins so.
    Starts(String),
    /// It ends so.
    Ends(String),
    /// It has this inside.
    Contains(String),
    /// It is this number.
    Number(Number),
    /// It is an address in this network.
    Network(IpNet),
    /// The field has a text, a number or a boolean.
    HasText,
    /// The field has no value, or null.
    Null,
    /// The field is there.
    Exists,
}

/// What tells two tests apart that are only run when a rule depends on them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum LateKey {
    Pattern(Pattern),
    Regex(String, RegexFlags),
    Above(Order, String),
    Part(TimePart, Option<Order>, i64),
    Other(Reference),
}

/// Gives each distinct question a number.
#[derive(Debug, Default)]
pub struct Atoms {
    numbers: Table<(u32, Atom), AtomId>,
    /// How many rules name each atom.
    pub uses: Vec<u32>,
    /// The chance that an atom is true of an alert, guessed from its kind.
    pub chances: Vec<f32>,
    late_numbers: HashMap<(u32, LateKey), u32>,
    /// Tests that are only run when a rule depends on them, with their fields.
    pub late: Vec<(u32, Test)>,
}

impl Atoms {
    /// The number of an atom of this field.
    pub fn number(&mut self, field: u32, atom: Atom) -> AtomId {
        let next = u32::try_from(self.uses.len()).expect("fewer than four billion atoms fit into memory");
        let chance = chance(&atom);
        let number = *self.numbers.entry((field, atom)).or_insert(next);
        if number == next {
            self.uses.push(0);
            self.chances.push(chance);
        }
        number
    }

    /// The number of a test that no index answers.
    pub fn late(&mut self, field: u32, test: &Test) -> u32 {
        let key = match test {
            Test::Text(pattern) => LateKey::Pattern(pattern.clone()),
            Test::Regex(regex, flags) => LateKey::Regex(regex.as_str().to_owned(), *flags),
            Test::Above(order, bound) => LateKey::Above(*order, format!("{bound:?}")),
            Test::Part(part, order, number) => LateKey::Part(*part, *order, *number),
            Test::Other(reference) => LateKey::Other(reference.clone()),
            Test::Number(_) | Test::Flag(_) | Test::Null | Test::Exists(_) | Test::Network(_) => {
                unreachable!("an index answers these")
            }
        };
        let next = u32::try_from(self.late.len()).expect("fewer than four billion tests fit into memory");
        let number = *self.late_numbers.entry((field, key)).or_insert(next);
        if number == next {
            self.late.push((field, test.clone()));
        }
        number
    }

    /// All atoms with their fields and numbers.
    pub fn into_all(self) -> impl Iterator<Item = (u32, Atom, AtomId)> {
        self.numbers.into_iter().map(|((field, atom), number)| (field, atom, number))
    }
}

/// How likely an atom is, as far as its own look says: only the order of these matters.
fn chance(atom: &Atom) -> f32 {
    match atom {
        Atom::Exact(text) => match text.len() {
            0..=1 => 0.05,
            2..=5 => 0.005,
            6..=8 => 5e-4,
            _ => 5e-5,
        },
        Atom::Starts(text) | Atom::Ends(text) | Atom::Contains(text) => match text.len() {
            0..=1 => 0.5,
            2 => 0.2,
            3 => 0.05,
            4..=5 => 0.01,
            6..=9 => 0.003,
            _ => 0.001,
        },
        Atom::Number(_) => 0.005,
        Atom::Network(network) => 0.3 * 0.8_f32.powi(network.prefix_len().min(64).into()),
        Atom::HasText => 0.8,
        Atom::Null => 0.7,
        Atom::Exists => 0.9,
    }
}
