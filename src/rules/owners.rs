//! Who owns what an alert is about: the bundle's list `owners`, by name, by pattern or by network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::lists::Lists;
use crate::rules::pattern::{Anchor, Pattern, Token, fold, tokens};
use crate::yaml::diagnostic::{Diagnostic, nearest};
use crate::yaml::node::{self, Key, Node};
use crate::yaml::reader::{Faults, text};

/// Name of the list.
pub const LIST: &str = "owners";

/// Names of one alert that are looked up.
pub const NAMES_MAX: usize = 100;

/// Keys of an entry that soard itself reads.
const KEYS: [&str; 2] = ["name", "email"];

/// The owners of a bundle, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// By name, folded.
    exact: HashMap<String, Arc<Entry>>,
    /// The narrowest first.
    networks: Vec<(IpNet, Arc<Entry>)>,
    /// Those with the most characters of their own first.
    patterns: Vec<(Pattern, Arc<Entry>)>,
}

/// One entry of the list.
#[derive(Debug)]
struct Entry {
    key: String,
    name: String,
    email: Option<String>,
    written: Value,
}

/// An owner, and what of the alert is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// Whose.
    pub name: String,
    /// Their mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What of the alert is theirs: a resource, a host, an account or an address.
    pub of: String,
    /// The entry of the list that says so.
    pub entry: String,
    /// The whole entry, as written.
    pub written: Value,
}

impl Owners {
    /// Of the bundle's lists; entries that name nobody are left out.
    pub fn of_lists(lists: &Lists) -> Self {
        let mut owners = Self::default();
        let mut patterns: Vec<(usize, Pattern, Arc<Entry>)> = Vec::new();
        for (key, written) in lists.0.get(LIST).into_iter().flatten() {
            let Some(entry) = Entry::read(key, written).map(Arc::new) else { continue };
            if let Some(network) = network(key) {
                owners.networks.push((network, entry));
                continue;
            }
            let pattern = Pattern::new(key, Anchor::Whole, false);
            match pattern.exact() {
                Some(text) => drop(owners.exact.insert(text.to_owned(), entry)),
                None => patterns.push((literals(key), pattern, entry)),
            }
        }
        owners.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        patterns.sort_by_key(|(literals, ..)| std::cmp::Reverse(*literals));
        owners.patterns = patterns.into_iter().map(|(_, pattern, entry)| (pattern, entry)).collect();
        owners
    }

    /// The owner of what an alert is about; the alert as JSON, as playbooks and templates have it.
    ///
    /// An entry that names something of it as it is goes before all others. Else each thing is asked in turn for its own entry,
    /// resources before hosts, hosts before accounts, accounts before addresses: the pattern with the most characters of its own,
    /// or the narrowest network. A pattern without any comes last.
    pub fn owner(&self, alert: &Value) -> Option<Owner> {
        if self.exact.is_empty() && self.networks.is_empty() && self.patterns.is_empty() {
            return None;
        }
        let names: Vec<(String, String)> =
            names(alert).into_iter().map(|name| (fold(&name).into_owned(), name)).collect();
        let exact = names.iter().find_map(|(folded, name)| Some((name, self.exact.get(folded)?)));
        let fitting = || names.iter().find_map(|(folded, name)| Some((name, self.fitting(folded, name, 1)?)));
        let any = || names.iter().find_map(|(folded, name)| Some((name, self.fitting(folded, name, 0)?)));
        let (of, entry) = exact.or_else(fitting).or_else(any)?;
        let Entry { key, name, email, written } = &**entry;
        let (name, email, entry, written) = (name.clone(), email.clone(), key.clone(), written.clone());
        Some(Owner { name, email, of: of.clone(), entry, written })
    }

    /// The mail addresses of all owners, as written.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let exact = self.exact.values();
        let networks = self.networks.iter().map(|(_, entry)| entry);
        let entries = exact.chain(networks).chain(self.patterns.iter().map(|(_, entry)| entry));
        entries.filter_map(|entry| entry.email.as_deref())
    }

    /// The narrowest pattern or network that a name fits, with so many characters of its own.
    fn fitting(&self, folded: &str, name: &str, literals_min: usize) -> Option<&Arc<Entry>> {
        let mut patterns = self.patterns.iter().filter(|(_, entry)| literals(&entry.key) >= literals_min);
        let like = patterns.find(|(pattern, _)| pattern.matches(name, folded)).map(|(_, entry)| entry);
        like.or_else(|| {
            let address = name.parse::<IpAddr>().ok()?.to_canonical();
            self.networks.iter().find(|(network, _)| network.contains(&address)).map(|(_, entry)| entry)
        })
    }
}

impl Entry {
    fn read(key: &str, written: &Value) -> Option<Self> {
        let of = |key: &str| written.get(key).and_then(Value::as_str).map(str::to_owned);
        let (name, email) = match written {
            Value::String(text) if text.contains('@') => (None, Some(text.clone())),
            Value::String(text) => (Some(text.clone()), None),
            _ => (of("name"), of("email")),
        };
        let name = name.or_else(|| email.clone())?;
        Some(Self { key: key.into(), name, email, written: written.clone() })
    }
}

/// Checks an entry of the list `owners`; notes every fault.
pub fn check(key: &Key, entry: &Node, faults: &mut Faults) {
    let address = key.text.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    if address && network(&key.text).is_none() {
        let message = format!("`{}` is no network", key.text);
        let fault = Diagnostic::error("owner-network", key.place.clone(), message);
        faults.push(fault.help("write 10.0.0.0/8 or 2001:db8::/32"));
    }
    match &entry.value {
        node::Value::Str(text) if !text.contains('@') => {}
        node::Value::Str(_) => email(entry, faults),
        node::Value::Map(items) => {
            for (key, value) in items {
                match key.text.as_str() {
                    "name" => drop(text(value, faults)),
                    "email" => email(value, faults),
                    other => {
                        if let Some(near) = nearest(other, &KEYS) {
                            let message = format!("`{other}` means nothing to soard here");
                            let fault = Diagnostic::warning("owner-key", key.place.clone(), message);
                            faults.push(fault.help(format!("did you mean `{near}`?")));
                        }
                    }
                }
            }
            if !items.iter().any(|(key, _)| KEYS.contains(&key.text.as_str())) {
                let message = format!("`{}` has neither `name` nor `email`, so nobody owns it", key.text);
                faults.push(Diagnostic::warning("owner-nameless", key.place.clone(), message));
            }
        }
        _ => faults.expected(entry, "a name, an address, or a map with `name` and `email`"),
    }
}

fn email(node: &Node, faults: &mut Faults) {
    let Some(address) = text(node, faults) else { return };
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && !"<>()[],;:\\\"@".contains(c));
    if !address.rsplit_once('@').is_some_and(|(user, host)| plain(user) && plain(host)) {
        let fault =
            Diagnostic::error("owner-address", node.place.clone(), format!("{address:?} is not a mail address"));
        faults.push(fault.help("write the address alone, such as `shop@example.com`; the name goes into `name`"));
    }
}

fn network(key: &str) -> Option<IpNet> {
    key.contains('/').then(|| key.parse::<IpNet>().ok().map(|network| network.trunc()))?
}

/// Characters of a pattern that stand for themselves.
fn literals(key: &str) -> usize {
    tokens(key).iter().filter(|token| matches!(token, Token::Char(_))).count()
}

/// What an alert is about, in the order in which it is looked up. A resource's path is looked up whole and by its last part.
fn names(alert: &Value) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: Option<&str>| {
        let name = name.filter(|name| !name.is_empty() && names.len() < NAMES_MAX);
        if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
            names.push(name.to_owned());
        }
    };
    for resource in alert["resources"].as_array().into_iter().flatten() {
        let whole = resource.as_str();
        add(whole);
        add(whole.and_then(|path| path.rsplit(['/', ':']).next()));
    }
    for (kind, properties) in [
        ("host", &["name", "fqdn"][..]),
        ("account", &["name", "upn", "email"]),
        ("mailbox", &["address", "name"]),
        ("ip", &["address"]),
    ] {
        for entity in alert["entities"][kind].as_array().into_iter().flatten() {
            properties.iter().for_each(|property| add(entity[*property].as_str()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::rules::lists;

    fn owners(yaml: &str) -> Owners {
        let mut faults = Faults::default();
        let lists = lists::read(&BTreeMap::from([("lists/owners.yaml".to_owned(), yaml.to_owned())]), &mut faults);
        assert_eq!(faults.found, []);
        Owners::of_lists(&lists)
    }

    #[test]
    fn the_most_specific_entry_counts() {
        let owners = owners(
            "'*': {name: everybody}\n'web-*': {name: web}\n'web-0*': {name: web zero}\nWEB-01: {name: Ann, email: ann@example.com}\n\
             10.0.0.0/8: net@example.com\n10.1.0.0/16: {name: lab}\n'*/groups/shop/*': shop\ndb-7: dba\nsvc: {name: robots, team: x}\n",
        );
        let host = |name: &str| json!({"entities": {"host": [{"name": name}]}});
        let ip = |address: &str| json!({"entities": {"ip": [{"address": address}]}});
        for (alert, name, of) in [
            (host("web-01"), "Ann", "web-01"),
            (host("web-02"), "web zero", "web-02"),
            (host("web-x"), "web", "web-x"),
            (host("mail"), "everybody", "mail"),
            (ip("10.1.2.3"), "lab", "10.1.2.3"),
            (ip("::ffff:10.2.2.3"), "net@example.com", "::ffff:10.2.2.3"),
            (json!({"resources": ["/groups/shop/vm/a", "/sql/DB-7"]}), "dba", "DB-7"),
            (json!({"resources": ["/x/groups/shop/vm/a"]}), "shop", "/x/groups/shop/vm/a"),
            (json!({"entities": {"host": [{"name": "web-x"}], "ip": [{"address": "10.1.2.3"}]}}), "web", "web-x"),
            (json!({"entities": {"host": [{"name": "mail"}], "ip": [{"address": "10.1.2.3"}]}}), "lab", "10.1.2.3"),
            (json!({"entities": {"host": [{"name": "web-x"}], "account": [{"name": "svc"}]}}), "robots", "svc"),
            (
                json!({"resources": ["r"], "entities": {"host": [{"name": "web-01"}, {"name": "db-7"}]}}),
                "Ann",
                "web-01",
            ),
        ] {
            let found = owners.owner(&alert).unwrap();
            assert_eq!((&*found.name, &*found.of), (name, of), "{alert}");
        }
        assert_eq!(owners.owner(&json!({"title": "x"})), None);
        assert_eq!(owners.owner(&host("web-01")).unwrap().email.as_deref(), Some("ann@example.com"));
        assert_eq!(owners.owner(&ip("10.9.9.9")).unwrap().email.as_deref(), Some("net@example.com"));
        assert_eq!(Owners::default().owner(&host("web-01")), None);
    }
}
