//! How parts learn that they shall stop.

use tokio::sync::watch;

/// Parts stop in two steps: first what brings work, then what does it.
#[derive(Debug)]
pub struct Stop {
    /// Told first: sources, and the watch on the content folder.
    pub intake: watch::Sender<bool>,
    /// Told once no more work comes.
    pub performer: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { intake: watch::Sender::new(false), performer: watch::Sender::new(false) }
    }
}

/// Waits until `stop` is true or its sender is gone.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
