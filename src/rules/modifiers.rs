//! What stands behind a field's bar: `field|contains|all`.

use crate::yaml::diagnostic::nearest;

/// How an item compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The whole value.
    Equals,
    /// A part of the value.
    Contains,
    /// Its beginning.
    StartsWith,
    /// Its end.
    EndsWith,
    /// A regular expression, anywhere in the value.
    Regex,
    /// A network that holds the address.
    Cidr,
    /// Presence.
    Exists,
    /// By number, rank or time.
    Compare(Order),
}

/// Which way to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
}

impl Order {
    /// Whether a comparison that came out so holds.
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
        }
    }
}

/// All modifiers of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modifiers {
    /// How it compares.
    pub operator: Operator,
    /// Every listed value must match, rather than one.
    pub all: bool,
    /// The item holds when nothing matches.
    pub neq: bool,
    /// Case counts.
    pub cased: bool,
    /// Flags of the regular expression.
    pub flags: RegexFlags,
}

/// Flags of a regular expression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegexFlags {
    /// `i`: case does not count.
    pub ignore_case: bool,
    /// `m`: `^` and `$` match at lines.
    pub multi_line: bool,
    /// `s`: `.` matches line ends.
    pub dot_all: bool,
}

/// What is wrong with a modifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadModifier {
    /// Bytes from the beginning of the key.
    pub at: usize,
    /// The modifier.
    pub word: String,
    /// What is wrong.
    pub message: String,
    /// How to cure it.
    pub help: Option<String>,
}

const KNOWN: [&str; 17] = [
    "all",
    "cased",
    "cidr",
    "contains",
    "endswith",
    "exists",
    "gt",
    "gte",
    "i",
    "lt",
    "lte",
    "m",
    "neq",
    "re",
    "s",
    "startswith",
    "ignorecase",
];

/// Modifiers of Sigma that soard refuses by name until it has them.
const NOT_YET: [&str; 16] = [
    "base64",
    "base64offset",
    "day",
    "expand",
    "fieldref",
    "hour",
    "minute",
    "month",
    "utf16",
    "utf16be",
    "utf16le",
    "week",
    "wide",
    "windash",
    "year",
    "timestamp",
];

impl Modifiers {
    /// Reads the words behind a key's first bar.
    ///
    /// # Errors
    /// For unknown and unsupported words, and for words that do not go together.
    pub fn parse(key: &str) -> Result<Self, BadModifier> {
        let mut out =
            Self { operator: Operator::Equals, all: false, neq: false, cased: false, flags: RegexFlags::default() };
        let mut seen: Vec<&str> = Vec::new();
        let mut at = key.find('|').unwrap_or(key.len());
        for word in key.split('|').skip(1) {
            at += 1;
            let bad = |message: String, help: Option<String>| BadModifier { at, word: word.into(), message, help };
            if seen.contains(&word) {
                return Err(bad(format!("`{word}` is given twice"), None));
            }
            out.add(word, &seen).map_err(|(message, help)| bad(message, help))?;
            seen.push(word);
            at += word.len();
        }
        Ok(out)
    }

    fn add(&mut self, word: &str, seen: &[&str]) -> Result<(), (String, Option<String>)> {
        let operator = match word {
            "contains" => Operator::Contains,
            "startswith" => Operator::StartsWith,
            "endswith" => Operator::EndsWith,
            "re" => Operator::Regex,
            "cidr" => Operator::Cidr,
            "exists" => Operator::Exists,
            "gt" => Operator::Compare(Order::Gt),
            "gte" => Operator::Compare(Order::Gte),
            "lt" => Operator::Compare(Order::Lt),
            "lte" => Operator::Compare(Order::Lte),
            _ => return self.add_flag(word, seen),
        };
        if self.operator != Operator::Equals {
            let first =
                seen.iter().find(|word| !matches!(**word, "all" | "neq" | "cased")).copied().unwrap_or_default();
            return Err((format!("`{word}` cannot be combined with `{first}`"), Some("use two items".into())));
        }
        self.operator = operator;
        self.clash()
    }

    fn add_flag(&mut self, word: &str, seen: &[&str]) -> Result<(), (String, Option<String>)> {
        match word {
            "all" => self.all = true,
            "neq" => self.neq = true,
            "cased" => self.cased = true,
            "i" | "ignorecase" | "m" | "multiline" | "s" | "dotall" if !seen.contains(&"re") => {
                return Err((
                    format!("`{word}` is a flag of `re` and stands behind it"),
                    Some(format!("write `re|{word}`")),
                ));
            }
            "i" | "ignorecase" => self.flags.ignore_case = true,
            "m" | "multiline" => self.flags.multi_line = true,
            "s" | "dotall" => self.flags.dot_all = true,
            _ if NOT_YET.contains(&word) => return Err((format!("modifier `{word}` is not supported yet"), None)),
            "" => return Err(("a modifier is missing behind `|`".into(), None)),
            _ => {
                let help = match (nearest(word, &KNOWN), word) {
                    (_, "not" | "ne") => "did you mean `neq`?".into(),
                    (_, "regex" | "regexp") => "did you mean `re`?".into(),
                    (_, "in" | "eq") => "leave it out: a list means any of its values".into(),
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, _) => format!("known: {}", KNOWN[..16].join(", ")),
                };
                return Err((format!("unknown modifier `{word}`"), Some(help)));
            }
        }
        self.clash()
    }

    fn clash(&self) -> Result<(), (String, Option<String>)> {
        let texts =
            matches!(self.operator, Operator::Equals | Operator::Contains | Operator::StartsWith | Operator::EndsWith);
        if self.cased && !texts {
            let message = if self.operator == Operator::Regex {
                "`cased` is for plain texts: a regular expression minds case unless it has `i`"
            } else {
                "`cased` is for texts only"
            };
            return Err((message.into(), Some("leave out `cased`".into())));
        }
        if self.operator == Operator::Exists && (self.all || self.neq) {
            let other = if self.neq { "neq" } else { "all" };
            let message = format!("`{other}` cannot be combined with `exists`");
            return Err((message, Some("write `exists: true` or `exists: false`".into())));
        }
        Ok(())
    }
}
