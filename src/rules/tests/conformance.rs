//! The table of cases from Sigma's specification: `tests/fixtures/conformance.txt`.

use serde_json::{Value, json};

use super::{errors, files, show};
use crate::rules::sigma;
use crate::rules::view::View;

const TABLE: &str = include_str!("../../../tests/fixtures/conformance.txt");

/// Generated rules and events with the answers of a public Sigma engine; `benches/matching/oracle.rs` writes it.
const ORACLE: &str = include_str!("../../../tests/fixtures/oracle.jsonl");

/// A Sigma rule of the case: an item, or a flow map of searches with a condition.
fn rule(case: &str) -> String {
    match case.strip_prefix('{') {
        Some(_) => format!("title: T\ndetection: {case}\n"),
        None => format!("title: T\ndetection:\n  s:\n    {case}\n  condition: s\n"),
    }
}

#[test]
fn every_case_of_the_table_comes_out_as_the_specification_has_it() {
    let (mut count, mut wrong) = (0, Vec::new());
    let mut event = String::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '='])) {
        if let Some(text) = line.strip_prefix("event ") {
            event = text.to_owned();
            continue;
        }
        let (verdict, case) = line.split_once(' ').unwrap();
        let expected = verdict.trim_end_matches('~') == "yes";
        let texts = files(&[("rules/detect/case.yaml", &rule(case.trim()))]);
        let (rules, found) = sigma::compile(&texts);
        assert!(errors(&found).is_empty(), "{line}\n{}", show(&found, &texts));
        let tree: Value = serde_json::from_str(&event).unwrap();
        let slow = rules.detection(0).holds(&mut |item| item.holds(&View::of_event(rules.fields(), &tree)));
        let ways = [slow, rules.matches(&event).unwrap() == [0], rules.matches_value(&tree) == [0]];
        if ways != [expected; 3] {
            wrong.push(format!("{line}: {ways:?}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "these came out the other way (slow, text, tree):\n{}", wrong.join("\n"));
    assert!(count >= 560, "{count} cases");
}

#[test]
fn generated_rules_find_what_a_public_engine_finds() {
    let (mut pairs, mut held) = (0, 0);
    for line in ORACLE.lines() {
        let set: Value = serde_json::from_str(line).unwrap();
        let all: Vec<Value> =
            set["rules"].as_array().unwrap().iter().map(|one| json!({"title": "T", "detection": one})).collect();
        let texts = files(&[("rules/detect/a.yaml", &json!({"detect": all}).to_string())]);
        let (rules, found) = sigma::compile(&texts);
        assert!(errors(&found).is_empty(), "{}", show(&found, &texts));
        for one in set["events"].as_array().unwrap() {
            let expected: Vec<u32> = serde_json::from_value(one[1].clone()).unwrap();
            assert_eq!(rules.matches(&one[0].to_string()).unwrap(), expected, "{}", one[0]);
            pairs += all.len();
            held += expected.len();
        }
    }
    assert!(pairs > 8_000 && held > 800, "{held} of {pairs} pairs hold");
}
