//! A detection and an event, parted by a line `---`: the text, its tree and the slow evaluation give the same answer.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use soard::rules::sigma;
use soard::rules::view::View;

fuzz_target!(|input: &str| {
    let Some((detection, event)) = input.split_once("\n---\n") else { return };
    let indented: String = detection.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!("title: T\ndetection:\n{indented}");
    let (rules, _) = sigma::compile(&BTreeMap::from([("rules/detect/a.yaml".to_owned(), text)]));
    let Ok(tree) = serde_json::from_str::<Value>(event) else {
        assert!(rules.matches(event).is_err(), "what is no JSON is refused");
        return;
    };
    let by_text = rules.matches(event).expect("JSON");
    let view = View::of_event(rules.fields(), &tree);
    let held = |number: &u32| rules.detection(*number as usize).holds(&mut |item| item.holds(&view));
    let slow: Vec<u32> = (0..rules.all.len() as u32).filter(held).collect();
    assert_eq!(by_text, slow, "the text gives what the slow evaluation gives");
    assert_eq!(rules.matches_value(&tree), slow, "the tree gives what the slow evaluation gives");
});
