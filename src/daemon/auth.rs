//! Who asks over HTTP, and which role that is: bearer tokens, each known by its SHA-256 alone.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::daemon::clock;
use crate::domain::token::{Caller, Denied, Role, TokenOrder};
use crate::engine::tokens::Tokens;
use crate::sources::http;

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Knows the tokens whose orders are durable.
#[derive(Debug, Default)]
pub struct Gate {
    tokens: ArcSwap<Tokens>,
}

impl Gate {
    /// With the tokens of a recovered state.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens: ArcSwap::from_pointee(tokens) }
    }

    /// Heeds an order; to be called once it is durable, in the order of the entries.
    pub fn heed(&self, at: Timestamp, order: &TokenOrder, by: &str) {
        let mut tokens = Tokens::clone(&self.tokens.load());
        tokens.apply(at, order, by);
        self.tokens.store(Arc::new(tokens));
    }

    /// Who asks, when the bearer token of these headers may do what needs this role.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn admit(&self, headers: &HeaderMap, needs: Role) -> Result<Caller, Denied> {
        let token = bearer(headers).ok_or(Denied::Missing)?;
        self.check(&Sha256::digest(token).into(), needs)
    }

    /// Who has the token with this hash, when it may do what needs this role.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn check(&self, hash: &[u8; 32], needs: Role) -> Result<Caller, Denied> {
        self.tokens.load().who(&HEXLOWER.encode(hash), clock::now(), needs)
    }

    /// The same for http sources, which take tokens of the role `source` beside their own.
    pub fn of_sources(self: &Arc<Self>) -> http::Gate {
        let gate = self.clone();
        http::Gate::new(move |hash| gate.check(hash, Role::Source).map(|_| ()))
    }
}

/// The one bearer token of the headers.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && (1..=TOKEN_BYTES_MAX).contains(&token.len())).then_some(token)
}

/// A refusal as a sender reads it: 401 with how to say who one is, or 403 when that is known and not enough.
#[derive(Debug)]
pub struct Refused(pub Denied);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code, hint) = match &self.0 {
            Denied::Role { .. } => (StatusCode::FORBIDDEN, "forbidden", "use a token whose role may do this"),
            _ => (
                StatusCode::UNAUTHORIZED,
                "unauthorised",
                "send `Authorization: Bearer TOKEN`; `soard token add` makes one",
            ),
        };
        let body = json!({ "error": { "code": code, "message": self.0.to_string(), "hint": hint } });
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::State;
    use axum::http::Request;
    use axum::routing::get;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    fn gate() -> Arc<Gate> {
        let gate = Gate::default();
        let day: Timestamp = clock::now() + jiff::SignedDuration::from_hours(24);
        for (name, role, expires) in [
            ("edr", Role::Source, day),
            ("vi", Role::Viewer, day),
            ("ad", Role::Admin, day),
            ("old", Role::Admin, clock::now()),
            ("gone", Role::Admin, day),
        ] {
            let sha256 = HEXLOWER.encode(&Sha256::digest(format!("token-of-{name}")));
            gate.heed(clock::now(), &TokenOrder::Add { name: name.into(), role, sha256, expires }, "ann");
        }
        gate.heed(clock::now(), &TokenOrder::Revoke { name: "gone".into() }, "ann");
        Arc::new(gate)
    }

    async fn ask(gate: &Arc<Gate>, path: &str, values: &[&str]) -> (StatusCode, bool, String) {
        async fn page(State((gate, needs)): State<(Arc<Gate>, Role)>, headers: HeaderMap) -> Result<String, Refused> {
            gate.admit(&headers, needs).map(|caller| format!("{} {}", caller.name, caller.role)).map_err(Refused)
        }
        let of = |needs| get(page).with_state((gate.clone(), needs));
        let router = Router::new().route("/read", of(Role::Viewer)).route("/rule", of(Role::Admin));
        let request = values.iter().fold(Request::get(path), |request, value| request.header("authorization", *value));
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (status, told) = (response.status(), response.headers().contains_key(header::WWW_AUTHENTICATE));
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, told, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_request_is_admitted_by_its_token_and_role_and_refused_in_words() {
        let gate = gate();
        for (path, token, caller) in
            [("/read", "vi", "vi viewer"), ("/read", "ad", "ad admin"), ("/rule", "ad", "ad admin")]
        {
            let (status, _, body) = ask(&gate, path, &[&format!("Bearer token-of-{token}")]).await;
            assert_eq!((status, &*body), (StatusCode::OK, caller));
        }
        for (path, values, status, message) in [
            ("/read", &[][..], 401, "no token was sent"),
            ("/read", &["token-of-vi"], 401, "no token was sent"),
            ("/read", &["Basic token-of-vi"], 401, "no token was sent"),
            ("/read", &["Bearer "], 401, "no token was sent"),
            ("/read", &["Bearer token-of-vi", "Bearer token-of-vi"], 401, "no token was sent"),
            ("/read", &["Bearer token-of-v"], 401, "nobody has this token"),
            ("/read", &["Bearer token-of-old"], 401, "`old` expired at"),
            ("/read", &["Bearer token-of-gone"], 401, "`gone` was revoked at"),
            ("/rule", &["Bearer token-of-vi"], 403, "`vi` has the role viewer; this takes admin"),
            ("/read", &["Bearer token-of-edr"], 403, "`edr` has the role source; this takes viewer"),
        ] {
            let (got, told, body) = ask(&gate, path, values).await;
            let error = serde_json::from_str::<Value>(&body).unwrap()["error"].clone();
            assert_eq!(got.as_u16(), status, "{values:?} {body}");
            assert!(error["message"].as_str().unwrap().contains(message), "{values:?} {body}");
            assert_eq!(told, status == 401, "{values:?}");
            assert!(!body.contains("token-of"), "a token must not be repeated: {body}");
        }
    }
}
