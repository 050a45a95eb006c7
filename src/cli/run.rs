//! `soard run`: the daemon.

use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output;
use crate::console;
use crate::daemon::logs::LogForm;
use crate::daemon::reload::LoadError;
use crate::daemon::{self, DaemonError};
use crate::journal::{Damage, JournalError, Place};

/// Run the daemon
#[derive(Debug, clap::Args)]
#[command(after_help = "Signals: HUP loads rules and playbooks anew, TERM and INT stop in good order.\n\
SOARD_LOG filters the log, for example SOARD_LOG=soard=debug.\n\n\
Examples:\n  soard run /etc/soard\n  soard run . --log json\n  tail -f events.jsonl | soard run ./folder-with-a-stdin-source")]
pub struct Args {
    /// The content folder, with soard.yaml in it; default: --dir, else the current folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Form of the log lines
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    log: LogForm,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let folder = context.folder(self.folder.as_deref());
        daemon::logs::start(self.log).map_err(|error| Fault::new("cannot reach journald").because(error))?;
        // Freed memory goes back to the system while the daemon rests. A worker, which must have one thread when it shuts
        // itself in, never comes here.
        let _ = tikv_jemalloc_ctl::background_thread::write(true);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(daemon::run(&folder, console::doors));
        // A read of standard input cannot be taken back; everything else has ended in good order.
        runtime.shutdown_background();
        ended.map_err(|error| fault(&folder, error))?;
        Ok(Exit::Good)
    }
}

fn fault(folder: &Path, error: DaemonError) -> Fault {
    let hint = match &error {
        DaemonError::Load(LoadError::Faulty(faulty)) => {
            for fault in faulty.rendered(true) {
                output::note(&format!("{fault}\n"));
            }
            "the daemon did not start; `soard check` shows the same faults"
        }
        DaemonError::Load(LoadError::Settings { .. }) => "give the folder that holds soard.yaml: soard run FOLDER",
        DaemonError::Journal(JournalError::Locked { .. }) => {
            "stop the other daemon, or give this one a state folder of its own"
        }
        DaemonError::Journal(JournalError::Corrupt(Place { damage: Damage::Base { .. }, .. })) => {
            "nothing was changed. Nothing else holds what the dropped entries added up to: restore that file from a copy of the \
             state folder, or begin with an empty one"
        }
        DaemonError::Journal(JournalError::Corrupt(place)) if place.damage.is_loss() => {
            "nothing was changed. Mount the volume that is missing, or restore a copy of the whole state folder; without one, \
             `soard log repair` shows what is lost and `soard log repair --accept-loss` goes on without it, on record"
        }
        DaemonError::Journal(_) => "`soard log verify` says what is wrong with it; nothing was changed",
        DaemonError::State { .. } => "the state folder must belong to the user that runs the daemon",
        DaemonError::Links(_) => {
            "links that were mailed with another key are refused; soard approve and deny decide, too"
        }
        DaemonError::Destinations(_) | DaemonError::Exports(_) => {
            "a secret is given as { file: … }, { credential: … } or { env: … }"
        }
        DaemonError::Key(_) => "nothing was signed or sent; the journal is as it was",
        DaemonError::Source(_) => "what was accepted is on record; cure the source and start the daemon again",
        DaemonError::Fatal(_) => "what was accepted is on record; start the daemon again",
    };
    Fault::new(format!("cannot run the daemon on {}", folder.display())).because(error).hint(hint)
}
