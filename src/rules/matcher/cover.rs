//! By which atoms a rule is found: whenever the rule holds, so does one of its clauses.

use crate::rules::matcher::atoms::AtomId;
use crate::rules::matcher::lower::{Group, Node};

/// One atom that must be true, and maybe a second one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clause {
    /// The rarer one: the rule is listed under it.
    pub first: AtomId,
    /// The other, asked before the rule itself.
    pub second: Option<AtomId>,
    /// When both are true the rule holds, and need not be asked.
    pub exact: bool,
}

/// How likely each atom is, as far as the rules and its own look say.
#[derive(Debug)]
pub struct Chances {
    each: Vec<f32>,
}

/// More clauses are not given a second atom that stands in several.
const PRODUCT_MAX: usize = 64;

impl Chances {
    /// Rules mirror what they are about: an atom that many rules name is common.
    pub fn new(own: &[f32], uses: &[u32], rules: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a guess needs no precision")]
        let share = |uses: u32| 0.5 * uses as f32 / rules.max(1) as f32;
        Self { each: own.iter().zip(uses).map(|(own, uses)| own.max(share(*uses))).collect() }
    }

    fn of(&self, atom: AtomId) -> f32 {
        self.each[atom as usize]
    }

    fn cost(&self, cover: &[Clause]) -> f32 {
        cover.iter().map(|clause| self.of(clause.first)).sum()
    }

    /// The clauses of a rule; `None` when it can hold without any atom being true.
    pub fn cover(&self, node: &Node) -> Option<Vec<Clause>> {
        match node {
            Node::Atom(atom) => Some(vec![Clause { first: *atom, second: None, exact: true }]),
            Node::Always(false) => Some(Vec::new()),
            Node::Always(true) | Node::Late(_) | Node::Not(_) => None,
            Node::Any(group) => {
                let mut out: Vec<Clause> =
                    group.atoms.iter().filter_map(|atom| self.cover(&Node::Atom(*atom))).flatten().collect();
                for node in &group.rest {
                    out.extend(self.cover(node)?);
                }
                Some(out)
            }
            Node::All(group) => self.cover_all(group),
            Node::AtLeast(wanted, nodes) => {
                let mut covers: Vec<Vec<Clause>> = nodes.iter().filter_map(|node| self.cover(node)).collect();
                covers.sort_by(|a, b| self.cost(a).total_cmp(&self.cost(b)));
                // Of so many at least one holds, since only the others could do without.
                let enough = nodes.len() + 1 - wanted;
                (covers.len() >= enough).then(|| inexact(covers.into_iter().take(enough).flatten().collect()))
            }
        }
    }

    fn cover_all(&self, group: &Group) -> Option<Vec<Clause>> {
        let parts = group.atoms.len() + group.rest.len();
        let atoms = group.atoms.iter().filter_map(|atom| self.cover(&Node::Atom(*atom)));
        let mut covers: Vec<Vec<Clause>> = atoms.chain(group.rest.iter().filter_map(|node| self.cover(node))).collect();
        covers.sort_by(|a, b| self.cost(a).total_cmp(&self.cost(b)));
        let mut covers = covers.into_iter();
        let best = covers.next()?;
        let Some(second) = covers.next() else { return Some(if parts == 1 { best } else { inexact(best) }) };
        let complete = parts == 2;
        if second.len() > 1 && best.len() * second.len() > PRODUCT_MAX {
            return Some(inexact(best));
        }
        let join = |a: &Clause| second.iter().map(move |b| self.joined(a, b, complete)).collect::<Vec<_>>();
        Some(best.iter().flat_map(join).collect())
    }

    /// Both clauses at once; of more than two atoms the rarest two.
    fn joined(&self, a: &Clause, b: &Clause, complete: bool) -> Clause {
        let mut atoms: Vec<AtomId> = [Some(a.first), a.second, Some(b.first), b.second].into_iter().flatten().collect();
        atoms.sort_by(|a, b| self.of(*a).total_cmp(&self.of(*b)).then(a.cmp(b)));
        atoms.dedup();
        let exact = complete && a.exact && b.exact && atoms.len() <= 2;
        Clause { first: atoms[0], second: atoms.get(1).copied(), exact }
    }
}

fn inexact(mut clauses: Vec<Clause>) -> Vec<Clause> {
    for clause in &mut clauses {
        clause.exact = false;
    }
    clauses
}
