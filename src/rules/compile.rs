//! Texts of rule files in; checked rules and diagnostics out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::alert::Alert;
use crate::domain::lists::Lists;
use crate::rules::advise::{self, Advisor};
use crate::rules::detection::Detection;
use crate::rules::explain::{self, RuleExplanation};
use crate::rules::fields::{Fields, Subject};
use crate::rules::guard::Guard;
use crate::rules::header::Ids;
use crate::rules::known::{Known, Reading};
use crate::rules::lists;
use crate::rules::matcher::{Matcher, Matches};
use crate::rules::owners::Owners;
use crate::rules::route::{self, Route, Routes};
use crate::rules::suppress::{self, Suppression};
use crate::rules::times::{self, NamedTimes};
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Node, Value, parse};
use crate::yaml::reader::{Faults, MapReader};

/// Everything a decision needs from the bundle, checked; only [`compile`] builds it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The suppressions, in the order of the files.
    pub suppress: Vec<Suppression>,
    /// The top level of the route tree, in order.
    pub routes: Vec<Route>,
    /// The lists, by name.
    pub lists: Lists,
    /// What to do about alerts, for people.
    pub advice: Advisor,
    /// Who owns what alerts are about.
    pub owners: Owners,
    /// What is never to be touched.
    pub guard: Guard,
    pub(super) matcher: Matcher,
}

impl Rules {
    /// Which rules match an alert: stateless and without time, on any thread.
    pub fn matches(&self, alert: &Alert) -> Matches {
        self.matcher.matches(alert)
    }

    /// The first suppression that dismisses an alert of this source now.
    pub fn suppression(&self, matches: &Matches, at: Timestamp, source: &str) -> Option<&Suppression> {
        let mut matching = matches.suppressions().filter_map(|number| self.suppress.get(number));
        matching.find(|suppression| suppression.holds(matches, at, source))
    }

    /// The routes that take an alert: in order, the deepest that match.
    pub fn route<'a>(&'a self, matches: &Matches) -> Vec<&'a Route> {
        let mut out = Vec::new();
        route::taken(&self.routes, matches, &mut out);
        out
    }

    /// All routes, by number: in the order of the files, parents before children.
    pub fn all_routes(&self) -> Vec<&Route> {
        let mut out = Vec::new();
        route::walk(&self.routes, &mut out);
        out
    }

    /// How many routes there are, children included.
    pub fn route_count(&self) -> usize {
        self.all_routes().len()
    }

    /// Whether some route wants to hear of changes of status.
    pub fn hears_status(&self) -> bool {
        self.all_routes().iter().any(|route| !route.on_status.is_empty())
    }

    /// The playbooks that some route names, inherited ones included.
    pub fn routed_playbooks(&self) -> BTreeSet<&str> {
        let all = self.all_routes().into_iter().flat_map(|route| route.playbooks.iter().chain(&route.on_status));
        all.map(String::as_str).collect()
    }

    /// What each rule says of an alert and why: suppressions first, then routes, parents before children, then advice.
    pub fn explain(&self, alert: &Alert) -> Vec<RuleExplanation> {
        let mut all = explain::rules(&self.suppress, &self.routes, &self.matcher, alert);
        all.extend(explain::advice(&self.advice, alert));
        all
    }

    /// Warnings about suppressions that no longer hold at this time.
    pub fn expired(&self, at: Timestamp) -> Vec<Diagnostic> {
        self.suppress.iter().filter_map(|suppression| suppression.expired(at)).collect()
    }
}

/// Reads `rules/suppress/*.yaml`, `rules/route/*.yaml`, `rules/advise/*.yaml` and `lists/*` among the files and ignores all others.
///
/// The bundle must be refused when a diagnostic is an error; the rules then lack the faulty ones.
pub fn compile(files: &BTreeMap<String, String>, known: &Known) -> (Rules, Vec<Diagnostic>) {
    let mut list_faults = Faults::default();
    let lists = lists::read(files, &mut list_faults);
    let mut reading = Reading::new(files, known, &lists, Subject::Alert);
    reading.faults = list_faults;
    let (suppress, suppressions) = read_suppressions(files, &mut reading);
    let routes = read_routes(files, &mut reading);
    let fields = std::mem::take(&mut reading.fields);
    let advice = read_advice(files, &mut reading);
    let Reading { faults, .. } = reading;
    let matcher = Matcher::new(fields, suppressions, routes.detections);
    let (owners, guard) = (Owners::of_lists(&lists), Guard::of_lists(&lists));
    let rules = Rules { suppress, routes: routes.top, lists, advice, owners, guard, matcher };
    let mut found = faults.found;
    found.sort_by(|a, b| a.place.cmp(&b.place));
    (rules, found)
}

/// The suppressions among a bundle's files, and nothing else of it; faulty ones are left out.
pub fn suppressions(files: &BTreeMap<String, String>) -> Vec<Suppression> {
    let (known, mut faults) = (Known::default(), Faults::default());
    let lists = lists::read(files, &mut faults);
    read_suppressions(files, &mut Reading::new(files, &known, &lists, Subject::Alert)).0
}

fn read_suppressions(files: &BTreeMap<String, String>, reading: &mut Reading) -> (Vec<Suppression>, Vec<Detection>) {
    let (mut suppress, mut detections) = (Vec::new(), Vec::new());
    let mut ids = Ids::new();
    for (path, node) in documents(files, "rules/suppress/", reading) {
        for node in listed(&path, &node, "suppress", "a list of suppressions", reading) {
            if let Some((suppression, detection)) = suppress::read(node, suppress.len(), &mut ids, reading) {
                suppress.push(suppression);
                detections.push(detection);
            }
        }
    }
    (suppress, detections)
}

/// The parsed files of a folder, by name; empty files are left out.
pub(super) fn documents(files: &BTreeMap<String, String>, folder: &str, reading: &mut Reading) -> Vec<(String, Node)> {
    let mut out = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.starts_with(folder)) {
        let file: Arc<str> = Arc::from(path.as_str());
        if !path.ends_with(".yaml") {
            let fault = Diagnostic::warning("file-ignored", Place::start(&file), "this file is not read");
            reading.faults.push(fault.help("rule files end in `.yaml`"));
            continue;
        }
        match parse(&file, text) {
            Ok(node) if node.value == Value::Null => {}
            Ok(node) => out.push((path.clone(), node)),
            Err(fault) => reading.faults.push(*fault),
        }
    }
    out
}

/// Keys at the top of rule files, with the folder of each.
const TOP_KEYS: [(&str, &str); 5] = [
    ("suppress", "rules/suppress/"),
    ("route", "rules/route/"),
    ("times", "rules/route/"),
    ("default_route", "rules/route/"),
    ("advise", "rules/advise/"),
];

/// The rules of a file whose only key is that of their list.
fn listed<'a>(path: &str, node: &'a Node, key: &'static str, what: &'static str, reading: &mut Reading) -> &'a [Node] {
    let Some(mut map) = MapReader::new(node, &format!("a map with `{key}:`"), &mut reading.faults) else { return &[] };
    let list = map.get(key);
    misplaced(path, node, &mut map, reading);
    map.finish(&mut reading.faults);
    match list.map(|node| (node, &node.value)) {
        Some((_, Value::List(nodes))) => nodes,
        Some((node, _)) => {
            reading.faults.expected(node, what);
            &[]
        }
        None => &[],
    }
}

/// Notes keys that belong into files of another folder.
fn misplaced(path: &str, node: &Node, map: &mut MapReader, reading: &mut Reading) {
    let Value::Map(entries) = &node.value else { return };
    for (key, _) in entries {
        let elsewhere = |(known, folder): &&(&str, &str)| *known == key.text && !path.starts_with(folder);
        if let Some((known, folder)) = TOP_KEYS.iter().find(elsewhere) {
            map.get(known);
            let message = format!("`{known}` does not belong into {path}");
            let fault = Diagnostic::error("misplaced-key", key.place.clone(), message);
            reading.faults.push(fault.help(format!("move it to a file under {folder}")));
        }
    }
}

/// Advice has a matcher of its own: alerts are decided without it.
fn read_advice(files: &BTreeMap<String, String>, reading: &mut Reading) -> Advisor {
    let (mut all, mut detections, mut ids) = (Vec::new(), Vec::new(), Ids::new());
    for (path, node) in documents(files, "rules/advise/", reading) {
        for node in listed(&path, &node, "advise", "a list of advice", reading) {
            if let Some((advice, detection)) = advise::read(node, &mut ids, reading) {
                all.push(advice);
                detections.push(detection);
            }
        }
    }
    let fields: Fields = std::mem::take(&mut reading.fields);
    Advisor { all, matcher: Matcher::new(fields, detections, Vec::new()) }
}

fn read_routes(files: &BTreeMap<String, String>, reading: &mut Reading) -> Routes {
    let documents = documents(files, "rules/route/", reading);
    let mut named = NamedTimes::new();
    let mut lists = Vec::new();
    let mut refused = None;
    for (path, node) in &documents {
        let Some(mut map) = MapReader::new(node, "a map with `route:`", &mut reading.faults) else { continue };
        if let Some(node) = map.get("times") {
            times::read_named(node, &mut named, reading);
        }
        if let Some(node) = map.get("default_route") {
            refused = Some(&node.place);
            if node.value != Value::Str("none".into()) {
                reading.faults.expected(node, "`none`: alerts that no route matches are on record only");
            }
        }
        lists.extend(map.get("route"));
        misplaced(path, node, &mut map, reading);
        map.finish(&mut reading.faults);
    }
    let mut routes = Routes::default();
    for node in lists {
        routes.read(node, &named, reading);
    }
    check_default(&routes, refused, documents.last().map(|(path, _)| path.as_str()), reading);
    routes
}

/// What becomes of alerts that no route matches must be said: by a last route without `match`, or by refusing one.
fn check_default(routes: &Routes, refused: Option<&Place>, last_file: Option<&str>, reading: &mut Reading) {
    match (routes.has_default, refused) {
        (true, Some(place)) => {
            let message = "`default_route: none` does nothing: a route without `match` takes every alert";
            reading.faults.push(Diagnostic::warning("default-route-unused", place.clone(), message));
        }
        (false, None) => {
            let file: Arc<str> = Arc::from(last_file.unwrap_or("rules/route/default.yaml"));
            let message = "nothing says what happens to alerts that no route matches";
            let fault = Diagnostic::error("no-default-route", Place::start(&file), message);
            reading.faults.push(
                fault.help("add a last route without `match`, or `default_route: none` to keep them on record only"),
            );
        }
        _ => {}
    }
}
