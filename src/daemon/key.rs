//! The key that signs the journal's checkpoints: where it lies, how it begins and how it is changed.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::daemon::settings::{self, Settings};
use crate::domain::secret::Secret;
use crate::journal::checkpoint::origin;
use crate::journal::note::Signer;

/// Name of soard's own key file in the state folder.
pub const FILE: &str = "journal.key";

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A configured key cannot be read.
    #[error("the journal's key: {0}")]
    Secret(String),
    /// It is no key.
    #[error(
        "{place} holds no key to sign with; write one line PRIVATE+KEY+NAME+ID+BASE64, or remove it and restore the one from your backup"
    )]
    Bad {
        /// Where it lies.
        place: String,
    },
    /// The key file cannot be read or written.
    #[error("cannot use the key file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The journal is signed by a key that is not there.
    #[error(
        "the journal is signed by {recorded}, and that key is not at hand: restore {FILE} in the state folder, or name the \
         old key after the new one in `journal: {{ key: [new, old] }}`, so that it can vouch for its successor"
    )]
    Lost {
        /// Its public half.
        recorded: String,
    },
    /// The key is not soard's to change.
    #[error(
        "the key is set in soard.yaml: put the new one before the old one there, `journal: {{ key: [new, old] }}`, and restart"
    )]
    Configured,
}

/// The keys at hand, the one in charge first, and whether the journal has to record a new one.
#[derive(Debug)]
pub struct Keys {
    /// The one that shall sign, then the one that it replaces where that has still to vouch for it.
    pub signers: Vec<Signer>,
    /// The first of them is not on record yet.
    pub is_new: bool,
}

impl Keys {
    /// Reads the configured keys, else soard's own, which is made when there is none.
    ///
    /// # Errors
    /// When a key cannot be read, or the one that the journal names is not among them.
    pub fn open(settings: &Settings, journal: &str, recorded: &str) -> Result<Self, KeyError> {
        let mut signers = if settings.journal.keys.is_empty() {
            own(&settings.state, journal, recorded)?
        } else {
            configured(settings)?
        };
        let known = signers.iter().position(|signer| signer.verifier().to_string() == recorded);
        match known {
            Some(0) => signers.truncate(2),
            Some(at) => {
                signers.swap(1, at);
                signers.truncate(2);
            }
            None if recorded.is_empty() => signers.truncate(1),
            None => return Err(KeyError::Lost { recorded: recorded.to_owned() }),
        }
        Ok(Self { signers, is_new: known != Some(0) })
    }

    /// Makes a new key beside the old one.
    ///
    /// # Errors
    /// When the key is configured, or the file cannot be written.
    pub fn renew(settings: &Settings, journal: &str, recorded: &str) -> Result<Self, KeyError> {
        if !settings.journal.keys.is_empty() {
            return Err(KeyError::Configured);
        }
        let path = settings.state.join(FILE);
        let old = own(&settings.state, journal, recorded)?;
        let old = old.into_iter().find(|signer| signer.verifier().to_string() == recorded);
        let old = old.ok_or_else(|| KeyError::Lost { recorded: recorded.to_owned() })?;
        let new = make(journal, &path)?;
        write(&path, &[&new, &old])?;
        Ok(Self { signers: vec![new, old], is_new: true })
    }

    /// The old key has vouched for the new one and is not needed any more.
    ///
    /// # Errors
    /// When soard's own key file cannot be written.
    pub fn settle(settings: &Settings, journal: &str, recorded: &str) -> Result<(), KeyError> {
        if !settings.journal.keys.is_empty() {
            return Ok(());
        }
        let mut keys = own(&settings.state, journal, recorded)?;
        keys.retain(|signer| signer.verifier().to_string() == recorded);
        write(&settings.state.join(FILE), &keys.iter().collect::<Vec<_>>())
    }
}

/// The keys at hand as far as they can be read: the configured ones, else soard's own.
pub fn at_hand(settings: &Settings) -> Vec<Signer> {
    if settings.journal.keys.is_empty() {
        own_at_hand(&settings.state)
    } else {
        configured(settings).unwrap_or_default()
    }
}

/// soard's own keys in a state folder, as far as they can be read.
pub fn own_at_hand(state: &Path) -> Vec<Signer> {
    let text = fs::read_to_string(state.join(FILE)).unwrap_or_default();
    text.lines().filter_map(|line| Signer::parse(&Secret::new(line)).ok()).collect()
}

fn configured(settings: &Settings) -> Result<Vec<Signer>, KeyError> {
    let read = |reference| {
        let text = settings::secret(&settings.dir, reference).map_err(KeyError::Secret)?;
        Signer::parse(&text).map_err(|_| KeyError::Bad { place: reference.to_string() })
    };
    settings.journal.keys.iter().map(read).collect()
}

fn own(state: &Path, journal: &str, recorded: &str) -> Result<Vec<Signer>, KeyError> {
    let path = state.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let keys = text.lines().map(|line| Signer::parse(&Secret::new(line)));
            let keys: Result<Vec<Signer>, _> = keys.collect();
            let keys = keys.ok().filter(|keys| !keys.is_empty());
            keys.ok_or_else(|| KeyError::Bad { place: path.display().to_string() })
        }
        // A key that is lost is never replaced silently.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && recorded.is_empty() => {
            let signer = make(journal, &path)?;
            write(&path, &[&signer])?;
            Ok(vec![signer])
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(KeyError::Lost { recorded: recorded.to_owned() }),
        Err(cause) => Err(KeyError::File { path, cause }),
    }
}

fn make(journal: &str, path: &Path) -> Result<Signer, KeyError> {
    let mut seed = [0; 32];
    let no_random =
        |error: getrandom::Error| KeyError::File { path: path.to_owned(), cause: io::Error::other(error.to_string()) };
    getrandom::fill(&mut seed).map_err(no_random)?;
    Signer::new(&origin(journal), seed).map_err(|_| KeyError::Bad { place: "the new key".into() })
}

/// Writes the file whole or not at all, readable by its owner alone.
fn write(path: &Path, signers: &[&Signer]) -> Result<(), KeyError> {
    let unfinished = path.with_extension("key.tmp");
    let make = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        for signer in signers {
            writeln!(file, "{}", signer.secret().expose())?;
        }
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    make().map_err(|cause| KeyError::File { path: path.to_owned(), cause })
}
