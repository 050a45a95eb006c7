//! Links for one recipient of a mail: to acknowledge what it is about, and to get no more of its kind.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

use crate::actions::message::OwnLinks;
use crate::daemon::links::Links;
use crate::domain::id::{AlertId, BadId, GroupId, Trigger};

/// Where the pages behind these links are, below the server's public address.
pub const PATH: &str = "/mail";

/// How long an alert can be acknowledged by the link of a mail about it.
const ACKNOWLEDGE_DAYS: i64 = 7;

/// How long a mail's recipient can end such mails by its link; RFC 8058 wants more than a month.
const UNSUBSCRIBE_DAYS: i64 = 60;

/// What a recipient can do by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// Say that they look after it.
    Acknowledge,
    /// Get no more mails of this destination.
    Unsubscribe,
}

/// What a mail is about, with what it takes to find its alerts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// One alert.
    Alert(AlertId),
    /// A group, and the entry that names its alerts, written `g-17@1532`.
    Group(GroupId, u64),
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OwnLink {
    /// What it is for.
    pub offer: Offer,
    /// What is acknowledged, or the destination.
    pub about: String,
    /// The recipient's address, in base64url.
    pub to: String,
    /// Until when, in seconds since 1970.
    pub until: i64,
    /// That it is soard's own.
    pub mac: String,
}

impl Offer {
    /// The word in the link.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Unsubscribe => "unsubscribe",
        }
    }

    fn lasts(self, from: Timestamp) -> Timestamp {
        let days = match self {
            Self::Acknowledge => ACKNOWLEDGE_DAYS,
            Self::Unsubscribe => UNSUBSCRIBE_DAYS,
        };
        from.checked_add((days * 24).hours()).unwrap_or(Timestamp::MAX)
    }
}

impl About {
    /// What a run's mails are about.
    pub const fn of(trigger: Trigger, began: u64) -> Self {
        match trigger {
            Trigger::Alert(alert) | Trigger::Status(alert, _) => Self::Alert(alert),
            Trigger::Group(group) => Self::Group(group, began),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) => alert.fmt(f),
            Self::Group(group, entry) => write!(f, "{group}@{entry}"),
        }
    }
}

impl FromStr for About {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let group = || {
            let (group, entry) = text.split_once('@')?;
            Some(Self::Group(group.parse().ok()?, entry.parse().ok()?))
        };
        group().map_or_else(|| text.parse().map(Self::Alert), Ok)
    }
}

impl Links {
    /// The links of a mail for each of these recipients; none without a public address. With a destination it offers to get
    /// no more mails of that.
    pub fn own<'a>(
        &self,
        about: About,
        destination: Option<&str>,
        to: impl Iterator<Item = &'a str>,
        at: Timestamp,
    ) -> BTreeMap<String, OwnLinks> {
        let of = |to: &str| OwnLinks {
            acknowledge: self.own_url(Offer::Acknowledge, &about.to_string(), to, at),
            unsubscribe: destination.and_then(|name| self.own_url(Offer::Unsubscribe, name, to, at)),
        };
        to.map(|to| (to.to_owned(), of(to))).collect()
    }

    fn own_url(&self, offer: Offer, about: &str, to: &str, at: Timestamp) -> Option<String> {
        let until = offer.lasts(at).as_second() + 1;
        let to = BASE64URL_NOPAD.encode(to.as_bytes());
        let mac = self.sign(offer.as_str(), &[&about, &to, &until]);
        self.base.as_ref().map(|base| format!("{base}{PATH}/{}/{about}/{to}/{until}/{mac}", offer.as_str()))
    }

    /// The recipient that the link is for, if it is one of these.
    pub fn recipient(&self, link: &OwnLink) -> Option<String> {
        if !self.signed(link.offer.as_str(), &[&link.about, &link.to, &link.until], &link.mac) {
            return None;
        }
        String::from_utf8(BASE64URL_NOPAD.decode(link.to.as_bytes()).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(folder: &std::path::Path, journal: &str) -> Links {
        Links::open(folder, Some("https://soard.example.com".into()), journal).unwrap()
    }

    fn read(url: &str) -> OwnLink {
        let rest = url.strip_prefix("https://soard.example.com/mail/").unwrap();
        let parts: Vec<&str> = rest.split('/').collect();
        let [offer, about, to, until, mac] = parts[..] else { panic!("{url}") };
        let offer = if offer == "acknowledge" { Offer::Acknowledge } else { Offer::Unsubscribe };
        OwnLink { offer, about: about.into(), to: to.into(), until: until.parse().unwrap(), mac: mac.into() }
    }

    #[test]
    fn a_link_is_for_one_recipient_one_thing_and_one_time_of_one_journal() {
        let folder = tempfile::tempdir().unwrap();
        let links = links(folder.path(), "j");
        let at: Timestamp = "2030-01-01T00:00:00.5Z".parse().unwrap();
        let about = About::Group(GroupId(17), 1532);
        let of = |links: &Links| links.own(about, Some("oncall"), ["o'x/y@example.com"].into_iter(), at);
        let own = of(&links)["o'x/y@example.com"].clone();
        assert_eq!(of(&links)["o'x/y@example.com"], own, "a mail that is sent again is the same");
        let (acknowledge, unsubscribe) = (read(&own.acknowledge.unwrap()), read(&own.unsubscribe.unwrap()));
        assert_eq!((acknowledge.until - at.as_second(), &*acknowledge.about), (7 * 86_400 + 1, "g-17@1532"));
        assert_eq!((unsubscribe.until - at.as_second(), &*unsubscribe.about), (60 * 86_400 + 1, "oncall"));
        assert_eq!(acknowledge.about.parse::<About>().unwrap(), about);
        for good in [&acknowledge, &unsubscribe] {
            assert_eq!(links.recipient(good).as_deref(), Some("o'x/y@example.com"));
            let other = BASE64URL_NOPAD.encode(b"b@example.com");
            for forged in [
                OwnLink { about: "g-18@1532".into(), ..good.clone() },
                OwnLink { to: other, ..good.clone() },
                OwnLink { until: good.until + 1, ..good.clone() },
                OwnLink { mac: good.mac[1..].into(), ..good.clone() },
                OwnLink { mac: String::new(), ..good.clone() },
            ] {
                assert_eq!(links.recipient(&forged), None, "{forged:?}");
            }
            assert_eq!(super::tests::links(folder.path(), "another").recipient(good), None);
        }
        let turned = OwnLink { offer: Offer::Unsubscribe, ..acknowledge };
        assert_eq!(links.recipient(&turned), None, "a link to acknowledge ends no mails");
    }

    #[test]
    fn without_a_public_address_there_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(folder.path(), None, "j").unwrap();
        let about = About::Alert("a-1.0".parse().unwrap());
        let own = links.own(about, Some("oncall"), ["a@example.com"].into_iter(), Timestamp::UNIX_EPOCH);
        assert_eq!(own["a@example.com"], OwnLinks::default());
    }
}
