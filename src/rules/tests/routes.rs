//! Which routes take an alert, and what they inherit.

use super::{alert, good};
use crate::domain::alert::Severity;
use crate::rules::compile::Rules;

const TREE: &str = r#"
route:
  - id: audit
    match: {kind: '*'}
    playbooks: open-ticket
    continue: true
  - id: cloud
    owner: cloud@example.com
    match: {vendor: microsoft}
    playbooks: [notify-email]
    group_by: [entities.host.name, kind]
    group_wait: 1m
    throttle: {per: [kind], at_most: 4, within: 1d}
    mute: {days: [sun]}
    routes:
      - id: cloud-high
        match: {severity: high}
        playbooks: [page]
        group_by: []
        throttle: none
        mute: []
        continue: true
      - id: cloud-scan
        owner: scan@example.com
        match: {kind: PortScan*}
        routes:
          - id: cloud-scan-pci
            title: Scans of the card zone
            match: {tags: pci}
            group_wait: 5s
  - id: rest
"#;

fn taken(rules: &Rules, change: impl FnOnce(&mut crate::domain::alert::Alert)) -> Vec<String> {
    let mut alert = alert();
    change(&mut alert);
    rules.route(&rules.matches(&alert)).iter().map(|route| route.rule.id.clone()).collect()
}

#[test]
fn the_deepest_match_takes_the_alert_and_only_continue_goes_on() {
    let rules = good(&[("rules/route/tree.yaml", TREE)]);
    assert_eq!(taken(&rules, |_| {}), ["audit", "cloud-scan-pci"]);
    assert_eq!(taken(&rules, |a| a.tags.clear()), ["audit", "cloud-scan"]);
    assert_eq!(taken(&rules, |a| a.severity = Severity::High), ["audit", "cloud-high", "cloud-scan-pci"]);
    assert_eq!(taken(&rules, |a| a.kind = Some("Malware".into())), ["audit", "cloud"]);
    assert_eq!(taken(&rules, |a| a.vendor = None), ["audit", "rest"]);
    assert_eq!(taken(&rules, |a| (a.vendor, a.kind) = (None, None)), ["rest"]);
}

#[test]
fn a_child_inherits_what_it_does_not_set() {
    let rules = good(&[("rules/route/tree.yaml", TREE)]);
    let cloud = &rules.routes[1];
    let (high, scan) = (&cloud.children[0], &cloud.children[1]);
    let pci = &scan.children[0];
    assert_eq!(pci.playbooks, ["notify-email"]);
    assert_eq!(pci.group_by.iter().map(|key| key.as_str()).collect::<Vec<_>>(), ["entities.host.name", "kind"]);
    assert_eq!((cloud.group_wait.to_string(), pci.group_wait.to_string()), ("1m".into(), "5s".into()));
    assert_eq!(pci.throttle.as_ref().map(|t| (t.at_most, t.within.to_string())), Some((4, "1d".into())));
    assert_eq!((pci.mute.len(), pci.owner.as_deref(), scan.goes_on), (1, Some("scan@example.com"), false));
    assert_eq!((pci.title.as_str(), scan.title.as_str()), ("Scans of the card zone", "cloud-scan"));
    assert_eq!((high.playbooks.as_slice(), high.group_by.len(), high.mute.len()), (&["page".to_owned()][..], 0, 0));
    assert!(high.throttle.is_none() && high.owner.as_deref() == Some("cloud@example.com"));
    assert_eq!(rules.routes[2].group_wait.to_string(), "30s");
    assert_eq!(pci.rule.place, "rules/route/tree.yaml:27");
}

#[test]
fn files_follow_one_another_by_name() {
    let rules = good(&[
        ("rules/route/20-rest.yaml", "route:\n  - id: rest\n"),
        ("rules/route/10-first.yaml", "route:\n  - id: first\n    match: {kind: '*'}\n"),
        ("rules/normalise/x.yaml", "not: read\n"),
        ("playbooks/x.rhai", "fn"),
    ]);
    assert_eq!(taken(&rules, |_| {}), ["first"]);
    assert_eq!(taken(&rules, |a| a.kind = None), ["rest"]);
}

#[test]
fn a_refused_default_leaves_alerts_without_a_route() {
    let rules =
        good(&[("rules/route/x.yaml", "default_route: none\nroute:\n  - id: high\n    match: {severity: high}\n")]);
    assert!(taken(&rules, |_| {}).is_empty());
    assert_eq!(taken(&rules, |a| a.severity = Severity::High), ["high"]);
}

#[test]
fn a_key_is_the_sorted_set_of_values_and_a_missing_value_makes_none() {
    let rules = good(&[(
        "rules/route/x.yaml",
        "route:\n  - id: all\n    group_by: [entities.host.name, host, fingerprint, raw.output_fields.fd.rport, extended.none]\n",
    )]);
    let keys: Vec<Option<Vec<String>>> = rules.routes[0].group_by.iter().map(|key| key.values(&alert())).collect();
    let some = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
    assert_eq!(keys, [some(&["WEB-01", "web-02"]), some(&["WEB-01"]), None, some(&["4444"]), None]);
}

#[test]
fn more_rules_than_a_machine_word_has_bits() {
    let mut text = String::from("route:\n");
    for number in 0..200 {
        text += &format!("  - {{id: r{number}, match: {{kind: k{number}}}}}\n");
    }
    text += "  - id: rest\n";
    let rules = good(&[("rules/route/x.yaml", &text)]);
    for number in [0, 63, 64, 65, 127, 128, 199] {
        assert_eq!(taken(&rules, |a| a.kind = Some(format!("k{number}"))), [format!("r{number}")]);
    }
}
