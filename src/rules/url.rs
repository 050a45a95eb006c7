//! Addresses with an alert's values in them: `https://logs.example.com/search?q={host}`.

use crate::domain::alert::Alert;
use crate::domain::id::AlertId;
use crate::rules::fields::Field;
use crate::rules::known::Reading;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::Node;
use crate::yaml::reader::text;

/// Longest address once it is filled in, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// A checked template. Host and scheme are literal, so no alert can lead people elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The alert's own id, which rules cannot match but pages have.
    Id,
    Value(Box<Field>),
}

impl UrlTemplate {
    /// Reads a template; notes every fault.
    pub fn read(node: &Node, reading: &mut Reading) -> Option<Self> {
        let url = text(node, &mut reading.faults)?;
        if let Some((message, help)) = fault(url) {
            let fault = Diagnostic::error("bad-page-url", node.place.clone(), message);
            reading.faults.push(fault.help(help));
            return None;
        }
        let mut parts = Vec::new();
        let (mut rest, mut whole) = (url, true);
        while let Some((literal, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').expect("checked: braces come in pairs");
            parts.push(Part::Literal(literal.into()));
            let at = url.len() - behind.len();
            match name {
                "id" => parts.push(Part::Id),
                name => match reading.field(name, &reading.inside(&node.place, url, at)) {
                    Some(field) => parts.push(Part::Value(Box::new(field))),
                    None => whole = false,
                },
            }
            rest = after;
        }
        parts.push(Part::Literal(rest.into()));
        whole.then_some(Self { parts })
    }

    /// The address for an alert, with the first value of each field, percent-encoded; `None` when the alert lacks one, or has one
    /// that would lead elsewhere.
    pub fn fill(&self, id: AlertId, alert: &Alert) -> Option<String> {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => url.push_str(text),
                Part::Id => url.push_str(&id.to_string()),
                Part::Value(field) => encode(&first(field, alert)?, &mut url),
            }
        }
        (url.len() <= URL_BYTES_MAX).then_some(url)
    }
}

fn first(field: &Field, alert: &Alert) -> Option<String> {
    let found = field.find(alert);
    let text = found.values.iter().find_map(|value| value.text().filter(|text| !text.is_empty()))?;
    // Browsers take these for steps in the path, encoded or not.
    (text != "." && text != "..").then(|| text.into_owned())
}

/// Everything but the unreserved characters of RFC 3986.
fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
}

/// What is wrong with the text around the fields, and its cure.
fn fault(url: &str) -> Option<(String, &'static str)> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some((format!("`{url}` is no web address"), "begin with `https://` or `http://`"));
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains(['{', '}']) {
        let help = "write scheme and host as they are: an alert must not choose where people are sent";
        return Some((format!("`{url}` has no host of its own"), help));
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control() || "\"<>\\^`|".contains(c)) {
        return Some((format!("`{url}` has characters that an address cannot have"), "write them percent-encoded"));
    }
    let mut open = false;
    for c in url.chars() {
        match (c, open) {
            ('{', false) => open = true,
            ('}', true) => open = false,
            ('{' | '}', _) => {
                return Some((format!("`{url}` has a brace without its partner"), "write a field as `{host}`"));
            }
            _ => {}
        }
    }
    open.then(|| (format!("`{url}` has a brace without its partner"), "write a field as `{host}`"))
}
