//! Answers that are errors: `{"error":{"code":…,"message":…,"hint":…}}`.

use std::error::Error;
use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::QueryError;
use crate::domain::token::Denied;

/// What an answer that is an error holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorDetail,
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// For programs: the same word for the same kind of fault.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// An error with its HTTP status.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    message: String,
    hint: Option<&'static str>,
}

impl Failure {
    /// With words for whoever asked.
    pub fn new(status: StatusCode, message: impl Display) -> Self {
        Self { status, message: message.to_string(), hint: None }
    }

    /// The request cannot be understood.
    pub fn bad(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The journal has no such thing.
    pub fn no(what: impl Display) -> Self {
        Self::not_found(format!("the journal has no {what}"))
    }

    /// It cannot be done as things stand.
    pub fn conflict(why: impl Display) -> Self {
        Self::new(StatusCode::CONFLICT, why)
    }

    /// The daemon cannot answer now.
    pub fn busy(why: impl Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// What was asked for was begun, and nobody knows yet what comes of it.
    pub fn late() -> Self {
        let message = "no answer in time; it may still be carried out: look before you ask again";
        Self::new(StatusCode::GATEWAY_TIMEOUT, message)
    }

    /// It is our fault.
    pub fn broken(why: impl Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }

    /// The page is there and takes another method.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this page takes another method")
    }

    fn code(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "bad-request",
            StatusCode::UNAUTHORIZED => "unauthorised",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not-found",
            StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
            StatusCode::REQUEST_TIMEOUT => "too-slow",
            StatusCode::CONFLICT => "conflict",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
            StatusCode::UNPROCESSABLE_ENTITY => "too-broad",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            StatusCode::GATEWAY_TIMEOUT => "no-answer-yet",
            _ => "failed",
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.code().to_owned();
        let error = ErrorDetail { code, message: self.message, hint: self.hint.map(str::to_owned) };
        let mut response = (self.status, Json(ErrorBody { error })).into_response();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let (status, hint) = match &denied {
            Denied::Role { .. } => (StatusCode::FORBIDDEN, "use a token whose role may do this"),
            _ => (StatusCode::UNAUTHORIZED, "send `Authorization: Bearer TOKEN`; `soard token add` makes one"),
        };
        Self { status, message: denied.to_string(), hint: Some(hint) }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let text = with_causes(&error);
        match error {
            QueryError::Stopping => Self::busy(text),
            QueryError::Journal(_) | QueryError::Entry { .. } => Self::broken(text),
        }
    }
}

/// An error and what lies behind it, in one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
