//! Paths into a record, and what they find there.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::rules::normalise::{Note, NoteKind};

/// A place in a record: `a.b`, `a."key with space"`, `a[0]`, `a[*].b`, `.`, `$alert.a`, `$record.a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    root: Root,
    steps: Vec<Step>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// What the mapping looks at: the entity's item inside `entities`, otherwise the alert's part of the record.
    Here,
    Alert,
    Record,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    /// All items; a value that is no list counts as a list of one.
    All,
}

/// How often a `$ref` that leads to a `$ref` is followed.
const REFS_MAX: usize = 8;
/// Most notes kept of one record.
const NOTES_MAX: usize = 64;

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (root, rest) = match text.strip_prefix('$') {
            None => (Root::Here, text),
            Some(rest) => {
                let (name, rest) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
                let rest = rest.strip_prefix('.').unwrap_or(rest);
                match name {
                    "alert" => (Root::Alert, rest),
                    "record" => (Root::Record, rest),
                    _ => return Err(format!("`${name}` is not known; there are `$alert` and `$record`")),
                }
            }
        };
        if rest.is_empty() && root == Root::Here {
            return Err("a path is empty; `.` is the value itself".into());
        }
        let steps = if rest == "." { Vec::new() } else { steps(rest)? };
        Ok(Self { root, steps, text: text.into() })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands there; null and nothing are the same.
    pub fn find<'a>(&self, scope: &Scope<'a>) -> Found<'a> {
        let found = self.open(scope);
        for item in found.items() {
            scope.reading.mark(item);
        }
        found
    }

    /// What stands there, to be looked into further.
    pub fn open<'a>(&self, scope: &Scope<'a>) -> Found<'a> {
        let start = match self.root {
            Root::Here => scope.here,
            Root::Alert => scope.alert,
            Root::Record => scope.record,
        };
        self.find_in(start, scope.reading)
    }

    /// What stands there below `start`.
    pub fn find_in<'a>(&self, start: &'a Value, reading: &Reading<'a>) -> Found<'a> {
        let mut walk = Walk { reading, first: None, others: Vec::new(), many: false };
        walk.go(start, &self.steps);
        match (walk.first, walk.many) {
            (None, _) => Found::Nothing,
            (Some(one), false) => Found::One(Cow::Borrowed(one)),
            (Some(one), true) => Found::Many([one].into_iter().chain(walk.others).map(Cow::Borrowed).collect()),
        }
    }

    /// Puts a value there, within what a record has already: what is there stays, and a list that is asked for is made
    /// of it.
    pub fn put(&self, record: &mut Value, value: &Value) {
        put(record, &self.steps, value);
    }

    /// The values there with their JSON pointers; the path's last list is opened.
    pub fn locate<'a>(&self, start: &'a Value) -> Vec<(String, &'a Value)> {
        let mut at = vec![(String::new(), start)];
        for step in self.steps.iter().chain([&Step::All]) {
            at = at.into_iter().flat_map(|(pointer, value)| locate_step(step, &pointer, value)).collect();
        }
        at.retain(|(_, value)| !value.is_null());
        at
    }
}

fn put(at: &mut Value, steps: &[Step], value: &Value) {
    let Some((step, rest)) = steps.split_first() else {
        if at.is_null() {
            *at = value.clone();
        } else if value.is_array() && !at.is_array() {
            *at = Value::Array(vec![at.take()]);
        }
        return;
    };
    match (step, &mut *at) {
        (Step::Key(_), Value::Object(_)) | (_, Value::Array(_)) => {}
        (Step::Key(_), _) => *at = Value::Object(serde_json::Map::new()),
        (Step::Index(_) | Step::All, _) => *at = Value::Array(Vec::new()),
    }
    match (step, at) {
        (Step::Key(key), Value::Object(map)) => put(map.entry(key.as_str()).or_insert(Value::Null), rest, value),
        (step, Value::Array(items)) => {
            if items.is_empty() {
                items.push(Value::Null);
            }
            let within = if matches!(step, Step::Key(_)) { steps } else { rest };
            put(&mut items[0], within, value);
        }
        _ => {}
    }
}

fn locate_step<'a>(step: &Step, pointer: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    match (step, value) {
        (Step::Key(key), Value::Object(map)) => {
            let name = key.replace('~', "~0").replace('/', "~1");
            map.get(key).map(|item| (format!("{pointer}/{name}"), item)).into_iter().collect()
        }
        (Step::All, Value::Array(items)) => {
            items.iter().enumerate().map(|(n, item)| (format!("{pointer}/{n}"), item)).collect()
        }
        (Step::Key(_), Value::Array(items)) => {
            let items = items.iter().enumerate();
            items.flat_map(|(n, item)| locate_step(step, &format!("{pointer}/{n}"), item)).collect()
        }
        (Step::Index(n), Value::Array(items)) => {
            items.get(*n).map(|item| (format!("{pointer}/{n}"), item)).into_iter().collect()
        }
        (Step::All, _) => vec![(pointer.to_owned(), value)],
        _ => Vec::new(),
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']').ok_or("`[` has no `]`")?;
            steps.push(match index {
                "*" => Step::All,
                _ => Step::Index(index.parse().map_err(|_| format!("`[{index}]` is neither `[*]` nor a number"))?),
            });
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('"') {
            let (key, after) = inner.split_once('"').ok_or("a quoted key has no end")?;
            steps.push(Step::Key(key.into()));
            rest = after;
        } else {
            let end = rest.find(['.', '[', '"']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            if key.is_empty() {
                return Err("a key is missing beside a `.`".into());
            }
            if key.contains(char::is_whitespace) {
                return Err(format!(
                    "`{key}` has a space: put the key in double quotes, or begin the text with `=` if it is meant as it stands"
                ));
            }
            steps.push(Step::Key(key.into()));
            rest = after;
        }
        match rest.chars().next() {
            None => return Ok(steps),
            Some('.') => rest = &rest[1..],
            Some('[') => {}
            Some(other) => return Err(format!("`{other}` follows a key; a `.` or `[` is expected")),
        }
    }
}

struct Walk<'w, 'a> {
    reading: &'w Reading<'a>,
    first: Option<&'a Value>,
    others: Vec<&'a Value>,
    /// A list was walked through, so that even one value is a list's.
    many: bool,
}

impl<'a> Walk<'_, 'a> {
    fn go(&mut self, value: &'a Value, steps: &[Step]) {
        let value = self.reading.follow(value);
        let Some((step, rest)) = steps.split_first() else {
            return self.end(value);
        };
        match (step, value) {
            (Step::Key(_), Value::Array(items)) => {
                self.many = true;
                items.iter().for_each(|item| self.go(item, steps));
            }
            (Step::All, Value::Array(items)) => {
                self.many = true;
                items.iter().for_each(|item| self.go(item, rest));
            }
            (Step::All, _) => self.go(value, rest),
            (Step::Index(n), Value::Array(items)) => {
                if let Some(item) = items.get(*n) {
                    self.go(item, rest);
                }
            }
            (Step::Index(_), _) => {}
            (Step::Key(key), _) => self.key(value, key, rest),
        }
    }

    fn key(&mut self, value: &'a Value, key: &str, rest: &[Step]) {
        let Value::Object(map) = value else { return };
        if let Some(item) = map.get(key) {
            return self.go(item, rest);
        }
        if self.reading.any_case_keys
            && let Some((_, item)) = map.iter().find(|(other, _)| other.eq_ignore_ascii_case(key))
        {
            return self.go(item, rest);
        }
        if self.reading.dotted_keys {
            let mut dotted = key.to_owned();
            for (n, step) in rest.iter().enumerate() {
                let Step::Key(next) = step else { return };
                dotted.push('.');
                dotted.push_str(next);
                if let Some(item) = map.get(&dotted) {
                    return self.go(item, &rest[n + 1..]);
                }
            }
        }
    }

    fn end(&mut self, value: &'a Value) {
        let Value::Array(items) = value else { return self.take(value) };
        self.many = true;
        items.iter().for_each(|item| self.take(self.reading.follow(item)));
    }

    fn take(&mut self, value: &'a Value) {
        match self.first {
            _ if self.reading.is_empty(value) => {}
            None => self.first = Some(value),
            Some(_) => self.others.push(value),
        }
    }
}

/// How a format reads one record, and what it noticed.
#[derive(Debug, Default)]
pub struct Reading<'a> {
    /// A key may contain the dots of the path.
    pub dotted_keys: bool,
    /// Keys compare without regard to case where the exact key is absent.
    pub any_case_keys: bool,
    /// Texts that stand for nothing.
    pub empty: &'a [String],
    /// Values by their `$id`.
    pub refs: HashMap<String, &'a Value>,
    /// Oddities so far.
    pub notes: RefCell<Vec<Note>>,
    /// The alert's field being made, for the notes.
    pub field: RefCell<String>,
    /// Addresses of the values that were read, when somebody wants to know what was left.
    pub seen: Option<RefCell<HashSet<usize>>>,
}

impl<'a> Reading<'a> {
    /// Notes an oddity, each once.
    pub fn note(&self, kind: NoteKind, value: &str) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() < NOTES_MAX {
            let value = value.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
            let note = Note { kind, field: self.field.borrow().clone(), value };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }

    /// Remembers that a value, with all that is in it, was read.
    pub fn mark(&self, value: &Value) {
        if let Some(seen) = &self.seen {
            seen.borrow_mut().insert(std::ptr::from_ref(value) as usize);
        }
    }

    /// Whether a value was read.
    pub fn is_marked(&self, value: &Value) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.borrow().contains(&(std::ptr::from_ref(value) as usize)))
    }

    /// Names the field that the next notes are about.
    pub fn enter(&self, parts: &[&str]) {
        let mut field = self.field.borrow_mut();
        field.clear();
        for (n, part) in parts.iter().enumerate() {
            if n > 0 {
                field.push('.');
            }
            field.push_str(part);
        }
    }

    /// Null, nothing but spaces, an empty list or object, or one of the format's `empty` texts.
    pub fn is_empty(&self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::String(text) => {
                let text = text.trim();
                text.is_empty() || self.empty.iter().any(|word| word.eq_ignore_ascii_case(text))
            }
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The value that a `{"$ref": …}` stands for; any other value itself.
    pub fn follow(&self, value: &'a Value) -> &'a Value {
        if self.refs.is_empty() {
            return value;
        }
        let mut at = value;
        for _ in 0..REFS_MAX {
            let Value::Object(map) = at else { break };
            let Some(id) = map.get("$ref").filter(|_| map.len() == 1).and_then(id_text) else { break };
            match self.refs.get(&id) {
                Some(target) => at = target,
                None => break,
            }
        }
        at
    }

    /// Learns all `$id`s below a value; the first of each counts.
    pub fn learn_ids(&mut self, value: &'a Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.learn_ids(item)),
            Value::Object(map) => {
                if let Some(id) = map.get("$id").and_then(id_text) {
                    self.refs.entry(id).or_insert(value);
                }
                map.values().for_each(|item| self.learn_ids(item));
            }
            _ => {}
        }
    }
}

fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Where paths begin.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    /// The value being looked at.
    pub here: &'s Value,
    /// The alert's part of the record.
    pub alert: &'s Value,
    /// The whole record.
    pub record: &'s Value,
    /// How to read.
    pub reading: &'s Reading<'s>,
}

/// What an expression gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// No value.
    Nothing,
    /// One value.
    One(Cow<'a, Value>),
    /// The values of a list, at least one.
    Many(Vec<Cow<'a, Value>>),
}

impl<'a> Found<'a> {
    /// No value at all.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The values.
    pub fn items(&self) -> &[Cow<'a, Value>] {
        match self {
            Self::Nothing => &[],
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }

    /// The values, to keep.
    pub fn into_items(self) -> Vec<Cow<'a, Value>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::One(item) => vec![item],
            Self::Many(items) => items,
        }
    }

    /// As one JSON value.
    pub fn into_value(self) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::One(item) => Some(item.into_owned()),
            Self::Many(items) => Some(items.into_iter().map(Cow::into_owned).collect()),
        }
    }

    /// Of many values, or of one.
    pub fn of(items: Vec<Cow<'a, Value>>, many: bool) -> Self {
        match (items.len(), many) {
            (0, _) => Self::Nothing,
            (1, false) => Self::One(items.into_iter().next().expect("there is one")),
            _ => Self::Many(items),
        }
    }
}

/// A text, number or boolean as text.
pub fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(path: &str, record: &Value, reading: &Reading<'_>) -> Value {
        let scope = Scope { here: record, alert: record, record, reading };
        Path::parse(path).unwrap().find(&scope).into_value().unwrap_or_default()
    }

    #[test]
    fn paths_reach_into_objects_and_lists() {
        let record =
            json!({"a": {"b.c": 1, "d": [{"e": 1}, {"e": [2, 3]}, {"f": 0}, null]}, "n": null, "s": " ", "one": [7]});
        let plain = Reading::default();
        for (path, expected) in [
            ("a.\"b.c\"", json!(1)),
            ("a.d.e", json!([1, 2, 3])),
            ("a.d[*].e", json!([1, 2, 3])),
            ("a.d[1].e[0]", json!(2)),
            ("$record.a.d[0].e", json!(1)),
            ("a.b.c", json!(null)),
            ("n", json!(null)),
            ("s", json!(null)),
            ("one", json!([7])),
            ("a.d[9]", json!(null)),
            ("s.x.y", json!(null)),
        ] {
            assert_eq!(find(path, &record, &plain), expected, "{path}");
        }
        let lenient = Reading { dotted_keys: true, any_case_keys: true, ..Reading::default() };
        assert_eq!(find("A.b.c", &record, &lenient), json!(1));
    }

    #[test]
    fn refs_are_followed_and_cycles_end() {
        let record = json!({"list": [
            {"$id": "1", "name": "a", "next": {"$ref": "2"}}, {"$id": "2", "name": "b", "next": {"$ref": "1"}},
            {"$ref": "1"}, {"$ref": "9"}, {"$id": 3, "$ref": "3"}, {"x": {"$ref": 4}}, {"$id": "4", "n": 5}]});
        let mut reading = Reading::default();
        reading.learn_ids(&record);
        assert_eq!(find("list[2].name", &record, &reading), json!("a"));
        assert_eq!(find("list[0].next.next.next.name", &record, &reading), json!("b"));
        assert_eq!(find("list[5].x.n", &record, &reading), json!(5));
        assert_eq!(find("list[3].name", &record, &reading), json!(null));
        let turning = json!([{"$id": "a", "b": 1}, {"$ref": "b"}]);
        let mut reading = Reading::default();
        let circle = json!({"$ref": "b"});
        reading.refs.insert("b".into(), &circle);
        assert_eq!(find("[1].x", &turning, &reading), json!(null));
    }

    #[test]
    fn a_located_value_has_its_pointer() {
        let record = json!({"a": [{"b/c": [1, 2]}, {"b/c": 3}], "d": null});
        let located = |path: &str| {
            let found = Path::parse(path).unwrap().locate(&record);
            found.iter().map(|(pointer, value)| format!("{pointer}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(located("a.\"b/c\""), "/a/0/b~1c/0=1 /a/0/b~1c/1=2 /a/1/b~1c=3");
        assert_eq!(located("d"), "");
        assert!(record.pointer("/a/0/b~1c/1").is_some());
    }

    #[test]
    fn a_wrong_path_says_why() {
        for text in ["", "a..b", "a[x]", "a[", "a.\"b", "$x.y", "some text", "a.", "\"a\"b"] {
            assert!(Path::parse(text).is_err(), "{text:?}");
        }
    }
}
