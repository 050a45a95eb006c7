//! Sends a batch of an export: many lines in one request, marked as a webhook is.

use jiff::Timestamp;
use reqwest::header::HeaderValue;

use crate::actions::webhook::Sender;
use crate::actions::{Outcome, scrub};

/// What one request carries.
pub(in crate::actions) struct Lines<'a> {
    /// Marks the batch: the same each time that it is sent. Letters, digits, `-` and `_`.
    pub(in crate::actions) key: &'a str,
    /// What the lines are.
    pub(in crate::actions) content_type: &'static str,
    /// They are compressed.
    pub(in crate::actions) gzip: bool,
    /// The body.
    pub(in crate::actions) bytes: Vec<u8>,
    /// `SEQ:HASH` of the last entry that it tells of.
    pub(in crate::actions) log_head: &'a str,
    /// The time of this attempt.
    pub(in crate::actions) now: Timestamp,
}

impl Sender {
    /// Makes one attempt; its time is bounded by the destination's limits.
    pub(in crate::actions) async fn post(&self, lines: Lines<'_>) -> Outcome {
        let Lines { key, content_type, gzip, bytes, log_head, now } = lines;
        let mut headers = self.headers.clone();
        let id = format!("msg_{key}");
        let timestamp = now.as_second();
        let signatures: Vec<String> = self.keys.iter().map(|key| key.sign(&id, timestamp, &bytes)).collect();
        headers.entry("content-type").or_insert(HeaderValue::from_static(content_type));
        let mut own = |name: &'static str, value: String| {
            let value = HeaderValue::try_from(value).expect("names, numbers and base64 are plain ASCII");
            headers.insert(name, value);
        };
        own("webhook-id", id);
        own("webhook-timestamp", timestamp.to_string());
        own("x-soard-log-head", log_head.to_owned());
        own("idempotency-key", format!("\"{key}\""));
        if gzip {
            own("content-encoding", "gzip".to_owned());
        }
        if !signatures.is_empty() {
            own("webhook-signature", signatures.join(" "));
        }
        let request = self.client.request(self.method.clone(), self.url.clone()).headers(headers);
        match request.timeout(self.timeout).body(bytes).send().await {
            Ok(response) => self.class(self.read(response, now).await),
            Err(error) if error.is_builder() => Outcome::rejected(self.hide(&scrub::error_line(&error.without_url()))),
            Err(error) => self.broken(error),
        }
    }

    /// Where it sends to, for trials: host, port, and how long a connection is waited for.
    pub(in crate::actions) fn target(&self) -> (String, u16) {
        let host = self.url.host_str().unwrap_or_default().to_owned();
        (host, self.url.port_or_known_default().unwrap_or(443))
    }
}
