//! Mails: what a recipient wants to get, and who gets which mail when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::alert::Severity;
use crate::domain::id::GroupId;
use crate::domain::recipient::Addressee;

/// The name that stands for a digest's own destination in the playbook that sends it, and the playbook's own.
pub const DIGEST: &str = "digest";

/// Alerts that a digest names, the worst of those that wait; further ones are counted.
pub const DIGEST_ALERTS_MAX: usize = 100;

/// Days in a row that quiet hours are followed through.
const QUIET_DAYS_MAX: usize = 8;

/// Somebody whom a mail is for, with what they want to get.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient {
    /// Who.
    pub to: Addressee,
    /// What they want.
    pub wants: Wants,
}

/// Which mails a recipient wants to get, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Wants {
    /// Nothing about what is less severe.
    pub at_least: Severity,
    /// Most mails a day.
    pub caps: Caps,
    /// Hours in which mails wait.
    pub quiet: Option<Quiet>,
    /// When the digest goes out.
    pub digest: Daily,
}

impl Default for Wants {
    fn default() -> Self {
        let digest = Daily { minute: 8 * 60, zone: TimeZone::UTC };
        Self { at_least: Severity::Low, caps: Caps::default(), quiet: None, digest }
    }
}

impl Wants {
    /// When the digest goes out in which a mail of this instant waits: after quiet hours, or at its time of day, and never
    /// within quiet hours.
    pub fn digest_after(&self, at: Timestamp) -> Timestamp {
        let ends = |at| self.quiet.as_ref().and_then(|quiet| quiet.ends(at));
        ends(at).unwrap_or_else(|| {
            let due = self.digest.next(at);
            ends(due).unwrap_or(due)
        })
    }
}

/// Most mails of a severity that a recipient gets within a day, over all destinations; `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caps {
    /// Of high severity.
    pub high: Option<u64>,
    /// Of medium severity.
    pub medium: Option<u64>,
    /// Of low severity, and informational.
    pub low: Option<u64>,
}

impl Default for Caps {
    fn default() -> Self {
        Self { high: Some(4), medium: Some(2), low: Some(1) }
    }
}

impl Caps {
    /// Any number of mails.
    pub const NONE: Self = Self { high: None, medium: None, low: None };

    /// Most mails of this severity.
    pub const fn of(&self, severity: Severity) -> Option<u64> {
        match severity {
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low | Severity::Informational => self.low,
        }
    }
}

/// A time of day on the wall clock of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Daily {
    /// Minutes after midnight.
    pub minute: u32,
    /// The zone.
    pub zone: TimeZone,
}

impl Daily {
    /// The next such time after an instant. What the clock skips comes as soon as it can.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        let today = self.zone.to_datetime(after).date();
        let near = [today, day_after(today), day_after(day_after(today))];
        let found = near.into_iter().map(|day| instant(&self.zone, day, self.minute)).find(|at| *at > after);
        found.unwrap_or(Timestamp::MAX)
    }
}

/// Hours of the day in which mails wait, on the wall clock of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    /// Minutes after midnight, included.
    pub from: u32,
    /// Minutes after midnight, not included; no more than `from` when the hours run over midnight.
    pub until: u32,
    /// Days on which they begin, Monday first.
    pub days: [bool; 7],
    /// The zone.
    pub zone: TimeZone,
    /// What is at least this severe does not wait; `None`: everything does.
    pub except: Option<Severity>,
}

impl Quiet {
    /// When the hours end that an instant lies in; `None` when it lies in none. Hours that follow at once are one.
    pub fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        let mut end = self.one_end(at)?;
        for _ in 1..QUIET_DAYS_MAX {
            match self.one_end(end) {
                Some(later) => end = later,
                None => break,
            }
        }
        Some(end)
    }

    fn one_end(&self, at: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(at).date();
        let yesterday = today.yesterday().unwrap_or(today);
        [yesterday, today].into_iter().filter(|day| self.begins_on(*day)).find_map(|day| {
            let last = if self.until <= self.from { day_after(day) } else { day };
            let (from, until) = (instant(&self.zone, day, self.from), instant(&self.zone, last, self.until));
            (from <= at && at < until).then_some(until)
        })
    }

    fn begins_on(&self, day: Date) -> bool {
        self.days[usize::from(day.weekday().to_monday_zero_offset().unsigned_abs())]
    }
}

fn day_after(day: Date) -> Date {
    day.tomorrow().unwrap_or(day)
}

/// The instant of a time of day; 24:00 is the next day's midnight.
fn instant(zone: &TimeZone, day: Date, minute: u32) -> Timestamp {
    let (day, minute) = if minute >= 24 * 60 { (day_after(day), minute - 24 * 60) } else { (day, minute) };
    let small = |n: u32| i8::try_from(n).expect("hours and minutes are below 60");
    let time = Time::constant(small(minute / 60), small(minute % 60), 0, 0);
    zone.to_timestamp(day.to_datetime(time)).unwrap_or(Timestamp::MAX)
}

/// Who gets a mail now, who later, and who not at all: decided when a run asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MailPlan {
    /// The highest severity that the alerts were decided at.
    pub severity: Severity,
    /// Those who get it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Now>,
    /// Those whose digest tells of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Later>,
    /// Those who do not get it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<Never>,
    /// All have unsubscribed and get it all the same: a question has to reach somebody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub to_all: bool,
}

/// Who gets a mail now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Now {
    /// Who.
    #[serde(flatten)]
    pub to: Addressee,
    /// It counts for the recipient's cap in the day that ends then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_until: Option<Timestamp>,
}

/// Who gets a mail later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Later {
    /// Who.
    #[serde(flatten)]
    pub to: Addressee,
    /// Why.
    pub why: Wait,
    /// The group that gathers what waits for them.
    pub group: GroupId,
    /// When it closes.
    pub due: Timestamp,
}

/// Who does not get a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Never {
    /// The address.
    pub address: String,
    /// Why.
    pub why: Omit,
}

/// Why a mail waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The recipient has had as many of this severity as they want in a day.
    Cap,
    /// The recipient is not to be disturbed.
    QuietHours,
}

impl Wait {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::QuietHours => "quiet_hours",
        }
    }

    /// For the one who gets the digest.
    pub const fn said(self) -> &'static str {
        match self {
            Self::Cap => "you had as many mails of their severity within a day as you want",
            Self::QuietHours => "they came in your quiet hours",
        }
    }
}

/// Why somebody does not get a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Omit {
    /// It is about something less severe than they want to hear of.
    BelowMinimum,
    /// They do not want any.
    Unsubscribed,
}

impl Omit {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BelowMinimum => "below_minimum",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// What waits for one recipient of one destination, beside the alerts of its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Digest {
    /// Name of the destination.
    pub destination: String,
    /// Who gets it.
    pub to: Addressee,
    /// When the first of it began to wait.
    pub since: Timestamp,
    /// How many alerts wait for which reason, named or counted.
    pub waits: BTreeMap<Wait, u64>,
    /// Alerts that are counted only, by severity. One that waits with two mails may count twice.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<Severity, u64>,
}

impl MailPlan {
    /// Nobody gets it now.
    pub fn is_for_nobody(&self) -> bool {
        self.to.is_empty()
    }

    /// Who gets it now.
    pub fn addressees(&self) -> Vec<Addressee> {
        self.to.iter().map(|now| now.to.clone()).collect()
    }
}

/// What another drive has to know of a mail that ended without success: who took it, and for whom it is unclear where doubles
/// are forbidden. Who refused it is asked again: a mailbox can be mended.
pub fn resumed(value: &Value) -> Option<Value> {
    let named = |list: &str| value.get(list).and_then(Value::as_array).filter(|named| !named.is_empty());
    let (accepted, unknown) = (named("accepted"), named("unknown"));
    if accepted.is_none() && unknown.is_none() {
        return None;
    }
    let mut progress = json!({ "accepted": accepted.cloned().unwrap_or_default(), "refused": {} });
    if let Some(unknown) = unknown {
        progress["unknown"] = json!(unknown);
    }
    Some(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn night(days: [bool; 7]) -> Quiet {
        Quiet { from: 22 * 60, until: 6 * 60, days, zone: berlin(), except: Some(Severity::High) }
    }

    #[test]
    fn quiet_hours_run_over_midnight_and_follow_the_clocks() {
        // In winter Berlin is an hour ahead of UTC, in summer two.
        let all = night([true; 7]);
        for (when, ends) in [
            ("2026-11-26T20:59:59Z", None),
            ("2026-11-26T21:00:00Z", Some("2026-11-27T05:00:00Z")),
            ("2026-11-27T04:59:59Z", Some("2026-11-27T05:00:00Z")),
            ("2026-11-27T05:00:00Z", None),
            ("2026-07-01T20:00:00Z", Some("2026-07-02T04:00:00Z")),
            // The night of 29 March is an hour shorter, that of 25 October an hour longer.
            ("2026-03-28T21:30:00Z", Some("2026-03-29T04:00:00Z")),
            ("2026-10-24T20:30:00Z", Some("2026-10-25T05:00:00Z")),
        ] {
            assert_eq!(all.ends(at(when)), ends.map(at), "{when}");
        }
        // 26 November 2026 is a Thursday: its night reaches into Friday.
        let mut thursdays = [false; 7];
        thursdays[3] = true;
        let one = night(thursdays);
        assert_eq!(one.ends(at("2026-11-27T03:00:00Z")), Some(at("2026-11-27T05:00:00Z")));
        assert_eq!(one.ends(at("2026-11-26T03:00:00Z")), None);
        assert_eq!(one.ends(at("2026-11-27T21:30:00Z")), None);
    }

    #[test]
    fn hours_that_follow_at_once_are_one() {
        let mut weekend = [false; 7];
        weekend[5..].fill(true);
        let quiet = Quiet { from: 0, until: 24 * 60, days: weekend, zone: TimeZone::UTC, except: None };
        assert_eq!(quiet.ends(at("2026-11-28T10:00:00Z")), Some(at("2026-11-30T00:00:00Z")));
        assert_eq!(quiet.ends(at("2026-11-27T23:59:59Z")), None);
    }

    #[test]
    fn a_digest_goes_out_at_its_time_or_when_quiet_hours_end() {
        let wants = |quiet| Wants { quiet, digest: Daily { minute: 8 * 60, zone: berlin() }, ..Wants::default() };
        let usual = wants(None);
        assert_eq!(usual.digest_after(at("2026-11-26T06:59:59Z")), at("2026-11-26T07:00:00Z"));
        assert_eq!(usual.digest_after(at("2026-11-26T07:00:00Z")), at("2026-11-27T07:00:00Z"));
        let sleeps = wants(Some(night([true; 7])));
        assert_eq!(sleeps.digest_after(at("2026-11-26T23:00:00Z")), at("2026-11-27T05:00:00Z"), "quiet");
        assert_eq!(sleeps.digest_after(at("2026-11-26T12:00:00Z")), at("2026-11-27T07:00:00Z"), "a cap");
        let early = Wants { digest: Daily { minute: 5 * 60, zone: berlin() }, ..sleeps };
        assert_eq!(early.digest_after(at("2026-11-26T12:00:00Z")), at("2026-11-27T05:00:00Z"), "not at night");
        // 02:30 does not exist on 29 March: it is half past three then.
        let skipped = Daily { minute: 2 * 60 + 30, zone: berlin() };
        assert_eq!(skipped.next(at("2026-03-28T12:00:00Z")), at("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn another_drive_knows_who_took_it_and_who_may_have_and_asks_again_who_refused() {
        for (value, known) in [
            (json!(null), None),
            (json!({ "status": 200, "body": null }), None),
            (json!({ "accepted": [], "refused": { "a@example.com": "550" } }), None),
            (
                json!({ "accepted": ["a@example.com"], "refused": { "b@example.com": "550" }, "later": {} }),
                Some(json!({ "accepted": ["a@example.com"], "refused": {} })),
            ),
            (
                json!({ "accepted": [], "refused": {}, "unknown": ["a@example.com"] }),
                Some(json!({ "accepted": [], "refused": {}, "unknown": ["a@example.com"] })),
            ),
        ] {
            assert_eq!(resumed(&value), known, "{value}");
        }
    }
}
