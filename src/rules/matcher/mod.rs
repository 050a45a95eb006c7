//! All rules of a bundle against one document, in one pass.
//!
//! What the rules ask of a field is gathered into atoms, and each distinct one is asked once for a document,
//! by an index over the field's values. A rule is looked at only when the rarest of its atoms is true, and
//! then judged by the atoms alone. So the cost hardly grows with the number of rules. Read `lower.rs` for what
//! becomes of a rule, `cover.rs` for when it is looked at, `run.rs` for a document's way through it all.

use std::cell::RefCell;
use std::sync::Arc;

use crate::domain::alert::Alert;
use crate::rules::detection::Detection;
use crate::rules::fields::Fields;
use crate::rules::matcher::document::Document;
use crate::rules::matcher::engine::Engine;
use crate::rules::matcher::run::{Run, Scratch};

pub mod atoms;
pub mod cover;
pub mod document;
pub mod engine;
pub mod event;
pub mod hash;
pub mod literals;
pub mod lower;
pub mod marks;
pub mod networks;
pub mod paths;
pub mod postings;
pub mod run;
pub mod texts;
pub mod values;

/// The rules' detections, as they were read and as they are run.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    fields: Arc<Fields>,
    suppressions: Vec<Detection>,
    /// `None` matches everything.
    routes: Vec<Option<Detection>>,
    engine: Arc<Engine>,
}

/// Which rules match one alert; says nothing about time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matches {
    numbers: Vec<u32>,
    suppressions: u32,
}

impl Matches {
    /// Whether the suppression of this number matches.
    pub fn suppression(&self, number: usize) -> bool {
        u32::try_from(number).is_ok_and(|number| number < self.suppressions && self.has(number))
    }

    /// Whether the route of this number matches, whatever stands before or above it.
    pub fn route(&self, number: usize) -> bool {
        u32::try_from(number).is_ok_and(|number| self.has(self.suppressions + number))
    }

    /// The first route from this number on that matches.
    pub fn next_route(&self, number: usize) -> Option<usize> {
        let from = u32::try_from(number).ok()?.checked_add(self.suppressions)?;
        let next = self.numbers.get(self.numbers.partition_point(|number| *number < from))?;
        Some((next - self.suppressions) as usize)
    }

    /// The numbers of the suppressions that match, in order.
    pub fn suppressions(&self) -> impl Iterator<Item = usize> {
        self.numbers.iter().take_while(|number| **number < self.suppressions).map(|number| *number as usize)
    }

    fn has(&self, number: u32) -> bool {
        self.numbers.binary_search(&number).is_ok()
    }
}

thread_local! {
    /// Room to work in, one for each thread; taken out while a document is matched.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The numbers of the rules that hold for a document, in order.
///
/// # Errors
/// When the document cannot be read.
pub fn matching<D: Document>(engine: &Engine, fields: &Fields, document: &D) -> Result<Vec<u32>, D::Fault> {
    let mut scratch = SCRATCH.take();
    scratch.reserve(engine);
    let mut run = Run::new(engine, &mut scratch);
    let told = document.tell(fields, &mut run);
    let held = run.finish();
    SCRATCH.set(scratch);
    told.map(|()| held)
}

impl Matcher {
    /// Compiles the detections, given in the order of the rules' numbers.
    pub fn new(fields: Fields, suppressions: Vec<Detection>, routes: Vec<Option<Detection>>) -> Self {
        let all = suppressions.iter().map(Some).chain(routes.iter().map(Option::as_ref));
        let engine = Engine::new(all, fields.all().len());
        Self { fields: Arc::new(fields), suppressions, routes, engine: Arc::new(engine) }
    }

    /// Matches every rule.
    pub fn matches(&self, alert: &Alert) -> Matches {
        let Ok(numbers) = matching(&self.engine, &self.fields, alert);
        let suppressions =
            u32::try_from(self.suppressions.len()).expect("fewer than four billion rules fit into memory");
        Matches { numbers, suppressions }
    }

    /// The fields that the rules name.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The paths of all fields, by number.
    pub fn field(&self, number: usize) -> &str {
        self.fields.all()[number].as_str()
    }

    /// A suppression's detection.
    pub fn suppression(&self, number: usize) -> &Detection {
        &self.suppressions[number]
    }

    /// A route's detection; `None` matches everything.
    pub fn route(&self, number: usize) -> Option<&Detection> {
        self.routes[number].as_ref()
    }
}
