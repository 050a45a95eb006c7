//! Takes one request: who, what, whole or not at all, and the answer when it is durable.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::oneshot;

use crate::domain::record::{HttpPosition, Position, RECORD_BYTES_MAX, Record};
use crate::domain::token::Denied;
use crate::sources::http::body::{self, Held};
use crate::sources::http::reply::{Fault, Receipts};
use crate::sources::http::{Door, Peer, Shared};
use crate::sources::intake::{Answer, BATCH_RECORDS_MAX, Refusal, count};
use crate::sources::split::{self, Content};

/// Longest Idempotency-Key.
const KEY_BYTES_MAX: usize = 255;

/// Bodies up to this size are unpacked and cut without leaving the request's thread.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The route of all sources, and an answer to what is none.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let stray = |State(shared): State<Arc<Shared>>| async move {
        count(&shared.counters.not_found);
        Fault::UnknownSource
    };
    Router::new().route("/v1/sources/{name}", any(take)).fallback(stray).with_state(shared)
}

async fn take(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let door = name.ok().and_then(|Path(name)| shared.doors.get(&*name));
    let Some(door) = door else {
        count(&shared.counters.not_found);
        return Fault::UnknownSource.into_response();
    };
    count(&door.counters.requests);
    let (parts, mut body) = request.into_parts();
    match deliver(&shared, door, &parts, &mut body).await {
        Ok(receipts) => Json(receipts).into_response(),
        Err(fault) => {
            fault.count(door);
            // Who asks first whether to send the body has not sent it.
            if !parts.headers.contains_key(header::EXPECT) && fault != Fault::Slow {
                body::drain(&mut body).await;
            }
            fault.into_response()
        }
    }
}

async fn deliver(shared: &Shared, door: &Door, parts: &Parts, body: &mut Body) -> Result<Receipts, Fault> {
    if parts.method != Method::POST {
        return Err(Fault::Method);
    }
    authorise(door, &parts.headers)?;
    let key = idempotency_key(&parts.headers)?;
    let is_lines = is_lines(&parts.headers)?;
    let is_gzip = is_gzip(&parts.headers)?;
    let held = body::read(body, shared.bodies.clone(), shared.settings.body_timeout).await?;
    let cut = move || cut(held, is_gzip, is_lines);
    let (held, ranges) = match parts.headers.get(header::CONTENT_LENGTH) {
        Some(_) if !is_gzip && is_short(&parts.headers) => cut()?,
        _ => tokio::task::spawn_blocking(cut).await.map_err(|_| Fault::Stopped)??,
    };
    let peer = parts.extensions.get::<Peer>().map_or_else(String::new, |peer| peer.0.to_string());
    let records = ranges.into_iter().enumerate().map(|(index, range)| Record {
        source: door.name.clone(),
        bytes: held.bytes[range].to_vec(),
        position: Position::Http(HttpPosition {
            key: key.clone(),
            index: u32::try_from(index).unwrap_or(u32::MAX),
            peer: peer.clone(),
        }),
    });
    let records: Vec<Record> = records.collect();
    drop(held);
    let sizes: Vec<usize> = records.iter().map(|record| record.bytes.len()).collect();
    let answers = door.intake.try_send_all(records).map_err(|refusal| match refusal {
        Refusal::Busy => Fault::Busy,
        Refusal::Closed(_) => Fault::Stopped,
    })?;
    sizes.into_iter().for_each(|bytes| door.counters.record(bytes));
    let answers = tokio::time::timeout(shared.settings.answer_timeout, all(answers)).await;
    Receipts::sum(answers.map_err(|_| Fault::Stopped)?.into_iter())
}

/// The answers in order; a daemon that went down has answered nothing.
async fn all(waiting: Vec<oneshot::Receiver<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(waiting.len());
    for answer in waiting {
        answers.push(answer.await.unwrap_or(Answer::Stopped));
    }
    answers
}

/// Compares with every token of the source, in constant time; then asks the gate.
fn authorise(door: &Door, headers: &HeaderMap) -> Result<(), Fault> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(Fault::Unauthorised) };
    let value = value.to_str().map_err(|_| Fault::Unauthorised)?;
    let Some((scheme, token)) = value.split_once(' ') else { return Err(Fault::Unauthorised) };
    let hash: [u8; 32] = Sha256::digest(token.trim()).into();
    let matching = door.tokens.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&hash));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Fault::Unauthorised);
    }
    if matching.into() {
        return Ok(());
    }
    door.gate.check(&hash).map_err(|denied| match denied {
        Denied::Unknown | Denied::Missing => Fault::Unauthorised,
        known => Fault::Denied(known),
    })
}

/// The sender's key: a structured-field string (RFC 8941) or the bare characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut given = headers.get_all("idempotency-key").iter();
    let Some(value) = given.next() else { return Ok(None) };
    let value = value.to_str().map_err(|_| Fault::Key)?.trim();
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted).ok_or(Fault::Key)?,
        None => value.to_owned(),
    };
    let is_fit = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| (0x20..0x7F).contains(&byte));
    match is_fit && given.next().is_none() {
        true => Ok(Some(key)),
        false => Err(Fault::Key),
    }
}

/// The text before the closing quote, which must be the end.
fn unquote(quoted: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(text),
            '\\' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => text.push(other),
        }
    }
}

/// Whether the sender says that it sends JSON Lines. Types that tools send without being asked are looked into.
fn is_lines(headers: &HeaderMap) -> Result<bool, Fault> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let given = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    match given.split(';').next().unwrap_or_default().trim() {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/jsonlines" => Ok(true),
        ""
        | "application/json"
        | "text/json"
        | "text/plain"
        | "application/octet-stream"
        | "application/x-www-form-urlencoded" => Ok(false),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(false),
        other => Err(Fault::Type(other.chars().take(100).collect())),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Fault> {
    let given: Vec<String> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase())
        .collect();
    match given.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["identity" | ""] => Ok(false),
        ["gzip" | "x-gzip"] => Ok(true),
        others => Err(Fault::Encoding(others.join(", ").chars().take(100).collect())),
    }
}

fn is_short(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    length.is_some_and(|bytes| bytes <= INLINE_BYTES_MAX)
}

/// Finds the records of a body.
fn cut(held: Held, is_gzip: bool, is_lines: bool) -> Result<(Held, Vec<Range<usize>>), Fault> {
    let held = if is_gzip { held.gunzip()? } else { held };
    let ranges = match is_lines {
        true => split::lines(&held.bytes, BATCH_RECORDS_MAX),
        false => match split::sniff(&held.bytes, BATCH_RECORDS_MAX) {
            Content::Records(ranges) => ranges,
            Content::Unparsable(why) => return Err(Fault::Unparsable(why)),
        },
    };
    if is_lines && ranges.is_empty() {
        return Err(Fault::Unparsable("there is nothing in it".into()));
    }
    if ranges.len() > BATCH_RECORDS_MAX {
        return Err(Fault::TooLarge(format!("the batch has more than {BATCH_RECORDS_MAX} records")));
    }
    if let Some(index) = ranges.iter().position(|range| range.len() > RECORD_BYTES_MAX) {
        return Err(Fault::TooLarge(format!("record {index} (from 0) has more than {RECORD_BYTES_MAX} bytes")));
    }
    Ok((held, ranges))
}
