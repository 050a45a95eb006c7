//! The signature of Standard Webhooks 1.0: HMAC-SHA256 over id, time and body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::secret::Secret;

/// A signing key.
#[derive(Clone)]
pub(super) struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads `whsec_` and base64 of 24 to 64 bytes.
    pub(super) fn parse(secret: &Secret) -> Result<Self, String> {
        let text = secret.expose().trim();
        let encoded = text.strip_prefix("whsec_").ok_or("a signing secret begins with `whsec_`")?;
        let padded = encoded.trim_end_matches('=');
        let bytes =
            data_encoding::BASE64_NOPAD.decode(padded.as_bytes()).map_err(|_| "what follows `whsec_` is not base64")?;
        match bytes.len() {
            24..=64 => Ok(Self(bytes)),
            other => Err(format!("a signing secret has 24 to 64 bytes, this one has {other}")),
        }
    }

    /// One element of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", data_encoding::BASE64.encode(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_published_example_gives_the_published_signature() {
        let key = SigningKey::parse(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_says_why_and_not_what() {
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_aGVsbG8="] {
            let fault = SigningKey::parse(&Secret::new(bad)).err().unwrap();
            assert!(!fault.contains(bad), "{fault}");
        }
    }
}
