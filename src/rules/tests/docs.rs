//! The reference and the shipped rules load without a fault.

use std::collections::BTreeMap;
use std::path::Path;

use super::{NO_DEFAULT, alert, files, matches, show};
use crate::rules::compile::{Rules, compile};
use crate::rules::known::{Known, PlaybookEntries};
use crate::rules::modifiers::NAMES;
use crate::rules::sigma;

/// The playbooks that ship, and what each has.
fn shipped() -> Known {
    let both = PlaybookEntries { on_alert: true, on_group: true, on_status: false };
    let alert_only = PlaybookEntries { on_alert: true, on_group: false, on_status: false };
    let playbooks = [
        ("chat", both),
        ("enrich", alert_only),
        ("notify-email", both),
        ("page", both),
        ("quarantine-host", alert_only),
        ("ticket", both),
    ];
    Known { playbooks: playbooks.map(|(name, entries)| (name.into(), entries)).into(), sources: None }
}

fn without_fault(mut texts: BTreeMap<String, String>) -> Rules {
    if !texts.keys().any(|path| path.starts_with("rules/route/")) {
        texts.insert(NO_DEFAULT.0.into(), NO_DEFAULT.1.into());
    }
    let (rules, found) = compile(&texts, &shipped());
    assert!(found.is_empty(), "{}", show(&found, &texts));
    rules
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The YAML blocks of the reference.
fn blocks() -> Vec<String> {
    let text = read("docs/rules.md");
    text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_example_of_the_reference_loads() {
    let mut count = 0;
    let scanners = blocks().into_iter().find(|block| block.starts_with("# lists/scanners.txt")).unwrap();
    for block in blocks() {
        count += 1;
        if let Some(path) = block.lines().next().and_then(|line| line.strip_prefix("# ")) {
            if path.starts_with("rules/detect/") {
                let texts = files(&[(path, &block)]);
                let (rules, found) = sigma::compile(&texts);
                assert!(found.is_empty() && rules.all.len() == 1, "{}", show(&found, &texts));
            }
            without_fault(files(&[("lists/scanners.txt", &scanners), (path, &block)]));
            continue;
        }
        let matching: Vec<&str> = block.strip_prefix("match:\n").expect("a file or a match").lines().collect();
        let dedented: Vec<&str> = matching.iter().map(|line| line.strip_prefix("  ").unwrap()).collect();
        matches(&dedented.join("\n"), &alert());
    }
    assert!(count >= 14, "{count} examples");
}

#[test]
fn the_explanation_in_the_reference_is_what_the_command_says() {
    let scanner = blocks().remove(0);
    let rules = without_fault(files(&[("rules/suppress/scanner.yaml", &scanner)]));
    let mut elsewhere = alert();
    let ips = elsewhere.entities.get_mut("ip").unwrap();
    ips.truncate(1);
    ips[0].insert("address".into(), "10.30.1.2".into());
    let said = rules.explain(&elsewhere)[0].render();
    assert!(read("docs/rules.md").contains(&said), "docs/rules.md lacks:\n{said}");
}

#[test]
fn the_reference_names_every_field_and_modifier() {
    let text = read("docs/rules.md");
    let fields = crate::domain::alert::ALERT_FIELDS;
    for word in fields {
        assert!(text.contains(word), "docs/rules.md does not name {word}");
    }
    let table = text.split("### Modifiers").nth(1).unwrap().split("```").next().unwrap();
    for word in NAMES {
        let named = [format!("`{word}`"), format!("|{word}`")];
        assert!(named.iter().any(|named| table.contains(named)), "the table of modifiers lacks {word}");
    }
}

#[test]
fn the_shipped_rules_load_and_do_what_they_say() {
    let paths = ["rules/suppress/expected.yaml", "rules/suppress/false-positives.yaml", "rules/route/main.yaml"];
    let rules = without_fault(paths.iter().map(|path| ((*path).to_owned(), read(path))).collect());
    let at = "2026-06-01T12:00:00Z".parse().unwrap();
    let held = |alert: &crate::domain::alert::Alert| -> Vec<String> {
        let matches = rules.matches(alert);
        let held = rules.suppress.iter().filter(|rule| rule.holds(&matches, at, &alert.source));
        held.map(|rule| rule.rule.id.clone()).collect()
    };
    let taken = |alert: &crate::domain::alert::Alert| -> Vec<String> {
        rules.route(&rules.matches(alert)).iter().map(|route| route.rule.id.clone()).collect()
    };
    let mut scan = alert();
    assert!(held(&scan).is_empty(), "10.20.3.4 is not in the scanner's network");
    scan.entities.get_mut("ip").unwrap()[0].insert("address".into(), "10.20.0.9".into());
    assert_eq!(held(&scan), ["sanctioned-scanner"]);

    let mut shell = alert();
    (shell.product, shell.kind) = (Some("Falco".into()), Some("Terminal shell in container".into()));
    let falco = |privileged: bool| {
        let fields = serde_json::json!({"k8s.ns.name": "lab-7", "container.privileged": privileged});
        std::sync::Arc::new(serde_json::json!({"output_fields": fields}))
    };
    shell.raw = falco(false);
    assert_eq!(held(&shell), ["debug-shells-in-lab"]);
    shell.raw = falco(true);
    assert!(held(&shell).is_empty());

    let mut high = alert();
    assert_eq!(taken(&high), ["medium"]);
    high.severity = crate::domain::alert::Severity::High;
    assert_eq!(taken(&high), ["page-at-night", "high"]);
    high.kind = Some("VM_Mimikatz".into());
    assert_eq!(taken(&high), ["page-at-night", "malware"]);
    high.severity = crate::domain::alert::Severity::Low;
    assert_eq!(taken(&high), ["rest"]);
}

/// What `expand`, encodings and searches over everything find, beside what the table of cases says.
#[test]
fn lists_stand_for_their_entries() {
    let text = super::suppression("entities.ip.address|cidr|expand: '%nets%'\nkind|expand: '%kinds%_External'");
    let lists = [("lists/nets.txt", "172.16.0.0/12\n10.20.3.4\n"), ("lists/kinds.yaml", "- Port*\n- PortScan\n")];
    let mut texts = files(&lists);
    texts.insert("rules/suppress/a.yaml".into(), text);
    let rules = without_fault(texts);
    let mut alert = alert();
    assert!(rules.matches(&alert).suppression(0));
    alert.kind = Some("PortSweep_External".into());
    assert!(!rules.matches(&alert).suppression(0), "an entry has no wildcards");
    assert!(matches("[mimikatz, 'fourth']", &alert), "raw is searched");
    assert!(matches("- portal", &alert), "links are searched");
    assert!(!matches("- output_fields", &alert), "keys are not");
}
