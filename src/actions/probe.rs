//! Asks a receiver whether it has done what an earlier attempt asked for, so that a request whose fate is unclear is
//! neither repeated blindly nor given up.

use std::time::Duration;

use reqwest::Url;

use crate::actions::settings::probe::{KEY, ProbeSettings};
use crate::actions::settings::webhook::check_url;
use crate::domain::effect::EffectKey;

/// The question of one destination, ready to be asked.
pub(super) struct Probe {
    /// With `{key}` where the effect's key goes.
    url: String,
    done: Vec<u16>,
    not_done: Vec<u16>,
    pub(super) timeout: Duration,
}

/// What a receiver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// The request took effect.
    Done,
    /// It did not, and may be sent.
    NotDone,
    /// Neither: it is at it, or cannot tell now.
    AskLater,
}

impl Probe {
    /// `url` is the question's, `target` the address that requests go to.
    pub(super) fn new(settings: &ProbeSettings, url: &str, target: &Url, timeout: Duration) -> Result<Self, String> {
        if !url.contains(KEY) {
            return Err(format!("the probe's URL lacks `{KEY}`"));
        }
        // What may be reached without encryption was decided for the target already.
        let asked = check_url(&url.replace(KEY, "key"), true).map_err(|(message, _)| format!("probe: {message}"))?;
        if asked.origin() != target.origin() {
            return Err("the probe asks another server than the one that gets the requests".into());
        }
        let timeout = settings.timeout.map_or(timeout, |timeout| timeout.duration());
        Ok(Self { url: url.into(), done: settings.done.clone(), not_done: settings.not_done.clone(), timeout })
    }

    /// Where to ask about this effect.
    pub(super) fn url(&self, key: &EffectKey) -> Url {
        let url = Url::parse(&self.url.replace(KEY, key.as_str()));
        url.expect("it parsed with another word in the key's place, and a key is letters and digits")
    }

    /// What an answer with this status means.
    pub(super) fn says(&self, status: u16) -> Says {
        match status {
            status if self.done.contains(&status) => Says::Done,
            status if self.not_done.contains(&status) => Says::NotDone,
            _ => Says::AskLater,
        }
    }
}
