//! All rules of a bundle against one alert.

use std::cell::OnceCell;

use crate::domain::alert::Alert;
use crate::rules::detection::Detection;
use crate::rules::fields::Fields;
use crate::rules::item::Item;
use crate::rules::wanted::Prepared;

/// The rules' detections. Each field is looked up at most once for an alert.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    fields: Fields,
    suppressions: Vec<Detection>,
    /// `None` matches everything.
    routes: Vec<Option<Detection>>,
}

/// Which rules match one alert; says nothing about time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matches {
    words: Vec<u64>,
    suppressions: usize,
}

impl Matches {
    /// Whether the suppression of this number matches.
    pub fn suppression(&self, number: usize) -> bool {
        number < self.suppressions && self.bit(number)
    }

    /// Whether the route of this number matches, whatever stands before or above it.
    pub fn route(&self, number: usize) -> bool {
        self.bit(self.suppressions + number)
    }

    fn bit(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

/// An alert, with the fields that were looked up so far.
pub struct View<'a> {
    alert: &'a Alert,
    fields: &'a Fields,
    found: Vec<OnceCell<Prepared<'a>>>,
}

impl<'a> View<'a> {
    /// Whether an item holds.
    pub fn holds(&self, item: &Item) -> bool {
        item.holds(self.at(item.field))
    }

    /// What the alert has at a field.
    pub fn at(&self, field: usize) -> &Prepared<'a> {
        self.found[field].get_or_init(|| Prepared::new(self.fields.all()[field].find(self.alert)))
    }
}

impl Matcher {
    /// Takes the detections in the order of the rules' numbers.
    pub fn new(fields: Fields, suppressions: Vec<Detection>, routes: Vec<Option<Detection>>) -> Self {
        Self { fields, suppressions, routes }
    }

    /// Matches every rule.
    pub fn matches(&self, alert: &Alert) -> Matches {
        let view = self.view(alert);
        let detections = self.suppressions.iter().map(Some).chain(self.routes.iter().map(Option::as_ref));
        let mut words = vec![0; (self.suppressions.len() + self.routes.len()).div_ceil(64)];
        for (at, detection) in detections.enumerate() {
            let held = detection.is_none_or(|detection| detection.holds(&mut |item| view.holds(item)));
            words[at / 64] |= u64::from(held) << (at % 64);
        }
        Matches { words, suppressions: self.suppressions.len() }
    }

    /// An alert, ready to be asked.
    pub fn view<'a>(&'a self, alert: &'a Alert) -> View<'a> {
        View { alert, fields: &self.fields, found: self.fields.all().iter().map(|_| OnceCell::new()).collect() }
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
