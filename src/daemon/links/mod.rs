//! Links in mails: whoever holds one may do the one thing that it says, until it expires.
//!
//! A link holds what it is for and about, and until when, and an HMAC-SHA256 over that and the journal's random id, so that
//! none can be made up and none of an earlier journal fits. The key lies in the state folder; the links stand nowhere. Here are
//! those of an approval, which decide it; [`own`] has those that are for one recipient alone.

mod key;
pub mod own;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;

use crate::daemon::settings::Settings;
use crate::domain::approval::{ApprovalRequest, Choice};
use crate::domain::effect::EmailRequest;
use crate::domain::id::ApprovalId;

/// Where the pages behind the links are, below the server's public address.
pub const PATH: &str = "/decide";

/// Name of the mail template.
const TEMPLATE: &str = "approval";

/// The key, in the state folder.
const FILE: &str = "links.key";

/// Bytes of a link's HMAC that are kept.
const MAC_BYTES: usize = 20;

/// Makes links and knows its own.
pub struct Links {
    /// What people's browsers reach the server by; without it no links are mailed.
    base: Option<String>,
    journal: String,
    mac: Hmac<Sha256>,
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Link {
    /// The approval.
    pub id: ApprovalId,
    /// How it is decided.
    pub choice: Choice,
    /// Until when, in seconds since 1970.
    pub until: i64,
    /// That it is soard's own.
    pub mac: String,
}

/// The key cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[error("use the key for links in mails, {}: {cause}", path.display())]
pub struct LinksError {
    path: PathBuf,
    cause: io::Error,
}

impl Links {
    /// Of a daemon with these settings.
    ///
    /// # Errors
    /// As [`Links::open`].
    pub fn of(settings: &Settings, journal: &str) -> Result<Self, LinksError> {
        let public_url = settings.server.as_ref().and_then(|server| server.public_url.clone());
        Self::open(&settings.state, public_url, journal)
    }

    /// With the key of the state folder, which is made when there is none.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn open(state: &Path, base: Option<String>, journal: &str) -> Result<Self, LinksError> {
        let path = state.join(FILE);
        let key = key::read(&path).map_err(|cause| LinksError { path, cause })?;
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
        Ok(Self { base, journal: journal.to_owned(), mac })
    }

    /// The mail that tells people of a question.
    pub fn mail(&self, request: &ApprovalRequest) -> EmailRequest {
        let link = |choice| request.id.and_then(|id| self.url(id, choice, request.until));
        let approval = json!({
            "id": request.id,
            "question": request.question,
            "by": request.by,
            "until": request.until,
            "otherwise": request.otherwise,
            "approve_url": link(Choice::Approve),
            "deny_url": link(Choice::Deny),
        });
        EmailRequest {
            destination: request.notify.clone().unwrap_or_default(),
            template: TEMPLATE.into(),
            subject: None,
            data: [("approval".to_owned(), approval)].into_iter().collect(),
        }
    }

    fn url(&self, id: ApprovalId, choice: Choice, until: Timestamp) -> Option<String> {
        // The deadline itself is kept by the core; the link's is the next whole second.
        let until = until.as_second() + 1;
        let mac = self.sign("approval", &[&id, &choice, &until]);
        self.base.as_ref().map(|base| format!("{base}{PATH}/{id}/{choice}/{until}/{mac}"))
    }

    /// Whether the link is one of these; the comparison takes the same time whatever differs.
    pub fn made(&self, link: &Link) -> bool {
        self.signed("approval", &[&link.id, &link.choice, &link.until], &link.mac)
    }

    /// What shows that a link of this kind, with these parts, is soard's own.
    fn sign(&self, kind: &str, parts: &[&dyn Display]) -> String {
        let mac = self.hmac(kind, parts).finalize().into_bytes();
        BASE32_NOPAD.encode(&mac[..MAC_BYTES]).to_ascii_lowercase()
    }

    fn signed(&self, kind: &str, parts: &[&dyn Display], mac: &str) -> bool {
        let given = BASE32_NOPAD.decode(mac.to_ascii_uppercase().as_bytes()).unwrap_or_default();
        given.len() == MAC_BYTES && self.hmac(kind, parts).verify_truncated_left(&given).is_ok()
    }

    /// No part holds a line end, so no two links are signed alike.
    fn hmac(&self, kind: &str, parts: &[&dyn Display]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(format!("{kind} link v1\n{}", self.journal).as_bytes());
        parts.iter().for_each(|part| mac.update(format!("\n{part}").as_bytes()));
        mac
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn links(state: &Path, journal: &str) -> Links {
        Links::open(state, Some("https://soard.example.com".into()), journal).unwrap()
    }

    fn read(url: &str) -> Link {
        let rest = url.strip_prefix("https://soard.example.com/decide/").unwrap();
        let parts: Vec<&str> = rest.split('/').collect();
        let [id, choice, until, mac] = parts[..] else { panic!("{url}") };
        Link {
            id: id.parse().unwrap(),
            choice: choice.parse().unwrap(),
            until: until.parse().unwrap(),
            mac: mac.into(),
        }
    }

    #[test]
    fn a_link_is_good_for_one_approval_one_choice_and_one_deadline_of_one_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (id, until) = (ApprovalId(3), "2030-01-01T00:00:00.5Z".parse().unwrap());
        let url = links(folder.path(), "j").url(id, Choice::Approve, until).unwrap();
        let again = links(folder.path(), "j");
        assert_eq!(again.url(id, Choice::Approve, until).unwrap(), url, "a mail that is sent again is the same");
        let good = read(&url);
        assert!(again.made(&good) && good.until == until.as_second() + 1);
        let mut flipped = good.mac.clone().into_bytes();
        flipped[0] = if flipped[0] == b'a' { b'b' } else { b'a' };
        for forged in [
            Link { id: ApprovalId(4), ..good.clone() },
            Link { choice: Choice::Deny, ..good.clone() },
            Link { until: good.until + 1, ..good.clone() },
            Link { mac: String::from_utf8(flipped).unwrap(), ..good.clone() },
            Link { mac: good.mac[..8].into(), ..good.clone() },
            Link { mac: String::new(), ..good.clone() },
        ] {
            assert!(!again.made(&forged), "{forged:?}");
        }
        assert!(!links(folder.path(), "another journal").made(&good));
        fs::remove_file(folder.path().join(FILE)).unwrap();
        assert!(!links(folder.path(), "j").made(&good), "another key");
    }

    #[test]
    fn without_a_public_address_the_mail_has_no_links() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(folder.path(), None, "j").unwrap();
        let request = json!({ "id": "ap-1", "question": "Isolate?", "by": ["admin"], "until": "2030-01-01T00:00:00Z",
                              "otherwise": "deny", "notify": "oncall" });
        let mail = links.mail(&serde_json::from_value(request).unwrap());
        assert_eq!((&*mail.destination, &*mail.template), ("oncall", "approval"));
        assert_eq!(
            (&mail.data["approval"]["id"], &mail.data["approval"]["approve_url"]),
            (&json!("ap-1"), &json!(null))
        );
    }

    #[test]
    fn a_key_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "short\n").unwrap();
        let error = Links::open(folder.path(), None, "j").err().unwrap().to_string();
        assert!(error.contains("links.key") && error.contains("delete it"), "{error}");
    }
}
