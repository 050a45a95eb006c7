//! Lists of the bundle: `lists/<name>.yaml` or `lists/<name>.txt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::lists::Lists;
use crate::rules::{guard, owners};
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Key, Node, Value, parse};
use crate::yaml::reader::Faults;

/// Reads every list among the files. A list's values are `true`, a map's are what it says.
pub fn read(files: &BTreeMap<String, String>, faults: &mut Faults) -> Lists {
    let mut lists = Lists::default();
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, text) in files {
        let Some(file) = path.strip_prefix("lists/") else { continue };
        let place = Place::start(&Arc::from(path.as_str()));
        let (name, entries) = match file.rsplit_once('.') {
            Some((name, "txt")) => (name, plain(text)),
            Some((name, "yaml")) => (name, yaml(&place, text, name == owners::LIST, faults)),
            _ => {
                let fault = Diagnostic::warning("list-ignored", place, "this file is not read");
                faults.push(fault.help("lists are `.yaml` or `.txt` files"));
                continue;
            }
        };
        if name == guard::LIST {
            guard::check(&entries, &place, faults);
        }
        if let Some(first) = from.insert(name, path) {
            faults.error("list-twice", &place, format!("the list `{name}` is also in {first}"));
        }
        lists.0.insert(name.into(), entries);
    }
    lists
}

/// One key a line; what follows `#` at the beginning or after a space is a comment.
fn plain(text: &str) -> BTreeMap<String, serde_json::Value> {
    let uncommented = |line: &str| match line.find(" #").or_else(|| line.find("\t#")) {
        Some(at) => line[..at].trim().to_owned(),
        None => line.trim().to_owned(),
    };
    let lines = text.lines().map(uncommented).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| (line, true.into())).collect()
}

fn yaml(place: &Place, text: &str, of_owners: bool, faults: &mut Faults) -> BTreeMap<String, serde_json::Value> {
    let node = match parse(&place.file, text) {
        Ok(node) => node,
        Err(fault) => {
            faults.push(*fault);
            return BTreeMap::new();
        }
    };
    match &node.value {
        Value::Null => BTreeMap::new(),
        Value::List(items) => items.iter().filter_map(|item| Some((key(item, faults)?, true.into()))).collect(),
        Value::Map(entries) => {
            if of_owners {
                entries.iter().for_each(|(key, entry)| owners::check(key, entry, faults));
            }
            map(entries, faults)
        }
        _ => {
            faults.expected(&node, "a list of texts, or a map of keys to values");
            BTreeMap::new()
        }
    }
}

fn key(item: &Node, faults: &mut Faults) -> Option<String> {
    match &item.value {
        Value::Str(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => {
            faults.expected(item, "a text");
            None
        }
    }
}

fn map(entries: &[(Key, Node)], faults: &mut Faults) -> BTreeMap<String, serde_json::Value> {
    let mut out = BTreeMap::new();
    for (key, node) in entries {
        if out.insert(key.text.clone(), node.value.json()).is_some() {
            faults.error("list-key-twice", &key.place, format!("`{}` is in the list already", key.text));
        }
    }
    out
}
