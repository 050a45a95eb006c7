//! The daemon's control socket, from the other end: HTTP/1 over a Unix socket, one connection a request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::console::BASE;
use crate::console::failure::ErrorBody;

/// How long to wait for the daemon to take the connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long to wait for an answer: long enough to read a large journal from its beginning.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(300);

/// Largest answer.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Speaks to a running daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("speak to the daemon at {}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon says no.
    #[error("{error}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Why, in the daemon's words.
        error: String,
    },
}

impl ClientError {
    /// The daemon does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

impl Client {
    /// Finds out whether a daemon listens there.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when none does.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { socket: socket.into(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unreachable)?;
        runtime.block_on(open(socket)).map_err(unreachable)?;
        Ok(Self { socket: socket.into(), runtime })
    }

    /// Reads a page of the API; `None` when the daemon does not have it.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ClientError> {
        match self.get(path) {
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Reads a page.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new())
    }

    /// Asks the daemon to do something.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub fn send<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("what is asked is plain data with string keys");
        self.ask(Method::POST, path, body.into())
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let exchange = async {
            match tokio::time::timeout(ANSWER_WAIT_MAX, exchange(&self.socket, method, path, body)).await {
                Ok(answer) => answer,
                Err(_) => Err("no answer within 5 minutes".into()),
            }
        };
        let (status, body) = self.runtime.block_on(exchange).map_err(|source| self.broken(source))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|bad| self.broken(bad.into()));
        }
        let error = serde_json::from_slice(&body).map(|ErrorBody { error }| error.message);
        Err(ClientError::Refused { status, error: error.unwrap_or_else(|_| format!("the daemon answered {status}")) })
    }

    fn broken(&self, source: Box<dyn std::error::Error + Send + Sync>) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), source }
    }
}

async fn open(socket: &Path) -> io::Result<UnixStream> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the connection was not taken within 5 s");
    tokio::time::timeout(CONNECT_WAIT_MAX, UnixStream::connect(socket)).await.map_err(|_| late())?
}

type Exchange = Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>>;

async fn exchange(socket: &Path, method: Method, path: &str, body: Bytes) -> Exchange {
    let stream = TokioIo::new(open(socket).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let request = Request::builder().method(method).uri(format!("{BASE}{path}"));
    let request = request.header("host", "soard").header("content-type", "application/json").body(Full::new(body))?;
    let answer = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Exchange::Ok((status, body))
    };
    let drive = async {
        // Its error is the answer's error as well.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => unreachable!("it never ends"),
    }
}

/// `path` with a filter's fields as its query.
pub fn with_query(path: &str, filter: &impl Serialize) -> String {
    let Value::Object(fields) = serde_json::to_value(filter).expect("filters are plain data") else {
        unreachable!("filters are structs")
    };
    let mut uri = path.to_owned();
    for (name, value) in fields {
        let text = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        uri.push(if uri.len() == path.len() { '?' } else { '&' });
        uri.push_str(&format!("{name}={}", escape(&text)));
    }
    uri
}

/// Percent-encodes all but letters, digits, `-`, `.`, `_` and `~`.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
