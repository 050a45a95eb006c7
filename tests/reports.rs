//! Reports: who makes noise and what would make it less, and what suppressions hold back; with and without a daemon.

mod support;

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use soard::daemon::clock;
use support::{Daemon, HttpSink, wait_for, write};

const ROUTES: &str = "route:\n  - id: logins\n    title: Logins\n    owner: soc@example.com\n    match: { kind: Login }\n    \
                      playbooks: [tell]\ndefault_route: none\n";
const PLAYBOOK: &str = r#"fn on_alert(alert) { webhook("hook", alert.id); }"#;

fn daemon(dir: &Path, sink: &HttpSink, files: &[(&str, &str)]) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
         hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
        sink.address
    );
    let rules = [("rules/route/main.yaml", ROUTES), ("playbooks/tell.rhai", PLAYBOOK)];
    let mut daemon = Daemon::new(dir, &settings, &[&rules[..], files].concat());
    daemon.start();
    daemon
}

/// Alerts with numbers of their own.
fn post(daemon: &Daemon, kind: &str, numbers: std::ops::Range<u32>) {
    let alert = |n: u32| {
        let title = format!("{kind} {}", n % 10);
        json!({ "external_id": format!("{kind}-{n}"), "title": title, "kind": kind, "severity": "medium",
                "entities": { "host": [{ "name": format!("web-{}", n % 4) }] } })
    };
    let alerts: Vec<Value> = numbers.map(alert).collect();
    assert_eq!(daemon.post(&json!(alerts).to_string()).unwrap().0, 200);
    settle(daemon);
}

/// Waits until all runs have ended and the index has everything.
fn settle(daemon: &Daemon) {
    wait_for("all runs to end", || {
        let list = daemon.json(&["alerts", "list", "run=open"]);
        (list["behind"] == 0 && list["matching"]["n"] == 0).then_some(())
    });
}

/// What a command prints, when it ends with this code.
fn said(daemon: &Daemon, code: i32, arguments: &[&str]) -> String {
    let output = daemon.soard(arguments);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

/// Puts a file into the content folder at once: the daemon may look at any time.
fn replace(dir: &Path, path: &str, text: &str) {
    write(dir, "new.yaml", text);
    std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
    std::fs::rename(dir.join("new.yaml"), dir.join(path)).unwrap();
}

fn check(daemon: &Daemon) {
    let dir = daemon.dir.display().to_string();
    said(daemon, 0, &["check", "--strict", &dir]);
    said(daemon, 0, &["reload"]);
}

fn line<'a>(report: &'a Value, value: &str) -> &'a Value {
    let lines = report["lines"].as_array().unwrap();
    lines.iter().find(|line| line["value"] == value).unwrap_or_else(|| panic!("{value}: {report}"))
}

/// What is suggested goes into the content folder as it is printed.
fn take_over(daemon: &Daemon) {
    let suppression = said(daemon, 0, &["report", "noisy", "--suggest", "2"]);
    replace(&daemon.dir, "rules/suppress/quiet.yaml", &suppression);
    let throttle = said(daemon, 0, &["report", "noisy", "--suggest", "1"]);
    assert!(throttle.contains("Into the route `logins`"), "{throttle}");
    let indented: String = throttle.lines().map(|line| format!("    {line}\n")).collect();
    replace(
        &daemon.dir,
        "rules/route/main.yaml",
        &ROUTES.replace("    playbooks", &format!("{indented}    playbooks")),
    );
    check(daemon);
}

#[test]
fn noisy_kinds_are_ranked_and_what_is_suggested_makes_them_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let mut daemon = daemon(folder.path(), &sink, &[]);
    assert!(said(&daemon, 1, &["report", "noisy"]).contains("no alerts"));
    let odd = "Port*Scan \"new\"";
    post(&daemon, "Login", 0..100);
    post(&daemon, odd, 0..40);
    post(&daemon, "Malware", 0..9);
    let kind = format!("kind={odd}");
    let close = ["alerts", "set-status", "--yes", "-q", "--where", "status=active"];
    let vain = ["--where", &kind, "--where", "title!~[89]$", "dismissed", "--reason", "false_positive"];
    assert_eq!(said(&daemon, 0, &[&close[..], &vain].concat()).lines().count(), 32);
    said(&daemon, 0, &[&close[..], &["--where", "kind=Malware", "resolved", "--reason", "true_positive"]].concat());
    let judge = ["alerts", "feedback", "--yes", "--where", &kind, "--where", "title=~[9]$", "not-useful"];
    said(&daemon, 0, &[&judge[..], &["--reason", "expected"]].concat());

    let report = daemon.json(&["report", "noisy"]);
    let order: Vec<&str> = report["lines"].as_array().unwrap().iter().map(|l| l["value"].as_str().unwrap()).collect();
    assert_eq!(order, ["Login", odd, "Malware"], "by volume");
    let scan = line(&report, odd);
    for (figure, expected) in [
        ("alerts", 40),
        ("dismissed", 32),
        ("closed", 32),
        ("false_positives", 32),
        ("benign", 4),
        ("judged", 4),
        ("not_useful", 4),
        ("decided", 36),
        ("orders", 36),
        ("acted", 36),
        ("runs", 0),
    ] {
        assert_eq!(scan[figure], expected, "{figure}: {scan}");
    }
    assert_eq!((&scan["source"], &scan["suggestion"]["advice"]), (&json!("push"), &json!("suppress")));
    let login = line(&report, "Login");
    assert_eq!(
        (&login["runs"], &login["deliveries"], &login["suggestion"]["advice"]),
        (&json!(100), &json!(100), &json!("throttle"))
    );
    assert_eq!(line(&report, "Malware").get("suggestion"), None, "what was worth it is never made quiet");

    let human = said(&daemon, 0, &["report", "noisy", "--sort", "dismissed"]);
    let head: Vec<&str> = human.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((head[0], head[1]), ("1", "push"), "{human}");
    assert!(human.contains("80% of 40") && human.contains("88% of 36") && human.contains("100% of 4"), "{human}");
    let csv = said(&daemon, 0, &["report", "noisy", "-o", "csv", "--by", "host", "--since", "1h"]);
    assert_eq!((csv.lines().count(), csv.starts_with("rank,what,source,value,alerts,")), (5, true), "{csv}");
    let rules = daemon.json(&["report", "noisy", "--by", "rule"]);
    assert_eq!((&line(&rules, "logins")["what"], &line(&rules, "logins")["alerts"]), (&json!("route"), &json!(100)));
    assert!(said(&daemon, 2, &["report", "noisy", "--by", "hots"]).contains("did you mean `host`?"));
    assert!(said(&daemon, 1, &["report", "noisy", "--suggest", "3"]).contains("nothing is suggested for line 3"));
    assert!(said(&daemon, 1, &["report", "noisy", "--suggest", "4"]).contains("no line 4"));

    take_over(&daemon);
    post(&daemon, odd, 100..103);
    post(&daemon, "Login", 100..112);
    let report = daemon.json(&["report", "noisy"]);
    assert_eq!(line(&report, odd)["suppressed"], 3, "the suppression holds what it is about");
    assert_eq!(line(&report, "Login")["throttled"], 2, "the throttle lets ten through");
    assert_eq!(line(&report, "Login").get("suggestion"), None, "there is a throttle now");
    assert_eq!(line(&report, "Malware")["suppressed"], 0);

    assert_eq!(daemon.stop(), Some(0));
    let mut without = daemon.json(&["report", "noisy"]);
    without["since"] = report["since"].clone();
    assert_eq!(without["lines"][1]["alerts"], report["lines"][1]["alerts"], "without a daemon the same is said");
}

fn suppression(id: &str, kind: &str, starts: Option<Timestamp>, expires: Timestamp) -> String {
    let starts = starts.map(|at| format!("    starts: {at}\n")).unwrap_or_default();
    format!(
        "  - id: {id}\n    title: About {kind}\n    owner: ann@example.com\n    reason: expected\n{starts}    expires: {expires}\n    \
         match: {{ kind: {kind} }}\n"
    )
}

/// Id, standing, whether it is unused, alerts, times.
type Told = (String, String, bool, u64, u64);

fn told(report: &Value) -> Vec<Told> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |line: &Value| {
        let number = |name: &str| line[name].as_u64().unwrap();
        let unused = line["unused"].as_bool().unwrap();
        (text(&line["id"]), text(&line["standing"]), unused, number("hits"), number("times"))
    };
    report["suppressions"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn suppressions_are_told_with_what_they_hold_and_how_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(Duration::ZERO);
    let now = clock::now();
    let days = |n: i64| now + SignedDuration::from_hours(24 * n);
    let all = [
        suppression("scans", "Scan", None, days(200)),
        suppression("soon", "Soon", None, days(29)),
        suppression("over", "Over", None, days(-1)),
        suppression("later", "Later", Some(days(3)), days(90)),
        suppression("useless", "Nothing", None, days(31)),
    ];
    let file = format!("suppress:\n{}", all.concat());
    let mut daemon = daemon(folder.path(), &sink, &[("rules/suppress/all.yaml", &file)]);
    for (kind, many) in [("Scan", 3), ("Soon", 1), ("Over", 2), ("Later", 1)] {
        post(&daemon, kind, 0..many);
    }
    post(&daemon, "Scan", 0..2);
    said(&daemon, 0, &["silence", "add", "kind=Login", "-d", "4h", "-c", "drill"]);
    let report = daemon.json(&["report", "suppressions"]);
    let line =
        |id: &str, standing: &str, unused, hits, times| (id.to_owned(), standing.to_owned(), unused, hits, times);
    let expected = [
        line("over", "expired", true, 0, 0),
        line("soon", "expiring", false, 1, 1),
        line("useless", "active", true, 0, 0),
        line("scans", "active", false, 3, 5),
        line("later", "waiting", true, 0, 0),
    ];
    assert_eq!(told(&report), expected, "what needs a look comes first");
    assert_eq!(report["silences"][0]["comment"], "drill");
    let scans = &report["suppressions"][3];
    let at = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(at(&scans["last_hit"]) > at(&scans["since"]) && at(&scans["since"]) > now, "{scans}");
    assert_eq!(
        (&scans["rule"]["owner"], &scans["place"]),
        (&json!("ann@example.com"), &json!("rules/suppress/all.yaml:2"))
    );
    let human = said(&daemon, 0, &["report", "suppressions"]);
    assert!(human.contains("5 suppressions, 1 expired, 1 expiring within 30 days, 3 unused"), "{human}");
    assert!(human.contains("silences, which operators made") && human.contains("drill"), "{human}");
    let csv = said(&daemon, 0, &["report", "suppressions", "-o", "csv"]);
    assert_eq!(
        (csv.lines().count(), csv.lines().nth(4).unwrap().starts_with("scans,active,false,3,5,")),
        (6, true),
        "{csv}"
    );

    // One goes and comes back, another goes for good.
    let since = scans["since"].clone();
    replace(&daemon.dir, "rules/suppress/all.yaml", &format!("suppress:\n{}{}", all[1], all[4]));
    said(&daemon, 0, &["reload"]);
    let report = daemon.json(&["report", "suppressions"]);
    let gone = line("scans", "removed", false, 3, 5);
    assert_eq!(told(&report)[2], gone, "what it holds stays dismissed");
    replace(&daemon.dir, "rules/suppress/all.yaml", &format!("suppress:\n{}{}", all[0], all[1]));
    said(&daemon, 0, &["reload"]);
    let report = daemon.json(&["report", "suppressions"]);
    assert_eq!(told(&report), [expected[1].clone(), expected[3].clone()]);
    assert_eq!(report["suppressions"][0]["since"], since, "it never went");
    assert!(at(&report["suppressions"][1]["since"]) > at(&since), "it came back: {report}");
    assert_eq!(daemon.stop(), Some(0));
    let without = daemon.json(&["report", "suppressions"]);
    assert_eq!(without["suppressions"], report["suppressions"], "without a daemon the same is said");
    assert_eq!(without.get("silences"), None, "silences are the daemon's to tell");
    let built = daemon.json(&["index", "rebuild"]);
    assert!(built["alerts"].as_u64() > Some(0));
    assert_eq!(daemon.json(&["report", "suppressions"])["suppressions"], report["suppressions"], "built anew as well");
}
