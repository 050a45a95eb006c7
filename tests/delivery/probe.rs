//! `mode: probe`: when it is unclear whether a request took effect, the receiver is asked, and its answer decides.

use std::sync::{Arc, Mutex};

use serde_json::json;
use soard::actions::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{World, class, done};

/// A receiver that answers requests and questions with these statuses; 0 closes the connection without an answer.
struct Receiver {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(to_post: u16, to_get: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut buffer = [0; 4096];
                    let n = stream.read(&mut buffer).await.unwrap_or(0);
                    bytes.extend_from_slice(&buffer[..n]);
                    if n == 0 {
                        break;
                    }
                }
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let status = if text.starts_with("GET") { to_get } else { to_post };
                kept.lock().unwrap().push(text);
                if status > 0 {
                    let answer = format!("HTTP/1.1 {status} so\r\ncontent-length: 8\r\n\r\n{{\"n\": 7}}");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { port, seen }
    }

    fn world(&self, more: &str) -> World {
        let address = format!("http://127.0.0.1:{}", self.port);
        World::new(&format!(
            "hook:\n  webhook:\n    url: {address}/do\n    mode: probe\n    timeout: 2s\n    bearer: {{ env: token-value }}\n    \
             probe: {{ url: \"{address}/done/msg_{{key}}?x={{key}}\"{more} }}\n"
        ))
    }

    /// `POST` and `GET`, in order.
    fn methods(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|request| request.split(' ').next().unwrap_or_default().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_request_that_nobody_doubts_is_sent_without_a_question() {
    for (status, expected) in [(200, "ok"), (404, "rejected"), (503, "again"), (500, "ambiguous"), (0, "ambiguous")] {
        let receiver = Receiver::start(status, 500).await;
        let outcome = receiver.world("").post(json!({})).await;
        assert_eq!((class(&outcome).as_str(), receiver.methods()), (expected, vec!["POST".to_owned()]), "{status}");
    }
}

#[tokio::test]
async fn the_receivers_answer_decides_between_done_send_and_ask_again() {
    // Answer to the question, answer to a request, outcome, what the receiver saw.
    let cases: [(u16, u16, &str, &[&str]); 9] = [
        (200, 500, "ok", &["GET"]),
        (404, 201, "ok", &["GET", "POST"]),
        (404, 400, "rejected", &["GET", "POST"]),
        (404, 503, "again", &["GET", "POST"]),
        (404, 0, "ambiguous", &["GET", "POST"]),
        (202, 201, "ambiguous", &["GET"]),
        (401, 201, "ambiguous", &["GET"]),
        (503, 201, "ambiguous", &["GET"]),
        (0, 201, "ambiguous", &["GET"]),
    ];
    for (to_get, to_post, expected, methods) in cases {
        let receiver = Receiver::start(to_post, to_get).await;
        let mut world = receiver.world("");
        world.in_doubt = true;
        let outcome = world.post(json!({})).await;
        assert_eq!(
            (class(&outcome).as_str(), receiver.methods()),
            (expected, methods.iter().map(|m| (*m).into()).collect()),
            "{to_get} {to_post}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn the_question_names_the_key_and_logs_in_and_the_script_gets_its_answer() {
    let receiver = Receiver::start(500, 303).await;
    let mut world = receiver.world(", done: [200, 303], not_done: 410");
    world.in_doubt = true;
    let reply = done(world.post(json!({})).await);
    assert_eq!(
        (&reply.value["status"], &reply.value["probed"], &reply.value["body"]["n"]),
        (&json!(303), &json!(true), &json!(7))
    );
    let question = receiver.seen.lock().unwrap()[0].clone();
    let key = &world.key;
    assert!(question.starts_with(&format!("GET /done/msg_{key}?x={key} HTTP/1.1\r\n")), "{question}");
    assert!(question.contains("authorization: Bearer token-value"), "{question}");
}

#[tokio::test]
async fn a_destination_that_lost_its_probe_leaves_a_request_in_doubt_unknown() {
    let mut world = World::new("hook: { webhook: { url: 'http://127.0.0.1:9/', mode: at_least_once } }");
    world.in_doubt = true;
    let outcome = world.post(json!({})).await;
    assert!(matches!(&outcome, Outcome::Done(_)) && class(&outcome) == "unknown", "{outcome:?}");
}
