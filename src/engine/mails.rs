//! Mails: who gets one now, who later in a digest, and who not at all.
//!
//! A digest is a group: what waits for a recipient of a destination is gathered until its time, and then starts a playbook. So
//! crashes, retries, bundles and operators meet it as they meet any other run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::alert::Severity;
use crate::domain::brakes::Limit;
use crate::domain::decision::{AlertRef, RuleRef};
use crate::domain::effect::Effect;
use crate::domain::entry::{Entry, Step};
use crate::domain::id::{AlertId, GroupId, RunId};
use crate::domain::mail::{
    DIGEST, DIGEST_ALERTS_MAX, Digest, Later, MailPlan, Never, Now, Omit, Recipient, Wait, Wants,
};
use crate::domain::recipient::{Addressee, folded};
use crate::domain::time::Span;
use crate::engine::alerts::Alerts;
use crate::engine::recipients::cap_key;
use crate::engine::state::{Group, Run, State, Timer};

/// A cap counts within a day that begins with the first mail.
const CAP_WITHIN: Span = Span::from_secs(24 * 3600);

/// Decides about the mails of one intent, each with those before it.
pub(crate) struct Mails<'a> {
    state: &'a State,
    at: Timestamp,
    severity: Severity,
    /// The run is a digest's: it waits for no other digest.
    digest: bool,
    /// What the mails before count for, beyond the state.
    counted: BTreeMap<String, u64>,
    /// The groups that they open.
    opened: BTreeMap<u64, GroupId>,
}

impl<'a> Mails<'a> {
    /// Of this run at this time.
    pub(crate) fn new(state: &'a State, run: &Run, at: Timestamp) -> Self {
        let severity = run.alerts.iter().map(|alert| severity(&state.alerts, alert)).max().unwrap_or(Severity::High);
        let (digest, counted, opened) = (run.digest.is_some(), BTreeMap::new(), BTreeMap::new());
        Self { state, at, severity, digest, counted, opened }
    }

    /// They are those of a digest's run.
    pub(crate) fn are_a_digests(&self) -> bool {
        self.digest
    }

    /// Who gets a mail, and when, unless brakes stop it.
    pub(crate) fn plan(&mut self, effect: &Effect, recipients: Vec<Recipient>) -> Option<MailPlan> {
        let destination = effect.destination().filter(|_| !recipients.is_empty())?;
        let is_question = matches!(effect, Effect::Approve(_));
        let all: Vec<Addressee> = recipients.iter().map(|recipient| recipient.to.clone()).collect();
        let mut plan =
            MailPlan { severity: self.severity, to: Vec::new(), later: Vec::new(), not: Vec::new(), to_all: false };
        for Recipient { to, wants } in recipients {
            let spared = is_question || self.digest;
            if self.state.recipients.is_unsubscribed(&to.address, destination) {
                plan.not.push(Never { address: to.address, why: Omit::Unsubscribed });
            } else if spared {
                plan.to.push(Now { to, counts_until: None });
            } else if self.severity < wants.at_least {
                plan.not.push(Never { address: to.address, why: Omit::BelowMinimum });
            } else if let Some(why) = self.waits(&to, &wants) {
                let group = self.group(destination, &to);
                let due = wants.digest_after(self.at);
                let due = self.state.groups.get(&group).map_or(due, |open| open.due.min(due));
                plan.later.push(Later { to, why, group, due });
            } else {
                let counts_until = wants.caps.of(self.severity).map(|_| self.count(&to));
                plan.to.push(Now { to, counts_until });
            }
        }
        if is_question && plan.to.is_empty() {
            // A question that reaches nobody is decided by its deadline.
            plan.to = all.into_iter().map(|to| Now { to, counts_until: None }).collect();
            (plan.to_all, plan.not) = (true, Vec::new());
        }
        Some(plan)
    }

    /// What people let go, all get at once who want it at all, and it counts for nothing: they have seen it.
    pub(crate) fn let_go(&mut self, plan: &mut MailPlan) {
        for now in &mut plan.to {
            if now.counts_until.take().is_some() {
                self.counted.entry(cap_key(self.severity, &now.to.address)).and_modify(|count| *count -= 1);
            }
        }
        plan.to.extend(plan.later.drain(..).map(|later| Now { to: later.to, counts_until: None }));
    }

    fn waits(&self, to: &Addressee, wants: &Wants) -> Option<Wait> {
        let quiet = wants.quiet.as_ref().filter(|quiet| quiet.except.is_none_or(|except| self.severity < except));
        if quiet.is_some_and(|quiet| quiet.ends(self.at).is_some()) {
            return Some(Wait::QuietHours);
        }
        let at_most = wants.caps.of(self.severity)?;
        let key = cap_key(self.severity, &to.address);
        let known = self.state.recipients.sent.count_of(&key, self.at);
        let before = known + self.counted.get(&key).copied().unwrap_or_default();
        (before >= at_most).then_some(Wait::Cap)
    }

    /// One more counts; tells when its day ends.
    fn count(&mut self, to: &Addressee) -> Timestamp {
        let key = cap_key(self.severity, &to.address);
        let any = Limit { at_most: u64::MAX, within: CAP_WITHIN };
        let until = self.state.recipients.sent.room(&key, any, self.at).unwrap_or(self.at);
        *self.counted.entry(key).or_default() += 1;
        until
    }

    /// The group that gathers what waits.
    fn group(&mut self, destination: &str, to: &Addressee) -> GroupId {
        let hash = group_hash(self.state, destination, &to.address);
        if let Some(open) = self.state.group_keys.get(&hash) {
            return *open;
        }
        let next = GroupId(self.state.groups_opened + self.opened.len() as u64 + 1);
        *self.opened.entry(hash).or_insert(next)
    }
}

/// The severity that an alert was decided at last; one that is not known any more is not kept from anybody.
fn severity(alerts: &Alerts, alert: &AlertRef) -> Severity {
    alerts.get(alert.id).map_or(Severity::High, |slot| slot.peak)
}

fn group_hash(state: &State, destination: &str, address: &str) -> u64 {
    state.hash(&["digest", destination, &folded(address)])
}

/// What a script gets of a mail that nobody gets now, or of one that somebody does not. A reply that says nothing of recipients
/// stays as it is: earlier attempts have more to say.
pub fn told(plan: &MailPlan, reply: &mut Value) {
    if !reply.is_object() {
        return;
    }
    let later: BTreeMap<&str, &str> = plan.later.iter().map(|it| (&*it.to.address, it.why.as_str())).collect();
    let left_out: BTreeMap<&str, &str> = plan.not.iter().map(|it| (&*it.address, it.why.as_str())).collect();
    reply["later"] = json!(later);
    reply["left_out"] = json!(left_out);
}

/// The answer to a mail that nobody gets now.
pub(crate) fn unsent(plan: &MailPlan) -> Value {
    let mut value = json!({ "accepted": [], "refused": {} });
    told(plan, &mut value);
    value
}

/// Notes what a mail counts for, and lets wait what is to wait.
pub(crate) fn apply(state: &mut State, entry: &Entry, run: &RunId, step: &Step) {
    let (Some(plan), Some(destination)) = (&step.mail, step.effect.destination()) else { return };
    state.recipients.sent.forget(entry.at);
    for now in &plan.to {
        if let Some(until) = now.counts_until {
            state.recipients.sent.count(&cap_key(plan.severity, &now.to.address), until);
        }
    }
    let Some(run) = state.runs.get(run).filter(|_| !plan.later.is_empty()) else { return };
    let weighed = |alert: &AlertRef| (*alert, severity(&state.alerts, alert));
    let alerts: Vec<(AlertRef, Severity)> = run.alerts.iter().map(weighed).collect();
    for later in &plan.later {
        wait(state, entry.at, destination, later, &alerts);
    }
}

fn wait(state: &mut State, at: Timestamp, destination: &str, later: &Later, alerts: &[(AlertRef, Severity)]) {
    let key = group_hash(state, destination, &later.to.address);
    state.groups_opened = state.groups_opened.max(later.group.0);
    state.group_keys.insert(key, later.group);
    let State { groups, timers, alerts: known, bundle, .. } = state;
    let group = groups.entry(later.group).or_insert_with(|| {
        let place = format!("{destination} for {}", later.to.address);
        let (waits, more) = (BTreeMap::new(), BTreeMap::new());
        let (destination, to) = (destination.to_owned(), later.to.clone());
        Group {
            key,
            rule: RuleRef { id: DIGEST.into(), place },
            due: later.due,
            alerts: Vec::new(),
            playbooks: vec![DIGEST.into()],
            bundle: bundle.clone(),
            digest: Some(Box::new(Digest { destination, to, since: at, waits, more })),
        }
    });
    timers.remove(&(group.due, Timer::Group(later.group)));
    group.due = group.due.min(later.due);
    timers.insert((group.due, Timer::Group(later.group)));
    join(group, known, alerts, later.why);
}

/// Further alerts wait: each is named as long as there is room or a less severe one to count instead. A run can have thousands,
/// so that nothing here looks through those that are named.
fn join(group: &mut Group, known: &Alerts, alerts: &[(AlertRef, Severity)], why: Wait) {
    let Some(digest) = &mut group.digest else { return };
    let mut named = Named::new(std::mem::take(&mut group.alerts), known);
    for (alert, severity) in alerts {
        if named.renew(*alert) {
            continue;
        }
        *digest.waits.entry(why).or_default() += 1;
        if let Some(counted) = named.add(*alert, *severity) {
            *digest.more.entry(counted).or_default() += 1;
        }
    }
    group.alerts = named.alerts.into_values().collect();
}

/// The alerts that a digest names, in the order in which they came.
struct Named {
    alerts: BTreeMap<usize, AlertRef>,
    places: HashMap<AlertId, usize>,
    /// The least severe first, of equal ones the oldest.
    least: BTreeSet<(Severity, usize)>,
    came: usize,
}

impl Named {
    fn new(alerts: Vec<AlertRef>, known: &Alerts) -> Self {
        let (places, least) = (HashMap::new(), BTreeSet::new());
        let mut named = Self { alerts: BTreeMap::new(), places, least, came: 0 };
        for alert in alerts {
            named.push(alert, severity(known, &alert));
        }
        named
    }

    /// Whether the alert is named already; a later body takes the place of an earlier one.
    fn renew(&mut self, alert: AlertRef) -> bool {
        let Some(member) = self.places.get(&alert.id).and_then(|place| self.alerts.get_mut(place)) else {
            return false;
        };
        if alert.seq > member.seq {
            *member = alert;
        }
        true
    }

    /// Names one more; gives the severity of what is counted instead, when there is no room.
    fn add(&mut self, alert: AlertRef, severity: Severity) -> Option<Severity> {
        if self.alerts.len() < DIGEST_ALERTS_MAX {
            self.push(alert, severity);
            return None;
        }
        let (least, place) =
            self.least.first().copied().filter(|(least, _)| *least < severity).unwrap_or((severity, usize::MAX));
        if let Some(counted) = self.alerts.remove(&place) {
            self.least.remove(&(least, place));
            self.places.remove(&counted.id);
            self.push(alert, severity);
        }
        Some(least)
    }

    fn push(&mut self, alert: AlertRef, severity: Severity) {
        self.alerts.insert(self.came, alert);
        self.places.insert(alert.id, self.came);
        self.least.insert((severity, self.came));
        self.came += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_says_nothing_of_recipients_stays_as_it_is() {
        let plan = MailPlan { severity: Severity::High, to: vec![], later: vec![], not: vec![], to_all: false };
        let (mut nothing, mut taken) = (Value::Null, json!({ "accepted": ["a@example.com"] }));
        told(&plan, &mut nothing);
        told(&plan, &mut taken);
        assert_eq!(nothing, Value::Null, "what earlier attempts brought takes its place");
        assert_eq!(taken, json!({ "accepted": ["a@example.com"], "later": {}, "left_out": {} }));
    }
}
