//! What wakes the core when something is due, and tells systemd that it lives.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::daemon::core::Message;
use crate::daemon::{clock, stop, systemd};

/// Wakes the core when its earliest timer is due.
pub async fn timer(
    mut due: watch::Receiver<Option<Timestamp>>,
    core: mpsc::Sender<Message>,
    mut stop: watch::Receiver<bool>,
) {
    /// Wall clocks jump: look again at least this often.
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    loop {
        let next = *due.borrow_and_update();
        let wait = next.map(|next| Duration::try_from(next.duration_since(clock::now())).unwrap_or(Duration::ZERO));
        if wait == Some(Duration::ZERO) && core.send(Message::Tick).await.is_err() {
            return;
        }
        // A told core announces its next instant once it has served this one.
        let pause = wait.filter(|wait| !wait.is_zero()).unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        tokio::select! {
            changed = due.changed() => if changed.is_err() { return },
            // The core's clock may be ahead of the wall clock; it knows what is due.
            () = tokio::time::sleep(pause), if next.is_some() => drop(core.send(Message::Tick).await),
            () = stop::told(&mut stop) => return,
        }
    }
}

/// Tells systemd that the daemon lives, as long as the core answers.
pub async fn watchdog(core: mpsc::Sender<Message>) {
    let Some(period) = systemd::watchdog_period() else { return };
    loop {
        tokio::time::sleep(period / 2).await;
        let (to, answer) = oneshot::channel();
        let asked = timeout(period / 2, core.send(Message::Report(to))).await;
        if asked.is_ok_and(|sent| sent.is_ok()) && timeout(period / 2, answer).await.is_ok_and(|answer| answer.is_ok())
        {
            systemd::alive();
        }
    }
}
