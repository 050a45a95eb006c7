//! What advice says of an alert, and where its links lead.

use super::{NO_DEFAULT, alert, good};
use crate::domain::alert::Alert;
use crate::domain::id::AlertId;
use crate::rules::advise::{Guidance, Hint};
use crate::rules::explain::RuleKind;

const ID: AlertId = AlertId { record: 7, index: 0 };

/// Advice of one page with this address, for every alert.
fn page(url: &str) -> String {
    format!(
        "advise:\n  - {{id: a, title: A, owner: x, match: {{severity|gte: informational}}, inspect: [{{label: L, url: \"{url}\"}}]}}\n"
    )
}

fn guidance(files: &[(&str, &str)], alert: &Alert) -> Guidance {
    let all: Vec<_> = files.iter().copied().chain([NO_DEFAULT]).collect();
    good(&all).advice.guidance(ID, alert)
}

fn link(url: &str, alert: &Alert) -> Option<String> {
    guidance(&[("rules/advise/a.yaml", &page(url))], alert).inspect.pop().and_then(|hint| hint.url)
}

fn texts(hints: &[Hint]) -> Vec<&str> {
    hints.iter().map(|hint| hint.text.as_str()).collect()
}

#[test]
fn values_are_percent_encoded_and_a_missing_one_drops_the_link() {
    let mut alert = alert();
    for (url, expected) in [
        ("https://logs.example.com/", Some("https://logs.example.com/")),
        ("https://logs.example.com", Some("https://logs.example.com")),
        (
            "http://logs.example.com:8080/h/{host}?a={account}#x",
            Some("http://logs.example.com:8080/h/WEB-01?a=Svc_Backup#x"),
        ),
        ("https://x.example/{id}/{severity}/{start}", Some("https://x.example/a-7.0/medium/2026-03-01T10%3A00%3A00Z")),
        ("https://x.example/{resources}", Some("https://x.example/%2Fsubscriptions%2F1%2Fvm%2Fweb-01")),
        ("https://x.example/?p={entities.process.pid}", Some("https://x.example/?p=42")),
        ("https://x.example/{raw.output_fields.proc.name}", Some("https://x.example/Bash")),
        ("https://x.example/?h={fingerprint}", None),
        ("https://x.example/?h={extended.none}", None),
        ("https://x.example/?h={extended.empty}", None),
    ] {
        assert_eq!(link(url, &alert).as_deref(), expected, "{url}");
    }
    alert.kind = Some("a b/&?#%\u{202e}ü\n<'\"".into());
    let hostile = link("https://x.example/?k={kind}", &alert).unwrap();
    assert_eq!(hostile, "https://x.example/?k=a%20b%2F%26%3F%23%25%E2%80%AE%C3%BC%0A%3C%27%22");
    alert.kind = Some("..".into());
    assert_eq!(link("https://x.example/a/{kind}/b", &alert), None, "it would climb");
    alert.kind = Some("x".repeat(9_000));
    assert_eq!(link("https://x.example/{kind}", &alert), None, "nobody opens an address of 9 KB");
}

#[test]
fn all_matching_advice_applies_in_the_order_of_the_files() {
    let second = "advise:\n  - {id: b, title: B, owner: x, match: {kind|startswith: PortScan}, mitigate: [Block it, Ask the owner], prevent: [Close ports]}\n";
    let first = "advise:\n  - {id: z, title: Z, owner: x, match: {severity: medium}, mitigate: [Look, Block it]}\n  - {id: y, title: Y, owner: x, match: {severity: high}, mitigate: [Run]}\n";
    let files = [("rules/advise/2.yaml", second), ("rules/advise/1.yaml", first)];
    let said = guidance(&files, &alert());
    let sourced = Alert { remediation: vec!["Look".into(), "Isolate it".into()], ..alert() };
    let with_source = guidance(&files, &sourced);
    assert_eq!(texts(&with_source.mitigate), ["Look", "Isolate it", "Block it", "Ask the owner"]);
    assert_eq!(with_source.mitigate[0].rule, None, "the source said it first");
    assert_eq!(texts(&said.mitigate), ["Look", "Block it", "Ask the owner"], "the same words once");
    assert_eq!(texts(&said.prevent), ["Close ports"]);
    assert_eq!(said.mitigate[2].rule.as_ref().unwrap().to_string(), "b (rules/advise/2.yaml:2)");
    assert!(said.inspect.is_empty());

    let rules = good(&[files[0], files[1], NO_DEFAULT]);
    let explained = rules.explain(&alert());
    let matched: Vec<&str> = explained.iter().filter(|rule| rule.matched).map(|rule| rule.rule.id.as_str()).collect();
    assert_eq!(matched, ["z", "b"]);
    assert!(explained.iter().all(|rule| rule.kind == RuleKind::Advise));
    assert!(explained[0].render().starts_with("advice z (rules/advise/1.yaml:2): matches\n"));
}

#[test]
fn advice_changes_no_decision() {
    let advice = "advise:\n  - {id: a, title: A, owner: x, match: {severity: medium}, mitigate: [Look]}\n";
    let suppress = super::suppression("kind: nothing-like-it");
    let rules = good(&[("rules/advise/a.yaml", advice), ("rules/suppress/s.yaml", &suppress), NO_DEFAULT]);
    let matches = rules.matches(&alert());
    assert_eq!(matches.suppressions().count(), 0);
    assert!(rules.route(&matches).is_empty());
}
