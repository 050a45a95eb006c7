//! The stages that an alert passes: duplicate → suppress → silence → for each route: mute → throttle → group → run.
//!
//! Alerts of one record are decided in order, and each sees what those before it did. Since the state must not
//! change while it is read, what they did is kept in `Ahead` until `apply` does the same to the state.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::domain::alert::{Alert, Status};
use crate::domain::decision::{Anew, Decision, Identity, Key, Reason, RouteVerdict, Window};
use crate::domain::entry::{Intake, Taken};
use crate::domain::id::{AlertId, GroupId, RunId, Trigger};
use crate::domain::record::{Body, HttpPosition, Position, Record};
use crate::engine::alerts::Slot;
use crate::engine::input::{Arrival, Candidate};
use crate::engine::state::State;
use crate::rules::compile::Rules;
use crate::rules::matcher::Matches;
use crate::rules::route::Route;
use crate::rules::suppress::Suppression;

/// Decides a record's alerts.
pub fn decide(state: &State, rules: &Rules, at: Timestamp, arrival: Arrival) -> Intake {
    let record_no = state.records + 1;
    let record = arrival.record;
    if let Some(redelivery) = redelivered(state, at, &record) {
        return Intake { format: arrival.format, ..redelivery };
    }
    let mut ahead = Ahead { groups_opened: state.groups_opened, ..Ahead::default() };
    let mut alerts = Vec::with_capacity(arrival.alerts.len());
    for (index, candidate) in (0..).zip(arrival.alerts) {
        let stages = Stages { state, rules, at, id: AlertId { record: record_no, index } };
        alerts.push(stages.decide(candidate, &arrival.format, &mut ahead));
    }
    Intake {
        record_no,
        source: record.source.to_string(),
        position: record.position,
        record: Body::new(&record.bytes),
        format: arrival.format,
        bundle: short(&arrival.bundle),
        alerts,
        redelivery_of: None,
    }
}

/// How many digits of its bundle's id an intake names: enough to find the `bundle` entry, which has all of them.
const BUNDLE_DIGITS: usize = 16;

fn short(bundle: &str) -> String {
    bundle.get(..BUNDLE_DIGITS).unwrap_or(bundle).into()
}

/// The key by which a redelivered record is known: the sender's `Idempotency-Key`, the index in the batch and the
/// content, so that a sender that uses one key for everything loses nothing.
pub(crate) fn delivery_hash(state: &State, source: &str, position: &Position, record: &Body) -> Option<u64> {
    let Position::Http(http) = position else { return None };
    let key = http.key.as_deref()?;
    Some(state.hash(&["delivery", source, key, &http.index.to_string(), record.written()]))
}

/// What is written for a record that was delivered before: that it came again, without its bytes.
pub(crate) fn redelivered(state: &State, at: Timestamp, record: &Record) -> Option<Intake> {
    let Position::Http(HttpPosition { key: Some(_), .. }) = &record.position else { return None };
    let hash = delivery_hash(state, &record.source, &record.position, &Body::new(&record.bytes))?;
    let known = state.deliveries.get(hash, at)?;
    Some(Intake {
        record_no: state.records + 1,
        source: record.source.to_string(),
        position: record.position.clone(),
        record: Body::new(&[]),
        format: String::new(),
        bundle: short(&state.bundle),
        alerts: Vec::new(),
        redelivery_of: Some(known),
    })
}

/// What the alerts before this one, of the same record, did.
#[derive(Default)]
struct Ahead {
    slots: HashMap<u64, Slot>,
    windows: HashMap<u64, Window>,
    groups: HashMap<u64, Joined>,
    groups_opened: u64,
    started: HashSet<RunId>,
}

/// Alerts of one group; the next alert of its key opens another.
const GROUP_ALERTS_MAX: usize = 10_000;

/// Windows of throttles that are open at once.
pub const WINDOWS_MAX: usize = 100_000;

/// What a route's throttle says of an alert.
enum Throttled {
    /// There is none, or the alert lacks its key.
    Not,
    /// There would be too many windows: the alert is not held back.
    TooMany,
    /// The window after this alert, and whether the alert is surplus.
    In(Window, bool),
}

/// The group that takes an alert.
#[derive(Clone)]
struct Joined {
    id: GroupId,
    due: Timestamp,
    playbooks: Vec<String>,
}

struct Stages<'a> {
    state: &'a State,
    rules: &'a Rules,
    at: Timestamp,
    /// The alert's id, if it is new.
    id: AlertId,
}

impl Stages<'_> {
    fn decide(mut self, candidate: Candidate, format: &str, ahead: &mut Ahead) -> Taken {
        let Candidate { mut alert, part, window, matches } = candidate;
        alert.received = self.at;
        let (by, identity) = self.identity(&alert, format);
        let identity_until = match by {
            Identity::ExternalId => None,
            Identity::Fingerprint => Some(window.unwrap_or_default().after(self.at)),
        };
        let known = ahead.slots.get(&identity).or_else(|| self.state.alerts.known(identity, self.at)).copied();
        if let Some(known) = known {
            self.id = known.id;
        }
        let suppression = self.rules.suppression(&matches, self.at, &alert.source);
        let decision = match known {
            None => self.anew(&alert, &matches, suppression, Vec::new(), ahead),
            Some(known) => self.repeat(&alert, &matches, suppression, &known, by, ahead),
        };
        let slot = after(known, self.id, &alert, &decision);
        ahead.slots.insert(identity, slot);
        Taken { id: self.id, part, alert, identity: format!("{identity:016x}"), identity_until, decision }
    }

    fn identity(&self, alert: &Alert, format: &str) -> (Identity, u64) {
        match (&alert.external_id, &alert.fingerprint) {
            (Some(id), _) => (Identity::ExternalId, self.state.hash(&["id", &alert.source, id])),
            (None, Some(print)) => {
                (Identity::Fingerprint, self.state.hash(&["fingerprint", &alert.source, format, print]))
            }
            (None, None) => (Identity::Fingerprint, self.state.hash(&["none", &self.id.to_string()])),
        }
    }

    /// A repeat only counts, unless something about it asks for a new decision.
    fn repeat(
        &self,
        alert: &Alert,
        matches: &Matches,
        suppression: Option<&Suppression>,
        known: &Slot,
        by: Identity,
        ahead: &mut Ahead,
    ) -> Decision {
        let open = alert.status.is_open();
        let anew = if open && alert.severity > known.peak {
            Some(Anew::SeverityRose { from: known.severity, to: alert.severity })
        } else if known.held {
            None
        } else if open && known.suppressed && suppression.is_none() {
            Some(Anew::NotSuppressedAnyMore)
        } else if open && known.silenced && self.state.silences.holding(alert, self.at).is_none() {
            Some(Anew::NotSilencedAnyMore)
        } else if open && !known.suppressed && !known.status.is_open() {
            Some(Anew::Reopened)
        } else if !known.suppressed && (alert.status != known.status || alert.severity != known.severity) {
            Some(Anew::Changed)
        } else {
            None
        };
        let reason = Reason::Duplicate { by, count: u64::from(known.count) + 1, anew, was: None };
        let mut decision = match anew {
            None => Decision { status: known.status, reasons: vec![reason] },
            Some(Anew::Changed) => Decision { status: alert.status, reasons: vec![reason] },
            Some(_) => self.anew(alert, matches, suppression, vec![reason], ahead),
        };
        if let Some(Reason::Duplicate { was, .. }) = decision.reasons.first_mut() {
            *was = (decision.status.is_open() && !known.status.is_open()).then_some(known.status);
        }
        decision
    }

    fn anew(
        &self,
        alert: &Alert,
        matches: &Matches,
        suppression: Option<&Suppression>,
        mut reasons: Vec<Reason>,
        ahead: &mut Ahead,
    ) -> Decision {
        if let Some(suppression) = suppression {
            reasons.push(Reason::Suppress { rule: suppression.rule.clone(), expires: suppression.expires });
            return Decision { status: Status::Dismissed, reasons };
        }
        if !alert.status.is_open() {
            reasons.push(Reason::Resolved);
            return Decision { status: alert.status, reasons };
        }
        if let Some(silence) = self.state.silences.holding(alert, self.at) {
            reasons.push(Reason::Silence { silence: silence.id, by: silence.by.clone(), until: silence.until });
            return Decision { status: alert.status, reasons };
        }
        let routes = self.rules.route(matches);
        if routes.is_empty() {
            reasons.push(Reason::NoRoute);
        }
        reasons.extend(routes.into_iter().map(|route| self.route(alert, route, ahead)));
        Decision { status: alert.status, reasons }
    }

    fn route(&self, alert: &Alert, route: &Route, ahead: &mut Ahead) -> Reason {
        let rule = route.rule.clone();
        if let Some(time) = route.still(self.at) {
            let verdict = RouteVerdict::Muted { time };
            return Reason::Route { rule, window: None, unthrottled: false, verdict };
        }
        let (window, surplus, unthrottled) = match self.throttle(alert, route, ahead) {
            Throttled::Not => (None, false, false),
            Throttled::TooMany => (None, false, true),
            Throttled::In(window, surplus) => (Some(window), surplus, false),
        };
        if surplus {
            return Reason::Route { rule, window, unthrottled, verdict: RouteVerdict::Throttled };
        }
        let verdict = if route.playbooks.is_empty() {
            RouteVerdict::Record
        } else if route.group_by.is_empty() {
            self.run(route, ahead)
        } else {
            self.group(alert, route, ahead)
        };
        Reason::Route { rule, window, unthrottled, verdict }
    }

    fn throttle(&self, alert: &Alert, route: &Route, ahead: &mut Ahead) -> Throttled {
        let Some(throttle) = route.throttle.as_ref() else { return Throttled::Not };
        let key = throttle.per.iter().map(|field| field.values(alert)).collect::<Option<Key>>();
        let Some(key) = key else { return Throttled::Not };
        let hash = self.state.key_hash("throttle", &route.rule.id, Some(&key), self.id);
        let open = ahead.windows.get(&hash).cloned().or_else(|| {
            let open = self.state.windows.get(&hash).filter(|open| open.until > self.at)?;
            Some(Window { key: key.clone(), passed: open.passed, surplus: open.surplus, until: open.until })
        });
        // Better a mail too many than none: what needs a window beyond the limit is not held back.
        let is_new = open.is_none() && !self.state.windows.contains_key(&hash);
        if is_new && self.state.windows.len() + ahead.windows.len() >= WINDOWS_MAX {
            return Throttled::TooMany;
        }
        let until = throttle.within.after(self.at);
        let mut window = open.unwrap_or(Window { key, passed: 0, surplus: 0, until });
        let surplus = window.passed >= throttle.at_most;
        if surplus {
            window.surplus += 1;
        } else {
            window.passed += 1;
        }
        ahead.windows.insert(hash, window.clone());
        Throttled::In(window, surplus)
    }

    /// Joins the open group of its key. Playbooks that ran for the alert before are no reason to join.
    fn group(&self, alert: &Alert, route: &Route, ahead: &mut Ahead) -> RouteVerdict {
        if route.playbooks.iter().all(|playbook| self.state.has_run(&self.run_of(playbook))) {
            return RouteVerdict::Run { runs: Vec::new(), ran_before: route.playbooks.clone() };
        }
        let key: Option<Key> = route.group_by.iter().map(|field| field.values(alert)).collect();
        let hash = self.state.key_hash("group", &route.rule.id, key.as_ref(), self.id);
        let open = ahead.groups.get(&hash).cloned().or_else(|| {
            let id = self.state.group_keys.get(&hash)?;
            let group = self.state.groups.get(id).filter(|group| group.alerts.len() < GROUP_ALERTS_MAX)?;
            Some(Joined { id: *id, due: group.due, playbooks: group.playbooks.clone() })
        });
        let joined = open.unwrap_or_else(|| {
            ahead.groups_opened += 1;
            let (id, due) = (GroupId(ahead.groups_opened), route.group_wait.after(self.at));
            Joined { id, due, playbooks: route.playbooks.clone() }
        });
        ahead.groups.insert(hash, joined.clone());
        RouteVerdict::Grouped { group: joined.id, key, due: joined.due, playbooks: joined.playbooks }
    }

    fn run_of(&self, playbook: &str) -> RunId {
        RunId::first(Trigger::Alert(self.id), playbook)
    }

    fn run(&self, route: &Route, ahead: &mut Ahead) -> RouteVerdict {
        let (mut runs, mut ran_before) = (Vec::new(), Vec::new());
        for playbook in &route.playbooks {
            let run = self.run_of(playbook);
            if self.state.has_run(&run) || !ahead.started.insert(run.clone()) {
                ran_before.push(playbook.clone());
            } else {
                runs.push(run);
            }
        }
        RouteVerdict::Run { runs, ran_before }
    }
}

/// The alert's slot after a decision; `seq` and `identity_until` are the caller's to set.
pub(crate) fn after(known: Option<Slot>, id: AlertId, alert: &Alert, decision: &Decision) -> Slot {
    let suppressed_now = decision.reasons.iter().any(|reason| matches!(reason, Reason::Suppress { .. }));
    let silenced_now = decision.reasons.iter().any(|reason| matches!(reason, Reason::Silence { .. }));
    let Some(mut slot) = known else {
        return Slot {
            id,
            seq: 0,
            identity_until: u32::MAX,
            count: 1,
            severity: alert.severity,
            peak: alert.severity,
            status: decision.status,
            suppressed: suppressed_now,
            silenced: silenced_now,
            held: false,
        };
    };
    slot.count = slot.count.saturating_add(1);
    slot.status = decision.status;
    if let Some(Reason::Duplicate { anew: Some(anew), .. }) = decision.reasons.first() {
        slot.severity = alert.severity;
        slot.peak = slot.peak.max(alert.severity);
        slot.suppressed = suppressed_now;
        slot.silenced = silenced_now || slot.silenced && *anew == Anew::Changed;
        slot.held &= !matches!(anew, Anew::SeverityRose { .. });
    }
    slot
}
