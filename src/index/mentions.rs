//! Which entries speak of what, so that everything on record about one alert, group or run is read without reading the journal.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::domain::decision::{Reason, RouteVerdict};
use crate::domain::effect::{Effect, EffectKey};
use crate::domain::entry::{Due, Facts, Log, Step, Taken};
use crate::domain::id::{AlertId, GroupId, RunId, Trigger};
use crate::domain::operator::Order;
use crate::index::write::{Writer, number};
use crate::index::{IndexError, build, schema};
use crate::journal::reader::Reader;

/// Entries that are looked up one by one; whoever asks about more reads the journal from its beginning.
pub const ENTRIES_MAX: usize = 2_000;

/// Digits of a bundle's id that entries have in common, however they name it.
const BUNDLE_DIGITS: usize = 12;

/// What an entry speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An alert: its records, its runs, what was changed about it.
    Alert(AlertId),
    /// A group: how it closed, and its runs.
    Group(GroupId),
    /// That an alert joined a group.
    Joined(GroupId),
    /// An effect, where the entry does not name its run.
    Effect(EffectKey),
    /// A bundle, where the entry introduces it.
    Bundle(String),
}

impl Subject {
    /// What an alert or group is.
    pub fn of(trigger: Trigger) -> Self {
        match trigger.about() {
            Trigger::Alert(id) | Trigger::Status(id, _) => Self::Alert(id),
            Trigger::Group(id) => Self::Group(id),
        }
    }

    fn bundle(id: &str) -> Self {
        Self::Bundle(id.chars().take(BUNDLE_DIGITS).collect())
    }

    /// As the table has it: alerts count up from zero, the others down. Two texts that share a number only make a query read more.
    fn number(&self) -> i64 {
        let (kind, number) = match self {
            Self::Alert(id) => return number(*id),
            Self::Group(id) => (0, id.0),
            Self::Joined(id) => (1, id.0),
            Self::Effect(key) => (2, digits(key.as_str())),
            Self::Bundle(id) => (3, digits(id)),
        };
        -1 - (((number & ((1 << 60) - 1)) << 2) | kind).cast_signed()
    }
}

fn digits(text: &str) -> u64 {
    let bytes = Sha256::digest(text);
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes of thirty-two"))
}

/// What an entry speaks of.
pub fn subjects(facts: &Facts) -> BTreeSet<Subject> {
    let mut all = BTreeSet::new();
    match facts {
        Facts::Intake(intake) => {
            for taken in &intake.alerts {
                all.insert(Subject::Alert(taken.id));
                all.extend(joined(taken).map(Subject::Joined));
            }
        }
        Facts::Due(Due::Group { group, alerts, .. }) => {
            all.insert(Subject::Group(*group));
            all.extend(alerts.iter().map(|alert| Subject::Alert(alert.id)));
        }
        Facts::Due(Due::Timer { run, .. } | Due::Approval { run, .. }) => drop(all.insert(about(run))),
        Facts::Due(Due::Retry { key }) => drop(all.insert(Subject::Effect(key.clone()))),
        Facts::Attempt(attempt) => drop(all.insert(Subject::Effect(attempt.key.clone()))),
        Facts::Intent(intent) => all.extend(of_steps(&intent.run, &intent.steps)),
        Facts::Run(end) => all.extend(of_steps(&end.run, &end.steps)),
        Facts::Result(result) => drop(all.insert(about(&result.run))),
        Facts::Operator(operator) => {
            all.extend(operator.order.runs().into_iter().map(about));
            match &operator.order {
                Order::Alert { alert, .. } => drop(all.insert(Subject::Alert(*alert))),
                Order::RunRestart { alerts, .. } => all.extend(alerts.iter().map(|alert| Subject::Alert(alert.id))),
                Order::RunStart { alert, .. } => drop(all.insert(Subject::Alert(alert.id))),
                _ => {}
            }
        }
        Facts::Bundle(bundle) => drop(all.insert(Subject::bundle(&bundle.id))),
        Facts::Log(Log::Dropped { bundles, runs, .. }) => {
            all.extend(bundles.iter().map(|bundle| Subject::bundle(&bundle.id)));
            all.extend(runs.iter().map(about));
        }
        Facts::Log(_) | Facts::Quarantine(_) | Facts::Begin(_) | Facts::Due(Due::Throttle { .. }) => {}
    }
    all
}

fn about(run: &RunId) -> Subject {
    Subject::of(run.trigger)
}

fn of_steps(run: &RunId, steps: &[Step]) -> impl Iterator<Item = Subject> {
    let changed = steps.iter().filter_map(|step| match &step.effect {
        Effect::SetStatus { alert, .. } | Effect::Tag { alert, .. } => Some(Subject::Alert(*alert)),
        _ => None,
    });
    let digests = steps.iter().filter_map(|step| step.mail.as_ref()).flat_map(|plan| &plan.later);
    std::iter::once(about(run)).chain(changed).chain(digests.map(|later| Subject::Group(later.group)))
}

fn joined(taken: &Taken) -> impl Iterator<Item = GroupId> {
    taken.decision.reasons.iter().filter_map(|reason| match reason {
        Reason::Route { verdict: RouteVerdict::Grouped { group, .. }, .. } => Some(*group),
        _ => None,
    })
}

/// What else has to be read to understand an entry about these.
fn leads(facts: &Facts, asked: &BTreeSet<Subject>) -> Vec<Subject> {
    let keys = |steps: &[Step]| steps.iter().filter_map(|step| step.key.clone().map(Subject::Effect)).collect();
    match facts {
        Facts::Intake(intake) => {
            let ours = intake.alerts.iter().filter(|taken| asked.contains(&Subject::Alert(taken.id)));
            let groups = ours.flat_map(joined).map(Subject::Group);
            groups.chain([Subject::bundle(&intake.bundle)]).collect()
        }
        Facts::Due(Due::Group { bundle, .. }) => vec![Subject::bundle(bundle)],
        Facts::Intent(intent) => keys(&intent.steps),
        Facts::Run(end) => keys(&end.steps),
        Facts::Operator(operator) => match &operator.order {
            Order::RunRestart { bundle, .. } | Order::RunStart { bundle, .. } => vec![Subject::bundle(bundle)],
            Order::Alert { on_status: Some(told), .. } => vec![Subject::bundle(&told.bundle)],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Where everything stands that is on record about something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mentions {
    /// Entries, in order, as far as the index goes.
    pub entries: Vec<u64>,
    /// How far it goes; whatever stands behind it may be about it as well.
    pub upto: u64,
}

/// Finds everything about these; `None` when that is more than is looked up one by one.
///
/// # Errors
/// When the index or the journal cannot be read.
pub fn about_all(
    conn: &Connection,
    reader: &Reader,
    subjects: impl IntoIterator<Item = Subject>,
) -> Result<Option<Mentions>, IndexError> {
    let (_, position) = schema::position(conn)?;
    // Of a journal that was put back meanwhile it names other entries.
    build::fits(&position, reader)?;
    let (mut open, mut asked, mut entries): (Vec<Subject>, _, _) =
        (subjects.into_iter().collect(), BTreeSet::new(), BTreeSet::new());
    while let Some(subject) = open.pop() {
        if !asked.insert(subject.clone()) {
            continue;
        }
        for seq in entries_of(conn, &subject)? {
            if !entries.insert(seq) {
                continue;
            }
            if entries.len() > ENTRIES_MAX {
                return Ok(None);
            }
            let Some(line) = reader.line(seq)? else { continue };
            let facts = Facts::parse(&line.kind, line.data.get());
            let facts = facts.map_err(|cause| IndexError::Entry { seq, cause })?;
            open.extend(leads(&facts, &asked));
            if waits(&facts) {
                entries.extend(in_charge(conn, seq)?);
            }
        }
    }
    Ok(Some(Mentions { entries: entries.into_iter().collect(), upto: position.seq }))
}

/// Something in the entry waits for a digest, which ends on the bundle in charge.
fn waits(facts: &Facts) -> bool {
    let Facts::Intent(intent) = facts else { return false };
    intent.steps.iter().filter_map(|step| step.mail.as_ref()).any(|plan| !plan.later.is_empty())
}

/// The entry that introduced the bundle in charge at another.
fn in_charge(conn: &Connection, seq: u64) -> Result<Option<u64>, IndexError> {
    let mut statement = conn
        .prepare_cached("SELECT entry FROM bundles WHERE entry < ?1 ORDER BY entry DESC LIMIT 1")
        .map_err(IndexError::sqlite("read"))?;
    let found = statement.query_row([seq.cast_signed()], |row| row.get::<_, i64>(0)).optional();
    found.map(|found| found.map(i64::cast_unsigned)).map_err(IndexError::sqlite("read"))
}

fn entries_of(conn: &Connection, subject: &Subject) -> Result<Vec<u64>, IndexError> {
    let mut statement = conn
        .prepare_cached("SELECT entry FROM mentions WHERE subject = ?1 ORDER BY entry LIMIT ?2")
        .map_err(IndexError::sqlite("read"))?;
    let most = i64::try_from(ENTRIES_MAX + 1).expect("a few thousand");
    let found = statement.query_map([subject.number(), most], |row| row.get::<_, i64>(0));
    let found = found.map_err(IndexError::sqlite("read"))?;
    found.map(|seq| seq.map(i64::cast_unsigned).map_err(IndexError::sqlite("read"))).collect()
}

impl Writer {
    /// Notes what an entry speaks of.
    pub(super) fn mention(&mut self, seq: u64, facts: &Facts) -> Result<(), IndexError> {
        for subject in subjects(facts) {
            let values = params![subject.number(), seq.cast_signed()];
            self.run("INSERT OR IGNORE INTO mentions VALUES (?1, ?2)", values)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_of_subjects_share_a_number() {
        let key = |text: &str| Subject::Effect(text.repeat(26).parse().unwrap());
        let all = [
            Subject::Alert("a-0.0".parse().unwrap()),
            Subject::Alert("a-1.0".parse().unwrap()),
            Subject::Alert("a-1.1".parse().unwrap()),
            Subject::Group(GroupId(0)),
            Subject::Group(GroupId(1)),
            Subject::Joined(GroupId(0)),
            Subject::Joined(GroupId(1)),
            key("a"),
            key("b"),
            Subject::bundle("a"),
            Subject::bundle("b"),
        ];
        let numbers: BTreeSet<i64> = all.iter().map(Subject::number).collect();
        assert_eq!(numbers.len(), all.len());
        assert!(all.iter().all(|subject| (subject.number() >= 0) == matches!(subject, Subject::Alert(_))));
        assert_eq!(Subject::bundle("0123456789abcdef"), Subject::bundle("0123456789abcdef0123"), "however it is named");
    }
}
