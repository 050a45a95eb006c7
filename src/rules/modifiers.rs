//! What stands behind a field's bar: `field|contains|all`.

use crate::rules::encode::Encoding;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What is done to the values before they are looked for.
    pub encodings: Vec<Encoding>,
    /// Any dash stands for any other where it marks an option.
    pub windash: bool,
    /// The values name lists of the bundle.
    pub expand: bool,
    /// The values are names of other fields.
    pub fieldref: bool,
    /// The values are compared with a part of the field's time.
    pub part: Option<TimePart>,
}

/// A part of an instant, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimePart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// Of the month, from 1.
    Day,
    /// ISO 8601, from 1.
    Week,
    /// From 1.
    Month,
    /// Such as 2026.
    Year,
}

impl TimePart {
    /// The numbers that it can be.
    pub const fn range(self) -> std::ops::RangeInclusive<i64> {
        match self {
            Self::Minute => 0..=59,
            Self::Hour => 0..=23,
            Self::Day => 1..=31,
            Self::Week => 1..=53,
            Self::Month => 1..=12,
            Self::Year => -9999..=9999,
        }
    }

    /// This part of an instant.
    pub fn of(self, at: jiff::Timestamp) -> i64 {
        let at = at.to_zoned(jiff::tz::TimeZone::UTC);
        match self {
            Self::Minute => at.minute().into(),
            Self::Hour => at.hour().into(),
            Self::Day => at.day().into(),
            Self::Week => at.date().iso_week_date().week().into(),
            Self::Month => at.month().into(),
            Self::Year => at.year().into(),
        }
    }
}

/// Flags of a regular expression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
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

/// Every modifier, by name.
pub const NAMES: [&str; 34] = [
    "all",
    "base64",
    "base64offset",
    "cased",
    "cidr",
    "contains",
    "day",
    "dotall",
    "endswith",
    "exists",
    "expand",
    "fieldref",
    "gt",
    "gte",
    "hour",
    "i",
    "ignorecase",
    "lt",
    "lte",
    "m",
    "minute",
    "month",
    "multiline",
    "neq",
    "re",
    "s",
    "startswith",
    "utf16",
    "utf16be",
    "utf16le",
    "week",
    "wide",
    "windash",
    "year",
];

/// A message and a cure.
type Fault = (String, Option<String>);

fn fault(message: impl Into<String>, help: &str) -> Fault {
    (message.into(), Some(help.into()))
}

impl Modifiers {
    /// Reads the words behind a key's first bar.
    ///
    /// # Errors
    /// For unknown words, and for words that do not go together.
    pub fn parse(key: &str) -> Result<Self, BadModifier> {
        let mut out = Self {
            operator: Operator::Equals,
            all: false,
            neq: false,
            cased: false,
            flags: RegexFlags::default(),
            encodings: Vec::new(),
            windash: false,
            expand: false,
            fieldref: false,
            part: None,
        };
        let mut seen: Vec<&str> = Vec::new();
        let mut at = key.find('|').unwrap_or(key.len());
        for word in key.split('|').skip(1) {
            at += 1;
            let bad = |message: String, help: Option<String>| BadModifier { at, word: word.into(), message, help };
            if seen.contains(&word) {
                return Err(bad(format!("`{word}` is given twice"), None));
            }
            out.add(word, &seen).and_then(|()| out.clash(word)).map_err(|(message, help)| bad(message, help))?;
            seen.push(word);
            at += word.len();
        }
        if out.is_open_utf16() {
            let utf16 = ["utf16", "utf16be", "utf16le", "wide"];
            let word = seen.iter().find(|word| utf16.contains(word)).copied().unwrap_or_default();
            let at = key.find(&format!("|{word}")).map_or(0, |bar| bar + 1);
            let help = Some("add `base64` or `base64offset` behind it".into());
            let message = "UTF-16 alone is not searched: logs are text".into();
            return Err(BadModifier { at, word: word.into(), message, help });
        }
        Ok(out)
    }

    fn is_open_utf16(&self) -> bool {
        matches!(self.encodings.last(), Some(Encoding::Utf16 | Encoding::Utf16Be | Encoding::Utf16Le))
    }

    fn add(&mut self, word: &str, seen: &[&str]) -> Result<(), Fault> {
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
            let operators = ["contains", "startswith", "endswith", "re", "cidr", "exists", "gt", "gte", "lt", "lte"];
            let first = seen.iter().find(|word| operators.contains(word)).copied().unwrap_or_default();
            return Err(fault(format!("`{word}` cannot be combined with `{first}`"), "use two items"));
        }
        self.operator = operator;
        Ok(())
    }

    fn add_flag(&mut self, word: &str, seen: &[&str]) -> Result<(), Fault> {
        match word {
            "all" => self.all = true,
            "neq" => self.neq = true,
            "cased" => self.cased = true,
            "windash" => self.windash = true,
            "expand" => self.expand = true,
            "fieldref" => self.fieldref = true,
            "i" | "ignorecase" | "m" | "multiline" | "s" | "dotall" if !seen.contains(&"re") => {
                return Err((
                    format!("`{word}` is a flag of `re` and stands behind it"),
                    Some(format!("write `re|{word}`")),
                ));
            }
            "i" | "ignorecase" => self.flags.ignore_case = true,
            "m" | "multiline" => self.flags.multi_line = true,
            "s" | "dotall" => self.flags.dot_all = true,
            _ => return self.add_step(word, seen),
        }
        Ok(())
    }

    /// Encodings and parts of a time.
    fn add_step(&mut self, word: &str, seen: &[&str]) -> Result<(), Fault> {
        let encoding = match word {
            "utf16le" | "wide" => Encoding::Utf16Le,
            "utf16be" => Encoding::Utf16Be,
            "utf16" => Encoding::Utf16,
            "base64" => Encoding::Base64,
            "base64offset" => Encoding::Base64Offset,
            _ => return self.add_part(word),
        };
        if let Some(last) = self.encodings.last() {
            if matches!(last, Encoding::Base64 | Encoding::Base64Offset) {
                return Err(fault(
                    format!("`{word}` cannot stand behind `base64`"),
                    "the encodings go from left to right",
                ));
            }
            if self.is_open_utf16() && !matches!(encoding, Encoding::Base64 | Encoding::Base64Offset) {
                return Err(fault("a text has one UTF-16 encoding", "use two items"));
            }
        }
        if let Some(early) = seen.iter().find(|word| matches!(**word, "contains" | "startswith" | "endswith")) {
            let help = format!("write `{word}|{early}`");
            return Err((
                format!("`{word}` stands before `{early}`: the text is encoded, then looked for"),
                Some(help),
            ));
        }
        self.encodings.push(encoding);
        Ok(())
    }

    fn add_part(&mut self, word: &str) -> Result<(), Fault> {
        let part = match word {
            "minute" => TimePart::Minute,
            "hour" => TimePart::Hour,
            "day" => TimePart::Day,
            "week" => TimePart::Week,
            "month" => TimePart::Month,
            "year" => TimePart::Year,
            "" => return Err(("a modifier is missing behind `|`".into(), None)),
            _ => return Err(unknown(word)),
        };
        if self.part.is_some() {
            return Err(fault("an item compares one part of a time", "use two items"));
        }
        self.part = Some(part);
        Ok(())
    }

    /// What does not go together with the word just read.
    fn clash(&self, word: &str) -> Result<(), Fault> {
        let texts =
            matches!(self.operator, Operator::Equals | Operator::Contains | Operator::StartsWith | Operator::EndsWith);
        if self.cased && !texts {
            let message = if self.operator == Operator::Regex {
                "`cased` is for plain texts: a regular expression minds case unless it has `i`"
            } else {
                "`cased` is for texts only"
            };
            return Err(fault(message, "leave out `cased`"));
        }
        if self.operator == Operator::Exists && (self.all || self.neq) {
            let other = if self.neq { "neq" } else { "all" };
            let message = format!("`{other}` cannot be combined with `exists`");
            return Err(fault(message, "write `exists: true` or `exists: false`"));
        }
        let own = [
            ("windash", self.windash),
            ("fieldref", self.fieldref),
            ("base64", !self.encodings.is_empty()),
            ("expand", self.expand),
        ];
        let given: Vec<&str> = own.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        let cidr = self.operator == Operator::Cidr && given == ["expand"];
        if let (Some(first), false, false) = (given.first(), texts, cidr) {
            return Err(fault(format!("`{first}` is for texts only"), "use two items"));
        }
        let in_order = matches!(given.as_slice(), [] | [_] | ["windash", "expand"]);
        if !in_order {
            return Err(fault(format!("`{}` cannot be combined with `{}`", given[0], given[1]), "use two items"));
        }
        if self.part.is_some() {
            let numbers = matches!(self.operator, Operator::Equals | Operator::Compare(_));
            if !numbers || self.cased || self.all || !given.is_empty() {
                return Err(fault(
                    format!("`{word}` does not go together with a part of a time"),
                    "a part of a time is a number: use it alone, or with `gt`, `gte`, `lt`, `lte` or `neq`",
                ));
            }
        }
        Ok(())
    }
}

fn unknown(word: &str) -> Fault {
    let help = match (nearest(word, &NAMES), word) {
        (_, "not" | "ne") => "did you mean `neq`?".into(),
        (_, "regex" | "regexp") => "did you mean `re`?".into(),
        (_, "in" | "eq" | "equals") => "leave it out: a list means any of its values".into(),
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, _) => format!("known: {}", NAMES.join(", ")),
    };
    (format!("unknown modifier `{word}`"), Some(help))
}
