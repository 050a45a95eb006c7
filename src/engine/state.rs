//! What the journal adds up to: just what later decisions need.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::decision::{AlertRef, Key, RuleRef};
use crate::domain::effect::{Class, EffectKey, Mode};
use crate::domain::id::{AlertId, ApprovalId, GroupId, RunId};
use crate::domain::mail;
use crate::domain::record::{FilePosition, FolderPosition};
use crate::engine::alerts::Alerts;
use crate::engine::approvals::Approvals;
use crate::engine::brakes::{Brake, Windows};
use crate::engine::deliveries::Deliveries;
use crate::engine::folders;
use crate::engine::holds::Holds;
use crate::engine::leap::Leap;
use crate::engine::ran::Ran;
use crate::engine::recipients::Recipients;
use crate::engine::silences::Silences;
use crate::engine::tokens::Tokens;

/// The fold of the journal.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Sequence number of the last entry applied.
    pub seq: u64,
    /// Its time; the next entry is not earlier.
    pub at: Timestamp,
    /// The last time that stamps leapt ahead: ages are not judged by that until it has proved itself.
    #[serde(default)]
    pub leap: Option<Leap>,
    /// Random id of the journal; empty before the first entry.
    pub journal: String,
    /// Id of the bundle in charge; empty before the first `bundle` entry.
    pub bundle: String,
    /// The git commits of the bundle in charge and of those that open groups and runs end on.
    #[serde(default)]
    pub bundles: BTreeMap<String, Option<String>>,
    /// The public key that checkpoints are signed with; empty before the first `key` entry.
    pub signed_by: String,
    /// The last entry that retention has dropped; 0: none.
    pub dropped: u64,
    /// Records counted so far, quarantined ones included.
    pub records: u64,
    /// Groups opened so far.
    pub groups_opened: u64,
    /// Every retained alert, by id.
    #[serde(skip)]
    pub alerts: Alerts,
    /// Runs that were started: a playbook starts once for a trigger.
    #[serde(skip)]
    pub(crate) ran: Ran,
    /// Open runs.
    pub runs: BTreeMap<RunId, Run>,
    /// Failed and stalled runs that an operator can have go on: the last [`HALTED_MAX`].
    pub halted: BTreeMap<RunId, Halted>,
    pub(crate) halted_order: BTreeMap<u64, RunId>,
    /// Effects without an outcome.
    pub flights: HashMap<EffectKey, Flight>,
    /// Effects that ended without success and can be sent again: the newest [`LETTERS_MAX`], by the sequence number of
    /// their `result` entry.
    pub letters: BTreeMap<u64, Letter>,
    /// Open groups.
    pub groups: HashMap<GroupId, Group>,
    /// The group that takes the next alert, by hash of rule and key.
    pub(crate) group_keys: HashMap<u64, GroupId>,
    /// Throttle windows, by hash of rule and key.
    pub(crate) windows: HashMap<u64, OpenWindow>,
    pub(crate) window_ends: BTreeSet<(Timestamp, u64)>,
    /// What waits for its time.
    pub(crate) timers: BTreeSet<(Timestamp, Timer)>,
    /// What came with an idempotency key of late.
    #[serde(skip)]
    pub deliveries: Deliveries,
    /// Quarantined records by their ordinal: sequence number of their entry.
    pub quarantine: BTreeMap<u64, u64>,
    /// Where each file source stands.
    pub files: BTreeMap<String, FilePosition>,
    /// Where each folder source stands: the last position in each file, by file name and content.
    #[serde(with = "folders")]
    pub folders: BTreeMap<String, BTreeMap<(String, String), FolderPosition>>,
    /// Operators' silences.
    #[serde(default)]
    pub silences: Silences,
    /// Who may do what over HTTP.
    #[serde(default)]
    pub tokens: Tokens,
    /// What operators keep from going out.
    #[serde(default)]
    pub holds: Holds,
    /// What playbooks ask people.
    #[serde(default)]
    pub approvals: Approvals,
    /// What counts for the limits of destinations.
    #[serde(default)]
    pub limits: Windows,
    /// Who gets which mails.
    #[serde(default)]
    pub recipients: Recipients,
    /// Totals for `soard status`.
    pub totals: Totals,
}

/// Failed and stalled runs that can be retried; older ones can only be restarted.
pub const HALTED_MAX: usize = 10_000;

/// How many dead letters can be sent again; older ones stay on record.
pub const LETTERS_MAX: usize = 50_000;

/// Characters that the state keeps of a throttle's key: what tells windows apart is its hash.
pub const KEY_CHARS_MAX: usize = 200;

/// Totals since the journal began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Alerts seen for the first time.
    pub alerts: u64,
    /// Repeats that folded into them.
    pub duplicates: u64,
    /// Alerts that a suppression dismissed.
    pub suppressed: u64,
    /// Alerts that a silence held back.
    #[serde(default)]
    pub silenced: u64,
    /// Alerts that a throttle held back.
    pub throttled: u64,
    /// Alerts that a throttle could not count, since there were too many windows.
    #[serde(default)]
    pub unthrottled: u64,
    /// Alerts that a mute or active time held back.
    pub muted: u64,
    /// Records quarantined.
    pub quarantined: u64,
    /// Runs that finished.
    pub runs_finished: u64,
    /// Runs that failed.
    pub runs_failed: u64,
    /// Runs that stalled.
    pub runs_stalled: u64,
    /// Runs that an operator cancelled.
    #[serde(default)]
    pub runs_cancelled: u64,
    /// Effects that succeeded.
    pub effects_ok: u64,
    /// Effects that were refused, gave up, or are unknown.
    pub effects_failed: u64,
    /// Attempts that failed and were followed by another.
    pub retries: u64,
}

/// An open run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Id of the bundle it began with and ends on.
    pub bundle: String,
    /// What it was started for.
    pub alerts: Vec<AlertRef>,
    /// When it was started.
    pub started: Timestamp,
    /// Sequence number of the entry that started it.
    pub began: u64,
    /// Sequence numbers of its `intent`, `result` and timer entries, in order: its replay.
    pub entries: Vec<u64>,
    /// Steps on record.
    pub steps: u32,
    /// Steps without an outcome.
    pub waiting: BTreeSet<u32>,
    /// Effects of the last intent that ended without success, as long as nothing else is on record after them.
    pub refused: Vec<Refused>,
    /// Who started it by hand.
    #[serde(default)]
    pub starter: Option<String>,
    /// What it tells whom, when it is a digest's.
    #[serde(default)]
    pub digest: Option<Box<mail::Digest>>,
}

/// An effect that ended without success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Its key.
    pub key: EffectKey,
    /// As it was before.
    pub flight: Flight,
    /// Sequence number of its `result` entry.
    pub seq: u64,
}

/// A run that stopped half-way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halted {
    /// As far as it got.
    pub run: Run,
    /// Its replay differed; otherwise it failed.
    pub stalled: bool,
    /// Sequence number of the entry that ended it.
    pub seq: u64,
    /// Time of that entry.
    #[serde(default)]
    pub at: Timestamp,
}

/// An effect without an outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flight {
    /// Whose.
    pub run: RunId,
    /// Which step.
    pub step: u32,
    /// Sequence number of the `intent` entry that holds the request.
    pub intent: u64,
    /// Time of that entry.
    pub asked: Timestamp,
    /// Sequence number of the entry that started the run.
    pub began: u64,
    /// Name of the destination.
    pub destination: String,
    /// Attempts that failed so far.
    pub failed: u32,
    /// When the next attempt is due; `None`: an attempt is under way.
    pub next: Option<Timestamp>,
    /// What to do when it is unclear whether it arrived.
    pub mode: Mode,
    /// An attempt that must not be repeated has started.
    pub begun: bool,
    /// The last attempt may have arrived all the same.
    pub ambiguous: bool,
    /// What the next attempt has to know of the last.
    pub progress: Option<Value>,
    /// What went wrong last.
    pub error: Option<String>,
    /// An operator had it sent again: its run has its outcome already.
    pub resent: bool,
    /// It tells people of a question: its run waits for their answer, not for its outcome.
    #[serde(default)]
    pub notice: bool,
    /// What keeps it from going out.
    #[serde(default)]
    pub brake: Option<Brake>,
    /// The first entry that sending it needs: it is about alerts.
    #[serde(default = "unknown")]
    pub needs: u64,
}

/// What a base of version 1 says of `needs`.
fn unknown() -> u64 {
    u64::MAX
}

/// An effect that ended without success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// Which.
    pub key: EffectKey,
    /// Sequence number of the `intent` entry that holds the request.
    pub intent: u64,
    /// Sequence number of the entry that started the run.
    pub began: u64,
    /// Name of the destination.
    pub destination: String,
    /// How it ended.
    pub class: Class,
    /// When.
    #[serde(default)]
    pub at: Timestamp,
    /// The first entry that sending it again needs: it is about alerts.
    #[serde(default = "unknown")]
    pub needs: u64,
}

/// An open group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Hash of rule and key.
    pub(crate) key: u64,
    /// The route that gathers it.
    pub rule: RuleRef,
    /// When it closes.
    pub due: Timestamp,
    /// Its alerts so far.
    pub alerts: Vec<AlertRef>,
    /// The playbooks that will start.
    pub playbooks: Vec<String>,
    /// Id of the bundle that opened it.
    pub bundle: String,
    /// What waits for whom, when it is a digest.
    #[serde(default)]
    pub digest: Option<Box<mail::Digest>>,
}

/// A throttle's window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenWindow {
    pub rule: RuleRef,
    /// The values that make the key, for people: no more than [`KEY_CHARS_MAX`] characters of them.
    pub key: Key,
    pub passed: u64,
    pub surplus: u64,
    pub until: Timestamp,
}

/// A key as far as the state keeps it; what is left out is marked.
pub(crate) fn clipped(key: &Key) -> Key {
    let mut left = KEY_CHARS_MAX;
    let mut clip = |values: &Vec<String>| {
        let mut kept = Vec::new();
        for value in values {
            if left == 0 {
                kept.push("…".to_owned());
                break;
            }
            let mut text: String = value.chars().take(left).collect();
            left = left.saturating_sub(text.chars().count().max(1));
            if text.len() < value.len() {
                text.push('…');
            }
            kept.push(text);
        }
        kept
    };
    key.iter().map(&mut clip).collect()
}

/// What waits for its time, in the order in which equal times are served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Timer {
    Throttle(u64),
    Group(GroupId),
    Sleep(RunId, u32),
    Retry(EffectKey),
    Approval(ApprovalId),
}

impl State {
    /// When the earliest timer is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Whether the playbook was ever started for the trigger.
    pub fn has_run(&self, run: &RunId) -> bool {
        self.ran.contains(self.hash(&[&run.to_string()]))
    }

    /// 64 bits of SHA-256 over the parts, keyed with the journal's random id so that nobody outside can
    /// make two different alerts collide.
    pub(crate) fn hash(&self, parts: &[&str]) -> u64 {
        let mut digest = Sha256::new();
        digest.update(self.journal.as_bytes());
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let bytes: [u8; 8] = digest.finalize()[..8].try_into().expect("eight bytes of thirty-two");
        u64::from_le_bytes(bytes)
    }

    /// Hash of the window that a rule's throttle has for a whole key.
    pub(crate) fn throttle_hash(&self, rule: &RuleRef, key: &Key) -> u64 {
        self.key_hash("throttle", &rule.id, Some(key), AlertId { record: 0, index: 0 })
    }

    /// Hash of a rule's key; an alert that lacks a key field (`None`) has a key of its own.
    pub(crate) fn key_hash(&self, stage: &str, rule: &str, key: Option<&Key>, alert: AlertId) -> u64 {
        let text = match key {
            Some(key) => serde_json::to_string(key).expect("lists of strings are JSON"),
            None => format!("alone {alert}"),
        };
        self.hash(&[stage, rule, &text])
    }
}
