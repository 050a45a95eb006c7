//! The shipped formats over hand-written records: what each becomes, and that no record is lost or breaks anything.

mod formats {
    pub mod corpus;
    pub mod fields;
    pub mod hostile;
    pub mod lives;
    pub mod scale;
    pub mod variants;
}

use std::collections::BTreeMap;
use std::fs;

use formats::corpus::{received, root, samples, shipped, sorted};
use formats::hostile::hostile;
use formats::{fields, lives, variants};
use insta::assert_snapshot;
use serde_json::{Value, json};
use soard::rules::normalise::entity::ENTITY_PROPERTIES;
use soard::rules::normalise::{Refused, compile};

#[test]
fn every_sample_becomes_the_alerts_that_somebody_looked_at() {
    let formats = shipped();
    let mut count = BTreeMap::<String, usize>::new();
    for (format, name, bytes) in samples() {
        *count.entry(format.clone()).or_default() += 1;
        assert_eq!(formats.recognisers(&bytes).unwrap(), [&format], "{format}/{name} is recognised by these");
        let normalised = formats.normalise("test", &bytes, received(), None).unwrap();
        let alerts: Vec<Value> = normalised
            .alerts
            .iter()
            .map(|parsed| {
                let window = parsed.window.map(|window| window.to_string());
                json!({"part": parsed.part, "window": window, "alert": parsed.alert})
            })
            .collect();
        let unmapped = formats.unmapped(&bytes, None).unwrap();
        let shown =
            json!({"format": normalised.format, "alerts": alerts, "notes": normalised.notes, "unmapped": unmapped});
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().join("tests/samples").join(&format).join("snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| assert_snapshot!(name.as_str(), serde_json::to_string_pretty(&shown).unwrap()));
    }
    for name in formats.names() {
        assert!(count.get(name).is_some_and(|n| *n >= 5), "{name} has too few samples");
    }
}

#[test]
fn records_of_the_same_streams_that_are_no_alerts_are_named_as_such() {
    let formats = shipped();
    for file in sorted(&root().join("tests/samples/ignored")) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let refused = formats.normalise("test", &fs::read(&file).unwrap(), received(), None).unwrap_err();
        match refused {
            Refused::NotAnAlert { format, why } => {
                assert_eq!(name.split('_').next().unwrap(), format, "{why}");
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn variants_of_real_records_neither_break_nor_vanish_nor_change_severity() {
    variants::run();
}

#[test]
fn every_field_of_a_sample_has_its_documentation_beside_it() {
    fields::check();
}

#[test]
fn what_the_source_ends_is_ended_and_what_comes_back_is_open() {
    lives::check_ends();
}

#[test]
fn repeats_fold_and_different_findings_do_not() {
    lives::check_repeats(&shipped().names().collect::<Vec<_>>());
}

#[test]
fn hostile_records_become_alerts_or_named_refusals() {
    let formats = shipped();
    let records = hostile();
    assert!(records.len() >= 60);
    let mut lines = Vec::new();
    for (name, bytes) in &records {
        let outcome = match formats.normalise("test", bytes, received(), None) {
            Ok(normalised) => {
                let notes: Vec<String> =
                    normalised.notes.iter().map(|note| format!("{:?} {}", note.kind, note.field)).collect();
                let title: String = normalised.alerts[0].alert.title.chars().take(30).collect();
                let notes = if notes.is_empty() { String::new() } else { format!(" [{}]", notes.join(", ")) };
                format!("{} by {}: {title:?}{notes}", normalised.alerts.len(), normalised.format)
            }
            Err(Refused::NoFormat { tried }) => format!("refused: no format of {} takes it", tried.len().min(1)),
            Err(refused) => format!("refused: {}", refused.to_string().chars().take(120).collect::<String>()),
        };
        lines.push(format!("{name}: {outcome}"));
        formats.unmapped(bytes, None).ok();
    }
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn wrong_format_files_are_answered_with_place_and_cure() {
    let mut count = 0;
    for file in sorted(&root().join("tests/wrong/formats")).into_iter().filter(|file| file.is_file()) {
        let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let path = format!("rules/normalise/{stem}.yaml");
        let files = BTreeMap::from([(path, fs::read_to_string(&file).unwrap())]);
        let (formats, faults) = compile(&files);
        assert_eq!(formats.names().count(), 0, "{stem} is taken for right");
        let shown: Vec<String> = faults.iter().map(|fault| fault.render(&files, false)).collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().join("tests/wrong/formats/snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| assert_snapshot!(stem.as_str(), shown.join("\n\n")));
        count += 1;
    }
    assert!(count >= 20);
}

/// The code block that follows a marker in the documentation.
fn block<'d>(docs: &'d str, marker: &str) -> &'d str {
    let after = docs.split_once(marker).unwrap_or_else(|| panic!("{marker} is in the docs")).1;
    after.split_once("```").unwrap().1.split_once('\n').unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_documentation_is_true() {
    let docs = fs::read_to_string(root().join("docs/formats.md")).unwrap();
    for name in shipped().names() {
        assert!(docs.contains(&format!("\n| `{name}` |")), "{name} is missing in the table of formats");
    }
    for (kind, properties) in ENTITY_PROPERTIES {
        let row =
            format!("| `{kind}` | {} |", properties.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" "));
        assert!(docs.contains(&row), "the table of entities lacks\n{row}");
    }
    let files = BTreeMap::from([("rules/normalise/x.yaml".into(), block(&docs, "<!-- tutorial: format -->").into())]);
    let (formats, faults) = compile(&files);
    assert_eq!(faults, []);
    let record = block(&docs, "<!-- tutorial: record -->");
    let taken = formats.normalise("doors", record.as_bytes(), received(), None).unwrap();
    let alert = &taken.alerts[0].alert;
    assert_eq!(alert.title, "DOOR_FORCED at Depot North, door D-12");
    assert_eq!((alert.severity.as_str(), alert.status.as_str()), ("medium", "active"));
    assert_eq!(alert.start.unwrap().to_string(), "2026-03-01T10:00:00.123Z");
    assert_eq!((alert.account(), alert.links.len(), taken.notes.len()), (Some("dana.roth"), 1, 1));
    let heartbeat = record.replace("DOOR_FORCED", "HEARTBEAT");
    let refused = formats.normalise("doors", heartbeat.as_bytes(), received(), None).unwrap_err();
    assert_eq!(refused.to_string(), "no alert, says format `door-control`: a heartbeat");
    let generic = block(&docs, "## The generic format");
    assert_eq!(shipped().normalise("x", generic.as_bytes(), received(), None).unwrap().format, "soard");
}
