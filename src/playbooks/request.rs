//! What a script gives to `webhook`, `email` and `sleep`, checked and turned into an effect.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rhai::{Dynamic, Map};
use serde_json::{Map as JsonMap, Value};

use crate::domain::effect::{Effect, EmailRequest, WebhookRequest};
use crate::domain::time::Span;
use crate::playbooks::approve;
use crate::playbooks::evaluate::Entry;
use crate::playbooks::limits::{SLEEP_DAYS_MAX, SLEEP_MAX};
use crate::playbooks::run::Halt;
use crate::playbooks::value::{to_json, what};
use crate::yaml::diagnostic::nearest;

/// An effect, and the arguments by which a replay recognises it.
#[derive(Debug)]
pub struct Request {
    /// What is asked for.
    pub effect: Effect,
    /// What the script gave, as JSON.
    pub args: Value,
}

/// Options of `webhook`.
pub const WEBHOOK_OPTIONS: [&str; 4] = ["method", "path", "query", "headers"];
/// Methods that a script may ask for.
pub const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Headers that belong to the destination or to soard.
const OWN_HEADERS: [&str; 10] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// `webhook(destination, body, options)`.
///
/// # Errors
/// When an argument has the wrong kind.
pub fn webhook(destination: &Dynamic, body: &Dynamic, options: Option<&Dynamic>) -> Result<Request, Halt> {
    let name = destination_name("webhook", destination)?;
    let given = body_json(body)?;
    let empty = Map::new();
    let options = match options {
        Some(options) => options_map("webhook", options)?,
        None => empty.clone(),
    };
    let mut request = webhook_options(&name, &options)?;
    request.body = (!given.is_null()).then(|| given.clone());
    let args = Value::Array(vec![name.into(), given, map_json(&options)?]);
    Ok(Request { effect: Effect::Webhook(request), args })
}

/// `email(destination, options)`.
///
/// # Errors
/// When an argument has the wrong kind.
pub fn email(destination: &Dynamic, options: &Dynamic, entry: Entry) -> Result<Request, Halt> {
    let name = destination_name("email", destination)?;
    let options = options_map("email", options)?;
    let args = Value::Array(vec![name.clone().into(), map_json(&options)?]);
    Ok(Request { effect: Effect::Email(email_options(name, &options, entry)?), args })
}

/// `sleep(span)`.
///
/// # Errors
/// When it is no length of time, or too long.
pub fn sleep(span: &Dynamic, at: Timestamp) -> Result<Request, Halt> {
    let span = read_span("sleep", span)?;
    if span > SLEEP_MAX {
        return Err(Halt::argument(format!("sleep: at most {SLEEP_DAYS_MAX} days, got {span}")));
    }
    let args = Value::Array(vec![span.to_string().into()]);
    Ok(Request { effect: Effect::Sleep { until: span.after(at) }, args })
}

/// One member of `all([…])`: a map with `webhook`, `email`, `sleep` or `approve` and the options beside it.
///
/// # Errors
/// When it is none of them, or an option has the wrong kind.
pub fn member(at: usize, member: &Dynamic, entry: Entry, now: Timestamp) -> Result<Request, Halt> {
    let Ok(map) = member.as_map_ref() else {
        return Err(Halt::argument(format!("all: member {at} must be a map, got {}", what(member))));
    };
    let args = map_json(&map)?;
    let mut rest = map.clone();
    let mut take = |key: &str| rest.remove(key);
    let effect = match (take("webhook"), take("email"), take("sleep"), take("approve")) {
        (Some(name), None, None, None) => {
            let name = destination_name("webhook", &name)?;
            let body = rest.remove("body").map(|body| body_json(&body)).transpose()?;
            let mut request = webhook_options(&name, &rest)?;
            request.body = body.filter(|body| !body.is_null());
            Effect::Webhook(request)
        }
        (None, Some(name), None, None) => {
            Effect::Email(email_options(destination_name("email", &name)?, &rest, entry)?)
        }
        (None, None, Some(span), None) if rest.is_empty() => sleep(&span, now)?.effect,
        (None, None, None, Some(question)) => approve::effect(&question, &rest, now)?,
        _ => {
            let message = format!("all: member {at} must have exactly one of `webhook`, `email`, `sleep`, `approve`");
            return Err(Halt::argument(message));
        }
    };
    Ok(Request { effect, args })
}

/// A length of time: `"30m"`, or a number of seconds.
pub(super) fn read_span(function: &str, span: &Dynamic) -> Result<Span, Halt> {
    let bad = |text: &str| Halt::argument(format!("{function}: {text:?} is not a length of time such as \"30m\""));
    if let Ok(text) = span.as_immutable_string_ref() {
        return text.parse().map_err(|_| bad(&text));
    }
    if let Ok(seconds) = span.as_int() {
        return u64::try_from(seconds).map(Span::from_secs).map_err(|_| bad(&seconds.to_string()));
    }
    if let Ok(seconds) = span.as_float() {
        if !(0.0..=1e12).contains(&seconds) {
            return Err(bad(&seconds.to_string()));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked above")]
        return Ok(Span::from_millis((seconds * 1000.0).round() as u64));
    }
    Err(Halt::argument(format!("{function}: expected a length of time such as \"30m\", got {}", what(span))))
}

pub(super) fn destination_name(function: &str, name: &Dynamic) -> Result<String, Halt> {
    match name.as_immutable_string_ref() {
        Ok(name) if !name.trim().is_empty() => Ok(name.to_string()),
        Ok(_) => Err(Halt::argument(format!("{function}: the destination's name is empty"))),
        Err(_) => Err(Halt::argument(format!("{function}: expected the name of a destination, got {}", what(name)))),
    }
}

fn body_json(body: &Dynamic) -> Result<Value, Halt> {
    to_json(body).map_err(|fault| Halt::argument(format!("webhook: in the body: {fault}")))
}

pub(super) fn map_json(map: &Map) -> Result<Value, Halt> {
    to_json(&Dynamic::from_map(map.clone())).map_err(Halt::argument)
}

pub(super) fn options_map(function: &str, options: &Dynamic) -> Result<Map, Halt> {
    match options.as_map_ref() {
        Ok(map) => Ok(map.clone()),
        Err(_) => Err(Halt::argument(format!("{function}: expected a map of options, got {}", what(options)))),
    }
}

fn webhook_options(destination: &str, options: &Map) -> Result<WebhookRequest, Halt> {
    let mut request = WebhookRequest {
        destination: destination.into(),
        method: None,
        path: Vec::new(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body: None,
    };
    for (key, value) in options.iter().filter(|(_, value)| !value.is_unit()) {
        match key.as_str() {
            "method" => request.method = Some(method(value)?),
            "path" => request.path = path(value)?,
            "query" => request.query = texts("query", value)?,
            "headers" => request.headers = headers(value)?,
            other => {
                let near = nearest(other, &WEBHOOK_OPTIONS).map(|near| format!("; did you mean `{near}`?"));
                let message = format!("webhook: unknown option `{other}`{}", near.unwrap_or_default());
                return Err(Halt::argument(message));
            }
        }
    }
    Ok(request)
}

fn method(value: &Dynamic) -> Result<String, Halt> {
    let word = value.as_immutable_string_ref().map(|word| word.to_ascii_uppercase());
    match word {
        Ok(word) if METHODS.contains(&word.as_str()) => Ok(word),
        _ => Err(Halt::argument(format!("webhook: `method` must be one of {}, got {value}", METHODS.join(", ")))),
    }
}

fn path(value: &Dynamic) -> Result<Vec<String>, Halt> {
    let segments = value.as_array_ref();
    let segments = segments.map_err(|_| {
        Halt::argument(format!(
            "webhook: `path` must be a list of segments such as [\"items\", id], got {}",
            what(value)
        ))
    })?;
    let segment = |segment: &Dynamic| match text_of("path", segment) {
        Ok(text) if matches!(text.as_str(), "" | "." | "..") => {
            Err(Halt::argument(format!("webhook: {text:?} is no segment of a path")))
        }
        other => other,
    };
    segments.iter().map(segment).collect()
}

fn headers(value: &Dynamic) -> Result<BTreeMap<String, String>, Halt> {
    let headers = texts("headers", value)?;
    for name in headers.keys() {
        let token =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !token {
            return Err(Halt::argument(format!("webhook: {name:?} is no name of a header")));
        }
        if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let message = format!("webhook: the header `{name}` belongs to the destination; set it in soard.yaml");
            return Err(Halt::argument(message));
        }
    }
    Ok(headers)
}

fn texts(option: &str, value: &Dynamic) -> Result<BTreeMap<String, String>, Halt> {
    let map = value.as_map_ref();
    let map = map.map_err(|_| Halt::argument(format!("webhook: `{option}` must be a map, got {}", what(value))))?;
    map.iter().map(|(key, value)| Ok((key.to_string(), text_of(option, value)?))).collect()
}

fn text_of(option: &str, value: &Dynamic) -> Result<String, Halt> {
    if value.is_string() || value.is_char() || value.is_int() || value.is_float() || value.is_bool() {
        return Ok(value.to_string());
    }
    Err(Halt::argument(format!("webhook: `{option}` takes strings and numbers, got {}", what(value))))
}

fn email_options(destination: String, options: &Map, entry: Entry) -> Result<EmailRequest, Halt> {
    let template = match option_text(options, "template")? {
        Some(name) if template_name(&name) => name,
        Some(name) => return Err(Halt::argument(format!("email: {name:?} is no name of a template"))),
        None => entry.template().into(),
    };
    let subject = option_text(options, "subject")?;
    let mut data = JsonMap::new();
    for (key, value) in options.iter().filter(|(key, _)| !matches!(key.as_str(), "template" | "subject")) {
        let json = to_json(value).map_err(|fault| Halt::argument(format!("email: in `{key}`: {fault}")))?;
        data.insert(key.to_string(), json);
    }
    Ok(EmailRequest { destination, template, subject, data })
}

fn option_text(options: &Map, key: &str) -> Result<Option<String>, Halt> {
    match options.get(key) {
        None => Ok(None),
        Some(value) if value.is_unit() => Ok(None),
        Some(value) => match value.as_immutable_string_ref() {
            Ok(text) => Ok(Some(text.to_string())),
            Err(_) => Err(Halt::argument(format!("email: `{key}` must be a string, got {}", what(value)))),
        },
    }
}

/// Letters, digits, `-` and `_`: the name becomes part of a path.
fn template_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
