//! `soard why`: what was decided then, and what came of it, read from the journal alone.

use crate::cli::Context;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered;
use crate::cli::output::{BOLD, FAINT, Look, NAME, ago, count, severity_style, styled, when};
use crate::cli::plain::{self, Page, safe};
use crate::daemon::query::alert::AlertView;
use crate::daemon::query::group::{DigestView, GroupView};
use crate::daemon::query::run::RunView;
use crate::daemon::query::why::{Subject, Why};
use crate::domain::id::Trigger;
use crate::domain::mail::Wait;

const EXAMPLES: &str = "\
Examples:
  soard why a-1042.0                 why this alert was kept, dismissed, held back or acted upon
  soard why a-1042.0/notify-email    what started this run, and what each of its steps did
  soard why g-17                     which alerts this group has, by which rule, and what it started
  soard why a-1042.0 -o json | jq '.alert.seen[].decision'";

/// Say why something happened
///
/// For an alert: each time it was seen, what each stage decided, by which rule at which file and line of which
/// bundle and git commit, and which stage stopped it. For a run: what started it and what each step did. For a
/// group: its alerts, its rule and its runs. Nothing is decided again: this is what is on record.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An alert, a run or a group
    #[arg(value_name = "ID")]
    id: Subject,
}

impl Args {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let Some(why) = context.access()?.why(&self.id)? else {
            let (what, list) = match self.id {
                Subject::Alert(_) => ("alert", "`soard alerts list --all` shows the alerts"),
                Subject::Run(_) => ("run", "`soard runs list` shows the runs"),
                Subject::Group(_) => ("group", "`soard why` of an alert names its group"),
            };
            return Err(Fault::nothing(format!("the journal has no {what} {}", self.id)).hint(list));
        };
        context.print(&why, human)?;
        Ok(Exit::Good)
    }
}

pub(super) fn human(why: &Why, look: &Look) -> String {
    let mut page = Page::default();
    match why {
        Why::Alert(view) => alert(&mut page, view, look),
        Why::Run(view) => run(&mut page, view, look),
        Why::Group(view) => group(&mut page, view, look),
    }
    page.into_text()
}

fn alert(page: &mut Page, view: &AlertView, look: &Look) {
    page.line(0, plain::alert_head(&view.row));
    page.line(2, sightings(view, look));
    for seen in &view.seen {
        plain::decision(page, 2, seen, look);
    }
    if view.seen_left_out > 0 {
        page.line(2, format!("and {} more decisions, which this view leaves out", view.seen_left_out));
    }
    if !view.runs.is_empty() {
        page.line(2, styled(BOLD, "runs"));
        for view in &view.runs {
            plain::run(page, 4, view, look);
        }
    }
    if !view.changes.is_empty() || !view.orders.is_empty() {
        page.line(2, styled(BOLD, "history"));
        ordered::alert_history(page, 4, view);
    }
}

/// How often the alert was seen, and from where.
pub(super) fn sightings(view: &AlertView, look: &Look) -> String {
    let row = &view.row;
    let source = format!("from source {}", safe(&row.source));
    let format = view.seen.last().map(|seen| format!(" (format {})", safe(&seen.format))).unwrap_or_default();
    if row.count == 1 {
        return format!("seen once, {} ({}), {source}{format}", when(row.received), ago(row.received, look));
    }
    let last = format!("last {} ({})", when(row.last_seen), ago(row.last_seen, look));
    format!("seen {} times, first {}, {last}, {source}{format}", row.count, when(row.received))
}

fn run(page: &mut Page, view: &RunView, look: &Look) {
    let cause = &view.cause;
    plain::run_head(page, 0, view, look);
    let at = when(view.row.started);
    let what = match (&cause.trigger, &cause.title) {
        (Trigger::Alert(id), Some(title)) => format!("alert {} “{}”", styled(NAME, id), safe(title)),
        (Trigger::Alert(id), None) => format!("alert {}", styled(NAME, id)),
        (Trigger::Status(id, seq), _) => format!("the change of {}'s status in entry {seq}", styled(NAME, id)),
        (Trigger::Group(id), _) => format!("group {} of {}", styled(NAME, id), count(cause.alerts, "alert")),
    };
    page.labelled(
        2,
        "started",
        format!("{at} ({}) for {what}, journal entry {}", ago(view.row.started, look), cause.seq),
    );
    page.labelled(2, "route", plain::rule(&cause.rule));
    page.labelled(2, "bundle", format!("{}; the run began with it and ends on it", plain::bundle(&view.bundle)));
    page.line(2, styled(BOLD, count(view.steps.len() as u64, "step")));
    plain::run_steps(page, 4, view, look);
}

fn group(page: &mut Page, view: &GroupView, look: &Look) {
    let alerts = count(view.members_total, "alert");
    let state = match view.closed {
        Some(closed) => format!("closed {} ({})", when(closed), ago(closed, look)),
        None => format!("open, closes {} ({})", when(view.due), ago(view.due, look)),
    };
    page.line(0, format!("{}  {}  {state}", styled(NAME, view.id), styled(BOLD, alerts)));
    match &view.digest {
        Some(digest) => digest_of(page, view, digest),
        None => members(page, view),
    }
    if !view.runs.is_empty() {
        page.line(2, styled(BOLD, "runs"));
        for view in &view.runs {
            plain::run(page, 4, view, look);
        }
    }
}

fn digest_of(page: &mut Page, view: &GroupView, digest: &DigestView) {
    let DigestView { destination, to, waits, alerts } = digest;
    page.labelled(2, "digest", format!("what waits for {} at {}", safe(&to.address), safe(destination)));
    let why = waits.iter().map(|why| match why {
        Wait::Cap => "as many mails of a severity as it takes in a day",
        Wait::QuietHours => "quiet hours",
    });
    page.labelled(2, "it waits for", why.collect::<Vec<_>>().join("; "));
    page.labelled(2, "since", when(view.opened));
    page.line(2, styled(BOLD, "alerts"));
    for some in alerts.chunks(8) {
        let ids: Vec<String> = some.iter().map(ToString::to_string).collect();
        page.line(4, styled(NAME, ids.join("  ")));
    }
    left_out(page, view.members_total, alerts.len());
}

fn left_out(page: &mut Page, total: u64, shown: usize) {
    let left_out = total.saturating_sub(shown as u64);
    if left_out > 0 {
        page.line(4, format!("and {left_out} more"));
    }
}

fn members(page: &mut Page, view: &GroupView) {
    page.labelled(2, "route", plain::rule(&view.rule));
    let in_common =
        view.key.as_ref().map_or_else(|| "nothing: it lacks a key field and groups alone".into(), plain::key);
    page.labelled(2, "in common", in_common);
    page.labelled(2, "opened", format!("{} by bundle {}", when(view.opened), plain::bundle(&view.bundle)));
    let playbooks = safe(view.playbooks.join(", "));
    page.labelled(2, "starts", playbooks);
    page.line(2, styled(BOLD, "alerts"));
    for member in &view.members {
        let severity = styled(severity_style(member.severity), format!("{:<13}", member.severity));
        let title = safe(&member.title);
        page.line(
            4,
            format!(
                "{}  {}  {severity}  {title}",
                styled(NAME, format!("{:<8}", member.id.to_string())),
                styled(FAINT, when(member.at))
            ),
        );
    }
    left_out(page, view.members_total, view.members.len());
}
