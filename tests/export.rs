//! `soard export`: every alert once, in each form, through a daemon and without one.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use support::{Daemon, wait_for};

const SETTINGS: &str = "sources:\n  push: { http: { token: { env: SOARD_TEST_TOKEN } } }\n";
const ROUTES: (&str, &str) = ("rules/route/none.yaml", "default_route: none\n");

fn daemon(dir: &Path) -> Daemon {
    let mut daemon = Daemon::new(dir, SETTINGS, &[ROUTES]);
    daemon.start();
    daemon
}

fn export(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.soard(&[&["export"], arguments].concat());
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn ids(text: &str) -> Vec<String> {
    lines(text).iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

/// What an OCSF 1.3.0 Detection Finding must have, by the published schema.
fn must_be_a_finding(finding: &Value) {
    let whole = |path: &str| assert!(finding.pointer(path).is_some_and(Value::is_i64), "{path} of {finding}");
    ["/activity_id", "/category_uid", "/class_uid", "/severity_id", "/time", "/type_uid"].into_iter().for_each(whole);
    let text = |path: &str| {
        let text = finding.pointer(path).and_then(Value::as_str);
        assert!(text.is_some_and(|text| !text.is_empty()), "{path} of {finding}");
    };
    ["/finding_info/uid", "/finding_info/title", "/metadata/version", "/metadata/product/vendor_name"]
        .into_iter()
        .for_each(text);
    assert_eq!((&finding["class_uid"], &finding["category_uid"]), (&json!(2004), &json!(2)));
    assert_eq!(finding["type_uid"], json!(200_400 + finding["activity_id"].as_i64().unwrap()));
    let list = |path: &str| finding.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    for observable in list("/observables") {
        assert!(observable["name"].is_string() && observable["type_id"].is_i64(), "{observable}");
    }
    for attack in list("/finding_info/attacks") {
        assert!(attack["tactic"].is_object() || attack["technique"].is_object(), "{attack}");
    }
}

#[test]
fn every_alert_is_exported_once_and_in_order_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = daemon(folder.path());
    let severities = ["informational", "low", "medium", "high"];
    for batch in 0..5 {
        let alert = |n: usize| json!({ "external_id": format!("{batch}-{n}"), "title": format!("=cmd {n}"), "kind": "k", "severity": severities[n % 4] });
        let batch: Vec<Value> = (0..500).map(alert).collect();
        assert_eq!(daemon.post(&json!(batch).to_string()).unwrap().0, 200);
    }
    let all = export(&daemon, &["--format", "jsonl", "--all"]);
    let (found, want) = (ids(&all), (1..=2_500).map(|n| format!("a-{n}.0")).collect::<Vec<_>>());
    assert_eq!(found, want, "each once, the oldest first");
    assert_eq!(ids(&export(&daemon, &["--format", "jsonl"])).len(), 1_875, "informational ones when asked for");
    assert_eq!(ids(&export(&daemon, &["--format", "jsonl", "severity=high"])).len(), 625);
    let csv = export(&daemon, &["--format", "csv", "--all"]);
    assert_eq!(csv.lines().count(), 2_501);
    assert!(csv.lines().skip(1).all(|line| line.contains(",'=cmd ")), "no value is a formula");
    assert_eq!(lines(&export(&daemon, &["--format", "ocsf", "--all"])).len(), 2_500);
    assert_eq!(daemon.soard(&["export", "--format", "csv", "title=none"]).status.code(), Some(1));
    assert_eq!(daemon.soard(&["export", "--format", "csv", "severty=high"]).status.code(), Some(2));
    daemon.stop();
    assert_eq!(export(&daemon, &["--format", "jsonl", "--all"]), all, "the same without a daemon");
}

#[test]
fn findings_are_what_the_schema_asks_for_and_read_back_as_the_same_alerts() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (daemon(first.path()), daemon(second.path()));
    assert!(one.soard(&["samples", "send"]).status.success());
    let findings = export(&one, &["--format", "ocsf", "--all"]);
    let alerts = lines(&export(&one, &["--format", "jsonl", "--all"]));
    assert!(alerts.len() >= 15 && lines(&findings).len() == alerts.len(), "{}", alerts.len());
    lines(&findings).iter().for_each(must_be_a_finding);

    let (status, answer) = other.post(&json!(lines(&findings)).to_string()).unwrap();
    assert_eq!((status, answer["quarantined"].as_u64().unwrap_or(0)), (200, 0), "{answer}");
    let read = wait_for("the alerts", || {
        let read = lines(&export(&other, &["--format", "jsonl", "--all"]));
        (read.len() == alerts.len()).then_some(read)
    });
    let told = |alert: &Value| {
        let names = |kind: &str| {
            let names = alert["entities"][kind].as_array().cloned().unwrap_or_default();
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect::<BTreeSet<_>>()
        };
        let title = alert["title"].as_str().unwrap().to_owned();
        (title, alert["severity"].to_string(), names("ip"), names("url"), alert["techniques"].to_string())
    };
    let (mut was, mut is): (Vec<_>, Vec<_>) = (alerts.iter().map(told).collect(), read.iter().map(told).collect());
    was.sort();
    is.sort();
    assert_eq!(is, was);
}
