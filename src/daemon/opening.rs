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
use crate::journal::note::Signer;
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

/// What is left to do about keys once those on record may sign.
pub struct Succession {
    /// The key that the journal does not name yet.
    new: Option<Signer>,
    /// An old key is given up once it has vouched for the one after it.
    settles: bool,
}

impl Succession {
    /// Tells the keys that may sign at once from the one that has to be put on record first.
    pub fn of(Keys { mut signers, is_new }: Keys) -> (Vec<Signer>, Self) {
        let settles = signers.len() > 1;
        let new = (is_new && !signers.is_empty()).then(|| signers.remove(0));
        (signers, Self { new, settles })
    }
}

/// Lets the keys on record sign before anything is appended: the first entries go no further beyond a checkpoint than others.
pub fn resume(notary: &Notary, journal: &str, keys: Keys) -> Succession {
    let (signers, succession) = Succession::of(keys);
    if !signers.is_empty() {
        notary.sign_with(origin(journal), signers, Box::new(|| {}));
    }
    succession
}

/// Puts a new key on record, where there is one, and has it sign from that very entry on.
///
/// # Errors
/// When the journal does not take the key's entry, or soard's own key file cannot be written.
pub async fn sign(
    core: &mpsc::Sender<Message>,
    notary: &Notary,
    settings: &Settings,
    journal: &str,
    replaced: &str,
    Succession { new, settles }: Succession,
) -> Result<String, DaemonError> {
    let verifier = new.as_ref().map_or_else(|| replaced.to_owned(), |signer| signer.verifier().to_string());
    if let Some(signer) = new {
        let replaces = (!replaced.is_empty()).then(|| replaced.to_owned());
        let key = Log::Key { verifier: verifier.clone(), replaces };
        let (notary, origin, (done, durable)) = (notary.clone(), origin(journal), oneshot::channel());
        // On the writer's own thread: it makes no checkpoint over the entry, or behind it, that lacks the new key.
        let succeed = move || {
            notary.succeed(origin, signer);
            let _ = done.send(());
        };
        let refused = || DaemonError::Fatal("the journal does not take its key".into());
        core.send(Message::Key(key, Box::new(succeed))).await.map_err(|_| refused())?;
        durable.await.map_err(|_| refused())?;
        tracing::info!(verifier, "a new key signs the journal: keep this line where nobody who reaches this host can");
    }
    let (done, signed) = oneshot::channel();
    notary.vouch(Box::new(move || done.send(()).unwrap_or_default()));
    // On a full disk the checkpoint waits, and both keys stay at hand until the next start.
    if settles && timeout(GRACE, signed).await.is_ok_and(|signed| signed.is_ok()) {
        Keys::settle(settings, journal, &verifier)?;
    }
    Ok(verifier)
}
