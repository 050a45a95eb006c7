//! An HTTP peer that fails in many ways, half of the time.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Got, read_request};

/// It remembers each body that came in whole, whatever it answered.
#[derive(Clone)]
pub struct Flaky {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

/// A reproducible stream of numbers.
pub fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

impl Flaky {
    /// Fails as these random numbers say; 0: never.
    pub fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Self { address: listener.local_addr().unwrap(), got: Arc::default() };
        let shared = peer.clone();
        let random = Arc::new(Mutex::new(seed));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (peer, random) = (shared.clone(), random.clone());
                thread::spawn(move || peer.serve(stream, &random));
            }
        });
        peer
    }

    fn serve(&self, stream: TcpStream, random: &Mutex<u64>) -> Option<()> {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let mut to = stream;
        loop {
            let way = if *random.lock().unwrap() == 0 { 11 } else { next(&mut random.lock().unwrap()) % 12 };
            if way == 0 {
                // Some bytes, and then nobody is there.
                let mut some = [0; 200];
                let _ = from.read(&mut some);
                return None;
            }
            let got = read_request(&mut from)?;
            self.got.lock().unwrap().push(got);
            let reply = match way {
                1 => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                2 => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
                3 => return None,
                4 => {
                    thread::sleep(Duration::from_millis(700));
                    return None;
                }
                5 => {
                    // Headers that promise more, and then nobody is there.
                    let _ = to.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 100\r\n\r\nno");
                    return None;
                }
                6 => {
                    let _ = to.write_all(b"HTTP/1.");
                    return None;
                }
                _ => "HTTP/1.1 204 No Content\r\n\r\n",
            };
            to.write_all(reply.as_bytes()).ok()?;
        }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// All lines, in the order of arrival.
    pub fn lines(&self) -> String {
        self.got().into_iter().map(|got| got.body).collect()
    }
}
