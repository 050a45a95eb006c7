//! Ids come from counters in the state, so that the same inputs give the same ids.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An id that does not have its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadId {
    pub(super) text: String,
    pub(super) expected: &'static str,
}

/// An alert: ordinal of its record and index within it, written `a-1042.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId {
    /// Ordinal of the record that first gave the alert, from 1.
    pub record: u64,
    /// Index within that record, from 0.
    pub index: u32,
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a-{}.{}", self.record, self.index)
    }
}

impl FromStr for AlertId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let parse = || {
            let (record, index) = text.strip_prefix("a-")?.split_once('.')?;
            Some(Self { record: record.parse().ok()?, index: index.parse().ok()? })
        };
        parse().ok_or_else(|| BadId { text: text.into(), expected: "an alert id such as a-1042.0" })
    }
}

/// A group of alerts that a route gathers, written `g-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g-{}", self.0)
    }
}

impl FromStr for GroupId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let number = text.strip_prefix("g-").and_then(|n| n.parse().ok());
        number.map(Self).ok_or_else(|| BadId { text: text.into(), expected: "a group id such as g-17" })
    }
}

/// An operator's silence, written `s-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SilenceId(pub u64);

impl fmt::Display for SilenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s-{}", self.0)
    }
}

impl FromStr for SilenceId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let number = text.strip_prefix("s-").and_then(|n| n.parse().ok());
        number.map(Self).ok_or_else(|| BadId { text: text.into(), expected: "a silence id such as s-3" })
    }
}

/// A question that a playbook asks people, written `ap-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApprovalId(pub u64);

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ap-{}", self.0)
    }
}

impl FromStr for ApprovalId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let number = text.strip_prefix("ap-").and_then(|n| n.parse().ok());
        number.map(Self).ok_or_else(|| BadId { text: text.into(), expected: "an approval id such as ap-3" })
    }
}

/// What a run was started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// One alert: the playbook's `on_alert`.
    Alert(AlertId),
    /// A closed group: the playbook's `on_group`.
    Group(GroupId),
    /// A change of an alert's status by an operator, with the entry that holds it, written `a-1042.0@57`: the playbook's `on_status`.
    Status(AlertId, u64),
}

impl Trigger {
    /// The alert or group that it is about.
    #[must_use]
    pub fn about(self) -> Self {
        match self {
            Self::Status(alert, _) => Self::Alert(alert),
            other => other,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(id) => id.fmt(f),
            Self::Group(id) => id.fmt(f),
            Self::Status(id, seq) => write!(f, "{id}@{seq}"),
        }
    }
}

impl FromStr for Trigger {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        if text.starts_with("g-") {
            return text.parse().map(Self::Group);
        }
        let Some((alert, seq)) = text.split_once('@') else { return text.parse().map(Self::Alert) };
        let bad = || BadId { text: text.into(), expected: "a change of status such as a-1042.0@57" };
        Ok(Self::Status(alert.parse()?, seq.parse().map_err(|_| bad())?))
    }
}

/// One execution of a playbook, written `a-1042.0/notify-email`. One trigger starts a playbook once; when an operator
/// restarts it, that is another run with keys of its own, written `a-1042.0/notify-email~2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    /// What it was started for.
    pub trigger: Trigger,
    /// Name of the playbook, without `.rhai`.
    pub playbook: String,
    /// 1, or the count of an operator's restarts plus 1.
    pub attempt: u32,
}

impl RunId {
    /// The run that a route starts.
    pub fn first(trigger: Trigger, playbook: impl Into<String>) -> Self {
        Self { trigger, playbook: playbook.into(), attempt: 1 }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.trigger, self.playbook)?;
        if self.attempt > 1 { write!(f, "~{}", self.attempt) } else { Ok(()) }
    }
}

impl FromStr for RunId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId { text: text.into(), expected: "a run id such as a-1042.0/notify-email" };
        let (trigger, playbook) = text.split_once('/').ok_or_else(bad)?;
        let (playbook, attempt) = match playbook.split_once('~') {
            Some((playbook, attempt)) => (playbook, attempt.parse().ok().filter(|n| *n > 1).ok_or_else(bad)?),
            None => (playbook, 1),
        };
        if playbook.is_empty() {
            return Err(bad());
        }
        Ok(Self { trigger: trigger.parse().map_err(|_| bad())?, playbook: playbook.into(), attempt })
    }
}

/// Serialises an id as its text form, which has this pattern.
macro_rules! as_text {
    ($($id:ident $pattern:literal),*) => {$(
        impl JsonSchema for $id {
            fn schema_name() -> Cow<'static, str> {
                stringify!($id).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(
    AlertId "^a-[0-9]{1,20}\\.[0-9]{1,10}$",
    ApprovalId "^ap-[0-9]{1,20}$",
    GroupId "^g-[0-9]{1,20}$",
    RunId "^(a-[0-9]{1,20}\\.[0-9]{1,10}(@[0-9]{1,20})?|g-[0-9]{1,20})/[^/~]+(~[0-9]{1,10})?$",
    SilenceId "^s-[0-9]{1,20}$",
    Trigger "^(a-[0-9]{1,20}\\.[0-9]{1,10}(@[0-9]{1,20})?|g-[0-9]{1,20})$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_are_written() {
        for text in ["a-1042.0/notify-email", "g-17/chat", "g-17/chat~2", "a-1042.0@57/tell", "a-1042.0@57/tell~2"] {
            assert_eq!(text.parse::<RunId>().unwrap().to_string(), text);
        }
        for text in [
            "a-1",
            "a-1.x/p",
            "g-1",
            "x-1.0/p",
            "a-1.0/",
            "a-1.0/p~1",
            "a-1.0/p~x",
            "a-1.0/~2",
            "a-1.0@/p",
            "a-1.0@x/p",
            "g-1@2/p",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
