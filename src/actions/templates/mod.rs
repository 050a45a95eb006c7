//! Mail templates: Jinja files, the shipped ones and those of the bundle, which override them by name.
//!
//! A mail is `NAME.txt` and, if there is one, `NAME.html`. The text begins with a line `Subject: …` and an
//! empty line. Values in HTML are escaped always; a field that an alert lacks prints as nothing.

mod view;
mod why;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as JinjaValue;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};

use crate::actions::message::OwnLinks;
use crate::actions::scrub;
use crate::domain::alert::ALERT_FIELDS;
use crate::domain::effect::EffectKey;
use crate::domain::id::RunId;
use crate::yaml::diagnostic::{Diagnostic, Place, nearest};

/// The templates that ship with soard; those of mails, and parts of them, whose names begin with `_soard_`.
const SHIPPED: [(&str, &str); 13] = [
    ("_soard_end.txt", include_str!("_soard_end.txt")),
    ("_soard_mail.html", include_str!("_soard_mail.html")),
    ("_soard_parts.html", include_str!("_soard_parts.html")),
    ("_soard_row.txt", include_str!("_soard_row.txt")),
    ("_soard_unsubscribe.txt", include_str!("_soard_unsubscribe.txt")),
    ("alert.html", include_str!("alert.html")),
    ("alert.txt", include_str!("alert.txt")),
    ("approval.html", include_str!("approval.html")),
    ("approval.txt", include_str!("approval.txt")),
    ("digest.html", include_str!("digest.html")),
    ("digest.txt", include_str!("digest.txt")),
    ("group.html", include_str!("group.html")),
    ("group.txt", include_str!("group.txt")),
];

/// Steps that rendering one part may take; the shipped templates stay far below.
const FUEL: u64 = 2_000_000;
/// Largest rendered part, in bytes.
const PART_BYTES_MAX: usize = 1024 * 1024;
/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 200;

/// All mail templates of a bundle, compiled.
#[derive(Clone)]
pub struct Templates {
    environment: Environment<'static>,
    /// Mails that can be sent, and whether they have an HTML part.
    mails: BTreeMap<String, bool>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("mails", &self.mails).finish_non_exhaustive()
    }
}

impl Default for Templates {
    fn default() -> Self {
        Self::compile(&BTreeMap::new()).0
    }
}

/// A mail as rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Subject, one line.
    pub subject: String,
    /// Text part.
    pub text: String,
    /// HTML part, where the template has one.
    pub html: Option<String>,
}

/// A page that advice names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it is called.
    pub label: String,
    /// Where it is.
    pub url: String,
}

/// What is known of an alert or a run beyond the alert itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Background {
    /// What the run did before it asked for the mail, one line each.
    pub did: Vec<String>,
    /// What to do now, as the source and advice say.
    pub mitigate: Vec<String>,
    /// What to change so that it does not happen again.
    pub prevent: Vec<String>,
    /// Pages that show more.
    pub inspect: Vec<Page>,
    /// The change of status that the run was started by, as `on_status` gets it.
    pub change: Value,
}

/// What a mail is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The alert as JSON, or the group's alerts as a list.
    pub input: &'a Value,
    /// The run that sends it.
    pub run: &'a RunId,
    /// The effect's key.
    pub key: &'a EffectKey,
    /// When the run asked for it.
    pub at: Timestamp,
    /// The script's own values, as `data`.
    pub data: &'a Map<String, Value>,
    /// What else is known.
    pub background: &'a Background,
    /// What its recipient can do by links.
    pub links: &'a OwnLinks,
}

impl Templates {
    /// Compiles the shipped templates and the bundle's files below `templates/` (by path within that folder,
    /// with or without it in front). Each is rendered once with a sample, so that faults show in `check`.
    pub fn compile(files: &BTreeMap<String, String>) -> (Self, Vec<Diagnostic>) {
        let mut faults = Vec::new();
        let mut sources: BTreeMap<String, String> =
            SHIPPED.iter().map(|(name, text)| (String::from(*name), String::from(*text))).collect();
        let own: BTreeMap<String, &String> = files
            .iter()
            .map(|(path, text)| (path.strip_prefix("templates/").unwrap_or(path).to_owned(), text))
            .collect();
        for (name, text) in &own {
            if split_name(name).is_none() {
                let message = format!("`{name}` is neither NAME.html nor NAME.txt");
                faults.push(Diagnostic::error("template-name", place(name, 1), message));
            }
            sources.insert(name.clone(), String::from(*text));
        }
        let mut environment = environment();
        for (name, text) in sources.iter() {
            if let Err(error) = environment.add_template_owned(name.clone(), text.clone()) {
                faults.push(fault("template-syntax", name, &error));
            }
        }
        let mails = mails(&sources);
        for name in own.keys().filter(|name| name.ends_with(".html") && !name.starts_with('_')) {
            if !mails.contains_key(name.trim_end_matches(".html")) {
                let message = format!("`{name}` has no text part");
                let help =
                    format!("add templates/{}.txt; its first line is the subject", name.trim_end_matches(".html"));
                faults.push(Diagnostic::error("template-without-text", place(name, 1), message).help(help));
            }
        }
        let templates = Self { environment, mails };
        for (name, text) in &own {
            templates.check(name, text, &mut faults);
        }
        (templates, faults)
    }

    /// Names that playbooks may give as `template`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.mails.keys().map(String::as_str)
    }

    /// Renders a mail; the same input gives the same bytes.
    ///
    /// # Errors
    /// One line that says what is wrong and in which line of which template.
    pub fn render(&self, name: &str, subject: &Subject<'_>) -> Result<Rendered, String> {
        let Some(has_html) = self.mails.get(name) else {
            let known: Vec<&str> = self.names().collect();
            let hint = nearest(name, &known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("no mail template `{}`{hint}", scrub::line(name, 100)));
        };
        let values = jinja(&view::context(subject));
        let text = self.part(&format!("{name}.txt"), values.clone()).map_err(|error| error_text(&error))?;
        let html = match has_html {
            true => Some(self.part(&format!("{name}.html"), values).map_err(|error| error_text(&error))?),
            false => None,
        };
        let (subject, text) = split_subject(&text);
        Ok(Rendered { subject: scrub::line(subject.unwrap_or("soard"), SUBJECT_CHARS_MAX), text: text.into(), html })
    }

    fn part(&self, name: &str, values: JinjaValue) -> Result<String, minijinja::Error> {
        let mut out = Limited(Vec::new());
        self.environment.get_template(name)?.render_captured_to(values, &mut out)?;
        Ok(String::from_utf8_lossy(&out.0).into_owned())
    }

    /// Renders one file of the bundle with samples, and looks for fields that no alert has.
    fn check(&self, name: &str, text: &str, faults: &mut Vec<Diagnostic>) {
        let Ok(template) = self.environment.get_template(name) else { return };
        for path in template.undeclared_variables(true) {
            let mut parts = path.split('.');
            if let (Some("alert"), Some(field)) = (parts.next(), parts.next())
                && !ALERT_FIELDS.contains(&field)
                && !view::ADDED_FIELDS.contains(&field)
            {
                let line = text.lines().position(|line| line.contains(&path)).map_or(1, |at| at + 1);
                let message = format!("alerts have no field `{field}`");
                let known = ALERT_FIELDS.iter().chain(view::ADDED_FIELDS).copied();
                faults.push(Diagnostic::warning("template-field", place(name, line), message).suggest(field, known));
            }
        }
        let run = "a-1.0/sample".parse().expect("a run id");
        let key = EffectKey::new("sample", &run, 0);
        let (data, background, links) = (Map::new(), Background::default(), OwnLinks::default());
        let full = view::sample();
        for input in [&full, &json!([full, {}])] {
            let at = Timestamp::UNIX_EPOCH;
            let subject =
                Subject { input, run: &run, key: &key, at, data: &data, background: &background, links: &links };
            if let Err(error) = self.part(name, jinja(&view::context(&subject))) {
                faults.push(fault("template-render", name, &error));
                return;
            }
        }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(false);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("only white space is set"));
    environment.add_filter("when", view::when);
    environment
        .add_filter("oneline", |text: String, chars_max: Option<usize>| scrub::line(&text, chars_max.unwrap_or(1000)));
    environment
}

/// `alert` and `html` of `alert.html`.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let (stem, kind) = name.rsplit_once('.')?;
    (!stem.is_empty() && matches!(kind, "html" | "txt")).then_some((stem, kind))
}

/// Files whose name begins with `_` are parts of others.
fn mails(sources: &BTreeMap<String, String>) -> BTreeMap<String, bool> {
    let texts = sources.keys().filter_map(|name| match split_name(name) {
        Some((stem, "txt")) if !stem.starts_with('_') => Some(stem),
        _ => None,
    });
    texts.map(|stem| (stem.to_owned(), sources.contains_key(&format!("{stem}.html")))).collect()
}

/// The first line's subject and the rest.
fn split_subject(text: &str) -> (Option<&str>, &str) {
    let text = text.trim_start();
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    match first.strip_prefix("Subject:") {
        Some(subject) => (Some(subject), rest.trim_start_matches('\n')),
        None => (None, text),
    }
}

fn place(name: &str, line: usize) -> Place {
    let line = u32::try_from(line).unwrap_or(1).max(1);
    Place { file: Arc::from(format!("templates/{name}")), line, column: 1 }
}

fn fault(code: &'static str, name: &str, error: &minijinja::Error) -> Diagnostic {
    let name = error.name().unwrap_or(name);
    Diagnostic::error(code, place(name, error.line().unwrap_or(1)), what(error))
}

fn what(error: &minijinja::Error) -> String {
    use std::error::Error as _;
    let kind = error.kind().to_string();
    let text = error.detail().map_or(kind.clone(), |detail| format!("{kind}: {detail}"));
    scrub::line(&error.source().map_or(text.clone(), |cause| format!("{text}: {cause}")), 300)
}

fn error_text(error: &minijinja::Error) -> String {
    let at = format!("templates/{}:{}", error.name().unwrap_or("?"), error.line().unwrap_or(0));
    format!("{}, at {at}", what(error))
}

/// JSON as the templates see it.
fn jinja(value: &Value) -> JinjaValue {
    match value {
        Value::Null => JinjaValue::from(()),
        Value::Bool(value) => JinjaValue::from(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => JinjaValue::from(value),
            (_, Some(value)) => JinjaValue::from(value),
            _ => JinjaValue::from(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => JinjaValue::from(text.as_str()),
        Value::Array(items) => items.iter().map(jinja).collect(),
        Value::Object(items) => JinjaValue::from_pairs(items.iter().map(|(key, item)| (key.as_str(), jinja(item)))),
    }
}

/// A buffer that refuses to grow beyond the largest part.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > PART_BYTES_MAX {
            return Err(io::Error::other(format!("the rendered mail is larger than {PART_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
