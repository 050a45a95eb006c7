//! Mail through a real mail server, parsed by another implementation.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Waker};

use data_encoding::BASE64;
use serde_json::{Value, json};
use soard::actions::message::OwnLinks;
use soard::actions::templates::Templates;
use soard::domain::effect::Class;

use crate::{PATIENCE, World, certificates, class, done, email, parse};

/// The mail server of `tests/support/smtp_sink.py`; it ends with its standard input.
pub struct Sink {
    child: Child,
    _input: ChildStdin,
    mails: Receiver<String>,
    port: u16,
}

impl Sink {
    pub fn start(options: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/smtp_sink.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need Debian's python3-aiosmtpd");
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("port ").expect("python3-aiosmtpd is installed").parse().unwrap();
        let (to, mails) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Self { child, _input: input, mails, port }
    }

    pub fn world(&self, smtp: &str, more: &str) -> World {
        World::new(&format!(
            "mail:\n  email:\n    smtp: {{ host: localhost, port: {}, timeout: 5s, {smtp} }}\n    from: Söard <soard@example.com>\n{more}",
            self.port
        ))
    }

    /// The next mail that arrived.
    pub fn mail(&self) -> Value {
        serde_json::from_str(&self.mails.recv_timeout(PATIENCE).expect("a mail arrives")).unwrap()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn headers<'a>(mail: &'a Value, name: &str) -> Vec<&'a str> {
    let all = mail["headers"].as_array().unwrap().iter();
    all.filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name))
        .map(|pair| pair[1].as_str().unwrap())
        .collect()
}

fn raw(mail: &Value) -> Vec<u8> {
    BASE64.decode(mail["raw"].as_str().unwrap().as_bytes()).unwrap()
}

const TO: &str = "    to: ['\"Größe, Team\" <soc@example.com>', b@example.com]\n    reply_to: desk@example.com\n";

#[tokio::test]
async fn the_mail_that_arrives_is_the_mail_that_was_meant() {
    let sink = Sink::start(&[]);
    let mut world = sink.world("tls: none, hello_name: soar.example.com", TO);
    world.input["title"] = "Größe überschritten 🚨".into();
    let reply = done(world.mail().await);
    assert_eq!(reply.class, Class::Ok);
    assert_eq!(
        reply.value,
        json!({"accepted": ["soc@example.com", "b@example.com"], "refused": {}, "reply": "250 2.0.0 queued as 4711"})
    );
    let (mail, other) = (sink.mail(), sink.mail());
    assert_eq!(mail["from"], "soard@example.com");
    assert_eq!((&mail["to"], &other["to"]), (&json!(["soc@example.com"]), &json!(["b@example.com"])));
    let names = |mail: &Value| raw(mail).windows(15).any(|bytes| bytes == b"soc@example.com");
    assert_eq!((names(&mail), names(&other)), (true, false), "nobody learns who else gets it");
    assert_eq!(mail["hello"], "soar.example.com");
    assert_eq!(mail["addresses"], json!([["Größe, Team", "soc@example.com"]]));
    let ids: Vec<&str> = [&mail, &other].iter().map(|mail| headers(mail, "message-id")[0]).collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.starts_with(&format!("<{}.", world.key))), "{ids:?}");
    for (name, value) in [
        ("subject", "[HIGH] Größe überschritten 🚨 on web-01"),
        ("from", "Söard <soard@example.com>"),
        ("reply-to", "desk@example.com"),
        ("date", "Sun, 22 Nov 2026 01:00:00 +0000"),
        ("message-id", &format!("<{}.jid62qsh@example.com>", world.key)),
        ("mime-version", "1.0"),
        ("auto-submitted", "auto-generated"),
        ("x-soard-run", "a-1.0/notify"),
        ("x-soard-key", world.key.as_str()),
        ("x-soard-log-head", crate::LOG_HEAD),
    ] {
        assert_eq!(headers(&mail, name), [value], "{name}");
    }
    assert_eq!((&mail["type"], &mail["defects"]), (&json!("multipart/alternative"), &json!([])));
    let parts = mail["parts"].as_array().unwrap();
    let kinds: Vec<&str> = parts.iter().map(|part| part["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text/plain", "text/html"]);
    for part in parts {
        assert_eq!((&part["charset"], &part["encoding"]), (&json!("utf-8"), &json!("quoted-printable")));
        assert_eq!(part["defects"], json!([]));
        let text = part["text"].as_str().unwrap();
        assert!(text.contains("Größe überschritten 🚨") && text.contains("soard why a-1042.0"), "{text}");
    }
}

#[tokio::test]
async fn nothing_in_an_alert_reaches_the_headers_or_the_dialogue() {
    let sink = Sink::start(&[]);
    let mut world = sink.world("tls: none", TO);
    let evil = "x\r\nBcc: victim@example.com\r\n\r\nbody\r\n.\r\nMAIL FROM:<evil@example.com>\r\n";
    let lone = "a\n.\nRCPT TO:<v@example.com>\nb\r.\rDATA\rc\u{85}d\u{2028}e\0f\u{202e}gpj.exe";
    world.input["title"] = format!("{evil}\u{202e}").into();
    world.input["description"] =
        format!("{lone}\n{}\n{}\n..\n.\nFrom me\n   \t\n", "long ".repeat(600), "🚨".repeat(900)).into();
    world.input["host"] = evil.into();
    let subjects = [
        None,
        Some(evil),
        Some("=?utf-8?B?eA0KQmNjOiB2aWN0aW1AZXhhbXBsZS5jb20=?= and more"),
        Some("\u{202e}txt.exe 日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語"),
        Some(
            "A-very-long-word-without-any-space-A-very-long-word-without-any-space-A-very-long-word-without-any-space",
        ),
        Some(""),
    ];
    for subject in subjects {
        assert_eq!(done(world.send(&email(subject)).await).class, Class::Ok, "{subject:?}");
        let mail = sink.mail();
        assert_eq!((&mail["to"], &sink.mail()["to"]), (&json!(["soc@example.com"]), &json!(["b@example.com"])));
        assert_eq!((headers(&mail, "bcc").len(), mail["headers"].as_array().unwrap().len()), (0, 12), "{subject:?}");
        assert_eq!(mail["defects"], json!([]), "{subject:?}");
        let got = headers(&mail, "subject")[0];
        assert!(!got.contains(['\r', '\n', '\u{202e}']), "{got:?}");
        let text = mail["parts"][0]["text"].as_str().unwrap().replace("\r\n", "\n");
        assert!(text.contains(&"🚨".repeat(300)), "long lines arrive whole");
        assert!(text.contains("a\n.\nRCPT TO:<v@example.com>\nb\n.\nDATA\nc\nd\nefgpj.exe"), "{text}");
        let raw = raw(&mail);
        assert!(
            raw.is_ascii()
                && raw
                    .split(|byte| *byte == b'\n')
                    .all(|line| line.len() <= 998 && (line.is_empty() || line.ends_with(b"\r")))
        );
    }
}

#[tokio::test]
async fn a_mail_sent_again_is_the_same_to_the_byte_also_in_a_folder() {
    let sink = Sink::start(&["--refuse", "b@example.com"]);
    let world = sink.world("tls: none", TO);
    let reply = done(world.mail().await);
    assert_eq!((reply.class, &reply.value["accepted"]), (Class::Ok, &json!(["soc@example.com"])));
    assert_eq!(reply.value["refused"]["b@example.com"], "permanent error (550): 5.1.1 no such mailbox");
    done(world.mail().await);
    let (first, second) = (raw(&sink.mail()), raw(&sink.mail()));
    assert_eq!(first, second);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out/mail");
    let world = World::new(&format!(
        "mail:\n  email:\n    folder: {}\n    from: Söard <soard@example.com>\n{TO}",
        path.display()
    ));
    for _ in 0..2 {
        let reply = done(world.mail().await);
        assert_eq!((reply.class, &reply.value["accepted"]), (Class::Ok, &json!(["soc@example.com", "b@example.com"])));
    }
    let mut files: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "the same key and recipient give one file, and no rest: {files:?}");
    let first_file = path.join(format!("{}.jid62qsh.eml", world.key));
    assert!(files.contains(&first_file), "{files:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().trim_end().to_owned();
    assert_eq!(text(&std::fs::read(&first_file).unwrap()), text(&first));
}

#[tokio::test]
async fn a_mail_names_its_thread_and_offers_what_its_recipient_alone_can_do() {
    let sink = Sink::start(&[]);
    let mut world = sink.world("tls: none", TO);
    world.thread = Some("thread.abc".into());
    let url = |what: &str| {
        format!("https://soard.example.com/mail/{what}/a-1042.0/{}/1795000000/{}", "c29j".repeat(40), "x".repeat(32))
    };
    let own = OwnLinks { acknowledge: Some(url("acknowledge")), unsubscribe: Some(url("unsubscribe")) };
    world.links = [("soc@example.com".to_owned(), own)].into_iter().collect();
    assert_eq!(done(world.mail().await).class, Class::Ok);
    let (mail, other) = (sink.mail(), sink.mail());
    for mail in [&mail, &other] {
        assert_eq!(headers(mail, "references"), ["<thread.abc@example.com>"]);
        assert_eq!(headers(mail, "in-reply-to"), ["<thread.abc@example.com>"]);
        assert_eq!(mail["defects"], json!([]));
    }
    assert_eq!(headers(&mail, "list-unsubscribe"), [format!("<{}>", url("unsubscribe"))], "in one piece");
    assert_eq!(headers(&mail, "list-unsubscribe-post"), ["List-Unsubscribe=One-Click"]);
    assert!(headers(&other, "list-unsubscribe").is_empty(), "the links of one are for nobody else");
    for part in 0..2 {
        let text = |mail: &Value| mail["parts"][part]["text"].as_str().unwrap().replace("&#x2f;", "/");
        for what in ["acknowledge", "unsubscribe"] {
            assert_eq!((text(&mail).contains(&url(what)), text(&other).contains("/mail/")), (true, false));
        }
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_tried_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let world = World::new(&format!(
        "mail:\n  email: {{ folder: {}, from: a@example.com, to: b@example.com }}\n",
        file.path().display()
    ));
    assert_eq!(class(&world.mail().await), "again");
}

#[tokio::test]
async fn a_template_that_fails_is_rejected_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&format!(
        "mail:\n  email: {{ folder: {}/x, from: a@example.com, to: b@example.com }}\n",
        folder.path().display()
    ));
    let soard::domain::effect::Effect::Email(mut request) = email(None) else { unreachable!() };
    request.template = "grop".into();
    let reply = done(world.send(&soard::domain::effect::Effect::Email(request)).await);
    assert_eq!(
        (reply.class, reply.error.as_deref()),
        (Class::Rejected, Some("no mail template `grop`; did you mean `group`?"))
    );
    assert!(!folder.path().join("x").exists());
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[tokio::test]
async fn mail_goes_encrypted_and_with_a_login() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let (certificate, key, ca) =
        (path(folder.path(), "cert.pem"), path(folder.path(), "key.pem"), path(folder.path(), "ca.pem"));
    for tls in ["starttls", "implicit"] {
        let sink = Sink::start(&[&format!("--{tls}"), &certificate, &key, "--login", "soard", "right-password"]);
        let smtp = format!("tls: {tls}, username: soard, ca: '{ca}', password: {{ env: right-password }}");
        let reply = done(sink.world(&smtp, TO).mail().await);
        assert_eq!(reply.class, Class::Ok, "{tls}");
        let (mail, other) = (sink.mail(), sink.mail());
        assert_eq!(mail["hello"], other["hello"]);
        assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!(true)), "{tls}");

        let wrong = sink.world(&smtp.replace("right-password", "wrong-password"), TO).mail().await;
        assert_eq!(class(&wrong), "again", "{tls}: {wrong:?}");
        let text = format!("{wrong:?}");
        assert!(text.contains("AUTH") && text.contains("535") && !text.contains("wrong-password"), "{text}");

        let strange = sink.world(&format!("tls: {tls}"), TO).mail().await;
        assert_eq!(class(&strange), "again", "{tls}: {strange:?}");
        assert!(format!("{strange:?}").contains("certificate"), "{tls}: the reason is said: {strange:?}");
        assert!(sink.mails.try_recv().is_err(), "{tls}: neither of them brought a mail");
    }
    let plain = Sink::start(&[]);
    let refused = plain.world(&format!("tls: starttls, ca: '{ca}'"), TO).mail().await;
    assert_eq!(class(&refused), "again", "a server without STARTTLS gets no mail: {refused:?}");
}

#[tokio::test]
async fn a_destination_writes_to_the_owners_and_to_its_own_recipients_when_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let world = |more: &str, owners: &[&str]| {
        let path = folder.path().display();
        let yaml = format!("mail:\n  email: {{ folder: {path}, from: a@example.com, to: [soc@example.com]{more} }}\n");
        let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
        let to = parse(&yaml).0.recipients("mail", &owners).into_iter().map(|recipient| recipient.to).collect();
        World { to, ..World::new(&yaml) }
    };
    let owned = ["shop@example.com", "no address", "dba@example.com", "shop@example.com", "x@y.com\r\nBcc: z@y.com"];
    for (more, owners, expected) in [
        (", to_owner: true", &owned[..], &["shop@example.com", "dba@example.com"][..]),
        (", to_owner: true", &[], &["soc@example.com"]),
        (", to_owner: true", &["nobody"], &["soc@example.com"]),
        ("", &owned, &["soc@example.com"]),
        (", to_owner: false", &owned, &["soc@example.com"]),
    ] {
        let reply = done(world(more, owners).mail().await);
        assert_eq!(reply.value["accepted"], json!(expected), "{more} {owners:?}");
        for (file, expected) in reply.value["files"].as_array().unwrap().iter().zip(expected) {
            let mail = std::fs::read_to_string(file.as_str().unwrap()).unwrap();
            let to = mail.lines().find_map(|line| line.strip_prefix("To: ")).unwrap();
            assert_eq!(to, *expected, "the header names who gets it, and nobody else");
        }
    }
}

#[tokio::test]
async fn a_mail_is_rendered_beside_what_waits_for_the_network() {
    let mut world = World::new("mail:\n  email: { folder: unused, from: a@example.com, to: b@example.com }\n");
    // It fails, after a while: whoever polls would wait for it.
    let text = "Subject: x\n\n{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}";
    world.templates = Templates::compile(&BTreeMap::from([("alert.txt".to_owned(), text.to_owned())])).0;
    let mut sending = Box::pin(world.mail());
    let first = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(first.is_pending(), "{first:?}");
    assert_eq!(done(sending.await).class, Class::Rejected);
}
