//! Why a rule matches an alert or does not, value by value.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use crate::domain::alert::Alert;
use crate::domain::decision::RuleRef;
use crate::rules::advise::Advisor;
use crate::rules::detection::Detection;
use crate::rules::item::Item;
use crate::rules::matcher::Matcher;
use crate::rules::route::{self, Route};
use crate::rules::suppress::Suppression;
use crate::rules::view::View;

/// Items beyond which near misses are not looked for: each item costs one evaluation of the whole rule.
pub const NEAR_MISS_ITEMS_MAX: usize = 256;

/// Values that the text rendering shows of a long list.
const VALUES_SHOWN: usize = 5;

/// What one rule says of one alert, whatever the time and whatever stands before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleExplanation {
    /// Which kind of rule.
    pub kind: RuleKind,
    /// Its number within its kind.
    pub number: usize,
    /// Its id and place.
    pub rule: RuleRef,
    /// One line for people.
    pub title: String,
    /// Whether it matches.
    pub matched: bool,
    /// It does not match, and would if a single item came out the other way while others hold already.
    pub near_miss: bool,
    /// The condition over the searches, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The searches; none when the rule matches everything.
    pub searches: Vec<SearchExplanation>,
}

/// Which kind of rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A suppression.
    Suppress,
    /// A route.
    Route,
    /// Advice.
    Advise,
}

impl RuleKind {
    /// As people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suppress => "suppression",
            Self::Route => "route",
            Self::Advise => "advice",
        }
    }
}

/// What one search says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchExplanation {
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it holds.
    pub matched: bool,
    /// Its alternatives, each with its items: one alternative whose items all hold is enough.
    pub alternatives: Vec<Vec<ItemExplanation>>,
}

/// What one item says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemExplanation {
    /// The field's path.
    pub field: String,
    /// How it compares: the modifiers, or `equals`.
    pub operator: String,
    /// The values as the rule has them.
    pub wanted: Vec<Value>,
    /// The alert has the field.
    pub present: bool,
    /// The alert's values.
    pub actual: Vec<Value>,
    /// The wanted values that are there, as the rule has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hits: Vec<Value>,
    /// Whether it holds.
    pub matched: bool,
    /// The rule would match if this came out the other way.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub decides: bool,
}

/// Explains every rule.
pub fn rules(suppress: &[Suppression], routes: &[Route], matcher: &Matcher, alert: &Alert) -> Vec<RuleExplanation> {
    let view = View::of_alert(matcher.fields(), alert);
    let mut out = Vec::new();
    for rule in suppress {
        let detection = matcher.suppression(rule.number);
        let header = (RuleKind::Suppress, rule.number, &rule.rule, rule.title.as_str());
        out.push(one(header, Some(detection), matcher, &view));
    }
    let mut all = Vec::new();
    route::walk(routes, &mut all);
    for route in all {
        let header = (RuleKind::Route, route.number, &route.rule, route.title.as_str());
        out.push(one(header, matcher.route(route.number), matcher, &view));
    }
    out
}

/// Explains every piece of advice.
pub fn advice(advisor: &Advisor, alert: &Alert) -> Vec<RuleExplanation> {
    let matcher = &advisor.matcher;
    let view = View::of_alert(matcher.fields(), alert);
    let explained = advisor.all.iter().enumerate().map(|(number, advice)| {
        let header = (RuleKind::Advise, number, &advice.rule, advice.title.as_str());
        one(header, Some(matcher.suppression(number)), matcher, &view)
    });
    explained.collect()
}

type Header<'a> = (RuleKind, usize, &'a RuleRef, &'a str);

fn one(header: Header, detection: Option<&Detection>, matcher: &Matcher, view: &View) -> RuleExplanation {
    let (kind, number, rule, title) = header;
    let matched = detection.is_none_or(|detection| detection.holds(&mut |item| item.holds(view)));
    let deciding = match detection {
        Some(detection) if !matched => deciding(detection, view),
        _ => Vec::new(),
    };
    RuleExplanation {
        kind,
        number,
        rule: rule.clone(),
        title: title.into(),
        matched,
        near_miss: !deciding.is_empty(),
        condition: detection.and_then(|detection| detection.condition_text.clone()),
        searches: detection.map_or_else(Vec::new, |detection| searches(detection, &deciding, matcher, view)),
    }
}

/// The items of which each alone keeps the rule from matching, by address; none when no other item holds.
fn deciding<'a>(detection: &'a Detection, view: &View) -> Vec<&'a Item> {
    let items: Vec<&Item> = detection.searches.iter().flat_map(|search| search.alternatives.iter().flatten()).collect();
    if items.len() > NEAR_MISS_ITEMS_MAX {
        return Vec::new();
    }
    let held: Vec<bool> = items.iter().map(|item| item.holds(view)).collect();
    let flips = |item: &&Item| detection.holds(&mut |other| other.holds(view) != std::ptr::eq(other, *item));
    let deciding: Vec<&Item> = items.iter().copied().filter(flips).collect();
    let others_hold =
        items.iter().zip(held).any(|(item, held)| held && !deciding.iter().any(|d| std::ptr::eq(*d, *item)));
    if others_hold { deciding } else { Vec::new() }
}

fn searches(detection: &Detection, deciding: &[&Item], matcher: &Matcher, view: &View) -> Vec<SearchExplanation> {
    let item = |item: &Item| {
        let found = view.at(item.field).found();
        ItemExplanation {
            field: matcher.field(item.field).into(),
            operator: item.operator.clone(),
            wanted: item.wanted().cloned().collect(),
            present: found.present,
            actual: found.values.iter().map(|value| value.json()).collect(),
            hits: item.wants.iter().filter(|want| item.hits(want, view)).map(|want| want.written.clone()).collect(),
            matched: item.holds(view),
            decides: deciding.iter().any(|other| std::ptr::eq(*other, item)),
        }
    };
    let search = |search: &crate::rules::detection::Search| SearchExplanation {
        name: search.name.clone(),
        matched: search.holds(&mut |item| item.holds(view)),
        alternatives: search.alternatives.iter().map(|items| items.iter().map(item).collect()).collect(),
    };
    detection.searches.iter().map(search).collect()
}

impl RuleExplanation {
    /// The explanation as a person reads it in a terminal: a headline and a line for each item.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let verdict = match (self.matched, self.near_miss) {
            (true, _) => "matches",
            (false, true) => "does not match, by one item",
            (false, false) => "does not match",
        };
        let _ = writeln!(out, "{} {}: {verdict}", self.kind.as_str(), self.rule);
        if let Some(condition) = &self.condition {
            let _ = writeln!(out, "  condition: {condition}");
        }
        if self.searches.is_empty() {
            let _ = writeln!(out, "  {} it has no `match`, so it takes every alert", mark(true));
        }
        for search in &self.searches {
            search.render(&mut out);
        }
        out
    }
}

impl SearchExplanation {
    fn render(&self, out: &mut String) {
        let mut indent = 2;
        if let Some(name) = &self.name {
            let _ = writeln!(out, "  {} {name}", mark(self.matched));
            indent += 2;
        }
        for (number, items) in self.alternatives.iter().enumerate() {
            if number > 0 {
                let _ = writeln!(out, "{:indent$}or", "");
            }
            items.iter().for_each(|item| item.render(indent, out));
        }
    }
}

impl ItemExplanation {
    fn render(&self, indent: usize, out: &mut String) {
        let has = match (self.present, self.actual.as_slice()) {
            (false, _) => "the alert has none".into(),
            (true, []) => "the alert has an empty list".into(),
            (true, values) => format!("the alert has {}", listed(values)),
        };
        let wanted = listed(&self.wanted);
        let here = if self.decides { "  <- only this" } else { "" };
        let _ = writeln!(
            out,
            "{:indent$}{} {} {} {wanted}; {has}{here}",
            "",
            mark(self.matched),
            self.field,
            self.operator
        );
    }
}

fn mark(held: bool) -> &'static str {
    if held { "✓" } else { "✗" }
}

fn listed(values: &[Value]) -> String {
    let mut shown: Vec<String> = values.iter().take(VALUES_SHOWN).map(Value::to_string).collect();
    if values.len() > VALUES_SHOWN {
        shown.push(format!("and {} more", values.len() - VALUES_SHOWN));
    }
    shown.join(", ")
}
