//! The entries that a daemon's life begins with: what was recovered, that it opened, who signs, which bundle decides.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::daemon::bundle::Bundle;
use crate::daemon::core::Message;
use crate::daemon::key::Keys;
use crate::daemon::settings::Settings;
use crate::daemon::{DaemonError, GRACE};
use crate::domain::entry::Log;
use crate::engine::input::Input;
use crate::journal::Recovery;
use crate::journal::checkpoint::origin;
use crate::journal::notary::Notary;
use crate::sources::intake::Answer;

/// The first entries of a daemon's life, durable before anything else happens.
///
/// # Errors
/// When the journal does not take them.
pub async fn open(
    core: &mpsc::Sender<Message>,
    journal: String,
    recovery: Recovery,
    bundle: Option<Arc<Bundle>>,
) -> Result<(), DaemonError> {
    let refused = || DaemonError::Fatal("the journal does not take the first entries".into());
    let opened = Log::Opened { journal, version: env!("CARGO_PKG_VERSION").into() };
    let torn = recovery.torn.into_iter();
    let torn = torn.map(|torn| Log::Recovered { bytes: torn.bytes, sha256: torn.sha256, file: torn.file });
    for log in torn.chain([opened]) {
        record(core, log).await.ok_or_else(refused)?;
    }
    if let Some(bundle) = bundle {
        let (done, durable) = oneshot::channel();
        core.send(Message::Swap(bundle, done)).await.map_err(|_| refused())?;
        durable.await.map_err(|_| refused())?;
    }
    Ok(())
}

/// Puts an entry about the journal itself on record; its number, once it is durable.
pub async fn record(core: &mpsc::Sender<Message>, log: Log) -> Option<u64> {
    let (to, durable) = oneshot::channel();
    core.send(Message::Input(Input::Log(log), Some(to))).await.ok()?;
    match durable.await {
        Ok(Answer::Accepted { seq, .. }) => Some(seq),
        _ => None,
    }
}

/// Names the key on record where it is new, and lets it sign from now on.
///
/// # Errors
/// When the journal does not take the key's entry, or soard's own key file cannot be written.
pub async fn sign(
    core: &mpsc::Sender<Message>,
    notary: &Notary,
    settings: &Settings,
    journal: &str,
    replaced: &str,
    keys: Keys,
) -> Result<String, DaemonError> {
    let Keys { signers, is_new } = keys;
    let verifier = signers.first().map(|signer| signer.verifier().to_string()).unwrap_or_default();
    if is_new {
        let replaces = (!replaced.is_empty()).then(|| replaced.to_owned());
        let key = Log::Key { verifier: verifier.clone(), replaces };
        record(core, key).await.ok_or_else(|| DaemonError::Fatal("the journal does not take its key".into()))?;
        tracing::info!(verifier, "a new key signs the journal: keep this line where nobody who reaches this host can");
    }
    let vouched = signers.len() > 1;
    let (done, signed) = oneshot::channel();
    notary.sign_with(origin(journal), signers, Box::new(move || done.send(()).unwrap_or_default()));
    // On a full disk the checkpoint waits, and both keys stay at hand until the next start.
    if vouched && timeout(GRACE, signed).await.is_ok_and(|signed| signed.is_ok()) {
        Keys::settle(settings, journal, &verifier)?;
    }
    Ok(verifier)
}
