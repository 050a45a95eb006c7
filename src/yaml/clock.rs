//! Times of day, days of the week and time zones, as people write them.

use jiff::tz::TimeZone;

use crate::yaml::diagnostic::{Diagnostic, nearest};
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, text};

/// Minutes of a day on a clock.
pub const MINUTES_A_DAY: u32 = 24 * 60;

/// Minutes after midnight, up to 24:00, of a text such as `"22:00"`.
pub fn minutes(node: &Node, faults: &mut Faults) -> Option<u32> {
    let parsed = match &node.value {
        Value::Str(text) => hour_and_minute(text),
        _ => None,
    };
    if parsed.is_none() {
        faults.expected(node, "a time of day in quotes, such as \"22:00\"");
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

/// Short names of the days, Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Days of the week, Monday first, of names and ranges such as `mon-fri`.
pub fn days(nodes: &[Node], faults: &mut Faults) -> [bool; 7] {
    let mut out = [false; 7];
    for node in nodes {
        let Some(text) = text(node, faults) else { continue };
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
                faults.push(fault.help(help));
            }
        }
    }
    out
}

fn day(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    DAYS.iter().position(|day| *day == text).or_else(|| LONG_DAYS.iter().position(|day| *day == text))
}

/// A time zone by its name in the IANA database.
pub fn zone(node: &Node, faults: &mut Faults) -> Option<TimeZone> {
    let name = text(node, faults)?;
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
    faults.push(fault.help(help));
    None
}
