//! What a person reads about why a rule matched or did not.

use super::{alert, good};

const SUPPRESS: &str = r#"suppress:
  - id: scanner
    title: Our scanner
    owner: soc@example.com
    reason: expected
    expires: 2027-03-31
    match:
      kind|startswith: PortScan
      entities.ip.address|cidr: 10.20.0.0/16
  - id: other-net
    title: Other network
    owner: soc@example.com
    reason: expected
    expires: 2027-03-31
    match:
      kind|startswith: PortScan
      entities.ip.address|cidr: [10.99.0.0/16, 10.98.0.0/16]
  - id: far-off
    title: Far off
    owner: soc@example.com
    reason: expected
    expires: 2027-03-31
    match: {kind: Malware, fingerprint: x}
  - id: filtered
    title: Filtered
    owner: soc@example.com
    reason: expected
    expires: 2027-03-31
    match:
      scan:
        - kind|startswith: Sweep
        - kind|contains|all: [Port, Scan]
          severity|lte: medium
      filter_pci: {tags: pci}
      filter_lab: {host|endswith: -lab}
      condition: scan and not 1 of filter_*
"#;

const ROUTE: &str = "route:\n  - id: high\n    match: {severity|gte: high}\n    routes:\n      - id: high-web\n        match: {host: web-*}\n  - id: rest\n";

#[test]
fn each_rule_shows_the_values_compared_and_the_near_misses() {
    let rules = good(&[("rules/suppress/known.yaml", SUPPRESS), ("rules/route/main.yaml", ROUTE)]);
    let explained = rules.explain(&alert());
    let text: Vec<String> = explained.iter().map(|rule| rule.render()).collect();
    insta::assert_snapshot!(text.join("\n"));
    let near: Vec<&str> = explained.iter().filter(|rule| rule.near_miss).map(|rule| rule.rule.id.as_str()).collect();
    assert_eq!(near, ["other-net", "filtered"]);
}

#[test]
fn the_explanation_is_data_too() {
    let rules = good(&[("rules/suppress/known.yaml", SUPPRESS), ("rules/route/main.yaml", ROUTE)]);
    insta::assert_json_snapshot!(&rules.explain(&alert())[1]);
}

#[test]
fn the_explanation_agrees_with_the_matcher() {
    let rules = good(&[("rules/suppress/known.yaml", SUPPRESS), ("rules/route/main.yaml", ROUTE)]);
    let mut other = alert();
    other.tags.clear();
    other.severity = crate::domain::alert::Severity::High;
    for alert in [alert(), other] {
        let matches = rules.matches(&alert);
        for rule in rules.explain(&alert) {
            let matched = match rule.kind {
                crate::rules::explain::RuleKind::Suppress => matches.suppression(rule.number),
                crate::rules::explain::RuleKind::Route => matches.route(rule.number),
                crate::rules::explain::RuleKind::Advise => unreachable!("there is no advice"),
            };
            assert_eq!(rule.matched, matched, "{}", rule.rule);
        }
    }
}
