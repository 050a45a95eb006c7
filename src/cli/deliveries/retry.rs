//! `soard deliveries retry`.

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::{Client, escape, with_query};
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{self, BAD, GOOD, Look, count, styled};
use crate::cli::plain::safe;
use crate::console::runs::Letters;
use crate::console::shared::Because;
use crate::daemon::query::deliveries::{DeliveryFilter, DeliveryList, DeliveryState};
use crate::daemon::report::ResendReport;
use crate::domain::effect::EffectKey;

/// Most characters of a comment.
const COMMENT_CHARS_MAX: usize = 1000;

const EXAMPLES: &str = "\
Examples:
  soard deliveries retry kq4hzy2mcvnb7r3w5x6ptdsfga --comment 'ticket system is back'
  soard deliveries retry --destination jira --comment 'ticket system is back'          says how many
  soard deliveries retry --destination jira --comment 'ticket system is back' --yes    sends them";

/// Send dead letters again, with the same key
///
/// The same request goes out as before, under the same key, and its retries begin anew. The run that asked for it is not
/// resumed: it has gone on with the outcome that it got, or has ended. Who ordered it and why stands in the journal.
///
/// With --destination, only letters whose attempts are used up (`dead`) are meant unless --outcome says otherwise: what was
/// rejected is likely to be rejected again, and what is unknown may have arrived.
///
/// Exits with 1 when something was not sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Keys of the effects
    #[arg(value_name = "KEY", required_unless_present = "destination", conflicts_with = "destination")]
    keys: Vec<EffectKey>,
    /// All dead letters of this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Which of the destination's
    #[arg(long, value_enum, default_value_t = DeliveryState::Dead, requires = "destination")]
    outcome: DeliveryState,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    comment: String,
    /// With --destination: do it, instead of saying how many they are
    #[arg(long, requires = "destination")]
    yes: bool,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let comment = self.comment.trim();
        if comment.is_empty() || comment.chars().count() > COMMENT_CHARS_MAX {
            return Err(Fault::new(format!("the comment has to have 1 to {COMMENT_CHARS_MAX} characters")));
        }
        let daemon = context.daemon()?;
        let report = match &self.destination {
            Some(name) if !self.yes => return self.preview(&daemon, name),
            Some(name) => {
                let letters = Letters { outcome: self.outcome, comment: comment.into() };
                let path = format!("/destinations/{}/retry", escape(name));
                daemon.send(&path, &letters).map_err(spoken)?
            }
            None => self.by_key(&daemon, comment)?,
        };
        context.print(&report, human)?;
        Ok(if report.refused.is_empty() && !report.again.is_empty() { Exit::Good } else { Exit::Nothing })
    }

    fn by_key(&self, daemon: &Client, comment: &str) -> Result<ResendReport, Fault> {
        let mut all = ResendReport::default();
        for key in &self.keys {
            let path = format!("/deliveries/{key}/retry");
            let one: ResendReport = daemon.send(&path, &Because { comment: comment.into() }).map_err(spoken)?;
            all.again.extend(one.again);
            all.refused.extend(one.refused);
        }
        Ok(all)
    }

    fn preview(&self, daemon: &Client, name: &str) -> Result<Exit, Fault> {
        let (destination, outcome) = (Some(name.to_owned()), Some(self.outcome));
        let filter = DeliveryFilter { destination, outcome, limit: Some(0), ..DeliveryFilter::default() };
        let list: DeliveryList = daemon.get(&with_query("/deliveries", &filter)).map_err(spoken)?;
        let letters = count(list.matching, "dead letter");
        let which = safe(format!("{letters} of `{name}` with outcome {}", self.outcome.as_str()));
        let then = if list.matching == 0 { "" } else { "; nothing was sent yet, --yes sends them again" };
        output::print(&format!("{which}{then}\n"))?;
        Ok(Exit::Nothing)
    }
}

pub(in crate::cli) fn human(report: &ResendReport, _: &Look) -> String {
    let mut text: String = report
        .refused
        .iter()
        .map(|left| format!("{}  {}: {}\n", left.key, styled(BAD, "not sent"), safe(&left.why)))
        .collect();
    let again = styled(GOOD, format!("{} sent again", count(report.again.len() as u64, "dead letter")));
    text.push_str(&format!("{again}; `soard deliveries show KEY` says what comes of it\n"));
    text
}
