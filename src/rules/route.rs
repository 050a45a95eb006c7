//! Routes: which playbooks an alert gets, in a tree like Alertmanager's.

use crate::domain::decision::RuleRef;
use crate::domain::time::Span;
use crate::rules::detection::{self, Detection};
use crate::rules::fields::KeyField;
use crate::rules::header::{self, Ids};
use crate::rules::known::Reading;
use crate::rules::matcher::Matches;
use crate::rules::times::{self, NamedTimes, TimeWindow};
use crate::yaml::diagnostic::{Diagnostic, Gravity};
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{MapReader, one_or_many, text};

/// How long a group gathers when the route does not say.
pub const GROUP_WAIT: Span = Span::from_secs(30);

/// Longest wait and longest throttle window.
pub const SPAN_MAX: Span = Span::from_secs(90 * 24 * 3600);

/// Most alerts that a throttle lets through.
pub const AT_MOST_MAX: i64 = 1_000_000;

/// Deepest nesting of routes.
pub const DEPTH_MAX: usize = 8;

/// A checked route, with what it inherits filled in.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its number among all routes, as [`Matches`] counts: in the order of the files, parents first.
    pub number: usize,
    /// Its id and place.
    pub rule: RuleRef,
    /// One line for people; the id when the route gives none.
    pub title: String,
    /// Who answers for it, if the route or a parent says so.
    pub owner: Option<String>,
    /// The playbooks to start, by name; empty means that the alert is on record only.
    pub playbooks: Vec<String>,
    /// The playbooks that hear of it when an operator changes the status of an alert that the route takes.
    pub on_status: Vec<String>,
    /// The fields that make the group's key; empty means that each alert stands for itself.
    pub group_by: Vec<KeyField>,
    /// How long a group gathers alerts.
    pub group_wait: Span,
    /// How many alerts of one key it lets through.
    pub throttle: Option<Throttle>,
    /// It keeps still within these.
    pub mute: Vec<TimeWindow>,
    /// If there are any, it keeps still outside of all of them.
    pub active: Vec<TimeWindow>,
    /// After a match the next sibling is asked too.
    pub goes_on: bool,
    /// Finer routes: where one matches, it takes this one's place.
    pub children: Vec<Route>,
}

/// How many alerts a route lets through.
#[derive(Debug, Clone, PartialEq)]
pub struct Throttle {
    /// The fields that make the key; empty means one key for all.
    pub per: Vec<KeyField>,
    /// So many alerts.
    pub at_most: u64,
    /// In so much time.
    pub within: Span,
}

impl Route {
    /// The name of the time that keeps the route still at this instant, if one does.
    pub fn still(&self, at: jiff::Timestamp) -> Option<String> {
        if let Some(window) = self.mute.iter().find(|window| window.covers(at)) {
            return Some(window.name().to_owned());
        }
        if self.active.is_empty() || self.active.iter().any(|window| window.covers(at)) {
            return None;
        }
        let names: Vec<&str> = self.active.iter().map(TimeWindow::name).collect();
        Some(format!("outside {}", names.join(", ")))
    }
}

/// The routes that take an alert: in order, the deepest that match; after a match only `continue` goes on.
pub fn taken<'a>(routes: &'a [Route], matches: &Matches, out: &mut Vec<&'a Route>) -> bool {
    let (mut any, mut from) = (false, 0);
    // Numbers go up through a file and down through a tree, so nobody asks a thousand routes which two match.
    while let Some(number) = routes.get(from).and_then(|next| matches.next_route(next.number)) {
        let at = routes.partition_point(|route| route.number <= number) - 1;
        let route = &routes[at];
        from = at + 1;
        if route.number != number {
            continue;
        }
        any = true;
        if !taken(&route.children, matches, out) {
            out.push(route);
        }
        if !route.goes_on {
            break;
        }
    }
    any
}

/// All routes of a tree, parents before children.
pub fn walk<'a>(routes: &'a [Route], out: &mut Vec<&'a Route>) {
    for route in routes {
        out.push(route);
        walk(&route.children, out);
    }
}

/// What a route hands down to its children.
#[derive(Debug, Clone)]
struct Inherited {
    owner: Option<String>,
    playbooks: Vec<String>,
    on_status: Vec<String>,
    group_by: Vec<KeyField>,
    group_wait: Span,
    throttle: Option<Throttle>,
    mute: Vec<TimeWindow>,
    active: Vec<TimeWindow>,
}

/// Reads all routes of a bundle, file by file.
#[derive(Debug, Default)]
pub struct Routes {
    /// The top level, in order.
    pub top: Vec<Route>,
    /// Of each route, by number; `None` matches everything.
    pub detections: Vec<Option<Detection>>,
    /// A route at the top matches everything.
    pub has_default: bool,
    /// The catch-all that hides what follows at the top.
    barrier: Option<String>,
    ids: Ids,
}

impl Routes {
    /// Reads the `route:` list of one file; notes every fault.
    pub fn read(&mut self, node: &Node, named: &NamedTimes, reading: &mut Reading) {
        let inherited = Inherited {
            owner: None,
            playbooks: Vec::new(),
            on_status: Vec::new(),
            group_by: Vec::new(),
            group_wait: GROUP_WAIT,
            throttle: None,
            mute: Vec::new(),
            active: Vec::new(),
        };
        let mut barrier = self.barrier.take();
        let mut pass = Pass { routes: self, named, reading };
        let read = pass.siblings(node, &inherited, 0, &mut barrier);
        self.top.extend(read);
        self.barrier = barrier;
    }
}

struct Pass<'r, 'a> {
    routes: &'r mut Routes,
    named: &'r NamedTimes,
    reading: &'r mut Reading<'a>,
}

impl Pass<'_, '_> {
    fn siblings(
        &mut self,
        node: &Node,
        inherited: &Inherited,
        depth: usize,
        barrier: &mut Option<String>,
    ) -> Vec<Route> {
        let Value::List(nodes) = &node.value else {
            self.reading.faults.expected(node, "a list of routes");
            return Vec::new();
        };
        if depth > DEPTH_MAX {
            let message = format!("routes are nested more than {DEPTH_MAX} deep");
            self.reading.faults.error("routes-too-deep", &node.place, message);
            return Vec::new();
        }
        nodes.iter().filter_map(|node| self.route(node, inherited, depth, barrier)).collect()
    }

    fn route(
        &mut self,
        node: &Node,
        inherited: &Inherited,
        depth: usize,
        barrier: &mut Option<String>,
    ) -> Option<Route> {
        let faults_before = self.errors();
        let mut map = MapReader::new(node, "a route: a map with `id` and `playbooks`", &mut self.reading.faults)?;
        let rule = header::id(&mut map, &mut self.routes.ids, self.reading);
        let title = map.text("title", &mut self.reading.faults);
        let number = self.routes.detections.len();
        let match_node = map.get("match");
        let written = self.match_is_written(node);
        let detection = match_node.map(|node| detection::read(node, self.reading));
        let everything = match &detection {
            None => written,
            Some(detection) => detection.as_ref().is_some_and(|detection| detection.constant() == Some(true)),
        };
        self.routes.detections.push(detection.flatten());
        let goes_on = map.flag("continue", &mut self.reading.faults).unwrap_or(false);
        let name = rule.as_ref().map_or("the route before", |rule| rule.id.as_str());
        self.reachable(&map, name, everything && !goes_on, barrier);
        self.routes.has_default |= depth == 0 && (everything || match_node.is_none());
        let own = self.own(&mut map, inherited);
        let children = map.get("routes").map_or_else(Vec::new, |node| self.siblings(node, &own, depth + 1, &mut None));
        map.finish(&mut self.reading.faults);
        if self.errors() > faults_before {
            return None;
        }
        let rule = rule?;
        Some(Route {
            number,
            title: title.unwrap_or_else(|| rule.id.clone()),
            rule,
            owner: own.owner,
            playbooks: own.playbooks,
            on_status: own.on_status,
            group_by: own.group_by,
            group_wait: own.group_wait,
            throttle: own.throttle,
            mute: own.mute,
            active: own.active,
            goes_on,
            children,
        })
    }

    /// `match:` with nothing behind it would quietly take every alert.
    fn match_is_written(&mut self, route: &Node) -> bool {
        let Value::Map(entries) = &route.value else { return true };
        let mut unwritten = entries.iter().filter(|(key, node)| key.text == "match" && node.value == Value::Null);
        let Some((key, _)) = unwritten.next() else { return true };
        let fault = Diagnostic::error("match-without-value", key.place.clone(), "`match` has no value");
        self.reading.faults.push(fault.help("leave it out to take every alert on purpose"));
        false
    }

    fn errors(&self) -> usize {
        let errors = self.reading.faults.found.iter();
        errors.filter(|fault| fault.gravity == Gravity::Error).count()
    }

    /// Warns about a route that an earlier catch-all hides; notes whether this one hides the next.
    fn reachable(&mut self, map: &MapReader, name: &str, hides: bool, barrier: &mut Option<String>) {
        if let Some(earlier) = barrier {
            let message = format!("this route is never asked: `{earlier}` before it takes every alert");
            let fault = Diagnostic::warning("unreachable-route", map.place().clone(), message);
            self.reading
                .faults
                .push(fault.help(format!("move it before `{earlier}`, or give that one `continue: true`")));
        } else if hides {
            *barrier = Some(name.to_owned());
        }
    }

    /// What the route says itself, and for the rest what it inherits.
    fn own(&mut self, map: &mut MapReader, inherited: &Inherited) -> Inherited {
        let mut own = inherited.clone();
        if let Some(owner) = map.text("owner", &mut self.reading.faults) {
            own.owner = Some(owner);
        }
        if let Some(nodes) = map.list("group_by") {
            own.group_by = self.keys(nodes);
        }
        let wait = map.get("group_wait");
        if let Some(wait) = wait.and_then(|node| self.span(node)) {
            own.group_wait = wait;
        }
        if let Some(node) = wait.filter(|_| own.group_by.is_empty() && map.get("group_by").is_none()) {
            let fault = Diagnostic::warning("group-wait-alone", node.place.clone(), "`group_wait` does nothing here");
            self.reading.faults.push(fault.help("it belongs to `group_by`"));
        }
        if let Some(node) = map.get("throttle") {
            own.throttle = self.throttle(node);
        }
        for (key, times) in [("mute", &mut own.mute), ("active", &mut own.active)] {
            if let Some(node) = map.get(key) {
                *times = times::read_used(node, self.named, self.reading).unwrap_or_default();
            }
        }
        let playbooks = map.get("playbooks");
        if let Some(node) = playbooks {
            own.playbooks = self.playbooks(node);
        }
        self.check_entries(map, playbooks, &own);
        if let Some(node) = map.get("on_status") {
            own.on_status = self.playbooks(node);
            self.check_hearing(node);
        }
        own
    }

    /// Who hears of changes of status needs the function for it.
    fn check_hearing(&mut self, node: &Node) {
        for node in one_or_many(node) {
            let Value::Str(name) = &node.value else { continue };
            if self.reading.known.playbooks.get(name).is_some_and(|entries| !entries.on_status) {
                let message = format!("playbook `{name}` has no `on_status(alert, change)`");
                let fault = Diagnostic::error("playbook-without-on-status", node.place.clone(), message);
                let help = format!("add `fn on_status(alert, change)` to playbooks/{name}.rhai");
                self.reading.faults.push(fault.help(help));
            }
        }
    }

    fn keys(&mut self, nodes: &[Node]) -> Vec<KeyField> {
        let mut out: Vec<KeyField> = Vec::new();
        for node in nodes {
            let Some(path) = text(node, &mut self.reading.faults) else { continue };
            let Some(field) = self.reading.field(path, &node.place) else { continue };
            if out.iter().any(|key| key.as_str() == path) {
                self.reading.faults.error("key-twice", &node.place, format!("`{path}` is in the key already"));
            }
            out.push(KeyField(field));
        }
        out
    }

    fn span(&mut self, node: &Node) -> Option<Span> {
        let span: Span =
            crate::yaml::reader::parsed(node, "a length of time such as 30s, 5m or 1h30m", &mut self.reading.faults)?;
        if span < Span::from_secs(1) || span > SPAN_MAX {
            let message = format!("expected 1s to {SPAN_MAX}, found {span}");
            self.reading.faults.error("route-span-out-of-range", &node.place, message);
            return None;
        }
        Some(span)
    }

    fn throttle(&mut self, node: &Node) -> Option<Throttle> {
        if node.value == Value::Str("none".into()) {
            return None;
        }
        let what = "`none`, or a throttle such as `{per: [kind], at_most: 4, within: 1d}`";
        let mut map = MapReader::new(node, what, &mut self.reading.faults)?;
        let per = map.list("per").map_or_else(Vec::new, |nodes| self.keys(nodes));
        map.need("at_most", &mut self.reading.faults);
        let at_most = map.whole("at_most", 1..=AT_MOST_MAX, &mut self.reading.faults);
        let within = map.need("within", &mut self.reading.faults).and_then(|node| self.span(node));
        map.finish(&mut self.reading.faults);
        Some(Throttle { per, at_most: at_most?.unsigned_abs(), within: within? })
    }

    fn playbooks(&mut self, node: &Node) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for node in one_or_many(node) {
            let Some(name) = text(node, &mut self.reading.faults) else { continue };
            if out.iter().any(|other| other == name) {
                let message = format!("`{name}` is listed twice; it would start once");
                self.reading.faults.push(Diagnostic::warning("playbook-twice", node.place.clone(), message));
                continue;
            }
            if !self.reading.known.playbooks.contains_key(name) {
                self.unknown_playbook(node, name);
            }
            out.push(name.to_owned());
        }
        out
    }

    fn unknown_playbook(&mut self, node: &Node, name: &str) {
        let fault = Diagnostic::error("unknown-playbook", node.place.clone(), format!("there is no playbook `{name}`"));
        let known: Vec<&str> = self.reading.known.playbooks.keys().map(String::as_str).collect();
        self.reading.faults.push(match name.strip_suffix(".rhai") {
            Some(stem) if known.contains(&stem) => fault.help(format!("write `{stem}`, without `.rhai`")),
            _ if known.is_empty() => fault.help(format!("it would be the file playbooks/{name}.rhai")),
            _ => fault.suggest(name, known),
        });
    }

    /// A route that groups starts playbooks for groups, any other for alerts. What is wrong with a parent is not said
    /// again of the children.
    fn check_entries(&mut self, map: &mut MapReader, playbooks: Option<&Node>, own: &Inherited) {
        if playbooks.is_none() && map.get("group_by").is_none() {
            return;
        }
        let grouped = !own.group_by.is_empty();
        for name in &own.playbooks {
            let Some(entries) = self.reading.known.playbooks.get(name) else { continue };
            let (there, entry) =
                if grouped { (entries.on_group, "on_group(alerts)") } else { (entries.on_alert, "on_alert(alert)") };
            if there {
                continue;
            }
            let named = playbooks.map(one_or_many).unwrap_or_default();
            let node = named.iter().find(|node| node.value == Value::Str(name.clone()));
            let place = node.map_or(map.place(), |node| &node.place);
            let why = if grouped { "the route groups" } else { "the route does not group" };
            let message = format!("{why}, and playbook `{name}` has no `{entry}`");
            let fault = Diagnostic::error("playbook-without-entry", place.clone(), message);
            let other = if grouped { "set `group_by: []` here" } else { "give the route `group_by`" };
            self.reading.faults.push(fault.help(format!("add `fn {entry}` to playbooks/{name}.rhai, or {other}")));
        }
    }
}
