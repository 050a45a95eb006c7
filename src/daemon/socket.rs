//! The control socket: HTTP over a Unix socket, for `soard`'s own commands. The kernel says who the peer is.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::daemon::{actor, stop};

/// How long open requests may go on once the daemon stops.
const STOP_WAIT_MAX: Duration = Duration::from_secs(3);

/// Serves the control socket until `stop` turns true.
pub async fn serve(listener: UnixListener, router: Router, stop: watch::Receiver<bool>) {
    let (mut first, mut then) = (stop.clone(), stop);
    let service = router.into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move { stop::told(&mut first).await });
    tokio::select! {
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "the control socket failed");
        },
        () = async { stop::told(&mut then).await; tokio::time::sleep(STOP_WAIT_MAX).await } => {}
    }
}

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The user's id, where it can be told.
    pub uid: Option<u32>,
}

impl Peer {
    /// The user in words, for the journal.
    pub fn name(self) -> String {
        self.uid.map_or_else(|| "unknown".to_owned(), actor::name)
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|peer| peer.uid()) }
    }
}

/// The daemon's own user, by asking the kernel about a socket of which both ends are ours.
///
/// # Errors
/// When there can be no socket, or no runtime runs.
pub fn own_uid() -> io::Result<u32> {
    Ok(UnixStream::pair()?.0.peer_cred()?.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_our_own_user() {
        use std::os::unix::fs::MetadataExt;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let own = runtime.block_on(async { own_uid().unwrap() });
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(own, std::fs::metadata(dir.path()).unwrap().uid());
    }
}
