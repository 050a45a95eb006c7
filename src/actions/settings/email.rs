//! Settings of an email destination.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lettre::message::Mailbox;

use crate::actions::settings::recipients::Recipients;
use crate::actions::settings::{Common, Destination, Target, is_loopback, span};
use crate::domain::effect::Mode;
use crate::domain::recipient::{Addressee, folded};
use crate::domain::secret::SecretRef;
use crate::domain::time::Span;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{self, Faults, MapReader, one_or_many};
use crate::yaml::secret::secret_ref;

/// Recipients of mail and the way to them.
#[derive(Debug, Clone, PartialEq)]
pub struct EmailSettings {
    /// The way.
    pub transport: Transport,
    /// Sender, in the header and on the envelope.
    pub from: Mailbox,
    /// Where answers go.
    pub reply_to: Option<Mailbox>,
    /// Recipients; at least one.
    pub to: Vec<Mailbox>,
    /// A mail goes to the owners of what it is about instead, where there are any with an address.
    pub to_owner: bool,
    /// Each mail offers its recipient to get no more of them.
    pub unsubscribe: bool,
}

/// The way a mail goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// To a mail server.
    Smtp(Smtp),
    /// Into a folder, as one `.eml` file for each mail.
    Folder(PathBuf),
}

/// A mail server.
#[derive(Debug, Clone, PartialEq)]
pub struct Smtp {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Encryption.
    pub tls: Tls,
    /// User name and password.
    pub login: Option<(String, SecretRef)>,
    /// What soard calls itself in EHLO; the machine's name when absent.
    pub hello_name: Option<String>,
    /// File with further root certificates (PEM).
    pub ca: Option<PathBuf>,
    /// Limit of each command up to the message's last dot.
    pub timeout: Span,
    /// Limit of the wait for the reply to the message; RFC 5321 asks for ten minutes.
    pub accept_timeout: Span,
}

/// How the way to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte.
    Implicit,
    /// By STARTTLS, which must succeed.
    Starttls,
    /// Not at all; to this machine only.
    None,
}

impl EmailSettings {
    /// Who gets a mail about something that these people own.
    pub fn recipients(&self, owners: &[String]) -> Vec<Addressee> {
        let mut all = self.owners(owners);
        all.truncate(RECIPIENTS_MAX);
        let all = if all.is_empty() { &self.to } else { &all };
        all.iter().map(addressee).collect()
    }

    /// How many of these owners get no mail since there are too many of them.
    pub fn owners_left_out(&self, owners: &[String]) -> usize {
        self.owners(owners).len().saturating_sub(RECIPIENTS_MAX)
    }

    /// The owners who can be written to, each once.
    fn owners(&self, owners: &[String]) -> Vec<Mailbox> {
        let mut known = BTreeSet::new();
        let all = owners.iter().filter(|_| self.to_owner).filter_map(|owner| address(owner));
        all.filter(|mailbox| known.insert(folded(mailbox.email.as_ref()))).collect()
    }

    pub(super) fn secrets(&self) -> Vec<&SecretRef> {
        match &self.transport {
            Transport::Smtp(smtp) => smtp.login.iter().map(|(_, password)| password).collect(),
            Transport::Folder(_) => Vec::new(),
        }
    }

    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        match &mut self.transport {
            Transport::Smtp(smtp) => smtp.login.iter_mut().map(|(_, password)| password).collect(),
            Transport::Folder(_) => Vec::new(),
        }
    }
}

/// Whom a mailbox is of.
fn addressee(mailbox: &Mailbox) -> Addressee {
    Addressee { address: mailbox.email.to_string(), name: mailbox.name.clone() }
}

/// The mailbox of an addressee; `None` when a mail cannot be addressed so.
pub(in crate::actions) fn mailbox(to: &Addressee) -> Option<Mailbox> {
    let Mailbox { email, .. } = address(&to.address)?;
    // A line end in a display name makes lettre panic later; none may come that far.
    let name = to.name.clone().filter(|name| !name.chars().any(char::is_control));
    Some(Mailbox { name, email })
}

/// Most recipients of one destination: each costs a round trip.
const RECIPIENTS_MAX: usize = 100;

pub(super) fn read(node: &Node, all: &Recipients, faults: &mut Faults) -> Option<Destination> {
    let mut map = MapReader::new(node, "an email destination", faults)?;
    let mode_place = map.get("mode").map(|node| node.place.clone());
    let common = Common::read(&mut map, faults);
    if let (Some(Mode::Probe), Some(place)) = (common.mode, mode_place) {
        let fault = Diagnostic::error("mail-probe", place, "a mail server cannot be asked whether it took a mail");
        faults.push(fault.help("use `at_least_once` (a double carries the same Message-ID) or `at_most_once`"));
    }
    let transport = transport(&mut map, faults);
    let from = map.need("from", faults).and_then(|node| read_mailbox(node, faults));
    let reply_to = map.get("reply_to").and_then(|node| read_mailbox(node, faults));
    let to = map.need("to", faults).map(|node| recipients(node, all, faults)).unwrap_or_default();
    let to_owner = map.flag("to_owner", faults).unwrap_or(false);
    let unsubscribe = map.flag("unsubscribe", faults).unwrap_or(true);
    map.finish(faults);
    let settings = EmailSettings { transport: transport?, from: from?, reply_to, to, to_owner, unsubscribe };
    let mode = common.mode.unwrap_or(Mode::AtLeastOnce);
    Some(common.destination(mode, Target::Email(Box::new(settings))))
}

fn transport(map: &mut MapReader<'_>, faults: &mut Faults) -> Option<Transport> {
    let smtp = map.get("smtp");
    let folder = map.get("folder");
    match (smtp, folder) {
        (Some(node), None) => read_smtp(node, faults).map(Transport::Smtp),
        (None, Some(node)) => reader::text(node, faults).map(|path| Transport::Folder(path.into())),
        _ => {
            let message = "mail goes either by `smtp:` or into a `folder:`";
            faults.error("mail-transport", map.place(), message);
            None
        }
    }
}

fn read_smtp(node: &Node, faults: &mut Faults) -> Option<Smtp> {
    let mut map = MapReader::new(node, "a mail server", faults)?;
    let host = map.need("host", faults).and_then(|node| host(node, faults));
    let tls = map.get("tls").map_or(Some(Tls::Starttls), |node| tls(node, faults));
    let port = map.whole("port", 1..=65535, faults).and_then(|port| u16::try_from(port).ok());
    let username = map.text("username", faults);
    let password_node = map.get("password");
    let password = password_node.and_then(|node| secret_ref(node, faults));
    if username.is_some() != password_node.is_some() {
        faults.error("half-a-login", map.place(), "`username` and `password` go together");
    }
    let hello_name = map.get("hello_name").and_then(|node| self::host(node, faults));
    let ca = map.text("ca", faults).map(PathBuf::from);
    let timeout = span(&mut map, "timeout", Span::from_millis(100), Span::from_secs(600), faults);
    let accept_timeout = span(&mut map, "accept_timeout", Span::from_millis(100), Span::from_secs(3600), faults);
    let place = map.place();
    map.finish(faults);
    let (host, tls) = (host?, tls?);
    if tls == Tls::None && !is_loopback(&host) {
        let message = format!("mail to {host} would cross the network unencrypted");
        let fault = Diagnostic::error("plain-smtp", place.clone(), message);
        faults.push(fault.help("use `tls: starttls` or `tls: implicit`; `none` is for a mail server on this machine"));
        return None;
    }
    let usual_port = match tls {
        Tls::Implicit => 465,
        Tls::Starttls => 587,
        Tls::None => 25,
    };
    Some(Smtp {
        host,
        port: port.unwrap_or(usual_port),
        tls,
        login: username.zip(password),
        hello_name,
        ca,
        timeout: timeout.unwrap_or(Span::from_secs(60)),
        accept_timeout: accept_timeout.unwrap_or(Span::from_secs(600)),
    })
}

fn tls(node: &Node, faults: &mut Faults) -> Option<Tls> {
    match &node.value {
        Value::Str(word) if word == "implicit" => Some(Tls::Implicit),
        Value::Str(word) if word == "starttls" => Some(Tls::Starttls),
        Value::Str(word) if word == "none" => Some(Tls::None),
        _ => {
            faults.expected(node, "`starttls`, `implicit` or `none`");
            None
        }
    }
}

pub(super) fn host(node: &Node, faults: &mut Faults) -> Option<String> {
    let text = reader::text(node, faults)?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    if text.len() <= 253 && text.chars().all(good) {
        return Some(text.into());
    }
    let fault = Diagnostic::error("bad-host", node.place.clone(), format!("{text:?} is not a host name or address"));
    faults.push(fault.help("write the name alone; the port goes into `port`"));
    None
}

/// Addresses, and those who have a role: each once.
fn recipients(node: &Node, all: &Recipients, faults: &mut Faults) -> Vec<Mailbox> {
    let mut mailboxes: Vec<Mailbox> = Vec::new();
    let same = |mailbox: &Mailbox| {
        let address = folded(mailbox.email.as_ref());
        move |other: &Mailbox| folded(other.email.as_ref()) == address
    };
    let (roles, addresses): (Vec<&Node>, Vec<&Node>) =
        one_or_many(node).iter().partition(|item| matches!(item.value, Value::Map(_)));
    for item in addresses {
        let Some(mut mailbox) = read_mailbox(item, faults) else { continue };
        if mailboxes.iter().any(same(&mailbox)) {
            faults.error("recipient-twice", &item.place, format!("{} is given twice", mailbox.email));
        }
        let listed = all.get(mailbox.email.as_ref());
        mailbox.name = mailbox.name.or_else(|| listed?.mailbox.name.clone());
        mailboxes.push(mailbox);
    }
    let named = !roles.is_empty() || !mailboxes.is_empty();
    for item in roles {
        let Some(role) = role(item, all, faults) else { continue };
        for mailbox in all.with_role(role) {
            if !mailboxes.iter().any(same(mailbox)) {
                mailboxes.push(mailbox.clone());
            }
        }
    }
    if !named || mailboxes.len() > RECIPIENTS_MAX {
        let message = format!("expected 1 to {RECIPIENTS_MAX} recipients, found {}", mailboxes.len());
        faults.error("recipients", &node.place, message);
    }
    mailboxes
}

/// A role that somebody has.
fn role<'a>(node: &'a Node, all: &Recipients, faults: &mut Faults) -> Option<&'a str> {
    let mut map = MapReader::new(node, "a mail address, or `role: NAME`", faults)?;
    let role = map.need("role", faults).and_then(|node| Some((node, reader::text(node, faults)?)));
    map.finish(faults);
    let (node, role) = role?;
    if all.with_role(role).next().is_some() {
        return Some(role);
    }
    let fault = Diagnostic::error("unknown-role", node.place.clone(), format!("no recipient has the role `{role}`"));
    faults.push(match all.roles().is_empty() {
        true => fault.help("give it under `recipients:`, such as `ann@example.com: { roles: [soc] }`"),
        false => fault.suggest(role, all.roles()),
    });
    None
}

fn read_mailbox(node: &Node, faults: &mut Faults) -> Option<Mailbox> {
    let text = reader::text(node, faults)?;
    match address(text) {
        Some(mailbox) => Some(mailbox),
        None => {
            let message = format!("{text:?} is not a mail address");
            let fault = Diagnostic::error("bad-address", node.place.clone(), message);
            faults
                .push(fault.help("write `soc@example.com` or `Name <soc@example.com>`, in ASCII (punycode) after `<`"));
            None
        }
    }
}

pub(super) fn address(text: &str) -> Option<Mailbox> {
    // A line end in a display name makes lettre panic later; none may come that far.
    let parsed: Option<Mailbox> = if text.chars().any(char::is_control) { None } else { text.parse().ok() };
    parsed.filter(|mailbox| mailbox.email.to_string().is_ascii())
}
