//! What still refers to entries of the journal: retention drops nothing from there on.

use std::fmt;

use jiff::Timestamp;

use crate::domain::effect::EffectKey;
use crate::domain::id::{AlertId, GroupId, RunId};
use crate::engine::state::{Flight, Letter, Run, State};

/// Something that refers to an entry, and the first entry that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Sequence number of that entry.
    pub seq: u64,
    /// What kind of thing it is, as `soard status -o json` writes it.
    pub kind: &'static str,
    /// Which.
    pub id: String,
}

/// What refers to an entry.
enum Who<'a> {
    Run(&'a RunId),
    Halted(&'a RunId),
    Group(&'a GroupId),
    Effect(&'a EffectKey),
    Letter(&'a EffectKey),
    Alert(AlertId),
    Quarantined(u64),
}

impl Who<'_> {
    fn named(&self) -> (&'static str, String) {
        fn id(id: impl fmt::Display) -> String {
            id.to_string()
        }
        match self {
            Self::Run(run) => ("run", id(run)),
            Self::Halted(run) => ("failed_run", id(run)),
            Self::Group(group) => ("group", id(group)),
            Self::Effect(key) => ("effect", id(key)),
            Self::Letter(key) => ("dead_letter", id(key)),
            Self::Alert(alert) => ("alert", id(alert)),
            Self::Quarantined(record) => ("quarantined_record", id(record)),
        }
    }
}

impl State {
    /// What refers to the earliest entry: open runs, groups and alerts, effects under way, quarantine, and runs and
    /// effects that have failed since `held`. No entry from there on may be dropped.
    pub fn first_need(&self, held: Timestamp) -> Option<Need> {
        let runs = self.runs.iter().map(|(id, run)| (run.needs(), Who::Run(id)));
        let halted = self.halted.iter().filter(|(_, halted)| halted.at >= held);
        let halted = halted.map(|(id, halted)| (halted.run.needs(), Who::Halted(id)));
        let groups = self
            .groups
            .iter()
            .flat_map(|(id, group)| group.alerts.iter().map(move |alert| (alert.seq, Who::Group(id))));
        let flights = self.flights.iter().map(|(key, flight)| (flight.needs(), Who::Effect(key)));
        let letters = self.letters.values().filter(|letter| letter.at >= held);
        let letters = letters.map(|letter| (letter.needs(), Who::Letter(&letter.key)));
        let alerts = self.alerts.iter().filter(|slot| slot.status.is_open());
        let alerts = alerts.map(|slot| (slot.seq, Who::Alert(slot.id)));
        let quarantine = self.quarantine.iter().map(|(record, seq)| (*seq, Who::Quarantined(*record)));
        let all = runs.chain(halted).chain(groups).chain(flights).chain(letters).chain(alerts).chain(quarantine);
        let (seq, who) = all.min_by_key(|(seq, _)| *seq)?;
        let (kind, id) = who.named();
        Some(Need { seq, kind, id })
    }

    /// The first entry that something still refers to; `u64::MAX`: nothing does.
    pub fn needed(&self, held: Timestamp) -> u64 {
        self.first_need(held).map_or(u64::MAX, |need| need.seq)
    }

    /// The failed runs and effects that cannot go on once the entries up to this one are dropped.
    pub fn given_up(&self, dropped: u64) -> (Vec<RunId>, Vec<EffectKey>) {
        let runs = self.halted.iter().filter(|(_, halted)| halted.run.needs() <= dropped);
        let letters = self.letters.values().filter(|letter| letter.needs() <= dropped);
        (runs.map(|(run, _)| run.clone()).collect(), letters.map(|letter| letter.key.clone()).collect())
    }
}

impl Run {
    /// The first entry that it needs to go on or to be started anew. A change of status stands behind the body of its alert.
    pub fn needs(&self) -> u64 {
        let alerts = self.alerts.iter().map(|alert| alert.seq);
        alerts.chain(self.entries.iter().copied()).fold(self.began, u64::min)
    }
}

impl Flight {
    /// The first entry that it needs.
    pub fn needs(&self) -> u64 {
        self.needs.min(self.intent).min(self.began)
    }
}

impl Letter {
    /// The first entry that it needs to be sent again.
    pub fn needs(&self) -> u64 {
        self.needs.min(self.intent).min(self.began)
    }
}
