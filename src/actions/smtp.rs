//! SMTP dialogues, stage by stage, a transaction for each recipient: only silence or a break after the final dot is ambiguous
//! (RFC 1047), and only for the recipient whose mail it was.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::BASE64;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::time::{Instant, timeout, timeout_at};

use crate::actions::settings::email::{Smtp, Tls};
use crate::actions::trial::{self, Stages};
use crate::actions::{read_ca, scrub};
use crate::domain::secret::Secret;

/// How many commands' worth of time a transaction may take up to the final dot, and during which an attempt begins others.
const DIALOGUE_TIMEOUTS: u32 = 5;
/// Connections that may break in one attempt: a recipient whose mail breaks one keeps nobody else from getting theirs.
const BREAKS_MAX: u32 = 2;
/// A polite end of the dialogue is not worth more than this.
const QUIT_TIMEOUT: Duration = Duration::from_millis(500);

/// A mail server, ready to be spoken to.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    parameters: Option<TlsParameters>,
    login: Option<Credentials>,
    /// The password as it stands in the dialogue.
    secrets: Vec<String>,
    hello: ClientId,
    timeout: Duration,
    accept_timeout: Duration,
}

/// One recipient's mail.
pub(super) struct Letter {
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
}

/// What became of each recipient's mail.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The mail is theirs.
    pub(super) accepted: Vec<String>,
    /// Refused for good.
    pub(super) refused: Vec<(String, Reason)>,
    /// Refused for now.
    pub(super) later: Vec<(String, Reason)>,
    /// The final dot was sent and no answer came.
    pub(super) unknown: Vec<(String, Reason)>,
    /// Why the recipients that stand nowhere above were not tried.
    pub(super) stopped: Option<Reason>,
    /// The server's words when it took a mail last.
    pub(super) reply: String,
}

/// Why something was not done.
#[derive(Debug, Clone)]
pub(super) struct Reason {
    /// At which stage.
    pub(super) stage: &'static str,
    pub(super) text: String,
    pub(super) code: Option<u16>,
}

/// How one recipient's transaction ended.
enum Told {
    Accepted(String),
    Refused(Reason),
    Later(Reason),
    Unknown(Reason),
    /// The connection is of no use any more; nothing was sent.
    Broken(Reason),
}

/// A connection on which transactions follow one another.
struct Dialogue {
    connection: AsyncSmtpConnection,
    /// A transaction has ended on it already.
    used: bool,
    /// The last one was left half-way.
    half_way: bool,
}

impl Reason {
    /// The stage as a trial names it.
    pub(super) fn stage_for(&self, to: &str) -> String {
        if self.stage == RCPT { format!("{RCPT} {to}") } else { self.stage.to_owned() }
    }

    /// The reason in one line; a recipient that is refused says enough of the stage.
    pub(super) fn line(&self) -> String {
        if self.stage == RCPT { self.text.clone() } else { format!("{}: {}", self.stage, self.text) }
    }
}

const MAIL: &str = "MAIL FROM";
const RCPT: &str = "RCPT TO";

impl Delivered {
    fn any(&self) -> bool {
        [&self.refused, &self.later, &self.unknown].iter().any(|told| !told.is_empty()) || !self.accepted.is_empty()
    }

    fn take(&mut self, to: String, told: Told) {
        match told {
            Told::Accepted(reply) => {
                self.accepted.push(to);
                self.reply = reply;
            }
            Told::Refused(reason) => self.refused.push((to, reason)),
            Told::Later(reason) | Told::Broken(reason) => self.later.push((to, reason)),
            Told::Unknown(reason) => self.unknown.push((to, reason)),
        }
    }
}

impl Server {
    pub(super) fn new(settings: &Smtp, password: Option<&Secret>) -> Result<Self, String> {
        let parameters = match settings.tls {
            Tls::None => None,
            Tls::Implicit | Tls::Starttls => {
                let mut builder = TlsParameters::builder(settings.host.clone());
                if let Some(path) = &settings.ca {
                    let certificate =
                        Certificate::from_pem(&read_ca(path)?).map_err(|error| scrub::error_line(&error))?;
                    builder = builder.add_root_certificate(certificate);
                }
                Some(builder.build_rustls().map_err(|error| scrub::error_line(&error))?)
            }
        };
        let login = settings.login.as_ref().zip(password);
        let login = login.map(|((name, _), password)| (name.clone(), password.expose().trim_end_matches(['\r', '\n'])));
        let secrets = login.as_ref().map(|(name, password)| secrets(name, password)).unwrap_or_default();
        let login = login.map(|(name, password)| Credentials::new(name, password.to_owned()));
        let hello = settings.hello_name.clone().map_or_else(ClientId::default, ClientId::Domain);
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            tls: settings.tls,
            parameters,
            login,
            secrets,
            hello,
            timeout: settings.timeout.duration(),
            accept_timeout: settings.accept_timeout.duration(),
        })
    }

    /// Looks whether the server can be reached at all.
    pub(super) async fn reach(&self, stages: &mut Stages) -> bool {
        trial::reach(&self.host, self.port, self.timeout, stages).await
    }

    /// Hands the server each recipient's mail, over one connection while it holds, and notes what it said at each stage that
    /// went well.
    pub(super) async fn deliver(&self, from: &Address, letters: &[Letter], stages: &mut Stages) -> Delivered {
        let begin_until = Instant::now() + self.timeout * DIALOGUE_TIMEOUTS;
        let mut delivered = Delivered::default();
        let (mut open, mut breaks, mut next) = (None, 0, 0);
        while let Some(letter) = letters.get(next) {
            if delivered.any() && (breaks == BREAKS_MAX || Instant::now() >= begin_until) {
                delivered.stopped =
                    Some(Reason { stage: "the rest", text: "was not tried this time".into(), code: None });
                break;
            }
            let deadline = Instant::now() + self.timeout * DIALOGUE_TIMEOUTS;
            let mut dialogue = match open.take() {
                Some(dialogue) => dialogue,
                None => match self.connect(deadline, stages).await {
                    Ok(connection) => Dialogue { connection, used: false, half_way: false },
                    Err(reason) => {
                        delivered.stopped = Some(reason);
                        break;
                    }
                },
            };
            let told = self.transaction(&mut dialogue, deadline, (from, letter), stages).await;
            // Servers end connections after so many mails: that is no fault of the next one.
            let worn_out = dialogue.used && matches!(&told, Told::Broken(reason) if reason.stage == MAIL);
            if worn_out {
                continue;
            }
            next += 1;
            match told {
                Told::Broken(_) | Told::Unknown(_) => breaks += 1,
                _ => open = Some(Dialogue { used: true, ..dialogue }),
            }
            delivered.take(letter.to.to_string(), told);
        }
        if let Some(mut dialogue) = open {
            let _ = timeout(QUIT_TIMEOUT, dialogue.connection.quit()).await;
        }
        delivered
    }

    /// One mail for one recipient.
    async fn transaction(
        &self,
        dialogue: &mut Dialogue,
        deadline: Instant,
        (from, letter): (&Address, &Letter),
        stages: &mut Stages,
    ) -> Told {
        let Dialogue { connection, half_way, .. } = dialogue;
        if *half_way && let Err(fault) = self.stage(deadline, connection.command(Rset)).await {
            return Told::Broken(fault.at(MAIL));
        }
        *half_way = true;
        match self.stage(deadline, connection.command(Mail::new(Some(from.clone()), Vec::new()))).await {
            Ok(reply) => stages.good(MAIL, reply_line(&reply)),
            Err(fault) => return fault.told(MAIL),
        }
        match self.stage(deadline, connection.command(Rcpt::new(letter.to.clone(), Vec::new()))).await {
            Ok(reply) => stages.good(format!("{RCPT} {}", letter.to), reply_line(&reply)),
            Err(fault) => return fault.told(RCPT),
        }
        match self.stage(deadline, connection.command(Data)).await {
            Ok(reply) => stages.good("DATA", reply_line(&reply)),
            Err(fault) => return fault.told("DATA"),
        }
        let told = self.content(connection, &letter.bytes).await;
        *half_way = false;
        told
    }

    async fn connect(&self, deadline: Instant, stages: &mut Stages) -> Result<AsyncSmtpConnection, Reason> {
        let implicit = self.parameters.clone().filter(|_| self.tls == Tls::Implicit);
        let server = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &self.hello, implicit, None);
        let mut connection = self.stage(deadline, connecting).await.map_err(|fault| fault.at("connecting"))?;
        let encrypted = if self.tls == Tls::Implicit { ", encrypted" } else { "" };
        stages.good("greeting", format!("{}{encrypted}", connection.server_info().name()));
        if self.tls == Tls::Starttls {
            let parameters = self.parameters.clone().expect("made for every encrypted server");
            let upgrade = connection.starttls(parameters, &self.hello);
            self.stage(deadline, upgrade).await.map_err(|fault| fault.at("STARTTLS"))?;
            stages.good("STARTTLS", "encrypted, and the certificate is good");
        }
        if let Some(login) = &self.login {
            let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], login);
            self.stage(deadline, login).await.map_err(|fault| self.without_secrets(fault.at("AUTH")))?;
            stages.good("AUTH", "the server knows us");
        }
        Ok(connection)
    }

    /// Servers may repeat what they were told, and what they say goes into the log and the journal.
    fn without_secrets(&self, reason: Reason) -> Reason {
        let text = self.secrets.iter().fold(reason.text, |text, secret| without(text, secret));
        Reason { text, ..reason }
    }

    /// Sends the mail itself. lettre writes and flushes the parts one by one and then the final dot; the second
    /// look into the iterator therefore marks the moment after which the server may have the mail.
    async fn content(&self, connection: &mut AsyncSmtpConnection, bytes: &[u8]) -> Told {
        let dot = AtomicBool::new(false);
        let mut part = Some(bytes);
        let parts = std::iter::from_fn(|| {
            let next = part.take();
            dot.store(next.is_none(), Ordering::Relaxed);
            next
        });
        let sent = match timeout(self.accept_timeout, connection.message_iter(parts)).await {
            Ok(sent) => sent.map_err(Fault::from),
            Err(_) => Err(Fault::silence(self.accept_timeout)),
        };
        match sent {
            Ok(response) => Told::Accepted(reply_line(&response)),
            Err(fault) if fault.code.is_none() && dot.load(Ordering::Relaxed) => {
                Told::Unknown(fault.at("after the message was sent"))
            }
            Err(fault) => fault.told("the message"),
        }
    }

    /// One command and its reply, within its time and the dialogue's.
    async fn stage<T>(&self, deadline: Instant, work: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        let limit = deadline.min(Instant::now() + self.timeout);
        match timeout_at(limit, work).await {
            Ok(result) => result.map_err(Fault::from),
            Err(_) => Err(Fault::silence(self.timeout)),
        }
    }
}

/// A stage that failed.
struct Fault {
    text: String,
    code: Option<u16>,
    permanent: bool,
}

impl Fault {
    fn silence(limit: Duration) -> Self {
        Self { text: format!("no answer within {:.1} s", limit.as_secs_f64()), code: None, permanent: false }
    }

    fn at(self, stage: &'static str) -> Reason {
        Reason { stage, text: self.text, code: self.code }
    }

    /// 421 and a broken connection end the dialogue; any other reply is about this mail.
    fn told(self, stage: &'static str) -> Told {
        match self.code {
            _ if self.permanent => Told::Refused(self.at(stage)),
            None | Some(421) => Told::Broken(self.at(stage)),
            Some(_) => Told::Later(self.at(stage)),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = scrub::error_line(&error);
        Self { permanent: error.is_permanent(), text, code: error.status().map(u16::from) }
    }
}

/// A password in each form that a server may have seen, as it would stand in one line of an error.
fn secrets(username: &str, password: &str) -> Vec<String> {
    let plain = BASE64.encode(format!("\0{username}\0{password}").as_bytes());
    let forms = [plain, BASE64.encode(password.as_bytes()), scrub::line(password, usize::MAX)];
    forms.into_iter().filter(|form| !form.is_empty()).collect()
}

/// The text without the secret, and without the beginning of it at which the text may have been cut.
fn without(text: String, secret: &str) -> String {
    let text = text.replace(secret, "[secret]");
    let Some(whole) = text.strip_suffix('…') else { return text };
    let begins = secret.char_indices().skip(1).map(|(at, _)| &secret[..at]);
    let longest = begins.filter(|begin| whole.ends_with(begin)).last();
    longest.map_or(text.clone(), |begin| format!("{}[secret]…", &whole[..whole.len() - begin.len()]))
}

fn reply_line(response: &Response) -> String {
    let text = response.message().collect::<Vec<_>>().join(" ");
    scrub::line(&format!("{} {text}", response.code()), 300)
}
