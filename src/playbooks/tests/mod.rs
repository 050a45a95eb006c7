//! Tests of playbooks as a user meets them: scripts in, diagnostics and effects out.

mod docs;
mod functions;
mod hostile;
mod replay;
mod shipped;
mod traps;
mod wrong;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::lists::Lists;
use crate::playbooks::compile::compile;
use crate::playbooks::evaluate::{Entry, Evaluated, Job, NewStep, PastStep, Playbooks, Then};

const AT: &str = "2026-11-03T02:59:00Z";

fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_string(), (*text).to_string())).collect()
}

fn lists() -> Arc<Lists> {
    let entries = |items: Value| items.as_object().unwrap().clone().into_iter().collect();
    Arc::new(Lists(BTreeMap::from([
        ("never_touch".to_string(), entries(json!({"dc1": "domain controller", "db7": true}))),
        ("known_scanners".to_string(), entries(json!({"10.20.0.9": "weekly audit"}))),
    ])))
}

/// A bundle of one playbook `p` that must compile without a word.
fn playbook(text: &str) -> Playbooks {
    bundle(&files(&[("playbooks/p.rhai", text)]))
}

fn bundle(files: &BTreeMap<String, String>) -> Playbooks {
    let (playbooks, faults) = compile(files, lists());
    let shown: Vec<String> = faults.iter().map(|fault| fault.render(files, false)).collect();
    assert!(faults.is_empty(), "{}", shown.join("\n"));
    playbooks.unwrap()
}

fn alert() -> Value {
    json!({
        "id": "a-7.0", "source": "defender", "title": "Ransomware behaviour", "severity": "high", "status": "active",
        "description": "Files were encrypted.", "kind": "Ransom.Generic", "product": "Defender for Cloud",
        "received": "2026-11-03T02:58:59Z", "techniques": ["T1486"],
        "entities": {"host": [{"name": "web3"}], "account": [{"name": "eve"}], "ip": [{"address": "203.0.113.9"}]},
        "links": [{"label": "portal", "url": "https://portal.example.com/a/7"}],
    })
}

fn ok(value: Value) -> Reply {
    Reply { class: Class::Ok, status: None, value, error: None }
}

fn failed(class: Class, status: u16) -> Reply {
    let value = json!({"status": status, "headers": {}, "body": {"why": "no"}});
    Reply { class, status: Some(status), value, error: Some(format!("HTTP {status}")) }
}

fn job<'a>(input: &'a Value, past: &'a [PastStep]) -> Job<'a> {
    let entry = match input {
        Value::Array(_) => Entry::Group,
        _ if input.get("change").is_some() => Entry::Status,
        _ => Entry::Alert,
    };
    Job { playbook: "p", entry, input, at: AT.parse::<Timestamp>().unwrap(), seed: [7; 32], past }
}

fn evaluate(playbooks: &Playbooks, past: &[PastStep]) -> Evaluated {
    playbooks.evaluate_on_stack(&job(&alert(), past))
}

/// Runs `p` for the sample alert to its end; every request is answered with `{}`.
fn run(text: &str) -> Trace {
    run_with(text, |_| ok(json!({})))
}

fn run_with(text: &str, answer: impl FnMut(&Effect) -> Reply) -> Trace {
    drive(&playbook(text), "p", &alert(), answer)
}

/// A run from its first step to its end.
#[derive(Debug)]
struct Trace {
    steps: Vec<NewStep>,
    past: Vec<PastStep>,
    then: Then,
}

impl Trace {
    fn value(&self) -> Value {
        match &self.then {
            Then::Finished(value) => value.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn error(&self) -> (&str, &str) {
        match &self.then {
            Then::Failed { error, place } => (error, place.as_deref().unwrap_or("")),
            other => panic!("{other:?}"),
        }
    }

    /// One line for each step, and the end.
    fn show(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            writeln!(text, "{}", serde_json::to_string_pretty(&step.effect).unwrap()).unwrap();
        }
        writeln!(text, "{:?}", self.then).unwrap();
        text
    }
}

/// What a daemon does: evaluates, records the new steps, answers one open step, and evaluates again.
fn drive(playbooks: &Playbooks, name: &str, input: &Value, mut answer: impl FnMut(&Effect) -> Reply) -> Trace {
    let (mut steps, mut past): (Vec<NewStep>, Vec<PastStep>) = (Vec::new(), Vec::new());
    loop {
        let asked = Job { playbook: name, ..job(input, &[]) };
        let evaluated = playbooks.evaluate_on_stack(&Job { past: &past, ..asked });
        for step in evaluated.steps {
            past.push(PastStep {
                kind: step.effect.kind().into(),
                args_sha256: step.args_sha256.clone(),
                outcome: step.value.clone().map(ok),
            });
            steps.push(step);
        }
        if evaluated.then != Then::Waits {
            return Trace { steps, past, then: evaluated.then };
        }
        let open = past.iter().position(|step| step.outcome.is_none()).expect("it waits for something");
        let reply = answer(&steps[open].effect);
        past[open].outcome = Some(reply.clone());
        if evaluated.is_last && reply.class == Class::Ok {
            let whole = playbooks.evaluate_on_stack(&Job { past: &past, ..asked });
            assert_eq!(whole, Evaluated::after_last(&reply.value), "{name}: what was said to be the last step");
        }
    }
}
