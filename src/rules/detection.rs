//! A rule's `match:` in Sigma's detection syntax, read and checked.

use crate::rules::condition::{self, Expr};
use crate::rules::contradiction;
use crate::rules::item::{self, Item};
use crate::rules::known::Reading;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Key, Node, Value};
use crate::yaml::reader::one_or_many;

/// A key of old Sigma rules that stands among the searches.
const TIMEFRAME: &str = "timeframe";

/// Searches and the condition over them.
#[derive(Debug, Clone)]
pub struct Detection {
    /// The searches, in the order of the file.
    pub searches: Vec<Search>,
    /// Which of them must hold.
    pub condition: Expr,
    /// The condition as written; `None` when there is but one search without a name.
    pub condition_text: Option<String>,
}

/// Items that belong together.
#[derive(Debug, Clone)]
pub struct Search {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// It holds when all items of one alternative do.
    pub alternatives: Vec<Vec<Item>>,
}

impl Search {
    /// Whether it holds, given each item's outcome.
    pub fn holds(&self, item: &mut impl FnMut(&Item) -> bool) -> bool {
        self.alternatives.iter().any(|items| items.iter().all(&mut *item))
    }

    fn constant(&self) -> Option<bool> {
        let alternatives = self.alternatives.iter().map(|items| item::every(items.iter().map(Item::constant)));
        item::every(alternatives.map(|known| known.map(|held| !held))).map(|none| !none)
    }
}

impl Detection {
    /// Whether it holds, given each item's outcome.
    pub fn holds(&self, item: &mut impl FnMut(&Item) -> bool) -> bool {
        self.condition.holds(&mut |number| self.searches[number].holds(item))
    }

    /// The outcome, when it is the same for every alert.
    pub fn constant(&self) -> Option<bool> {
        self.condition.constant(&|number| self.searches[number].constant())
    }
}

/// Reads a `match:`; notes every fault.
pub fn read(node: &Node, reading: &mut Reading) -> Option<Detection> {
    let detection = match &node.value {
        Value::Map(entries) if entries.iter().any(|(key, _)| key.text == "condition") => named(entries, reading),
        Value::Map(_) | Value::List(_) => {
            let alternatives = search(node, reading)?;
            let searches = vec![Search { name: None, alternatives }];
            Some(Detection { searches, condition: Expr::Search(0), condition_text: None })
        }
        _ => {
            reading
                .faults
                .expected(node, "a map of `field: value`, a list of such maps, or searches with a `condition`");
            None
        }
    }?;
    if detection.constant() == Some(false) {
        let fault = Diagnostic::warning("never-matches", node.place.clone(), "no alert can ever match this");
        reading.faults.push(fault.help("its values contradict what the fields can hold"));
    }
    Some(detection)
}

fn named(entries: &[(Key, Node)], reading: &mut Reading) -> Option<Detection> {
    duplicates(entries, reading);
    let mut names: Vec<(&Key, Option<Search>)> = Vec::new();
    for (key, node) in entries.iter().filter(|(key, _)| key.text != "condition") {
        let found = if key.text == TIMEFRAME {
            let fault = Diagnostic::error("timeframe", key.place.clone(), "`timeframe` is obsolete in Sigma");
            reading.faults.push(fault.help("counting within a time belongs to correlation rules"));
            None
        } else {
            search(node, reading).map(|alternatives| Search { name: Some(key.text.clone()), alternatives })
        };
        names.push((key, found));
    }
    let (_, node) = entries.iter().find(|(key, _)| key.text == "condition")?;
    let known: Vec<&str> = names.iter().map(|(key, _)| key.text.as_str()).collect();
    let (condition, text) = conditions(node, &known, reading)?;
    warn_unused(&condition, &names, reading);
    let searches: Option<Vec<Search>> = names.into_iter().map(|(_, search)| search).collect();
    Some(Detection { searches: searches?, condition, condition_text: Some(text) })
}

/// A condition, or a list of them of which one must hold.
fn conditions(node: &Node, names: &[&str], reading: &mut Reading) -> Option<(Expr, String)> {
    let mut parsed = Vec::new();
    let mut texts = Vec::new();
    for node in one_or_many(node) {
        let Value::Str(text) = &node.value else {
            reading.faults.expected(node, "a condition such as `selection and not filter`");
            continue;
        };
        texts.push(text.trim().to_owned());
        match condition::parse(text, names) {
            Ok(expr) => parsed.push(expr),
            Err(bad) => {
                let place = reading.inside(&node.place, text, bad.at);
                let mut fault = Diagnostic::error("bad-condition", place, bad.message).underline(&bad.part);
                fault.help = bad.help;
                reading.faults.push(fault);
            }
        }
    }
    let whole = !parsed.is_empty() && parsed.len() == texts.len();
    let text = texts.join(" | ");
    whole.then(|| (if parsed.len() == 1 { parsed.remove(0) } else { Expr::any(parsed) }, text))
}

fn warn_unused(condition: &Expr, names: &[(&Key, Option<Search>)], reading: &mut Reading) {
    let mut used = Vec::new();
    condition.searches(&mut used);
    for (number, (key, _)) in names.iter().enumerate() {
        if !used.contains(&number) && key.text != TIMEFRAME {
            let message = format!("the condition never asks for `{}`", key.text);
            reading.faults.push(Diagnostic::warning("unused-search", key.place.clone(), message));
        }
    }
}

/// A map is one alternative, a list of maps several; plain texts are one search over everything.
fn search(node: &Node, reading: &mut Reading) -> Option<Vec<Vec<Item>>> {
    let nodes = one_or_many(node);
    if nodes.is_empty() {
        reading.bad_value(node, "the list is empty, so nothing could match", None);
        return None;
    }
    if nodes.len() > item::VALUES_MAX {
        let message = format!("{} entries; a search lists at most {}", nodes.len(), item::VALUES_MAX);
        reading.bad_value(node, message, Some("split it into several searches".into()));
        return None;
    }
    let plain = |node: &Node| matches!(node.value, Value::Str(_) | Value::Int(_) | Value::Float(_));
    let mut alternatives = Vec::new();
    for nodes in nodes.chunk_by(|a, b| plain(a) && plain(b)) {
        alternatives.push(match &nodes[0].value {
            Value::Map(entries) => items(&nodes[0], entries, reading),
            _ if plain(&nodes[0]) => item::keywords(node, nodes, reading).map(|item| vec![item]),
            _ => {
                reading.faults.expected(&nodes[0], "a map of `field: value`, a text, or a list of these");
                None
            }
        });
    }
    alternatives.into_iter().collect()
}

fn items(node: &Node, entries: &[(Key, Node)], reading: &mut Reading) -> Option<Vec<Item>> {
    if entries.is_empty() {
        let fault = Diagnostic::error("empty-match", node.place.clone(), "an empty map would match every alert");
        reading.faults.push(fault.help("to match everything on purpose, a route leaves out `match`"));
        return None;
    }
    duplicates(entries, reading);
    if let Some((key, _)) = entries.iter().find(|(_, node)| is_search(node)) {
        let message = format!("`{}` looks like a named search, but there is no `condition`", key.text);
        let fault = Diagnostic::error("missing-condition", key.place.clone(), message);
        reading.faults.push(fault.help(format!("add `condition: {}` beside it", key.text)));
        return None;
    }
    let items: Vec<Option<Item>> = entries.iter().map(|(key, node)| item::read(key, node, reading)).collect();
    let items: Vec<Item> = items.into_iter().collect::<Option<_>>()?;
    warn_contradiction(&items, entries, reading);
    Some(items)
}

fn warn_contradiction(items: &[Item], entries: &[(Key, Node)], reading: &mut Reading) {
    let Some((first, second)) = contradiction::find(items, &reading.fields) else { return };
    let (first, key) = (&entries[first].0, &entries[second].0);
    if first.text == key.text {
        return; // That is told already.
    }
    let field = &reading.fields.all()[items[second].field];
    let message = format!("no `{}` fits both this and `{}` on line {}", field.as_str(), first.text, first.place.line);
    let fault = Diagnostic::warning("contradiction", key.place.clone(), message).underline(&key.text);
    reading.faults.push(fault.help("all items of one map must hold; write a list of maps for one or the other"));
}

fn is_search(node: &Node) -> bool {
    one_or_many(node).iter().any(|node| matches!(node.value, Value::Map(_)))
}

fn duplicates(entries: &[(Key, Node)], reading: &mut Reading) {
    for (number, (key, _)) in entries.iter().enumerate() {
        if let Some((first, _)) = entries[..number].iter().find(|(first, _)| first.text == key.text) {
            let message = format!("`{}` is given twice; first on line {}", key.text, first.place.line);
            let fault = Diagnostic::error("same-item-twice", key.place.clone(), message);
            reading.faults.push(fault.help("list the values under one key: any of them may match"));
        }
    }
}
