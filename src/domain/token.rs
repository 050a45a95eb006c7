//! Tokens: who may do what over HTTP. A token is known by its hash alone.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::UnknownWord;
use crate::domain::time::Span;

/// Tokens that are not revoked.
pub const TOKENS_MAX: usize = 1_000;

/// Longest name of a token.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest life of a token, in days.
pub const LASTS_DAYS_MAX: u64 = 3_650;

/// Longest life of a token.
pub const LASTS_MAX: Span = Span::from_secs(LASTS_DAYS_MAX * 24 * 3600);

/// What a token's owner may do; those after `source` include the ones before them, but for `source` itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Send records to http sources, and nothing else.
    Source,
    /// Read.
    Viewer,
    /// Change alerts, make silences, look after runs and deliveries.
    Operator,
    /// Approve what playbooks ask people for.
    Approver,
    /// Everything else: tokens, reloads, keys.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Source, Self::Viewer, Self::Operator, Self::Approver, Self::Admin];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// Whether it may do what needs this role. Sending records takes `source` itself: a token that lies on other hosts
    /// can do nothing else, and one that can do more lies nowhere else.
    pub fn may(self, needs: Self) -> bool {
        if self == Self::Source || needs == Self::Source { self == needs } else { self >= needs }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == word);
        found.ok_or_else(|| UnknownWord { word: word.into() })
    }
}

/// A token, but for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// What its owner may do.
    pub role: Role,
    /// SHA-256 of the token, in hex.
    pub sha256: String,
    /// Who made it.
    pub by: String,
    /// When.
    pub made: Timestamp,
    /// From when on it is refused.
    pub expires: Timestamp,
    /// When an operator revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// What an operator orders about tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenOrder {
    /// A new one is valid from now on.
    Add {
        /// Whose it is.
        name: String,
        /// What its owner may do.
        role: Role,
        /// SHA-256 of the token, in hex.
        sha256: String,
        /// From when on it is refused.
        expires: Timestamp,
    },
    /// One is refused from now on.
    Revoke {
        /// Whose it is.
        name: String,
    },
}

/// Who asks, once a token or the kernel says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name of the token, or of the user at the control socket.
    pub name: String,
    /// What may be done.
    pub role: Role,
    /// Where the request came from, over a network.
    pub address: Option<String>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token, or more than one, or not as a bearer token.
    #[error("no token was sent")]
    Missing,
    /// Nobody's token.
    #[error("nobody has this token")]
    Unknown,
    /// Too old.
    #[error("the token `{name}` expired at {at}")]
    Expired {
        /// Whose it is.
        name: String,
        /// When.
        at: Timestamp,
    },
    /// Taken back.
    #[error("the token `{name}` was revoked at {at}")]
    Revoked {
        /// Whose it is.
        name: String,
        /// When.
        at: Timestamp,
    },
    /// Good, but not for this.
    #[error("the token `{name}` has the role {role}; this takes {needs}")]
    Role {
        /// Whose it is.
        name: String,
        /// Its role.
        role: Role,
        /// The role that is needed.
        needs: Role,
    },
}

/// Whether the text can name a token: `[a-z0-9][a-z0-9_.-]{0,63}`.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    first && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_the_ones_below_them_but_sources_stand_apart() {
        let may = |role: Role| Role::ALL.map(|needs| role.may(needs));
        assert_eq!(may(Role::Source), [true, false, false, false, false]);
        assert_eq!(may(Role::Viewer), [false, true, false, false, false]);
        assert_eq!(may(Role::Operator), [false, true, true, false, false]);
        assert_eq!(may(Role::Approver), [false, true, true, true, false]);
        assert_eq!(may(Role::Admin), [false, true, true, true, true]);
    }

    #[test]
    fn names_are_fit_for_paths() {
        for (text, fits) in
            [("ci", true), ("edr-1.prod", true), ("", false), ("Ann", false), (".x", false), ("a/b", false)]
        {
            assert_eq!(is_name(text), fits, "{text}");
        }
    }
}
