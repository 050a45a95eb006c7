//! Signed notes as C2SP specifies them (<https://c2sp.org/signed-note>), with Ed25519: a text, an empty line, signatures.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use crate::domain::secret::Secret;

/// The signature type of plain Ed25519 signatures.
const ED25519_TYPE: u8 = 1;

/// What each signature line begins with.
const SIGNATURE_START: &str = "— ";

/// Most signature lines that are looked at; C2SP asks for at least 16.
const SIGNATURES_MAX: usize = 16;

/// A key that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no Ed25519 {0} key as C2SP's signed notes have it")]
pub struct BadKey(&'static str);

/// Checks signatures: the public key, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl Verifier {
    fn new(name: &str, public: [u8; 32]) -> Option<Self> {
        let is_name = !name.is_empty() && !name.contains('+') && !name.contains(char::is_whitespace);
        let mut digest = Sha256::new();
        digest.update(name.as_bytes());
        digest.update([b'\n', ED25519_TYPE]);
        digest.update(public);
        let id = digest.finalize()[..4].try_into().expect("four bytes of thirty-two");
        is_name.then(|| Self { name: name.to_owned(), id, public })
    }

    /// Whether one of the note's signatures is this key's, over this very text.
    pub fn signed(&self, note: &Note<'_>) -> bool {
        let own = |name: &str, id: &[u8]| name == self.name && id == self.id;
        note.signatures.iter().any(|(name, bytes)| {
            bytes.split_at_checked(4).is_some_and(|(id, signature)| {
                own(name, id)
                    && UnparsedPublicKey::new(&ED25519, self.public).verify(note.text.as_bytes(), signature).is_ok()
            })
        })
    }
}

/// The verifier key: `NAME+ID+BASE64`.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode(&[&[ED25519_TYPE], self.public.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, HEXLOWER.encode(&self.id))
    }
}

impl FromStr for Verifier {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let parse = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let verifier = Self::new(name, key_bytes(key)?)?;
            (HEXLOWER.encode(&verifier.id) == id).then_some(verifier)
        };
        parse().ok_or(BadKey("verifier"))
    }
}

fn key_bytes(base64: &str) -> Option<[u8; 32]> {
    let bytes = BASE64.decode(base64.as_bytes()).ok()?;
    let (kind, key) = bytes.split_first()?;
    if *kind == ED25519_TYPE { key.try_into().ok() } else { None }
}

/// Makes signatures: the secret key.
pub struct Signer {
    pair: Ed25519KeyPair,
    verifier: Verifier,
    seed: [u8; 32],
}

impl Signer {
    /// A key of this name from 32 random bytes.
    ///
    /// # Errors
    /// When the name is empty or has `+` or white space in it.
    pub fn new(name: &str, seed: [u8; 32]) -> Result<Self, BadKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| BadKey("signer"))?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| BadKey("signer"))?;
        let verifier = Verifier::new(name, public).ok_or(BadKey("signer"))?;
        Ok(Self { pair, verifier, seed })
    }

    /// Reads a key from its text form, `PRIVATE+KEY+NAME+ID+BASE64`.
    ///
    /// # Errors
    /// When it does not have that form.
    pub fn parse(text: &Secret) -> Result<Self, BadKey> {
        let parse = || {
            let mut parts = text.expose().trim().strip_prefix("PRIVATE+KEY+")?.splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let signer = Self::new(name, key_bytes(key)?).ok()?;
            (HEXLOWER.encode(&signer.verifier.id) == id).then_some(signer)
        };
        parse().ok_or(BadKey("signer"))
    }

    /// The text form, to be kept as a secret.
    pub fn secret(&self) -> Secret {
        let key = BASE64.encode(&[&[ED25519_TYPE], self.seed.as_slice()].concat());
        let Verifier { name, id, .. } = &self.verifier;
        Secret::new(format!("PRIVATE+KEY+{name}+{}+{key}", HEXLOWER.encode(id)))
    }

    /// The public half.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The line to put below a text that ends with a line end.
    fn line(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let bytes = [self.verifier.id.as_slice(), signature.as_ref()].concat();
        format!("{SIGNATURE_START}{} {}\n", self.verifier.name, BASE64.encode(&bytes))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// Signs a text that ends with a line end.
pub(super) fn sign(text: &str, signers: &[Signer]) -> String {
    let lines: String = signers.iter().map(|signer| signer.line(text)).collect();
    format!("{text}\n{lines}")
}

/// A note in its parts; nothing is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    /// What is signed, with its last line end.
    pub text: &'a str,
    /// Each name, with key id and signature.
    pub signatures: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// The note that the text begins with, and its length in bytes; `None` when there is no whole one.
    pub fn first_of(text: &'a str) -> Option<(Self, usize)> {
        let body = text.find("\n\n")? + 1;
        let mut end = body + 1;
        let mut signatures = Vec::new();
        while let Some(line) = text[end..].strip_prefix(SIGNATURE_START) {
            let line = &line[..line.find('\n')?];
            let (name, base64) = line.split_once(' ')?;
            if signatures.len() < SIGNATURES_MAX {
                signatures.push((name, BASE64.decode(base64.as_bytes()).ok()?));
            }
            end += SIGNATURE_START.len() + line.len() + 1;
        }
        (!signatures.is_empty()).then_some((Self { text: &text[..body], signatures }, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's Go library: what others make is read, and what we make is the same.
    #[test]
    fn keys_and_notes_have_the_form_that_others_use() {
        let signer = Signer::new("soard/test", [7; 32]).unwrap();
        let verifier = signer.verifier().clone();
        assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
        assert_eq!(Signer::parse(&signer.secret()).unwrap().verifier(), &verifier);
        let pem = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let other: Verifier = pem.parse().unwrap();
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let note = format!(
            "{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        assert!(other.signed(&Note::first_of(&note).unwrap().0));
        assert!(!verifier.signed(&Note::first_of(&note).unwrap().0));
    }

    #[test]
    fn a_changed_note_or_key_is_not_signed() {
        let signer = Signer::new("soard/test", [7; 32]).unwrap();
        let note = sign("a\n1\nb\n", std::slice::from_ref(&signer));
        let (whole, length) = Note::first_of(&note).unwrap();
        assert!(signer.verifier().signed(&whole) && length == note.len());
        assert!(!Signer::new("soard/test", [8; 32]).unwrap().verifier().signed(&whole));
        assert!(!Signer::new("soard/other", [7; 32]).unwrap().verifier().signed(&whole));
        let changed = note.replacen('1', "2", 1);
        assert!(!signer.verifier().signed(&Note::first_of(&changed).unwrap().0));
        for cut in 0..note.len() - 1 {
            let Some(text) = note.get(..cut) else { continue };
            assert_eq!(Note::first_of(text), None, "cut at {cut}");
        }
        let vkey = signer.verifier().to_string();
        for bad in ["", "a+b", "a b+00000000+AQ==", &vkey.replacen('+', "++", 1), &vkey[..vkey.len() - 4]] {
            assert!(bad.parse::<Verifier>().is_err(), "{bad}");
        }
        assert!(Signer::new("with space", [1; 32]).is_err() && Signer::new("", [1; 32]).is_err());
    }
}
