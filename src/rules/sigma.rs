//! Plain Sigma rule files, matched against raw events.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::decision::RuleRef;
use crate::rules::compile::documents;
use crate::rules::detection::{self, Detection};
use crate::rules::fields::{Fields, Subject};
use crate::rules::known::{Known, Reading};
use crate::rules::lists;
use crate::rules::matcher;
use crate::rules::matcher::engine::Engine;
use crate::rules::matcher::event::{Event, NotJson};
use crate::rules::matcher::paths::Paths;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader, text};

/// A rule's head; what it looks for is in the matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigmaRule {
    /// Its `id`, else its `name`, else its title; and its place.
    pub rule: RuleRef,
    /// One line for people.
    pub title: String,
    /// How bad what it finds is.
    pub level: Option<Level>,
    /// Such as `attack.t1059.001`.
    pub tags: Vec<String>,
}

/// Sigma's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth recording.
    Informational,
    /// Worth a look in context.
    Low,
    /// Look at it.
    Medium,
    /// Look at it now.
    High,
    /// An incident.
    Critical,
}

const LEVELS: [(&str, Level); 5] = [
    ("informational", Level::Informational),
    ("low", Level::Low),
    ("medium", Level::Medium),
    ("high", Level::High),
    ("critical", Level::Critical),
];

/// All Sigma rules of a bundle, compiled; only [`compile`] builds it.
#[derive(Debug, Clone, Default)]
pub struct SigmaRules {
    /// The rules, by number.
    pub all: Vec<SigmaRule>,
    fields: Arc<Fields>,
    detections: Arc<Vec<Detection>>,
    engine: Arc<Engine>,
    paths: Arc<Paths>,
}

impl SigmaRules {
    /// The numbers of the rules that an event matches, in order; the event is one JSON text.
    ///
    /// # Errors
    /// When the text is not JSON.
    pub fn matches(&self, event: &str) -> Result<Vec<u32>, NotJson> {
        matcher::matching(&self.engine, &self.fields, &Event { text: event, paths: &self.paths })
    }

    /// The same of an event that was read already.
    pub fn matches_value(&self, event: &serde_json::Value) -> Vec<u32> {
        let Ok(numbers) = matcher::matching(&self.engine, &self.fields, event);
        numbers
    }

    /// What a rule looks for, as it was read.
    pub fn detection(&self, number: usize) -> &Detection {
        &self.detections[number]
    }

    /// The fields that the rules name.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// Reads `rules/detect/*.yaml` and `lists/*` among the files: one Sigma rule a file, or a list of them under `detect:`.
///
/// The bundle must be refused when a diagnostic is an error; the rules then lack the faulty ones.
pub fn compile(files: &BTreeMap<String, String>) -> (SigmaRules, Vec<Diagnostic>) {
    let mut faults = Faults::default();
    let lists = lists::read(files, &mut faults);
    let known = Known::default();
    let mut reading = Reading::new(files, &known, &lists, Subject::Event);
    reading.faults = faults;
    let mut all = Vec::new();
    let mut detections = Vec::new();
    for (_, node) in documents(files, "rules/detect/", &mut reading) {
        for node in rules_of(&node) {
            if let Some((rule, detection)) = read(node, &mut reading) {
                all.push(rule);
                detections.push(detection);
            }
        }
    }
    let Reading { faults, fields, .. } = reading;
    let engine = Engine::new(detections.iter().map(Some), fields.all().len());
    let paths = Paths::new(&fields);
    let rules = SigmaRules {
        all,
        fields: Arc::new(fields),
        detections: Arc::new(detections),
        engine: Arc::new(engine),
        paths: Arc::new(paths),
    };
    let mut found = faults.found;
    found.sort_by(|a, b| a.place.cmp(&b.place));
    (rules, found)
}

fn rules_of(node: &Node) -> &[Node] {
    match &node.value {
        Value::Map(entries) => match entries.iter().find(|(key, _)| key.text == "detect") {
            Some((_, Node { value: Value::List(nodes), .. })) if entries.len() == 1 => nodes,
            _ => std::slice::from_ref(node),
        },
        _ => std::slice::from_ref(node),
    }
}

/// Reads one rule; keys that soard has no use for are left alone, since Sigma allows any.
fn read(node: &Node, reading: &mut Reading) -> Option<(SigmaRule, Detection)> {
    let mut map = MapReader::new(node, "a Sigma rule: a map with `title` and `detection`", &mut reading.faults)?;
    let title = map.need_text("title", &mut reading.faults);
    let id = map.text("id", &mut reading.faults);
    let name = map.text("name", &mut reading.faults);
    let level = map.get("level").map(|node| level(node, reading));
    let tags = map.texts("tags", &mut reading.faults).unwrap_or_default();
    let detection = map.need("detection", &mut reading.faults).and_then(|node| {
        let Value::Map(entries) = &node.value else {
            reading.faults.expected(node, "searches and a `condition`");
            return None;
        };
        if !entries.iter().any(|(key, _)| key.text == "condition") {
            let fault = Diagnostic::error("detection-without-condition", node.place.clone(), "there is no `condition`");
            reading.faults.push(fault.help("add `condition: selection`, or what the searches are called"));
            return None;
        }
        detection::read(node, reading)
    });
    let title = title?;
    let place = map.place().file_line();
    let rule = RuleRef { id: id.or(name).unwrap_or_else(|| title.clone()), place };
    let level = match level {
        None => None,
        Some(level) => Some(level?),
    };
    Some((SigmaRule { rule, title, level, tags }, detection?))
}

fn level(node: &Node, reading: &mut Reading) -> Option<Level> {
    let word = text(node, &mut reading.faults)?;
    let found = LEVELS.into_iter().find(|(known, _)| *known == word);
    if found.is_none() {
        let fault = Diagnostic::error("unknown-level", node.place.clone(), format!("`{word}` is no level"));
        reading.faults.push(fault.suggest(word, LEVELS.map(|(known, _)| known)));
    }
    found.map(|(_, level)| level)
}
