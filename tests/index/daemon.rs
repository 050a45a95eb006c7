//! The index beside a real daemon: what was acknowledged is listed, through kills as well.

use serde_json::{Value, json};

use crate::random::Random;
use crate::support::{Daemon, wait_for};

/// Kills of an ordinary run, and of the long form.
const KILLS: u64 = 4;
const KILLS_LONG: u64 = 40;

const SETTINGS: &str = "sources: { push: { http: { token: { env: SOARD_TEST_TOKEN } } } }\n";
const RULES: &str = "default_route: none\n";

fn daemon(dir: &std::path::Path) -> Daemon {
    Daemon::new(dir, SETTINGS, &[("rules/route/none.yaml", RULES)])
}

fn alerts(random: &mut Random, from: usize, count: usize) -> String {
    let alert = |n: usize| {
        let severity = *random.pick(&["low", "medium", "high", "informational"]);
        json!({ "external_id": format!("e-{n}"), "title": format!("Alert {}", n % 7), "severity": severity,
                "entities": { "host": [{ "name": format!("web-{}", n % 5) }] } })
    };
    Value::Array((from..from + count).map(alert).collect()).to_string()
}

/// Every alert that the list has, page after page.
fn listed(daemon: &Daemon) -> Value {
    let list = daemon.json(&["alerts", "list", "--all", "--sort", "oldest", "--limit", "5000"]);
    assert_eq!(list["behind"], 0, "the index has everything");
    list["alerts"].clone()
}

#[test]
fn what_was_acknowledged_is_listed_through_kills_and_as_it_is_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = daemon(folder.path());
    let kills = if crate::support::long() { KILLS_LONG } else { KILLS };
    let mut random = Random::new(11);
    let mut acknowledged = 0;
    for _ in 0..kills {
        daemon.start();
        for _ in 0..1 + random.below(4) {
            let (status, _) = daemon.post(&alerts(&mut random, acknowledged, 100)).unwrap();
            assert_eq!(status, 200);
            acknowledged += 100;
        }
        // Somewhere between the journal's sync and the index's transactions.
        daemon.kill();
    }
    daemon.start();
    let listed_after_kills = wait_for("the index to catch up", || {
        let list = daemon.json(&["alerts", "list", "--all", "--limit", "1"]);
        (list["behind"] == 0 && list["matching"]["n"] == acknowledged).then(|| listed(&daemon))
    });
    assert_eq!(listed_after_kills.as_array().unwrap().len(), acknowledged);
    let status = daemon.json(&["status"]);
    assert_eq!((&status["index"]["doing"], &status["index"]["behind"]), (&json!("following"), &json!(0)), "{status}");

    let built = daemon.json(&["index", "rebuild"]);
    assert_eq!(built["alerts"], acknowledged, "{built}");
    assert_eq!(listed(&daemon), listed_after_kills);
    let (_, answer) = daemon.post(r#"[{"external_id":"last","title":"Needle","severity":"high"}]"#).unwrap();
    let id = answer["receipts"][0]["alerts"][0].as_str().unwrap();
    let found = daemon.soard(&["alerts", "list", "-q", "needle", "severity=high"]);
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), id, "what was answered 2xx is listed at once");
    let last = listed(&daemon);
    assert_eq!(daemon.stop(), Some(0));

    assert_eq!(listed(&daemon), last, "without a daemon the index's file says the same");
    let built = daemon.json(&["index", "rebuild"]);
    assert_eq!(built["alerts"], acknowledged + 1, "{built}");
    assert_eq!(listed(&daemon), last);
    std::fs::remove_dir_all(folder.path().join("state/index")).unwrap();
    let none = daemon.soard(&["alerts", "list"]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert_eq!(none.status.code(), Some(2));
    assert!(said.contains("there is no index") && said.contains("soard index rebuild"), "{said}");
}

#[test]
fn filters_counts_and_faults_reach_whoever_asks() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = daemon(folder.path());
    daemon.start();
    let mut random = Random::new(12);
    daemon.post(&alerts(&mut random, 0, 70)).unwrap();
    let ids = |terms: &[&str]| {
        let output = daemon.soard(&[&["alerts", "list", "-q", "--limit", "1000"], terms].concat());
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    assert_eq!(ids(&["--all", "host=web-1"]), 14);
    assert_eq!(ids(&["--all", "host=~web-[12]", "title!=Alert 1"]), 24);
    let counts = daemon.json(&["alerts", "list", "--all", "--count-by", "host"]);
    assert_eq!(counts["values"], json!([["web-0", 14], ["web-1", 14], ["web-2", 14], ["web-3", 14], ["web-4", 14]]));
    let csv = daemon.soard(&["alerts", "list", "--all", "-o", "csv", "--limit", "1000"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert_eq!((csv.lines().count(), csv.starts_with("id,severity,status,")), (71, true), "{csv}");
    let wrong = daemon.soard(&["alerts", "list", "severty=high", "hots=web-1"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said.contains("did you mean `severity`?") && said.contains("did you mean `host`?"), "{said}");

    let first = daemon.json(&["alerts", "list", "--all", "--limit", "50"]);
    let cursor = first["next"].as_str().unwrap();
    let rest = daemon.json(&["alerts", "list", "--all", "--limit", "50", "--cursor", cursor]);
    assert_eq!((rest["alerts"].as_array().unwrap().len(), rest.get("next")), (20, None));
    let other = daemon.soard(&["alerts", "list", "--all", "host=web-1", "--cursor", cursor]);
    assert!(String::from_utf8_lossy(&other.stderr).contains("another filter"), "{other:?}");
}
