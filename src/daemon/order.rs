//! Does what operators order, when it can be done: one entry each, with who and why.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::daemon::core::Core;
use crate::daemon::report::OrderReport;
use crate::domain::id::Trigger;
use crate::domain::operator::{Operator, Order, Who};
use crate::engine::holds::Holds;
use crate::engine::input::Input;
use crate::engine::orders::{self, Wish};
use crate::playbooks::evaluate::Entry as EntryFunction;
use crate::yaml::diagnostic::nearest;

/// An operator's wish with who, why, and where the answer goes.
pub struct Ordered {
    /// Who.
    pub who: Who,
    /// Why.
    pub comment: String,
    /// What.
    pub wish: Wish,
    /// Only say whether it could be done.
    pub dry_run: bool,
    /// Gets the order once it is durable, or the reason why not.
    pub done: oneshot::Sender<Result<OrderReport, String>>,
}

impl Core {
    pub(super) fn order(&mut self, at: Timestamp, ordered: Ordered) {
        let Ordered { who: Who { actor, address }, comment, wish, dry_run, done } = ordered;
        let order =
            orders::order(&self.state, &self.bundle.rules, at, wish, &comment).map_err(|refusal| refusal.to_string());
        match order.and_then(|order| self.possible(order)) {
            Err(why) => drop(done.send(Err(why))),
            Ok(order) if dry_run => drop(done.send(Ok(OrderReport { seq: None, order }))),
            Ok(order) => {
                let (gate, by) = (self.gate.clone(), actor.clone());
                let holds = self.after(at, &order, &by, &comment).map(|holds| (self.holds.clone(), holds));
                let operator = Operator { actor, address, comment, order: order.clone() };
                self.step(at, Input::Operator(Box::new(operator)), move |receipt| {
                    let seq = receipt.as_ref().map(|receipt| receipt.seq).map_err(ToString::to_string);
                    if let (Order::Token(order), Ok(_)) = (&order, &seq) {
                        gate.heed(at, order, &by);
                    }
                    if let (Some((tell, holds)), Ok(_)) = (holds, &seq) {
                        tell.send_replace(Arc::new(holds));
                    }
                    let _ = done.send(seq.map(|seq| OrderReport { seq: Some(seq), order }));
                });
            }
        }
    }

    /// What is on hold after this order, where it is about that.
    fn after(&self, at: Timestamp, order: &Order, by: &str, comment: &str) -> Option<Holds> {
        let Order::Hold(order) = order else { return None };
        let mut holds = self.state.holds.clone();
        holds.apply(at, order, by, comment);
        Some(holds)
    }

    /// Today's bundle may lack what a start needs.
    fn possible(&self, order: Order) -> Result<Order, String> {
        let (Order::RunRestart { starts, .. } | Order::RunStart { starts, .. }) = &order else { return Ok(order) };
        let entry = match starts.trigger {
            Trigger::Alert(_) => EntryFunction::Alert,
            Trigger::Group(_) => EntryFunction::Group,
            Trigger::Status(..) => EntryFunction::Status,
        };
        let playbooks = &self.bundle.playbooks;
        if playbooks.has_entry(&starts.playbook, entry) {
            return Ok(order);
        }
        let fitting: Vec<&str> = playbooks.names().filter(|name| playbooks.has_entry(name, entry)).collect();
        let near = nearest(&starts.playbook, &fitting).map(|near| format!("; did you mean `{near}`?"));
        let near = near.unwrap_or_default();
        Err(format!("today's bundle has no playbook `{}` with {}{near}", starts.playbook, entry.function()))
    }
}
