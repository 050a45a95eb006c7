//! What a run was started for.

use crate::daemon::query::{Fold, Lines, LogLine, QueryError, fold};
use crate::domain::decision::{AlertRef, Reason, RouteVerdict};
use crate::domain::entry::{Due, Entry, Facts, Taken};
use crate::domain::id::RunId;
use crate::domain::operator::{Operator, Order};

/// The alerts that a run was started for; `None` when the journal does not say.
///
/// # Errors
/// When the journal cannot be read.
pub fn started_for(lines: Lines<'_>, id: &RunId) -> Result<Option<Vec<AlertRef>>, QueryError> {
    let mut start = Start { name: format!("\"{}\"", RunId::first(id.trigger, &*id.playbook)), id, alerts: None };
    fold(lines, &mut start)?;
    Ok(start.alerts)
}

struct Start<'a> {
    name: String,
    id: &'a RunId,
    alerts: Option<Vec<AlertRef>>,
}

impl Fold for Start<'_> {
    fn wants(&self, line: &LogLine) -> bool {
        self.alerts.is_none() && matches!(&*line.kind, "intake" | "due" | "operator") && line.has(&self.name)
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
                self.alerts = found.map(|(at, taken)| vec![AlertRef { id: taken.id, seq: entry.seq, at }]);
            }
            Facts::Due(Due::Group { runs, alerts, .. }) if runs.contains(&first) => {
                self.alerts = Some(alerts.clone());
            }
            Facts::Operator(Operator { order: Order::RunStart { alert, starts, .. }, .. }) if *starts == first => {
                self.alerts = Some(vec![*alert]);
            }
            Facts::Operator(Operator { order: Order::Alert { on_status: Some(told), .. }, .. })
                if told.runs().any(|run| *run == first) =>
            {
                self.alerts = Some(vec![told.alert]);
            }
            _ => {}
        }
    }
}
