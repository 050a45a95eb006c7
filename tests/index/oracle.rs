//! What the index should say, told slowly: a fold of the journal's JSON, and filters that look at every alert.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

/// An alert as the entries say it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub id: String,
    pub order: (u64, u64),
    pub received: Timestamp,
    pub last_seen: Timestamp,
    pub count: u64,
    pub severity: String,
    pub status: String,
    pub fate: String,
    pub title: String,
    pub suppressed_by: Option<String>,
    pub silenced_by: Option<String>,
    pub assignee: Option<String>,
    pub useful: Option<bool>,
    pub useful_reason: Option<String>,
    pub closed_as: Option<String>,
    pub orders: u64,
    pub first_order: Option<Timestamp>,
    pub deliveries: u64,
    pub routes: Vec<String>,
    pub alert: Value,
    pub source_tags: BTreeSet<String>,
    pub other_tags: BTreeSet<String>,
    pub runs: BTreeMap<String, String>,
    pub words: BTreeSet<String>,
    pub first_entry: u64,
    pub last_entry: u64,
    said: Value,
}

/// Every alert of a journal, in order of arrival. The lines are those of its files.
pub fn fold(lines: &[Value]) -> Vec<Known> {
    let mut alerts: BTreeMap<(u64, u64), Known> = BTreeMap::new();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let (d, seq) = (&line["d"], line["seq"].as_u64().unwrap());
        let at: Timestamp = line["ts"].as_str().unwrap().parse().unwrap();
        match line["k"].as_str().unwrap() {
            "intake" => {
                for taken in d["alerts"].as_array().unwrap() {
                    let order = order(taken["id"].as_str().unwrap());
                    let raw = d["record"]["json"].pointer(taken["part"].as_str().unwrap()).unwrap();
                    match alerts.get_mut(&order) {
                        Some(known) => known.see(seq, at, taken, raw),
                        None => drop(alerts.insert(order, Known::new(seq, at, taken, raw))),
                    }
                }
            }
            "due" => {
                if let Some(group) = d.get("group") {
                    let members = ids(&group["alerts"]);
                    for run in group["runs"].as_array().unwrap() {
                        set_run(&mut alerts, &members, run.as_str().unwrap(), "open");
                    }
                    groups.insert(group["group"].as_str().unwrap().into(), members);
                }
            }
            "intent" => {
                let sent = d["steps"].as_array().unwrap().iter().filter(|step| step.get("key").is_some()).count();
                for id in members(d["run"].as_str().unwrap(), &groups) {
                    alerts.get_mut(&order(&id)).unwrap().deliveries += sent as u64;
                }
                steps(&mut alerts, &d["steps"]);
            }
            "run" => {
                let run = d["run"].as_str().unwrap();
                let outcome = d["end"].as_object().unwrap().keys().next().unwrap();
                let members = members(run, &groups);
                set_run(&mut alerts, &members, run, outcome);
            }
            "operator" => {
                let (name, content) = d["order"].as_object().unwrap().iter().next().unwrap();
                let run = content["run"].as_str().unwrap_or_default();
                match name.as_str() {
                    "silence" => {}
                    "alert" => {
                        let known = alerts.get_mut(&order(content["alert"].as_str().unwrap())).unwrap();
                        known.ordered(at);
                        known.change(&content["change"]);
                    }
                    "run_start" => {
                        let id = content["alert"]["id"].as_str().unwrap().to_owned();
                        alerts.get_mut(&order(&id)).unwrap().ordered(at);
                        set_run(&mut alerts, &[id], content["starts"].as_str().unwrap(), "open");
                    }
                    "run_cancel" => set_run(&mut alerts, &members(run, &groups), run, "cancelled"),
                    "run_retry" => set_run(&mut alerts, &members(run, &groups), run, "open"),
                    _ => {
                        let ids = ids(&content["alerts"]);
                        ids.iter().for_each(|id| alerts.get_mut(&order(id)).unwrap().ordered(at));
                        set_run(&mut alerts, &ids, content["starts"].as_str().unwrap(), "open");
                    }
                }
            }
            _ => {}
        }
    }
    alerts.into_values().collect()
}

fn order(id: &str) -> (u64, u64) {
    let (record, index) = id.strip_prefix("a-").unwrap().split_once('.').unwrap();
    (record.parse().unwrap(), index.parse().unwrap())
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

fn members(run: &str, groups: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let trigger = run.split('/').next().unwrap();
    groups.get(trigger).cloned().unwrap_or_else(|| vec![trigger.to_owned()])
}

fn set_run(alerts: &mut BTreeMap<(u64, u64), Known>, members: &[String], run: &str, outcome: &str) {
    for id in members {
        if let Some(known) = alerts.get_mut(&order(id)) {
            known.runs.insert(run.into(), outcome.into());
        }
    }
}

fn steps(alerts: &mut BTreeMap<(u64, u64), Known>, steps: &Value) {
    for step in steps.as_array().unwrap() {
        if let Some(set) = step["effect"].get("set_status") {
            let known = alerts.get_mut(&order(set["alert"].as_str().unwrap())).unwrap();
            known.stand(set["status"].as_str().unwrap());
        }
        if let Some(set) = step["effect"].get("tag") {
            let known = alerts.get_mut(&order(set["alert"].as_str().unwrap())).unwrap();
            let tag = set["tag"].as_str().unwrap().to_owned();
            if !known.source_tags.contains(&tag) {
                known.other_tags.insert(tag);
            }
        }
    }
}

impl Known {
    fn new(seq: u64, at: Timestamp, taken: &Value, raw: &Value) -> Self {
        let id = taken["id"].as_str().unwrap().to_owned();
        let mut known = Self {
            order: order(&id),
            id,
            received: at,
            last_seen: at,
            count: 0,
            severity: String::new(),
            status: String::new(),
            fate: String::new(),
            title: String::new(),
            suppressed_by: None,
            silenced_by: None,
            assignee: None,
            useful: None,
            useful_reason: None,
            closed_as: None,
            orders: 0,
            first_order: None,
            deliveries: 0,
            routes: Vec::new(),
            alert: Value::Null,
            source_tags: BTreeSet::new(),
            other_tags: BTreeSet::new(),
            runs: BTreeMap::new(),
            words: BTreeSet::new(),
            first_entry: seq,
            last_entry: seq,
            said: Value::Null,
        };
        known.see(seq, at, taken, raw);
        known
    }

    fn see(&mut self, seq: u64, at: Timestamp, taken: &Value, raw: &Value) {
        let (alert, reasons) = (&taken["alert"], taken["decision"]["reasons"].as_array().unwrap());
        self.count += 1;
        (self.last_seen, self.last_entry) = (at, seq);
        // Most alerts are active, and those that are do not say so.
        self.stand(taken["decision"]["status"].as_str().unwrap_or("active"));
        self.title = alert["title"].as_str().unwrap().into();
        self.source_tags = texts(&alert["tags"]);
        self.other_tags = self.other_tags.difference(&self.source_tags).cloned().collect();
        self.alert = alert.clone();
        let counted = reasons[0]["stage"] == "duplicate" && reasons[0].get("anew").is_none();
        if !counted {
            self.severity = alert["severity"].as_str().unwrap().into();
            (self.suppressed_by, self.silenced_by) = (None, None);
            self.decide(reasons);
        }
        let mut said = alert.clone();
        said.as_object_mut().unwrap().remove("severity");
        said.as_object_mut().unwrap().remove("received");
        if !counted || said != self.said {
            self.words = words(&format!("{said} {raw}"));
            self.said = said;
        }
    }

    fn decide(&mut self, reasons: &[Value]) {
        let ranks =
            ["suppressed", "silenced", "resolved", "unrouted", "recorded", "muted", "throttled", "grouped", "ran"];
        let (mut best, mut routes) = (None, Vec::new());
        for reason in reasons {
            if reason["stage"] == "route" {
                routes.push(reason["rule"]["id"].as_str().unwrap().to_owned());
            }
            let fate = match reason["stage"].as_str().unwrap() {
                "suppress" => {
                    self.suppressed_by = Some(reason["rule"]["id"].as_str().unwrap().into());
                    "suppressed"
                }
                "silence" => {
                    self.silenced_by = Some(reason["silence"].as_str().unwrap().into());
                    "silenced"
                }
                "resolved" => "resolved",
                "no_route" => "unrouted",
                "route" => match &reason["verdict"] {
                    Value::String(verdict) if verdict == "record" => "recorded",
                    Value::String(_) => "throttled",
                    verdict if verdict.get("muted").is_some() => "muted",
                    verdict if verdict.get("grouped").is_some() => "grouped",
                    verdict => {
                        for run in verdict["run"]["runs"].as_array().unwrap() {
                            self.runs.insert(run.as_str().unwrap().into(), "open".into());
                        }
                        "ran"
                    }
                },
                _ => continue,
            };
            best = best.max(ranks.iter().position(|rank| *rank == fate));
        }
        if let Some(best) = best {
            self.fate = ranks[best].into();
            self.routes = routes;
        }
    }

    fn is_open(&self) -> bool {
        ["active", "in_progress"].contains(&&*self.status)
    }

    fn stand(&mut self, status: &str) {
        self.status = status.into();
        if self.is_open() {
            self.closed_as = None;
        }
    }

    fn ordered(&mut self, at: Timestamp) {
        self.orders += 1;
        self.first_order = self.first_order.or(Some(at));
    }

    fn change(&mut self, change: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(status) = change.get("status") {
            self.closed_as = text(&status["reason"]);
            self.stand(status["to"].as_str().unwrap());
            if self.is_open() {
                self.suppressed_by = None;
            }
        }
        if let Some(tags) = change.get("tags") {
            for tag in texts(&tags["remove"]) {
                self.source_tags.remove(&tag);
                self.other_tags.remove(&tag);
            }
            let added = texts(&tags["add"]);
            self.other_tags.extend(added.difference(&self.source_tags).cloned());
        }
        if let Some(assign) = change.get("assign") {
            self.assignee = text(&assign["to"]);
        }
        if let Some(feedback) = change.get("feedback") {
            self.useful = feedback["useful"].as_bool();
            self.useful_reason = text(&feedback["reason"]);
        }
    }

    pub fn tags(&self) -> BTreeSet<String> {
        self.source_tags.union(&self.other_tags).cloned().collect()
    }

    /// The values of a label's field.
    pub fn values(&self, field: &str) -> Vec<String> {
        let names = |kind: &str, property: &str| {
            let list = self.alert["entities"].get(kind).and_then(Value::as_array);
            list.into_iter().flatten().map(|one| one[property].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let one = |name: &str| self.alert[name].as_str().map(str::to_owned).into_iter().collect();
        match field {
            "host" => names("host", "name"),
            "ip" => names("ip", "address"),
            "entity" => [names("host", "name"), names("ip", "address")].concat(),
            "tag" => self.tags().into_iter().collect(),
            "technique" => texts(&self.alert["techniques"]).into_iter().collect(),
            "tactic" => texts(&self.alert["tactics"]).into_iter().collect(),
            "resource" => texts(&self.alert["resources"]).into_iter().collect(),
            "suppressed_by" => self.suppressed_by.clone().into_iter().collect(),
            "silenced_by" => self.silenced_by.clone().into_iter().collect(),
            "assignee" => self.assignee.clone().into_iter().collect(),
            "route" => self.routes.clone(),
            "feedback" => {
                let word = |useful: bool| if useful { "useful" } else { "not_useful" };
                self.useful.map(|useful| word(useful).to_owned()).into_iter().collect()
            }
            "run" => self.runs.values().cloned().collect(),
            "playbook" => self.runs.keys().map(|run| playbook(run).to_owned()).collect(),
            "is_incident" => vec![self.alert["is_incident"].as_bool().unwrap_or_default().to_string()],
            "fate" => vec![self.fate.clone()],
            name => one(name),
        }
    }
}

fn playbook(run: &str) -> &str {
    run.split('/').nth(1).unwrap().split('~').next().unwrap()
}

fn texts(list: &Value) -> BTreeSet<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Words of a text, as far as tests search for them.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
