//! Generated journals: alerts that come once or again, are held, routed, grouped and changed, with runs that end in every way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use soard::domain::entry::Facts;
use soard::journal::writer::Journal;
use soard::journal::{self, Draft, Settings};

use crate::random::Random;

pub const HOSTS: [&str; 5] = ["web-1", "WEB-1", "web-2", "db-1", "mail'); DROP TABLE alerts; --"];
pub const IPS: [&str; 6] = ["10.1.0.7", "10.1.255.1", "10.2.0.1", "192.0.2.9", "2001:db8::1", "2001:DB8:1::5"];
pub const TITLES: [&str; 5] =
    ["Port scan from a printer", "Login at night", "100% of \"disk\" used_up", "Läufer über Wien", "port SCAN"];
pub const SOURCES: [&str; 3] = ["edr", "cloud", "edr-2"];
pub const KINDS: [&str; 3] = ["PortScan", "Login", "Malware.A"];
pub const TECHNIQUES: [&str; 4] = ["T1110", "T1110.001", "T1059.001", "own name"];
pub const TACTICS: [&str; 2] = ["Credential Access", "Execution"];
pub const TAGS: [&str; 3] = ["vip", "lab", "Über"];
pub const RULES: [&str; 2] = ["scanner", "night"];
pub const SILENCES: [&str; 2] = ["s-1", "s-2"];
pub const ROUTES: [&str; 5] = ["a", "b", "c", "d", "e"];
pub const PLAYBOOKS: [&str; 2] = ["ticket", "notify"];
pub const SEVERITIES: [&str; 4] = ["informational", "low", "medium", "high"];
pub const STATUSES: [&str; 4] = ["active", "in_progress", "resolved", "dismissed"];

/// The beginning of all generated journals.
pub fn begin() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

/// Makes entries, one after the other.
pub struct Story {
    pub random: Random,
    at: Timestamp,
    record: u64,
    group: u64,
    /// Alerts so far, with what they said last.
    alerts: Vec<(String, Value)>,
    /// Open runs and what they were started for.
    open: Vec<(String, Vec<String>)>,
    /// Runs that failed.
    failed: Vec<(String, Vec<String>)>,
    waiting: Vec<String>,
}

pub type Made = (Timestamp, Facts);

fn facts(kind: &str, data: &Value) -> Facts {
    Facts::parse(kind, &data.to_string()).unwrap_or_else(|error| panic!("{error}: {kind} {data}"))
}

fn rule(id: &str) -> Value {
    json!({ "id": id, "place": format!("rules/{id}.yaml:3") })
}

impl Story {
    pub fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        let (alerts, open, failed) = (Vec::new(), Vec::new(), Vec::new());
        Self { random, at: begin(), record: 0, group: 0, alerts, open, failed, waiting: Vec::new() }
    }

    pub fn opened(&self) -> Made {
        (self.at, facts("log", &json!({ "opened": { "journal": "0123456789abcdef", "version": "0.1.0" } })))
    }

    /// The next entry.
    pub fn next(&mut self) -> Made {
        self.at += SignedDuration::from_micros(i64::try_from(self.random.below(90_000_000)).unwrap());
        let made = match self.random.below(20) {
            0 if !self.waiting.is_empty() => self.close_group(),
            1..=3 if !self.open.is_empty() => self.ask(),
            4..=5 if !self.open.is_empty() => self.end(),
            6 if !self.open.is_empty() => self.cancel(),
            7 if !self.failed.is_empty() => self.again(),
            9..=11 if !self.alerts.is_empty() => self.order(),
            12 => self.silence(),
            13 if self.random.chance(30) => {
                let id = format!("{:064x}", self.record);
                facts("bundle", &json!({ "id": id, "counts": { "routes": 2 } }))
            }
            8 => facts(
                "quarantine",
                &json!({ "record_no": self.take_record(), "source": "edr", "position": { "stdin": { "line": 1 } },
                                              "record": { "text": "?" }, "cause": "no format" }),
            ),
            _ => self.intake(),
        };
        (self.at, made)
    }

    fn take_record(&mut self) -> u64 {
        self.record += 1;
        self.record
    }

    fn pick(&mut self, from: &[&str]) -> String {
        from[self.random.below(from.len())].to_owned()
    }

    fn some(&mut self, from: &[&str]) -> Vec<String> {
        (0..self.random.below(3)).map(|_| self.pick(from)).collect()
    }

    fn alert(&mut self) -> Value {
        let hosts: Vec<Value> =
            self.some(&HOSTS).into_iter().map(|name| json!({ "name": name, "os": "linux" })).collect();
        let ips: Vec<Value> = self.some(&IPS).into_iter().map(|ip| json!({ "address": ip })).collect();
        let mut entities = BTreeMap::from([("host", hosts), ("ip", ips)]);
        entities.retain(|_, list| !list.is_empty());
        json!({
            "is_incident": self.random.chance(20),
            "source": self.pick(&SOURCES), "title": self.pick(&TITLES), "kind": self.pick(&KINDS),
            "severity": self.pick(&SEVERITIES), "received": self.at, "external_id": format!("ext-{}", self.record),
            "techniques": self.some(&TECHNIQUES), "tactics": self.some(&TACTICS), "tags": self.some(&TAGS),
            "resources": self.some(&["/sub/1/vm-a", "/sub/1/vm-b"]), "entities": entities,
            "description": format!("needle{} in a stack", self.random.below(40)),
        })
    }

    fn intake(&mut self) -> Facts {
        let record = self.take_record();
        let count = 1 + usize::from(self.random.below(6) == 0);
        let taken: Vec<Value> = (0..count).map(|index| self.taken(record, index)).collect();
        let raw: Vec<Value> = taken.iter().map(|_| json!({ "only_in_raw": format!("straw{}", record % 50) })).collect();
        facts(
            "intake",
            &json!({
                "record_no": record, "source": "edr", "position": { "stdin": { "line": record } },
                "record": { "json": { "items": raw } }, "format": "generic", "bundle": "b", "alerts": taken,
            }),
        )
    }

    fn taken(&mut self, record: u64, index: usize) -> Value {
        let part = format!("/items/{index}");
        if self.alerts.len() > 3 && self.random.below(4) == 0 {
            return self.repeat(&part);
        }
        let id = format!("a-{record}.{index}");
        let alert = self.alert();
        let decision = self.decision(&id, Vec::new());
        self.alerts.push((id.clone(), alert.clone()));
        json!({ "id": id, "part": part, "alert": alert, "identity": "00ff", "decision": decision })
    }

    fn repeat(&mut self, part: &str) -> Value {
        let at = self.random.below(self.alerts.len());
        let (id, mut alert) = self.alerts[at].clone();
        if self.random.below(2) == 0 {
            alert["title"] = json!(self.pick(&TITLES));
        }
        let duplicate = |anew: Value| {
            let mut reason = json!({ "stage": "duplicate", "by": "external_id", "count": 7 });
            if !anew.is_null() {
                reason["anew"] = anew;
            }
            reason
        };
        let decision = match self.random.below(4) {
            0 => {
                alert["severity"] = json!(self.pick(&SEVERITIES));
                let anew = json!({ "severity_rose": { "from": "low", "to": "high" } });
                self.decision(&id, vec![duplicate(anew)])
            }
            1 => json!({ "status": self.pick(&STATUSES), "reasons": [duplicate(json!("changed"))] }),
            _ => json!({ "status": self.pick(&STATUSES), "reasons": [duplicate(Value::Null)] }),
        };
        self.alerts[at].1 = alert.clone();
        json!({ "id": id, "part": part, "alert": alert, "identity": "00ff", "decision": decision })
    }

    fn decision(&mut self, id: &str, mut reasons: Vec<Value>) -> Value {
        let route =
            |rule_id: &str, verdict: Value| json!({ "stage": "route", "rule": rule(rule_id), "verdict": verdict });
        let mut status = "active".to_owned();
        match self.random.below(8) {
            7 => reasons.push(
                json!({ "stage": "silence", "silence": self.pick(&SILENCES), "by": "ann", "until": "2027-01-01T00:00:00Z" }),
            ),
            0 => {
                reasons.push(json!({ "stage": "suppress", "rule": rule(&self.pick(&RULES)) }));
                status = "dismissed".into();
            }
            1 => {
                reasons.push(json!({ "stage": "resolved" }));
                status = "resolved".into();
            }
            2 => reasons.push(json!({ "stage": "no_route" })),
            3 => {
                reasons.push(route("a", json!("throttled")));
                reasons.push(route("b", json!({ "muted": { "time": "night" } })));
            }
            4 if !self.waiting.iter().any(|waiting| waiting == id) => {
                let due = self.at + SignedDuration::from_secs(30);
                let verdict = json!({ "grouped": { "group": format!("g-{}", self.group + 1), "key": null, "due": due, "playbooks": ["notify"] } });
                reasons.push(route("c", verdict));
                self.waiting.push(id.to_owned());
            }
            _ => {
                let run = format!("{id}/{}", self.pick(&PLAYBOOKS));
                let known = self.open.iter().chain(&self.failed).any(|(open, _)| *open == run);
                let runs = if known { Vec::new() } else { vec![run.clone()] };
                reasons.push(route("d", json!({ "run": { "runs": runs } })));
                reasons.push(route("e", json!("record")));
                if !known {
                    self.open.push((run, vec![id.to_owned()]));
                }
            }
        }
        json!({ "status": status, "reasons": reasons })
    }

    /// An operator does something about an alert.
    fn order(&mut self) -> Facts {
        let alert = self.alerts[self.random.below(self.alerts.len())].0.clone();
        let change = match self.random.below(7) {
            0..=1 => {
                let to = self.pick(&STATUSES);
                let mut status = json!({ "to": to });
                if ["resolved", "dismissed"].contains(&&*to) {
                    status["reason"] = json!(self.pick(&["true_positive", "benign", "false_positive", "other"]));
                }
                json!({ "status": status })
            }
            2 => json!("comment"),
            3 => {
                let (add, remove) = (self.pick(&TAGS), self.pick(&["odd", "lab"]));
                json!({ "tags": { "add": [add], "remove": if add == remove { vec![] } else { vec![remove] } } })
            }
            4 => json!({ "assign": { "to": *self.random.pick(&[Some("bo"), Some("ann"), None]) } }),
            5 => {
                let useful = self.random.chance(40);
                let mut feedback = json!({ "useful": useful });
                if self.random.chance(60) {
                    let reasons = if useful { ["led_to_action", "other"] } else { ["false_positive", "expected"] };
                    feedback["reason"] = json!(self.pick(&reasons));
                }
                json!({ "feedback": feedback })
            }
            _ => return self.start(&alert),
        };
        let order = json!({ "alert": { "alert": alert, "was": "active", "change": change } });
        facts("operator", &json!({ "actor": "ann", "comment": "why", "order": order }))
    }

    fn start(&mut self, alert: &str) -> Facts {
        let run = format!("{alert}/by-hand~{}", 2 + self.record);
        self.open.push((run.clone(), vec![alert.to_owned()]));
        let order =
            json!({ "run_start": { "alert": { "id": alert, "seq": 1, "at": 0 }, "starts": run, "bundle": "b" } });
        facts("operator", &json!({ "actor": "ann", "comment": "why", "order": order }))
    }

    fn silence(&mut self) -> Facts {
        let (id, until) = (self.pick(&SILENCES), self.at + SignedDuration::from_hours(1));
        let order = match self.random.below(3) {
            0 => json!({ "add": { "id": id, "match": ["kind=Login"], "until": until } }),
            1 => json!({ "update": { "id": id, "until": until } }),
            _ => json!({ "expire": { "id": id } }),
        };
        facts("operator", &json!({ "actor": "ann", "comment": "why", "order": { "silence": order } }))
    }

    fn close_group(&mut self) -> Facts {
        self.group += 1;
        let members = std::mem::take(&mut self.waiting);
        let alerts: Vec<Value> = members.iter().map(|id| json!({ "id": id, "seq": 1, "at": 0 })).collect();
        let run = format!("g-{}/notify", self.group);
        self.open.push((run.clone(), members));
        let group = json!({ "group": format!("g-{}", self.group), "rule": rule("c"), "alerts": alerts, "runs": [run], "bundle": "b" });
        facts("due", &json!({ "group": group }))
    }

    fn ask(&mut self) -> Facts {
        let (run, alerts) = self.open[self.random.below(self.open.len())].clone();
        let alert = alerts[self.random.below(alerts.len())].clone();
        let step = self.random.below(3);
        let key = format!("{:k<26}", format!("{run}-{step}"));
        if self.random.below(4) == 0 {
            let made = json!({ "key": key, "n": 1, "error": "no route", "next": self.at });
            return match self.random.below(3) {
                0 => facts("due", &json!({ "retry": { "key": key } })),
                _ => facts("attempt", &made),
            };
        }
        if self.random.below(3) == 0 {
            let reply =
                json!({ "class": self.pick(&["ok", "rejected", "dead", "unknown"]), "status": 200, "value": null });
            return facts("result", &json!({ "run": run, "step": step, "key": key, "attempts": 2, "reply": reply }));
        }
        let effect = match self.random.below(3) {
            0 => json!({ "set_status": { "alert": alert, "status": self.pick(&STATUSES), "comment": "why" } }),
            1 => json!({ "tag": { "alert": alert, "tag": self.pick(&TAGS) } }),
            _ => json!({ "webhook": { "destination": "jira" } }),
        };
        let key = if effect.get("webhook").is_some() { json!(key) } else { Value::Null };
        let mut asked = json!({ "n": step, "effect": effect, "args_sha256": "0" });
        if !key.is_null() {
            asked["key"] = key;
        }
        facts("intent", &json!({ "run": run, "steps": [asked] }))
    }

    fn end(&mut self) -> Facts {
        let at = self.random.below(self.open.len());
        let (run, alerts) = self.open.swap_remove(at);
        let end = match self.random.below(3) {
            0 => json!({ "finished": { "value": null } }),
            1 => json!({ "failed": { "error": "no field" } }),
            _ => json!({ "stalled": { "step": 1, "expected": "a", "got": "b" } }),
        };
        if end.get("finished").is_none() {
            self.failed.push((run.clone(), alerts));
        }
        facts("run", &json!({ "run": run, "end": end }))
    }

    fn cancel(&mut self) -> Facts {
        let at = self.random.below(self.open.len());
        let (run, _) = self.open.swap_remove(at);
        facts("operator", &json!({ "actor": "ann", "comment": "enough", "order": { "run_cancel": { "run": run } } }))
    }

    fn again(&mut self) -> Facts {
        let at = self.random.below(self.failed.len());
        let (run, alerts) = self.failed.swap_remove(at);
        let order = if self.random.below(2) == 0 {
            self.open.push((run.clone(), alerts));
            json!({ "run_retry": { "run": run, "again": [0] } })
        } else {
            let starts = format!("{}~{}", run.split('~').next().unwrap(), 2 + self.record);
            self.open.push((starts.clone(), alerts.clone()));
            let alerts: Vec<Value> = alerts.iter().map(|id| json!({ "id": id, "seq": 1, "at": 0 })).collect();
            json!({ "run_restart": { "run": run, "starts": starts, "alerts": alerts, "bundle": "b" } })
        };
        facts("operator", &json!({ "actor": "ann", "comment": "again", "order": order }))
    }
}

/// Opens the journal of a state folder.
pub fn open(state: &Path) -> Journal {
    let settings = Settings { segment_bytes_max: 64 << 10, ..Settings::default() };
    journal::open(&state.join("journal"), settings, &mut |_| Ok(())).unwrap().0
}

/// Appends entries and waits until they are durable.
pub fn append(journal: &Journal, made: impl IntoIterator<Item = Made>) {
    let (done, durable) = mpsc::channel();
    let mut count = 0;
    for (at, facts) in made {
        let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap();
        let done = done.clone();
        let draft = Draft { at, kind: facts.kind(), data: facts.data() };
        journal.append(draft, Box::new(move |receipt| done.send(receipt.is_ok()).unwrap()));
        count += 1;
    }
    (0..count).for_each(|_| assert!(durable.recv().unwrap()));
}
