//! The HTTP server of all `http` sources: `POST /v1/sources/NAME` with one JSON object, an array, or JSON Lines.
//!
//! A 2xx means durable: it is sent after every record of the request has its entry on disk. A request is taken whole
//! or refused whole; what is wrong with single records is told in the answer. Limits stand in front of everything
//! that a stranger can make grow: connections, header time and size, body time and size, memory held by bodies.

mod accept;
mod body;
mod reply;
mod take;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::watch as signal;

use crate::domain::secret::{Secret, SecretRef};
use crate::domain::token::Denied;
use crate::sources::SourceError;
use crate::sources::intake::{Counters, Intake};
use crate::sources::settings::span;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::Node;
use crate::yaml::reader::{Faults, MapReader};

/// Largest body, as sent and after decompression.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Memory that all bodies may hold together.
const BODIES_BYTES_MAX: usize = 128 * 1024 * 1024;

/// An endpoint of `soard.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The tokens that are valid; several, so that one can be replaced without a gap.
    pub tokens: Vec<SecretRef>,
}

/// `server:` of `soard.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address (for IPv6 from one /64).
    pub connections_per_address: usize,
    /// Time for a request's header to arrive, and for a connection to be idle.
    pub header_timeout: Duration,
    /// Time for a request's body to arrive, and for a reply to be taken.
    pub body_timeout: Duration,
    /// Time for the daemon to make a request durable.
    pub answer_timeout: Duration,
    /// Age at which a connection is closed after the request in hand.
    pub connection_age: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8477)),
            connections: 1024,
            connections_per_address: 256,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            connection_age: Duration::from_secs(3600),
        }
    }
}

/// Reads `server:` of `soard.yaml`.
pub fn read_server_settings(node: &Node, faults: &mut Faults) -> ServerSettings {
    let mut settings = ServerSettings::default();
    let Some(mut map) = MapReader::new(node, "a map with `listen`", faults) else { return settings };
    if let Some(at) = map.get("listen") {
        let expected = "an address and a port such as 127.0.0.1:8477";
        if let Some(listen) = crate::yaml::reader::parsed::<SocketAddr>(at, expected, faults) {
            settings.listen = listen;
            if !listen.ip().is_loopback() {
                let message = format!("tokens and alerts travel unencrypted to {listen}");
                let fault = Diagnostic::warning("server-unencrypted", at.place.clone(), message);
                faults.push(fault.help("listen on loopback behind a proxy that terminates TLS"));
            }
        }
    }
    let count = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    if let Some(number) = map.whole("connections", 1..=100_000, faults) {
        settings.connections = count(number);
    }
    if let Some(number) = map.whole("connections_per_address", 1..=100_000, faults) {
        settings.connections_per_address = count(number);
    }
    settings.header_timeout = span(&mut map, "header_timeout", settings.header_timeout, faults);
    settings.body_timeout = span(&mut map, "body_timeout", settings.body_timeout, faults);
    map.finish(faults);
    settings
}

/// An `http` source with its tokens resolved.
#[derive(Debug)]
pub struct Endpoint {
    /// Name of the source: the last part of its path.
    pub name: Arc<str>,
    /// The tokens that are valid; without any, nothing is.
    pub tokens: Vec<Secret>,
    /// Who knows further tokens.
    pub gate: Gate,
    /// Where its records go.
    pub intake: Intake,
    /// What it did.
    pub counters: Arc<Counters>,
}

/// Who says whether a token may send records, given its SHA-256; by default, none may.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<Check>>);

type Check = dyn Fn(&[u8; 32]) -> Result<(), Denied> + Send + Sync;

impl Gate {
    /// One that asks this.
    pub fn new(check: impl Fn(&[u8; 32]) -> Result<(), Denied> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(check)))
    }

    fn check(&self, hash: &[u8; 32]) -> Result<(), Denied> {
        self.0.as_ref().map_or(Err(Denied::Unknown), |check| check(hash))
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

/// What the server did since the start, beside what its sources count.
#[derive(Debug, Default, Serialize)]
pub struct ServerCounters {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections refused because there were too many.
    pub connections_refused: AtomicU64,
    /// Connections that broke or were cut: header too slow or not HTTP, reply not taken.
    pub connections_broken: AtomicU64,
    /// Requests for no source.
    pub not_found: AtomicU64,
}

/// The server, listening.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    counters: Arc<ServerCounters>,
}

impl Server {
    /// Listens, so that the address is known to work before the daemon says that it is ready.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(settings: ServerSettings, endpoints: Vec<Endpoint>) -> Result<Self, SourceError> {
        let address = settings.listen;
        let listener = TcpListener::bind(address).await.map_err(|cause| SourceError::Listen { address, cause })?;
        let counters = Arc::new(ServerCounters::default());
        let shared = Arc::new(Shared {
            doors: endpoints.into_iter().map(|endpoint| (endpoint.name.clone(), Door::new(endpoint))).collect(),
            bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
            settings: settings.clone(),
            counters: counters.clone(),
        });
        Ok(Self { listener, router: take::router(shared), settings, counters })
    }

    /// Serves these routes as well, behind the same limits of connections; they have no fallback of their own.
    #[must_use]
    pub fn beside(mut self, more: Router) -> Self {
        self.router = self.router.merge(more);
        self
    }

    /// Where it listens; the port is known here when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.settings.listen)
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<ServerCounters> {
        self.counters.clone()
    }

    /// Serves until `stop` turns true, then finishes the requests in hand (at most `body_timeout`).
    pub async fn run(self, stop: signal::Receiver<bool>) {
        accept::run(self.listener, self.router, self.settings, self.counters, stop).await;
    }
}

/// What all requests share.
#[derive(Debug)]
struct Shared {
    doors: BTreeMap<Arc<str>, Door>,
    /// Room for bodies, in bytes.
    bodies: Arc<Semaphore>,
    settings: ServerSettings,
    counters: Arc<ServerCounters>,
}

/// An endpoint that keeps the hashes of its tokens only: comparing them tells nothing of a token's length.
#[derive(Debug)]
struct Door {
    name: Arc<str>,
    tokens: Vec<[u8; 32]>,
    gate: Gate,
    intake: Intake,
    counters: Arc<Counters>,
}

impl Door {
    fn new(endpoint: Endpoint) -> Self {
        let tokens = endpoint.tokens.iter().filter(|token| !token.expose().is_empty());
        let tokens = tokens.map(|token| Sha256::digest(token.expose()).into()).collect();
        let gate = endpoint.gate;
        Self { name: endpoint.name, tokens, gate, intake: endpoint.intake, counters: endpoint.counters }
    }
}

/// Address of the other side, attached to each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);
