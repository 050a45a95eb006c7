//! What systemd is told: ready, reloading, stopping, still alive.

use std::time::Duration;

use sd_notify::NotifyState;

/// Recovery is done and sources are served.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The daemon winds down.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The core answered in time.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] must be told: half of what the unit allows. `None`: nobody waits for it.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Without a notification socket there is nobody to tell; a failure to tell is not worth a stop.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
