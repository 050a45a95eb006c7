//! Dead letters are listed, and sent again on an operator's word, through a crash too.

use serde_json::{Value, json};

use crate::peers::{Receiver, Way};
use crate::support::{Daemon, wait_for};

const PLAYBOOK: &str = r#"
fn on_alert(alert) { webhook("bad", #{ number: alert.external_id }); }
"#;

const ROUTE: &str = "route:\n  - id: all\n    title: Everything\n    owner: soc@example.com\n    playbooks: [send]\n";

fn daemon(folder: &std::path::Path, bad: &Receiver) -> Daemon {
    let settings = format!(
        "sources:\n  push: {{ format: soard, http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\n\
         destinations:\n  bad: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once, retries: [100ms], breaker: {{ failures: 1000 }} }} }}\n",
        bad.address
    );
    Daemon::new(folder, &settings, &[("playbooks/send.rhai", PLAYBOOK), ("rules/route/all.yaml", ROUTE)])
}

fn of_kind(daemon: &Daemon, kind: &str) -> Vec<Value> {
    daemon.journal().into_iter().filter(|line| line["k"] == kind).collect()
}

/// A daemon with three dead letters.
fn with_letters(folder: &std::path::Path, bad: &Receiver) -> Daemon {
    let mut daemon = daemon(folder, bad);
    daemon.start();
    for n in 0..3 {
        let alert = json!({ "external_id": format!("n-{n}"), "title": "A", "severity": "high" });
        assert_eq!(daemon.post(&alert.to_string()).unwrap().0, 200);
    }
    wait_for("the runs to fail", || (of_kind(&daemon, "run").len() == 3).then_some(()));
    daemon
}

#[test]
fn dead_letters_are_counted_listed_and_sent_again_with_the_same_key_and_body() {
    let folder = tempfile::tempdir().unwrap();
    let bad = Receiver::start(Way::Answer("503 Not now"));
    let daemon = with_letters(folder.path(), &bad);
    assert_eq!(daemon.json(&["status"])["dead_letters"], json!(3));
    let list = daemon.json(&["deliveries", "list", "--destination", "bad"]);
    assert_eq!((&list["matching"], &list["deliveries"][0]["state"]), (&json!(3), &json!("dead")));
    let (first, tried) = (list["deliveries"][2].clone(), bad.got().len());
    assert_eq!(tried, 6, "two attempts each");

    let preview = daemon.soard(&["deliveries", "retry", "--destination", "bad", "--comment", "it is back"]);
    let text = String::from_utf8(preview.stdout).unwrap();
    assert_eq!((preview.status.code(), text.contains("3 dead letters of `bad`")), (Some(1), true), "{text}");
    assert_eq!((bad.got().len(), of_kind(&daemon, "operator").len()), (6, 0), "a preview sends nothing");

    bad.set(Way::Answer("200 OK"));
    let key = first["key"].as_str().unwrap();
    let one = daemon.json(&["deliveries", "retry", key, "--comment", "this one first"]);
    assert_eq!(one["again"], json!([key]));
    wait_for("its outcome", || {
        (daemon.json(&["deliveries", "show", key])["outcomes"].as_array()?.len() == 2).then_some(())
    });
    let again = daemon.soard(&["deliveries", "retry", key, "--comment", "once more"]);
    assert_eq!(again.status.code(), Some(1), "what succeeded is no dead letter");
    let rest = daemon.json(&["deliveries", "retry", "--destination", "bad", "--comment", "it is back", "--yes"]);
    assert_eq!((rest["again"].as_array().unwrap().len(), &rest["refused"]), (2, &json!([])));
    wait_for("all of them", || (bad.got().len() == 9).then_some(()));

    let got = bad.got();
    for sent in &got[6..] {
        let before = got[..6].iter().find(|old| old.headers["webhook-id"] == sent.headers["webhook-id"]).unwrap();
        assert_eq!(before.body, sent.body);
    }
    wait_for("no dead letters", || (daemon.json(&["status"])["dead_letters"] == 0).then_some(()));
    assert_eq!(daemon.soard(&["deliveries", "list"]).status.code(), Some(1));
    let orders = of_kind(&daemon, "operator");
    assert_eq!(orders.len(), 3);
    let (actor, comment) = (&orders[0]["d"]["actor"], &orders[0]["d"]["comment"]);
    assert!(actor.as_str().unwrap().contains("uid") && comment == "this one first", "{:?}", orders[0]);
    let run = first["run"].as_str().unwrap();
    let shown = String::from_utf8(daemon.soard(&["runs", "show", run]).stdout).unwrap();
    assert!(shown.contains("failed") && shown.contains("sent again on an operator's word: ok"), "{shown}");
    assert_eq!(of_kind(&daemon, "run").len(), 3, "no run is resumed");
}

#[test]
fn an_order_to_send_again_survives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let bad = Receiver::start(Way::Answer("503 Not now"));
    let mut daemon = with_letters(folder.path(), &bad);
    bad.set(Way::Silence);
    let order = daemon.json(&["deliveries", "retry", "--destination", "bad", "--comment", "try", "--yes"]);
    assert_eq!(order["again"].as_array().unwrap().len(), 3);
    wait_for("them to be under way", || (bad.got().len() == 9).then_some(()));
    daemon.kill();
    bad.set(Way::Answer("200 OK"));
    daemon.start();
    wait_for("no dead letters and nothing open", || {
        let open = daemon.json(&["deliveries", "list", "--outcome", "waiting"])["matching"].clone();
        (open == 0 && daemon.json(&["status"])["dead_letters"] == 0).then_some(())
    });
    let counts = bad.counts();
    assert_eq!((counts.len(), bad.got().len()), (3, 12), "the same three keys");
    assert_eq!(of_kind(&daemon, "operator").len(), 3, "the order is not given again");
}
