//! Every answer, as a sender on a socket sees it.

use std::io::Write;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::domain::record::{Position, RECORD_BYTES_MAX, Record};
use crate::sources::intake::{Answer, BATCH_RECORDS_MAX, Limits, Offer};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server with one source, `s`, whose token is `right`.
struct Lab {
    address: SocketAddr,
    intake: Intake,
    taken: Option<mpsc::Receiver<Offer>>,
    counters: Arc<Counters>,
    server: Arc<ServerCounters>,
    tell: signal::Sender<bool>,
    running: JoinHandle<()>,
}

/// A response.
#[derive(Debug)]
struct Got {
    status: u16,
    head: String,
    body: Value,
}

impl Lab {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        let (intake, taken) = Intake::new(Limits { records: 0, bytes: 0 });
        let counters = Arc::<Counters>::default();
        let tokens = vec![Secret::new("old"), Secret::new("right"), Secret::new("")];
        let gate = Gate::default();
        let endpoint = Endpoint { name: "s".into(), tokens, gate, intake: intake.clone(), counters: counters.clone() };
        let mut settings = ServerSettings { listen: ([127, 0, 0, 1], 0).into(), ..ServerSettings::default() };
        change(&mut settings);
        let server = Server::bind(settings, vec![endpoint]).await.unwrap();
        let (tell, stop) = signal::channel(false);
        let (address, server_counters) = (server.address(), server.counters());
        let running = tokio::spawn(server.run(stop));
        Self { address, intake, taken: Some(taken), counters, server: server_counters, tell, running }
    }

    /// Answers each record as a daemon would that takes objects and quarantines the rest.
    fn daemon(&mut self) -> JoinHandle<Vec<Record>> {
        let mut taken = self.taken.take().unwrap();
        tokio::spawn(async move {
            let mut records = Vec::new();
            while let Some(offer) = taken.recv().await {
                let seq = records.len() as u64 + 1;
                let (hash, record_no) = (format!("{seq:04x}"), seq);
                let answer = match serde_json::from_slice::<Value>(&offer.record.bytes) {
                    Ok(Value::Object(fields)) if fields.contains_key("ignore") => {
                        Answer::Ignored { why: "told".into() }
                    }
                    Ok(Value::Object(fields)) => {
                        let alerts = vec![format!("a-{seq}.0")];
                        Answer::Accepted { seq, hash, record_no, alerts, redelivery: fields.contains_key("again") }
                    }
                    _ => Answer::Quarantined { seq, hash, record_no, cause: "not JSON".into() },
                };
                records.push(offer.record.clone());
                let _ = offer.answer.unwrap().send(answer);
            }
            records
        })
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn post(&self, body: impl AsRef<[u8]>) -> Got {
        self.post_with("", body).await
    }

    async fn post_with(&self, headers: &str, body: impl AsRef<[u8]>) -> Got {
        let mut stream = self.connect().await;
        // A server that refuses may close before all is sent.
        let _ = stream.write_all(&request("POST", "/v1/sources/s", headers, body.as_ref())).await;
        read_response(&mut stream).await
    }

    async fn ask(&self, method: &str, path: &str) -> Got {
        let mut stream = self.connect().await;
        stream.write_all(&request(method, path, "", b"{}")).await.unwrap();
        read_response(&mut stream).await
    }

    /// Sends the bytes as they are and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }

    async fn is_well(&self) {
        let got = self.post(r#"{"good":1}"#).await;
        assert_eq!((got.status, &got.body["accepted"]), (200, &json!(1)), "{got:?}");
    }
}

fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let token = if headers.to_lowercase().contains("authorization") { "" } else { "Authorization: Bearer right\r\n" };
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{token}{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the server closes in time");
    String::from_utf8(bytes).unwrap()
}

async fn read_response(stream: &mut TcpStream) -> Got {
    tokio::time::timeout(PATIENCE, try_read_response(stream)).await.expect("an answer in time").expect("an answer")
}

async fn try_read_response(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        bytes.push(stream.read_u8().await.ok()?);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Got { status, head, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn objects_arrays_and_lines_are_taken_with_receipts() {
    let mut lab = Lab::new().await;
    let daemon = lab.daemon();
    let got = lab.post(r#"{"a":1}"#).await;
    assert_eq!(got.status, 200);
    let first = json!({"index":0,"seq":1,"h":"0001","record":1,"alerts":["a-1.0"]});
    assert_eq!(got.body, json!({"accepted":1,"quarantined":0,"ignored":0,"redelivered":0,"receipts":[first]}));
    let got =
        lab.post_with("Idempotency-Key: \"a \\\"b\\\"\"\r\n", "[{\"a\":1}, 2, {\"ignore\":1}, {\"again\":1}]").await;
    let second = json!({"index":0,"seq":2,"h":"0002","record":2,"alerts":["a-2.0"]});
    let third = json!({"index":1,"seq":3,"h":"0003","record":3,"quarantined":"not JSON"});
    let fifth = json!({"index":3,"seq":5,"h":"0005","record":5,"alerts":["a-5.0"],"redelivery":true});
    let receipts = json!([second, third, fifth]);
    assert_eq!(got.body, json!({"accepted":1,"quarantined":1,"ignored":1,"redelivered":1,"receipts":receipts}));
    let got = lab.post_with("Content-Type: application/x-ndjson\r\n", "{\"a\":1}\r\n\nbroken\n{\"b\":2}").await;
    assert_eq!((got.status, &got.body["accepted"], &got.body["quarantined"]), (200, &json!(2), &json!(1)));
    let got = lab.post("[]").await;
    assert_eq!((got.status, &got.body["receipts"]), (200, &json!([])));
    let many = "{}\n".repeat(101);
    let got = lab.post(&many).await;
    assert_eq!(
        (&got.body["accepted"], &got.body["receipts"], &got.body["receipt"]["index"]),
        (&json!(101), &Value::Null, &json!(100))
    );
    lab.tell.send(true).unwrap();
    lab.running.await.unwrap();
    drop(lab.intake);
    let records = daemon.await.unwrap();
    assert_eq!(records[2].bytes, b"2");
    let Position::Http(position) = &records[2].position else { panic!() };
    assert_eq!((position.key.as_deref(), position.index), (Some("a \"b\""), 1));
    assert!(position.peer.starts_with("127.0.0.1:"), "{position:?}");
    assert_eq!(lab.counters.records.load(Ordering::Relaxed), 1 + 4 + 3 + 101);
}

#[tokio::test]
async fn a_2xx_waits_for_every_answer() {
    let mut lab = Lab::new().await;
    let mut taken = lab.taken.take().unwrap();
    let address = lab.address;
    let waiting = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&request("POST", "/v1/sources/s", "", b"[{},{}]")).await.unwrap();
        read_response(&mut stream).await
    });
    let (first, second) = (taken.recv().await.unwrap(), taken.recv().await.unwrap());
    second.answer.unwrap().send(Answer::Ignored { why: String::new() }).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    first.answer.unwrap().send(Answer::Ignored { why: String::new() }).unwrap();
    assert_eq!(waiting.await.unwrap().status, 200);
    // A sender that closes its half of the connection still gets its answer.
    let mut closing = lab.connect().await;
    closing.write_all(&request("POST", "/v1/sources/s", "", b"{}")).await.unwrap();
    closing.shutdown().await.unwrap();
    let offer = taken.recv().await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    offer.answer.unwrap().send(Answer::Ignored { why: String::new() }).unwrap();
    assert_eq!(read_response(&mut closing).await.status, 200);
    // A daemon that dies in between has promised nothing.
    for answer in [Some(Answer::Full), Some(Answer::Busy), Some(Answer::Stopped), None] {
        let waiting = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&request("POST", "/v1/sources/s", "", b"[{},{}]")).await.unwrap();
            read_response(&mut stream).await
        });
        let (first, second) = (taken.recv().await.unwrap(), taken.recv().await.unwrap());
        first.answer.unwrap().send(Answer::Ignored { why: String::new() }).unwrap();
        let expected = match answer {
            Some(Answer::Full) => (503, "disk-full", "30"),
            Some(Answer::Busy) => (429, "too-many-runs", "10"),
            _ => (503, "stopping", "5"),
        };
        match answer {
            Some(answer) => second.answer.unwrap().send(answer).unwrap(),
            None => drop(second),
        }
        let got = waiting.await.unwrap();
        assert_eq!((got.status, got.body["error"]["code"].as_str()), (expected.0, Some(expected.1)));
        assert!(got.head.contains(&format!("retry-after: {}", expected.2)), "{}", got.head);
    }
    drop(taken);
    assert_eq!(lab.post("{}").await.status, 503);
}

#[tokio::test]
async fn refusals_say_why_and_record_nothing() {
    let mut lab = Lab::new().await;
    let daemon = lab.daemon();
    let check = |got: Got, status: u16, code: &str| {
        let error = &got.body["error"];
        assert_eq!((got.status, error["code"].as_str()), (status, Some(code)), "{got:?}");
        assert!(error["message"].is_string() && error["hint"].is_string() && !got.head.contains("right"));
        got
    };
    for body in ["", "{", "[1,", "42", "\"text\"", "<xml/>", "{\"a\":1,}", "\u{feff}", "null", "{} trailing"] {
        check(lab.post(body).await, 400, "unparsable-body");
    }
    check(lab.post(b"{\"a\":\"\xff\"}").await, 400, "unparsable-body");
    check(lab.post_with("Content-Type: application/x-ndjson\r\n", " \n\n").await, 400, "unparsable-body");
    for header in ["", "Bearer wrong", "Bearer", "Bearer ", "Basic right", "right", "Bearer right right", "Bearer righ"]
    {
        let got = check(lab.post_with(&format!("Authorization: {header}\r\n"), "{}").await, 401, "unauthorised");
        assert!(got.head.contains("www-authenticate: Bearer"));
    }
    // The sender of a large body can send all of it, and so gets to read why it was refused.
    let mut large = lab.connect().await;
    let refused = request("POST", "/v1/sources/s", "Authorization: Bearer wrong\r\n", &vec![b'x'; 6 * 1024 * 1024]);
    large.write_all(&refused).await.unwrap();
    check(read_response(&mut large).await, 401, "unauthorised");
    check(
        lab.post_with("Authorization: Bearer right\r\nAuthorization: Bearer right\r\n", "{}").await,
        401,
        "unauthorised",
    );
    for path in [
        "/",
        "/v1/sources/",
        "/v1/sources/other",
        "/v1/sources/s/",
        "/v1/sources/%FF",
        "/v1/sources/..%2Fs",
        "/v1/sources/S",
    ] {
        check(lab.ask("POST", path).await, 404, "unknown-source");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
        assert!(check(lab.ask(method, "/v1/sources/s").await, 405, "method-not-allowed").head.contains("allow: POST"));
    }
    for kind in ["text/html", "multipart/form-data; boundary=x", "application/xml", "image/png"] {
        check(lab.post_with(&format!("Content-Type: {kind}\r\n"), "{}").await, 415, "unsupported-type");
    }
    for encoding in ["br", "deflate", "gzip, gzip", "zstd"] {
        check(lab.post_with(&format!("Content-Encoding: {encoding}\r\n"), "{}").await, 415, "unsupported-encoding");
    }
    for key in ["", "\"", "\"a", "\"a\"b", "\"a\\c\"", "\"\"", "a\tb", &"k".repeat(256), "a\r\nIdempotency-Key: b"] {
        check(lab.post_with(&format!("Idempotency-Key: {key}\r\n"), "{}").await, 400, "bad-idempotency-key");
    }
    lab.is_well().await;
    lab.tell.send(true).unwrap();
    drop(lab.intake);
    lab.running.await.unwrap();
    assert_eq!(daemon.await.unwrap().len(), 1, "only the good one was recorded");
    assert_eq!(lab.counters.refused_unauthorised.load(Ordering::Relaxed), 10);
    assert_eq!(lab.server.not_found.load(Ordering::Relaxed), 7);
}

#[tokio::test]
async fn either_token_and_any_usual_type_will_do() {
    let mut lab = Lab::new().await;
    lab.daemon();
    for token in ["Bearer right", "bearer right", "Bearer  old"] {
        assert_eq!(lab.post_with(&format!("Authorization: {token}\r\n"), "{}").await.status, 200, "{token}");
    }
    for kind in [
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "application/cloudevents+json",
        "TEXT/PLAIN",
    ] {
        assert_eq!(lab.post_with(&format!("Content-Type: {kind}\r\n"), "{}").await.status, 200, "{kind}");
    }
    for key in ["abc-123", "\"abc\"", &"k".repeat(255)] {
        assert_eq!(lab.post_with(&format!("Idempotency-Key: {key}\r\n"), "{}").await.status, 200, "{key}");
    }
}

#[tokio::test]
async fn sizes_are_limited_as_sent_and_as_unpacked() {
    let mut lab = Lab::new().await;
    lab.daemon();
    let check = |got: Got, part: &str| {
        assert_eq!((got.status, got.body["error"]["code"].as_str()), (413, Some("too-large")), "{got:?}");
        assert!(got.body["error"]["message"].as_str().unwrap().contains(part), "{got:?}");
    };
    check(lab.post(vec![b' '; BODY_BYTES_MAX + 1]).await, "8388608 bytes");
    check(lab.post("{}\n".repeat(BATCH_RECORDS_MAX + 1)).await, "10000 records");
    check(lab.post(format!("[{}{{}}]", "{},".repeat(BATCH_RECORDS_MAX))).await, "10000 records");
    let wide = format!("{{\"a\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX));
    check(lab.post(format!("[{{}},{wide}]")).await, "record 1");
    check(lab.post(&wide).await, "record 0");
    let packed = "Content-Encoding: gzip\r\n";
    check(lab.post_with(packed, gzip(&vec![b' '; 7 * 1024 * 1024])).await, "100 times");
    let bomb = [&gzip(&vec![0; 1 << 20])[..]; 64].concat();
    check(lab.post_with(packed, bomb).await, "100 times");
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 60) as u8
    });
    let noise: Vec<u8> = noise.take(BODY_BYTES_MAX + 1).collect();
    check(lab.post_with(packed, gzip(&noise)).await, "8388608 bytes");
    for broken in [&gzip(b"{}")[..5], b"{}", b"\x1F\x8B", &[&gzip(b"{}")[..], b"rest"].concat()] {
        let got = lab.post_with(packed, broken).await;
        assert_eq!((got.status, got.body["error"]["code"].as_str()), (400, Some("broken-body")), "{broken:?}");
    }
    let lines: String = (0..BATCH_RECORDS_MAX).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let got = lab.post_with(packed, gzip(lines.as_bytes())).await;
    assert_eq!((got.status, &got.body["accepted"]), (200, &json!(BATCH_RECORDS_MAX)));
    let full = format!("{{\"a\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX - 8));
    assert_eq!(lab.post(&full).await.body["accepted"], json!(1));
}

#[tokio::test]
async fn a_full_queue_refuses_whole_requests_until_there_is_room() {
    let mut lab = Lab::new().await;
    let record = |index| {
        let position = crate::domain::record::HttpPosition { key: None, index, peer: "test".into() };
        Record { source: "s".into(), bytes: b"{}".to_vec(), position: Position::Http(position) }
    };
    // All but one place, however many there are.
    let mut waiting = Vec::new();
    while let Ok(one) = lab.intake.try_send_all(vec![record(0)]) {
        waiting.push(one);
    }
    drop(lab.taken.as_mut().unwrap().recv().await.unwrap());
    for _ in 0..3 {
        let got = lab.post("[{},{}]").await;
        assert_eq!((got.status, got.body["error"]["code"].as_str()), (429, Some("busy")), "{got:?}");
        assert!(got.head.contains("retry-after: 1"));
    }
    assert_eq!(lab.taken.as_ref().unwrap().len(), waiting.len() - 1, "nothing of it was queued");
    assert_eq!(lab.counters.refused_busy.load(Ordering::Relaxed), 3);
    lab.daemon();
    let posting = async { while lab.post("[{},{}]").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, posting).await.unwrap();
}

#[tokio::test]
async fn what_comes_too_slowly_is_cut() {
    let quick = Duration::from_millis(150);
    let mut lab = Lab::with(|settings| (settings.header_timeout, settings.body_timeout) = (quick, quick)).await;
    lab.daemon();
    assert_eq!(lab.raw(b"").await, "", "nothing at all");
    assert_eq!(lab.raw(b"POST /v1/sources/s HTTP/1.1\r\nHost:").await, "", "half a header");
    let mut dripping = lab.connect().await;
    let drip = async {
        for byte in b"POST /v1/sources/s HTTP/1.1\r\nHost: x\r\n".iter().cycle() {
            if dripping.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.expect("a header that never ends is cut");
    let head = "POST /v1/sources/s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\n";
    let slow = lab.raw(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).await;
    assert!(slow.starts_with("HTTP/1.1 408 ") && slow.contains("body-too-slow"), "{slow}");
    let slow = lab.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{").as_bytes()).await;
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let mut idle = lab.connect().await;
    idle.write_all(&request("POST", "/v1/sources/s", "", b"{}")).await.unwrap();
    assert_eq!(read_response(&mut idle).await.status, 200);
    assert_eq!(read_all(&mut idle).await, "", "an idle connection is closed");
    lab.is_well().await;
}

#[tokio::test]
async fn who_does_not_read_the_replies_is_cut_off() {
    let quick = Duration::from_millis(150);
    let mut lab = Lab::with(|settings| settings.body_timeout = quick).await;
    lab.daemon();
    let mut deaf = lab.connect().await;
    let one = request("POST", "/v1/sources/s", "", format!("[{}{{}}]", "{},".repeat(90)).as_bytes());
    let shout = async { while deaf.write_all(&one).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, shout).await.expect("the server gives up");
    lab.is_well().await;
}

#[tokio::test]
async fn chunks_pipelines_and_half_closed_connections_work() {
    let mut lab = Lab::new().await;
    lab.daemon();
    let head = "POST /v1/sources/s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\n";
    let chunked =
        format!("{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{{\"a\r\n4\r\n\":1}}\r\n0\r\n\r\n");
    assert!(lab.raw(chunked.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    let one = request("POST", "/v1/sources/s", "", b"{}");
    let mut stream = lab.connect().await;
    stream.write_all(&[&one[..], &one, &one].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await.matches("HTTP/1.1 200 ").count(), 3);
    let mut asking = lab.connect().await;
    asking.write_all(format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut asking).await.status, 100);
    asking.write_all(b"{}").await.unwrap();
    assert_eq!(read_response(&mut asking).await.status, 200);
    let mut refused = lab.connect().await;
    let wrong = "POST /v1/sources/s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 8000000\r\n\r\n";
    refused.write_all(wrong.as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut refused).await.status, 401, "who has no token is not asked for the body");
}

#[tokio::test]
async fn connections_are_limited_and_come_free_again() {
    let mut lab = Lab::with(|settings| settings.connections_per_address = 3).await;
    lab.daemon();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = lab.connect().await;
        stream.write_all(&request("POST", "/v1/sources/s", "", b"{}")).await.unwrap();
        assert_eq!(read_response(&mut stream).await.status, 200);
        held.push(stream);
    }
    let refused = lab.raw(b"").await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("too-many-connections"), "{refused}");
    assert_eq!(lab.server.connections_refused.load(Ordering::Relaxed), 1);
    held.pop();
    let again = async {
        loop {
            let mut stream = lab.connect().await;
            let _ = stream.write_all(&request("POST", "/v1/sources/s", "", b"{}")).await;
            if try_read_response(&mut stream).await.is_some_and(|got| got.status == 200) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn stopping_finishes_the_request_in_hand() {
    let mut lab = Lab::new().await;
    let mut taken = lab.taken.take().unwrap();
    let mut stream = lab.connect().await;
    stream.write_all(&request("POST", "/v1/sources/s", "", b"{}")).await.unwrap();
    let offer = taken.recv().await.unwrap();
    lab.tell.send(true).unwrap();
    tokio::task::yield_now().await;
    offer.answer.unwrap().send(Answer::Ignored { why: String::new() }).unwrap();
    assert_eq!(read_response(&mut stream).await.status, 200);
    tokio::time::timeout(PATIENCE, lab.running).await.unwrap().unwrap();
    assert!(TcpStream::connect(lab.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn hostile_bodies_are_answered_and_the_next_good_one_comes_through() {
    let mut lab = Lab::new().await;
    lab.daemon();
    for (name, body) in crate::sources::hostile::bodies() {
        for headers in ["", "Content-Type: application/x-ndjson\r\n", "Content-Encoding: gzip\r\n"] {
            let got = lab.post_with(headers, &body).await;
            assert!([200, 400, 413].contains(&got.status), "{name} {headers} {got:?}");
        }
        lab.is_well().await;
    }
}

#[expect(clippy::too_many_lines, reason = "one table of requests")]
#[tokio::test]
async fn hostile_requests_hurt_nobody() {
    let quick = Duration::from_millis(100);
    let mut lab = Lab::with(|settings| (settings.header_timeout, settings.body_timeout) = (quick, quick)).await;
    lab.daemon();
    let head = "POST /v1/sources/s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\n";
    let mut requests: Vec<Vec<u8>> = [
        "\0\0\0\0",
        "\r\n\r\n\r\n",
        "GET",
        "GET /\r\n\r\n",
        "POST /v1/sources/s HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST  /v1/sources/s  HTTP/1.1\r\n\r\n",
        "POST /v1/sources/s HTTP/1.1\nHost: x\n\n",
        "\x16\x03\x01\x02\0\x01\0\x01",
        "POST http://evil/v1/sources/s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "CONNECT evil:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/sources/s HTTP/1.1\r\nBad Header: x\r\n\r\n",
        "POST /v1/sources/s HTTP/1.1\r\nA: x\r\n folded\r\n\r\n",
        "POST /v1/sources/\u{e9} HTTP/1.1\r\n\r\n",
        "POST * HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/sources/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/sources/s?x=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    for rest in [
        "Content-Length: -1\r\n\r\n{}",
        "Content-Length: 99999999999999999999\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: 2, 2\r\n\r\n{}",
        "Content-Length: 0x2\r\n\r\n{}",
        "Content-Length: 18446744073709551615\r\n\r\n{}",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n{}",
        "Transfer-Encoding: chunked, identity\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2;ext=\"\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\n{}",
        "Expect: something\r\nContent-Length: 2\r\n\r\n{}",
        "Range: bytes=0-\r\nContent-Length: 2\r\n\r\n{}",
        "Content-Type: \u{ff}\r\nContent-Length: 2\r\n\r\n{}",
        "Content-Type: ;;;\r\nContent-Length: 2\r\n\r\n{}",
        "Content-Encoding: \r\nContent-Length: 2\r\n\r\n{}",
        "Idempotency-Key: \u{1}\r\nContent-Length: 2\r\n\r\n{}",
        "Content-Length: 2\r\n\r\n{}garbage after the body",
        "Content-Length: 2\r\n\r\n{}POST /v1/sources/s HTTP/1.1\r\nAuthorization: Bearer wrong\r\n\r\n",
    ] {
        requests.push(format!("{head}{rest}").into_bytes());
    }
    let path = "x".repeat(100_000);
    requests.push(format!("POST /{path} HTTP/1.1\r\n\r\n").into_bytes());
    requests.push(format!("{head}X: {path}\r\n\r\n").into_bytes());
    requests.push(format!("{head}{}\r\n", "X: y\r\n".repeat(500)).into_bytes());
    requests.push(path.into_bytes());
    requests.push((0..=255).cycle().take(70_000).collect());
    for cut in 1..20 {
        let one = request("POST", "/v1/sources/s", "", b"{\"a\":1}");
        requests.push(one[..one.len() * cut / 20].to_vec());
    }
    assert!(requests.len() >= 60, "{}", requests.len());
    let lab = Arc::new(lab);
    let mut sending = tokio::task::JoinSet::new();
    for (number, bytes) in requests.into_iter().enumerate() {
        let lab = lab.clone();
        sending.spawn(async move { (number, lab.raw(&bytes).await) });
    }
    while let Some(sent) = sending.join_next().await {
        let (number, answer) = sent.unwrap();
        let is_fit = answer.is_empty() || answer.starts_with("HTTP/1.");
        assert!(is_fit && !answer.contains(" 500 "), "request {number}: {answer}");
    }
    lab.is_well().await;
    assert!(!lab.running.is_finished());
}

#[test]
fn server_settings_are_read_and_an_open_address_is_warned_of() {
    let read = |text: &str| {
        let mut faults = Faults::default();
        let settings =
            read_server_settings(&crate::yaml::node::parse(&"soard.yaml".into(), text).unwrap(), &mut faults);
        (settings, faults.found.into_iter().map(|fault| fault.code).collect::<Vec<_>>())
    };
    assert_eq!(read("{}"), (ServerSettings::default(), vec![]));
    let (settings, faults) = read(
        "{ listen: 0.0.0.0:80, connections: 5, connections_per_address: 2, header_timeout: 1s, body_timeout: 2s }",
    );
    assert_eq!((settings.listen.port(), settings.connections, settings.connections_per_address), (80, 5, 2));
    assert_eq!((settings.header_timeout, settings.body_timeout), (Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!(faults, ["server-unencrypted"]);
    assert_eq!(
        read("{ listen: localhost, connections: 0, lisen: x }").1,
        ["wrong-type", "out-of-range", "unknown-key"]
    );
}
