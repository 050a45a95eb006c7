//! Who takes an export's notices: a file, an HTTP endpoint, or a syslog server.

use std::path::PathBuf;

use reqwest::Method;

use crate::actions::settings::email::host;
use crate::actions::settings::exports::word;
use crate::actions::settings::webhook::{self, Text, WebhookSettings};
use crate::actions::settings::{is_loopback, span};
use crate::domain::bytes::Bytes;
use crate::domain::secret::SecretRef;
use crate::domain::time::Span;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::Node;
use crate::yaml::reader::{self, Faults, MapReader, one_or_many};
use crate::yaml::secret::secret_ref;

/// Who takes the notices.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerSettings {
    /// A file.
    File(FileSettings),
    /// An HTTP endpoint.
    Http(Box<HttpSettings>),
    /// A syslog server.
    Syslog(SyslogSettings),
}

/// A file that grows, is set aside at a size, and starts anew.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSettings {
    /// Where.
    pub path: PathBuf,
    /// From this size on it is set aside as `PATH.1`.
    pub size: Bytes,
    /// How many files that were set aside are kept.
    pub keep: u32,
}

/// An HTTP endpoint that takes batches of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Where and how, as for a webhook.
    pub webhook: WebhookSettings,
    /// Bodies are compressed.
    pub gzip: bool,
}

/// A syslog server.
#[derive(Debug, Clone, PartialEq)]
pub struct SyslogSettings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The way is encrypted.
    pub tls: bool,
    /// File with further root certificates (PEM).
    pub ca: Option<PathBuf>,
    /// The number of the facility.
    pub facility: u8,
    /// `APP-NAME`.
    pub app_name: String,
    /// `HOSTNAME`; the machine's name when absent.
    pub hostname: Option<String>,
    /// Longest message, header included; longer notices are shortened.
    pub message_bytes_max: usize,
    /// Limit of one batch, from the wait for a connection to its confirmation.
    pub timeout: Span,
}

impl PeerSettings {
    /// The word in soard.yaml.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Syslog(_) => "syslog",
        }
    }

    pub(super) fn paths(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::File(file) => vec![&mut file.path],
            Self::Http(http) => http.webhook.ca.iter_mut().collect(),
            Self::Syslog(syslog) => syslog.ca.iter_mut().collect(),
        }
    }

    pub(super) fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Http(http) => http.webhook.secrets(),
            Self::File(_) | Self::Syslog(_) => Vec::new(),
        }
    }

    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Http(http) => http.webhook.secrets_mut(),
            Self::File(_) | Self::Syslog(_) => Vec::new(),
        }
    }
}

const FILE_SIZE: Bytes = Bytes(100 << 20);
const FILE_SIZE_MIN: Bytes = Bytes(64 << 10);

pub(super) fn file(node: &Node, faults: &mut Faults) -> Option<FileSettings> {
    let mut map = MapReader::new(node, "a file: `{ path: … }`", faults)?;
    let path = map.need_text("path", faults).map(PathBuf::from);
    let size_node = map.get("size");
    let size = size_node.and_then(|node| reader::parsed(node, "a number of bytes such as 100MiB", faults));
    let keep = map.whole("keep", 1..=1000, faults).unwrap_or(10);
    map.finish(faults);
    let size = size.unwrap_or(FILE_SIZE);
    if let Some(node) = size_node.filter(|_| size < FILE_SIZE_MIN) {
        faults.error("export-size", &node.place, format!("expected {FILE_SIZE_MIN} or more, found {size}"));
    }
    Some(FileSettings { path: path?, size, keep: u32::try_from(keep).expect("the range is within u32") })
}

/// Longest limit of one batch: whoever takes longer holds everything up.
const TIMEOUT_MAX: Span = Span::from_secs(120);

/// How much of an answer to a batch is read.
const RESPONSE_BYTES_MAX: usize = 16 * 1024;

pub(super) fn http(node: &Node, faults: &mut Faults) -> Option<HttpSettings> {
    let mut map = MapReader::new(node, "an HTTP endpoint: `{ url: … }`", faults)?;
    let allow_http = map.flag("allow_http", faults).unwrap_or(false);
    let url: Option<Text> = map.need("url", faults).and_then(|node| webhook::url(node, allow_http, faults));
    let headers = map.get("headers").map(|node| webhook::headers(node, faults)).unwrap_or_default();
    let secrets = map.get("secret").map(one_or_many).unwrap_or_default();
    let secrets = secrets.iter().filter_map(|node| secret_ref(node, faults)).collect();
    let login = webhook::login(&mut map, faults);
    let timeout = span(&mut map, "timeout", Span::from_millis(100), TIMEOUT_MAX, faults);
    let ca = map.text("ca", faults).map(PathBuf::from);
    let gzip = map.flag("gzip", faults).unwrap_or(false);
    map.finish(faults);
    let webhook = WebhookSettings {
        url: url?,
        method: Method::POST,
        headers,
        body: Default::default(),
        secrets,
        login,
        timeout: timeout.unwrap_or(Span::from_secs(30)),
        allow_http,
        response_bytes_max: RESPONSE_BYTES_MAX,
        ca,
        probe: None,
    };
    Some(HttpSettings { webhook, gzip })
}

/// What every server of RFC 5425 should take; Debian's rsyslog cuts what is longer unless it is told otherwise.
const MESSAGE_BYTES: i64 = 8 << 10;

const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

pub(super) fn syslog(node: &Node, faults: &mut Faults) -> Option<SyslogSettings> {
    let mut map = MapReader::new(node, "a syslog server: `{ host: … }`", faults)?;
    let host = map.need("host", faults).and_then(|node| host(node, faults));
    let port = map.whole("port", 1..=65535, faults).and_then(|port| u16::try_from(port).ok());
    let known = [("implicit", true), ("none", false)];
    let tls = map.get("tls").map_or(Some(true), |node| word(node, "way to encrypt", &known, "syslog-tls", faults));
    let ca = map.text("ca", faults).map(PathBuf::from);
    let facility =
        map.get("facility").map_or(Some(16), |node| word(node, "facility", &FACILITIES, "syslog-facility", faults));
    let app_name = map.get("app_name").map_or(Some("soard".into()), |node| name(node, 48, faults));
    let hostname = map.get("hostname").map(|node| name(node, 255, faults));
    let message_bytes = map.whole("message_bytes_max", MESSAGE_BYTES..=1 << 20, faults).unwrap_or(MESSAGE_BYTES);
    let timeout = span(&mut map, "timeout", Span::from_millis(100), TIMEOUT_MAX, faults);
    let place = map.place();
    map.finish(faults);
    let (host, tls) = (host?, tls?);
    if !tls && !is_loopback(&host) {
        let message = format!("alerts to {host} would cross the network unencrypted");
        let fault = Diagnostic::error("plain-syslog", place.clone(), message);
        faults.push(fault.help("use `tls: implicit`; `none` is for a syslog server on this machine"));
        return None;
    }
    Some(SyslogSettings {
        host,
        port: port.unwrap_or(if tls { 6514 } else { 601 }),
        tls,
        ca,
        facility: facility?,
        app_name: app_name?,
        hostname: match hostname {
            Some(hostname) => Some(hostname?),
            None => None,
        },
        message_bytes_max: usize::try_from(message_bytes).expect("the range is within usize"),
        timeout: timeout.unwrap_or(Span::from_secs(30)),
    })
}

/// A field of a syslog header: printable ASCII without spaces.
fn name(node: &Node, chars_max: usize, faults: &mut Faults) -> Option<String> {
    let text = reader::text(node, faults)?;
    if text.len() <= chars_max && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(text.into());
    }
    let message = format!("{text:?} is not 1 to {chars_max} printable ASCII characters without spaces");
    faults.error("syslog-name", &node.place, message);
    None
}
