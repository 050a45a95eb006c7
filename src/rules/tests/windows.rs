//! Times of day and week, over midnight and where clocks change.

use jiff::Timestamp;

use super::good;
use crate::rules::compile::Rules;

fn rules(window: &str) -> Rules {
    good(&[("rules/route/one.yaml", &format!("route:\n  - id: all\n    mute: {{{window}}}\n"))])
}

fn covers(window: &str, at: &str) -> bool {
    let at: Timestamp = at.parse().unwrap();
    rules(window).routes[0].still(at).is_some()
}

#[test]
fn a_window_begins_on_its_days_and_runs_over_midnight() {
    // 2026-03-02 is a Monday.
    let nights = r#"from: "22:00", to: "06:00", days: [mon-fri]"#;
    for (at, expected) in [
        ("2026-03-02T21:59:59Z", false),
        ("2026-03-02T22:00:00Z", true),
        ("2026-03-03T05:59:59Z", true),
        ("2026-03-03T06:00:00Z", false),
        ("2026-03-02T03:00:00Z", false), // Monday morning belongs to Sunday's night
        ("2026-03-07T03:00:00Z", true),  // Saturday morning to Friday's
        ("2026-03-07T23:00:00Z", false),
    ] {
        assert_eq!(covers(nights, at), expected, "{at}");
    }
    assert!(covers("from: 22:00, to: 06:00", "2026-03-02T23:00:00Z"), "quotes are advised, not needed");
    let days = r#"from: "09:00", to: "17:00", days: [sat, sunday]"#;
    assert!(covers(days, "2026-03-07T09:00:00Z") && covers(days, "2026-03-08T16:59:59Z"));
    assert!(!covers(days, "2026-03-07T17:00:00Z") && !covers(days, "2026-03-09T12:00:00Z"));
    assert!(covers("days: [sat-mon]", "2026-03-02T12:00:00Z") && !covers("days: [sat-mon]", "2026-03-03T00:00:00Z"));
    assert!(covers(r#"to: "06:00""#, "2026-03-02T00:00:00Z") && !covers(r#"to: "06:00""#, "2026-03-02T06:00:00Z"));
    assert!(covers(r#"from: "18:00", to: "24:00""#, "2026-03-02T23:59:59Z"));
}

#[test]
fn a_window_follows_the_wall_clock_of_its_zone() {
    let office = r#"from: "09:00", to: "17:00", zone: Europe/Berlin"#;
    // Winter is UTC+1, summer UTC+2.
    assert!(covers(office, "2026-01-15T08:00:00Z") && !covers(office, "2026-01-15T07:59:59Z"));
    assert!(covers(office, "2026-07-15T07:00:00Z") && !covers(office, "2026-07-15T06:59:59Z"));
    // On 2026-03-29 the clock jumps from 02:00 to 03:00: what lies between does not exist that day.
    let early = r#"from: "02:15", to: "03:30", zone: Europe/Berlin"#;
    assert!(!covers(early, "2026-03-29T00:59:59Z"));
    assert!(covers(early, "2026-03-29T01:00:00Z") && covers(early, "2026-03-29T01:29:59Z"));
    assert!(!covers(early, "2026-03-29T01:30:00Z"));
    // On 2026-10-25 the hour from 02:00 to 03:00 comes twice, and both are in the window.
    let twice = r#"from: "02:00", to: "03:00", zone: Europe/Berlin"#;
    for at in ["2026-10-25T00:00:00Z", "2026-10-25T00:59:59Z", "2026-10-25T01:30:00Z"] {
        assert!(covers(twice, at), "{at}");
    }
    assert!(!covers(twice, "2026-10-25T02:00:00Z") && !covers(twice, "2026-10-24T23:59:59Z"));
    // The day is the zone's, not UTC's.
    let monday = "days: [mon], zone: Asia/Tokyo";
    assert!(covers(monday, "2026-03-01T15:00:00Z") && !covers(monday, "2026-03-02T15:00:00Z"));
}

#[test]
fn a_route_says_which_time_keeps_it_still() {
    let text = "times:\n  office: {from: \"09:00\", to: \"17:00\", days: [mon-fri]}\n  lunch: {from: \"12:00\", to: \"13:00\"}\n\
                route:\n  - id: all\n    active: office\n    mute: [lunch, {from: \"16:00\", to: \"17:00\", zone: Europe/Berlin}]\n";
    let rules = good(&[("rules/route/one.yaml", text)]);
    let still = |at: &str| rules.routes[0].still(at.parse().unwrap());
    assert_eq!(still("2026-03-02T10:00:00Z"), None);
    assert_eq!(still("2026-03-02T12:30:00Z").as_deref(), Some("lunch"));
    assert_eq!(still("2026-03-02T15:30:00Z").as_deref(), Some("16:00-17:00 Europe/Berlin"));
    assert_eq!(still("2026-03-02T20:00:00Z").as_deref(), Some("outside office"));
}
