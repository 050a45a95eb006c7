//! What is on record about something is the same, whether the index names the entries or the whole journal is read.

use std::collections::BTreeSet;

use soard::daemon::query::why::{Subject, why};
use soard::daemon::query::{lines, lines_about};
use soard::index::mentions::about_all;
use soard::journal::reader::Reader;

use crate::journals::{append, open};
use crate::{ENTRIES, World, seeds};

/// Every alert, group and run that a journal names.
fn named(reader: &Reader) -> BTreeSet<String> {
    let is_id = |text: &&str| (text.starts_with("a-") || text.starts_with("g-")) && text.parse::<Subject>().is_ok();
    let lines = lines(reader, 1).map(Result::unwrap);
    lines.flat_map(|line| line.data.get().split('"').filter(is_id).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_index_names_every_entry_that_matters() {
    let (mut asked, mut read, mut all) = (0_usize, 0, 0);
    for seed in 0..seeds() {
        let world = World::generated(seed, ENTRIES);
        world.build();
        let reader = world.reader();
        for id in named(&reader) {
            let subject: Subject = id.parse().unwrap();
            let whole = why(&mut lines(&reader, 1), &subject).unwrap();
            let about = world.readers.query(|conn| about_all(conn, &reader, subject.mentioned())).unwrap().unwrap();
            read += about.entries.len();
            let quick = why(&mut lines_about(&reader, about), &subject).unwrap();
            assert_eq!(quick, whole, "{id} of seed {seed}");
            (asked, all) = (asked + 1, all + ENTRIES);
        }
    }
    assert!(asked > 100 && read * 10 < all, "{read} of {all} entries were read for {asked} questions");
}

#[test]
fn what_came_after_the_index_is_found_all_the_same() {
    let world = World::generated(1, ENTRIES);
    world.build();
    let mut story = crate::journals::Story::new(1);
    let journal = open(world.state());
    // The same story goes on behind what the index has.
    let more: Vec<_> = (0..ENTRIES + 200).map(|_| story.next()).skip(ENTRIES).collect();
    append(&journal, more);
    journal.close().unwrap();
    let reader = world.reader();
    let mut behind = 0;
    for id in named(&reader) {
        let subject: Subject = id.parse().unwrap();
        let about = world.readers.query(|conn| about_all(conn, &reader, subject.mentioned())).unwrap().unwrap();
        let known = about.upto;
        let whole = why(&mut lines(&reader, 1), &subject).unwrap();
        assert_eq!(why(&mut lines_about(&reader, about), &subject).unwrap(), whole, "{id}");
        behind += usize::from(known < reader.head().seq);
    }
    assert!(behind > 100, "the index was behind for {behind} questions");
}
