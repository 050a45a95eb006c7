//! Wrong exports and the diagnostics that they get.

use soard::actions::settings::exports::{Exports, read_exports};
use soard::yaml::diagnostic::Sources;
use soard::yaml::node;
use soard::yaml::reader::Faults;

fn parse(yaml: &str) -> (Exports, Faults) {
    let mut faults = Faults::default();
    let node = node::parse(&"soard.yaml".into(), yaml).expect("the test's YAML parses");
    (read_exports(&node, &mut faults), faults)
}

#[test]
fn good_exports_are_read_and_told_without_secrets() {
    let (exports, faults) = parse(
        "siem: { syslog: { host: siem.example.com }, format: cef, at_least: low, kinds: 'Port*', what: alerts, from: start }\n\
         lake: { http: { url: 'https://lake.example.com/v1/key', bearer: { credential: lake }, gzip: true }, format: ocsf, retries: [1s] }\n\
         file: { file: { path: out.jsonl, size: 1GiB, keep: 3 }, keep_for: 1d, snapshot: { every: week, on: sunday, at: '03:00', time_zone: Europe/Berlin } }\n",
    );
    assert!(faults.found.is_empty(), "{:?}", faults.found);
    let told: Vec<String> = exports.iter().map(|(name, export)| format!("{name}: {:?}", export.told())).collect();
    let secrets: Vec<String> = exports.secrets().iter().map(ToString::to_string).collect();
    assert_eq!(secrets, ["secret:credential:lake"]);
    let told = told.join("\n");
    for words in [
        "siem.example.com:6514, TLS",
        "every sunday at 03:00 Europe/Berlin",
        "at 1GiB, 3 are kept",
        "https://lake.example.com/…",
        "port*",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn wrong_exports_are_all_told_at_once() {
    let cases = [
        ("neither", "x: { format: json }\n"),
        ("both", "x: { file: { path: a }, syslog: { host: localhost } }\n"),
        ("unknown target", "x: { fiel: { path: a } }\n"),
        ("name", "'My Siem': { file: { path: a } }\n"),
        (
            "words",
            "x: { file: { path: a }, format: ceef, at_least: hihg, what: [alerts, change], from: strat, keep_for: soon, retries: [soon] }\n",
        ),
        ("from", "x: { file: { path: a }, from: 5 }\n"),
        ("file", "x: { file: { size: 1KiB, keep: 0 } }\n"),
        ("file size", "x: { file: { path: a, size: 1KiB } }\n"),
        ("file twice", "x: { file: { path: a } }\ny: { file: { path: a } }\n"),
        (
            "http",
            "x: { http: { url: 'http://lake.example.com/', headers: { Host: x }, gzip: maybe, bearer: hunter2 } }\n",
        ),
        ("plain syslog", "x: { syslog: { host: siem.example.com, tls: none } }\n"),
        (
            "syslog",
            "x: { syslog: { host: 'a b', port: 0, tls: starttls, facility: locl0, app_name: 'a b', message_bytes_max: 100, timeout: 1h } }\n",
        ),
        ("snapshot", "x: { file: { path: a }, snapshot: { every: month, on: sundae, at: 3, time_zone: Berlin } }\n"),
        ("snapshot day", "x: { file: { path: a }, snapshot: { every: week, at: '03:00' } }\n"),
        ("snapshot daily", "x: { file: { path: a }, snapshot: { every: day, on: monday, at: '25:00' } }\n"),
    ];
    let shown = cases.map(|(name, yaml)| {
        let (_, faults) = parse(yaml);
        assert!(!faults.found.is_empty(), "{name}");
        let sources = Sources::from([("soard.yaml".into(), yaml.into())]);
        let faults: Vec<String> = faults.found.iter().map(|fault| fault.render(&sources, false)).collect();
        format!("### {name}\n{}", faults.join("\n"))
    });
    insta::assert_snapshot!(shown.join("\n\n"));
}
