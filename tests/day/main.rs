//! A day of an operator, as `docs/operating.md` tells it: each command of it is run, one after the other, against a daemon that has
//! ten thousand alerts of the shipped formats, and prints what the document says that it prints.

mod alerts;
#[expect(dead_code, reason = "the simulation draws in more ways")]
#[path = "../simulation/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};
use support::{Daemon, HttpSink, wait_for};

/// How many alerts there are in the morning.
const ALERTS: u64 = 10_000;
/// Records in one request.
const BATCH: usize = 500;
/// Requests until there can be enough of them, since some alerts come again.
const BATCHES_MIN: usize = 25;
/// The address in the document.
const ADDRESS: &str = "127.0.0.1:8477";

const ROUTES: &str = "route:
  - id: high
    title: High severity
    owner: soc@example.com
    match: { severity: high }
    throttle: { per: [title], at_most: 3, within: 1d }
    playbooks: [tell]
default_route: none
";
const PLAYBOOK: &str = r#"fn on_alert(alert) { webhook("chat", #{ title: alert.title, id: alert.id }); }"#;
const SUPPRESSIONS: &str = "suppress:
  - id: old-scanner
    title: The scanner that was taken down
    owner: soc@example.com
    reason: expected
    expires: 2026-01-31
    match: { kind: OldScanner }
";

/// A command of the document, and the lines that it prints, in order; `…` stands for anything.
#[derive(Debug)]
struct Step {
    line: usize,
    command: String,
    prints: Vec<String>,
}

/// The commands of the section about the day.
fn steps() -> Vec<Step> {
    let text = std::fs::read_to_string("docs/operating.md").unwrap();
    let (mut day, mut fenced) = (false, false);
    let mut steps: Vec<Step> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.starts_with("## ") {
            day = text == "## A day";
        } else if text.starts_with("```") {
            fenced = day && text == "```console";
        } else if let (true, Some(command)) = (fenced, text.strip_prefix("$ ")) {
            steps.push(Step { line, command: command.into(), prints: Vec::new() });
        } else if fenced {
            steps.last_mut().expect("a block begins with a command").prints.push(text.into());
        }
    }
    steps
}

fn daemon(dir: &Path, sink: &HttpSink) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         chat: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        sink.address
    );
    let files = [
        ("rules/route/main.yaml", ROUTES),
        ("rules/suppress/old.yaml", SUPPRESSIONS),
        ("playbooks/tell.rhai", PLAYBOOK),
    ];
    let mut daemon = Daemon::new(dir, &settings, &files);
    let author = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"];
    for git in [&["init", "-q"][..], &["add", "rules"], &[&author[..], &["commit", "-qm", "Rules"]].concat()] {
        assert!(Command::new("git").args(git).current_dir(dir).status().unwrap().success());
    }
    daemon.start();
    daemon
}

/// Sends records until there are enough alerts, and waits until all is settled.
fn fill(daemon: &Daemon) {
    let mut records = alerts::records(7);
    for sent in 1.. {
        let batch: Vec<Value> = records.by_ref().take(BATCH).collect();
        let (status, _) = daemon.post(&json!(batch).to_string()).unwrap();
        assert_eq!(status, 200);
        if sent >= BATCHES_MIN && daemon.json(&["status"])["alerts"]["total"].as_u64() >= Some(ALERTS) {
            break;
        }
    }
    wait_for("the index and all runs", || {
        let list = daemon.json(&["alerts", "list", "run=open"]);
        (list["behind"] == 0 && list["matching"]["n"] == 0).then_some(())
    });
}

/// Runs a command as it stands in the document, and says how its output differs from what stands there.
fn run(daemon: &Daemon, step: &Step) -> Option<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_soard")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let command = step.command.replace(ADDRESS, &format!("127.0.0.1:{}", daemon.port));
    let mut bash = Command::new("bash");
    bash.args(["-o", "pipefail", "-c", &command]).current_dir(&daemon.dir).env("PATH", path).env("SOARD_DIR", ".");
    let output = bash.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let mut lines = text.lines();
    for wanted in &step.prints {
        let pattern = Regex::new(&format!("^{}$", regex::escape(&words(wanted)).replace('…', ".*"))).unwrap();
        if !lines.any(|line| pattern.is_match(&words(line))) {
            let Step { line, command, .. } = step;
            return Some(format!("docs/operating.md:{line}: $ {command}\nno line like {wanted:?} in\n{text}"));
        }
    }
    (!output.status.success())
        .then(|| format!("docs/operating.md:{}: $ {}: {}\n{text}", step.line, step.command, output.status))
}

/// The line's words, with one blank between them.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_day_of_an_operator_goes_as_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink);
    fill(&daemon);
    let steps = steps();
    assert!(steps.len() > 25, "the document tells a day: {} steps", steps.len());
    for step in &steps {
        if let Some(differs) = run(&daemon, step) {
            panic!("{differs}");
        }
    }
    assert_eq!(daemon.stop(), Some(0));
}
