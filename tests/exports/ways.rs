//! What each way of exporting sends, and how it stands.

use std::fs;

use serde_json::{Value, json};

use crate::oracle::{expected, faults, keys};
use crate::peers::Flaky;
use crate::{caught_up, daemon, post, report, support};

fn notices(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_file_gets_alerts_and_changes_as_they_were_and_only_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = daemon(
        folder.path(),
        "  all: { file: { path: out/all.jsonl } }\n  high: { file: { path: out/high.jsonl }, at_least: high, what: alerts }\n  \
         kind: { file: { path: out/kind.jsonl }, kinds: ['*1', kind2], what: [alerts] }\n  \
         old: { file: { path: out/old.jsonl }, from: start }\n",
    );
    fs::create_dir(folder.path().join("out")).unwrap();
    daemon.start();
    post(&daemon, 0, 8);
    let close = ["alerts", "set-status", "a-3.0", "dismissed", "--reason", "false_positive", "-c", "a test"];
    assert!(daemon.soard(&close).status.success());
    assert!(daemon.soard(&["alerts", "tag", "a-3.0", "--add", "vip"]).status.success());
    // It comes again: counted, and nothing to tell; then it is worse.
    post(&daemon, 0, 1);
    let worse = json!({ "external_id": "n-0", "title": "Alert 0", "kind": "Kind0", "severity": "high" });
    assert_eq!(daemon.post(&worse.to_string()).unwrap().0, 200);
    ["all", "high", "kind", "old"].iter().for_each(|name| drop(caught_up(&daemon, name)));
    let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap_or_default();
    let all = notices(&read("all.jsonl"));
    let told = |notice: &Value| {
        let change = &notice["changes"][0];
        let of = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {} {}: {} {}",
            of(&notice["notice"]),
            of(&notice["id"]),
            of(&notice["alert"]["severity"]),
            of(&notice["alert"]["status"]),
            of(&change["what"]),
            of(&change["value"])
        )
    };
    let all: Vec<String> = all.iter().map(told).collect();
    assert_eq!(
        all[7..],
        [
            "alert a-8.0 informational active: - -",
            "change a-3.0 high dismissed: status dismissed",
            "change a-3.0 high dismissed: tag vip",
            "change a-1.0 high active: severity high",
        ]
    );
    assert_eq!(all[2], "alert a-3.0 high active: - -", "as it was then");
    let change = &notices(&read("all.jsonl"))[8];
    assert_eq!(
        (&change["changes"][0]["reason"], &change["changes"][0]["comment"]),
        (&json!("false_positive"), &json!("a test"))
    );
    let ids = |name: &str| {
        notices(&read(name)).iter().map(|notice| notice["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("high.jsonl"), ["a-3.0", "a-7.0"]);
    assert_eq!(ids("kind.jsonl"), ["a-2.0", "a-3.0", "a-5.0", "a-6.0", "a-8.0"]);
    assert_eq!(keys(&read("old.jsonl")), keys(&read("all.jsonl")));
    assert_eq!(faults(&expected(&daemon.journal()), &keys(&read("all.jsonl"))), Vec::<String>::new());
    daemon.stop();
    daemon.start();
    post(&daemon, 8, 9);
    caught_up(&daemon, "all");
    assert_eq!(read("all.jsonl").lines().count(), 12, "nothing twice after a stop in good order");
}

#[test]
fn a_peer_gets_marked_and_signed_batches_and_a_test_says_what_it_answered() {
    let (folder, peer) = (tempfile::tempdir().unwrap(), Flaky::start(0));
    let url = format!("http://{}/very-hidden", peer.address);
    let mut daemon = daemon(
        folder.path(),
        &format!(
            "  lake: {{ http: {{ url: \"{url}\", bearer: {{ env: SOARD_TEST_TOKEN }}, headers: {{ X-Team: soc }} }}, format: ocsf }}\n  \
             gone: {{ http: {{ url: \"http://127.0.0.1:9/\" }}, retries: [100ms] }}\n"
        ),
    );
    daemon.start();
    post(&daemon, 0, 4);
    caught_up(&daemon, "lake");
    let got = peer.got();
    let first = &got[0].headers;
    assert_eq!((&*first["authorization"], &*first["x-team"]), (&*format!("Bearer {}", support::TOKEN), "soc"));
    assert_eq!(first["content-type"], "application/x-ndjson");
    let key = first["idempotency-key"].trim_matches('"').to_owned();
    assert!(key.starts_with("lake-") && first["webhook-id"] == format!("msg_{key}"), "{key}");
    let findings = notices(&peer.lines());
    assert!(findings.len() == 4 && findings.iter().all(|finding| finding["activity_name"] == "Create"), "{findings:?}");
    assert_eq!(findings[0]["unmapped"]["soard"]["notice"], "alert");

    let output = daemon.soard(&["exports", "test", "lake", "-c", "why not"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let marked = notices(&peer.got().last().unwrap().body);
    assert_eq!((marked.len(), &marked[0]["unmapped"]["soard"]["soard_test"]), (1, &json!("lake")));
    let ordered =
        daemon.journal().into_iter().find(|entry| !entry["d"]["order"]["upkeep"]["export_test"].is_null()).unwrap();
    assert_eq!(
        (&ordered["d"]["order"]["upkeep"]["export_test"]["export"], &ordered["d"]["comment"]),
        (&json!("lake"), &json!("why not"))
    );
    let output = daemon.soard(&["exports", "test", "gone"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(daemon.soard(&["exports", "test", "nothing"]).status.code(), Some(1));

    let list = daemon.soard(&["exports", "list"]);
    assert_eq!(list.status.code(), Some(1), "one peer takes nothing");
    let gone = report(&daemon, "gone");
    assert!(gone["failing"].as_u64() > Some(0) && gone["behind"].as_u64() > Some(0) && gone["sent"] == 0, "{gone}");
    let shown = String::from_utf8(daemon.soard(&["exports", "show", "lake"]).stdout).unwrap();
    assert!(shown.contains("ocsf") && shown.contains("SOARD_TEST_TOKEN"), "{shown}");
    assert!(!shown.contains("very-hidden") && !shown.contains(support::TOKEN), "{shown}");
    let status = String::from_utf8(daemon.soard(&["status"]).stdout).unwrap();
    assert!(status.contains("EXPORT") && status.contains("lake"), "{status}");
}
