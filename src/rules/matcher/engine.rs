//! All rules in the form in which a document is run through them.

use crate::rules::detection::Detection;
use crate::rules::matcher::atoms::{Atoms, NONE};
use crate::rules::matcher::cover::{Chances, Clause};
use crate::rules::matcher::lower::{self, Node};
use crate::rules::matcher::postings::Postings;
use crate::rules::matcher::values::{Questions, ValueIndex};
use crate::rules::test::Test;

/// The compiled rules.
#[derive(Debug, Default)]
pub struct Engine {
    /// How many atoms there are.
    pub atoms: usize,
    /// Of each field.
    pub values: Vec<ValueIndex>,
    /// Fields of which the end of the document tells something.
    pub absences: Vec<u32>,
    /// Tests that are only run when a rule depends on them, with their fields.
    pub late: Vec<(u32, Test)>,
    /// Which rules to look at.
    pub postings: Postings,
    /// What is asked of a rule, unless its clauses decide.
    pub programs: Vec<Option<Node>>,
    /// Rules that hold for every document.
    pub everything: Vec<u32>,
    /// Rules that can hold without any atom being true, as those that only deny.
    pub always_asked: Vec<u32>,
}

impl Engine {
    /// Compiles detections over this many fields; `None` matches everything.
    pub fn new<'r>(detections: impl Iterator<Item = Option<&'r Detection>>, fields: usize) -> Self {
        let mut atoms = Atoms::default();
        let mut everything = Vec::new();
        let mut nodes = Vec::new();
        for (rule, detection) in (0_u32..).zip(detections) {
            let node = detection.map_or(Node::Always(true), |detection| lower::detection(detection, &mut atoms));
            match &node {
                Node::Always(true) => everything.push(rule),
                node => node.atoms(&mut |atom| atoms.uses[atom as usize] += 1),
            }
            nodes.push(node);
        }
        let chances = Chances::new(&atoms.chances, &atoms.uses, nodes.len());
        let mut clauses: Vec<(u32, Clause)> = Vec::new();
        let mut always_asked = Vec::new();
        let mut programs = Vec::new();
        for (rule, node) in (0_u32..).zip(nodes) {
            let constant = matches!(node, Node::Always(_));
            let cover = if constant { Some(Vec::new()) } else { chances.cover(&node) };
            let decided = cover.as_ref().is_some_and(|cover| cover.iter().all(|clause| clause.exact));
            match cover {
                Some(cover) => clauses.extend(cover.into_iter().map(|clause| (rule, clause))),
                None => always_asked.push(rule),
            }
            programs.push((!constant && !decided).then_some(node));
        }
        let count = atoms.uses.len();
        let late = std::mem::take(&mut atoms.late);
        let values = values(atoms, &late, fields);
        let absent = |field: &u32| {
            let index = &values[*field as usize];
            index.null != NONE || index.exists != NONE
        };
        let absences = (0..u32::try_from(values.len()).expect("a field's number")).filter(absent).collect();
        let postings = Postings::new(&clauses, count);
        Self { atoms: count, values, absences, late, postings, programs, everything, always_asked }
    }
}

fn values(atoms: Atoms, late: &[(u32, Test)], fields: usize) -> Vec<ValueIndex> {
    let mut questions: Vec<Questions> = (0..fields).map(|_| Questions::default()).collect();
    for (field, atom, number) in atoms.into_all() {
        questions[field as usize].add(atom, number);
    }
    let mut keeps = vec![false; fields];
    for (field, test) in late {
        keeps[*field as usize] = true;
        if let Some(other) = test.other_field() {
            keeps[other as usize] = true;
        }
    }
    questions.into_iter().zip(keeps).map(|(questions, keeps)| ValueIndex::new(questions, keeps)).collect()
}
