//! Times of day and week at which a route acts or keeps still.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use crate::rules::known::Reading;
use crate::yaml::clock::{self, DAYS, MINUTES_A_DAY};
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{MapReader, one_or_many, text};

/// A window that comes back every week, on the wall clock of its zone.
///
/// Where clocks jump ahead the window is shorter by what is skipped, where they go back it is longer.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeWindow {
    name: String,
    /// Minutes after midnight, included.
    from: u32,
    /// Minutes after midnight, not included; less than `from` when the window runs over midnight.
    to: u32,
    /// Days on which it begins, Monday first.
    days: [bool; 7],
    zone: TimeZone,
}

impl TimeWindow {
    /// As the rule names it, or what it says where it has no name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the instant lies in the window. After midnight the window of the day before goes on.
    pub fn covers(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let minute = u32::from(local.hour().unsigned_abs()) * 60 + u32::from(local.minute().unsigned_abs());
        let today = self.on(local.date().weekday());
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        let yesterday = self.on(local.date().weekday().previous());
        (today && minute >= self.from) || (yesterday && minute < self.to)
    }

    fn on(&self, day: Weekday) -> bool {
        self.days[usize::from(day.to_monday_zero_offset().unsigned_abs())]
    }
}

/// The windows that route files name, with the places of their names.
pub type NamedTimes = BTreeMap<String, (TimeWindow, Place)>;

/// Reads `times:`, a map of names to windows, into `named`.
pub fn read_named(node: &Node, named: &mut NamedTimes, reading: &mut Reading) {
    let Some(mut map) = MapReader::new(node, "a map of names to times", &mut reading.faults) else { return };
    for (key, node) in map.rest() {
        if let Some((_, first)) = named.get(&key.text) {
            let message = format!("the time `{}` is defined twice; first in {}", key.text, first.file_line());
            reading.faults.error("time-defined-twice", &key.place, message);
        } else if let Some(window) = window(node, Some(&key.text), reading) {
            named.insert(key.text.clone(), (window, key.place.clone()));
        }
    }
}

/// Reads `mute:` or `active:`: names or windows, one or a list.
pub fn read_used(node: &Node, named: &NamedTimes, reading: &mut Reading) -> Option<Vec<TimeWindow>> {
    let each = one_or_many(node).iter().map(|node| match &node.value {
        Value::Map(_) => window(node, None, reading),
        _ => {
            let name = text(node, &mut reading.faults)?;
            let found = named.get(name).map(|(window, _)| window.clone());
            if found.is_none() {
                let message = format!("no time is called `{name}`");
                let fault = Diagnostic::error("unknown-time", node.place.clone(), message);
                let known: Vec<&str> = named.keys().map(String::as_str).collect();
                reading.faults.push(match known.is_empty() {
                    true => fault.help("define it under `times:`, or write `{from: …, to: …}` here"),
                    false => fault.suggest(name, known),
                });
            }
            found
        }
    });
    let all: Vec<Option<TimeWindow>> = each.collect();
    all.into_iter().collect()
}

fn window(node: &Node, name: Option<&str>, reading: &mut Reading) -> Option<TimeWindow> {
    let mut map = MapReader::new(node, "a time such as `{from: \"22:00\", to: \"06:00\"}`", &mut reading.faults)?;
    let faults_before = reading.faults.found.len();
    let from_node = map.get("from");
    let to_node = map.get("to");
    let from = from_node.and_then(|node| clock::minutes(node, &mut reading.faults)).unwrap_or(0);
    let to = to_node.and_then(|node| clock::minutes(node, &mut reading.faults)).unwrap_or(MINUTES_A_DAY);
    let days_node = map.list("days");
    let days = days_node.map_or([true; 7], |nodes| clock::days(nodes, &mut reading.faults));
    let zone = map.get("zone").map_or(Some(TimeZone::UTC), |node| clock::zone(node, &mut reading.faults));
    let place = map.place();
    map.finish(&mut reading.faults);
    if reading.faults.found.len() > faults_before {
        return None;
    }
    if from_node.is_none() && to_node.is_none() && days_node.is_none() {
        reading.faults.error("time-always", place, "a time needs `from`, `to` or `days`");
        return None;
    }
    if from == to || from == MINUTES_A_DAY || days == [false; 7] {
        let fault = Diagnostic::error("time-empty", place.clone(), "this time covers nothing");
        reading.faults.push(fault.help("for whole days leave out `from` and `to`, for every day leave out `days`"));
        return None;
    }
    let zone = zone?;
    let name = name.map_or_else(|| describe(from, to, days, &zone), String::from);
    Some(TimeWindow { name, from, to, days, zone })
}

fn describe(from: u32, to: u32, days: [bool; 7], zone: &TimeZone) -> String {
    let clock = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let mut parts = Vec::new();
    if days != [true; 7] {
        let named: Vec<&str> = DAYS.iter().zip(days).filter(|(_, on)| *on).map(|(day, _)| *day).collect();
        parts.push(named.join(","));
    }
    parts.push(format!("{}-{}", clock(from), clock(to)));
    parts.push(zone.iana_name().unwrap_or("UTC").into());
    parts.join(" ")
}
