//! Times of day and week at which a route acts or keeps still.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use crate::rules::known::Reading;
use crate::yaml::diagnostic::{Diagnostic, Place, nearest};
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{MapReader, one_or_many, text};

const MINUTES_A_DAY: u32 = 24 * 60;

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
    let from = from_node.and_then(|node| minutes(node, reading)).unwrap_or(0);
    let to = to_node.and_then(|node| minutes(node, reading)).unwrap_or(MINUTES_A_DAY);
    let days_node = map.list("days");
    let days = days_node.map_or([true; 7], |nodes| days(nodes, reading));
    let zone = map.get("zone").map_or(Some(TimeZone::UTC), |node| zone(node, reading));
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

fn minutes(node: &Node, reading: &mut Reading) -> Option<u32> {
    let parsed = match &node.value {
        Value::Str(text) => hour_and_minute(text),
        _ => None,
    };
    if parsed.is_none() {
        reading.faults.expected(node, "a time of day in quotes, such as \"22:00\"");
    }
    parsed
}

fn hour_and_minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        (digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse::<u32>().ok())?
    };
    let (hour, minute) = (number(hour)?, (minute.len() == 2).then(|| number(minute))??);
    (minute < 60 && hour * 60 + minute <= MINUTES_A_DAY).then_some(hour * 60 + minute)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

fn days(nodes: &[Node], reading: &mut Reading) -> [bool; 7] {
    let mut out = [false; 7];
    for node in nodes {
        let Some(text) = text(node, &mut reading.faults) else { continue };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (day(first), day(last)) {
            (Some(first), Some(last)) => {
                let length = (last + 7 - first) % 7;
                (0..=length).for_each(|step| out[(first + step) % 7] = true);
            }
            (first_day, _) => {
                let wrong = if first_day.is_none() { first } else { last }.trim();
                let message = format!("`{wrong}` is no day of the week");
                let fault = Diagnostic::error("bad-day", node.place.clone(), message);
                let help = match nearest(wrong, &LONG_DAYS) {
                    Some(near) => format!("did you mean `{}`?", &near[..3]),
                    None => format!("days are {}; a range is `mon-fri`", DAYS.join(", ")),
                };
                reading.faults.push(fault.help(help));
            }
        }
    }
    out
}

fn day(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    DAYS.iter().position(|day| *day == text).or_else(|| LONG_DAYS.iter().position(|day| *day == text))
}

fn zone(node: &Node, reading: &mut Reading) -> Option<TimeZone> {
    let name = text(node, &mut reading.faults)?;
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    let fault = Diagnostic::error("unknown-zone", node.place.clone(), format!("no time zone is called `{name}`"));
    let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "this system has no time zone database: install tzdata, or use UTC".into(),
        None => "use a name of the IANA database, such as Europe/Berlin, or UTC".into(),
    };
    reading.faults.push(fault.help(help));
    None
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
