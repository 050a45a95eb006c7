//! Faults in content, each with its place, what was expected and a cure.

use std::collections::BTreeMap;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// Where something stands in a file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Path from the bundle's folder, with `/`.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl Place {
    /// The beginning of a file.
    pub fn start(file: &Arc<str>) -> Self {
        Self { file: file.clone(), line: 1, column: 1 }
    }

    /// `file:line`, as decisions name rules.
    pub fn file_line(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// The bundle is refused.
    Error,
    /// The bundle loads; somebody should look.
    Warning,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub gravity: Gravity,
    /// Stable name of this kind of fault, in kebab-case; each stands in one place of the code.
    pub code: &'static str,
    /// Where.
    pub place: Place,
    /// What is wrong and what was expected, lower case, no full stop.
    pub message: String,
    /// How to cure it.
    pub help: Option<String>,
    /// Characters to underline; when absent, the word or quoted text at the place.
    pub width: Option<u32>,
}

impl Diagnostic {
    /// A fault that refuses the bundle.
    pub fn error(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { gravity: Gravity::Error, code, place, message: message.into(), help: None, width: None }
    }

    /// A fault that somebody should look at.
    pub fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { gravity: Gravity::Warning, code, place, message: message.into(), help: None, width: None }
    }

    /// Adds a cure.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Underlines this much of the source line, where it is a part of a word or more than one.
    #[must_use]
    pub fn underline(mut self, text: &str) -> Self {
        self.width = Some(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
        self
    }

    /// Adds "did you mean" when one of the known words is near.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(word, &known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None if known.is_empty() || known.len() > 24 => self,
            None => self.help(format!("known: {}", known.join(", "))),
        }
    }

    /// The fault as a person reads it, with the source line.
    pub fn render(&self, sources: &Sources, colour: bool) -> String {
        let level = match self.gravity {
            Gravity::Error => Level::ERROR,
            Gravity::Warning => Level::WARNING,
        };
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let line = sources.get(&*self.place.file).and_then(|text| text.lines().nth(self.place.line as usize - 1));
        let mut group = match line {
            Some(line) => {
                let from = column_offset(line, self.place.column);
                let until = match self.width {
                    Some(width) => column_offset(line, self.place.column.saturating_add(width)),
                    None => from + word_bytes(&line[from..]),
                };
                let mark = AnnotationKind::Primary.span(from..until);
                let snippet = Snippet::source(line).path(self.place.file.to_string());
                Group::with_title(title).element(snippet.line_start(self.place.line as usize).annotation(mark))
            }
            None => {
                let origin = annotate_snippets::Origin::path(self.place.file.to_string());
                Group::with_title(title).element(origin.line(self.place.line as usize))
            }
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

/// The texts of a bundle's files, by path.
pub type Sources = BTreeMap<String, String>;

fn column_offset(line: &str, column: u32) -> usize {
    let chars = line.char_indices().map(|(at, _)| at);
    chars.chain([line.len()]).nth(column.max(1) as usize - 1).unwrap_or(line.len())
}

/// Length of what to underline: a quoted text, or up to the next space, without a key's colon.
fn word_bytes(rest: &str) -> usize {
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |at| at + 2),
        Some(_) => {
            let word = &rest[..rest.find([' ', ',', ']', '}', '\t']).unwrap_or(rest.len()).max(1)];
            word.strip_suffix(':').filter(|key| !key.is_empty()).unwrap_or(word).len()
        }
        None => 0,
    }
}

/// The known word that is most like `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = known.iter().map(|k| (strsim::jaro_winkler(&lower, &k.to_lowercase()), *k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.82).then_some(best.1)
}
