//! A public Sigma engine as oracle: the table of cases, and thousands of generated rules and events, every match compared.
//!
//! Run: `cargo bench --manifest-path benches/matching/Cargo.toml --bench oracle`; with `-- write` the answers to the
//! first sets become `tests/fixtures/oracle.jsonl`, which soard's own tests read, since they do not build the oracle.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use rsigma_eval::{Engine, JsonEvent};
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Value, json};
use soard::rules::sigma;

#[path = "../../src/rules/tests/generate.rs"]
#[allow(dead_code, missing_docs, reason = "shared with soard's tests, which use all of it")]
mod generate;

use generate::{Dialect, Dice, EVENT_FIELDS, detection, event};

const TABLE: &str = include_str!("../../tests/fixtures/conformance.txt");
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/oracle.jsonl");

const SETS: u64 = 100;
const RULES: usize = 50;
const EVENTS: usize = 50;

/// Sets whose answers are kept as a fixture.
const SETS_KEPT: u64 = 4;

/// The oracle's answer: the numbers of the rules that match; `None` when it refuses a rule.
fn oracle(rules: &[Value]) -> Option<Engine> {
    let text = |(number, detection): (usize, &Value)| {
        json!({"title": "T", "id": number.to_string(), "logsource": {"category": "c"}, "detection": detection})
            .to_string()
    };
    let all: Vec<String> = rules.iter().enumerate().map(text).collect();
    let collection = parse_sigma_yaml(&all.join("\n---\n")).ok()?;
    let mut engine = Engine::new();
    engine.add_collection(&collection).ok()?;
    (collection.rules.len() == rules.len()).then_some(engine)
}

fn answer(engine: &Engine, event: &Value) -> Vec<u32> {
    let results = engine.evaluate(&JsonEvent::borrow(event));
    let number = |id: &Option<String>| id.as_deref().and_then(|id| id.parse().ok()).expect("our id");
    let mut out: Vec<u32> = results.iter().map(|result| number(&result.header.rule_id)).collect();
    out.sort_unstable();
    out
}

fn ours(rules: &[Value]) -> sigma::SigmaRules {
    let all: Vec<Value> = rules.iter().map(|detection| json!({"title": "T", "detection": detection})).collect();
    let files = BTreeMap::from([("rules/detect/a.yaml".to_owned(), json!({"detect": all}).to_string())]);
    let (rules, found) = sigma::compile(&files);
    assert!(found.iter().all(|fault| fault.code == "unused-search" || fault.code == "never-matches"), "{found:?}");
    rules
}

/// The cases on which the oracle says something else than the table; those with `~` are known.
fn table() -> (usize, Vec<String>, Vec<String>) {
    let (mut count, mut unknown, mut known) = (0, Vec::new(), Vec::new());
    let mut event = Value::Null;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '='])) {
        if let Some(text) = line.strip_prefix("event ") {
            event = serde_json::from_str(text).expect("JSON");
            continue;
        }
        let (verdict, case) = line.split_once(' ').expect("a verdict and a case");
        let detection = match case.trim().strip_prefix('{') {
            Some(_) => format!("detection: {}\n", case.trim()),
            None => format!("detection:\n  s:\n    {}\n  condition: s\n", case.trim()),
        };
        let text = format!("title: T\nid: '0'\nlogsource: {{category: c}}\n{detection}");
        let mut engine = Engine::new();
        let said = match parse_sigma_yaml(&text) {
            Ok(collection) if collection.rules.len() == 1 && engine.add_collection(&collection).is_ok() => {
                if answer(&engine, &event).is_empty() { "no" } else { "yes" }
            }
            _ => "refused",
        };
        count += 1;
        if said != verdict.trim_end_matches('~') {
            let list = if verdict.ends_with('~') { &mut known } else { &mut unknown };
            list.push(format!("{line}: the oracle says {said}"));
        }
    }
    (count, unknown, known)
}

fn main() -> ExitCode {
    let write = std::env::args().any(|argument| argument == "write");
    let (count, unknown, known) = table();
    println!("table: {count} cases, {} known deviations, {} others", known.len(), unknown.len());
    unknown.iter().for_each(|line| println!("  {line}"));
    let (mut pairs, mut held, mut refused, mut wrong) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut fixture = String::new();
    for seed in 0..SETS {
        let mut dice = Dice(5_000 + seed);
        let mut rules: Vec<Value> = (0..RULES).map(|_| detection(&mut dice, &EVENT_FIELDS, Dialect::Common)).collect();
        let before = rules.len();
        rules.retain(|rule| oracle(std::slice::from_ref(rule)).is_some());
        refused += before - rules.len();
        let (theirs, ours) = (oracle(&rules).expect("each alone was taken"), ours(&rules));
        let mut answers = Vec::new();
        for _ in 0..EVENTS {
            let event = event(&mut dice, Dialect::Common);
            let expected = answer(&theirs, &event);
            let found = ours.matches(&event.to_string()).expect("JSON");
            for number in 0..rules.len() as u32 {
                if found.contains(&number) != expected.contains(&number) {
                    wrong += 1;
                    if wrong <= 20 {
                        println!(
                            "  {}\n  {event}\n  the oracle: {}",
                            rules[number as usize],
                            expected.contains(&number)
                        );
                    }
                }
            }
            pairs += rules.len();
            held += expected.len();
            answers.push(json!([event, expected]));
        }
        if seed < SETS_KEPT {
            let _ = writeln!(fixture, "{}", json!({"rules": rules, "events": answers}));
        }
    }
    println!(
        "generated: {pairs} pairs of rule and event, {held} match, {refused} rules refused by the oracle, {wrong} pairs differ"
    );
    if write && wrong == 0 {
        std::fs::write(FIXTURE, fixture).expect("the fixture can be written");
    }
    if wrong == 0 && unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
