//! Labels: the values by which alerts are filtered and counted, as pairs of field and text.

use std::net::IpAddr;

use crate::domain::alert::ENTITY_TYPES;
use crate::index::row::Row;

/// Fields of an alert that are labels; each entity type is one as well.
pub const FIELDS: &[&str] = &[
    "source",
    "vendor",
    "product",
    "kind",
    "title",
    "is_incident",
    "fate",
    "resource",
    "tactic",
    "technique",
    "tag",
    "suppressed_by",
    "silenced_by",
    "route",
    "assignee",
    "feedback",
    "run",
    "playbook",
];

/// The one value of `is_incident`: what is none has no such label.
pub const INCIDENT: &str = "true";

/// All fields that are labels.
pub fn fields() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().chain(ENTITY_TYPES).copied()
}

impl Row {
    /// Its labels; some may come twice.
    pub fn labels(&self) -> Vec<(&str, &str)> {
        let mut labels = vec![("source", &*self.source), ("title", &*self.title), ("fate", self.fate.as_str())];
        let one = [("vendor", &self.vendor), ("product", &self.product), ("kind", &self.kind)];
        labels.extend(one.into_iter().filter_map(|(field, value)| Some((field, value.as_deref()?))));
        labels.extend(self.is_incident.then_some(("is_incident", INCIDENT)));
        labels.extend(self.silenced_by.as_deref().map(|silence| ("silenced_by", silence)));
        labels.extend(self.routes.iter().map(|route| ("route", route.as_str())));
        labels.extend(self.assignee.as_deref().map(|who| ("assignee", who)));
        labels.extend(self.useful.map(|useful| ("feedback", feedback(useful))));
        labels.extend(self.suppressed_by.as_ref().map(|rule| ("suppressed_by", &*rule.id)));
        let many = [("tactic", &self.tactics), ("technique", &self.techniques), ("tag", &self.tags)];
        for (field, values) in many.into_iter().chain([("resource", &self.resources)]) {
            labels.extend(values.iter().map(|value| (field, value.as_str())));
        }
        for (kind, names) in &self.entities {
            labels.extend(names.iter().map(|name| (kind.as_str(), name.as_str())));
        }
        for run in &self.runs {
            labels.extend([("run", run.outcome.as_str()), ("playbook", &*run.id.playbook)]);
        }
        labels
    }
}

/// The word for what an operator found.
pub const fn feedback(useful: bool) -> &'static str {
    if useful { "useful" } else { "not_useful" }
}

/// An address as 16 bytes that sort as addresses do; IPv4 as IPv6 has it.
pub fn address(text: &str) -> Option<[u8; 16]> {
    text.parse().ok().map(octets)
}

/// An address as 16 bytes.
pub fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_sort_within_their_networks() {
        let [low, high, other] = ["10.1.0.0", "10.1.255.255", "10.2.0.0"].map(|text| address(text).unwrap());
        assert!(low < high && high < other);
        assert_eq!(address("::ffff:10.1.0.0"), Some(low));
        assert!(address("2001:db8::1").unwrap() > other);
        assert_eq!(address("10.1"), None);
    }
}
