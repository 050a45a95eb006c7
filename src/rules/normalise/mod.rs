//! Formats: how a source's JSON becomes an alert. A format is data, a file of `rules/normalise/`;
//! docs/formats.md describes the language.

pub mod ambiguity;
pub mod build;
pub mod condition;
pub mod entity;
pub mod expr;
pub mod format;
pub mod json;
pub mod path;
pub mod text;
pub mod time;
pub mod unmapped;
pub mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::domain::alert::Alert;
use crate::domain::time::Span;
use crate::rules::normalise::format::Format;
use crate::rules::normalise::path::{Path, Reading, Scope};
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node;
use crate::yaml::reader::Faults;

/// The folder of a bundle whose files are formats.
pub const FOLDER: &str = "rules/normalise/";
/// Most alerts of one record.
pub const ALERTS_MAX: usize = 1_000;

/// All formats of a bundle, checked, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub struct Formats {
    formats: Vec<Format>,
}

/// What a format made of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised {
    /// The format that took it.
    pub format: String,
    /// Its alerts, in the record's order; at least one.
    pub alerts: Vec<Parsed>,
    /// Oddities worth counting; none of them kept the record from becoming an alert.
    pub notes: Vec<Note>,
}

/// One alert and where in the record it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The alert; `raw` is its part of the record.
    pub alert: Alert,
    /// JSON pointer (RFC 6901) of that part; empty is the whole record.
    pub part: String,
    /// `None`: it has an external id, and is the same alert while retained. Otherwise how long, from first sight,
    /// alerts with the same fingerprint are the same.
    pub window: Option<Span>,
}

/// Something odd in a record that became an alert all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What.
    pub kind: NoteKind,
    /// The alert's field being made.
    pub field: String,
    /// The value, or the beginning of it.
    pub value: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.kind.as_str(), self.field)?;
        if self.value.is_empty() { Ok(()) } else { write!(f, ": {}", self.value) }
    }
}

/// Kinds of oddities, one counter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A word that a value map does not have; the declared fallback was taken.
    UnknownWord,
    /// A time that is none.
    BadTime,
    /// A link that is not `http` or `https`.
    NotALink,
    /// An IP address that is none.
    NotAnAddress,
    /// A list or object where one value was expected.
    WrongType,
    /// A text or list beyond its limit.
    Truncated,
    /// An entity of a type that the format does not map.
    UnmappedEntity,
    /// Neither id nor fingerprint; equal JSON folds for a day.
    NoIdentity,
    /// No title; the format's own stands in.
    NoTitle,
}

impl NoteKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::UnknownWord,
        Self::BadTime,
        Self::NotALink,
        Self::NotAnAddress,
        Self::WrongType,
        Self::Truncated,
        Self::UnmappedEntity,
        Self::NoIdentity,
        Self::NoTitle,
    ];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownWord => "unknown_word",
            Self::BadTime => "bad_time",
            Self::NotALink => "not_a_link",
            Self::NotAnAddress => "not_an_address",
            Self::WrongType => "wrong_type",
            Self::Truncated => "truncated",
            Self::UnmappedEntity => "unmapped_entity",
            Self::NoIdentity => "no_identity",
            Self::NoTitle => "no_title",
        }
    }
}

/// Why a record gave no alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The bytes are no JSON.
    #[error("not JSON: {cause}")]
    NotJson {
        /// What the parser says.
        cause: String,
    },
    /// More bytes than a record may have.
    #[error("the record has {bytes} bytes; at most {} are taken", crate::domain::record::RECORD_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Nested too deeply.
    #[error("lists and objects are nested more than {} deep", json::DEPTH_MAX)]
    TooDeep,
    /// Too many values.
    #[error("more than {} values in one record", json::NODES_MAX)]
    TooManyValues,
    /// Too many keys in one object.
    #[error("more than {} keys in one object", json::KEYS_MAX)]
    TooManyKeys,
    /// An object names a key twice.
    #[error("the key {key:?} stands twice in one object")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Neither an object nor a list of objects.
    #[error("the record is {found}, not an object")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// The source names a format that the bundle does not have.
    #[error("there is no format `{name}`")]
    UnknownFormat {
        /// The name.
        name: String,
    },
    /// No format recognises it.
    #[error("no format takes it: {}", tried_text(.tried))]
    NoFormat {
        /// Each format and the first check that failed.
        tried: Vec<(String, String)>,
    },
    /// Recognised, and declared to be no alert; not an error, and not to be quarantined.
    #[error("no alert, says format `{format}`: {why}")]
    NotAnAlert {
        /// The format.
        format: String,
        /// What it is instead.
        why: String,
    },
    /// Recognised, but no alert could be made.
    #[error("format `{format}` cannot take it: {cause}")]
    Failed {
        /// The format.
        format: String,
        /// Why.
        cause: String,
    },
}

fn tried_text(tried: &[(String, String)]) -> String {
    let each: Vec<String> = tried.iter().map(|(format, why)| format!("{format} ({why})")).collect();
    if each.is_empty() { "there are none".into() } else { each.join(", ") }
}

/// Reads and checks the format files among `files` (path to text); other paths are ignored.
/// Formats with faults are left out; the faults say so.
pub fn compile(files: &BTreeMap<String, String>) -> (Formats, Vec<Diagnostic>) {
    let mut faults = Faults::default();
    let mut formats: Vec<Format> = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| is_format_file(path)) {
        let file: Arc<str> = path.as_str().into();
        let tree = match node::parse(&file, text) {
            Ok(tree) => tree,
            Err(fault) => {
                faults.push(*fault);
                continue;
            }
        };
        let before = faults.found.len();
        let Some(format) = Format::read(&tree, &mut faults) else { continue };
        if let Some(first) = formats.iter().find(|other| other.name == format.name) {
            let message = format!("a format `{}` is there already, in {}", format.name, first.place.file);
            faults.error("duplicate-format", &format.place, message);
        }
        if faults.found.len() == before {
            formats.push(format);
        }
    }
    let (formats, found) = ambiguity::order(formats);
    faults.found.extend(found);
    faults.found.sort_by(|a, b| a.place.cmp(&b.place));
    (Formats { formats }, faults.found)
}

fn is_format_file(path: &str) -> bool {
    path.strip_prefix(FOLDER)
        .is_some_and(|name| !name.contains('/') && [".yaml", ".yml"].iter().any(|end| name.ends_with(end)))
}

impl Formats {
    /// The formats' ids, in the order in which they are tried.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.formats.iter().map(|format| format.name.as_str())
    }

    /// Each format's id, title and documentation page.
    pub fn describe(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.formats.iter().map(|f| (f.name.as_str(), f.title.as_str(), f.documentation.as_str()))
    }

    /// Turns a record into alerts by the first format that recognises it, or by the pinned one.
    /// A record that is a list of objects gives the alerts of all of them, and the first chooses the format.
    ///
    /// # Errors
    /// [`Refused`] says why there is no alert.
    pub fn normalise(
        &self,
        source: &str,
        bytes: &[u8],
        received: Timestamp,
        pinned: Option<&str>,
    ) -> Result<Normalised, Refused> {
        let record = json::parse(bytes)?;
        let Value::Array(items) = record else {
            let format = self.choose(&record, pinned)?;
            let (alerts, notes) = Take { format, source, received }.take(record, "")?;
            return Ok(Normalised { format: format.name.clone(), alerts, notes });
        };
        let first = items.first().ok_or(Refused::NotAnObject { found: "an empty list" })?;
        let name = self.choose(first, pinned)?.name.clone();
        let (mut alerts, mut notes, mut ignored) = (Vec::new(), Vec::new(), None);
        for (n, item) in items.into_iter().enumerate() {
            let format = self.choose(&item, Some(&name))?;
            match (Take { format, source, received }).take(item, &format!("/{n}")) {
                Ok((more, odd)) => {
                    alerts.extend(more);
                    notes.extend(odd);
                }
                Err(why @ Refused::NotAnAlert { .. }) => _ = ignored.get_or_insert(why),
                Err(why) => return Err(why),
            }
        }
        limit_alerts(&name, alerts.len())?;
        match ignored {
            Some(why) if alerts.is_empty() => Err(why),
            _ => Ok(Normalised { format: name, alerts, notes }),
        }
    }

    /// All formats that recognise a record; more than one means that the file names decide.
    pub fn recognisers(&self, bytes: &[u8]) -> Result<Vec<&str>, Refused> {
        let record = json::parse(bytes)?;
        let record = record.as_array().and_then(|items| items.first()).unwrap_or(&record);
        let fits = self.formats.iter().filter(|format| format.recognises(record));
        Ok(fits.map(|format| format.name.as_str()).collect())
    }

    fn choose(&self, record: &Value, pinned: Option<&str>) -> Result<&Format, Refused> {
        let found = match record {
            Value::Object(_) => None,
            Value::Array(_) => Some("a list within a list"),
            Value::String(_) => Some("a text"),
            Value::Number(_) => Some("a number"),
            Value::Bool(_) => Some("a boolean"),
            Value::Null => Some("null"),
        };
        if let Some(found) = found {
            return Err(Refused::NotAnObject { found });
        }
        if let Some(name) = pinned.filter(|name| !self.names().any(|other| other == *name)) {
            return Err(Refused::UnknownFormat { name: name.into() });
        }
        let candidates = || self.formats.iter().filter(|format| pinned.is_none_or(|name| name == format.name));
        candidates().find(|format| format.recognises(record)).ok_or_else(|| {
            let why = |format: &Format| (format.name.clone(), format.unrecognised(record).unwrap_or_default());
            Refused::NoFormat { tried: candidates().map(why).collect() }
        })
    }
}

impl Format {
    /// Whether it takes a record.
    pub fn recognises(&self, record: &Value) -> bool {
        let reading = self.reading();
        self.recognise.holds(&Scope { here: record, alert: record, record, reading: &reading })
    }

    /// Why it does not take a record; `None` when it does.
    fn unrecognised(&self, record: &Value) -> Option<String> {
        let reading = self.reading();
        self.recognise.failing(&Scope { here: record, alert: record, record, reading: &reading })
    }

    fn reading(&self) -> Reading<'_> {
        Reading {
            dotted_keys: self.dotted_keys,
            any_case_keys: self.any_case_keys,
            empty: &self.empty,
            ..Reading::default()
        }
    }
}

/// One record being taken by one format.
#[derive(Clone, Copy)]
struct Take<'t> {
    format: &'t Format,
    source: &'t str,
    received: Timestamp,
}

impl Take<'_> {
    fn take(self, record: Value, pointer: &str) -> Result<(Vec<Parsed>, Vec<Note>), Refused> {
        let format = self.format;
        let unpacked = unpack(&record, &format.unpack);
        let mut reading = format.reading();
        if format.refs {
            reading.learn_ids(&unpacked);
        }
        let (mut alerts, mut ignored) = (Vec::new(), None);
        for (part, item) in self.parts(&unpacked)? {
            let scope = Scope { here: item, alert: item, record: &unpacked, reading: &reading };
            match format.ignore.iter().find(|ignore| ignore.when.holds(&scope)) {
                Some(ignore) => {
                    let why = text::line(&ignore.why.eval(&scope), 200, &reading);
                    ignored.get_or_insert(why.unwrap_or_else(|| "not an alert".into()));
                }
                None => {
                    let (alert, window) = build::build(format, &scope, self.source, self.received);
                    alerts.push(Parsed { alert, part, window });
                }
            }
        }
        if alerts.is_empty() {
            let why = ignored.unwrap_or_else(|| "it holds none".into());
            return Err(Refused::NotAnAlert { format: format.name.clone(), why });
        }
        let notes = reading.notes.take();
        drop(reading);
        drop(unpacked);
        give_raw(&mut alerts, record, pointer);
        Ok((alerts, notes))
    }

    /// The parts of a record that are alerts, each with its pointer.
    fn parts(self, record: &Value) -> Result<Vec<(String, &Value)>, Refused> {
        let format = self.format;
        if format.each.is_empty() {
            return Ok(vec![(String::new(), record)]);
        }
        let found = format.each.iter().map(|path| path.locate(record)).find(|parts| !parts.is_empty());
        let names = || format.each.iter().map(|path| format!("`{}`", path.text())).collect::<Vec<_>>().join(", ");
        let failed = |cause: String| Refused::Failed { format: format.name.clone(), cause };
        let parts = found.ok_or_else(|| failed(format!("there is nothing at {}", names())))?;
        limit_alerts(&format.name, parts.len())?;
        if let Some((pointer, _)) = parts.iter().find(|(_, part)| !part.is_object()) {
            return Err(failed(format!("{pointer} is not an object")));
        }
        Ok(parts)
    }
}

fn limit_alerts(format: &str, count: usize) -> Result<(), Refused> {
    if count > ALERTS_MAX {
        let cause = format!("{count} alerts in one record; at most {ALERTS_MAX} are taken");
        return Err(Refused::Failed { format: format.into(), cause });
    }
    Ok(())
}

/// Gives each alert its part of the record as received, and its pointer from the record's beginning.
fn give_raw(alerts: &mut [Parsed], record: Value, pointer: &str) {
    let whole = Arc::new(record);
    for parsed in alerts {
        match whole.pointer(&parsed.part).filter(|_| !parsed.part.is_empty()) {
            Some(part) => parsed.alert.raw = Arc::new(part.clone()),
            None => {
                // The part lies in JSON that was unpacked from a text: the whole is the nearest that was received.
                parsed.part.clear();
                parsed.alert.raw = whole.clone();
            }
        }
        parsed.part.insert_str(0, pointer);
    }
}

/// The record with the JSON inside of texts in their place; a text that is no JSON stays as it is.
fn unpack<'r>(record: &'r Value, paths: &[Path]) -> Cow<'r, Value> {
    let mut unpacked = Cow::Borrowed(record);
    for path in paths {
        for (pointer, value) in path.locate(record) {
            let Value::String(text) = value else { continue };
            if !text.trim_start().starts_with(['{', '[']) {
                continue;
            }
            if let Ok(inner) = json::parse(text.as_bytes())
                && let Some(place) = unpacked.to_mut().pointer_mut(&pointer)
            {
                *place = inner;
            }
        }
    }
    unpacked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::alert::{Severity, Status};

    const HEAD: &str = "title: T\ndocumentation: https://example.com/\n";
    const SEVERITY: &str = "severity: {from: sev, map: {bad: high}, else: low}";

    fn compiled(files: &[(&str, String)]) -> Formats {
        let files = files.iter().map(|(name, text)| (format!("{FOLDER}{name}.yaml"), text.clone())).collect();
        let (formats, faults) = compile(&files);
        assert!(faults.is_empty(), "{faults:?}");
        formats
    }

    fn one(identity: &str, rest: &str) -> String {
        format!(
            "format: one\n{HEAD}recognise: {{present: one}}\nidentity: {identity}\n{rest}alert:\n  title: one\n  {SEVERITY}\n"
        )
    }

    fn take(formats: &Formats, record: &Value, pinned: Option<&str>) -> Result<Normalised, Refused> {
        formats.normalise("src", record.to_string().as_bytes(), Timestamp::UNIX_EPOCH, pinned)
    }

    #[test]
    fn the_first_format_that_recognises_takes_it_unless_one_is_pinned() {
        let two = one("{external_id: id}", "")
            .replace("format: one", "format: two")
            .replace("present: one}", "present: [one, two]}\nbefore: [one]");
        let formats = compiled(&[("a", one("{external_id: id}", "")), ("b", two)]);
        assert_eq!(formats.names().collect::<Vec<_>>(), ["two", "one"]);
        let both = json!({"one": "x", "two": 1, "id": 7});
        assert_eq!(take(&formats, &both, None).unwrap().format, "two");
        assert_eq!(take(&formats, &both, Some("one")).unwrap().format, "one");
        assert_eq!(formats.recognisers(both.to_string().as_bytes()).unwrap(), ["two", "one"]);
        let refused = take(&formats, &json!({"three": 1}), None).unwrap_err();
        assert_eq!(refused.to_string(), "no format takes it: two (`one` is absent), one (`one` is absent)");
        assert!(matches!(take(&formats, &both, Some("three")), Err(Refused::UnknownFormat { .. })));
        assert!(matches!(take(&formats, &json!(5), None), Err(Refused::NotAnObject { found: "a number" })));
    }

    #[test]
    fn formats_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Formats>();
    }

    #[test]
    fn an_id_or_a_fingerprint_or_the_json_itself_tells_repeats_apart() {
        let formats =
            compiled(&[("one", one("{external_id: id, fingerprint: [one, host.name, tags], window: 2h}", ""))]);
        let identity = |record: Value| {
            let parsed = take(&formats, &record, None).unwrap().alerts.remove(0);
            (parsed.alert.external_id, parsed.alert.fingerprint, parsed.window.map(|w| w.to_string()))
        };
        assert_eq!(identity(json!({"one": "x", "id": 7})), (Some("7".into()), None, None));
        let fingerprint = identity(json!({"one": "x", "id": null, "tags": ["b", "a", "b"]}));
        assert_eq!(fingerprint, (None, Some(r#"["x",null,["a","b"]]"#.into()), Some("2h".into())));
        let long = identity(json!({"one": "x".repeat(1000)})).1.unwrap();
        assert!(long.len() <= 256 && long != identity(json!({"one": "x".repeat(1001)})).1.unwrap());
        let id = |end: char| identity(json!({"one": "x", "id": format!("{}{end}", "i".repeat(10_000))})).0.unwrap();
        assert!(id('a').len() <= 256 && id('a') != id('b'));
        let bare = compiled(&[("one", one("{external_id: id}", ""))]);
        let same = |record: Value| take(&bare, &record, None).unwrap().alerts.remove(0).alert.fingerprint;
        assert_eq!(same(json!({"one": 1, "b": 2})), same(json!({"b": 2, "one": 1})));
        assert_ne!(same(json!({"one": 1, "b": 2})), same(json!({"one": 1, "b": 3})));
    }

    #[test]
    fn a_record_with_several_alerts_gives_each_its_part() {
        let each = format!(
            "format: batch\n{HEAD}recognise: {{is: {{items: list}}}}\neach: items\nignore:\n  - {{when: {{equal: {{kind: note}}}}, why: \"a {{kind}}\"}}\n\
             identity: {{external_id: id}}\nalert:\n  title: \"{{name}} of {{$record.group}}\"\n  {SEVERITY}\n  status: {{from: [st, $record.st], map: {{over: resolved}}, else: active}}\n"
        );
        let formats = compiled(&[("batch", each)]);
        let record = json!({"group": "g", "st": "over", "items": [{"name": "a", "id": 1, "sev": "BAD"}, {"kind": "note"}, {"name": "b", "id": 2, "st": "new"}]});
        let taken = take(&formats, &record, None).unwrap();
        let seen: Vec<_> = taken
            .alerts
            .iter()
            .map(|p| (p.part.as_str(), p.alert.title.as_str(), p.alert.severity, p.alert.status))
            .collect();
        assert_eq!(
            seen,
            [
                ("/items/0", "a of g", Severity::High, Status::Resolved),
                ("/items/2", "b of g", Severity::Low, Status::Active),
            ]
        );
        assert_eq!(*taken.alerts[1].alert.raw, record["items"][2]);
        let only_notes = take(&formats, &json!({"items": [{"kind": "note"}]}), None).unwrap_err();
        assert_eq!(only_notes.to_string(), "no alert, says format `batch`: a note");
        assert!(matches!(take(&formats, &json!({"items": [1, 2]}), None), Err(Refused::Failed { .. })));
        let many: Vec<Value> = (0..=ALERTS_MAX).map(|n| json!({"id": n})).collect();
        assert!(matches!(take(&formats, &json!({"items": many}), None), Err(Refused::Failed { .. })));
    }

    #[test]
    fn a_list_of_records_is_taken_whole_or_not_at_all() {
        let formats =
            compiled(&[("one", one("{external_id: id}", "ignore: [{when: {present: skip}, why: =skipped}]\n"))]);
        let taken =
            take(&formats, &json!([{"one": 1, "id": 1}, {"one": 1, "skip": 1}, {"one": 3, "id": 3}]), None).unwrap();
        let parts: Vec<_> =
            taken.alerts.iter().map(|parsed| (parsed.part.as_str(), (*parsed.alert.raw).clone())).collect();
        assert_eq!(parts, [("/0", json!({"one": 1, "id": 1})), ("/2", json!({"one": 3, "id": 3}))]);
        assert!(matches!(take(&formats, &json!([{"one": 1}, {"two": 2}]), None), Err(Refused::NoFormat { .. })));
        assert!(matches!(take(&formats, &json!([{"one": 1, "skip": 1}]), None), Err(Refused::NotAnAlert { .. })));
        assert!(matches!(take(&formats, &json!([]), None), Err(Refused::NotAnObject { .. })));
        assert!(matches!(take(&formats, &json!([[{"one": 1}]]), None), Err(Refused::NotAnObject { .. })));
    }

    #[test]
    fn json_within_a_text_is_read_and_raw_stays_as_received() {
        let text = format!(
            "format: packed\n{HEAD}recognise: {{present: body}}\nunpack: [body, more]\nidentity: {{external_id: body.id}}\nalert:\n  title: body.name\n  {SEVERITY}\n"
        );
        let formats = compiled(&[("packed", text)]);
        let record = json!({"body": "{\"id\": 5, \"name\": \"inner\"}", "more": "{not json"});
        let parsed = take(&formats, &record, None).unwrap().alerts.remove(0);
        assert_eq!((parsed.alert.external_id.as_deref(), parsed.alert.title.as_str()), (Some("5"), "inner"));
        assert_eq!(*parsed.alert.raw, record);
        assert_eq!(formats.unmapped(record.to_string().as_bytes(), None).unwrap(), ["/more"]);
    }

    #[test]
    fn a_file_elsewhere_is_no_format_and_a_name_counts_once() {
        let text = one("{external_id: id}", "");
        let files = BTreeMap::from([
            (format!("{FOLDER}a.yaml"), text.clone()),
            (format!("{FOLDER}c.yaml"), text.clone()),
            (format!("{FOLDER}deep/x.yaml"), "nonsense".into()),
            ("rules/route/x.yaml".into(), "nonsense".into()),
        ]);
        let (formats, faults) = compile(&files);
        assert_eq!(formats.names().collect::<Vec<_>>(), ["one"]);
        let codes: Vec<_> = faults.iter().map(|fault| (fault.code, &*fault.place.file)).collect();
        assert_eq!(codes, [("duplicate-format", "rules/normalise/c.yaml")]);
    }

    /// Compiles formats of the given names and `recognise` lines; their order, and the faults with their files.
    fn tried(formats: &[(&str, &str)]) -> (Vec<String>, Vec<(&'static str, String)>) {
        let text = |name: &str, recognise: &str| {
            one("{external_id: id}", "")
                .replace("format: one", &format!("format: {name}"))
                .replace("recognise: {present: one}", recognise)
        };
        let files = formats.iter().map(|(name, recognise)| (format!("{FOLDER}{name}.yaml"), text(name, recognise)));
        let (formats, faults) = compile(&files.collect());
        let faults = faults.iter().map(|fault| (fault.code, fault.place.file.replace(FOLDER, "")));
        (formats.names().map(str::to_owned).collect(), faults.collect())
    }

    #[test]
    fn formats_that_take_the_same_records_are_reported_unless_one_says_that_it_goes_first() {
        let wide = "recognise: {present: [a.b]}";
        let ambiguous = |file: &str| vec![("ambiguous-format", format!("{file}.yaml"))];
        // The same, a narrower one, one of several ways, a list, a word.
        for narrow in [
            wide,
            "recognise: {present: [c, a.b]}",
            "recognise: {any: [{present: z}, {all: [{present: a.b}, {present: q}]}]}",
            "recognise: {is: {a: list}, present: a.b}",
            "recognise: {equal: {a.b: word}}",
            "recognise: {starts: {a.b: wo}, absent: c}",
        ] {
            assert_eq!(
                tried(&[("m", wide), ("n", narrow)]),
                (vec!["m".into(), "n".into()], ambiguous("n")),
                "{narrow}"
            );
            assert_eq!(tried(&[("l", narrow), ("m", wide)]).1, ambiguous("m"), "{narrow}");
            let first = format!("{narrow}\nbefore: [m]");
            assert_eq!(tried(&[("m", wide), ("n", &first)]), (vec!["n".into(), "m".into()], vec![]), "{narrow}");
        }
        for other in ["recognise: {present: [c]}", "recognise: {present: [a.b], absent: [a.b.c]}"] {
            let faults = tried(&[("m", "recognise: {present: [a.b.c]}"), ("n", other)]).1;
            assert_eq!(faults, [], "{other}");
        }
        assert_eq!(tried(&[("m", "recognise: {equal: {k: [x, y]}}"), ("n", "recognise: {equal: {k: z}}")]).1, []);
    }

    #[test]
    fn an_order_that_cannot_be_is_a_fault() {
        let faults = |formats: &[(&str, &str)]| tried(formats).1;
        let a = "recognise: {present: a}\nbefore: ";
        assert_eq!(
            faults(&[("m", &format!("{a}[nn]")), ("n", "recognise: {present: b}")]),
            [("format-before", "m.yaml".into())]
        );
        let circle = [("m", format!("{a}[n]")), ("n", format!("{a}[o]")), ("o", format!("{a}[m]"))];
        let circle: Vec<_> = circle.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(faults(&circle).len(), 3);
        assert!(faults(&circle).iter().all(|(code, _)| *code == "format-circle"));
        assert_eq!(faults(&[("m", &format!("{a}[m]"))]), [("format-circle", "m.yaml".into())]);
    }
}
