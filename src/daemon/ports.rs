//! What the daemon listens on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::daemon::api::Doors;
use crate::daemon::auth::Gate;
use crate::daemon::control::SourceCounters;
use crate::daemon::settings::Settings;
use crate::daemon::stop::Stop;
use crate::daemon::{DaemonError, control, guard, settings, socket};
use crate::sources::http::Server;
use crate::sources::intake::Intake;

/// What the daemon listens on.
pub struct Ports {
    /// The server of alerts and of the API, where there is one.
    pub server: Option<Server>,
    /// The control socket.
    pub socket: UnixListener,
}

impl Ports {
    /// Listens, so that an address that cannot be had is known at once.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn open(
        settings: &Settings,
        intake: &Intake,
        counters: &SourceCounters,
        gate: &Arc<Gate>,
    ) -> Result<Self, DaemonError> {
        // The socket first: whoever finds the address open finds the daemon there as well.
        let path = settings::socket(&settings.state);
        let unusable = |cause| DaemonError::State { path: path.clone(), cause };
        if path.exists() {
            // The journal's lock is ours, so no other daemon listens there.
            fs::remove_file(&path).map_err(unusable)?;
        }
        let socket = UnixListener::bind(&path).map_err(unusable)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(unusable)?;
        let server = match &settings.server {
            Some(server) => {
                let endpoints = control::endpoints(settings, intake, counters, gate)?;
                let server = Server::bind(server.clone(), endpoints).await?;
                tracing::info!(address = %server.address(), "listening for alerts");
                Some(server)
            }
            None => None,
        };
        Ok(Self { server, socket })
    }

    /// Serves the control socket from now on, and tells the server what to serve beside its sources.
    pub(super) fn serve(self, doors: Doors, fatal: &mpsc::UnboundedSender<String>, stop: &Stop) -> Option<Server> {
        guard("control socket", fatal, socket::serve(self.socket, doors.socket, stop.performer.subscribe()));
        self.server.map(|server| server.beside(doors.server))
    }
}
