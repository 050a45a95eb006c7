//! An HTTP endpoint: a batch is one request, and any 2xx takes it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::actions::Outcome;
use crate::actions::peer::{Batch, Refusal};
use crate::actions::settings::exports::peer::HttpSettings;
use crate::actions::trial::{self, Stages};
use crate::actions::webhook::lines::Lines;
use crate::actions::webhook::{CONNECT_TIMEOUT_MAX, Clients, Sender};
use crate::domain::effect::{Class, Mode};
use crate::domain::export::Format;
use crate::domain::secret::{Secret, SecretRef};

/// The status of a peer that takes smaller batches only.
const TOO_LARGE: u16 = 413;

/// An endpoint, ready to be sent to.
pub(super) struct Endpoint {
    sender: Sender,
    gzip: bool,
    content_type: &'static str,
}

impl Endpoint {
    pub(super) fn new(
        settings: &HttpSettings,
        format: Format,
        secrets: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    ) -> Result<Self, String> {
        let sender = Sender::new(&settings.webhook, Mode::AtLeastOnce, secrets, &mut Clients::default())?;
        let content_type = match format {
            Format::Json | Format::Ocsf => "application/x-ndjson",
            Format::Cef => "text/plain; charset=utf-8",
        };
        Ok(Self { sender, gzip: settings.gzip, content_type })
    }

    pub(super) async fn post(&self, batch: Batch<'_>) -> Result<(), Refusal> {
        let body = batch.lines().into_bytes();
        let key = batch.key(&body);
        let bytes = if self.gzip { packed(&body)? } else { body };
        let (log_head, now) = (batch.log_head, batch.now);
        let lines = Lines { key: &key, content_type: self.content_type, gzip: self.gzip, bytes, log_head, now };
        match self.sender.post(lines).await {
            Outcome::Done(reply) if reply.class == Class::Ok => Ok(()),
            Outcome::Done(reply) => {
                let too_large = reply.status == Some(TOO_LARGE);
                let why = reply.error.unwrap_or_else(|| "it was not taken".into());
                Err(Refusal { why, after: None, too_large, is_clear: true })
            }
            Outcome::Again { error, after, .. } => {
                Err(Refusal { why: error, is_clear: after.is_some(), after, too_large: false })
            }
        }
    }

    pub(super) async fn reach(&self, stages: &mut Stages) -> bool {
        let (host, port) = self.sender.target();
        trial::reach(&host, port, CONNECT_TIMEOUT_MAX, stages).await
    }
}

fn packed(body: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.map_err(|error| format!("cannot compress the batch: {error}"))
}
