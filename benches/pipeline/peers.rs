//! The two daemons, and the machine they run on.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::content::{self, write};
use crate::load::Target;

/// How long a daemon may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// The header lines of a request to soard.
pub const SOARD_HEADERS: &str = "authorization: Bearer bench\r\ncontent-type: application/x-ndjson\r\n";

/// A daemon under load; killed when dropped.
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its content and state; deleted with it.
    pub folder: TempDir,
    /// From its start until it listened.
    pub start: Duration,
}

impl Peer {
    /// The real binary on a content folder with these rules. `playbook` is the only playbook, if there is one.
    pub fn soard(rules: &[(&str, String)], playbook: Option<&str>, destinations: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let settings = format!(
            "state: state\nserver: {{ listen: '{address}' }}\nsources: {{ push: {{ format: soard, http: {{ token: {{ env: SOARD_BENCH_TOKEN }} }} }} }}\n{destinations}"
        );
        write(folder.path(), "soard.yaml", &settings);
        for (path, text) in rules {
            write(folder.path(), path, text);
        }
        if let Some(text) = playbook {
            write(folder.path(), "playbooks/one.rhai", text);
        }
        Self::start_soard(folder, address)
    }

    fn start_soard(folder: TempDir, address: SocketAddr) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
        command.arg("run").arg(folder.path()).env("SOARD_BENCH_TOKEN", "bench").env("SOARD_LOG", "warn");
        let log = fs::File::create(folder.path().join("log.txt")).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self::start(command, address, folder)
    }

    /// Alertmanager with a configuration; `None` when it is not installed.
    pub fn alertmanager(config: &str) -> Option<Self> {
        Command::new("prometheus-alertmanager").arg("--version").output().ok()?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), "alertmanager.yml", config);
        let address = free_address();
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", folder.path().join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--cluster.listen-address=", "--log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Some(Self::start(command, address, folder))
    }

    fn start(mut command: Command, address: SocketAddr, folder: TempDir) -> Self {
        let began = Instant::now();
        let mut child = command.spawn().expect("the daemon starts");
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                let log = fs::read_to_string(folder.path().join("log.txt")).unwrap_or_default();
                panic!("the daemon ended with {status}\n{log}");
            }
            assert!(began.elapsed() < START_PATIENCE, "the daemon does not listen");
            thread::sleep(Duration::from_millis(2));
        }
        Self { child, address, folder, start: began.elapsed() }
    }

    /// The source of soard.
    pub fn source(&self) -> Target<'static> {
        Target { address: self.address, path: "/v1/sources/push", headers: SOARD_HEADERS }
    }

    /// The API of Alertmanager.
    pub fn alerts(&self) -> Target<'static> {
        Target { address: self.address, path: "/api/v2/alerts", headers: "content-type: application/json\r\n" }
    }

    /// Resident memory of the process and its children, in MiB.
    pub fn resident_mib(&self) -> f64 {
        let of = |pid: u32| -> f64 {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
        };
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        of(pid) + children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(of).sum::<f64>()
    }

    /// Waits until it has done next to nothing for a while, but no longer than ten minutes; how long that took.
    pub fn come_to_rest(&self) -> Duration {
        let (began, mut quiet) = (Instant::now(), 0);
        while quiet < 3 && began.elapsed() < Duration::from_secs(600) {
            let before = self.cpu();
            thread::sleep(Duration::from_secs(5));
            quiet = if self.cpu() - before < Duration::from_millis(100) { quiet + 1 } else { 0 };
        }
        began.elapsed()
    }

    /// Processor time used so far, user and system.
    pub fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 =
            fields.get(11..13).unwrap_or_default().iter().filter_map(|word| word.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Bytes of soard's journal.
    pub fn journal_bytes(&self) -> u64 {
        let files = fs::read_dir(self.folder.path().join("state/journal")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    }

    /// Stops it in good order.
    pub fn stop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }

    /// Starts soard again on the same folder.
    pub fn restart(mut self) -> Self {
        self.stop();
        let address = self.address;
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"));
        drop(self);
        Self::start_soard(folder, address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// What `dd conv=fdatasync` writes in one go to the same file system, in MiB/s.
pub fn dd(folder: &Path) -> Option<f64> {
    let file: PathBuf = folder.join("dd");
    let began = Instant::now();
    let of = format!("of={}", file.display());
    let ran = Command::new("dd").args(["if=/dev/zero", &of, "bs=1M", "count=512", "conv=fdatasync"]).output().ok()?;
    let took = began.elapsed();
    let _ = fs::remove_file(file);
    ran.status.success().then(|| 512.0 / took.as_secs_f64())
}

/// Processors, memory and system, for whoever compares figures.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kib =
        read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores, {}, {} GiB, Linux {}; soard {}; {} rules and as many routes",
        model.unwrap_or("processor not named"),
        kib >> 20,
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
        content::RULES
    )
}
