//! Operators' silences in the rules' match language: `field=value` terms, of which all must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::alert::Alert;
use crate::domain::lists::Lists;
use crate::domain::silence::{Compare, Term};
use crate::rules::condition::Expr;
use crate::rules::detection::{Detection, Search};
use crate::rules::fields::Subject;
use crate::rules::item::{self, Item};
use crate::rules::known::{Known, Reading};
use crate::rules::matcher::Matcher;
use crate::yaml::diagnostic::{Diagnostic, Gravity, Place};
use crate::yaml::node::{Key, Node, Value};
use crate::yaml::reader::Faults;

/// What is wrong with terms, and what is only odd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Why they make no silence.
    pub errors: Vec<String>,
    /// What is likely not to be meant.
    pub warnings: Vec<String>,
}

/// Whether the terms make a silence.
pub fn check(terms: &[Term]) -> Checked {
    let (files, known, lists) = nothing();
    let mut reading = Reading::new(&files, &known, &lists, Subject::Alert);
    let detection = read(terms, &mut reading);
    let mut checked = Checked::default();
    for fault in &reading.faults.found {
        let words = words(fault);
        if fault.gravity == Gravity::Error { checked.errors.push(words) } else { checked.warnings.push(words) }
    }
    match detection.and_then(|detection| detection.constant()) {
        Some(true) => checked.errors.push("this matches every alert, so everything would be silenced".into()),
        Some(false) => checked.errors.push("no alert can ever match this".into()),
        None => {}
    }
    checked
}

fn words(fault: &Diagnostic) -> String {
    let help = fault.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    format!("{}{help}", fault.message)
}

fn nothing() -> (BTreeMap<String, String>, Known, Lists) {
    (BTreeMap::new(), Known::default(), Lists::default())
}

fn read(terms: &[Term], reading: &mut Reading) -> Option<Detection> {
    let items: Vec<Option<Item>> = terms.iter().map(|term| term_item(term, reading)).collect();
    let items: Vec<Item> = items.into_iter().collect::<Option<_>>()?;
    let searches = vec![Search { name: None, alternatives: vec![items] }];
    (!terms.is_empty()).then_some(Detection { searches, condition: Expr::Search(0), condition_text: None })
}

/// A value is a text, or what else it can be read as where the field or its modifiers take no text.
fn term_item(term: &Term, reading: &mut Reading) -> Option<Item> {
    let place = Place::start(&Arc::from("silence"));
    let modifiers = match term.compare {
        Compare::Is => "",
        Compare::IsNot => "|neq",
        Compare::Fits => "|re",
        Compare::FitsNot => "|re|neq",
    };
    let key = Key { text: format!("{}{modifiers}", term.field), place: place.clone() };
    let before = std::mem::take(&mut reading.faults);
    let mut item = item::read(&key, &Node { value: Value::Str(term.value.clone()), place: place.clone() }, reading);
    let of_text = std::mem::take(&mut reading.faults);
    let other = if item.is_none() { typed(&term.value) } else { None };
    if let Some(value) = other {
        item = item::read(&key, &Node { value, place }, reading);
    }
    let of_other = std::mem::replace(&mut reading.faults, before);
    let faults: Faults = if item.is_some() && !of_other.found.is_empty() { of_other } else { of_text };
    if item.is_none() || faults.found.iter().all(|fault| fault.gravity != Gravity::Error) {
        faults.found.into_iter().for_each(|fault| reading.faults.push(fault));
    }
    item
}

fn typed(value: &str) -> Option<Value> {
    let flag = value.parse().ok().map(Value::Bool);
    flag.or_else(|| value.parse().ok().map(Value::Int)).or_else(|| value.parse().ok().map(Value::Float))
}

/// Silences, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Silencer {
    matcher: Matcher,
    /// Whose each detection of the matcher is.
    whose: Vec<usize>,
}

impl Silencer {
    /// Compiles them; what no longer is one, since another version made it, silences nothing.
    pub fn new<'a>(all: impl IntoIterator<Item = &'a [Term]>) -> Self {
        let (files, known, lists) = nothing();
        let mut reading = Reading::new(&files, &known, &lists, Subject::Alert);
        let (mut detections, mut whose) = (Vec::new(), Vec::new());
        for (number, terms) in all.into_iter().enumerate() {
            if let Some(detection) = read(terms, &mut reading) {
                detections.push(detection);
                whose.push(number);
            }
        }
        Self { matcher: Matcher::new(reading.fields, detections, Vec::new()), whose }
    }

    /// The numbers of those that match, in order.
    pub fn matching(&self, alert: &Alert) -> Vec<usize> {
        if self.whose.is_empty() {
            return Vec::new();
        }
        self.matcher.matches(alert).suppressions().map(|number| self.whose[number]).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn terms(texts: &[&str]) -> Vec<Term> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn alert() -> Alert {
        let fields = json!({
            "source": "edr", "title": "Scan of ports", "severity": "medium", "received": "2030-01-01T00:00:00Z",
            "kind": "PortScan", "is_incident": true, "tags": ["a", "b"], "extended": { "level": 7 },
            "entities": { "ip": [{ "address": "10.20.0.7" }], "host": [{ "name": "web-01" }, { "name": "db-01" }] },
        });
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn terms_match_as_rules_do() {
        for (texts, expected) in [
            (&["kind=portscan"][..], true),
            (&["kind=Port*", "source=edr"], true),
            (&["kind=Port"], false),
            (&["kind!=PortScan"], false),
            (&["kind!=Other"], true),
            (&["title=~^Scan"], true),
            (&["title=~^ports"], false),
            (&["title!~ports$"], false),
            (&["title!~^ports"], true),
            (&["severity=medium"], true),
            (&["severity|gte=high"], false),
            (&["is_incident=true"], true),
            (&["is_incident=false"], false),
            (&["extended.level=7"], true),
            (&["extended.level|gt=6"], true),
            (&["extended.level|gt=7"], false),
            (&["ip|cidr=10.20.0.0/16"], true),
            (&["entities.host.name=db-*"], true),
            (&["entities.host.name!=db-01"], false),
            (&["tags=a", "tags=b"], true),
            (&["tags=a", "tags=c"], false),
            (&["remediation|exists=false"], true),
        ] {
            let terms = terms(texts);
            assert_eq!(check(&terms).errors, [""; 0], "{texts:?}");
            let silencer = Silencer::new([&terms[..]]);
            assert_eq!(silencer.matching(&alert()), if expected { vec![0] } else { vec![] }, "{texts:?}");
        }
        let (a, b, c) = (terms(&["kind=x"]), terms(&["kind=PortScan"]), terms(&["host=web-01"]));
        assert_eq!(Silencer::new([&a[..], &b, &c]).matching(&alert()), [1, 2]);
        assert_eq!(Silencer::default().matching(&alert()), [0_usize; 0]);
    }

    #[test]
    fn what_makes_no_silence_says_why() {
        for (text, expected) in [
            ("hots=web-01", "an alert has no field `hots`; did you mean `host`?"),
            ("severity=hihg", "did you mean `high`?"),
            ("title=~(", "regular expression"),
            ("ip|cidr=10.0.0.0/99", "10.0.0.0/99"),
            ("kind|starts=x", "startswith"),
            ("title=*", "every alert"),
            ("is_incident=7", "true or false"),
        ] {
            let checked = check(&terms(&[text]));
            assert!(checked.errors.iter().any(|error| error.contains(expected)), "{text}: {checked:?}");
        }
        let odd = check(&terms(&["entities.hosts.name=x"]));
        assert!(odd.errors.is_empty() && odd.warnings[0].contains("did you mean"), "{odd:?}");
    }
}
