//! When a suppression holds.

use jiff::Timestamp;

use super::{NO_DEFAULT, alert, good};
use crate::rules::compile::Rules;
use crate::rules::suppress::SuppressReason;

fn rules(more: &str) -> Rules {
    let text = format!(
        "suppress:\n  - id: scanner\n    title: Our scanner\n    owner: soc@example.com\n    reason: expected\n    match: {{kind: PortScan*}}\n{more}"
    );
    good(&[("rules/suppress/one.yaml", &text), NO_DEFAULT])
}

fn holds(more: &str, at: &str, source: &str) -> bool {
    let rules = rules(more);
    let at: Timestamp = at.parse().unwrap();
    rules.suppress[0].holds(&rules.matches(&alert()), at, source)
}

#[test]
fn it_holds_from_its_start_until_the_end_of_its_last_day() {
    let until = "    expires: 2027-03-31\n";
    assert!(holds(until, "2000-01-01T00:00:00Z", "defender"));
    assert!(holds(until, "2027-03-31T23:59:59Z", "defender"));
    assert!(!holds(until, "2027-04-01T00:00:00Z", "defender"));
    let within = "    starts: 2027-03-01\n    expires: 2027-03-31T18:00:00+02:00\n";
    assert!(!holds(within, "2027-02-28T23:59:59Z", "defender"));
    assert!(holds(within, "2027-03-01T00:00:00Z", "defender"));
    assert!(holds(within, "2027-03-31T15:59:59Z", "defender"));
    assert!(!holds(within, "2027-03-31T16:00:00Z", "defender"));
    assert!(holds("    expires: never\n", "9999-01-01T00:00:00Z", "defender"));
}

#[test]
fn it_holds_for_its_sources_only() {
    let scoped = "    expires: 2027-03-31\n    sources: [falco]\n";
    assert!(!holds(scoped, "2026-01-01T00:00:00Z", "defender"));
    assert!(holds(scoped, "2026-01-01T00:00:00Z", "falco"));
}

#[test]
fn it_says_who_why_and_where() {
    let rules = rules("    expires: 2027-03-31\n    comment: Every Sunday\n");
    let rule = &rules.suppress[0];
    assert_eq!(rule.rule.to_string(), "scanner (rules/suppress/one.yaml:2)");
    assert_eq!((rule.title.as_str(), rule.owner.as_str()), ("Our scanner", "soc@example.com"));
    assert_eq!((rule.reason, rule.comment.as_deref()), (SuppressReason::Expected, Some("Every Sunday")));
    assert_eq!(rule.expires.unwrap().to_string(), "2027-04-01T00:00:00Z");
}

#[test]
fn an_expired_one_is_pointed_out() {
    let rules = rules("    expires: 2027-03-31\n");
    assert!(rules.expired("2027-03-31T23:00:00Z".parse().unwrap()).is_empty());
    let found = rules.expired("2027-04-01T00:00:00Z".parse().unwrap());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].place.to_string(), "rules/suppress/one.yaml:7:14");
    assert!(found[0].message.contains("scanner") && found[0].help.as_ref().unwrap().contains("soc@example.com"));
}

#[test]
fn lists_are_read_from_yaml_and_text() {
    let rules = good(&[
        NO_DEFAULT,
        ("lists/vip.yaml", "- ann\n- 42\n"),
        ("lists/owners.yaml", "web-01: {team: shop, level: 3}\nweb-02: ops\n"),
        ("lists/bad-ips.txt", "# from the feed\n192.0.2.1\n\n192.0.2.2   # seen twice\nhttps://x.example/#top\n"),
    ]);
    let keys = |name: &str| rules.lists.0[name].keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(keys("vip"), ["42", "ann"]);
    assert_eq!(keys("bad-ips"), ["192.0.2.1", "192.0.2.2", "https://x.example/#top"]);
    assert_eq!(rules.lists.0["vip"]["ann"], serde_json::json!(true));
    assert_eq!(rules.lists.0["owners"]["web-01"]["team"], "shop");
}
