//! Recipients: who gets mails, and who does not want any.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest mail address, in bytes (RFC 5321, 4.5.3.1).
pub const ADDRESS_BYTES_MAX: usize = 320;

/// Addresses that want no mails, at a time.
pub const UNSUBSCRIBED_MAX: usize = 100_000;

/// An address as soard tells addresses apart: without regard to case.
pub fn folded(address: &str) -> String {
    address.trim().to_ascii_lowercase()
}

/// Whom a mail is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Addressee {
    /// The address, as written.
    pub address: String,
    /// The name that stands beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Mails that an address does not get, since when, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribed {
    /// Those of this destination; all, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub comment: String,
    /// It was ordered by a link in a mail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub link: bool,
}

/// What is ordered about an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecipientOrder {
    /// From now on it gets no mails.
    Unsubscribe {
        /// The address, in lower case.
        address: String,
        /// None of this destination; none at all, when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination: Option<String>,
        /// Somebody followed a link in a mail.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        link: bool,
    },
    /// From now on it gets them again.
    Subscribe {
        /// The address, in lower case.
        address: String,
        /// Those of this destination; all of them, when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination: Option<String>,
    },
}

/// What an order is about, as the rest of a sentence.
pub fn which(destination: Option<&str>) -> String {
    destination.map_or_else(|| "all mails".to_owned(), |name| format!("mails of {name}"))
}
