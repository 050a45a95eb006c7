//! Tokens: who is known by which hash, and what operators' orders do about it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::domain::time::Span;
use crate::domain::token::{Caller, Denied, LASTS_DAYS_MAX, LASTS_MAX, Role, TOKENS_MAX, Token, TokenOrder, is_name};

/// Revoked and replaced tokens that are still known as such; older ones are nobody's.
pub const REVOKED_MAX: usize = 1_000;

/// All tokens, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    all: Vec<Token>,
}

/// Why an order about tokens is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a name.
    #[error(
        "{0:?} is no name for a token: lower-case letters, digits, `_`, `.` and `-`, at most 64, a letter or digit first"
    )]
    Name(String),
    /// It is taken.
    #[error("there is a token `{0}` already; revoke it first, or take another name")]
    Taken(String),
    /// Nobody has it.
    #[error("there is no token `{name}`{}", near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// The nearest one that there is.
        near: Option<String>,
    },
    /// It would be valid for no time, or for too long.
    #[error("a token is valid for at most {LASTS_DAYS_MAX}d, not {0}")]
    Lasts(Span),
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens already")]
    TooMany,
}

impl Tokens {
    /// All that are known, revoked ones included, oldest first.
    pub fn all(&self) -> &[Token] {
        &self.all
    }

    /// Who has the token with this hash, in hex; every hash is compared, each in constant time.
    ///
    /// # Errors
    /// [`Denied`], also when its role may not do what is asked for.
    pub fn who(&self, sha256: &str, at: Timestamp, needs: Role) -> Result<Caller, Denied> {
        let mut found = None;
        for token in &self.all {
            if bool::from(token.sha256.as_bytes().ct_eq(sha256.as_bytes())) {
                found = Some(token);
            }
        }
        let Token { name, role, expires, revoked, .. } = found.ok_or(Denied::Unknown)?;
        let (name, role) = (name.clone(), *role);
        if let Some(at) = *revoked {
            return Err(Denied::Revoked { name, at });
        }
        if *expires <= at {
            return Err(Denied::Expired { name, at: *expires });
        }
        if role.may(needs) { Ok(Caller { name, role, address: None }) } else { Err(Denied::Role { name, role, needs }) }
    }

    /// The order that makes one valid.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn add(
        &self,
        at: Timestamp,
        name: String,
        role: Role,
        sha256: String,
        lasts: Span,
    ) -> Result<TokenOrder, Refusal> {
        if !is_name(&name) {
            return Err(Refusal::Name(name));
        }
        if lasts == Span::default() || lasts > LASTS_MAX {
            return Err(Refusal::Lasts(lasts));
        }
        let mut held = self.held(at);
        if held.any(|token| token.name == name) {
            return Err(Refusal::Taken(name));
        }
        if self.held(at).count() >= TOKENS_MAX {
            return Err(Refusal::TooMany);
        }
        Ok(TokenOrder::Add { name, role, sha256, expires: lasts.after(at) })
    }

    /// The order that takes one back.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn revoke(&self, name: String) -> Result<TokenOrder, Refusal> {
        let open: Vec<&str> =
            self.all.iter().filter(|token| token.revoked.is_none()).map(|token| token.name.as_str()).collect();
        if open.contains(&name.as_str()) {
            return Ok(TokenOrder::Revoke { name });
        }
        let near = crate::yaml::diagnostic::nearest(&name, &open).map(str::to_owned);
        Err(Refusal::Unknown { name, near })
    }

    fn held(&self, at: Timestamp) -> impl Iterator<Item = &Token> {
        self.all.iter().filter(move |token| token.revoked.is_none() && at < token.expires)
    }

    /// Applies an order.
    pub fn apply(&mut self, at: Timestamp, order: &TokenOrder, by: &str) {
        match order {
            TokenOrder::Add { name, role, sha256, expires } => {
                // An expired one of the same name gives it up.
                self.end(name, at);
                let (name, role, sha256, by) = (name.clone(), *role, sha256.clone(), by.to_owned());
                self.all.push(Token { name, role, sha256, by, made: at, expires: *expires, revoked: None });
                self.forget();
            }
            TokenOrder::Revoke { name } => self.end(name, at),
        }
    }

    fn end(&mut self, name: &str, at: Timestamp) {
        let open = self.all.iter_mut().filter(|token| token.name == name && token.revoked.is_none());
        open.for_each(|token| token.revoked = Some(at));
    }

    fn forget(&mut self) {
        let revoked = self.all.iter().filter(|token| token.revoked.is_some()).count();
        let mut surplus = revoked.saturating_sub(REVOKED_MAX);
        self.all.retain(|token| {
            let goes = surplus > 0 && token.revoked.is_some();
            surplus -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_until_it_expires_or_is_revoked_and_for_its_role() {
        let begin: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let at = |secs: i64| begin + jiff::SignedDuration::from_secs(secs);
        let mut tokens = Tokens::default();
        let hash = |n: usize| format!("{n:064x}");
        let add = |tokens: &mut Tokens, name: &str, role, n, secs| {
            let order = tokens.add(begin, name.into(), role, hash(n), Span::from_secs(secs))?;
            tokens.apply(begin, &order, "ann");
            Ok::<(), Refusal>(())
        };
        add(&mut tokens, "edr", Role::Source, 1, 60).unwrap();
        add(&mut tokens, "bo", Role::Operator, 2, 600).unwrap();
        assert_eq!(tokens.who(&hash(1), at(59), Role::Source).unwrap().name, "edr");
        assert_eq!(tokens.who(&hash(2), at(0), Role::Viewer).unwrap().role, Role::Operator);
        assert!(matches!(tokens.who(&hash(1), at(60), Role::Source), Err(Denied::Expired { .. })));
        assert!(matches!(tokens.who(&hash(1), at(0), Role::Viewer), Err(Denied::Role { .. })));
        assert!(matches!(tokens.who(&hash(2), at(0), Role::Admin), Err(Denied::Role { .. })));
        assert_eq!(tokens.who(&hash(3), at(0), Role::Source), Err(Denied::Unknown));
        assert_eq!(tokens.who("", at(0), Role::Source), Err(Denied::Unknown));

        assert_eq!(add(&mut tokens, "bo", Role::Viewer, 4, 60), Err(Refusal::Taken("bo".into())));
        assert_eq!(add(&mut tokens, "Bo", Role::Viewer, 4, 60), Err(Refusal::Name("Bo".into())));
        assert!(matches!(add(&mut tokens, "x", Role::Viewer, 4, 0), Err(Refusal::Lasts(_))));
        assert!(tokens.revoke("boo".into()).unwrap_err().to_string().contains("did you mean `bo`?"));
        let order = tokens.revoke("bo".into()).unwrap();
        tokens.apply(at(1), &order, "ann");
        assert!(matches!(tokens.who(&hash(2), at(2), Role::Viewer), Err(Denied::Revoked { .. })));
        assert!(tokens.revoke("bo".into()).is_err(), "it is revoked already");
        add(&mut tokens, "bo", Role::Viewer, 4, 60).unwrap();
        assert!(
            tokens.who(&hash(4), at(0), Role::Viewer).is_ok() && tokens.who(&hash(2), at(0), Role::Viewer).is_err()
        );
    }

    #[test]
    fn tokens_are_bounded() {
        let (at, day) = ("2030-01-01T00:00:00Z".parse().unwrap(), Span::from_secs(86_400));
        let mut tokens = Tokens::default();
        for n in 0..TOKENS_MAX {
            let order = tokens.add(at, format!("t{n}"), Role::Viewer, format!("{n:064x}"), day).unwrap();
            tokens.apply(at, &order, "ann");
        }
        assert_eq!(tokens.add(at, "more".into(), Role::Viewer, String::new(), day), Err(Refusal::TooMany));
        for n in 0..REVOKED_MAX + 10 {
            let name = format!("t{}", n % TOKENS_MAX);
            let order = tokens.revoke(name.clone()).unwrap();
            tokens.apply(at, &order, "ann");
            let order = tokens.add(at, name, Role::Viewer, format!("{:064x}", n + 10_000), day).unwrap();
            tokens.apply(at, &order, "ann");
        }
        assert_eq!(tokens.all().len(), TOKENS_MAX + REVOKED_MAX);
    }
}
