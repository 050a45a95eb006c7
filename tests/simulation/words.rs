//! Operators' words about alerts: given by lot, and what they promise.

use std::collections::BTreeMap;

use jiff::Timestamp;
use soard::domain::alert::Status;
use soard::domain::decision::{AlertRef, Anew, Reason};
use soard::domain::effect::Effect;
use soard::domain::entry::{Facts, Step, Taken};
use soard::domain::id::{AlertId, SilenceId};
use soard::domain::operator::Order;
use soard::domain::silence::{SilenceOrder, Term};
use soard::domain::time::Span;
use soard::domain::triage::{AlertChange, CloseReason, FeedbackReason};
use soard::engine::orders::Wish;

use crate::random::Random;

/// Something that an operator may want about one of these alerts, or about some to come.
pub fn wish(random: &mut Random, bodies: &[AlertRef], silences: u64) -> Option<Wish> {
    if random.chance(30) {
        return Some(quiet(random, silences));
    }
    if bodies.is_empty() {
        return None;
    }
    let alert = *random.pick(bodies);
    let change = match random.below(7) {
        0..=2 => status(random),
        3 => AlertChange::Comment,
        4 => AlertChange::Tags { add: vec!["vip".into()], remove: vec!["seen".into()] },
        5 => AlertChange::Assign { to: Some("bo".into()) },
        _ if random.chance(50) => {
            return Some(Wish::Start { alert, playbook: (*random.pick(&["once", "chain"])).into() });
        }
        _ => AlertChange::Feedback { useful: false, reason: Some(FeedbackReason::TooMany) },
    };
    Some(Wish::Change { alert: alert.id, change, latest: None })
}

fn status(random: &mut Random) -> AlertChange {
    let to = *random.pick(&Status::ALL);
    AlertChange::Status { to, reason: (!to.is_open()).then_some(CloseReason::Benign) }
}

fn quiet(random: &mut Random, made: u64) -> Wish {
    let id = SilenceId(1 + random.below(usize::try_from(made).unwrap().max(1)) as u64);
    let lasts = Span::from_secs(60 + random.below(600) as u64);
    match random.below(4) {
        0 if made > 0 => Wish::SilenceUpdate { id, lasts },
        1 if made > 0 => Wish::SilenceExpire(id),
        _ => {
            let title = *random.pick(&["red", "green"]);
            Wish::SilenceAdd { terms: vec![format!("title={title}").parse().unwrap()], lasts }
        }
    }
}

/// What the journal's entries say of operators' words, folded by themselves.
#[derive(Default)]
pub struct Words {
    /// Whose status somebody has set since severity rose last.
    held: BTreeMap<AlertId, Status>,
    silences: BTreeMap<SilenceId, (Vec<Term>, Timestamp)>,
}

impl Words {
    /// I10: the status that somebody set stays until severity rises. I11: what a silence holds starts nothing, and nothing else
    /// is held.
    pub fn read(&mut self, at: Timestamp, facts: &Facts) -> Result<(), String> {
        match facts {
            Facts::Intake(intake) => intake.alerts.iter().try_for_each(|taken| self.decided(at, taken)),
            Facts::Intent(intent) => {
                self.set(&intent.steps);
                Ok(())
            }
            Facts::Run(end) => {
                self.set(&end.steps);
                Ok(())
            }
            Facts::Operator(operator) => {
                self.ordered(at, &operator.order);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn decided(&mut self, at: Timestamp, taken: &Taken) -> Result<(), String> {
        let (id, decision) = (taken.id, &taken.decision);
        let anew = match decision.reasons.first() {
            Some(Reason::Duplicate { anew, .. }) => Some(*anew),
            _ => None,
        };
        if let Some(held) = self.held.get(&id) {
            match anew {
                Some(Some(Anew::SeverityRose { .. })) => drop(self.held.remove(&id)),
                Some(None) if decision.status == *held => {}
                _ => return Err(format!("I10: {id} was set to {held} and is {}", decision.status)),
            }
        }
        if matches!(anew, Some(None | Some(Anew::Changed))) {
            return Ok(());
        }
        let named = decision.reasons.iter().find_map(|reason| match reason {
            Reason::Silence { silence, .. } => Some(silence),
            _ => None,
        });
        let title = format!("title={}", taken.alert.title);
        let holds = |(terms, until): &(Vec<Term>, Timestamp)| at < *until && terms[0].to_string() == title;
        let acted = decision.reasons.iter().any(|reason| matches!(reason, Reason::Route { .. }));
        match named {
            Some(silence) if acted || !self.silences.get(silence).is_some_and(holds) => {
                Err(format!("I11: {silence} holds {id}, and should not, or does not keep it quiet"))
            }
            None if self.silences.values().any(holds) => Err(format!("I11: no silence holds {id}, and one should")),
            _ => Ok(()),
        }
    }

    fn set(&mut self, steps: &[Step]) {
        for step in steps {
            if let Effect::SetStatus { alert, status, .. } = &step.effect {
                self.held.insert(*alert, *status);
            }
        }
    }

    fn ordered(&mut self, at: Timestamp, order: &Order) {
        match order {
            Order::Alert { alert, change: AlertChange::Status { to, .. }, .. } => {
                self.held.insert(*alert, *to);
            }
            Order::Silence(SilenceOrder::Add { id, terms, until }) => {
                self.silences.insert(*id, (terms.clone(), *until));
            }
            Order::Silence(SilenceOrder::Update { id, until }) => {
                self.silences.get_mut(id).expect("it was added").1 = *until;
            }
            Order::Silence(SilenceOrder::Expire { id }) => {
                self.silences.get_mut(id).expect("it was added").1 = at;
            }
            _ => {}
        }
    }
}
