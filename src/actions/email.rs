//! Sends a mail to each recipient and says who took it.
//!
//! Each gets a message of their own rather than all of them the same one: it can hold links that only they may use, it names
//! nobody else, and a server that chokes on one of them has still taken the others. The price is a transaction for each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::actions::message::{Mark, OwnLinks};
use crate::actions::settings::email::{EmailSettings, Transport, mailbox};
use crate::actions::smtp::{Delivered, Letter, Reason, Server};
use crate::actions::templates::{Background, Rendered, Subject, Templates};
use crate::actions::trial::{self, Stages};
use crate::actions::{Outcome, Request, Trial, folder, message, resolve, scrub};
use crate::domain::effect::{Class, EffectKey, EmailRequest, Mode, Reply};
use crate::domain::id::RunId;
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
    /// In doubt where doubles are forbidden, so never sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
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
        let known = request.progress.and_then(|progress| serde_json::from_value::<Progress>(progress.clone()).ok());
        let progress = known.unwrap_or_default();
        let recipients = request.to.iter().filter_map(mailbox);
        let open: Vec<Mailbox> = recipients.filter(|to| !progress.settled(to.email.as_ref())).collect();
        match (self.letters(request, email, open).await, &self.way) {
            (Err(fault), _) => Outcome::rejected(fault),
            (Ok(letters), Way::Folder(path)) => to_folder(path, request, letters, progress).await,
            (Ok(letters), Way::Smtp(_)) if letters.is_empty() => progress.done(None, String::new(), None),
            (Ok(letters), Way::Smtp(server)) => {
                let delivered = server.deliver(&self.settings.from.email, &letters, &mut Stages::default()).await;
                progress.take(delivered, self.mode)
            }
        }
    }

    /// Sends one marked mail to each recipient, and notes each stage.
    pub(super) async fn try_out(&self, trial: Trial<'_>, stages: &mut Stages) {
        let mut letters = Vec::new();
        for to in &self.settings.to {
            let Trial { key, at, log_head, .. } = trial;
            let mark = Mark { key, run: None, to, thread: None, links: &OwnLinks::default(), at, log_head };
            match message::build(&self.settings, &trial::mail(trial.destination), &mark) {
                Ok(bytes) => letters.push(Letter { to: to.email.clone(), bytes }),
                Err(fault) => return stages.bad("message", fault),
            }
        }
        let server = match &self.way {
            Way::Folder(path) => {
                for Letter { to, bytes } in letters {
                    match folder::write(path, &message::local_part(trial.key, &to), bytes).await {
                        Ok(file) => stages.good("folder", file.display()),
                        Err(error) => stages.bad("folder", format!("cannot write into {}: {error}", path.display())),
                    }
                }
                return;
            }
            Way::Smtp(server) => server,
        };
        if !server.reach(stages).await {
            return;
        }
        let Delivered { accepted, refused, later, unknown, stopped, reply } =
            server.deliver(&self.settings.from.email, &letters, stages).await;
        for (to, reason) in refused.iter().chain(&later).chain(&unknown) {
            stages.bad(reason.stage_for(to), &reason.text);
        }
        if let Some(reason) = stopped {
            stages.bad(reason.stage, &reason.text);
        }
        if !accepted.is_empty() {
            stages.good("message", reply);
        }
    }

    /// Renders aside: a bundle's templates may take their time, and what waits for the network must not wait for them.
    async fn letters(
        &self,
        request: &Request<'_>,
        email: &EmailRequest,
        open: Vec<Mailbox>,
    ) -> Result<Vec<Letter>, String> {
        let draft = Draft {
            settings: self.settings.clone(),
            email: email.clone(),
            key: request.key.clone(),
            run: request.run.clone(),
            at: request.at,
            log_head: request.log_head.to_owned(),
            thread: request.thread.map(ToOwned::to_owned),
            input: request.input.clone(),
            background: request.background.clone(),
            templates: request.templates.clone(),
            links: request.links.clone(),
        };
        let all = move || open.into_iter().map(|to| Ok(Letter { bytes: draft.bytes(&to)?, to: to.email })).collect();
        tokio::task::spawn_blocking(all).await.expect("templates and what they show are values")
    }
}

/// A mail before it is rendered for each recipient, apart from the attempt that sends it.
struct Draft {
    settings: EmailSettings,
    email: EmailRequest,
    key: EffectKey,
    run: RunId,
    at: Timestamp,
    log_head: String,
    thread: Option<String>,
    input: Value,
    background: Background,
    templates: Templates,
    links: BTreeMap<String, OwnLinks>,
}

impl Draft {
    fn bytes(&self, to: &Mailbox) -> Result<Vec<u8>, String> {
        let Self { settings, email, key, run, input, background, .. } = self;
        let none = OwnLinks::default();
        let links = self.links.get(&to.email.to_string()).unwrap_or(&none);
        let (at, log_head, thread) = (self.at, &*self.log_head, self.thread.as_deref());
        let subject = Subject { input, run, key, at, data: &email.data, background, links };
        let rendered = self.templates.render(&email.template, &subject)?;
        let own_subject = email.subject.as_deref().map(|text| scrub::line(text, SUBJECT_CHARS_MAX));
        let own_subject = own_subject.filter(|text| !text.is_empty());
        let rendered = Rendered { subject: own_subject.unwrap_or(rendered.subject.clone()), ..rendered };
        message::build(settings, &rendered, &Mark { key, run: Some(run), to, thread, links, at, log_head })
    }
}

/// A file for each recipient; the same key and recipient replace their own.
async fn to_folder(path: &Path, request: &Request<'_>, letters: Vec<Letter>, progress: Progress) -> Outcome {
    let mut files = Vec::new();
    let mut accepted = progress.accepted;
    for Letter { to, bytes } in letters {
        match folder::write(path, &message::local_part(request.key, &to), bytes).await {
            Ok(file) => files.push(file.to_string_lossy().into_owned()),
            Err(error) => {
                let error = format!("cannot write into {}: {error}", path.display());
                return Outcome::Again { error, status: None, after: None, ambiguous: false, progress: None };
            }
        }
        accepted.push(to.to_string());
    }
    let value = json!({"accepted": accepted, "refused": {}, "files": files});
    Outcome::Done(Reply { class: Class::Ok, status: None, value, error: None })
}

impl Progress {
    fn settled(&self, to: &str) -> bool {
        self.refused.contains_key(to)
            || [&self.accepted, &self.unknown].iter().any(|known| known.iter().any(|it| it == to))
    }

    /// Goes on from what an attempt brought.
    fn take(mut self, delivered: Delivered, mode: Mode) -> Outcome {
        let Delivered { accepted, refused, later, unknown, stopped, reply } = delivered;
        self.accepted.extend(accepted);
        let status = refused.first().and_then(|(_, reason)| reason.code);
        self.refused.extend(refused.into_iter().map(|(to, reason)| (to, reason.line())));
        let waits = words(later.iter().chain(&unknown).map(|(to, reason)| (Some(to), reason)), stopped.as_ref());
        let first = later.iter().chain(&unknown).map(|(_, reason)| reason).chain(&stopped).next();
        let code = first.and_then(|reason| reason.code);
        if mode == Mode::AtMostOnce {
            self.unknown.extend(unknown.iter().map(|(to, _)| to.clone()));
            if later.is_empty() && stopped.is_none() {
                let code = if self.unknown.is_empty() { status } else { code };
                return self.done(code, reply, first.map(Reason::line));
            }
        }
        if first.is_none() {
            return self.done(status, reply, None);
        }
        let ambiguous = mode != Mode::AtMostOnce && !unknown.is_empty();
        let settled = !(self.accepted.is_empty() && self.refused.is_empty() && self.unknown.is_empty());
        let progress = settled.then(|| self.value());
        Outcome::Again { error: waits, status: code, after: None, ambiguous, progress }
    }

    /// Nobody is left to be sent a mail: they have taken it or refused it, or it is unclear and they must not get another.
    fn done(&self, status: Option<u16>, reply: String, doubt: Option<String>) -> Outcome {
        let mut value = self.value();
        if !self.unknown.is_empty() {
            let error = doubt.unwrap_or_else(|| "it may or may not have arrived at all recipients".into());
            return Outcome::Done(Reply { class: Class::Unknown, status, value, error: Some(error) });
        }
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

    fn value(&self) -> Value {
        serde_json::to_value(self).expect("lists of text")
    }
}

/// Who waits and why; what is true of nobody in particular stands alone.
fn words<'a>(each: impl Iterator<Item = (Option<&'a String>, &'a Reason)>, stopped: Option<&'a Reason>) -> String {
    let all = each.chain(stopped.map(|reason| (None, reason)));
    let said = all.map(|(to, reason)| to.map_or_else(|| reason.line(), |to| format!("{to}: {}", reason.line())));
    scrub::line(&said.collect::<Vec<_>>().join("; "), 400)
}
