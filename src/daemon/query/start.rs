//! What a run was started for.

use crate::daemon::query::{Fold, Lines, LogLine, QueryError, fold};
use crate::domain::decision::{AlertRef, Reason, RouteVerdict};
use crate::domain::entry::{Due, Entry, Facts, Taken};
use crate::domain::id::RunId;
use crate::domain::mail::Digest;
use crate::domain::operator::{Operator, Order};

/// What a run was started for, and, when it is a digest's, what it tells whom.
pub type StartedFor = (Vec<AlertRef>, Option<Box<Digest>>);

/// The alerts that a run was started for; `None` when the journal does not say.
///
/// # Errors
/// When the journal cannot be read.
pub fn started_for(lines: Lines<'_>, id: &RunId) -> Result<Option<StartedFor>, QueryError> {
    let mut start = Start { name: format!("\"{}\"", RunId::first(id.trigger, &*id.playbook)), id, found: None };
    fold(lines, &mut start)?;
    Ok(start.found)
}

struct Start<'a> {
    name: String,
    id: &'a RunId,
    found: Option<StartedFor>,
}

impl Fold for Start<'_> {
    fn wants(&self, line: &LogLine) -> bool {
        self.found.is_none() && matches!(&*line.kind, "intake" | "due" | "operator") && line.has(&self.name)
    }

    fn apply(&mut self, entry: &Entry) {
        let first = RunId::first(self.id.trigger, &*self.id.playbook);
        match &entry.facts {
            Facts::Intake(intake) => {
                let starts = |taken: &Taken| {
                    taken.decision.reasons.iter().any(|reason| match reason {
                        Reason::Route { verdict: RouteVerdict::Run { runs, .. }, .. } => runs.contains(&first),
                        _ => false,
                    })
                };
                let found = (0..).zip(&intake.alerts).find(|(_, taken)| starts(taken));
                self.found = found.map(|(at, taken)| (vec![AlertRef { id: taken.id, seq: entry.seq, at }], None));
            }
            Facts::Due(Due::Group { runs, alerts, digest, .. }) if runs.contains(&first) => {
                self.found = Some((alerts.clone(), digest.clone()));
            }
            Facts::Operator(Operator { order: Order::RunStart { alert, starts, .. }, .. }) if *starts == first => {
                self.found = Some((vec![*alert], None));
            }
            Facts::Operator(Operator { order: Order::Alert { on_status: Some(told), .. }, .. })
                if told.runs().any(|run| *run == first) =>
            {
                self.found = Some((vec![told.alert], None));
            }
            _ => {}
        }
    }
}
