//! `soard samples`: marked alerts that go the whole way.

use clap::builder::PossibleValuesParser;

use crate::cli::Context;
use crate::cli::access::refused;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, BAD, FAINT, Look, NAME, styled};
use crate::cli::plain::safe;
use crate::daemon::samples::{Ask, SAMPLES, SamplesReport};

/// What to do with samples.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Send(Send),
}

/// Send sample alerts through every stage
///
/// One record of each shipped format, from the source `samples`. The alerts have the tag `sample` and a title that begins
/// with `[sample]`; each sending gives new ones. Rules decide about them and playbooks run for them as for any alert: what
/// a playbook must not do for a sample, it leaves out when `alert.tags.contains("sample")`.
///
/// Exits with 1 when a sample gave no alert.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard samples send\n  soard samples send --format falco --format guardduty\n  \
                        soard samples send --list")]
pub struct Send {
    /// Of this format only
    #[arg(long = "format", value_name = "NAME", value_parser = formats())]
    formats: Vec<String>,
    /// List the formats that have a sample; nothing is sent
    #[arg(long)]
    list: bool,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(SAMPLES.map(|(format, _)| format))
}

impl Command {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        match self {
            Self::Send(args) => args.run(context),
        }
    }
}

impl Send {
    fn run(&self, context: &Context) -> Result<Exit, Fault> {
        if self.list {
            let names: Vec<&str> = SAMPLES.iter().map(|(format, _)| *format).collect();
            context.print(&names, |names, _| names.join("\n"))?;
            return Ok(Exit::Good);
        }
        let ask = Ask { formats: self.formats.clone(), comment: self.comment.clone() };
        let report: SamplesReport = context.daemon()?.send("/samples", &ask).map_err(refused)?;
        context.print(&report, human)?;
        if !report.sent.is_empty() {
            output::note(&styled(FAINT, "`soard why ID` says what became of one"));
        }
        Ok(if report.failed.is_empty() { Exit::Good } else { Exit::Nothing })
    }
}

fn human(report: &SamplesReport, _: &Look) -> String {
    let mut text = String::new();
    for sent in &report.sent {
        let alerts: Vec<String> = sent.alerts.iter().map(|id| styled(NAME, id)).collect();
        text.push_str(&format!("{}: {}\n", safe(&sent.format), alerts.join(", ")));
    }
    for failed in &report.failed {
        text.push_str(&format!("{}: {} {}\n", safe(&failed.format), styled(BAD, "not sent:"), safe(&failed.why)));
    }
    text
}
