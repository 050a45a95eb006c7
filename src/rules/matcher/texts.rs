//! Many texts looked for in one pass over a value.

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, MatchKind, dfa};

use crate::rules::matcher::atoms::AtomId;
use crate::rules::matcher::marks::Marks;

/// Up to so many bytes of texts a table with a row for each state is built; beyond, a slower and smaller one.
const TABLE_BYTES_MAX: usize = 64 * 1024;

/// Rule files are bounded in bytes, far below what an automaton can hold.
const BOUNDED: &str = "the texts of all rule files fit into an automaton";

/// Texts that may stand anywhere in a value.
#[derive(Debug)]
pub struct Inside {
    automaton: Anywhere,
    atoms: Vec<AtomId>,
}

#[derive(Debug)]
enum Anywhere {
    Table(Box<dfa::DFA>),
    Small(Box<contiguous::NFA>),
}

impl Inside {
    /// Builds the automaton; `None` when there is nothing to look for.
    pub fn new(texts: &[(String, AtomId)]) -> Option<Self> {
        if texts.is_empty() {
            return None;
        }
        let bytes: usize = texts.iter().map(|(text, _)| text.len()).sum();
        let patterns = texts.iter().map(|(text, _)| text.as_bytes());
        let automaton = if bytes <= TABLE_BYTES_MAX {
            let built = dfa::DFA::builder().match_kind(MatchKind::Standard).prefilter(false).build(patterns);
            Anywhere::Table(Box::new(built.expect(BOUNDED)))
        } else {
            let built = contiguous::NFA::builder().match_kind(MatchKind::Standard).prefilter(false).build(patterns);
            Anywhere::Small(Box::new(built.expect(BOUNDED)))
        };
        Some(Self { automaton, atoms: texts.iter().map(|(_, atom)| *atom).collect() })
    }

    /// Marks each text that the value has inside.
    pub fn find(&self, value: &[u8], marks: &mut Marks) {
        match &self.automaton {
            Anywhere::Table(automaton) => self.run(&**automaton, value, marks),
            Anywhere::Small(automaton) => self.run(&**automaton, value, marks),
        }
    }

    fn run(&self, automaton: &impl Automaton, value: &[u8], marks: &mut Marks) {
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
        for byte in value {
            state = automaton.next_state(Anchored::No, state, *byte);
            if automaton.is_special(state) && automaton.is_match(state) {
                for number in 0..automaton.match_len(state) {
                    marks.add(self.atoms[automaton.match_pattern(state, number).as_usize()]);
                }
            }
        }
    }
}

/// Texts with which a value may begin, or end: the walk stops where no text goes on.
#[derive(Debug)]
pub struct Beginnings {
    automaton: contiguous::NFA,
    atoms: Vec<AtomId>,
    backwards: bool,
}

impl Beginnings {
    /// Builds the automaton; `None` when there is nothing to look for.
    pub fn new(texts: &[(String, AtomId)], backwards: bool) -> Option<Self> {
        if texts.is_empty() {
            return None;
        }
        let pattern = |text: &String| -> Vec<u8> {
            if backwards { text.bytes().rev().collect() } else { text.bytes().collect() }
        };
        let patterns = texts.iter().map(|(text, _)| pattern(text));
        let built = contiguous::NFA::builder().match_kind(MatchKind::Standard).prefilter(false).build(patterns);
        Some(Self { automaton: built.expect(BOUNDED), atoms: texts.iter().map(|(_, atom)| *atom).collect(), backwards })
    }

    /// Marks each text with which the value begins, or ends.
    pub fn find(&self, value: &[u8], marks: &mut Marks) {
        if self.backwards { self.walk(value.iter().rev(), marks) } else { self.walk(value.iter(), marks) }
    }

    fn walk<'v>(&self, bytes: impl Iterator<Item = &'v u8>, marks: &mut Marks) {
        let automaton = &self.automaton;
        let Ok(mut state) = automaton.start_state(Anchored::Yes) else { return };
        for (before, byte) in bytes.enumerate() {
            state = automaton.next_state(Anchored::Yes, state, *byte);
            if !automaton.is_special(state) {
                continue;
            }
            if automaton.is_dead(state) {
                return;
            }
            if automaton.is_match(state) {
                for number in 0..automaton.match_len(state) {
                    let pattern = automaton.match_pattern(state, number);
                    // A state also lists the texts that end here and began later.
                    if automaton.pattern_len(pattern) == before + 1 {
                        marks.add(self.atoms[pattern.as_usize()]);
                    }
                }
            }
        }
    }
}
