//! When snapshots are taken: every week on a day, or every day, at a time of a zone's wall clock.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::actions::settings::exports::word;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::Node;
use crate::yaml::reader::{self, Faults, MapReader};

/// A time that comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// Every week on this day; `None`: every day.
    on: Option<Weekday>,
    at: Time,
    zone: TimeZone,
}

const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// Days that are looked at for the next one: a week, and one more where a clock jumps over midnight.
const DAYS_AHEAD: usize = 9;

impl Calendar {
    /// The first such time after an instant.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        let mut day = self.zone.to_datetime(after).date();
        for _ in 0..DAYS_AHEAD {
            // A time that a clock skips is taken as what it reads then.
            let at = self.zone.to_ambiguous_timestamp(day.to_datetime(self.at)).compatible();
            let fits = self.on.is_none_or(|on| day.weekday() == on);
            if let Ok(at) = at
                && fits
                && at > after
            {
                return at;
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        Timestamp::MAX
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = DAYS.iter().find(|(_, day)| Some(*day) == self.on).map_or("day", |(name, _)| name);
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "every {day} at {:02}:{:02} {zone}", self.at.hour(), self.at.minute())
    }
}

pub(super) fn read(node: &Node, faults: &mut Faults) -> Option<Calendar> {
    let mut map = MapReader::new(node, "a time such as `{ every: week, on: sunday, at: \"03:00\" }`", faults)?;
    let known = [("week", true), ("day", false)];
    let weekly =
        map.need("every", faults).and_then(|node| word(node, "rhythm of snapshots", &known, "snapshot-every", faults));
    let on_node = map.get("on");
    let on = on_node.map(|node| word(node, "day of the week", &DAYS, "snapshot-day", faults));
    let at = map.need("at", faults).and_then(|node| time(node, faults));
    let zone = map.get("time_zone").map_or(Some(TimeZone::UTC), |node| zone(node, faults));
    let place = map.place();
    map.finish(faults);
    let on = match (weekly?, on) {
        (true, Some(on)) => Some(on?),
        (false, None) => None,
        (true, None) => {
            faults.error("snapshot-on", place, "`every: week` needs the day: `on: sunday`");
            return None;
        }
        (false, Some(_)) => {
            let place = on_node.map_or(place, |node| &node.place);
            faults.error("snapshot-on-daily", place, "`on` goes with `every: week`");
            return None;
        }
    };
    Some(Calendar { on, at: at?, zone: zone? })
}

fn time(node: &Node, faults: &mut Faults) -> Option<Time> {
    let parsed = match &node.value {
        crate::yaml::node::Value::Str(text) => hour_and_minute(text),
        _ => None,
    };
    if parsed.is_none() {
        faults.expected(node, "a time of day in quotes, such as \"03:00\"");
    }
    parsed
}

fn hour_and_minute(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        (digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse::<i8>().ok())?
    };
    let (hour, minute) = (number(hour)?, (minute.len() == 2).then(|| number(minute))??);
    Time::new(hour, minute, 0, 0).ok()
}

fn zone(node: &Node, faults: &mut Faults) -> Option<TimeZone> {
    let name = reader::text(node, faults)?;
    match TimeZone::get(name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            let message = format!("no time zone is called {name:?}");
            let fault = Diagnostic::error("snapshot-zone", node.place.clone(), message);
            faults.push(fault.help("write a name of the IANA database, such as `Europe/Berlin`"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(on: Option<Weekday>, zone: &str) -> Calendar {
        Calendar { on, at: Time::constant(2, 30, 0, 0), zone: TimeZone::get(zone).unwrap() }
    }

    #[test]
    fn it_comes_back_on_the_wall_clock() {
        let next = |on, after: &str| calendar(on, "Europe/Berlin").next(after.parse().unwrap()).to_string();
        let sunday = Some(Weekday::Sunday);
        assert_eq!(next(sunday, "2026-11-26T12:00:00Z"), "2026-11-29T01:30:00Z");
        assert_eq!(next(sunday, "2026-11-29T01:30:00Z"), "2026-12-06T01:30:00Z", "never the same twice");
        assert_eq!(next(None, "2026-11-26T01:29:59Z"), "2026-11-26T01:30:00Z");
        // The clock jumps from 02:00 to 03:00, and later goes back from 03:00 to 02:00.
        assert_eq!(next(sunday, "2026-03-28T12:00:00Z"), "2026-03-29T01:30:00Z");
        assert_eq!(next(sunday, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(calendar(sunday, "Europe/Berlin").to_string(), "every sunday at 02:30 Europe/Berlin");
    }
}
