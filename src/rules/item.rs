//! One line of a search: a field, how it compares, and the values it may have.

use crate::rules::fields::{Field, FieldKind};
use crate::rules::known::Reading;
use crate::rules::modifiers::{Modifiers, Operator};
use crate::rules::pattern::fold;
use crate::rules::view::View;
use crate::rules::wanted::{self, Wanted};
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Key, Node};
use crate::yaml::reader::one_or_many;

/// Most values that one item lists.
pub const VALUES_MAX: usize = 10_000;

/// A checked item.
#[derive(Debug, Clone)]
pub struct Item {
    /// The field's number.
    pub field: usize,
    /// The modifiers as written, `equals` when there is none.
    pub operator: String,
    /// The values; one must be there, or each of them with `all`.
    pub wants: Vec<Wanted>,
    /// Every value must be there.
    pub all: bool,
    /// The item holds when the values are not there.
    pub negated: bool,
    constant: Option<bool>,
}

impl Item {
    /// Whether the item holds for what the alert or event has at its field.
    pub fn holds(&self, view: &View) -> bool {
        let hit = match self.all {
            true => self.wants.iter().all(|want| self.hits(want, view)),
            false => self.wants.iter().any(|want| self.hits(want, view)),
        };
        hit != self.negated
    }

    /// Whether one wanted value is there.
    pub fn hits(&self, want: &Wanted, view: &View) -> bool {
        want.tests.iter().any(|test| test.hits(view.at(self.field), &|field| view.at(field)))
    }

    /// The values as written.
    pub fn wanted(&self) -> impl Iterator<Item = &serde_json::Value> {
        self.wants.iter().map(|want| &want.written)
    }

    /// The outcome, when it is the same for every alert.
    pub fn constant(&self) -> Option<bool> {
        self.constant
    }
}

/// Reads `field|modifiers: value`, or `'|modifiers': value` for a search over everything; notes every fault.
pub fn read(key: &Key, node: &Node, reading: &mut Reading) -> Option<Item> {
    let (path, _) = key.text.split_once('|').unwrap_or((&key.text, ""));
    let field = if path.is_empty() { Some(Field::everywhere()) } else { reading.field(path, &key.place) };
    let modifiers = match Modifiers::parse(&key.text) {
        Ok(modifiers) => Some(modifiers),
        Err(bad) => {
            let place = reading.inside(&key.place, &key.text, bad.at);
            let mut fault = Diagnostic::error("bad-modifier", place, bad.message).underline(&bad.word);
            fault.help = bad.help;
            reading.faults.push(fault);
            None
        }
    };
    let (field, modifiers) = (field?, modifiers?);
    if field.is_everywhere() && !fits_everywhere(&modifiers) {
        let fault = Diagnostic::error("keywords", key.place.clone(), "a search without a field takes texts only");
        reading.faults.push(fault.help("name a field: `title|contains: …`"));
        return None;
    }
    let wants = wants(node, &field, &modifiers, reading)?;
    let operator = match key.text.split_once('|') {
        Some((_, words)) => words.replace('|', " "),
        None => "equals".into(),
    };
    finish(field, operator, wants, &modifiers, node, reading)
}

/// Reads plain texts that stand where a map of items could: any of them anywhere is enough.
pub fn keywords(node: &Node, nodes: &[Node], reading: &mut Reading) -> Option<Item> {
    let field = Field::everywhere();
    let modifiers = Modifiers::parse("").expect("no modifier is wrong");
    let wants: Vec<Option<Wanted>> = nodes.iter().map(|node| wanted::read(node, &field, &modifiers, reading)).collect();
    finish(field, "contains".into(), wants.into_iter().collect::<Option<_>>()?, &modifiers, node, reading)
}

fn fits_everywhere(modifiers: &Modifiers) -> bool {
    let texts = matches!(
        modifiers.operator,
        Operator::Equals | Operator::Contains | Operator::StartsWith | Operator::EndsWith | Operator::Regex
    );
    texts && !modifiers.fieldref && modifiers.part.is_none()
}

fn finish(
    field: Field,
    operator: String,
    wants: Vec<Wanted>,
    modifiers: &Modifiers,
    node: &Node,
    reading: &mut Reading,
) -> Option<Item> {
    let mut item = Item { field: 0, operator, wants, all: modifiers.all, negated: modifiers.neq, constant: None };
    item.constant = constant(&item, field.kind());
    warn_unknown_source(&item, &field, node, reading);
    item.field = reading.fields.number(field);
    Some(item)
}

fn wants(node: &Node, field: &Field, modifiers: &Modifiers, reading: &mut Reading) -> Option<Vec<Wanted>> {
    let nodes = one_or_many(node);
    if nodes.is_empty() {
        reading.bad_value(node, "the list is empty, so nothing could match", None);
        return None;
    }
    if nodes.len() > VALUES_MAX {
        let message = format!("{} values; an item lists at most {VALUES_MAX}", nodes.len());
        reading.bad_value(node, message, Some("split it into several items or rules".into()));
        return None;
    }
    if modifiers.all && nodes.len() < 2 {
        let help = Some("leave out `all`, or list more values".into());
        reading.bad_value(node, "`all` needs a list of at least two values", help);
        return None;
    }
    let wants: Vec<Option<Wanted>> = nodes.iter().map(|node| wanted::read(node, field, modifiers, reading)).collect();
    wants.into_iter().collect()
}

/// What the item says of every alert, as far as that shows from the field alone.
fn constant(item: &Item, kind: FieldKind) -> Option<bool> {
    let each = item.wants.iter().map(|want| want.constant(kind));
    let hit = if item.all { every(each) } else { every(each.map(|known| known.map(|b| !b))).map(|b| !b) };
    hit.map(|hit| hit != item.negated)
}

/// Kleene's and: false when one is false, unknown when one is unknown.
pub fn every(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut out = Some(true);
    for part in parts {
        match part {
            Some(false) => return Some(false),
            None => out = None,
            Some(true) => {}
        }
    }
    out
}

fn warn_unknown_source(item: &Item, field: &Field, node: &Node, reading: &mut Reading) {
    let Some(sources) = &reading.known.sources else { return };
    if field.as_str() != "source" {
        return;
    }
    for (want, node) in item.wants.iter().zip(one_or_many(node)) {
        let Some(name) = want.exact_text() else { continue };
        if !sources.iter().any(|source| fold(source) == name || source == name) {
            let message = format!("no source is called `{name}`");
            let fault = Diagnostic::warning("source-not-configured", node.place.clone(), message);
            reading.faults.push(fault.suggest(name, sources.iter().map(String::as_str)));
        }
    }
}
