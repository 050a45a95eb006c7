//! Continuous exports against real and failing peers: each notice arrives at least once and in order, whatever dies meanwhile.

#[path = "../support/mod.rs"]
mod support;

mod corpus;
mod crash;
mod oracle;
mod peers;
mod settings;
mod syslog;
mod ways;

use serde_json::{Value, json};
use support::{Daemon, wait_for};

const ROUTES: (&str, &str) = ("rules/route/none.yaml", "default_route: none\n");

const SOURCE: &str = "sources:\n  push: { format: soard, http: { token: { env: SOARD_TEST_TOKEN } } }\n";

/// A daemon with these exports.
fn daemon(dir: &std::path::Path, exports: &str) -> Daemon {
    Daemon::new(dir, &format!("{SOURCE}exports:\n{exports}"), &[ROUTES])
}

/// Alerts `n-FROM` to before `n-TO`, of all severities in turn.
fn post(daemon: &Daemon, from: usize, to: usize) {
    let severities = ["low", "medium", "high", "informational"];
    let alert = |n: usize| json!({ "external_id": format!("n-{n}"), "title": format!("Alert {n}"), "kind": format!("Kind{}", n % 3), "severity": severities[n % 4] });
    let all: Vec<Value> = (from..to).map(alert).collect();
    assert_eq!(daemon.post(&json!(all).to_string()).unwrap().0, 200);
}

/// The report of one export.
fn report(daemon: &Daemon, name: &str) -> Value {
    let all = daemon.json(&["exports", "list"]);
    all.as_array().unwrap().iter().find(|report| report["name"] == name).cloned().unwrap()
}

/// Waits until the peer has taken everything.
fn caught_up(daemon: &Daemon, name: &str) -> Value {
    wait_for(&format!("export {name} to catch up"), || {
        let report = report(daemon, name);
        (report["behind"] == 0).then_some(report)
    })
}
