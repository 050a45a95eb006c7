//! One SMTP dialogue, stage by stage: only silence or a break after the final dot is ambiguous (RFC 1047).

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::BASE64;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::time::{Instant, timeout, timeout_at};

use crate::actions::settings::email::{Smtp, Tls};
use crate::actions::trial::{self, Stages};
use crate::actions::{read_ca, scrub};
use crate::domain::secret::Secret;

/// How many commands' worth of time the dialogue may take up to the final dot.
const DIALOGUE_TIMEOUTS: u32 = 5;
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

/// What the server said to each recipient of a mail that it took for at least one of them, or for none.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The mail is theirs.
    pub(super) accepted: Vec<String>,
    /// Refused for good, with the reply.
    pub(super) refused: Vec<(String, Reason)>,
    /// Refused for now, with the reply.
    pub(super) later: Vec<(String, Reason)>,
    /// The server's words when it took the mail.
    pub(super) reply: String,
}

/// Why something was not done.
#[derive(Debug, Clone)]
pub(super) struct Reason {
    pub(super) text: String,
    pub(super) code: Option<u16>,
}

/// How a dialogue ended without a delivery.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may go better later.
    Later(Reason),
    /// The server refuses this mail.
    Refused(Reason),
    /// The final dot was sent and no answer came. The recipients that were to get the mail, and the others.
    Ambiguous(Reason, Delivered),
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

    /// Hands one mail to the server for these recipients, and notes what it said at each stage that went well.
    pub(super) async fn deliver(
        &self,
        from: &Address,
        to: &[Address],
        bytes: &[u8],
        stages: &mut Stages,
    ) -> Result<Delivered, Failure> {
        let deadline = Instant::now() + self.timeout * DIALOGUE_TIMEOUTS;
        let mut connection = self.connect(deadline, stages).await.map_err(Failure::Later)?;
        let stage = self.stage(deadline, connection.command(Mail::new(Some(from.clone()), Vec::new()))).await;
        let reply = stage.map_err(|fault| fault.failure("MAIL FROM"))?;
        stages.good("MAIL FROM", reply_line(&reply));
        let mut delivered = Delivered::default();
        for recipient in to {
            match self.stage(deadline, connection.command(Rcpt::new(recipient.clone(), Vec::new()))).await {
                Ok(reply) => {
                    stages.good(format!("RCPT TO {recipient}"), reply_line(&reply));
                    delivered.accepted.push(recipient.to_string());
                }
                Err(fault) if fault.permanent => delivered.refused.push((recipient.to_string(), fault.reason)),
                // 421 and a broken connection end the dialogue; any other 4xx is about this recipient.
                Err(fault) if fault.reason.code.is_some_and(|code| code != 421) => {
                    delivered.later.push((recipient.to_string(), fault.reason));
                }
                Err(fault) => return Err(fault.failure("RCPT TO")),
            }
        }
        if !delivered.accepted.is_empty() {
            let reply = self.stage(deadline, connection.command(Data)).await.map_err(|fault| fault.failure("DATA"))?;
            stages.good("DATA", reply_line(&reply));
            delivered = self.content(&mut connection, bytes, delivered).await?;
        }
        let _ = timeout(QUIT_TIMEOUT, connection.quit()).await;
        Ok(delivered)
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
    async fn content(
        &self,
        connection: &mut AsyncSmtpConnection,
        bytes: &[u8],
        delivered: Delivered,
    ) -> Result<Delivered, Failure> {
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
            Ok(response) => Ok(Delivered { reply: reply_line(&response), ..delivered }),
            Err(fault) if fault.reason.code.is_none() && dot.load(Ordering::Relaxed) => {
                Err(Failure::Ambiguous(fault.at("after the message was sent"), delivered))
            }
            Err(fault) => Err(fault.failure("the message")),
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
    reason: Reason,
    permanent: bool,
}

impl Fault {
    fn silence(limit: Duration) -> Self {
        let text = format!("no answer within {:.1} s", limit.as_secs_f64());
        Self { reason: Reason { text, code: None }, permanent: false }
    }

    fn at(self, stage: &str) -> Reason {
        Reason { text: format!("{stage}: {}", self.reason.text), code: self.reason.code }
    }

    fn failure(self, stage: &str) -> Failure {
        if self.permanent { Failure::Refused(self.at(stage)) } else { Failure::Later(self.at(stage)) }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = scrub::error_line(&error);
        Self { permanent: error.is_permanent(), reason: Reason { text, code: error.status().map(u16::from) } }
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
