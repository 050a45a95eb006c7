//! What operators ordered and what playbooks changed, in plain words.

use crate::cli::output::{NAME, status_style, styled, when};
use crate::cli::plain::{Page, effect, safe};
use crate::daemon::query::alert::{AlertOrder, AlertView, Change};
use crate::domain::alert::Status;
use crate::domain::approval::ApprovalOrder;
use crate::domain::hold::HoldOrder;
use crate::domain::id::AlertId;
use crate::domain::operator::{Operator, Order, Upkeep};
use crate::domain::recipient::{RecipientOrder, which};
use crate::domain::silence::SilenceOrder;
use crate::domain::token::TokenOrder;
use crate::domain::triage::AlertChange;

/// What an operator ordered, who and why.
pub fn order(operator: &Operator) -> String {
    let what = match &operator.order {
        Order::RunCancel { run } => format!("cancelled {}", safe(run)),
        Order::RunRestart { run, starts, .. } => format!("restarted {} as {}", safe(run), safe(starts)),
        Order::RunRetry { run, again } if again.is_empty() => format!("retried {}", safe(run)),
        Order::RunRetry { run, again } => {
            let again: Vec<String> = again.iter().map(ToString::to_string).collect();
            format!("retried {}, sending step {} again", safe(run), again.join(", "))
        }
        Order::DeliveryRetry { key, run, step, .. } => format!("sent {key} again, step {step} of {}", safe(run)),
        Order::Alert { alert, was, change, .. } => {
            format!("{}{}", alert_change(*alert, *was, change), starting(&operator.order))
        }
        Order::Silence(order) => silence_order(order),
        Order::Token(order) => token_order(order),
        Order::DestinationTest { destination } => format!("tried destination {} out", safe(destination)),
        Order::Approval(order) => approval_order(order),
        Order::Hold(order) => hold_order(order),
        Order::QuarantineDiscard { records } => format!("discarded {}", quarantined(records)),
        Order::Upkeep(upkeep) => self::upkeep(upkeep),
        Order::Recipient(order) => recipient_order(order),
        Order::RunStart { starts, .. } => format!("started {} by hand", safe(starts)),
    };
    let address = operator.address.as_ref().map(|from| format!(" from {}", safe(from))).unwrap_or_default();
    let why = if operator.comment.is_empty() { String::new() } else { format!(": {}", safe(&operator.comment)) };
    format!("{}{address} {what}{why}", safe(&operator.actor))
}

/// What somebody decided about an approval.
pub fn approval_order(order: &ApprovalOrder) -> String {
    let link = if order.link { " by a link" } else { "" };
    format!("{} {} of {}{link}", order.choice.past(), order.approval, safe(&order.run))
}

/// What an operator ordered about a hold.
pub fn hold_order(order: &HoldOrder) -> String {
    match order {
        HoldOrder::On(scope) => format!("put {} on hold", safe(scope)),
        HoldOrder::Off(scope) => format!("let {} go out again", safe(scope)),
    }
}

/// What an operator had the daemon do with itself.
pub fn upkeep(upkeep: &Upkeep) -> String {
    match upkeep {
        Upkeep::Reload => "had rules and playbooks loaded anew".to_owned(),
        Upkeep::KeyRotate => "had a new key made for the journal".to_owned(),
        Upkeep::IndexRebuild => "had the index built anew".to_owned(),
        Upkeep::Samples { formats } if formats.is_empty() => "sent samples of all formats".to_owned(),
        Upkeep::Samples { formats } => format!("sent samples of {}", safe(formats.join(", "))),
        Upkeep::ExportTest { export } => format!("tried export {} out", safe(export)),
        Upkeep::QuarantineRetry { record_no } => format!("sent quarantined record {record_no} through again"),
    }
}

/// Quarantined records by number, the first of them when they are many.
pub fn quarantined(records: &[u64]) -> String {
    const NAMED_MAX: usize = 10;
    let named: Vec<String> = records.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = records.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let word = if records.len() == 1 { "record" } else { "records" };
    format!("quarantined {word} {}{more}", named.join(", "))
}

/// What somebody ordered about mails to an address.
pub fn recipient_order(order: &RecipientOrder) -> String {
    match order {
        RecipientOrder::Unsubscribe { address, destination, link } => {
            let how = if *link { " by a link" } else { "" };
            format!("unsubscribed {} from {}{how}", safe(address), safe(which(destination.as_deref())))
        }
        RecipientOrder::Subscribe { address, destination } => {
            format!("subscribed {} again to {}", safe(address), safe(which(destination.as_deref())))
        }
    }
}

/// The runs that a change of status starts.
pub fn starting(order: &Order) -> String {
    let starts: Vec<String> = order.runs().iter().map(safe).collect();
    if starts.is_empty() { String::new() } else { format!(", starting {}", starts.join(", ")) }
}

/// What an operator ordered about a token.
pub fn token_order(order: &TokenOrder) -> String {
    match order {
        TokenOrder::Add { name, role, expires, .. } => {
            format!("made token {} with role {role}, valid until {}", safe(name), when(*expires))
        }
        TokenOrder::Revoke { name } => format!("revoked token {}", safe(name)),
    }
}

/// What an operator ordered about a silence.
pub fn silence_order(order: &SilenceOrder) -> String {
    match order {
        SilenceOrder::Add { id, terms, until } => {
            let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
            format!("made silence {id} until {} for {}", when(*until), safe(terms.join(" ")))
        }
        SilenceOrder::Update { id, until } => format!("let silence {id} end at {}", when(*until)),
        SilenceOrder::Expire { id } => format!("ended silence {id}"),
    }
}

/// What an operator changed about an alert.
pub fn alert_change(alert: AlertId, was: Status, change: &AlertChange) -> String {
    match change {
        AlertChange::Status { to, reason } => {
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("set {alert} from {was} to {}{reason}", styled(status_style(*to), to))
        }
        AlertChange::Comment => format!("commented on {alert}"),
        AlertChange::Tags { add, remove } => {
            let signed = |sign: &str, tags: &[String]| tags.iter().map(|tag| format!(" {sign}{}", safe(tag))).collect();
            let (added, removed): (String, String) = (signed("+", add), signed("-", remove));
            format!("tagged {alert}{added}{removed}")
        }
        AlertChange::Assign { to: Some(name) } => format!("assigned {alert} to {}", safe(name)),
        AlertChange::Assign { to: None } => format!("assigned {alert} to nobody"),
        AlertChange::Feedback { useful, reason } => {
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("called {alert} {}{reason}", if *useful { "useful" } else { "not useful" })
        }
    }
}

/// What became of an alert through others: playbooks and operators, in order.
pub fn alert_history(page: &mut Page, indent: usize, view: &AlertView) {
    let by_playbooks = view.changes.iter().map(|change| (change.seq, Made::ByPlaybook(change)));
    let by_operators = view.orders.iter().map(|order| (order.seq, Made::ByOperator(order)));
    let mut all: Vec<(u64, Made<'_>)> = by_playbooks.chain(by_operators).collect();
    all.sort_by_key(|(seq, _)| *seq);
    for (_, made) in all {
        match made {
            Made::ByPlaybook(made) => change(page, indent, made),
            Made::ByOperator(made) => page.line(indent, format!("{}  {}", when(made.at), order(&made.operator))),
        }
    }
}

/// Who made a change.
enum Made<'a> {
    ByPlaybook(&'a Change),
    ByOperator(&'a AlertOrder),
}

/// A change that a playbook made.
fn change(page: &mut Page, indent: usize, change: &Change) {
    page.line(indent, format!("{} {}  {}", when(change.at), styled(NAME, safe(&change.run)), effect(&change.effect)));
}
