//! What a sender gets to read: receipts, or an error that says why and what to do.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::domain::token::Denied;
use crate::sources::http::{BODY_BYTES_MAX, Door};
use crate::sources::intake::{Answer, count};

/// Receipts listed one by one; larger batches get the last one.
const RECEIPTS_MAX: usize = 100;

/// Why a request is refused; nothing of it was recorded, except perhaps with [`Fault::Full`], [`Fault::Runs`] and [`Fault::Stopped`].
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    UnknownSource,
    Method,
    Unauthorised,
    /// The token is known, and not valid for this.
    Denied(Denied),
    Key,
    Type(String),
    Encoding(String),
    Slow,
    Broken(String),
    Unparsable(String),
    TooLarge(String),
    Busy,
    Runs,
    Full,
    Stopped,
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownSource => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied(Denied::Role { .. }) => StatusCode::FORBIDDEN,
            Self::Unauthorised | Self::Denied(_) => StatusCode::UNAUTHORIZED,
            Self::Key | Self::Broken(_) | Self::Unparsable(_) => StatusCode::BAD_REQUEST,
            Self::Type(_) | Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy | Self::Runs => StatusCode::TOO_MANY_REQUESTS,
            Self::Full | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which another attempt makes sense.
    fn retry_after(&self) -> Option<&'static str> {
        match self {
            Self::Busy => Some("1"),
            Self::Stopped => Some("5"),
            Self::Runs => Some("10"),
            Self::Full => Some("30"),
            _ => None,
        }
    }

    /// Code, message and hint.
    fn words(&self) -> (&'static str, String, String) {
        let lines = "send one JSON object, an array of them, or JSON Lines";
        let (code, message, hint) = match self {
            Self::UnknownSource => (
                "unknown-source",
                "no such source".into(),
                "see `sources:` in soard.yaml; the path is /v1/sources/NAME",
            ),
            Self::Method => ("method-not-allowed", "records are sent by POST".into(), lines),
            Self::Unauthorised => (
                "unauthorised",
                "no valid token for this source".into(),
                "send `Authorization: Bearer TOKEN` with a token of this source",
            ),
            Self::Denied(denied @ Denied::Role { .. }) => {
                ("forbidden", denied.to_string(), "send a token whose role is source")
            }
            Self::Denied(denied) => {
                ("unauthorised", denied.to_string(), "`soard token add NAME --role source` makes a new one")
            }
            Self::Key => (
                "bad-idempotency-key",
                "the Idempotency-Key cannot be used".into(),
                "send one, of 1 to 255 visible ASCII characters, in double quotes or bare",
            ),
            Self::Type(given) => {
                ("unsupported-type", format!("cannot read {given}"), "send application/json or application/x-ndjson")
            }
            Self::Encoding(given) => {
                ("unsupported-encoding", format!("cannot decode {given}"), "send gzip or no Content-Encoding")
            }
            Self::Slow => ("body-too-slow", "the body did not arrive in time".into(), "send smaller batches"),
            Self::Broken(why) => ("broken-body", format!("the body cannot be read: {why}"), "check how it is sent"),
            Self::Unparsable(why) => ("unparsable-body", format!("the body is not JSON: {why}"), lines),
            Self::TooLarge(what) => ("too-large", what.clone(), "split the batch, or shorten the record"),
            Self::Busy => ("busy", "there is no room for this request now".into(), "send it again after Retry-After"),
            Self::Runs => (
                "too-many-runs",
                "so many runs are open that no new alerts are taken".into(),
                "`soard status` and `soard runs list` say what they wait for; send it again after Retry-After",
            ),
            Self::Full => {
                ("disk-full", "the disk is nearly full".into(), "free space for the state folder, then send it again")
            }
            Self::Stopped => (
                "stopping",
                "the daemon could not make this request durable".into(),
                "send it again after Retry-After, with the same Idempotency-Key",
            ),
        };
        (code, message, hint.into())
    }

    /// A body beyond the size limit.
    pub fn body_too_large() -> Self {
        Self::TooLarge(format!("the body has more than {BODY_BYTES_MAX} bytes"))
    }

    /// Counts it with the source that it was meant for.
    pub fn count(&self, door: &Door) {
        let counters = &door.counters;
        count(match self {
            Self::Unauthorised | Self::Denied(_) => &counters.refused_unauthorised,
            Self::Slow => &counters.refused_slow,
            Self::TooLarge(_) => &counters.refused_too_large,
            Self::Busy | Self::Runs => &counters.refused_busy,
            Self::Full | Self::Stopped => &counters.refused_unavailable,
            _ => &counters.refused_unparsable,
        });
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (code, message, hint) = self.words();
        let body = json!({"error": {"code": code, "message": message, "hint": hint}});
        let mut response = (self.status(), Json(body)).into_response();
        let mut set = |name, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
        if let Some(seconds) = self.retry_after() {
            set(header::RETRY_AFTER, seconds);
        }
        match self {
            Self::Denied(Denied::Role { .. }) => None,
            Self::Unauthorised | Self::Denied(_) => set(header::WWW_AUTHENTICATE, "Bearer"),
            Self::Method => set(header::ALLOW, "POST"),
            _ => None,
        };
        response
    }
}

/// What became of a request's records.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Receipts {
    /// Records that stand in the journal with their alerts.
    accepted: usize,
    /// Records that stand in the journal, set aside.
    quarantined: usize,
    /// Records that their format recognised as no alert; they are not in the journal.
    ignored: usize,
    /// Records that had been delivered before.
    redelivered: usize,
    /// One each, up to 100 records.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<Vec<Receipt>>,
    /// The last one of a larger batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Where a record stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    index: usize,
    seq: u64,
    h: String,
    record: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alerts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redelivery: bool,
}

impl Receipts {
    /// Sums up the answers to a request's records, in their order.
    ///
    /// # Errors
    /// When a record could not be made durable: the whole request is to be sent again.
    pub fn sum(answers: impl ExactSizeIterator<Item = Answer>) -> Result<Self, Fault> {
        let are_few = answers.len() <= RECEIPTS_MAX;
        let mut sum = Self { receipts: are_few.then(Vec::new), ..Self::default() };
        for (index, answer) in answers.enumerate() {
            let receipt = match answer {
                Answer::Full => return Err(Fault::Full),
                Answer::Busy => return Err(Fault::Runs),
                Answer::Stopped => return Err(Fault::Stopped),
                Answer::Ignored { .. } => {
                    sum.ignored += 1;
                    continue;
                }
                Answer::Accepted { seq, hash, record_no, alerts, redelivery } => {
                    *(if redelivery { &mut sum.redelivered } else { &mut sum.accepted }) += 1;
                    Receipt { index, seq, h: hash, record: record_no, alerts, quarantined: None, redelivery }
                }
                Answer::Quarantined { seq, hash, record_no, cause } => {
                    sum.quarantined += 1;
                    let (alerts, redelivery) = (Vec::new(), false);
                    Receipt { index, seq, h: hash, record: record_no, alerts, quarantined: Some(cause), redelivery }
                }
            };
            match &mut sum.receipts {
                Some(receipts) => receipts.push(receipt),
                None => sum.receipt = Some(receipt),
            }
        }
        Ok(sum)
    }
}
