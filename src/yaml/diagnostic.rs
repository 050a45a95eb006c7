//! Faults in content, each with its place, what was expected and a cure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;
use serde::ser::SerializeStruct;

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
    /// The source line must not be shown: it holds a secret.
    pub confidential: bool,
}

impl Diagnostic {
    /// A fault that refuses the bundle.
    pub fn error(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self::new(Gravity::Error, code, place, message.into())
    }

    /// A fault that somebody should look at.
    pub fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self::new(Gravity::Warning, code, place, message.into())
    }

    fn new(gravity: Gravity, code: &'static str, place: Place, message: String) -> Self {
        Self { gravity, code, place, message, help: None, width: None, confidential: false }
    }

    /// Keeps the source line from being shown.
    #[must_use]
    pub fn confidential(mut self) -> Self {
        self.confidential = true;
        self
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
        let message = printable(&self.message);
        let title = level.primary_title(&*message).id(self.code);
        let shown = (!self.confidential).then_some(sources);
        let line = shown
            .and_then(|sources| sources.get(&*self.place.file))
            .and_then(|text| text.lines().nth(self.place.line as usize - 1));
        let mut group = match line {
            Some(line) => {
                let from = column_offset(line, self.place.column);
                let until = match self.width {
                    Some(width) => column_offset(line, self.place.column.saturating_add(width)),
                    None => from + word_bytes(line, from),
                };
                let mark = AnnotationKind::Primary.span(from..until);
                let snippet = Snippet::source(line).path(self.place.file.to_string());
                Group::with_title(title).element(snippet.line_start(self.place.line as usize).annotation(mark))
            }
            None => {
                let origin = annotate_snippets::Origin::path(self.place.file.to_string());
                Group::with_title(title)
                    .element(origin.line(self.place.line as usize).char_column(self.place.column as usize))
            }
        };
        let help = self.help.as_deref().map(printable);
        if let Some(help) = &help {
            group = group.element(Level::HELP.message(&**help));
        }
        renderer.render(&[group])
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut out = to.serialize_struct("Diagnostic", 7)?;
        out.serialize_field("gravity", &self.gravity)?;
        out.serialize_field("code", self.code)?;
        out.serialize_field("file", &*self.place.file)?;
        out.serialize_field("line", &self.place.line)?;
        out.serialize_field("column", &self.place.column)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("help", &self.help)?;
        out.end()
    }
}

/// Control characters from a file must not reach the terminal.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// The texts of a bundle's files, by path.
pub type Sources = BTreeMap<String, String>;

fn column_offset(line: &str, column: u32) -> usize {
    let chars = line.char_indices().map(|(at, _)| at);
    chars.chain([line.len()]).nth(column.max(1) as usize - 1).unwrap_or(line.len())
}

/// Length of the key or value that begins at `from`.
fn word_bytes(line: &str, from: usize) -> usize {
    let rest = &line[from..];
    let close = |closing: char| rest.find(closing).map(|at| at + 1);
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |at| at + 2),
        Some('{') => close('}').unwrap_or(1),
        Some('[') => close(']').unwrap_or(1),
        Some(first) => plain_bytes(&line[..from], rest).max(first.len_utf8()),
        None => 0,
    }
}

/// An unquoted text ends before a comment, before a key's colon, and within brackets before what separates items.
fn plain_bytes(before: &str, rest: &str) -> usize {
    let within_brackets = before.matches(['[', '{']).count() > before.matches([']', '}']).count();
    let mut text = rest;
    for end in [" #", ": "] {
        text = text.find(end).map_or(text, |at| &text[..at]);
    }
    if within_brackets {
        text = text.find([',', ']', '}']).map_or(text, |at| &text[..at]);
    }
    let text = text.trim_end();
    text.strip_suffix(':').unwrap_or(text).len()
}

/// The known word that is most like `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = known.iter().map(|k| (strsim::jaro_winkler(&lower, &k.to_lowercase()), *k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.82).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of the line that is underlined for a fault at the marked place.
    fn underlined(marked: &str) -> String {
        let line = marked.replace('^', "");
        let from = marked.find('^').unwrap();
        line[from..from + word_bytes(&line, from)].to_owned()
    }

    #[test]
    fn the_key_or_the_value_is_underlined_and_nothing_else() {
        for (marked, expected) in [
            ("  - ^id: Our Scanner", "id"),
            ("  - id: ^Our Scanner", "Our Scanner"),
            ("a: ^one two   # why", "one two"),
            ("a: ^'one # two' # why", "'one # two'"),
            ("a: [x, ^one two, z]", "one two"),
            ("a: {^x: one, y: two}", "x"),
            ("a: {x: one, y: ^two}", "two"),
            ("a: ^{x: one} # b", "{x: one}"),
            ("a: ^{x: one", "{"),
            ("^a:", "a"),
            ("a: ^http://x:80/", "http://x:80/"),
            ("a: ^[]", "[]"),
            ("a: ^", ""),
            ("a: ^\u{fc}ber", "\u{fc}ber"),
        ] {
            assert_eq!(underlined(marked), expected, "{marked}");
        }
    }

    #[test]
    fn a_file_cannot_write_control_sequences_to_the_terminal() {
        let sources = Sources::from([("a.yaml".to_owned(), "x: \u{1b}[2Jy\n".to_owned())]);
        let place = Place { file: "a.yaml".into(), line: 1, column: 4 };
        let fault = Diagnostic::error("test", place, "found \u{1b}[2Jy").help("not \u{7}");
        let text = fault.render(&sources, false);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("found \\u{1b}[2Jy"), "{text}");
        let json = serde_json::to_value(&fault).unwrap();
        assert_eq!((&json["file"], &json["line"], &json["gravity"]), (&"a.yaml".into(), &1.into(), &"error".into()));
    }

    #[test]
    fn a_place_beyond_the_text_is_no_panic() {
        let sources = Sources::from([("a.yaml".to_owned(), "\u{fc}\tx\n".to_owned())]);
        for (line, column) in [(1, 1), (1, 99), (2, 1), (99, 1)] {
            let place = Place { file: "a.yaml".into(), line, column };
            let fault = Diagnostic::error("test", place, "wrong").underline("somewhat long");
            assert!(fault.render(&sources, false).contains("wrong"));
        }
    }
}
