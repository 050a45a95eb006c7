//! Detections to programs over atoms.

use crate::domain::alert::Severity;
use crate::rules::condition::Expr;
use crate::rules::detection::{Detection, Search};
use crate::rules::item::Item;
use crate::rules::matcher::atoms::{Atom, AtomId, Atoms};
use crate::rules::matcher::literals;
use crate::rules::modifiers::{Order, RegexFlags};
use crate::rules::pattern::{Pattern, Shape, Token, fold};
use crate::rules::test::{Bound, Test};
use crate::rules::wanted::Wanted;

/// What a rule says, over atoms and late tests.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// The same of every document.
    Always(bool),
    /// An atom.
    Atom(AtomId),
    /// A test that is only run when it matters.
    Late(u32),
    /// One of them.
    Any(Group),
    /// All of them.
    All(Group),
    /// At least so many.
    AtLeast(usize, Vec<Node>),
    /// The contrary.
    Not(Box<Node>),
}

/// Nodes, with the plain atoms apart and sorted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// The atoms.
    pub atoms: Vec<AtomId>,
    /// All others.
    pub rest: Vec<Node>,
}

impl Group {
    fn add(&mut self, node: Node) {
        match node {
            Node::Atom(atom) => self.atoms.push(atom),
            other => self.rest.push(other),
        }
    }

    fn finish(&mut self) {
        self.atoms.sort_unstable();
        self.atoms.dedup();
    }

    fn is_one(&self) -> bool {
        self.atoms.len() + self.rest.len() == 1
    }

    fn one(mut self) -> Node {
        self.atoms.pop().map_or_else(|| self.rest.remove(0), Node::Atom)
    }
}

impl Node {
    /// One of them.
    pub fn any(nodes: impl IntoIterator<Item = Node>) -> Node {
        let mut group = Group::default();
        for node in nodes {
            match node {
                Node::Always(true) => return Node::Always(true),
                Node::Always(false) => {}
                Node::Any(inner) => {
                    group.atoms.extend(inner.atoms);
                    group.rest.extend(inner.rest);
                }
                other => group.add(other),
            }
        }
        group.finish();
        match group {
            group if group == Group::default() => Node::Always(false),
            group if group.is_one() => group.one(),
            group => Node::Any(group),
        }
    }

    /// All of them.
    pub fn all(nodes: impl IntoIterator<Item = Node>) -> Node {
        let mut group = Group::default();
        for node in nodes {
            match node {
                Node::Always(false) => return Node::Always(false),
                Node::Always(true) => {}
                Node::All(inner) => {
                    group.atoms.extend(inner.atoms);
                    group.rest.extend(inner.rest);
                }
                other => group.add(other),
            }
        }
        group.finish();
        match group {
            group if group == Group::default() => Node::Always(true),
            group if group.is_one() => group.one(),
            group => Node::All(group),
        }
    }

    /// The contrary.
    pub fn negated(self) -> Node {
        match self {
            Node::Always(held) => Node::Always(!held),
            Node::Not(inner) => *inner,
            other => Node::Not(Box::new(other)),
        }
    }

    fn at_least(wanted: usize, nodes: Vec<Node>) -> Node {
        let held = nodes.iter().filter(|node| **node == Node::Always(true)).count();
        let open: Vec<Node> = nodes.into_iter().filter(|node| !matches!(node, Node::Always(_))).collect();
        match wanted.saturating_sub(held) {
            0 => Node::Always(true),
            1 => Node::any(open),
            wanted if wanted > open.len() => Node::Always(false),
            wanted if wanted == open.len() => Node::all(open),
            wanted => Node::AtLeast(wanted, open),
        }
    }

    /// Each atom that it names.
    pub fn atoms(&self, tell: &mut impl FnMut(AtomId)) {
        match self {
            Node::Always(_) | Node::Late(_) => {}
            Node::Atom(atom) => tell(*atom),
            Node::Any(group) | Node::All(group) => {
                group.atoms.iter().for_each(|atom| tell(*atom));
                group.rest.iter().for_each(|node| node.atoms(tell));
            }
            Node::AtLeast(_, nodes) => nodes.iter().for_each(|node| node.atoms(tell)),
            Node::Not(node) => node.atoms(tell),
        }
    }
}

/// The program of a detection.
pub fn detection(detection: &Detection, atoms: &mut Atoms) -> Node {
    let searches: Vec<Node> = detection.searches.iter().map(|one| search(one, atoms)).collect();
    condition(&detection.condition, &searches)
}

fn condition(expr: &Expr, searches: &[Node]) -> Node {
    match expr {
        Expr::Search(number) => searches[*number].clone(),
        Expr::All(parts) => Node::all(parts.iter().map(|part| condition(part, searches))),
        Expr::AtLeast(wanted, parts) => {
            Node::at_least(*wanted, parts.iter().map(|part| condition(part, searches)).collect())
        }
        Expr::Not(part) => condition(part, searches).negated(),
    }
}

fn search(search: &Search, atoms: &mut Atoms) -> Node {
    let alternatives: Vec<Node> = search
        .alternatives
        .iter()
        .map(|items| {
            let items: Vec<Node> = items.iter().map(|one| item(one, atoms)).collect();
            Node::all(items)
        })
        .collect();
    Node::any(alternatives)
}

fn item(item: &Item, atoms: &mut Atoms) -> Node {
    let field = u32::try_from(item.field).expect("fewer than four billion fields fit into memory");
    let wants: Vec<Node> = item.wants.iter().map(|one| wanted(one, field, atoms)).collect();
    let node = if item.all { Node::all(wants) } else { Node::any(wants) };
    if item.negated { node.negated() } else { node }
}

fn wanted(wanted: &Wanted, field: u32, atoms: &mut Atoms) -> Node {
    let tests: Vec<Node> = wanted.tests.iter().map(|one| test(one, field, atoms)).collect();
    Node::any(tests)
}

fn test(test: &Test, field: u32, atoms: &mut Atoms) -> Node {
    let mut atom = |atom: Atom| Node::Atom(atoms.number(field, atom));
    match test {
        Test::Text(pattern) => text(test, pattern, field, atoms),
        Test::Number(number) => atom(Atom::Number(number.clone())),
        Test::Flag(flag) => atom(Atom::Exact(flag.to_string())),
        Test::Null => atom(Atom::Null),
        Test::Exists(true) => atom(Atom::Exists),
        Test::Exists(false) => atom(Atom::Exists).negated(),
        Test::Network(network) => atom(Atom::Network(*network)),
        Test::Regex(regex, flags) => regex_test(test, regex.as_str(), *flags, field, atoms),
        Test::Above(order, Bound::Severity(bound)) => severities(*order, *bound, field, atoms),
        Test::Above(..) | Test::Part(..) => late(test, vec![Atom::HasText], field, atoms),
        Test::Other(reference) => {
            let other = u32::try_from(reference.field).expect("fewer than four billion fields fit into memory");
            let there = Node::Atom(atoms.number(other, Atom::HasText));
            Node::all([late(test, vec![Atom::HasText], field, atoms), there])
        }
    }
}

/// A test that is run only after one of the atoms, which are true whenever the test is.
fn late(test: &Test, necessary: Vec<Atom>, field: u32, atoms: &mut Atoms) -> Node {
    let necessary: Vec<Node> = necessary.into_iter().map(|atom| Node::Atom(atoms.number(field, atom))).collect();
    Node::all([Node::any(necessary), Node::Late(atoms.late(field, test))])
}

fn severities(order: Order, bound: Severity, field: u32, atoms: &mut Atoms) -> Node {
    let held = Severity::ALL.into_iter().filter(|severity| order.holds(severity.cmp(&bound)));
    let words: Vec<Node> =
        held.map(|severity| Node::Atom(atoms.number(field, Atom::Exact(severity.as_str().into())))).collect();
    Node::any(words)
}

fn text(test: &Test, pattern: &Pattern, field: u32, atoms: &mut Atoms) -> Node {
    let atom = match pattern.shape() {
        Shape::Anything => Atom::HasText,
        Shape::Exact(text) => Atom::Exact(fold(text).into_owned()),
        Shape::Starts(text) => Atom::Starts(fold(text).into_owned()),
        Shape::Ends(text) => Atom::Ends(fold(text).into_owned()),
        Shape::Contains(text) => Atom::Contains(fold(text).into_owned()),
        Shape::Glob(tokens) => return late(test, vec![longest(tokens)], field, atoms),
    };
    if pattern.is_cased() && *pattern.shape() != Shape::Anything {
        return late(test, vec![atom], field, atoms);
    }
    Node::Atom(atoms.number(field, atom))
}

/// The longest text between wildcards, where it must stand.
fn longest(tokens: &[Token]) -> Atom {
    let mut best = Atom::HasText;
    let mut bytes = 0;
    let mut at = 0;
    for run in tokens.chunk_by(|a, b| matches!((a, b), (Token::Char(_), Token::Char(_)))) {
        let (first, last) = (at == 0, at + run.len() == tokens.len());
        at += run.len();
        let chars = run.iter().filter_map(|token| if let Token::Char(c) = token { Some(*c) } else { None });
        let text: String = chars.flat_map(char::to_lowercase).collect();
        if text.len() > bytes {
            bytes = text.len();
            best = match (first, last) {
                (true, _) => Atom::Starts(text),
                (_, true) => Atom::Ends(text),
                _ => Atom::Contains(text),
            };
        }
    }
    best
}

fn regex_test(test: &Test, pattern: &str, flags: RegexFlags, field: u32, atoms: &mut Atoms) -> Node {
    let necessary = match literals::required(pattern, flags) {
        Some(texts) => texts.into_iter().map(Atom::Contains).collect(),
        None => vec![Atom::HasText],
    };
    late(test, necessary, field, atoms)
}
