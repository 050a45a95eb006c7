//! `soard.yaml`: composed of what each adapter reads for itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::actions::settings as destinations;
use crate::actions::settings::exports::{self, Exports};
use crate::actions::settings::recipients::read_recipients;
use crate::domain::secret::{Secret, SecretRef};
use crate::journal::policy::Policy;
use crate::sources::{self, http};
use crate::yaml::diagnostic::{Diagnostic, Gravity, Place, Sources};
use crate::yaml::node::{self, Value};
use crate::yaml::reader::{Faults, MapReader};

/// Name of the settings file in the content folder.
pub const FILE: &str = "soard.yaml";

/// The daemon's settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The content folder.
    pub dir: PathBuf,
    /// The state folder: journal, bundles, socket.
    pub state: PathBuf,
    /// The HTTP server for sources; `None`: nothing listens.
    pub server: Option<http::ServerSettings>,
    /// Where records come from.
    pub sources: Vec<sources::Settings>,
    /// How the journal is signed.
    pub journal: Policy,
    /// Where effects go.
    pub destinations: destinations::Settings,
    /// What goes on to other systems as it happens.
    pub exports: Exports,
    /// The formats that sources pin, and where they do.
    pub pinned: Vec<(String, Place)>,
}

/// The names that rules and playbooks may refer to.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Sources.
    pub sources: BTreeSet<String>,
    /// Webhook destinations.
    pub webhooks: BTreeSet<String>,
    /// Email destinations.
    pub emails: BTreeSet<String>,
    /// Formats that sources pin, and where.
    pub pinned: Vec<(String, Place)>,
    /// Where destinations ask for the list of what is never to be touched.
    pub guarded: Vec<Place>,
    /// Playbooks that have a limit, and where.
    pub limited: Vec<(String, Place)>,
}

impl Settings {
    /// What rules and playbooks may refer to.
    pub fn names(&self) -> Names {
        let limited = self.destinations.playbooks.iter();
        Names {
            sources: self.sources.iter().map(|source| source.name.to_string()).collect(),
            webhooks: self.destinations.names("webhook").into_iter().map(String::from).collect(),
            emails: self.destinations.names("email").into_iter().map(String::from).collect(),
            pinned: self.pinned.clone(),
            guarded: self.destinations.guarded(),
            limited: limited.map(|(name, settings)| (name.clone(), settings.place.clone())).collect(),
        }
    }
}

/// What reading came to: settings unless a fault is an error, all faults, and the text for rendering them.
pub struct Read {
    /// The settings, if they may be used.
    pub settings: Option<Settings>,
    /// Errors and warnings.
    pub faults: Vec<Diagnostic>,
    /// The file's text.
    pub text: Sources,
}

/// Reads `soard.yaml` in a content folder.
///
/// # Errors
/// When the file cannot be read at all.
pub fn read(dir: &Path) -> std::io::Result<Read> {
    let text = std::fs::read_to_string(dir.join(FILE))?;
    let mut faults = Faults::default();
    let settings = match node::parse(&Arc::from(FILE), &text) {
        Ok(node) => check(dir, &node, &mut faults),
        Err(fault) => {
            faults.push(*fault);
            None
        }
    };
    let usable = faults.found.iter().all(|fault| fault.gravity != Gravity::Error);
    Ok(Read {
        settings: settings.filter(|_| usable),
        faults: faults.found,
        text: Sources::from([(FILE.to_owned(), text)]),
    })
}

fn check(dir: &Path, node: &node::Node, faults: &mut Faults) -> Option<Settings> {
    let mut map = MapReader::new(node, "a map of settings", faults)?;
    let state = map.text("state", faults);
    let server = map.get("server").map(|node| http::read_server_settings(node, faults));
    let sources = map.get("sources").map(|node| sources::read_settings(node, faults)).unwrap_or_default();
    let exports = map.get("exports").map(|node| exports::read_exports(node, faults)).unwrap_or_default();
    let recipients = map.get("recipients").map(|node| read_recipients(node, faults)).unwrap_or_default();
    let destinations = destinations::read_settings(map.get("destinations"), map.get("playbooks"), recipients, faults);
    let mut journal = map.get("journal").and_then(|node| Policy::read(node, faults)).unwrap_or_default();
    journal.keys.iter_mut().for_each(|key| key.rebase(dir));
    let place = map.place();
    if sources.is_empty() {
        faults.push(
            Diagnostic::warning("no-sources", place.clone(), "no sources: nothing will ever arrive")
                .help("add `sources:`, for example `alerts: { folder: { path: alerts } }`"),
        );
    }
    if server.is_none() && sources.iter().any(|source| matches!(source.kind, sources::Kind::Http(_))) {
        let message = "an `http` source needs `server: { listen: … }`";
        faults.push(
            Diagnostic::error("no-server", place.clone(), message).help("add `server: { listen: 127.0.0.1:8477 }`"),
        );
    }
    map.finish(faults);
    let state = state_dir(dir, state.as_deref());
    let (destinations, exports) = (destinations.relative_to(dir), exports.relative_to(dir));
    let pinned = pinned(node);
    let mut settings = Settings { dir: dir.to_owned(), state, server, sources, journal, destinations, exports, pinned };
    for source in &mut settings.sources {
        source.rebase(dir);
    }
    Some(settings)
}

/// Every `format:` of a source, with its place, for the check against the bundle's formats.
fn pinned(node: &node::Node) -> Vec<(String, Place)> {
    let below = |node: &node::Node, key: &str| match &node.value {
        Value::Map(items) => items.iter().find(|(k, _)| k.text == key).map(|(_, item)| item.clone()),
        _ => None,
    };
    let Some(Value::Map(sources)) = below(node, "sources").map(|sources| sources.value) else { return Vec::new() };
    let formats = sources.iter().filter_map(|(_, source)| below(source, "format"));
    formats
        .filter_map(|format| match format.value {
            Value::Str(name) => Some((name, format.place)),
            _ => None,
        })
        .collect()
}

/// The state folder: as `soard.yaml` says, else systemd's `StateDirectory`, else `.soard` in the content folder.
pub fn state_dir(dir: &Path, configured: Option<&str>) -> PathBuf {
    match (configured, std::env::var_os("STATE_DIRECTORY")) {
        (Some(state), _) => dir.join(state),
        (None, Some(state)) => PathBuf::from(state),
        (None, None) => dir.join(".soard"),
    }
}

/// The control socket: in systemd's `RuntimeDirectory`, else in the state folder.
pub fn socket(state: &Path) -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| state.to_owned(), PathBuf::from).join("soard.sock")
}

/// The state folder that `soard.yaml` of a content folder says, as far as it can be read.
pub fn state_dir_of(dir: &Path) -> PathBuf {
    let text = std::fs::read_to_string(dir.join(FILE)).unwrap_or_default();
    let state = match node::parse(&Arc::from(FILE), &text) {
        Ok(node) => MapReader::new(&node, "", &mut Faults::default())
            .and_then(|mut map| map.text("state", &mut Faults::default())),
        Err(_) => None,
    };
    state_dir(dir, state.as_deref())
}

/// Reads a secret that the settings refer to.
///
/// # Errors
/// Words that name the reference, never its content.
pub fn secret(dir: &Path, reference: &SecretRef) -> Result<Secret, String> {
    let text = match reference {
        SecretRef::Env(name) => std::env::var(name).map_err(|error| format!("environment variable {name}: {error}"))?,
        SecretRef::File(path) => read_secret(&dir.join(path))?,
        SecretRef::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                format!("credential {name}: no CREDENTIALS_DIRECTORY; systemd sets it with LoadCredential=")
            })?;
            read_secret(&PathBuf::from(folder).join(name))?
        }
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("{reference} is empty"));
    }
    Ok(Secret::new(text.to_owned()))
}

fn read_secret(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("secret file {}: {error}", path.display()))
}
