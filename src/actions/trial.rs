//! A trial of a destination: one marked message, and what the peer said at each stage.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::actions::scrub;
use crate::actions::templates::Rendered;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// Longest wait for a name or a connection: whoever does not answer by then is not there.
const REACH_WAIT_MAX: Duration = Duration::from_secs(5);

/// Characters of what a peer said.
const SAID_CHARS_MAX: usize = 400;

/// One stage of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TrialStage")]
pub struct Stage {
    /// What was done: `resolve`, `connect`, `greeting`, `STARTTLS`, `AUTH`, `RCPT TO …`, `request` …
    pub stage: String,
    /// It went well.
    pub good: bool,
    /// What the peer said, or what went wrong.
    pub said: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// The stages so far.
#[derive(Debug)]
pub struct Stages {
    done: Vec<Stage>,
    since: Instant,
}

impl Default for Stages {
    fn default() -> Self {
        Self { done: Vec::new(), since: Instant::now() }
    }
}

impl Stages {
    /// A stage went well.
    pub(super) fn good(&mut self, stage: impl Into<String>, said: impl Display) {
        self.note(stage.into(), true, &said.to_string());
    }

    /// A stage went wrong.
    pub(super) fn bad(&mut self, stage: impl Into<String>, said: impl Display) {
        self.note(stage.into(), false, &said.to_string());
    }

    fn note(&mut self, stage: String, good: bool, said: &str) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since = Instant::now();
        self.done.push(Stage { stage, good, said: scrub::line(said, SAID_CHARS_MAX), millis });
    }

    /// All of them, in order.
    pub fn into_vec(self) -> Vec<Stage> {
        self.done
    }
}

/// Looks a peer's name up and connects to it once; false when it cannot be reached. What follows connects anew.
pub(super) async fn reach(host: &str, port: u16, limit: Duration, stages: &mut Stages) -> bool {
    let limit = limit.min(REACH_WAIT_MAX);
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:.1} s", limit.as_secs_f64()));
    // The brackets of an IPv6 address are the URL's.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = timeout(limit, lookup_host((bare, port))).await.unwrap_or_else(|_| Err(late()));
    let addresses: Vec<SocketAddr> = match found {
        Ok(found) => found.take(ADDRESSES_MAX).collect(),
        Err(error) => {
            stages.bad("resolve", format!("{host}: {error}"));
            return false;
        }
    };
    if addresses.is_empty() {
        stages.bad("resolve", format!("{host} has no address"));
        return false;
    }
    let all: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    stages.good("resolve", format!("{host} is {}", all.join(", ")));
    let mut faults = Vec::new();
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(late())) {
            Ok(_) => {
                stages.good("connect", address);
                return true;
            }
            Err(error) => faults.push(format!("{address}: {error}")),
        }
    }
    stages.bad("connect", faults.join("; "));
    false
}

/// The message of a trial, as a mail.
pub(super) fn mail(destination: &str) -> Rendered {
    let text = format!(
        "This is a test of soard's destination `{destination}`. An operator asked for it; there is no alert behind it, and \
         nothing needs to be done.\n\nIf you did not expect it, tell whoever runs soard.\n"
    );
    Rendered { subject: format!("[soard test] destination {destination}"), text, html: None }
}

/// The message of a trial, as JSON.
pub(super) fn body(destination: &str) -> Value {
    json!({
        "soard_test": true,
        "destination": destination,
        "title": format!("[soard test] destination {destination}"),
        "text": format!("[soard test] destination {destination}: there is no alert behind this message"),
    })
}
