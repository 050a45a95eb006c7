//! What operators tell the daemon to do, as the journal keeps it: with who and why.

use serde::{Deserialize, Serialize};

use crate::domain::decision::AlertRef;
use crate::domain::effect::EffectKey;
use crate::domain::id::RunId;

/// An operator's order, carried out by this entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Who gave it, as the control socket knows the peer: `name (uid 1000)`.
    pub actor: String,
    /// Why, in the operator's words.
    pub comment: String,
    /// What to do.
    pub order: Order,
}

/// What an operator can order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    },
}

#[cfg(test)]
mod tests {
    use crate::domain::entry::Facts;

    #[test]
    fn the_written_form_stays() {
        for order in [
            r#"{"run_cancel":{"run":"a-1.0/p"}}"#,
            r#"{"run_restart":{"run":"a-1.0/p","starts":"a-1.0/p~2","alerts":[{"id":"a-1.0","seq":3,"at":0}],"bundle":"b"}}"#,
            r#"{"run_retry":{"run":"g-1/p","again":[4]}}"#,
            r#"{"delivery_retry":{"key":"abc","run":"a-1.0/p","step":2,"intent":7}}"#,
        ] {
            let text = format!(r#"{{"actor":"ann (uid 1000)","comment":"why","order":{order}}}"#);
            let facts = Facts::parse("operator", &text).unwrap();
            assert_eq!(facts.kind(), "operator");
            assert_eq!(facts.data(), text);
        }
    }
}
