//! Builds a mail's bytes. The same effect and recipient give the same bytes, so that a mail sent again is recognisably the same.

use std::time::{Duration, SystemTime};

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Message, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use crate::actions::scrub;
use crate::actions::settings::email::EmailSettings;
use crate::actions::templates::Rendered;
use crate::domain::effect::EffectKey;
use crate::domain::id::RunId;

/// What marks a mail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    /// The effect's key.
    pub key: &'a EffectKey,
    /// The run that asked for it.
    pub run: Option<&'a RunId>,
    /// Its recipient.
    pub to: &'a Mailbox,
    /// The thread that it belongs to.
    pub thread: Option<&'a str>,
    /// What its recipient can do by links.
    pub links: &'a OwnLinks,
    /// The mail's date.
    pub at: Timestamp,
    /// `SEQ:HASH` of the journal entry that asked for it.
    pub log_head: &'a str,
}

/// Links that are for one recipient alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnLinks {
    /// To say that one looks after it.
    pub acknowledge: Option<String>,
    /// To get no more of these mails.
    pub unsubscribe: Option<String>,
}

/// What stands before the `@` of a mail's `Message-ID`, and names its file in a folder: the effect's key and a short mark of
/// the recipient, so that each copy has an id of its own and keeps it.
pub(super) fn local_part(key: &EffectKey, to: &Address) -> String {
    let digest = Sha256::digest(format!("recipient v1\n{}", to.to_string().to_ascii_lowercase()));
    format!("{key}.{}", BASE32_NOPAD.encode(&digest[..5]).to_ascii_lowercase())
}

/// The mail as it goes over the wire: ASCII, lines of at most 998 bytes, each ended by CRLF.
pub(super) fn build(settings: &EmailSettings, mail: &Rendered, mark: &Mark<'_>) -> Result<Vec<u8>, String> {
    let Mark { key, run, to, at, log_head, .. } = *mark;
    let domain = settings.from.email.domain();
    let mut builder = Message::builder().from(settings.from.clone()).to(to.clone());
    if let Some(mailbox) = &settings.reply_to {
        builder = builder.reply_to(mailbox.clone());
    }
    // Mail programs decode `=?…?=` in a subject, and with it whatever was scrubbed from the plain text.
    let subject = mail.subject.replace("=?", "= ?");
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let mut builder = builder
        .subject(subject)
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(format!("<{}@{domain}>", local_part(key, &to.email))));
    if let Some(thread) = mark.thread {
        // Nobody ever gets the mail of this id: programs put together what names it, whichever mail comes first.
        let root = format!("<{thread}@{domain}>");
        builder = builder.in_reply_to(root.clone()).references(root);
    }
    for (name, value) in unsubscribe(mark.links) {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
    }
    let builder = builder
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Soard-Run", &run.map_or_else(|| "none: a test".to_owned(), ToString::to_string)))
        .raw_header(header("X-Soard-Key", key.as_str()))
        .raw_header(header("X-Soard-Log-Head", log_head));
    let text = part(ContentType::TEXT_PLAIN, &mail.text)?;
    let message = match &mail.html {
        None => builder.singlepart(text),
        Some(html) => {
            let parts = MultiPart::alternative().boundary(format!("=_soard_{key}"));
            builder.multipart(parts.singlepart(text).singlepart(part(ContentType::TEXT_HTML, html)?))
        }
    };
    let bytes = message.map_err(|error| scrub::error_line(&error))?.formatted();
    match wire_fault(&bytes) {
        None => Ok(bytes),
        Some(fault) => Err(format!("the mail cannot be sent: {fault}")),
    }
}

/// RFC 2369, and RFC 8058 where a mail program may act on a click: it asks for HTTPS. The links are ASCII and ours.
fn unsubscribe(links: &OwnLinks) -> Vec<(&'static str, String)> {
    let Some(url) = &links.unsubscribe else { return Vec::new() };
    let mut headers = vec![("List-Unsubscribe", format!("<{url}>"))];
    if url.starts_with("https://") {
        headers.push(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
    }
    headers
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), scrub::line(value, 200).replace("=?", "= ?"))
}

/// A part in quoted-printable, whatever it holds: no byte of a body can end a line, let alone the message.
fn part(kind: ContentType, text: &str) -> Result<SinglePart, String> {
    let text = scrub::block(text, usize::MAX);
    let encoding = ContentTransferEncoding::QuotedPrintable;
    let body = Body::new_with_encoding(text, encoding).map_err(|_| "the body cannot be encoded")?;
    Ok(SinglePart::builder().header(kind).body(body))
}

/// What would let a byte of the mail be taken for a line end or a command (RUSTSEC-2026-0561).
fn wire_fault(bytes: &[u8]) -> Option<&'static str> {
    let mut line = 0;
    let mut before = 0;
    for &byte in bytes {
        match (before, byte) {
            (b'\r', b'\n') => line = 0,
            (b'\r', _) | (_, b'\n') => return Some("a bare line end"),
            (_, b'\r' | b' '..=b'~' | b'\t') => line += 1,
            _ => return Some("a byte that is not text"),
        }
        if line > 999 {
            return Some("a line that is too long");
        }
        before = byte;
    }
    (before == b'\r').then_some("a bare line end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recipient_has_an_id_of_their_own_that_never_changes() {
        let key = EffectKey::new("journal", &"a-1.0/notify".parse().unwrap(), 0);
        let of = |address: &str| local_part(&key, &address.parse().unwrap());
        assert_eq!(of("soc@example.com"), format!("{key}.jid62qsh"), "mails that are out name it");
        assert_ne!(of("soc@example.com"), of("b@example.com"));
    }

    #[test]
    fn only_whole_line_ends_and_plain_text_may_go_over_the_wire() {
        assert_eq!(wire_fault(b"a: b\r\n\r\ntext\r\n"), None);
        for bad in [&b"a\nb"[..], b"a\rb", b"a\r", b"\nb", b"a\r\r\n", b"a\0b", b"\xc3\xa4", &[b'x'; 1200]] {
            assert!(wire_fault(bad).is_some(), "{bad:?}");
        }
    }
}
