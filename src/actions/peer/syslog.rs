//! A syslog server: RFC 5424 messages, framed by their length (RFC 6587), over TLS (RFC 5425) or, on this machine, plain TCP.
//!
//! Syslog has no answers. So each batch has a connection of its own: it is sent, our side is closed, and the server, which then reads the end
//! after all that was sent, closes its side. That counts as taken; anything else does not, and the batch is sent again.
//!
//! A close alone says little, in TLS's words too: those end only what the server says. It may have died, or stopped to read, before our bytes
//! came in: then its machine refuses them with a reset, which is waited for.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;

use crate::actions::peer::{Batch, Piece};
use crate::actions::settings::exports::peer::SyslogSettings;
use crate::actions::trial::Stages;
use crate::actions::{read_ca, scrub};
use crate::domain::alert::Severity;

/// The structured data's name; 32473 is the number that documents may use.
const STRUCTURED: &str = "soard@32473";

/// Room for the header, the structured data and the frame in a message.
const HEADER_BYTES_MAX: usize = 1024;

/// What a server may say before it closes; syslog servers say nothing.
const CHATTER_BYTES_MAX: usize = 64 * 1024;

/// A syslog server, ready to be sent to.
pub(super) struct Relay {
    settings: SyslogSettings,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    hostname: String,
}

impl Relay {
    pub(super) fn new(settings: &SyslogSettings) -> Result<Self, String> {
        let tls = if settings.tls {
            let host = settings.host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(|error| scrub::error_line(&error))?;
            Some((connector(settings.ca.as_deref())?, name))
        } else {
            None
        };
        let hostname = settings.hostname.clone().unwrap_or_else(machine);
        Ok(Self { settings: settings.clone(), tls, hostname })
    }

    pub(super) const fn line_bytes_max(&self) -> usize {
        self.settings.message_bytes_max - HEADER_BYTES_MAX
    }

    /// Sends the batch over a connection of its own and waits until the server has read all of it.
    pub(super) async fn send(&self, batch: Batch<'_>, stages: &mut Stages) -> Result<(), String> {
        let limit = self.settings.timeout.duration();
        let deadline = Instant::now() + limit;
        match timeout_at(deadline, self.exchange(batch, stages)).await {
            Ok(done) => done,
            Err(_) => {
                let why = format!("not confirmed within {:.1} s", limit.as_secs_f64());
                stages.bad("confirm", &why);
                Err(why)
            }
        }
    }

    async fn exchange(&self, batch: Batch<'_>, stages: &mut Stages) -> Result<(), String> {
        let (host, port) = (self.settings.host.as_str(), self.settings.port);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let began = Instant::now();
        let mut stream = noted("connect", TcpStream::connect((bare, port)).await, stages)?;
        let round_trip = began.elapsed();
        let peer = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
        stages.good("connect", peer);
        let bytes = self.messages(batch);
        match &self.tls {
            None => {
                hand_over(&mut stream, &bytes, stages).await?;
                settled(&stream, round_trip, stages).await
            }
            Some((connector, name)) => {
                let mut stream = noted("TLS", connector.connect(name.clone(), stream).await, stages)?;
                stages.good("TLS", "encrypted, and the certificate is good");
                hand_over(&mut stream, &bytes, stages).await?;
                let (stream, _) = stream.get_mut();
                // The words of TLS may come long before the connection's own end.
                noted("confirm", read_to_end(stream).await, stages)?;
                settled(stream, round_trip, stages).await
            }
        }
    }

    fn messages(&self, batch: Batch<'_>) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in batch.pieces {
            let message = self.message(batch.export, piece);
            all.extend_from_slice(format!("{} ", message.len()).as_bytes());
            all.extend_from_slice(message.as_bytes());
        }
        all
    }

    fn message(&self, export: &str, piece: &Piece) -> String {
        let priority = u16::from(self.settings.facility) * 8 + level(piece.severity);
        let (host, app) = (&self.hostname, &self.settings.app_name);
        let at = stamp(piece.at);
        let mut message = format!("<{priority}>1 {at} {host} {app} - {} [{STRUCTURED}", piece.sort);
        let _ = write!(message, " export=\"{export}\" seq=\"{}\" n=\"{}\"", piece.seq, piece.n);
        if let Some(alert) = piece.alert {
            let _ = write!(message, " id=\"{alert}\"");
        }
        if piece.is_snapshot {
            message.push_str(" snapshot=\"true\"");
        }
        message.push_str("] ");
        message + &piece.line
    }
}

/// Severities of syslog: critical, warning, notice, informational.
const fn level(severity: Option<Severity>) -> u16 {
    match severity {
        Some(Severity::High) => 2,
        Some(Severity::Medium) => 4,
        Some(Severity::Low) => 5,
        Some(Severity::Informational) | None => 6,
    }
}

/// To the microsecond, which is the most that RFC 5424 takes.
fn stamp(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// The machine's name as a syslog header takes it.
fn machine() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = name.chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".into() } else { name }
}

fn connector(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = Vec::new();
    if let Some(path) = ca {
        for certificate in CertificateDer::pem_slice_iter(&read_ca(path)?) {
            roots.push(certificate.map_err(|error| format!("{}: {error}", path.display()))?);
        }
        if roots.is_empty() {
            return Err(format!("no certificate in {}", path.display()));
        }
    }
    let verifier =
        Verifier::new_with_extra_roots(roots, provider.clone()).map_err(|error| scrub::error_line(&error))?;
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| scrub::error_line(&error))?;
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn noted<T>(stage: &str, done: io::Result<T>, stages: &mut Stages) -> Result<T, String> {
    done.map_err(|error| {
        let why = scrub::error_line(&error);
        stages.bad(stage, &why);
        format!("{stage}: {why}")
    })
}

/// Sends everything, closes our side, and waits for the server to close its own.
async fn hand_over(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    bytes: &[u8],
    stages: &mut Stages,
) -> Result<(), String> {
    let sent = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    };
    noted("send", sent.await, stages)?;
    stages.good("send", format!("{} bytes", bytes.len()));
    noted("confirm", read_to_end(stream).await, stages)
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let (mut buffer, mut said) = ([0; 1024], 0);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
            Ok(n) => said += n,
        }
        if said > CHATTER_BYTES_MAX {
            return Err(io::Error::other("the server talks, which syslog servers do not"));
        }
    }
}

/// Shortest wait for a reset.
const SETTLE_MIN: Duration = Duration::from_millis(20);

/// Waits for as long as a reset would take. None comes when the server had read everything before it closed.
async fn settled(stream: &TcpStream, round_trip: Duration, stages: &mut Stages) -> Result<(), String> {
    sleep((round_trip * 3).max(SETTLE_MIN)).await;
    let refused = stream.take_error().and_then(|error| error.map_or(Ok(()), Err));
    noted("confirm", refused, stages)?;
    stages.good("confirm", "the server has read to the end and closed");
    Ok(())
}
