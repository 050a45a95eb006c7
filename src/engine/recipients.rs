//! Recipients: which addresses want no mails, and what orders do about it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Severity;
use crate::domain::recipient::{ADDRESS_BYTES_MAX, RecipientOrder, UNSUBSCRIBED_MAX, Unsubscribed, folded, which};
use crate::engine::brakes::Windows;

/// What is kept of recipients, by address in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipients {
    unsubscribed: BTreeMap<String, Vec<Unsubscribed>>,
    /// What counts for the caps of addresses, by severity and address.
    #[serde(default)]
    pub(crate) sent: Windows,
}

/// Why an order about an address is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It gets none anyway.
    #[error(
        "{address} is unsubscribed from {} since {:.0} by {}; nothing was recorded",
        which(told.destination.as_deref()), told.since, told.by
    )]
    Unsubscribed {
        /// The address.
        address: String,
        /// What it does not get.
        told: Box<Unsubscribed>,
    },
    /// It gets them anyway.
    #[error("{address} is not unsubscribed from {}; nothing was recorded", which(destination.as_deref()))]
    Subscribed {
        /// The address.
        address: String,
        /// From what it is not.
        destination: Option<String>,
    },
    /// One destination is not to be had while it wants none at all.
    #[error("{0} is unsubscribed from all mails, and can be subscribed to all of them only: leave the destination out")]
    All(String),
    /// It is no address.
    #[error("{0:?} is no mail address")]
    NoAddress(String),
    /// There are too many.
    #[error("{UNSUBSCRIBED_MAX} addresses are unsubscribed already")]
    TooMany,
}

impl Recipients {
    /// What an address does not get.
    pub fn unsubscribed(&self, address: &str) -> &[Unsubscribed] {
        self.unsubscribed.get(&folded(address)).map_or(&[], Vec::as_slice)
    }

    /// The addresses that something is known of.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let counted = self.sent.names().filter_map(|key| Some(key.split_once(' ')?.1));
        self.unsubscribed.keys().map(String::as_str).chain(counted)
    }

    /// Whether an address gets no mails of a destination.
    pub fn is_unsubscribed(&self, address: &str, destination: &str) -> bool {
        let all = self.unsubscribed(address);
        all.iter().any(|told| told.destination.as_deref().is_none_or(|from| from == destination))
    }

    /// How many mails of this severity count for an address now, and until when.
    pub fn counted(&self, address: &str, severity: Severity, at: Timestamp) -> Option<(u64, Timestamp)> {
        self.sent.open(&cap_key(severity, address), at)
    }

    /// The order that stops mails to an address.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn unsubscribe(
        &self,
        address: &str,
        destination: Option<String>,
        link: bool,
    ) -> Result<RecipientOrder, Refusal> {
        let address = folded(address);
        let is_address = address.len() <= ADDRESS_BYTES_MAX && address.contains('@');
        if !is_address || address.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(Refusal::NoAddress(address.chars().take(ADDRESS_BYTES_MAX).collect()));
        }
        let covers = |told: &&Unsubscribed| told.destination.is_none() || told.destination == destination;
        if let Some(told) = self.unsubscribed(&address).iter().find(covers) {
            return Err(Refusal::Unsubscribed { address, told: Box::new(told.clone()) });
        }
        if self.unsubscribed.len() >= UNSUBSCRIBED_MAX && !self.unsubscribed.contains_key(&address) {
            return Err(Refusal::TooMany);
        }
        Ok(RecipientOrder::Unsubscribe { address, destination, link })
    }

    /// The order that lets mails to an address go out again.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn subscribe(&self, address: &str, destination: Option<String>) -> Result<RecipientOrder, Refusal> {
        let address = folded(address);
        let all = self.unsubscribed(&address);
        if all.is_empty() {
            return Err(Refusal::Subscribed { address, destination });
        }
        if destination.is_some() && !all.iter().any(|told| told.destination == destination) {
            let from_all = all.iter().any(|told| told.destination.is_none());
            return Err(if from_all { Refusal::All(address) } else { Refusal::Subscribed { address, destination } });
        }
        Ok(RecipientOrder::Subscribe { address, destination })
    }

    /// Applies an order.
    pub(crate) fn apply(&mut self, at: Timestamp, order: &RecipientOrder, by: &str, comment: &str) {
        match order {
            RecipientOrder::Unsubscribe { address, destination, link } => {
                let told = self.unsubscribed.entry(address.clone()).or_default();
                let (destination, by, comment) = (destination.clone(), by.to_owned(), comment.to_owned());
                // Who wants none at all need not be known to want none of one destination.
                told.retain(|_| destination.is_some());
                told.push(Unsubscribed { destination, since: at, by, comment, link: *link });
            }
            RecipientOrder::Subscribe { address, destination } => {
                let Some(told) = self.unsubscribed.get_mut(address) else { return };
                told.retain(|told| destination.is_some() && told.destination != *destination);
                if told.is_empty() {
                    self.unsubscribed.remove(address);
                }
            }
        }
    }
}

/// What the window of an address is found by. Informational mails count as low ones.
pub(crate) fn cap_key(severity: Severity, address: &str) -> String {
    format!("{} {}", severity.max(Severity::Low), folded(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(recipients: &mut Recipients, order: Result<RecipientOrder, Refusal>) {
        recipients.apply(Timestamp::UNIX_EPOCH, &order.unwrap(), "ann", "on leave");
    }

    #[test]
    fn an_address_is_unsubscribed_from_a_destination_or_from_all_and_comes_back() {
        let mut known = Recipients::default();
        let (oncall, all) = (Some("oncall".to_owned()), None);
        let order = known.unsubscribe(" Ann@Example.com", oncall.clone(), false);
        done(&mut known, order);
        assert!(known.is_unsubscribed("ann@example.com", "oncall") && !known.is_unsubscribed("ann@example.com", "soc"));
        let refused = known.unsubscribe("ann@example.com", oncall.clone(), false).unwrap_err().to_string();
        assert!(refused.starts_with("ann@example.com is unsubscribed from mails of oncall since 1970"), "{refused}");
        let refused = known.subscribe("ann@example.com", Some("soc".into())).unwrap_err().to_string();
        assert!(refused.contains("is not unsubscribed from mails of soc"), "{refused}");

        let order = known.unsubscribe("ann@example.com", all.clone(), true);
        done(&mut known, order);
        assert!(known.is_unsubscribed("ANN@example.com", "soc"));
        assert_eq!(known.unsubscribed("ann@example.com").len(), 1, "all of it holds the one");
        let refused = known.subscribe("ann@example.com", oncall).unwrap_err().to_string();
        assert!(refused.contains("leave the destination out"), "{refused}");
        let order = known.subscribe("ann@example.com", all);
        done(&mut known, order);
        assert_eq!(known, Recipients::default());
        assert!(known.subscribe("ann@example.com", None).is_err());
        for wrong in ["ann", "an n@example.com", "a@b\r\nRCPT TO:<x@y>"] {
            assert!(matches!(known.unsubscribe(wrong, None, true), Err(Refusal::NoAddress(_))), "{wrong}");
        }
    }
}
