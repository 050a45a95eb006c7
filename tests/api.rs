//! The HTTP API as its users have it: over the server, with tokens.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, HttpSink};

const ROUTES: &str = "route:\n  - { id: high, title: High, owner: soc@example.com, match: { severity: high }, playbooks: [p] }\n\
                      default_route: none\n";
const PLAYBOOK: &str = r#"fn on_alert(alert) { webhook("hook", alert.id); }"#;

struct World {
    daemon: Daemon,
    tokens: Vec<(&'static str, String)>,
    _sink: HttpSink,
}

const ROLES: [&str; 5] = ["source", "viewer", "operator", "approver", "admin"];

impl World {
    fn new(dir: &Path) -> Self {
        let sink = HttpSink::start(Duration::ZERO);
        let settings = format!(
            "sources:\n  push: {{ http: {{ token: {{ env: SOARD_TEST_TOKEN }} }} }}\ndestinations:\n  \
             hook: {{ webhook: {{ url: \"http://{}/\", mode: at_least_once }} }}\n",
            sink.address
        );
        let files = [("rules/route/main.yaml", ROUTES), ("playbooks/p.rhai", PLAYBOOK)];
        let mut daemon = Daemon::new(dir, &settings, &files);
        daemon.start();
        let token = |role: &str| {
            let made = daemon.json(&["token", "add", &format!("the-{role}"), "--role", role, "--expires", "1h"]);
            made["token"].as_str().unwrap().to_owned()
        };
        let tokens = ROLES.iter().map(|role| (*role, token(role))).collect();
        Self { daemon, tokens, _sink: sink }
    }

    fn token(&self, role: &str) -> &str {
        &self.tokens.iter().find(|(known, _)| *known == role).unwrap().1
    }

    /// Status and body; an empty token sends none.
    fn ask(&self, method: &str, path: &str, token: &str, body: Option<&str>) -> (u16, Value) {
        self.send(method, &format!("/api/v1{path}"), token, "application/json", body.unwrap_or_default())
    }

    fn send(&self, method: &str, path: &str, token: &str, kind: &str, body: &str) -> (u16, Value) {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: soard\r\nConnection: close\r\n");
        if !token.is_empty() {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        request.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let mut stream = TcpStream::connect(("127.0.0.1", self.daemon.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // A body that is too large is refused before all of it is read.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.into())))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, self.token("viewer"), None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn alert(&self, id: &str, severity: &str) {
        let alert = json!({ "external_id": id, "kind": "k", "title": format!("Alert {id}"), "severity": severity });
        assert_eq!(self.daemon.post(&alert.to_string()).unwrap().0, 200);
    }

    fn document(&self) -> Value {
        self.get("/openapi.json")
    }
}

impl World {
    /// What is answered to a bad request, when it is not what it should be.
    fn taken_otherwise(&self, bad: &Bad) -> Option<String> {
        let Bad { method, path, kind, body, status, says } = bad;
        let (got, answer) = self.send(method, &format!("/api/v1{path}"), self.token("admin"), kind, body);
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        let is_as_expected = got == *status && message.contains(says) && (1..3_000).contains(&message.len());
        let short: String = body.chars().take(100).collect();
        (!is_as_expected).then(|| format!("{method} {path:.200} {short}: {got} instead of {status}, {message:.300}"))
    }
}

/// A path in which each name stands for something that is not there.
fn filled(path: &str) -> String {
    let path = path
        .strip_prefix("/api/v1")
        .unwrap()
        .replace("{id}/update", "s-9/update")
        .replace("approvals/{id}", "approvals/ap-9")
        .replace("{id}/expire", "s-9/expire");
    let names = [("{id}", "a-9.0"), ("{field}", "kind"), ("{trigger}", "a-9.0"), ("{playbook}", "none")];
    let more = [
        ("{key}", "aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("{address}", "nobody@example.com"),
        ("{name}", "nobody"),
        ("{record_no}", "9"),
    ];
    names.iter().chain(&more).fold(path, |path, (name, value)| path.replace(name, value))
}

#[test]
fn every_operation_takes_its_least_role_and_no_less() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let document = world.document();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            // Without an end, and tested beside.
            if path.ends_with("/stream") {
                continue;
            }
            let needs =
                ROLES.iter().position(|role| operation["x-role"] == *role).expect("every operation names its role");
            let body = operation.get("requestBody").map(|_| "[]");
            let url = filled(path);
            let ask = |token: &str| world.ask(&method.to_uppercase(), &url, token, body).0;
            assert_eq!(ask(""), 401, "{method} {path} without a token");
            assert_eq!(ask("soard_nobodys"), 401, "{method} {path} with nobody's token");
            for (at, (role, token)) in world.tokens.iter().enumerate() {
                let may = at >= needs && *role != "source";
                let status = ask(token);
                assert_eq!(status != 403, may, "{method} {path} as {role}: {status}");
                assert!(status < 500 && status != 401, "{method} {path} as {role}: {status}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 5 * 30, "{asked}");
    let orders = world.daemon.journal().iter().filter(|entry| entry["k"] == "operator").count();
    let kept = ROLES.len();
    assert!(orders <= kept, "requests without content changed something: {orders}");
}

#[test]
fn an_operators_change_is_on_record_with_name_address_time_and_comment() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    ["1", "2", "3"].iter().for_each(|id| world.alert(id, "high"));
    let list = world.get("/alerts?severity=high&sort=oldest&limit=2");
    let ids: Vec<&str> = list["alerts"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!((ids, &list["matching"]["n"]), (vec!["a-1.0", "a-2.0"], &json!(3)));
    let next = list["next"].as_str().unwrap();
    let rest = world.get(&format!("/alerts?severity=high&sort=oldest&limit=2&cursor={next}"));
    assert_eq!(
        (&rest["alerts"][0]["id"], rest["alerts"].as_array().unwrap().len(), rest.get("next")),
        (&json!("a-3.0"), 1, None)
    );

    let change = json!({ "status": { "to": "dismissed", "reason": "benign" } });
    let ask = json!({ "alerts": ["a-1.0", "a-9.0"], "want": { "change": change }, "comment": "a drill" });
    let (status, report) = world.ask("POST", "/alerts/orders", world.token("operator"), Some(&ask.to_string()));
    assert_eq!(status, 200, "{report}");
    assert_eq!((report["done"].as_array().unwrap().len(), &report["refused"][0]["alert"]), (1, &json!("a-9.0")));
    let entry = world.daemon.journal().into_iter().rev().find(|entry| entry["k"] == "operator").unwrap();
    assert_eq!(
        (&entry["d"]["actor"], &entry["d"]["address"], &entry["d"]["comment"]),
        (&json!("the-operator"), &json!("127.0.0.1"), &json!("a drill"))
    );
    assert_eq!(world.get("/alerts/a-1.0")["row"]["status"], "dismissed");
    let history = world.get("/alerts/a-1.0/history");
    assert!(history["changes"].as_array().unwrap().iter().any(|change| change["actor"] == "the-operator"), "{history}");
    let counts = world.get("/facets/status?all=true");
    assert_eq!(counts["values"], json!([["active", 2], ["dismissed", 1]]));
}

#[test]
fn what_the_daemon_is_had_to_do_with_itself_is_on_record_with_who_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    assert_eq!(world.daemon.post(r#"{"no":"alert"}"#).unwrap().0, 200);
    let quarantined = world.get("/quarantine")["records"][0]["record_no"].clone();
    let asks = [
        ("/reload".to_owned(), json!("reload")),
        ("/log/key/rotate".to_owned(), json!("key_rotate")),
        ("/index/rebuild".to_owned(), json!("index_rebuild")),
        ("/samples".to_owned(), json!({ "samples": { "formats": ["falco"] } })),
        (format!("/quarantine/{quarantined}/retry"), json!({ "quarantine_retry": { "record_no": quarantined } })),
    ];
    for (path, order) in asks {
        let mut body = json!({ "comment": format!("a drill of {path}") });
        if path == "/samples" {
            body["formats"] = json!(["falco", "none"]);
        }
        world.ask("POST", &path, world.token("admin"), Some(&body.to_string()));
        let entry = world.daemon.journal().into_iter().rev().find(|entry| entry["k"] == "operator").unwrap();
        let told = &entry["d"];
        assert_eq!(
            (&told["actor"], &told["address"], &told["comment"], &told["order"]["upkeep"]),
            (&json!("the-admin"), &json!("127.0.0.1"), &body["comment"], &order)
        );
    }
    // What cannot be done is not on record.
    let orders = || world.daemon.journal().iter().filter(|entry| entry["k"] == "operator").count();
    let before = orders();
    for (path, body) in [("/quarantine/999/retry", "{}"), ("/samples", r#"{"formats":["none"]}"#), ("/reload", "[]")] {
        world.ask("POST", path, world.token("admin"), Some(body));
    }
    assert_eq!(orders(), before);
}

#[test]
fn changes_are_told_as_they_happen_and_again_from_where_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let first = world.get("/changes?after=0");
    let head = first["after"].as_u64().unwrap();
    assert_eq!(world.get("/changes")["changes"], json!([]), "without a beginning, only what is new");

    let mut stream = stream(&world, &format!("/changes/stream?after={head}"), "");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.get(&format!("/changes?after={head}&wait=30")));
        world.alert("1", "high");
        waiting.join().unwrap()
    });
    assert_eq!(
        (&waiting["changes"][0]["kind"], &waiting["changes"][0]["alerts"]),
        (&json!("intake"), &json!(["a-1.0"]))
    );
    let (id, change) = event(&mut stream);
    assert_eq!((id, &change["alerts"], &change["runs"]), (head + 1, &json!(["a-1.0"]), &json!(["a-1.0/p"])));
    let (then, _) = event(&mut stream);
    assert_eq!(then, id + 1, "no entry is left out");
    drop(stream);
    let (again, _) = event(&mut self::stream(&world, "/changes/stream", &format!("Last-Event-ID: {id}\r\n")));
    assert_eq!(again, id + 1, "who connects again goes on where the last event was");
}

#[test]
fn a_stream_of_changes_ends_with_the_daemon_and_is_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path());
    let mut stream = stream(&world, "/changes/stream?after=0", "");
    event(&mut stream);
    assert_eq!(world.daemon.stop(), Some(0));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    // A stream that the daemon waits for until its patience ends has no last chunk.
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
}

/// The body of a stream of events.
fn stream(world: &World, path: &str, more: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.daemon.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let token = world.token("viewer");
    write!(stream, "GET /api/v1{path} HTTP/1.1\r\nHost: soard\r\nAuthorization: Bearer {token}\r\n{more}\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    stream
}

/// The next event, its number and its data.
fn event(stream: &mut BufReader<TcpStream>) -> (u64, Value) {
    let (mut id, mut data) = (None, None);
    for _ in 0..100 {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(text) = line.strip_prefix("id: ") {
            id = text.trim().parse().ok();
        } else if let Some(text) = line.strip_prefix("data: ") {
            data = serde_json::from_str(text).ok();
        } else if line.trim().is_empty()
            && let (Some(id), Some(data)) = (id, data.take())
        {
            return (id, data);
        }
    }
    panic!("no event within 100 lines");
}

#[test]
fn what_cannot_be_understood_is_refused_in_words_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    world.alert("1", "high");
    let before = world.daemon.journal().into_iter().filter(|entry| entry["k"] == "operator").count();
    let bad = bad_requests();
    assert!(bad.len() >= 100, "{}", bad.len());
    let wrong: Vec<String> = bad.iter().filter_map(|bad| world.taken_otherwise(bad)).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    let after = world.daemon.journal().into_iter().filter(|entry| entry["k"] == "operator").count();
    assert_eq!(after, before, "a bad request changed something");
    assert_eq!(world.get("/alerts/a-1.0")["row"]["status"], "active");
}

struct Bad {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: String,
    status: u16,
    says: &'static str,
}

/// Filters that are none, percent-encoded, and words of the answer.
const FILTERS: &[(&str, &str)] = &[
    ("severity%3Dworst", "no severity"),
    ("severity%3Dhgih", "did you mean `high`"),
    ("status%3Dopen", "no status"),
    ("severty%3Dhigh", "did you mean `severity`"),
    ("severity%3D", "no value"),
    ("ip%3D10.0.0.0%2F99", ""),
    ("seen%3E%3Dyesterday", ""),
    ("seen%3E%3D2026-13-01T00%3A00%3A00Z", ""),
    ("title%3D~%28", ""),
    ("title%3D~%28a%7B1000%7D%29%7B1000%7D", ""),
    ("host%3E%3Dweb", ""),
    ("run%3Dunknown", ""),
    ("fate%3Dunknown", ""),
    ("a%00b", "zero byte"),
];

/// Parameters of a list that are none.
const QUERIES: &[(&str, &str)] = &[
    ("colour=red", "no parameter \"colour\""),
    ("fliter=x", "did you mean `filter`"),
    ("limit=0", "from 1 to 1000"),
    ("limit=1001", "from 1 to 1000"),
    ("limit=-1", "from 1 to 1000"),
    ("limit=1e3", "from 1 to 1000"),
    ("all=yes", "true or false"),
    ("sort=up", "known are severity"),
    ("cursor=AAAA", "cursor"),
    ("cursor=%00", "cursor"),
    ("severity=worst", "no severity"),
    ("ip=10.0.0.0/99", ""),
];

/// Pages that are not there, or not for what is asked.
const PATHS: &[(&str, u16, &str)] = &[
    ("/facets/colour", 400, "no such field"),
    ("/facets/kind?limit=3", 400, "no parameter \"limit\""),
    ("/facets/kind?cursor=AAAA", 400, "no parameter \"cursor\""),
    ("/facets/kind?all=yes", 400, "true or false"),
    ("/alerts/a-1", 400, "alert id"),
    ("/alerts/x", 400, "alert id"),
    ("/alerts/a-99999999999999999999999.0", 400, "alert id"),
    ("/alerts/a-9.0", 404, "no alert a-9.0"),
    ("/approvals/3", 400, "approval id"),
    ("/approvals/ap-9", 404, "no approval ap-9"),
    ("/alerts/a-9.0/history", 404, "no alert a-9.0"),
    ("/alerts/a-1.0?raw=1", 400, "takes none"),
    ("/alerts/a-9.0/measures", 404, "no alert a-9.0"),
    ("/alerts/a-1.0/measures?by=host", 400, "takes none"),
    ("/alerts/a-9.0/suppression", 404, "no alert a-9.0"),
    ("/alerts/a-1.0/suppression?by=hots", 400, "did you mean `host`"),
    ("/alerts/a-1.0/suppression?by=account", 400, "has no `account`"),
    ("/alerts/a-1.0/suppression?reason=expectd", 400, "did you mean `expected`"),
    ("/alerts/a-1.0/suppression?days=0", 400, "1 to 366 days"),
    ("/alerts/a-1.0/suppression?days=x", 400, "invalid digit"),
    ("/alerts/a-1.0/suppression?buy=host", 400, "known are by, comment"),
    ("/why", 400, "missing field `id`"),
    ("/why?id=x", 400, "neither an alert"),
    ("/why?id=a-1.0&id=a-2.0", 400, ""),
    ("/why?id=a-9.0", 404, "no a-9.0"),
    ("/runs?state=running", 400, "unknown variant"),
    ("/runs?since=today", 400, ""),
    ("/runs?limit=x", 400, "invalid digit"),
    ("/runs?limit=", 400, "write a number"),
    ("/runs?sate=failed", 400, "did you mean `state`"),
    ("/runs/a-1.0/none", 404, "no run a-1.0/none"),
    ("/runs/a-1/p", 400, "alert id"),
    ("/runs/a-1.0/p~1", 400, "run id"),
    ("/deliveries?outcome=lost", 400, "unknown variant"),
    ("/deliveries?run=x", 400, "run id"),
    ("/deliveries/x", 400, "effect key"),
    ("/deliveries/aaaaaaaaaaaaaaaaaaaaaaaaaa", 404, "no delivery"),
    ("/quarantine?all=perhaps", 400, ""),
    ("/quarantine/x", 400, ""),
    ("/quarantine/9", 404, "no quarantined record 9"),
    ("/log?from=-1", 400, "invalid digit"),
    ("/log?last=perhaps", 400, "neither true nor false"),
    ("/log?since=1", 400, ""),
    ("/changes?after=x", 400, "invalid digit"),
    ("/changes?wait=61", 400, "at most 60 seconds"),
    ("/changes/stream?wait=1", 400, "no parameter"),
    ("/status?verbose=1", 400, "takes none"),
    ("/nothing", 404, "openapi.json"),
    ("/alerts/orders/x", 404, "openapi.json"),
    ("", 404, "openapi.json"),
];

fn bad_requests() -> Vec<Bad> {
    let mut all = Vec::new();
    let mut get = |path: &str, status: u16, says: &'static str| {
        all.push(Bad { method: "GET", path: path.into(), kind: "text/plain", body: String::new(), status, says });
    };
    for (filter, says) in FILTERS {
        get(&format!("/alerts?filter={filter}"), 400, says);
        get(&format!("/facets/kind?filter={filter}"), 400, says);
    }
    for (query, says) in QUERIES {
        get(&format!("/alerts?{query}"), 400, says);
    }
    for (path, status, says) in PATHS {
        get(path, *status, says);
    }
    get(&format!("/alerts?filter={}", "a".repeat(5_000)), 400, "at most 4096");
    get(&format!("/alerts?{}", vec!["filter=a"; 40].join("&")), 400, "at most 32");
    all.extend(bad_changes());
    all
}

/// Changes of what is not there.
const CHANGES: &[(&str, u16, &str)] = &[
    ("/runs/a-1.0/none/cancel", 409, ""),
    ("/runs/a-9.0/p/restart", 404, "no run"),
    ("/runs/a-1.0/none/retry", 409, ""),
    ("/runs/x/p/retry", 400, ""),
    ("/deliveries/x/retry", 400, "effect key"),
    ("/silences/s-9/expire", 409, ""),
    ("/silences/x/expire", 400, "silence id"),
    ("/tokens/nobody/revoke", 409, ""),
    ("/quarantine/discard", 409, "no record is in quarantine"),
];

/// Orders for alerts that are none.
const ORDERS: &[(&str, &str)] = &[
    ("", "missing field"),
    ("{", "EOF"),
    ("[]", ""),
    ("nonsense", ""),
    ("\u{0}", ""),
    (r#"{"alerts":[],"want":{"change":"comment"},"comment":"x"}"#, "1 to 1000 alerts"),
    (r#"{"alerts":["a-1"],"want":{"change":"comment"},"comment":"x"}"#, "alert id"),
    (r#"{"alerts":["a-1.0"],"want":{"change":"comment"}}"#, "comment"),
    (r#"{"alerts":["a-1.0"],"want":{"change":"shout"},"comment":"x"}"#, "unknown variant"),
    (r#"{"alerts":["a-1.0"],"want":{"change":{"status":{"to":"done"}}},"comment":"x"}"#, "unknown variant"),
    (r#"{"alerts":["a-1.0"],"want":{"change":{"status":{"to":"active","reason":"benign"}}},"comment":"x"}"#, ""),
    (r#"{"alerts":["a-1.0"],"want":{"change":{"status":{"to":"resolved"}}},"comment":"x"}"#, ""),
    (r#"{"alerts":["a-1.0"],"want":{"change":{"tags":{}}},"comment":"x"}"#, ""),
    (r#"{"alerts":["a-1.0"],"want":{"change":{"tags":{"add":[""]}}},"comment":"x"}"#, ""),
    (r#"{"alerts":["a-1.0"],"want":{"run":"p"}}"#, "must say why"),
    (r#"{"alerts":["a-1.0"],"want":{"run":"p"},"comment":"x","force":true}"#, "unknown field"),
    (r#"{"alerts":["a-1.0"],"alerts":["a-1.0"],"want":{"run":"p"},"comment":"x"}"#, "duplicate field"),
];

fn bad_changes() -> Vec<Bad> {
    let json = "application/json";
    let mut all = Vec::new();
    let mut post = |path: &str, kind: &'static str, body: String, status: u16, says: &'static str| {
        all.push(Bad { method: "POST", path: path.into(), kind, body, status, says });
    };
    let why = || json!({ "comment": "why" }).to_string();
    for (body, says) in ORDERS {
        post("/alerts/orders", json, (*body).into(), 400, says);
    }
    let long = json!({ "alerts": ["a-1.0"], "want": { "change": "comment" }, "comment": "x".repeat(1_001) });
    post("/alerts/orders", json, long.to_string(), 400, "at most 1000 characters");
    let many: Vec<String> = (1..=1_001).map(|n| format!("a-{n}.0")).collect();
    let many = json!({ "alerts": many, "want": { "change": "comment" }, "comment": "x" });
    post("/alerts/orders", json, many.to_string(), 400, "1 to 1000 alerts");
    post("/alerts/orders", json, format!("{{\"x\":\"{}\"}}", "x".repeat(3 << 20)), 413, "length limit");
    post("/alerts/orders", "text/plain", why(), 415, "application/json");
    post("/alerts", json, why(), 405, "another method");
    post("/status", json, String::new(), 405, "another method");
    for (path, status, says) in CHANGES {
        post(path, json, why(), *status, says);
    }
    post("/runs/a-1.0/p/cancel", json, json!({ "comment": "  " }).to_string(), 400, "must say why");
    post("/runs/a-1.0/p/cancel", json, String::new(), 400, "missing field `comment`");
    post("/destinations/hook/retry", json, why(), 400, "missing field `outcome`");
    post("/quarantine/9/retry", json, String::new(), 409, "");
    for (silence, says) in [
        (json!({ "match": [], "lasts": "1h", "comment": "x" }), ""),
        (json!({ "match": ["kind"], "lasts": "1h", "comment": "x" }), "is not field=value"),
        (json!({ "match": ["kind=x"], "lasts": "soon", "comment": "x" }), "length of time"),
        (json!({ "match": ["kind=x"], "lasts": "1h", "comment": "" }), "must say why"),
        (json!({ "match": ["kind=x"], "lasts": "1h" }), "missing field `comment`"),
    ] {
        let status = if silence["match"] == json!([]) { 409 } else { 400 };
        post("/silences", json, silence.to_string(), status, says);
    }
    for (token, status, says) in [
        (json!({ "name": "Ann", "role": "viewer", "lasts": "1d" }), 409, ""),
        (json!({ "name": "ann", "role": "king", "lasts": "1d" }), 400, "unknown variant"),
        (json!({ "name": "ann", "role": "viewer", "lasts": "0s" }), 409, ""),
        (json!({ "name": "the-viewer", "role": "viewer", "lasts": "1d" }), 409, ""),
    ] {
        post("/tokens", json, token.to_string(), status, says);
    }
    post("/samples", json, json!({ "formats": ["none"], "x": 1 }).to_string(), 400, "unknown field");
    all
}

#[test]
fn the_document_tells_every_type_once_and_every_operation_by_a_name_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let document = world.document();
    let text = document.to_string();
    let shapes = document["components"]["schemas"].as_object().unwrap();
    for part in text.split("\"$ref\":\"").skip(1) {
        let name =
            part.split('"').next().unwrap().strip_prefix("#/components/schemas/").expect("shapes stand in one place");
        assert!(shapes.contains_key(name), "{name} is named and not told");
    }
    let numbered = |name: &&String| name.ends_with(|last: char| last.is_ascii_digit());
    assert_eq!(shapes.keys().filter(numbered).collect::<Vec<_>>(), Vec::<&String>::new(), "two types have one name");
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let mut ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "two operations have one name");
}
