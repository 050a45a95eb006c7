//! Operators' silences: which of them holds an alert, and what their orders do to the state.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Alert;
use crate::domain::id::SilenceId;
use crate::domain::silence::{
    LASTS_DAYS_MAX, LASTS_MAX, LASTS_MIN, SILENCES_MAX, Silence, SilenceOrder, TERMS_MAX, Term,
};
use crate::domain::time::Span;
use crate::rules::silence::{self, Silencer};

/// Silences that have ended and are still listed; older ones are on record only.
pub const ENDED_MAX: usize = 1_000;

/// All silences that hold, and the last ones that have ended.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silences {
    /// How many were ever made.
    made: u64,
    all: BTreeMap<SilenceId, Silence>,
    /// Those that held when it was made, and how to ask them; made anew after each order.
    #[serde(skip)]
    compiled: OnceLock<(Vec<SilenceId>, Silencer)>,
}

impl fmt::Debug for Silences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Silences").field("made", &self.made).field("all", &self.all).finish_non_exhaustive()
    }
}

/// Why an order about silences is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No silence has this id.
    #[error("there is no silence {id}{}", near.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unknown {
        /// The id.
        id: SilenceId,
        /// The nearest one that there is.
        near: Option<SilenceId>,
    },
    /// It holds nothing any more.
    #[error("{id} ended at {until}; make a new one")]
    Ended {
        /// Which.
        id: SilenceId,
        /// When.
        until: Timestamp,
    },
    /// There are too many.
    #[error("there are {SILENCES_MAX} silences already; what shall stay quiet for long belongs into rules/suppress")]
    TooMany,
    /// Too short or too long.
    #[error(
        "a silence lasts {LASTS_MIN} to {LASTS_DAYS_MAX}d, not {0}; what shall stay quiet for longer belongs into \
         rules/suppress"
    )]
    Lasts(Span),
    /// No terms, or too many.
    #[error("a silence has 1 to {TERMS_MAX} terms such as kind=PortScan, not {0}")]
    Terms(usize),
    /// The terms are not in the match language, or match everything or nothing.
    #[error("{0}")]
    Match(String),
    /// It must say why.
    #[error("a silence needs a comment that says why")]
    NoComment,
}

impl Silences {
    /// The first silence that holds an alert.
    pub fn holding(&self, alert: &Alert, at: Timestamp) -> Option<&Silence> {
        if self.all.is_empty() {
            return None;
        }
        let (ids, silencer) = self.compiled.get_or_init(|| self.compile(at));
        let mut matching = silencer.matching(alert).into_iter().filter_map(|number| self.all.get(&ids[number]));
        matching.find(|silence| at < silence.until)
    }

    fn compile(&self, at: Timestamp) -> (Vec<SilenceId>, Silencer) {
        let open: Vec<&Silence> = self.active(at).collect();
        (open.iter().map(|silence| silence.id).collect(), Silencer::new(open.iter().map(|silence| &*silence.terms)))
    }

    /// Those that hold at this time.
    pub fn active(&self, at: Timestamp) -> impl Iterator<Item = &Silence> {
        self.all.values().filter(move |silence| at < silence.until)
    }

    /// All that are still listed, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Silence> {
        self.all.values()
    }

    /// The order that makes a new one.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn add(&self, at: Timestamp, terms: Vec<Term>, lasts: Span, comment: &str) -> Result<SilenceOrder, Refusal> {
        if comment.trim().is_empty() {
            return Err(Refusal::NoComment);
        }
        if !(1..=TERMS_MAX).contains(&terms.len()) {
            return Err(Refusal::Terms(terms.len()));
        }
        let until = until(at, lasts)?;
        let checked = silence::check(&terms);
        if !checked.errors.is_empty() {
            return Err(Refusal::Match(checked.errors.join("; ")));
        }
        if self.active(at).count() >= SILENCES_MAX {
            return Err(Refusal::TooMany);
        }
        Ok(SilenceOrder::Add { id: SilenceId(self.made + 1), terms, until })
    }

    /// The order that lets one end at another time.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn update(&self, at: Timestamp, id: SilenceId, lasts: Span) -> Result<SilenceOrder, Refusal> {
        self.open(at, id)?;
        Ok(SilenceOrder::Update { id, until: until(at, lasts)? })
    }

    /// The order that ends one.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn expire(&self, at: Timestamp, id: SilenceId) -> Result<SilenceOrder, Refusal> {
        self.open(at, id)?;
        Ok(SilenceOrder::Expire { id })
    }

    fn open(&self, at: Timestamp, id: SilenceId) -> Result<(), Refusal> {
        let Some(silence) = self.all.get(&id) else {
            let near = self.all.keys().min_by_key(|known| known.0.abs_diff(id.0)).copied();
            return Err(Refusal::Unknown { id, near });
        };
        if at < silence.until { Ok(()) } else { Err(Refusal::Ended { id, until: silence.until }) }
    }

    /// Applies an order.
    pub fn apply(&mut self, at: Timestamp, order: &SilenceOrder, by: &str, comment: &str) {
        self.compiled = OnceLock::new();
        match order {
            SilenceOrder::Add { id, terms, until } => {
                self.made = self.made.max(id.0);
                let (by, comment, terms) = (by.into(), comment.into(), terms.clone());
                let (made, held, last) = (at, 0, None);
                self.all.insert(*id, Silence { id: *id, terms, by, comment, made, until: *until, held, last });
                self.forget(at);
            }
            SilenceOrder::Update { id, until } => self.end(*id, *until),
            SilenceOrder::Expire { id } => self.end(*id, at),
        }
    }

    fn end(&mut self, id: SilenceId, until: Timestamp) {
        if let Some(silence) = self.all.get_mut(&id) {
            silence.until = until;
        }
    }

    /// Counts an alert that one held.
    pub fn count(&mut self, id: SilenceId, at: Timestamp) {
        if let Some(silence) = self.all.get_mut(&id) {
            silence.held += 1;
            silence.last = Some(at);
        }
    }

    fn forget(&mut self, at: Timestamp) {
        let ended: Vec<SilenceId> =
            self.all.values().filter(|silence| silence.until <= at).map(|silence| silence.id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(ENDED_MAX)) {
            self.all.remove(id);
        }
    }
}

impl FromIterator<Silence> for Silences {
    fn from_iter<I: IntoIterator<Item = Silence>>(silences: I) -> Self {
        let all: BTreeMap<SilenceId, Silence> = silences.into_iter().map(|silence| (silence.id, silence)).collect();
        Self { made: all.keys().last().map_or(0, |id| id.0), all, compiled: OnceLock::new() }
    }
}

fn until(at: Timestamp, lasts: Span) -> Result<Timestamp, Refusal> {
    if (LASTS_MIN..=LASTS_MAX).contains(&lasts) { Ok(lasts.after(at)) } else { Err(Refusal::Lasts(lasts)) }
}
