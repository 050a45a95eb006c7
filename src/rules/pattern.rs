//! Texts with Sigma's wildcards: `*` is any run, `?` one character, a backslash takes their meaning away.

use std::borrow::Cow;

/// A text to look for, with or without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    cased: bool,
    shape: Shape,
}

/// Where the text must stand in the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// It is the whole value.
    Whole,
    /// Anywhere.
    Inside,
    /// At the beginning.
    Start,
    /// At the end.
    End,
}

impl Anchor {
    /// Whether `part` stands so in `whole`; both are folded, or neither is.
    pub fn holds(self, whole: &str, part: &str) -> bool {
        match self {
            Self::Whole => whole == part,
            Self::Inside => whole.contains(part),
            Self::Start => whole.starts_with(part),
            Self::End => whole.ends_with(part),
        }
    }
}

/// The form of a pattern: most have one that is told faster than by its wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Every text.
    Anything,
    /// This text.
    Exact(String),
    /// Texts that begin so.
    Starts(String),
    /// Texts that end so.
    Ends(String),
    /// Texts that have it inside.
    Contains(String),
    /// Anything else.
    Glob(Vec<Token>),
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any run of characters, also none.
    Run,
    /// Any of the characters with which Windows programs mark their options.
    Dash,
}

/// The characters that `windash` takes for one another.
pub const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

impl Pattern {
    /// Reads a text with wildcards.
    pub fn new(text: &str, anchor: Anchor, cased: bool) -> Self {
        if text.is_empty() || text.contains(['*', '?', '\\']) {
            return Self::of(tokens(text), anchor, cased);
        }
        // Most texts have nothing to take apart.
        let text = if cased { text.to_owned() } else { fold(text).into_owned() };
        let shape = match anchor {
            Anchor::Whole => Shape::Exact(text),
            Anchor::Inside => Shape::Contains(text),
            Anchor::Start => Shape::Starts(text),
            Anchor::End => Shape::Ends(text),
        };
        Self { cased, shape }
    }

    /// A pattern of these parts.
    pub fn of(tokens: Vec<Token>, anchor: Anchor, cased: bool) -> Self {
        let mut tokens = if cased { tokens } else { tokens.into_iter().flat_map(fold_token).collect() };
        if matches!(anchor, Anchor::Inside | Anchor::End) {
            tokens.insert(0, Token::Run);
        }
        if matches!(anchor, Anchor::Inside | Anchor::Start) {
            tokens.push(Token::Run);
        }
        tokens.dedup_by(|a, b| *a == Token::Run && *b == Token::Run);
        Self { cased, shape: shape(tokens) }
    }

    /// Its form.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Case counts.
    pub fn is_cased(&self) -> bool {
        self.cased
    }

    /// Every value matches.
    pub fn is_anything(&self) -> bool {
        self.shape == Shape::Anything
    }

    /// The one text that matches, when there are no wildcards.
    pub fn exact(&self) -> Option<&str> {
        match &self.shape {
            Shape::Exact(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the value matches; `folded` is the value as [`fold`] gives it.
    pub fn matches(&self, value: &str, folded: &str) -> bool {
        let value = if self.cased { value } else { folded };
        match &self.shape {
            Shape::Anything => true,
            Shape::Exact(text) => value == text,
            Shape::Starts(text) => value.starts_with(text.as_str()),
            Shape::Ends(text) => value.ends_with(text.as_str()),
            Shape::Contains(text) => value.contains(text.as_str()),
            Shape::Glob(tokens) => glob(tokens, value),
        }
    }
}

/// Lower case, character by character, so that a text folds the same alone and inside another.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().flat_map(char::to_lowercase).collect())
}

fn fold_token(token: Token) -> impl Iterator<Item = Token> {
    let (char, other) = match token {
        Token::Char(c) => (Some(c), None),
        other => (None, Some(other)),
    };
    char.into_iter().flat_map(char::to_lowercase).map(Token::Char).chain(other)
}

/// The parts of a text as Sigma writes it: `\*`, `\?` and `\\` stand for themselves; any other backslash is one.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(match (c, chars.peek()) {
            ('\\', Some(next @ ('*' | '?' | '\\'))) => {
                let next = *next;
                chars.next();
                Token::Char(next)
            }
            ('*', _) => Token::Run,
            ('?', _) => Token::One,
            (c, _) => Token::Char(c),
        });
    }
    out
}

/// Takes the dashes that mark options, those between a non-word and a word character, for any dash (`windash`).
pub fn any_dash(tokens: &mut [Token]) {
    let word = |token: Option<&Token>| matches!(token, Some(Token::Char(c)) if c.is_alphanumeric() || *c == '_');
    for at in 0..tokens.len() {
        let marks = matches!(tokens[at], Token::Char(c) if DASHES.contains(&c));
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        if marks && !word(before) && word(tokens.get(at + 1)) {
            tokens[at] = Token::Dash;
        }
    }
}

fn shape(tokens: Vec<Token>) -> Shape {
    let text = |part: &[Token]| -> Option<String> {
        let char = |token: &Token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        };
        part.iter().map(char).collect()
    };
    let plain = match tokens.as_slice() {
        [Token::Run] => Some(Shape::Anything),
        [Token::Run, middle @ .., Token::Run] => text(middle).map(Shape::Contains),
        [Token::Run, tail @ ..] => text(tail).map(Shape::Ends),
        [head @ .., Token::Run] => text(head).map(Shape::Starts),
        whole => text(whole).map(Shape::Exact),
    };
    plain.unwrap_or(Shape::Glob(tokens))
}

/// Goes back to the last run only, so the time is at most the product of both lengths.
fn glob(tokens: &[Token], value: &str) -> bool {
    let mut at = 0;
    let mut rest = value.chars();
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        if tokens.get(at) == Some(&Token::Run) {
            at += 1;
            retry = Some((at, rest.clone()));
            continue;
        }
        let mut next = rest.clone();
        let step = match (tokens.get(at), next.next()) {
            (None, None) => return true,
            (Some(Token::One), Some(_)) => true,
            (Some(Token::Char(want)), Some(c)) => *want == c,
            (Some(Token::Dash), Some(c)) => DASHES.contains(&c),
            _ => false,
        };
        if step {
            at += 1;
            rest = next;
            continue;
        }
        let Some((after, from)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        at = *after;
        rest = from.clone();
    }
}
