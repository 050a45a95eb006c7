//! How fast the index is built, how fast it follows, how large it gets, and how long queries on it take.
//!
//! `cargo bench --bench index [ALERTS]` writes a journal of that many alerts of about 1 KB (one million unless told
//! otherwise), builds the index from it by the code that the daemon runs, lets it follow a burst of 20,000 more, and asks.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use soard::export::ocsf;
use soard::index::build::{build, catch_up, open};
use soard::index::facets::facet;
use soard::index::held::held;
use soard::index::noise::{NoiseRequest, noise};
use soard::index::place::Place;
use soard::index::query::{ROWS_MAX, Request, Sort, list};
use soard::index::readers::Readers;
use soard::index::schema::close;
use soard::journal::writer::Journal;
use soard::journal::{self, Draft, Settings};

const ALERTS: u64 = 1_000_000;
const BURST: u64 = 20_000;
const ROUNDS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let alerts: u64 = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ALERTS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal_dir = folder.path().join("journal");
    let (journal, _) = journal::open(&journal_dir, Settings::default(), &mut |_| Ok(())).expect("a new journal");
    write(&journal, 1, alerts);
    println!("{alerts} alerts, {} MiB of journal", size(&journal_dir) >> 20);

    let place = Place::of(folder.path());
    let _lock = place.lock().expect("nobody else has it");
    let reader = journal.reader();
    let began = Instant::now();
    build(&place, &reader, &mut |_| true).expect("the index is built");
    rate("built", alerts, began);
    println!("the index has {} MiB", size(place.dir()) >> 20);

    write(&journal, alerts + 1, alerts + BURST);
    let mut writer = open(&place, &reader).expect("it was built just now");
    let began = Instant::now();
    catch_up(&mut writer, &reader, &mut |_| true).expect("it catches up");
    rate("followed a burst", BURST, began);
    let last = alerts + BURST + 100;
    write(&journal, alerts + BURST + 1, last);
    let mut slowest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        catch_up(&mut writer, &reader, &mut |_| true).expect("it catches up");
        slowest = slowest.max(began.elapsed());
    }
    println!("a few more at a time: {:.1} ms at most", slowest.as_secs_f64() * 1e3);

    let readers = Readers::new(place);
    let now = at(last);
    println!("\n{:>9} {:>9}  {:>9}  query", "median", "worst", "matching");
    for (filter, all, sort) in queries() {
        let request =
            Request { filter: filter.iter().map(|term| (*term).to_owned()).collect(), all, sort, ..Request::default() };
        let (times, matching) = timed(|| {
            let page = readers.query(|conn| list(conn, &request, now)).expect("an answer");
            (page.matching.n, page.matching.capped)
        });
        let plus = if matching.1 { "+" } else { "" };
        let all = if all { "--all " } else { "" };
        print(&times, &format!("{}{plus}", matching.0), &format!("{all}{} by {}", filter.join(" "), sort.as_str()));
    }
    for field in ["severity", "kind", "host", "tactic"] {
        let request = Request::default();
        let (times, facet) = timed(|| readers.query(|conn| facet(conn, &request, field, now)).expect("an answer").of);
        let plus = if facet.capped { "+" } else { "" };
        print(&times, &format!("{}{plus}", facet.n), &format!("counted by {field}"));
    }
    for by in ["kind", "rule", "source", "host", "title"] {
        let request = NoiseRequest { by: by.into(), ..NoiseRequest::default() };
        let (times, report) = timed(|| readers.query(|conn| noise(conn, &request, now)).expect("an answer"));
        print(&times, &report.of.to_string(), &format!("report noisy by {by}"));
    }
    let (times, held) = timed(|| readers.query(held).expect("an answer"));
    print(&times, &held.len().to_string(), "suppressions with what they hold");
    let before = peak();
    let began = Instant::now();
    let (mut exported, mut bytes) = (0, 0);
    let mut request =
        Request { all: true, sort: Sort::Oldest, limit: Some(ROWS_MAX), uncounted: true, ..Request::default() };
    loop {
        let page = readers.query(|conn| list(conn, &request, now)).expect("a page");
        exported += page.alerts.len() as u64;
        bytes += page.alerts.iter().map(|row| ocsf::line(row).len() + 1).sum::<usize>();
        request.cursor = page.next;
        if request.cursor.is_none() {
            break;
        }
    }
    rate("\nexported as OCSF, page by page", exported, began);
    println!("{} MiB of findings; peak of memory {before} before, {} after", bytes >> 20, peak());

    drop(readers);
    close(writer.into_connection());
    std::fs::write(folder.path().join("soard.yaml"), "state: .\n").expect("a settings file");
    for format in ["csv", "jsonl", "ocsf", "cef"] {
        command(folder.path(), format);
    }
}

/// Runs `soard export` itself on the state folder, and prints how long it takes and the most memory that it has.
fn command(dir: &Path, format: &str) {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
    command.arg("--dir").arg(dir).args(["export", "--all", "--format", format]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the command starts");
    let mut out = child.stdout.take().expect("it was asked for");
    let (mut buffer, mut bytes, mut lines, mut most) = (vec![0; 1 << 20], 0, 0, String::new());
    loop {
        let n = out.read(&mut buffer).expect("its output");
        if n == 0 {
            break;
        }
        bytes += n;
        lines += buffer[..n].iter().filter(|byte| **byte == b'\n').count() as u64;
        most = peak_of(&format!("/proc/{}/status", child.id())).unwrap_or(most);
    }
    let status = child.wait().expect("it ends");
    assert!(status.success(), "soard export --format {format}: {status}");
    rate(&format!("soard export --format {format}"), lines, began);
    println!("  {} MiB; peak of memory {most}", bytes >> 20);
}

/// The most memory that this process has had.
fn peak() -> String {
    peak_of("/proc/self/status").unwrap_or_default()
}

/// The most memory that a process has had, while it lives.
fn peak_of(status: &str) -> Option<String> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_owned())
}

/// Each kind of query, on what is rare, what is common, and what is nowhere.
fn queries() -> Vec<(Vec<&'static str>, bool, Sort)> {
    let severity = [
        vec![],
        vec!["severity=high"],
        vec!["status=in_progress"],
        vec!["seen>=1h"],
        vec!["received<=2026-01-02T00:00:00Z"],
        vec!["kind=Kind-7"],
        vec!["kind!=Kind-7"],
        vec!["source=edr", "severity>=medium"],
        vec!["host=host-1234"],
        vec!["host=~^host-12.4$"],
        vec!["ip=10.1.2.0/24"],
        vec!["ip=10.0.0.0/8"],
        vec!["ip!=10.0.0.0/8"],
        vec!["technique=T1110"],
        vec!["tag=vip", "tactic=Execution"],
        vec!["suppressed_by=rule-3"],
        vec!["title=~(?i)number 77"],
        vec!["run=failed"],
        vec!["host=host-1234", "kind=Kind-1"],
        vec!["host=nobody"],
        vec!["needle123456"],
        vec!["process"],
        vec!["text=\"a process on this host\"", "severity=high"],
        vec!["connected", "kind=Kind-9", "host!=host-5"],
        vec!["nowhere"],
    ];
    let mut queries: Vec<_> = severity.into_iter().map(|filter| (filter, false, Sort::Severity)).collect();
    queries.push((vec![], true, Sort::Newest));
    queries.push((vec!["process"], true, Sort::Oldest));
    queries
}

fn timed<T>(mut ask: impl FnMut() -> T) -> (Vec<Duration>, T) {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        last = Some(ask());
        times.push(began.elapsed());
    }
    times.sort();
    (times, last.expect("there are rounds"))
}

fn print(times: &[Duration], matching: &str, what: &str) {
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    println!("{:>9} {:>9}  {matching:>9}  {what}", ms(times[times.len() / 2]), ms(times[times.len() - 1]));
}

fn rate(what: &str, alerts: u64, began: Instant) {
    let took = began.elapsed().as_secs_f64();
    println!("{what}: {alerts} alerts in {took:.1} s, {:.0}/s", alerts as f64 / took);
}

fn size(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("a folder");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |data| data.len())).sum()
}

fn at(n: u64) -> Timestamp {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().expect("an instant");
    begin + SignedDuration::from_secs(i64::try_from(n).expect("a small number"))
}

/// Entries as a daemon writes them: an intake of one alert each; some alerts come again, some runs end.
fn write(journal: &Journal, from: u64, to: u64) {
    let (done, durable) = sync_channel(1);
    for n in from..=to {
        let (kind, data) = if n % 10 == 9 { ended(n - 1) } else { ("intake", intake(n)) };
        let last = n == to;
        let done = done.clone();
        let draft = Draft { at: at(n), kind, data };
        journal.append(
            draft,
            Box::new(move |fate| {
                fate.expect("the journal takes everything");
                if last {
                    done.send(()).expect("somebody waits");
                }
            }),
        );
    }
    durable.recv_timeout(PATIENCE).expect("the journal is durable");
}

fn ended(n: u64) -> (&'static str, String) {
    let end = if n % 300 == 8 { r#"{"failed":{"error":"no field"}}"# } else { r#"{"finished":{"value":null}}"# };
    ("run", format!(r#"{{"run":"a-{n}.0/ticket","end":{end}}}"#))
}

fn intake(n: u64) -> String {
    let text = "A process on this host connected to an address that is known for command and control. ".repeat(3);
    let severity = ["informational", "low", "low", "medium", "medium", "medium", "high", "low"][(n % 8) as usize];
    let (status, reasons) = match n % 10 {
        8 => (
            "active",
            format!(
                r#"{{"stage":"route","rule":{{"id":"high","place":"r.yaml:3"}},"verdict":{{"run":{{"runs":["a-{n}.0/ticket"]}}}}}}"#
            ),
        ),
        0..=2 => {
            ("dismissed", format!(r#"{{"stage":"suppress","rule":{{"id":"rule-{}","place":"s.yaml:3"}}}}"#, n % 50))
        }
        3 if n % 1000 == 3 => ("in_progress", r#"{"stage":"no_route"}"#.to_owned()),
        3..=5 => ("resolved", r#"{"stage":"resolved"}"#.to_owned()),
        _ => ("active", r#"{"stage":"route","rule":{"id":"all","place":"r.yaml:9"},"verdict":"record"}"#.to_owned()),
    };
    let host = n.wrapping_mul(2_654_435_761) % 20_000;
    let ip = format!("{}.{}.{}.{}", if n.is_multiple_of(3) { 10 } else { 172 }, host % 250, n % 250, n * 7 % 250);
    let again =
        if n.is_multiple_of(7) && n % 10 != 5 && n > 100 { format!("a-{}.0", n - 6) } else { format!("a-{n}.0") };
    let reasons = if again == format!("a-{n}.0") {
        reasons
    } else {
        r#"{"stage":"duplicate","by":"external_id","count":2}"#.into()
    };
    let title = format!("Connection number {} to command and control", n % 500);
    let tag = if n.is_multiple_of(40) { r#","tags":["vip"]"# } else { "" };
    let record = format!(
        r#"{{"id":"ext-{n}","name":"{title}","sev":"{severity}","text":"{text}","needle":"needle{n}","pid":{n},"host":"host-{host}"}}"#
    );
    format!(
        r#"{{"record_no":{n},"source":"{source}","position":{{"http":{{"index":0,"peer":"127.0.0.1"}}}},"record":{{"json":{record}}},"format":"generic","bundle":"0123456789abcdef","alerts":[{{"id":"{again}","part":"","alert":{{"source":"{source}","external_id":"ext-{n}","vendor":"Example","product":"EDR","kind":"Kind-{kind}","title":"{title}","description":"{text}","severity":"{severity}","status":"active","received":"2026-01-01T00:00:00Z","tactics":["{tactic}"],"techniques":["T1110.00{sub}"],"resources":["/subscription/vm-{host}"],"entities":{{"host":[{{"name":"host-{host}"}}],"ip":[{{"address":"{ip}"}}]}}{tag}}},"identity":"{n:016x}","decision":{{"status":"{status}","reasons":[{reasons}]}}}}]}}"#,
        source = ["edr", "cloud", "ids"][(n % 3) as usize],
        kind = n % 30,
        tactic = ["Execution", "Command and Control"][(n % 2) as usize],
        sub = 1 + n % 4,
    )
}
