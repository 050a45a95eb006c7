//! The alert, or the alerts of a group, as a script gets them.

use std::collections::BTreeSet;

use rhai::Dynamic;
use serde_json::{Map, Value, json};

use crate::domain::alert::ALERT_FIELDS;
use crate::playbooks::limits::{INPUT_ENTRIES_MAX, INPUT_ITEMS_MAX, INPUT_TEXT_BYTES_MAX};
use crate::playbooks::value::to_dynamic;

/// Longest text of an alert that did not fit even without `raw`.
const CUT_TEXT_BYTES: usize = 4 * 1024;

/// What a script is called with, and the ids of the alerts that it may change.
#[derive(Debug)]
pub struct Input {
    /// The arguments of the entry function.
    pub arguments: Vec<Dynamic>,
    /// Ids of the alerts.
    pub ids: BTreeSet<String>,
}

/// Prepares one alert or an array of alerts: every field is there, absent ones as `()`, and the whole fits.
///
/// What does not fit is left out in this order: `raw` of all alerts; the end of long texts; the last alerts of a group.
pub fn prepare(input: &Value) -> Input {
    let ids = match input {
        Value::Array(alerts) => alerts.iter().filter_map(id).collect(),
        alert => id(alert).into_iter().collect(),
    };
    let argument = match input {
        Value::Array(alerts) if surely_fit(alerts) => Dynamic::from_array(alerts.iter().map(argument).collect()),
        Value::Array(alerts) => to_dynamic(&Value::Array(fit(alerts.iter().map(complete).collect()))),
        alert if surely_fit(std::slice::from_ref(alert)) => argument(alert),
        alert => to_dynamic(&fit(vec![complete(alert)]).pop().unwrap_or_default()),
    };
    Input { arguments: vec![argument], ids }
}

/// Prepares an alert and a change of its status, given as `{"alert": …, "change": …}`.
pub fn prepare_change(input: &Value) -> Input {
    let mut prepared = prepare(&input["alert"]);
    prepared.arguments.push(to_dynamic(&input["change"]));
    prepared
}

/// Whether the alerts fit with all that completing them can add, as nearly all do: then no copy is needed to see it.
fn surely_fit(alerts: &[Value]) -> bool {
    let sizes = alerts.iter().map(|alert| {
        let size = size(alert);
        // The short forms repeat texts of the entities.
        Size { text_bytes: 2 * size.text_bytes, entries: size.entries + ALERT_FIELDS.len(), ..size }
    });
    sizes.fold(Size::default(), Size::plus).fits()
}

/// One alert as a script gets it, every field there.
fn argument(alert: &Value) -> Dynamic {
    let Value::Object(given) = alert else { return to_dynamic(alert) };
    let mut whole: rhai::Map = given.iter().map(|(field, value)| (field.as_str().into(), to_dynamic(value))).collect();
    for field in ALERT_FIELDS.iter().filter(|field| !given.contains_key(**field)) {
        whole.insert((*field).into(), to_dynamic(&absent(field, given)));
    }
    Dynamic::from_map(whole)
}

/// The alerts of a group, gathered one after another: never much more of them is in memory than a script may get, however
/// many and large they are. What a script gets of them stays the same, since what is left out early is what [`prepare`]
/// leaves out anyway, and in the same order.
#[derive(Debug, Default)]
pub struct Gathered {
    alerts: Vec<Value>,
    /// Of all that are whole.
    size: Size,
    without: Without,
}

/// What does not fit any more.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Without {
    #[default]
    Nothing,
    Raw,
    /// Nor the end of long texts.
    LongTexts,
    /// Nor further alerts, whose ids alone are kept. The first of them is there to show that they do not fit.
    More,
}

impl Gathered {
    /// Adds the next alert.
    pub fn push(&mut self, mut alert: Value) {
        if self.without == Without::More {
            self.alerts.push(json!({ "id": alert["id"].take() }));
            return;
        }
        self.without.leave_out(std::slice::from_mut(&mut alert));
        self.size = self.size.plus(size(&alert));
        self.alerts.push(alert);
        while !self.size.fits() && self.without != Without::More {
            self.without = self.without.next();
            self.without.leave_out(&mut self.alerts);
            self.size = self.alerts.iter().map(size).fold(Size::default(), Size::plus);
        }
    }

    /// The input of a script.
    pub fn into_input(self) -> Value {
        Value::Array(self.alerts)
    }
}

impl Without {
    const fn next(self) -> Self {
        match self {
            Self::Nothing => Self::Raw,
            Self::Raw => Self::LongTexts,
            Self::LongTexts | Self::More => Self::More,
        }
    }

    fn leave_out(self, alerts: &mut [Value]) {
        if self != Self::Nothing {
            drop_raw(alerts);
        }
        if matches!(self, Self::LongTexts | Self::More) {
            alerts.iter_mut().for_each(cut_texts);
        }
    }
}

fn drop_raw(alerts: &mut [Value]) {
    for raw in alerts.iter_mut().filter_map(|alert| alert.get_mut("raw")) {
        *raw = Value::Null;
    }
}

fn id(alert: &Value) -> Option<String> {
    alert.get("id")?.as_str().map(String::from)
}

/// Adds the absent fields, so that a script reads `alert.vendor` without asking whether it is there.
fn complete(alert: &Value) -> Value {
    let Value::Object(given) = alert else { return alert.clone() };
    let mut whole: Map<String, Value> = given.clone();
    for field in ALERT_FIELDS {
        if !whole.contains_key(*field) {
            whole.insert((*field).to_string(), absent(field, given));
        }
    }
    Value::Object(whole)
}

fn absent(field: &str, alert: &Map<String, Value>) -> Value {
    let first = |kind: &str, property: &str| {
        alert.get("entities").and_then(|e| e.get(kind)?.get(0)?.get(property)).cloned().unwrap_or_default()
    };
    match field {
        "host" => first("host", "name"),
        "account" => first("account", "name"),
        "ip" => first("ip", "address"),
        "tactics" | "techniques" | "resources" | "remediation" | "links" | "tags" => Value::Array(Vec::new()),
        "entities" | "extended" => Value::Object(Map::new()),
        "is_incident" => Value::Bool(false),
        _ => Value::Null,
    }
}

fn fit(mut alerts: Vec<Value>) -> Vec<Value> {
    if fits(&alerts) {
        return alerts;
    }
    drop_raw(&mut alerts);
    if fits(&alerts) {
        return alerts;
    }
    alerts.iter_mut().for_each(cut_texts);
    let mut sum = Size::default();
    let fitting = alerts.iter().take_while(|alert| {
        sum = sum.plus(size(alert));
        sum.fits()
    });
    let kept = fitting.count().max(1).min(alerts.len());
    alerts.truncate(kept);
    if !fits(&alerts) {
        alerts.iter_mut().for_each(keep_scalars);
    }
    alerts
}

fn fits(alerts: &[Value]) -> bool {
    alerts.iter().map(size).fold(Size::default(), Size::plus).fits()
}

/// What a value and all its parts hold, counted as Rhai counts.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    text_bytes: usize,
    items: usize,
    entries: usize,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            text_bytes: self.text_bytes + other.text_bytes,
            items: self.items + other.items,
            entries: self.entries + other.entries,
        }
    }

    fn fits(self) -> bool {
        self.text_bytes <= INPUT_TEXT_BYTES_MAX && self.items <= INPUT_ITEMS_MAX && self.entries <= INPUT_ENTRIES_MAX
    }
}

fn size(value: &Value) -> Size {
    match value {
        Value::String(text) => Size { text_bytes: text.len(), ..Size::default() },
        Value::Array(items) => items.iter().map(size).fold(Size { items: items.len(), ..Size::default() }, Size::plus),
        Value::Object(items) => {
            items.values().map(size).fold(Size { entries: items.len(), ..Size::default() }, Size::plus)
        }
        _ => Size::default(),
    }
}

fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > CUT_TEXT_BYTES => {
            text.truncate(text.floor_char_boundary(CUT_TEXT_BYTES));
            text.push('…');
        }
        Value::Array(items) => items.iter_mut().for_each(cut_texts),
        Value::Object(items) => items.values_mut().for_each(cut_texts),
        _ => {}
    }
}

/// Last resort for one alert with tens of thousands of parts: what is no list and no map stays.
fn keep_scalars(alert: &mut Value) {
    let Value::Object(fields) = alert else { return };
    for value in fields.values_mut() {
        match value {
            Value::Array(items) => items.clear(),
            Value::Object(items) => items.clear(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(input: &Value) -> Value {
        crate::playbooks::value::to_json(&prepare(input).arguments[0]).unwrap()
    }

    #[test]
    fn absent_fields_are_there_and_short_forms_come_from_the_first_entity() {
        let alert = seen(&json!({"id": "a-1.0", "title": "t", "entities": {"host": [{"name": "h1"}, {"name": "h2"}]}}));
        assert_eq!(alert["host"], "h1");
        assert_eq!(alert["ip"], Value::Null);
        assert_eq!(alert["tags"], json!([]));
        assert!(ALERT_FIELDS.iter().all(|field| alert.get(field).is_some()));
    }

    #[test]
    fn what_does_not_fit_is_left_out_raw_first() {
        let big = json!({"id": "a-1.0", "title": "t", "raw": {"x": "y".repeat(900_000)}});
        assert_eq!(seen(&big)["raw"], Value::Null);
        assert_eq!(seen(&big)["title"], "t");
        let long = json!({"id": "a-1.0", "title": "t", "description": "ü".repeat(500_000)});
        assert!(seen(&long)["description"].as_str().unwrap().len() < 5_000);
        let many: Value = (0..5_000).map(|n| json!({"id": format!("a-{n}.0"), "title": "t"})).collect();
        let kept = seen(&many).as_array().unwrap().len();
        assert!((100..200).contains(&kept), "{kept}");
        assert_eq!(prepare(&many).ids.len(), 5_000);
        let wide = json!({"id": "a-1.0", "title": "t", "extended": {"x": vec![1; 20_000]}});
        assert_eq!(seen(&wide)["extended"], json!({}));
    }

    #[test]
    fn of_a_group_no_more_is_gathered_than_a_script_may_get_and_it_gets_the_same() {
        type Alert = fn(usize) -> Value;
        let groups: [(&str, usize, Alert); 8] = [
            ("small", 20, |n| json!({"id": format!("a-{n}.0"), "title": "t", "raw": {"x": n}})),
            ("large raw", 300, |n| json!({"id": format!("a-{n}.0"), "raw": {"x": "y".repeat(2_000)}})),
            ("long texts", 60, |n| json!({"id": format!("a-{n}.0"), "title": "ü".repeat(4_000), "raw": 1})),
            ("long texts at the end", 90, |n| json!({"id": format!("a-{n}.0"), "title": "x".repeat(n * 150)})),
            ("too many", 5_000, |n| json!({"id": format!("a-{n}.0"), "title": "t"})),
            ("too many with raw", 3_000, |n| json!({"id": format!("a-{n}.0"), "raw": {"x": "y".repeat(3_000)}})),
            ("wide", 40, |n| json!({"id": format!("a-{n}.0"), "extended": {"x": vec![1; n * 200]}})),
            ("one too wide", 3, |n| json!({"id": format!("a-{n}.0"), "extended": {"x": vec![1; 20_000]}})),
        ];
        for (what, count, alert) in groups {
            let all: Value = (0..count).map(alert).collect();
            let mut gathered = Gathered::default();
            for n in 0..count {
                gathered.push(alert(n));
                let whole = gathered.alerts.iter().filter(|alert| alert.as_object().unwrap().len() > 1);
                let sizes = whole.map(size).collect::<Vec<_>>();
                let but_one = sizes.iter().rev().skip(1).copied().fold(Size::default(), Size::plus);
                assert!(but_one.fits(), "{what}: {but_one:?}");
            }
            let gathered = gathered.into_input();
            assert_eq!(seen(&gathered), seen(&all), "{what}");
            assert_eq!(prepare(&gathered).ids, prepare(&all).ids, "{what}");
        }
    }
}
