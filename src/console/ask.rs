//! What a route is asked: path, query and body, each read into its type, with errors in words.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::console::document::Parameter;
use crate::console::failure::Failure;
use crate::console::shared::Shared;
use crate::domain::token::Caller;
use crate::yaml::diagnostic::nearest;

/// How long a body may take to arrive.
const BODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest query string, in bytes.
const QUERY_BYTES_MAX: usize = 64 * 1024;

/// A request that somebody may make, taken apart.
pub struct Ask<P = Nothing, Q = Nothing, B = Nothing> {
    /// The daemon.
    pub shared: Arc<Shared>,
    /// Who asks.
    pub caller: Caller,
    /// What the path names.
    pub path: P,
    /// The query's parameters.
    pub query: Q,
    /// The body.
    pub body: B,
    /// The last event that whoever connects to a stream again has seen.
    pub last_event: Option<u64>,
}

/// What a route answers.
pub type Answer<T> = Result<T, Failure>;

/// A part of a request in which nothing is said.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A part of a request.
pub trait Part: DeserializeOwned + JsonSchema + Send + 'static {
    /// Nothing is said in it.
    fn is_nothing() -> bool {
        TypeId::of::<Self>() == TypeId::of::<Nothing>()
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Part for T {}

/// What the path names.
pub(super) async fn path<P: Part>(parts: &mut Parts) -> Result<P, Failure> {
    if P::is_nothing() {
        return serde_json::from_str("{}").map_err(Failure::bad);
    }
    let Path(path) = Path::from_request_parts(parts, &()).await.map_err(|bad| Failure::bad(bad.body_text()))?;
    Ok(path)
}

/// The number of the last event that was seen, where a stream is asked for again.
pub(super) fn last_event(parts: &Parts) -> Option<u64> {
    parts.headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// The query's parameters, which are of these.
pub(super) fn query<Q: Part>(parts: &Parts, known: &[Parameter]) -> Result<Q, Failure> {
    let text = parts.uri.query().unwrap_or_default();
    if text.len() > QUERY_BYTES_MAX {
        return Err(Failure::bad(format!("the query has {} bytes; at most {QUERY_BYTES_MAX} are taken", text.len())));
    }
    let pairs: Vec<(String, String)> = serde_html_form::from_str(text).map_err(Failure::bad)?;
    for (name, value) in &pairs {
        match known.iter().find(|known| known.name == *name) {
            Some(known) if known.is_number && value.is_empty() => {
                return Err(Failure::bad(format!("{name}= has no value: write a number")));
            }
            Some(_) => {}
            None => return Err(Failure::bad(unknown(name, known))),
        }
    }
    serde_html_form::from_str(text).map_err(Failure::bad)
}

fn unknown(name: &str, known: &[Parameter]) -> String {
    let known: Vec<&str> = known.iter().map(|known| &*known.name).collect();
    let name: String = name.chars().take(80).collect();
    match nearest(&name, &known) {
        Some(near) => format!("there is no parameter {name:?}; did you mean `{near}`?"),
        None if known.is_empty() => format!("there is no parameter {name:?}: this page takes none"),
        None => format!("there is no parameter {name:?}; known are {}", known.join(", ")),
    }
}

/// The body; an empty one says nothing.
pub(super) async fn body<B: Part>(parts: &Parts, body: Body) -> Result<B, Failure> {
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_owned());
    let mut request = Request::new(body);
    *request.extensions_mut() = parts.extensions.clone();
    let late = |_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 30 s");
    let bytes = tokio::time::timeout(BODY_WAIT_MAX, Bytes::from_request(request, &())).await.map_err(late)?;
    let bytes = bytes.map_err(|bad| Failure::new(bad.status(), bad.body_text()))?;
    if bytes.is_empty() {
        return read(b"{}");
    }
    if !kind.is_some_and(|kind| is_json(&kind)) {
        let message = "a body is JSON, with `Content-Type: application/json`";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    read(&bytes)
}

fn is_json(kind: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn read<B: DeserializeOwned>(bytes: &[u8]) -> Result<B, Failure> {
    // What is read into would take a list of its values as well.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::bad("a body is a JSON object: `{…}`"));
    }
    serde_json::from_slice(bytes).map_err(|error| Failure::bad(format!("the body is not what is asked for: {error}")))
}

/// Characters of a comment.
pub const COMMENT_CHARS_MAX: usize = 1_000;

/// The comment, if it says something.
///
/// # Errors
/// When it is empty or too long.
pub fn said_why(comment: String) -> Result<String, Failure> {
    if comment.trim().is_empty() || comment.chars().count() > COMMENT_CHARS_MAX {
        return Err(Failure::bad(format!("a comment of 1 to {COMMENT_CHARS_MAX} characters must say why")));
    }
    Ok(comment)
}

/// A comment that may be empty.
///
/// # Errors
/// When it is too long.
pub fn short(comment: String) -> Result<String, Failure> {
    if comment.chars().count() > COMMENT_CHARS_MAX {
        return Err(Failure::bad(format!("a comment has at most {COMMENT_CHARS_MAX} characters")));
    }
    Ok(comment.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_told_with_what_was_meant() {
        let known = ["filter", "limit"].map(|name| Parameter { name: name.into(), is_number: false });
        assert_eq!(unknown("fliter", &known), "there is no parameter \"fliter\"; did you mean `filter`?");
        assert_eq!(unknown("x", &known), "there is no parameter \"x\"; known are filter, limit");
        assert_eq!(unknown("x", &[]), "there is no parameter \"x\": this page takes none");
    }

    #[test]
    fn bodies_are_json_by_their_type() {
        for (kind, is) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonx", false),
            ("", false),
        ] {
            assert_eq!(is_json(kind), is, "{kind}");
        }
    }
}
