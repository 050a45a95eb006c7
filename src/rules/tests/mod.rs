//! Rules as their writers and their readers meet them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::domain::alert::Alert;
use crate::rules::compile::{Rules, compile};
use crate::rules::known::{Known, PlaybookEntries};
use crate::yaml::diagnostic::{Diagnostic, Gravity};

/// The engine matches on any thread.
const _: fn() = || {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Rules>();
    shared::<crate::rules::matcher::Matches>();
};

mod advice;
mod compiled;
mod conditions;
mod conformance;
mod contradictions;
mod diagnostics;
mod docs;
mod explaining;
pub mod generate;
mod matching;
mod properties;
mod routes;
mod suppressions;
mod windows;

/// An alert with something in every corner.
fn alert() -> Alert {
    let mut alert: Alert = serde_json::from_value(json!({
        "source": "defender",
        "external_id": "2518_abc",
        "vendor": "Microsoft",
        "product": "Defender for Cloud",
        "kind": "PortScan_External",
        "title": "Port scan from 10.20.3.4",
        "description": "An outgoing port scan\nwas *seen* on C:\\Temp\\scan.exe",
        "severity": "medium",
        "source_severity": "5",
        "confidence": "0.9",
        "tactics": ["Discovery", "InitialAccess"],
        "techniques": ["T1046", "T1059.001"],
        "start": "2026-03-01T10:00:00Z",
        "received": "2026-03-01T10:05:00Z",
        "resources": ["/subscriptions/1/vm/web-01", "/subscriptions/1/vm/web-02"],
        "entities": {
            "ip": [{"address": "10.20.3.4"}, {"address": "::ffff:192.0.2.7", "location": {"country": "DE"}}, {"address": "2001:db8::1"}],
            "host": [{"name": "WEB-01", "os": null}, {"name": "web-02"}],
            "account": [{"name": "Svc_Backup", "sid": 1001, "admin": true, "groups": ["Ops", "Backup"]}],
            "process": [{"command_line": "PowerShell.exe -enc AAA", "pid": 42}]
        },
        "tags": ["pci"],
        "links": [{"label": "Portal", "url": "https://portal.example/alert/1"}],
        "extended": {"k8s.pod.name": "api-7", "score": 7.5, "nested": {"a.b": "deep"}, "empty": "", "version": "1.10", "none": null, "list": []},
    }))
    .unwrap();
    alert.raw = std::sync::Arc::new(json!({
        "output_fields": {"proc.name": "Bash", "fd.rport": 4444},
        "items": [{"user": "Ann"}, {"user": "bob"}, [{"user": "eve"}]],
        "big": 18446744073709551615_u64,
        "flag": "True",
        "Straße": "GROSS",
        "dots": {"a.b": {"c": "first"}, "a": {"b.c": "second", "b": {"c": "third", "d": "fourth"}}},
        "object": {"inner": 1}
    }));
    alert
}

/// Playbooks and sources that the tests' rules may name.
fn known() -> Known {
    let entries = |on_alert, on_group| PlaybookEntries { on_alert, on_group, on_status: false };
    let playbooks = [
        ("notify-email", entries(true, true)),
        ("open-ticket", entries(true, false)),
        ("digest", entries(false, true)),
        ("page", entries(true, true)),
        ("tell", PlaybookEntries { on_status: true, ..PlaybookEntries::default() }),
    ];
    Known {
        playbooks: playbooks.map(|(name, entries)| (name.into(), entries)).into(),
        sources: Some(BTreeSet::from(["defender".to_owned(), "falco".to_owned()])),
    }
}

fn files(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn errors(found: &[Diagnostic]) -> Vec<&Diagnostic> {
    found.iter().filter(|fault| fault.gravity == Gravity::Error).collect()
}

fn show(found: &[Diagnostic], texts: &BTreeMap<String, String>) -> String {
    found.iter().map(|fault| fault.render(texts, false)).collect::<Vec<_>>().join("\n\n")
}

/// Compiles files that must have no error.
fn good(of: &[(&str, &str)]) -> Rules {
    let texts = files(of);
    let (rules, found) = compile(&texts, &known());
    assert!(errors(&found).is_empty(), "{}", show(&found, &texts));
    rules
}

/// A suppression of this `match`, as YAML that fits behind `match:`.
fn suppression(matching: &str) -> String {
    let indented: String = matching.lines().map(|line| format!("\n      {line}")).collect();
    format!(
        "suppress:\n  - id: one\n    title: One\n    owner: soc@example.com\n    reason: expected\n    expires: 2027-03-31\n    match:{indented}\n"
    )
}

const NO_DEFAULT: (&str, &str) = ("rules/route/none.yaml", "default_route: none\n");

/// Whether a suppression with this `match` matches the alert.
fn matches(matching: &str, alert: &Alert) -> bool {
    let rules = good(&[("rules/suppress/one.yaml", &suppression(matching)), NO_DEFAULT]);
    rules.matches(alert).suppression(0)
}
