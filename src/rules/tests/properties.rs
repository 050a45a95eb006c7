//! Random conditions, texts and patterns against evaluators that are too simple to be wrong.

use proptest::prelude::*;

use crate::rules::condition::parse;
use crate::rules::pattern::{Anchor, Pattern, fold};

/// A condition as a tree of our own, written out with every bracket or with as few as precedence allows.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(usize),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Of(usize),
}

const NAMES: [&str; 4] = ["a", "b", "x_1", "x_2"];

impl Tree {
    fn truth(&self, held: [bool; 4]) -> bool {
        match self {
            Self::Leaf(number) => held[*number],
            Self::Not(inner) => !inner.truth(held),
            Self::And(left, right) => left.truth(held) & right.truth(held),
            Self::Or(left, right) => left.truth(held) | right.truth(held),
            Self::Of(wanted) => held.iter().filter(|held| **held).count() >= *wanted,
        }
    }

    fn level(&self) -> u8 {
        match self {
            Self::Or(..) => 0,
            Self::And(..) => 1,
            Self::Not(_) => 2,
            Self::Leaf(_) | Self::Of(_) => 3,
        }
    }

    /// With brackets only where a looser operator stands within a tighter one.
    fn write(&self, least: u8) -> String {
        let text = match self {
            Self::Leaf(number) => NAMES[*number].into(),
            Self::Of(4) => "all of them".into(),
            Self::Of(wanted) => format!("{wanted} of them"),
            Self::Not(inner) => format!("not {}", inner.write(2)),
            Self::And(left, right) => format!("{} and {}", left.write(1), right.write(1)),
            Self::Or(left, right) => format!("{} or {}", left.write(0), right.write(0)),
        };
        if self.level() < least { format!("({text})") } else { text }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![(0..4_usize).prop_map(Tree::Leaf), (1..=4_usize).prop_map(Tree::Of)];
    leaf.prop_recursive(5, 40, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Tree::Or(Box::new(a), Box::new(b))),
        ]
    })
}

/// The definition, with a choice at every run.
fn slow_glob(pattern: &[char], value: &[char]) -> bool {
    match (pattern, value) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=value.len()).any(|skip| slow_glob(rest, &value[skip..])),
        (['?', rest @ ..], [_, tail @ ..]) => slow_glob(rest, tail),
        ([want, rest @ ..], [c, tail @ ..]) => want == c && slow_glob(rest, tail),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_condition_says_what_its_tree_says(tree in tree(), held in any::<[bool; 4]>()) {
        let text = tree.write(0);
        let expr = parse(&text, &NAMES).map_err(|bad| TestCaseError::fail(format!("{text}: {bad:?}")))?;
        prop_assert_eq!(expr.holds(&mut |number| held[number]), tree.truth(held), "{}", text);
    }

    #[test]
    fn any_text_is_a_condition_or_a_fault(text in "[a-x_*() |1of]{0,40}") {
        if let Err(bad) = parse(&text, &NAMES) {
            prop_assert!(text.is_char_boundary(bad.at) && bad.at <= text.len());
        }
    }

    #[test]
    fn wildcards_match_by_their_definition(pattern in "[ab*?]{0,8}", value in "[abC]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let folded = fold(&value);
        let ours = Pattern::new(&pattern, Anchor::Whole, false).matches(&value, &folded);
        prop_assert_eq!(ours, slow_glob(&chars(&pattern), &chars(&folded)));
        for (anchor, around) in [(Anchor::Inside, format!("*{pattern}*")), (Anchor::Start, format!("{pattern}*")), (Anchor::End, format!("*{pattern}"))] {
            let ours = Pattern::new(&pattern, anchor, true).matches(&value, &folded);
            prop_assert_eq!(ours, slow_glob(&chars(&around), &chars(&value)));
        }
    }
}
