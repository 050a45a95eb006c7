//! A mail server that fails at every stage in every way, and how each is classed.

use std::sync::{Arc, Mutex};

use serde_json::json;
use soard::actions::Outcome;
use soard::domain::effect::Class;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::{World, class, done};

/// What the server does instead of its usual reply.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Say(&'static str),
    Drop,
    Silence,
}

/// At which command (or reply to which recipient) it does it.
type Script = Vec<(&'static str, Act)>;

#[derive(Debug, Default, Clone)]
struct Seen {
    recipients: Vec<String>,
    messages: Vec<String>,
    dialogues: usize,
    resets: usize,
}

struct Server {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.lock().unwrap().dialogues += 1;
                tokio::spawn(dialogue(stream, script.clone(), kept.clone()));
            }
        });
        Self { port, seen }
    }

    fn world(&self, more: &str) -> World {
        self.world_with("tls: none", more)
    }

    fn world_with(&self, smtp: &str, more: &str) -> World {
        World::new(&format!(
            "mail:\n  email:\n    smtp: {{ host: 127.0.0.1, port: {}, {smtp}, timeout: 3s, accept_timeout: 3s }}\n    from: soard@example.com\n{more}",
            self.port
        ))
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

const ONE: &str = "    to: a@example.com\n";
const THREE: &str = "    to: [a@example.com, gone@example.com, later@example.com]\n";

/// `None` ends the dialogue.
async fn dialogue(stream: TcpStream, script: Script, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut half_way = false;
    let mut taken = 0;
    reply(&mut write, &script, "greeting", "220 test ESMTP").await?;
    while let Ok(Some(line)) = lines.next_line().await {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match word.as_str() {
            "EHLO" => {
                reply(&mut write, &script, "EHLO", "250-test\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 AUTH PLAIN")
                    .await?;
            }
            // What follows is no dialogue in lines any more: the handshake is what the script says.
            "STARTTLS" => {
                reply(&mut write, &script, "STARTTLS", "220 go on").await?;
                lines.get_mut().fill_buf().await.ok().filter(|hello| !hello.is_empty())?;
                return reply(&mut write, &script, "handshake", "this is no TLS").await;
            }
            "AUTH" if line == "AUTH LOGIN" => {
                for (stage, asks) in [("user", "334 VXNlcm5hbWU6"), ("password", "334 UGFzc3dvcmQ6")] {
                    reply(&mut write, &script, stage, asks).await?;
                    lines.next_line().await.ok()??;
                }
                reply(&mut write, &script, "AUTH", "235 welcome").await?;
            }
            "AUTH" => reply(&mut write, &script, "AUTH", "235 welcome").await?,
            "MAIL" => {
                assert!(!half_way, "a transaction begins within another (RFC 5321, 4.1.4)");
                half_way = true;
                // `second MAIL`: a server that takes one mail only on a connection.
                reply(&mut write, &script, if taken == 0 { "MAIL" } else { "second MAIL" }, "250 ok").await?;
            }
            "RSET" => {
                half_way = false;
                seen.lock().unwrap().resets += 1;
                reply(&mut write, &script, "RSET", "250 ok").await?;
            }
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let stage =
                    ["gone@example.com", "later@example.com"].into_iter().find(|it| *it == address).unwrap_or("RCPT");
                seen.lock().unwrap().recipients.push(address);
                reply(&mut write, &script, stage, "250 ok").await?;
            }
            "DATA" => {
                reply(&mut write, &script, "DATA", "354 go on").await?;
                if script.iter().any(|(stage, act)| *stage == "DATA" && *act != Act::Drop) {
                    continue;
                }
                let mut message = String::new();
                while let Ok(Some(line)) = lines.next_line().await
                    && line != "."
                {
                    message.push_str(&line);
                    message.push('\n');
                }
                (half_way, taken) = (false, taken + 1);
                let first = format!("dot of {}", seen.lock().unwrap().recipients.last().unwrap());
                seen.lock().unwrap().messages.push(message);
                let stage = script.iter().find(|(stage, _)| *stage == first).map_or("dot", |(stage, _)| *stage);
                reply(&mut write, &script, stage, "250 2.0.0 queued").await?;
            }
            "QUIT" => return reply(&mut write, &script, "QUIT", "221 bye").await,
            other => panic!("{other}"),
        }
    }
    Some(())
}

async fn reply(write: &mut tokio::net::tcp::OwnedWriteHalf, script: &Script, stage: &str, usual: &str) -> Option<()> {
    match script.iter().find(|(at, _)| *at == stage).map(|(_, act)| *act) {
        None => write.write_all(format!("{usual}\r\n").as_bytes()).await.ok(),
        Some(Act::Say(text)) => write.write_all(format!("{text}\r\n").as_bytes()).await.ok(),
        Some(Act::Drop) => None,
        Some(Act::Silence) => std::future::pending().await,
    }
}

#[tokio::test]
async fn only_a_break_or_silence_after_the_final_dot_is_ambiguous() {
    let acts = [
        Act::Say("421 closing"),
        Act::Say("451 later"),
        Act::Say("554 never"),
        Act::Say("what?"),
        Act::Drop,
        Act::Silence,
    ];
    let mut cases = JoinSet::new();
    for stage in ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot", "QUIT"] {
        for act in acts {
            for mode in ["at_least_once", "at_most_once"] {
                cases.spawn(async move {
                    let server = Server::start(vec![(stage, act)]).await;
                    let outcome = server.world(&format!("{ONE}    mode: {mode}\n")).mail().await;
                    let expected = match (stage, act, mode) {
                        ("QUIT", ..) => "ok",
                        ("greeting" | "EHLO", ..) => "again",
                        (_, Act::Say("554 never"), _) => "rejected",
                        ("dot", Act::Drop | Act::Silence | Act::Say("what?"), "at_least_once") => "ambiguous",
                        ("dot", Act::Drop | Act::Silence | Act::Say("what?"), _) => "unknown",
                        _ => "again",
                    };
                    assert_eq!(class(&outcome), expected, "{stage}, {act:?}, {mode}: {outcome:?}");
                });
            }
        }
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test]
async fn nobody_listening_is_tried_again() {
    let server = Server {
        port: TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port(),
        seen: Arc::default(),
    };
    assert_eq!(class(&server.world(ONE).mail().await), "again");
}

#[tokio::test]
async fn only_the_recipients_that_were_put_off_are_tried_again() {
    let refuse = ("gone@example.com", Act::Say("550 5.1.1 no such mailbox"));
    let first = Server::start(vec![refuse, ("later@example.com", Act::Say("451 4.7.1 greylisted"))]).await;
    let Outcome::Again { error, status, ambiguous: false, progress, .. } = first.world(THREE).mail().await else {
        panic!()
    };
    assert_eq!((error.as_str(), status), ("later@example.com: transient error (451): 4.7.1 greylisted", Some(451)));
    let progress = progress.unwrap();
    assert_eq!(progress["accepted"], json!(["a@example.com"]));
    assert_eq!(first.seen.lock().unwrap().messages.len(), 1);

    let second = Server::start(vec![refuse]).await;
    let mut world = second.world(THREE);
    world.progress = Some(progress);
    let reply = done(world.mail().await);
    assert_eq!(reply.class, Class::Ok);
    assert_eq!(
        reply.value,
        json!({
            "accepted": ["a@example.com", "later@example.com"],
            "refused": {"gone@example.com": "permanent error (550): 5.1.1 no such mailbox"},
            "reply": "250 2.0.0 queued",
        })
    );
    let (first, second) = (first.seen.lock().unwrap().clone(), second.seen.lock().unwrap().clone());
    assert_eq!(second.recipients, ["later@example.com"]);
    assert_eq!((first.messages.len(), second.messages.len()), (1, 1));
    assert_eq!(
        (first.dialogues, first.resets),
        (1, 1),
        "one connection, and a refused recipient's transaction is given up"
    );
}

#[tokio::test]
async fn what_earlier_attempts_settled_outlives_every_later_failure() {
    let settled = json!({"accepted": ["a@example.com"], "refused": {"gone@example.com": "550 no"}});
    for (stage, act) in [("greeting", Act::Drop), ("MAIL", Act::Say("421 busy")), ("dot", Act::Silence)] {
        let server = Server::start(vec![(stage, act)]).await;
        let mut world = server.world(THREE);
        world.progress = Some(settled.clone());
        let Outcome::Again { progress, .. } = world.mail().await else { panic!("{stage}") };
        assert_eq!(progress.as_ref(), Some(&settled), "{stage}");
    }
    let server = Server::start(vec![("later@example.com", Act::Say("550 no, after all"))]).await;
    let mut world = server.world(THREE);
    world.progress = Some(settled);
    let reply = done(world.mail().await);
    assert_eq!((reply.class, reply.value["refused"].as_object().unwrap().len()), (Class::Ok, 2));
}

#[tokio::test]
async fn a_mail_that_nobody_takes_is_rejected_and_says_who_said_what() {
    let server = Server::start(vec![
        ("RCPT", Act::Say("550 5.7.1 not\there")),
        ("gone@example.com", Act::Say("551 moved")),
        ("later@example.com", Act::Say("553 bad")),
    ])
    .await;
    let reply = done(server.world(THREE).mail().await);
    assert_eq!((reply.class, reply.status), (Class::Rejected, Some(550)));
    insta::assert_snapshot!(reply.error.unwrap());
    assert!(server.seen.lock().unwrap().messages.is_empty());
}

#[tokio::test]
async fn when_doubles_are_forbidden_the_recipients_in_doubt_are_named() {
    let server = Server::start(vec![("gone@example.com", Act::Say("550 no")), ("dot", Act::Drop)]).await;
    let reply = done(server.world(&format!("{THREE}    mode: at_most_once\n")).mail().await);
    assert_eq!(reply.class, Class::Unknown);
    assert_eq!(reply.value["unknown"], json!(["a@example.com", "later@example.com"]));
    let seen = server.seen();
    assert_eq!((seen.dialogues, seen.messages.len()), (2, 2), "each was sent once");
}

#[tokio::test]
async fn a_recipient_whose_mail_breaks_the_connection_keeps_nobody_else_from_theirs() {
    for (mode, expected) in [("at_least_once", "ambiguous"), ("at_most_once", "unknown")] {
        let server = Server::start(vec![("dot of a@example.com", Act::Drop)]).await;
        let outcome = server.world(&format!("{THREE}    mode: {mode}\n")).mail().await;
        assert_eq!(class(&outcome), expected);
        let value = match outcome {
            Outcome::Done(reply) => reply.value,
            Outcome::Again { progress, .. } => progress.unwrap(),
        };
        assert_eq!(value["accepted"], json!(["gone@example.com", "later@example.com"]), "{mode}");
        assert_eq!(server.seen().recipients, ["a@example.com", "gone@example.com", "later@example.com"]);
    }
}

#[tokio::test]
async fn where_doubles_are_forbidden_the_others_are_tried_again_and_whoever_is_in_doubt_never_is() {
    let first =
        Server::start(vec![("dot of a@example.com", Act::Drop), ("later@example.com", Act::Say("451 greylisted"))])
            .await;
    let mode = format!("{THREE}    mode: at_most_once\n");
    let Outcome::Again { ambiguous: false, progress: Some(progress), .. } = first.world(&mode).mail().await else {
        panic!()
    };
    assert_eq!(
        (&progress["accepted"], &progress["unknown"]),
        (&json!(["gone@example.com"]), &json!(["a@example.com"]))
    );
    let second = Server::start(Vec::new()).await;
    let mut world = second.world(&mode);
    world.progress = Some(progress);
    let reply = done(world.mail().await);
    assert_eq!((reply.class, &reply.value["unknown"]), (Class::Unknown, &json!(["a@example.com"])));
    assert_eq!(second.seen().recipients, ["later@example.com"]);
}

#[tokio::test]
async fn a_server_that_ends_the_connection_after_a_mail_gets_the_next_one_over_another() {
    for act in [Act::Say("421 enough"), Act::Drop] {
        let server = Server::start(vec![("second MAIL", act)]).await;
        let reply = done(server.world(THREE).mail().await);
        assert_eq!((reply.class, reply.value["accepted"].as_array().unwrap().len()), (Class::Ok, 3));
        let seen = server.seen();
        assert_eq!((seen.dialogues, seen.recipients.len()), (3, 3), "{act:?}: nobody is asked twice");
    }
}

const LOGIN: &str = "tls: none, username: soard, password: { env: right-password }";

/// The password as the test's own words have it, and as the dialogue has it.
const SECRETS: [&str; 3] = ["right-password", "cmlnaHQtcGFzc3dvcmQ=", "AHNvYXJkAHJpZ2h0LXBhc3N3b3Jk"];

/// An attempt that ended before any mail began: it is made again later, in one dialogue so far, and says no secret.
async fn ends_before_the_mail(script: Script, smtp: &str, status: Option<u16>, says: &str) {
    let server = Server::start(script.clone()).await;
    for mode in ["at_least_once", "at_most_once"] {
        let outcome = server.world_with(smtp, &format!("{ONE}    mode: {mode}\n")).mail().await;
        let Outcome::Again { error, status: code, ambiguous: false, progress: None, .. } = &outcome else {
            panic!("{script:?}, {mode}: {outcome:?}")
        };
        assert_eq!(*code, status, "{script:?}: {error}");
        assert!(error.contains(says), "{script:?}: {error}");
        assert!(!SECRETS.iter().any(|secret| error.contains(secret)), "{script:?}: {error}");
    }
    let seen = server.seen();
    assert_eq!((seen.dialogues, seen.recipients.len(), seen.messages.len()), (2, 0, 0), "{script:?}: one each");
}

#[tokio::test]
async fn a_login_that_fails_is_tried_again_later_and_its_secret_is_told_to_nobody() {
    let login_only = ("EHLO", Act::Say("250-test\r\n250 AUTH LOGIN"));
    let no_login = ("EHLO", Act::Say("250-test\r\n250 8BITMIME"));
    let mut cases = JoinSet::new();
    for (script, status, says) in [
        // The password may be mended at either end, and then everything that waits goes out.
        (vec![("AUTH", Act::Say("535 5.7.8 bad credentials"))], Some(535), "AUTH: permanent error (535): 5.7.8 bad"),
        (vec![("AUTH", Act::Say("454 4.7.0 no answer from the directory"))], Some(454), "AUTH: transient error (454)"),
        (vec![("AUTH", Act::Say("421 closing"))], Some(421), "AUTH: transient error (421)"),
        (
            vec![("AUTH", Act::Say("500 no such command: AUTH PLAIN AHNvYXJkAHJpZ2h0LXBhc3N3b3Jk"))],
            Some(500),
            "[secret]",
        ),
        (vec![("AUTH", Act::Say("what?"))], None, "AUTH: "),
        (vec![("AUTH", Act::Drop)], None, "AUTH: "),
        (vec![("AUTH", Act::Silence)], None, "AUTH: no answer within 3.0 s"),
        (vec![no_login], None, "AUTH: "),
        (vec![login_only, ("user", Act::Drop)], None, "AUTH: "),
        (vec![login_only, ("password", Act::Drop)], None, "AUTH: "),
        (vec![login_only, ("AUTH", Act::Drop)], None, "AUTH: "),
        (
            vec![login_only, ("AUTH", Act::Say("535 no: cmlnaHQtcGFzc3dvcmQ= right-password"))],
            Some(535),
            "[secret] [secret]",
        ),
        (vec![login_only, ("AUTH", Act::Say("454 later"))], Some(454), "AUTH: transient error (454): later"),
        (vec![login_only, ("AUTH", Act::Say("334 QWdhaW4="))], None, "AUTH: "),
    ] {
        cases.spawn(ends_before_the_mail(script, LOGIN, status, says));
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
    let good = Server::start(Vec::new()).await;
    assert_eq!(class(&good.world_with(LOGIN, ONE).mail().await), "ok", "the same with a server that takes it");
}

#[tokio::test]
async fn an_encryption_that_fails_is_tried_again_later_and_nothing_goes_in_clear_text() {
    let smtp = LOGIN.replace("tls: none", "tls: starttls");
    let without = ("EHLO", Act::Say("250-test\r\n250 AUTH PLAIN"));
    let mut cases = JoinSet::new();
    for (script, status, says) in [
        (vec![without], None, "STARTTLS: "),
        (vec![("STARTTLS", Act::Say("454 4.7.0 TLS not available"))], Some(454), "STARTTLS: transient error (454)"),
        (vec![("STARTTLS", Act::Say("502 5.5.1 no"))], Some(502), "STARTTLS: permanent error (502)"),
        (vec![("STARTTLS", Act::Drop)], None, "STARTTLS: "),
        (vec![("STARTTLS", Act::Silence)], None, "STARTTLS: no answer within 3.0 s"),
        (vec![], None, "STARTTLS: "),
        (vec![("handshake", Act::Drop)], None, "STARTTLS: "),
        (vec![("handshake", Act::Silence)], None, "STARTTLS: no answer within 3.0 s"),
    ] {
        let smtp = smtp.clone();
        cases.spawn(async move { ends_before_the_mail(script, &smtp, status, says).await });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}
