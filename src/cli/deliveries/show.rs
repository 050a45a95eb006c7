//! `soard deliveries show`.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BOLD, FAINT, Look, NAME, WARN, styled, when, when_ago};
use crate::cli::plain::{Page, effect, outcome_words, safe};
use crate::daemon::query::deliveries::{DeliveryState, DeliveryView};
use crate::domain::effect::{EffectKey, Mode};

/// Show one delivery, its attempts and outcomes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard deliveries show kq4hzy2mcvnb7r3w5x6ptdsfga\n  \
                        soard deliveries show msg_kq4hzy2mcvnb7r3w5x6ptdsfga     as a receiver saw it in `webhook-id`")]
pub struct Args {
    /// Key of the effect
    #[arg(value_name = "KEY")]
    key: EffectKey,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let Some(view) = context.access()?.delivery(&self.key)? else {
            let none = Fault::nothing(format!("nothing was ever sent with the key {}", self.key));
            return Err(none.hint("`soard deliveries list --outcome any` shows what was"));
        };
        context.print(&view, human)?;
        Ok(Exit::Good)
    }
}

pub(in crate::cli) fn human(view: &DeliveryView, look: &Look) -> String {
    let mut page = Page::default();
    let row = &view.row;
    page.line(0, format!("{}  {}", styled(NAME, &row.key), effect(&view.effect)));
    page.labelled(2, "asked by", format!("step {} of {}, {}", row.step, safe(&row.run), when_ago(row.asked, look)));
    page.labelled(2, "mode", mode(row.mode));
    page.labelled(2, "journal", format!("entry {}", view.intent));
    if let Some(next) = row.next {
        page.labelled(2, "next", when_ago(next, look));
    }
    page.gap();
    let mut lines = Vec::new();
    for attempt in &view.attempts {
        let code = attempt.status.map(|code| format!(" ({code})")).unwrap_or_default();
        let failed = styled(WARN, format!("attempt {} failed", attempt.n));
        lines.push((attempt.at, format!("{failed}{code}: {}", safe(&attempt.error))));
    }
    lines.extend(view.outcomes.iter().map(|outcome| (outcome.at, outcome_words(outcome))));
    for order in &view.orders {
        let words = format!("{} by {}: {}", styled(BOLD, "sent again"), safe(&order.actor), safe(&order.comment));
        lines.push((order.at, words));
    }
    if let (DeliveryState::Cancelled, Some(at)) = (row.state, row.ended) {
        lines.push((at, "cancelled: its run was cancelled, or its question was decided".into()));
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.iter().for_each(|(at, words)| page.line(2, format!("{} {words}", when(*at))));
    if row.state.dead_letters().len() == 1 {
        let retry = format!("`soard deliveries retry {} --comment WHY` sends it again", row.key);
        page.line(2, styled(FAINT, retry));
    } else if lines.is_empty() {
        page.line(2, styled(FAINT, "no attempt has ended yet"));
    }
    page.into_text()
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::AtLeastOnce => "at_least_once: when it is unclear whether it arrived, it is sent again",
        Mode::AtMostOnce => "at_most_once: when it is unclear whether it arrived, it is not sent again",
        Mode::Probe => "probe: when it is unclear whether it arrived, the receiver is asked",
    }
}
