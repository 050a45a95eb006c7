//! Applies an entry to the state: the same at decide time and at recovery.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::domain::brakes::Counted;
use crate::domain::decision::{AlertRef, Reason, RouteVerdict, RuleRef, Window};
use crate::domain::effect::{Class, Effect};
use crate::domain::entry::{Due, End, Entry, Facts, Intake, Log, Quarantine, RunEnd, Step, StepResult, Taken};
use crate::domain::id::{RunId, Trigger};
use crate::domain::mail::{self, Digest};
use crate::domain::operator::{Operator, Order};
use crate::domain::record::{Body, FolderPosition, Position};
use crate::engine::intake::{after, delivery_hash};
use crate::engine::leap::Leap;
use crate::engine::state::{
    Flight, Group, HALTED_MAX, Halted, LETTERS_MAX, Letter, OpenWindow, Refused, Run, State, Timer, clipped,
};
use crate::engine::{approvals, flights, mails, triage};

/// Applies the next entry.
pub fn apply(state: &mut State, entry: &Entry) {
    state.leap = Leap::after(state.leap, state.at, entry.at);
    state.seq = entry.seq;
    state.at = entry.at;
    forget(state, entry.at);
    match &entry.facts {
        Facts::Log(Log::Opened { journal, .. }) => state.journal.clone_from(journal),
        Facts::Log(Log::Key { verifier, .. } | Log::Repaired { key: Some(verifier), .. }) => {
            state.signed_by.clone_from(verifier);
        }
        Facts::Log(Log::Dropped { segments, .. }) => {
            state.dropped = segments.last().map_or(state.dropped, |seal| seal.last);
            state.alerts.forget(state.dropped);
            forget_halted(state);
            let State { alerts, ran, dropped, .. } = state;
            ran.forget(alerts, *dropped);
        }
        Facts::Log(_) => {}
        Facts::Bundle(bundle) => {
            state.bundle.clone_from(&bundle.id);
            state.bundles.insert(bundle.id.clone(), bundle.commit.clone());
            forget_bundles(state);
        }
        Facts::Intake(intake) => apply_intake(state, entry, intake),
        Facts::Quarantine(quarantine) => apply_quarantine(state, entry, quarantine),
        Facts::Due(due) => apply_due(state, entry, due),
        Facts::Intent(intent) => {
            if let Some(run) = state.runs.get_mut(&intent.run) {
                run.entries.push(entry.seq);
                run.refused.clear();
            }
            apply_steps(state, entry, &intent.run, &intent.steps);
        }
        Facts::Begin(begin) => {
            if let Some(flight) = state.flights.get_mut(&begin.key) {
                flight.begun = true;
            }
        }
        Facts::Attempt(attempt) => {
            state.totals.retries += 1;
            if let Some(flight) = state.flights.get_mut(&attempt.key) {
                flight.failed = attempt.n;
                flight.begun = false;
                flight.ambiguous = attempt.ambiguous;
                flight.next = Some(attempt.next);
                flight.progress.clone_from(&attempt.progress);
                flight.error = Some(attempt.error.clone());
                state.timers.insert((attempt.next, Timer::Retry(attempt.key.clone())));
            }
        }
        Facts::Result(result) => apply_result(state, entry.seq, result),
        Facts::Run(end) => apply_end(state, entry, end),
        Facts::Operator(operator) => apply_order(state, entry, operator),
    }
}

/// Drops what is over by now: throttle windows without a surplus and old idempotency keys.
fn forget(state: &mut State, at: Timestamp) {
    while let Some((until, hash)) = state.window_ends.first().copied().filter(|(until, _)| *until <= at) {
        if state.windows.get(&hash).is_some_and(|window| window.surplus > 0) {
            break;
        }
        state.window_ends.remove(&(until, hash));
        state.windows.remove(&hash);
    }
    state.deliveries.forget(at);
}

/// A run that stopped, or an effect that failed, can go on no more once what it needs is dropped.
fn forget_halted(state: &mut State) {
    let dropped = state.dropped;
    state.halted.retain(|_, halted| halted.run.needs() > dropped);
    state.letters.retain(|_, letter| letter.needs() > dropped);
    let State { halted, halted_order, .. } = state;
    halted_order.retain(|_, run| halted.contains_key(run));
}

/// Names of bundles are kept as long as something may name them.
fn forget_bundles(state: &mut State) {
    let halted = state.halted.values().map(|halted| &halted.run);
    let runs = state.runs.values().chain(halted).map(|run| &run.bundle);
    let groups = state.groups.values().map(|group| &group.bundle);
    let used: HashSet<&String> = runs.chain(groups).chain([&state.bundle]).collect();
    state.bundles.retain(|id, _| used.contains(id));
}

fn apply_intake(state: &mut State, entry: &Entry, intake: &Intake) {
    state.records = intake.record_no;
    if intake.redelivery_of.is_none() {
        apply_delivery(state, entry, &intake.source, &intake.position, &intake.record);
    }
    apply_position(state, &intake.source, &intake.position);
    for (at, taken) in (0..).zip(&intake.alerts) {
        apply_taken(state, entry, taken);
        let alert = AlertRef { id: taken.id, seq: entry.seq, at };
        for reason in &taken.decision.reasons {
            match reason {
                Reason::Suppress { .. } => state.totals.suppressed += 1,
                Reason::Silence { silence, .. } => {
                    state.totals.silenced += 1;
                    state.silences.count(*silence, entry.at);
                }
                Reason::Route { rule, window, unthrottled, verdict } => {
                    state.totals.unthrottled += u64::from(*unthrottled);
                    if let Some(window) = window {
                        apply_window(state, rule, window);
                    }
                    apply_verdict(state, entry, rule, verdict, alert);
                }
                Reason::Duplicate { .. } | Reason::Resolved | Reason::NoRoute => {}
            }
        }
    }
}

/// Remembers a record that its sender named by an idempotency key.
fn apply_delivery(state: &mut State, entry: &Entry, source: &str, position: &Position, record: &Body) {
    let Some(hash) = delivery_hash(state, source, position, record) else { return };
    state.deliveries.insert(hash, state.records, entry.at);
}

fn apply_position(state: &mut State, source: &str, position: &Position) {
    match position {
        Position::File(file) => {
            state.files.insert(source.into(), file.clone());
        }
        Position::Folder(folder) => {
            let FolderPosition { file, sha256, .. } = folder.clone();
            state.folders.entry(source.into()).or_default().insert((file, sha256), folder.clone());
        }
        Position::Retry { quarantine } => {
            state.quarantine.remove(quarantine);
        }
        Position::Http(_) | Position::Stdin { .. } | Position::Sample { .. } => {}
    }
}

fn apply_taken(state: &mut State, entry: &Entry, taken: &Taken) {
    let known = state.alerts.get(taken.id).copied();
    let mut slot = after(known, taken.id, &taken.alert, &taken.decision);
    slot.seq = entry.seq;
    if known.is_some() {
        state.totals.duplicates += 1;
        if let Some(place) = state.alerts.get_mut(taken.id) {
            *place = slot;
        }
    } else {
        state.totals.alerts += 1;
        slot.identity_until = match taken.identity_until {
            None => u32::MAX,
            Some(until) => u32::try_from(until.as_second().saturating_add(1)).unwrap_or(u32::MAX - 1),
        };
        let identity = u64::from_str_radix(&taken.identity, 16).unwrap_or_default();
        state.alerts.insert(identity, slot);
    }
}

fn apply_window(state: &mut State, rule: &RuleRef, window: &Window) {
    let hash = state.throttle_hash(rule, &window.key);
    let Window { ref key, passed, surplus, until } = *window;
    let key = clipped(key);
    if let Some(old) = state.windows.insert(hash, OpenWindow { rule: rule.clone(), key, passed, surplus, until })
        && old.until != until
    {
        state.window_ends.remove(&(old.until, hash));
        state.timers.remove(&(old.until, Timer::Throttle(hash)));
    }
    state.window_ends.insert((until, hash));
    if surplus > 0 {
        state.timers.insert((until, Timer::Throttle(hash)));
    }
}

fn apply_verdict(state: &mut State, entry: &Entry, rule: &RuleRef, verdict: &RouteVerdict, alert: AlertRef) {
    match verdict {
        RouteVerdict::Muted { .. } => state.totals.muted += 1,
        RouteVerdict::Throttled => state.totals.throttled += 1,
        RouteVerdict::Record => {}
        RouteVerdict::Run { runs, .. } => {
            for run in runs {
                let bundle = state.bundle.clone();
                start(state, entry, run, bundle, vec![alert]);
            }
        }
        RouteVerdict::Grouped { group, key, due, playbooks } => {
            let hash = state.key_hash("group", &rule.id, key.as_ref(), alert.id);
            state.groups_opened = state.groups_opened.max(group.0);
            state.group_keys.insert(hash, *group);
            state.timers.insert((*due, Timer::Group(*group)));
            let open = state.groups.entry(*group).or_insert_with(|| Group {
                key: hash,
                rule: rule.clone(),
                due: *due,
                alerts: Vec::new(),
                playbooks: playbooks.clone(),
                bundle: state.bundle.clone(),
                digest: None,
            });
            match open.alerts.iter_mut().find(|member| member.id == alert.id) {
                Some(member) => *member = alert,
                None => open.alerts.push(alert),
            }
        }
    }
}

fn start(state: &mut State, entry: &Entry, run: &RunId, bundle: String, alerts: Vec<AlertRef>) {
    state.ran.insert(state.hash(&[&run.to_string()]), run.trigger, entry.seq);
    let (started, began, entries) = (entry.at, entry.seq, Vec::new());
    let (waiting, refused) = (std::collections::BTreeSet::new(), Vec::new());
    let open = Run { bundle, alerts, started, began, entries, steps: 0, waiting, refused, starter: None, digest: None };
    state.runs.insert(run.clone(), open);
}

/// The run is a digest's.
fn tells(state: &mut State, id: &RunId, digest: Option<&Digest>) {
    if let Some(run) = state.runs.get_mut(id) {
        run.digest = digest.cloned().map(Box::new);
    }
}

fn apply_quarantine(state: &mut State, entry: &Entry, quarantine: &Quarantine) {
    state.records = quarantine.record_no;
    apply_delivery(state, entry, &quarantine.source, &quarantine.position, &quarantine.record);
    state.totals.quarantined += 1;
    apply_position(state, &quarantine.source, &quarantine.position);
    state.quarantine.insert(quarantine.record_no, entry.seq);
}

fn apply_due(state: &mut State, entry: &Entry, due: &Due) {
    match due {
        Due::Group { group, alerts, runs, bundle, digest, .. } => {
            if let Some(open) = state.groups.remove(group) {
                state.timers.remove(&(open.due, Timer::Group(*group)));
                if state.group_keys.get(&open.key) == Some(group) {
                    state.group_keys.remove(&open.key);
                }
            }
            for run in runs {
                start(state, entry, run, bundle.clone(), alerts.clone());
                tells(state, run, digest.as_deref());
                // What a digest tells of has not run for its alerts.
                for alert in alerts.iter().filter(|_| digest.is_none()) {
                    let ran = RunId::first(Trigger::Alert(alert.id), &run.playbook);
                    state.ran.insert(state.hash(&[&ran.to_string()]), ran.trigger, entry.seq);
                }
            }
        }
        Due::Timer { run, step } => {
            let over = Timer::Sleep(run.clone(), *step);
            if state.timers.first().is_some_and(|(_, first)| *first == over) {
                state.timers.pop_first();
            }
            if let Some(open) = state.runs.get_mut(run) {
                open.waiting.remove(step);
                open.entries.push(entry.seq);
            }
        }
        Due::Approval { approval, run, step, choice } => {
            approvals::time_out(state, entry, *approval, (run, *step), *choice);
        }
        Due::Retry { key } => {
            if let Some(flight) = state.flights.get_mut(key)
                && let Some(next) = flight.next.take()
            {
                state.timers.remove(&(next, Timer::Retry(key.clone())));
            }
        }
        Due::Throttle { rule, key, window, .. } => {
            let named = window.as_deref().and_then(|hash| u64::from_str_radix(hash, 16).ok());
            let hash = named.unwrap_or_else(|| state.throttle_hash(rule, key));
            if let Some(window) = state.windows.remove(&hash) {
                state.window_ends.remove(&(window.until, hash));
                state.timers.remove(&(window.until, Timer::Throttle(hash)));
            }
        }
    }
}

fn apply_steps(state: &mut State, entry: &Entry, id: &RunId, steps: &[Step]) {
    for step in steps {
        let Some(run) = state.runs.get_mut(id) else { return };
        run.steps = step.n + 1;
        match &step.effect {
            Effect::Sleep { until } => {
                run.waiting.insert(step.n);
                state.timers.insert((*until, Timer::Sleep(id.clone(), step.n)));
            }
            Effect::SetStatus { alert, status, .. } => {
                if let Some(slot) = state.alerts.get_mut(*alert) {
                    slot.status = *status;
                    slot.held = true;
                }
            }
            Effect::Approve(request) => {
                run.waiting.insert(step.n);
                flights::fly(state, entry, id, step);
                approvals::ask(state, entry, id, step.n, request);
            }
            _ => flights::fly(state, entry, id, step),
        }
        mails::apply(state, entry, id, step);
        if let Some(request) = &step.release {
            approvals::ask(state, entry, id, step.n, request);
        }
        if let (Some(until), Some(destination)) = (step.counts_until, step.effect.destination()) {
            state.limits.count(destination, until);
        }
        if let Some(until) = step.playbook_counts_until {
            state.limits.count(&Counted::Playbook(id.playbook.clone()).to_string(), until);
        }
    }
}

fn apply_result(state: &mut State, seq: u64, result: &StepResult) {
    let is_ok = result.reply.class == Class::Ok;
    *(if is_ok { &mut state.totals.effects_ok } else { &mut state.totals.effects_failed }) += 1;
    let flight = state.flights.remove(&result.key);
    if let Some(flight) = &flight {
        if let Some(next) = flight.next {
            state.timers.remove(&(next, Timer::Retry(result.key.clone())));
        }
        if !is_ok && flight.brake.is_none() {
            apply_letter(state, seq, result, flight);
        }
    }
    if result.resent {
        return learn(state, seq, result);
    }
    if flight.as_ref().is_some_and(|flight| flight.notice) {
        return;
    }
    let Some(run) = state.runs.get_mut(&result.run) else { return };
    run.waiting.remove(&result.step);
    run.entries.push(seq);
    // What people did not let go is not sent again behind their backs.
    let failed = flight.filter(|flight| flight.brake.is_none());
    if let (Some(flight), Class::Rejected | Class::Dead) = (failed, result.reply.class) {
        let flight = Flight { progress: mail::resumed(&result.reply.value), ..flight };
        run.refused.push(Refused { key: result.key.clone(), flight, seq });
    }
}

/// What came of a letter that was sent again. Its run learns that it arrived when an operator lets it go on, and asks no second time.
fn learn(state: &mut State, seq: u64, result: &StepResult) {
    let State { runs, halted, .. } = state;
    let halted = halted.get_mut(&result.run).map(|halted| &mut halted.run);
    let is_halted = halted.is_some();
    let Some(run) = halted.or_else(|| runs.get_mut(&result.run)) else { return };
    let Some(at) = run.refused.iter().position(|refused| refused.key == result.key) else { return };
    if !is_halted || result.reply.class != Class::Ok {
        run.refused[at].flight.progress = mail::resumed(&result.reply.value);
        return;
    }
    let failed = run.refused.remove(at).seq;
    run.entries.iter_mut().filter(|known| **known == failed).for_each(|known| *known = seq);
}

fn apply_letter(state: &mut State, seq: u64, result: &StepResult, flight: &Flight) {
    let (needs, at) = (flight.needs(), state.at);
    let Flight { intent, began, destination, .. } = flight;
    let (key, destination, class) = (result.key.clone(), destination.clone(), result.reply.class);
    state.letters.insert(seq, Letter { key, intent: *intent, began: *began, destination, class, at, needs });
    while state.letters.len() > LETTERS_MAX {
        state.letters.pop_first();
    }
}

fn apply_end(state: &mut State, entry: &Entry, end: &RunEnd) {
    apply_steps(state, entry, &end.run, &end.steps);
    let Some(mut run) = state.runs.remove(&end.run) else { return };
    let stalled = match end.end {
        End::Finished { .. } => return state.totals.runs_finished += 1,
        End::Failed { .. } => {
            state.totals.runs_failed += 1;
            false
        }
        End::Stalled { .. } => {
            state.totals.runs_stalled += 1;
            true
        }
    };
    if !end.steps.is_empty() {
        run.entries.push(entry.seq);
        run.refused.clear();
    }
    state.halted.insert(end.run.clone(), Halted { run, stalled, seq: entry.seq, at: entry.at });
    state.halted_order.insert(entry.seq, end.run.clone());
    while state.halted.len() > HALTED_MAX {
        let Some((_, oldest)) = state.halted_order.pop_first() else { break };
        state.halted.remove(&oldest);
    }
}

fn apply_order(state: &mut State, entry: &Entry, operator: &Operator) {
    let order = &operator.order;
    match order {
        Order::RunCancel { run } => cancel(state, entry, run, operator),
        Order::RunRestart { run, starts, alerts, bundle, digest } => {
            unhalt(state, run);
            start(state, entry, starts, bundle.clone(), alerts.clone());
            tells(state, starts, digest.as_deref());
            by_hand(state, starts, operator);
        }
        Order::RunRetry { run, again } => go_on(state, entry, run, again),
        Order::DeliveryRetry { .. } => flights::send_again(state, entry, order),
        Order::Alert { alert, change, on_status, .. } => {
            triage::apply(state, *alert, change);
            for (told, run) in on_status.iter().flat_map(|told| told.runs().map(move |run| (told, run))) {
                start(state, entry, run, told.bundle.clone(), vec![told.alert]);
                by_hand(state, run, operator);
            }
        }
        Order::Silence(order) => state.silences.apply(entry.at, order, &operator.actor, &operator.comment),
        Order::Token(order) => state.tokens.apply(entry.at, order, &operator.actor),
        Order::Hold(order) => state.holds.apply(entry.at, order, &operator.actor, &operator.comment),
        Order::Recipient(order) => state.recipients.apply(entry.at, order, &operator.actor, &operator.comment),
        Order::DestinationTest { .. } | Order::Upkeep(_) => {}
        Order::QuarantineDiscard { records } => {
            state.quarantine.retain(|record, _| records.binary_search(record).is_err())
        }
        Order::Approval(order) => approvals::decided(state, entry, order, operator),
        Order::RunStart { alert, starts, bundle } => {
            start(state, entry, starts, bundle.clone(), vec![*alert]);
            by_hand(state, starts, operator);
        }
    }
}

fn by_hand(state: &mut State, id: &RunId, operator: &Operator) {
    if let Some(run) = state.runs.get_mut(id) {
        run.starter = Some(operator.name().to_owned());
    }
}

/// A halted run is open again; the effects that had failed are under way again, and no dead letters any more.
fn go_on(state: &mut State, entry: &Entry, id: &RunId, again: &[u32]) {
    let Some(Halted { mut run, .. }) = unhalt(state, id) else { return };
    for Refused { key, flight, seq } in std::mem::take(&mut run.refused) {
        if !again.contains(&flight.step) {
            continue;
        }
        state.letters.retain(|_, letter| letter.key != key);
        run.entries.retain(|known| *known != seq);
        run.waiting.insert(flight.step);
        let flight = Flight { failed: 0, next: None, begun: false, error: None, ..flight };
        state.flights.insert(key, flight);
    }
    run.entries.push(entry.seq);
    state.runs.insert(id.clone(), run);
}

fn unhalt(state: &mut State, id: &RunId) -> Option<Halted> {
    let halted = state.halted.remove(id)?;
    state.halted_order.remove(&halted.seq);
    Some(halted)
}

/// The run and all that it waits for are gone; what comes of a request under way is nobody's any more.
fn cancel(state: &mut State, entry: &Entry, id: &RunId, operator: &Operator) {
    state.totals.runs_cancelled += 1;
    unhalt(state, id);
    if state.runs.remove(id).is_none() {
        return;
    }
    approvals::withdraw(state, entry, id, operator);
    state.flights.retain(|_, flight| flight.run != *id || flight.resent);
    let (flights, approvals) = (&state.flights, &state.approvals);
    state.timers.retain(|(_, timer)| match timer {
        Timer::Sleep(run, _) => run != id,
        Timer::Retry(key) => flights.contains_key(key),
        Timer::Approval(approval) => approvals.deadline(*approval).is_some(),
        Timer::Throttle(_) | Timer::Group(_) => true,
    });
}
