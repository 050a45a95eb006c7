//! Any text as a rule file: it is read or refused with places, and what is read matches and explains without a panic.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use soard::domain::alert::Alert;
use soard::domain::id::AlertId;
use soard::rules::compile::compile;
use soard::rules::known::Known;
use soard::rules::sigma;

const ALERT: &str = r#"{"source":"s","kind":"PortScan","title":"Port scan","severity":"medium","start":"2026-03-01T10:00:00Z",
"received":"2026-03-01T10:00:01Z","tags":["pci"],"entities":{"host":[{"name":"web-01"}],"ip":[{"address":"10.20.0.1"}],
"process":[{"command_line":"powershell -enc AAA","pid":42}]},"extended":{"a.b":"c","n":1.5}}"#;

fuzz_target!(|text: &str| {
    let alert: Alert = serde_json::from_str(ALERT).expect("an alert");
    let event = r#"{"Image":"C:\\cmd.exe","n":1,"a":{"b":[1,"x"]}}"#;
    for path in ["rules/suppress/a.yaml", "rules/route/a.yaml", "rules/advise/a.yaml", "lists/a.yaml", "lists/a.txt"] {
        let files = BTreeMap::from([(path.to_owned(), text.to_owned())]);
        let (rules, found) = compile(&files, &Known::default());
        for fault in &found {
            fault.render(&files, false);
        }
        let matches = rules.matches(&alert);
        rules.advice.guidance(AlertId { record: 1, index: 0 }, &alert);
        for explained in rules.explain(&alert) {
            let matched = match explained.kind {
                soard::rules::explain::RuleKind::Suppress => matches.suppression(explained.number),
                soard::rules::explain::RuleKind::Route => matches.route(explained.number),
                soard::rules::explain::RuleKind::Advise => {
                    rules.advice.matching(&alert).iter().any(|advice| advice.rule == explained.rule)
                }
            };
            assert_eq!(matched, explained.matched, "the explanation agrees with the matcher");
        }
    }
    let files = BTreeMap::from([("rules/detect/a.yaml".to_owned(), text.to_owned())]);
    let (rules, found) = sigma::compile(&files);
    for fault in &found {
        fault.render(&files, false);
    }
    let _ = rules.matches(event);
});
