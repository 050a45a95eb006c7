//! Each product's severity scale, written down a second time and read in another way than the formats do: what a
//! record's severity has to be, whatever else is wrong with the record.

use serde_json::Value;

/// Where a severity stands, and what its words and numbers mean.
struct Scale {
    paths: &'static [&'static str],
    words: &'static [(&'static str, &'static str)],
    /// From, to just below, severity.
    numbers: &'static [(f64, f64, &'static str)],
    /// For a word that is there and means nothing; `None`: the next scale.
    unknown: Option<&'static str>,
}

const END: f64 = f64::INFINITY;
const ALL: &[(&str, &str)] = &[
    ("critical", "high"),
    ("high", "high"),
    ("medium", "medium"),
    ("low", "low"),
    ("informational", "informational"),
    ("info", "informational"),
];
const CRITICAL: &[(&str, &str)] = ALL.split_at(5).0;
const FOUR: &[(&str, &str)] = CRITICAL.split_at(1).1;

const fn words(paths: &'static [&'static str], words: &'static [(&'static str, &'static str)]) -> Scale {
    Scale { paths, words, numbers: &[], unknown: Some("medium") }
}

const fn numbers(paths: &'static [&'static str], numbers: &'static [(f64, f64, &'static str)]) -> Scale {
    Scale { paths, words: &[], numbers, unknown: Some("medium") }
}

#[expect(clippy::too_many_lines, reason = "one table of scales")]
fn scales(format: &str) -> Vec<Scale> {
    match format {
        "alertmanager" => vec![words(
            &["labels.severity", "labels.priority"],
            &[
                ("critical", "high"),
                ("emergency", "high"),
                ("page", "high"),
                ("high", "high"),
                ("error", "high"),
                ("major", "high"),
                ("warning", "medium"),
                ("warn", "medium"),
                ("medium", "medium"),
                ("minor", "low"),
                ("low", "low"),
                ("info", "informational"),
                ("informational", "informational"),
                ("none", "informational"),
            ],
        )],
        "crowdsec" => vec![words(&["simulated"], &[("true", "low")])],
        "defender-eventhub" => vec![words(&["Severity"], FOUR)],
        "defender-rest" | "sentinel-incident" => vec![words(&["properties.severity"], FOUR)],
        "elastic" => vec![
            Scale { unknown: None, ..words(&["kibana.alert.severity"], ALL.split_at(4).0) },
            numbers(&["kibana.alert.risk_score"], &[(0.0, 22.0, "low"), (22.0, 48.0, "medium"), (48.0, 101.0, "high")]),
        ],
        "falco" => vec![words(
            &["priority"],
            &[
                ("emergency", "high"),
                ("alert", "high"),
                ("critical", "high"),
                ("error", "high"),
                ("warning", "medium"),
                ("notice", "low"),
                ("informational", "informational"),
                ("info", "informational"),
                ("debug", "informational"),
            ],
        )],
        "graph-alerts-v2" => vec![words(&["severity"], FOUR)],
        "guardduty" => {
            vec![numbers(&["severity", "Severity"], &[(0.0, 4.0, "low"), (4.0, 7.0, "medium"), (7.0, END, "high")])]
        }
        "ocsf-detection-finding" => {
            vec![numbers(
                &["severity_id"],
                &[
                    (1.0, 1.0, "informational"),
                    (2.0, 2.0, "low"),
                    (3.0, 3.0, "medium"),
                    (4.0, 4.0, "high"),
                    (5.0, 5.0, "high"),
                    (6.0, 6.0, "high"),
                ],
            )]
        }
        "rsigma" => vec![words(&["level"], CRITICAL)],
        "security-hub" => vec![
            Scale { unknown: None, ..words(&["Severity.Label"], CRITICAL) },
            numbers(
                &["Severity.Normalized"],
                &[(0.0, 0.0, "informational"), (1.0, 40.0, "low"), (40.0, 70.0, "medium"), (70.0, 101.0, "high")],
            ),
        ],
        "soard" => vec![words(&["severity"], ALL)],
        "suricata-eve" => vec![numbers(
            &["alert.severity"],
            &[(1.0, 1.0, "high"), (2.0, 2.0, "medium"), (3.0, 3.0, "low"), (4.0, 256.0, "informational")],
        )],
        "wazuh" => vec![numbers(
            &["rule.level"],
            &[(0.0, 4.0, "informational"), (4.0, 7.0, "low"), (7.0, 12.0, "medium"), (12.0, END, "high")],
        )],
        other => panic!("no scale for {other}"),
    }
}

/// What the severity of an alert's part of a record has to be.
pub fn severity(format: &str, part: &Value) -> &'static str {
    for scale in scales(format) {
        let values = scale.paths.iter().map(|path| find(part, path)).find(|values| !values.is_empty());
        let means = |value: &&Value| scale.means(value).or(scale.unknown);
        if let Some(found) = values.unwrap_or_default().iter().find_map(means) {
            return found;
        }
    }
    "medium"
}

impl Scale {
    fn means(&self, value: &Value) -> Option<&'static str> {
        let text = match value {
            Value::String(text) => text.trim().to_lowercase(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return None,
        };
        let number = text.parse::<f64>().ok();
        let within = |low: f64, end: f64, n: f64| n == low || (low <= n && n < end);
        let by_number = self.numbers.iter().find(|(low, end, _)| number.is_some_and(|n| within(*low, *end, n)));
        let by_word = self.words.iter().find(|(word, _)| *word == text);
        by_word.map(|(_, means)| *means).or(by_number.map(|(.., means)| *means))
    }
}

/// The values at a path: a key may be written with the path's dots in it, lists are looked into, nothing is left out.
fn find<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut found = Vec::new();
    match value {
        Value::Array(items) => found.extend(items.iter().flat_map(|item| find(item, path))),
        Value::Object(map) => {
            let keys = map.iter().filter_map(|(key, item)| Some((path.strip_prefix(key.as_str())?, item)));
            for (rest, item) in keys {
                match rest.strip_prefix('.') {
                    Some(rest) => found.extend(find(item, rest)),
                    None if rest.is_empty() => match item {
                        Value::Array(items) => found.extend(items),
                        item => found.push(item),
                    },
                    None => {}
                }
            }
        }
        _ => {}
    }
    found.retain(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty() && !text.eq_ignore_ascii_case("unknownFutureValue"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
    found
}
