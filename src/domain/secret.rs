//! Secrets, and the references by which `soard.yaml` names them.

use std::fmt;
use std::path::{Path, PathBuf};

/// A password, token or key. It cannot be printed: `Debug` shows a placeholder and there is no `Display`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text from being printed by accident.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is to be read from; `soard.yaml` never holds one itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// The content of a file, without its last line end.
    File(PathBuf),
    /// A systemd credential, by name: a file below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An environment variable, by name.
    Env(String),
}

impl SecretRef {
    /// Takes a relative path as relative to `folder`: that of `soard.yaml`.
    pub fn rebase(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            *path = folder.join(&*path);
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
        assert_eq!(secret.expose(), "hunter2");
    }
}
