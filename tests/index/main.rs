//! The index says what the journal says: against a slow fold of generated journals, through kills, damage and new entries.

mod about;
mod daemon;
mod follow;
mod journals;
mod noise;
mod oracle;
mod pages;
#[path = "../simulation/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;
use soard::index::IndexError;
use soard::index::build::{self, catch_up};
use soard::index::choose::{choose, choose_within};
use soard::index::facets::facet;
use soard::index::filter::Filter;
use soard::index::place::Place;
use soard::index::plan::{Limits, Plan};
use soard::index::query::{self, Page, Request};
use soard::index::readers::Readers;
use soard::index::related::{RELATED_MAX, related};
use soard::index::row::Row;
use soard::index::schema;
use soard::journal::reader::Reader;

use journals::{Story, append, open};
use oracle::Known;
use random::Random;

/// Journals of an ordinary run, and of the long form.
const SEEDS: u64 = 3;
const SEEDS_LONG: u64 = 200;
/// Entries of a journal.
const ENTRIES: usize = 320;
/// Filters that are tried on one journal.
const FILTERS: usize = 50;

fn seeds() -> u64 {
    if support::long() { SEEDS_LONG } else { SEEDS }
}

/// A state folder with a journal.
struct World {
    folder: tempfile::TempDir,
    readers: Readers,
}

impl World {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let readers = Readers::new(Place::of(folder.path()));
        Self { folder, readers }
    }

    /// With a generated journal.
    fn generated(seed: u64, entries: usize) -> Self {
        let world = Self::empty();
        let mut story = Story::new(seed);
        let journal = open(world.state());
        append(&journal, [story.opened()]);
        append(&journal, (0..entries).map(|_| story.next()));
        journal.close().unwrap();
        world
    }

    fn state(&self) -> &Path {
        self.folder.path()
    }

    fn place(&self) -> Place {
        Place::of(self.state())
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.state().join("journal")).unwrap()
    }

    fn build(&self) {
        let _lock = self.place().lock().unwrap();
        build::build(&self.place(), &self.reader(), &mut |_| true).unwrap();
    }

    /// The journal's lines, parsed by nothing but a JSON reader.
    fn lines(&self) -> Vec<Value> {
        let files = std::fs::read_dir(self.state().join("journal")).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect();
        files.sort();
        let text: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn query<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, IndexError>) -> Result<T, IndexError> {
        self.readers.query(ask)
    }

    fn list(&self, request: &Request) -> Result<Page, IndexError> {
        self.query(|conn| query::list(conn, request, now()))
    }

    /// Every alert, in order of arrival.
    fn all(&self) -> Vec<Row> {
        let sort = query::Sort::Oldest;
        self.list(&Request { all: true, sort, limit: Some(1000), ..Request::default() }).unwrap().alerts
    }
}

/// An hour after the story's middle, so that `seen>=1h` says something.
fn now() -> Timestamp {
    journals::begin() + jiff::SignedDuration::from_hours(2)
}

fn request(filter: &[&str]) -> Request {
    Request { filter: filter.iter().map(|term| (*term).to_owned()).collect(), ..Request::default() }
}

#[test]
fn each_alert_is_what_its_entries_say() {
    for seed in 0..seeds() {
        let world = World::generated(seed, ENTRIES);
        world.build();
        let (rows, known) = (world.all(), oracle::fold(&world.lines()));
        assert_eq!(rows.len(), known.len(), "seed {seed}");
        for (row, known) in rows.iter().zip(&known) {
            same(row, known, seed);
        }
        let total = known.len() as u64;
        let request = Request { all: true, ..Request::default() };
        assert_eq!(world.list(&request).unwrap().matching.n, total);
        assert!(total > 80, "seed {seed} is a story");
    }
}

fn same(row: &Row, known: &Known, seed: u64) {
    let at = format!("seed {seed}, {}", known.id);
    assert_eq!(row.id.to_string(), known.id, "{at}");
    assert_eq!((row.received, row.last_seen, row.count), (known.received, known.last_seen, known.count), "{at}");
    assert_eq!((row.severity.as_str(), row.status.as_str()), (&*known.severity, &*known.status), "{at}");
    assert_eq!((row.fate.as_str(), &row.title), (&*known.fate, &known.title), "{at}");
    assert_eq!((row.first_entry, row.last_entry), (known.first_entry, known.last_entry), "{at}");
    assert_eq!(row.suppressed_by.as_ref().map(|rule| rule.id.clone()), known.suppressed_by, "{at}");
    assert_eq!(row.tags.iter().cloned().collect::<BTreeSet<_>>(), known.tags(), "{at}");
    let runs = row.runs.iter().map(|run| (run.id.to_string(), run.outcome.to_string())).collect();
    assert_eq!(known.runs, runs, "{at}");
    assert_eq!((&row.silenced_by, &row.assignee), (&known.silenced_by, &known.assignee), "{at}");
    let reason = row.useful_reason.map(|reason| reason.to_string());
    assert_eq!((row.useful, reason), (known.useful, known.useful_reason.clone()), "{at}");
    assert_eq!(row.closed_as.map(|reason| reason.to_string()), known.closed_as, "{at}");
    assert_eq!(
        (row.orders, row.first_order, row.deliveries),
        (known.orders, known.first_order, known.deliveries),
        "{at}"
    );
    assert_eq!(row.routes, known.routes, "{at}");
    let text = |name: &str| known.alert[name].as_str().map(str::to_owned);
    assert_eq!((row.kind.clone(), row.external_id.clone()), (text("kind"), text("external_id")), "{at}");
    assert_eq!((row.description.clone(), Some(row.source.clone())), (text("description"), text("source")), "{at}");
    let hosts = row.entities.get("host").cloned().unwrap_or_default();
    assert_eq!(hosts.into_iter().collect::<BTreeSet<_>>(), known.values("host").into_iter().collect(), "{at}");
}

/// A term, and what it means.
type Term = (String, Box<dyn Fn(&Known) -> bool>);

/// A filter as people write it, and the same as a function.
fn term(random: &mut Random) -> Term {
    let rank = |word: &str| journals::SEVERITIES.iter().position(|known| *known == word).unwrap();
    match random.below(14) {
        0 => {
            let word = *random.pick(&journals::SEVERITIES);
            let (sign, fits): (&str, fn(usize, usize) -> bool) = *random.pick(&[
                (">=", (|a, b| a >= b) as fn(usize, usize) -> bool),
                ("<", |a, b| a < b),
                ("=", |a, b| a == b),
                ("!=", |a, b| a != b),
            ]);
            (format!("severity{sign}{word}"), Box::new(move |known| fits(rank(&known.severity), rank(word))))
        }
        1 => {
            let (one, two) = (*random.pick(&journals::STATUSES), *random.pick(&journals::STATUSES));
            (format!("status={one},{two}"), Box::new(move |known| known.status == one || known.status == two))
        }
        2 => {
            let hours = 1 + random.below(4);
            let at = now() - jiff::SignedDuration::from_hours(i64::try_from(hours).unwrap());
            (format!("seen>={hours}h"), Box::new(move |known| known.last_seen >= at))
        }
        3 => {
            let minutes = random.below(400);
            let at = journals::begin() + jiff::SignedDuration::from_mins(i64::try_from(minutes).unwrap());
            let after = random.chance(50);
            let sign = if after { ">" } else { "<=" };
            (format!("received{sign}{at}"), Box::new(move |known| (known.received > at) == after))
        }
        4 => {
            let (net, bits, fits): (_, _, fn(&str) -> bool) = *random.pick(&[
                ("10.1.0.0", "/16", (|ip| ip.starts_with("10.1.")) as fn(&str) -> bool),
                ("0.0.0.0", "/0", |ip| !ip.contains(':')),
                ("10.2.0.1", "", |ip| ip == "10.2.0.1"),
                ("2001:db8::", "/48", |ip| ip == "2001:db8::1"),
            ]);
            let not = random.chance(30);
            let sign = if not { "!=" } else { "=" };
            (format!("ip{sign}{net}{bits}"), Box::new(move |known| known.values("ip").iter().any(|ip| fits(ip)) != not))
        }
        5 => {
            let (text, fits): (_, fn(&str) -> bool) = *random.pick(&[
                ("(?i)scan$", (|value| value.to_lowercase().ends_with("scan")) as fn(&str) -> bool),
                ("^L", |value| value.starts_with('L')),
                ("\"disk\" used_up", |value| value.contains("\"disk\" used_up")),
            ]);
            let not = random.chance(30);
            let sign = if not { "!~" } else { "=~" };
            (format!("title{sign}{text}"), Box::new(move |known| fits(&known.title) != not))
        }
        6 => {
            let parent = random.chance(50);
            let technique = if parent { "T1110" } else { "T1059.001" };
            let fits = move |value: &String| value == technique || parent && value == "T1110.001";
            (format!("technique={technique}"), Box::new(move |known| known.values("technique").iter().any(fits)))
        }
        7 => {
            let word =
                random.pick(&["needle7", "straw3", "wien", "scan", "PRINTER", "nowhere", "192.0.2.9"]).to_lowercase();
            let parts: Vec<String> = word.split('.').map(str::to_owned).collect();
            (word, Box::new(move |known| parts.iter().all(|part| known.words.contains(part))))
        }
        n => label(random, n),
    }
}

fn label(random: &mut Random, n: usize) -> Term {
    let (field, values): (&'static str, &[&'static str]) = match n {
        8 => ("host", &journals::HOSTS),
        9 => ("entity", &["db-1", "192.0.2.9", "nobody"]),
        10 => ("tag", &journals::TAGS),
        11 => ("run", &["open", "finished", "failed", "stalled", "cancelled"]),
        12 => *random.pick(&[
            ("suppressed_by", &journals::RULES[..]),
            ("silenced_by", &journals::SILENCES),
            ("route", &journals::ROUTES),
            ("assignee", &["bo", "ANN"]),
            ("feedback", &["useful", "not_useful"]),
            ("is_incident", &["true", "false"]),
            ("fate", &["suppressed", "silenced", "resolved", "unrouted", "recorded", "throttled", "grouped", "ran"]),
            ("playbook", &journals::PLAYBOOKS),
        ]),
        _ => *random.pick(&[
            ("source", &journals::SOURCES[..]),
            ("kind", &journals::KINDS),
            ("title", &journals::TITLES),
            ("tactic", &journals::TACTICS),
            ("resource", &["/sub/1/vm-a", "/SUB/1/VM-B"]),
        ]),
    };
    let (value, not) = (*random.pick(values), random.chance(30));
    let sign = if not { "!=" } else { "=" };
    let fits = move |known: &Known| known.values(field).iter().any(|one| one.eq_ignore_ascii_case(value)) != not;
    (format!("{field}{sign}{value}"), Box::new(fits))
}

#[test]
fn filters_find_what_a_look_at_every_alert_finds() {
    let mut found = BTreeSet::new();
    for seed in 0..seeds() {
        let world = World::generated(seed, ENTRIES);
        world.build();
        let known = oracle::fold(&world.lines());
        let mut random = Random::new(seed ^ 0xf11e);
        for _ in 0..FILTERS {
            let terms: Vec<Term> = (0..=random.below(3)).map(|_| term(&mut random)).collect();
            let texts: Vec<&str> = terms.iter().map(|(text, _)| text.as_str()).collect();
            let request = Request { all: random.chance(30), limit: Some(1000), ..request(&texts) };
            // With small limits a query goes the ways that only large indexes see.
            let small = Limits { lead: 4, pair: 6, dear: 3, labels: 1 };
            let limits = if random.chance(50) { small } else { Limits::default() };
            let page = world.query(|conn| query::list_within(conn, &request, now(), limits));
            let page = page.unwrap_or_else(|error| panic!("{texts:?}: {error:?}"));
            let fitting: Vec<&Known> = known.iter().filter(|known| terms.iter().all(|(_, fits)| fits(known))).collect();
            let mut expected: Vec<&Known> = fitting.iter().copied().filter(|known| shown(known, &request)).collect();
            let rank = |known: &Known| journals::SEVERITIES.iter().position(|word| *word == known.severity);
            expected.sort_by_key(|known| std::cmp::Reverse((rank(known), known.order)));
            let ids: Vec<String> = page.alerts.iter().map(|row| row.id.to_string()).collect();
            let expected: Vec<String> = expected.iter().map(|known| known.id.clone()).collect();
            assert_eq!(ids, expected, "seed {seed}, {texts:?}");
            assert!(page.matching.n <= expected.len() as u64, "seed {seed}, {texts:?}");
            assert!(page.matching.capped || page.matching.n == expected.len() as u64, "seed {seed}, {texts:?}");
            assert!(limits == small || !page.matching.capped, "seed {seed}, {texts:?}");
            let chosen = world.query(|conn| choose(conn, &request, now())).unwrap();
            let ids: Vec<String> = chosen.alerts.iter().map(ToString::to_string).collect();
            assert_eq!(ids, expected, "seed {seed}, {texts:?}: what is chosen is what is listed");
            let counted: u64 = chosen.by_status.iter().map(|(_, n)| n).sum();
            assert_eq!(counted, expected.len() as u64, "seed {seed}, {texts:?}");
            assert_eq!(chosen.first, page.alerts[..page.alerts.len().min(10)], "seed {seed}, {texts:?}");
            if let Some(left_out) = page.left_out {
                assert_eq!(left_out, (fitting.len() - expected.len()) as u64, "seed {seed}, {texts:?}");
            }
            if !expected.is_empty() {
                found.extend(texts.iter().map(|text| text[..text.len().min(4)].to_owned()));
            }
        }
    }
    assert!(found.len() > 15, "the filters find something: {found:?}");
}

/// What is answered, and how often SQLite's machine came by meanwhile: a measure of how much it looked at.
fn steps<T>(world: &World, ask: impl FnOnce(&Connection) -> Result<T, IndexError>) -> (T, u64) {
    let (_, path) = world.place().current().unwrap();
    let mut conn = schema::open_to_read(&path).unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let steps = taken.clone();
    let count = move || steps.fetch_add(1, Ordering::Relaxed) == u64::MAX;
    conn.progress_handler(1, Some(count)).unwrap();
    (ask(&conn).unwrap(), taken.load(Ordering::Relaxed))
}

#[test]
fn what_is_chosen_is_found_by_its_rarest_condition_and_not_by_a_look_at_every_alert() {
    let world = World::generated(1, ENTRIES);
    world.build();
    let asked = Request { all: true, ..request(&["needle7"]) };
    let walk = |conn: &Connection| {
        let plan = Plan::new(conn, &Filter::parse(&asked.filter, now())?, &asked, Limits::default())?;
        plan.walked(conn, None, ENTRIES)
    };
    let (chosen, few) = steps(&world, |conn| choose(conn, &asked, now()));
    let (walked, many) = steps(&world, walk);
    assert_eq!(chosen.alerts.len(), walked.len());
    assert!(
        !walked.is_empty() && few < many,
        "{few} steps for {} alerts, {many} by looking at every one",
        walked.len()
    );
}

#[test]
fn more_than_can_be_changed_at_once_are_refused() {
    let world = World::generated(1, ENTRIES);
    world.build();
    let all = Request { all: true, ..Request::default() };
    let there = world.all().len();
    let chosen = |most| world.query(|conn| choose_within(conn, &all, now(), most));
    assert_eq!(chosen(there).unwrap().alerts.len(), there);
    let refused = chosen(there - 1).unwrap_err().to_string();
    assert!(refused.contains(&format!("more than {} alerts fit", there - 1)), "{refused}");
}

/// What the defaults show.
fn shown(known: &Known, request: &Request) -> bool {
    let asks =
        |keys: &[&str]| request.all || request.filter.iter().any(|term| keys.iter().any(|key| term.starts_with(key)));
    (asks(&["severity", "is_incident"]) || known.severity != "informational")
        && (asks(&["status", "suppressed_by", "fate"]) || ["active", "in_progress"].contains(&&*known.status))
}

#[test]
fn facets_count_what_is_there() {
    let world = World::generated(1, ENTRIES);
    world.build();
    let known = oracle::fold(&world.lines());
    for all in [false, true] {
        for field in ["severity", "status", "title", "source", "tag", "run", "host"] {
            let asked = Request { all, ..Request::default() };
            let facet = world.query(|conn| facet(conn, &asked, field, now())).unwrap();
            let mut counts = std::collections::BTreeMap::new();
            for known in known.iter().filter(|known| shown(known, &asked)) {
                let values = match field {
                    "severity" => vec![known.severity.clone()],
                    "status" => vec![known.status.clone()],
                    field => known.values(field),
                };
                let values: BTreeSet<String> = values.iter().map(|value| value.to_lowercase()).collect();
                values.into_iter().for_each(|value| *counts.entry(value).or_insert(0_u64) += 1);
            }
            let got = facet.values.iter().map(|(value, n)| (value.to_lowercase(), *n)).collect();
            assert_eq!(counts, got, "{field}, all: {all}");
            assert!(facet.values.is_sorted_by_key(|(_, n)| std::cmp::Reverse(*n)));
        }
    }
    let wrong = world.query(|conn| facet(conn, &Request::default(), "sevrity", now())).unwrap_err();
    assert!(wrong.to_string().contains("did you mean `severity`"), "{wrong}");
}

#[test]
fn what_was_written_batch_by_batch_is_what_is_built_at_once() {
    for seed in 0..seeds() {
        let world = World::generated(seed, ENTRIES);
        let mut random = Random::new(seed);
        // An index of the journal's beginning, then the rest in batches, some of which are lost half-way.
        let journal = world.state().join("journal");
        let later = tempfile::tempdir().unwrap();
        std::fs::rename(&journal, later.path().join("journal")).unwrap();
        drop(open(world.state()));
        world.build();
        std::fs::remove_dir_all(&journal).unwrap();
        std::fs::rename(later.path().join("journal"), &journal).unwrap();
        let reader = world.reader();
        let lines: Vec<_> = reader.lines(1).map(Result::unwrap).collect();
        let mut writer = build::open(&world.place(), &reader).unwrap();
        let mut next = 0;
        while next < lines.len() {
            let end = (next + 1 + random.below(30)).min(lines.len());
            lines[next..end].iter().for_each(|line| writer.take(line).unwrap());
            if random.chance(30) {
                writer.undo();
                writer = build::open(&world.place(), &reader).unwrap();
            } else {
                let last = &lines[end - 1];
                writer.commit(&soard::journal::Receipt { seq: last.seq, hash: last.hash.clone() }).unwrap();
                next = end;
            }
        }
        assert_eq!(catch_up(&mut writer, &reader, &mut |_| true).unwrap().seq, lines.len() as u64);
        drop(writer);
        let one_by_one = dump(&world);
        world.build();
        assert_eq!(one_by_one, dump(&world), "seed {seed}");
    }
}

/// Everything that the tables say, without the numbers that they give to labels.
fn dump(world: &World) -> Vec<String> {
    let (_, path) = world.place().current().unwrap();
    let conn = Connection::open(path).unwrap();
    let mut lines = Vec::new();
    for sql in [
        "SELECT json_array(id, status, severity, received, last_seen, last_entry, content, row) FROM alerts ORDER BY id",
        "SELECT json_array(field, lower(value), hex(ip), alert) FROM marks JOIN labels ON labels.id = label ORDER BY field, lower(value), alert",
        "SELECT json_array(grp, alert) FROM members ORDER BY grp, alert",
        "SELECT json_array(id, outcome, started, ended, entry, error) FROM runs ORDER BY id",
        "SELECT json_array(run, step, key, kind, destination, outcome, attempts, code, asked, ended, error) FROM deliveries ORDER BY run, step",
        "SELECT json_array(alert, entry, n, at, actor, what, value, reason, comment) FROM changes ORDER BY alert, entry, n",
        "SELECT json_array(alert, lower(s.value), lower(k.value), status, severity, suppressed, fate, closed_as, useful, useful_reason, times, f.last_seen, runs, deliveries, orders, waited) FROM figures AS f LEFT JOIN labels AS s ON s.id = source LEFT JOIN labels AS k ON k.id = kind ORDER BY alert",
        "SELECT json_array(subject, entry) FROM mentions ORDER BY subject, entry",
        "SELECT json_array(entry, at, id) FROM bundles ORDER BY entry",
        "SELECT json_array(journal, seq, hash) FROM position",
    ] {
        let mut statement = conn.prepare(sql).unwrap();
        let before = lines.len();
        lines.extend(statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
        assert!(lines.len() > before, "{sql} says something");
    }
    for word in ["needle1", "needle2", "straw3", "scan", "wien", "web"] {
        let mut statement = conn.prepare("SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid").unwrap();
        let ids = statement.query_map([word], |row| row.get::<_, i64>(0)).unwrap().map(Result::unwrap);
        lines.push(format!("{word}: {:?}", ids.collect::<Vec<_>>()));
    }
    lines
}

/// What another alert has in common, in any case of letters.
fn in_common(one: &Row, other: &Row) -> usize {
    let values = |row: &Row| -> BTreeSet<String> {
        row.entities.values().flatten().chain(&row.resources).map(|value| value.to_ascii_lowercase()).collect()
    };
    values(one).intersection(&values(other)).count()
}

#[test]
fn related_alerts_are_those_that_share_most_and_then_the_newest() {
    let mut found = 0;
    for seed in 0..seeds() {
        let world = World::generated(seed, ENTRIES);
        world.build();
        let all = world.all();
        for one in &all {
            let others = all.iter().filter(|other| other.id != one.id);
            let mut expected: Vec<(usize, &Row)> = others.map(|other| (in_common(one, other), other)).collect();
            expected.retain(|(shares, _)| *shares > 0);
            expected.sort_by_key(|(shares, other)| (std::cmp::Reverse(*shares), std::cmp::Reverse(other.id)));
            let capped = expected.len() > RELATED_MAX;
            let expected: Vec<_> =
                expected.iter().take(RELATED_MAX).map(|(shares, other)| (other.id, *shares)).collect();
            let related = world.query(|conn| related(conn, one.id)).unwrap();
            let got: Vec<_> = related.alerts.iter().map(|other| (other.id, other.shares.len())).collect();
            assert_eq!((got, related.capped), (expected, capped), "seed {seed}, {}", one.id);
            found += related.alerts.len();
        }
    }
    assert!(found > 1_000, "only {found} were related at all");
    let world = World::generated(0, ENTRIES);
    world.build();
    let unknown = world.query(|conn| related(conn, "a-999999.0".parse().unwrap())).unwrap();
    assert!(unknown.alerts.is_empty());
}
