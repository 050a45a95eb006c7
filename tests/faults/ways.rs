//! Receivers that fail, each in its own way, a few times and then no more. They remember what they took: what a real
//! receiver would have acted upon.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::sleep;

/// How an HTTP receiver fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    CloseAtOnce,
    ResetAtOnce,
    CloseInRequest,
    CloseBeforeReply,
    ResetBeforeReply,
    HalfHead,
    Gibberish,
    HalfBody,
    ByteByByte,
    Silence,
    Busy,
    BusyUntil,
    Unavailable,
    Broken,
    Moved,
    Gone,
}

impl Http {
    pub const ALL: [Self; 16] = [
        Self::CloseAtOnce,
        Self::ResetAtOnce,
        Self::CloseInRequest,
        Self::CloseBeforeReply,
        Self::ResetBeforeReply,
        Self::HalfHead,
        Self::Gibberish,
        Self::HalfBody,
        Self::ByteByByte,
        Self::Silence,
        Self::Busy,
        Self::BusyUntil,
        Self::Unavailable,
        Self::Broken,
        Self::Moved,
        Self::Gone,
    ];
}

/// At which stage a mail server fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Smtp {
    Greeting421,
    GreetingDrop,
    EhloDrop,
    Auth454,
    Auth535,
    AuthDrop,
    Mail451,
    Mail554,
    Rcpt451,
    Rcpt550,
    RcptDrop,
    Data451,
    DataDrop,
    MessageDrop,
    Dot451,
    Dot554,
    DotDrop,
    DotSilence,
    OneRecipientLater,
}

impl Smtp {
    pub const ALL: [Self; 19] = [
        Self::Greeting421,
        Self::GreetingDrop,
        Self::EhloDrop,
        Self::Auth454,
        Self::Auth535,
        Self::AuthDrop,
        Self::Mail451,
        Self::Mail554,
        Self::Rcpt451,
        Self::Rcpt550,
        Self::RcptDrop,
        Self::Data451,
        Self::DataDrop,
        Self::MessageDrop,
        Self::Dot451,
        Self::Dot554,
        Self::DotDrop,
        Self::DotSilence,
        Self::OneRecipientLater,
    ];

    /// Whether it is about a login; the daemon logs in as `soard` with the test's token then.
    pub fn has_login(self) -> bool {
        matches!(self, Self::Auth454 | Self::Auth535 | Self::AuthDrop)
    }
}

/// The test's token as it stands in the dialogue, user name and all.
pub const LOGIN: &str = "AHNvYXJkAGEtdG9rZW4tZm9yLXRlc3Rz";

/// One thing that a receiver took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Took {
    pub key: String,
    /// The mail's recipient; empty for a request.
    pub recipient: String,
    pub body: String,
}

/// What a receiver remembers.
#[derive(Clone, Default)]
pub struct Memory {
    took: Arc<Mutex<Vec<Took>>>,
    seen: Arc<Mutex<BTreeSet<String>>>,
    /// How often it fails yet.
    left: Arc<Mutex<usize>>,
}

impl Memory {
    /// What it took, in order.
    pub fn took(&self) -> Vec<Took> {
        self.took.lock().unwrap().clone()
    }

    /// Every key that it saw, taken or not.
    pub fn seen(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Whether it fails now; uses up one failure.
    fn fails(&self) -> bool {
        let mut left = self.left.lock().unwrap();
        let fails = *left > 0;
        *left = left.saturating_sub(1);
        fails
    }

    fn see(&self, key: &str) {
        self.seen.lock().unwrap().insert(key.to_owned());
    }

    fn take(&self, key: &str, recipient: &str, body: &str) {
        let (key, recipient, body) = (key.to_owned(), recipient.to_owned(), body.to_owned());
        self.took.lock().unwrap().push(Took { key, recipient, body });
    }
}

/// How long a receiver takes before it does anything: kills shall find requests under way.
const DELAY: Duration = Duration::from_millis(30);
/// Longer than any destination of the tests waits.
const FOR_EVER: Duration = Duration::from_secs(60);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn listen<Served>(fails: usize, serve: impl Fn(TcpStream, Memory) -> Served + Send + 'static) -> (SocketAddr, Memory)
where
    Served: Future<Output = Option<()>> + Send + 'static,
{
    let memory = Memory { left: Arc::new(Mutex::new(fails)), ..Memory::default() };
    let shared = memory.clone();
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    RUNTIME.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            RUNTIME.spawn(serve(stream, shared.clone()));
        }
    });
    (address, memory)
}

/// An HTTP receiver that fails so often in this way. `GET /KEY` answers whether it took the request with this key.
pub fn http(way: Http, fails: usize) -> (SocketAddr, Memory) {
    listen(fails, move |stream, memory| serve_http(stream, memory, way))
}

struct Request {
    is_question: bool,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

async fn read_request(from: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n: &String| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let body = String::from_utf8_lossy(&body).into();
    Some(Request { is_question: line.starts_with("GET"), path, headers, body })
}

/// `None` ends the connection.
async fn serve_http(stream: TcpStream, memory: Memory, way: Http) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        if way == Http::CloseInRequest && stream.fill_buf().await.ok()?.starts_with(b"POST") && memory.fails() {
            return None;
        }
        if matches!(way, Http::CloseAtOnce | Http::ResetAtOnce) && memory.fails() {
            sleep(DELAY).await;
            if way == Http::ResetAtOnce {
                stream.get_ref().set_zero_linger().ok()?;
            }
            return None;
        }
        let request = read_request(&mut stream).await?;
        if request.is_question {
            let taken = memory.took().iter().any(|took| request.path.ends_with(&took.key));
            let status = if taken { "200 Taken" } else { "404 Unknown" };
            say(&mut stream, &format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await?;
            continue;
        }
        let key = request.headers["idempotency-key"].trim_matches('"').to_owned();
        memory.see(&key);
        let at_request = !matches!(way, Http::CloseAtOnce | Http::ResetAtOnce | Http::CloseInRequest);
        let for_good = matches!(way, Http::Moved | Http::Gone | Http::HalfBody);
        let fails = for_good || at_request && memory.fails();
        let refuses = matches!(way, Http::Busy | Http::BusyUntil | Http::Unavailable | Http::Moved | Http::Gone);
        if !(fails && refuses) {
            memory.take(&key, "", &request.body);
        }
        sleep(DELAY).await;
        if !fails {
            say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
            continue;
        }
        return fail_http(&mut stream, way).await;
    }
}

async fn say(stream: &mut BufReader<TcpStream>, text: &str) -> Option<()> {
    stream.get_mut().write_all(text.as_bytes()).await.ok()
}

async fn fail_http(stream: &mut BufReader<TcpStream>, way: Http) -> Option<()> {
    let short = |head: &str| format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
    match way {
        Http::CloseAtOnce | Http::ResetAtOnce | Http::CloseInRequest | Http::CloseBeforeReply => None,
        Http::ResetBeforeReply => stream.get_ref().set_zero_linger().ok(),
        Http::HalfHead => say(stream, "HTTP/1.1 200 OK\r\ncont").await,
        Http::Gibberish => say(stream, "220 mail.example.com ESMTP\r\n").await,
        Http::HalfBody => say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"a\":").await,
        Http::ByteByByte => {
            for byte in short("200 OK").chars() {
                say(stream, &byte.to_string()).await?;
                sleep(Duration::from_millis(60)).await;
            }
            None
        }
        Http::Silence => {
            sleep(FOR_EVER).await;
            None
        }
        Http::Busy => say(stream, &short("429 Busy\r\nretry-after: 0")).await,
        Http::BusyUntil => say(stream, &short("429 Busy\r\nretry-after: Sun, 22 Nov 2020 01:00:00 GMT")).await,
        Http::Unavailable => say(stream, &short("503 Later")).await,
        Http::Broken => say(stream, &short("500 Oops")).await,
        Http::Moved => say(stream, &short("301 Moved\r\nlocation: /elsewhere")).await,
        Http::Gone => say(stream, &short("410 Gone")).await,
    }
}

/// A mail server that fails so often in this way.
pub fn smtp(way: Smtp, fails: usize) -> (SocketAddr, Memory) {
    listen(fails, move |stream, memory| serve_smtp(stream, memory, way))
}

/// What a mail server does at a stage instead of its usual reply.
enum Instead {
    Say(&'static str),
    Drop,
    Silence,
}

fn instead(way: Smtp) -> (&'static str, Instead) {
    match way {
        Smtp::Greeting421 => ("greeting", Instead::Say("421 busy")),
        Smtp::GreetingDrop => ("greeting", Instead::Drop),
        Smtp::EhloDrop => ("EHLO", Instead::Drop),
        Smtp::Auth454 => ("AUTH", Instead::Say("454 later")),
        // Some servers repeat the command that they refuse.
        Smtp::Auth535 => ("AUTH", Instead::Say("535 no such login: AUTH PLAIN AHNvYXJkAGEtdG9rZW4tZm9yLXRlc3Rz")),
        Smtp::AuthDrop => ("AUTH", Instead::Drop),
        Smtp::Mail451 => ("MAIL", Instead::Say("451 later")),
        Smtp::Mail554 => ("MAIL", Instead::Say("554 never")),
        Smtp::Rcpt451 => ("RCPT", Instead::Say("451 later")),
        Smtp::Rcpt550 => ("RCPT", Instead::Say("550 nobody")),
        Smtp::RcptDrop => ("RCPT", Instead::Drop),
        Smtp::Data451 => ("DATA", Instead::Say("451 later")),
        Smtp::DataDrop => ("DATA", Instead::Drop),
        Smtp::MessageDrop => ("message", Instead::Drop),
        Smtp::Dot451 => ("dot", Instead::Say("451 later")),
        Smtp::Dot554 => ("dot", Instead::Say("554 never")),
        Smtp::DotDrop => ("dot", Instead::Drop),
        Smtp::DotSilence => ("dot", Instead::Silence),
        Smtp::OneRecipientLater => ("RCPT b", Instead::Say("451 greylisted")),
    }
}

/// `None` ends the dialogue; `Some(true)`: the usual reply was given.
async fn stage(stream: &mut BufReader<TcpStream>, memory: &Memory, way: Smtp, at: &str, usual: &str) -> Option<bool> {
    let (stage, instead) = instead(way);
    let for_good = matches!(way, Smtp::Mail554 | Smtp::Rcpt550 | Smtp::Dot554);
    if stage != at || !(for_good || memory.fails()) {
        say(stream, &format!("{usual}\r\n")).await?;
        return Some(true);
    }
    match instead {
        Instead::Say(text) => say(stream, &format!("{text}\r\n")).await.map(|()| false),
        Instead::Drop => None,
        Instead::Silence => {
            sleep(FOR_EVER).await;
            None
        }
    }
}

async fn serve_smtp(stream: TcpStream, memory: Memory, way: Smtp) -> Option<()> {
    let mut stream = BufReader::new(stream);
    sleep(DELAY).await;
    stage(&mut stream, &memory, way, "greeting", "220 test ESMTP").await?;
    let mut recipients = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        let verb = line.split([' ', ':', '\r']).next().unwrap_or_default().to_uppercase();
        match verb.as_str() {
            "EHLO" => drop(stage(&mut stream, &memory, way, "EHLO", "250-test\r\n250 AUTH PLAIN").await?),
            "AUTH" => drop(stage(&mut stream, &memory, way, "AUTH", "235 welcome").await?),
            "MAIL" => {
                recipients.clear();
                stage(&mut stream, &memory, way, "MAIL", "250 ok").await?;
            }
            "RCPT" => {
                let recipient = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let at = if recipient.starts_with("b@") && way == Smtp::OneRecipientLater { "RCPT b" } else { "RCPT" };
                if stage(&mut stream, &memory, way, at, "250 ok").await? {
                    recipients.push(recipient);
                }
            }
            "DATA" => {
                if stage(&mut stream, &memory, way, "DATA", "354 go on").await? {
                    message(&mut stream, &memory, way, &recipients).await?;
                }
            }
            "QUIT" => return say(&mut stream, "221 bye\r\n").await,
            _ => say(&mut stream, "250 ok\r\n").await?,
        }
    }
}

async fn message(stream: &mut BufReader<TcpStream>, memory: &Memory, way: Smtp, to: &[String]) -> Option<()> {
    let (mut text, mut key) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        if let Some(id) = line.strip_prefix("Message-ID: <") {
            key = id.split(['@', '.']).next().unwrap_or_default().to_owned();
            memory.see(&key);
            if way == Smtp::MessageDrop && memory.fails() {
                return None;
            }
        }
        if line == ".\r\n" {
            break;
        }
        text.push_str(&line);
    }
    // A server that says 4xx or 5xx here has not taken it; one that says nothing may have.
    let refuses = match way {
        // Settled once: of two mails at a time only one may use up a failure.
        Smtp::Dot451 => memory.fails(),
        way => way == Smtp::Dot554,
    };
    if !refuses {
        to.iter().for_each(|recipient| memory.take(&key, recipient, &text));
    }
    sleep(DELAY).await;
    if way == Smtp::Dot451 {
        return say(stream, if refuses { "451 later\r\n" } else { "250 taken\r\n" }).await;
    }
    stage(stream, memory, way, "dot", "250 taken").await.map(drop)
}
