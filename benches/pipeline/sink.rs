//! A receiver of webhooks that counts and remembers when each came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// The receiver.
#[derive(Clone)]
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<(Mutex<Vec<Came>>, Condvar)>,
}

/// One webhook.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// The number in `bench-N`, if the body has one.
    pub number: Option<usize>,
    /// When it was read.
    pub at: Instant,
}

impl Sink {
    /// Listens on loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let sink = Self { address, shared: Arc::default() };
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
        stream.set_nodelay(true).ok()?;
        let mut to = stream.try_clone().ok()?;
        let mut from = BufReader::with_capacity(64 << 10, stream);
        let (mut line, mut body) = (String::new(), Vec::new());
        loop {
            let (mut length, mut first) = (0, true);
            loop {
                line.clear();
                from.read_line(&mut line).ok().filter(|read| *read > 0)?;
                if !std::mem::take(&mut first) && line.trim_end().is_empty() {
                    break;
                }
                if line.len() > 15 && line[..15].eq_ignore_ascii_case("content-length:") {
                    length = line[15..].trim().parse().ok()?;
                }
            }
            body.resize(length, 0);
            from.read_exact(&mut body).ok()?;
            let at = Instant::now();
            to.write_all(REPLY).ok()?;
            let (came, told) = &*self.shared;
            came.lock().expect("no one panics with it").push(Came { number: number(&body), at });
            told.notify_all();
        }
    }

    /// Waits until as many webhooks came; all of them, or fewer when none came for ten seconds.
    pub fn wait(&self, count: usize) -> Vec<Came> {
        let (came, told) = &*self.shared;
        let mut all = came.lock().expect("no one panics with it");
        while all.len() < count {
            let before = all.len();
            let (now, waited) = told.wait_timeout(all, Duration::from_secs(10)).expect("no one panics with it");
            all = now;
            if waited.timed_out() && all.len() == before {
                break;
            }
        }
        all.clone()
    }
}

fn number(body: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(body).ok()?;
    let rest = &text[text.find("bench-")? + 6..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}
