//! `soard alerts suppress`.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{FAINT, Look, styled, when};
use crate::daemon::actor;
use crate::daemon::likeness::{DAYS, Likeness, Past, Wanted};
use crate::domain::id::AlertId;

/// Draft a suppression of alerts like this one
///
/// Prints a rule file for `rules/suppress/`, and how many past alerts the rule would have matched: counted by running it
/// over the newest of those that have the same source, kind and so on. Nothing is changed: a suppression takes effect once
/// it is in git, checked and loaded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard alerts suppress a-1042.0\n  \
                        soard alerts suppress a-1042.0 --by kind --by entities.account.name -c \"the nightly backup\"\n  \
                        soard alerts suppress a-1042.0 > rules/suppress/backup.yaml && soard check")]
pub struct Args {
    /// The alert
    #[arg(value_name = "ID")]
    id: AlertId,
    /// A field in which alerts are alike, beside their source; default: the kind, and what the alert is about
    #[arg(long, value_name = "FIELD")]
    by: Vec<String>,
    /// Who answers for the rule; default: you
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// Why: false_positive, expected, accepted_risk or other
    #[arg(long, value_name = "REASON", default_value = "expected")]
    reason: String,
    /// Why, in words
    #[arg(short, long, value_name = "WHY")]
    comment: Option<String>,
    /// How many days the rule holds
    #[arg(long, value_name = "DAYS", default_value_t = DAYS)]
    days: u16,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let wanted = Wanted {
            by: self.by.clone(),
            owner: Some(self.owner.clone().unwrap_or_else(myself)),
            reason: Some(self.reason.clone()),
            comment: self.comment.clone(),
            days: Some(self.days),
        };
        let Some(likeness) = context.access()?.likeness(self.id, &wanted)? else {
            let none = Fault::nothing(format!("the index has no alert {}", self.id));
            return Err(none.hint("`soard alerts list --all` shows the alerts"));
        };
        context.print(&likeness.answer, human)?;
        Ok(Exit::Good)
    }
}

fn myself() -> String {
    let name = actor::name(rustix::process::getuid().as_raw());
    name.split(" (").next().unwrap_or_default().to_owned()
}

/// A rule file as a whole: what was counted stands in its comments.
pub(in crate::cli) fn human(likeness: &Likeness, _look: &Look) -> String {
    let Past { matched, high, looked_at, capped, since, examples } = &likeness.past;
    let among = if *capped { "the newest " } else { "" };
    let since = since.map(|since| format!(" since {}", when(since))).unwrap_or_default();
    let high = if *high > 0 { format!(", {high} of them of high severity") } else { String::new() };
    let comment = |text: String| format!("{}\n", styled(FAINT, format!("# {text}")));
    let alike = "with the same source and labels";
    let mut text = comment(format!("matches {matched} of {among}{looked_at} past alerts {alike}{since}{high}"));
    if *capped {
        text.push_str(&comment("older ones were not looked at".to_owned()));
    }
    let ids: Vec<String> = examples.iter().map(ToString::to_string).collect();
    if !ids.is_empty() {
        text.push_str(&comment(format!("such as {}", ids.join(" "))));
    }
    // The draft holds nothing that a terminal would take for a command: what could is written as an escape.
    text.push_str(&likeness.yaml);
    text
}
