//! The examples of docs/playbooks.md are compiled and run.

use serde_json::json;

use crate::domain::effect::Effect;
use crate::playbooks::check::HOST_FUNCTIONS;
use crate::playbooks::evaluate::Then;
use crate::playbooks::tests::{alert, bundle, drive, files, ok};

const DOC: &str = include_str!("../../../docs/playbooks.md");

/// The ```rhai blocks; one without functions is the body of `on_alert`.
fn examples() -> Vec<String> {
    let mut blocks = DOC.split("```rhai\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut examples = Vec::new();
    for block in blocks.by_ref() {
        let whole = block.lines().any(|line| line.starts_with("fn on_"));
        examples.push(if whole { block.to_string() } else { format!("fn on_alert(alert) {{\n{block}}}\n") });
    }
    examples
}

#[test]
fn every_example_compiles_and_runs_to_its_end() {
    let mut ran = 0;
    for example in examples() {
        let module = ("playbooks/lib/words.rhai", "fn greet(name) { `Hello ${name}` }\n");
        let playbooks = bundle(&files(&[("playbooks/p.rhai", &example), module]));
        let answer = |effect: &Effect| match effect {
            Effect::Webhook(_) => {
                ok(json!({"status": 200, "headers": {}, "body": {"key": "SOC-17", "owner": "eve", "score": 5}}))
            }
            Effect::Email(_) => ok(json!({"accepted": ["soc@example.com"], "refused": []})),
            Effect::Approve(_) => ok(json!(true)),
            _ => ok(json!(null)),
        };
        let change =
            json!({ "from": "active", "to": "dismissed", "reason": "benign", "comment": "a drill", "by": "ann" });
        for input in [alert(), json!([alert()]), json!({ "alert": alert(), "change": change })] {
            if playbooks.has_entry("p", crate::playbooks::tests::job(&input, &[]).entry) {
                let trace = drive(&playbooks, "p", &input, answer);
                assert!(matches!(trace.then, Then::Finished(_)), "{example}\n{:?}", trace.then);
                ran += 1;
            }
        }
    }
    assert!(ran >= HOST_FUNCTIONS.len(), "only {ran} examples");
}

#[test]
fn every_function_has_an_example() {
    let examples = examples().join("\n");
    for name in HOST_FUNCTIONS {
        assert!(examples.contains(&format!("{name}(")), "{name} has no example");
        assert!(DOC.contains(&format!("### `{name}(")), "{name} has no section");
    }
}
