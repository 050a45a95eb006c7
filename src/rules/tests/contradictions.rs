//! Searches that no alert satisfies, because two of their items ask one field for different values.

use super::{NO_DEFAULT, files, known, suppression};
use crate::rules::compile::compile;

/// Whether a search of these lines is said to contradict itself.
fn contradicts(lines: &str) -> bool {
    let text = suppression(lines);
    let (_, found) = compile(&files(&[("rules/suppress/a.yaml", &text), NO_DEFAULT]), &known());
    found.iter().any(|fault| fault.code == "contradiction")
}

#[test]
fn items_that_no_value_fits_together_are_told() {
    for lines in [
        "{severity|gte: high, severity: low}",
        "{severity|gt: low, severity|lt: medium}",
        "{status: active, status|neq: [active, resolved]}",
        "{is_incident: true, is_incident|neq: true}",
        "{kind: PortScan, kind|startswith: web}",
        "{kind|contains: scan, kind: [login, logout]}",
        "{kind: PortScan, kind|exists: false}",
        "{host: web-01, title: A, host|neq: WEB-01}",
    ] {
        assert!(contradicts(lines), "{lines}");
    }
}

#[test]
fn items_that_some_value_fits_are_left_alone() {
    for lines in [
        "{severity|gte: medium, severity|lte: medium}",
        "{status: [active, resolved], status|neq: active}",
        "{kind: PortScan, kind|startswith: port}",
        "{kind: PortScan, title: Other}",
        "{kind: PortScan, kind|cased: portscan}",
        "{kind: PortScan, kind|re: ^Port}",
        "{kind: PortScan, kind|fieldref: title}",
        "{tags: pci, tags|startswith: dmz}",
        "{extended.zone: a, extended.zone|startswith: b}",
        "{entities.host.name: a, entities.host.name|contains: b}",
    ] {
        assert!(!contradicts(lines), "{lines}");
    }
}
