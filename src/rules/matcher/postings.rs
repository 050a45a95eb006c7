//! Which rules are listed under which atoms.

use crate::rules::matcher::atoms::AtomId;
use crate::rules::matcher::cover::Clause;
use crate::rules::matcher::hash::Table;
use crate::rules::matcher::marks::Marks;

/// Longer lists are found by pairs of atoms instead of being read through.
const LIST_MAX: u32 = 48;

/// A rule under an atom.
#[derive(Debug, Clone, Copy)]
struct Posting {
    /// The atom that must be true as well; the listing atom itself when there is none.
    second: AtomId,
    /// The rule's number, and in the lowest bit whether it need not be asked.
    rule: u32,
}

/// Where an atom's postings lie, and how to find the right ones.
#[derive(Debug, Clone, Copy, Default)]
struct List {
    from: u32,
    until: u32,
    /// From here on the postings have a second atom and are found by pairs.
    paired: u32,
}

/// A rule that one of its clauses brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Woken {
    /// Its number.
    pub rule: u32,
    /// It holds; otherwise its program says.
    pub holds: bool,
}

/// All rules, by atoms.
#[derive(Debug, Default)]
pub struct Postings {
    lists: Vec<List>,
    all: Vec<Posting>,
    pairs: Table<u64, (u32, u32)>,
    /// Atoms that stand second in a pair.
    seconds: Marks,
}

impl Postings {
    /// Lists the clauses of the rules.
    pub fn new(clauses: &[(u32, Clause)], atoms: usize) -> Self {
        let mut out = Self { lists: vec![List::default(); atoms], ..Self::default() };
        out.seconds.reserve(atoms);
        let key = |(rule, clause): &(u32, Clause)| (clause.first, clause.second.map_or(0, |second| second + 1), *rule);
        let mut sorted: Vec<&(u32, Clause)> = clauses.iter().collect();
        sorted.sort_by_key(|clause| key(clause));
        for of_one in sorted.chunk_by(|a, b| a.1.first == b.1.first) {
            out.list(of_one);
        }
        out
    }

    fn list(&mut self, clauses: &[&(u32, Clause)]) {
        let first = clauses[0].1.first;
        let from = self.len();
        for (rule, clause) in clauses {
            let second = clause.second.unwrap_or(first);
            self.all.push(Posting { second, rule: rule << 1 | u32::from(clause.exact) });
        }
        let until = self.len();
        let alone = clauses.iter().filter(|(_, clause)| clause.second.is_none()).count();
        let alone = from + u32::try_from(alone).expect("no more than all postings");
        let paired = if until - alone > LIST_MAX { alone } else { until };
        let mut at = paired;
        for of_pair in self.all[paired as usize..until as usize].chunk_by(|a, b| a.second == b.second) {
            let end = at + u32::try_from(of_pair.len()).expect("no more than all postings");
            self.pairs.insert(pair(first, of_pair[0].second), (at, end));
            self.seconds.add(of_pair[0].second);
            at = end;
        }
        self.lists[first as usize] = List { from, until, paired };
    }

    fn len(&self) -> u32 {
        u32::try_from(self.all.len()).expect("fewer than four billion postings fit into memory")
    }

    /// Tells each rule of which a clause is true; one rule may be told several times.
    pub fn wake(&self, marks: &Marks, mut tell: impl FnMut(Woken)) {
        let mut seconds: Option<Vec<AtomId>> = None;
        for first in marks.all() {
            let list = self.lists[*first as usize];
            for posting in &self.all[list.from as usize..list.paired as usize] {
                if marks.has(posting.second) {
                    tell(posting.woken());
                }
            }
            if list.paired == list.until {
                continue;
            }
            let seconds = seconds
                .get_or_insert_with(|| marks.all().iter().copied().filter(|atom| self.seconds.has(*atom)).collect());
            for second in seconds.iter() {
                if let Some((from, until)) = self.pairs.get(&pair(*first, *second)) {
                    self.all[*from as usize..*until as usize].iter().for_each(|posting| tell(posting.woken()));
                }
            }
        }
    }
}

impl Posting {
    fn woken(self) -> Woken {
        Woken { rule: self.rule >> 1, holds: self.rule & 1 == 1 }
    }
}

fn pair(first: AtomId, second: AtomId) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}
