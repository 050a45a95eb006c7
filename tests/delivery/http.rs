//! Webhooks: what a receiver gets, what a script gets back, and how every failure is classed.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use soard::actions::Outcome;
use soard::domain::effect::{Class, Effect, WebhookRequest};
use soard::domain::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{World, certificates, class, done, webhook};

/// What the receiver does once it has the whole request.
#[derive(Clone)]
enum Then {
    Answer(Vec<u8>),
    Drip(Vec<u8>),
    /// The head at once, then a body byte by byte.
    Trickle(&'static [u8], usize),
    Close,
    Reset,
    Hang,
}

fn answer(head: &str, body: &str) -> Then {
    Then::Answer(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// A receiver on loopback that keeps what it gets.
struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, then.clone(), kept.clone()));
            }
        });
        Self { port, requests }
    }

    fn world(&self, more: &str) -> World {
        world(self.port, "at_least_once", more)
    }

    fn only(&self) -> String {
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

async fn serve(mut stream: TcpStream, then: Then, requests: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    requests.lock().unwrap().push(String::from_utf8_lossy(&bytes).into_owned());
    match then {
        Then::Answer(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Then::Drip(bytes) => drip(stream, &bytes).await,
        Then::Trickle(head, bytes) => {
            let _ = stream.write_all(head).await;
            drip(stream, &vec![b'x'; bytes]).await;
        }
        Then::Close => {}
        Then::Reset => stream.set_zero_linger().unwrap(),
        Then::Hang => {
            let _ = stream.read(&mut [0; 1]).await;
        }
    }
}

async fn drip(mut stream: TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    body.len() >= header(head, "content-length").map_or(0, |length| length.parse().unwrap())
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn world(port: u16, mode: &str, more: &str) -> World {
    World::new(&format!(
        "hook:\n  webhook:\n    url: http://127.0.0.1:{port}/base?fixed=1\n    mode: {mode}\n    timeout: 1500ms\n{more}"
    ))
}

fn request(change: impl FnOnce(&mut WebhookRequest)) -> Effect {
    let Effect::Webhook(mut request) = webhook(Some(json!({"a": "ü🚨"}))) else { unreachable!() };
    change(&mut request);
    Effect::Webhook(request)
}

#[tokio::test]
async fn the_receiver_gets_the_body_the_keys_and_the_destinations_headers() {
    let receiver =
        Receiver::start(answer("201 Created\r\nX-Ticket: 7\r\nSet-Cookie: session=1", "{\"key\":\"SEC-1\"}")).await;
    let world = receiver.world(
        "    headers: { X-Team: soc, X-Api-Key: { env: api-key-value } }\n    bearer: { env: bearer-token-value }\n    body: { routing_key: { env: routing-key-value } }\n",
    );
    let effect = request(|request| {
        request.method = Some("put".into());
        request.path = vec!["a/b".into(), "ü".into()];
        request.query = [("q".into(), "1&2".into())].into();
        request.headers = [("X-Title".into(), "line\r\nHost: evil".into()), ("x-team".into(), "mine".into())].into();
    });
    let reply = done(world.send(&effect).await);
    assert_eq!((reply.class, reply.status), (Class::Ok, Some(201)));
    assert_eq!(reply.value["body"]["key"], "SEC-1");
    assert_eq!(reply.value["headers"]["x-ticket"], "7");
    assert_eq!(reply.value["headers"].get("set-cookie"), None);
    let got = receiver.only();
    let key = world.key.as_str();
    assert_eq!(got.lines().next(), Some("PUT /base/a%2Fb/%C3%BC?fixed=1&q=1%262 HTTP/1.1"));
    for (name, value) in [
        ("host", format!("127.0.0.1:{}", receiver.port)),
        ("webhook-id", format!("msg_{key}")),
        ("webhook-timestamp", "1795309323".into()),
        ("x-soard-log-head", crate::LOG_HEAD.into()),
        ("idempotency-key", format!("\"{key}\"")),
        ("content-type", "application/json".into()),
        ("user-agent", concat!("soard/", env!("CARGO_PKG_VERSION")).into()),
        ("authorization", "Bearer bearer-token-value".into()),
        ("x-team", "soc".into()),
        ("x-api-key", "api-key-value".into()),
        ("x-title", "line Host: evil".into()),
    ] {
        assert_eq!(header(&got, name), Some(value.as_str()), "{name}");
    }
    let body: Value = serde_json::from_str(got.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body, json!({"a": "ü🚨", "routing_key": "routing-key-value"}));
}

#[tokio::test]
async fn the_signature_is_what_another_implementation_computes() {
    let receiver = Receiver::start(answer("204 No Content", "")).await;
    let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let world = receiver.world(&format!("    secret: [{{ env: {new} }}, {{ env: {old} }}]\n"));
    assert_eq!(done(world.post(json!({"text": "naïve 🚨"})).await).class, Class::Ok);
    let got = receiver.only();
    let script = "import base64,hashlib,hmac,sys\n\
                  print(' '.join('v1,'+base64.b64encode(hmac.new(base64.b64decode(s[6:]),sys.argv[1].encode(),hashlib.sha256).digest()).decode() for s in sys.argv[2:]))";
    let signed = [
        header(&got, "webhook-id").unwrap(),
        header(&got, "webhook-timestamp").unwrap(),
        got.split_once("\r\n\r\n").unwrap().1,
    ];
    let output = Command::new("/usr/bin/python3").args(["-c", script, &signed.join("."), new, old]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(header(&got, "webhook-signature"), Some(String::from_utf8_lossy(&output.stdout).trim()));
}

#[tokio::test]
async fn every_way_to_fail_has_its_class() {
    let status = |status: &str| answer(status, "why");
    let half = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\ncontent-length: 1000\r\n\r\n{body}").into_bytes();
    let cases = [
        ("closed before the reply", Then::Close, "ambiguous", "unknown"),
        ("reset before the reply", Then::Reset, "ambiguous", "unknown"),
        ("silence", Then::Hang, "ambiguous", "unknown"),
        (
            "reply byte by byte",
            Then::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
            "ambiguous",
            "unknown",
        ),
        ("no HTTP", Then::Answer(b"220 mail.example.com ESMTP\r\n".to_vec()), "ambiguous", "unknown"),
        ("half a head", Then::Answer(b"HTTP/1.1 200 OK\r\ncont".to_vec()), "ambiguous", "unknown"),
        ("200", status("200 OK"), "ok", "ok"),
        ("204", answer("204 No Content", ""), "ok", "ok"),
        ("half a body", Then::Answer(half("200 OK", "{\"a\":")), "ok", "ok"),
        ("half an error", Then::Answer(half("500 Oops", "{\"a\":")), "again", "unknown"),
        ("301", status("301 Moved\r\nlocation: /elsewhere"), "rejected", "rejected"),
        ("307", status("307 Moved\r\nlocation: /elsewhere"), "rejected", "rejected"),
        ("400", status("400 Bad Request"), "rejected", "rejected"),
        ("401", status("401 Unauthorized"), "rejected", "rejected"),
        ("404", status("404 Not Found"), "rejected", "rejected"),
        ("409", status("409 Conflict"), "rejected", "rejected"),
        ("410", status("410 Gone"), "rejected", "rejected"),
        ("408", status("408 Request Timeout"), "again", "again"),
        ("425", status("425 Too Early"), "again", "again"),
        ("429", status("429 Too Many Requests"), "again", "again"),
        ("503", status("503 Service Unavailable"), "again", "again"),
        ("500", status("500 Internal Server Error"), "again", "unknown"),
        ("502", status("502 Bad Gateway"), "again", "unknown"),
        ("504", status("504 Gateway Timeout"), "again", "unknown"),
    ];
    for (name, then, least, most) in cases {
        for (mode, expected) in [("at_least_once", least), ("at_most_once", most)] {
            let receiver = Receiver::start(then.clone()).await;
            let outcome = world(receiver.port, mode, "").post(json!({})).await;
            assert_eq!(class(&outcome), expected, "{name}, {mode}: {outcome:?}");
            receiver.only();
        }
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for mode in ["at_least_once", "at_most_once"] {
        assert_eq!(class(&world(nobody, mode, "").post(json!({})).await), "again", "nobody listens, {mode}");
    }
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    for (given, expected) in
        [("7", 7), ("Sun, 22 Nov 2026 01:03:03 GMT", 60), ("99999999999999999999", 366 * 24 * 3600)]
    {
        let receiver = Receiver::start(answer(&format!("429 Slow down\r\nretry-after: {given}"), "")).await;
        match receiver.world("").post(json!({})).await {
            Outcome::Again { status: Some(429), after, ambiguous: false, .. } => {
                assert_eq!(after, Some(Span::from_secs(expected)))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reply_is_bounded_and_says_when_it_was_cut() {
    let value = |then| async move {
        let receiver = Receiver::start(then).await;
        done(receiver.world("    response_bytes_max: 1000\n").post(json!({})).await).value
    };
    assert_eq!(value(answer("200 OK", "plain {")).await["body"], "plain {");
    assert_eq!(value(answer("200 OK\r\ncontent-type: application/json", "{broken")).await["body"], "{broken");
    assert_eq!(value(answer("200 OK", " [1,2]")).await["body"], json!([1, 2]));
    let huge = value(answer("200 OK", &format!("[\"{}\"]", "x".repeat(5_000_000)))).await;
    assert_eq!((huge["truncated"].clone(), huge["body"].as_str().map(str::len)), (json!(true), Some(1000)));
    let slow = value(Then::Trickle(b"HTTP/1.1 201 Created\r\n\r\n", 100)).await;
    assert_eq!((slow["status"].clone(), slow["truncated"].clone()), (json!(201), json!(true)));
    let half = value(Then::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"a\":".to_vec())).await;
    assert_eq!((half["truncated"].clone(), half["body"].clone()), (json!(true), json!("{\"a\":")));
    let deep = value(answer("200 OK", &"[".repeat(900))).await;
    assert!(deep["body"].is_string());
    let gone = value(answer("410 Gone", "bye")).await;
    assert_eq!((gone["gone"].clone(), gone["body"].clone()), (json!(true), json!("bye")));
}

#[tokio::test]
async fn no_secret_comes_back_in_replies_or_errors() {
    let echo = "{\"you sent\": \"Bearer bearer-token-value\", \"url\": \"x-secret-path-9\"}";
    let receiver = Receiver::start(answer("400 bearer-token-value\r\nx-echo: bearer-token-value", echo)).await;
    let yaml = |port| {
        format!(
            "hook:\n  webhook:\n    url: {{ env: 'http://127.0.0.1:{port}/x-secret-path-9' }}\n    mode: at_least_once\n    bearer: {{ env: bearer-token-value }}\n    timeout: 1500ms\n"
        )
    };
    let reply = done(World::new(&yaml(receiver.port)).post(json!({})).await);
    let text = serde_json::to_string(&reply).unwrap();
    assert_eq!(reply.class, Class::Rejected);
    assert!(!text.contains("bearer-token-value"), "{text}");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let outcome = format!("{:?}", World::new(&yaml(nobody)).post(json!({})).await);
    assert!(outcome.contains("Again") && !outcome.contains("x-secret-path-9"), "{outcome}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_rejected_before_anything_leaves() {
    let receiver = Receiver::start(answer("200 OK", "")).await;
    let world = receiver.world("    body: { key: { env: value } }\n");
    let effects = [
        request(|request| request.destination = "nowhere".into()),
        request(|request| request.method = Some("TRACE".into())),
        request(|request| request.path = vec!["..".into()]),
        request(|request| request.headers = [("Authorization".into(), "x".into())].into()),
        request(|request| request.headers = (0..40).map(|n| (format!("x-{n}"), String::new())).collect()),
        request(|request| request.body = Some(json!(["no", "map"]))),
        request(|request| request.body = Some(json!({"big": "x".repeat(2_000_000)}))),
        request(|request| request.query = [("q".into(), "x".repeat(9_000))].into()),
        crate::email(None),
        Effect::Now,
    ];
    let mut errors = Vec::new();
    for effect in effects {
        let reply = done(world.send(&effect).await);
        assert_eq!(reply.class, Class::Rejected);
        errors.push(reply.error.unwrap());
    }
    insta::assert_snapshot!(errors.join("\n"));
    assert!(receiver.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn https_trusts_the_systems_roots_and_those_of_the_destination() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let script = "import http.server,ssl,sys,threading\n\
class H(http.server.BaseHTTPRequestHandler):\n  def do_POST(self):\n    self.rfile.read(int(self.headers['content-length'])); self.send_response(200); self.send_header('content-length','0'); self.end_headers()\n\
s=http.server.HTTPServer(('127.0.0.1',0),H)\nc=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain('cert.pem','key.pem'); s.socket=c.wrap_socket(s.socket,server_side=True,do_handshake_on_connect=False)\n\
print(s.server_port,flush=True)\nthreading.Thread(target=s.serve_forever,daemon=True).start()\nsys.stdin.read()";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let yaml = |ca: &str| {
        let port = line.trim();
        World::new(&format!(
            "hook:\n  webhook: {{ url: 'https://localhost:{port}/', mode: at_most_once, timeout: 5s{ca} }}\n"
        ))
    };
    let trusted = yaml(&format!(", ca: '{}'", folder.path().join("ca.pem").display())).post(json!({})).await;
    let strange = yaml("").post(json!({})).await;
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(class(&trusted), "ok", "{trusted:?}");
    assert_eq!(class(&strange), "again", "{strange:?}");
    assert!(format!("{strange:?}").contains("certificate"), "{strange:?}");
}
