//! Who asks over HTTP, and which role that is: bearer tokens, each known by its SHA-256 alone.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, header};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
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

#[cfg(test)]
mod tests {
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

    fn ask(gate: &Gate, needs: Role, values: &[&str]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        let caller = gate.admit(&headers, needs);
        caller.map(|caller| format!("{} {}", caller.name, caller.role)).map_err(|denied| denied.to_string())
    }

    #[test]
    fn a_request_is_admitted_by_its_token_and_role_and_refused_in_words() {
        use Role::{Admin, Viewer};
        let gate = gate();
        for (needs, token, caller) in
            [(Viewer, "vi", "vi viewer"), (Viewer, "ad", "ad admin"), (Admin, "ad", "ad admin")]
        {
            assert_eq!(ask(&gate, needs, &[&format!("Bearer token-of-{token}")]), Ok(caller.into()));
        }
        for (needs, values, message) in [
            (Viewer, &[][..], "no token was sent"),
            (Viewer, &["token-of-vi"], "no token was sent"),
            (Viewer, &["Basic token-of-vi"], "no token was sent"),
            (Viewer, &["Bearer "], "no token was sent"),
            (Viewer, &["Bearer token-of-vi", "Bearer token-of-vi"], "no token was sent"),
            (Viewer, &["Bearer token-of-v"], "nobody has this token"),
            (Viewer, &["Bearer token-of-old"], "`old` expired at"),
            (Viewer, &["Bearer token-of-gone"], "`gone` was revoked at"),
            (Admin, &["Bearer token-of-vi"], "`vi` has the role viewer; this takes admin"),
            (Viewer, &["Bearer token-of-edr"], "`edr` has the role source; this takes viewer"),
        ] {
            let refused = ask(&gate, needs, values).unwrap_err();
            assert!(refused.contains(message), "{values:?} {refused}");
            assert!(!refused.contains("token-of"), "a token must not be repeated: {refused}");
        }
    }
}
