//! What is asked of one field, arranged so that a value answers all of it at once.

use ipnet::IpNet;
use serde_json::Number;

use crate::rules::found::Actual;
use crate::rules::matcher::atoms::{Atom, AtomId, NONE};
use crate::rules::matcher::hash::Table;
use crate::rules::matcher::marks::Marks;
use crate::rules::matcher::networks::Networks;
use crate::rules::matcher::texts::{Beginnings, Inside};
use crate::rules::test::{address, as_number, equal_numbers};

/// The questions about one field.
#[derive(Debug)]
pub struct ValueIndex {
    exact: Table<Box<str>, AtomId>,
    starts: Option<Beginnings>,
    ends: Option<Beginnings>,
    inside: Option<Inside>,
    numbers: Table<u64, Vec<(Number, AtomId)>>,
    networks: Option<Networks>,
    has_text: AtomId,
    /// Asked once the whole document is known.
    pub null: AtomId,
    /// Asked once the whole document is known.
    pub exists: AtomId,
    /// The values are kept, for tests that are run later.
    pub keeps: bool,
}

/// A field's atoms by kind, on their way into an index.
#[derive(Debug, Default)]
pub struct Questions {
    texts: [Vec<(String, AtomId)>; 4],
    numbers: Vec<(Number, AtomId)>,
    networks: Vec<(IpNet, AtomId)>,
    has_text: Option<AtomId>,
    null: Option<AtomId>,
    exists: Option<AtomId>,
}

impl Questions {
    /// Takes one atom.
    pub fn add(&mut self, atom: Atom, number: AtomId) {
        match atom {
            Atom::Exact(text) => self.texts[0].push((text, number)),
            Atom::Starts(text) => self.texts[1].push((text, number)),
            Atom::Ends(text) => self.texts[2].push((text, number)),
            Atom::Contains(text) => self.texts[3].push((text, number)),
            Atom::Number(wanted) => self.numbers.push((wanted, number)),
            Atom::Network(network) => self.networks.push((network, number)),
            Atom::HasText => self.has_text = Some(number),
            Atom::Null => self.null = Some(number),
            Atom::Exists => self.exists = Some(number),
        }
    }
}

impl ValueIndex {
    /// Arranges a field's questions.
    pub fn new(questions: Questions, keeps: bool) -> Self {
        let [exact, starts, ends, inside] = questions.texts;
        let mut numbers: Table<u64, Vec<(Number, AtomId)>> = Table::default();
        for (number, atom) in questions.numbers {
            numbers.entry(rough(&number)).or_default().push((number, atom));
        }
        Self {
            exact: exact.into_iter().map(|(text, atom)| (text.into_boxed_str(), atom)).collect(),
            starts: Beginnings::new(&starts, false),
            ends: Beginnings::new(&ends, true),
            inside: Inside::new(&inside),
            numbers,
            networks: Networks::new(&questions.networks),
            has_text: questions.has_text.unwrap_or(NONE),
            null: questions.null.unwrap_or(NONE),
            exists: questions.exists.unwrap_or(NONE),
            keeps,
        }
    }

    /// Marks what is true of a value; `buffer` is room to work in.
    pub fn mark(&self, value: &Actual, buffer: &mut String, marks: &mut Marks) {
        if self.has_text != NONE {
            marks.add(self.has_text);
        }
        let text = folded(value, buffer);
        self.mark_text(text, marks);
        if !self.numbers.is_empty() && may_be_number(text) {
            self.mark_number(value, marks);
        }
    }

    fn mark_text(&self, text: &str, marks: &mut Marks) {
        if !self.exact.is_empty()
            && let Some(atom) = self.exact.get(text)
        {
            marks.add(*atom);
        }
        if let Some(starts) = &self.starts {
            starts.find(text.as_bytes(), marks);
        }
        if let Some(ends) = &self.ends {
            ends.find(text.as_bytes(), marks);
        }
        if let Some(inside) = &self.inside {
            inside.find(text.as_bytes(), marks);
        }
        if let Some(networks) = &self.networks
            && let Some(address) = address(text)
        {
            networks.find(address, marks);
        }
    }

    fn mark_number(&self, value: &Actual, marks: &mut Marks) {
        let Some(actual) = as_number(value) else { return };
        for (wanted, atom) in self.numbers.get(&rough(&actual)).into_iter().flatten() {
            if equal_numbers(&actual, wanted) {
                marks.add(*atom);
            }
        }
    }
}

/// Equal numbers have equal rough numbers.
fn rough(number: &Number) -> u64 {
    // Adding zero makes one zero of both.
    (number.as_f64().unwrap_or(0.0) + 0.0).to_bits()
}

fn may_be_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// The value's text, folded as [`crate::rules::pattern::fold`] does; a map has none.
fn folded<'t>(value: &'t Actual, buffer: &'t mut String) -> &'t str {
    let text = match value {
        Actual::Text(text) => &**text,
        Actual::Flag(flag) => return if *flag { "true" } else { "false" },
        Actual::Number(number) => {
            use std::fmt::Write;
            buffer.clear();
            let _ = write!(buffer, "{number}");
            buffer.make_ascii_lowercase();
            return buffer;
        }
        Actual::Null | Actual::Whole(_) => return "",
    };
    let look = text.bytes().fold(0_u8, |all, byte| all | byte & 0x80 | u8::from(byte.is_ascii_uppercase()));
    if look == 0 {
        return text;
    }
    buffer.clear();
    if look & 0x80 == 0 {
        buffer.push_str(text);
        buffer.make_ascii_lowercase();
    } else {
        buffer.extend(text.chars().flat_map(char::to_lowercase));
    }
    buffer
}
