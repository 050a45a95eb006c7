//! `soard silence expire` and `update`.

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::silence::add::human;
use crate::console::shared::Comment;
use crate::console::silences::End;
use crate::daemon::report::OrderReport;
use crate::domain::id::SilenceId;
use crate::domain::time::Span;

/// End a silence now
///
/// Alerts that it held are decided anew when they are reported again; nothing is started for them before.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard silence expire s-3 -c \"the test is over\"")]
pub struct Expire {
    /// The silence
    #[arg(value_name = "ID")]
    id: SilenceId,
    /// Why, for the journal
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

/// Let a silence end at another time
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard silence update s-3 -d 2h -c \"it takes longer\"")]
pub struct Update {
    /// The silence
    #[arg(value_name = "ID")]
    id: SilenceId,
    /// How long from now: 30m, 4h, 7d; at most 90d
    #[arg(short, long = "duration", value_name = "TIME")]
    duration: Span,
    /// Why, for the journal
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

impl Expire {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let ask = Comment { comment: self.comment.clone() };
        order(context, &format!("/silences/{}/expire", self.id), &ask)
    }
}

impl Update {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let ask = End { lasts: self.duration, comment: self.comment.clone() };
        order(context, &format!("/silences/{}/update", self.id), &ask)
    }
}

fn order(context: &Context, path: &str, ask: &impl serde::Serialize) -> Result<Exit, Fault> {
    let report: OrderReport = context.daemon()?.send(path, ask).map_err(refused)?;
    context.print(&report, human)?;
    Ok(Exit::Good)
}
