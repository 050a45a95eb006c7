//! Delivery against real and hostile peers: what a receiver gets, and how every failure is classed.

mod corpus;
mod http;
mod looks;
mod mail;
mod probe;
mod settings;
mod smtp_faults;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use soard::actions::message::OwnLinks;
use soard::actions::settings::recipients::Recipients;
use soard::actions::settings::{Settings, read_settings};
use soard::actions::templates::{Background, Templates};
use soard::actions::{Actions, Outcome, Request};
use soard::domain::effect::{Effect, EffectKey, EmailRequest, Reply, WebhookRequest};
use soard::domain::id::RunId;
use soard::domain::recipient::Addressee;
use soard::domain::secret::{Secret, SecretRef};
use soard::yaml::node;
use soard::yaml::reader::Faults;
use tokio::time::timeout;

/// No outcome of any test may take longer; the destinations' limits are far below.
const LOG_HEAD: &str = "17:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const PATIENCE: Duration = Duration::from_secs(20);

/// Destinations as soard.yaml has them, and everything that a request brings along.
struct World {
    actions: Actions,
    templates: Templates,
    run: RunId,
    key: EffectKey,
    input: Value,
    progress: Option<Value>,
    to: Vec<Addressee>,
    background: Background,
    thread: Option<String>,
    links: BTreeMap<String, OwnLinks>,
    in_doubt: bool,
}

fn parse(yaml: &str) -> (Settings, Faults) {
    let mut faults = Faults::default();
    let node = node::parse(&"soard.yaml".into(), yaml).expect("the test's YAML parses");
    (read_settings(Some(&node), None, Recipients::default(), &mut faults), faults)
}

/// The value of every secret in these tests is in its reference.
fn secret(secret: &SecretRef) -> Result<Secret, String> {
    match secret {
        SecretRef::Env(value) => Ok(Secret::new(value.clone())),
        other => Err(format!("no {other} here")),
    }
}

impl World {
    fn new(yaml: &str) -> Self {
        let (settings, faults) = parse(yaml);
        assert!(faults.found.is_empty(), "{:#?}", faults.found);
        let run: RunId = "a-1.0/notify".parse().unwrap();
        let to = settings.recipients("mail", &[]).into_iter().map(|recipient| recipient.to).collect();
        Self {
            actions: Actions::new(settings, &secret).unwrap(),
            templates: Templates::default(),
            key: EffectKey::new("journal", &run, 0),
            run,
            input: alert(),
            progress: None,
            to,
            background: Background::default(),
            thread: None,
            links: BTreeMap::new(),
            in_doubt: false,
        }
    }

    async fn send(&self, effect: &Effect) -> Outcome {
        let request = Request {
            key: &self.key,
            effect,
            attempt: 1,
            at: "2026-11-22T01:00:00Z".parse::<Timestamp>().unwrap(),
            now: "2026-11-22T01:02:03Z".parse::<Timestamp>().unwrap(),
            run: &self.run,
            input: &self.input,
            templates: &self.templates,
            to: &self.to,
            background: &self.background,
            thread: self.thread.as_deref(),
            links: &self.links,
            log_head: LOG_HEAD,
            progress: self.progress.as_ref(),
            in_doubt: self.in_doubt,
        };
        timeout(PATIENCE, self.actions.send(request)).await.expect("every attempt is bounded in time")
    }

    async fn post(&self, body: Value) -> Outcome {
        self.send(&webhook(Some(body))).await
    }

    async fn mail(&self) -> Outcome {
        self.send(&email(None)).await
    }
}

fn webhook(body: Option<Value>) -> Effect {
    Effect::Webhook(WebhookRequest {
        destination: "hook".into(),
        method: None,
        path: Vec::new(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body,
    })
}

fn email(subject: Option<&str>) -> Effect {
    Effect::Email(EmailRequest {
        destination: "mail".into(),
        template: "alert".into(),
        subject: subject.map(String::from),
        data: Map::new(),
    })
}

#[track_caller]
fn done(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Done(reply) => reply,
        other => panic!("not done: {other:?}"),
    }
}

/// The class in one word, for tables of failures.
fn class(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(reply) => format!("{:?}", reply.class).to_lowercase(),
        Outcome::Again { ambiguous: true, .. } => "ambiguous".into(),
        Outcome::Again { .. } => "again".into(),
    }
}

/// What an alert of the quickstart looks like, with all that a mail can show.
fn alert() -> Value {
    json!({
        "id": "a-1042.0", "source": "defender", "vendor": "Microsoft", "product": "Microsoft Defender for Cloud",
        "kind": "VM_SuspiciousPowerShell", "title": "Suspicious PowerShell",
        "description": "Analysis of host data detected a PowerShell script with features of known suspicious scripts.\n\nThe script could be legitimate, or a sign of a compromised host.",
        "severity": "high", "source_severity": "High", "status": "active",
        "tactics": ["Execution"], "techniques": ["T1059.001"],
        "start": "2026-11-22T00:41:07Z", "end": "2026-11-22T00:43:30Z", "received": "2026-11-22T01:00:00Z",
        "host": "web-01", "account": "CONTOSO\\alice", "ip": "203.0.113.77",
        "entities": {
            "host": [{"name": "web-01", "os": "Windows", "domain": "contoso.example"}],
            "account": [{"name": "CONTOSO\\alice", "sid": "S-1-5-21-1004336348-1177238915-682003330-1001"}],
            "process": [{"command_line": "powershell.exe -NoProfile -EncodedCommand SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAIABOAGUAdAAuAFcAZQBiAEMAbABpAGUAbgB0ACkALgBEAG8AdwBuAGwAbwBhAGQAUwB0AHIAaQBuAGcA", "pid": 4711}],
            "ip": [{"address": "203.0.113.77", "country": "NL"}],
        },
        "resources": ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/production/providers/Microsoft.Compute/virtualMachines/web-01"],
        "remediation": ["Check with alice whether she ran the script.", "If not, isolate web-01 and reset the account's password.", "Look for the same command line on other hosts."],
        "links": [{"label": "Open in Defender", "url": "https://portal.example.com/alerts/2518?tenant=1&view=full"}],
    })
}

/// A certificate authority and a certificate of its for `localhost` and 127.0.0.1, made by openssl.
fn certificates(folder: &Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca.key -out ca.pem \
                  -subj /CN=test-ca -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign 2>&1 && \
                  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out req.pem -subj /CN=localhost 2>&1 && \
                  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' > ext && \
                  openssl x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem 2>&1";
    let output = std::process::Command::new("sh").arg("-c").arg(script).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
