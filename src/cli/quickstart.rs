//! `soard quickstart`: the example folder with a real daemon on it, a receiver for its webhooks, and what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Request;
use include_dir::{Dir, include_dir};

use crate::cli::access::{self, Places};
use crate::cli::alerts::list;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, BOLD, FAINT, GOOD, Look, styled};
use crate::cli::plain::safe;
use crate::cli::{Context, why};
use crate::daemon::query::why::Subject;
use crate::daemon::report::Status;
use crate::daemon::settings::{socket, state_dir_of};
use crate::index::query;
use crate::index::row::Row;

static EXAMPLE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/examples/quickstart");

/// Where a clone of the repository has the example.
const IN_REPOSITORY: &str = "examples/quickstart";
/// Where it is unpacked otherwise.
const UNPACKED: &str = "soard-quickstart";
/// Where the example's webhooks go.
const RECEIVER: &str = "127.0.0.1:8478";
/// How long the example may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing must be under way before the example counts as done.
const CALM: Duration = Duration::from_millis(1500);
/// How often the daemon is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Try soard in a minute: example alerts, rules and playbooks, a real daemon, nothing else needed
///
/// Runs the daemon on examples/quickstart (unpacked to ./soard-quickstart when there is no such folder), starts a
/// small receiver for its webhooks, waits until all alerts are decided and acted upon, and shows what happened and
/// why. The daemon then goes on until Ctrl-C. The example's state and mail are emptied first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard quickstart\n  soard quickstart --once\n  soard quickstart ./my-copy")]
pub struct Args {
    /// Folder of the example
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Stop the daemon once everything is shown
    #[arg(long)]
    once: bool,
}

impl Args {
    pub(super) fn run(&self, _context: &Context) -> Result<Exit, Fault> {
        let folder = self.prepare()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let received = Received::default();
        runtime.block_on(receive(received.clone()))?;
        let mut daemon = Daemon::start(&folder)?;
        let places = Places { socket: socket(&state_dir_of(&folder)), state: state_dir_of(&folder) };
        let status = settle(&mut daemon, &places)?;
        show(&Look::of_terminal(), &folder, &places, &status, &received)?;
        if self.once {
            daemon.stop()?;
            return Ok(Exit::Good);
        }
        output::print(&next(&folder))?;
        runtime.block_on(tokio::signal::ctrl_c())?;
        daemon.stop()?;
        Ok(Exit::Good)
    }

    /// The folder, unpacked if need be, without what an earlier quickstart left.
    fn prepare(&self) -> Result<PathBuf, Fault> {
        let here = Path::new(IN_REPOSITORY);
        let folder = self
            .folder
            .clone()
            .unwrap_or_else(|| if here.join("soard.yaml").exists() { here.into() } else { UNPACKED.into() });
        let unusable = |error: io::Error| Fault::new(format!("cannot use {}", folder.display())).because(error);
        if !folder.join("soard.yaml").exists() {
            fs::create_dir_all(&folder).map_err(unusable)?;
            EXAMPLE.extract(&folder).map_err(unusable)?;
        }
        let shipped = EXAMPLE.get_file("soard.yaml").map(include_dir::File::contents);
        if fs::read(folder.join("soard.yaml")).ok().as_deref() != shipped {
            let hint = "quickstart empties its folder's state; use `soard run` for a folder of your own";
            return Err(Fault::new(format!("{} is not the example", folder.display())).hint(hint));
        }
        for left in ["state", "mail"] {
            match fs::remove_dir_all(folder.join(left)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
                _ => {}
            }
        }
        Ok(folder)
    }
}

/// What the receiver got, by path.
#[derive(Debug, Clone, Default)]
struct Received(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

/// Takes every webhook of the example.
async fn receive(received: Received) -> Result<(), Fault> {
    let address: SocketAddr = RECEIVER.parse().expect("the constant is an address");
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
        let hint = "the example's webhooks go there; stop what listens on it (another quickstart?) and try again";
        Fault::new(format!("cannot listen on {address}")).because(error).hint(hint)
    })?;
    let take = async |State(received): State<Received>, request: Request<axum::body::Body>| {
        let path = request.uri().path().to_owned();
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
        let mut all = received.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_path = all.entry(path).or_default();
        of_path.push(String::from_utf8_lossy(&body).into_owned());
        axum::Json(serde_json::json!({ "key": format!("EX-{}", of_path.len()) }))
    };
    let router = Router::new().fallback(take).with_state(received);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

/// A `soard run` of this same binary.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(folder: &Path) -> Result<Self, Fault> {
        let log = state_dir_of(folder).join("soard.log");
        let parent = log.parent().expect("the log lies in the state folder");
        fs::create_dir_all(parent)?;
        let file = fs::File::create(&log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Ok(Self { child: command.spawn()?, log })
    }

    fn stop(&mut self) -> Result<(), Fault> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have gone already: Ctrl-C reaches both.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// Waits until every alert is decided and every run has ended.
fn settle(daemon: &mut Daemon, places: &Places) -> Result<Status, Fault> {
    let (mut calm, mut last_seq, mut answered) = (Duration::ZERO, 0, None);
    for _ in 0..PATIENCE.as_millis() / ASK_EVERY.as_millis() {
        if let Some(code) = daemon.child.try_wait()? {
            let log = fs::read_to_string(&daemon.log).unwrap_or_default();
            return Err(Fault::new(format!("the daemon ended with {code}")).hint(log));
        }
        if let Some(status) = access::daemon(places).ok().and_then(|client| client.get::<Status>("/status").ok()) {
            let busy = status.runs_open + status.groups_open > 0 || status.alerts.total == 0;
            if busy || status.journal.seq != last_seq {
                (calm, last_seq) = (Duration::ZERO, status.journal.seq);
            }
            if calm >= CALM {
                return Ok(status);
            }
            answered = Some(status);
        }
        calm += ASK_EVERY;
        std::thread::sleep(ASK_EVERY);
    }
    answered.ok_or_else(|| Fault::new("the daemon does not answer").hint(format!("see {}", daemon.log.display())))
}

fn show(look: &Look, folder: &Path, places: &Places, status: &Status, received: &Received) -> Result<(), Fault> {
    let access = access::Access::open(places)?;
    let alerts = access.alerts(&query::Request::default())?;
    let dismissed = query::Request { filter: vec!["fate=suppressed".into()], ..query::Request::default() };
    let suppressed = access.alerts(&dismissed)?;
    let heading = |text: &str| output::print(&format!("\n{}\n", styled(BOLD, text)));
    heading(&format!("{} alerts are on record", status.alerts.total))?;
    output::print(&list::human(&alerts, look))?;
    heading("Dismissed by suppressions, and on record all the same")?;
    output::print(&list::human(&suppressed, look))?;
    heading("Why: the journal says what was decided, by which rule at which file and line")?;
    for row in telling(&suppressed.answer.alerts, &alerts.answer.alerts) {
        if let Some(why) = access.why(&Subject::Alert(row.id))? {
            output::print(&why::human(&why, look))?;
        }
    }
    heading("What went out")?;
    for (path, bodies) in received.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let first = bodies.first().map(String::as_str).unwrap_or_default();
        output::print(&format!("  {} × webhook {path}, the first: {}\n", bodies.len(), safe(first)))?;
    }
    for mail in mails(&folder.join("mail")) {
        output::print(&format!("  {mail}\n"))?;
    }
    Ok(())
}

/// A suppressed alert, one that came more than once, and one that was acted upon.
fn telling<'a>(suppressed: &'a [Row], rows: &'a [Row]) -> Vec<&'a Row> {
    let suppressed = suppressed.first();
    let repeated = rows.iter().find(|row| row.count > 1);
    let acted_upon = rows.iter().find(|row| !row.runs.is_empty() && row.count == 1);
    [suppressed, repeated, acted_upon].into_iter().flatten().collect()
}

fn mails(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut mails: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "eml")).collect();
    mails.sort();
    let subject = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("Subject:")).unwrap_or_default();
        safe(line.trim_start_matches("Subject:").trim())
    };
    mails.iter().map(|path| format!("mail {}: {}", path.display(), subject(path))).collect()
}

fn next(folder: &Path) -> String {
    let dir = folder.display();
    let command = std::env::args().next().unwrap_or_else(|| "soard".into());
    let line = |what: &str, how: String| format!("  {what:<28} {}\n", styled(GOOD, how));
    let mut text = format!("\n{}\n", styled(BOLD, "The daemon goes on. In another terminal:"));
    text.push_str(&line("how it stands", format!("{command} -C {dir} status")));
    text.push_str(&line("one alert in full", format!("{command} -C {dir} alerts show a-1.0")));
    text.push_str(&line("the journal as it grows", format!("{command} -C {dir} log tail -f")));
    text.push_str(&line("what a rule would do", format!("{command} explain -f {dir}/alerts/3-falco.jsonl {dir}")));
    text.push_str(&format!(
        "  {}\n",
        styled(FAINT, format!("edit a rule in {dir}/rules, drop a file into {dir}/alerts, and see; Ctrl-C stops"))
    ));
    text
}
