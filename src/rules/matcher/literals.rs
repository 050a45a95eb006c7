//! Texts of which a value must have one inside before a regular expression can match it.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::rules::modifiers::RegexFlags;

/// Shorter texts would be found too often to be worth it.
const BYTES_MIN: usize = 3;

/// More alternatives would cost more than they save.
const ALTERNATIVES_MAX: usize = 16;

/// The folded texts of which each match has at least one, in the folded value; `None` when none can be told.
pub fn required(pattern: &str, flags: RegexFlags) -> Option<Vec<String>> {
    let mut parser = ParserBuilder::new()
        .case_insensitive(flags.ignore_case)
        .multi_line(flags.multi_line)
        .dot_matches_new_line(flags.dot_all)
        .build();
    let mut runs = Runs::default();
    runs.walk(&parser.parse(pattern).ok()?);
    runs.close();
    runs.best
}

/// The best set so far, and the text that just goes on.
#[derive(Debug, Default)]
struct Runs {
    current: String,
    best: Option<Vec<String>>,
}

impl Runs {
    fn walk(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.current.extend(text.chars().flat_map(char::to_lowercase)),
                Err(_) => self.close(),
            },
            HirKind::Class(class) => match one_folded(class) {
                Some(text) => self.current.push_str(&text),
                None => self.close(),
            },
            HirKind::Capture(capture) => self.walk(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.walk(part)),
            HirKind::Repetition(repetition) => {
                self.close();
                if repetition.min > 0 {
                    self.walk(&repetition.sub);
                    self.close();
                }
            }
            HirKind::Alternation(parts) => {
                self.close();
                let sets: Option<Vec<Vec<String>>> = parts.iter().map(alone).collect();
                self.offer(sets.map(|sets| sets.concat()));
            }
        }
    }

    /// Ends the text that goes on.
    fn close(&mut self) {
        let text = std::mem::take(&mut self.current);
        self.offer(Some(vec![text]));
    }

    fn offer(&mut self, set: Option<Vec<String>>) {
        let Some(set) = set else { return };
        let worth = |set: &[String]| set.iter().map(String::len).min().unwrap_or(0);
        if worth(&set) < BYTES_MIN || set.len() > ALTERNATIVES_MAX {
            return;
        }
        if self.best.as_ref().is_none_or(|best| worth(best) < worth(&set)) {
            self.best = Some(set);
        }
    }
}

fn alone(hir: &Hir) -> Option<Vec<String>> {
    let mut runs = Runs::default();
    runs.walk(hir);
    runs.close();
    runs.best
}

/// The text to which every character of the class folds, when it is one.
fn one_folded(class: &Class) -> Option<String> {
    let Class::Unicode(class) = class else { return None };
    let mut all = class.iter().flat_map(|range| range.start()..=range.end());
    let fold = |c: char| c.to_lowercase().collect::<String>();
    let first = fold(all.next()?);
    // Case gives a handful of forms; a larger class stands for different characters.
    let mut rest = all.take(8);
    rest.all(|c| fold(c) == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_that_every_match_has_is_taken() {
        let ignore_case = RegexFlags { ignore_case: true, ..RegexFlags::default() };
        for (pattern, flags, expected) in [
            ("mimikatz", RegexFlags::default(), Some(vec!["mimikatz"])),
            (r"\bMIMI(katz)?\s", RegexFlags::default(), Some(vec!["mimi"])),
            ("(abc|defg)+x?hello", RegexFlags::default(), Some(vec!["hello"])),
            ("(abcdef|ghijkl)x", RegexFlags::default(), Some(vec!["abcdef", "ghijkl"])),
            ("(abcdef|.*)x", RegexFlags::default(), None),
            ("a+bcd", RegexFlags::default(), Some(vec!["bcd"])),
            ("PowerShell", ignore_case, Some(vec!["power"])),
            (r"^\d+$", RegexFlags::default(), None),
            ("ab", RegexFlags::default(), None),
            ("(foo)(bar)", RegexFlags::default(), Some(vec!["foobar"])),
            ("(?:abc){0,3}", RegexFlags::default(), None),
        ] {
            let expected = expected.map(|texts| texts.into_iter().map(String::from).collect::<Vec<_>>());
            let mut found = required(pattern, flags);
            if let Some(found) = &mut found {
                found.sort();
            }
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
