//! Sample alerts: a record of each shipped format that goes the whole way, marked so that nobody takes it for real.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::daemon::bundle::Bundle;
use crate::daemon::clock;
use crate::daemon::core::Message;
use crate::daemon::prepare::{self, Prepared};
use crate::domain::alert::Alert;
use crate::domain::id::AlertId;
use crate::domain::record::{Position, Record};
use crate::engine::input::Input;
use crate::sources::intake::Answer;

/// The source that samples come from.
pub const SOURCE: &str = "samples";

/// The tag of every sample.
pub const TAG: &str = "sample";

/// What the title of every sample begins with.
pub const TITLE: &str = "[sample]";

/// One record of each shipped format.
pub const SAMPLES: [(&str, &str); 15] = [
    ("alertmanager", include_str!("../../tests/samples/alertmanager/kubernetes.json")),
    ("crowdsec", include_str!("../../tests/samples/crowdsec/ssh_brute_force.json")),
    ("defender-eventhub", include_str!("../../tests/samples/defender-eventhub/suspicious_ip.json")),
    ("defender-rest", include_str!("../../tests/samples/defender-rest/process.json")),
    ("elastic", include_str!("../../tests/samples/elastic/process.json")),
    ("falco", include_str!("../../tests/samples/falco/shell_in_container.json")),
    ("graph-alerts-v2", include_str!("../../tests/samples/graph-alerts-v2/registry.json")),
    ("guardduty", include_str!("../../tests/samples/guardduty/ssh_brute_force.json")),
    ("ocsf-detection-finding", include_str!("../../tests/samples/ocsf-detection-finding/network.json")),
    ("rsigma", include_str!("../../tests/samples/rsigma/whoami.json")),
    ("security-hub", include_str!("../../tests/samples/security-hub/instance_network.json")),
    ("sentinel-incident", include_str!("../../tests/samples/sentinel-incident/phishing.json")),
    ("soard", include_str!("../../tests/samples/soard/login.json")),
    ("suricata-eve", include_str!("../../tests/samples/suricata-eve/trojan_http.json")),
    ("wazuh", include_str!("../../tests/samples/wazuh/ssh_brute_force.json")),
];

/// Samples to send.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Samples")]
pub struct Ask {
    /// Of these formats; none means of all.
    pub formats: Vec<String>,
    /// Why; it stands in the journal beside the name.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    pub comment: String,
}

/// What became of samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SamplesReport {
    /// Those that are on record.
    pub sent: Vec<Sent>,
    /// Those that are not.
    pub failed: Vec<Failed>,
}

/// A sample that is on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SampleSent")]
pub struct Sent {
    /// Its format.
    pub format: String,
    /// The alerts that it gave.
    pub alerts: Vec<AlertId>,
}

/// A sample that is not on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SampleFailed")]
pub struct Failed {
    /// Its format.
    pub format: String,
    /// Why.
    pub why: String,
}

/// Sends samples through every stage, as somebody's.
pub async fn send(
    bundle: Arc<Bundle>,
    core: mpsc::Sender<Message>,
    formats: Vec<String>,
    actor: String,
) -> SamplesReport {
    let mut report = SamplesReport::default();
    let unknown = formats.iter().filter(|name| SAMPLES.iter().all(|(known, _)| known != name));
    report.failed.extend(unknown.map(|name| Failed { format: name.clone(), why: "there is no sample of it".into() }));
    let wanted = SAMPLES.iter().filter(|(format, _)| formats.is_empty() || formats.iter().any(|name| name == format));
    for (format, record) in wanted {
        let format = (*format).to_owned();
        match one(&bundle, &core, &format, record, &actor).await {
            Ok(alerts) => report.sent.push(Sent { format, alerts }),
            Err(why) => report.failed.push(Failed { format, why }),
        }
    }
    report
}

async fn one(
    bundle: &Bundle,
    core: &mpsc::Sender<Message>,
    format: &str,
    record: &str,
    actor: &str,
) -> Result<Vec<AlertId>, String> {
    let gone = || "the daemon is stopping".to_owned();
    let input = marked(bundle, format, record, actor)?;
    let (to, answer) = oneshot::channel();
    core.send(Message::Input(input, Some(to))).await.map_err(|_| gone())?;
    match answer.await.map_err(|_| gone())? {
        Answer::Accepted { alerts, .. } => Ok(alerts.iter().filter_map(|id| id.parse().ok()).collect()),
        Answer::Ignored { why } | Answer::Quarantined { cause: why, .. } => Err(why),
        Answer::Full => Err("the disk is full".into()),
        Answer::Busy => Err("too many runs are open".into()),
        Answer::Stopped => Err(gone()),
    }
}

/// A sample, prepared like any record, and then marked and matched as it is marked.
fn marked(bundle: &Bundle, format: &str, record: &str, actor: &str) -> Result<Input, String> {
    let position = Position::Sample { by: actor.into() };
    let record = Record { source: SOURCE.into(), bytes: record.as_bytes().to_vec(), position };
    let mut arrival = match prepare::prepare(bundle, record, Some(format)) {
        Prepared::Input(Input::Intake(arrival), _) => arrival,
        Prepared::Input(Input::Refused { cause, .. }, _) => return Err(cause),
        Prepared::Input(other, _) => return Err(format!("it became {other:?}")),
        Prepared::NotAnAlert(why) => return Err(why),
    };
    let stamp = clock::now().as_microsecond();
    for candidate in &mut arrival.alerts {
        mark(&mut candidate.alert, stamp);
        candidate.matches = bundle.rules.matches(&candidate.alert);
    }
    Ok(Input::Intake(arrival))
}

/// Says that it is a sample, and makes it one of its own: it shall not fold into the last one that was sent.
fn mark(alert: &mut Alert, stamp: i64) {
    alert.title = format!("{TITLE} {}", alert.title);
    if !alert.tags.iter().any(|tag| tag == TAG) {
        alert.tags.push(TAG.into());
    }
    for identity in [&mut alert.external_id, &mut alert.fingerprint].into_iter().flatten() {
        identity.push_str(&format!(" sample {stamp}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::daemon::bundle;

    #[test]
    fn each_shipped_format_has_a_sample_that_it_takes_and_that_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let routes = folder.path().join("rules/route");
        std::fs::create_dir_all(&routes).unwrap();
        std::fs::write(routes.join("main.yaml"), "default_route: none\n").unwrap();
        let loaded = bundle::compile(bundle::read_folder(folder.path()).unwrap(), None, None);
        let bundle = loaded.bundle.expect("the shipped content is good");
        let shipped: BTreeSet<&str> = bundle.formats.names().collect();
        assert_eq!(SAMPLES.iter().map(|(format, _)| *format).collect::<BTreeSet<_>>(), shipped);
        for (format, record) in SAMPLES {
            let Ok(Input::Intake(arrival)) = marked(&bundle, format, record, "ann") else { panic!("{format}") };
            assert_eq!(arrival.format, format);
            assert!(!arrival.alerts.is_empty(), "{format}");
            for candidate in &arrival.alerts {
                let alert = &candidate.alert;
                assert!(alert.title.starts_with("[sample] ") && alert.tags.contains(&"sample".to_owned()), "{alert:?}");
                assert!(alert.status.is_open(), "{format}: nothing would be started for it");
                let identity = alert.external_id.as_ref().or(alert.fingerprint.as_ref());
                assert!(identity.is_none_or(|identity| identity.contains(" sample ")), "{identity:?}");
            }
        }
    }
}
