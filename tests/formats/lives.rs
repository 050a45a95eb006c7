//! Alerts over time, through what the daemon runs: what the source resolves is resolved, repeats fold into the alert
//! that they repeat, and another finding is another alert.

use std::fs;

use serde_json::{Value, json};
use soard::domain::entry::Taken;

use super::corpus::root;
use super::variants::{Fate, Pipeline, bundle};

/// JSON pointers and what stands there instead; null takes the value away.
type Edit = (&'static str, &'static str);
type Edits = &'static [Edit];

fn edited(sample: &str, edits: &[(&str, &str)]) -> Value {
    let mut record: Value =
        serde_json::from_slice(&fs::read(root().join("tests/samples").join(sample)).unwrap()).unwrap();
    for (pointer, value) in edits {
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        match record.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                let parent = record.pointer_mut(parent).unwrap_or_else(|| panic!("{sample} has no {parent}"));
                parent.as_object_mut().unwrap().insert(key.into(), value);
            }
        }
    }
    record
}

/// The first alert of a record.
fn first(pipeline: &mut Pipeline<'_>, record: &Value, what: &str) -> Taken {
    match pipeline.take(record.to_string().as_bytes(), None) {
        Fate::Alerts(intake) => intake.alerts.into_iter().next().unwrap(),
        _ => panic!("{what} became no alert"),
    }
}

/// Sample, how it looks while it is open, how its product says that it is over, and what it is then.
const ENDS: &[(&str, Edits, Edits, &str)] = &[
    ("alertmanager/firing_and_resolved.json", &[], &[("/alerts/0/status", "resolved")], "resolved"),
    (
        "alertmanager/grafana.json",
        &[],
        &[("/alerts/0/status", "resolved"), ("/alerts/0/endsAt", "2026-03-04T16:00:00Z")],
        "resolved",
    ),
    ("defender-eventhub/suspicious_ip.json", &[], &[("/Status", "Resolved")], "resolved"),
    ("defender-eventhub/suspicious_ip.json", &[], &[("/Status", "Dismissed")], "dismissed"),
    ("defender-rest/brute_force.json", &[], &[("/properties/status", "Resolved")], "resolved"),
    ("defender-rest/brute_force.json", &[], &[("/properties/status", "Dismissed")], "dismissed"),
    ("elastic/process.json", &[], &[("/kibana.alert.workflow_status", "closed")], "resolved"),
    ("elastic/process.json", &[], &[("/kibana.alert.status", "recovered")], "resolved"),
    ("graph-alerts-v2/process.json", &[], &[("/status", "resolved"), ("/classification", "truePositive")], "resolved"),
    (
        "graph-alerts-v2/process.json",
        &[],
        &[("/status", "resolved"), ("/classification", "falsePositive")],
        "dismissed",
    ),
    ("guardduty/bucket.json", &[], &[("/detail/service/archived", "true")], "dismissed"),
    ("ocsf-detection-finding/process.json", &[], &[("/status_id", "4")], "resolved"),
    ("ocsf-detection-finding/process.json", &[], &[("/status_id", "3")], "dismissed"),
    ("ocsf-detection-finding/process.json", &[], &[("/activity_id", "3")], "resolved"),
    ("security-hub/instance_network.json", &[], &[("/Workflow/Status", "RESOLVED")], "resolved"),
    ("security-hub/instance_network.json", &[], &[("/Workflow/Status", "SUPPRESSED")], "dismissed"),
    ("security-hub/instance_network.json", &[], &[("/RecordState", "ARCHIVED")], "resolved"),
    (
        "security-hub/control_failed_and_passed.json",
        &[],
        &[("/detail/findings/0/Compliance/Status", "PASSED")],
        "resolved",
    ),
    (
        "sentinel-incident/phishing.json",
        &[],
        &[("/object/properties/status", "Closed"), ("/object/properties/classification", "TruePositive")],
        "resolved",
    ),
    (
        "sentinel-incident/phishing.json",
        &[],
        &[("/object/properties/status", "Closed"), ("/object/properties/classification", "FalsePositive")],
        "dismissed",
    ),
    ("soard/malware.json", &[("/status", "active")], &[("/status", "resolved")], "resolved"),
    (
        "wazuh/vulnerability.json",
        &[],
        &[
            ("/data/vulnerability/status", "Solved"),
            ("/rule/id", "\"23502\""),
            ("/rule/level", "3"),
            ("/timestamp", "2026-05-01T00:00:00.000+0000"),
        ],
        "resolved",
    ),
];

/// What the source resolves or dismisses is resolved or dismissed, and comes back when the source says so.
pub fn check_ends() {
    let bundle = bundle("suppress: []", "default_route: none");
    for (sample, open, end, status) in ENDS {
        let mut pipeline = Pipeline::new(&bundle);
        let while_open = edited(sample, open);
        let begun = first(&mut pipeline, &while_open, sample);
        let stands = |pipeline: &Pipeline<'_>| pipeline.state.alerts.get(begun.id).unwrap().status;
        assert!(stands(&pipeline).is_open(), "{sample} begins as {}", stands(&pipeline));
        let ended = first(&mut pipeline, &edited(sample, end), sample);
        assert_eq!((ended.id, stands(&pipeline).as_str()), (begun.id, *status), "{sample} {end:?}");
        let again = first(&mut pipeline, &while_open, sample);
        assert_eq!((again.id, stands(&pipeline).is_open()), (begun.id, true), "{sample}: comes back");
    }
}

/// Sample, what differs when the same thing is told again, and what differs when it is another thing.
const REPEATS: &[(&str, Edits, Edits)] = &[
    (
        "alertmanager/firing_and_resolved.json",
        &[("/alerts/0/annotations/summary", "told again")],
        &[("/alerts/0/startsAt", "2026-03-02T10:00:00Z"), ("/alerts/0/fingerprint", "0123456789abcdef")],
    ),
    (
        "crowdsec/ssh_brute_force.json",
        &[("/0/uuid", "another"), ("/0/start_at", "2026-04-02T09:00:00Z"), ("/0/events_count", "9")],
        &[("/0/source/value", "203.0.113.200"), ("/0/scenario", "example/other"), ("/0/machine_id", "edge-2")],
    ),
    (
        "defender-eventhub/suspicious_ip.json",
        &[("/ProcessingEndTime", "2026-01-20T23:00:00Z"), ("/Description", "more")],
        &[("/SystemAlertId", "another")],
    ),
    (
        "defender-rest/brute_force.json",
        &[("/properties/endTimeUtc", "2026-02-11T04:00:00Z")],
        &[("/properties/systemAlertId", "another")],
    ),
    (
        "elastic/process.json",
        &[("/kibana.alert.last_detected", "2026-04-03T10:00:00Z")],
        &[("/kibana.alert.uuid", "another")],
    ),
    (
        "falco/shell_in_container.json",
        &[
            ("/time", "2026-03-01T10:30:00Z"),
            ("/output", "10:30 again"),
            ("/uuid", "another"),
            ("/output_fields/proc.pid", "5"),
        ],
        &[
            ("/rule", "Another rule"),
            ("/hostname", "node-5"),
            ("/output_fields/container.id", "ffeeddccbbaa"),
            ("/output_fields/proc.cmdline", "bash"),
            ("/output_fields/user.name", "www-data"),
        ],
    ),
    ("graph-alerts-v2/process.json", &[("/lastUpdateDateTime", "2026-02-02T00:00:00Z")], &[("/id", "another")]),
    (
        "guardduty/ssh_brute_force.json",
        &[("/detail/service/count", "40"), ("/detail/updatedAt", "2026-01-12T00:00:00Z")],
        &[("/detail/arn", "arn:aws:guardduty:eu-central-1:123456789012:detector/12ab34cd/finding/another")],
    ),
    (
        "ocsf-detection-finding/process.json",
        &[("/time", "1775214000000"), ("/metadata/uid", "m-9"), ("/activity_id", "2")],
        &[("/finding_info/uid", "another")],
    ),
    (
        "rsigma/whoami.json",
        &[("/event/UtcTime", "2026-04-04 11:00:00"), ("/event/ProcessId", "1")],
        &[("/rule_id", "another"), ("/event/Computer", "web-3.example.com")],
    ),
    (
        "security-hub/instance_network.json",
        &[("/UpdatedAt", "2026-01-22T00:05:00.000Z"), ("/LastObservedAt", "2026-01-22T00:00:00.000Z")],
        &[("/Id", "another")],
    ),
    (
        "sentinel-incident/brute_force.json",
        &[("/object/etag", "\"\\\"9\\\"\""), ("/object/properties/lastModifiedTimeUtc", "2026-02-03T00:00:00Z")],
        &[("/object/name", "another")],
    ),
    ("soard/malware.json", &[("/description", "told again")], &[("/external_id", "another")]),
    (
        "suricata-eve/trojan_http.json",
        &[
            ("/timestamp", "2026-03-10T08:20:00.000000+0100"),
            ("/flow_id", "1"),
            ("/src_port", "50000"),
            ("/flow/start", "2026-03-10T08:19:00.000000+0100"),
        ],
        &[
            ("/alert/signature_id", "9000002"),
            ("/src_ip", "10.2.0.16"),
            ("/dest_ip", "203.0.113.31"),
            ("/dest_port", "8080"),
            ("/host", "sensor-2"),
        ],
    ),
    (
        "wazuh/ssh_brute_force.json",
        &[
            ("/timestamp", "2026-04-01T12:05:00.000+0000"),
            ("/id", "1775045100.1"),
            ("/rule/firedtimes", "2"),
            ("/data/srcport", "50300"),
            ("/full_log", "again"),
        ],
        &[
            ("/rule/id", "5710"),
            ("/agent/id", "004"),
            ("/data/srcip", "203.0.113.61"),
            ("/location", "/var/log/secure"),
        ],
    ),
    (
        "wazuh/vulnerability.json",
        &[
            ("/id", "1"),
            ("/timestamp", "2026-04-02T12:00:00.123+0000"),
            ("/data/vulnerability/package/version", "7.88.2"),
        ],
        &[
            ("/agent/id", "004"),
            ("/data/vulnerability/cve", "CVE-2025-0003"),
            ("/data/vulnerability/package/name", "libcurl"),
        ],
    ),
];

/// Repeats fold, and different findings do not: for every format.
pub fn check_repeats(formats: &[&str]) {
    let bundle = bundle("suppress: []", "default_route: none");
    for format in formats {
        assert!(
            REPEATS.iter().any(|(sample, ..)| sample.starts_with(&format!("{format}/"))),
            "{format} has no repeats"
        );
    }
    for (sample, again, others) in REPEATS {
        let mut pipeline = Pipeline::new(&bundle);
        let begun = first(&mut pipeline, &edited(sample, &[]), sample);
        let repeat = first(&mut pipeline, &edited(sample, again), sample);
        assert_eq!(
            (repeat.id, pipeline.state.alerts.get(begun.id).unwrap().count),
            (begun.id, 2),
            "{sample} {again:?}"
        );
        for other in *others {
            let other = first(&mut pipeline, &edited(sample, &[*other]), sample);
            assert_ne!(other.id, begun.id, "{sample}");
        }
    }
}
