//! Where the daemon is, and how to read the journal when none answers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hyper::StatusCode;

use crate::cli::Global;
use crate::cli::client::{Client, ClientError, escape, with_query};
use crate::cli::fault::Fault;
use crate::cli::output;
use crate::cli::scrub;
use crate::daemon::query::alert::{self, AlertView};
use crate::daemon::query::alerts::{self, AlertFilter, AlertList};
use crate::daemon::query::deliveries::{self, DeliveryFilter, DeliveryList, DeliveryView};
use crate::daemon::query::lines;
use crate::daemon::query::log::{self, LogFilter, LogPage};
use crate::daemon::query::quarantine::{self, QuarantineFilter, QuarantineList, QuarantineView};
use crate::daemon::query::run::{self, RunView};
use crate::daemon::query::runs::{self, RunFilter, RunList};
use crate::daemon::query::why::{Subject, Why, why};
use crate::daemon::settings::{socket, state_dir_of};
use crate::domain::effect::EffectKey;
use crate::domain::id::{AlertId, RunId};
use crate::journal::reader::Reader;

/// Where a daemon that systemd started listens.
const SYSTEM_SOCKET: &str = "/run/soard/soard.sock";

/// Where it keeps its state.
const SYSTEM_STATE: &str = "/var/lib/soard";

/// Where a daemon is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its control socket.
    pub socket: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
}

impl Places {
    /// `--socket`, else the state folder of `--dir`, else that of a `soard.yaml` right here, else the system's.
    pub fn of(global: &Global) -> Self {
        let here = Path::new(".");
        if let Some(socket) = &global.socket {
            let beside = || socket.parent().map(Path::to_path_buf).unwrap_or_default();
            let state = global.dir.as_deref().map_or_else(beside, state_dir_of);
            return Self { socket: socket.clone(), state };
        }
        match global.dir.as_deref().or_else(|| here.join("soard.yaml").exists().then_some(here)) {
            Some(dir) => {
                let state = state_dir_of(dir);
                Self { socket: socket(&state), state }
            }
            None => Self { socket: SYSTEM_SOCKET.into(), state: SYSTEM_STATE.into() },
        }
    }

    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }
}

/// The daemon, for what only it can do.
pub fn daemon(places: &Places) -> Result<Client, Fault> {
    Client::connect(&places.socket).map_err(|error| Fault::from(error).hint(START_HINT))
}

const START_HINT: &str = "start one with `soard run DIR`, or say where it is with --dir or --socket; \
                          its control socket is open to its own user and root";

/// Reads through the daemon, or from the journal itself.
#[derive(Debug)]
pub enum Access {
    /// Through the daemon.
    Daemon(Client),
    /// From the journal's files.
    Journal(Reader),
}

impl Access {
    /// The daemon; the journal, with a note, when none answers.
    pub fn open(places: &Places) -> Result<Self, Fault> {
        let unreachable = match Client::connect(&places.socket) {
            Ok(client) => return Ok(Self::Daemon(client)),
            Err(error) => error,
        };
        match Reader::open(&places.journal()) {
            Ok(reader) => {
                let socket = scrub::line(&places.socket.display().to_string());
                let why = match &unreachable {
                    ClientError::Unreachable { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                        "not allowed to speak to the daemon"
                    }
                    _ => "no daemon",
                };
                let note = format!("note: {why} at {socket}; reading the journal directly");
                output::note(&output::styled(output::FAINT, note));
                Ok(Self::Journal(reader))
            }
            Err(cause) => {
                let cause = output::with_causes(&cause);
                Err(Fault::from(unreachable).hint(format!("{START_HINT}; nor can its journal be read: {cause}")))
            }
        }
    }

    /// Lists alerts.
    pub fn alerts(&self, filter: &AlertFilter) -> Result<AlertList, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/v1/alerts", filter)).map_err(spoken)?,
            Self::Journal(reader) => alerts::list(&|from| Box::new(lines(reader, from)), filter)?,
        })
    }

    /// Shows an alert.
    pub fn alert(&self, id: AlertId) -> Result<Option<AlertView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&format!("/v1/alerts/{id}")).map_err(spoken)?,
            Self::Journal(reader) => alert::show(&mut lines(reader, 1), id)?,
        })
    }

    /// Says why.
    pub fn why(&self, subject: &Subject) -> Result<Option<Why>, Fault> {
        Ok(match self {
            Self::Daemon(client) => {
                client.find(&format!("/v1/why/{}", escape(&subject.to_string()))).map_err(spoken)?
            }
            Self::Journal(reader) => why(&mut lines(reader, 1), subject)?,
        })
    }

    /// Lists runs.
    pub fn runs(&self, filter: &RunFilter) -> Result<RunList, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/v1/runs", filter)).map_err(spoken)?,
            Self::Journal(reader) => runs::list(&mut lines(reader, 1), filter)?,
        })
    }

    /// Shows a run.
    pub fn run(&self, id: &RunId) -> Result<Option<RunView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&format!("/v1/run?id={}", escape(&id.to_string()))).map_err(spoken)?,
            Self::Journal(reader) => run::show(&mut lines(reader, 1), id)?,
        })
    }

    /// Lists deliveries.
    pub fn deliveries(&self, filter: &DeliveryFilter) -> Result<DeliveryList, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/v1/deliveries", filter)).map_err(spoken)?,
            Self::Journal(reader) => deliveries::list(&mut lines(reader, 1), filter)?,
        })
    }

    /// Shows a delivery.
    pub fn delivery(&self, key: &EffectKey) -> Result<Option<DeliveryView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&format!("/v1/deliveries/{key}")).map_err(spoken)?,
            Self::Journal(reader) => deliveries::show(&mut lines(reader, 1), key)?,
        })
    }

    /// Lists quarantined records.
    pub fn quarantine(&self, filter: &QuarantineFilter) -> Result<QuarantineList, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/v1/quarantine", filter)).map_err(spoken)?,
            Self::Journal(reader) => quarantine::list(&mut lines(reader, 1), filter)?,
        })
    }

    /// Shows a quarantined record.
    pub fn quarantined(&self, record_no: u64) -> Result<Option<QuarantineView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&format!("/v1/quarantine/{record_no}")).map_err(spoken)?,
            Self::Journal(reader) => quarantine::show(&mut lines(reader, 1), record_no)?,
        })
    }

    /// Reads a page of the journal. With `follow`, the daemon waits for news; the journal alone never does.
    pub fn log(&self, filter: &LogFilter) -> Result<LogPage, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/v1/log", filter)).map_err(spoken)?,
            Self::Journal(reader) => {
                let head = reader.refresh()?.seq;
                log::page(&mut lines(reader, filter.start(head)), filter)?
            }
        })
    }
}

/// What the daemon found wrong with an order: wrong usage when nothing like it could ever be done.
pub fn refused(error: ClientError) -> Fault {
    match error {
        ClientError::Refused { status: StatusCode::NOT_FOUND | StatusCode::CONFLICT, error } => Fault::nothing(error),
        ClientError::Refused { status: StatusCode::BAD_REQUEST, error } => {
            Fault::new(error).hint("--help shows how it is said")
        }
        other => spoken(other),
    }
}

/// A refusal with what to do about it.
pub fn spoken(error: ClientError) -> Fault {
    let forbidden = matches!(&error, ClientError::Refused { status, .. } if status.as_u16() == 403);
    let fault = Fault::from(error);
    if forbidden { fault.hint("run the command as the daemon's user, for example with sudo") } else { fault }
}
