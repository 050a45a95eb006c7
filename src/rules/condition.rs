//! Conditions over named searches: `selection and not 1 of filter_*`.

use crate::yaml::diagnostic::nearest;

/// Deepest nesting of a condition.
pub const DEPTH_MAX: usize = 32;

/// Most searches that a condition names, each time counted.
pub const NAMED_MAX: usize = 10_000;

/// A condition, over the numbers of its searches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// One search.
    Search(usize),
    /// All of them.
    All(Vec<Expr>),
    /// At least this many of them.
    AtLeast(usize, Vec<Expr>),
    /// The contrary.
    Not(Box<Expr>),
}

/// What is wrong with a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCondition {
    /// Bytes from its beginning.
    pub at: usize,
    /// The part that is wrong; may be empty.
    pub part: String,
    /// What is wrong.
    pub message: String,
    /// How to cure it.
    pub help: Option<String>,
}

impl Expr {
    /// Any of them.
    pub fn any(parts: Vec<Expr>) -> Self {
        Self::AtLeast(1, parts)
    }

    /// Whether it holds, given each search's outcome.
    pub fn holds(&self, search: &mut impl FnMut(usize) -> bool) -> bool {
        match self {
            Self::Search(number) => search(*number),
            Self::All(parts) => parts.iter().all(|part| part.holds(search)),
            Self::AtLeast(wanted, parts) => {
                parts.iter().filter(|part| part.holds(search)).take(*wanted).count() == *wanted
            }
            Self::Not(part) => !part.holds(search),
        }
    }

    /// The outcome, when it is known whatever the unknown searches say.
    pub fn constant(&self, search: &impl Fn(usize) -> Option<bool>) -> Option<bool> {
        match self {
            Self::Search(number) => search(*number),
            Self::Not(part) => part.constant(search).map(|known| !known),
            Self::All(parts) => at_least(parts.len(), parts, search),
            Self::AtLeast(wanted, parts) => at_least(*wanted, parts, search),
        }
    }

    /// The searches it names.
    pub fn searches(&self, out: &mut Vec<usize>) {
        match self {
            Self::Search(number) => out.push(*number),
            Self::Not(part) => part.searches(out),
            Self::All(parts) | Self::AtLeast(_, parts) => parts.iter().for_each(|part| part.searches(out)),
        }
    }
}

fn at_least(wanted: usize, parts: &[Expr], search: &impl Fn(usize) -> Option<bool>) -> Option<bool> {
    let known: Vec<Option<bool>> = parts.iter().map(|part| part.constant(search)).collect();
    let count = |outcome| known.iter().filter(|known| **known == outcome).count();
    let (held, open) = (count(Some(true)), count(None));
    if held >= wanted {
        Some(true)
    } else if held + open < wanted {
        Some(false)
    } else {
        None
    }
}

/// Parses a condition over the searches of these names.
///
/// Loosest to tightest: `or`, `and`, `not`, then `1 of x*`, names and parentheses.
///
/// # Errors
/// For the first place where it is not a condition.
pub fn parse(text: &str, names: &[&str]) -> Result<Expr, BadCondition> {
    let mut parser = Parser { tokens: tokens(text), next: 0, end: text.len(), names, named: 0 };
    let expr = parser.or(0)?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) if token.text == "|" && !text[token.at..].starts_with("||") => {
            let help = "counting belongs to correlation rules; `throttle` limits how often a route acts";
            Err(parser.fault(token, "aggregations such as `| count()` are obsolete in Sigma", Some(help.into())))
        }
        Some(token) => Err(parser.unexpected(Some(token), "`and`, `or` or the end")),
    }
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    at: usize,
    text: &'a str,
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let single = matches!(c, '(' | ')' | '|');
        if single || c.is_whitespace() {
            out.extend(start.take().map(|from| Token { at: from, text: &text[from..at] }));
            out.extend(single.then(|| Token { at, text: &text[at..at + 1] }));
        } else {
            start.get_or_insert(at);
        }
    }
    out.extend(start.map(|from| Token { at: from, text: &text[from..] }));
    out
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    end: usize,
    names: &'a [&'a str],
    /// How many searches were named so far.
    named: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.peek().is_some_and(|token| token.text == text);
        self.next += usize::from(taken);
        taken
    }

    fn or(&mut self, depth: usize) -> Result<Expr, BadCondition> {
        let mut parts = vec![self.and(depth)?];
        while self.take("or") {
            parts.push(self.and(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::any(parts) })
    }

    fn and(&mut self, depth: usize) -> Result<Expr, BadCondition> {
        let mut parts = vec![self.not(depth)?];
        while self.take("and") {
            parts.push(self.not(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts) })
    }

    fn not(&mut self, depth: usize) -> Result<Expr, BadCondition> {
        if depth > DEPTH_MAX {
            let token = self.peek().unwrap_or(Token { at: self.end, text: "" });
            return Err(self.fault(token, &format!("nested more than {DEPTH_MAX} deep"), None));
        }
        if self.take("not") {
            return Ok(Expr::Not(Box::new(self.not(depth + 1)?)));
        }
        self.primary(depth)
    }

    fn primary(&mut self, depth: usize) -> Result<Expr, BadCondition> {
        let Some(token) = self.peek() else { return Err(self.unexpected(None, "a search")) };
        if matches!(token.text, ")" | "|" | "and" | "or" | "of" | "them") {
            return Err(self.unexpected(Some(token), "a search, `not` or `(`"));
        }
        self.next += 1;
        if token.text == "(" {
            let inner = self.or(depth + 1)?;
            if !self.take(")") {
                let found = self.peek();
                return Err(self.unexpected(found, "`)`"));
            }
            return Ok(inner);
        }
        if self.peek().is_some_and(|next| next.text == "of") {
            self.next += 1;
            return self.of(token);
        }
        self.count(1, token)?;
        self.search(token)
    }

    fn count(&mut self, named: usize, token: Token) -> Result<(), BadCondition> {
        self.named += named;
        if self.named > NAMED_MAX {
            return Err(self.fault(token, &format!("the condition names more than {NAMED_MAX} searches"), None));
        }
        Ok(())
    }

    /// `1 of x*`, `all of them`, with the quantifier already read.
    fn of(&mut self, quantifier: Token<'a>) -> Result<Expr, BadCondition> {
        let Some(target) = self.peek() else {
            return Err(self.unexpected(None, "`them` or a name such as `filter_*`"));
        };
        self.next += 1;
        let chosen: Vec<usize> = match target.text {
            "them" => self.chosen(|name| !name.starts_with('_')),
            pattern => self.chosen(|name| glob(pattern, name)),
        };
        if chosen.is_empty() {
            let message = format!("no search is called `{}`", target.text);
            return Err(self.fault(target, &message, Some(format!("the searches are {}", self.listed()))));
        }
        self.count(chosen.len(), target)?;
        let parts: Vec<Expr> = chosen.into_iter().map(Expr::Search).collect();
        let wanted = match quantifier.text {
            "all" => return Ok(Expr::All(parts)),
            "any" => 1,
            number => number
                .parse::<usize>()
                .map_err(|_| self.unexpected(Some(quantifier), "`1`, another number, or `all` before `of`"))?,
        };
        if wanted == 0 || wanted > parts.len() {
            let message = format!("{wanted} of {} searches", parts.len());
            let help = format!("write a number from 1 to {}, or `all`", parts.len());
            return Err(self.fault(quantifier, &message, Some(help)));
        }
        Ok(Expr::AtLeast(wanted, parts))
    }

    fn chosen(&self, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        (0..self.names.len()).filter(|number| wanted(self.names[*number])).collect()
    }

    fn search(&self, token: Token<'a>) -> Result<Expr, BadCondition> {
        if let Some(number) = self.names.iter().position(|name| *name == token.text) {
            return Ok(Expr::Search(number));
        }
        let message = format!("no search is called `{}`", token.text);
        let help = if token.text.contains('*') {
            format!("write `1 of {0}` or `all of {0}`", token.text)
        } else {
            match (nearest(token.text, self.names), token.text.to_lowercase().as_str()) {
                (_, word @ ("and" | "or" | "not" | "all")) if word != token.text => format!("write `{word}`"),
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, _) => format!("the searches are {}", self.listed()),
            }
        };
        Err(self.fault(token, &message, Some(help)))
    }

    fn listed(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }

    fn unexpected(&self, found: Option<Token>, expected: &str) -> BadCondition {
        let Some(token) = found else {
            let end = Token { at: self.end, text: "" };
            return self.fault(end, &format!("the condition ends too early: expected {expected}"), None);
        };
        let lower = token.text.to_lowercase();
        let help = match lower.as_str() {
            "and" | "or" | "not" if lower != token.text => Some(format!("write `{lower}`")),
            "&&" => Some("write `and`".into()),
            "|" => Some("write `or`".into()),
            _ => None,
        };
        self.fault(token, &format!("expected {expected}, found `{}`", token.text), help)
    }

    fn fault(&self, token: Token, message: &str, help: Option<String>) -> BadCondition {
        BadCondition { at: token.at, part: token.text.into(), message: message.into(), help }
    }
}

/// A name pattern: `*` is any run.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
