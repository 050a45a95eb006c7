//! The compiled matcher against the slow and obvious evaluation of the same rules, over generated rules, alerts and events.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::generate::{Dialect, Dice, EVENT_FIELDS, detection, event, text};
use super::{NO_DEFAULT, errors, files, known, show};
use crate::domain::alert::Alert;
use crate::rules::compile::compile;
use crate::rules::sigma;
use crate::rules::view::View;

/// Rules of one set, alerts or events that go through it, and sets.
const RULES: usize = 40;
const DOCUMENTS: usize = 40;
const SETS: u64 = 40;

const ALERT_FIELDS: [&str; 17] = [
    "kind",
    "vendor",
    "description",
    "tags",
    "techniques",
    "host",
    "account",
    "confidence",
    "entities.host.name",
    "entities.ip.address",
    "entities.process.command_line",
    "extended.b.c",
    "raw.a",
    "raw.b.c",
    "raw.b.d.e",
    "raw.n",
    "raw.b",
];

/// Numbers of the rules that hold, told the slow way.
fn slowly<'r>(detections: impl Iterator<Item = &'r crate::rules::detection::Detection>, view: &View) -> Vec<u32> {
    (0..).zip(detections).filter(|(_, one)| one.holds(&mut |item| item.holds(view))).map(|(number, _)| number).collect()
}

fn alert(dice: &mut Dice) -> Alert {
    let mut texts = |count: usize| -> Vec<String> { (0..count).map(|_| text(dice, Dialect::Whole)).collect() };
    let [kind, title, description, host, account, line, confidence] = <[String; 7]>::try_from(texts(7)).unwrap();
    let mut alert: Alert = serde_json::from_value(json!({
        "source": "defender", "kind": kind, "title": title, "vendor": title, "description": description, "severity": "medium",
        "confidence": confidence, "tags": texts(2), "techniques": [], "start": "2026-03-01T22:10:00Z",
        "received": "2026-03-01T22:12:00Z",
        "entities": {
            "host": [{"name": host}, {"name": "WEB-01"}], "account": [{"name": account}],
            "ip": [{"address": "10.1.2.3"}], "process": [{"command_line": line}],
        },
    }))
    .unwrap();
    if dice.one_in(3) {
        alert.kind = None;
        alert.entities.remove("ip");
    }
    alert.severity = *dice.pick(&crate::domain::alert::Severity::ALL);
    alert.raw = Arc::new(event(dice, Dialect::Whole));
    if let Value::Object(map) = event(dice, Dialect::Whole) {
        alert.extended = map;
    }
    alert
}

#[test]
fn the_compiled_matcher_finds_what_the_slow_evaluation_finds_in_alerts() {
    let (mut pairs, mut held) = (0, 0);
    for seed in 0..SETS {
        let mut dice = Dice(seed);
        let mut texts = BTreeMap::from([(NO_DEFAULT.0.to_owned(), NO_DEFAULT.1.to_owned())]);
        let rules: Vec<Value> = (0..RULES)
            .map(|number| {
                let mut matching = detection(&mut dice, &ALERT_FIELDS, Dialect::Whole);
                if dice.one_in(6) {
                    matching["sel_a"] = json!({"severity|gte": dice.pick(&["low", "medium", "high"])});
                }
                json!({"id": format!("r{number}"), "title": "R", "owner": "o", "reason": "expected", "expires": "2099-01-01", "match": matching})
            })
            .collect();
        texts.insert("rules/suppress/a.yaml".into(), json!({"suppress": rules}).to_string());
        let (compiled, found) = compile(&texts, &known());
        assert!(errors(&found).is_empty(), "{}", show(&found, &texts));
        for _ in 0..DOCUMENTS {
            let alert = alert(&mut dice);
            let view = View::of_alert(compiled.matcher.fields(), &alert);
            let expected = slowly((0..RULES).map(|number| compiled.matcher.suppression(number)), &view);
            let matches = compiled.matches(&alert);
            let found: Vec<u32> = matches.suppressions().map(|number| u32::try_from(number).unwrap()).collect();
            if found != expected {
                let number = (0..RULES as u32).find(|n| found.contains(n) != expected.contains(n)).unwrap();
                panic!(
                    "seed {seed}: {}\n{}\nfound {}",
                    rules[number as usize],
                    serde_json::to_string(&alert).unwrap(),
                    found.contains(&number)
                );
            }
            held += found.len();
            pairs += RULES;
        }
    }
    assert!(pairs >= 50_000 && held * 20 > pairs && held * 2 < pairs, "{held} of {pairs} pairs hold");
}

#[test]
fn the_compiled_matcher_finds_what_the_slow_evaluation_finds_in_events() {
    let (mut pairs, mut held) = (0, 0);
    for seed in 0..SETS {
        let mut dice = Dice(1000 + seed);
        let rules: Vec<Value> = (0..RULES)
            .map(|_| json!({"title": "R", "detection": detection(&mut dice, &EVENT_FIELDS, Dialect::Whole)}))
            .collect();
        let texts = files(&[("rules/detect/a.yaml", &json!({"detect": rules}).to_string())]);
        let (compiled, found) = sigma::compile(&texts);
        assert!(errors(&found).is_empty(), "{}", show(&found, &texts));
        for _ in 0..DOCUMENTS {
            let event = event(&mut dice, Dialect::Whole);
            let view = View::of_event(compiled.fields(), &event);
            let expected = slowly((0..RULES).map(|number| compiled.detection(number)), &view);
            assert_eq!(compiled.matches_value(&event), expected, "seed {seed}: {event}");
            assert_eq!(compiled.matches(&event.to_string()).unwrap(), expected, "seed {seed}: {event}");
            held += expected.len();
            pairs += RULES;
        }
    }
    assert!(pairs >= 50_000 && held * 20 > pairs && held * 2 < pairs, "{held} of {pairs} pairs hold");
}

#[test]
fn texts_with_repeated_and_nested_keys_are_read_as_their_tree_is() {
    let detect = "title: T\ndetection:\n  s:\n    - a.b.c: x\n    - a.b: y\n  condition: s\n";
    let (rules, _) = sigma::compile(&files(&[("rules/detect/a.yaml", detect)]));
    for text in [
        r#"{"a.b":{"c":"x"}}"#,
        r#"{"a":{"b.c":"x"}}"#,
        r#"{"a.b.c":"no","a":{"b":{"c":"x"}}}"#,
        r#"{"a":{"b":{"c":"x"}},"a.b.c":"no"}"#,
        r#"{"a.b":{"d":1},"a":{"b":{"c":"x"}}}"#,
        r#"{"a":1,"a":{"b":"y"}}"#,
        r#"{"a":{"b":"y"},"a":1}"#,
        r#"{"a":[{"a.b":"y"},{"b":["n","y"]}]}"#,
        r#"{"\u0061":{"b":"y"}}"#,
        r#"[{"a":{"b":"y"}}]"#,
        r#"{"a":{"b":{"b":"y"}}}"#,
        "7",
    ] {
        let tree: Value = serde_json::from_str(text).unwrap();
        assert_eq!(rules.matches(text).unwrap(), rules.matches_value(&tree), "{text}");
    }
    for text in ["", "{", "{\"a\":1} x", "{\"a\":01}", "{\"a\":\"\u{1}\"}"] {
        assert!(rules.matches(text).is_err(), "{text}");
    }
    // What was told before the text broke off is forgotten.
    assert!(rules.matches(r#"{"a":{"b":"y"}"#).is_err());
    assert_eq!(rules.matches("{}").unwrap(), [0_u32; 0]);
}

/// Hostile sizes: what is quadratic in them would not end here.
#[test]
fn large_alerts_take_time_in_proportion() {
    let detect = "title: T\ndetection:\n  s:\n    - a|fieldref: b\n    - a|fieldref|contains: b\n    - x.y: 1\n    - a|re: 'q(r|s)*t'\n  condition: s\n";
    let (rules, found) = sigma::compile(&files(&[("rules/detect/a.yaml", detect)]));
    assert!(found.is_empty(), "{found:?}");
    let list = |prefix: &str| (0..50_000).map(|n| format!("\"{prefix}{n}\"")).collect::<Vec<_>>().join(",");
    let lists = format!("{{\"a\":[{}],\"b\":[{}]}}", list("q"), list("w"));
    assert_eq!(rules.matches(&lists).unwrap(), [0_u32; 0]);
    let repeated = format!("{{{}}}", vec!["\"x\":{\"y\":0}"; 100_000].join(","));
    assert_eq!(rules.matches(&repeated).unwrap(), [0_u32; 0]);
}
