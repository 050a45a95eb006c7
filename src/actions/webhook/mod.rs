//! Sends one HTTP request and says what came of it.

pub(super) mod lines;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, Url};
use serde_json::{Map, Value, json};

use crate::actions::probe::{Probe, Says};
use crate::actions::settings::webhook::{Login, METHODS, Text, WebhookSettings, check_url, is_reserved_header};
use crate::actions::signature::SigningKey;
use crate::actions::trial::{self, Stages};
use crate::actions::{Outcome, Request, Trial, read_ca, resolve, scrub};
use crate::domain::effect::{Class, EffectKey, Mode, Reply, WebhookRequest};
use crate::domain::secret::{Secret, SecretRef};
use crate::domain::time::Span;

/// Largest request body, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Longest URL, in bytes; many servers refuse more.
const URL_BYTES_MAX: usize = 8 * 1024;
/// Longest value of a header that a script gives, in characters.
const HEADER_CHARS_MAX: usize = 200;
/// Most headers that a script may give.
const HEADERS_MAX: usize = 32;
/// Most headers of a reply that a script sees, and the length of each in characters.
const REPLY_HEADERS_MAX: (usize, usize) = (64, 1024);
/// Longest wait for a connection; it fails without doubt, so it is tried again even where doubles are forbidden.
pub(super) const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// HTTP clients, shared by the destinations that need the same.
#[derive(Default)]
pub(super) struct Clients(BTreeMap<(Option<PathBuf>, Duration, bool), Client>);

impl Clients {
    fn get(&mut self, ca: Option<&PathBuf>, connect_timeout: Duration, reuse: bool) -> Result<Client, String> {
        let kind = (ca.cloned(), connect_timeout, reuse);
        if let Some(client) = self.0.get(&kind) {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(if reuse { 8 } else { 0 })
            .user_agent(concat!("soard/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca {
            let pem = read_ca(path)?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| scrub::error_line(&error))?;
            if certificates.is_empty() {
                return Err(format!("no certificate in {}", path.display()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| scrub::error_line(&error))?;
        self.0.insert(kind, client.clone());
        Ok(client)
    }
}

/// A webhook destination, ready to send.
pub(super) struct Sender {
    client: Client,
    mode: Mode,
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: Map<String, Value>,
    keys: Vec<SigningKey>,
    timeout: Duration,
    response_bytes_max: usize,
    probe: Option<Probe>,
    /// What must not stand in a reply or an error: a receiver may echo what it got.
    hidden: Vec<String>,
}

impl Sender {
    pub(super) fn new(
        settings: &WebhookSettings,
        mode: Mode,
        secrets: &dyn Fn(&SecretRef) -> Result<Secret, String>,
        clients: &mut Clients,
    ) -> Result<Self, String> {
        let mut hidden = Vec::new();
        let mut text = |text: &Text| match text {
            Text::Plain(plain) => Ok(plain.clone()),
            Text::Secret(secret) => {
                let value = resolve(secret, secrets)?.expose().trim_end_matches(['\r', '\n']).to_owned();
                hidden.push(value.clone());
                Ok::<String, String>(value)
            }
        };
        let url = check_url(text(&settings.url)?.trim(), settings.allow_http).map_err(|(message, _)| message)?;
        let timeout = settings.timeout.duration();
        let probe = match &settings.probe {
            Some(probe) => Some(Probe::new(probe, text(&probe.url)?.trim(), &url, timeout)?),
            None => None,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            headers.insert(
                header_name(name)?,
                header_value(&text(value)?).ok_or(format!("header `{name}` cannot be sent"))?,
            );
        }
        let body: Result<Map<_, _>, String> =
            settings.body.iter().map(|(name, value)| Ok((name.clone(), text(value)?.into()))).collect();
        if let Some(login) = &settings.login {
            let value = login_value(login, secrets, &mut hidden)?;
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let keys: Result<Vec<_>, String> = settings
            .secrets
            .iter()
            .map(|secret| SigningKey::parse(&resolve(secret, secrets)?).map_err(|fault| format!("{secret}: {fault}")))
            .collect();
        // A kept connection may be closed under us after the request was written, which cannot be told from a
        // request that arrived. Where doubles are forbidden, each request therefore gets a fresh one.
        let reuse = mode == Mode::AtLeastOnce;
        let client = clients.get(settings.ca.as_ref(), CONNECT_TIMEOUT_MAX.min(timeout / 2), reuse)?;
        hidden.retain(|secret| secret.len() >= 6);
        Ok(Self {
            client,
            mode,
            url,
            method: settings.method.clone(),
            headers,
            body: body?,
            keys: keys?,
            timeout,
            response_bytes_max: settings.response_bytes_max,
            probe,
            hidden,
        })
    }

    pub(super) async fn send(&self, request: &Request<'_>, webhook: &WebhookRequest) -> Outcome {
        let mark = Mark { key: request.key, now: request.now, log_head: request.log_head };
        let http = match self.build(&mark, webhook) {
            Ok(http) => http,
            Err(fault) => return Outcome::rejected(fault),
        };
        if request.in_doubt
            && let Some(settled) = self.ask(request).await
        {
            return settled;
        }
        match self.client.execute(http).await {
            Ok(response) => self.class(self.read(response, request.now).await),
            Err(error) => self.broken(error),
        }
    }

    /// Sends one marked request, and notes each stage.
    pub(super) async fn try_out(&self, trial: Trial<'_>, stages: &mut Stages) {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(443);
        if !trial::reach(host, port, CONNECT_TIMEOUT_MAX.min(self.timeout), stages).await {
            return;
        }
        let webhook = WebhookRequest {
            destination: trial.destination.into(),
            method: None,
            path: Vec::new(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: Some(trial::body(trial.destination)),
        };
        let mark = Mark { key: trial.key, now: trial.at, log_head: trial.log_head };
        let answer = match self.build(&mark, &webhook) {
            Ok(http) => self.client.execute(http).await,
            Err(fault) => return stages.bad("request", fault),
        };
        match answer {
            Ok(response) => {
                let answer = self.read(response, trial.at).await;
                let said = answer.error.trim_start_matches("the receiver answered ");
                if (200..300).contains(&answer.status) {
                    stages.good("request", said)
                } else {
                    stages.bad("request", said)
                }
            }
            Err(error) => stages.bad("request", self.hide(&scrub::error_line(&error.without_url()))),
        }
    }

    /// Asks the receiver whether an earlier attempt took effect. `None`: it did not, so the request may be sent.
    async fn ask(&self, request: &Request<'_>) -> Option<Outcome> {
        let Some(probe) = &self.probe else {
            let error = "it is unclear whether an earlier attempt arrived, and the destination has no `probe` any more";
            return Some(unknown(None, Value::Null, error.into()));
        };
        let question = self.client.get(probe.url(request.key)).headers(self.headers.clone()).timeout(probe.timeout);
        let later = |error: String, status, after| {
            let error = format!("asked whether an earlier attempt took effect: {error}");
            Some(Outcome::Again { error, status, after, ambiguous: true, progress: None })
        };
        let answer = match question.send().await {
            Ok(response) => self.read(response, request.now).await,
            Err(error) => return later(self.hide(&scrub::error_line(&error.without_url())), None, None),
        };
        match probe.says(answer.status) {
            Says::NotDone => None,
            Says::AskLater => later(answer.error, Some(answer.status), answer.after),
            Says::Done => {
                let Answer { status, mut value, .. } = answer;
                value["probed"] = true.into();
                Some(Outcome::Done(Reply { class: Class::Ok, status: Some(status), value, error: None }))
            }
        }
    }

    fn build(&self, mark: &Mark<'_>, webhook: &WebhookRequest) -> Result<reqwest::Request, String> {
        let method = match webhook.method.as_deref().map(str::to_ascii_uppercase) {
            None => self.method.clone(),
            Some(method) if METHODS.contains(&method.as_str()) => method.parse().map_err(|_| "bad method")?,
            Some(other) => {
                return Err(format!("method `{}` is not one of {}", scrub::line(&other, 20), METHODS.join(", ")));
            }
        };
        let body = self.body(webhook.body.as_ref())?;
        let mut headers = script_headers(&webhook.headers)?;
        if body.is_some() {
            headers.entry("content-type").or_insert(HeaderValue::from_static("application/json"));
        }
        headers.extend(self.headers.clone());
        let id = format!("msg_{}", mark.key);
        let timestamp = mark.now.as_second();
        let bytes = body.unwrap_or_default();
        let signatures: Vec<String> = self.keys.iter().map(|key| key.sign(&id, timestamp, &bytes)).collect();
        let mut own = |name: &'static str, value: String| {
            let value = HeaderValue::try_from(value).expect("keys, numbers and base64 are plain ASCII");
            headers.insert(name, value);
        };
        own("webhook-id", id);
        own("webhook-timestamp", timestamp.to_string());
        own("x-soard-log-head", mark.log_head.to_owned());
        own("idempotency-key", format!("\"{}\"", mark.key));
        if !signatures.is_empty() {
            own("webhook-signature", signatures.join(" "));
        }
        let url = script_url(self.url.clone(), &webhook.path, &webhook.query)?;
        let builder = self.client.request(method, url).headers(headers).timeout(self.timeout);
        let builder = if bytes.is_empty() { builder } else { builder.body(bytes) };
        builder.build().map_err(|error| self.hide(&scrub::error_line(&error.without_url())))
    }

    /// The script's JSON with the destination's own fields put in.
    fn body(&self, body: Option<&Value>) -> Result<Option<Vec<u8>>, String> {
        let Some(body) = body else { return Ok(None) };
        let bytes = match (body, self.body.is_empty()) {
            (body, true) => body.to_string(),
            (Value::Object(fields), false) => {
                let mut fields = fields.clone();
                fields.extend(self.body.clone());
                Value::Object(fields).to_string()
            }
            _ => return Err("the destination adds fields to the body, so the body has to be a map".into()),
        };
        match bytes.len() {
            len if len > REQUEST_BYTES_MAX => {
                Err(format!("the body has {len} bytes; at most {REQUEST_BYTES_MAX} are sent"))
            }
            _ => Ok(Some(bytes.into_bytes())),
        }
    }

    /// No reply came.
    fn broken(&self, error: reqwest::Error) -> Outcome {
        let error = error.without_url();
        let text = self.hide(&scrub::error_line(&error));
        // The connection was never there, so nothing was sent. In every other case the request may have arrived.
        let ambiguous = !error.is_connect();
        let text = if error.is_timeout() && ambiguous {
            format!(
                "no reply within {}: {text}",
                Span::from_millis(u64::try_from(self.timeout.as_millis()).unwrap_or(0))
            )
        } else {
            text
        };
        match (ambiguous, self.mode) {
            (true, Mode::AtMostOnce) => unknown(None, Value::Null, text),
            _ => Outcome::Again { error: text, status: None, after: None, ambiguous, progress: None },
        }
    }

    async fn read(&self, response: Response, now: Timestamp) -> Answer {
        let status = response.status();
        let after = retry_after(response.headers(), now);
        let is_json =
            response.headers().get("content-type").is_some_and(|kind| kind.to_str().unwrap_or("").contains("json"));
        let headers = self.reply_headers(response.headers());
        let (bytes, truncated) = read_body(response, self.response_bytes_max).await;
        let text = self.hide(&String::from_utf8_lossy(&bytes));
        let looks_json = is_json || text.trim_start().starts_with(['{', '[']);
        let parsed = (looks_json && !truncated).then(|| serde_json::from_str::<Value>(&text).ok()).flatten();
        let excerpt = scrub::line(&text, 200);
        let mut value =
            json!({"status": status.as_u16(), "headers": headers, "body": parsed.unwrap_or(Value::String(text))});
        if truncated {
            value["truncated"] = true.into();
        }
        let error = match excerpt.is_empty() {
            true => format!("the receiver answered {status}"),
            false => format!("the receiver answered {status}: {excerpt}"),
        };
        Answer { status: status.as_u16(), after, value, error }
    }

    /// What an answer to a request means.
    fn class(&self, answer: Answer) -> Outcome {
        let Answer { status, after, mut value, error } = answer;
        let code = Some(status);
        match status {
            200..=299 => Outcome::Done(Reply { class: Class::Ok, status: code, value, error: None }),
            408 | 425 | 429 | 503 => Outcome::Again { error, status: code, after, ambiguous: false, progress: None },
            // A gateway's 502 or 504 and a crash's 500 say nothing about whether the request took effect.
            500.. if self.mode == Mode::AtMostOnce => unknown(code, value, error),
            500.. => {
                let ambiguous = self.mode == Mode::Probe;
                Outcome::Again { error, status: code, after, ambiguous, progress: None }
            }
            410 => {
                value["gone"] = true.into();
                rejected(code, value, error)
            }
            _ => rejected(code, value, error),
        }
    }

    fn reply_headers(&self, headers: &HeaderMap) -> Map<String, Value> {
        let (count, chars) = REPLY_HEADERS_MAX;
        // A session of the receiver's is a secret too.
        let names = headers.keys().filter(|name| *name != reqwest::header::SET_COOKIE).take(count);
        let value = |name: &HeaderName| {
            let all: Vec<String> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            self.hide(&scrub::line(&all.join(", "), chars))
        };
        names.map(|name| (name.to_string(), value(name).into())).collect()
    }

    /// The text without the destination's secrets.
    fn hide(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), "[secret]") } else { text }
        };
        self.hidden.iter().fold(text.to_owned(), hide)
    }
}

/// What marks a request.
struct Mark<'a> {
    key: &'a EffectKey,
    now: Timestamp,
    log_head: &'a str,
}

/// A receiver's answer, read within limits.
struct Answer {
    status: u16,
    after: Option<Span>,
    /// What the script gets.
    value: Value,
    /// The answer in words, for when it is no success.
    error: String,
}

fn unknown(status: Option<u16>, value: Value, error: String) -> Outcome {
    Outcome::Done(Reply { class: Class::Unknown, status, value, error: Some(error) })
}

fn rejected(status: Option<u16>, value: Value, error: String) -> Outcome {
    Outcome::Done(Reply { class: Class::Rejected, status, value, error: Some(error) })
}

fn login_value(
    login: &Login,
    secrets: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    hidden: &mut Vec<String>,
) -> Result<HeaderValue, String> {
    let text = match login {
        Login::Bearer(token) => {
            let token = resolve(token, secrets)?.expose().trim().to_owned();
            hidden.push(token.clone());
            format!("Bearer {token}")
        }
        Login::Basic { username, password } => {
            let password = resolve(password, secrets)?.expose().trim_end_matches(['\r', '\n']).to_owned();
            let pair = data_encoding::BASE64.encode(format!("{username}:{password}").as_bytes());
            hidden.extend([password, pair.clone()]);
            format!("Basic {pair}")
        }
    };
    header_value(&text).ok_or_else(|| "the login cannot be sent in a header".into())
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(name).map_err(|_| format!("`{}` is not the name of a header", scrub::line(name, 60)))
}

fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Headers that a script gave: names checked, values cleaned.
fn script_headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    if given.len() > HEADERS_MAX {
        return Err(format!("{} headers are given; at most {HEADERS_MAX} are sent", given.len()));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        if is_reserved_header(name) {
            return Err(format!("header `{name}` is set by soard or belongs to the destination"));
        }
        let value = scrub::line(value, HEADER_CHARS_MAX);
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| format!("header `{name}` cannot be sent"))?;
        headers.insert(header_name(name)?, value);
    }
    Ok(headers)
}

/// The destination's URL with the script's path segments and query, which cannot leave it.
fn script_url(mut url: Url, path: &[String], query: &BTreeMap<String, String>) -> Result<Url, String> {
    for segment in path {
        // URLs resolve these instead of sending them, also when they are encoded by halves.
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        if segment.is_empty() || plain == "." || plain == ".." {
            return Err(format!("`{}` is not a path segment", scrub::line(segment, 60)));
        }
    }
    if !path.is_empty() {
        let mut segments = url.path_segments_mut().map_err(|()| "the URL takes no path")?;
        segments.pop_if_empty().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    match url.as_str().len() {
        len if len > URL_BYTES_MAX => Err(format!("the URL has {len} bytes; at most {URL_BYTES_MAX} are sent")),
        _ => Ok(url),
    }
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Absurd numbers are as good as a year; the schedule caps them anyway.
        let seconds = text.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Span::from_secs(seconds.min(366 * 24 * 3600)));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = at.as_second().saturating_sub(now.as_second());
    Some(Span::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The body up to the limit, and whether there was more, or it broke off. The status stands in either case.
async fn read_body(mut response: Response, bytes_max: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes_max - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return (bytes, true);
                }
            }
            Ok(None) => return (bytes, false),
            Err(_) => return (bytes, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_puts_into_the_url_stays_a_segment_and_a_value() {
        let base = || Url::parse("https://example.com/api/?token=t").unwrap();
        let query = BTreeMap::from([("q&x=1".into(), "a b#c".into())]);
        let url = script_url(base(), &["a/../b".into(), "ü?#%2f".into()], &query).unwrap();
        assert_eq!(url.as_str(), "https://example.com/api/a%2F..%2Fb/%C3%BC%3F%23%252f?token=t&q%26x%3D1=a+b%23c");
        for bad in ["", ".", "..", "%2e%2E", ".%2e"] {
            assert!(script_url(base(), &[bad.into()], &BTreeMap::new()).is_err(), "{bad:?}");
        }
        assert!(script_url(base(), &["x".repeat(9000)], &BTreeMap::new()).is_err());
    }

    #[test]
    fn what_a_script_puts_into_headers_stays_one_value() {
        let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let headers = script_headers(&given("X-Title", "a\r\nHost: evil\u{85}\u{2028}b\0c")).unwrap();
        assert_eq!(headers["x-title"], "a Host: evil b c");
        assert_eq!(script_headers(&given("x", &"y".repeat(999))).unwrap()["x"].as_bytes().len(), 199 + "…".len());
        for name in
            ["Host", "authorization", "Webhook-Id", "Idempotency-Key", "Content-Length", "a b", "a:b", "a\r\nb", ""]
        {
            assert!(script_headers(&given(name, "v")).is_err(), "{name:?}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            retry_after(&headers, now).map(|span| span.duration().as_secs())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Sun, 22 Nov 2026 01:00:30 GMT"), Some(30));
        assert_eq!(read("Sun, 22 Nov 2020 01:00:30 GMT"), Some(0));
        assert_eq!(read("99999999999999999999999"), Some(366 * 24 * 3600));
        assert_eq!((read("soon"), read("-5"), read("")), (None, None, None));
    }
}
