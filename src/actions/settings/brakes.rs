//! Settings of brakes: `limit`, `guard` and `release` of a destination, and limits of playbooks.

use std::collections::BTreeMap;

use crate::actions::settings::span;
use crate::domain::approval::{DECIDERS_MAX, WITHIN_MAX, WITHIN_MIN, check_decider};
use crate::domain::brakes::{Bound, Brakes, Counted, Limit, Release};
use crate::domain::time::Span;
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader};

/// A destination's brakes, and where it asks for the guard.
#[derive(Debug, Clone, PartialEq)]
pub struct BrakeSettings {
    /// More effects than this do not go out by themselves.
    pub limit: Option<Limit>,
    /// Where `guard: true` stands: what names something that is never to be touched does not either.
    pub guarded: Option<Place>,
    /// Who may let one go.
    pub release: Release,
}

/// A playbook's limit.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaybookSettings {
    /// Where its name stands.
    pub place: Place,
    /// More effects than this do not go out by themselves.
    pub limit: Limit,
    /// Who may let one more go.
    pub release: Release,
}

impl BrakeSettings {
    /// As an effect to this destination meets them.
    pub(super) fn brakes(&self, destination: &str) -> Brakes {
        let of = Counted::Destination(destination.to_owned());
        let bound = self.limit.map(|limit| Bound { of, limit, release: self.release.clone() });
        Brakes { bounds: bound.into_iter().collect(), guard: self.guarded.as_ref().map(|_| self.release.clone()) }
    }
}

impl PlaybookSettings {
    /// As an effect of this playbook meets it.
    pub(super) fn bound(&self, playbook: &str) -> Bound {
        let of = Counted::Playbook(playbook.to_owned());
        Bound { of, limit: self.limit, release: self.release.clone() }
    }
}

/// Reads `playbooks:` of soard.yaml; every fault is noted, and what is faulty is left out.
pub(super) fn read_playbooks(node: &Node, faults: &mut Faults) -> BTreeMap<String, PlaybookSettings> {
    let Some(mut map) = MapReader::new(node, "a map of playbooks by name", faults) else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for (name, node) in map.rest() {
        let Some(mut map) = MapReader::new(node, "a playbook's limit", faults) else { continue };
        let limit = map.need("limit", faults).and_then(|node| limit(node, faults));
        let release = map.get("release").map_or_else(usual, |node| read_release(node, faults));
        map.finish(faults);
        if let Some(limit) = limit {
            all.insert(name.text.clone(), PlaybookSettings { place: name.place.clone(), limit, release });
        }
    }
    all
}

const AT_MOST_MAX: i64 = 1_000_000;
const WITHIN_LEAST: Span = Span::from_secs(1);
const WITHIN_MOST: Span = Span::from_secs(30 * 24 * 3600);

/// Who may let an effect go, unless the destination says otherwise.
const BY: &str = "approver";
/// How long it waits for them, unless the destination says otherwise.
const DEADLINE: Span = Span::from_secs(4 * 3600);

/// Reads them; `None` when there are none.
pub(super) fn read(map: &mut MapReader<'_>, faults: &mut Faults) -> Option<BrakeSettings> {
    let limit = map.get("limit").map(|node| limit(node, faults));
    let place = map.get("guard").map(|node| node.place.clone());
    let guard = map.flag("guard", faults).unwrap_or(false);
    let release = map.get("release");
    let who = release.map_or_else(usual, |node| read_release(node, faults));
    if limit.is_none() && !guard {
        if let Some(node) = release {
            let fault = Diagnostic::error("release-nothing", node.place.clone(), "nothing is ever to be released here");
            faults
                .push(fault.help("add `limit: { at_most: 20, within: 1h }` or `guard: true`, or leave `release` out"));
        }
        return None;
    }
    Some(BrakeSettings { limit: limit.flatten(), guarded: place.filter(|_| guard), release: who })
}

fn usual() -> Release {
    Release { by: vec![BY.to_owned()], deadline: DEADLINE }
}

fn limit(node: &Node, faults: &mut Faults) -> Option<Limit> {
    let mut map = MapReader::new(node, "how many go out within what time", faults)?;
    map.need("at_most", faults);
    map.need("within", faults);
    let at_most = map.whole("at_most", 1..=AT_MOST_MAX, faults);
    let within = span(&mut map, "within", WITHIN_LEAST, WITHIN_MOST, faults);
    map.finish(faults);
    Some(Limit { at_most: u64::try_from(at_most?).expect("the range is positive"), within: within? })
}

fn read_release(node: &Node, faults: &mut Faults) -> Release {
    let Release { mut by, mut deadline } = usual();
    let Some(mut map) = MapReader::new(node, "who may let an effect go, and until when", faults) else {
        return Release { by, deadline };
    };
    let written = map.list("by");
    if let Some(items) = &written {
        if items.is_empty() || items.len() > DECIDERS_MAX {
            let message = format!("expected 1 to {DECIDERS_MAX} who may decide, found {}", items.len());
            faults.error("release-by", map.place(), message);
        }
        by = items.iter().filter_map(|item| decider(item, faults)).collect();
    }
    deadline = span(&mut map, "deadline", WITHIN_MIN, WITHIN_MAX, faults).unwrap_or(deadline);
    map.finish(faults);
    Release { by, deadline }
}

fn decider(node: &Node, faults: &mut Faults) -> Option<String> {
    let Value::Str(text) = &node.value else {
        faults.expected(node, "a role (`approver`, `admin`) or a name");
        return None;
    };
    if let Err(fault) = check_decider(text) {
        faults.error("release-who", &node.place, fault.to_string());
    }
    Some(text.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::yaml::node::parse;

    fn brakes(yaml: &str) -> (Option<BrakeSettings>, Vec<&'static str>) {
        let mut faults = Faults::default();
        let node = parse(&Arc::from("soard.yaml"), yaml).unwrap();
        let mut map = MapReader::new(&node, "a destination", &mut faults).unwrap();
        let brakes = read(&mut map, &mut faults);
        map.finish(&mut faults);
        (brakes, faults.found.iter().map(|fault| fault.code).collect())
    }

    #[test]
    fn brakes_are_read_with_their_defaults() {
        let (found, faults) = brakes("{ limit: { at_most: 20, within: 1h }, guard: true }");
        let BrakeSettings { limit, guarded, release: Release { by, deadline } } = found.unwrap();
        let expected = Limit { at_most: 20, within: Span::from_secs(3600) };
        assert_eq!((limit, guarded.is_some(), faults), (Some(expected), true, vec![]));
        assert_eq!((by, deadline), (vec!["approver".to_owned()], Span::from_secs(4 * 3600)));
        let (found, faults) = brakes("{ guard: true, release: { by: [admin, ann], deadline: 10m } }");
        let Release { by, deadline } = found.unwrap().release;
        assert_eq!((by.join(" "), deadline, faults), ("admin ann".to_owned(), Span::from_secs(600), vec![]));
        assert_eq!(brakes("{ guard: false }"), (None, vec![]));
    }

    #[test]
    fn limits_of_playbooks_are_read_and_their_faults_told() {
        let read = |yaml: &str| {
            let mut faults = Faults::default();
            let all = read_playbooks(&parse(&Arc::from("soard.yaml"), yaml).unwrap(), &mut faults);
            (all, faults.found.iter().map(|fault| fault.code).collect::<Vec<_>>())
        };
        let (all, faults) = read("isolate: { limit: { at_most: 5, within: 1h }, release: { by: ann } }");
        let limit = Limit { at_most: 5, within: Span::from_secs(3600) };
        assert_eq!((all["isolate"].limit, all["isolate"].release.by.join(" ")), (limit, "ann".to_owned()));
        assert_eq!((faults, all["isolate"].place.line), (vec![], 1));
        for (yaml, code) in [
            ("isolate: { release: { by: ann } }", "missing-key"),
            ("isolate: { limit: { at_most: 5, within: 1h }, guard: true }", "unknown-key"),
            ("isolate: 5", "wrong-type"),
        ] {
            assert_eq!(read(yaml).1, [code], "{yaml}");
        }
    }

    #[test]
    fn faults_of_brakes_are_told() {
        for (yaml, code) in [
            ("{ limit: { at_most: 0, within: 1h } }", "out-of-range"),
            ("{ limit: { at_most: 5 } }", "missing-key"),
            ("{ limit: { at_most: 5, within: 1ms } }", "span-out-of-range"),
            ("{ guard: true, release: { by: operator } }", "release-who"),
            ("{ guard: true, release: { by: [] } }", "release-by"),
            ("{ guard: true, release: { deadline: 100d } }", "span-out-of-range"),
            ("{ release: { by: ann } }", "release-nothing"),
        ] {
            assert_eq!(brakes(yaml).1, [code], "{yaml}");
        }
    }
}
