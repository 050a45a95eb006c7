//! Debian's rsyslog as a peer: over TLS with both of its drivers, killed and stopped in between.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::crash::live;
use crate::oracle::{expected, faults, keys};
use crate::support::{self, free_port, wait_for};
use crate::{caught_up, daemon, post};

/// A running rsyslog with a work folder of its own; it ends with the test.
pub struct Rsyslog {
    dir: PathBuf,
    pub port: u16,
    child: Option<Child>,
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").current_dir(dir).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate for localhost, and the authority that vouches for it.
fn certificates(dir: &Path) {
    let request = ["-newkey", "rsa:2048", "-nodes"];
    let authority = ["req", "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests"];
    openssl(dir, &[&authority[..], &request, &["-addext", "basicConstraints=critical,CA:TRUE"]].concat());
    openssl(dir, &[&["req", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=localhost"][..], &request].concat());
    fs::write(dir.join("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").unwrap();
    let sign = ["x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
    openssl(dir, &[&sign[..], &["-extfile", "ext", "-out", "cert.pem"]].concat());
}

impl Rsyslog {
    /// `driver`: `gtls` or `ossl`; none: plain TCP.
    pub fn new(dir: &Path, driver: Option<&str>) -> Self {
        let (dir, port) = (dir.to_owned(), free_port());
        fs::create_dir_all(dir.join("work")).unwrap();
        let path = |name: &str| dir.join(name).display().to_string();
        let mut global = format!(
            "workDirectory=\"{}\" maxMessageSize=\"64k\" parser.escapeControlCharactersOnReceive=\"off\"",
            path("work")
        );
        let mut load = "load=\"imtcp\"".to_owned();
        if let Some(driver) = driver {
            certificates(&dir);
            let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
            global.push_str(&format!(
                " defaultNetstreamDriver=\"{driver}\" defaultNetstreamDriverCAFile=\"{ca}\" defaultNetstreamDriverCertFile=\"{cert}\" defaultNetstreamDriverKeyFile=\"{key}\""
            ));
            load.push_str(&format!(
                " streamDriver.name=\"{driver}\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\""
            ));
        }
        let template = "template(name=\"all\" type=\"string\" string=\"%pri% %hostname% %app-name% %msgid% %structured-data% %msg%\\n\")";
        let log = path("log");
        let text = format!(
            "global({global})\nmodule({load})\n{template}\ninput(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             *.* action(type=\"omfile\" file=\"{log}\" template=\"all\" asyncWriting=\"off\" flushOnTXEnd=\"on\")\n"
        );
        fs::write(dir.join("conf"), text).unwrap();
        let mut server = Self { dir, port, child: None };
        server.start();
        server
    }

    pub fn start(&mut self) {
        let errors = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("errors")).unwrap();
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-i").arg(self.dir.join("pid")).arg("-f").arg(self.dir.join("conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        self.child = Some(command.spawn().expect("rsyslogd is installed: `tests/run` installs it"));
        wait_for("rsyslog to listen", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// In good order: what it has read, it writes.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        wait_for("rsyslog to stop", || child.try_wait().unwrap());
    }

    /// What it wrote: the header's fields and the message of each line.
    pub fn got(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The messages alone.
    pub fn messages(&self) -> String {
        let text = self.got();
        let messages = text.lines().filter_map(|line| Some(format!("{}\n", line.split_once("] ")?.1)));
        messages.collect()
    }

    pub fn ca(&self) -> String {
        self.dir.join("ca.pem").display().to_string()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn export(server: &Rsyslog, more: &str) -> String {
    let (port, ca) = (server.port, server.ca());
    format!(
        "  siem: {{ syslog: {{ host: localhost, port: {port}, ca: \"{ca}\", timeout: 5s, facility: local3, app_name: soc }}{more}, retries: [100ms, 200ms] }}\n"
    )
}

#[test]
fn what_rsyslog_gets_over_tls_is_whole_whatever_dies() {
    for driver in ["ossl", "gtls"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Rsyslog::new(&folder.path().join("rsyslog"), Some(driver));
        let mut daemon = daemon(folder.path(), &export(&server, ""));
        let journal = live(&mut daemon, &["siem"], if support::long() { 30 } else { 2 }, 0x10);
        daemon.start();
        server.stop();
        post(&daemon, 100_000, 100_010);
        wait_for("a failure", || (crate::report(&daemon, "siem")["failing"].as_u64() > Some(0)).then_some(()));
        server.start();
        caught_up(&daemon, "siem");
        daemon.stop();
        server.stop();
        let journal_after = daemon.journal();
        assert!(journal_after.len() > journal.len());
        assert_eq!(faults(&expected(&journal_after), &keys(&server.messages())), Vec::<String>::new(), "{driver}");
        let first = server.got().lines().next().unwrap().to_owned();
        let (pri, app) = (19 * 8 + 2, "soc");
        assert!(
            first.starts_with(&format!("{pri} "))
                && first.contains(&format!(" {app} alert [soard@32473 export=\"siem\" seq=")),
            "{first}"
        );
        assert!(first.contains(" id=\"a-1.0\"]"), "{first}");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_and_told_stage_by_stage() {
    let folder = tempfile::tempdir().unwrap();
    let server = Rsyslog::new(&folder.path().join("rsyslog"), Some("ossl"));
    let stranger = format!("  stranger: {{ syslog: {{ host: localhost, port: {}, timeout: 2s }} }}\n", server.port);
    // It takes connections and closes them unread.
    let rude = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = rude.local_addr().unwrap().port();
    std::thread::spawn(move || rude.incoming().for_each(drop));
    let rude = format!("  rude: {{ syslog: {{ host: 127.0.0.1, port: {port}, tls: none, timeout: 2s }} }}\n");
    let mut daemon = daemon(folder.path(), &(export(&server, ", format: cef") + &stranger + &rude));
    daemon.start();
    let test = |name: &str| {
        let output = daemon.soard(&["exports", "test", name, "-o", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let stages = report["stages"].as_array().cloned().unwrap_or_default();
        let stages = stages.iter().map(|stage| (stage["stage"].as_str().unwrap().to_owned(), stage["good"] == true));
        (output.status.code(), stages.collect::<Vec<_>>())
    };
    let good = ["connect", "TLS", "send", "confirm"].map(|stage| (stage.to_owned(), true)).to_vec();
    assert_eq!(test("siem"), (Some(0), good));
    let (code, stages) = test("stranger");
    assert_eq!((code, stages.last()), (Some(1), Some(&("TLS".to_owned(), false))));
    let (code, stages) = test("rude");
    assert!(code == Some(1) && stages.last().is_some_and(|(_, good)| !good), "nothing was read: {stages:?}");
    let got = wait_for("the notice", || server.got().lines().next().map(str::to_owned));
    assert!(got.contains("CEF:0|soard|soard|") && got.contains("[soard test] export siem"), "{got}");
}
