//! Who comes in, and by which door.

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use crate::console::failure::Failure;
use crate::daemon::auth::Gate;
use crate::daemon::socket::{Peer, own_uid};
use crate::domain::token::{Caller, Denied, Role};
use crate::sources::http;

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Came in by the control socket, under this name.
#[derive(Debug, Clone)]
struct Local(String);

/// The door of the control socket: only the daemon's own user and root may speak, and they may do everything.
pub fn socket(router: Router) -> Router {
    let own = own_uid().inspect_err(
        |error| tracing::error!(%error, "cannot tell the daemon's own user: the control socket stays closed"),
    );
    let own = own.ok();
    router.layer(middleware::from_fn(move |ConnectInfo(peer): ConnectInfo<Peer>, request, next| {
        only_owner(own, peer, request, next)
    }))
}

/// The door of the server: each route asks for a token.
pub fn server(router: Router) -> Router {
    router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(middleware::map_response(private))
}

/// What is answered is for whoever asked, and for nobody's cache.
async fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn only_owner(own: Option<u32>, peer: Peer, mut request: Request, next: Next) -> Response {
    if may_speak(own, peer.uid) {
        request.extensions_mut().insert(Local(peer.name()));
        return next.run(request).await;
    }
    Failure::new(StatusCode::FORBIDDEN, "only the daemon's own user and root may use the control socket")
        .into_response()
}

fn may_speak(own: Option<u32>, peer: Option<u32>) -> bool {
    own.is_some_and(|own| peer.is_some_and(|uid| uid == own || uid == 0))
}

/// Who asks, when that is somebody who may do what needs this role.
///
/// # Errors
/// [`Denied`]
pub fn admit(gate: &Gate, parts: &Parts, needs: Role) -> Result<Caller, Denied> {
    if let Some(Local(name)) = parts.extensions.get() {
        return Ok(Caller { name: name.clone(), role: Role::Admin, address: None });
    }
    let caller = gate.admit(&parts.headers, needs)?;
    let address = parts.extensions.get::<http::Peer>().map(|peer| peer.0.ip().to_canonical().to_string());
    Ok(Caller { address, ..caller })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_daemons_own_user_and_root_may_speak() {
        for (own, peer, may) in [
            (Some(1000), Some(1000), true),
            (Some(1000), Some(0), true),
            (Some(1000), Some(1001), false),
            (Some(1000), None, false),
            (None, Some(0), false),
        ] {
            assert_eq!(may_speak(own, peer), may, "{own:?} {peer:?}");
        }
    }
}
