//! What people write to choose alerts: `severity>=high`, `host=web-1`, `ip=10.0.0.0/8`, `title=~(?i)scan`, or plain words.
//!
//! One parser for the command line and the control socket. All faults at once, each with what was meant, if that can be told.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use regex::{Regex, RegexBuilder};

use crate::domain::alert::{ENTITY_TYPES, Severity, Status};
use crate::domain::attack;
use crate::domain::time::Span;
use crate::index::labels::{self, INCIDENT, feedback};
use crate::index::row::{Fate, Outcome, short};
use crate::index::search;
use crate::yaml::diagnostic::nearest;

/// Most terms of one filter.
pub const TERMS_MAX: usize = 32;

/// Longest term, in bytes.
pub const TERM_BYTES_MAX: usize = 4_096;

/// Largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Keys that are no labels.
const OTHER_KEYS: &[&str] = &["severity", "status", "seen", "received", "entity", "text"];

/// Operators, longer ones first.
const OPERATORS: &[(&str, Op)] = &[
    ("!=", Op::Not),
    ("!~", Op::NotLike),
    ("=~", Op::Like),
    (">=", Op::AtLeast),
    ("<=", Op::AtMost),
    ("=", Op::Is),
    (">", Op::More),
    ("<", Op::Less),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Is,
    Not,
    Like,
    NotLike,
    AtLeast,
    AtMost,
    More,
    Less,
}

impl Op {
    fn as_str(self) -> &'static str {
        OPERATORS.iter().find(|(_, op)| *op == self).map_or("", |(text, _)| text)
    }

    fn negates(self) -> bool {
        matches!(self, Self::Not | Self::NotLike)
    }
}

/// What is wrong with one term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The term.
    pub term: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// Everything that is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Fault { term, message, help }) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            write!(f, "{gap}{term:?}: {message}")?;
            if let Some(help) = help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

/// A checked filter.
#[derive(Debug, Clone)]
pub struct Filter {
    /// All of them hold.
    pub conditions: Vec<Condition>,
    /// Says which severities are wanted, or asks for incidents; otherwise informational alerts are left out.
    pub names_severity: bool,
    /// Says which statuses are wanted, or asks for what is dismissed; otherwise closed alerts are left out.
    pub names_status: bool,
}

/// One condition.
#[derive(Debug, Clone)]
pub enum Condition {
    /// One of these.
    Severity(Vec<Severity>),
    /// One of these.
    Status(Vec<Status>),
    /// Seen last within this.
    Seen(Range),
    /// Seen first within this.
    Received(Range),
    /// A label.
    Label(Labelled),
    /// These words, as the search reads them.
    Text {
        /// In FTS5's own words.
        expression: String,
        /// None of it.
        negated: bool,
    },
}

/// Instants from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub from: Timestamp,
    /// The last.
    pub until: Timestamp,
}

/// A condition on labels.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Any of these fields.
    pub fields: Vec<&'static str>,
    /// What one of the alert's values must be.
    pub test: Test,
    /// None of them may.
    pub negated: bool,
}

/// What is asked of a value.
#[derive(Debug, Clone)]
pub enum Test {
    /// One of these, whatever the case of its letters.
    Is(Vec<String>),
    /// This technique or one of its sub-techniques.
    Technique(String),
    /// An address in this network.
    Within(IpNet),
    /// A text in which this is found.
    Like(Regex),
}

impl Filter {
    /// Checks terms as people write them. Times such as `4h` are counted back from `now`.
    ///
    /// # Errors
    /// All faults of all terms.
    pub fn parse<T: AsRef<str>>(terms: &[T], now: Timestamp) -> Result<Self, Faults> {
        let mut filter = Self { conditions: Vec::new(), names_severity: false, names_status: false };
        let mut faults = Vec::new();
        if terms.len() > TERMS_MAX {
            let message = format!("{} terms; at most {TERMS_MAX} are taken", terms.len());
            faults.push(Fault { term: "…".into(), message, help: None });
        }
        for text in terms.iter().take(TERMS_MAX).map(AsRef::as_ref) {
            match Term::read(text).and_then(|term| term.condition(now)) {
                Ok((key, condition)) => {
                    filter.names_severity |= ["severity", "is_incident"].contains(&key);
                    filter.names_status |= ["status", "suppressed_by", "fate"].contains(&key);
                    filter.conditions.push(condition);
                }
                Err(wrong) => {
                    let term = text.chars().take(80).collect();
                    faults.push(Fault { term, message: wrong.message, help: wrong.help });
                }
            }
        }
        if faults.is_empty() { Ok(filter) } else { Err(Faults(faults)) }
    }
}

/// Every key that a term can begin with.
pub fn keys() -> Vec<&'static str> {
    OTHER_KEYS.iter().copied().chain(labels::fields()).collect()
}

struct Wrong {
    message: String,
    help: Option<String>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Of a word that is none of these.
    fn word(what: &str, word: &str, known: &[&str]) -> Self {
        let wrong = Self::new(format!("there is no {what} {word:?}"));
        match nearest(word, known) {
            Some(near) => wrong.help(format!("did you mean `{near}`?")),
            None => wrong.help(format!("known: {}", known.join(", "))),
        }
    }
}

struct Term<'a> {
    key: &'static str,
    op: Op,
    value: &'a str,
}

impl<'a> Term<'a> {
    fn read(text: &'a str) -> Result<Self, Wrong> {
        if text.len() > TERM_BYTES_MAX {
            return Err(Wrong::new(format!("{} bytes; at most {TERM_BYTES_MAX} are taken", text.len())));
        }
        if text.contains('\0') {
            return Err(Wrong::new("a zero byte is in no value"));
        }
        let key = text.len() - text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_.-".contains(c)).len();
        let (key, rest) = text.split_at(key);
        let Some((sign, op)) = OPERATORS.iter().find(|(sign, _)| !key.is_empty() && rest.starts_with(sign)) else {
            return Ok(Self { key: "text", op: Op::Is, value: text });
        };
        let value = &rest[sign.len()..];
        let known = keys();
        let Some(known) = known.iter().find(|known| **known == key) else {
            let wrong = Wrong::word("key", key, &known);
            return Err(if wrong.help.as_ref().is_some_and(|help| help.starts_with("did")) {
                wrong
            } else {
                wrong.help(format!("`text={text}` searches for it; keys are {}", known.join(", ")))
            });
        };
        if value.is_empty() {
            return Err(Wrong::new("there is no value").help(format!("write {key}{sign}VALUE")));
        }
        Ok(Self { key: known, op: *op, value })
    }

    fn condition(&self, now: Timestamp) -> Result<(&'static str, Condition), Wrong> {
        let condition = match self.key {
            "severity" => Condition::Severity(self.severities()?),
            "status" => Condition::Status(self.statuses()?),
            "seen" => Condition::Seen(self.range(now)?),
            "received" => Condition::Received(self.range(now)?),
            "text" => self.text()?,
            _ => Condition::Label(self.label()?),
        };
        Ok((self.key, condition))
    }

    fn allow(&self, ops: &[Op]) -> Result<(), Wrong> {
        if ops.contains(&self.op) {
            return Ok(());
        }
        let known: Vec<&str> = ops.iter().map(|op| op.as_str()).collect();
        Err(Wrong::new(format!("`{}` has no `{}`", self.key, self.op.as_str()))
            .help(format!("known: {}", known.join(" "))))
    }

    /// The words with commas between them, each one of a closed list.
    fn words<T: Copy>(&self, known: &[(&'static str, T)]) -> Result<Vec<T>, Wrong> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let find = |word: &str| {
            let word = word.trim();
            let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            found.map(|(_, value)| *value).ok_or_else(|| Wrong::word(self.key, word, &names))
        };
        self.value.split(',').map(find).collect()
    }

    fn severities(&self) -> Result<Vec<Severity>, Wrong> {
        self.allow(&[Op::Is, Op::Not, Op::AtLeast, Op::AtMost, Op::More, Op::Less])?;
        let words = self.words(&Severity::ALL.map(|severity| (severity.as_str(), severity)))?;
        let fits = |severity: &Severity| match self.op {
            Op::Is => words.contains(severity),
            Op::AtLeast => words.iter().all(|word| severity >= word),
            Op::AtMost => words.iter().all(|word| severity <= word),
            Op::More => words.iter().all(|word| severity > word),
            Op::Less => words.iter().all(|word| severity < word),
            Op::Not | Op::Like | Op::NotLike => !words.contains(severity),
        };
        Ok(Severity::ALL.into_iter().filter(fits).collect())
    }

    fn statuses(&self) -> Result<Vec<Status>, Wrong> {
        self.allow(&[Op::Is, Op::Not])?;
        let words = self.words(&Status::ALL.map(|status| (status.as_str(), status)))?;
        let is = self.op == Op::Is;
        Ok(Status::ALL.into_iter().filter(|status| words.contains(status) == is).collect())
    }

    /// The time that the value means, and all times that stand so to it.
    fn range(&self, now: Timestamp) -> Result<Range, Wrong> {
        self.allow(&[Op::AtLeast, Op::AtMost, Op::More, Op::Less])?;
        let at = instant(self.value, now)?;
        let whole = Range { from: Timestamp::MIN, until: Timestamp::MAX };
        let step = SignedDuration::from_micros(1);
        Ok(match self.op {
            Op::AtLeast => Range { from: at, ..whole },
            Op::More => Range { from: at.saturating_add(step).unwrap_or(at), ..whole },
            Op::AtMost => Range { until: at, ..whole },
            _ => Range { until: at.saturating_sub(step).unwrap_or(at), ..whole },
        })
    }

    fn text(&self) -> Result<Condition, Wrong> {
        self.allow(&[Op::Is, Op::Not])?;
        let expression = search::expression(self.value);
        let expression = expression.ok_or_else(|| Wrong::new("there is no word in it that could be searched for"))?;
        Ok(Condition::Text { expression, negated: self.op.negates() })
    }

    fn label(&self) -> Result<Labelled, Wrong> {
        if self.key == "is_incident" {
            return self.incident();
        }
        self.allow(&[Op::Is, Op::Not, Op::Like, Op::NotLike])?;
        let fields = if self.key == "entity" { ENTITY_TYPES.to_vec() } else { vec![self.key] };
        let test =
            if matches!(self.op, Op::Like | Op::NotLike) { Test::Like(regex(self.value)?) } else { self.exact()? };
        Ok(Labelled { fields, test, negated: self.op.negates() })
    }

    /// Only those that are incidents have a label of it.
    fn incident(&self) -> Result<Labelled, Wrong> {
        self.allow(&[Op::Is, Op::Not])?;
        let words = self.words(&[(INCIDENT, true), ("false", false)])?;
        let [is] = words[..] else {
            return Err(Wrong::new("every alert is one or the other").help("write one of both"));
        };
        let test = Test::Is(vec![INCIDENT.to_owned()]);
        Ok(Labelled { fields: vec![self.key], test, negated: is == self.op.negates() })
    }

    fn exact(&self) -> Result<Test, Wrong> {
        let one = |text: &str| Test::Is(vec![short(text)]);
        Ok(match self.key {
            "fate" => Test::Is(self.closed(&Fate::ALL.iter().map(|fate| fate.as_str()).collect::<Vec<_>>())?),
            "run" => Test::Is(self.closed(&Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect::<Vec<_>>())?),
            "feedback" => Test::Is(self.closed(&[feedback(true), feedback(false)])?),
            "tactic" => one(attack::tactic(self.value).unwrap_or(self.value)),
            "technique" => {
                let id = attack::technique(self.value).map(|known| known.id).or(attack::technique_named(self.value));
                Test::Technique(short(id.unwrap_or(self.value)))
            }
            "ip" => network(self.value)?,
            _ => one(self.value),
        })
    }

    fn closed(&self, known: &[&'static str]) -> Result<Vec<String>, Wrong> {
        let pairs: Vec<(&'static str, &'static str)> = known.iter().map(|word| (*word, *word)).collect();
        Ok(self.words(&pairs)?.into_iter().map(str::to_owned).collect())
    }
}

fn regex(text: &str) -> Result<Regex, Wrong> {
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it is too large");
        Wrong::new(format!("not a regular expression: {reason}"))
    })
}

/// An address, or a network of them.
fn network(text: &str) -> Result<Test, Wrong> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Test::Within(address.into()));
    }
    if !text.contains('/') {
        return Ok(Test::Is(vec![short(text)]));
    }
    let wrong = || Wrong::new(format!("{text:?} is no network")).help("write 10.0.0.0/8 or 2001:db8::/32");
    text.parse().map(Test::Within).map_err(|_| wrong())
}

/// An instant, or how long ago.
fn instant(text: &str, now: Timestamp) -> Result<Timestamp, Wrong> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let span: Result<Span, _> = text.parse();
    let span = span.map_err(|bad| Wrong::new(bad.to_string()).help("or an instant such as 2026-11-22T03:00:00Z"))?;
    let span = SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX);
    Ok(now.checked_sub(span).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T03:00:00Z".parse().unwrap()
    }

    fn faults(terms: &[&str]) -> Vec<String> {
        let Faults(faults) = Filter::parse(terms, now()).unwrap_err();
        faults.into_iter().map(|fault| format!("{}: {}", fault.message, fault.help.unwrap_or_default())).collect()
    }

    #[test]
    fn faults_say_what_was_meant() {
        for (term, said) in [
            ("severty=high", "there is no key \"severty\": did you mean `severity`?"),
            ("severity=hgih", "there is no severity \"hgih\": did you mean `high`?"),
            ("is_incident=yes", "there is no is_incident \"yes\": known: true, false"),
            ("is_incident=true,false", "every alert is one or the other: write one of both"),
            ("severity=a,low", "there is no severity \"a\": known: informational, low, medium, high"),
            ("status=open", "there is no status \"open\": known: active, in_progress, resolved, dismissed"),
            ("status>=active", "`status` has no `>=`: known: = !="),
            ("run=faild", "there is no run \"faild\": did you mean `failed`?"),
            ("fate=throtled", "there is no fate \"throtled\": did you mean `throttled`?"),
            ("host=", "there is no value: write host=VALUE"),
            ("host>=a", "`host` has no `>=`: known: = != =~ !~"),
            ("ip=10.0.0.0/33", "\"10.0.0.0/33\" is no network: write 10.0.0.0/8 or 2001:db8::/32"),
            (
                "seen>=yesterday",
                "\"yesterday\" is not a length of time; write 500ms, 30s, 5m, 2h, 7d, 4w or a sum such as \
                                 1h30m: or an instant such as 2026-11-22T03:00:00Z",
            ),
            ("seen=4h", "`seen` has no `=`: known: >= <= > <"),
            ("title=~(", "not a regular expression: unclosed group: "),
            ("text=***", "there is no word in it that could be searched for: "),
            ("a\0b", "a zero byte is in no value: "),
        ] {
            assert_eq!(faults(&[term]), [said], "{term}");
        }
        assert!(faults(&["zzz=1"])[0].contains("`text=zzz=1` searches for it"));
        assert!(faults(&["title=~(a{1000}){1000}"])[0].contains("too large"));
        assert_eq!(faults(&["severty=high", "ok", "host="]).len(), 2, "all at once");
        assert!(faults(&["x"; 33])[0].contains("at most 32"));
        assert!(faults(&[&"x".repeat(5000)])[0].contains("at most 4096"));
    }

    #[test]
    fn what_is_no_condition_is_searched_for() {
        for term in ["powershell", "http://example.com/?a=b", "=x", "port scan >= 5"] {
            let filter = Filter::parse(&[term], now()).unwrap();
            assert!(matches!(filter.conditions[..], [Condition::Text { .. }]), "{term}");
            assert!(!filter.names_severity && !filter.names_status);
        }
    }

    #[test]
    fn times_are_instants_or_ago() {
        let range = |term: &str| match Filter::parse(&[term], now()).unwrap().conditions[..] {
            [Condition::Seen(range)] => range,
            _ => panic!("{term}"),
        };
        assert_eq!(range("seen>=1h").from, "2026-11-22T02:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(
            range("seen<2026-11-22T02:00:00Z").until,
            "2026-11-22T01:59:59.999999Z".parse::<Timestamp>().unwrap()
        );
        assert_eq!(range("seen>=9999999w").from, Timestamp::MIN);
    }

    #[test]
    fn what_asks_for_closed_or_informational_alerts_shows_them() {
        for (term, severity, status) in [
            ("severity=informational", true, false),
            ("status=dismissed", false, true),
            ("suppressed_by=scanner", false, true),
            ("fate=suppressed", false, true),
            ("is_incident=true", true, false),
            ("host=a", false, false),
        ] {
            let filter = Filter::parse(&[term], now()).unwrap();
            assert_eq!((filter.names_severity, filter.names_status), (severity, status), "{term}");
        }
    }
}
