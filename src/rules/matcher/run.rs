//! One document on its way through the matcher: its values come in, the numbers of the rules that hold go out.

use serde_json::Number;

use crate::rules::found::{Actual, Found};
use crate::rules::matcher::atoms::{AtomId, NONE};
use crate::rules::matcher::engine::Engine;
use crate::rules::matcher::lower::{Group, Node};
use crate::rules::matcher::marks::Marks;
use crate::rules::test::Prepared;

/// The field is there.
const PRESENT: u8 = 1;
/// It has a value other than null.
const VALUED: u8 = 2;
/// It has null among its values.
const NULL: u8 = 4;

/// Longer lists of atoms are searched for what is true, instead of being asked one by one.
const ASKED_MAX: usize = 64;

/// Room to work in, kept from one document to the next; always left empty.
#[derive(Debug, Default)]
pub struct Scratch {
    atoms: Marks,
    late_known: Marks,
    late_held: Marks,
    rules: Marks,
    fields: Vec<u8>,
    buffer: String,
}

impl Scratch {
    /// Makes room for an engine.
    pub fn reserve(&mut self, engine: &Engine) {
        self.atoms.reserve(engine.atoms);
        self.late_known.reserve(engine.late.len());
        self.late_held.reserve(engine.late.len());
        self.rules.reserve(engine.programs.len());
        self.fields.clear();
        self.fields.resize(engine.values.len(), 0);
    }

    fn clear(&mut self) {
        self.atoms.clear();
        self.late_known.clear();
        self.late_held.clear();
        self.rules.clear();
    }
}

/// A document's values so far, against an engine.
pub struct Run<'m, 'd> {
    engine: &'m Engine,
    scratch: &'m mut Scratch,
    kept: Vec<(u32, Actual<'d>)>,
    prepared: Vec<(u32, Prepared<'d>)>,
}

impl<'m, 'd> Run<'m, 'd> {
    /// Begins with no value at all.
    pub fn new(engine: &'m Engine, scratch: &'m mut Scratch) -> Self {
        Self { engine, scratch, kept: Vec::new(), prepared: Vec::new() }
    }

    /// Forgets everything that was told.
    pub fn restart(&mut self) {
        self.scratch.clear();
        self.scratch.fields.fill(0);
        self.kept.clear();
    }

    /// A field is there, with whatever values.
    pub fn present(&mut self, field: usize) {
        self.scratch.fields[field] |= PRESENT;
    }

    /// A field has a map, which no rule can compare.
    pub fn whole(&mut self, field: usize) {
        self.scratch.fields[field] |= VALUED;
    }

    /// A field has this number.
    pub fn number(&mut self, field: usize, number: Number) {
        self.value(field, Actual::Number(number));
    }

    /// A field has this value.
    pub fn value(&mut self, field: usize, value: Actual<'d>) {
        let Scratch { atoms, fields, buffer, .. } = &mut *self.scratch;
        match value {
            Actual::Null => {
                fields[field] |= NULL;
                return;
            }
            Actual::Whole(_) => {
                fields[field] |= VALUED;
                return;
            }
            _ => fields[field] |= VALUED,
        }
        let index = &self.engine.values[field];
        index.mark(&value, buffer, atoms);
        if index.keeps {
            self.kept.push((u32::try_from(field).expect("a field's number"), value));
        }
    }

    /// The numbers of the rules that hold, in order.
    pub fn finish(mut self) -> Vec<u32> {
        self.absences();
        let engine = self.engine;
        let mut held: Vec<u32> = engine.everything.clone();
        let mut rules = std::mem::take(&mut self.scratch.rules);
        let atoms = std::mem::take(&mut self.scratch.atoms);
        engine.postings.wake(&atoms, |woken| {
            if rules.has(woken.rule) {
                return;
            }
            // A rule whose clause does not decide is asked once; one that holds is not asked again.
            let holds = woken.holds || self.asked(woken.rule, &atoms);
            rules.add(woken.rule);
            if holds {
                held.push(woken.rule);
            }
        });
        for rule in &engine.always_asked {
            if self.asked(*rule, &atoms) {
                held.push(*rule);
            }
        }
        self.scratch.rules = rules;
        self.scratch.atoms = atoms;
        self.scratch.clear();
        held.sort_unstable();
        held
    }

    /// Marks what only the end of the document tells.
    fn absences(&mut self) {
        let Scratch { atoms, fields, .. } = &mut *self.scratch;
        for field in &self.engine.absences {
            let (index, seen) = (&self.engine.values[*field as usize], fields[*field as usize]);
            if index.exists != NONE && seen & PRESENT != 0 {
                atoms.add(index.exists);
            }
            if index.null != NONE && (seen & VALUED == 0 || seen & NULL != 0) {
                atoms.add(index.null);
            }
        }
    }

    fn asked(&mut self, rule: u32, atoms: &Marks) -> bool {
        let engine = self.engine;
        engine.programs[rule as usize].as_ref().is_some_and(|program| self.holds(program, atoms))
    }

    fn holds(&mut self, node: &Node, atoms: &Marks) -> bool {
        match node {
            Node::Always(held) => *held,
            Node::Atom(atom) => atoms.has(*atom),
            Node::Late(test) => self.late(*test),
            Node::Any(group) => any(&group.atoms, atoms) || group.rest.iter().any(|node| self.holds(node, atoms)),
            Node::All(group) => self.all(group, atoms),
            Node::AtLeast(wanted, nodes) => {
                let held = nodes.iter().filter(|node| self.holds(node, atoms));
                held.take(*wanted).count() == *wanted
            }
            Node::Not(node) => !self.holds(node, atoms),
        }
    }

    fn all(&mut self, group: &Group, atoms: &Marks) -> bool {
        group.atoms.iter().all(|atom| atoms.has(*atom)) && group.rest.iter().all(|node| self.holds(node, atoms))
    }

    /// Runs a test at most once.
    fn late(&mut self, test: u32) -> bool {
        if self.scratch.late_known.add(test) {
            let engine = self.engine;
            let (field, wanted) = &engine.late[test as usize];
            self.prepare(*field);
            if let Some(other) = wanted.other_field() {
                self.prepare(other);
            }
            let at = |field: u32| {
                let found = self.prepared.iter().find(|(known, _)| *known == field);
                &found.expect("the field was prepared just before").1
            };
            if wanted.hits(at(*field), &|field| at(u32::try_from(field).expect("a field's number"))) {
                self.scratch.late_held.add(test);
            }
        }
        self.scratch.late_held.has(test)
    }

    fn prepare(&mut self, field: u32) {
        if self.prepared.iter().any(|(known, _)| *known == field) {
            return;
        }
        let values: Vec<Actual> =
            self.kept.iter().filter(|(of, _)| *of == field).map(|(_, value)| value.clone()).collect();
        let present = !values.is_empty();
        self.prepared.push((field, Prepared::new(Found { present, values })));
    }
}

fn any(wanted: &[AtomId], atoms: &Marks) -> bool {
    if wanted.len() <= ASKED_MAX {
        return wanted.iter().any(|atom| atoms.has(*atom));
    }
    atoms.all().iter().any(|atom| wanted.binary_search(atom).is_ok())
}
