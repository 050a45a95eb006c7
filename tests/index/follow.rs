//! The thread that keeps the index: it mends what it finds, and goes on where it was.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use soard::domain::entry::{Facts, Log};
use soard::index::build::{self, catch_up};
use soard::index::follow::{Doing, Follower};
use soard::index::query;
use soard::journal::retention;

use crate::journals::{Story, append, open};
use crate::random::Random;
use crate::support::wait_for;
use crate::{ENTRIES, World, dump, now, request};

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the thread, waits until a build of a higher number than this is up to date, and ends it.
fn mended(world: &World, above: u64, what: &str) {
    let follower = Follower::start(world.place(), world.reader(), || {});
    let index = follower.index();
    wait_for(what, || {
        let standing = index.standing();
        let number = world.place().current().map_or(0, |(number, _)| number);
        (number > above && standing.doing == Doing::Following && standing.behind == 0).then_some(())
    });
    follower.finish(PATIENCE);
}

fn execute(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn overwrite(path: &Path, from: u64, bytes: u64) {
    let mut random = Random::new(7);
    let noise: Vec<u8> = (0..bytes).map(|_| random.next().to_le_bytes()[0]).collect();
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&noise, from).unwrap();
}

/// A way to damage an index file.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 9] = [
    ("it is empty", |path| fs::write(path, "").unwrap()),
    ("it is cut in half", |path| {
        let length = fs::metadata(path).unwrap().len();
        OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    }),
    ("it is no database", |path| fs::write(path, "soard".repeat(10_000)).unwrap()),
    ("noise over its head", |path| overwrite(path, 0, 300)),
    ("noise over its middle", |path| overwrite(path, fs::metadata(path).unwrap().len() / 3, 60_000)),
    ("another version made it", |path| execute(path, "PRAGMA user_version = 99")),
    ("a table is gone", |path| execute(path, "DROP TABLE alerts")),
    ("it does not say how far it goes", |path| execute(path, "DELETE FROM position")),
    ("it is of another journal", |path| execute(path, "UPDATE position SET seq = seq - 3, hash = journal")),
];

#[test]
fn whatever_happens_to_the_file_is_mended() {
    let world = World::generated(4, 200);
    world.build();
    let right = dump(&world);
    for (what, damage) in DAMAGES {
        let (number, path) = world.place().current().unwrap();
        world.readers.close();
        damage(&path);
        mended(&world, number, what);
        assert_eq!(dump(&world), right, "{what}");
    }
    let (number, path) = world.place().current().unwrap();
    execute(&path, "UPDATE position SET seq = seq + 1000");
    mended(&world, number, "beyond");
    assert_eq!(dump(&world), right, "it goes beyond the journal");
    fs::remove_dir_all(world.place().dir()).unwrap();
    mended(&world, 0, "nothing");
    assert_eq!(dump(&world), right, "all of it is gone");
}

#[test]
fn what_is_whole_is_gone_on_with() {
    let world = World::generated(2, ENTRIES);
    world.build();
    fs::write(world.place().dir().join("alerts-2.sqlite.building"), "left by a kill").unwrap();
    let before = dump(&world);
    let follower = Follower::start(world.place(), world.reader(), || {});
    wait_for("the index to follow", || (follower.index().standing().doing == Doing::Following).then_some(()));
    follower.finish(PATIENCE);
    assert_eq!((world.place().current().unwrap().0, dump(&world)), (1, before));
    let left: Vec<_> = fs::read_dir(world.place().dir()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "one file says everything, beside the lock: {left:?}");
}

#[test]
fn it_follows_the_writer_and_answers_while_it_is_built_anew() {
    let world = World::empty();
    let mut story = Story::new(6);
    let journal = open(world.state());
    append(&journal, [story.opened()]);
    let follower = Follower::start(world.place(), journal.reader(), || {});
    let index = follower.index();
    for round in 0..20 {
        append(&journal, (0..20).map(|_| story.next()));
        let head = journal.reader().head().seq;
        index.wait_for(head, PATIENCE);
        let (_, position) = index.query(soard::index::schema::position).unwrap();
        assert!(position.seq >= head, "what was on record is in the index");
        if round % 5 == 4 {
            index.rebuild();
        }
        let page = index.query(|conn| query::list(conn, &request(&[]), now())).unwrap();
        assert!(page.matching.n > 0);
    }
    wait_for("the last build", || (index.standing().doing == Doing::Following).then_some(()));
    follower.finish(PATIENCE);
    let followed = dump(&world);
    world.build();
    assert_eq!(followed, dump(&world));
}

#[test]
fn two_never_write_at_once() {
    let world = World::generated(7, 50);
    let lock = world.place().lock().unwrap();
    let follower = Follower::start(world.place(), world.reader(), || {});
    let said = wait_for("a word about it", || match follower.index().standing().doing {
        Doing::Failing(why) => Some(why),
        _ => None,
    });
    assert!(said.contains("in use by another soard"), "{said}");
    assert_eq!(world.place().current(), None, "nothing was written meanwhile");
    drop(lock);
    follower.finish(Duration::ZERO);
}

#[test]
fn what_retention_drops_goes_from_the_index_too() {
    let world = World::empty();
    let mut story = Story::new(8);
    let journal = open(world.state());
    append(&journal, [story.opened()]);
    append(&journal, (0..400).map(|_| story.next()));
    world.build();
    let before = world.all();
    let dir = world.state().join("journal");
    let (closed, _) = retention::closed(&dir, &mut retention::Ends::new()).unwrap();
    let dropped: Vec<_> = closed[..closed.len() * 2 / 3]
        .iter()
        .map(|closed| retention::seal(&dir, closed, &mut |_| Ok(())).unwrap())
        .collect();
    let last = dropped.last().unwrap().last;
    let log = Log::Dropped {
        policy: "age".into(),
        segments: dropped,
        journal: "0123456789abcdef".into(),
        signed_by: String::new(),
        bundles: Vec::new(),
        runs: Vec::new(),
        letters: Vec::new(),
        base: String::new(),
    };
    append(&journal, [(story.next().0, Facts::Log(log))]);
    let reader = journal.reader();
    let mut writer = build::open(&world.place(), &reader).unwrap();
    catch_up(&mut writer, &reader, &mut |_| true).unwrap();
    drop(writer);
    let left: Vec<_> = before.iter().filter(|row| row.last_entry > last).cloned().collect();
    assert!(left.len() > 20 && left.len() + 20 < before.len(), "{} of {}", left.len(), before.len());
    assert_eq!(world.all(), left, "those that were seen since stay as they were");
    let found = |word: &str| {
        let page = query::Request { all: true, limit: Some(1000), ..request(&[word]) };
        world.list(&page).unwrap().alerts.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let by_word = found("needle1*");
    assert!(by_word.iter().all(|id| left.iter().any(|row| row.id == *id)));

    retention::remove(&dir, last).unwrap();
    world.build();
    let rebuilt = world.all();
    let stand = |rows: &[soard::index::row::Row]| {
        rows.iter().map(|row| (row.id, row.status, row.last_seen, row.last_entry)).collect::<Vec<_>>()
    };
    assert_eq!(stand(&rebuilt), stand(&left), "the same alerts come of what the journal still has");
    assert!(rebuilt.is_sorted_by_key(|row| row.received), "filters by arrival rest on that");
}
