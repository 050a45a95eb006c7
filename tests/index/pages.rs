//! Pages of a list, while alerts arrive; and what people may write without breaking anything.

use std::collections::BTreeSet;

use soard::index::build::{self, catch_up};
use soard::index::query::{Request, Sort};

use crate::journals::{self, Story, append, open};
use crate::{ENTRIES, World, dump, request};

#[test]
fn each_alert_comes_once_while_others_arrive() {
    for (sort, filter) in [
        (Sort::Severity, &[][..]),
        (Sort::Newest, &[]),
        (Sort::Oldest, &[]),
        (Sort::Severity, &["host!=web-2"]),
        (Sort::Severity, &["kind=Login"]),
        (Sort::Newest, &["seen>=9h"]),
    ] {
        let world = World::empty();
        let mut story = Story::new(3);
        let journal = open(world.state());
        append(&journal, [story.opened()]);
        append(&journal, (0..120).map(|_| story.next()));
        world.build();
        let mut asked = Request { all: true, sort, limit: Some(7), ..request(filter) };
        let whole = world.list(&Request { limit: Some(1000), ..asked.clone() }).unwrap();
        let before: BTreeSet<_> = whole.alerts.iter().map(|row| (row.id, row.severity)).collect();
        let reader = journal.reader();
        let mut writer = build::open(&world.place(), &reader).unwrap();
        let mut seen = Vec::new();
        loop {
            let page = world.list(&asked).unwrap();
            seen.extend(page.alerts.iter().map(|row| row.id));
            append(&journal, (0..4).map(|_| story.next()));
            catch_up(&mut writer, &reader, &mut |_| true).unwrap();
            assert!(page.alerts.len() <= 7);
            asked.cursor = page.next;
            if asked.cursor.is_none() {
                break;
            }
            assert!(seen.len() < 5000, "it ends");
        }
        let once: BTreeSet<_> = seen.iter().copied().collect();
        assert_eq!(once.len(), seen.len(), "{sort:?} {filter:?}: no alert twice");
        // Whose severity changed meanwhile may have moved to where the list has been already.
        let after: BTreeSet<_> = world.all().into_iter().map(|row| (row.id, row.severity)).collect();
        let whole = world.list(&Request { limit: Some(1000), cursor: None, ..asked }).unwrap();
        let still: BTreeSet<_> = whole.alerts.iter().map(|row| row.id).collect();
        let missed: Vec<_> =
            before.intersection(&after).filter(|(id, _)| still.contains(id) && !once.contains(id)).collect();
        assert!(missed.is_empty(), "{sort:?} {filter:?}: {missed:?}");
        assert!(seen.len() > 12, "{sort:?} {filter:?}");
    }
}

#[test]
fn nothing_that_is_written_becomes_sql() {
    let world = World::generated(2, ENTRIES);
    world.build();
    let before = dump(&world);
    let hostile = [
        "'; DROP TABLE alerts; --",
        "\" OR 1=1 --",
        "') UNION SELECT row FROM alerts --",
        "%",
        "_",
        "\\",
        "a' OR 'a'='a",
        "NEAR(\"a\" \"b\")",
        "text : x",
        "{}[]()*^-+\"",
        "\u{202e}\u{feff}",
        "?1",
        "json_each('[1]')",
    ];
    let total = world.all().len();
    for key in soard::index::filter::keys() {
        for (at, sign) in ["=", "!=", "=~", "!~", ">="].into_iter().enumerate() {
            for value in hostile.iter().skip(at).step_by(1 + 2 * at) {
                let term = format!("{key}{sign}{value}");
                let page = world.list(&Request { all: true, limit: Some(1000), ..request(&[&term]) });
                // What is taken is a value: nothing has it, so it fits nothing or, negated, everything.
                if let (Ok(page), false) = (page, sign.contains('~') || key == "text") {
                    let expected = if sign == "!=" { total } else { 0 };
                    assert_eq!(page.alerts.len(), expected, "{term}");
                }
            }
        }
    }
    let (name, asked) = (journals::HOSTS[4], format!("host={}", journals::HOSTS[4]));
    let page = world.list(&Request { all: true, ..request(&[&asked]) }).unwrap();
    assert!(!page.alerts.is_empty(), "{name} is a host like any other");
    assert_eq!(before, dump(&world), "nothing was changed");
}
