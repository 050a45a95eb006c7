//! Sends one mail and says who took it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lettre::Address;
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::actions::settings::email::{EmailSettings, Transport, mailbox};
use crate::actions::smtp::{Delivered, Failure, Reason, Server};
use crate::actions::templates::{Rendered, Subject};
use crate::actions::trial::{self, Stages};
use crate::actions::{Outcome, Request, Trial, folder, message, resolve, scrub};
use crate::domain::effect::{Class, EmailRequest, Mode, Reply};
use crate::domain::secret::{Secret, SecretRef};

/// Longest subject that a script gives, in characters.
const SUBJECT_CHARS_MAX: usize = 200;

/// An email destination, ready to send.
pub(super) struct Mailer {
    settings: EmailSettings,
    mode: Mode,
    way: Way,
}

enum Way {
    Smtp(Box<Server>),
    Folder(PathBuf),
}

/// What earlier attempts settled.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    accepted: Vec<String>,
    refused: BTreeMap<String, String>,
}

/// What another drive has to know of a mail that ended without success: who took it. Who refused it is asked again.
pub fn resumed(value: &Value) -> Option<Value> {
    let accepted = value.get("accepted")?.as_array().filter(|accepted| !accepted.is_empty())?;
    Some(json!({"accepted": accepted, "refused": {}}))
}

impl Mailer {
    pub(super) fn new(
        settings: &EmailSettings,
        mode: Mode,
        secrets: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    ) -> Result<Self, String> {
        let way = match &settings.transport {
            Transport::Folder(path) => Way::Folder(path.clone()),
            Transport::Smtp(smtp) => {
                let password = smtp.login.as_ref().map(|(_, password)| resolve(password, secrets)).transpose()?;
                Way::Smtp(Box::new(Server::new(smtp, password.as_ref())?))
            }
        };
        Ok(Self { settings: settings.clone(), mode, way })
    }

    pub(super) async fn send(&self, request: &Request<'_>, email: &EmailRequest) -> Outcome {
        let bytes = match self.bytes(request, email) {
            Ok(bytes) => bytes,
            Err(fault) => return Outcome::rejected(fault),
        };
        match &self.way {
            Way::Folder(path) => self.to_folder(path, request, bytes).await,
            Way::Smtp(server) => self.over_smtp(server, request, &bytes).await,
        }
    }

    /// Sends one marked mail, and notes each stage.
    pub(super) async fn try_out(&self, trial: Trial<'_>, stages: &mut Stages) {
        let mark =
            message::Mark { key: trial.key, run: None, to: &self.settings.to, at: trial.at, log_head: trial.log_head };
        let bytes = match message::build(&self.settings, &trial::mail(trial.destination), &mark) {
            Ok(bytes) => bytes,
            Err(fault) => return stages.bad("message", fault),
        };
        let server = match &self.way {
            Way::Folder(path) => {
                return match folder::write(path, trial.key, bytes).await {
                    Ok(file) => stages.good("folder", file.display()),
                    Err(error) => stages.bad("folder", format!("cannot write into {}: {error}", path.display())),
                };
            }
            Way::Smtp(server) => server,
        };
        if !server.reach(stages).await {
            return;
        }
        let to: Vec<Address> = self.settings.to.iter().map(|to| to.email.clone()).collect();
        match server.deliver(&self.settings.from.email, &to, &bytes, stages).await {
            Ok(delivered) => {
                for (to, reason) in delivered.refused.iter().chain(&delivered.later) {
                    stages.bad(format!("RCPT TO {to}"), &reason.text);
                }
                if !delivered.accepted.is_empty() {
                    stages.good("message", delivered.reply);
                }
            }
            Err(Failure::Later(reason) | Failure::Refused(reason) | Failure::Ambiguous(reason, _)) => {
                let (stage, said) = reason.text.split_once(": ").unwrap_or(("message", &reason.text));
                stages.bad(stage, said);
            }
        }
    }

    fn bytes(&self, request: &Request<'_>, email: &EmailRequest) -> Result<Vec<u8>, String> {
        let subject =
            Subject { input: request.input, run: request.run, key: request.key, at: request.at, data: &email.data };
        let rendered = request.templates.render(&email.template, &subject)?;
        let own_subject = email.subject.as_deref().map(|text| scrub::line(text, SUBJECT_CHARS_MAX));
        let rendered = Rendered { subject: own_subject.unwrap_or(rendered.subject.clone()), ..rendered };
        let Request { key, run, at, log_head, .. } = *request;
        let to: Vec<Mailbox> = request.to.iter().filter_map(mailbox).collect();
        message::build(&self.settings, &rendered, &message::Mark { key, run: Some(run), to: &to, at, log_head })
    }

    async fn to_folder(&self, path: &std::path::Path, request: &Request<'_>, bytes: Vec<u8>) -> Outcome {
        match folder::write(path, request.key, bytes).await {
            Ok(file) => {
                let accepted: Vec<&str> = request.to.iter().map(|to| to.address.as_str()).collect();
                let value = json!({"accepted": accepted, "refused": {}, "file": file.to_string_lossy()});
                Outcome::Done(Reply { class: Class::Ok, status: None, value, error: None })
            }
            Err(error) => {
                let error = format!("cannot write into {}: {error}", path.display());
                Outcome::Again { error, status: None, after: None, ambiguous: false, progress: None }
            }
        }
    }

    async fn over_smtp(&self, server: &Server, request: &Request<'_>, bytes: &[u8]) -> Outcome {
        let known = request.progress.and_then(|progress| serde_json::from_value::<Progress>(progress.clone()).ok());
        let mut progress = known.unwrap_or_default();
        let is_open = |to: &Address| {
            let to = to.to_string();
            !progress.accepted.contains(&to) && !progress.refused.contains_key(&to)
        };
        let open: Vec<Address> = request.to.iter().filter_map(mailbox).map(|to| to.email).filter(is_open).collect();
        if open.is_empty() {
            return progress.done(None, String::new());
        }
        match server.deliver(&self.settings.from.email, &open, bytes, &mut Stages::default()).await {
            Ok(delivered) => progress.take(delivered),
            Err(Failure::Later(reason)) => progress.again(reason, false),
            Err(Failure::Refused(reason)) => {
                progress.refused.extend(open.iter().map(|to| (to.to_string(), reason.text.clone())));
                progress.done(reason.code, String::new())
            }
            Err(Failure::Ambiguous(reason, delivered)) => {
                progress.refuse(delivered.refused);
                match self.mode {
                    Mode::AtLeastOnce | Mode::Probe => progress.again(reason, true),
                    Mode::AtMostOnce => progress.unknown(reason, delivered.accepted, delivered.later),
                }
            }
        }
    }
}

impl Progress {
    /// Goes on from a dialogue that came to its end.
    fn take(mut self, delivered: Delivered) -> Outcome {
        self.accepted.extend(delivered.accepted);
        let status = delivered.refused.first().and_then(|(_, reason)| reason.code);
        self.refuse(delivered.refused);
        let Some((_, first)) = delivered.later.first() else {
            return self.done(status.filter(|_| self.accepted.is_empty()), delivered.reply);
        };
        let waiting: Vec<String> =
            delivered.later.iter().map(|(to, reason)| format!("{to}: {}", reason.text)).collect();
        let reason = Reason { text: scrub::line(&waiting.join("; "), 400), code: first.code };
        self.again(reason, false)
    }

    fn refuse(&mut self, refused: Vec<(String, Reason)>) {
        self.refused.extend(refused.into_iter().map(|(to, reason)| (to, reason.text)));
    }

    fn again(self, reason: Reason, ambiguous: bool) -> Outcome {
        let settled = !self.accepted.is_empty() || !self.refused.is_empty();
        let progress = settled.then(|| self.value());
        Outcome::Again { error: reason.text, status: reason.code, after: None, ambiguous, progress }
    }

    /// Everyone has taken the mail or refused it.
    fn done(&self, status: Option<u16>, reply: String) -> Outcome {
        let mut value = self.value();
        if !reply.is_empty() {
            value["reply"] = reply.into();
        }
        if !self.accepted.is_empty() {
            return Outcome::Done(Reply { class: Class::Ok, status: Some(250), value, error: None });
        }
        let all: Vec<String> = self.refused.iter().map(|(to, why)| format!("{to}: {why}")).collect();
        let error = Some(format!("no recipient took the mail: {}", scrub::line(&all.join("; "), 400)));
        Outcome::Done(Reply { class: Class::Rejected, status, value, error })
    }

    /// It may or may not have arrived, and sending again is forbidden.
    fn unknown(mut self, reason: Reason, unknown: Vec<String>, later: Vec<(String, Reason)>) -> Outcome {
        self.refuse(later);
        let mut value = self.value();
        value["unknown"] = unknown.into();
        Outcome::Done(Reply { class: Class::Unknown, status: reason.code, value, error: Some(reason.text) })
    }

    fn value(&self) -> Value {
        json!({"accepted": self.accepted, "refused": self.refused})
    }
}
