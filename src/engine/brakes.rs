//! Brakes: which effects go out by themselves, and which wait until somebody lets them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::approval::{ApprovalRequest, Choice, Outcome, QUESTION_CHARS_MAX};
use crate::domain::brakes::{Bound, Brakes, Counted, Limit, Release};
use crate::domain::effect::{Effect, EffectKey};
use crate::domain::id::ApprovalId;
use crate::domain::text::one_line;
use crate::engine::approvals;
use crate::engine::state::State;
use crate::rules::guard::Guard;

/// What went out of late: one window for each destination or playbook that has a limit, or for each address and severity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Window>", into = "BTreeMap<String, Window>")]
pub struct Windows {
    known: BTreeMap<String, Window>,
    /// When each ends, the next one first.
    ends: BTreeSet<(Timestamp, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    until: Timestamp,
    count: u64,
}

impl From<BTreeMap<String, Window>> for Windows {
    fn from(known: BTreeMap<String, Window>) -> Self {
        let ends = known.iter().map(|(key, window)| (window.until, key.clone())).collect();
        Self { known, ends }
    }
}

impl From<Windows> for BTreeMap<String, Window> {
    fn from(windows: Windows) -> Self {
        windows.known
    }
}

/// What keeps an effect from going out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brake {
    /// Nobody has let it go yet.
    Asks(ApprovalId),
    /// Nobody will; says why.
    Denied(String),
}

/// What becomes of an effect at its intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes out, and counts for these limits until then.
    Goes(Vec<(Counted, Timestamp)>),
    /// People are asked first.
    Asks(Box<ApprovalRequest>),
}

impl Windows {
    /// When the window ends that one more effect counts in; `None` when it is full.
    pub(crate) fn room(&self, destination: &str, limit: Limit, at: Timestamp) -> Option<Timestamp> {
        match self.known.get(destination).filter(|window| window.until > at) {
            Some(window) => (window.count < limit.at_most).then_some(window.until),
            None => Some(limit.within.after(at)),
        }
    }

    /// How many count now.
    pub fn count_of(&self, key: &str, at: Timestamp) -> u64 {
        self.open(key, at).map_or(0, |(count, _)| count)
    }

    /// How many count now, and until when.
    pub fn open(&self, key: &str, at: Timestamp) -> Option<(u64, Timestamp)> {
        let window = self.known.get(key).filter(|window| window.until > at)?;
        Some((window.count, window.until))
    }

    /// What has a window.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// Forgets windows that are over.
    pub(crate) fn forget(&mut self, at: Timestamp) {
        while let Some((_, key)) = self.ends.first().filter(|(until, _)| *until <= at) {
            self.known.remove(key);
            self.ends.pop_first();
        }
    }

    /// One more went out.
    pub(crate) fn count(&mut self, destination: &str, until: Timestamp) {
        if let Some(window) = self.known.get_mut(destination) {
            if window.until == until {
                window.count += 1;
                return;
            }
            self.ends.remove(&(window.until, destination.to_owned()));
        }
        self.known.insert(destination.to_owned(), Window { until, count: 1 });
        self.ends.insert((until, destination.to_owned()));
    }
}

/// Whether an effect goes out by itself. The guard has the last word: what it stops does not count.
pub(crate) fn judge(windows: &mut Windows, guard: &Guard, at: Timestamp, effect: &Effect, brakes: &Brakes) -> Verdict {
    let Some(destination) = effect.destination() else { return Verdict::Goes(Vec::new()) };
    let asks = |why: &str, release: &Release| Verdict::Asks(Box::new(request(destination, why, at, effect, release)));
    if let Some(release) = &brakes.guard
        && let Some((name, entry)) = guard.names(effect)
    {
        let why = match name == entry {
            true => format!("It names {name}, which is never to be touched"),
            false => format!("It names {name}, and {entry} is never to be touched"),
        };
        return asks(&why, release);
    }
    let mut counts = Vec::new();
    for Bound { of, limit, release } in &brakes.bounds {
        let Some(until) = windows.room(&of.to_string(), *limit, at) else {
            let Limit { at_most, within } = limit;
            let whose = match of {
                Counted::Destination(_) => "which is its limit".to_owned(),
                Counted::Playbook(name) => format!("which is the limit of playbook {name}"),
            };
            return asks(&format!("{at_most} went out within {within}, {whose}"), release);
        };
        counts.push((of.clone(), until));
    }
    counts.iter().for_each(|(of, until)| windows.count(&of.to_string(), *until));
    Verdict::Goes(counts)
}

fn request(destination: &str, why: &str, at: Timestamp, effect: &Effect, release: &Release) -> ApprovalRequest {
    let what = match effect {
        Effect::Webhook(request) => {
            let path = request.path.iter().map(|part| format!("/{part}")).collect::<String>();
            let body = request.body.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{path} {body}").trim().to_owned()
        }
        Effect::Email(request) => request.subject.clone().unwrap_or_else(|| format!("template {}", request.template)),
        other => other.kind().to_owned(),
    };
    let question = format!("Send this to {destination}? {why}: {what}");
    let mut plain = one_line(&question);
    if let Some((cut, _)) = plain.char_indices().nth(QUESTION_CHARS_MAX) {
        plain.truncate(cut - plain[..cut].chars().next_back().map_or(0, char::len_utf8));
        plain.push('…');
    }
    ApprovalRequest {
        id: None,
        question: plain,
        by: release.by.clone(),
        not_by: None,
        until: release.deadline.after(at),
        otherwise: Choice::Deny,
        notify: None,
    }
}

/// Lets an effect go, or sees to it that it never goes; false when this approval is about none.
pub(crate) fn settle(state: &mut State, id: ApprovalId, key: &EffectKey, outcome: &Outcome) -> bool {
    let Some(flight) = state.flights.get_mut(key).filter(|flight| flight.brake == Some(Brake::Asks(id))) else {
        return false;
    };
    flight.brake = match outcome.choice {
        Some(Choice::Approve) => None,
        Some(Choice::Deny) | None => {
            let why = if outcome.comment.is_empty() { String::new() } else { format!(": {}", outcome.comment) };
            Some(Brake::Denied(format!("{id} {}{why}", approvals::ended(outcome))))
        }
    };
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;

    #[test]
    fn a_window_begins_with_its_first_effect_and_ends_in_time() {
        let mut windows = Windows::default();
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let limit = Limit { at_most: 2, within: Span::from_secs(60) };
        for (secs, until) in [(5, Some(65)), (64, Some(65)), (64, None), (65, Some(125)), (70, Some(125)), (124, None)]
        {
            let room = windows.room("edr", limit, at(secs));
            assert_eq!(room, until.map(at), "at {secs}");
            room.into_iter().for_each(|until| windows.count("edr", until));
            assert!(windows.room("chat", limit, at(secs)).is_some(), "each destination has its own");
        }
        assert_eq!(
            windows.room("edr", Limit { at_most: 3, ..limit }, at(124)),
            Some(at(125)),
            "a limit that was raised"
        );
    }

    #[test]
    fn windows_that_are_over_are_forgotten_however_many_begin_at_once() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let mut windows = Windows::default();
        for now in 0..1_000 {
            windows.forget(at(now));
            for n in 0..3 {
                windows.count(&format!("low {n}-{now}@example.com"), at(now + 60));
            }
        }
        assert_eq!(windows.names().count(), 3 * 60);
        // One that began anew ends later than it did; and all of it is so after a restart.
        windows.count("low 0-999@example.com", at(5_000));
        let saved = serde_json::to_string(&windows).unwrap();
        let mut windows: Windows = serde_json::from_str(&saved).unwrap();
        windows.forget(at(4_000));
        assert_eq!(windows.names().collect::<Vec<_>>(), ["low 0-999@example.com"]);
        assert_eq!(windows.open("low 0-999@example.com", at(4_000)), Some((1, at(5_000))));
        let text = r#"{"low 0-999@example.com":{"until":"1970-01-01T01:23:20Z","count":1}}"#;
        assert_eq!(serde_json::to_string(&windows).unwrap(), text, "as earlier versions wrote it");
    }
}
