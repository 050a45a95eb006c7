//! Where the daemon is, and how to read the journal when none answers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hyper::StatusCode;
use rusqlite::Connection;

use crate::cli::Global;
use crate::cli::client::{Client, ClientError, escape, with_query};
use crate::cli::fault::Fault;
use crate::cli::output;
use crate::cli::scrub;
use crate::daemon::bundle::Bundles;
use crate::daemon::clock;
use crate::daemon::likeness::{Likeness, NoLikeness, Wanted, likeness};
use crate::daemon::measures::{self, Ground, Measures};
use crate::daemon::query::alert::{self, AlertView};
use crate::daemon::query::deliveries::{self, DeliveryFilter, DeliveryList, DeliveryView};
use crate::daemon::query::log::{self, LogFilter, LogPage};
use crate::daemon::query::quarantine::{self, QuarantineFilter, QuarantineList, QuarantineView};
use crate::daemon::query::run::{self, RunView};
use crate::daemon::query::runs::{self, RunFilter, RunList};
use crate::daemon::query::why::{Subject, Why, why};
use crate::daemon::query::{LogLine, QueryError, lines, lines_about};
use crate::daemon::report::Indexed;
use crate::daemon::settings::{socket, state_dir_of};
use crate::daemon::suppressions::{self, SuppressionsReport};
use crate::domain::effect::EffectKey;
use crate::domain::id::{AlertId, RunId};
use crate::index::IndexError;
use crate::index::facets::{Facet, facet};
use crate::index::mentions::about_all;
use crate::index::noise::{NoiseReport, NoiseRequest, noise};
use crate::index::place::Place;
use crate::index::query::{self as listing, Page, Request};
use crate::index::readers::Readers;
use crate::index::schema;
use crate::index::story::{Story, story};
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
    /// From the files of the journal and the index, in a state folder.
    Journal(Reader, Place, PathBuf),
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
                Ok(Self::Journal(reader, Place::of(&places.state), places.state.clone()))
            }
            Err(cause) => {
                let cause = output::with_causes(&cause);
                Err(Fault::from(unreachable).hint(format!("{START_HINT}; nor can its journal be read: {cause}")))
            }
        }
    }

    /// Lists alerts.
    pub fn alerts(&self, request: &Request) -> Result<Indexed<Page>, Fault> {
        match self {
            Self::Daemon(client) => client.get(&asked("/alerts", request)).map_err(spoken),
            Self::Journal(reader, place, _) => {
                indexed(reader, place, |conn| listing::list(conn, request, clock::now()))
            }
        }
    }

    /// Counts alerts by the values of a field.
    pub fn facet(&self, request: &Request, field: &str) -> Result<Indexed<Facet>, Fault> {
        match self {
            Self::Daemon(client) => {
                client.get(&with_pairs(&format!("/facets/{}", escape(field)), filters(request))).map_err(spoken)
            }
            Self::Journal(reader, place, _) => indexed(reader, place, |conn| facet(conn, request, field, clock::now())),
        }
    }

    /// Reports who makes noise.
    pub fn noisy(&self, request: &NoiseRequest) -> Result<Indexed<NoiseReport>, Fault> {
        match self {
            Self::Daemon(client) => client.get(&with_query("/reports/noisy", request)).map_err(spoken),
            Self::Journal(reader, place, _) => indexed(reader, place, |conn| noise(conn, request, clock::now())),
        }
    }

    /// Reports what suppressions hold back.
    pub fn suppressions(&self) -> Result<Indexed<SuppressionsReport>, Fault> {
        match self {
            Self::Daemon(client) => client.get("/reports/suppressions").map_err(spoken),
            Self::Journal(reader, place, state) => {
                indexed(reader, place, |conn| suppressions::report(conn, state, None, clock::now()))
            }
        }
    }

    /// Tells an alert's history.
    pub fn history(&self, id: AlertId) -> Result<Option<Indexed<Story>>, Fault> {
        match self {
            Self::Daemon(client) => client.find(&format!("/alerts/{id}/history")).map_err(spoken),
            Self::Journal(reader, place, _) => {
                let Indexed { answer, behind } = indexed(reader, place, |conn| Ok(Found(story(conn, id)?)))?;
                Ok(answer.0.map(|answer| Indexed { answer, behind }))
            }
        }
    }

    /// Tells what can be done about an alert; without a daemon, as the bundle has it that decided it last.
    pub fn measures(&self, id: AlertId) -> Result<Option<Indexed<Measures>>, Fault> {
        match self {
            Self::Daemon(client) => client.find(&format!("/alerts/{id}/measures")).map_err(spoken),
            Self::Journal(reader, place, _) => {
                let decided = indexed(reader, place, |conn| measures::decided_by(ground(conn, reader), id))?;
                let Some(digits) = decided.answer else { return Ok(None) };
                let state = place.dir().parent().unwrap_or(Path::new("."));
                let bundle = Bundles::new(state).get_short(&digits).map_err(Fault::new)?;
                found(indexed(reader, place, |conn| measures::measures(ground(conn, reader), &bundle, id))?)
            }
        }
    }

    /// Drafts a suppression of alerts like one.
    pub fn likeness(&self, id: AlertId, wanted: &Wanted) -> Result<Option<Indexed<Likeness>>, Fault> {
        match self {
            Self::Daemon(client) => {
                let Wanted { by, owner, reason, comment, days } = wanted.clone();
                let by = by.into_iter().map(|field| ("by", Some(field)));
                let rest =
                    [("owner", owner), ("reason", reason), ("comment", comment), ("days", days.map(|n| n.to_string()))];
                let pairs = by.chain(rest).filter_map(|(name, value)| Some(format!("{name}={}", escape(&value?))));
                let query = pairs.collect::<Vec<_>>().join("&");
                client.find(&format!("/alerts/{id}/suppression?{query}")).map_err(refused)
            }
            Self::Journal(reader, place, _) => {
                let answer = indexed(reader, place, |conn| match likeness(ground(conn, reader), id, wanted) {
                    Err(NoLikeness::Index(error)) => Err(error),
                    Err(NoLikeness::Asked(why)) => Ok(Err(why)),
                    Ok(found) => Ok(Ok(found)),
                })?;
                let Indexed { answer, behind } = answer;
                let answer = answer.map_err(|why| Fault::new(why).hint("--help shows how it is said"))?;
                found(Indexed { answer, behind })
            }
        }
    }

    /// Shows an alert.
    pub fn alert(&self, id: AlertId) -> Result<Option<AlertView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&format!("/alerts/{id}")).map_err(spoken)?,
            Self::Journal(reader, place, _) => alert::show(&mut *about(reader, place, &Subject::Alert(id)), id)?,
        })
    }

    /// Says why.
    pub fn why(&self, subject: &Subject) -> Result<Option<Why>, Fault> {
        Ok(match self {
            Self::Daemon(client) => {
                client.find(&format!("/why?id={}", escape(&subject.to_string()))).map_err(spoken)?
            }
            Self::Journal(reader, place, _) => why(&mut *about(reader, place, subject), subject)?,
        })
    }

    /// Lists runs.
    pub fn runs(&self, filter: &RunFilter) -> Result<RunList, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/runs", filter)).map_err(spoken)?,
            Self::Journal(reader, ..) => runs::list(&mut lines(reader, 1), filter)?,
        })
    }

    /// Shows a run.
    pub fn run(&self, id: &RunId) -> Result<Option<RunView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&run_path(id)).map_err(spoken)?,
            Self::Journal(reader, place, _) => run::show(&mut *about(reader, place, &Subject::Run(id.clone())), id)?,
        })
    }

    /// Lists deliveries.
    pub fn deliveries(&self, filter: &DeliveryFilter) -> Result<DeliveryList, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/deliveries", filter)).map_err(spoken)?,
            Self::Journal(reader, ..) => deliveries::list(&mut lines(reader, 1), filter)?,
        })
    }

    /// Shows a delivery.
    pub fn delivery(&self, key: &EffectKey) -> Result<Option<DeliveryView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&format!("/deliveries/{key}")).map_err(spoken)?,
            Self::Journal(reader, ..) => deliveries::show(&mut lines(reader, 1), key)?,
        })
    }

    /// Lists quarantined records.
    pub fn quarantine(&self, filter: &QuarantineFilter) -> Result<QuarantineList, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/quarantine", filter)).map_err(spoken)?,
            Self::Journal(reader, ..) => quarantine::list(&mut lines(reader, 1), filter)?,
        })
    }

    /// Shows a quarantined record.
    pub fn quarantined(&self, record_no: u64) -> Result<Option<QuarantineView>, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.find(&format!("/quarantine/{record_no}")).map_err(spoken)?,
            Self::Journal(reader, ..) => quarantine::show(&mut lines(reader, 1), record_no)?,
        })
    }

    /// Reads a page of the journal. With `follow`, the daemon waits for news; the journal alone never does.
    pub fn log(&self, filter: &LogFilter) -> Result<LogPage, Fault> {
        Ok(match self {
            Self::Daemon(client) => client.get(&with_query("/log", filter)).map_err(spoken)?,
            Self::Journal(reader, ..) => {
                let head = reader.refresh()?.seq;
                log::page(&mut lines(reader, filter.start(head)), filter)?
            }
        })
    }
}

struct Found(Option<Story>);

fn ground<'a>(conn: &'a Connection, journal: &'a Reader) -> Ground<'a> {
    Ground { conn, journal, destinations: None, now: clock::now() }
}

fn found<T>(Indexed { answer, behind }: Indexed<Option<T>>) -> Result<Option<Indexed<T>>, Fault> {
    Ok(answer.map(|answer| Indexed { answer, behind }))
}

/// An answer of the index's file, and how far it is behind the journal.
fn indexed<T>(
    reader: &Reader,
    place: &Place,
    ask: impl FnOnce(&Connection) -> Result<T, IndexError>,
) -> Result<Indexed<T>, Fault> {
    let answer = Readers::new(place.clone()).query(|conn| {
        let (_, position) = schema::position(conn)?;
        Ok(Indexed { answer: ask(conn)?, behind: reader.head().seq.saturating_sub(position.seq) })
    });
    answer.map_err(|error| match error {
        error if error.is_damage() || matches!(error, IndexError::Absent { .. }) => {
            Fault::from(error).hint("`soard index rebuild` builds it from the journal")
        }
        error => error.into(),
    })
}

/// What is on record about something: the entries that the index names, or the whole journal when it cannot say.
fn about(reader: &Reader, place: &Place, subject: &Subject) -> Box<dyn Iterator<Item = Result<LogLine, QueryError>>> {
    let found = Readers::new(place.clone()).query(|conn| about_all(conn, reader, subject.mentioned()));
    match found.ok().flatten() {
        Some(about) => Box::new(lines_about(reader, about)),
        None => Box::new(lines(reader, 1)),
    }
}

/// `path` with a request as its query.
pub fn asked(path: &str, request: &Request) -> String {
    let mut pairs = filters(request);
    pairs.push(("sort", request.sort.as_str().to_owned()));
    pairs.extend(request.limit.map(|limit| ("limit", limit.to_string())));
    pairs.extend(request.cursor.clone().map(|cursor| ("cursor", cursor)));
    if request.uncounted {
        pairs.push(("count", "false".into()));
    }
    with_pairs(path, pairs)
}

/// Which alerts are meant.
fn filters(request: &Request) -> Vec<(&'static str, String)> {
    let all = ("all", request.all.to_string());
    request.filter.iter().map(|term| ("filter", term.clone())).chain([all]).collect()
}

fn with_pairs(path: &str, pairs: Vec<(&str, String)>) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!("{path}?{}", pairs.join("&"))
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

/// Where the API has a run.
pub fn run_path(id: &RunId) -> String {
    let text = id.to_string();
    let (trigger, playbook) = text.split_once('/').expect("a run id has a slash");
    format!("/runs/{trigger}/{}", escape(playbook))
}
