//! Entities: the types and properties that rules, mails and pages know, and how a format fills them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value as Json};

use crate::rules::normalise::NoteKind;
use crate::rules::normalise::condition::{Condition, path};
use crate::rules::normalise::expr::{Expr, read_paths};
use crate::rules::normalise::path::{Found, Path, Reading, Scope, scalar_text};
use crate::rules::normalise::text::{self, ENTITIES_MAX, VALUE_BYTES_MAX};
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader, one_or_many, text as read_text};

/// Each entity type with its properties. `raw` of the alert keeps what has no property here;
/// a format's own properties begin with `x_`.
pub const ENTITY_PROPERTIES: &[(&str, &[&str])] = &[
    (
        "account",
        &[
            "name",
            "domain",
            "upn",
            "sid",
            "id",
            "email",
            "display_name",
            "type",
            "tenant_id",
            "logon_id",
            "access_key_id",
            "cloud_account",
            "role",
            "uid",
        ],
    ),
    (
        "cloud_resource",
        &[
            "id",
            "name",
            "type",
            "provider",
            "region",
            "account",
            "subscription",
            "resource_group",
            "project",
            "tags",
            "role",
        ],
    ),
    ("container", &["id", "name", "image", "image_id", "image_tag", "runtime", "privileged", "pod", "namespace"]),
    ("domain", &["name", "addresses", "role"]),
    ("file", &["name", "path", "directory", "sha256", "sha1", "md5", "size", "url", "owner", "role"]),
    ("hash", &["algorithm", "value"]),
    (
        "host",
        &[
            "name",
            "fqdn",
            "domain",
            "netbios_name",
            "id",
            "os",
            "os_version",
            "ip",
            "mac",
            "agent_id",
            "cloud_id",
            "group",
            "role",
        ],
    ),
    (
        "ip",
        &[
            "address",
            "version",
            "role",
            "country",
            "country_code",
            "city",
            "state",
            "latitude",
            "longitude",
            "asn",
            "organization",
            "range",
            "threat_name",
            "threat_type",
            "threat_provider",
        ],
    ),
    ("kubernetes", &["kind", "name", "namespace", "cluster", "id"]),
    ("mailbox", &["address", "name", "upn", "id"]),
    ("malware", &["name", "category", "family"]),
    (
        "network",
        &[
            "protocol",
            "app_protocol",
            "source",
            "source_port",
            "destination",
            "destination_port",
            "direction",
            "flow_id",
            "bytes_in",
            "bytes_out",
            "local_port",
            "community_id",
            "vpc",
        ],
    ),
    (
        "process",
        &[
            "name",
            "path",
            "command_line",
            "pid",
            "user",
            "working_directory",
            "started",
            "sha256",
            "sha1",
            "md5",
            "parent",
            "parent_path",
            "parent_command_line",
            "parent_pid",
            "id",
            "integrity",
        ],
    ),
    ("registry", &["key", "hive", "name", "value", "type"]),
    ("service", &["name", "id", "type", "action"]),
    ("url", &["url", "host", "path", "role"]),
];

/// Properties that are numbers wherever the product gives one, also as text.
const NUMBERS: &[&str] = &[
    "asn",
    "pid",
    "parent_pid",
    "source_port",
    "destination_port",
    "local_port",
    "size",
    "latitude",
    "longitude",
    "bytes_in",
    "bytes_out",
];
/// Properties that hold a list.
const LISTS: &[&str] = &["addresses", "tags"];
/// Properties that may hold an IP address, and then in its canonical form.
const ADDRESSES: &[&str] = &["address", "addresses", "source", "destination", "ip"];
/// Properties that read alike whatever case the product writes.
const LOWER: &[&str] = &["sha256", "sha1", "md5"];

/// Entities by type.
pub type Entities = BTreeMap<String, Vec<Map<String, Json>>>;

/// One item of a format's `entities`.
#[derive(Debug, Clone)]
pub struct EntityRule {
    each: Vec<Path>,
    by: Option<Path>,
    shapes: Vec<(Option<String>, Option<Shape>)>,
}

/// What one item becomes.
#[derive(Debug, Clone)]
struct Shape {
    kind: String,
    when: Option<Condition>,
    set: Vec<(String, Expr)>,
    /// Take every known property as it stands.
    copy: bool,
}

impl EntityRule {
    /// Reads one item: `{type, set}`, optionally with `each` and `when`, or `{each, by, is}`.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut map = MapReader::new(node, "an entity: a map with `type` and `set`, or `each`, `by` and `is`", faults)?;
        let each = map.get("each").map(|node| read_paths(node, faults)).unwrap_or_default();
        let by = map.get("by").and_then(|node| path(node, faults));
        let shapes = match by {
            None => Shape::read_from(&mut map, faults).map(|shape| vec![(None, Some(shape))]),
            Some(_) => {
                let cases = map.need("is", faults).and_then(|node| MapReader::new(node, "a map of types", faults));
                cases.map(|mut cases| {
                    cases.rest().into_iter().flat_map(|(key, node)| read_case(&key.text, node, faults)).collect()
                })
            }
        };
        map.finish(faults);
        Some(Self { each, by, shapes: shapes? })
    }

    /// Adds the entities of a record.
    pub fn fill<'a>(&'a self, scope: &Scope<'a>, to: &mut Entities) {
        if self.each.is_empty() {
            return self.fill_from(scope, to);
        }
        let found = self.each.iter().map(|path| path.open(scope)).find(|found| !found.is_nothing());
        for item in found.unwrap_or(Found::Nothing).into_items() {
            if let Cow::Borrowed(here) = item {
                self.fill_from(&Scope { here, ..*scope }, to);
            }
        }
    }

    fn fill_from<'a>(&'a self, scope: &Scope<'a>, to: &mut Entities) {
        let word = self.by.as_ref().map(|by| {
            let found = by.find(scope);
            found.items().first().and_then(|item| scalar_text(item).map(Cow::into_owned)).unwrap_or_default()
        });
        let mut known = word.is_none();
        for (case, shape) in &self.shapes {
            let fits = match (case, &word) {
                (Some(case), Some(word)) => case.eq_ignore_ascii_case(word),
                _ => true,
            };
            known |= fits;
            if let Some(shape) = shape.as_ref().filter(|_| fits) {
                shape.fill(scope, to);
            }
        }
        if !known {
            scope.reading.enter(&["entities"]);
            scope.reading.note(NoteKind::UnmappedEntity, &word.unwrap_or_default());
        }
    }
}

/// One word of `is`: a shape, several, or `none` for what is known and says nothing.
fn read_case(word: &str, node: &Node, faults: &mut Faults) -> Vec<(Option<String>, Option<Shape>)> {
    if matches!(&node.value, Value::Str(text) if text == "none") {
        return vec![(Some(word.into()), None)];
    }
    let mut shapes = Vec::new();
    for node in one_or_many(node) {
        let Some(mut map) = MapReader::new(node, "an entity: a map with `type` and `set`, or `none`", faults) else {
            continue;
        };
        shapes.extend(Shape::read_from(&mut map, faults).map(|shape| (Some(word.to_owned()), Some(shape))));
        map.finish(faults);
    }
    shapes
}

impl Shape {
    fn read_from(map: &mut MapReader<'_>, faults: &mut Faults) -> Option<Self> {
        let kind = map.need("type", faults).and_then(|node| read_kind(node, faults));
        let when = map.get("when").and_then(|node| Condition::read(node, faults));
        let copy = map.flag("copy", faults).unwrap_or(false);
        let set = if copy { map.get("set") } else { map.need("set", faults) };
        let set = set.and_then(|node| MapReader::new(node, "a map of properties", faults));
        let properties = kind.as_deref().and_then(properties).unwrap_or_default();
        let mut exprs = Vec::new();
        for (key, node) in set.map(|mut set| set.rest()).unwrap_or_default() {
            if let Some(kind) = kind.as_ref().filter(|_| !is_property(properties, &key.text)) {
                let message = format!("`{}` is no property of `{kind}`; own properties begin with `x_`", key.text);
                let fault = Diagnostic::error("unknown-property", key.place.clone(), message);
                faults.push(fault.suggest(&key.text, properties.iter().copied()));
            }
            exprs.extend(Expr::read(node, faults).map(|expr| (key.text.clone(), expr)));
        }
        Some(Self { kind: kind?, when, set: exprs, copy })
    }

    fn fill<'a>(&'a self, scope: &Scope<'a>, to: &mut Entities) {
        if self.when.as_ref().is_some_and(|when| !when.holds(scope)) {
            return;
        }
        let reading = scope.reading;
        let mut entity = Map::new();
        let mut real = false;
        if self.copy {
            for name in scope.here.as_object().into_iter().flat_map(Map::keys) {
                if is_property(properties(&self.kind).unwrap_or_default(), name) {
                    let value = &scope.here[name];
                    reading.mark(value);
                    reading.enter(&["entities", &self.kind, name]);
                    let found = Found::One(Cow::Borrowed(value));
                    entity.extend(property(&self.kind, name, found, reading).map(|value| (name.clone(), value)));
                }
            }
            real = !entity.is_empty();
        }
        for (name, expr) in &self.set {
            reading.enter(&["entities", &self.kind, name]);
            if let Some(value) = property(&self.kind, name, expr.eval(scope), reading) {
                real |= !expr.is_constant();
                entity.insert(name.clone(), value);
            }
        }
        if real {
            add(&self.kind, entity, reading, to);
        }
    }
}

/// Adds an entity unless the same is there already. An address or hash that is none is no entity.
fn add(kind: &str, mut entity: Map<String, Json>, reading: &Reading<'_>, to: &mut Entities) {
    reading.enter(&["entities", kind]);
    if kind == "ip" {
        let address = entity.get("address").and_then(Json::as_str).unwrap_or_default();
        let Ok(parsed) = address.parse::<IpAddr>() else {
            return reading.note(NoteKind::NotAnAddress, address);
        };
        entity.insert("version".into(), if parsed.is_ipv4() { 4 } else { 6 }.into());
    }
    if kind == "hash" && !entity.contains_key("value") {
        return;
    }
    let total: usize = to.values().map(Vec::len).sum();
    let list = to.entry(kind.into()).or_default();
    if list.contains(&entity) {
        return;
    }
    if total >= ENTITIES_MAX {
        return reading.note(NoteKind::Truncated, &format!("more than {ENTITIES_MAX} entities"));
    }
    list.push(entity);
}

/// One property's value: a text, number or boolean; lists only where the property holds one.
fn property(kind: &str, name: &str, found: Found<'_>, reading: &Reading<'_>) -> Option<Json> {
    let mut values = found.into_items();
    if let [one] = values.as_slice()
        && let Json::Array(items) = &**one
    {
        values = items.iter().cloned().map(Cow::Owned).collect();
    }
    let lower = LOWER.contains(&name) || (kind == "hash" && name == "value");
    let mut scalars = values.into_iter().filter_map(|value| match value.into_owned() {
        Json::Bool(value) => Some(Json::Bool(value)),
        Json::Number(number) if NUMBERS.contains(&name) || name.starts_with("x_") => Some(Json::Number(number)),
        Json::Number(number) => Some(number.to_string().into()),
        Json::String(text) if reading.is_empty(&Json::String(text.clone())) => None,
        Json::String(text) if NUMBERS.contains(&name) => Some(number(text.trim()).unwrap_or(text.into())),
        Json::String(text) => {
            let text = text::limited(text, VALUE_BYTES_MAX, reading);
            let address = ADDRESSES.contains(&name).then(|| text.trim().parse::<IpAddr>().ok()).flatten();
            Some(match address {
                Some(address) => address.to_string().into(),
                None if lower => text.to_lowercase().into(),
                None => text.into(),
            })
        }
        Json::Null => None,
        other => {
            reading.note(NoteKind::WrongType, &other.to_string());
            None
        }
    });
    if LISTS.contains(&name) {
        let items: Vec<Json> = scalars.take(text::ITEMS_MAX).collect();
        return (!items.is_empty()).then_some(Json::Array(items));
    }
    scalars.next()
}

/// A number written as text, decimal or as `0x1e9`.
fn number(text: &str) -> Option<Json> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Into::into);
    }
    let whole = text.parse::<i64>().ok().map(Json::from);
    whole.or_else(|| serde_json::Number::from_f64(text.parse().ok()?).map(Json::Number))
}

fn properties(kind: &str) -> Option<&'static [&'static str]> {
    ENTITY_PROPERTIES.iter().find(|(name, _)| *name == kind).map(|(_, properties)| *properties)
}

fn is_property(known: &[&str], name: &str) -> bool {
    known.contains(&name) || name.strip_prefix("x_").is_some_and(|own| !own.is_empty())
}

fn read_kind(node: &Node, faults: &mut Faults) -> Option<String> {
    let word = read_text(node, faults)?;
    if properties(word).is_none() {
        let fault = Diagnostic::error("format-entity-type", node.place.clone(), format!("`{word}` is no entity type"));
        faults.push(fault.suggest(word, ENTITY_PROPERTIES.iter().map(|(name, _)| *name)));
        return None;
    }
    Some(word.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::ENTITY_TYPES;

    #[test]
    fn the_table_has_every_entity_type_once() {
        let types: Vec<&str> = ENTITY_PROPERTIES.iter().map(|(name, _)| *name).collect();
        assert_eq!(types, ENTITY_TYPES);
        for (kind, properties) in ENTITY_PROPERTIES {
            let mut sorted = properties.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), properties.len(), "{kind}");
        }
    }
}
