//! The load generator: connections that each send one request after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What sending gave.
#[derive(Debug, Default)]
pub struct Sent {
    /// Requests answered 2xx.
    pub accepted: usize,
    /// Requests answered 429 or 503; each was sent again.
    pub busy: usize,
    /// From request to answer, of the accepted ones, sorted.
    pub waits: Vec<Duration>,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Sent {
    /// The wait that this share of requests did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        percentile(&self.waits, share)
    }
}

/// The value that a share of sorted values does not exceed.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    if sorted.is_empty() {
        return Duration::ZERO;
    }
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}

/// Where and how to post.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The server.
    pub address: SocketAddr,
    /// Path of the resource.
    pub path: &'a str,
    /// Header lines, each with its line end.
    pub headers: &'a str,
}

/// Posts all bodies over some connections; a busy server is asked again.
pub fn post_all(target: Target<'_>, bodies: &[String], connections: usize) -> Sent {
    post(target, bodies, connections, Duration::ZERO)
}

/// Posts bodies at a steady rate over some connections, each body at its own time.
pub fn post_steadily(target: Target<'_>, bodies: &[String], per_second: u32, connections: usize) -> Sent {
    post(target, bodies, connections, Duration::from_secs(1) / per_second)
}

fn post(target: Target<'_>, bodies: &[String], connections: usize, pause: Duration) -> Sent {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let work = || {
        let mut sent = Sent::default();
        let mut connection = Connection::open(target.address);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(body) = bodies.get(at) else { return sent };
            let due = pause * u32::try_from(at).expect("a short bench");
            thread::sleep(due.saturating_sub(began.elapsed()));
            one(&mut connection, target, body, &mut sent);
        }
    };
    let parts: Vec<Sent> = thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker only panics on a broken server")).collect()
    });
    let mut all = Sent { took: began.elapsed(), ..Sent::default() };
    for part in parts {
        all.accepted += part.accepted;
        all.busy += part.busy;
        all.waits.extend(part.waits);
    }
    all.waits.sort_unstable();
    all
}

fn one(connection: &mut Connection, target: Target<'_>, body: &str, sent: &mut Sent) {
    let began = Instant::now();
    loop {
        match connection.post(target, body) {
            200..=299 => {
                sent.accepted += 1;
                sent.waits.push(began.elapsed());
                return;
            }
            429 | 503 => {
                sent.busy += 1;
                thread::sleep(Duration::from_millis(20));
            }
            other => panic!("{} answered {other}", target.path),
        }
    }
}

struct Connection {
    from: BufReader<TcpStream>,
    to: TcpStream,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let to = TcpStream::connect(address).expect("the server listens");
        to.set_nodelay(true).expect("a TCP option");
        Self { from: BufReader::new(to.try_clone().expect("a descriptor")), to }
    }

    /// Sends one request; the status of the answer.
    fn post(&mut self, target: Target<'_>, body: &str) -> u16 {
        let Target { path, headers, .. } = target;
        let mut request =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n", body.len());
        request.push_str(body);
        self.to.write_all(request.as_bytes()).expect("the server reads");
        let mut status = 0;
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line).expect("the server answers");
            assert!(!line.is_empty(), "the server closed the connection");
            if status == 0 {
                status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status line");
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            chunked |= line == "transfer-encoding: chunked";
            if line.is_empty() {
                break;
            }
        }
        if chunked {
            self.skip_chunks()
        } else {
            self.skip(length)
        }
        status
    }

    fn skip(&mut self, bytes: usize) {
        let mut rest = vec![0; bytes];
        self.from.read_exact(&mut rest).expect("a whole body");
    }

    fn skip_chunks(&mut self) {
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line).expect("a chunk's length");
            let length = usize::from_str_radix(line.trim(), 16).expect("a chunk's length");
            self.skip(length + 2);
            if length == 0 {
                return;
            }
        }
    }
}
