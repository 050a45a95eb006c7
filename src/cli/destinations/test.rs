//! `soard destinations test`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::escape;
use crate::cli::destinations::show::unknown;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, FAINT, GOOD, Look, styled};
use crate::cli::plain::safe;
use crate::console::shared::Comment;
use crate::daemon::report::TrialReport;

/// Send one marked message to a destination, and tell what the peer says at each stage
///
/// The message says that it is a test: a mail has `[soard test]` in its subject, a webhook `"soard_test": true` in its body. It goes out at
/// once and once, whatever waits and whether or not the breaker is open; who asked for it stands in the journal. Exits with 1 when a
/// stage goes wrong.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  soard destinations test oncall\n  soard destinations test jira -c \"after the firewall change\""
)]
pub struct Args {
    /// Its name in soard.yaml
    #[arg(value_name = "NAME")]
    name: String,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "")]
    comment: String,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let path = format!("/destinations/{}/test", escape(&self.name));
        let comment = Comment { comment: self.comment.clone() };
        let report: TrialReport = match context.daemon()?.send(&path, &comment) {
            Err(error) if error.is_not_found() => return Err(unknown(&self.name)),
            told => told.map_err(spoken)?,
        };
        context.print(&report, human)?;
        Ok(if report.good { Exit::Good } else { Exit::Nothing })
    }
}

pub(in crate::cli) fn human(report: &TrialReport, _: &Look) -> String {
    let mut text = String::new();
    let width = report.stages.iter().map(|stage| stage.stage.chars().count()).max().unwrap_or_default();
    for stage in &report.stages {
        let sign = if stage.good { styled(GOOD, "ok    ") } else { styled(BAD, "failed") };
        let took = styled(FAINT, format!("{:>5} ms", stage.millis));
        text.push_str(&format!("{sign}  {:width$}  {took}  {}\n", safe(&stage.stage), safe(&stage.said)));
    }
    let (name, key) = (safe(&report.destination), &report.key);
    text.push_str(&match report.good {
        true => format!("{} works; the message has the key {key}\n", styled(GOOD, name)),
        false => format!("{} does not work (entry {})\n", styled(BAD, name), report.seq),
    });
    text
}
