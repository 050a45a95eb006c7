//! `recipients:` of soard.yaml, checked: who gets mails by which role, and which mails they want.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use lettre::message::Mailbox;

use crate::actions::settings::email::address;
use crate::domain::alert::Severity;
use crate::domain::mail::{Caps, Daily, Quiet, Wants};
use crate::domain::recipient::folded;
use crate::domain::token::is_name;
use crate::yaml::clock::{self, MINUTES_A_DAY};
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Key, Node, Value};
use crate::yaml::reader::{self, Faults, MapReader};

/// Recipients that can be listed.
const RECIPIENTS_MAX: usize = 10_000;
/// Roles of one recipient.
const ROLES_MAX: usize = 20;
/// The largest cap.
const CAP_MAX: i64 = 10_000;
/// Stands for all who are not listed, and for what an entry leaves out.
const ALL: &str = "*";

/// All recipients that soard.yaml lists, by address in lower case, and what the others want.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipients {
    others: Wants,
    listed: BTreeMap<String, Listed>,
}

/// A recipient that soard.yaml lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The address as written, and the name.
    pub mailbox: Mailbox,
    /// What they are.
    pub roles: Vec<String>,
    /// What they want.
    pub wants: Wants,
}

impl Recipients {
    /// What the owner of an address wants.
    pub fn wants(&self, address: &str) -> &Wants {
        self.get(address).map_or(&self.others, |listed| &listed.wants)
    }

    /// One that is listed.
    pub fn get(&self, address: &str) -> Option<&Listed> {
        self.listed.get(&folded(address))
    }

    /// All that are listed, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.listed.values()
    }

    /// Those who have a role.
    pub(super) fn with_role(&self, role: &str) -> impl Iterator<Item = &Mailbox> {
        self.iter().filter(move |listed| listed.roles.iter().any(|known| known == role)).map(|listed| &listed.mailbox)
    }

    /// All roles that somebody has.
    pub(super) fn roles(&self) -> Vec<&str> {
        let mut roles: Vec<&str> = self.iter().flat_map(|listed| &listed.roles).map(String::as_str).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

/// Reads `recipients:`; every fault is noted, and what is faulty is left out.
pub fn read_recipients(node: &Node, faults: &mut Faults) -> Recipients {
    let mut all = Recipients::default();
    let Some(mut map) = MapReader::new(node, "a map of recipients by mail address", faults) else { return all };
    let mut others = Reading { wants: Wants::default(), zone: TimeZone::UTC };
    if let Some(node) = map.get(ALL) {
        others = defaults(node, others, faults);
    }
    all.others = others.wants.clone();
    for (key, node) in map.rest() {
        let Some(listed) = listed(key, node, others.clone(), faults) else { continue };
        if all.listed.insert(folded(&key.text), listed).is_some() {
            faults.error("recipient-listed-twice", &key.place, format!("{} is listed twice", key.text));
        }
    }
    if all.listed.len() > RECIPIENTS_MAX {
        let message = format!("{} recipients are listed; at most {RECIPIENTS_MAX} are taken", all.listed.len());
        faults.error("too-many-recipients", &node.place, message);
    }
    all
}

/// What is read, beginning with the defaults.
#[derive(Clone)]
struct Reading {
    wants: Wants,
    zone: TimeZone,
}

fn defaults(node: &Node, others: Reading, faults: &mut Faults) -> Reading {
    let Some(mut map) = MapReader::new(node, "what recipients want to get", faults) else { return others };
    let read = others.read(&mut map, faults);
    map.finish(faults);
    read
}

fn listed(key: &Key, node: &Node, others: Reading, faults: &mut Faults) -> Option<Listed> {
    let mut map = MapReader::new(node, "a recipient's name, roles and wants", faults)?;
    let name = map.text("name", faults).filter(|name| !name.chars().any(char::is_control));
    let roles = roles(&mut map, faults);
    let wants = others.read(&mut map, faults).wants;
    map.finish(faults);
    let mailbox = address(&key.text).filter(|mailbox| mailbox.name.is_none());
    let Some(Mailbox { email, .. }) = mailbox else {
        let message = format!("{:?} is not a mail address", key.text);
        let fault = Diagnostic::error("bad-recipient", key.place.clone(), message);
        faults.push(fault.help("write the address alone, such as `ann@example.com`, or \"*\" for all others"));
        return None;
    };
    Some(Listed { mailbox: Mailbox { name, email }, roles, wants })
}

fn roles(map: &mut MapReader<'_>, faults: &mut Faults) -> Vec<String> {
    let mut roles: Vec<String> = Vec::new();
    for node in map.list("roles").unwrap_or_default().iter().take(ROLES_MAX + 1) {
        let Some(role) = reader::text(node, faults) else { continue };
        if !is_name(role) || roles.len() == ROLES_MAX {
            let message = format!("`{role}` is not a role that can be given here");
            let fault = Diagnostic::error("bad-role", node.place.clone(), message);
            faults.push(fault.help(format!(
                "use lower-case letters, digits, `_`, `.` and `-`, at most 64, and at most {ROLES_MAX} roles"
            )));
            continue;
        }
        roles.push(role.into());
    }
    roles
}

impl Reading {
    fn read(mut self, map: &mut MapReader<'_>, faults: &mut Faults) -> Self {
        if let Some(zone) = map.get("time_zone").and_then(|node| clock::zone(node, faults)) {
            self.wants.digest.zone = zone.clone();
            self.wants.quiet.iter_mut().for_each(|quiet| quiet.zone = zone.clone());
            self.zone = zone;
        }
        if let Some(node) = map.get("at_least") {
            self.wants.at_least = severity(node, faults).unwrap_or(self.wants.at_least);
        }
        if let Some(node) = map.get("caps") {
            self.wants.caps = caps(node, self.wants.caps, faults);
        }
        if let Some(node) = map.get("quiet") {
            self.wants.quiet = if is_none(node) { None } else { quiet(node, &self.zone, faults) };
        }
        if let Some(minute) = map.get("digest").and_then(|node| minutes(node, faults)) {
            self.wants.digest = Daily { minute, zone: self.zone.clone() };
        }
        self
    }
}

fn is_none(node: &Node) -> bool {
    matches!(&node.value, Value::Str(word) if word == "none")
}

fn severity(node: &Node, faults: &mut Faults) -> Option<Severity> {
    let word = reader::text(node, faults)?;
    let found = Severity::ALL.into_iter().find(|severity| severity.as_str() == word);
    if found.is_none() {
        let fault = Diagnostic::error("bad-severity", node.place.clone(), format!("`{word}` is no severity"));
        faults.push(fault.suggest(word, Severity::ALL.map(Severity::as_str)));
    }
    found
}

fn caps(node: &Node, mut caps: Caps, faults: &mut Faults) -> Caps {
    if is_none(node) {
        return Caps::NONE;
    }
    let Some(mut map) = MapReader::new(node, "the most mails a day by severity, or `none`", faults) else {
        return caps;
    };
    for (word, cap) in [("high", &mut caps.high), ("medium", &mut caps.medium), ("low", &mut caps.low)] {
        let Some(node) = map.get(word) else { continue };
        if is_none(node) {
            *cap = None;
        } else if let Some(number) = reader::whole(node, 0..=CAP_MAX, faults) {
            *cap = Some(number.unsigned_abs());
        }
    }
    map.finish(faults);
    caps
}

fn quiet(node: &Node, zone: &TimeZone, faults: &mut Faults) -> Option<Quiet> {
    let mut map = MapReader::new(node, "hours such as `{from: \"22:00\", until: \"06:00\"}`, or `none`", faults)?;
    let from = map.need("from", faults).and_then(|node| minutes(node, faults));
    let until = map.need("until", faults).and_then(|node| clock::minutes(node, faults));
    let days = map.list("days").map_or([true; 7], |nodes| clock::days(nodes, faults));
    let zone = map.get("time_zone").map_or(Some(zone.clone()), |node| clock::zone(node, faults));
    let except = match map.get("except") {
        None => Some(Severity::High),
        Some(node) if is_none(node) => None,
        Some(node) => severity(node, faults),
    };
    let place = map.place();
    map.finish(faults);
    let (from, until, zone) = (from?, until?, zone?);
    let always = from == 0 && until == MINUTES_A_DAY && days == [true; 7];
    if from == until || always || days == [false; 7] {
        let message = if always { "these hours never end" } else { "these hours cover nothing" };
        let fault = Diagnostic::error("bad-quiet-hours", place.clone(), message);
        faults.push(fault.help("for whole days write `from: \"00:00\", until: \"24:00\"` and name the `days`"));
        return None;
    }
    Some(Quiet { from, until, days, zone, except })
}

/// A time of day that there is every day: 24:00 is none.
fn minutes(node: &Node, faults: &mut Faults) -> Option<u32> {
    let minute = clock::minutes(node, faults)?;
    if minute < MINUTES_A_DAY {
        return Some(minute);
    }
    faults.expected(node, "a time of day from \"00:00\" to \"23:59\"");
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::yaml::node::parse;

    fn read(yaml: &str) -> (Recipients, Vec<(&'static str, u32, String)>) {
        let mut faults = Faults::default();
        let node = parse(&Arc::from("soard.yaml"), yaml).unwrap();
        let all = read_recipients(&node, &mut faults);
        let told = |fault: &Diagnostic| (fault.code, fault.place.line, fault.help.clone().unwrap_or_default());
        (all, faults.found.iter().map(told).collect())
    }

    #[test]
    fn what_an_entry_leaves_out_is_as_for_all_others() {
        let (all, faults) = read(
            "'*': { at_least: medium, caps: { high: none, low: 0 }, time_zone: Europe/Berlin, quiet: { from: '22:00', until: '06:00' } }\n\
             Ann@Example.com: { name: Ann, roles: [soc, lead], caps: none, digest: '17:30' }\n\
             bo@example.com: { roles: soc, at_least: informational, quiet: none, time_zone: America/New_York }\n\
             cy@example.com: {}\n",
        );
        assert_eq!(faults, []);
        let ann = all.get("ann@example.com").unwrap();
        assert_eq!((ann.mailbox.to_string(), ann.roles.join(" ")), ("Ann <Ann@Example.com>".into(), "soc lead".into()));
        assert_eq!((ann.wants.caps, ann.wants.at_least), (Caps::NONE, Severity::Medium));
        assert_eq!((ann.wants.digest.minute, ann.wants.digest.zone.iana_name()), (17 * 60 + 30, Some("Europe/Berlin")));
        let bo = all.wants("BO@example.com");
        assert_eq!((bo.quiet.is_none(), bo.at_least), (true, Severity::Informational));
        assert_eq!((bo.digest.minute, bo.digest.zone.iana_name()), (8 * 60, Some("America/New_York")));
        let capped = Caps { high: None, medium: Some(2), low: Some(0) };
        for address in ["cy@example.com", "nobody@example.com"] {
            let wants = all.wants(address);
            assert_eq!((wants.caps, wants.quiet.as_ref().unwrap().except), (capped, Some(Severity::High)), "{address}");
        }
        assert_eq!((all.roles(), all.with_role("soc").count()), (vec!["lead", "soc"], 2));
        let (none, _) = read("{}");
        assert_eq!(none.wants("a@example.com"), &Wants::default());
    }

    #[test]
    fn every_fault_is_told_with_its_place_and_a_cure() {
        let (_, faults) = read(
            "ann: { roles: [SOC] }\nb@example.com: { at_least: mediun, caps: { hihg: 3 } }\nc@example.com: { quiet: { from: '22:00' } }\n\
             d@example.com: { quiet: { from: '08:00', until: '08:00' }, digest: '24:00' }\nD@example.com: { time_zone: Europe/Berlim }\n\
             e@example.com: { caps: few, nmae: E }\n",
        );
        let codes: Vec<(&str, u32)> = faults.iter().map(|(code, line, _)| (*code, *line)).collect();
        let expected = [
            ("bad-role", 1),
            ("bad-recipient", 1),
            ("bad-severity", 2),
            ("unknown-key", 2),
            ("missing-key", 3),
            ("bad-quiet-hours", 4),
            ("wrong-type", 4),
            ("unknown-zone", 5),
            ("recipient-listed-twice", 5),
            ("wrong-type", 6),
            ("unknown-key", 6),
        ];
        assert_eq!(codes, expected);
        let cures = ["`medium`", "`high`", "`Europe/Berlin`", "`name`"];
        for cure in cures {
            assert!(faults.iter().any(|(_, _, help)| help.contains(cure)), "{cure}: {faults:#?}");
        }
    }
}
