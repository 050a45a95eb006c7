//! What of the journal's entries also stands in the daemon's log.

use crate::daemon::takes::Lack;
use crate::domain::effect::{Effect, EffectKey};
use crate::domain::entry::{Due, End, Entry, Facts, RunEnd, Step};
use crate::domain::id::RunId;
use crate::domain::operator::{Operator, Order};

/// What an operator wants to see in the log as it happens; everything else is in the journal.
pub fn entry(entry: &Entry) {
    let seq = entry.seq;
    match &entry.facts {
        Facts::Quarantine(q) => {
            tracing::warn!(seq, source = q.source, record = q.record_no, cause = q.cause, "record quarantined");
        }
        Facts::Due(Due::Throttle { rule, surplus, key, .. }) => {
            tracing::info!(seq, rule = rule.id, surplus, ?key, "throttle window ended with a surplus");
        }
        Facts::Operator(Operator {
            actor, comment, order: Order::DeliveryRetry { key, run, destination, .. }, ..
        }) => {
            tracing::info!(seq, actor, comment, %run, %key, destination, "an operator sends an effect again");
        }
        Facts::Operator(Operator { actor, comment, order, .. }) => {
            tracing::info!(seq, actor, comment, ?order, "an operator gave an order");
        }
        Facts::Intent(intent) => {
            said(seq, &intent.run, &intent.steps);
            for step in intent.steps.iter().filter(|step| step.mail.as_ref().is_some_and(|plan| plan.to_all)) {
                let (run, n) = (&intent.run, step.n);
                tracing::warn!(seq, %run, step = n, "all recipients have unsubscribed; the question goes to all of them");
            }
        }
        Facts::Due(Due::Group { group, digest: Some(digest), alerts, .. }) => {
            let (to, destination, alerts) = (&digest.to.address, &digest.destination, alerts.len());
            tracing::info!(seq, %group, to, destination, alerts, "a digest is sent");
        }
        Facts::Run(end) => {
            said(seq, &end.run, &end.steps);
            ended(seq, end);
        }
        Facts::Result(result) if result.reply.error.is_some() => {
            let key: &EffectKey = &result.key;
            let error = result.reply.error.as_deref();
            tracing::warn!(seq, run = %result.run, %key, class = ?result.reply.class, error, "effect failed");
        }
        Facts::Attempt(attempt) => {
            let (n, error, next) = (attempt.n, &attempt.error, attempt.next);
            tracing::info!(seq, key = %attempt.key, attempt = n, error, %next, "attempt failed, will try again");
        }
        _ => {}
    }
}

/// What playbooks say with `log`.
fn said(seq: u64, run: &RunId, steps: &[Step]) {
    for step in steps {
        let Effect::Log { level, text } = &step.effect else { continue };
        match level.as_str() {
            "error" => tracing::error!(seq, %run, "{text}"),
            "warn" => tracing::warn!(seq, %run, "{text}"),
            "debug" => tracing::debug!(seq, %run, "{text}"),
            _ => tracing::info!(seq, %run, "{text}"),
        }
    }
}

fn ended(seq: u64, end: &RunEnd) {
    match &end.end {
        End::Finished { .. } => tracing::debug!(seq, run = %end.run, "run finished"),
        End::Failed { error, place } => tracing::warn!(seq, run = %end.run, error, place, "run failed"),
        End::Stalled { step, expected, got } => {
            tracing::error!(seq, run = %end.run, step, expected, got, "run stalled: its replay differs from the journal");
        }
    }
}

/// Logs that new alerts are taken again, or are not any more and why.
pub fn takes(before: Option<Lack>, now: Option<Lack>, waiting: u64, runs: usize) {
    match (before, now) {
        (Some(Lack::Runs), None) => tracing::info!(runs, "fewer runs are open: new alerts are taken"),
        (_, None) => tracing::info!("the disk has room again: new alerts are taken"),
        (_, Some(Lack::Runs)) => {
            tracing::error!(runs, "too many runs are open: new alerts are refused until some have ended")
        }
        (_, Some(Lack::Disk)) if waiting == 0 => {
            tracing::error!("the disk is nearly full: new alerts are refused, results are still written");
        }
        (_, Some(Lack::Disk)) => tracing::error!("the disk is full: new alerts are refused"),
    }
}
