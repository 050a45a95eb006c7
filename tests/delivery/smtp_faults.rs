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
        World::new(&format!(
            "mail:\n  email:\n    smtp: {{ host: 127.0.0.1, port: {}, tls: none, timeout: 3s, accept_timeout: 3s }}\n    from: soard@example.com\n{more}",
            self.port
        ))
    }
}

const ONE: &str = "    to: a@example.com\n";
const THREE: &str = "    to: [a@example.com, gone@example.com, later@example.com]\n";

/// `None` ends the dialogue.
async fn dialogue(stream: TcpStream, script: Script, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    reply(&mut write, &script, "greeting", "220 test ESMTP").await?;
    while let Ok(Some(line)) = lines.next_line().await {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match word.as_str() {
            "EHLO" => reply(&mut write, &script, "EHLO", "250-test\r\n250 8BITMIME").await?,
            "MAIL" => reply(&mut write, &script, "MAIL", "250 ok").await?,
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
                seen.lock().unwrap().messages.push(message);
                reply(&mut write, &script, "dot", "250 2.0.0 queued").await?;
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
    assert_eq!(first.messages, second.messages, "the mail sent again is the same");
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
    assert_eq!(server.seen.lock().unwrap().dialogues, 1);
}
