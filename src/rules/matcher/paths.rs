//! The fields that rules name of an event, as a tree of keys: so one pass over the text finds them all.

use crate::rules::fields::Fields;
use crate::rules::matcher::hash::Table;

/// A node of the tree; the root is 0.
pub type PathId = u32;

/// Where keys lead.
#[derive(Debug, Default)]
pub struct Paths {
    nodes: Vec<PathNode>,
}

/// A path, or the beginning of one.
#[derive(Debug, Default)]
pub struct PathNode {
    /// The field that ends here.
    pub field: Option<u32>,
    /// The path so far.
    pub text: String,
    children: Table<Box<str>, PathId>,
}

impl PathNode {
    /// Longer paths begin here.
    pub fn is_inner(&self) -> bool {
        !self.children.is_empty()
    }
}

impl Paths {
    /// The tree of all fields.
    pub fn new(fields: &Fields) -> Self {
        let mut out = Self { nodes: vec![PathNode::default()] };
        let mut by_text: Table<String, PathId> = Table::default();
        for (number, field) in (0_u32..).zip(fields.all()) {
            if field.is_everywhere() {
                continue;
            }
            let leaf = out.add(field.as_str(), &mut by_text);
            out.nodes[leaf as usize].field = Some(number);
        }
        out
    }

    /// Adds every way in which the path's parts can be joined to keys.
    fn add(&mut self, path: &str, by_text: &mut Table<String, PathId>) -> PathId {
        let ends: Vec<usize> = path.match_indices('.').map(|(dot, _)| dot).chain([path.len()]).collect();
        let mut nodes: Vec<(PathId, usize)> = vec![(0, 0)];
        for end in ends {
            let next = PathId::try_from(self.nodes.len()).expect("fewer than four billion paths fit into memory");
            let node = *by_text.entry(path[..end].to_owned()).or_insert(next);
            if node == next {
                self.nodes.push(PathNode { text: path[..end].to_owned(), ..PathNode::default() });
            }
            for (before, from) in &nodes {
                self.nodes[*before as usize].children.insert(path[*from..end].into(), node);
            }
            nodes.push((node, end + 1));
        }
        nodes.last().map_or(0, |(leaf, _)| *leaf)
    }

    /// A node.
    pub fn node(&self, id: PathId) -> &PathNode {
        &self.nodes[id as usize]
    }

    /// Where a key leads from a node.
    pub fn child(&self, from: PathId, key: &str) -> Option<PathId> {
        self.nodes[from as usize].children.get(key).copied()
    }

    /// Whether one of two nodes lies below the other, or both are one.
    pub fn related(&self, a: PathId, b: PathId) -> bool {
        let (a, b) = (&self.nodes[a as usize].text, &self.nodes[b as usize].text);
        let below = |long: &str, short: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        below(a, b) || below(b, a)
    }
}
