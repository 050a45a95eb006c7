//! What operators tell the daemon to do, as the journal keeps it: with who and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::alert::Status;
use crate::domain::approval::ApprovalOrder;
use crate::domain::decision::{AlertRef, RuleRef};
use crate::domain::effect::{EffectKey, Mode};
use crate::domain::hold::HoldOrder;
use crate::domain::id::{AlertId, RunId};
use crate::domain::mail::Digest;
use crate::domain::recipient::RecipientOrder;
use crate::domain::silence::SilenceOrder;
use crate::domain::token::{Caller, TokenOrder};
use crate::domain::triage::AlertChange;

/// An operator's order, carried out by this entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operator {
    /// Who gave it, as the control socket knows the peer: `name (uid 1000)`.
    pub actor: String,
    /// Where the order came from, when it came over a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Why, in the operator's words; empty where the order speaks for itself.
    pub comment: String,
    /// What to do.
    pub order: Order,
}

/// Who gives an order, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The name: of the user at the control socket, or of a token.
    pub actor: String,
    /// Where it came from, over a network.
    pub address: Option<String>,
}

impl From<Caller> for Who {
    fn from(caller: Caller) -> Self {
        Self { actor: caller.name, address: caller.address }
    }
}

/// What an operator can order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// An open, failed or stalled run ends for good; requests under way are not called back.
    RunCancel {
        /// Which.
        run: RunId,
    },
    /// The playbook runs anew for the same trigger, from the top and on today's bundle, as another run.
    RunRestart {
        /// The run that it repeats.
        run: RunId,
        /// The run that starts.
        starts: RunId,
        /// What the first one was started for.
        alerts: Vec<AlertRef>,
        /// Id of the bundle that it begins with.
        bundle: String,
        /// What it tells whom, when it is a digest's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Box<Digest>>,
    },
    /// A failed or stalled run goes on from its recorded steps, on its own bundle.
    RunRetry {
        /// Which.
        run: RunId,
        /// Last steps whose effects had failed and are sent again, under their own keys.
        again: Vec<u32>,
    },
    /// An effect that ended without success is sent again, under its own key.
    DeliveryRetry {
        /// Which.
        key: EffectKey,
        /// Whose.
        run: RunId,
        /// Which step.
        step: u32,
        /// Sequence number of the `intent` entry that holds the request.
        intent: u64,
        /// Sequence number of the entry that started the run.
        began: u64,
        /// Sequence number of the `result` entry that this order answers.
        result: u64,
        /// Name of the destination.
        destination: String,
        /// What to do when it is unclear whether it arrived.
        mode: Mode,
        /// The receiver is to be asked first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_doubt: bool,
        /// What the attempts have to know of the earlier ones: the recipients that took the mail already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<Value>,
    },
    /// An alert is changed.
    Alert {
        /// Which.
        alert: AlertId,
        /// Where it stood before.
        was: Status,
        /// What is changed.
        change: AlertChange,
        /// Who is told of a change of status.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_status: Option<Box<OnStatus>>,
    },
    /// A silence is made, changed or ended.
    Silence(SilenceOrder),
    /// A token becomes valid, or is taken back.
    Token(TokenOrder),
    /// One marked message is sent to a destination.
    DestinationTest {
        /// Name of the destination.
        destination: String,
    },
    /// An approval is decided.
    Approval(ApprovalOrder),
    /// Something is put on hold, or goes out again.
    Hold(HoldOrder),
    /// The daemon does something with itself.
    Upkeep(Upkeep),
    /// An address gets no mails any more, or gets them again.
    Recipient(RecipientOrder),
    /// Quarantined records are given up: none of them is sent through again, and retention need not keep them.
    QuarantineDiscard {
        /// Their ordinals, in order.
        records: Vec<u64>,
    },
    /// A playbook is started by hand for an alert, on today's bundle.
    RunStart {
        /// The alert.
        alert: AlertRef,
        /// The run.
        starts: RunId,
        /// Id of the bundle that it begins with.
        bundle: String,
    },
}

/// What a daemon does with itself once somebody orders it. The entry says that it was ordered; what came of it is in the entries
/// behind it, where it changes what is on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Upkeep {
    /// It loads rules and playbooks anew.
    Reload,
    /// It signs the journal with a new key from then on.
    KeyRotate,
    /// It builds the index anew.
    IndexRebuild,
    /// It sends sample alerts through every stage.
    Samples {
        /// Of these formats; none means of all.
        formats: Vec<String>,
    },
    /// It sends one marked record to an export's peer.
    ExportTest {
        /// Name of the export.
        export: String,
    },
    /// It sends a quarantined record through again.
    QuarantineRetry {
        /// Ordinal of the record.
        record_no: u64,
    },
}

/// The runs of `on_status` that a change of status starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OnStatus {
    /// The alert's latest body.
    pub alert: AlertRef,
    /// Id of the bundle that they begin with.
    pub bundle: String,
    /// The routes that take the alert and name playbooks for it.
    pub routes: Vec<Hearing>,
}

/// A route that wants to hear of changes of status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hearing {
    /// Which.
    pub rule: RuleRef,
    /// The runs that it starts; a playbook that two routes name starts once.
    pub runs: Vec<RunId>,
}

impl OnStatus {
    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &RunId> {
        self.starts().map(|(_, run)| run)
    }

    /// All runs, each with its route.
    pub fn starts(&self) -> impl Iterator<Item = (&RuleRef, &RunId)> {
        self.routes.iter().flat_map(|route| route.runs.iter().map(move |run| (&route.rule, run)))
    }
}

impl Order {
    /// The runs that it is about.
    pub fn runs(&self) -> Vec<&RunId> {
        match self {
            Self::RunRestart { run, starts, .. } => vec![run, starts],
            Self::RunCancel { run } | Self::RunRetry { run, .. } | Self::DeliveryRetry { run, .. } => vec![run],
            Self::RunStart { starts, .. } => vec![starts],
            Self::Alert { on_status, .. } => on_status.iter().flat_map(|told| told.runs()).collect(),
            Self::Approval(order) => vec![&order.run],
            Self::Silence(_)
            | Self::Token(_)
            | Self::Hold(_)
            | Self::Recipient(_)
            | Self::DestinationTest { .. }
            | Self::QuarantineDiscard { .. }
            | Self::Upkeep(_) => Vec::new(),
        }
    }
}

impl Operator {
    /// The name alone of who gave it: `ann` of `ann (uid 1000)`.
    pub fn name(&self) -> &str {
        name(&self.actor)
    }
}

/// The name alone of an actor: `ann` of `ann (uid 1000)`.
pub fn name(actor: &str) -> &str {
    actor.split_once(" (uid ").map_or(actor, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use crate::domain::entry::Facts;

    #[test]
    fn the_written_form_stays() {
        for order in [
            r#"{"run_cancel":{"run":"a-1.0/p"}}"#,
            r#"{"run_start":{"alert":{"id":"a-1.0","seq":3,"at":0},"starts":"a-1.0/p","bundle":"b"}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"active","change":{"status":{"to":"dismissed","reason":"false_positive"}}}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"resolved","change":{"status":{"to":"in_progress"}}}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"active","change":"comment"}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"active","change":{"status":{"to":"in_progress"}},"on_status":{"alert":{"id":"a-1.0","seq":3,"at":0},"bundle":"b","routes":[{"rule":{"id":"r","place":"rules/route/r.yaml:2"},"runs":["a-1.0@9/p"]}]}}}"#,
            r#"{"silence":{"add":{"id":"s-1","match":["kind=x","host=~^web"],"until":"2030-01-01T04:00:00Z"}}}"#,
            r#"{"silence":{"update":{"id":"s-1","until":"2030-01-01T05:00:00Z"}}}"#,
            r#"{"silence":{"expire":{"id":"s-1"}}}"#,
            r#"{"token":{"add":{"name":"edr","role":"source","sha256":"00ff","expires":"2030-01-01T00:00:00Z"}}}"#,
            r#"{"token":{"revoke":{"name":"edr"}}}"#,
            r#"{"destination_test":{"destination":"oncall"}}"#,
            r#"{"upkeep":"reload"}"#,
            r#"{"upkeep":"key_rotate"}"#,
            r#"{"upkeep":"index_rebuild"}"#,
            r#"{"upkeep":{"export_test":{"export":"siem"}}}"#,
            r#"{"upkeep":{"samples":{"formats":["falco"]}}}"#,
            r#"{"upkeep":{"quarantine_retry":{"record_no":17}}}"#,
            r#"{"quarantine_discard":{"records":[17,18]}}"#,
            r#"{"hold":{"on":"everything"}}"#,
            r#"{"hold":{"off":{"destination":"edr"}}}"#,
            r#"{"hold":{"on":{"playbook":"isolate"}}}"#,
            r#"{"recipient":{"unsubscribe":{"address":"ann@example.com","destination":"oncall","link":true}}}"#,
            r#"{"recipient":{"unsubscribe":{"address":"ann@example.com"}}}"#,
            r#"{"recipient":{"subscribe":{"address":"ann@example.com"}}}"#,
            r#"{"approval":{"approval":"ap-1","run":"a-1.0/p","step":2,"choice":"approve"}}"#,
            r#"{"approval":{"approval":"ap-1","run":"a-1.0/p","step":2,"choice":"deny","link":true}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"active","change":{"tags":{"add":["x"],"remove":["y"]}}}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"active","change":{"assign":{"to":"bo"}}}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"active","change":{"assign":{"to":null}}}}"#,
            r#"{"alert":{"alert":"a-1.0","was":"active","change":{"feedback":{"useful":false,"reason":"too_many"}}}}"#,
            r#"{"run_restart":{"run":"a-1.0/p","starts":"a-1.0/p~2","alerts":[{"id":"a-1.0","seq":3,"at":0}],"bundle":"b"}}"#,
            r#"{"run_retry":{"run":"g-1/p","again":[4]}}"#,
            r#"{"delivery_retry":{"key":"abc","run":"a-1.0/p","step":2,"intent":7,"began":3,"result":9,"destination":"d","mode":"probe","in_doubt":true}}"#,
        ] {
            let text = format!(r#"{{"actor":"ann (uid 1000)","comment":"why","order":{order}}}"#);
            let facts = Facts::parse("operator", &text).unwrap();
            assert_eq!(facts.kind(), "operator");
            assert_eq!(facts.data(), text);
        }
        let remote = r#"{"actor":"ann","address":"192.0.2.7","comment":"","order":{"run_cancel":{"run":"a-1.0/p"}}}"#;
        assert_eq!(Facts::parse("operator", remote).unwrap().data(), remote);
    }
}
