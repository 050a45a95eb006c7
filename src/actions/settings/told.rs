//! How a destination is set up, in words for people; secrets are named by where they lie, and never told.

use std::collections::BTreeMap;

use crate::actions::settings::brakes::BrakeSettings;
use crate::actions::settings::email::{EmailSettings, Tls, Transport};
use crate::actions::settings::webhook::{Login, Text, WebhookSettings};
use crate::actions::settings::{Destination, Target};
use crate::domain::brakes::{Limit, Release};
use crate::domain::effect::Mode;

impl Destination {
    /// How it is set up.
    pub fn told(&self) -> BTreeMap<String, String> {
        let mut told = BTreeMap::from([
            ("mode".to_owned(), mode(self.mode).to_owned()),
            ("at a time".to_owned(), self.concurrency.to_string()),
            (
                "breaker".to_owned(),
                format!("opens after {} failures in a row, for {}", self.breaker.failures, self.breaker.open),
            ),
        ]);
        if let Some(BrakeSettings { limit, guarded, release: Release { by, deadline } }) = &self.brakes {
            let limit = limit.map(|Limit { at_most, within }| format!("{at_most} within {within}"));
            told.extend(limit.map(|limit| ("limit".to_owned(), limit)));
            if guarded.is_some() {
                told.insert("guard".to_owned(), "what lists/never_touch names waits".to_owned());
            }
            told.insert("released by".to_owned(), format!("{} within {deadline}", by.join(" or ")));
        }
        match &self.target {
            Target::Webhook(webhook) => told.extend(of_webhook(webhook)),
            Target::Email(email) => told.extend(of_email(email)),
        }
        told
    }
}

pub(super) fn of_webhook(webhook: &WebhookSettings) -> Vec<(String, String)> {
    let login = webhook.login.as_ref().map(|login| match login {
        Login::Bearer(secret) => format!("a bearer token from {secret}"),
        Login::Basic { username, password } => format!("{username}, with a password from {password}"),
    });
    let mut told = vec![
        ("url".into(), url(&webhook.url)),
        ("method".into(), webhook.method.to_string()),
        ("time-out".into(), webhook.timeout.to_string()),
    ];
    told.extend(login.map(|login| ("login".into(), login)));
    if !webhook.secrets.is_empty() {
        let secrets: Vec<String> = webhook.secrets.iter().map(ToString::to_string).collect();
        told.push(("signed with".into(), secrets.join(", ")));
    }
    told.extend(webhook.ca.as_ref().map(|ca| ("certificates".into(), ca.display().to_string())));
    told
}

fn of_email(email: &EmailSettings) -> Vec<(String, String)> {
    let to: Vec<String> = email.to.iter().map(ToString::to_string).collect();
    let mut told = vec![("from".into(), email.from.to_string()), ("to".into(), to.join(", "))];
    if email.to_owner {
        told.push(("to owner".into(), "instead, where the list `owners` names one with an address".into()));
    }
    if !email.unsubscribe {
        told.push(("unsubscribe".into(), "its mails have no link for it".into()));
    }
    told.extend(email.reply_to.as_ref().map(|reply_to| ("reply to".into(), reply_to.to_string())));
    match &email.transport {
        Transport::Folder(path) => told.push(("folder".into(), path.display().to_string())),
        Transport::Smtp(smtp) => {
            let tls = match smtp.tls {
                Tls::None => "not encrypted",
                Tls::Starttls => "STARTTLS",
                Tls::Implicit => "TLS",
            };
            told.push(("server".into(), format!("{}:{}, {tls}", smtp.host, smtp.port)));
            let login = smtp.login.as_ref().map(|(name, password)| format!("{name}, with a password from {password}"));
            told.extend(login.map(|login| ("login".into(), login)));
        }
    }
    told
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::AtLeastOnce => "at_least_once",
        Mode::AtMostOnce => "at_most_once",
        Mode::Probe => "probe",
    }
}

/// Up to the path, which may hold a key.
fn url(text: &Text) -> String {
    match text {
        Text::Secret(secret) => format!("from {secret}"),
        Text::Plain(plain) => {
            let from = plain.find("://").map_or(0, |at| at + 3);
            let path = plain[from..].find(['/', '?']).map_or(plain.len(), |at| from + at);
            let rest = if plain.len() > path + 1 { "/…" } else { "" };
            format!("{}{rest}", &plain[..path])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_without_what_may_be_a_key() {
        for (written, told) in [
            ("https://hooks.example.com/services/T0/B1/key", "https://hooks.example.com/…"),
            ("http://127.0.0.1:8478", "http://127.0.0.1:8478"),
            ("http://127.0.0.1:8478/", "http://127.0.0.1:8478"),
            ("https://h.example.com?key=1", "https://h.example.com/…"),
        ] {
            assert_eq!(url(&Text::Plain(written.into())), told);
        }
    }
}
