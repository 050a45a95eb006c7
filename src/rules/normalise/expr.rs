//! Expressions: how a format says where a value comes from and what becomes of it.
//!
//! Written as a path, `=constant`, `"a template with {paths}"`, a list of which the first that gives a value
//! counts, or a map: a source (`from`, `all`, `const`) and steps, which apply in a fixed order.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value as Json};

use crate::rules::normalise::NoteKind;
use crate::rules::normalise::condition::{Condition, path, path_text, words};
use crate::rules::normalise::path::{Found, Path, Scope, scalar_text};
use crate::rules::normalise::time::{Instant, TimeForm};
use crate::rules::normalise::words::WordMap;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader, one_or_many, text};

/// An expression, checked.
#[derive(Debug, Clone)]
pub struct Expr {
    source: Source,
    when: Option<Condition>,
    steps: Vec<Step>,
    default: Option<Json>,
}

#[derive(Debug, Clone)]
enum Source {
    Path(Path),
    Const(Json),
    Template(Vec<Piece>),
    First(Vec<Expr>),
    All(Vec<Expr>),
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Path(Path),
}

#[derive(Debug, Clone)]
enum Step {
    Keyed { key: Path, value: Path },
    Where(Condition),
    At(Path),
    Split(String),
    Match(Regex),
    Replace(Vec<(String, String)>),
    Lower,
    Upper,
    Drop(Vec<String>),
    Map { map: WordMap, otherwise: Option<Json> },
    Time(TimeForm),
    Join(String),
}

/// Most bytes of a compiled regular expression.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

impl Expr {
    /// Reads an expression.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let plain = |source| Some(Self { source, when: None, steps: Vec::new(), default: None });
        match &node.value {
            Value::Str(text) => plain(read_text(text, node, faults)?),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => plain(Source::Const(node.value.json())),
            Value::List(items) => plain(Source::First(read_all(items, faults))),
            Value::Map(_) => read_map(node, faults),
            Value::Null => {
                faults.expected(node, "an expression");
                None
            }
        }
    }

    /// The value for a record.
    pub fn eval<'a>(&'a self, scope: &Scope<'a>) -> Found<'a> {
        if self.when.as_ref().is_some_and(|when| !when.holds(scope)) {
            return Found::Nothing;
        }
        let mut found = self.source.eval(scope);
        for step in &self.steps {
            if found.is_nothing() {
                break;
            }
            found = step.apply(found, scope);
        }
        match &self.default {
            Some(default) if found.is_nothing() => Found::One(Cow::Borrowed(default)),
            _ => found,
        }
    }

    /// The product's own value, before a value map changes it.
    pub fn eval_unmapped<'a>(&'a self, scope: &Scope<'a>) -> Found<'a> {
        if self.when.as_ref().is_some_and(|when| !when.holds(scope)) {
            return Found::Nothing;
        }
        let mut found = match &self.source {
            Source::Const(_) => Found::Nothing,
            Source::First(inner) => first(inner, |expr| expr.eval_unmapped(scope)),
            other => other.eval(scope),
        };
        for step in self.steps.iter().take_while(|step| !matches!(step, Step::Map { .. })) {
            found = step.apply(found, scope);
        }
        found
    }

    /// It gives the same for every record.
    pub fn is_constant(&self) -> bool {
        match &self.source {
            Source::Const(_) => true,
            Source::First(inner) | Source::All(inner) => inner.iter().all(Self::is_constant),
            Source::Path(_) | Source::Template(_) => false,
        }
    }

    /// All values that it can give; `None` when a record's own text can come through.
    pub fn outcomes(&self) -> Option<Vec<&Json>> {
        let mut outcomes = match (self.steps.last(), &self.source) {
            (Some(Step::Map { map, otherwise }), _) => map.values().chain(otherwise).collect(),
            (None, Source::Const(value)) => vec![value],
            (None, Source::First(inner) | Source::All(inner)) => {
                let each: Option<Vec<_>> = inner.iter().map(Self::outcomes).collect();
                each?.into_iter().flatten().collect()
            }
            _ => return None,
        };
        outcomes.extend(&self.default);
        Some(outcomes)
    }

    /// What it gives for a value that nothing else takes, or for none: `default`, else `else`, else a constant.
    pub fn fallback(&self) -> Option<&Json> {
        if let Some(default) = &self.default {
            return Some(default);
        }
        match (self.steps.last(), &self.source) {
            (Some(Step::Map { otherwise, .. }), _) => otherwise.as_ref(),
            (None, Source::Const(value)) => Some(value),
            (None, Source::First(inner)) => inner.last()?.fallback(),
            _ => None,
        }
    }
}

fn read_all(items: &[Node], faults: &mut Faults) -> Vec<Expr> {
    items.iter().filter_map(|item| Expr::read(item, faults)).collect()
}

/// A text: `=constant`, a template when it has braces, otherwise a path.
fn read_text(text: &str, node: &Node, faults: &mut Faults) -> Option<Source> {
    if let Some(constant) = text.strip_prefix('=') {
        return Some(Source::Const(constant.into()));
    }
    if !text.contains(['{', '}']) {
        return path_text(text, &node.place, faults).map(Source::Path);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut plain = String::new();
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
        if after.starts_with(brace) {
            plain.push_str(brace);
            rest = &after[1..];
            continue;
        }
        let Some((inner, after)) = after.split_once('}').filter(|_| brace == "{") else {
            faults.error(
                "bad-template",
                &node.place,
                format!("`{brace}` has no partner; write `{brace}{brace}` for the sign itself"),
            );
            return None;
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Path(path_text(inner.trim(), &node.place, faults)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Some(Source::Template(pieces))
}

fn read_map(node: &Node, faults: &mut Faults) -> Option<Expr> {
    let mut map = MapReader::new(node, "an expression", faults)?;
    let from = map.get("from").map(|node| Expr::read(node, faults).map(|inner| Source::First(vec![inner])));
    let all = map.list("all").map(|items| Some(Source::All(read_all(items, faults))));
    let constant = map.get("const").map(|node| Some(Source::Const(node.value.json())));
    let sources: Vec<Option<Source>> = [from, all, constant].into_iter().flatten().collect();
    if sources.len() != 1 {
        let message = "an expression's map needs exactly one of `from`, `all`, `const`";
        faults.error("expression-source", map.place(), message);
    }
    let when = map.get("when").and_then(|node| Condition::read(node, faults));
    let steps = read_steps(&mut map, faults);
    let default = map.get("default").and_then(|node| constant_value(node, faults));
    map.finish(faults);
    Some(Expr { source: sources.into_iter().next()??, when, steps, default })
}

/// The steps, in the order in which they apply however they are written.
fn read_steps(map: &mut MapReader<'_>, faults: &mut Faults) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(map.get("keyed").and_then(|node| read_keyed(node, faults)));
    steps.extend(map.get("where").and_then(|node| Condition::read(node, faults)).map(Step::Where));
    steps.extend(map.get("at").and_then(|node| path(node, faults)).map(Step::At));
    steps.extend(map.get("split").and_then(|node| separator(node, faults)).map(Step::Split));
    steps.extend(map.get("match").and_then(|node| read_regex(node, faults)).map(Step::Match));
    steps.extend(map.get("replace").and_then(|node| read_replace(node, faults)).map(Step::Replace));
    steps.extend((map.flag("lower", faults) == Some(true)).then_some(Step::Lower));
    steps.extend((map.flag("upper", faults) == Some(true)).then_some(Step::Upper));
    steps.extend(map.get("drop").map(|node| Step::Drop(words(node, faults))));
    let otherwise = map.get("else").and_then(|node| Some((node, constant_value(node, faults)?)));
    match map.get("map").and_then(|node| WordMap::read(node, faults)) {
        Some(words) => steps.push(Step::Map { map: words, otherwise: otherwise.map(|(_, value)| value) }),
        None => {
            if let Some((node, _)) = otherwise {
                faults.error("else-without-map", &node.place, "`else` belongs to a `map`");
            }
        }
    }
    steps.extend(map.get("time").and_then(|node| read_time(node, faults)).map(Step::Time));
    steps.extend(map.get("join").and_then(|node| separator(node, faults)).map(Step::Join));
    steps
}

fn constant_value(node: &Node, faults: &mut Faults) -> Option<Json> {
    let scalar = matches!(node.value, Value::Str(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_));
    if !scalar {
        faults.expected(node, "a constant: a text, a number or a boolean");
    }
    scalar.then(|| node.value.json())
}

fn read_keyed(node: &Node, faults: &mut Faults) -> Option<Step> {
    let mut map = MapReader::new(node, "a map with `key` and `value`", faults)?;
    let key = map.need("key", faults).and_then(|node| path(node, faults));
    let value = map.need("value", faults).and_then(|node| path(node, faults));
    map.finish(faults);
    Some(Step::Keyed { key: key?, value: value? })
}

/// A separator may be a space or a line end, so it is not trimmed.
fn separator(node: &Node, faults: &mut Faults) -> Option<String> {
    match &node.value {
        Value::Str(text) if !text.is_empty() => Some(text.clone()),
        _ => {
            faults.expected(node, "a separator in quotes");
            None
        }
    }
}

fn read_regex(node: &Node, faults: &mut Faults) -> Option<Regex> {
    let pattern = text(node, faults)?;
    match RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build() {
        Ok(regex) if regex.captures_len() <= 2 => Some(regex),
        Ok(_) => {
            faults.error(
                "regex-groups",
                &node.place,
                "the expression has several groups; one at most says which part to take",
            );
            None
        }
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            faults.error("bad-regex", &node.place, format!("not a regular expression: {why}"));
            None
        }
    }
}

fn read_replace(node: &Node, faults: &mut Faults) -> Option<Vec<(String, String)>> {
    let mut map = MapReader::new(node, "a map of texts to their replacements", faults)?;
    let mut pairs = Vec::new();
    for (key, node) in map.rest() {
        match &node.value {
            Value::Str(to) if !key.text.is_empty() => pairs.push((key.text.clone(), to.clone())),
            _ => faults.expected(node, "a text in quotes"),
        }
    }
    Some(pairs)
}

/// One of the words for how times are written.
fn read_time(node: &Node, faults: &mut Faults) -> Option<TimeForm> {
    let word = text(node, faults)?;
    let found = TimeForm::WORDS.into_iter().find(|(name, _)| *name == word);
    if found.is_none() {
        let fault = Diagnostic::error("unknown-time-form", node.place.clone(), format!("`{word}` is no form of time"));
        faults.push(fault.suggest(word, TimeForm::WORDS.map(|(name, _)| name)));
    }
    found.map(|(_, form)| form)
}

/// Reads `each`: one path or several, of which the first that gives items counts.
pub fn read_paths(node: &Node, faults: &mut Faults) -> Vec<Path> {
    one_or_many(node).iter().filter_map(|node| path(node, faults)).collect()
}

fn first<'a>(inner: &'a [Expr], eval: impl Fn(&'a Expr) -> Found<'a>) -> Found<'a> {
    inner.iter().map(eval).find(|found| !found.is_nothing()).unwrap_or(Found::Nothing)
}

impl Source {
    fn eval<'a>(&'a self, scope: &Scope<'a>) -> Found<'a> {
        match self {
            Self::Path(path) => path.find(scope),
            Self::Const(value) => Found::One(Cow::Borrowed(value)),
            Self::First(inner) => first(inner, |expr| expr.eval(scope)),
            Self::All(inner) => Found::of(inner.iter().flat_map(|expr| expr.eval(scope).into_items()).collect(), true),
            Self::Template(pieces) => match fill(pieces, scope) {
                Some(text) => Found::One(Cow::Owned(Json::String(text))),
                None => Found::Nothing,
            },
        }
    }
}

/// Fills a template; a path without a value makes it give nothing.
fn fill(pieces: &[Piece], scope: &Scope<'_>) -> Option<String> {
    let mut filled = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Path(path) => {
                let found = path.find(scope);
                let texts: Vec<_> = found.items().iter().filter_map(|item| scalar_text(item)).collect();
                if texts.is_empty() {
                    return None;
                }
                filled.push_str(&texts.join(", "));
            }
        }
    }
    Some(filled)
}

impl Step {
    fn apply<'a>(&'a self, found: Found<'a>, scope: &Scope<'a>) -> Found<'a> {
        match self {
            Self::Keyed { key, value } => keyed(&found, key, value, scope),
            Self::Where(condition) => {
                let many = matches!(found, Found::Many(_));
                let mut items = found.into_items();
                items.retain(|item| condition.holds(&Scope { here: item, ..*scope }));
                Found::of(items, many)
            }
            Self::At(path) => at(found, path, scope),
            Self::Split(separator) => {
                let parts = |text: &str| -> Vec<Json> {
                    text.split(separator.as_str())
                        .map(str::trim)
                        .filter(|part| !part.is_empty())
                        .map(Into::into)
                        .collect()
                };
                let items = found.items().iter().filter_map(|item| scalar_text(item));
                Found::of(items.flat_map(|text| parts(&text)).map(Cow::Owned).collect(), true)
            }
            Self::Match(regex) => each_text(found, |text| {
                let groups = regex.captures(text)?;
                groups.get(1).or(groups.get(0)).map(|part| part.as_str().to_owned())
            }),
            Self::Replace(pairs) => each_text(found, |text| {
                Some(pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
            }),
            Self::Lower => each_text(found, |text| Some(text.to_lowercase())),
            Self::Upper => each_text(found, |text| Some(text.to_uppercase())),
            Self::Drop(words) => {
                let many = matches!(found, Found::Many(_));
                let mut items = found.into_items();
                items.retain(|item| {
                    scalar_text(item).is_none_or(|text| !words.iter().any(|word| word.eq_ignore_ascii_case(&text)))
                });
                Found::of(items, many)
            }
            Self::Map { map, otherwise } => map_words(found, map, otherwise.as_ref(), scope),
            Self::Time(form) => times(&found, *form, scope),
            Self::Join(separator) => {
                let texts: Vec<_> = found.items().iter().filter_map(|item| scalar_text(item)).collect();
                if texts.is_empty() { Found::Nothing } else { Found::One(Cow::Owned(texts.join(separator).into())) }
            }
        }
    }
}

fn each_text<'a>(found: Found<'a>, change: impl Fn(&str) -> Option<String>) -> Found<'a> {
    let many = matches!(found, Found::Many(_));
    let items = found.items().iter().filter_map(|item| change(&scalar_text(item)?));
    let items = items.filter(|text| !text.trim().is_empty()).map(|text| Cow::Owned(Json::String(text)));
    Found::of(items.collect(), many)
}

/// A list of key/value objects as one object; the values of a repeated key become a list.
fn keyed<'a>(found: &Found<'a>, key: &Path, value: &Path, scope: &Scope<'a>) -> Found<'a> {
    let mut object = Map::new();
    for item in found.items() {
        let scope = Scope { here: item, ..*scope };
        let name = key.find(&scope).items().first().and_then(|name| scalar_text(name).map(Cow::into_owned));
        let (Some(name), Some(value)) = (name, value.find(&scope).into_value()) else { continue };
        match object.entry(name) {
            serde_json::map::Entry::Vacant(free) => _ = free.insert(value),
            serde_json::map::Entry::Occupied(mut taken) => match taken.get_mut() {
                Json::Array(values) => values.push(value),
                one => *one = Json::Array(vec![one.take(), value]),
            },
        }
    }
    if object.is_empty() { Found::Nothing } else { Found::One(Cow::Owned(Json::Object(object))) }
}

fn at<'a>(found: Found<'a>, path: &Path, scope: &Scope<'a>) -> Found<'a> {
    let mut many = matches!(found, Found::Many(_));
    let mut items = Vec::new();
    for item in found.into_items() {
        let inner = match &item {
            Cow::Borrowed(value) => path.find_in(value, scope.reading),
            Cow::Owned(value) => match path.find(&Scope { here: value, ..*scope }) {
                Found::Nothing => Found::Nothing,
                Found::One(one) => Found::One(Cow::Owned(one.into_owned())),
                Found::Many(some) => Found::Many(some.into_iter().map(|one| Cow::Owned(one.into_owned())).collect()),
            },
        };
        many |= matches!(inner, Found::Many(_));
        items.extend(inner.into_items());
    }
    Found::of(items, many)
}

fn map_words<'a>(found: Found<'a>, map: &'a WordMap, otherwise: Option<&'a Json>, scope: &Scope<'a>) -> Found<'a> {
    let many = matches!(found, Found::Many(_));
    let mut items = Vec::new();
    for item in found.into_items() {
        match (map.get(&item), otherwise) {
            (Some(value), _) => items.push(Cow::Borrowed(value)),
            (None, Some(value)) => {
                scope.reading.note(NoteKind::UnknownWord, &item.as_str().map_or_else(|| item.to_string(), Into::into));
                items.push(Cow::Borrowed(value));
            }
            (None, None) => {}
        }
    }
    Found::of(items, many)
}

fn times<'a>(found: &Found<'a>, form: TimeForm, scope: &Scope<'a>) -> Found<'a> {
    let mut items = Vec::new();
    for item in found.items() {
        match form.read(item) {
            Ok(Instant::At(at)) => items.push(Cow::Owned(Json::String(at.to_string()))),
            Ok(Instant::Unset) => {}
            Err(_) => scope.reading.note(NoteKind::BadTime, &item.to_string()),
        }
    }
    Found::of(items, matches!(found, Found::Many(_)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::normalise::path::Reading;
    use crate::yaml::node;

    fn expr(text: &str) -> Expr {
        let mut faults = Faults::default();
        let expr = Expr::read(&node::parse(&"t.yaml".into(), text).unwrap(), &mut faults);
        assert!(faults.found.is_empty(), "{text}: {:?}", faults.found);
        expr.unwrap()
    }

    fn eval(text: &str, record: &Json) -> (Json, usize) {
        let expr = expr(text);
        let reading = Reading { empty: &["N/A".to_owned()], ..Reading::default() };
        let scope = Scope { here: record, alert: record, record, reading: &reading };
        let value = expr.eval(&scope).into_value().unwrap_or_default();
        (value, reading.notes.take().len())
    }

    #[test]
    fn expressions_give_what_they_say() {
        let record = json!({
            "name": "web-1", "user": {"first": "Dana", "last": "Roth"}, "none": null, "na": "n/a", "zero": 0, "flag": false,
            "level": "7", "words": ["attack.t1059.001", "attack.execution", "cve.2021"], "csv": "a, b ,,c", "when": 1_772_359_200,
            "meta": [{"key": "ip", "value": "192.0.2.1"}, {"key": "port", "value": 22}, {"key": "ip", "value": "192.0.2.2"}],
            "links": [{"kind": "doc", "href": "https://example.com/a"}, {"kind": "img", "href": "https://example.com/b"}]
        });
        for (text, expected) in [
            ("name", json!("web-1")),
            ("=name", json!("name")),
            ("5", json!(5)),
            ("\"{user.first} {user.last} on {name}\"", json!("Dana Roth on web-1")),
            ("\"{{{name}}}\"", json!("{web-1}")),
            ("\"{user.first} {user.middle}\"", json!(null)),
            ("[none, na, user.nick, name]", json!("web-1")),
            ("zero", json!(0)),
            ("flag", json!(false)),
            ("{all: [name, none, csv]}", json!(["web-1", "a, b ,,c"])),
            ("{from: none, default: unknown}", json!("unknown")),
            ("{from: csv, split: \",\"}", json!(["a", "b", "c"])),
            ("{from: csv, split: \",\", drop: [B], join: \"+\"}", json!("a+c")),
            ("{from: words, match: \"^attack[.](t[0-9.]+)$\", upper: true}", json!(["T1059.001"])),
            ("{from: words, match: \"^attack[.]([a-z-]+)$\", map: {execution: Execution}}", json!(["Execution"])),
            ("{from: name, replace: {web: app, \"-1\": \"\"}}", json!("app")),
            ("{from: name, match: \"^db\"}", json!(null)),
            ("{from: level, map: {1-3: low, 4-6: medium, 7+: high}, else: low}", json!("high")),
            ("{from: meta, keyed: {key: key, value: value}, at: port}", json!(22)),
            ("{from: meta, keyed: {key: key, value: value}, at: ip}", json!(["192.0.2.1", "192.0.2.2"])),
            ("{from: links, where: {equal: {kind: doc}}, at: href}", json!(["https://example.com/a"])),
            ("{from: when, time: epoch_s}", json!("2026-03-01T10:00:00Z")),
            ("{when: {present: user.first}, const: yes}", json!("yes")),
            ("{when: {absent: user.first}, const: yes}", json!(null)),
            ("{when: {starts: {name: WEB}, is: {words: list}}, from: name}", json!("web-1")),
            ("{when: {any: [{equal: {name: x}}, {not: {present: none}}]}, from: name}", json!("web-1")),
            ("{from: [{when: {equal: {level: 8}}, const: eight}, {from: name, lower: true}]}", json!("web-1")),
        ] {
            assert_eq!(eval(text, &record), (expected, 0), "{text}");
        }
    }

    #[test]
    fn what_is_odd_is_noted() {
        let record = json!({"level": "sev9", "time": "soon", "list": [{"a": 1}]});
        assert_eq!(eval("{from: level, map: {low: low}, else: medium}", &record), (json!("medium"), 1));
        assert_eq!(eval("{from: level, map: {low: low}}", &record), (json!(null), 0));
        assert_eq!(eval("{from: time, time: auto}", &record), (json!(null), 1));
        assert_eq!(eval("{from: list, split: \",\"}", &record), (json!(null), 0));
    }

    #[test]
    fn a_closed_vocabulary_is_known_before_any_record() {
        let outcomes = |text: &str| expr(text).outcomes().map(|words| words.into_iter().cloned().collect::<Vec<_>>());
        assert_eq!(outcomes("[{from: a, map: {x: low}}, =high]"), Some(vec![json!("low"), json!("high")]));
        assert_eq!(outcomes("{from: a, map: {x: low}, else: medium}"), Some(vec![json!("low"), json!("medium")]));
        assert_eq!(outcomes("{from: a, map: {x: low}, join: \",\"}"), None);
        assert_eq!(outcomes("a"), None);
        assert_eq!(
            expr("[{from: a, map: {x: low}}, {from: b, map: {y: high}, else: medium}]").fallback(),
            Some(&json!("medium"))
        );
        assert_eq!(expr("{from: a, map: {x: low}}").fallback(), None);
    }
}
