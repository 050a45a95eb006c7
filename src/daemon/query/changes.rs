//! What the journal's entries are about: for those who show alerts and runs, and want to know which to read again.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::query::{Lines, QueryError};
use crate::domain::decision::{Reason, RouteVerdict};
use crate::domain::entry::{Due, Entry, Facts};
use crate::domain::id::{AlertId, RunId, Trigger};
use crate::domain::operator::Order;

/// Entries of one page.
pub const CHANGES_MAX: usize = 1_000;

/// Bytes of the journal that one page is made of; at least one entry is given.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What one entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EntryChange")]
pub struct Change {
    /// Sequence number of the entry.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Kind of the entry.
    pub kind: String,
    /// Alerts that are new or stand elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertId>,
    /// Runs that start, go on or end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunId>,
}

/// What some entries are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// In order.
    pub changes: Vec<Change>,
    /// Ask for what comes after this entry.
    pub after: u64,
}

/// The changes after an entry; `lines` begin right behind it.
///
/// # Errors
/// When the journal cannot be read.
pub fn page(lines: Lines<'_>, after: u64) -> Result<Changes, QueryError> {
    let (mut changes, mut bytes) = (Vec::new(), 0);
    let mut last = after;
    for line in lines {
        let line = line?;
        bytes += line.data.get().len();
        if !changes.is_empty() && (changes.len() >= CHANGES_MAX || bytes > BYTES_MAX) {
            break;
        }
        let (alerts, runs) = about(&line.entry()?);
        last = line.seq;
        changes.push(Change { seq: line.seq, at: line.at, kind: line.kind, alerts, runs });
    }
    Ok(Changes { changes, after: last })
}

/// The alerts and runs of an entry, each once.
fn about(entry: &Entry) -> (Vec<AlertId>, Vec<RunId>) {
    let (mut alerts, mut runs): (Vec<AlertId>, Vec<RunId>) = (Vec::new(), Vec::new());
    match &entry.facts {
        Facts::Intake(intake) => {
            alerts.extend(intake.alerts.iter().map(|taken| taken.id));
            let reasons = intake.alerts.iter().flat_map(|taken| &taken.decision.reasons);
            for reason in reasons {
                if let Reason::Route { verdict: RouteVerdict::Run { runs: started, .. }, .. } = reason {
                    runs.extend(started.iter().cloned());
                }
            }
        }
        Facts::Due(Due::Group { alerts: members, runs: started, .. }) => {
            alerts.extend(members.iter().map(|member| member.id));
            runs.extend(started.iter().cloned());
        }
        Facts::Due(Due::Timer { run, .. } | Due::Approval { run, .. }) => runs.push(run.clone()),
        Facts::Intent(intent) => runs.push(intent.run.clone()),
        Facts::Result(result) => runs.push(result.run.clone()),
        Facts::Run(end) => runs.push(end.run.clone()),
        Facts::Operator(operator) => {
            if let Order::Alert { alert, .. } = &operator.order {
                alerts.push(*alert);
            }
            runs.extend(operator.order.runs().into_iter().cloned());
        }
        Facts::Due(_)
        | Facts::Begin(_)
        | Facts::Attempt(_)
        | Facts::Bundle(_)
        | Facts::Quarantine(_)
        | Facts::Log(_) => {}
    }
    // A step of a playbook may change the alert that it runs for.
    alerts.extend(runs.iter().filter_map(|run| match run.trigger {
        Trigger::Alert(alert) | Trigger::Status(alert, _) => Some(alert),
        Trigger::Group(_) => None,
    }));
    alerts.sort_unstable();
    alerts.dedup();
    runs.sort_unstable();
    runs.dedup();
    (alerts, runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::query::{lines, story};
    use crate::domain::approval::Choice;
    use crate::domain::id::ApprovalId;

    #[test]
    fn every_entry_is_told_with_what_it_is_about() {
        let dir = tempfile::tempdir().unwrap();
        let journal = story::journal(dir.path());
        let reader = journal.reader();
        let all = page(&mut lines(&reader, 1), 0).unwrap();
        assert_eq!(all.after, reader.head().seq);
        assert_eq!(
            all.changes.iter().map(|change| change.seq).collect::<Vec<_>>(),
            (1..=all.after).collect::<Vec<_>>()
        );
        let ticket: Vec<&str> = all
            .changes
            .iter()
            .filter(|change| change.runs.contains(&"a-1.0/ticket".parse().unwrap()))
            .map(|change| &*change.kind)
            .collect();
        assert_eq!(ticket, ["intake", "intent", "result", "intent"]);
        let intake = all.changes.iter().find(|change| change.kind == "intake").unwrap();
        assert_eq!(intake.alerts, ["a-1.0".parse().unwrap()]);
        let on = page(&mut lines(&reader, all.after + 1), all.after).unwrap();
        assert_eq!(on, Changes { changes: Vec::new(), after: all.after });
    }

    #[test]
    fn an_approval_that_timed_out_names_its_run_and_the_runs_alert() {
        let run: RunId = "a-1.0/ticket".parse().unwrap();
        let due = Due::Approval { approval: ApprovalId(1), run: run.clone(), step: 2, choice: Choice::Deny };
        let entry = Entry { seq: 7, at: story::at(7), facts: Facts::Due(due) };
        assert_eq!(about(&entry), (vec!["a-1.0".parse().unwrap()], vec![run]));
    }
}
