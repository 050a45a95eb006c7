//! An HTTP receiver that can be told how to fail, and remembers what it got.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{self, Got};

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Takes it and answers with this status line (and more headers).
    Answer(&'static str),
    /// Takes it and never answers.
    Silence,
}

/// A receiver whose way can be changed at any time.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    way: Arc<Mutex<Way>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    pub fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self { address, way: Arc::new(Mutex::new(way)), got: Arc::default() };
        let shared = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        receiver
    }

    pub fn set(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// How often each key came.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for got in self.got() {
            *counts.entry(got.headers["webhook-id"].clone()).or_default() += 1;
        }
        counts
    }

    fn serve(&self, stream: TcpStream) {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let mut to = stream;
        while let Some(got) = support::read_request(&mut from) {
            self.got.lock().unwrap().push(got);
            let way = *self.way.lock().unwrap();
            match way {
                Way::Answer(status) => {
                    let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                    if to.write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
                // Until the other end gives up.
                Way::Silence => {
                    let _ = to.set_read_timeout(Some(Duration::from_secs(120)));
                    let _ = std::io::Read::read(&mut from, &mut [0; 1]);
                    return;
                }
            }
        }
    }
}

/// A receiver that takes requests and holds its answers back while it is shut; each answer is 20 KB of JSON.
#[derive(Clone)]
pub struct Gate {
    pub address: SocketAddr,
    is_open: Arc<(Mutex<bool>, Condvar)>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Gate {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Self { address, is_open: Arc::new((Mutex::new(true), Condvar::new())), got: Arc::default() };
        let shared = gate.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        gate
    }

    pub fn set(&self, open: bool) {
        *self.is_open.0.lock().unwrap() = open;
        self.is_open.1.notify_all();
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn serve(&self, stream: TcpStream) {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let mut to = stream;
        let json = format!("{{\"text\":\"{}\"}}", "x".repeat(20_000));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
        let reply = format!("{head}\r\ncontent-length: {}\r\n\r\n{json}", json.len());
        while let Some(got) = support::read_request(&mut from) {
            self.got.lock().unwrap().push(got);
            let (is_open, opened) = &*self.is_open;
            drop(opened.wait_while(is_open.lock().unwrap(), |open| !*open).unwrap());
            if to.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}
