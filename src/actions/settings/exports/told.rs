//! How an export is set up, in words for people; secrets are named by where they lie, and never told.

use std::collections::BTreeMap;

use crate::actions::settings::exports::Export;
use crate::actions::settings::exports::peer::PeerSettings;
use crate::actions::settings::told::of_webhook;

impl Export {
    /// How it is set up.
    pub fn told(&self) -> BTreeMap<String, String> {
        let what = match (self.alerts, self.changes) {
            (true, false) => "alerts",
            (false, true) => "changes",
            _ => "alerts and changes",
        };
        let mut told = BTreeMap::from([
            ("format".to_owned(), self.format.to_string()),
            ("what".to_owned(), format!("{what}, {} and above", self.at_least)),
            ("keep for".to_owned(), self.keep_for.to_string()),
        ]);
        if !self.kinds.is_empty() {
            let kinds: Vec<String> = self.kinds.iter().map(ToString::to_string).collect();
            told.insert("kinds".into(), kinds.join(", "));
        }
        told.extend(self.snapshot.as_ref().map(|calendar| ("snapshot".to_owned(), calendar.to_string())));
        match &self.peer {
            PeerSettings::File(file) => {
                told.insert("file".into(), file.path.display().to_string());
                told.insert("set aside".into(), format!("at {}, {} are kept", file.size, file.keep));
            }
            PeerSettings::Http(http) => {
                told.extend(of_webhook(&http.webhook));
                told.extend(http.gzip.then(|| ("bodies".to_owned(), "gzip".to_owned())));
            }
            PeerSettings::Syslog(syslog) => {
                let tls = if syslog.tls { "TLS" } else { "not encrypted" };
                told.insert("server".into(), format!("{}:{}, {tls}", syslog.host, syslog.port));
                told.insert("messages".into(), format!("at most {} bytes", syslog.message_bytes_max));
                told.extend(syslog.ca.as_ref().map(|ca| ("certificates".to_owned(), ca.display().to_string())));
            }
        }
        told
    }
}
