//! Journal entries: the facts that one input gave. Recovery applies them and never decides again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::domain::alert::Alert;
use crate::domain::approval::{ApprovalRequest, Choice};
use crate::domain::decision::{AlertRef, Decision, Key, RuleRef};
use crate::domain::effect::{Effect, EffectKey, Mode, Reply};
use crate::domain::id::{AlertId, ApprovalId, GroupId, RunId};
use crate::domain::mail::{Digest, MailPlan};
use crate::domain::operator::Operator;
use crate::domain::record::{Body, Position};

/// One entry before and after it stands in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// When the daemon took the input; never goes backwards.
    pub at: Timestamp,
    /// What happened.
    pub facts: Facts,
}

/// Everything that can happen. In the journal the variant is `k`, its content is `d`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", content = "d", rename_all = "snake_case")]
pub enum Facts {
    /// The daemon opened, recovered or closed the journal.
    Log(Log),
    /// A bundle took over; decisions after this entry are its decisions.
    Bundle(BundleFacts),
    /// A record became alerts, and they were decided.
    Intake(Box<Intake>),
    /// A record that no format took, or that failed.
    Quarantine(Quarantine),
    /// An instant came that something waited for.
    Due(Due),
    /// A run asks for effects; nothing leaves before this entry is durable.
    Intent(Intent),
    /// An attempt that must never be repeated is about to start.
    Begin(Begin),
    /// An attempt failed and another will follow.
    Attempt(Attempt),
    /// An effect's outcome.
    Result(StepResult),
    /// A run ended.
    Run(RunEnd),
    /// An operator told the daemon to do something.
    Operator(Operator),
}

/// The journal's own life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// A daemon starts to write.
    Opened {
        /// Random id of this journal, made when it was empty and repeated at each opening.
        journal: String,
        /// Version of soard.
        version: String,
    },
    /// The daemon stopped in good order.
    Closed,
    /// A torn tail was cut off at recovery; acknowledged entries are not touched by that.
    Recovered {
        /// Bytes moved aside.
        bytes: u64,
        /// Their SHA-256, in hex.
        sha256: String,
        /// The side file's name.
        file: String,
    },
    /// From here on this key signs checkpoints.
    Key {
        /// The public key, as a verifier key of C2SP's signed notes.
        verifier: String,
        /// The one that signed before; it also signs the first checkpoint over this entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
    },
    /// The oldest segments were dropped. What they added up to is the base that a start begins with.
    Dropped {
        /// Why: `age` or `size`.
        policy: String,
        /// What is left of them, oldest first.
        segments: Vec<Seal>,
        /// The journal's random id.
        journal: String,
        /// The public key that signed at the last entry of them.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        signed_by: String,
        /// Bundles that entries behind them may name and that no entry behind them introduces.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bundles: Vec<BundleName>,
        /// Failed and stalled runs that cannot go on any more, since it needs what was dropped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        runs: Vec<RunId>,
        /// Dead letters that cannot be sent again any more, for the same reason.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        letters: Vec<EffectKey>,
        /// SHA-256 of the base, in hex; empty in entries of before it was kept.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        base: String,
    },
    /// A segment was compressed: its archive unpacks to the same bytes.
    Archived {
        /// Its first entry.
        first: u64,
        /// Its last entry.
        last: u64,
        /// How long it was, in bytes.
        bytes: u64,
        /// How long the archive is, in bytes.
        packed: u64,
    },
    /// An operator gave up what stood behind a damage.
    Repaired {
        /// Where and how the journal was damaged, in words.
        damage: String,
        /// The first entry that was given up.
        from: u64,
        /// The last one that is known of; less than `from` when none is.
        to: u64,
        /// Bytes of segments moved aside.
        bytes: u64,
        /// The side files' names.
        files: Vec<String>,
        /// The key at hand, where the one that is in charge by what was kept is not: from here on it signs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
}

/// What is left of a dropped segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// Its first entry.
    pub first: u64,
    /// Its last entry.
    pub last: u64,
    /// Hash of its first entry, in hex.
    pub first_hash: String,
    /// Hash of its last entry, in hex: `prev` of the entry behind it.
    pub hash: String,
    /// How long it was.
    pub bytes: u64,
    /// Time of its first entry.
    pub from: Timestamp,
    /// Time of its last entry.
    pub until: Timestamp,
}

/// A bundle as the journal names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BundleFacts {
    /// SHA-256 over the bundle's files, in hex; names a folder below `bundles/`.
    pub id: String,
    /// The git commit that the folder was at, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// How many rules, formats and playbooks, for people.
    pub counts: BTreeMap<String, usize>,
}

/// A bundle by name alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleName {
    /// SHA-256 over its files, in hex.
    pub id: String,
    /// The git commit, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// One record, what it became and what was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intake {
    /// Counts records, from 1; part of the ids of its alerts.
    pub record_no: u64,
    /// Name of the source.
    pub source: String,
    /// Where the record lay.
    pub position: Position,
    /// The record, verbatim.
    pub record: Body,
    /// Name of the format that took it.
    pub format: String,
    /// The bundle that decided: the first digits of its id; it is the one in charge at this entry.
    pub bundle: String,
    /// Its alerts, in the record's order. Empty when the record was delivered before, or says nothing new.
    pub alerts: Vec<Taken>,
    /// Ordinal of the record that this one is a redelivery of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivery_of: Option<u64>,
}

/// One alert of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// The alert's id: a new one, or that of the alert it folded into.
    pub id: AlertId,
    /// JSON pointer (RFC 6901) of the alert's part within the record; empty is the whole record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// The alert, without `raw`.
    pub alert: Alert,
    /// 64-bit hash of what identifies it, in hex: source and external id, or source, format and fingerprint.
    pub identity: String,
    /// When that identity is forgotten; `None`: while the alert is retained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_until: Option<Timestamp>,
    /// What became of it.
    pub decision: Decision,
}

/// A record kept aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Ordinal of the record.
    pub record_no: u64,
    /// Name of the source.
    pub source: String,
    /// Where the record lay.
    pub position: Position,
    /// The record, verbatim.
    pub record: Body,
    /// Why, in words.
    pub cause: String,
}

/// What an instant set off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// A group closed and its playbooks start.
    Group {
        /// Which.
        group: GroupId,
        /// The route that gathered it.
        rule: RuleRef,
        /// Its alerts, in order of arrival.
        alerts: Vec<AlertRef>,
        /// The runs that start.
        runs: Vec<RunId>,
        /// Id of the bundle that opened the group: the runs' bundle.
        bundle: String,
        /// What waits for whom, when it is a digest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Box<Digest>>,
    },
    /// A `sleep` is over.
    Timer {
        /// Whose.
        run: RunId,
        /// Which step.
        step: u32,
    },
    /// Nobody decided an approval in time.
    Approval {
        /// Which.
        approval: ApprovalId,
        /// Whose.
        run: RunId,
        /// Which step.
        step: u32,
        /// What it is decided to be.
        choice: Choice,
    },
    /// The next attempt of an effect may start.
    Retry {
        /// Which.
        key: EffectKey,
    },
    /// A throttle's window ended with a surplus.
    Throttle {
        /// The route.
        rule: RuleRef,
        /// The values that make the key.
        key: Key,
        /// How many alerts it held back.
        surplus: u64,
        /// The window's hash, in hex, where the state knows the key in part only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<String>,
    },
}

/// What a run asks for: the steps that one evaluation added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Which run.
    pub run: RunId,
    /// The new steps, in program order.
    pub steps: Vec<Step>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Number in program order, from 0.
    pub n: u32,
    /// What is asked for.
    pub effect: Effect,
    /// SHA-256 of kind and arguments as the script gave them, in hex; a replay that differs stalls the run.
    pub args_sha256: String,
    /// Key of an effect that leaves the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<EffectKey>,
    /// What to do when it is unclear whether it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What people are asked before it goes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ApprovalRequest>,
    /// Who gets a mail now, who later, and who not; a mail without it went to all recipients of its destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailPlan>,
    /// It counts for its destination's limit in the window that ends then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_until: Option<Timestamp>,
    /// It counts for its playbook's limit in the window that ends then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook_counts_until: Option<Timestamp>,
    /// The outcome of a step that soard answers itself; the others get a `result` entry.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// Reads a value that is there, `null` included, as given: a step that was answered with nothing has its answer.
///
/// # Errors
/// When it is no JSON.
pub fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// The start of an attempt at an `at_most_once` effect. Without this entry it was never sent; with it and without an
/// outcome nobody knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// Which effect.
    pub key: EffectKey,
    /// Which attempt, from 1.
    pub n: u32,
}

/// A failed attempt with another to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which effect.
    pub key: EffectKey,
    /// Which attempt, from 1.
    pub n: u32,
    /// What went wrong.
    pub error: String,
    /// HTTP status or SMTP reply code, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// It may have arrived all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ambiguous: bool,
    /// When the next attempt is due.
    pub next: Timestamp,
    /// What the next attempt has to know of this one: the recipients that took the mail already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
}

/// The outcome of a step that left the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// Which run.
    pub run: RunId,
    /// Which step.
    pub step: u32,
    /// Which effect.
    pub key: EffectKey,
    /// How many attempts it took.
    pub attempts: u32,
    /// The outcome.
    pub reply: Reply,
    /// An operator had it sent again: the run went on with the outcome before, and this one changes nothing for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resent: bool,
}

/// How a run ended, with the steps that its last evaluation added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Which run.
    pub run: RunId,
    /// Steps answered by soard itself since the last intent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// How.
    pub end: End,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RunEnd")]
pub enum End {
    /// The script returned.
    Finished {
        /// What it returned.
        value: Value,
    },
    /// The script threw, or broke a limit.
    Failed {
        /// What went wrong.
        error: String,
        /// `file:line:column` in the bundle, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
    },
    /// A replay asked for something else than what is on record: nothing more is done, an operator has to look.
    Stalled {
        /// Which step.
        step: u32,
        /// What the journal has.
        expected: String,
        /// What the replay asked for.
        got: String,
    },
}

impl Facts {
    /// The entry's kind: `k` in the journal.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Log(_) => "log",
            Self::Bundle(_) => "bundle",
            Self::Intake(_) => "intake",
            Self::Quarantine(_) => "quarantine",
            Self::Due(_) => "due",
            Self::Intent(_) => "intent",
            Self::Begin(_) => "begin",
            Self::Attempt(_) => "attempt",
            Self::Result(_) => "result",
            Self::Run(_) => "run",
            Self::Operator(_) => "operator",
        }
    }

    /// The entry's content as compact JSON: `d` in the journal.
    pub fn data(&self) -> String {
        let text = match self {
            Self::Log(d) => serde_json::to_string(d),
            Self::Bundle(d) => serde_json::to_string(d),
            Self::Intake(d) => serde_json::to_string(d),
            Self::Quarantine(d) => serde_json::to_string(d),
            Self::Due(d) => serde_json::to_string(d),
            Self::Intent(d) => serde_json::to_string(d),
            Self::Begin(d) => serde_json::to_string(d),
            Self::Attempt(d) => serde_json::to_string(d),
            Self::Result(d) => serde_json::to_string(d),
            Self::Run(d) => serde_json::to_string(d),
            Self::Operator(d) => serde_json::to_string(d),
        };
        text.expect("facts are plain data with string keys")
    }

    /// Reads an entry's kind and content back.
    ///
    /// # Errors
    /// When the kind is unknown or the content does not have its shape.
    pub fn parse(kind: &str, data: &str) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            "log" => Self::Log(serde_json::from_str(data)?),
            "bundle" => Self::Bundle(serde_json::from_str(data)?),
            "intake" => Self::Intake(serde_json::from_str(data)?),
            "quarantine" => Self::Quarantine(serde_json::from_str(data)?),
            "due" => Self::Due(serde_json::from_str(data)?),
            "intent" => Self::Intent(serde_json::from_str(data)?),
            "begin" => Self::Begin(serde_json::from_str(data)?),
            "attempt" => Self::Attempt(serde_json::from_str(data)?),
            "result" => Self::Result(serde_json::from_str(data)?),
            "run" => Self::Run(serde_json::from_str(data)?),
            "operator" => Self::Operator(serde_json::from_str(data)?),
            other => return Err(serde::de::Error::custom(format!("unknown kind of entry {other:?}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_answered_with_nothing_is_not_open() {
        let step = r#"{"n":0,"effect":{"log":{"level":"info","text":"x"}},"args_sha256":"a","value":null}"#;
        let text = format!(r#"{{"run":"a-1.0/p","steps":[{step}]}}"#);
        let Facts::Intent(intent) = Facts::parse("intent", &text).unwrap() else { panic!() };
        assert_eq!(intent.steps[0].value, Some(Value::Null));
        assert_eq!(Facts::Intent(intent).data(), text);
    }
}
