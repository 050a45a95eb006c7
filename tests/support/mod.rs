//! A daemon as its user runs it, and peers on loopback that remember what they got and when.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether tests run in their long form: `tests/run --long` sets `SOARD_TESTS=long`.
pub fn long() -> bool {
    std::env::var_os("SOARD_TESTS").is_some_and(|sizes| sizes == "long")
}

/// Values that alerts may hold to harm whoever writes them into a mail, a table, a log line or a page, each with its name:
/// `tests/corpus/hostile-values.json`, where `times` says how often a text stands one after the other.
pub fn hostile_values() -> Vec<(String, String)> {
    let all: Value = serde_json::from_str(include_str!("../corpus/hostile-values.json")).unwrap();
    let one = |value: &Value| {
        let times = value["times"].as_u64().unwrap_or(1);
        (
            value["name"].as_str().unwrap().into(),
            value["text"].as_str().unwrap().repeat(usize::try_from(times).unwrap()),
        )
    };
    all.as_array().unwrap().iter().map(one).collect()
}

/// Waits until `what` gives a value; panics with `name` when it takes too long.
pub fn wait_for<T>(name: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < until, "gave up waiting for {name}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port on loopback that was free a moment ago.
///
/// It lies below the ports that the system gives to connections: one of those could take it while its daemon is down,
/// even a test's own, which asks whether the daemon listens again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 1_000).unwrap() * 17;
    let ports = std::iter::repeat_with(|| 12_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000);
    ports.take(18_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// One request that a receiver got.
#[derive(Debug, Clone)]
pub struct Got {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub at: Instant,
    pub replied: Option<Instant>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// An HTTP receiver on a thread of its own; answers 200 with `{"ok":true}` after `delay`.
#[derive(Clone)]
pub struct HttpSink {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl HttpSink {
    pub fn start(delay: Duration) -> Self {
        Self::new(delay, "200 OK", r#"{"ok":true}"#.to_owned())
    }

    /// Answers 200 with this JSON.
    pub fn answering(json: String) -> Self {
        Self::new(Duration::ZERO, "200 OK", json)
    }

    /// Answers with this status line.
    pub fn answering_with_status(status: &'static str) -> Self {
        Self::new(Duration::ZERO, status, "{}".to_owned())
    }

    fn new(delay: Duration, status: &'static str, json: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Self { address: listener.local_addr().unwrap(), got: Arc::default() };
        let shared = sink.clone();
        let length = json.len();
        let reply: Arc<str> =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}")
                .into();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sink, reply) = (shared.clone(), reply.clone());
                thread::spawn(move || sink.serve(stream, delay, &reply));
            }
        });
        sink
    }

    fn serve(&self, stream: TcpStream, delay: Duration, reply: &str) {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let mut to = stream;
        while let Some(mut got) = read_request(&mut from) {
            got.at = Instant::now();
            let number = {
                let mut all = self.got.lock().unwrap();
                all.push(got);
                all.len() - 1
            };
            thread::sleep(delay);
            let sent = to.write_all(reply.as_bytes());
            self.got.lock().unwrap()[number].replied = Some(Instant::now());
            if sent.is_err() {
                return;
            }
        }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got_from(0)
    }

    /// Without the first ones.
    pub fn got_from(&self, first: usize) -> Vec<Got> {
        self.got.lock().unwrap()[first..].to_vec()
    }
}

/// Reads one request; `None` when the connection ends.
pub fn read_request(from: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n: &String| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Got { path, headers, body: String::from_utf8_lossy(&body).into(), at: Instant::now(), replied: None })
}

/// A mail server that takes everything; the headers of each mail are its `headers`.
#[derive(Clone)]
pub struct SmtpSink {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl SmtpSink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Self { address: listener.local_addr().unwrap(), got: Arc::default() };
        let shared = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = shared.clone();
                thread::spawn(move || sink.serve(stream));
            }
        });
        sink
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let mut to = stream;
        to.write_all(b"220 sink ESMTP\r\n").ok()?;
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let verb = line.trim_end().to_ascii_uppercase();
            if verb == "DATA" {
                to.write_all(b"354 go on\r\n").ok()?;
                let mut body = String::new();
                loop {
                    let mut line = String::new();
                    from.read_line(&mut line).ok().filter(|n| *n > 0)?;
                    if line == ".\r\n" {
                        break;
                    }
                    body.push_str(&line);
                }
                let number = {
                    let mut all = self.got.lock().unwrap();
                    all.push(mail(body));
                    all.len() - 1
                };
                let sent = to.write_all(b"250 taken\r\n");
                self.got.lock().unwrap()[number].replied = Some(Instant::now());
                sent.ok()?;
            } else if verb == "QUIT" {
                to.write_all(b"221 bye\r\n").ok()?;
                return Some(());
            } else {
                to.write_all(b"250 ok\r\n").ok()?;
            }
        }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got_from(0)
    }

    /// Without the first ones.
    pub fn got_from(&self, first: usize) -> Vec<Got> {
        self.got.lock().unwrap()[first..].to_vec()
    }
}

fn mail(body: String) -> Got {
    let head = body.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    Got { path: "mail".into(), headers, body, at: Instant::now(), replied: None }
}

/// A content folder and the daemon that runs on it.
pub struct Daemon {
    pub dir: PathBuf,
    pub port: u16,
    child: Option<Child>,
    /// Set in the daemon's environment.
    pub env: Vec<(String, String)>,
}

/// The token of the `push` source in tests.
pub const TOKEN: &str = "a-token-for-tests";

impl Daemon {
    /// Writes `soard.yaml` with an HTTP source `push` and the given destinations; rules and playbooks come from `files`.
    pub fn new(dir: &Path, settings: &str, files: &[(&str, &str)]) -> Self {
        let port = free_port();
        let head = format!("state: state\nserver: {{ listen: \"127.0.0.1:{port}\" }}\n");
        write(dir, "soard.yaml", &format!("{head}{settings}"));
        for (path, text) in files {
            write(dir, path, text);
        }
        let env = vec![("SOARD_TEST_TOKEN".into(), TOKEN.into()), ("SOARD_LOG".into(), "info".into())];
        Self { dir: dir.to_owned(), port, child: None, env }
    }

    /// Starts the daemon and waits until it takes alerts.
    pub fn start(&mut self) {
        if let Some(status) = self.start_or_end() {
            panic!("the daemon ended with {status}:\n{}", self.log());
        }
    }

    /// What the daemon ended with, if it has ended by itself.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().unwrap().try_wait().unwrap()
    }

    /// Starts the daemon and waits until it takes alerts, or ends by itself.
    pub fn start_or_end(&mut self) -> Option<ExitStatus> {
        self.begin();
        let port = self.port;
        wait_for("the daemon to listen", || match self.has_ended() {
            Some(status) => Some(Some(status)),
            None => TcpStream::connect(("127.0.0.1", port)).ok().map(|_| None),
        })
    }

    /// Starts the daemon and waits for nothing.
    pub fn begin(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log.txt")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
        command.arg("run").arg(&self.dir).envs(self.env.clone()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Runs the daemon with this as its standard input until it ends by itself; its status and log.
    pub fn pipe(&mut self, input: &str) -> (ExitStatus, String) {
        let log = std::fs::File::create(self.dir.join("log.txt")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
        command
            .arg("run")
            .arg(&self.dir)
            .envs(self.env.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let status = wait_for("the daemon to end", || child.try_wait().unwrap());
        (status, self.log())
    }

    /// Starts the daemon with this as its standard input.
    pub fn start_on_pipe(&self, input: &str) -> Child {
        let log = std::fs::File::create(self.dir.join("log.txt")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
        command
            .arg("run")
            .arg(&self.dir)
            .envs(self.env.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log.txt")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// How it ended, if it did so by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().unwrap().try_wait().unwrap()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // A worker that was being started at that moment holds the daemon's sockets until it runs its own program.
        let port = self.port;
        wait_for("the port to be given back", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        let status = wait_for("the daemon to stop", || child.try_wait().unwrap());
        status.code()
    }

    /// Runs a command of soard against this daemon.
    pub fn soard(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
        command.arg("--dir").arg(&self.dir).args(arguments).envs(self.env.clone()).output().unwrap()
    }

    /// Runs a command and reads its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.soard(&[&["--output", "json"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{arguments:?}: {error}\n{}\n{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// POSTs a body to the `push` source; `None` when no whole answer came.
    pub fn post(&self, body: &str) -> Option<(u16, Value)> {
        post(self.port, body)
    }

    /// The journal's lines, parsed by nothing but a JSON reader; a torn last line is left out.
    pub fn journal(&self) -> Vec<Value> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.dir.join("state/journal"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
        files.sort();
        let text: String =
            files.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// POSTs a body to the `push` source of the daemon at a port; `None` when no whole answer came.
pub fn post(port: u16, body: &str) -> Option<(u16, Value)> {
    let reply = exchange(port, body)?;
    let status = reply.split(' ').nth(1)?.parse().ok()?;
    let body = reply.split_once("\r\n\r\n")?.1;
    Some((status, serde_json::from_str(body).ok()?))
}

/// The same; the answer with its headers.
pub fn exchange(port: u16, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let head = format!(
        "POST /v1/sources/push HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    Some(reply)
}

pub fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
