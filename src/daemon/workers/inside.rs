//! The worker process: shuts itself in, then evaluates what the daemon sends, until the daemon closes the socket.

use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::{panic, process, thread};

use crate::daemon::bundle;
use crate::daemon::workers::sandbox;
use crate::daemon::workers::wire::{self, Ask, Job, Tell};
use crate::playbooks::compile::compile_here;
use crate::playbooks::evaluate::{Evaluated, Playbooks};
use crate::yaml::diagnostic::{Gravity, Sources};

/// Stack of a script: far more than its 32 levels of calls need. What overflows it kills the worker.
pub const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Serves the daemon at the other end of standard input.
///
/// # Errors
/// When standard input is no socket, or the daemon is gone.
pub fn main() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr().map_err(|_| io::Error::other("a worker is started by the daemon alone"))?;
    // What panics, be it for want of memory, is not to be trusted with the next script.
    panic::set_hook(Box::new(|info| {
        let _ = writeln!(io::stderr(), "{info}");
        process::abort();
    }));
    let mut lacks = sandbox::before_threads(STACK_BYTES);
    let body = move || {
        lacks.extend(sandbox::system_calls());
        serve(&socket, lacks)
    };
    let script = thread::Builder::new().name("playbook".into()).stack_size(STACK_BYTES).spawn(body)?;
    script.join().unwrap_or_else(|_| Err(io::Error::other("the worker's thread died")))
}

fn serve(socket: &UnixStream, lacks: Vec<String>) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(socket), BufWriter::new(socket));
    let mut bundles: HashMap<String, Result<Playbooks, String>> = HashMap::new();
    wire::write(&mut to, &Tell::Ready { lacks })?;
    loop {
        to.flush()?;
        match wire::read(&mut from) {
            Ok(Ask::Load { bundle, files }) => {
                sandbox::grant_cpu();
                let compiled = compile(&files);
                wire::write(&mut to, &Tell::Loaded { fault: compiled.as_ref().err().cloned() })?;
                bundles.insert(bundle, compiled);
            }
            Ok(Ask::Evaluate(jobs)) => {
                for job in jobs {
                    sandbox::grant_cpu();
                    wire::write(&mut to, &Tell::Evaluated(evaluate(&bundles, &job)))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn compile(files: &Sources) -> Result<Playbooks, String> {
    let (scripts, lists) = bundle::scripts_and_lists(files);
    let (playbooks, faults) = compile_here(&scripts, lists);
    playbooks.ok_or_else(|| {
        let first = faults.iter().find(|fault| fault.gravity == Gravity::Error);
        first.map_or_else(|| "the playbooks are refused".into(), |fault| format!("{}: {}", fault.place, fault.message))
    })
}

fn evaluate(bundles: &HashMap<String, Result<Playbooks, String>>, job: &Job) -> Evaluated {
    let failed = |error| Evaluated::failed(error, None);
    match bundles.get(&job.bundle) {
        Some(Ok(playbooks)) => match job.input() {
            Ok(input) => playbooks.evaluate(&job.on(&input)),
            Err(error) => failed(format!("the alert is not understood: {error}")),
        },
        Some(Err(fault)) => failed(format!("bundle {} is refused: {fault}", job.bundle)),
        None => failed(format!("bundle {} was not sent to the worker", job.bundle)),
    }
}
