//! Playbooks that mean harm, in a real daemon: each fails its own run with a clear cause, and a good playbook's
//! alerts go on as if nothing were. The control evaluates the greediest of them inside the daemon, whose memory they eat.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Daemon, HttpSink, wait_for};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile-playbooks");

const GOOD: &str = r#"fn on_alert(alert) { webhook("hook", #{ id: alert.external_id }); }"#;

/// Good alerts between two hostile ones.
const GOOD_BETWEEN: usize = 10;

/// A hostile script with what its run must fail of: one of these words.
struct Hostile {
    name: String,
    text: String,
    words: Vec<String>,
}

fn hostile() -> Vec<Hostile> {
    let mut all: Vec<Hostile> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let words = text.lines().next().unwrap().strip_prefix("// fails: ").expect("the first line says what of");
            let words = words.split('|').map(str::to_owned).collect();
            Hostile { name: path.file_stem().unwrap().to_str().unwrap().into(), text, words }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// A daemon with a playbook `good` and these hostile ones, each for the alerts whose kind is its name.
fn daemon(dir: &Path, sink: &HttpSink, hostile: &[Hostile]) -> Daemon {
    let mut routes = "route:\n".to_owned();
    let names = hostile.iter().map(|one| one.name.as_str());
    for name in names.chain(["good"]) {
        write!(
            routes,
            "  - id: {name}\n    title: {name}\n    owner: soc@example.com\n    match: {{ kind: {name} }}\n    \
             playbooks: [{name}]\n"
        )
        .unwrap();
    }
    routes.push_str("  - id: rest\n    title: Nothing\n    owner: soc@example.com\n    playbooks: []\n");
    let paths: Vec<String> = hostile.iter().map(|one| format!("playbooks/{}.rhai", one.name)).collect();
    let mut files = vec![("rules/route/main.yaml", routes.as_str()), ("playbooks/good.rhai", GOOD)];
    files.extend(paths.iter().map(String::as_str).zip(hostile.iter().map(|one| one.text.as_str())));
    let address = sink.address;
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{address}/hook\", mode: at_least_once }} }}\n  \
         never: {{ webhook: {{ url: \"http://{address}/never\", mode: at_least_once }} }}\n"
    );
    Daemon::new(dir, &settings, &files)
}

fn post(daemon: &Daemon, kind: &str, id: &str) {
    let alert = json!({ "external_id": id, "kind": kind, "title": kind, "severity": "medium" });
    let (status, answer) = daemon.post(&alert.to_string()).expect("the daemon answers");
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
}

/// How each run ended, by playbook.
fn ends(daemon: &Daemon) -> BTreeMap<String, Value> {
    let ends = daemon.journal().into_iter().filter(|entry| entry["k"] == "run");
    let named = |entry: Value| {
        let run = entry["d"]["run"].as_str().unwrap();
        Some((run.split_once('/')?.1.to_owned(), entry["d"]["end"].clone()))
    };
    ends.filter_map(named).collect()
}

#[test]
fn hostile_playbooks_fail_their_own_runs_and_nobody_else_waits() {
    let hostile = hostile();
    assert!(hostile.len() >= 40, "{}", hostile.len());
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink, &hostile);
    daemon.start();
    let pid = daemon.pid();
    let (mut took, mut waiting) = (Vec::new(), hostile.iter());
    let failed = loop {
        let more = waiting.next();
        if let Some(one) = more {
            post(&daemon, &one.name, &one.name);
        }
        for _ in 0..GOOD_BETWEEN {
            let begun = Instant::now();
            post(&daemon, "good", &format!("good-{}", took.len()));
            let got = wait_for("the good alert's webhook", || sink.got().get(took.len()).cloned());
            took.push(got.at.duration_since(begun));
        }
        let status = daemon.json(&["status"]);
        if more.is_none() && status["runs_open"] == 0 {
            break status["totals"]["runs_failed"].clone();
        }
    };
    took.sort();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!(
        "{} hostile playbooks; {} good alerts meanwhile, from alert to webhook: p50 {:?}, p99 {:?}, longest {:?}",
        hostile.len(),
        took.len(),
        at(50),
        at(99),
        at(100)
    );
    let ends = ends(&daemon);
    for one in &hostile {
        let end = &ends[&one.name];
        let error = end["failed"]["error"].as_str().unwrap_or_else(|| panic!("{}: {end}", one.name));
        println!("{}: {error:.80}", one.name);
        assert!(one.words.iter().any(|word| error.contains(word.as_str())), "{}: {error}", one.name);
    }
    assert_eq!(failed, hostile.len());
    assert!(sink.got().iter().all(|got| got.path == "/hook"), "a hostile playbook got something out");
    assert_eq!(daemon.pid(), pid);
    let peak = memory_mib(pid, "VmHWM:");
    println!("the daemon's memory at its peak: {peak} MiB");
    assert!(peak < EATEN_MIB / 2, "{peak} MiB");
    assert_eq!(daemon.stop(), Some(0));
}

/// Memory that a bomb takes from whoever evaluates it, at least.
const EATEN_MIB: u64 = 768;

/// What `/proc` says of a process's memory: `VmRSS:` now, `VmHWM:` at its peak.
fn memory_mib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// Processes that this one started.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()).collect()
}

#[test]
fn a_worker_is_shut_in_and_replaced_when_it_dies() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink, &[]);
    daemon.env.push(("SECRET_OF_THE_DAEMON".into(), "x".into()));
    daemon.start();
    assert!(children(daemon.pid()).is_empty(), "a worker starts on first use");
    post(&daemon, "good", "one");
    wait_for("the first webhook", || (sink.got().len() == 1).then_some(()));
    let workers = children(daemon.pid());
    assert!(!workers.is_empty());
    for worker in &workers {
        let read = |file: &str| fs::read_to_string(format!("/proc/{worker}/{file}")).unwrap();
        let status = read("status");
        let has = |field: &str, value: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            assert_eq!(line.trim_start_matches(':').trim(), value, "{field}");
        };
        has("NoNewPrivs", "1");
        has("Seccomp", "2");
        assert_eq!(read("environ"), "");
        assert_eq!(read("oom_score_adj").trim(), "1000");
        for (limit, hard) in [("Max core file size", "0"), ("Max file size", "0"), ("Max open files", "5")] {
            let limits = read("limits");
            let line = limits.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
            assert_eq!(line.split_whitespace().next(), Some(hard), "{limit}");
        }
        let open = fs::read_dir(format!("/proc/{worker}/fd")).unwrap().flatten();
        for file in open.map(|file| fs::read_link(file.path()).unwrap().display().to_string()) {
            assert!(["socket:", "pipe:", "/dev/null"].iter().any(|good| file.starts_with(good)), "{file}");
        }
    }
    assert_eq!(daemon.json(&["status"])["workers"]["lacks"], json!([]), "this kernel has it all");
    for worker in workers {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(worker.try_into().unwrap()).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
    }
    post(&daemon, "good", "two");
    wait_for("the second webhook", || (sink.got().len() == 2).then_some(()));
    assert_eq!(daemon.json(&["status"])["totals"]["runs_failed"], 0);
    let now = children(daemon.pid()).into_iter().map(|worker| memory_mib(worker, "VmRSS:"));
    println!("memory: daemon {} MiB, workers {:?} MiB", memory_mib(daemon.pid(), "VmRSS:"), now.collect::<Vec<_>>());
    wait_for("the idle workers to go", || children(daemon.pid()).is_empty().then_some(()));
    assert_eq!(daemon.json(&["status"])["workers"]["running"], 0);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn inside_the_daemon_the_same_scripts_eat_its_memory() {
    let deadly: Vec<Hostile> = hostile().into_iter().filter(|one| one.words == ["memory"]).collect();
    assert!(deadly.len() >= 3, "{}", deadly.len());
    for one in deadly {
        let folder = tempfile::tempdir().unwrap();
        let sink = HttpSink::start(Duration::ZERO);
        let name = one.name.clone();
        let mut daemon = daemon(folder.path(), &sink, &[one]);
        daemon.env.push(("SOARD_FAULT".into(), "evaluate-inside".into()));
        daemon.start();
        post(&daemon, &name, "one");
        // Without limit it would take all that there is; this much tells the difference.
        let pid = daemon.pid();
        wait_for(&format!("the daemon to fall victim to {name}"), || {
            (daemon.ended().is_some() || memory_mib(pid, "VmHWM:") > EATEN_MIB).then_some(())
        });
    }
}
