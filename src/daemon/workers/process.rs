//! One worker process as the daemon sees it.

use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::bundle::{self, Bundle};
use crate::daemon::workers::sandbox::{CPU_SECS_MAX, HEAP_BYTES_MAX};
use crate::daemon::workers::wire::{self, Ask, Job, Tell};
use crate::playbooks::evaluate::Evaluated;
use crate::yaml::diagnostic::Sources;

/// Bundles that one worker keeps compiled; for another it is replaced.
const BUNDLES_MAX: usize = 4;
/// How long a worker may take to start or to compile a bundle. Its processor time is bounded more closely.
const START_MAX: Duration = Duration::from_secs(60);
/// What the system counts processor time in, as it tells programs.
const TICK_MILLIS: u64 = 10;
/// Bytes of a dying worker's words that are read.
const WORDS_BYTES_MAX: u64 = 4 * 1024;

/// A running worker.
pub struct Process {
    child: Child,
    socket: BufReader<UnixStream>,
    loaded: Vec<String>,
    /// Protections that it could not have.
    pub lacks: Vec<String>,
}

/// How long a batch may take: a machine that is busy with something else is no fault of a playbook.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// Of the processors.
    pub cpu: Duration,
    /// On the clock, at most, when the worker gets little of the processors.
    pub clock: Duration,
}

/// Why a batch was not answered to its end.
pub enum Broken {
    /// The time that this lane gives was over.
    Late,
    /// The worker died, or spoke nonsense.
    Died,
}

/// Has a worker compile the scripts of a bundle, and says what it died of. Faults of the scripts are for the daemon to
/// find; where no worker starts, it does without.
///
/// # Errors
/// What the worker died of.
pub fn trial(files: &Sources) -> Result<(), String> {
    let mut process = match Process::start(0) {
        Ok(process) => process,
        Err(error) => {
            tracing::warn!(%error, "no worker starts to try the playbooks; they are compiled untried");
            return Ok(());
        }
    };
    process.send("trial", files).map_err(|_| process.cause_of_death())
}

impl Process {
    /// Starts a worker: this very binary, without environment, with one end of a socket pair as standard input.
    ///
    /// # Errors
    /// When the system gives no process.
    pub fn start(nice: i32) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // The binary that runs, even when an upgrade has put another in its place.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("soard").arg("worker").env_clear().current_dir("/").process_group(0);
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn()?;
        drop(command);
        if let (true, Ok(pid)) = (nice > 0, i32::try_from(child.id())) {
            // Where the system refuses it, scripts compete with the daemon on equal terms.
            let _ = rustix::process::setpriority_process(rustix::process::Pid::from_raw(pid), nice);
        }
        ours.set_write_timeout(Some(START_MAX))?;
        let mut process = Self { child, socket: BufReader::new(ours), loaded: Vec::new(), lacks: Vec::new() };
        match process.hear(&mut Patience::until(START_MAX)) {
            Ok(Tell::Ready { lacks }) => process.lacks = lacks,
            _ => return Err(io::Error::other(process.cause_of_death())),
        }
        Ok(process)
    }

    /// Whether it can take these bundles beside those it has.
    pub fn has_room_for(&self, bundle: &str) -> bool {
        self.loaded.iter().any(|loaded| loaded == bundle) || self.loaded.len() < BUNDLES_MAX
    }

    /// Sends a bundle's scripts, once. A fault of the bundle shows in the answers of its jobs.
    ///
    /// # Errors
    /// [`Broken`]
    pub fn load(&mut self, bundle: &Bundle) -> Result<(), Broken> {
        if self.loaded.contains(&bundle.id) {
            return Ok(());
        }
        self.send(&bundle.id, &bundle.files)
    }

    fn send(&mut self, id: &str, files: &Sources) -> Result<(), Broken> {
        let ask = Ask::Load { bundle: id.to_owned(), files: bundle::scripts(files) };
        match self.tell(&ask).and_then(|()| self.hear(&mut Patience::until(START_MAX)))? {
            Tell::Loaded { .. } => self.loaded.push(id.to_owned()),
            Tell::Ready { .. } | Tell::Evaluated(_) => return Err(Broken::Died),
        }
        Ok(())
    }

    /// Evaluates a batch; the answers come in its order, and stop where the worker broke.
    pub fn evaluate(&mut self, jobs: Vec<Job>, time: Time) -> (Vec<Evaluated>, Result<(), Broken>) {
        let count = jobs.len();
        let mut answers = Vec::with_capacity(count);
        if let Err(broken) = self.tell(&Ask::Evaluate(jobs)) {
            return (answers, Err(broken));
        }
        let mut patience = Patience::new(self.child.id(), time);
        while answers.len() < count {
            match self.hear(&mut patience) {
                Ok(Tell::Evaluated(evaluated)) => answers.push(evaluated),
                Ok(Tell::Ready { .. } | Tell::Loaded { .. }) => return (answers, Err(Broken::Died)),
                Err(broken) => return (answers, Err(broken)),
            }
        }
        (answers, Ok(()))
    }

    fn tell(&mut self, ask: &Ask) -> Result<(), Broken> {
        wire::write(self.socket.get_mut(), ask).map_err(|_| Broken::Died)
    }

    /// The next frame. The socket's time-out is for one read, so it is set anew for each.
    fn hear(&mut self, patience: &mut Patience) -> Result<Tell, Broken> {
        let mut timed = Timed { socket: &mut self.socket, patience };
        wire::read(&mut timed).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Broken::Late,
            _ => Broken::Died,
        })
    }

    /// Ends the process and says what it died of, for people.
    pub fn cause_of_death(mut self) -> String {
        let ended = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let status = ended.or_else(|| self.child.wait().ok());
        let mut words = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(WORDS_BYTES_MAX).read_to_end(&mut words);
        }
        death(status, &String::from_utf8_lossy(&words))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long to wait for a worker.
struct Patience {
    until: Instant,
    worker: Option<Busy>,
}

/// A worker whose processor time counts, once more than that has passed on the clock.
struct Busy {
    pid: u32,
    time: Time,
    /// When it is over all the same.
    end: Instant,
    /// What it had used when it was first looked at: nearly all batches are done before that, and cost no look.
    before: Option<Duration>,
}

impl Patience {
    /// Until a time has passed on the clock.
    fn until(within: Duration) -> Self {
        Self { until: Instant::now() + within, worker: None }
    }

    /// Until the time has passed on the clock and the worker has had as much of the processors since.
    fn new(pid: u32, time: Time) -> Self {
        let now = Instant::now();
        Self { until: now + time.cpu, worker: Some(Busy { pid, time, end: now + time.clock, before: None }) }
    }

    /// What is left.
    fn left(&mut self) -> Duration {
        let now = Instant::now();
        if now >= self.until
            && let Some(worker) = &mut self.worker
            && let Some(used) = cpu_time(worker.pid)
        {
            let before = *worker.before.get_or_insert(used);
            let more = worker.time.cpu.saturating_sub(used.saturating_sub(before));
            self.until = if more.is_zero() { self.until } else { worker.end.min(now + more) };
        }
        self.until.saturating_duration_since(now)
    }
}

/// Processor time that a process has used; `None` when the system does not tell.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // What stands in parentheses is a name that may hold anything; 11 fields lie between it and the two times.
    let mut times = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * TICK_MILLIS))
}

/// A reader that gives up when patience is at its end.
struct Timed<'a> {
    socket: &'a mut BufReader<UnixStream>,
    patience: &'a mut Patience,
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.socket.buffer().is_empty() {
                let left = self.patience.left();
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.socket.get_ref().set_read_timeout(Some(left))?;
            }
            match self.socket.read(into) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                read => return read,
            }
        }
    }
}

fn death(status: Option<ExitStatus>, words: &str) -> String {
    let signal = status.and_then(|status| status.signal());
    if words.contains("overflowed its stack") {
        "it used up its stack".into()
    } else if words.to_lowercase().contains("allocat") {
        format!("it used up its memory ({} MiB)", HEAP_BYTES_MAX / 1024 / 1024)
    } else if signal == Some(libc::SIGXCPU) {
        format!("it used more than {CPU_SECS_MAX} seconds of processor time")
    } else if let Some(panic) = words.lines().nth(1).filter(|_| words.contains("panicked at")) {
        format!("the interpreter failed: {panic}")
    } else if let Some(signal) = signal {
        format!("signal {signal} ended it")
    } else {
        "it ended early".into()
    }
}
