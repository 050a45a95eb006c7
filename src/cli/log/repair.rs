//! `soard log repair`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::log::state_of;
use crate::cli::output::{BAD, GOOD, Look, WARN, count, size, styled, when_ago};
use crate::cli::plain::{Page, safe};
use crate::daemon::{beside, clock, key, settings};
use crate::journal::repair::{Beside, Plan, plan};
use crate::journal::verify::{Known, verify_against};

/// Give up what stands behind the first damage, so that the daemon can start again
///
/// Without --accept-loss it only shows what would be lost: every entry from the first bad one on, also good ones behind it,
/// since each rests on the one before; or entries that are missing at the end, as a checkpoint, the snapshot or a base
/// tells. Restore a copy instead if you have one. With --accept-loss what is given up is moved to side files in the
/// journal's folder and beside it, and an entry says what, why and where. Where the key that signed last is not at hand, the
/// entry names the one that is. No daemon may be running.
/// Exits with 0 when there is no damage or it was repaired, with 1 when there is damage and it was only shown, or when the base
/// that the journal rests on is bad: that can only be restored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard log repair\n  soard log repair --accept-loss")]
pub struct Args {
    /// The journal's folder; the one of --dir when absent
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Give up what is shown without this option
    #[arg(long)]
    accept_loss: bool,
}

/// What was found and done.
#[derive(Debug, Serialize)]
struct Report {
    journal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<Loss>,
    /// The entry that records the repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<u64>,
    /// What was given up lies in these files.
    files: Vec<String>,
    /// What is wrong with the base that the journal rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
}

#[derive(Debug, Serialize)]
struct Loss {
    place: String,
    kept_to: u64,
    kept_at: jiff::Timestamp,
    lost_bytes: u64,
    lost_whole_entries: u64,
    lost_to: u64,
    /// The key that signs from then on, where the one in charge is not at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Files of the state folder that are set aside, since they name what is given up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beyond: Vec<String>,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let dir = self.journal.clone().unwrap_or_else(|| context.places.journal());
        let (journal, files) = (dir.display().to_string(), Vec::new());
        let mut report = Report { journal, loss: None, repaired: None, files, base: None };
        let mut exit = Exit::Good;
        let beside = self.beside(context);
        if let Some(plan) = plan(&dir, &beside)? {
            report.loss = Some(loss(&plan));
            if self.accept_loss {
                let done = plan.carry_out(&dir, &beside, clock::now())?;
                (report.repaired, report.files) = (Some(done.receipt.seq), done.files);
            } else {
                exit = Exit::Nothing;
            }
        } else if let Some(fault) = self.fault_of_base(context, &dir) {
            (report.base, exit) = (Some(fault), Exit::Nothing);
        }
        context.print(&report, human)?;
        Ok(exit)
    }

    fn fault_of_base(&self, context: &Context, dir: &Path) -> Option<String> {
        let state = if self.journal.is_some() { state_of(dir)? } else { context.places.state.clone() };
        let (behind, sha256) = verify_against(dir, &Known::default()).behind?;
        let fault = beside::fault_of_base(&state, &behind, &sha256);
        fault.map(|(file, why)| format!("{file} {why}"))
    }

    /// What lies beside the journal, where it lies in a state folder.
    fn beside(&self, context: &Context) -> Beside {
        let Some(dir) = &self.journal else {
            let state = &context.places.state;
            let read = settings::read(&context.folder(None)).ok().and_then(|read| read.settings);
            let keys = read.map_or_else(|| key::own_at_hand(state), |settings| key::at_hand(&settings));
            return beside::of(state, &keys);
        };
        state_of(dir).map(|state| beside::of(&state, &key::own_at_hand(&state))).unwrap_or_default()
    }
}

fn loss(plan: &Plan) -> Loss {
    Loss {
        place: plan.place.to_string(),
        kept_to: plan.kept.seq,
        kept_at: plan.kept_at,
        lost_bytes: plan.lost_bytes,
        lost_whole_entries: plan.lost_lines,
        lost_to: plan.lost_to,
        key: plan.key.clone(),
        beyond: plan.beyond.clone(),
    }
}

fn human(report: &Report, look: &Look) -> String {
    let mut page = Page::default();
    if let Some(base) = &report.base {
        page.line(0, styled(BAD, "the journal is good, but not the base that it rests on; nothing was changed"));
        page.labelled(2, "journal", safe(&report.journal));
        page.labelled(2, "base", safe(base));
        page.gap();
        page.line(
            0,
            "Nothing else holds what the dropped entries added up to, so no repair can make it anew.".to_owned(),
        );
        page.line(
            0,
            "Restore this file from a copy of the state folder, or begin with an empty state folder.".to_owned(),
        );
        return page.into_text();
    }
    let Some(loss) = &report.loss else {
        page.line(0, styled(GOOD, "there is no damage that keeps a daemon from starting; nothing was changed"));
        return page.into_text();
    };
    match report.repaired {
        Some(seq) => page.line(0, styled(WARN, format!("repaired with loss; entry {seq} records it"))),
        None => page.line(0, styled(BAD, "damaged; nothing was changed, and this is what a repair would give up")),
    }
    page.labelled(2, "journal", safe(&report.journal));
    page.labelled(2, "damage", safe(&loss.place));
    page.labelled(
        2,
        "kept",
        match loss.kept_to {
            0 => "nothing".to_owned(),
            seq => format!("up to entry {seq}, {}", when_ago(loss.kept_at, look)),
        },
    );
    let whole = count(loss.lost_whole_entries, "whole line");
    let to = loss.lost_to.max(loss.kept_to + 1);
    page.labelled(2, "lost", format!("entries {} to {to}: {}, {whole}", loss.kept_to + 1, size(loss.lost_bytes)));
    if let Some(key) = &loss.key {
        page.labelled(2, "key", safe(key));
        let words = "signs from then on: the one in charge is not at hand, so nobody vouches for the change";
        page.labelled(2, "", styled(WARN, words));
    }
    let aside = if report.repaired.is_some() { &report.files } else { &loss.beyond };
    for file in aside {
        page.labelled(2, "aside", safe(file));
    }
    if report.repaired.is_none() {
        page.gap();
        page.line(
            0,
            "Is the volume that holds the journal mounted? Is there a copy of the state folder to restore?".to_owned(),
        );
        page.line(
            0,
            "If not, `soard log repair --accept-loss` gives up what is lost, and says so on record.".to_owned(),
        );
    }
    page.into_text()
}
