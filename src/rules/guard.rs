//! What is never to be touched: the bundle's list `never_touch`, by name, by pattern or by network.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::domain::effect::Effect;
use crate::domain::lists::Lists;
use crate::rules::pattern::{Anchor, Pattern, fold};
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::reader::Faults;

/// Name of the list.
pub const LIST: &str = "never_touch";

/// The entries of the list, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// By name, folded: as written.
    exact: HashMap<String, String>,
    patterns: Vec<(Pattern, String)>,
    networks: Vec<(IpNet, String)>,
}

impl Guard {
    /// Of the bundle's lists.
    pub fn of_lists(lists: &Lists) -> Self {
        let mut guard = Self::default();
        for key in lists.0.get(LIST).into_iter().flatten().map(|(key, _)| key.trim().to_owned()) {
            if let Some(network) = network(&key) {
                guard.networks.push((network, key));
                continue;
            }
            let pattern = Pattern::new(&key, Anchor::Whole, false);
            match pattern.exact() {
                Some(text) => drop(guard.exact.insert(text.to_owned(), key)),
                None => guard.patterns.push((pattern, key)),
            }
        }
        guard
    }

    /// Nothing is guarded.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty() && self.networks.is_empty()
    }

    /// The first text of an effect that the list has, whole, and its entry: parts of the path, values of the query and of
    /// headers, and every text in the body or in a mail's values, keys included.
    pub fn names(&self, effect: &Effect) -> Option<(String, String)> {
        let mut texts: Vec<&str> = Vec::new();
        match effect {
            Effect::Webhook(request) => {
                let given = request.path.iter().chain(request.query.values()).chain(request.headers.values());
                texts.extend(given.map(String::as_str));
                request.body.iter().for_each(|body| gather(body, &mut texts));
            }
            Effect::Email(request) => {
                texts.extend(request.subject.as_deref());
                for (key, value) in &request.data {
                    texts.push(key);
                    gather(value, &mut texts);
                }
            }
            _ => {}
        }
        texts.into_iter().find_map(|text| Some((text.to_owned(), self.entry(text)?.to_owned())))
    }

    /// The entry that a text is, fits, or lies in. A network that holds one of the list's is in it as well.
    fn entry(&self, text: &str) -> Option<&str> {
        let text = text.trim();
        let folded = fold(text);
        let exact = self.exact.get(&*folded);
        let like = || self.patterns.iter().find(|(pattern, _)| pattern.matches(text, &folded)).map(|(_, key)| key);
        let inside = || {
            let named = network(text)?;
            let meets = |network: &IpNet| network.contains(&named) || named.contains(network);
            self.networks.iter().find(|(network, _)| meets(network)).map(|(_, key)| key)
        };
        exact.or_else(like).or_else(inside).map(String::as_str)
    }
}

/// All texts of a value, at any depth.
fn gather<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(fields) => {
            for (key, field) in fields {
                texts.push(key);
                gather(field, texts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Notes what looks like a network and is none.
pub fn check(entries: &BTreeMap<String, Value>, place: &Place, faults: &mut Faults) {
    let broken = |key: &&String| {
        let address = key.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
        address && network(key).is_none()
    };
    for key in entries.keys().filter(broken) {
        let fault = Diagnostic::error("guard-network", place.clone(), format!("`{key}` is no network"));
        faults.push(fault.help("write 10.0.0.0/8 or 2001:db8::/32"));
    }
}

/// A network, or an address as one.
fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => text.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::effect::WebhookRequest;
    use crate::rules::lists;

    fn guard(text: &str) -> (Guard, Vec<&'static str>) {
        let mut faults = Faults::default();
        let files = BTreeMap::from([("lists/never_touch.txt".to_owned(), text.to_owned())]);
        let lists = lists::read(&files, &mut faults);
        (Guard::of_lists(&lists), faults.found.iter().map(|fault| fault.code).collect())
    }

    #[test]
    fn whole_texts_are_found_wherever_they_stand_and_parts_of_texts_are_not() {
        let (guard, faults) = guard("dc-01   # the domain\nvip-*\n10.1.0.0/16\n192.0.2.9\n2001:db8::/32\n");
        assert!(faults.is_empty(), "{faults:?}");
        let named = |path: &[&str], body: Value| {
            let request = WebhookRequest {
                destination: "edr".into(),
                method: None,
                path: path.iter().map(|part| (*part).to_owned()).collect(),
                query: BTreeMap::new(),
                headers: BTreeMap::new(),
                body: Some(body),
            };
            guard.names(&Effect::Webhook(request)).map(|(_, entry)| entry).unwrap_or_default()
        };
        for (body, entry) in [
            (json!({"host": "DC-01"}), "dc-01"),
            (json!({"hosts": ["web-1", {"name": " dc-01 "}]}), "dc-01"),
            (json!({"dc-01": true}), "dc-01"),
            (json!("VIP-ann"), "vip-*"),
            (json!([["10.1.2.3"]]), "10.1.0.0/16"),
            (json!("::ffff:10.1.2.3"), "10.1.0.0/16"),
            (json!("10.0.0.0/8"), "10.1.0.0/16"),
            (json!("10.1.7.0/24"), "10.1.0.0/16"),
            (json!("192.0.2.9"), "192.0.2.9"),
            (json!("2001:db8::5"), "2001:db8::/32"),
            (json!({"host": "dc-011", "note": "not dc-01", "ip": "10.2.0.1", "n": 1}), ""),
            (json!(null), ""),
        ] {
            assert_eq!(named(&["isolate"], body.clone()), entry, "{body}");
        }
        assert_eq!(named(&["hosts", "dc-01"], json!(null)), "dc-01");
    }

    #[test]
    fn what_is_no_network_is_told() {
        assert_eq!(guard("10.0.0.0/33\n10.0.0.0/8\na/b\n").1, ["guard-network"]);
    }
}
