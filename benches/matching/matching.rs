//! How fast the matcher is, beside a public Sigma engine with the same rules and the same alerts.
//!
//! One thread; every figure is the best of several passes, in the thread's own processor time, so that
//! neighbours disturb it little. Text goes in, numbers of rules come out.
//! Run: `cargo bench --manifest-path benches/matching/Cargo.toml`; with `-- quick` only what the last line needs,
//! with `-- compile` only what compiling costs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rsigma_eval::{Engine, JsonEvent};
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Value, json};
use soard::domain::alert::Alert;
use soard::rules::compile::{self, Rules};
use soard::rules::known::Known;
use soard::rules::normalise;
use soard::rules::sigma::{self, SigmaRules};
use soard_matching::{Kind, Rule, alerts, rules};

const COUNTS: [usize; 4] = [10, 100, 1_000, 10_000];
const ALERTS: usize = 4_000;
const SEED: u64 = 7;

/// The version of the engine that is compared with, as Cargo.lock has it.
fn rival_version() -> String {
    let lock = include_str!("Cargo.lock");
    let at = lock.find("name = \"rsigma-eval\"\nversion = \"").expect("the rival is in Cargo.lock");
    lock[at..].split('"').nth(3).expect("a version").to_owned()
}

fn files(path: &str, document: &Value) -> BTreeMap<String, String> {
    let route = ("rules/route/none.yaml".to_owned(), "default_route: none\n".to_owned());
    BTreeMap::from([(path.to_owned(), document.to_string()), route])
}

fn sigma_files(rules: &[Rule]) -> BTreeMap<String, String> {
    let all: Vec<Value> = rules.iter().map(|rule| json!({"title": "T", "detection": rule.detection})).collect();
    files("rules/detect/all.yaml", &json!({"detect": all}))
}

fn suppress_files(rules: &[Rule]) -> BTreeMap<String, String> {
    let one = |(number, rule): (usize, &Rule)| json!({"id": format!("r{number}"), "title": "T", "owner": "o", "reason": "expected", "expires": "2099-01-01", "match": rule.detection});
    files("rules/suppress/all.yaml", &json!({"suppress": rules.iter().enumerate().map(one).collect::<Vec<_>>()}))
}

fn compiled(files: &BTreeMap<String, String>) -> SigmaRules {
    let (rules, found) = sigma::compile(files);
    assert!(found.is_empty(), "{:?}", found.first());
    rules
}

fn suppressing(files: &BTreeMap<String, String>) -> Rules {
    let (rules, found) = compile::compile(files, &Known::default());
    assert!(found.is_empty(), "{:?}", found.first());
    rules
}

fn rival(rules: &[Rule]) -> Engine {
    let mut engine = Engine::new();
    let text: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(number, rule)| {
            json!({"title": "T", "id": number.to_string(), "logsource": {"category": "alert"}, "detection": rule.detection}).to_string()
        })
        .collect();
    let collection = parse_sigma_yaml(&text.join("\n---\n")).expect("the rival reads the rules");
    assert_eq!(collection.rules.len(), rules.len(), "the rival takes every rule");
    engine.add_collection(&collection).expect("the rival compiles the rules");
    engine
}

fn rival_matches(engine: &Engine, text: &str) -> Vec<u32> {
    let event: Value = serde_json::from_str(text).expect("JSON");
    let results = engine.evaluate(&JsonEvent::borrow(&event));
    let number = |id: &Option<String>| id.as_deref().and_then(|id| id.parse().ok()).expect("our id");
    let mut out: Vec<u32> = results.iter().map(|result| number(&result.header.rule_id)).collect();
    out.sort_unstable();
    out
}

/// The processor time that this thread has used.
fn used() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The best time of each run, which take turns; each with how many alerts it is for, and its time for one.
fn best(passes: usize, mut runs: Vec<(usize, Box<dyn FnMut() -> usize + '_>)>) -> Vec<Duration> {
    let mut best = vec![Duration::MAX; runs.len()];
    for _ in 0..passes {
        for ((alerts, run), best) in runs.iter_mut().zip(&mut best) {
            let start = used();
            std::hint::black_box(run());
            *best = ((used() - start) / u32::try_from(*alerts).expect("a count")).min(*best);
        }
    }
    best
}

fn micros(time: Duration) -> String {
    format!("{:7.2}", time.as_secs_f64() * 1e6)
}

/// The alert that a format would make of such a record.
fn stamped(text: &String) -> Alert {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    value["source"] = "bench".into();
    value["received"] = "2026-03-01T10:00:01Z".into();
    serde_json::from_value(value).expect("an alert")
}

/// Rules and alerts of one line, compiled for both engines.
struct Case {
    kind: Kind,
    count: usize,
    texts: Vec<String>,
    parsed: Vec<Alert>,
    ours: SigmaRules,
    path: Rules,
    rival: Engine,
    /// Of how many alerts in a hundred something matches.
    share: f64,
}

/// Times per alert of one line.
struct Line {
    text: Duration,
    rival: Duration,
}

impl Case {
    fn new(kind: Kind, count: usize, percent: usize) -> Self {
        let rules = rules(kind, count, SEED);
        let texts = alerts(&rules, percent, ALERTS, SEED);
        let parsed = texts.iter().map(stamped).collect();
        let ours = compiled(&sigma_files(&rules));
        let path = suppressing(&suppress_files(&rules));
        let mut case = Self { kind, count, texts, parsed, ours, path, rival: rival(&rules), share: 0.0 };
        case.share = case.compare();
        case
    }

    /// The engines must find the same in every alert that is compared.
    fn compare(&self) -> f64 {
        let compared = if self.count >= 1_000 { 500 } else { ALERTS };
        let mut matching = 0;
        for (text, alert) in self.texts.iter().zip(&self.parsed).take(compared) {
            let found = self.ours.matches(text).expect("JSON");
            assert_eq!(found, rival_matches(&self.rival, text), "the engines disagree on {text}");
            let by_alert: Vec<u32> = self.path.matches(alert).suppressions().map(|number| number as u32).collect();
            assert_eq!(found, by_alert, "both ways must find the same in {text}");
            matching += usize::from(!found.is_empty());
        }
        100.0 * matching as f64 / compared as f64
    }

    fn texts_once(&self) -> usize {
        self.texts.iter().map(|text| self.ours.matches(text).expect("JSON").len()).sum()
    }

    fn alerts_once(&self) -> usize {
        self.parsed.iter().map(|alert| self.path.matches(alert).suppressions().count()).sum()
    }

    /// The rival takes a quarter of the alerts when the rules are many.
    fn rival_alerts(&self) -> usize {
        if self.count >= 1_000 { ALERTS / 4 } else { ALERTS }
    }

    fn rival_once(&self) -> usize {
        let texts = self.texts.iter().take(self.rival_alerts());
        texts.map(|text| rival_matches(&self.rival, text).len()).sum()
    }

    fn print(&self, times: &[Duration]) -> Line {
        let (text, alert, rival) = (times[0], times[1], times[2]);
        println!(
            "| {:9} | {:6} | {:5.1} % | {} | {} | {} | {:5.1} x |",
            self.kind.as_str(),
            self.count,
            self.share,
            micros(text),
            micros(alert),
            micros(rival),
            rival.as_secs_f64() / text.as_secs_f64(),
        );
        Line { text, rival }
    }
}

/// Measures the cases in turns, so that what disturbs one disturbs the others, and prints a line of each.
fn measure(cases: &[Case], passes: usize) -> Vec<Line> {
    let mut runs: Vec<(usize, Box<dyn FnMut() -> usize + '_>)> = Vec::new();
    for case in cases {
        runs.push((ALERTS, Box::new(|| case.texts_once())));
        runs.push((ALERTS, Box::new(|| case.alerts_once())));
        runs.push((case.rival_alerts(), Box::new(|| case.rival_once())));
    }
    let times = best(passes, runs);
    cases.iter().zip(times.chunks(3)).map(|(case, times)| case.print(times)).collect()
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn compile_cost() {
    let rules = rules(Kind::Mixed, 10_000, SEED);
    let files = suppress_files(&rules);
    let before = resident_bytes();
    let start = used();
    let first = suppressing(&files);
    let time = used() - start;
    let memory = resident_bytes().saturating_sub(before) as f64 / f64::from(1 << 20);
    let times: Vec<Duration> = (0..3)
        .map(|_| {
            let start = used();
            let again = suppressing(&files);
            let time = used() - start;
            drop(again);
            time
        })
        .collect();
    let time = times.iter().copied().fold(time, Duration::min);
    println!("compile 10000 mixed rules: {:.2} s, {memory:.0} MiB resident after it", time.as_secs_f64());
    drop(first);
}

/// From the record's bytes: the format is recognised and the alert built, then matched.
fn whole_way() {
    let rules = rules(Kind::Mixed, 10_000, SEED);
    let path = suppressing(&suppress_files(&rules));
    let format = include_str!("../../rules/normalise/soard.yaml").to_owned();
    let (formats, found) = normalise::compile(&BTreeMap::from([("rules/normalise/soard.yaml".to_owned(), format)]));
    assert!(found.is_empty(), "{:?}", found.first());
    let texts = alerts(&rules, 1, ALERTS, SEED);
    let received = "2026-03-01T10:00:01Z".parse().expect("an instant");
    let normal =
        |text: &String| formats.normalise("bench", text.as_bytes(), received, Some("soard")).expect("an alert");
    let matched =
        |text| normal(text).alerts.iter().map(|one| path.matches(&one.alert).suppressions().count()).sum::<usize>();
    let times = best(
        5,
        vec![
            (ALERTS, Box::new(|| texts.iter().map(|text| normal(text).alerts.len()).sum())),
            (ALERTS, Box::new(|| texts.iter().map(matched).sum())),
        ],
    );
    println!("record to alert alone {} us; record to alert and 10000 rules {} us", micros(times[0]), micros(times[1]));
}

/// How long this thread was ready to run and had no core, as the kernel counts it.
fn waited() -> Duration {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    status.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
}

/// One thread matches without pause while another compiles 10,000 rules and swaps them in.
fn reload() {
    let rules = rules(Kind::Mixed, 10_000, SEED);
    let files = suppress_files(&rules);
    let texts = alerts(&rules, 1, 1_000, SEED);
    let parsed: Vec<Alert> = texts.iter().map(stamped).collect();
    let current = Mutex::new(Arc::new(suppressing(&files)));
    let (mut slowest, mut longest_own, mut count) = ([Duration::ZERO; 3], Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            // As in the daemon, which keeps the last bundles for the runs that began with them: matching frees none.
            let mut kept = Vec::new();
            for _ in 0..3 {
                let next = Arc::new(suppressing(&files));
                kept.push(std::mem::replace(&mut *current.lock().expect("not poisoned"), next));
            }
            kept
        });
        for alert in parsed.iter().cycle() {
            let (start, own, waiting) = (Instant::now(), used(), waited());
            let rules = current.lock().expect("not poisoned").clone();
            std::hint::black_box(rules.matches(alert));
            let times = [start.elapsed(), used() - own, waited() - waiting];
            longest_own = longest_own.max(times[1]);
            slowest = slowest.max(times);
            count += 1;
            if reloading.is_finished() {
                break;
            }
        }
    });
    let millis = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let [wall, own, waiting] = slowest.map(millis);
    println!(
        "reload of 10000 rules under load, {count} alerts: the slowest took {wall}, {own} of it its own and {waiting} waiting for a core;"
    );
    println!("the longest own time of an alert was {}", millis(longest_own));
}

/// As in the released binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    println!("rsigma-eval {}; {} alerts of {} bytes on average", rival_version(), ALERTS, {
        let texts = alerts(&rules(Kind::Mixed, 10, SEED), 1, ALERTS, SEED);
        texts.iter().map(String::len).sum::<usize>() / texts.len()
    });
    compile_cost();
    if asked("compile") {
        return;
    }
    whole_way();
    reload();
    println!("\nmicroseconds per alert\n");
    println!("| rules     |  count | match   | JSON    | alert   | rsigma  | faster  |");
    println!("|-----------|--------|---------|---------|---------|---------|---------|");
    if !asked("quick") {
        for kind in Kind::ALL {
            for percent in [0, 1, 100] {
                for count in COUNTS {
                    measure(&[Case::new(kind, count, percent)], 3);
                }
            }
        }
    }
    let lines = measure(&[Case::new(Kind::Mixed, 10, 1), Case::new(Kind::Mixed, 10_000, 1)], 15);
    let (few, many) = (&lines[0], &lines[1]);
    println!(
        "\n10000 vs 10 rules: {:.1} x per alert; vs rsigma: {:.1} x",
        many.text.as_secs_f64() / few.text.as_secs_f64(),
        many.rival.as_secs_f64() / many.text.as_secs_f64(),
    );
}
