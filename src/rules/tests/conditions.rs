//! Conditions: precedence, quantifiers, and what is no condition.

use crate::rules::condition::{DEPTH_MAX, parse};

const NAMES: [&str; 5] = ["sel", "filter_a", "filter_b", "other", "_hidden"];

/// The searches that hold, by first letters, and what the condition then says.
fn holds(text: &str, held: &[&str]) -> bool {
    let expr = parse(text, &NAMES).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
    expr.holds(&mut |number| held.contains(&NAMES[number]))
}

#[test]
fn not_binds_tighter_than_and_and_and_tighter_than_or() {
    for (text, held, expected) in [
        ("sel", &["sel"][..], true),
        ("not sel", &[], true),
        ("not not sel", &["sel"], true),
        ("sel or other and filter_a", &["sel"], true),
        ("(sel or other) and filter_a", &["sel"], false),
        ("not sel and other", &["other"], true),
        ("not sel and other", &[], false),
        ("not (sel and other)", &["other"], true),
        ("not sel or other", &["sel"], false),
        ("sel and not filter_a and not filter_b", &["sel"], true),
        ("sel and not 1 of filter_*", &["sel"], true),
        ("sel and not 1 of filter_*", &["sel", "filter_b"], false),
        ("any of filter_*", &["filter_b"], true),
        ("all of filter_*", &["filter_a"], false),
        ("all of filter_*", &["filter_a", "filter_b"], true),
        ("2 of them", &["sel", "other"], true),
        ("2 of them", &["sel", "_hidden"], false),
        ("1 of *_a", &["filter_a"], true),
        ("all of f*_*", &["filter_a", "filter_b"], true),
        ("1 of sel", &["sel"], true),
        ("not all of them", &["sel"], true),
        ("((sel))", &["sel"], true),
        ("  sel\n  and\n  other ", &["sel", "other"], true),
        ("(sel)and(other)", &["sel", "other"], true),
    ] {
        assert_eq!(holds(text, held), expected, "{text} with {held:?}");
    }
}

#[test]
fn what_is_no_condition_says_where_and_why() {
    let faults: Vec<String> = [
        "",
        "sel and",
        "and sel",
        "sel other",
        "(sel",
        "sel)",
        "sel AND other",
        "NOT sel",
        "sle",
        "1 of none*",
        "3 of filter_*",
        "0 of them",
        "few of them",
        "filter_*",
        "sel | count() > 5",
        "sel || other",
        "sel && other",
        "1 of",
        "of them",
    ]
    .iter()
    .map(|text| {
        let bad = parse(text, &NAMES).expect_err(text);
        let help = bad.help.map(|help| format!("; {help}")).unwrap_or_default();
        format!("{text:18} {}: {}{help}", bad.at, bad.message)
    })
    .collect();
    insta::assert_snapshot!(faults.join("\n"));
}

#[test]
fn nesting_ends_at_a_limit_and_not_in_the_stack() {
    let nested = |depth: usize| format!("{}sel{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX), &NAMES).is_ok());
    assert!(parse(&nested(DEPTH_MAX + 1), &NAMES).unwrap_err().message.contains("nested"));
    assert!(parse(&nested(100_000), &NAMES).is_err());
    assert!(parse(&format!("{}sel", "not ".repeat(100_000)), &NAMES).is_err());
}
