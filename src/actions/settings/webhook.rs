//! Settings of a webhook destination.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::actions::settings::probe::{self, ProbeSettings};
use crate::actions::settings::{Common, Destination, Target, is_loopback, span, text_or_secret};
use crate::domain::secret::SecretRef;
use crate::domain::time::Span;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::Node;
use crate::yaml::reader::{Faults, MapReader, one_or_many};
use crate::yaml::secret::secret_ref;

/// An HTTP endpoint and how to speak to it.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// Where; a secret for receivers that put the key into the address.
    pub url: Text,
    /// Method for requests that name none.
    pub method: Method,
    /// Headers of every request.
    pub headers: BTreeMap<String, Text>,
    /// Top-level fields that are put into every JSON body, for receivers that want their key there.
    pub body: BTreeMap<String, Text>,
    /// Secrets of the Standard Webhooks signature; more than one while the receiver changes over.
    pub secrets: Vec<SecretRef>,
    /// What goes into `Authorization`.
    pub login: Option<Login>,
    /// Limit of one attempt, from the wait for a connection to the reply's last byte.
    pub timeout: Span,
    /// `http://` to another machine is meant.
    pub allow_http: bool,
    /// How much of a reply's body is read.
    pub response_bytes_max: usize,
    /// File with further root certificates (PEM).
    pub ca: Option<PathBuf>,
    /// How to find out whether a request took effect; given with `mode: probe` alone.
    pub probe: Option<ProbeSettings>,
}

/// A text that may be a secret.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// As written in soard.yaml.
    Plain(String),
    /// From where the secret lies.
    Secret(SecretRef),
}

/// How to log in.
#[derive(Debug, Clone, PartialEq)]
pub enum Login {
    /// `Authorization: Bearer …`
    Bearer(SecretRef),
    /// `Authorization: Basic …`
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: SecretRef,
    },
}

impl WebhookSettings {
    pub(super) fn secrets(&self) -> Vec<&SecretRef> {
        let texts = self.headers.values().chain(self.body.values()).chain([&self.url]);
        let texts = texts.chain(self.probe.as_ref().map(|probe| &probe.url));
        let texts = texts.filter_map(|text| match text {
            Text::Secret(secret) => Some(secret),
            Text::Plain(_) => None,
        });
        let login = self.login.iter().map(|login| match login {
            Login::Bearer(secret) => secret,
            Login::Basic { password, .. } => password,
        });
        texts.chain(login).chain(&self.secrets).collect()
    }

    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        let texts = self.headers.values_mut().chain(self.body.values_mut()).chain([&mut self.url]);
        let texts = texts.chain(self.probe.as_mut().map(|probe| &mut probe.url));
        let texts = texts.filter_map(|text| match text {
            Text::Secret(secret) => Some(secret),
            Text::Plain(_) => None,
        });
        let login = self.login.iter_mut().map(|login| match login {
            Login::Bearer(secret) => secret,
            Login::Basic { password, .. } => password,
        });
        texts.chain(login).chain(&mut self.secrets).collect()
    }
}

/// Headers that belong to soard, to HTTP or to the destination's login: neither scripts nor `headers:` may set them.
pub fn is_reserved_header(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "x-soard-log-head",
        "transfer-encoding",
        "upgrade",
    ];
    let name = name.to_ascii_lowercase();
    RESERVED.contains(&name.as_str()) || name.starts_with("webhook-")
}

/// The methods that a script or `method:` may name.
pub const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(super) fn read(node: &Node, faults: &mut Faults) -> Option<Destination> {
    let mut map = MapReader::new(node, "a webhook destination", faults)?;
    let common = Common::read(&mut map, faults);
    if !common.mode_given {
        let message = "`mode` is required: it says what happens when it is unclear whether a request arrived";
        let help = "`at_least_once` sends again with the same key (a double is possible), \
                    `at_most_once` never does (the playbook gets `unknown`), `probe` asks the receiver first";
        faults.push(Diagnostic::error("missing-mode", map.place().clone(), message).help(help));
    }
    let allow_http = map.flag("allow_http", faults).unwrap_or(false);
    let url = map.need("url", faults).and_then(|node| url(node, allow_http, faults));
    let method = map.get("method").map_or(Some(Method::POST), |node| method(node, faults));
    let headers = map.get("headers").map(|node| headers(node, faults)).unwrap_or_default();
    let body = map.get("body").map(|node| body(node, faults)).unwrap_or_default();
    let secrets = map.get("secret").map(one_or_many).unwrap_or_default();
    let secrets = secrets.iter().filter_map(|node| secret_ref(node, faults)).collect();
    let login = login(&mut map, faults);
    let timeout = span(&mut map, "timeout", Span::from_millis(100), Span::from_secs(600), faults);
    let bytes = map.whole("response_bytes_max", 0..=256 * 1024, faults).unwrap_or(256 * 1024);
    let ca = map.text("ca", faults).map(PathBuf::from);
    let probe = probe::read(map.get("probe"), common.mode, url.as_ref(), map.place(), faults);
    map.finish(faults);
    let mode = common.mode?;
    let settings = WebhookSettings {
        url: url?,
        method: method?,
        headers,
        body,
        secrets,
        login,
        timeout: timeout.unwrap_or(Span::from_secs(30)),
        allow_http,
        response_bytes_max: usize::try_from(bytes).expect("the range is within usize"),
        ca,
        probe,
    };
    Some(common.destination(mode, Target::Webhook(Box::new(settings))))
}

pub(super) fn url(node: &Node, allow_http: bool, faults: &mut Faults) -> Option<Text> {
    let text = text_or_secret(node, faults)?;
    if let Text::Plain(plain) = &text
        && let Err((message, help)) = check_url(plain, allow_http)
    {
        bad_url(node, message, help, faults);
        return None;
    }
    Some(text)
}

/// Notes what [`check_url`] said.
pub(super) fn bad_url(node: &Node, message: String, help: &'static str, faults: &mut Faults) {
    let fault = Diagnostic::error("bad-url", node.place.clone(), message);
    faults.push(if help.is_empty() { fault } else { fault.help(help) });
}

/// A URL that requests can be sent to. On failure: what is wrong and how to cure it, neither with the URL itself.
pub(in crate::actions) fn check_url(text: &str, allow_http: bool) -> Result<Url, (String, &'static str)> {
    let url = Url::parse(text).map_err(|error| (format!("the URL cannot be read: {error}"), ""))?;
    let host = url.host_str().unwrap_or_default();
    let fault = match url.scheme() {
        "https" | "http" if host.is_empty() => ("the URL names no host".into(), ""),
        "http" if !allow_http && !is_loopback(host) => (
            format!("requests to {host} would cross the network unencrypted"),
            "use https://, or set `allow_http: true` if that is meant",
        ),
        "https" | "http" if !url.username().is_empty() || url.password().is_some() => {
            ("the URL holds a login".into(), "use `basic: {username: …, password: {file: …}}`")
        }
        "https" | "http" if url.fragment().is_some() => ("the URL has a #fragment, which is never sent".into(), ""),
        "https" | "http" => return Ok(url),
        other => (format!("expected an https:// URL, found {other}://"), ""),
    };
    Err(fault)
}

fn method(node: &Node, faults: &mut Faults) -> Option<Method> {
    let text = crate::yaml::reader::text(node, faults)?;
    if METHODS.contains(&text) {
        return text.parse().ok();
    }
    let fault = Diagnostic::error("bad-method", node.place.clone(), format!("unknown method {text:?}"));
    faults.push(fault.suggest(text, METHODS));
    None
}

pub(super) fn headers(node: &Node, faults: &mut Faults) -> BTreeMap<String, Text> {
    let Some(mut map) = MapReader::new(node, "a map of headers", faults) else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (name, node) in map.rest() {
        if is_reserved_header(&name.text) {
            let fault =
                Diagnostic::error("reserved-header", name.place.clone(), format!("`{}` is set by soard", name.text));
            faults.push(fault.help("logins go into `bearer:` or `basic:`, signatures into `secret:`"));
            continue;
        }
        let Some(text) = text_or_secret(node, faults) else { continue };
        let good_value = |value: &str| value.len() <= 4096 && HeaderValue::from_str(value).is_ok();
        let good = match &text {
            Text::Plain(value) => good_value(value),
            Text::Secret(_) => true,
        };
        if !good || HeaderName::try_from(&name.text).is_err() {
            faults.error("bad-header", &name.place, format!("`{}` is not a header that can be sent", name.text));
        }
        headers.insert(name.text.clone(), text);
    }
    headers
}

fn body(node: &Node, faults: &mut Faults) -> BTreeMap<String, Text> {
    let Some(mut map) = MapReader::new(node, "a map of body fields", faults) else { return BTreeMap::new() };
    let fields = map.rest();
    fields.into_iter().filter_map(|(name, node)| Some((name.text.clone(), text_or_secret(node, faults)?))).collect()
}

pub(super) fn login(map: &mut MapReader<'_>, faults: &mut Faults) -> Option<Login> {
    let bearer = map.get("bearer");
    let basic = map.get("basic");
    if let (Some(_), Some(basic)) = (bearer, basic) {
        faults.error("two-logins", &basic.place, "give either `bearer` or `basic`, not both");
    }
    if let Some(node) = bearer {
        return secret_ref(node, faults).map(Login::Bearer);
    }
    let mut map = MapReader::new(basic?, "a user name and a password", faults)?;
    let username = map.need_text("username", faults);
    let password = map.need("password", faults).and_then(|node| secret_ref(node, faults));
    map.finish(faults);
    Some(Login::Basic { username: username?, password: password? })
}
